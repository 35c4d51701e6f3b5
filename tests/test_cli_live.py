"""What a person sees of an answer at a terminal while it comes, and what is left of it in the scrollback."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_server import PATIENCE, Answer, OpenAIServer, calling
from terminals import POSIX, read_until, started, terminal

from promptstream.cli.blocks import LARGEST, Blocks, Piece
from promptstream.cli.figures import figures, figures_line
from promptstream.cli.highlight import Highlighter
from promptstream.cli.paper import LiveMarkdown
from promptstream.cli.region import Region
from promptstream.cli.status import duration
from promptstream.values.message import Message
from promptstream.values.response import Response
from promptstream.values.timing import Timing
from promptstream.values.usage import Usage

pytestmark = POSIX
OURS = re.compile(r"\x1b\[(?:[0-9;]*m|[0-9]*A|[KJ]|\?2026[hl]|\?7[hl])|\r")
"""What the view itself writes beside text and newlines."""
SOURCE = """# Title

Some **bold** text with `code` and a [link](https://example.com/a).

```python
def f(x):
    '''Doc
    string'''
    return "漢字" + x
```

1. one
2. two

   more of two
10. three

- alpha
  - beta
- gamma

| Name | Value |
|:-----|------:|
| one  | 1     |
| 漢字 | 22    |

> quoted

---
The *end*."""


class Screen(io.TextIOBase):
    """Be a terminal of so many columns and rows, which keeps what scrolls off and all that was written."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self.stream = pyte.Stream(self.screen)
        self.person, self.program = os.openpty()
        self.written = ""
        self.resize(columns, rows)

    def write(self, text: str) -> int:
        self.written += text
        self.stream.feed(text.replace("\r\n", "\n").replace("\n", "\r\n"))
        return len(text)

    def fileno(self) -> int:
        return self.program

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size; no line is broken anew."""
        fcntl.ioctl(self.program, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def leave(self) -> None:
        """Close it."""
        os.close(self.person)
        os.close(self.program)

    @property
    def lines(self) -> list[str]:
        """The scrollback and the window, without empty lines at the end."""
        above = [
            "".join(line[column].data for column in range(self.screen.columns)) for line in self.screen.history.top
        ]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip("\n").split("\n")

    @property
    def cursor(self) -> tuple[int, bool]:
        """The column it is in, and whether it shows."""
        return self.screen.cursor.x, not self.screen.cursor.hidden


@contextmanager
def screen(columns: int = 80, rows: int = 24) -> Iterator[Screen]:
    """Give a terminal, and close it with the test."""
    made = Screen(columns, rows)
    try:
        yield made
    finally:
        made.leave()


def shown(pieces: Iterable[str], columns: int = 80, rows: int = 24, label: str = "") -> Screen:
    """Show an answer that comes in *pieces*, each drawn as it comes, to its end."""
    with screen(columns, rows) as on:
        paper = LiveMarkdown(label, on)
        for piece in pieces:
            paper.put(piece)
            paper.draw()
        paper.end()
    return on


def in_order(words: Iterable[str], lines: Iterable[str]) -> bool:
    """Tell whether the lines hold every word, in this order; where a line breaks is the terminal's business."""
    text, place = re.sub(r"\s", "", "".join(lines)), 0
    for word in words:
        if (found := text.find(word, place)) < 0:
            return False
        place = found + len(word)
    return True


# What stands there in the end


def test_markdown_is_shown_as_what_it_means() -> None:
    """Headings, emphasis, code, lists, tables, quotes and rules stand there at 80 columns as they should."""
    assert shown([SOURCE]).lines == [
        "Title",
        "",
        "Some bold text with code and a link (https://example.com/a).",
        "",
        "── python ──────────────────────────────",
        "def f(x):",
        "    '''Doc",
        "    string'''",
        '    return "漢字" + x',
        "─" * 40,
        "",
        " 1. one",
        " 2. two",
        "    more of two",
        " 3. three",
        "",
        " • alpha",
        "    • beta",
        " • gamma",
        "",
        "Name   Value",
        "─" * 12,
        "one        1",
        "漢字      22",
        "",
        "▌ quoted",
        "",
        "─" * 40,
        "The end.",
    ]


def test_an_answer_looks_the_same_however_it_is_cut() -> None:
    """A code block cut at any character, and an answer cut at each, with what is there drawn in between."""
    assert shown(SOURCE).lines == shown([SOURCE]).lines
    code = "a:\n```py\nx = 1\n``\n```\n- b\n\n~~~\n```\n~~~\nend"
    whole = shown([code]).lines
    assert whole == ["a:", "── py " + "─" * 34, "x = 1", "``", "─" * 40, " • b", "", "─" * 40, "```", "─" * 40, "end"]
    for cut in range(1, len(code)):
        assert shown([code[:cut], code[cut:]]).lines == whole, code[:cut]


@pytest.mark.parametrize("columns", [40, 80])
def test_an_answer_longer_than_the_window_is_in_the_scrollback(columns: int) -> None:
    """Each line is there once, in order, also of a paragraph, a table or code that is longer than the window."""
    numbers = [f"w{number}" for number in range(300)]
    paragraph = " ".join(numbers[:200])
    code = "\n".join(f"x = '{each}'" for each in numbers[200:250])
    table = "\n".join(f"| {each} | y |" for each in numbers[250:])
    text = f"{paragraph}\n\n```python\n{code}\n```\n\n| a | b |\n|---|---|\n{table}\n\nend"
    on = shown([text[at : at + 37] for at in range(0, len(text), 37)], columns)
    assert re.findall(r"w\d+", "\n".join(on.lines)) == numbers
    assert on.lines == shown([text], columns).lines
    assert on.cursor == (0, True)


def test_what_is_finished_is_not_drawn_again() -> None:
    """Once a block is followed by another, nothing of it is written any more; a word at the end is written alone."""
    with screen() as on:
        paper = LiveMarkdown("", on)
        for piece in ("A first paragraph.\n", "\n", "A second"):
            paper.put(piece)
            paper.draw()
        before = len(on.written)
        paper.put(" one")
        paper.draw()
        assert on.written[before:] == " one"
        assert on.written.count("first") == 1


def test_a_narrow_window_gets_a_table_row_by_row() -> None:
    """Where words would have to be broken to stand side by side, each cell is a line after the name of its column."""
    table = "| Function | Description |\n|---|---|\n| alphabetical | incomprehensibility galore |\n| b | c |\n"
    assert shown([table], 30).lines == [
        "Function: alphabetical",
        "Description:",
        "incomprehensibility galore",
        "",
        "Function: b",
        "Description: c",
    ]


def test_a_label_stands_in_the_first_line_of_a_paragraph_and_above_other_blocks() -> None:
    """And it stands there once."""
    assert shown("Hello\nyou.\n\nBye.", label="Assistant: ").lines == ["Assistant: Hello", "you.", "", "Bye."]
    assert shown("- a\n- b", label="Assistant: ").lines == ["Assistant:", " • a", " • b"]


def test_nothing_a_model_writes_is_hidden() -> None:
    """HTML, definitions of links, where links and images lead, and line breaks show."""
    lines = shown(['a <b>c</b> Vec<T>\n[x](http://y "z") ![p](q)\n<https://u.v>\n\n[1]: http://ref\n\nt\n---\n']).lines
    assert lines == [
        "a <b>c</b> Vec<T>",
        'x (http://y "z") p (q)',
        "https://u.v",
        "",
        "[1]: http://ref",
        "",
        "t",
        "─" * 40,
    ]


def test_nesting_without_end_is_shown_as_it_is() -> None:
    """What would leave no room, or what the parser would drop, is plain text."""
    assert shown([">" * 60 + " deep"]).lines == [">" * 60 + " deep"]
    assert in_order(["x"], shown(["- " * 40 + "x"], 40).lines)


def test_a_block_without_end_is_shown_as_it_is() -> None:
    """What is longer than any prose is not read as Markdown, and all of it is there."""
    text = "*a " * (LARGEST // 2)
    assert "".join(shown([text[: LARGEST + 10], text[LARGEST + 10 :]]).lines).count("a") == LARGEST // 2
    assert "".join(shown([text]).lines).count("a") == LARGEST // 2


@pytest.mark.parametrize("columns", [39, 40, 80])
def test_wide_characters_leave_nothing_behind(columns: int) -> None:
    """CJK text and emoji that come piece by piece stand there as if they had come at once, whatever their width."""
    text = "漢字かな" * 30 + " 👨‍👩‍👧 🤖 ❤️ é \n\n" + "| 名前 | 値 |\n|---|---|\n| 漢字 | 👍🏽 |\n\n`終`\n"
    on = shown([text[at : at + 3] for at in range(0, len(text), 3)], columns)
    assert on.lines == shown([text], columns).lines
    assert "".join(on.lines).count("漢字かな") + "".join(on.lines).count("漢") >= 30


def test_a_model_cannot_steer_the_terminal() -> None:
    """Nothing but the view's own sequences is written, for plain controls, entities, links and names of languages."""
    evil = "\x1b[2J\x1b]0;t\x07\x9b1m\x90q\x9c\r\x08\u202e&#27;[31m&#x202E;&#155;&#13;"
    text = f"a{evil}b\n\n```py{evil}\nx{evil}\n```\n\n[l{evil}](http://x/{evil})\n\n| h{evil} |\n|---|\n| c{evil} |\n"
    for pieces in ([text], list(text)):
        assert OURS.sub("", shown(pieces).written).replace("\n", "").isprintable()


def test_a_window_that_is_resized_shows_the_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not finished is drawn anew for the new width, where it stood, by a terminal that breaks no line anew."""
    monkeypatch.setenv("STY", "1")
    text = " ".join(f"w{number}" for number in range(40))
    with screen() as on:
        paper = LiveMarkdown("", on)
        paper.put(f"Done.\n\n{text}")
        paper.draw()
        for columns in (50, 90, 30):
            on.resize(columns, 24)
            paper.draw()
        paper.put(" end")
        paper.end()
        assert re.findall(r"\w+", "\n".join(on.lines)) == ["Done", *text.split(), "end"]
        assert max(map(len, on.lines)) < 30


def test_a_terminal_that_breaks_lines_anew_is_reckoned_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it became half as wide, each line takes two rows, and the cursor goes up that many."""
    for name in ("STY", "XTERM_VERSION"):
        monkeypatch.delenv(name, raising=False)
    written: list[str] = []
    sizes = [(80, 24)]
    region = Region(written.append, lambda: sizes[-1])
    region.draw([], ["a" * 79, "b" * 79])
    sizes.append((40, 24))
    region.draw([], ["c"])
    assert written[-1] == "\x1b[3A\r\x1b[Jc"


# While it comes


def drawn(*pieces: str) -> list[str]:
    """Give what a person sees after the last piece, which is not the end."""
    with screen() as on:
        paper = LiveMarkdown("", on)
        for piece in pieces:
            paper.put(piece)
            paper.draw()
        return on.lines


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Some **bold wo", "Some bold wo"),
        ("Some **bold** wo*", "Some bold wo"),
        ("Some `code in", "Some code in"),
        ("Text\n-", "Text"),
        ("Text\n``", "Text"),
        ("Text\n```py", "Text"),
        ("| a | b |\n|--", "a   b\n─────"),
        ("| a \\| b | c", "a | b   c\n─────────"),
        ("Text\n| a", "Text\n| a"),
        ("|x| is\nbig", "|x| is\nbig"),
        ("```py\nx = 1\n``", "── py ──────────────────────────────────\nx = 1"),
    ],
)
def test_marks_that_may_become_anything_do_not_flash(text: str, seen: str) -> None:
    """What is emphasised shows so from its first letter; a line of marks waits until it is known what it is."""
    assert "\n".join(drawn(*text)) == seen


def test_pieces_are_finished_as_soon_as_they_can_be() -> None:
    """A paragraph by a blank line, an item by the next, a heading and a line of code by their end."""
    blocks = Blocks()
    blocks.feed("# A\nb\n\n1) c\n2) d\n\n```py\ne\nf")
    assert list(blocks.take()) == [
        Piece("block", "# A\n"),
        Piece("block", "b\n\n"),
        Piece("block", "1) c\n", gap=True, number=1),
        Piece("block", "2) d\n\n", number=2),
        Piece("fence", "py", gap=True),
        Piece("code", "e"),
    ]
    assert blocks.rest() == [Piece("code", "f")]
    blocks.feed("\n```\n\ng")
    assert list(blocks.take()) == [Piece("code", "f"), Piece("end")]
    assert blocks.rest() == [Piece("block", "g", gap=True)]


def test_a_numbered_list_goes_on_counting_over_its_finished_items() -> None:
    """Numbers that a model repeats count up, as Markdown has it, though the items are read one by one."""
    assert shown("3. a\n3. b\n\n3. c\n\ntext\n\n1. d\n").lines == [
        " 3. a",
        " 4. b",
        "",
        " 5. c",
        "",
        "text",
        "",
        " 1. d",
    ]


def test_code_is_coloured_by_what_it_stands_in() -> None:
    """A line in a string that began before it is coloured as one, also far below, where earlier lines are let go."""
    lines = ["x = 1", *(f"def f{number}(): return {number}" for number in range(130)), "y = '''", "inside", "'''"]
    whole = Highlighter("python").lines("\n".join(lines))
    one_by_one = Highlighter("python")
    assert [one_by_one.lines(line)[0].markup for line in lines] == [line.markup for line in whole]


WORD = st.text("abcdefgh", min_size=1, max_size=8)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Give Markdown of all kinds of blocks, and its words in order."""
    text, words = "", []
    for _ in range(draw(st.integers(1, 6))):
        some = draw(st.lists(WORD, min_size=2, max_size=12))
        kind = draw(st.sampled_from(["paragraph", "heading", "bullets", "numbers", "code", "quote", "table", "link"]))
        mark = draw(st.sampled_from(["", "**", "*", "`", "~~"]))
        pairs = list(zip(some[::2], some[1::2], strict=False))
        if kind in ("table", "link"):  # a table that is too wide goes row by row, with its head beside each cell
            some = [each for pair in pairs for each in pair]
        text += {
            "paragraph": f"{mark}{' '.join(some)}{mark}",
            "heading": "## " + " ".join(some),
            "bullets": "\n".join(f"- {each}" for each in some),
            "numbers": "\n".join(f"{place}. {mark}{each}{mark}" for place, each in enumerate(some, 1)),
            "code": "```python\n" + "\n".join(some) + "\n```",
            "quote": "> " + "\n> ".join(some),
            "table": "\n| head | tail |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in pairs),
            "link": " ".join(f"[{a}](http://{b})" for a, b in pairs),
        }[kind] + draw(st.sampled_from(["\n\n", "\n\n", "\n", "\n\n\n"]))
        words += some
    return text, words


@settings(max_examples=15, deadline=None)
@given(documents(), st.sampled_from([(80, 24), (40, 10), (25, 5)]), st.integers(1, 40))
def test_every_word_is_in_the_scrollback_in_order(
    document: tuple[str, list[str]], size: tuple[int, int], step: int
) -> None:
    """Whatever the blocks, the window and the pieces are."""
    text, words = document
    on = shown([text[at : at + step] for at in range(0, len(text), step)], *size)
    assert in_order(words, on.lines)
    assert on.lines == shown([text], *size).lines
    assert on.cursor == (0, True)


@settings(max_examples=25, deadline=None)
@given(st.text("ab `*_#>-[]()!\n\t1.~<\\漢", max_size=120), st.integers(1, 20))
def test_no_letter_of_any_text_is_lost(text: str, step: int) -> None:
    """Also of what is no Markdown at all."""
    lines = shown([text[at : at + step] for at in range(0, len(text), step)], 50, 8).lines
    assert in_order(re.findall("[ab]", text), lines)


# Figures


def test_unknown_figures_say_so() -> None:
    """Nothing that is not known is shown as 0."""
    bare = Response(message=Message("assistant"))
    known = dict(figures(bare))
    assert {name for name, value in known.items() if value == "unknown"} == {
        "Model",
        "Provider",
        "To first text",
        "Total time",
        "Tokens in",
        "  cached",
        "Tokens out",
        "  reasoning",
        "Tokens/s",
        "Cost",
    }
    assert figures_line(bare) == "model unknown · tokens unknown · cost unknown"


def test_figures_are_told_as_they_are() -> None:
    """The line has the most important ones, the list all of them."""
    answer = Response(
        model="m-1\x1b[31m",
        provider="p",
        finish_reason="length",
        usage=Usage(1200, 34, cached=1000, reasoning=20),
        cost=Decimal("0.000123"),
        timing=Timing(first=0.25, total=2.5, chunks=17, characters=1234, tokens_per_second=15.2),
        rounds=2,
        complete=True,
    )
    assert figures_line(answer) == "m-1 · first 250 ms, all 2.5 s · 1,200 → 34 tokens · 15/s · $0.00012"
    assert dict(figures(answer)) == {
        "Model": "m-1",
        "Provider": "p",
        "Ended": "length",
        "Chunks": "17",
        "Characters": "1,234",
        "To first text": "250 ms",
        "Total time": "2.5 s",
        "Tokens in": "1,200",
        "  cached": "1,000",
        "Tokens out": "34",
        "  reasoning": "20",
        "Tokens/s": "15.2",
        "Cost": "$0.00012",
        "Requests": "2",
    }


def test_a_duration_is_told_as_a_person_says_it() -> None:
    """Tenths below a second, then seconds, then minutes."""
    assert [duration(each) for each in (0.04, 0.94, 0.96, 59.4, 61, 3725)] == [
        "0.0 s",
        "0.9 s",
        "1 s",
        "59 s",
        "1 min 1 s",
        "62 min 5 s",
    ]


# The program


def seen_by(person: int, on: Screen, until: str) -> str:
    """Read what the program writes until *until*, let the screen show it, and give it."""
    text = read_until(person, until)
    on.write(text)
    return text


def echoes(person: int) -> bool:
    """Tell whether the terminal shows the keys that are pressed."""
    return bool(termios.tcgetattr(person)[3] & termios.ECHO)


def thinking(*pieces: str) -> list[dict[str, Any]]:
    """Give deltas of reasoning."""
    return [{"reasoning_content": piece} for piece in pieces]


def test_a_person_sees_the_wait_the_thoughts_and_the_answer() -> None:
    """A wheel until something comes, then that the model thinks; a line of that is left, and the answer as Markdown."""
    first, then, last = threading.Event(), threading.Event(), threading.Event()
    pieces = [first, *thinking("Secret ", "thought."), then, "Some **bo", last, "ld** text."]
    with (
        screen() as on,
        OpenAIServer(Answer(pieces, finish="length")) as server,
        terminal(server, "ask", "x", "--stats-line") as (child, person),
    ):
        seen_by(person, on, " 0 s")
        assert re.fullmatch("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] 0 s", on.lines[-1])
        first.set()
        seen_by(person, on, "thinking… ")
        then.set()
        seen_by(person, on, "bo")
        assert on.lines[-1] == "Some bo"
        last.set()
        seen_by(person, on, "tokens")
        assert child.wait(PATIENCE) == 0
    assert re.fullmatch(r"thought for [\d.]+ s", on.lines[1])
    assert on.lines[2:4] == ["Some bold text.", "[cut at the token limit]"]
    assert on.lines[4].startswith("gpt-5-mini · first ")
    assert "Secret" not in on.written
    assert on.screen.buffer[2][5].bold


OWNING = """import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("promptstream", run_name="__main__")
"""
"""Makes the terminal the program's own, so that its Ctrl-C reaches it; then runs the command line."""


def test_ctrl_c_leaves_the_terminal_clean() -> None:
    """What had come is finished, and the line ended; keys pressed meanwhile show no more than the Ctrl-C does."""
    with (
        screen() as on,
        OpenAIServer(["Done.\n\n- Half **an ans", threading.Event()]) as server,
        subprocess.Popen(
            [sys.executable, "-c", OWNING, "ask", "x", "--stats"],
            env=server.environment(TERM="xterm"),
            stdin=on.program,
            stdout=on.program,
            stderr=on.program,
            start_new_session=True,
        ) as child,
    ):
        seen_by(on.person, on, "ans")
        assert not echoes(on.person)
        os.write(on.person, b"typed\n\x03")
        seen_by(on.person, on, "[stopped]")
        assert child.wait(PATIENCE) == 130
        assert echoes(on.person)
    assert on.lines[1:4] == ["Done.", "", " • Half **an ans"]
    assert on.lines[4].startswith("╭")
    assert any(re.match(r"│ Ended +cancelled +│", line) for line in on.lines)
    assert on.lines[-1].startswith("[stopped]")
    assert on.screen.cursor.hidden is False


def test_all_thoughts_are_shown_to_who_asks_for_them() -> None:
    """They stand before the answer, broken between words, and nothing in them steers the terminal."""
    thought = "I think \x1b[2J" + "therefore " * 12
    with (
        screen() as on,
        OpenAIServer([*thinking(thought), "Hi."]) as server,
        terminal(server, "ask", "x", "--reasoning-view", "full") as (child, person),
    ):
        seen_by(person, on, "Hi.\r\n")
        assert child.wait(PATIENCE) == 0
    assert on.lines[1] == "thinking…"
    assert on.lines[2] == "I think" + " therefore" * 7
    assert on.lines[3] == "therefore " * 4 + "therefore"
    assert on.lines[4].startswith("thought for 0.")
    assert on.lines[5] == "Hi."


def test_what_a_tool_prints_stands_above_the_wait_for_it(tmp_path: Path) -> None:
    """Calls and results are a line each, clipped to the window; what is waited for leaves no trace."""
    path, go = tmp_path / "talking.py", tmp_path / "go"
    path.write_text(
        "import pathlib, promptstream, time\n@promptstream.tool\ndef look(city: str) -> str:\n    print('printed')\n"
        f"    while not pathlib.Path({str(go)!r}).exists():\n        time.sleep(0.01)\n"
        "    print(input('name? '))\n    return 'mild ' * 50\n"
    )
    with (
        screen() as on,
        OpenAIServer(calling(("c", "look", '{"city": "Oslo"}'), text="I **look**."), "Mild.") as server,
        terminal(server, "ask", "x", "--yes", "--tools", str(path)) as (child, person),
    ):
        seen_by(person, on, "printed")
        seen_by(person, on, "look 0 s")
        go.touch()
        seen_by(person, on, "name? ")
        os.write(person, b"Ann\n")
        seen_by(person, on, "Mild.\r\n")
        assert child.wait(PATIENCE) == 0
    lines = on.lines[on.lines.index("I look.") + 1 :]
    assert [line for line in lines if line] == [
        '→ look(city="Oslo")',
        "printed",
        "name? Ann",
        "Ann",
        "← " + "mild " * 15 + "m…",
        "Mild.",
    ]


def test_the_wait_for_a_tool_names_it_once_it_runs_and_keys_leave_nothing_there(tmp_path: Path) -> None:
    """A call that waits for a person's word does not look as if it ran; keys show while the tool asks, not before."""
    path, go, gate = tmp_path / "slow.py", tmp_path / "go", threading.Event()
    path.write_text(
        "import pathlib, promptstream, time\n@promptstream.tool\ndef look() -> str:\n"
        f"    while not pathlib.Path({str(go)!r}).exists():\n        time.sleep(0.01)\n"
        "    return input('sure? ')\n"
    )
    answer = Answer([*calling(("c", "look", "{}")).pieces, gate], finish="tool_calls")
    with (
        screen() as on,
        OpenAIServer(answer, "Mild.") as server,
        terminal(server, "ask", "x", "--tools", str(path)) as (child, person),
    ):
        seen_by(person, on, " 0 s")
        assert on.written.count("look") == on.written.count("Tools: look") == 1
        gate.set()
        seen_by(person, on, "[e]dit: ")
        assert re.search(r"look\(\)\? \[y\]es", on.written)
        os.write(person, b"y\n")
        seen_by(person, on, "look 0 s")
        assert not echoes(person)
        go.touch()
        seen_by(person, on, "sure? ")
        assert echoes(person)
        os.write(person, b"certain\n")
        seen_by(person, on, "Mild.\r\n")
        assert child.wait(PATIENCE) == 0
        assert echoes(person)
    assert [line for line in on.lines if line][-4:] == [
        "run look()? [y]es / [n]o / [e]dit: y",
        "sure? certain",
        "← certain",
        "Mild.",
    ]


@pytest.mark.parametrize(
    ("more", "environment"),
    [(["--plain"], {}), ([], {"TERM": "dumb"}), ([], {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})],
)
def test_plain_text_is_printed_as_it_comes(more: list[str], environment: dict[str, str]) -> None:
    """By --plain, on a terminal nothing can be drawn on, or one that lacks the characters for it."""
    answer = [*thinking("hm"), "Some **bold**\n\n", "- text"]
    with (
        OpenAIServer(answer) as server,
        terminal(server, "ask", "x", *more, environment={"NO_COLOR": "1", **environment}) as (child, person),
    ):
        seen = read_until(person, "text\r\n")
        assert child.wait(PATIENCE) == 0
    assert seen.partition("\r\n")[2] == "Some **bold**\r\n\r\n- text\r\n"


def test_without_colours_nothing_has_one() -> None:
    """NO_COLOR leaves bold and underlined text, and takes every colour."""
    with (
        OpenAIServer(["```python\ndef f(): 1\n```\n`x` end"]) as server,
        terminal(server, "ask", "x", environment={"NO_COLOR": "1"}) as (child, person),
    ):
        seen = read_until(person, " end")
        assert child.wait(PATIENCE) == 0
    assert {code for codes in re.findall(r"\x1b\[([\d;]*)m", seen) for code in codes.split(";")} <= {"", "0", "1", "2"}


def test_a_pipe_gets_the_text_alone_while_a_person_watches() -> None:
    """The wait and the thoughts show on the terminal that standard error is, and leave standard output alone."""
    gate = threading.Event()
    with (
        screen() as on,
        OpenAIServer([gate, *thinking("hm"), "Some **bold**\n\n", "- text"]) as server,
        terminal(server, "ask", "x", stdout=subprocess.PIPE) as (child, person),
    ):
        seen_by(person, on, " 0 s")
        gate.set()
        seen_by(person, on, "thought for 0.")
        assert child.stdout is not None
        assert child.stdout.read() == b"Some **bold**\n\n- text\n"
        assert child.wait(PATIENCE) == 0
    assert len(on.lines) == 2


def test_nothing_moves_where_nobody_watches() -> None:
    """Into pipes goes the text, and the thoughts where they are asked for."""
    with (
        OpenAIServer([*thinking("hm"), "**x**"]) as server,
        started(server, "ask", "x", "--reasoning-view", "full") as child,
    ):
        out, errors = child.communicate(timeout=PATIENCE)
    assert out == b"**x**\n"
    assert re.fullmatch(rb"thinking\xe2\x80\xa6\nhm\nthought for [\d.]+ s\n", errors)
