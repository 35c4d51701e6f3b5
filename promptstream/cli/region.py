"""Lines in, at the bottom of a terminal: finished ones for good, unfinished ones until they change."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from rich.cells import cell_len

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_ERASE_LINE, _ERASE_BELOW = "\x1b[K", "\x1b[J"
_WRAP, _NO_WRAP = "\x1b[?7h", "\x1b[?7l"
# Terminals that know it show what stands between at once; the others pass it over (terminal-wg, synchronized output).
_TOGETHER, _SHOWN = "\x1b[?2026h", "\x1b[?2026l"


def reflows() -> bool:
    """Tell whether the terminal breaks lines anew where its window is resized; all but a few do."""
    return not {"XTERM_VERSION", "STY"} & os.environ.keys()


class Region:
    """Draw with as little as shows the difference: what stands already is not drawn again, so nothing flickers.

    Nothing is drawn above the unfinished lines, and at most a window full of them. Each piece is one call of *write*.
    The cursor rests behind the last line. Not for several threads.

    Where a window becomes so narrow that the terminal breaks the unfinished lines into more rows than it has, those
    that leave it at the top are out of reach: they stay in the scrollback, above the lines that are drawn anew.

    Args:
        size: gives the columns and rows of the window.
    """

    def __init__(self, write: Callable[[str], None], size: Callable[[], tuple[int, int]]) -> None:
        self._write = write
        self._size = size
        self._reflows = reflows()
        self._live: list[str] = []
        """The unfinished lines, as they stand there."""
        self._drawn_for = size()[0]

    @property
    def blank(self) -> bool:
        """True where the cursor stands at the beginning of an empty line."""
        return not self._live

    def draw(self, done: list[str], live: list[str]) -> None:
        """Put *done* in the place of the unfinished lines, for good, and *live* below, whose last lines are shown."""
        columns, rows = self._size()
        live = live[-max(1, rows - 1) :]
        if columns != self._drawn_for:
            text = self._up(columns, rows) + _ERASE_BELOW + _laid(done + (live or [""]), len(done))
        elif done or live != self._live:
            text = self._changed(done, live)
        else:
            return
        self._live, self._drawn_for = list(live), columns
        several = text.count("\n") + text.count(_ERASE_LINE) > 1
        self._write(f"{_TOGETHER}{text}{_SHOWN}" if several else text)

    def erase(self) -> None:
        """Take the unfinished lines away; the cursor stands where the first of them began."""
        if self._live:
            self._write(self._up(*self._size()) + _ERASE_BELOW)
            self._live = []
        self._drawn_for = self._size()[0]

    def _changed(self, done: list[str], live: list[str]) -> str:
        """Give what turns the rows that stand there into the new ones, from the first that differs on."""
        old, new, first = self._live or [""], done + (live or [""]), len(done)
        shared = min(len(old), len(new))
        same = next(
            (at for at in range(shared) if old[at] != new[at] or (at < first and not new[at].isascii())), shared
        )
        if same == len(old):
            return "\n" * (len(new) > same) + _laid(new[same:], first - same)
        if same == len(old) - 1 and same < len(new) and new[same].startswith(old[same]) and old[same].isascii():
            return _laid([new[same][len(old[same]) :], *new[same + 1 :]], first - same)
        same = min(same, len(new) - 1)
        up = len(old) - 1 - same
        text = (f"\x1b[{up}A" if up else "") + "\r" + _laid(new[same:], first - same, erasing=True)
        return text + (_ERASE_BELOW if len(new) < len(old) else "")

    def _up(self, columns: int, rows: int) -> str:
        """Give what leads to the beginning of the first unfinished line, where the window may have been resized."""
        if not self._live:
            return "\r"
        width = columns if self._reflows else max(columns, self._drawn_for)
        above = sum(max(1, -(-_cells(line) // width)) for line in self._live[:-1])
        above += max(0, _cells(self._live[-1]) - 1) // width
        above = min(above, rows - 1)
        return (f"\x1b[{above}A" if above else "") + "\r"


def _cells(line: str) -> int:
    return cell_len(_STYLE.sub("", line))


def _laid(rows: list[str], first: int, *, erasing: bool = False) -> str:
    """Give *rows* one below the other, those from *first* on unfinished, each with what stood behind it erased.

    An unfinished one takes no second row, whatever the terminal makes of its width: they differ in some characters.
    A finished one that was drawn so is drawn again for that reason.
    """
    end = _ERASE_LINE if erasing else ""
    shown = [
        f"{_NO_WRAP}{row}{_WRAP}{end}" if at >= first and not row.isascii() else row + end
        for at, row in enumerate(rows)
    ]
    return "\n".join(shown)
