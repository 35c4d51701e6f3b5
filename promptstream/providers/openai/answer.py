"""Chat Completions events in, chunks out: what one answer adds up to, for OpenAI and all who speak its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, ClassVar

import attrs

from promptstream.errors import ProtocolError
from promptstream.providers.failures import said_error
from promptstream.providers.reading import count, list_in, spent, text_in
from promptstream.providers.thinktags import ThinkTags
from promptstream.providers.toolcalls import ToolCalls, new_id
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.message import ToolCall
from promptstream.values.secret import Secret
from promptstream.values.usage import Usage
from promptstream.wire.jsontext import excerpt

FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    # What gateways pass on of Anthropic's, and words of Mistral, Together and Zhipu.
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "eos": "stop",
    "sensitive": "content_filter",
}
_MINIMAX = {
    1000: "server_error",
    1001: "timeout",
    1002: "rate_limit",
    1004: "authentication",
    1008: "insufficient_quota",
    1013: "server_error",
    1026: "content_filter",
    1027: "content_filter",
    1039: "rate_limit",
    2013: "invalid_parameter",
    2049: "invalid_api_key",
}
"""What MiniMax's numbers mean, in words that others have for it."""


class ChatAnswer:
    """Keep of one answer's events what later ones depend on. A dialect with ways of its own overrides a method."""

    finish_reasons: ClassVar[Mapping[str, str]] = FINISH_REASONS
    reasoning_keys: ClassVar[tuple[str, ...]] = ("reasoning_content", "reasoning")
    """Where a delta may have its thought, in order: the same thought may stand under several."""

    def __init__(self, name: str, secret: Secret, *, think_tags: bool = False) -> None:
        self.model: str | None = None
        self.quick: str | None = None
        """The model, where a delta of plain text is its text and nothing else; None where more is to be looked at."""
        self._name = name
        self._secret = secret
        self._tags = ThinkTags() if think_tags else None
        self._identity: str | None = None
        self._spoke = False
        """True once a delta said something: a message after it is the same again, but for calls not told yet."""
        self._calls = ToolCalls()
        self._called = False
        self._refused = False
        self._reason: tuple[str, str] | None = None

    def feed(self, body: Any, event: str) -> Iterator[Chunk]:
        """Turn one event, or a whole answer, into chunks.

        Raises, while iterating:
            ProviderError: the event is an error.
            ProtocolError: it is not of this protocol.
        """
        error = find_error(body)
        if isinstance(body, dict):
            if (news := self._identified(body)) is not None:
                yield news
            if (usage := find_usage(body)) is not None:
                yield spent(usage, self.usage)
                if isinstance(usage, dict) and (cost := self.cost(usage)) is not None:
                    yield Finish(cost=cost)
        if error is not None or event == "error":
            raise said_error(self._name, self._secret, error or body)
        if not isinstance(body, dict):
            raise ProtocolError(f"An event is not a JSON object: {excerpt(str(body))}", phase="decode")
        for choice in list_in(body, "choices"):
            if not isinstance(choice, dict):
                raise ProtocolError(f"A choice is not an object: {excerpt(str(choice))}", phase="decode")
            if choice.get("index") in (None, 0, "0"):  # absent means 0; other choices are never mixed in
                yield from self._choice(choice)
        self.quick = None if self.busy() else self.model

    def busy(self) -> bool:
        """Tell whether the next delta of text may be more than its text."""
        return not self._spoke or (self._tags is not None and self._tags.open)

    def usage(self, usage: Mapping[str, Any], unread: list[str]) -> Usage:
        """Read a usage object, of which the last one of an answer counts; what is no count is put into *unread*."""
        return read_usage(usage, unread)

    def cost(self, usage: Mapping[str, Any]) -> Decimal | None:
        """Read the cost in USD from a usage object, where the provider says it there."""
        return None

    def raw_reason(self, choice: Mapping[str, Any], said: str) -> str:
        """Give the finish reason in the provider's own words, where it *said* a common one."""
        return said

    def _identified(self, body: dict[str, Any]) -> Finish | None:
        model, identity = text_in(body, "model"), text_in(body, "id")
        if model in (None, self.model) and (self._identity or not identity):
            return None
        self.model = model or self.model
        self._identity = self._identity or identity
        return Finish(model=self.model, request_id=self._identity)

    def _choice(self, choice: dict[str, Any]) -> Iterator[Chunk]:
        delta, whole = choice.get("delta"), False
        if not delta:
            delta, whole = choice.get("message"), True
        delta = delta or {}
        if not isinstance(delta, dict):
            raise ProtocolError(f"A delta is not an object: {excerpt(str(delta))}", phase="decode")
        if whole and self._spoke:
            delta = {} if self._called else {"tool_calls": delta.get("tool_calls")}
        if not delta and "text" in choice:  # a text completion's choice is its own delta
            if "reasoning" in choice:
                yield from self.reasoning(choice)
            yield from self._text(choice["text"])
        else:
            yield from self.reasoning(delta)
            yield from self._content(delta.get("content"))
        if refusal := delta.get("refusal"):
            self._refused = True
            yield from self.rest()
            yield from self._text(refusal)
        calls = list_in(delta, "tool_calls") if delta.get("tool_calls") else []  # of any type, where there are none
        for position, call in enumerate(calls):
            yield self._call(call, position if whole else None, whole and len(calls) > 1)
        if not calls and isinstance(function := delta.get("function_call"), dict):
            yield self._call({"index": 0, "function": function}, None)
        self._spoke = self._spoke or (not whole and bool(delta.get("content") or calls))
        if error := choice.get("error"):
            raise said_error(self._name, self._secret, {"error": error})
        if (reason := choice.get("finish_reason")) and reason != "null":
            yield from self.finish(str(reason), choice)

    def reasoning(self, delta: dict[str, Any]) -> Iterator[Chunk]:
        """Give the thought of a delta, once, under whichever keys it stands."""
        for name in self.reasoning_keys:
            text = delta.get(name)
            if isinstance(text, str) and text:
                yield from self._thought(text)
                return
        for detail in details_in(delta):
            text = detail.get("text") or detail.get("summary")
            if isinstance(text, str) and text:
                yield from self._thought(text)

    def _thought(self, text: str) -> Iterator[Chunk]:
        yield from self.rest()  # the server tells thoughts apart itself: tags are text
        yield Chunk(ChunkType.REASONING, reasoning=text, model=self.model)

    def _content(self, content: Any) -> Iterator[Chunk]:
        if self._tags is not None and self._tags.open and isinstance(content, str):
            yield from self._told_apart(self._tags.feed(content))
        elif isinstance(content, list):  # Mistral's typed parts
            yield from self.rest()
            for part in content:
                yield from self._part(part)
        else:
            yield from self._text(content)

    def _text(self, text: Any) -> Iterator[Chunk]:
        if text is None or text == "":
            return
        if not isinstance(text, str):
            raise ProtocolError(f"A delta's content is neither text nor a list: {excerpt(str(text))}", phase="decode")
        yield Chunk(ChunkType.TEXT, text, model=self.model)

    def _part(self, part: Any) -> Iterator[Chunk]:
        if not isinstance(part, dict):
            yield from self._text(part)
        elif part.get("type") == "thinking":
            thinking = part.get("thinking")
            for piece in [{"text": thinking}] if isinstance(thinking, str) else list_in(part, "thinking"):
                if isinstance(piece, dict) and isinstance(text := piece.get("text"), str) and text:
                    yield from self._thought(text)
        elif part.get("type") == "text" or isinstance(part.get("text"), str):
            yield from self._text(part.get("text"))

    def _told_apart(self, pieces: list[tuple[bool, str]]) -> Iterator[Chunk]:
        for thought, text in pieces:
            if thought:
                yield Chunk(ChunkType.REASONING, reasoning=text, model=self.model)
            else:
                yield Chunk(ChunkType.TEXT, text, model=self.model)

    def _call(self, call: Any, position: int | None, own: bool = False) -> Chunk:
        """Take one call's delta; *own* says that it is the call at *position*, whatever its id and index are."""
        if not isinstance(call, dict):
            raise ProtocolError(f"A tool call is not an object: {excerpt(str(call))}", phase="decode")
        function = call.get("function") or call.get("custom") or call
        if not isinstance(function, dict):
            raise ProtocolError(f"A tool call's function is not an object: {excerpt(str(function))}", phase="decode")
        self._called = True
        fragment = function.get("arguments") if "arguments" in function else function.get("input")
        index = position if own else call.get("index", position)
        delta: ToolCall = self._calls.add(index, call.get("id"), function.get("name"), fragment, own)
        return Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=delta, model=self.model)

    def finish(self, said: str, choice: dict[str, Any]) -> Iterator[Chunk]:
        """End the answer for the reason *said*.

        Raises, while iterating:
            ProviderError: the reason is an error.
        """
        if said == "error":
            raise said_error(self._name, self._secret, "the answer ended in an error")
        yield from self.rest()
        yield from self._whole_calls()
        reason = self.finish_reasons.get(said, "other")
        if reason == "stop" and (self._called or self._refused):
            reason = "tool_calls" if self._called else "refusal"
        if self._reason is not None and self._reason[0] == reason:
            return  # said again, beside the usage
        self._reason = reason, self.raw_reason(choice, said)
        yield Finish(reason=reason, raw_reason=self._reason[1], model=self.model)

    def _whole_calls(self) -> Iterator[Chunk]:
        for call in self._calls.take():
            # A result can be matched only to a call that has an id.
            whole = call if call.id else attrs.evolve(call, id=new_id())
            yield Chunk(ChunkType.TOOL_CALL, tool_call=whole, model=self.model)

    def rest(self) -> Iterator[Chunk]:
        """Give what was held back until more is known of it, once nothing more comes."""
        if self._tags is not None:
            yield from self._told_apart(self._tags.flush())
            self._tags = None

    def end(self) -> Iterator[Chunk]:
        """Close the answer at its terminator."""
        yield from self.rest()
        yield from self._whole_calls()
        # Some servers never give a reason; that tools are wanted is then plain all the same.
        if self._called and (self._reason is None or self._reason[0] == "stop"):
            yield Finish(sentinel=True, reason="tool_calls", raw_reason=self._reason and self._reason[1])
        else:
            yield Finish(sentinel=True)


def find_error(body: Any) -> Any:
    """Find the error in an event or a whole body, wherever servers put it; None where there is none."""
    if isinstance(body, list) and body:  # as Gemini's gateway has it
        body = body[0]
    if not isinstance(body, dict):
        return None
    if body.get("error") or body.get("object") == "error":  # OpenAI's, vLLM's
        return body
    groq, minimax = body.get("x_groq"), body.get("base_resp")
    if isinstance(groq, dict) and groq.get("error"):
        return {"error": groq["error"]}
    if isinstance(minimax, dict) and isinstance(number := minimax.get("status_code"), int) and number:
        message = f"{minimax.get('status_msg')} ({number})"
        return {"error": {"message": message, "code": _MINIMAX.get(number, str(number))}}
    if body.get("choices") is not None:
        return None
    # FastAPI's, Cloudflare's, and the bare ones of gateways, where a code says that a message is no mere news.
    code = body.get("code") or body.get("error_code")
    bare = code not in (None, 0, "", "0", 200, "200") and (body.get("message") or body.get("error_msg"))
    return body if body.get("detail") or body.get("errors") or bare else None


def find_usage(body: Mapping[str, Any]) -> Any:
    """Find the usage of an event, in its own place, in Groq's or in Moonshot's; None where there is none."""
    groq, choices = body.get("x_groq"), body.get("choices")
    places = [body, groq, choices[0] if isinstance(choices, list) and choices else None]
    return next((place["usage"] for place in places if isinstance(place, dict) and place.get("usage")), None)


def details_in(delta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give a delta's ``reasoning_details``, which OpenRouter, Vercel's gateway and others have."""
    details = delta.get("reasoning_details")
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def read_usage(usage: Mapping[str, Any], unread: list[str]) -> Usage:
    """Read OpenAI's usage object; a count that is no whole number from 0 up is unknown, and put into *unread*."""
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    output, prompted = (count(usage, f"{name}_tokens", unread) for name in ("completion", "prompt"))
    total = count(usage, "total_tokens")
    reasoning = _first(  # SGLang, Perplexity
        count(completion, "reasoning_tokens", unread), count(usage, "reasoning_tokens", unread)
    )
    # xAI leaves reasoning out of completion_tokens; the total tells.
    if output is not None and reasoning and prompted is not None and total == prompted + output + reasoning:
        output += reasoning
    return Usage(
        input=prompted,
        output=output,
        # DeepSeek, Moonshot
        cached=_first(
            count(prompt, "cached_tokens", unread),
            count(usage, "prompt_cache_hit_tokens", unread),
            count(usage, "cached_tokens", unread),
        ),
        # Qwen
        cache_write=_first(
            count(prompt, "cache_write_tokens", unread), count(prompt, "cache_creation_input_tokens", unread)
        ),
        reasoning=reasoning,
    )


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)
