"""The tests, and the programs that do in full what some of them do in part: ``python -m tests.fuzz`` and its like."""

import sys
from pathlib import Path

# Modules in here import each other by their bare names, under pytest and as programs alike.
sys.path.insert(0, str(Path(__file__).parent))
