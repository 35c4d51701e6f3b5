"""OpenAI Chat Completions: requests out, events in (platform.openai.com/docs/api-reference/chat).

The same dialect, with its differences written as data or small overrides, serves every server that
speaks it: see compatible and local.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from promptstream.errors import ConfigError, ProtocolError, StreamError, Unsupported
from promptstream.providers.failures import said_error
from promptstream.providers.openai.answer import ChatAnswer, find_error
from promptstream.providers.openai.models import Rules, rules_for
from promptstream.providers.openai.request import encode_body, reasoning_effort
from promptstream.providers.reading import DONE, last_event
from promptstream.providers.vendor import VendorDialect
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.effort import Effort
from promptstream.values.message import Message
from promptstream.values.request import Call, ChatRequest
from promptstream.wire.events import Event, EventStream
from promptstream.wire.jsontext import check_depth, excerpt, loads_exact, loads_quick

_OBJECT = re.compile(r'"arguments"\s*:\s*\{')
"""Of a tool call whose arguments come as an object in place of its JSON text."""


class OpenAIDialect(VendorDialect):
    """Speak Chat Completions to OpenAI itself."""

    name = "openai"
    capabilities = frozenset(
        {"streaming", "completion", "tools", "reasoning", "images", "documents", "json_schema", "models"}
    )
    default_model: ClassVar[str] = "gpt-5-mini"
    default_url: ClassVar[str] = "https://api.openai.com/v1"
    url_variable: ClassVar[str] = "OPENAI_BASE_URL"
    key_variables: ClassVar[tuple[str, ...]] = ("OPENAI_API_KEY",)

    think_tags: ClassVar[bool] = False
    """Whether ``<think>`` at the beginning of an answer's text sets its reasoning apart."""

    def rules(self, model: str) -> Rules:
        """Give what *model* refuses and how it wants things called."""
        return rules_for(model)

    def reasoning(self, effort: Effort, who: str) -> tuple[dict[str, Any], list[str]]:
        """Give the body's keys for ``reasoning=``, and a warning for what *who*, the model, does not take of it."""
        return reasoning_effort(effort, who)

    def options(self, request: ChatRequest) -> dict[str, Any]:
        """Give further keys of the body, over the common ones and under the request's own ``extra``."""
        return {}

    def echo(self, message: Message) -> dict[str, Any]:
        """Give further keys of an assistant's *message* that is sent back."""
        return {}

    def answer(self) -> ChatAnswer:
        """Give what takes in the events of one answer."""
        return ChatAnswer(self.name, self.secret, think_tags=self.think_tags)

    def encode(self, request: ChatRequest) -> Call:
        """Give the POST to ``/chat/completions``, or to ``/completions`` for a prompt.

        Raises:
            ConfigError: more than one choice is asked for, or a part cannot be sent.
            Unsupported: the model answers chats only, or a part is of a kind that this protocol cannot carry.
        """
        rules = self.rules(request.model)
        if request.prompt is not None and rules.chat_only:
            raise Unsupported(
                f"{request.model} has no text completions; name a model that has, such as "
                "model='gpt-3.5-turbo-instruct', or use stream() or send()."
            )
        body, warnings = encode_body(request, rules, self.name, reasoning=self.reasoning, echo=self.echo)
        if options := self.options(request):
            body = {**body, **options, **request.extra}
        if body.get("n") not in (None, 1):
            raise ConfigError("n > 1 is not supported: one stream is one answer. Ask several times instead.")
        path = "/chat/completions" if request.prompt is None else "/completions"
        return Call("POST", self.address(path), self._headers, body, tuple(warnings))

    def decode(self, events: EventStream) -> Iterator[Chunk]:
        """Turn events into chunks; stop at ``[DONE]``.

        Raises, while iterating:
            ProviderError: the provider reports an error inside the stream.
            ProtocolError: an event is not of this protocol.
        """
        answer, text = self.answer(), ChunkType.TEXT
        try:
            for event in events:
                data = event.data
                if data == DONE:
                    yield from answer.end()
                    return
                # Nearly every event is one delta of plain text: this is the hot path.
                try:
                    body = loads_quick(data)
                    (choice,) = body["choices"]
                    delta = choice["delta"]
                    if (len(delta) == 1 or (len(delta) == 2 and "role" in delta)) and not (
                        choice["index"] or choice.get("finish_reason") or body.get("usage")
                    ):
                        content, model = delta["content"], answer.quick
                        if content.__class__ is str and content and body["model"] == model and "error" not in body:
                            yield Chunk(text, content, model=model)
                            continue
                except (KeyError, TypeError, ValueError):
                    pass
                except ProtocolError:
                    body = bare_text(self, event)
                if body == DONE:  # in white space, or in quotes
                    yield from answer.end()
                    return
                if body == "":  # a keep-alive
                    continue
                check_depth(data)
                if '"arguments"' in data and _OBJECT.search(data):
                    body = loads_exact(data)  # whole numbers of any size in it stay as they are
                yield from answer.feed(body, event.event)
            last = last_event(events.tail)
            if last == DONE:
                yield from answer.end()
            elif last is not None:
                yield from answer.feed(last, "message")
        except StreamError:
            yield from answer.rest()
            raise
        yield from answer.rest()

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Turn a ``chat.completion`` object into chunks.

        Raises, while iterating:
            ProviderError: it is an error object.
            ProtocolError: it is neither.
        """
        answer = self.answer()
        if find_error(body) is None and not (isinstance(body, dict) and body.get("choices")):
            raise ProtocolError(
                f"{self.name} answered something else than a completion: {excerpt(str(body))}", phase="decode"
            )
        yield from answer.feed(body, "message")
        yield from answer.end()  # the body itself came whole


def bare_text(dialect: VendorDialect, event: Event) -> str:
    """Give the text of an event whose data are no JSON: the sentinel, or "" where there is nothing.

    Raises:
        ProviderError: it is what an event named error says.
        ProtocolError: it means nothing.
    """
    text = event.data.strip()
    if event.event == "error" and text:
        raise said_error(dialect.name, dialect.secret, text)
    return text if text in ("", DONE) else loads_quick(text)
