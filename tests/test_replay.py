"""Replay: a recording gives the same Response again, matched, timed and refused as it says."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from provider_server import Cut, ProviderServer
from wires import WIRES
from wires.base import KEY
from wires.completions import CompletionsWire
from wires.script import Answer, Beat, Fail, Refuse, Say, Sign, Think, Use, Uses

import promptstream
from promptstream import Chunk, ChunkType, Image, Response, Timeout, Timing, ToolCall, errors, providers
from promptstream.client import Provider
from promptstream.middleware import Recorder, guard
from promptstream.providers import Replay, Scripted
from promptstream.providers.scripted import ScriptedDialect
from promptstream.recording.reading import Recording
from promptstream.recording.told import error_maker
from promptstream.values.chunk import Finish, Opaque
from promptstream.values.usage import Usage

Ask = Callable[[promptstream.Conversation], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the recording is."""
    return tmp_path / "talk.ndjson"


@promptstream.tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def outcome(provider: Provider, ask: Ask, **options: Any) -> Any:
    """Give what *ask* makes of a conversation: a Response, or an error."""
    with promptstream.chat("Be brief.", provider=provider, tools=[add], **options) as conv:
        try:
            return ask(conv)
        except promptstream.PromptStreamError as error:
            return error


def untimed(response: Response) -> Response:
    """Give a Response without what it took."""
    return attrs.evolve(response, timing=Timing())


def assert_same(recorded: Any, replayed: Any) -> None:
    """Check that two outcomes are the same but for their timing: answers, or errors with all they carry."""
    assert type(recorded) is type(replayed), (recorded, replayed)
    if isinstance(recorded, Response):
        assert untimed(recorded) == untimed(replayed)
        assert recorded.timing.chunks == replayed.timing.chunks
        return
    assert str(recorded) == str(replayed)
    one, other = ({**vars(error), "response": untimed(error.response)} for error in (recorded, replayed))
    assert one == other


def again(provider: Provider, path: Path, ask: Ask, **options: Any) -> Any:
    """Record what *ask* does with *provider*, replay it, check that it comes out the same, and give it."""
    recorded = outcome(provider, ask, middleware=[*options.pop("layers", ()), Recorder(path)], **options)
    options.pop("fallback", None)
    assert_same(recorded, outcome(Replay(path), ask, **options))
    return recorded


# Equal answers


ANSWERS: dict[str, Any] = {
    "text": (Answer(),),
    "thoughts, signed": (Answer([Think("Hm, "), Think("so."), Sign("c2lnbmVk"), Say("Fünf "), Say("🦦 otters")]),),
    "a round of tools": (
        Answer([Say("Let me see. "), Use("call_1", "add", ('{"a":', "1,", '"b":2}'))], "tool_calls"),
        "It is 3.",
    ),
    "calls at once": (
        Answer([Uses((Use("call_1", "add", '{"a":1,"b":2}'), Use("call_2", "add", '{"a":3,"b":4}')))], "tool_calls"),
        Answer(["3 and 7."], "length"),
    ),
    "one body": (Answer(["Whole."], whole=True),),
    "cut": (Cut(Answer(["Once ", "upon ", "a ", "time."]), 3),),
    "a failure in the stream": (Answer(["Once ", Fail("overloaded")]),),
    "no counts": (Answer([Beat(), "Hi."], count=None),),
}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("wire", WIRES)
def test_what_is_recorded_of_any_provider_replays_to_the_same_response(wire, kind, path):
    """Text, thoughts, signatures, calls, usage, cost, model, ids, warnings and errors, of every dialect."""
    with ProviderServer(WIRES[wire], *ANSWERS[kind]) as server:
        provider = server.provider(retry=promptstream.Retry(attempts=1))
        recorded = again(provider, path, lambda conv: conv.send("1 + 2?"))
    if kind not in ("cut", "a failure in the stream"):
        assert recorded.complete
        assert recorded.provider == WIRES[wire].name
    assert KEY not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["auth", "rate", "context", "server"])
@pytest.mark.parametrize("wire", WIRES)
def test_what_a_provider_refuses_with_replays_as_the_same_error(wire, kind, path):
    """The class, the message, and all that it carries."""
    with ProviderServer(WIRES[wire], WIRES[wire].refusal(kind, hint=7)) as server:
        provider = server.provider(retry=promptstream.Retry(attempts=1))
        assert isinstance(again(provider, path, lambda conv: conv.send("Hi")), errors.ProviderError)


def test_a_whole_conversation_replays_through_its_layers_and_forms(path):
    """Turns, a guard outside, a schema, images, a refusal: the recorded provider stands in for the real one."""

    def ask(conv: promptstream.Conversation) -> list[Any]:
        seen: list[Any] = [untimed(conv.send("One")), untimed(conv.send("Two", schema={"type": "object"}))]
        seen.append(untimed(conv.send("See", attachments=[Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")])))
        with pytest.raises(errors.GuardrailTripped):
            conv.send("Three")
        seen += [
            untimed(conv.send("Four", streaming=False)),
            [m.to_dict() for m in conv.messages],
            conv.usage,
            conv.cost,
        ]
        return seen

    answers = ("First.", '{"a": 1}', "A cat.", "It is forbidden.", Answer([Refuse("No.")], "refusal"))
    layers = [guard("forbidden")]
    with ProviderServer(WIRES["openai"], *answers) as server:
        recorded = outcome(server.provider(), ask, middleware=[*layers, Recorder(path)])
    assert recorded == outcome(Replay(path), ask, middleware=layers)
    assert recorded[1].parsed == {"a": 1}


def test_a_text_completion_replays_as_one(path):
    """Without a conversation and its layers, the recorder stands around the provider itself."""
    recorder = Recorder(path)
    with ProviderServer(CompletionsWire(), "Once upon a time.") as server:
        provider = server.provider()
        recorder.meet(provider)
        ask = provider.ask
        provider.ask = lambda request, watch: recorder(request, lambda asked: ask(asked, watch))
        recorded = provider.completion("Once")
    assert untimed(Replay(path).completion("Once")) == untimed(recorded)


def test_attempts_that_failed_and_a_fallback_replay_as_one_answer(path):
    """What was tried again is in the recording; nothing is tried again of it."""
    busy = WIRES["openai"].refusal("overloaded")
    with ProviderServer(WIRES["openai"], busy, "Once.") as server:
        retry = promptstream.Retry(attempts=2, base=0.001)
        assert again(server.provider(retry=retry), path, lambda conv: conv.send("Hi")).text == "Once."
    down, up = Scripted([[errors.Overloaded("busy", status=529)]]), Scripted(["Second."])
    up.dialect.name = "other"
    response = again(down, path, lambda conv: conv.send("Hi"), fallback=[up])
    assert (response.provider, response.text, len(response.warnings)) == ("other", "Second.", 1)


def test_a_replayed_answer_costs_what_the_recording_says(path):
    """The wire's own cost, one worked out from prices that are not at hand any more, 0 of what is free, or unknown."""

    class Sold(ScriptedDialect):
        """A script that is not free."""

        free = False

    counted = Finish(reason="stop", usage_seen=Usage(1_000_000, 0))
    for told, options, free, cost in (
        (attrs.evolve(counted, cost=Decimal("0.5")), {}, False, Decimal("0.5")),
        (counted, {"prices": {"*": {"input": 2, "output": 3}}}, False, Decimal(2)),
        (counted, {}, True, Decimal(0)),
        (counted, {}, False, None),
    ):
        provider = Scripted([["Hi", told]]) if free else Provider(Sold([["Hi", told]]))
        recorded = outcome(provider, lambda conv: conv.send("Hi"), middleware=[Recorder(path)], **options)
        replayed = outcome(Replay(path), lambda conv: conv.send("Hi"))
        assert recorded.cost == replayed.cost == cost


def test_errors_of_every_class_come_back_as_themselves(path):
    """Ours by name, Python's by name, another's as the nearest of those."""

    class Odd(errors.RateLimited):
        """One of somebody else's."""

    for error, kind in (
        (errors.FirstTokenTimeout("late", phase="headers"), errors.FirstTokenTimeout),
        (errors.ConfigError("wrong"), errors.ConfigError),
        (errors.GuardrailTripped("no"), errors.GuardrailTripped),
        (errors.MissingVariable("it lacks x", ["x"]), errors.MissingVariable),
        (Odd("odd", status=429), errors.RateLimited),
        (OSError("a disk"), OSError),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "why"), errors.StreamError),
    ):
        outcome(Scripted([["Half", error]]), _swallowed, middleware=[Recorder(path)])
        with promptstream.chat("Be brief.", provider=Replay(path), tools=[add]) as conv, pytest.raises(kind) as caught:
            conv.send("Hi")
        assert type(caught.value) is kind
        assert str(error) in str(caught.value)


def test_an_error_that_steers_a_generator_comes_back_as_a_stream_error():
    """No run raises one, but a file may name it."""
    assert type(error_maker({"class": "StopIteration", "message": "x"})()) is errors.StreamError


def _swallowed(conv: promptstream.Conversation) -> None:
    with suppress(OSError, ValueError):
        conv.send("Hi")


# Matching


def record(path: Path, script: Any, *questions: str, **options: Any) -> None:
    """Record the answers to *questions*, each in a conversation of its own."""
    recorder = Recorder(path)
    provider = Scripted(script)
    for question in questions:
        with promptstream.chat("Be brief.", provider=provider, middleware=[recorder], **options) as conv:
            conv.send(question)


def replayed(provider: Provider, question: str, system: str = "Be brief.", **options: Any) -> str:
    """Ask a replaying provider in a conversation of its own."""
    with promptstream.chat(system, provider=provider, **options) as conv:
        return conv.send(question).text


def test_each_request_gets_its_own_answer_in_any_order_and_equal_ones_theirs_in_turn(path):
    """By content: what was asked twice is answered in the recorded order, and once each."""
    record(path, ["1", "2", "3"], "A", "B", "A")
    provider = Replay(path)
    assert [replayed(provider, each) for each in ("B", "A", "A")] == ["2", "1", "3"]
    assert (provider.unplayed, len(provider.requests)) == (0, 3)
    with pytest.raises(errors.ConfigError, match=r"all 3 answers of the recording were played.*the same was asked"):
        replayed(provider, "A")


def test_a_changed_request_is_told_by_what_differs(path):
    """Line by line, from shortly before a long text changes; the exchange that is nearest is named with its line."""
    long = "Tell me a story about " + "very " * 30
    record(path, ["1", "2"], "Something else", long + "old otters.", temperature=0.5)
    provider = Replay(path)
    with pytest.raises(errors.ConfigError) as caught:
        replayed(provider, long + "young otters.", temperature=0.7)
    assert str(caught.value) == (
        f"{path}: nothing was recorded for this request. It differs from exchange 2 (line 7), the nearest:\n"
        "  parameters.temperature\n"
        "    recorded: '0.5'\n"
        "    asked:    '0.7'\n"
        "  messages[1] user\n"
        "    recorded: …'ery very very very very old otters.'\n"
        "    asked:    …'ery very very very very young otters.'\n"
        "If that is meant to be asked, record it again."
    )
    assert provider.unplayed == 2


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"system": "Be long."}, "messages[0] system"),
        ({"model": "another"}, "recorded: 'scripted'\n    asked:    'another'"),
        ({"tools": [add]}, "tools.add.description\n    recorded: (nothing)\n    asked:    'Add.'"),
        ({"seed": 3}, "parameters.seed\n    recorded: (nothing)\n    asked:    '3'"),
        ({"extra": {"user": "me"}}, "extra.user"),
    ],
)
def test_whatever_of_a_request_has_changed_is_named(path, changed, told):
    """Model, tools, parameters and messages; with match= only what it names counts."""
    record(path, ["1"], "A")
    with pytest.raises(errors.ConfigError) as caught:
        replayed(Replay(path), "A", **changed)
    assert told in str(caught.value)
    assert replayed(Replay(path, match="order"), "Another question", **changed) == "1"
    system = {name: value for name, value in changed.items() if name == "system"}
    if not system:
        assert replayed(Replay(path, match=["messages"]), "A", **changed) == "1"


def test_what_cannot_be_compared_is_told():
    """A slip in match= or speed= is found before anything is asked."""
    for options, text in (
        ({"match": "mesages"}, "Did you mean 'messages'"),
        ({"match": ()}, "order"),
        ({"speed": 0}, "above 0"),
        ({"speed": "fast"}, "above 0"),
        ({"speed": float("inf")}, "above 0"),
    ):
        with pytest.raises(errors.ConfigError, match=text):
            Replay("unread", **options)
    with pytest.raises(errors.ConfigError, match="needs the path"):
        providers.get("replay")
    with pytest.raises(errors.ConfigError, match="Did you mean 'speed'"):
        Replay("unread", sped=1)


def test_ids_that_were_drawn_for_calls_are_no_difference(path):
    """Calls without ids get random ones; their order is what counts."""
    call = ToolCall("", "add", {"a": 1, "b": 2})
    provider = Scripted([[call, call], "Three, twice."])
    recorded = outcome(provider, lambda conv: conv.send("1 + 2, twice?"), middleware=[Recorder(path)])
    replayed = outcome(Replay(path), lambda conv: conv.send("1 + 2, twice?"))
    assert (recorded.text, replayed.text) == ("Three, twice.", "Three, twice.")
    assert len({call.id for call in (*recorded.tool_calls, *replayed.tool_calls)}) == 4


def test_a_key_in_a_request_is_no_difference(path):
    """[key] in the recording stands for whatever key the request has now."""
    with ProviderServer(WIRES["openai"], "ok") as server:
        promptstream.chat(provider=server.provider(), middleware=[Recorder(path)]).send(f"Is {KEY} a key?")
    assert KEY not in path.read_text(encoding="utf-8")
    assert replayed(Replay(path), "Is sk-another-one a key?", system="") == "ok"
    with pytest.raises(errors.ConfigError, match="nothing was recorded"):
        replayed(Replay(path), "Is it a lock?", system="")


def test_threads_share_a_replay_and_each_exchange_is_played_once(path):
    """Many turns at once: nobody gets another's answer."""
    record(path, [f"to {number}" for number in range(20)], *[f"from {number}" for number in range(20)])
    provider = Replay(path)
    seen: dict[int, str] = {}

    def ask(number: int) -> None:
        seen[number] = replayed(provider, f"from {number}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert seen == {number: f"to {number}" for number in range(20)}


# Time


def slow(path: Path, *times: float) -> None:
    """Write a recording whose chunks come at *times*."""
    record(path, [[f"{number} " for number in range(len(times))]], "A")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    chunks = [line for line in lines if line.get("type") == "text"]
    for line, at in zip(chunks, times, strict=True):
        line["at"] = at
    for line in lines[lines.index(chunks[-1]) + 1 :]:
        line["at"] = times[-1]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_it_plays_at_once_or_as_fast_as_it_is_told(path):
    """Without a speed nothing is waited for; with one, the recorded times are, divided by it."""
    slow(path, 100.0, 200.0)
    assert replayed(Replay(path), "A") == "0 1 "
    began = time.monotonic()
    assert replayed(Replay(path, speed=10_000), "A") == "0 1 "
    assert 0.02 <= time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("timeout", "kind", "text"),
    [
        (Timeout(first=0.02), errors.FirstTokenTimeout, ""),
        (Timeout(idle=0.02), errors.IdleTimeout, "0 "),
        (Timeout(total=0.02), errors.DeadlineExceeded, ""),
    ],
)
def test_timeouts_hold_while_it_waits(path, timeout, kind, text):
    """As on a wire."""
    slow(path, 0.04 if text == "" else 0.001, 100.0)
    with promptstream.chat("Be brief.", provider=Replay(path, speed=1.0)) as conv, pytest.raises(kind) as caught:
        conv.send("A", timeout=timeout)
    assert caught.value.response.text == text


def test_a_cancel_and_a_break_reach_it_while_it_waits(path):
    """From another thread within 100 ms; what had come is kept."""
    slow(path, 0.001, 100.0)
    with promptstream.chat("Be brief.", provider=Replay(path, speed=1.0)) as conv:
        stream = conv.stream("A")
        for chunk in stream:
            assert chunk.text == "0 "
            break
        assert stream.response.finish_reason == "cancelled"
    token = promptstream.CancelToken()
    timer = threading.Timer(0.03, token.cancel)
    timer.start()
    with promptstream.chat("Be brief.", provider=Replay(path, speed=1.0)) as conv:
        began = time.monotonic()
        with pytest.raises(errors.Cancelled) as caught:
            conv.send("A", cancel=token)
    assert caught.value.response.text == "0 "
    assert time.monotonic() - began < 2
    timer.join()


# Endings


def test_an_answer_that_was_left_plays_as_far_as_it_was_read(path):
    """Who leaves at the same place notices nothing; who reads on is told why there is no more."""
    with promptstream.chat("Be brief.", provider=Scripted([["a", "b", "c"]]), middleware=[Recorder(path)]) as conv:
        for chunk in conv.stream("A"):
            if chunk.text == "b":
                break
    with promptstream.chat("Be brief.", provider=Replay(path)) as conv:
        for chunk in conv.stream("A"):
            if chunk.text == "b":
                break
        assert conv.messages[-1].text == "ab"
    with pytest.raises(errors.ConfigError, match=r"line 3: .*the loop was left here when it was recorded"):
        replayed(Replay(path), "A")


def test_a_cancelled_answer_is_cancelled_again(path):
    """Cancelled is an error like any other."""
    with promptstream.chat("Be brief.", provider=Scripted([["a", "b"]]), middleware=[Recorder(path)]) as conv:
        token = promptstream.CancelToken()
        with pytest.raises(errors.Cancelled):
            for _ in conv.stream("A", cancel=token):
                token.cancel()
    with pytest.raises(errors.Cancelled):
        replayed(Replay(path), "A")


@pytest.mark.parametrize("framing", ["chunked", "content-length", "close"])
@pytest.mark.parametrize(
    ("kind", "timeout"),
    [
        (errors.FirstTokenTimeout, Timeout(first=0.03)),
        (errors.IdleTimeout, Timeout(idle=0.03)),
        (errors.DeadlineExceeded, 0.05),
        (errors.Cancelled, None),
    ],
)
def test_what_stopped_an_answer_on_the_wire_stops_its_replay(path, kind, timeout, framing):
    """A socket that is shut down in time looks like a clean end: the recording tells what it was."""
    held = Cut(Answer(["Once ", "upon"]), 0 if kind is errors.FirstTokenTimeout else 2, "hold")

    def ask(conv: promptstream.Conversation) -> Response:
        stream = conv.stream("1 + 2?", timeout=timeout)
        for chunk in stream:
            if kind is errors.Cancelled and chunk.text:
                threading.Timer(0.01, stream.cancel, ["enough"]).start()
        return stream.result()

    with ProviderServer(WIRES["openai"], held, framing=framing) as server:
        provider = server.provider(retry=promptstream.Retry(attempts=1))
        assert type(again(provider, path, ask)) is kind
    (exchange,) = Recording.read(path).exchanges
    assert (exchange.ending, type(exchange.error())) == ("error", kind)


def test_a_turn_that_is_cancelled_while_a_layer_holds_its_chunk_is_recorded_as_cancelled(path):
    """The recorder is closed then as if the loop had been left."""
    token = promptstream.CancelToken()

    def slow_layer(request: Any, call_next: Any) -> Any:
        for chunk in call_next(request):
            token.cancel("enough")
            yield chunk

    conv = promptstream.chat(provider=Scripted([["a", "b"]]), middleware=[slow_layer, Recorder(path)])
    with conv, pytest.raises(errors.Cancelled, match="enough"):
        conv.send("A", cancel=token)
    with pytest.raises(errors.Cancelled, match="enough"):
        replayed(Replay(path), "A", system="")


def test_a_connection_that_closes_cleanly_in_mid_answer_is_recorded_as_cut(path):
    """It replays as Truncated, and does not pass for whole."""
    with ProviderServer(WIRES["openai"], Cut(Answer(["Once ", "upon"]), 2), framing="close") as server:
        provider = server.provider(retry=promptstream.Retry(attempts=1))
        assert isinstance(again(provider, path, lambda conv: conv.send("Hi")), errors.Truncated)
    assert [each.ending for each in Recording.read(path).exchanges] == ["cut"]


# Files that cannot be played


def test_a_recording_that_ends_in_the_middle_plays_that_far_and_says_so(path):
    """Cut by a crash after any byte: the file can be read, and what is missing is told by its line."""
    record(path, [["Once ", "upon ", "a time."]], "A")
    whole = path.read_bytes()
    start = whole.index(b"\n", whole.index(b'"request"')) + 1
    for size in range(start, len(whole), 11):
        path.write_bytes(whole[:size])
        finished = size >= whole.index(b"\n", whole.index(b'"finish"'))
        with promptstream.chat("Be brief.", provider=Replay(path)) as conv:
            if finished:
                assert conv.send("A").text == "Once upon a time."
            else:
                with pytest.raises(errors.ConfigError, match=r"talk.ndjson, line 3: .*ends early.*was cut off here"):
                    conv.send("A")


HEAD = '{"promptstream":"recording","format":1}\n'
ASKED = '{"type":"request","id":1,"messages":[]}\n'


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "line 1: the recording is empty"),
        ("\n\n", "line 1: this is no recording"),
        ("hello\n", "line 1: this is no recording"),
        ('{"prompts": {}}\n', "line 1: this is no recording"),
        ("[" * 100_000, "line 1: this is no recording"),
        ('{"promptstream":"recording","format":2}\n', "line 1: the recording is of format 2.*reads up to 1"),
        ('{"promptstream":"recording","format":"x"}\n', "line 1: the format is 'x'"),
        (HEAD + '{"type":\n', "line 2: the recording is damaged"),
        (HEAD + "\n", "line 2: the recording is damaged"),
        (HEAD + "3\n", "line 2: .*no JSON object"),
        (HEAD + '{"id": 1}\n', "line 2: .*lacks 'type'"),
        (HEAD + '{"type":"text","id":1,"at":0,"text":"x"}\n', "line 2: .*no exchange 1 is on its way"),
        (HEAD + '{"type":"request","id":1}\n', "line 2: .*lacks 'messages'"),
        (HEAD + '{"type":"request","id":1,"messages":[{"role":"user","parts":["x"]}]}\n', "line 2: .*messages is"),
        (HEAD + ASKED + ASKED, "line 3: .*begins a second time"),
        (HEAD + ASKED + '{"type":"smell","id":1,"at":0}\n', "line 3: .*'smell' is not known"),
        (HEAD + ASKED + '{"type":"text","id":1,"at":-1,"text":"x"}\n', "line 3: .*no number of seconds"),
        (HEAD + ASKED + '{"type":"text","id":1,"at":0,"text":7}\n', "line 3: .*text is 7"),
        (HEAD + ASKED + '{"type":"text","id":1,"at":0,"colour":"x"}\n', "line 3: .*colour"),
        (HEAD + ASKED + '{"type":"text","id":1,"at":0,"tool_result":"x"}\n', "line 3: .*tool_result"),
        (HEAD + ASKED + '{"type":"tool_call","id":1,"at":0,"tool_call":{"type":"x"}}\n', "line 3: .*a part's type"),
        (HEAD + ASKED + '{"type":"finish","id":1,"at":0,"cost":"much"}\n', "line 3: "),
        (HEAD + ASKED + '{"type":"end","id":1,"at":0,"how":"odd"}\n', "line 3: .*'odd' is not known"),
        (HEAD + ASKED + '{"type":"end","id":1,"at":0,"how":"error"}\n', "line 3: .*lacks 'error'"),
        (HEAD + ASKED + '{"type":"end","id":1,"at":0,"how":"error","error":{"class":3,"message":""}}\n', "line 3: "),
        *(
            (
                HEAD + ASKED + f'{{"type":"finish","id":1,"at":0,{said}}}\n',
                f"line 3: .*{said.partition(chr(34) + ':')[0][1:]}",
            )
            for said in (
                '"raw_reason":[true]',
                '"reason":{"a":1}',
                '"cost":NaN',
                '"usage_seen":{"cache_write":"x"}',
                '"cost":"1e999999999"',
                '"warnings":"w"',
                '"sentinel":1',
                '"restart":null',
            )
        ),
        (HEAD + ASKED + '{"type":"tool_call","id":1,"at":0}\n', "line 3: .*tool call"),
        (
            HEAD + ASKED + '{"type":"end","id":1,"at":0,"how":"error","error":'
            '{"class":"Overloaded","message":"","attempts":null}}\n',
            "line 3: .*attempts",
        ),
        (
            HEAD + '{"type":"request","id":1,"messages":[{"role":"user","parts":[{"type":"text"}]}]}\n',
            "line 2: .*'text'",
        ),
        (HEAD + '{"type":"request","id":1,"messages":[],"extra":' + "[" * 300 + "]" * 300 + "}\n", "line 2: .*deeper"),
    ],
)
def test_a_file_that_is_damaged_or_another_is_told_with_its_line(path, content, told):
    """A ConfigError when it is opened, which names file and line."""
    path.write_text(content, encoding="utf-8")
    with pytest.raises(errors.ConfigError, match=f"talk.ndjson, {told}"):
        Replay(path)


def test_a_file_that_is_not_there_is_told(path):
    """Or that cannot be read."""
    with pytest.raises(errors.ConfigError, match="No such file"):
        Replay(path)


def test_any_byte_may_be_damaged_without_a_crash(path):
    """Whatever the file holds, it is opened and played, or refused as a ConfigError or a StreamError."""
    record(path, [[Chunk(ChunkType.REASONING, reasoning="Hm"), ToolCall("c", "add", {"a": 1}), "Once "]], "A")
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + b"7" + whole[at + 1 :])
        try:
            provider = Replay(path, match="order")
            while provider.unplayed:
                provider.send("A")
        except (errors.ConfigError, errors.StreamError):
            continue


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e300,
    float("nan"),
    "",
    "x",
    "2",
    [],
    [None],
    ["x"],
    {},
    {"a": 1},
    {"type": "text"},
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Give each container in a record with each key of it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in items for place in ((value, key), *_places(each))]


def test_any_value_may_be_damaged_without_a_crash(path):
    """Each field of each record in turn is lost, or replaced by something odd: nothing but our errors comes."""
    call = ToolCall("c", "add", {"a": 1, "b": 2}, metadata={"scripted": {"s": 1}})
    failing = errors.RateLimited("slow", status=429, code="x", retry_after=1.5, request_id="r", phase="headers")
    told = Finish(reason="tool_calls", raw_reason="t", usage_seen=Usage(1, 2, cached=1), cost=Decimal("0.1"),
                  warnings=("w",), validations=({"message": "m"},), request_id="r")  # fmt: skip
    script = [[Chunk(ChunkType.REASONING, reasoning="Hm"), Opaque(data={"scripted": {"a": 1}}), "Once ", call, told],
              ["No", failing]]  # fmt: skip
    outcome(
        Scripted(script), lambda conv: conv.send("1 + 2?", extra={"user": "me"}), middleware=[Recorder(path)], seed=1
    )
    lines = path.read_text(encoding="utf-8").splitlines()
    odds = itertools.cycle(ODD)
    for at, line in enumerate(lines):
        for place in range(len(_places(json.loads(line)))):
            for odd in (_ABSENT, *itertools.islice(odds, 3)):
                record = json.loads(line)
                where, key = _places(record)[place]
                if odd is _ABSENT:
                    del where[key]
                else:
                    where[key] = odd
                path.write_text("\n".join([*lines[:at], json.dumps(record), *lines[at + 1 :]]) + "\n", encoding="utf-8")
                with suppress(promptstream.PromptStreamError):
                    provider = Replay(path)
                    with promptstream.chat("Be brief.", provider=provider, tools=[add], seed=1) as conv:
                        repr(conv.send("1 + 2?", extra={"user": "me"}).to_dict())


_ABSENT = object()


# What it goes by


def test_it_goes_by_the_name_and_the_model_of_what_was_recorded(path):
    """So that an app which shows or asks for them notices no difference."""
    with ProviderServer(WIRES["anthropic"], "Hi") as server:
        promptstream.chat(provider=server.provider(), middleware=[Recorder(path)]).send("Hello")
    provider = Replay(path)
    assert (provider.name, provider.model) == ("anthropic", WIRES["anthropic"].model)
    assert provider.capabilities == server.provider().capabilities - {"models"}
    with pytest.raises(errors.Unsupported, match="anthropic does not support completion"):
        provider.completion("Once")
    assert Recording.read(path).exchanges[0].provider == "anthropic"
    with pytest.raises(errors.Unsupported, match="A replay of anthropic cannot list its models"):
        provider.models()
