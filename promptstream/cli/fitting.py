"""Lines in, lines that fit the window out."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence

from promptstream.cli.terminal import is_terminal, window

WIDEST = 80
"""Columns; longer lines are hard to read."""
NARROW = 60
"""Columns below which nothing is set in several columns."""


def fitted(text: str) -> str:
    """Break the lines of *text* between words where standard error is a terminal that they would not fit."""
    if not is_terminal(sys.stderr):
        return text
    width = min(window(sys.stderr)[0], WIDEST)
    return "\n".join(each for line in text.split("\n") for each in broken(line, width))


def records(rows: Iterable[Sequence[str]], width: int) -> str:
    """Give a table's *rows* for a narrow window: what each is called, and below that the rest of it."""
    lines = []
    for name, *others in rows:
        lines += [name, *(each for other in others if other not in ("", "-") for each in broken(f"  {other}", width))]
    return "".join(f"{line}\n" for line in lines)


def broken(line: str, width: int, hanging: int = 0) -> list[str]:
    """Give *line* in lines of at most *width* columns, words whole; all but the first stand *hanging* columns in."""
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + hanging)
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
