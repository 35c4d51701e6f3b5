"""OpenAI Chat Completions: requests out, events in (platform.openai.com/docs/api-reference/chat).

The same dialect, with its differences written as data or small overrides, serves every server that
speaks it: see compatible and local.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from promptstream.errors import ConfigError, ProtocolError
from promptstream.providers.failures import said_error
from promptstream.providers.openai_models import Rules, rules_for
from promptstream.providers.openai_request import encode_body
from promptstream.providers.toolcalls import ToolCalls
from promptstream.providers.vendor import VendorDialect
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.message import ToolCall
from promptstream.values.request import Call, ChatRequest
from promptstream.values.usage import Usage
from promptstream.wire.events import EventStream, tail_data
from promptstream.wire.jsontext import check_depth, excerpt, loads, loads_quick

DONE = "[DONE]"
FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


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

    def rules(self, model: str) -> Rules:
        """Give what *model* refuses and how it wants things called."""
        return rules_for(model)

    def encode(self, request: ChatRequest) -> Call:
        """Give the POST to ``/chat/completions``, or to ``/completions`` for a prompt.

        Raises:
            ConfigError: more than one choice is asked for, or a part cannot be sent.
        """
        body, warnings = encode_body(request, self.rules(request.model), self.name)
        path = "/chat/completions" if request.prompt is None else "/completions"
        if body.get("n") not in (None, 1):
            raise ConfigError("n > 1 is not supported: one stream is one answer. Ask several times instead.")
        return Call("POST", f"{self.base_url}{path}", self._headers, body, tuple(warnings))

    def decode(self, events: EventStream) -> Iterator[Chunk]:
        """Turn events into chunks; stop at ``[DONE]``.

        Raises, while iterating:
            ProviderError: the provider reports an error inside the stream.
            ProtocolError: an event is not of this protocol.
        """
        answer = _Answer(self)
        text = ChunkType.TEXT
        for event in events:
            data = event.data
            if data == DONE:
                yield from answer.end()
                return
            body = loads_quick(data)
            # Nearly every event is one delta of plain text: this is the hot path.
            try:
                (choice,) = body["choices"]
                delta = choice["delta"]
                if len(delta) == 1 and not (choice["index"] or choice["finish_reason"] or body.get("usage")):
                    content = delta["content"]
                    if content.__class__ is str and content and body["model"] == answer.model and "error" not in body:
                        yield Chunk(text, content, model=answer.model)
                        continue
            except (KeyError, TypeError, ValueError):
                pass
            check_depth(data)
            yield from answer.feed(body, event.event)
        tail = tail_data(events.tail)
        if tail == DONE:
            yield from answer.end()
        elif tail:
            try:
                body = loads(tail)
            except ProtocolError:
                return  # cut in the middle of an event: not an event
            if isinstance(body, dict):
                yield from answer.feed(body, "message")

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Turn a ``chat.completion`` object into chunks.

        Raises, while iterating:
            ProviderError: it is an error object.
            ProtocolError: it is neither.
        """
        answer = _Answer(self)
        if not isinstance(body, dict) or not (body.get("choices") or _is_error(body)):
            raise ProtocolError(
                f"{self.name} answered something else than a completion: {excerpt(str(body))}", phase="decode"
            )
        yield from answer.feed(body, "message")
        yield from answer.end()  # the body itself came whole


def _is_error(body: dict[str, Any]) -> bool:
    return bool(body.get("error")) or body.get("object") == "error"


class _Answer:
    """What one stream's events add up to, as far as later events depend on earlier ones."""

    def __init__(self, dialect: OpenAIDialect) -> None:
        self.model: str | None = None
        self._dialect = dialect
        self._calls = ToolCalls()
        self._called = False
        self._refused = False
        self._reason: str | None = None

    def feed(self, body: Any, event: str) -> Iterator[Chunk]:
        """Turn one event, or a whole answer, into chunks."""
        if not isinstance(body, dict):
            raise ProtocolError(f"An event is not a JSON object: {excerpt(str(body))}", phase="decode")
        yield from self._identify(body)
        if isinstance(usage := body.get("usage"), dict):
            yield Finish(usage_seen=read_usage(usage))
        if _is_error(body) or event == "error":
            raise said_error(self._dialect.name, self._dialect.secret, body)
        for choice in _list(body, "choices"):
            if not isinstance(choice, dict):
                raise ProtocolError(f"A choice is not an object: {excerpt(str(choice))}", phase="decode")
            if not choice.get("index"):  # absent means 0; other choices are never mixed in
                yield from self._choice(choice)

    def _identify(self, body: dict[str, Any]) -> Iterator[Chunk]:
        model, identity = body.get("model"), body.get("id")
        if isinstance(model, str) and model and model != self.model:
            self.model = model
            yield Finish(model=model, request_id=identity if isinstance(identity, str) else None)

    def _choice(self, choice: dict[str, Any]) -> Iterator[Chunk]:
        delta = choice.get("delta" if "delta" in choice else "message") or {}
        if not isinstance(delta, dict):
            raise ProtocolError(f"A delta is not an object: {excerpt(str(delta))}", phase="decode")
        yield from self._reasoning(delta)
        yield from self._content(delta.get("content") if "content" in delta else choice.get("text"))
        if refusal := delta.get("refusal"):
            self._refused = True
            yield from self._content(refusal)
        for position, call in enumerate(_list(delta, "tool_calls")):
            yield self._call(call, position if "message" in choice and "delta" not in choice else None)
        if isinstance(function := delta.get("function_call"), dict):
            yield self._call({"index": 0, "function": function}, None)
        if (reason := choice.get("finish_reason")) and reason != "null":
            yield from self._finish(str(reason))

    def _reasoning(self, delta: dict[str, Any]) -> Iterator[Chunk]:
        for name in ("reasoning_content", "reasoning"):
            text = delta.get(name)
            if isinstance(text, str) and text:
                yield Chunk(ChunkType.REASONING, reasoning=text, model=self.model)
                return

    def _content(self, content: Any) -> Iterator[Chunk]:
        if content is None or content == "":
            return
        if isinstance(content, str):
            yield Chunk(ChunkType.TEXT, content, model=self.model)
        elif isinstance(content, list):  # Mistral's typed parts
            for part in content:
                yield from self._part(part)
        else:
            raise ProtocolError(
                f"A delta's content is neither text nor a list: {excerpt(str(content))}", phase="decode"
            )

    def _part(self, part: Any) -> Iterator[Chunk]:
        if not isinstance(part, dict):
            yield from self._content(part if isinstance(part, str) else None)
        elif part.get("type") == "thinking":
            for piece in _list(part, "thinking"):
                if isinstance(piece, dict) and isinstance(text := piece.get("text"), str) and text:
                    yield Chunk(ChunkType.REASONING, reasoning=text, model=self.model)
        elif isinstance(text := part.get("text"), str):
            yield from self._content(text)

    def _call(self, call: Any, position: int | None) -> Chunk:
        if not isinstance(call, dict):
            raise ProtocolError(f"A tool call is not an object: {excerpt(str(call))}", phase="decode")
        function = call.get("function") or call.get("custom") or {}
        if not isinstance(function, dict):
            raise ProtocolError(f"A tool call's function is not an object: {excerpt(str(function))}", phase="decode")
        self._called = True
        fragment = function.get("arguments") if "arguments" in function else function.get("input")
        index = call.get("index", position)
        delta: ToolCall = self._calls.add(index, call.get("id"), function.get("name"), fragment)
        return Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=delta, model=self.model)

    def _finish(self, raw: str) -> Iterator[Chunk]:
        if raw == "error":
            raise said_error(self._dialect.name, self._dialect.secret, "the answer ended in an error")
        yield from self._whole_calls()
        reason = FINISH_REASONS.get(raw, "other")
        if reason == "stop" and (self._called or self._refused):
            reason = "tool_calls" if self._called else "refusal"
        self._reason = reason
        yield Finish(reason=reason, raw_reason=raw, model=self.model)

    def _whole_calls(self) -> Iterator[Chunk]:
        for call in self._calls.take():
            yield Chunk(ChunkType.TOOL_CALL, tool_call=call, model=self.model)

    def end(self) -> Iterator[Chunk]:
        """Close the answer at its terminator."""
        yield from self._whole_calls()
        # Some servers never give a reason; that tools are wanted is then plain all the same.
        reason = "tool_calls" if self._called and self._reason is None else None
        yield Finish(sentinel=True, reason=reason)


def _list(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ProtocolError(f"{key!r} is not a list: {excerpt(str(value))}", phase="decode")
    return value


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Read OpenAI's usage object; a count that is no whole number from 0 up is unknown."""
    prompt, completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    output, reasoning = _count(usage, "completion_tokens"), _count(completion, "reasoning_tokens")
    spent, total = _count(usage, "prompt_tokens"), _count(usage, "total_tokens")
    # xAI leaves reasoning out of completion_tokens; the total tells.
    if output is not None and reasoning and spent is not None and total == spent + output + reasoning:
        output += reasoning
    return Usage(
        input=spent,
        output=output,
        cached=_count(prompt, "cached_tokens"),
        cache_write=_count(prompt, "cache_write_tokens"),
        reasoning=reasoning,
    )


def _count(counts: Any, key: str) -> int | None:
    value = counts.get(key) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
