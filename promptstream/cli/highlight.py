"""Lines of code in, as they come; the same lines with colours out."""

from __future__ import annotations

from rich.syntax import Syntax
from rich.text import Text

THEME = "ansi_dark"
"""The terminal's own colours, which its owner chose to be read on its background."""
TAB = 4
_KEPT = 60
"""Lines before those that are coloured which say what they stand in; more are let go where nothing spans them."""
_MOST = 400
_SPANNING = ("Token.Comment", "Token.Literal.String")
"""What may go on in the next line."""


def syntax(language: str) -> Syntax:
    """Give what colours code of *language*; of one that nobody knows it stays as it is."""
    return Syntax("", language or "text", theme=THEME, background_color="default", tab_size=TAB)


class Highlighter:
    """Colour code of *language*, a few lines at a time. Not for several threads."""

    def __init__(self, language: str) -> None:
        self._syntax = syntax(language)
        self._before: list[str] = []

    def lines(self, code: str, *, last: bool = False) -> list[Text]:
        """Give the lines of *code* in colours; *last* is one that is not whole, and does not count."""
        lines = code.expandtabs(TAB).split("\n")
        if self._syntax.lexer is None:
            return [Text(line) for line in lines]
        text = self._syntax.highlight("\n".join([*self._before, *lines]))
        text.rstrip()
        coloured = text.split("\n", allow_blank=True)[len(self._before) :]
        coloured = [*coloured, *(Text() for _ in lines[len(coloured) :])]
        if not last:
            self._before += lines
            if len(self._before) > 2 * _KEPT:
                self._before = self._before[self._cut() :]
        return coloured[: len(lines)]

    def _cut(self) -> int:
        """Give the last line that may be forgotten up to: one that begins anew, and not in a string or a comment."""
        assert self._syntax.lexer is not None
        line, cut = 0, 0
        latest = len(self._before) - _KEPT
        for kind, value in self._syntax.lexer.get_tokens("\n".join(self._before)):
            for _ in range(value.count("\n")):
                line += 1
                anew = line < len(self._before) and self._before[line][:1].strip()
                if line <= latest and anew and not str(kind).startswith(_SPANNING):
                    cut = line
        return cut or (latest if len(self._before) > _MOST else 0)
