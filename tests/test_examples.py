"""The examples, run as programs against a loopback server, the way a newcomer runs them."""

from __future__ import annotations

import base64
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest
from openai_server import PATIENCE, ROOT, Answer, OpenAIServer, basic
from provider_server import ProviderServer
from server import DONE, LAST_CHUNK, Conn, Server, chunked_head, event, finish, full, http_chunk, text
from wires import WIRES
from wires.script import Answer as Spoken
from wires.script import Count, Say, Sign, Think

import promptstream

EXAMPLES = ROOT / "examples"
WITH_PACKS = ["hello", "streaming", "chat", "events", "timeout_and_cancel", "variables", "guardrails"]
WITH_PACKS += ["batch"]
PLAYED = ["tools", "hitl", "variables", "middleware", "guardrails"]
PLAYED += ["state", "long_conversation", "structured_output", "http_tools"]
PLAYED += ["stream_reader", "progress", "cost", "record_replay", "own_websocket", "relay", "batch"]
"""Those that a script answers, unless a provider is named."""
NAMES = ["hello", "streaming", "chat", "events", "timeout_and_cancel", "providers", "openrouter", "reasoning", "images"]
NAMES += ["cancel_from_another_thread", "background_stream", "many_threads", "error_handling", *PLAYED]
WHOLE = ["openrouter", "background_stream", "many_threads", "guardrails", "structured_output", "error_handling"]
WHOLE += ["batch"]
"""Those that show more than one answer's text as it arrives, an answer once it is whole, or what may leave of it;
and the one that asks nobody but a script."""
WEB = ["own_websocket", "relay"]
"""Those that want the extra web."""
CUT = "[The answer was cut at the token limit]"
COST = r"(?:unknown|\$0\.0000\d\d)"
"""Of a few tokens, by a list of prices that changes and need not be there."""


@contextmanager
def started(env: dict[str, str], name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an example from elsewhere, with pipes for its input and output; *env* tells it of a provider."""
    if name in WEB:
        pytest.importorskip("websockets", reason="websockets is not installed (extra web)")
    child = subprocess.Popen(
        [sys.executable, str(EXAMPLES / name / "main.py"), *arguments],
        env=basic(env),
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


def shown(server: OpenAIServer | ProviderServer, name: str, *arguments: str, typed: str = "") -> str:
    """Run an example to its end, which must be a good one, and give what it printed."""
    return shown_by(server.environment(), name, *arguments, typed=typed)


def shown_by(env: dict[str, str], name: str, *arguments: str, typed: str = "") -> str:
    """Run an example to its end as :func:`shown` does."""
    with started(env, name, *arguments) as child:
        out, errors = child.communicate(typed, timeout=PATIENCE)
    assert (errors, child.returncode) == ("", 0)
    return out


@pytest.mark.parametrize("name", WITH_PACKS)
def test_every_pack_of_an_example_is_without_a_finding(name: str) -> None:
    """What newcomers copy is a pack that keeps every rule."""
    (path,) = (EXAMPLES / name).glob("*.pack.json")
    assert promptstream.load(path, strict=True).check() == []


def test_the_index_names_every_example() -> None:
    """examples/README.md links each program, and each program is there."""
    links = set(re.findall(r"\]\((\w+)/main\.py\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert sorted(links) == sorted(NAMES) == sorted(path.parent.name for path in EXAMPLES.glob("*/main.py"))


@pytest.mark.skipif(os.name != "posix", reason="waits on a pipe")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in WHOLE])
def test_every_example_shows_text_as_it_arrives(name: str, tmp_path: Path) -> None:
    """The first half of an answer is read from the pipe while the server holds the second half back.

    Those that a script answers, too, tell of a real model that its answer was cut: it ends normally, so they have to.
    """
    arguments = ["--provider", "openai"] if name in PLAYED else []
    arguments += ["ask", "--store", str(tmp_path / "claims.db")] if name == "hitl" else []
    gate = threading.Event()
    held = Answer(["the first half", gate, " and the second"], finish="length" if name in PLAYED else "stop")
    answers = ["at once", held] if name == "events" else [held]
    with OpenAIServer(*answers) as server, started(server.environment(), name, *arguments) as child:
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
    assert name not in PLAYED or re.search(r"cut at the token limit|\[length\b", rest)


def test_hello_prints_one_answer() -> None:
    """The answer stands after its label, and the end is marked."""
    with OpenAIServer(["Hello", " there."]) as server:
        assert shown(server, "hello") == "Assistant: Hello there.\n[Done]\n"
    assert server.requests[0]["messages"][0]["role"] in ("system", "developer")


@pytest.mark.parametrize("name", ["hello", "events"])
def test_an_answer_that_breaks_off_is_told_in_a_line(name: str) -> None:
    """A newcomer's first program does not end in a traceback, and its exit code tells."""
    with OpenAIServer(Answer("Once", finish=None)) as server, started(server.environment(), name) as child:
        _, errors = child.communicate(timeout=PATIENCE)
    assert errors.strip() == "[Error: The answer was cut: it ended without the provider's finish signal.]"
    assert child.returncode == 1


def test_streaming_prints_counts_and_collects() -> None:
    """The three loops give the text, its length as it grows, and the text in one piece."""
    with OpenAIServer("A story.", Answer("About AI.", finish="length"), ["A po", "em."]) as server:
        story, ai, poem = shown(server, "streaming").strip().split("\n\n", 2)
    assert story.splitlines()[:2] == ["A story.", "[Complete]"]
    assert ai.splitlines()[:3] == ["About AI.", "[Complete - 9 characters]", CUT]
    assert re.match(rf"A poem\.\n\nTotal length: 7 characters\nCost: {COST} \| First text: ", poem)
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
    figures = rf"\n\n💰 Cost: {COST} \| ⏱️  Latency: \d+ms \| 🎫 Tokens: 18\n\n"
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


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_cancel_from_another_thread_keeps_what_had_come() -> None:
    """A token, an event and Ctrl-C each end an answer, and the history keeps what had come of each."""
    story = "It was a dark and stormy night."
    with OpenAIServer([story, threading.Event()]) as server:
        for seconds in ("0.3", "1", "5"):  # a busy machine may need longer to the first text
            with started(server.environment(), "cancel_from_another_thread", seconds) as child:
                assert child.stdout is not None
                out = ""
                while f"Press Ctrl-C\n{story}" not in out:
                    piece = os.read(child.stdout.fileno(), 4096).decode()
                    assert piece, out
                    out += piece
                child.send_signal(signal.SIGINT)
                rest, errors = child.communicate(timeout=PATIENCE)
            if out.count(story) == 3:
                break
    assert (errors, child.returncode) == ("", 0)
    token, event, last = (out + rest).split("\n--- ", 2)
    came = f"{len(story)} characters had come]"
    assert f"{story}\n[The stream was cancelled: somebody pressed Stop. {came}\n" in token
    assert f"{story}\n[The stream was cancelled. {came}\n" in event
    kept = f"user: %d characters\nassistant: {len(story)} characters [cancelled]\n"
    assert f"{story}\n[Ctrl-C: {came}\n" in last
    assert last.endswith(kept % 21 + kept % 20 + kept % 15)


def test_background_stream_works_on_and_takes_the_whole() -> None:
    """What is here after the work is looked at without waiting; the whole is waited for, and then printed."""
    for seconds in ("0.5", "2", "8"):  # a busy machine may need longer to the first text
        gate = threading.Event()
        answers = ["The moon", gate, " pulls."], ["The moon", " does."]
        with OpenAIServer(*answers) as server, started(server.environment(), "background_stream", seconds) as child:
            assert child.stdout is not None
            looked = child.stdout.readline()
            gate.set()
            out, errors = child.communicate(timeout=PATIENCE)
        assert (errors, child.returncode) == ("", 0)
        assert re.fullmatch(rf"\nThe moon pulls\.\n\nCost: {COST} \| First text: .*\nThe moon does\.\n", out)
        if "moon" in looked:
            break
    assert looked == f"After {seconds} s 8 characters are here: 'The moon'\n"


def test_background_stream_tells_an_error() -> None:
    """An answer that breaks off is told in a line, by the cell that asks for the whole."""
    with (
        OpenAIServer(Answer("The moon", finish=None)) as server,
        started(server.environment(), "background_stream") as child,
    ):
        _, errors = child.communicate(timeout=PATIENCE)
    assert errors.strip() == "[Error: The answer was cut: it ended without the provider's finish signal.]"
    assert child.returncode == 1


def test_many_threads_keeps_the_errors_of_single_rows() -> None:
    """Ten rows in order, of which one broke off; at no time are there more than three requests on their way."""
    lock, running, most = threading.Lock(), [0], [0]

    def serve(conn: Conn) -> None:
        while True:
            question = conn.request().json["messages"][-1]["content"]
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            sleep(0.02)
            ends = [] if "Kenya" in question else [finish()]
            with lock:
                running[0] -= 1
            conn.send(chunked_head(), *map(http_chunk, [text("It is."), *ends, DONE][: 2 if ends else 1]), LAST_CHUNK)

    wire = WIRES["openai"]
    with Server(serve) as server:
        out = shown_by(wire.environment(server.origin + wire.root), "many_threads")
        assert len(server.requests) == 10
    rows = out.split("\n")
    assert rows[0] == "France: It is."
    assert rows[2].startswith("Kenya: It is. [Error: The answer was cut")
    assert rows[9:] == ["Iceland: It is.", "", "9 answered, 1 failed", ""]
    assert most[0] <= 3


REPORT = re.compile(
    r"Provider: (\w+)\nPrompt: Escribe un poema corto \(4 versos\) sobre la programación en Go\.\n---\n"
    r"Streaming response:\n\nEn canales fluye el código,\ngoroutines danzan\.\n\n---\n"
    r"✓ Streaming completed\n  Total chunks:        2\n  Time to first chunk: \d+ms\n  Total time:          [\d.]+m?s\n"
    r"  Content length:      46 chars\n  Token usage:\n"
    r"    Prompt:     (\w+)\n    Completion: (\w+)\n    Total:      (\w+)\n"
)
POEM = ["En canales fluye el código,\n", "goroutines danzan."]


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini", "qwen", "ollama", "openrouter"])
def test_providers_shows_the_answer_and_its_figures_of_each(name: str) -> None:
    """One prompt, any provider: the same lines, with the labels of the document it began with."""
    spoken = Spoken([Say(piece) for piece in POEM], count=Count(18, 45))
    with ProviderServer(WIRES[name], spoken) as server:
        found = REPORT.fullmatch(shown(server, "providers", "--provider", name))
        assert server.asked[0].turns[0].text == "Escribe un poema corto (4 versos) sobre la programación en Go."
    assert found is not None
    assert found.groups() == (name, "18", "45", "63")


def test_providers_prints_unknown_for_what_was_not_told() -> None:
    """A server that counts no tokens does not make them 0."""
    with ProviderServer(WIRES["openai"], Spoken([Say(piece) for piece in POEM], count=None)) as server:
        found = REPORT.fullmatch(shown(server, "providers"))
    assert found is not None
    assert found.groups() == ("openai", "unknown", "unknown", "unknown")


def router(conn: Conn) -> None:
    """Answer as OpenRouter: text completions and chats, streamed and whole, by the last model named; and credits."""
    while True:
        request = conn.request()
        if request.method == "GET":
            conn.send(full("200 OK", '{"data": {"total_credits": 10, "total_usage": 2.5}}'))
            continue
        asked = request.json
        chat, models = "messages" in asked, asked.get("models") or [asked["model"]]
        said = {"content": "Well."} if chat else "Well."
        choice = {"index": 0, "delta" if chat else "text": said, "finish_reason": "stop"}
        if asked["stream"]:
            told = event(choice, model=models[-1]) + event(None, model=models[-1], usage={"cost": 0.25}) + DONE
            conn.send(chunked_head(), http_chunk(told), LAST_CHUNK)
        else:
            choice = {**choice, "message": said} if chat else choice
            conn.send(full("200 OK", json.dumps({"model": models[-1], "choices": [choice]})))


def test_openrouter_shows_completions_chats_and_the_model_that_answers() -> None:
    """Both completions, both chats, and a list of models of which the wire names the one that answers."""
    with Server(router) as server:
        wire = WIRES["openrouter"]
        out = shown_by(wire.environment(server.origin + wire.root), "openrouter")
        posts = [request for request in server.requests if request.method == "POST"]
    targets = [request.target.removeprefix(wire.root) for request in posts]
    assert targets == ["/completions"] * 2 + ["/chat/completions"] * 3
    assert [request.json["stream"] for request in posts] == [True, False, True, False, True]
    models = ["anthropic/claude-haiku-4.5", "google/gemini-2.5-flash", "openai/gpt-4o-mini"]
    assert posts[4].json["models"] == models
    assert posts[4].json["provider"] == {"sort": "throughput"}
    assert out.count("Well.") == 5
    assert f"[asked {', '.join(models)}; answered by openai/gpt-4o-mini]" in out
    assert "Cost: $0.2500" in out
    assert out.endswith("Credit left: $7.50\n")


@pytest.mark.parametrize("name", ["anthropic", "gemini", "qwen", "openrouter"])
def test_reasoning_shows_thoughts_apart_and_sends_them_back(name: str) -> None:
    """The second question goes with the first answer, and what was signed of its thoughts."""
    spoken = Spoken([Think("It is less."), Sign("c2lnbmVk"), Say("5 cents.")])
    with ProviderServer(WIRES[name], spoken) as server:
        out = shown(server, "reasoning", "--provider", name)
        assert len(server.asked) == 2
    assert out.count("[thinks] It is less.\n[answers] 5 cents.\n") == 2


def test_images_shows_the_picture_beside_it() -> None:
    """Without an argument the program's own picture is sent."""
    picture = (EXAMPLES / "images" / "picture.png").read_bytes()
    with ProviderServer(WIRES["anthropic"], "A red sun over green hills.") as server:
        assert shown(server, "images").startswith("A red sun over green hills.\n")
        (source,) = [part["source"] for part in server.requests[0].json["messages"][0]["content"] if "source" in part]
    assert base64.b64decode(source["data"]) == picture
