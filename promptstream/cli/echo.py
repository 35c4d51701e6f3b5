"""Keys that are pressed while something is drawn: they wait for whoever reads them next, and do not show."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from promptstream.cli.terminal import is_terminal


class Echo:
    """Switch the echo of the terminal that this program is in the foreground of. For the main thread.

    A key would be drawn where the answer is being drawn, and what stands where would not be known any more.
    """

    def __init__(self) -> None:
        self._off = False
        self._keys = sys.stdin

    def off(self) -> None:
        """Let no key show, Ctrl-C included."""
        if not self._off:
            self._off = _switch(self._keys, on=False)

    def on(self) -> None:
        """Let keys show again, where it was this that kept them from it."""
        if self._off:
            _switch(self._keys, on=True)
            self._off = False


def _switch(keys: TextIO, *, on: bool) -> bool:
    """Switch the echo, and tell whether that changed it."""
    try:
        import termios
    except ImportError:  # not POSIX
        return False
    if not is_terminal(keys):
        return False
    with suppress(termios.error, OSError):
        place = keys.fileno()
        if os.tcgetpgrp(place) != os.getpgrp():  # in the background it would stop this program
            return False
        settings = termios.tcgetattr(place)
        if bool(settings[3] & termios.ECHO) == on:
            return False
        settings[3] ^= termios.ECHO
        termios.tcsetattr(place, termios.TCSANOW, settings)
        return True
    return False
