"""Rounds in, OpenTelemetry spans and metrics of the GenAI conventions out (extra ``otel``)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

import attrs

from promptstream._version import __version__
from promptstream.errors import ConfigError
from promptstream.middleware.instruments import Instruments, apart, asked, complain
from promptstream.middleware.onion import CallNext, Middleware
from promptstream.middleware.seen import Seen, class_of
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.format import Format
from promptstream.values.message import Document, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.request import ChatRequest

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from promptstream.pricing import Seller

_TEXT = ChunkType.TEXT
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
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    content: bool = False,
    chunks: bool = False,
) -> Middleware:
    """Trace and measure each round by OpenTelemetry's conventions for generative AI, which are in development.

    A span "chat MODEL" of kind CLIENT, child of the span that is current where the loop begins, tells the request's
    parameters, the answering model, finish reason, tokens, cost and time to the first chunk. It is never the current
    span of your loop's body: only while the request is sent is it current, so that an HTTP client's own span becomes
    its child. A round that fails gets status ERROR and the error's class, never its message; one that its loop left
    is no error, and has ``promptstream.cancelled``. The metrics are told of on the page "Telemetry". Where a processor
    or an exporter raises, the turn goes on, and the logger "promptstream" warns. One of these may serve many
    conversations in many threads.

    Args:
        tracer_provider, meter_provider: where they go; the global ones where none is given.
        content: add the messages, the tools and the answer to the span, which may be long and personal.
        chunks: measure the time waited for each chunk, too, which takes some ten microseconds a chunk.

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
    instruments = Instruments.of(metrics.get_meter("promptstream", __version__, meter_provider))
    return _Telemetry(tracer, instruments, content, chunks, tracer_provider is None and meter_provider is None)


@attrs.frozen(eq=False, repr=False)
class _Telemetry:
    """Be the layer. It pickles where it reports to the global providers, and then to those of where it arrives."""

    tracer: Tracer
    instruments: Instruments
    content: bool
    chunks: bool
    _globally: bool
    _sellers: dict[str, Seller] = attrs.field(factory=dict, init=False)
    """What prices the answers of a provider, by its name."""

    def __repr__(self) -> str:
        return "telemetry()"

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._globally:
            raise TypeError(
                "telemetry() with providers of its own reports from this process alone. Leave them out, and set "
                "OpenTelemetry's global ones where it is to run."
            )
        return (telemetry, (None, None, self.content, self.chunks))

    def meet(self, provider: Any, pricing: Any) -> None:
        """Take note of what prices a provider's answers; a turn calls this by itself."""
        seller = None if pricing is None else pricing.seller
        self._sellers[provider.name] = seller if seller and seller.name == provider.name else provider.seller

    def __call__(self, request: ChatRequest, call_next: CallNext) -> Iterator[Chunk]:
        """Run one round. The span is handed about by hand: what is current belongs to whoever holds the loop."""
        span = _begin(self.tracer, request, self.content)
        content = self.content and span.is_recording()
        seen = Seen(request, content)
        before, failure = asked(request, request.provider), None
        with apart():
            self.instruments.in_flight.add(1, before)
        try:
            chunks = call_next(request)
            yield from self._begun(span, seen, chunks)
            yield from self._going_on(seen, request, chunks) if self.chunks else _rest(seen, content, chunks)
        except BaseException as error:
            failure = error
            raise
        finally:
            self._end(span, seen, request, failure, content)
            with apart():
                self.instruments.in_flight.add(-1, before)
            del failure  # a frame that kept what it raises would be a cycle with its traceback

    def _begun(self, span: Span, seen: Seen, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Yield *chunks* to the first visible one; the span is current in what makes them, and never at a yield."""
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
            seen.add(chunk)
            yield chunk

    def _going_on(self, seen: Seen, request: ChatRequest, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Yield the rest, and record how long each was waited for: the time of the loop's body does not count."""
        common, record, since = _common(seen, request), self.instruments.per_chunk.record, monotonic()
        for chunk in chunks:
            waited = monotonic() - since
            seen.add(chunk)
            if not (request.streaming and chunk.type.__class__ is ChunkType):
                yield chunk
                continue
            try:
                record(waited, common)
            except Exception as error:  # as in apart(), which costs more than all the rest
                complain(error)
            yield chunk
            since = monotonic()

    def _end(self, span: Span, seen: Seen, request: ChatRequest, failure: BaseException | None, content: bool) -> None:
        common, failed = _common(seen, request), _failed(seen, failure)
        with apart():
            seen.price(self._sellers.get(seen.provider))
        with apart():
            _tell(span, seen, request, common | failed, content)
        with apart():
            span.end()
        with apart():
            self.instruments.measure(seen, request, common, failed.get("error.type"))


def _rest(seen: Seen, content: bool, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield the rest; of a text there is nothing more to know, unless it is kept."""
    for chunk in chunks:
        if content or chunk.type is not _TEXT:
            seen.add(chunk)
        yield chunk


def _begin(tracer: Tracer, request: ChatRequest, content: bool) -> Span:
    """Start the span; where that fails, give one that records nothing and leaves the caller's in its place."""
    from opentelemetry.trace import NonRecordingSpan, SpanKind, get_current_span

    span: Span = NonRecordingSpan(get_current_span().get_span_context())
    with apart():
        told = _request_attributes(request)
        name = f"{told['gen_ai.operation.name']} {request.model}".rstrip()
        span = tracer.start_span(name, kind=SpanKind.CLIENT, attributes=told)
        if content and span.is_recording():
            span.set_attributes(_content_attributes(request))
    return span


def _request_attributes(request: ChatRequest) -> dict[str, Any]:
    told = asked(request, request.provider)
    told["promptstream.round"] = request.round
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
    if seen.cost is not None:
        told["promptstream.cost"] = float(seen.cost)
    if seen.retries:
        told["promptstream.retries"] = seen.retries
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


def _common(seen: Seen, request: ChatRequest) -> dict[str, Any]:
    """Give what the metrics are told apart by."""
    told = asked(request, seen.provider)
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
