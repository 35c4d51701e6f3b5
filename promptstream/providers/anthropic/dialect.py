"""Anthropic Messages: requests out, events in (platform.claude.com/docs/en/api/messages)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import attrs

from promptstream.errors import ProtocolError
from promptstream.providers.anthropic.answer import MessagesAnswer, is_error
from promptstream.providers.anthropic.blocks import bad
from promptstream.providers.anthropic.request import encode_body
from promptstream.providers.failures import said_error
from promptstream.providers.reading import DONE, count, last_event, text_in
from promptstream.providers.vendor import VendorDialect
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.request import Call, ChatRequest, ModelInfo
from promptstream.wire.events import Event, EventStream
from promptstream.wire.jsontext import check_depth, loads_exact, loads_quick

_DONE = {"type": "message_stop"}


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
        allow_plaintext: bool = False,
    ) -> None:
        super().__init__(
            api_key=api_key, model=model, base_url=base_url, headers=headers, allow_plaintext=allow_plaintext
        )
        self.base_url = self.base_url.removesuffix("/v1")  # as most other vendors' addresses end

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
        answer = MessagesAnswer(self.name, self.secret)
        blocks = answer.blocks
        text = ChunkType.TEXT
        for event in events:
            data = event.data
            try:
                body = loads_quick(data)
            except ProtocolError:
                if (body := _meant(event)) is None:
                    raise
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
            if '"input"' in data and event.event != "error":
                body = loads_exact(data)  # a tool's input may come whole: numbers of any size in it stay exact
            yield from answer.feed(body, event.event)
            if answer.over:
                return
        last = last_event(events.tail)
        if last is not None:
            yield from answer.feed(_DONE if last == DONE else last, "message")

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Turn a ``message`` object into chunks.

        Raises, while iterating:
            ProviderError: it is an error object.
            ProtocolError: it is neither.
        """
        answer = MessagesAnswer(self.name, self.secret)
        if isinstance(body, dict) and isinstance(body.get("content"), list):
            yield from answer.feed({"type": "message_start", "message": body}, "message")
            yield from answer.end()  # the body itself came whole
        elif is_error(body):
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
                name=text_in(rows[model.id], "display_name"),
                context=count(rows[model.id], "max_input_tokens"),
            )
            for model in known
        ]


def _meant(event: Event) -> Any:
    """Give the body that stands for data which is no JSON, as proxies send it; None where it is broken JSON."""
    data = event.data.strip()
    if data == DONE:
        return _DONE
    if event.event == "error":
        return data
    if not data or (event.event == "ping" and not data.startswith("{")):
        return {}  # the event's name says all
    return None
