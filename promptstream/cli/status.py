"""What is being waited for in, a line with the time it has taken out, on standard error; it leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PER_SECOND = 10
_AFTER = 0.2
"""Seconds before it shows: an answer that comes at once should not flash."""
_ERASED = "\r\x1b[K"


def duration(seconds: float) -> str:
    """Give *seconds* as a person says it: 0.4 s, 12 s, 3 min 5 s."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 0.95 else f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


class Status:
    """Turn a wheel beside what is waited for. Not for several threads at once.

    Args:
        write: puts text on the terminal.
        width: gives the cells of its lines.
        dim: False where nothing is to be styled.
    """

    def __init__(self, write: Callable[[str], None], width: Callable[[], int], *, dim: bool) -> None:
        self._write = write
        self._width = width
        self._dim = dim
        self._what: str | None = None
        self._since = 0.0
        self._shown = ""

    def begin(self, what: str) -> None:
        """Wait for *what*, "" where that goes without saying; the same thing is waited for since it began."""
        if what != self._what:
            self._what, self._since = what, monotonic()

    def end(self) -> None:
        """Wait for nothing."""
        self._what = None
        self.erase()

    def turn(self) -> None:
        """Show how long it has taken by now."""
        passed = monotonic() - self._since
        if self._what is None or passed < _AFTER:
            return
        frame = _FRAMES[int(passed * _PER_SECOND) % len(_FRAMES)]
        what = f"{self._what} " if self._what else ""
        room = max(1, self._width() - 1)
        line = f"{frame} {what}{int(passed)} s"
        if len(line) > room:
            line = f"{frame} {int(passed)} s"[:room]
        if line != self._shown:
            self._write(f"{_ERASED}\x1b[2m{line}\x1b[0m" if self._dim else f"{_ERASED}{line}")
            self._shown = line

    def erase(self) -> None:
        """Take the line away."""
        if self._shown:
            self._write(_ERASED)
            self._shown = ""
