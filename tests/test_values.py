"""Values: usage, timing, messages, responses, chunks and secrets, each by what it promises."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from operator import mod
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstream import (
    Chunk,
    ChunkType,
    Document,
    Image,
    Message,
    Reasoning,
    Response,
    Text,
    Timeout,
    Timing,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from promptstream.errors import Truncated
from promptstream.values.chunk import Finish, InternalType, Opaque
from promptstream.values.message import ROLES, part_from_dict, part_to_dict
from promptstream.values.names import nearest
from promptstream.values.request import PARAMETERS, check_parameters
from promptstream.values.response import FINISH_REASONS
from promptstream.values.secret import Secret

FIVE = {"type", "content", "tool_call", "error", "final"}

texts = st.text(max_size=20)
maybe_text = st.none() | texts
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, max_size=3)
metadata = st.none() | objects
calls = st.builds(ToolCall, texts, texts, st.none() | objects, texts, maybe_text, metadata)
parts = st.one_of(
    st.builds(Text, texts, metadata),
    st.builds(Reasoning, texts, metadata),
    st.builds(Image, maybe_text, st.none() | st.binary(max_size=20), maybe_text, maybe_text, metadata),
    st.builds(Document, maybe_text, st.none() | st.binary(max_size=20), maybe_text, maybe_text, metadata),
    calls,
    st.builds(ToolResult, texts, texts, texts, st.booleans(), metadata),
)
messages = st.builds(Message, st.sampled_from(ROLES), st.lists(parts, max_size=4), maybe_text)
counts = st.none() | st.integers(0, 10**9)
usages = st.builds(
    Usage, input=counts, output=counts, cached=counts, cache_write=counts, reasoning=counts, total=counts
)
seconds = st.none() | st.floats(0, 10**6)
timings = st.builds(Timing, seconds, seconds, st.integers(0, 99), st.integers(0, 99), seconds)
found = st.builds(
    Response,
    text=texts,
    reasoning=texts,
    message=messages,
    tool_calls=st.lists(calls, max_size=2).map(tuple),
    pending=st.lists(calls, max_size=2).map(tuple),
    parsed=json_values,
    finish_reason=st.none() | st.sampled_from(FINISH_REASONS),
    raw_finish_reason=maybe_text,
    model=maybe_text,
    provider=maybe_text,
    request_id=maybe_text,
    usage=usages,
    cost=st.none() | st.decimals(0, 100, allow_nan=False, allow_infinity=False),
    timing=timings,
    rounds=st.integers(1, 9),
    validations=st.lists(objects, max_size=2).map(tuple),
    warnings=st.lists(texts, max_size=2).map(tuple),
    complete=st.booleans(),
)


# Usage


def test_unknown_counts_are_none_and_never_0():
    """A usage of which nothing is known is all None, and false."""
    assert set(Usage().to_dict().values()) == {None}
    assert not Usage()
    assert Usage(0, 0)
    assert Usage(0, 0).total == 0
    assert Usage(input=3).total is None


@given(usages, usages)
def test_adding_keeps_what_is_unknown_unknown(one, other):
    """Each count of a sum is the sum of two known ones, or unknown."""
    total = (one + other).to_dict()
    for name, count in total.items():
        a, b = getattr(one, name), getattr(other, name)
        assert count == (None if a is None or b is None else a + b)
    assert one + other == other + one


@given(st.lists(usages, min_size=1, max_size=4))
def test_usages_can_be_summed(given_usages):
    """``sum`` starts from its 0 without touching the counts."""
    expected = given_usages[0]
    for each in given_usages[1:]:
        expected = expected + each
    assert sum(given_usages) == expected


def test_a_usage_adds_to_nothing_else():
    """Only usages add up."""
    for other in (1, None, {"input": 1}, "x"):
        with pytest.raises(TypeError):
            Usage(1, 1) + other
        with pytest.raises(TypeError):
            other + Usage(1, 1)


def test_the_total_is_the_sum_unless_it_is_told():
    """``total`` follows from input and output."""
    assert Usage(3, 4).total == 7
    assert Usage(3, 4, total=9).total == 9


@given(usages)
def test_a_usage_survives_json(usage):
    """What ``to_dict`` gives comes back the same after JSON."""
    assert Usage.from_dict(json.loads(json.dumps(usage.to_dict()))) == usage
    assert list(usage.to_dict()) == ["input", "output", "cached", "cache_write", "reasoning", "total"]


# Timeout and timing


def test_a_timeout_argument_is_a_timeout_a_number_or_none():
    """A bare number means the total, over the defaults or over what stood before."""
    assert Timeout() == Timeout(connect=10, first=600, idle=120, total=None)
    assert Timeout.of(None) == Timeout()
    assert Timeout.of(3) == Timeout(total=3)
    assert Timeout.of(0.5, Timeout(connect=1, idle=2)) == Timeout(connect=1, idle=2, total=0.5)
    assert Timeout.of(None, Timeout(first=1)) == Timeout(first=1)
    assert Timeout.of(Timeout(idle=5), Timeout(first=1)) == Timeout(idle=5)


@pytest.mark.parametrize("value", ["3", True, False, [3], (1, 2), object(), b"3"])
def test_a_timeout_of_another_type_is_a_type_error(value):
    """What is neither seconds nor a Timeout is refused by name."""
    with pytest.raises(TypeError, match="timeout"):
        Timeout.of(value)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "3", True])
@pytest.mark.parametrize("field", ["connect", "first", "idle", "total"])
def test_a_limit_is_a_number_of_seconds_above_0_or_none(field, value):
    """Zero, negative and odd limits are refused by name; None is no limit."""
    with pytest.raises(ValueError, match=f"Timeout.{field}"):
        Timeout(**{field: value})
    assert getattr(Timeout(**{field: None}), field) is None


def test_a_total_of_zero_as_a_bare_number_is_refused_too():
    """``timeout=0`` is no way to say "no limit"."""
    with pytest.raises(ValueError, match="total"):
        Timeout.of(0)


@given(timings)
def test_a_timing_survives_json(timing):
    """What ``to_dict`` gives comes back the same after JSON."""
    assert Timing.from_dict(json.loads(json.dumps(timing.to_dict()))) == timing


# Messages


def test_a_message_takes_a_string_a_part_or_several():
    """All three ways of saying the same are equal."""
    assert (
        Message("user", "Hi")
        == Message("user", Text("Hi"))
        == Message("user", ["Hi"])
        == Message("user", (Text("Hi"),))
    )
    assert Message("user").parts == Message("user", "").parts == ()
    assert Message("user", ["a", Image(url="x"), "b"]).text == "ab"


def test_a_message_tells_its_text_thoughts_and_calls():
    """The lenses pick the parts of their kind, in order."""
    call = ToolCall("c1", "f", {})
    message = Message("assistant", [Reasoning("Hm"), Text("a"), call, Reasoning("m"), Text("b")])
    assert (message.text, message.reasoning, message.tool_calls) == ("ab", "Hmm", (call,))


@pytest.mark.parametrize("role", ["robot", "", "User", None, 3, "developer"])
def test_a_role_that_does_not_exist_is_a_value_error(role):
    """The error names the roles there are."""
    with pytest.raises(ValueError, match="system, user, assistant, tool"):
        Message(role, "x")


@pytest.mark.parametrize(
    "content", [3, None, [3], [None], b"bytes", [["x"]], {"text": "Hi"}, [{"type": "text"}], Message("user", "x")]
)
def test_what_is_no_part_is_a_type_error(content):
    """Numbers, bytes, dicts and nested lists are not said by accident."""
    with pytest.raises(TypeError):
        Message("user", content)


def test_values_are_read_only():
    """What stands in a history cannot be changed behind its back."""
    for value in (
        Message("user", "x"),
        Text("x"),
        ToolCall("c", "f"),
        Usage(),
        Timing(),
        Timeout(),
        Response(),
        ToolSpec("f"),
    ):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            value.anything = 1


@given(messages)
def test_a_message_survives_json(message):
    """What ``to_dict`` gives comes back the same after JSON, metadata and bytes included."""
    data = json.loads(json.dumps(message.to_dict(), allow_nan=False))
    assert Message.from_dict(data) == message


@given(parts)
def test_a_part_survives_json(part):
    """Each kind of part comes back as that kind."""
    again = part_from_dict(json.loads(json.dumps(part_to_dict(part))))
    assert again == part
    assert type(again) is type(part)


@given(messages)
def test_a_message_survives_pickle_and_copy(message):
    """Processes and threads pass messages on unharmed."""
    assert pickle.loads(pickle.dumps(message)) == message
    assert copy.deepcopy(message) == message


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"role": "user", "content": "Hi"}, Message("user", "Hi")),
        ({"role": "system", "content": "Be brief."}, Message("system", "Be brief.")),
        ({"role": "developer", "content": "Be brief."}, Message("system", "Be brief.")),
        ({"role": "assistant", "content": None}, Message("assistant")),
        ({"role": "assistant"}, Message("assistant")),
        ({"role": "user", "content": ["a", {"type": "text", "text": "b"}]}, Message("user", ["a", "b"])),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "low"}}]},
            Message("user", Image(url="u", detail="low")),
        ),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}, Message("user", Image(url="u"))),
        ({"role": "user", "content": [{"type": "image", "url": "u"}]}, Message("user", Image(url="u"))),
        ({"role": "user", "content": [Image(url="u")]}, Message("user", Image(url="u"))),
        (
            {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "5"},
            Message("tool", ToolResult("c1", "f", "5")),
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
            Message("assistant", ToolCall("c1", "f", {"a": 1}, '{"a": 1}')),
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": ""}}]},
            Message("assistant", ToolCall("c1", "f", {}, "{}")),
        ),
    ],
)
def test_plain_dicts_are_read_as_messages(plain, message):
    """The shape that most code has at hand is understood."""
    assert Message.from_dict(plain) == message


def test_broken_arguments_in_a_plain_dict_are_kept_and_marked():
    """Arguments that are no JSON object stay raw, with the problem told."""
    for raw in ("{", "[1]", "3"):
        plain = {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": raw}}]}
        (call,) = Message.from_dict(plain).tool_calls
        assert (call.arguments, call.raw_arguments) == (None, raw)
        assert call.problem


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"content": "Hi"},
        {"role": "robot", "content": "Hi"},
        {"role": "user", "text": "Hi"},
        {"role": "user", "content": [{"type": "audio"}]},
        {"role": "user", "content": [{"text": "Hi"}]},
        {"role": "user", "content": 3},
        {"role": "user", "content": {"type": "text", "text": "Hi"}},
        {"role": "tool", "content": ["x"]},
        {"role": "user", "parts": [{"type": "x"}]},
        {"role": "user", "parts": [{"type": "text"}]},
        {"role": "user", "parts": [{"type": "text", "text": "x", "colour": "red"}]},
        {"role": "user", "parts": [{"type": "image", "data": "not base64!"}]},
        {"role": "user", "parts": "text"},
        {"role": "user", "parts": [3]},
        {"role": "user", "parts": 3},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "user", "content": [{"type": ["text"]}]},
        {"role": "assistant", "tool_calls": ["f"]},
        {"role": "assistant", "tool_calls": [{"function": "f"}]},
        "Hi",
        None,
        [],
    ],
)
def test_a_dict_that_is_no_message_is_a_value_error(data):
    """Nothing is guessed: an unknown role, key, type or shape is refused with ValueError, as promised."""
    with pytest.raises(ValueError):
        Message.from_dict(data)


def test_the_bytes_of_an_image_are_not_printed():
    """The repr of a picture is its size."""
    assert "<4 bytes>" in repr(Image(data=b"\x00\x01\x02\x03"))
    assert "<4 bytes>" in repr(Document(data=b"\x00\x01\x02\x03"))


# Responses


@given(found)
def test_a_response_survives_json(response):
    """What ``to_dict`` gives comes back the same after strict JSON."""
    data = json.loads(json.dumps(response.to_dict(), allow_nan=False))
    assert Response.from_dict(data) == response


@given(found)
def test_every_response_can_be_told(response):
    """Whatever is known or not, the texts are made, and no None is ever shown."""
    for text in (response.summary(), response.report()):
        assert "None" not in text
    assert "\n" not in response.summary()
    assert str(response) == response.text


def test_the_summary_tells_cost_times_and_tokens_in_one_line():
    """Cost, time to the first text, total time and tokens."""
    response = Response(
        finish_reason="stop",
        usage=Usage(100, 56),
        cost=Decimal("0.00321"),
        timing=Timing(0.2344, 1.23),
        complete=True,
    )
    assert response.summary() == "Cost: $0.0032 | First text: 234ms | Total: 1.2s | Tokens: 156 (100 in, 56 out)"


def test_unknowns_are_told_as_unknown_and_never_as_0():
    """Nothing known is not nothing spent."""
    assert Response(finish_reason="stop", complete=True).summary() == (
        "Cost: unknown | First text: unknown | Total: unknown | Tokens: unknown (unknown in, unknown out)"
    )
    report = Response(finish_reason="stop", complete=True).report()
    assert report.count("unknown") == 5
    assert "$0.0000" in Response(cost=Decimal(0), finish_reason="stop").summary()
    assert "Tokens: 0 (0 in, 0 out)" in Response(usage=Usage(0, 0), finish_reason="stop").summary()


@pytest.mark.parametrize(
    ("reason", "complete", "notice"),
    [
        ("stop", True, None),
        ("tool_calls", True, None),
        ("length", True, "length, cut at the token limit"),
        ("content_filter", True, "content_filter"),
        ("refusal", True, "refusal"),
        ("other", True, "other"),
        ("cancelled", False, "cancelled"),
        (None, True, "no reason given"),
        (None, False, "cut off"),
    ],
)
def test_an_ending_that_is_not_the_usual_one_is_told(reason, complete, notice):
    """Above all that an answer was cut at the token limit."""
    response = Response(finish_reason=reason, complete=complete)
    for text in (response.summary(), response.report()):
        assert (
            (notice in text)
            if notice
            else ("Ended" not in text and "(" not in text.splitlines()[0].partition("Tokens")[0])
        )


def test_an_answer_cut_after_its_reason_is_not_told_as_the_usual_ending():
    """A failed turn that had heard "stop" before is still no whole answer, and the report says so."""
    assert Response(finish_reason="stop", complete=False).report().startswith("✗")


def test_the_report_is_a_block_of_lines():
    """Chunks, times, length and tokens, each on its line."""
    response = Response(
        finish_reason="stop",
        complete=True,
        usage=Usage(10, 20),
        timing=Timing(0.3, 2.0, chunks=7, characters=42),
    )
    assert response.report() == (
        "✓ Streaming completed\n"
        "  Total chunks:        7\n"
        "  Time to first chunk: 300ms\n"
        "  Total time:          2.0s\n"
        "  Content length:      42 chars\n"
        "  Token usage:\n"
        "    Prompt:     10\n"
        "    Completion: 20\n"
        "    Total:      30"
    )


# Chunks

CALL = ToolCall("c1", "weather", {"city": "Zürich"}, '{"city": "Zürich"}')
ANSWER = Response(
    text="Hi",
    tool_calls=(CALL,),
    finish_reason="tool_calls",
    model="m-1",
    usage=Usage(3, 4),
    cost=Decimal("0.25"),
    timing=Timing(0.1, 1.2345),
    complete=True,
)
NOTHING: dict[str, Any] = {"content": "", "tool_call": None, "error": None, "final": None}
CALL_EVENT = {
    "id": "c1",
    "name": "weather",
    "arguments": {"city": "Zürich"},
    "raw_arguments": '{"city": "Zürich"}',
}
EVENTS = [
    (Chunk(ChunkType.TEXT, "Hi"), {**NOTHING, "type": "content", "content": "Hi"}),
    (Chunk(ChunkType.REASONING, reasoning="Hm"), {**NOTHING, "type": "reasoning", "content": "Hm"}),
    (
        Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=ToolCall("c1", "weather", None, '{"ci')),
        {
            **NOTHING,
            "type": "tool_call_delta",
            "tool_call": {"id": "c1", "name": "weather", "arguments": None, "raw_arguments": '{"ci'},
        },
    ),
    (Chunk(ChunkType.TOOL_CALL, tool_call=CALL), {**NOTHING, "type": "tool_call", "tool_call": CALL_EVENT}),
    (
        Chunk(ChunkType.TOOL_RESULT, tool_result=ToolResult("c1", "weather", "sunny")),
        {**NOTHING, "type": "tool_result", "content": "sunny", "tool_call": {"id": "c1", "name": "weather"}},
    ),
    (
        Chunk(ChunkType.TOOL_RESULT, tool_result=ToolResult("c1", "weather", "no network", error=True)),
        {
            **NOTHING,
            "type": "tool_result",
            "content": "no network",
            "tool_call": {"id": "c1", "name": "weather"},
            "error": "no network",
        },
    ),
    (
        Chunk(ChunkType.ERROR, error=Truncated("It was cut."), response=Response(text="H")),
        {**NOTHING, "type": "error", "error": "It was cut."},
    ),
    (
        Chunk(ChunkType.DONE, response=ANSWER),
        {
            **NOTHING,
            "type": "done",
            "final": {
                "content": "Hi",
                "tool_calls": [CALL_EVENT],
                "finish_reason": "tool_calls",
                "model": "m-1",
                "usage": Usage(3, 4).to_dict(),
                "cost": 0.25,
                "latency_ms": 1234,
            },
        },
    ),
]


@pytest.mark.parametrize(("chunk", "event"), EVENTS, ids=[event["type"] for _, event in EVENTS])
def test_a_chunk_of_every_kind_is_an_event_of_five_keys(chunk, event):
    """``to_event`` has always the five keys, and JSON takes it as it is."""
    assert chunk.to_event() == event
    assert set(event) == FIVE
    assert json.loads(json.dumps(chunk.to_event(), allow_nan=False)) == event


def test_the_table_of_events_has_every_kind_of_chunk():
    """No kind is forgotten."""
    assert {chunk.type for chunk, _ in EVENTS} == set(ChunkType)


def test_the_figures_of_an_event_are_null_where_they_are_unknown():
    """Unknown cost and latency are null, never 0."""
    final = Chunk(ChunkType.DONE, response=Response()).to_event()["final"]
    assert (final["cost"], final["latency_ms"], final["finish_reason"], final["model"]) == (None, None, None, None)


@pytest.mark.parametrize(("chunk", "event"), EVENTS, ids=[event["type"] for _, event in EVENTS])
def test_every_chunk_is_safe_to_print(chunk, event):
    """``str(chunk)`` is its text: nothing for any other kind."""
    assert str(chunk) == f"{chunk}" == (event["content"] if event["type"] == "content" else "")


def test_a_kind_of_chunk_is_and_prints_as_its_value():
    """Comparison, ``str``, ``format`` and JSON all give the plain word."""
    assert ChunkType.TEXT == "text"
    assert [str(kind) for kind in ChunkType] == [f"{kind}" for kind in ChunkType] == [kind.value for kind in ChunkType]
    assert f"{ChunkType.DONE:>6}|{mod('%s', ChunkType.DONE)}|{ChunkType('done')}" == "  done|done|done"
    assert json.dumps(ChunkType.TOOL_CALL) == '"tool_call"'
    assert {kind.value for kind in ChunkType} == {
        *("text", "reasoning", "tool_call_delta", "tool_call", "tool_result", "done", "error"),
    }


def test_the_repr_of_a_chunk_shows_what_is_set():
    """Defaults are left out."""
    assert repr(Chunk(ChunkType.TEXT, "Hi")) == "Chunk(type='text', text='Hi')"
    assert repr(Chunk(ChunkType.DONE)) == "Chunk(type='done')"
    assert repr(Finish(reason="stop")) == "Finish(type='finish', reason='stop')"
    assert "part='reasoning'" in repr(Opaque(part="reasoning", data={"openai": 1}))


def test_a_chunk_reads_the_answer_it_carries():
    """``done``, ``usage``, ``finish_reason`` and ``tool_calls`` come from DONE's response, else there is nothing."""
    done = Chunk(ChunkType.DONE, response=ANSWER)
    assert (done.done, done.usage, done.finish_reason, done.tool_calls) == (True, Usage(3, 4), "tool_calls", (CALL,))
    text = Chunk(ChunkType.TEXT, "Hi")
    assert (text.done, text.usage, text.finish_reason, text.tool_calls) == (False, None, None, ())


def test_internal_kinds_are_no_kinds_of_chunk():
    """What passes between a dialect and the fold can never be taken for a chunk of the loop."""
    assert not {kind.value for kind in InternalType} & {kind.value for kind in ChunkType}


def test_chunks_are_equal_by_value_and_survive_pickle():
    """A chunk can be compared and passed between processes."""
    for chunk, _ in EVENTS:
        again = pickle.loads(pickle.dumps(chunk))
        assert again.to_event() == chunk.to_event()
    assert Chunk(ChunkType.TEXT, "a") == Chunk(ChunkType.TEXT, "a") != Chunk(ChunkType.TEXT, "b")


# Secrets


def printed(secret: Secret) -> Iterator[str]:
    """Give *secret* in every way that things are printed."""
    yield from (
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret:>40}",
        mod("%s", secret),
        "{x}".format_map({"x": secret}),
    )
    yield from (repr([secret]), repr({"Authorization": secret.prefixed("Bearer ")}), str((secret,)), repr({secret: 1}))
    record = logging.LogRecord("x", logging.INFO, "f", 1, "key %s %r", (secret, secret), None)
    yield record.getMessage()
    yield repr(pickle.loads(pickle.dumps(secret)))
    yield repr(pickle.dumps({"key": secret}))
    yield repr(copy.deepcopy({"key": secret}))


def test_a_secret_never_prints():
    """Not by str, repr, format, logging, pickle, nor inside a list or dict."""
    secret = Secret("sk-secret-0123456789")
    for text in printed(secret):
        assert "sk-secret" not in text
        assert "[key]" in text


def test_a_secret_does_not_show_in_a_traceback():
    """Even where a program prints the exception it is in."""
    code = (
        "from promptstream.values.secret import Secret\n"
        "key = Secret('sk-secret-0123456789')\n"
        "print(key)\n"
        "raise ValueError(key, {'Authorization': key.prefixed('Bearer ')})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ValueError" in done.stderr
    assert "sk-secret" not in done.stdout + done.stderr


def test_a_secret_is_itself_on_the_wire():
    """Encoding and joining give the real key, which is what it is for."""
    secret = Secret("sk-secret-0123456789")
    assert secret.encode() == b"sk-secret-0123456789"
    assert secret.prefixed("Bearer ").encode() == b"Bearer sk-secret-0123456789"
    assert isinstance(secret.prefixed("Bearer "), Secret)
    assert secret == "sk-secret-0123456789"


def test_a_secret_is_scrubbed_from_text():
    """Every occurrence is masked; a toy of a few letters is not hunted."""
    secret = Secret("sk-secret-0123456789")
    assert secret.scrub("a sk-secret-0123456789 b sk-secret-0123456789") == "a [key] b [key]"
    assert Secret("").scrub("text") == "text"
    assert Secret("x").scrub("text") == "text"


# Parameters


def test_parameters_are_checked_and_none_is_dropped():
    """Known names pass, None means the default."""
    assert check_parameters({"temperature": 1, "stop": None, "max_tokens": 5}) == {"temperature": 1, "max_tokens": 5}
    assert len(PARAMETERS) == 13


def test_an_unknown_parameter_names_the_nearest_and_all():
    """A slip is told with what was probably meant."""
    with pytest.raises(
        TypeError, match=r"'max_token' is not a parameter\. Did you mean 'max_tokens'\? Known: temperature"
    ):
        check_parameters({"max_token": 5})
    with pytest.raises(TypeError) as caught:
        check_parameters({"zzz": 5})
    assert "Did you mean" not in str(caught.value)


def test_the_nearest_name_is_told_only_where_one_is_near():
    """A wild guess is no help."""
    assert nearest("opnai", ["openai", "local"]) == " Did you mean 'openai'?"
    assert nearest("zzz", ["openai", "local"]) == ""
    assert nearest("x", []) == ""
