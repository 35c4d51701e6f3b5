"""DashScope's own protocol for Qwen: requests out, events in, incremental or cumulative."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import attrs

from promptstream.errors import Authentication, ProtocolError, ProviderError, Unsupported
from promptstream.providers.failures import said_error
from promptstream.providers.openai.answer import FINISH_REASONS
from promptstream.providers.qwen import places
from promptstream.providers.qwen.request import encode_body, is_multimodal
from promptstream.providers.reading import DONE, count, last_event, list_in, spent, text_in
from promptstream.providers.toolcalls import ToolCalls, new_id
from promptstream.providers.vendor import VendorDialect
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.request import Call, ChatRequest
from promptstream.values.secret import Secret
from promptstream.values.usage import Usage
from promptstream.wire.events import EventStream
from promptstream.wire.jsontext import check_depth, excerpt, loads_quick


class QwenNativeDialect(VendorDialect):
    """Speak DashScope's own protocol to Alibaba's Model Studio, in one of its regions."""

    name = "qwen"
    capabilities = frozenset({"streaming", "tools", "reasoning", "images", "json_schema", "models"})
    default_model: ClassVar[str] = "qwen-plus"
    default_url: ClassVar[str] = f"https://{places.HOSTS['cn']}{places.NATIVE}"
    url_variable: ClassVar[str] = places.VARIABLE
    url_example: ClassVar[str] = "the server's address up to and with /api/v1"
    key_variables: ClassVar[tuple[str, ...]] = ("DASHSCOPE_API_KEY",)

    def __init__(
        self,
        *,
        api_key: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        region: str | None = None,
        headers: Mapping[str, str] | None = None,
        allow_plaintext: bool = False,
        incremental: bool = True,
    ) -> None:
        url = places.chosen_url(base_url, region, places.NATIVE)
        super().__init__(api_key=api_key, model=model, base_url=url, headers=headers, allow_plaintext=allow_plaintext)
        self.incremental = incremental
        """True where events hold what is new; False where each repeats the whole answer so far."""

    def encode(self, request: ChatRequest) -> Call:
        """Give the POST; a model that thinks is asked for a stream, whatever is wanted, since it gives nothing else.

        Raises:
            ConfigError: ``extra`` asks for more than one choice, or for other events than ``incremental`` says.
            Unsupported: it is a text completion, or a part is of a kind that this protocol cannot carry.
        """
        if request.prompt is not None:
            raise Unsupported("Qwen's own protocol has no text completions; use stream() or send().")
        body, streaming, warnings = encode_body(request, self.incremental)
        kind = "multimodal" if is_multimodal(request) else "text"
        headers = {**self._headers, "X-DashScope-SSE": "enable"} if streaming else self._headers
        url = self.address(f"/services/aigc/{kind}-generation/generation")
        return Call("POST", url, headers, body, tuple(warnings))

    def decode(self, events: EventStream) -> Iterator[Chunk]:
        """Turn events into chunks, until the bytes end: there is no terminator, the finish reason is all.

        Raises, while iterating:
            ProviderError: the provider reports an error inside the stream.
            ProtocolError: an event is not of this protocol.
        """
        answer, text = _Answer(self.name, self.secret, incremental=self.incremental), ChunkType.TEXT
        quick = self.incremental
        for event in events:
            try:
                body = loads_quick(event.data)
            except ProtocolError:
                if event.data != DONE:
                    raise
                body = DONE
            # Nearly every event is a piece of text and the usage so far: this is the hot path.
            try:
                (choice,) = body["output"]["choices"]
                message, usage = choice["message"], body["usage"]
                content = message["content"]
                if (
                    (quick and event.event == "result" and choice["finish_reason"] == "null")
                    and (len(message) == 2 and "role" in message and content.__class__ is str and content)
                    and (usage.__class__ is dict and body["request_id"] == answer.identity)
                    and not (choice.get("index") or "error" in body)
                ):
                    check_depth(event.data)
                    yield spent(usage, read_usage)
                    yield Chunk(text, content)
                    continue
            except (KeyError, TypeError, ValueError):
                pass
            if body == DONE:  # a gateway in between writes OpenAI's terminator
                yield from answer.end()
                return
            check_depth(event.data)
            yield from answer.feed(body, event.event)
        last = last_event(events.tail)
        if last == DONE:
            yield from answer.end()
        elif last is not None:
            yield from answer.feed(last, "")

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Turn an answer that came as one JSON object into chunks.

        Raises, while iterating:
            ProviderError: it is an error object.
            ProtocolError: it is neither.
        """
        if not isinstance(body, dict) or not (body.get("output") or _is_error(body)):
            raise ProtocolError(
                f"{self.name} answered something else than an answer: {excerpt(str(body))}", phase="decode"
            )
        answer = _Answer(self.name, self.secret, incremental=False)
        yield from answer.feed(body, "")
        yield from answer.end()  # the body itself came whole

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Give the error for an HTTP status; where the key is refused, it tells of regions."""
        error = super().error(status, headers, body)
        return places.told_of_regions(error, self.base_url) if isinstance(error, Authentication) else error

    def models_call(self) -> Call:
        """Give the GET that lists the models, which compatible mode has."""
        base = self.base_url.removesuffix(places.NATIVE) + places.COMPATIBLE
        return Call("GET", self.address("/models", base), self._headers)


def _is_error(body: dict[str, Any]) -> bool:
    return bool(body.get("error")) or (bool(body.get("code")) and not body.get("output"))


class _Answer:
    """Keep of one answer's events what later ones depend on."""

    def __init__(self, name: str, secret: Secret, *, incremental: bool) -> None:
        self._name = name
        self._secret = secret
        self._incremental = incremental
        self._so_far: dict[Any, str] = {}
        """By kind of text, and by tool call, what has been given of it; only where events are cumulative."""
        self._calls = ToolCalls()
        self._called = False
        self._reason: str | None = None
        self._usage: Any = None
        self.identity: Any = None

    def feed(self, body: Any, event: str) -> Iterator[Chunk]:
        """Turn one event, or a whole answer, into chunks."""
        if not isinstance(body, dict):
            raise ProtocolError(f"An event is not a JSON object: {excerpt(str(body))}", phase="decode")
        if (identity := text_in(body, "request_id")) and identity != self.identity:
            self.identity = identity
            yield Finish(request_id=identity)
        if (usage := body.get("usage")) and usage != self._usage:
            self._usage = usage
            yield spent(usage, read_usage)
        if event == "error" or _is_error(body):
            raise said_error(self._name, self._secret, body)
        output = body.get("output")
        if output is None:
            return
        if not isinstance(output, dict):
            raise ProtocolError(f"An event's output is not an object: {excerpt(str(output))}", phase="decode")
        yield from self._output(output)

    def _output(self, output: dict[str, Any]) -> Iterator[Chunk]:
        if not (choices := list_in(output, "choices")):  # result_format "text"
            yield from self._message({**output, "content": output.get("text")})
            yield from self._finish(output.get("finish_reason"))
        for choice in choices:
            if not isinstance(choice, dict):
                raise ProtocolError(f"A choice is not an object: {excerpt(str(choice))}", phase="decode")
            if choice.get("index"):  # absent means 0; other choices are never mixed in
                continue
            message = choice.get("message") or {}
            if not isinstance(message, dict):
                raise ProtocolError(f"A message is not an object: {excerpt(str(message))}", phase="decode")
            yield from self._message(message)
            yield from self._finish(choice.get("finish_reason") or output.get("finish_reason"))

    def _message(self, message: dict[str, Any]) -> Iterator[Chunk]:
        if thought := self._new("reasoning", _text(message.get("reasoning_content"))):
            yield Chunk(ChunkType.REASONING, reasoning=thought)
        if text := self._new("text", _text(message.get("content"))):
            yield Chunk(ChunkType.TEXT, text)
        for position, call in enumerate(list_in(message, "tool_calls")):
            yield from self._call(call, position)

    def _new(self, what: Any, text: str) -> str:
        """Give what of *text* was not given before.

        Raises:
            ProtocolError: an event takes back what an earlier one said.
        """
        if self._incremental or not text:
            return text
        known = self._so_far.get(what, "")
        if not text.startswith(known):
            raise ProtocolError(
                f"An event does not go on from the answer so far, as cumulative ones do: {excerpt(text)}. "
                "Was incremental_output asked for elsewhere?",
                phase="decode",
            )
        self._so_far[what] = text
        return text[len(known) :]

    def _call(self, call: Any, position: int) -> Iterator[Chunk]:
        if not isinstance(call, dict):
            raise ProtocolError(f"A tool call is not an object: {excerpt(str(call))}", phase="decode")
        function = call.get("function") or {}
        if not isinstance(function, dict):
            raise ProtocolError(f"A tool call's function is not an object: {excerpt(str(function))}", phase="decode")
        index, arguments = call.get("index"), function.get("arguments")
        if not self._incremental:
            index = position if index is None else index
            # Every event repeats the whole call: only what it adds is a fragment.
            key = ("call", str(index))
            known = key in self._so_far
            self._so_far.setdefault(key, "")
            if isinstance(arguments, str):
                arguments = self._new(key, arguments)
            if known and (not arguments or not isinstance(arguments, str)):
                return
        self._called = True
        delta = self._calls.add(index, call.get("id"), function.get("name"), arguments, own=not self._incremental)
        yield Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=delta)

    def _finish(self, said: Any) -> Iterator[Chunk]:
        if not said or said == "null":  # the word stands there until the end
            return
        yield from self._whole_calls()
        raw = str(said)
        reason = FINISH_REASONS.get(raw, "other")
        if reason == "stop" and self._called:
            reason = "tool_calls"
        self._reason = reason
        yield Finish(reason=reason, raw_reason=raw)

    def _whole_calls(self) -> Iterator[Chunk]:
        for call in self._calls.take():
            # A result can be matched only to a call that has an id.
            yield Chunk(ChunkType.TOOL_CALL, tool_call=call if call.id else attrs.evolve(call, id=new_id()))

    def end(self) -> Iterator[Chunk]:
        """Close an answer that came whole."""
        yield from self._whole_calls()
        reason = "tool_calls" if self._called and self._reason is None else None
        yield Finish(sentinel=True, reason=reason)


def _text(content: Any) -> str:
    """Give the text of a content: a string, a list of parts, or nothing."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ProtocolError(f"A content is neither text nor a list: {excerpt(str(content))}", phase="decode")
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "".join([text for text in texts if isinstance(text, str)])


def read_usage(usage: Mapping[str, Any], unread: list[str]) -> Usage:
    """Read DashScope's usage object; a count that is no whole number from 0 up is unknown, and put into *unread*."""
    prompt = usage.get("prompt_tokens_details")
    return Usage(
        input=count(usage, "input_tokens", unread),
        output=count(usage, "output_tokens", unread),
        cached=count(prompt, "cached_tokens", unread),
        cache_write=count(prompt, "cache_creation_input_tokens", unread),
        reasoning=count(usage.get("output_tokens_details"), "reasoning_tokens", unread),
    )
