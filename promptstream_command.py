"""What the command ``promptstream`` runs: arguments in, an exit code out, also where Ctrl-C comes before it has begun.

It stands beside the package: to import any module of that takes longer than some wait before they press Ctrl-C.
"""

from __future__ import annotations

import signal


def main() -> int:
    """Run the command line, and let Ctrl-C end it without a word until a command has begun.

    Where it is ignored, as by a program in the background, it goes on being ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from promptstream.cli import main as run

    return run()
