"""The examples, run as programs against a loopback server, the way a newcomer runs them."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from openai_server import PATIENCE, ROOT, Answer, OpenAIServer

import promptstream

EXAMPLES = ROOT / "examples"
NAMES = ["hello", "streaming", "chat", "events", "timeout_and_cancel"]
CUT = "[The answer was cut at the token limit]"


@contextmanager
def started(server: OpenAIServer, name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an example from elsewhere, with pipes for its input and output."""
    child = subprocess.Popen(
        [sys.executable, str(EXAMPLES / name / "main.py"), *arguments],
        env=server.environment(),
        cwd=EXAMPLES.anchor,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def shown(server: OpenAIServer, name: str, *arguments: str, typed: str = "") -> str:
    """Run an example to its end, which must be a good one, and give what it printed."""
    with started(server, name, *arguments) as child:
        out, errors = child.communicate(typed, timeout=PATIENCE)
    assert (errors, child.returncode) == ("", 0)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_every_pack_of_an_example_is_without_a_finding(name: str) -> None:
    """What newcomers copy is a pack that keeps every rule."""
    (path,) = (EXAMPLES / name).glob("*.pack.json")
    assert promptstream.load(path, strict=True).check() == []


def test_the_index_names_every_example() -> None:
    """examples/README.md links each program, and each program is there."""
    links = re.findall(r"\]\((\w+)/main\.py\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert sorted(links) == sorted(NAMES) == sorted(path.parent.name for path in EXAMPLES.glob("*/main.py"))


@pytest.mark.skipif(os.name != "posix", reason="waits on a pipe")
@pytest.mark.parametrize("name", NAMES)
def test_every_example_shows_text_as_it_arrives(name: str) -> None:
    """The first half of an answer is read from the pipe while the server holds the second half back."""
    gate = threading.Event()
    held = ["the first half", gate, " and the second"]
    answers = ["at once", held] if name == "events" else [held]
    with OpenAIServer(*answers) as server, started(server, name) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        if name == "chat":
            child.stdin.write("hi\n")
            child.stdin.flush()
        seen = b""
        while b"the first half" not in seen:
            assert select.select([child.stdout], [], [], PATIENCE)[0]
            piece = os.read(child.stdout.fileno(), 4096)
            assert piece, "it ended before the text came"
            seen += piece
        assert b"and the second" not in seen
        gate.set()
        rest, errors = child.communicate(timeout=PATIENCE)
    assert "and the second" in rest
    assert errors == ""


def test_hello_prints_one_answer() -> None:
    """The answer stands after its label, and the end is marked."""
    with OpenAIServer(["Hello", " there."]) as server:
        assert shown(server, "hello") == "Assistant: Hello there.\n[Done]\n"
    assert server.requests[0]["messages"][0]["role"] in ("system", "developer")


def test_streaming_prints_counts_and_collects() -> None:
    """The three loops give the text, its length as it grows, and the text in one piece."""
    with OpenAIServer("A story.", Answer("About AI.", finish="length"), ["A po", "em."]) as server:
        story, ai, poem = shown(server, "streaming").strip().split("\n\n", 2)
    assert story.splitlines()[:2] == ["A story.", "[Complete]"]
    assert ai.splitlines()[:3] == ["About AI.", "[Complete - 9 characters]", CUT]
    assert poem.startswith("A poem.\n\nTotal length: 7 characters\nCost: unknown | First text: ")
    assert "Tokens: 18 (11 in, 7 out)" in poem


def test_streaming_tells_an_error_and_stops() -> None:
    """An answer that is cut is told as an error after the text that had come."""
    with OpenAIServer(Answer("Once", finish=None)) as server:
        out = shown(server, "streaming")
    assert out.startswith("Once\n[Error: ")
    assert len(server.requests) == 1


def test_chat_talks_until_quit() -> None:
    """Each line is answered with the history before it; blank lines are not sent; quit leaves."""
    with OpenAIServer("Hello Ann.", Answer("You are", finish=None), Answer("Ann.", finish="length")) as server:
        out = shown(server, "chat", typed="I am Ann.\n\nWho am I?\nAgain: who?\nquit\nnever sent\n")
    first, second, third = out.split("Assistant: ")[1:]
    assert first.startswith("Hello Ann.\n")
    assert second.startswith("You are\n[Error: ")
    assert third.startswith(f"Ann.\n{CUT}\n")
    said = [message["content"] for message in server.requests[2]["messages"][1:]]
    assert said == ["I am Ann.", "Hello Ann.", "Again: who?"]


def test_events_shows_two_turns_their_figures_and_the_history() -> None:
    """The first answer comes at once, the second as events; both end with their figures."""
    long = "Once upon a time, in a world powered by circuits and cod" + "e, there was a robot."
    with OpenAIServer(long, ["A tiny", " robot."]) as server:
        out = shown(server, "events")
    figures = r"\n\n💰 Cost: unknown \| ⏱️  Latency: \d+ms \| 🎫 Tokens: 18\n\n"
    assert re.fullmatch(
        r"🤖 Streaming conversation started \(ID: conv_\d+\)\n\n"
        r"User: Tell me a short story about a robot\.\n"
        rf"Assistant: {re.escape(long)}{figures}"
        r"User: Now tell me another one, but shorter\.\n"
        rf"Assistant: A tiny robot\.{figures}"
        r"📜 Conversation History:\n"
        r"  1\. \[user\] Tell me a short story about a robot\.\n"
        r"  2\. \[assistant\] Once upon a time, in a world powered by circuits and code\.\.\.\n"
        r"  3\. \[user\] Now tell me another one, but shorter\.\n"
        r"  4\. \[assistant\] A tiny robot\.\n",
        out,
    )


def test_events_tells_a_cut_and_an_error() -> None:
    """An answer at its limit says so; one that breaks off is an error event, and the history stays whole."""
    with OpenAIServer(Answer("A robot", finish="length"), Answer("A ti", finish=None)) as server:
        out = shown(server, "events")
    assert f"Assistant: A robot\n{CUT}\n" in out
    assert "Assistant: A ti\n[Error: " in out
    assert out.endswith("  2. [assistant] A robot\n")


def test_timeout_and_cancel_keeps_what_had_come() -> None:
    """A timeout, a token and a break each end the stream, and the text so far is there."""
    story = "It was a dark and stormy night, and the clerk had gone home early to feed his cat."
    with OpenAIServer([story, threading.Event()]) as server:
        for seconds in ("0.2", "1", "5"):  # a busy machine may need longer to the first text
            out = shown(server, "timeout_and_cancel", seconds)
            if out.count(f"{story}\n") == 3:
                break
        assert server.hung_up.wait(PATIENCE)
    timeout, token, left = out.split("\n--- ")
    assert f"{story}\n[The turn took longer than the {seconds} s it was given (timeout)." in timeout
    assert f"{story}\n[The stream was cancelled: somebody pressed Stop." in token
    assert timeout.count(came := f"{len(story)} characters had come]") == token.count(came) == 1
    assert left.endswith(f"{story}\n[Stopped: the history keeps {story!r}]\n")


def test_timeout_and_cancel_says_when_the_answer_was_quicker() -> None:
    """A short answer is whole before anything ends it, and a limit it met is told."""
    with OpenAIServer(Answer("Once.", finish="length")) as server:
        out = shown(server, "timeout_and_cancel", str(PATIENCE))
    assert out.count(f"Once.\n[It was finished before that]\n{CUT}\n") == 2
