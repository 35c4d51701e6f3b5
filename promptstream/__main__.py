"""``python -m promptstream``: the command line."""

import sys

from promptstream.cli import main

if __name__ == "__main__":
    sys.exit(main())
