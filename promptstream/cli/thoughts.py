"""What a model thinks in, piece by piece; what a person is shown of it out, on standard error."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import monotonic

from promptstream.cli.sanitise import Sanitiser
from promptstream.cli.status import Status, duration
from promptstream.cli.terminal import tell

REASONING_VIEWS = ("fold", "full", "hide")
_WORDS = re.compile(r"\n|[^\S\n]+|\S+")


class Thoughts:
    """Show what the model thinks, or that it does. Not for several threads at once.

    Args:
        view: fold shows that and how long it thinks, full what it thinks, hide neither.
        status: says that it does while it does; None where nobody watches, and then only full shows anything.
        width: gives the cells of a line, to break it between words; None where that is nobody's business.
    """

    def __init__(self, view: str, status: Status | None, width: Callable[[], int] | None) -> None:
        self._full = view == "full"
        self._watched = status is not None and view != "hide"
        self._sanitiser = Sanitiser()
        self._lines = _Lines(width)
        self._since: float | None = None

    @property
    def shown(self) -> bool:
        """True where somebody sees anything of it."""
        return self._full or self._watched

    @property
    def going(self) -> bool:
        """True while the model thinks."""
        return self._since is not None

    def add(self, text: str) -> bool:
        """Take more of it, and tell whether it is shown."""
        if self._since is None:
            self._since = monotonic()
            if self._full:
                tell("thinking…", dim=True)
        if self._full:
            tell(self._lines.broken(self._sanitiser.feed(text)), dim=True, end="")
        return self._full

    def end(self) -> None:
        """Say how long it took, if it thought."""
        if self._since is None:
            return
        passed, self._since = monotonic() - self._since, None
        if self._full:
            tell(self._lines.broken(self._sanitiser.flush()), dim=True, end="\n" if self._lines.begun else "")
            self._lines.begun = 0
        if self.shown:
            tell(f"thought for {duration(passed)}", dim=True)


class _Lines:
    """Break lines between words as they come; a word that comes in pieces may be broken by the terminal."""

    def __init__(self, width: Callable[[], int] | None) -> None:
        self._width = width
        self.begun = 0
        """Cells of the line so far."""

    def broken(self, text: str) -> str:
        """Give *text* with line breaks where the next word would not fit."""
        from rich.cells import cell_len

        shown = []
        for word in _WORDS.findall(text.expandtabs(4)):
            if word == "\n":
                self.begun = 0
            elif self._width is not None and self.begun and self.begun + cell_len(word) >= self._width():
                shown.append("\n")
                word = word.lstrip()
                self.begun = cell_len(word)
            else:
                self.begun += cell_len(word)
            shown.append(word)
        return "".join(shown)
