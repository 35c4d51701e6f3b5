"""Keys that are pressed while nobody asks for them: they do not show where something is drawn, and answer nothing."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from promptstream.cli.sanitise import clean
from promptstream.cli.terminal import is_terminal

_LONGEST = 65_536
"""Bytes that are taken at once of what was typed early; no terminal holds more."""


class Echo:
    """Switch the echo of the terminal that this program is in the foreground of. For one thread at a time.

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


class Settings:
    """Remember how the terminal is set that *keys* come from, if they do come from one."""

    def __init__(self, keys: TextIO | None) -> None:
        self._place = _ours(keys)
        self._before = None if self._place is None else _settings(self._place)

    def restore(self) -> None:
        """Set it so again, where it is not."""
        if self._place is not None and self._before is not None and _in_foreground(self._place):
            import termios

            with suppress(termios.error):  # it is gone
                if termios.tcgetattr(self._place) != self._before:
                    termios.tcsetattr(self._place, termios.TCSANOW, self._before)


def typed_early() -> str:
    """Take away what was typed and read by nobody so far, and give it as text; "" where nobody types."""
    if sys.platform == "win32" and is_terminal(sys.stdin):
        import msvcrt

        keys = ""
        while msvcrt.kbhit():
            keys += msvcrt.getwch()
        return clean(keys.replace("\r", "\n"))
    place = _ours(sys.stdin)
    if place is None or _settings(place) is None:
        return ""
    import termios

    with suppress(termios.error, OSError):
        before = termios.tcgetattr(place)
        at_once = [*before[:6], [*before[6]]]
        at_once[3] &= ~termios.ICANON  # also a line that is not ended
        at_once[6][termios.VMIN] = at_once[6][termios.VTIME] = 0
        termios.tcsetattr(place, termios.TCSANOW, at_once)
        try:
            data = os.read(place, _LONGEST)
        finally:
            termios.tcsetattr(place, termios.TCSANOW, before)
            termios.tcflush(place, termios.TCIFLUSH)
        return clean(data.decode(sys.stdin.encoding, "replace").replace("\r", "\n"))
    return ""


def _switch(keys: TextIO, *, on: bool) -> bool:
    """Switch the echo, and tell whether that changed it."""
    place = _ours(keys)
    settings = None if place is None else _settings(place)
    if place is None or settings is None:
        return False
    import termios

    if bool(settings[3] & termios.ECHO) == on:
        return False
    settings[3] ^= termios.ECHO
    with suppress(termios.error):
        termios.tcsetattr(place, termios.TCSANOW, settings)
        return True
    return False


def _ours(keys: TextIO | None) -> int | None:
    """Give the descriptor of the terminal that *keys* come from; None where it is none, or another program's now."""
    if keys is None or not is_terminal(keys):
        return None
    with suppress(OSError, ValueError):
        place = keys.fileno()
        return place if _in_foreground(place) else None
    return None


def _in_foreground(place: int) -> bool:
    """Tell whether this program may set the terminal: in the background that would stop it."""
    try:
        return os.tcgetpgrp(place) == os.getpgrp()
    except OSError as error:
        return error.errno == errno.ENOTTY  # a terminal that controls nobody here, or another one
    except AttributeError:  # not POSIX
        return False


def _settings(place: int) -> list[Any] | None:
    try:
        import termios
    except ImportError:  # not POSIX
        return None
    with suppress(termios.error):
        return termios.tcgetattr(place)
    return None
