"""The Recorder: what its file holds, what it never holds, and what a crash, a full disk and threads do to it."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from canary import forms

import promptstream
from promptstream import Chunk, ChunkType, Image, Message, ToolCall, errors
from promptstream.client import Provider
from promptstream.middleware import Recorder
from promptstream.providers import Replay, Scripted
from promptstream.providers.scripted import ScriptedDialect
from promptstream.recording.masking import Masker
from promptstream.recording.reading import Recording
from promptstream.values.chunk import Finish, Opaque
from promptstream.values.request import ChatRequest
from promptstream.values.secret import Secret
from promptstream.values.usage import Usage

KEY = "sk-Q0pB7mZr4/xWc9vTn+u2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the recording goes."""
    return tmp_path / "talk.ndjson"


def records(path: Path) -> list[dict[str, Any]]:
    """Give the lines of a recording."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def of_type(path: Path, kind: str) -> list[dict[str, Any]]:
    """Give the records of one type."""
    return [each for each in records(path) if each.get("type") == kind]


def keyed(script: Any, key: str = KEY) -> Provider:
    """Make a provider that plays *script* and has a key."""
    dialect = ScriptedDialect(script)
    dialect.secret = Secret(key)
    return Provider(dialect)


# What it holds


def test_a_recording_tells_the_request_each_chunk_and_the_ending(path):
    """One JSON object a line: what the file is, the provider, the request, its chunks with their times, its end."""
    script = [[Chunk(ChunkType.REASONING, reasoning="Hm."), "Once ", "upon", Opaque(data={"scripted": {"a": 1}}),
               Finish(reason="stop", usage_seen=Usage(3, 2), cost=Decimal("0.01"), request_id="r-1")]]  # fmt: skip
    with promptstream.chat("Be brief.", provider=Scripted(script), middleware=[Recorder(path)], seed=7) as conv:
        assert conv.send("Tell").text == "Once upon"
    head, provider, request, *chunks, end = records(path)
    assert (head["promptstream"], head["format"], head["version"]) == ("recording", 1, promptstream.__version__)
    assert (provider["type"], provider["name"], provider["free"]) == ("provider", "scripted", True)
    assert request == {
        "type": "request",
        "id": 1,
        "provider": "scripted",
        "model": "scripted",
        "round": 1,
        "streaming": True,
        "messages": [
            {"role": "system", "parts": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "parts": [{"type": "text", "text": "Tell"}]},
        ],
        "parameters": {"seed": 7},
    }
    assert [each["type"] for each in chunks] == ["reasoning", "text", "text", "opaque", "finish"]
    assert [each.get("text") for each in chunks[1:3]] == ["Once ", "upon"]
    assert chunks[4]["cost"] == "0.01"
    assert chunks[4]["usage_seen"]["total"] == 5
    assert (end["type"], end["how"], {each["id"] for each in (*chunks, end)}) == ("end", "whole", {1})
    times = [each["at"] for each in (*chunks, end)]
    assert times == sorted(times)


def test_the_time_that_the_loop_takes_is_not_the_providers(path):
    """A slow loop's recording plays as fast as the provider was."""
    now = iter(range(100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("promptstream.middleware.recorder.monotonic", lambda: float(next(now)))
        with promptstream.chat(provider=Scripted([["a", "b"]]), middleware=[Recorder(path)]) as conv:
            conv.send("Hi")
    # One tick of waiting before each chunk, and one in the loop after it, which does not count.
    assert [each["at"] for each in records(path) if each.get("id") and each["type"] != "request"] == [1, 2, 3, 4]


def test_a_failure_is_told_by_its_class_and_what_it_carries(path):
    """What the error tells beside its message is there too; its answer is, in the chunks."""
    failing = errors.RateLimited("slow down", status=429, code="rate", retry_after=3, request_id="r-9", phase="headers")
    conv = promptstream.chat(provider=Scripted([["Half", failing]]), middleware=[Recorder(path)])
    with conv, pytest.raises(errors.RateLimited):
        conv.send("Hi")
    end = records(path)[-1]
    assert end["how"] == "error"
    assert end["error"] == {
        "class": "RateLimited",
        "message": "slow down",
        "status": 429,
        "code": "rate",
        "retry_after": 3,
        "request_id": "r-9",
        "phase": "headers",
        "retryable": False,
        "attempts": 1,
    }


def test_a_loop_that_is_left_is_told_as_left_and_one_left_on_its_last_chunk_as_whole(path):
    """Early leaving is an ending of its own; after the finish signal nothing was missed."""
    recorder = Recorder(path)
    with promptstream.chat(provider=Scripted([["a", "b"], "c"]), middleware=[recorder]) as conv:
        for _ in conv.stream("Hi"):
            break
        for chunk in conv.stream("Hi"):
            if chunk.done:
                break
    assert [each["how"] for each in of_type(path, "end")] == ["left", "whole"]


def test_pictures_are_told_by_their_digest(path):
    """A recording holds no pictures, and still tells one from another."""
    with promptstream.chat(provider=Scripted(["A cat."]), middleware=[Recorder(path)]) as conv:
        conv.send("What is it?", attachments=[Image(data=b"\x89PNG\r\n\x1a\n" + bytes(9000), media_type="image/png")])
    part = of_type(path, "request")[0]["messages"][-1]["parts"][-1]
    assert part["data"]["bytes"] == 9008
    assert len(part["data"]["sha256"]) == 64
    assert path.stat().st_size < 3000


def test_the_cost_that_was_worked_out_is_kept(path):
    """Where the wire tells none, what the prices at hand came to is part of the ending."""
    provider = Scripted([["Hi", Finish(reason="stop", usage_seen=Usage(1_000_000, 0))]])
    with promptstream.chat(
        provider=provider, middleware=[Recorder(path)], prices={"scripted": {"input": 2, "output": 3}}
    ) as conv:
        assert conv.send("Hi").cost == 2
    assert Decimal(records(path)[-1]["cost"]) == 2


# Keys


def shows_key(text: str, key: str = KEY) -> list[str]:
    """Give what of the key *text* shows, in any form."""
    return [form for form in forms(key) if form.lower() in text.lower()]


def test_a_key_is_never_written_wherever_it_occurs(path):
    """In messages, tools, parameters, arguments, results, answers, opaque data, warnings and errors: [key] stands."""

    @promptstream.tool
    def peek(where: str) -> str:
        """Look, as sk-Q0pB7mZr4/xWc9vTn+u2 may."""
        return f"there is {KEY}"

    planted = ToolCall("c1", "peek", {"where": KEY}, json.dumps({"where": KEY}))
    script = [
        [f"It is {KEY}. ", Chunk(ChunkType.REASONING, reasoning=quote(KEY, safe="")),
         Opaque(data={"scripted": {KEY: [base64.b64encode(KEY.encode()).decode()]}}),
         Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=ToolCall("c1", "peek", None, KEY)), planted,
         Finish(reason="tool_calls", request_id=KEY, warnings=(f"w {KEY}",), validations=({"message": KEY},))],
        ["No", errors.ServerError(f"key {KEY}", status=500, code=KEY)],
    ]  # fmt: skip
    with (
        promptstream.chat(
            f"The key is {KEY}.", provider=keyed(script), tools=[peek], middleware=[Recorder(path)], stop=[KEY]
        ) as conv,
        pytest.raises(errors.ServerError),
    ):
        conv.send(KEY, extra={"user": KEY, "deep": {"token": "another-secret-value"}})
    text = path.read_text(encoding="utf-8")
    assert shows_key(text) == []
    assert "another-secret-value" not in text
    assert text.count("[key]") > 10
    assert len(of_type(path, "request")) == 2


@pytest.mark.parametrize("size", [1, 2, 5, 11])
def test_a_key_that_streams_in_pieces_is_not_written_either(path, size):
    """No run of 9 of its characters can be put together from neighbouring lines."""
    said = f"The key is {KEY}, I think."
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    with promptstream.chat(provider=keyed([pieces]), middleware=[Recorder(path)]) as conv:
        conv.send("Hi")
    joined = "".join(each["text"] for each in of_type(path, "text"))
    assert shows_key(joined) == []
    assert joined.startswith("The key is ")
    assert joined.endswith(", I think.")


def test_the_keys_of_a_fallback_and_of_the_environment_are_not_written(path, monkeypatch):
    """Every provider of the turn is known; so are variables whose names say what they hold."""
    monkeypatch.setenv("MY_SERVICE_API_KEY", "env-4rT9kLmN2pQ7sV")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pr0xyPass.8Vm4@127.0.0.1:1")
    first = keyed([[errors.Overloaded("busy, env-4rT9kLmN2pQ7sV", status=529)]], "first-8dJ3nB6vX1cZ5")
    second = keyed([f"{KEY} first-8dJ3nB6vX1cZ5 pr0xyPass.8Vm4"])
    with promptstream.chat(provider=first, fallback=[second], middleware=[Recorder(path)]) as conv:
        assert KEY in conv.send("Hi").text
    text = path.read_text(encoding="utf-8")
    for secret in (KEY, "first-8dJ3nB6vX1cZ5", "env-4rT9kLmN2pQ7sV", "pr0xyPass.8Vm4"):
        assert shows_key(text, secret) == []


def test_what_a_hook_takes_out_is_not_written(path):
    """Each text goes through it, answers piece by piece; Replay takes the same hook to compare."""

    def hidden(text: str) -> str:
        return text.replace("Ada", "NN")

    with promptstream.chat(
        "You help Ada.", provider=Scripted(["Hello Ada."]), middleware=[Recorder(path, redact=hidden)]
    ) as conv:
        assert conv.send("I am Ada").text == "Hello Ada."
    assert "Ada" not in path.read_text(encoding="utf-8")
    with promptstream.chat("You help Ada.", provider=Replay(path, redact=hidden)) as conv:
        assert conv.send("I am Ada").text == "Hello NN."
    with pytest.raises(errors.ConfigError, match="redact"):
        Recorder(path, redact="Ada")
    before = path.read_bytes()
    for hook, told in ((lambda text: None, "<lambda> gave None; it has to give a string"), (_failing, "_failing fail")):
        recorder = Recorder(path, redact=hook)
        with pytest.raises(errors.ConfigError, match=told):
            promptstream.chat(provider=Scripted(["Hi"]), middleware=[recorder]).send("Hi")
        assert (recorder._file, path.read_bytes()) == (-1, before)


def _failing(text: str) -> str:
    raise ValueError(text)


WORDS = [
    "test",
    "EMPTY",
    "dummy",
    "ollama",
    "secret",
    "lm-studio",
    "sk-no-key-required",
    "YOUR_API_KEY_HERE",
    "12345678",
]


@pytest.mark.parametrize("key", WORDS)
def test_a_key_that_is_a_word_is_left_in_answers(path, key):
    """Servers that ask for no key are given one of these; their answers replay as they came."""
    said = f"This is a {key}, and {key} it is."
    with promptstream.chat(provider=keyed([said], key), middleware=[Recorder(path)]) as conv:
        conv.send(f"What is a {key}?")
    with promptstream.chat(provider=Replay(path)) as conv:
        assert conv.send(f"What is a {key}?").text == said


def test_short_passwords_of_the_environment_and_of_given_proxies_are_not_written(path, monkeypatch):
    """From 8 characters on where letters and digits stand in it."""
    monkeypatch.setenv("DB_PASSWORD", "S3cr3tPw9xyz123")
    monkeypatch.setenv("PGPASSWORD", "hunter22")
    monkeypatch.setenv("A_TOKEN", "on")
    provider = promptstream.providers.get(
        "openai", api_key="x", base_url="http://127.0.0.1:9", proxies={"http": "http://me:Pr0xyPw7@127.0.0.1:9"}
    )
    spoken = Scripted(["S3cr3tPw9xyz123, hunter22, Pr0xyPw7: on and on."])
    recorder = Recorder(path)
    recorder.meet(provider)
    with promptstream.chat(provider=spoken, middleware=[recorder]) as conv:
        conv.send("Hi")
    assert [each["text"] for each in of_type(path, "text")] == ["[key], [key], [key]: on and on."]
    assert (repr(provider.secret), str(provider.secret)) == ("[key]", "[key]")


def test_a_masker_writes_what_json_has_no_words_for():
    """Sets, objects, keys that are no strings and secrets: nothing keeps a line from being written."""
    value = Masker().value({1: {2}, "s": Secret("x" * 20), "o": Decimal("1.5"), "b": b"ab", "n": None, "t": (True,)})
    assert json.loads(json.dumps(value)) == {
        "1": [2], "s": "[key]", "o": "1.5", "n": None, "t": [True],
        "b": {"sha256": "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603", "bytes": 2},
    }  # fmt: skip


# The file


def test_the_file_is_its_owners_alone_and_begun_anew_or_gone_on_with(path):
    """Mode 0600 whatever the umask; append= keeps what there is."""

    def say(word: str, **options: Any) -> None:
        with promptstream.chat(provider=Scripted([word]), middleware=[Recorder(path, **options)]) as conv:
            conv.send("Hi")

    path.touch(0o644)
    say("one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    say("two")
    assert [each["text"] for each in of_type(path, "text")] == ["two"]
    say("three", append=True)
    assert [each["text"] for each in of_type(path, "text")] == ["two", "three"]
    assert [each["id"] for each in of_type(path, "request")] == [1, 2]


def test_nothing_is_written_over_before_the_first_round(path):
    """Who only opens a conversation keeps the recording there was."""
    with promptstream.chat(provider=Scripted(["one"]), middleware=[Recorder(path)]) as conv:
        conv.send("Hi")
    before = path.read_bytes()
    with promptstream.chat(provider=Scripted(["two"]), middleware=[Recorder(path)]):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["{}\n", "# A text\n", '{"promptstream": 1}\n', "[]", "\x00\n"])
def test_a_file_that_is_no_recording_is_never_written_over(path, content):
    """A slip of the pen costs nobody a file."""
    path.write_text(content)
    for append in (False, True):
        with pytest.raises(errors.ConfigError, match=r"talk\.ndjson, line 1: this is no recording"):
            Recorder(path, append=append)
    assert path.read_text() == content


def test_a_path_that_cannot_be_written_is_told_at_once(tmp_path):
    """Before anything is asked."""
    for wrong, why in ((tmp_path / "no" / "x.ndjson", "there is no directory"), (tmp_path, "is a directory")):
        with pytest.raises(errors.ConfigError, match=why):
            Recorder(wrong)
    with pytest.raises(errors.ConfigError, match="makes a middleware"):
        promptstream.chat(provider=Scripted(["x"]), middleware=[Recorder])


def test_threads_share_a_recorder_and_their_exchanges_are_told_apart(path):
    """Lines interleave, each whole and with its id; every answer can be put together again."""
    recorder = Recorder(path)
    begun = threading.Barrier(6)

    def talk(number: int) -> None:
        pieces = [f"{number}:{piece} " for piece in range(20)]
        with promptstream.chat(provider=Scripted([pieces]), middleware=[recorder]) as conv:
            begun.wait()
            conv.send(f"question {number}")

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    exchanges = Recording.read(path).exchanges
    assert {each.ending for each in exchanges} == {"whole"}
    for each in exchanges:
        number = each.request["messages"][-1]["parts"][0]["text"].split()[1]
        said = "".join(chunk.text for _, chunk in each.chunks)
        assert said == "".join(f"{number}:{piece} " for piece in range(20))
    assert len(of_type(path, "provider")) == 1


def test_a_crash_leaves_a_file_that_can_be_read_and_gone_on_with(path):
    """A process that is killed in the middle has written every chunk that was handed out."""
    code = (
        "import os, sys, promptstream\n"
        "from promptstream.middleware import Recorder\n"
        "provider = promptstream.providers.Scripted([['Once ', 'upon ', 'a time']])\n"
        "with promptstream.chat(provider=provider, middleware=[Recorder(sys.argv[1])]) as conv:\n"
        "    for chunk in conv.stream('Hi'):\n"
        "        if chunk.text == 'upon ': os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (9, "")
    with open(path, "ab") as file:
        file.write(b'{"type":"text","id":1,"at":0.')  # and half a line, had it died in one
    (cut,) = Recording.read(path).exchanges
    assert (cut.ending, [chunk.text for _, chunk in cut.chunks]) == ("open", ["Once ", "upon "])
    with promptstream.chat(provider=Scripted(["Whole."]), middleware=[Recorder(path, append=True)]) as conv:
        conv.send("Hi")
    assert [each.ending for each in Recording.read(path).exchanges] == ["open", "whole"]


def test_a_last_line_that_lacks_only_its_end_counts_and_is_gone_on_with(path):
    """An editor may have taken the line's end away; the record is whole."""
    with promptstream.chat(provider=Scripted(["one"]), middleware=[Recorder(path)]) as conv:
        conv.send("Hi")
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert [each.ending for each in Recording.read(path).exchanges] == ["whole"]
    with promptstream.chat(provider=Scripted(["two"]), middleware=[Recorder(path, append=True)]) as conv:
        conv.send("Hi")
    assert [each.ending for each in Recording.read(path).exchanges] == ["whole", "whole"]


def test_two_recorders_of_one_file_are_refused_before_anything_is_lost(path):
    """At once, or one that would write over what the other has begun; append= goes on with it."""
    first, second = Recorder(path), Recorder(path)
    one = promptstream.chat(provider=Scripted([["a", "b"], "c"]), middleware=[first])
    other = promptstream.chat(provider=Scripted(["x", "y", "z"]), middleware=[second])
    more = promptstream.chat(provider=Scripted(["x", "y"]), middleware=[Recorder(path, append=True)])
    running = iter(one.stream("Hi"))
    assert next(running).text == "a"
    for conv in (other, more):
        with pytest.raises(errors.ConfigError, match="being written by another Recorder"):
            conv.send("Hi")
    assert [chunk.text for chunk in running] == ["b", ""]
    with pytest.raises(errors.ConfigError, match=r"would be written over.*append=True"):
        other.send("Hi")
    more.send("Hi")
    one.send("Hi")
    assert [each.ending for each in Recording.read(path).exchanges] == ["whole"] * 3
    path.unlink()
    assert other.send("Hi").text == "x"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_costs_the_recording_and_not_the_answer():
    """The answer goes on; a warning tells."""
    recorder = Recorder("/dev/full")
    with promptstream.chat(provider=Scripted([["Once ", "upon"]]), middleware=[recorder]) as conv:
        response = conv.send("Hi")
    assert response.text == "Once upon"
    assert response.complete
    assert response.warnings == ("The recording has stopped: No space left on device",)
    assert recorder.problem == "No space left on device"


def test_a_recorder_in_other_hands_closes_what_it_reads(path):
    """Whoever calls it by themselves may leave it as well: what it asks is closed at once, its file too."""
    closed = []

    def answers(request: ChatRequest) -> Iterator[Chunk]:
        try:
            yield Chunk(ChunkType.TEXT, "a")
            yield Chunk(ChunkType.TEXT, "b")
        finally:
            closed.append(True)

    recorder = Recorder(path)
    running = recorder(ChatRequest((Message("user", "Hi"),)), answers)
    assert next(iter(running)).text == "a"
    running.close()
    assert closed == [True]
    assert of_type(path, "end")[0]["how"] == "left"
    assert recorder._file == -1


def test_halves_of_characters_are_written_all_the_same(path):
    """A lone surrogate in a request is no reason to fail."""
    with promptstream.chat(provider=Scripted(["ok"]), middleware=[Recorder(path)]) as conv:
        conv.send("half \ud83d of it")
    assert Replay(path).unplayed == 1
