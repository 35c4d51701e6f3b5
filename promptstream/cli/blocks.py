"""An answer's Markdown in, as it comes; the pieces of it that can change no more out, and what is there of the next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Literal

import attrs
from markdown_it import MarkdownIt

LARGEST = 20_000
"""Characters of one block that are read as Markdown; more of them are no prose, and text can be made to take long."""
# What would keep some of the text from being seen is off: HTML is text, and so are definitions that links refer to.
# Nor does a line of dashes make a heading of the paragraph above it: models mean a rule.
_OFF = ["reference", "lheading", "html_block", "html_inline"]
_BLANK = re.compile(r"(?:[ \t]*\n)+")
_UNDECIDED = re.compile(r"[ \t]*(?:[-+*>#|=:]+|\d{1,9}[.)]?|`{3}.*|~{3}.*)?[ \t]*")
_RULED = "|-: \t"
"""What the line below the head of a table is made of."""
_CELL_END = re.compile(r"(?<!\\)\|")
_CLOSED_BY_BLANK = ("paragraph_open", "table_open", "blockquote_open")
Kind = Literal["block", "plain", "fence", "code", "end"]


def parser() -> MarkdownIt:
    """Give what reads Markdown as it is shown here."""
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable(_OFF)


@attrs.frozen
class Piece:
    """Be a part of an answer that is shown by itself."""

    kind: Kind
    """block: Markdown; plain: text as it is; fence, code and end: the parts of a code block."""
    text: str = ""
    """Of a fence: what the code is, as the model says it."""
    gap: bool = False
    """True where a blank line stands before it."""
    number: int | None = None
    """Of an item of a numbered list: the one it has."""


@attrs.frozen
class _Unit:
    kind: str
    """The type of the token it begins with."""
    start: int
    """Its first line."""
    mark: str = ""
    info: str = ""
    number: int | None = None


@attrs.frozen
class _Fence:
    mark: str
    indent: int

    def ends(self, line: str) -> bool:
        """Tell whether *line* closes it (CommonMark 0.31, section 4.5)."""
        bare = line.strip()
        return len(bare) >= len(self.mark) and set(bare) == {self.mark[0]} and len(line) - len(line.lstrip()) < 4

    def inner(self, line: str) -> str:
        """Give a line of the code without the indentation of the fence."""
        return line[min(self.indent, len(line) - len(line.lstrip(" "))) :]


class Blocks:
    """Cut Markdown where it is finished: a block once the next one begins, an item of a list, a line of code.

    A line counts once it is whole, for what it becomes is open until then. Not for several threads.
    """

    def __init__(self) -> None:
        self._text = ""
        """What is not taken yet."""
        self._fence: _Fence | None = None
        self._begun = False
        self._gap = False
        self._next: tuple[str, int] | None = None
        """The mark and the number that the list goes on with, where a numbered item was taken last."""
        self._structure = parser().disable("inline")

    def feed(self, text: str) -> None:
        """Add *text*."""
        self._text += text

    def take(self, *, final: bool = False) -> Iterator[Piece]:
        """Give the pieces that are finished, each once; all there are where the text ends here."""
        left = -1
        while left != len(self._text):
            left = len(self._text)
            yield from self._taken(self._code(final) if self._fence else self._blocks(final))
        if final and self._fence:
            self._fence = None
            yield Piece("end")

    def rest(self) -> list[Piece]:
        """Give what is there of the unfinished, as it will probably become; call it after :meth:`take`."""
        if self._fence is not None:
            undecided = self._text.strip() and not self._text.strip().strip(self._fence.mark[0])
            return [Piece("code", self._fence.inner(self._text))] if self._text and not undecided else []
        text = _settled(self._text)
        blank = _BLANK.match(text)
        text = text[blank.end() :] if blank else text
        if not text.strip():
            return []
        gap = self._begun and (self._gap or blank is not None)
        return [piece for piece, _ in self._pieces(text, self._units(text), gap)]

    def _taken(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        for piece in pieces:
            self._begun = True
            yield piece

    def _blocks(self, final: bool) -> Iterator[Piece]:
        text = self._text if final else self._text[: self._text.rfind("\n") + 1]
        if blank := _BLANK.match(text):
            self._gap, self._text = True, self._text[blank.end() :]
            return
        if not text.strip():
            if final or len(self._text) > LARGEST:
                yield from self._as_it_is()
            return
        units = self._units(text)
        lines = text.split("\n")
        opened = _opened(units[-1], lines) if not final else None
        whole = units if final or (opened is None and _finished(units[-1], text)) else units[:-1]
        pieces = self._pieces(text, units, self._gap and self._begun)[: len(whole)]
        for (piece, end), unit in zip(pieces, whole, strict=True):
            self._next = None if piece.number is None else (unit.mark, piece.number + 1)
            if unit.kind == "fence":
                yield from _fenced(piece, unit)
            else:
                yield piece
            self._gap = _ends_blank(text[:end])
        self._text = self._text[pieces[-1][1] :] if pieces else self._text
        if opened is not None:
            gap = self._gap and self._begun
            self._fence, self._gap, self._next = opened, False, None
            self._text = self._text[self._text.index("\n") + 1 :]
            yield Piece("fence", units[-1].info, gap)
        elif not pieces and len(self._text) > LARGEST:
            yield from self._as_it_is()

    def _as_it_is(self) -> Iterator[Piece]:
        text, self._text = self._text, ""
        if text.strip():
            yield Piece("plain", text.rstrip("\n"), self._gap and self._begun)
            self._gap = False

    def _code(self, final: bool) -> Iterator[Piece]:
        assert self._fence is not None
        *lines, left = self._text.split("\n")
        if left and (final or len(left) > LARGEST):
            lines, left = [*lines, left], ""
        for place, line in enumerate(lines):
            if self._fence.ends(line):
                if place:
                    yield Piece("code", "\n".join(map(self._fence.inner, lines[:place])))
                self._text, self._fence = "\n".join([*lines[place + 1 :], left]), None
                yield Piece("end")
                return
        self._text = left
        if lines:
            yield Piece("code", "\n".join(map(self._fence.inner, lines)))

    def _units(self, text: str) -> list[_Unit]:
        """Give the blocks of *text*; of a list its items."""
        units: list[_Unit] = []
        number: int | None = None
        for token in self._structure.parse(text):
            if token.map is None:
                continue
            if token.level == 0 and token.type in ("bullet_list_open", "ordered_list_open"):
                first = token.attrGet("start")
                number = None if token.type == "bullet_list_open" else 1 if first is None else int(first)
                if number is not None and not units and self._next and self._next[0] == token.markup:
                    number = self._next[1]
            elif token.level == 1 and token.type == "list_item_open":
                units.append(_Unit(token.type, token.map[0], token.markup, number=number))
                number = None if number is None else number + 1
            elif token.level == 0:
                units.append(_Unit(token.type, token.map[0], token.markup, token.info.strip()))
        return units

    def _pieces(self, text: str, units: list[_Unit], gap: bool) -> list[tuple[Piece, int]]:
        """Give each unit as a piece, and where in *text* it ends."""
        lines = text.split("\n")
        places = [0, *accumulate(len(line) + 1 for line in lines)]
        ends = [places[unit.start] for unit in units[1:]] + [len(text)]
        pieces: list[tuple[Piece, int]] = []
        for unit, end in zip(units, ends, strict=True):
            source = text[places[unit.start] : end]
            gap = gap if not pieces else not lines[unit.start - 1].strip()
            pieces.append((Piece("block", source, gap, unit.number), end))
        return pieces


def _opened(unit: _Unit, lines: list[str]) -> _Fence | None:
    """Give the fence that the last unit opens and nothing closes yet."""
    if unit.kind != "fence":
        return None
    fence = _Fence(unit.mark, len(lines[unit.start]) - len(lines[unit.start].lstrip(" ")))
    return None if any(map(fence.ends, lines[unit.start + 1 :])) else fence


def _fenced(piece: Piece, unit: _Unit) -> Iterator[Piece]:
    """Give a code block that is there as a whole in its parts."""
    opening, *lines = piece.text.rstrip("\n").split("\n")
    fence = _Fence(unit.mark, len(opening) - len(opening.lstrip(" ")))
    end = next((place for place, line in enumerate(lines) if fence.ends(line)), None)
    yield Piece("fence", unit.info, piece.gap)
    if code := lines[:end]:
        yield Piece("code", "\n".join(map(fence.inner, code)))
    yield Piece("end")


def _finished(unit: _Unit, text: str) -> bool:
    """Tell whether no line that follows can belong to the last unit of *text*."""
    if unit.kind in ("heading_open", "hr", "fence"):
        return True
    return unit.kind in _CLOSED_BY_BLANK and _ends_blank(text)


def _ends_blank(text: str) -> bool:
    """Tell whether the last line of *text* is whole and blank."""
    return text.endswith("\n") and not text[:-1].rpartition("\n")[2].strip()


def _table_begun(text: str) -> str:
    """Give *text* with what makes a table of its last paragraph; empty where that is not the head of one so far."""
    start = text.rfind("\n\n") + 2 if "\n\n" in text else len(text) - len(text.lstrip("\n"))
    head, _, below = text[start:].partition("\n")
    if not head.startswith("|") or not head.strip(_RULED) or below.strip(_RULED):
        return ""
    cells = head.rstrip().strip("|")
    return f"{text[:start]}|{cells}|\n{'|---' * len(_CELL_END.split(cells))}|\n"


def _settled(text: str) -> str:
    """Give *text* without marks at its end that may become anything, and what is emphasised so far closed."""
    if table := _table_begun(text):
        return table
    before, newline, line = text.rpartition("\n")
    if _UNDECIDED.fullmatch(line):
        return before + newline
    text = text.rstrip("*_~`")
    paragraph = text[text.rfind("\n\n") + 1 :]
    if "```" in paragraph or "~~~" in paragraph:
        return text
    for mark in ("`", "**"):
        if paragraph.count(mark) % 2:
            return text.rstrip() + mark
    return text
