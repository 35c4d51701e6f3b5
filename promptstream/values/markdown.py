"""A model's Markdown in, HTML that is safe in a page of somebody else's out.

Whoever parses the Markdown must be the one who writes the HTML: two parsers that disagree on where code ends disagree
on what is markup. So front ends are given HTML, made here, and never the Markdown itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from promptstream.values.sanitise import Sanitiser, clean
from promptstream.values.surrogates import mend

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

_BOX = (
    "background: rgba(128, 128, 128, .12); padding: .6em .8em; margin: .6em 0; border-radius: 4px; overflow-x: auto; "
    "font-family: monospace"
)
"""How code stands out, on light and on dark."""
_SPAN = r"{}(?:(?!{}).){{1,600}}?{}"
_MATH = re.compile(
    "|".join(
        (
            _SPAN.format(r"\$\$", r"\$\$", r"\$\$"),
            _SPAN.format(r"\\\[", r"\\\]", r"\\\]"),
            _SPAN.format(r"\\\(", r"\\\)", r"\\\)"),
            r"\$(?![\s$])[^$]{0,600}?(?<![\s\\])\$(?!\d)",
        )
    ),
    re.S,
)
_ACTIVE = re.compile(r"\\(href|url|require|class|style|cssId|html|data)", re.I)
"""What formulas may do beside being formulas."""
Section = tuple[str, str]
"""The HTML of a part of a text, and that part as plain text."""
SECTION = 16_000
"""Characters after which another section is begun, so that what is sent to a front end at once stays small."""
SETTLE = 2_000
"""Characters of Markdown that are parsed anew with each look, before what cannot change any more is set aside."""
LARGEST = 200_000
"""Characters that are read as Markdown in one go; more of them show as they are, for text can be made to take long."""
_LINK = re.compile(r"(https?://|mailto:)", re.I)


def available() -> bool:
    """Tell whether markdown-it-py is installed."""
    return find_spec("markdown_it") is not None


def plain(text: str) -> str:
    """Give *text* as HTML that shows every character of it, but for those that steer a terminal."""
    return escape(clean(mend(text)))


def preformatted(text: str) -> str:
    """Give *text* as a paragraph that keeps its line breaks."""
    return f'<div style="white-space: pre-wrap; overflow-wrap: anywhere">{plain(text)}</div>'


def render(text: str) -> str:
    """Give Markdown as HTML; the text as it is where markdown-it-py is not installed or the text is huge.

    HTML in it shows as text. Links lead to http, https and mailto alone, and pictures are links: one that is loaded
    by itself would tell its address, and what a model was made to put into it, to whoever serves it.
    Any thread may call it.
    """
    if not available() or len(text) > LARGEST:
        return preformatted(text)
    return str(_parser().render(clean(mend(text)), {}))


class Markdown:
    """Hold Markdown that still grows, and give its HTML as often as it is asked for, at a cost that does not grow.

    It is given in sections, of which the last one alone may still change. Pieces may be added by one thread while
    another looks.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._taken = 0
        self._over = False
        self._sanitiser = Sanitiser()
        self._closed: list[Section] = []
        self._settled: list[Section] = []
        """Of the section that grows: what cannot change any more."""
        self._tail = ""
        self._references: dict[str, Any] = {}

    def add(self, text: str) -> None:
        """Add a piece."""
        self._pieces.append(text)

    def end(self) -> None:
        """Let what is held back, of a control sequence that never ended, be shown."""
        self._over = True
        self._pieces.append("")

    @property
    def changed(self) -> bool:
        """True where something came since the last look."""
        return self._taken < len(self._pieces)

    def sections(self) -> list[Section]:
        """Give what came so far. One thread looks."""
        over, pieces = self._over, self._pieces[self._taken :]
        self._taken += len(pieces)
        self._tail += self._sanitiser.feed(mend("".join(pieces))) + (self._sanitiser.flush() if over else "")
        if len(self._tail) > LARGEST:
            self._settle(preformatted(self._tail), len(self._tail))
        tokens = _parser().parse(self._tail, self._references)
        if len(self._tail) > SETTLE and (last := _last_block(tokens)):
            lines = self._tail.split("\n")[: (tokens[last].map or [0])[0]]
            self._settle(_html(tokens[:last], self._references), sum(map(len, lines)) + len(lines))
            tokens = _parser().parse(self._tail, self._references)
        return [*self._closed, _joined([*self._settled, (_html(tokens, self._references), self._tail)])]

    def _settle(self, html: str, length: int) -> None:
        """Set the first *length* characters aside, which are *html*; enough of them are a section."""
        self._settled.append((html, self._tail[:length]))
        self._tail = self._tail[length:]
        if sum(len(text) for _, text in self._settled) > SECTION:
            self._closed.append(_joined(self._settled))
            self._settled = []


def _joined(sections: Sequence[Section]) -> Section:
    return "".join([html for html, _ in sections]), "".join([text for _, text in sections])


def _last_block(tokens: Sequence[Token]) -> int:
    """Give where the last block begins: what comes may still change it, and nothing before it."""
    starts = [place for place, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0 and token.map]
    return starts[-1] if starts else 0


def _html(tokens: Sequence[Token], env: dict[str, Any]) -> str:
    parser = _parser()
    return str(parser.renderer.render(tokens, parser.options, env))


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.validateLink = lambda url: _LINK.match(url) is not None  # type: ignore[method-assign]
    parser.inline.ruler.before("escape", "math", _math)
    parser.add_render_rule("math", lambda _, tokens, place, *__: tokens[place].content)
    parser.add_render_rule("link_open", _link)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("fence", _code)
    parser.add_render_rule("th_open", _cell)
    parser.add_render_rule("td_open", _cell)
    parser.add_render_rule("code_block", _code)
    return parser


def _link(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    token = tokens[place]
    return _anchor(str(token.attrs.get("href", "")), str(token.attrs.get("title", "")))


def _image(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    token = tokens[place]
    return _anchor(str(token.attrs.get("src", "")), "") + f"🖼 {escape(token.content) or 'picture'}</a>"


def _code(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    return f'<pre style="{_BOX}">{escape(tokens[place].content)}</pre>\n'


def _cell(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    side = tokens[place].attrs.get("style") or "text-align:left"  # where front ends align to the right
    return f'<{tokens[place].tag} style="{escape(str(side))}">'


def _anchor(address: str, title: str) -> str:
    named = f' title="{escape(title)}"' if title else ""
    return f'<a href="{escape(address)}"{named} target="_blank" rel="noopener noreferrer">'


def _math(state: StateInline, silent: bool) -> bool:
    """Keep a formula as it is, for front ends that typeset it; a dollar that begins none is kept from seeming to."""
    if state.src[state.pos] not in "$\\":
        return False
    found = _MATH.match(state.src, state.pos, state.posMax)
    if found is not None and not _ACTIVE.search(found[0]):
        shown, length = escape(found[0]), len(found[0])
    elif state.src.startswith(("$", "\\$"), state.pos):
        shown, length = "<span>$</span>", 2 if state.src[state.pos] == "\\" else 1
    else:
        return False
    if not silent:
        state.push("math", "", 0).content = shown
    state.pos += length
    return True
