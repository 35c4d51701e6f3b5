"""Spans and metrics by OpenTelemetry's conventions for generative AI, and a loop that none of them touches."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed (extra test)")

from desk import Desk, points, reporting
from layers import ENDING, GONE, asking, failed, known, plain, played, text_only
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from promptstream import Chunk, ChunkType, Image, Message, Text, ToolCall, ToolResult, ToolSpec, Usage, errors
from promptstream.middleware import telemetry
from promptstream.values.chunk import Finish
from promptstream.values.request import ChatRequest

TELLING = Finish(
    reason="stop", usage_seen=Usage(10, 20, cached=4, cache_write=5, reasoning=6), request_id="chatcmpl-1", model="m-1"
)


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A tracer and a meter of the test's own."""
    with reporting() as made:
        yield made


def request(**changes: Any) -> ChatRequest:
    """Give a request with every parameter that the conventions know."""
    parameters = {
        "temperature": 1,
        "max_tokens": 100,
        "top_p": 0.5,
        "top_k": 40,
        "stop": "END",
        "seed": 7,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "response_format": "json",
        "reasoning": "low",
    }
    asked = ChatRequest(
        (Message("user", "Hi"),), "m", parameters=parameters, provider="gemini", conversation_id="conv_1", round=2
    )
    return attrs.evolve(asked, **changes)


def test_a_round_is_a_span_of_the_conventions(desk):
    """Name, kind and every attribute."""
    asking(played(["{}", TELLING]), desk.layer(), request=request()).result()
    span = desk.span()
    assert (span.name, span.kind, span.status.status_code) == ("chat m", SpanKind.CLIENT, StatusCode.UNSET)
    told = dict(span.attributes)
    assert 0 <= told.pop("gen_ai.response.time_to_first_chunk") < 10
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.conversation.id": "conv_1",
        "gen_ai.output.type": "json",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.top_k": 40.0,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.seed": 7,
        "gen_ai.request.frequency_penalty": 0.1,
        "gen_ai.request.presence_penalty": 0.2,
        "gen_ai.response.model": "m-1",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_creation.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 6,
        "promptstream.round": 2,
    }
    assert type(told["gen_ai.request.temperature"]) is float
    assert (span.instrumentation_scope.name, span.events) == ("promptstream", ())


def test_what_is_unknown_is_left_out(desk):
    """No model, no parameter, no token is made up; an answer in one body has no first chunk."""
    asked = ChatRequest((), prompt="Once", streaming=False)
    asking(played(), desk.layer(), known, request=asked).result()
    assert desk.span().name == "text_completion"
    assert dict(desk.span().attributes) == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "unknown",
        "promptstream.round": 1,
    }
    assert set(desk.metrics()) == {"gen_ai.client.operation.duration", "promptstream.client.in_flight"}


def test_the_metrics_are_those_of_the_conventions(desk):
    """Names, units, buckets, and what they are told apart by."""
    asking(played(["Hi", TELLING]), desk.layer(), request=request()).result()
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m-1",
    }
    seconds = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
    metrics = desk.metrics()
    for name in ("gen_ai.client.operation.duration", "gen_ai.client.operation.time_to_first_chunk"):
        [point] = metrics[name].data.data_points
        assert (metrics[name].unit, dict(point.attributes), point.explicit_bounds) == ("s", common, seconds)
        assert point.count == 1
    tokens = metrics["gen_ai.client.token.usage"]
    assert tokens.unit == "{token}"
    counted = {point.attributes["gen_ai.token.type"]: point for point in tokens.data.data_points}
    assert {kind: point.sum for kind, point in counted.items()} == {"input": 10, "output": 20}
    assert dict(counted["input"].attributes) == common | {"gen_ai.token.type": "input"}
    assert counted["input"].explicit_bounds == tuple(4.0**power for power in range(14))


def test_a_span_is_never_current_in_the_loop(desk):
    """In the loop's body, and after it, the current span is the caller's; and that is the parent."""
    tracer = desk.tracers.get_tracer("caller")
    with tracer.start_as_current_span("mine") as mine:
        stream = asking(played(), plain, desk.layer(), desk.layer(), text_only)
        for _ in stream:
            assert trace.get_current_span() is mine
        assert trace.get_current_span() is mine
    outer, inner = sorted(desk.spans.get_finished_spans()[:2], key=lambda span: span.start_time)
    assert outer.parent.span_id == mine.get_span_context().span_id
    assert inner.parent.span_id == outer.context.span_id


def test_the_current_span_is_the_callers_after_a_break_and_a_failure(desk):
    """However a loop is left, nothing stays attached."""
    before = trace.get_current_span()
    for _ in asking(played(), desk.layer()):
        break
    failed(asking(played([GONE]), desk.layer()), errors.Overloaded)
    failed(asking(played(["One", GONE]), desk.layer()), errors.Overloaded)
    assert trace.get_current_span() is before
    assert len(desk.spans.get_finished_spans()) == 3


def test_what_sends_the_request_runs_within_the_span(desk):
    """So an HTTP client's own span becomes its child."""
    seen = []

    def innermost(request, call_next):
        seen.append(trace.get_current_span())
        yield from call_next(request)

    asking(played(), desk.layer(), innermost).result()
    assert seen[0].get_span_context().span_id == desk.span().context.span_id


def test_two_loops_in_turns_keep_their_spans_apart(desk):
    """Each span has its own parent and ending, whichever loop goes on first."""
    tracer = desk.tracers.get_tracer("caller")
    loops = []
    for name in ("a", "b"):
        with tracer.start_as_current_span(name):
            loop = iter(asking(played(), desk.layer()))
            next(loop)
            loops.append(loop)
    for _ in range(3):
        for loop in loops:
            next(loop, None)
    del loops, loop
    spans = {span.name + (str(span.parent is None)): span for span in desk.spans.get_finished_spans()}
    parents = {span.parent.span_id for span in desk.spans.get_finished_spans() if span.parent}
    assert parents == {spans["aTrue"].context.span_id, spans["bTrue"].context.span_id}


def test_a_break_is_no_error_and_ends_the_span_once(desk):
    """It is recorded as what it is."""
    for _ in asking(played(), plain, desk.layer()):
        break
    span = desk.span()
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["promptstream.cancelled"] is True
    assert "error.type" not in span.attributes
    [point] = desk.metrics()["gen_ai.client.operation.duration"].data.data_points
    assert "error.type" not in point.attributes


def test_a_failure_has_its_class_and_none_of_its_words(desk):
    """An error's text may quote a key; neither span nor metric has any of it."""
    told = errors.Authentication("The key sk-0123456789 is wrong.", status=401)
    failed(asking(played(["One ", told]), desk.layer(), request=request()), errors.Authentication)
    span = desk.span()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert span.attributes["error.type"] == "Authentication"
    assert span.events == ()
    assert "sk-0123" not in span.to_json()
    [point] = desk.metrics()["gen_ai.client.operation.duration"].data.data_points
    assert point.attributes["error.type"] == "Authentication"


def test_an_error_of_somebody_elses_is_named_in_full(desk):
    """With its module."""

    def broken(request, call_next):
        raise json.JSONDecodeError("no", "", 0)
        yield

    with pytest.raises(json.JSONDecodeError):
        asking(played(), desk.layer(), broken).result()
    assert desk.span().attributes["error.type"] == "json.decoder.JSONDecodeError"


def test_where_nobody_answered_no_model_is_said_to_have(desk):
    """A refused key gives no answering model; one that began to answer is told."""
    refused = errors.Authentication("No.", status=401)
    failed(asking(played([Finish(warnings=("w",)), refused]), desk.layer(), request=request()), errors.Authentication)
    assert "gen_ai.response.model" not in desk.span().attributes
    assert desk.span().attributes["gen_ai.request.model"] == "m"
    assert "gen_ai.response.model" not in points(desk, "gen_ai.client.operation.duration")[0].attributes
    desk.spans.clear()
    failed(asking(played(["One ", GONE]), desk.layer(), request=request()), errors.Overloaded)
    assert desk.span().attributes["gen_ai.response.model"] == "scripted"


class Broken(SpanProcessor):
    """Fail at the given moments."""

    def __init__(self, *moments: str) -> None:
        self._moments = moments

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Fail at a span's begin."""
        if "start" in self._moments:
            raise OSError("No collector, and a secret.")

    def on_end(self, span: Any) -> None:
        """Fail at a span's end."""
        if "end" in self._moments:
            raise OSError("No collector, and a secret.")


@pytest.mark.parametrize("moments", [("start",), ("end",), ("start", "end")])
@pytest.mark.parametrize("content", [False, True])
def test_what_fails_beyond_telemetry_breaks_no_turn(desk, caplog, moments, content):
    """A span processor that raises costs the span; the answer, and any other ending, is what it is without."""
    desk.tracers.add_span_processor(Broken(*moments))
    layer = desk.layer(content=content)
    response = asking(played(["Hi", TELLING]), layer).result()
    assert (response.text, response.usage.input, response.complete) == ("Hi", 10, True)
    assert "gen_ai.client.operation.duration" in desk.metrics()
    stream = asking(played(), layer)
    for _ in stream:
        break
    assert (stream.response.text, stream.response.finish_reason) == ("One ", "cancelled")
    assert not stream.response.warnings
    assert failed(asking(played(["One ", GONE]), layer), errors.Overloaded).response.text == "One "
    assert {record.name for record in caplog.records} == {"promptstream"}
    assert {record.getMessage() for record in caplog.records} == {"Telemetry failed (OSError); the turn goes on."}


def test_an_instrument_that_fails_breaks_no_turn(desk, caplog, monkeypatch):
    """Neither do metrics, and the span still ends."""
    from opentelemetry.sdk.metrics import Histogram

    def fails(*args: Any, **named: Any) -> None:
        raise ValueError("No room.")

    layer = desk.layer()
    monkeypatch.setattr(Histogram, "record", fails)
    assert asking(played(["Hi", TELLING]), layer).result().complete
    assert desk.span().attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert "Telemetry failed (ValueError); the turn goes on." in caplog.messages


def test_another_provider_that_answers_is_the_one_that_is_told(desk):
    """Where a fallback answered, provider, tokens and id are its own."""
    script = [
        Finish(usage_seen=Usage(9, 9), request_id="old"),
        Finish(restart=True, provider="anthropic", model="claude"),
        "Hi",
        Finish(reason="stop", usage_seen=Usage(1, 2)),
    ]
    asking(played(script), desk.layer(), request=request()).result()
    told = desk.span().attributes
    assert told["gen_ai.provider.name"] == "anthropic"
    assert told["gen_ai.usage.input_tokens"] == 1
    assert "gen_ai.response.id" not in told


def test_texts_are_recorded_when_asked_for(desk):
    """Messages, system instructions, tools and the answer, as the conventions' schemas have them; no bytes."""
    asked = request(
        messages=(
            Message("system", "Be brief."),
            Message("user", (Text("What is it?"), Image(data=b"\x89PNG", media_type="image/png"))),
            Message("assistant", ToolCall("c1", "look", {"at": 1})),
            Message("tool", ToolResult("c1", "look", "a cat")),
        ),
        tools=(ToolSpec("look", "Look closer."),),
    )
    script = [
        *(Chunk(ChunkType.REASONING, reasoning=piece) for piece in ("H", "m.")),
        *("A ", "cat."),
        Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall("c2", "purr", {})),
        ENDING,
    ]
    asking(played(script), desk.layer(content=True), request=asked).result()
    told = {name: json.loads(text) for name, text in desk.span().attributes.items() if name in CONTENT}
    assert told == {
        "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
        "gen_ai.input.messages": [
            {
                "role": "user",
                "parts": [
                    {"type": "text", "content": "What is it?"},
                    {"type": "image", "modality": "image", "mime_type": "image/png", "bytes": 4},
                ],
            },
            {
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": 1}}],
            },
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "a cat"}]},
        ],
        "gen_ai.tool.definitions": [
            {
                "type": "function",
                "name": "look",
                "description": "Look closer.",
                "parameters": {"type": "object", "properties": {}},
            }
        ],
        "gen_ai.output.messages": [
            {
                "role": "assistant",
                "finish_reason": "length",
                "parts": [
                    {"type": "reasoning", "content": "Hm."},
                    {"type": "text", "content": "A cat."},
                    {"type": "tool_call", "id": "c2", "name": "purr", "arguments": {}},
                ],
            }
        ],
    }


CONTENT = {"gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.tool.definitions", "gen_ai.output.messages"}


def test_texts_are_not_recorded_else(desk):
    """Nothing of what is said is on the span."""
    asking(played(["Secret"]), desk.layer(), request=request()).result()
    assert not CONTENT & set(desk.span().attributes)
    assert "Secret" not in desk.span().to_json()


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    """Before anything is asked."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(errors.ConfigError, match=r"pip install 'promptstream-sdk\[otel\]'"):
        telemetry()


def test_without_a_provider_the_global_one_is_used():
    """The API alone does nothing, quietly."""
    assert asking(played(), telemetry(content=True)).result().text == "One two three."


def test_nothing_is_taken_from_the_answer(desk):
    """The answer within is the answer without."""
    alone = attrs.asdict(asking(played()).result())
    within = attrs.asdict(asking(played(), text_only, desk.layer(content=True), plain).result())
    del alone["timing"], within["timing"]
    assert within == alone
