"""Anthropic Messages: requests out, events in (platform.claude.com/docs/en/api/messages)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import attrs

from promptstream.errors import ProtocolError
from promptstream.providers.anthropic.blocks import Blocks, bad
from promptstream.providers.anthropic.request import encode_body
from promptstream.providers.failures import said_error
from promptstream.providers.vendor import VendorDialect
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.request import Call, ChatRequest, ModelInfo
from promptstream.values.usage import Usage
from promptstream.wire.events import EventStream, tail_data
from promptstream.wire.jsontext import check_depth, excerpt, loads, loads_quick

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


class AnthropicDialect(VendorDialect):
    """Speak Messages to Anthropic, and to servers that speak it too."""

    name = "anthropic"
    capabilities = frozenset({"streaming", "tools", "reasoning", "images", "documents", "json_schema", "models"})
    keepalives = frozenset({"ping"})
    default_model: ClassVar[str] = "claude-haiku-4-5"
    default_url: ClassVar[str] = "https://api.anthropic.com"
    url_variable: ClassVar[str] = "ANTHROPIC_BASE_URL"
    url_example: ClassVar[str] = "the server's address without /v1"
    key_variables: ClassVar[tuple[str, ...]] = ("ANTHROPIC_API_KEY",)
    key_header: ClassVar[str] = "x-api-key"
    key_prefix: ClassVar[str] = ""
    fixed_headers: ClassVar[Mapping[str, str]] = {"anthropic-version": "2023-06-01"}
    models_path: ClassVar[str] = "/v1/models?limit=1000"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(api_key=api_key, model=model, base_url=base_url, headers=headers)
        self.base_url = self.base_url.removesuffix("/v1")  # as the addresses of most other vendors end

    def encode(self, request: ChatRequest) -> Call:
        """Give the POST to ``/v1/messages``.

        Raises:
            ConfigError: no user speaks, or what the user says is empty.
            Unsupported: a part cannot be sent.
        """
        body, warnings = encode_body(request)
        return Call("POST", self.address("/v1/messages"), self._headers, body, tuple(warnings))

    def decode(self, events: EventStream) -> Iterator[Chunk]:
        """Turn events into chunks; stop at ``message_stop``.

        Raises, while iterating:
            ProviderError: the provider reports an error inside the stream.
            ProtocolError: an event is not of this protocol.
        """
        answer = _Answer(self)
        blocks = answer.blocks
        text = ChunkType.TEXT
        for event in events:
            data = event.data
            body = loads_quick(data)
            # Nearly every event is one delta of text in the block in progress: this is the hot path.
            try:
                if body["index"] == blocks.text_index and body["type"] == "content_block_delta" and len(body) == 3:
                    delta = body["delta"]
                    content = delta["text"]
                    if content.__class__ is str and content and delta["type"] == "text_delta":
                        yield Chunk(text, content, model=blocks.model)
                        continue
            except (KeyError, TypeError):
                pass
            check_depth(data)
            yield from answer.feed(body, event.event)
            if answer.over:
                return
        if tail := tail_data(events.tail):
            try:
                body = loads(tail)
            except ProtocolError:
                return  # cut in the middle of an event: not an event
            if isinstance(body, dict):
                yield from answer.feed(body, "message")

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Turn a ``message`` object into chunks.

        Raises, while iterating:
            ProviderError: it is an error object.
            ProtocolError: it is neither.
        """
        answer = _Answer(self)
        if isinstance(body, dict) and isinstance(body.get("content"), list):
            yield from answer.feed({"type": "message_start", "message": body}, "message")
            yield from answer.feed({"type": "message_stop"}, "message")  # the body itself came whole
        elif isinstance(body, dict) and _is_error(body, "message"):
            raise said_error(self.name, self.secret, body)
        else:
            raise bad("The answer is not a message", body)

    def decode_models(self, body: Any) -> list[ModelInfo]:
        """Turn the list of models into values."""
        known = super().decode_models(body)
        rows = {row["id"]: row for row in body["data"] if isinstance(row, dict) and isinstance(row.get("id"), str)}
        return [
            attrs.evolve(
                model,
                name=_text(rows[model.id], "display_name"),
                context=_count(rows[model.id], "max_input_tokens"),
            )
            for model in known
        ]


class _Answer:
    """What one stream's events add up to, as far as later events depend on earlier ones."""

    def __init__(self, dialect: AnthropicDialect) -> None:
        self.blocks = Blocks()
        self.over = False
        """True once the terminator came."""
        self._dialect = dialect
        self._usage: dict[str, Any] = {}
        self._reason: str | None = None

    def feed(self, body: Any, event: str) -> Iterator[Chunk]:
        """Turn one event into chunks: told by its own type, since proxies drop the event's name."""
        if not isinstance(body, dict):
            raise bad("An event is not a JSON object", body)
        if _is_error(body, event):
            raise said_error(self._dialect.name, self._dialect.secret, body)
        kind = body.get("type") or event
        if kind == "content_block_delta":
            yield from self.blocks.extend(body.get("index"), body.get("delta"))
        elif kind == "content_block_start":
            yield from self.blocks.start(body.get("index"), body.get("content_block"))
        elif kind == "content_block_stop":
            yield from self.blocks.stop(body.get("index"))
        elif kind == "message_start":
            yield from self._start(body.get("message"))
        elif kind == "message_delta":
            yield from self._delta(body)
        elif kind == "message_stop":
            yield from self._end()

    def _start(self, message: Any) -> Iterator[Chunk]:
        if not isinstance(message, dict):
            raise bad("A message is not an object", message)
        if self.blocks.begun:
            # Proxies splice one answer into another: what is whole of the two cannot be told.
            raise bad("Another message begins inside the answer", message.get("id"))
        self.blocks.model = _text(message, "model") or self.blocks.model
        yield Finish(model=self.blocks.model, request_id=_text(message, "id"))
        finished = _text(message, "stop_reason") is not None
        usage = message.get("usage")
        self._usage = {}
        if isinstance(usage, dict):
            # At the start of a stream the output is a placeholder, not a count.
            placeholders = () if finished else ("output_tokens", "output_tokens_details")
            yield from self._spend({key: value for key, value in usage.items() if key not in placeholders})
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            yield from self.blocks.start(index, block)
            yield from self.blocks.stop(index)
        yield from self._finish(message)

    def _delta(self, body: dict[str, Any]) -> Iterator[Chunk]:
        if isinstance(usage := body.get("usage"), dict):
            yield from self._spend(usage)
        delta = body.get("delta")
        if isinstance(delta, dict):
            yield from self._finish(delta)
        elif delta is not None:
            raise bad("A message's delta is not an object", delta)

    def _spend(self, usage: Mapping[str, Any]) -> Iterator[Chunk]:
        """Take counts that replace earlier ones: they are totals, never to be added."""
        self._usage |= {key: value for key, value in usage.items() if value is not None}
        yield Finish(usage_seen=read_usage(self._usage))

    def _finish(self, delta: Mapping[str, Any]) -> Iterator[Chunk]:
        raw = delta.get("stop_reason")
        if not raw:
            return
        raw = raw if isinstance(raw, str) else excerpt(str(raw))
        yield from self.blocks.stop_all()
        reason = FINISH_REASONS.get(raw, "other")
        if reason == "refusal":
            yield from self.blocks.refuse(delta.get("stop_details"))
        if reason == "stop" and self.blocks.called:
            reason = "tool_calls"
        self._reason = reason
        yield Finish(reason=reason, raw_reason=raw, pause=raw == "pause_turn", model=self.blocks.model)

    def _end(self) -> Iterator[Chunk]:
        yield from self.blocks.stop_all()
        # Some servers never give a reason; that tools are wanted is then plain all the same.
        reason = "tool_calls" if self.blocks.called and self._reason is None else None
        yield Finish(sentinel=True, reason=reason)
        self.over = True


def _is_error(body: Mapping[str, Any], event: str) -> bool:
    kind = body.get("type")
    return bool(body.get("error")) or "error" in (kind, event) or (isinstance(kind, str) and kind.endswith("_error"))


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Read Anthropic's usage object, whose three input counts exclude each other; what is no count is unknown."""
    cached, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    fresh = _count(usage, "input_tokens")
    return Usage(
        input=None if fresh is None else fresh + (cached or 0) + (written or 0),
        output=_count(usage, "output_tokens"),
        cached=cached,
        cache_write=written,
        reasoning=_count(usage.get("output_tokens_details"), "thinking_tokens"),
    )


def _count(counts: Any, key: str) -> int | None:
    value = counts.get(key) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(values: Mapping[str, Any], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) and value else None
