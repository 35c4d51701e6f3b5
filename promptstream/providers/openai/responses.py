"""OpenAI Responses: requests out, events in (platform.openai.com/docs/api-reference/responses-streaming).

An answer is a list of items: messages, thoughts, tool calls, and what the server ran itself. The same
dialect serves other servers that speak it (OpenRouter, Azure, vLLM, llama.cpp, LM Studio), by their ``base_url``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from promptstream.errors import ProtocolError
from promptstream.providers.compatible import CompatibleDialect
from promptstream.providers.failures import said_error
from promptstream.providers.openai.answer import find_error
from promptstream.providers.openai.chat import OpenAIDialect, bare_text
from promptstream.providers.openai.models import Rules, rules_for
from promptstream.providers.openai.responses_items import TEXT_DELTA, Items
from promptstream.providers.openai.responses_request import LACKING, encode_body
from promptstream.providers.reading import DONE, last_event
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.request import Call, ChatRequest
from promptstream.wire.events import EventStream
from promptstream.wire.jsontext import check_depth, excerpt, loads_quick


class ResponsesDialect(OpenAIDialect):
    """Speak Responses to OpenAI, or to another server by its ``base_url``.

    By default nothing is kept by the server, and the whole history goes with each request. With
    ``stateful=True`` it keeps every answer, and gets only what came after the last one.
    """

    capabilities = frozenset({"streaming", "tools", "reasoning", "images", "documents", "json_schema", "models"})
    keepalives = frozenset({"keepalive"})

    def __init__(
        self,
        *,
        api_key: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        allow_plaintext: bool = False,
        stateful: bool = False,
    ) -> None:
        super().__init__(
            api_key=api_key, model=model, base_url=base_url, headers=headers, allow_plaintext=allow_plaintext
        )
        self.stateful = stateful

    def rules(self, model: str) -> Rules:
        """Give what *model*, or this endpoint altogether, refuses and how it wants things called."""
        rules = rules_for(model)
        return attrs.evolve(rules, refused=rules.refused | LACKING)

    def encode(self, request: ChatRequest) -> Call:
        """Give the POST to ``/responses``.

        Raises:
            ConfigError: a part cannot be sent.
        """
        body, warnings = encode_body(request, self.rules(request.model), self.name, stateful=self.stateful)
        return Call("POST", self.address("/responses"), self._headers, body, tuple(warnings))

    def decode(self, events: EventStream) -> Iterator[Chunk]:
        """Turn events into chunks; stop at ``response.completed``, ``.incomplete`` or ``.failed``.

        Raises, while iterating:
            ProviderError: the provider reports an error inside the stream.
            ProtocolError: an event is not of this protocol.
        """
        items = Items(self.name, self.secret, stateful=self.stateful)
        text = ChunkType.TEXT
        for event in events:
            data = event.data
            if data == DONE:
                break
            # Nearly every event is one delta of text that goes on: this is the hot path.
            try:
                body = loads_quick(data)
                if body["type"] == TEXT_DELTA and body["item_id"] == items.writing:
                    delta = body["delta"]
                    if (
                        delta.__class__ is str
                        and delta
                        and body.get("content_index") == items.place
                        and "error" not in body
                    ):
                        items.pieces.append(delta)
                        yield Chunk(text, delta, model=items.model)
                        continue
            except (KeyError, TypeError):
                pass
            except ProtocolError:
                body = bare_text(self, event)
            if body == DONE:  # in white space, or in quotes
                break
            if body == "":  # a keep-alive
                continue
            check_depth(data)
            yield from items.feed(body, event.event)
            if items.over:
                return
        else:
            if (last := last_event(events.tail)) != DONE:
                yield from items.feed(last, "message") if last is not None else ()
                return
        yield from items.end()

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Turn a ``response`` object into chunks.

        Raises, while iterating:
            ProviderError: it is an error object, or the answer failed.
            ProtocolError: it is neither, or a background answer that is not made yet.
        """
        if not isinstance(body, dict) or not isinstance(body.get("output"), list):
            if (error := find_error(body)) is not None:
                raise said_error(self.name, self.secret, error)
            raise ProtocolError(
                f"{self.name} answered something else than a response: {excerpt(str(body))}", phase="decode"
            )
        if body.get("status") in ("queued", "in_progress"):
            raise ProtocolError(f"{self.name} is still at work on this answer; ask for it again later.", phase="decode")
        items = Items(self.name, self.secret, stateful=self.stateful)
        yield from items.finish(body, None)
        yield from items.end()  # the body itself came whole


class CompatibleResponsesDialect(CompatibleDialect, ResponsesDialect):
    """Speak Responses to a server named by its ``base_url``, with or without a key, and refuse nothing."""
