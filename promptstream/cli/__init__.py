"""The command line ``promptstream``; needs the extra ``cli``. Nothing imports it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

MISSING = "The command line needs the extra 'cli': pip install 'promptstream-sdk[cli]'."


def main() -> int:
    """Run the command line and leave the program with its exit code."""
    if not all(map(find_spec, ("click", "rich", "tomlkit"))):
        print(MISSING, file=sys.stderr)
        return 1
    try:
        from promptstream.cli.commands import root

        root(prog_name="promptstream")
    except KeyboardInterrupt:
        return 130
    return 0
