"""How far an answer, or many of them, are: told to a function, drawn on a terminal, or not at all."""

from __future__ import annotations

import io
import sys
import threading
from typing import Any

import pytest
from openai_server import PATIENCE, OpenAIServer
from screens import Screen

import promptstream
from promptstream import bars
from promptstream.errors import ConfigError, StateError
from promptstream.progress import Count, Progress, track
from promptstream.providers import Scripted


def hide_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rich seem not to be installed."""
    for name in {"rich", *(name for name in sys.modules if name.startswith("rich."))}:
        monkeypatch.setitem(sys.modules, name, None)


# An answer


def test_a_function_is_told_how_far_the_answer_is() -> None:
    """At the beginning and at the end, and now and then between; the last one has all figures."""
    script = [promptstream.Chunk(promptstream.ChunkType.REASONING, reasoning="Hm."), 0.0, "Hello", " there."]
    provider = Scripted([[*script, promptstream.Usage(5, 7)]])
    told: list[Progress] = []
    response = provider.send("Hi", progress=told.append, max_tokens=50)
    assert response.text == "Hello there."
    first, last = told[0], told[-1]
    assert (first.chunks, first.characters, first.tokens, first.max_tokens, first.done) == (0, 0, None, 50, False)
    assert (last.chunks, last.characters, last.reasoning, last.tokens, last.done) == (3, 12, 3, 7, True)
    assert [each.elapsed for each in told] == sorted(each.elapsed for each in told)
    assert (first.part, last.part) == (None, (1, 1))
    assert [each.done for each in told[:-1]] == [False] * (len(told) - 1)


def test_a_function_is_told_between_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not more often than a person could read it."""
    monkeypatch.setattr(bars, "EVERY", 0.0)
    told: list[Progress] = []
    conv = promptstream.chat(provider=Scripted([["a", "bc"]]))
    assert conv.send("Hi", progress=told.append).text == "abc"
    assert [each.characters for each in told if each.chunks][:2] == [1, 3]
    assert conv.last is not None
    told.clear()
    stream = Scripted([["a", "bc"]]).stream("Hi")
    assert stream.result(progress=told.append).text == "abc"
    assert told[-1].done


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress(elapsed=2.04), "waiting, 2.0 s"),
        (Progress(chunks=2, reasoning=1234, elapsed=2), "thinking, 1,234 characters, 2.0 s"),
        (Progress(2, 1234, 0, 99, None, 2.0), "1,234 characters, 99 tokens, 2.0 s"),
        (Progress(2, 1234, 0, 99, 400, 2.0), "1,234 characters, 99 tokens of 400, 2.0 s"),
        (Count(), "0, 0 s"),
        (Count(3, 12, "Prompts", 61.0), "Prompts: 3 of 12, 1 min 01 s, 3 min 03 s left"),
        (Count(12, 12, "", 3661.0, True), "12 of 12, 1 h 01 min"),
    ],
)
def test_it_reads_as_a_line(progress: Progress | Count, line: str) -> None:
    """What a bar shows beside it is also what print shows."""
    assert str(progress) == line


def test_what_a_function_raises_is_raised_and_hangs_up() -> None:
    """The connection is let go at once, and the conversation keeps what had come."""

    def refuse(progress: Progress) -> None:
        if progress.chunks:
            raise ValueError("enough")

    with OpenAIServer(["Once", threading.Event()]) as server:
        conv = promptstream.chat(provider="compatible", base_url=server.url, model="toy")
        with pytest.raises(ValueError, match="enough") as caught:
            bars_every_time(conv, refuse)
        assert server.hung_up.wait(PATIENCE)
        assert caught.value is not None
        assert conv.messages[-1].text == "Once"
        assert conv.messages[-1].finish_reason == "cancelled"
        conv.close()


def bars_every_time(conv: promptstream.Conversation, function: Any) -> None:
    """Send with *function* told of every chunk."""
    every, bars.EVERY = bars.EVERY, 0.0
    try:
        conv.send("Hi", progress=function)
    finally:
        bars.EVERY = every


def test_an_error_is_raised_as_it_is() -> None:
    """A bar changes nothing of how an answer ends."""
    told: list[Progress] = []
    provider = Scripted([["Half", promptstream.errors.Truncated("cut")]])
    with pytest.raises(promptstream.errors.Truncated, match="cut") as caught:
        provider.send("Hi", progress=told.append)
    assert caught.value.response.text == "Half"
    assert not told[-1].done


def test_what_is_no_progress_is_refused_before_anything_is_sent() -> None:
    """A number says nothing."""
    provider = Scripted(["Hi"])
    with pytest.raises(TypeError, match="progress=3: give True for a bar"):
        provider.send("Hi", progress=3)  # type: ignore[arg-type]
    assert provider.requests == []


def test_a_stream_that_another_thread_reads_is_left_alone() -> None:
    """Nobody's loop is ended by somebody who wanted to watch."""
    gate, begun = threading.Event(), threading.Event()

    def middle(request: Any, following: Any) -> Any:
        for chunk in following(request):
            begun.set()
            gate.wait(PATIENCE)
            yield chunk

    conv = promptstream.chat(provider=Scripted(["Hi"]), middleware=[middle])
    stream = conv.stream("Hi")
    thread = threading.Thread(target=stream.result)
    thread.start()
    assert begun.wait(PATIENCE)
    with pytest.raises(StateError, match="Another thread"):
        stream.result(progress=lambda progress: None)
    gate.set()
    thread.join(PATIENCE)
    assert stream.response.complete


def test_what_came_before_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was read in part or whole begins with that, and ends with the answer's own figures."""
    monkeypatch.setattr(bars, "EVERY", 0.0)
    thought = promptstream.Chunk(promptstream.ChunkType.REASONING, reasoning="Hm.")
    stream = Scripted([[thought, "Once ", "upon ", "a time", promptstream.Usage(5, 7)]]).stream("Hi")
    chunks = iter(stream)
    next(chunks), next(chunks)
    told: list[Progress] = []
    response = stream.result(progress=told.append)
    figures = [(each.chunks, each.characters, each.reasoning) for each in told]
    assert (figures[0], figures[-1]) == ((2, 5, 3), (4, 16, 3))
    assert response.timing.total is not None
    assert told[0].elapsed <= told[-1].elapsed == response.timing.total
    told.clear()
    assert stream.result(progress=told.append) is response
    last = Progress(4, 16, 3, 7, None, response.timing.total, True)
    assert told == [Progress(4, 16, 3, 7, None, response.timing.total), last]


def test_a_buffered_stream_tells_how_far_it_is() -> None:
    """By what came, not by what was taken; what the function raises hangs up, and what is no progress does nothing."""
    told: list[Progress] = []
    with Scripted([["Once ", "upon"]]).stream("Hi", max_tokens=9).buffered() as buffered:
        buffered.get()
        with pytest.raises(TypeError, match="progress=3"):
            buffered.result(progress=3)  # type: ignore[arg-type]
        assert buffered.result(progress=told.append).text == "Once upon"
    assert (told[-1].chunks, told[-1].characters, told[-1].max_tokens, told[-1].done) == (2, 9, 9, True)
    assert buffered.result(progress=True).text == buffered.result(progress=False).text == "Once upon"

    def refuse(progress: Progress) -> None:
        raise KeyError("enough")

    with Scripted([["Once", 60.0]]).stream("Hi").buffered() as buffered:
        buffered.get()
        with pytest.raises(KeyError, match="enough"):
            buffered.result(progress=refuse)
        with pytest.raises(promptstream.errors.Cancelled):
            buffered.result()


# Where it shows


def test_nothing_shows_where_nobody_watches(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """A pipe, a closed file, no file at all and a terminal that cannot move its cursor; rich is not even wanted."""
    hide_rich(monkeypatch)
    provider = Scripted(["Hi"] * 5)
    assert provider.send("Hi", progress=True).text == "Hi"
    assert provider.send("Hi", progress=False).text == "Hi"
    for file in (None, open_and_close()):
        monkeypatch.setattr(sys, "stderr", file)
        assert provider.send("Hi", progress=True).text == "Hi"
    terminal = Screen(monkeypatch)
    terminal.watch()
    monkeypatch.setenv("TERM", "dumb")
    assert provider.send("Hi", progress=True).text == "Hi"
    assert terminal.written == ""
    assert capsys.readouterr() == ("", "")


def open_and_close() -> io.StringIO:
    """Give a file that is closed."""
    file = io.StringIO()
    file.close()
    return file


def test_without_rich_a_bar_is_refused_by_the_name_of_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is sent; a function needs no rich."""
    terminal = Screen(monkeypatch)
    monkeypatch.setenv("TERM", "xterm")
    terminal.watch()
    hide_rich(monkeypatch)
    provider = Scripted(["Hi"])
    with pytest.raises(ConfigError, match=r"promptstream-sdk\[cli\]"):
        provider.send("Hi", progress=True)
    assert provider.requests == []
    assert provider.send("Hi", progress=lambda progress: None).text == "Hi"


# Many


def test_items_are_given_on_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first, after each as time allows, and once all are done."""
    monkeypatch.setattr(bars, "EVERY", 0.0)
    told: list[Count] = []
    assert list(track("abc", description="Prompts", progress=told.append)) == ["a", "b", "c"]
    assert [(each.finished, each.total, each.done) for each in told] == [
        (0, 3, False),
        (1, 3, False),
        (2, 3, False),
        (3, 3, False),
        (3, 3, True),
    ]
    assert told[0].description == "Prompts"
    assert [each.part for each in told][:2] == [(0, 3), (1, 3)]


def test_a_number_that_is_not_known_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator does not tell how many it gives; whoever knows says so, and may be wrong."""
    told: list[Count] = []
    assert list(track((n for n in range(2)), progress=told.append)) == [0, 1]
    assert {each.total for each in told} == {None}
    assert told[-1].part == (1, 1)
    assert list(track((n for n in range(3)), 2, progress=told.append)) == [0, 1, 2]
    assert told[-1].part == (2, 2)
    with pytest.raises(ValueError, match="total=-1"):
        track([], -1)


@pytest.mark.parametrize("total", ["3", 1.5, True, [1]])
def test_a_total_is_a_whole_number(total: Any) -> None:
    """Anything else is refused at once, with what to give."""
    with pytest.raises(TypeError, match=r"total=.*: give how many items there are, a whole number, or None\."):
        track([1], total=total, progress=None)


def test_without_progress_it_costs_nothing() -> None:
    """The loop is over the items themselves."""
    items = [1, 2]
    for progress in (None, False):
        assert type(track(items, progress=progress)) is type(iter(items))
