"""The command line ``promptstream``; needs the extra ``cli``. Nothing imports it."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from importlib.util import find_spec

MISSING = "The command line needs the extra 'cli': pip install 'promptstream-sdk[cli]'."


def main() -> int:
    """Run the command line and leave the program with its exit code.

    Ctrl-C ends it without a word until a command has begun, as ``promptstream_command`` has seen to where that is what
    was run.
    """
    if not all(map(find_spec, ("click", "rich", "tomlkit"))):
        print(MISSING, file=sys.stderr)
        return 1
    with suppress(ValueError):  # not in the main thread
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    from promptstream.cli.commands import root

    root(prog_name="promptstream")
    return 0
