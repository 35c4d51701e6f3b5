"""Rounds in, OpenTelemetry spans and metrics of the GenAI conventions out (extra ``otel``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from promptstream._version import __version__
from promptstream.errors import ConfigError
from promptstream.middleware.log import NAME
from promptstream.middleware.onion import CallNext, Middleware
from promptstream.middleware.seen import Seen, class_of
from promptstream.values.chunk import Chunk
from promptstream.values.format import Format
from promptstream.values.message import Document, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.request import ChatRequest

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
"""The buckets that the conventions ask for."""
_PROVIDERS = {"gemini": "gcp.gemini"}
"""What the conventions call a provider by another name than we do."""
_PARAMETERS = {
    "temperature": float,
    "top_p": float,
    "top_k": float,
    "frequency_penalty": float,
    "presence_penalty": float,
    "max_tokens": int,
    "seed": int,
}


def telemetry(
    tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None, content: bool = False
) -> Middleware:
    """Trace and measure each round by OpenTelemetry's conventions for generative AI, which are in development.

    A span "chat MODEL" of kind CLIENT, child of the span that is current where the loop begins, tells the request's
    parameters, the answering model, finish reason, tokens and time to the first chunk. It is never the current span
    of your loop's body: only while the request is sent is it current, so that an HTTP client's own span becomes its
    child. A round that fails gets status ERROR and the error's class, never its message; one that its loop left is
    no error, and has ``promptstream.cancelled``. The metrics are ``gen_ai.client.operation.duration``,
    ``gen_ai.client.operation.time_to_first_chunk`` and ``gen_ai.client.token.usage``. Where a processor or an exporter
    raises, the turn goes on, and the logger "promptstream" warns. One of these may serve many conversations in many
    threads.

    Args:
        tracer_provider, meter_provider: where they go; the global ones where none is given.
        content: add the messages, the tools and the answer to the span, which may be long and personal.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import metrics, trace
    except ImportError as error:
        raise ConfigError(
            "telemetry needs OpenTelemetry, which is not installed: pip install 'promptstream-sdk[otel]'"
        ) from error
    tracer = trace.get_tracer("promptstream", __version__, tracer_provider)
    instruments = _Instruments.of(metrics.get_meter("promptstream", __version__, meter_provider))

    def traced(request: ChatRequest, call_next: CallNext) -> Iterator[Chunk]:
        return _traced(tracer, instruments, content, request, call_next)

    return traced


@attrs.frozen(eq=False)
class _Instruments:
    """The three histograms of a client."""

    duration: Histogram
    first: Histogram
    tokens: Histogram

    @classmethod
    def of(cls, meter: Meter) -> _Instruments:
        """Make them by *meter*."""
        return cls(
            _histogram(meter, "gen_ai.client.operation.duration", "s", "GenAI operation duration.", SECONDS),
            _histogram(
                meter,
                "gen_ai.client.operation.time_to_first_chunk",
                "s",
                "Time from the request to the first chunk of the answer.",
                SECONDS,
            ),
            _histogram(meter, "gen_ai.client.token.usage", "{token}", "Input and output tokens used.", TOKENS),
        )


def _histogram(meter: Meter, name: str, unit: str, description: str, buckets: tuple[float, ...]) -> Histogram:
    create: Callable[..., Histogram] = meter.create_histogram
    try:
        return create(name, unit, description, explicit_bucket_boundaries_advisory=buckets)
    except TypeError:  # OpenTelemetry before 1.30 takes no advice
        return create(name, unit, description)


def _traced(
    tracer: Tracer, instruments: _Instruments, content: bool, request: ChatRequest, call_next: CallNext
) -> Iterator[Chunk]:
    """Run one round. The span is handed about by hand: what is current belongs to whoever holds the loop."""
    span = _begin(tracer, request, content)
    content = content and span.is_recording()
    seen = Seen(request, content)
    failure: BaseException | None = None
    try:
        for chunk in _inside(span, seen, call_next(request)):
            seen.add(chunk)
            yield chunk
    except BaseException as error:
        failure = error
        raise
    finally:
        common, failed = _common(seen, request), _failed(seen, failure)
        with _apart():
            _tell(span, seen, request, common | failed, content)
        with _apart():
            span.end()
        with _apart():
            _measure(instruments, seen, request, common, failed)
        del failure  # a frame that kept what it raises would be a cycle with its traceback


@contextmanager
def _apart() -> Iterator[None]:
    """Keep what fails in OpenTelemetry, or in what was hung into it, from the turn; a line in the log tells of it."""
    try:
        yield
    except Exception as error:
        from logging import getLogger

        getLogger(NAME).warning("Telemetry failed (%s); the turn goes on.", class_of(error))


def _begin(tracer: Tracer, request: ChatRequest, content: bool) -> Span:
    """Start the span; where that fails, give one that records nothing and leaves the caller's in its place."""
    from opentelemetry.trace import NonRecordingSpan, SpanKind, get_current_span

    span: Span = NonRecordingSpan(get_current_span().get_span_context())
    with _apart():
        asked = _request_attributes(request)
        name = f"{asked['gen_ai.operation.name']} {request.model}".rstrip()
        span = tracer.start_span(name, kind=SpanKind.CLIENT, attributes=asked)
        if content and span.is_recording():
            span.set_attributes(_content_attributes(request))
    return span


def _inside(span: Span, seen: Seen, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield *chunks*; the span is current in what makes them until the first visible one, and never at a yield."""
    from opentelemetry.context import attach, detach
    from opentelemetry.trace import set_span_in_context

    while seen.first is None:
        token = attach(set_span_in_context(span))
        try:
            chunk = next(chunks, None)
        finally:
            detach(token)
        if chunk is None:
            return
        yield chunk
    yield from chunks


def _request_attributes(request: ChatRequest) -> dict[str, Any]:
    told: dict[str, Any] = {
        "gen_ai.operation.name": "chat" if request.prompt is None else "text_completion",
        "gen_ai.provider.name": _PROVIDERS.get(request.provider, request.provider or "unknown"),
        "promptstream.round": request.round,
    }
    if request.model:
        told["gen_ai.request.model"] = request.model
    if request.conversation_id is not None:
        told["gen_ai.conversation.id"] = request.conversation_id
    if request.streaming:
        told["gen_ai.request.stream"] = True
    given = request.parameters
    for name, kind in _PARAMETERS.items():
        if name in given:
            told[f"gen_ai.request.{name}"] = kind(given[name])
    if "stop" in given:
        stop = given["stop"]
        told["gen_ai.request.stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    form = Format.of(given)
    if form is not None and form.is_json:
        told["gen_ai.output.type"] = "json"
    return told


def _tell(span: Span, seen: Seen, request: ChatRequest, told: dict[str, Any], content: bool) -> None:
    """Tell of the ending on the span: *told*, and what *seen* has besides."""
    from opentelemetry.trace import Status, StatusCode

    told.update((name, count) for name, count in _counts(seen).items() if count is not None)
    if seen.request_id is not None:
        told["gen_ai.response.id"] = seen.request_id
    if seen.reason is not None:
        told["gen_ai.response.finish_reasons"] = [seen.reason]
    if request.streaming and seen.first is not None:
        told["gen_ai.response.time_to_first_chunk"] = seen.first
    if content:
        told["gen_ai.output.messages"] = _json([{"finish_reason": "unknown"} | _message(seen.message())])
    if "error.type" in told:
        span.set_status(Status(StatusCode.ERROR))
    span.set_attributes(told)


def _failed(seen: Seen, error: BaseException | None) -> dict[str, Any]:
    """Give what is told of *error*: that the loop was left is no failure."""
    if seen.was_left(error):
        return {"promptstream.cancelled": True}
    if error is None or isinstance(error, GeneratorExit):
        return {}
    return {"error.type": class_of(error)}


def _measure(
    instruments: _Instruments, seen: Seen, request: ChatRequest, common: dict[str, Any], failed: dict[str, Any]
) -> None:
    """Record the round in the metrics."""
    failed = {name: value for name, value in failed.items() if name == "error.type"}
    if request.streaming and seen.first is not None:
        instruments.first.record(seen.first, common)
    instruments.duration.record(seen.seconds, common | failed)
    for kind, count in (("input", seen.usage.input), ("output", seen.usage.output)):
        if count is not None:
            instruments.tokens.record(count, common | {"gen_ai.token.type": kind})


def _common(seen: Seen, request: ChatRequest) -> dict[str, Any]:
    """Give what the metrics are told apart by."""
    told = {
        "gen_ai.operation.name": "chat" if request.prompt is None else "text_completion",
        "gen_ai.provider.name": _PROVIDERS.get(seen.provider, seen.provider or "unknown"),
    }
    if request.model:
        told["gen_ai.request.model"] = request.model
    if seen.answered and seen.model:
        told["gen_ai.response.model"] = seen.model
    return told


def _counts(seen: Seen) -> dict[str, int | None]:
    usage = seen.usage
    return {
        "gen_ai.usage.input_tokens": usage.input,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cached,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    }


# What is said, as the conventions' JSON Schemas have it


def _content_attributes(request: ChatRequest) -> dict[str, str]:
    system = [part for message in request.messages if message.role == "system" for part in message.parts]
    said = [_message(message) for message in request.messages if message.role != "system"]
    if request.prompt is not None:
        said = [_message(Message("user", request.prompt))]
    told = {"gen_ai.input.messages": _json(said)}
    if system:
        told["gen_ai.system_instructions"] = _json([_part(part) for part in system])
    if request.tools:
        told["gen_ai.tool.definitions"] = _json([{"type": "function", **attrs.asdict(tool)} for tool in request.tools])
    return told


def _message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "parts": [_part(part) for part in message.parts]}
    if message.finish_reason is not None:
        told["finish_reason"] = message.finish_reason
    return told


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, (Text, Reasoning)):
        return {"type": part.type, "content": part.text}
    if isinstance(part, ToolCall):
        arguments = part.raw_arguments if part.arguments is None else part.arguments
        return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": arguments}
    if isinstance(part, ToolResult):
        return {"type": "tool_call_response", "id": part.call_id, "response": part.content}
    return _attachment(part)


def _attachment(part: Image | Document) -> dict[str, Any]:
    """Tell of a file without its bytes, which no trace has room for."""
    told: dict[str, Any] = {"type": part.type, "modality": part.type, "mime_type": part.media_type}
    if part.url is not None:
        return told | {"type": "uri", "uri": part.url}
    return told | {"bytes": len(part.data or b"")}


def _json(value: Iterable[Mapping[str, Any]]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
