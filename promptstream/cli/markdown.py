"""Pieces of an answer's Markdown in, the lines that a terminal shows of them out, by rich."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import dropwhile
from typing import Any, ClassVar

from markdown_it.token import Token
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import (
    BlockQuote,
    CodeBlock,
    Heading,
    HorizontalRule,
    ListElement,
    Markdown,
    TableElement,
    TableRowElement,
)
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from promptstream.cli.blocks import LARGEST, Piece, parser
from promptstream.cli.highlight import TAB, Highlighter, syntax
from promptstream.cli.sanitise import clean

_THEME = Theme(
    {
        "markdown.a": "underline",
        "markdown.code": "bold cyan",
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.h4": "italic",
        "markdown.h5": "italic",
        "markdown.h6": "italic",
        "markdown.hr": "dim",
        "markdown.block_quote": "italic",
        "markdown.item.bullet": "bold",
        "markdown.item.number": "bold",
        "markdown.table.header": "bold",
        "markdown.table.border": "dim",
    }
)
_RULE = 40
"""Cells of a line that sets something off; a window that is made narrower should not break it."""
_WIDEST = 100_000
"""Cells of the longest line of code that is left to the terminal to break."""
_DEEPEST = 15
"""Levels of lists and quotes within each other that are shown as such; the parser reads at most 20."""
_NESTED = 4
"""Cells that a level takes at most."""


def _rule(label: str, width: int) -> Text:
    shown = f"── {label} " if label else ""
    text = Text(shown + "─" * (min(_RULE, width) - cell_len(shown)), style="dim", no_wrap=True, overflow="ellipsis")
    text.truncate(width, overflow="ellipsis")
    return text


class _Heading(Heading):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Rule(HorizontalRule):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _rule("", options.max_width)


class _Code(CodeBlock):
    label = ""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _Code:
        made = cls((token.info.split() or ["text"])[0], "")
        made.label = token.info.strip()
        return made

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _rule(self.label, options.max_width)
        code = syntax(self.lexer_name).highlight(str(self.text).rstrip("\n").expandtabs(TAB))
        code.rstrip()
        code.overflow = "fold"
        yield code
        yield _rule("", options.max_width)


class _List(ListElement):
    mark = ""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _List:
        made = cls(token.type, int(token.attrs.get("start", 1)))
        made.mark = token.markup
        return made

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        numbered = self.list_type == "ordered_list_open"
        style = console.get_style("markdown.item.number" if numbered else "markdown.item.bullet")
        for number, item in enumerate(self.items, 1 if self.list_start is None else self.list_start):
            lead = f"{number}{self.mark}".rjust(3) + " " if numbered else " • "
            inner = options.update(width=max(1, options.max_width - len(lead)))
            lines = console.render_lines(item.elements, inner, style=item.style) or [[]]
            for place, line in enumerate(lines):
                yield Segment(" " * len(lead) if place else lead, style)
                yield from line
                yield Segment.line()


class _Quote(BlockQuote):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        inner = options.update(width=max(1, options.max_width - 2))
        for line in console.render_lines(self.elements, inner, style=self.style):
            yield Segment("▌ ", Style(dim=True))
            yield from line
            yield Segment.line()


class _Table(TableElement):
    """Show a table, or, where the words are too long for columns side by side, each row as lines of its own."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        heads = _cells(self.header.row if self.header else None)
        rows = [_cells(row) for row in self.body.rows] if self.body else []
        longest = [max(_longest_word(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
        if rows and sum(longest) + 2 * len(longest) > options.max_width:
            yield from _records(heads, rows)
            return
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, border_style="markdown.table.border")
        for head in heads:
            table.add_column(
                head, header_style="markdown.table.header", overflow="fold", justify=head.justify or "left"
            )
        for row in rows:
            table.add_row(*row)
        yield table


def _cells(row: TableRowElement | None) -> list[Text]:
    return [] if row is None else [cell.content for cell in row.cells]


def _longest_word(cell: Text) -> int:
    return max(map(cell_len, cell.plain.split()), default=1)


def _records(heads: list[Text], rows: Iterable[list[Text]]) -> Iterator[Text]:
    for place, row in enumerate(rows):
        if place:
            yield Text()
        for head, cell in zip(heads, row, strict=True):
            yield Text.assemble(Text(head.plain, style="bold"), ": " if head.plain else "", cell, justify="left")


class _Markdown(Markdown):
    elements: ClassVar = {
        **Markdown.elements,
        "heading_open": _Heading,
        "hr": _Rule,
        "fence": _Code,
        "code_block": _Code,
        "bullet_list_open": _List,
        "ordered_list_open": _List,
        "blockquote_open": _Quote,
        "table_open": _Table,
    }
    inlines = Markdown.inlines | {"a"}

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__("")
        self.parsed = tokens


class _Trimmed:
    """Be lines without the space that fills them up, and without anything that steers a terminal."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._inner, options, pad=False):
            segments = [Segment(clean(each.text), each.style) for each in line if not each.control]
            while segments and not (bare := segments[-1].text.rstrip(" ")):
                segments.pop()
            if segments:
                segments[-1] = Segment(bare, segments[-1].style)
            yield from segments
            yield Segment.line()


class Renderer:
    """Show pieces of one answer, each as it comes, for a window of any width. Not for several threads."""

    def __init__(self) -> None:
        self._console = Console(
            file=io.StringIO(),
            width=_WIDEST,
            force_terminal=True,
            theme=_THEME,
            highlight=False,
            legacy_windows=False,
        )
        self._parser = parser()
        self._code = Highlighter("")

    def lines(self, piece: Piece, width: int, *, label: str = "", last: bool = False) -> list[str]:
        """Give the lines of *piece* for a window of *width* cells, with what colours them.

        Args:
            label: what stands before it, in its first line where it is a paragraph.
            last: it is not finished; then no line is longer than the window. A finished line of code may be: it is
                the terminal that breaks it, so that it can be copied whole.
        """
        lines = [""] if piece.gap else []
        tokens = self._tokens(piece, width)
        if label and tokens and tokens[0].type == "paragraph_open" and tokens[1].children is not None:
            tokens[1].children.insert(0, Token("text", "", 0, content=label))
        elif label:
            lines.append(label.rstrip())
        if piece.kind == "fence":
            self._code = Highlighter((piece.text.split() or ["text"])[0])
            lines += self._shown(_rule(piece.text, width), width)
        elif piece.kind == "code":
            for line in self._code.lines(piece.text, last=last):
                line.overflow = "fold"
                lines += self._shown(line, width if last else max(width, line.cell_len))
        elif piece.kind == "end":
            lines += self._shown(_rule("", width), width)
        elif tokens:
            shown = self._shown(_Markdown(tokens), width)
            lines += dropwhile(lambda line: not line, shown)  # rich sets some blocks off, also from nothing
        else:
            lines += self._shown(Text(piece.text.rstrip("\n").expandtabs(TAB), overflow="fold"), width)
        return lines

    def _tokens(self, piece: Piece, width: int) -> list[Token]:
        """Give the Markdown of a block; none where it is nothing to be read as such."""
        if piece.kind != "block" or len(piece.text) > LARGEST:
            return []
        tokens = self._parser.parse(piece.text)
        deepest = max((token.level for token in tokens), default=0)
        if deepest > min(_DEEPEST, (width - 10) // _NESTED + 3):
            return []
        if piece.number is not None:
            tokens[0].attrSet("start", piece.number)
        for token in tokens:
            if token.children:
                token.children = list(_shown_inline(token.children))
        return tokens

    def _shown(self, renderable: RenderableType, width: int) -> list[str]:
        with self._console.capture() as captured:
            self._console.print(_Trimmed(renderable), width=width, end="")
        return captured.get().split("\n")[:-1]


def _shown_inline(tokens: Iterable[Token]) -> Iterator[Token]:
    """Give inline tokens so that nothing is hidden: where links lead and images lie is text, and line breaks stay."""
    opened: list[tuple[str, list[str]]] = []
    for token in tokens:
        for _, words in opened:
            words.append(token.content)
        if token.type == "softbreak":
            yield Token("hardbreak", "br", 0)
        elif token.type == "link_open":
            opened.append((_place(token), []))
            yield Token("a_open", "a", 1)
        elif token.type == "link_close" and opened:
            place, words = opened.pop()
            yield Token("a_close", "a", -1)
            if place.removeprefix("mailto:") != "".join(words):
                yield Token("text", "", 0, content=f" ({place})")
        elif token.type == "image":
            yield Token("text", "", 0, content=f"{token.content} ({_place(token)})")
        else:
            yield token


def _place(token: Token) -> str:
    given: Any = token.attrs.get("href") or token.attrs.get("src") or ""
    title = token.attrs.get("title")
    return f'{given} "{title}"' if title else str(given)
