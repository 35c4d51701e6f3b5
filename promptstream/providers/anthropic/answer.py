"""Anthropic's events in, chunks out, with what later ones need to know of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from promptstream.providers.anthropic.blocks import Blocks, bad
from promptstream.providers.failures import said_error
from promptstream.providers.reading import count, spent, text_in
from promptstream.values.chunk import Chunk, Finish
from promptstream.values.secret import Secret
from promptstream.values.usage import Usage
from promptstream.wire.jsontext import excerpt

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


class MessagesAnswer:
    """What one stream's events add up to, as far as later events depend on earlier ones."""

    def __init__(self, provider: str, secret: Secret) -> None:
        self.blocks = Blocks()
        self.over = False
        """True once the terminator came."""
        self._provider = provider
        self._secret = secret
        self._usage: dict[str, Any] = {}
        self._reason: str | None = None

    def feed(self, body: Any, event: str) -> Iterator[Chunk]:
        """Turn one event into chunks: told by its own type, since proxies drop the event's name."""
        if event == "error" or is_error(body):
            raise said_error(self._provider, self._secret, body)
        if not isinstance(body, dict):
            raise bad("An event is not a JSON object", body)
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
            yield from self.end()

    def _start(self, message: Any) -> Iterator[Chunk]:
        if not isinstance(message, dict):
            raise bad("A message is not an object", message)
        if self.blocks.begun:
            # Proxies splice one answer into another: what is whole of the two cannot be told.
            raise bad("Another message begins inside the answer", message.get("id"))
        self.blocks.model = text_in(message, "model") or self.blocks.model
        yield Finish(model=self.blocks.model, request_id=text_in(message, "id"))
        finished = text_in(message, "stop_reason") is not None
        usage = message.get("usage")
        self._usage = {}
        if isinstance(usage, dict) and not finished:
            # At the start of a stream the output is a placeholder, not a count.
            placeholders = ("output_tokens", "output_tokens_details")
            usage = {key: value for key, value in usage.items() if key not in placeholders}
        yield from self._spend(usage)
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            yield from self.blocks.start(index, block)
            yield from self.blocks.stop(index)
        yield from self._finish(message)

    def _delta(self, body: dict[str, Any]) -> Iterator[Chunk]:
        yield from self._spend(body.get("usage"))
        delta = body.get("delta")
        if isinstance(delta, dict):
            yield from self._finish(delta)
        elif delta is not None:
            raise bad("A message's delta is not an object", delta)

    def _spend(self, usage: Any) -> Iterator[Chunk]:
        """Take counts that replace earlier ones: they are totals, never to be added."""
        if not isinstance(usage, dict):
            if usage:
                yield spent(usage, read_usage)
            return
        known = {key: value for key, value in usage.items() if value is not None}
        if known.get("input_tokens") == 0 and self._usage.get("input_tokens"):
            del known["input_tokens"]  # of a server that counts the prompt at the start alone
        self._usage |= known
        yield spent(self._usage, read_usage)

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

    def end(self) -> Iterator[Chunk]:
        """Take the terminator."""
        yield from self.blocks.stop_all()
        # Some servers never give a reason; that tools are wanted is then plain all the same.
        reason = "tool_calls" if self.blocks.called and self._reason is None else None
        yield Finish(sentinel=True, reason=reason)
        self.over = True


def is_error(body: Any) -> bool:
    """Tell whether a body is an error, also in the shapes that proxies make of one."""
    if not isinstance(body, dict):
        return False
    kind = body.get("type")
    return bool(body.get("error")) or kind == "error" or (isinstance(kind, str) and kind.endswith("_error"))


def read_usage(usage: Mapping[str, Any], unread: list[str]) -> Usage:
    """Read a usage object, whose three input counts exclude each other; what is no count is put into *unread*."""
    fresh = count(usage, "input_tokens", unread)
    cached = count(usage, "cache_read_input_tokens", unread)
    written = count(usage, "cache_creation_input_tokens", unread)
    return Usage(
        input=None if fresh is None or unread else fresh + (cached or 0) + (written or 0),
        output=count(usage, "output_tokens", unread),
        cached=cached,
        cache_write=written,
        reasoning=count(usage.get("output_tokens_details"), "thinking_tokens", unread),
    )
