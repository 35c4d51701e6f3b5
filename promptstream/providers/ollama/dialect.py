"""Ollama's own protocol: requests out, lines of JSON in (docs.ollama.com/api).

Not its OpenAI-style one, which turns an error inside a stream into an answer that merely ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import attrs

from promptstream.errors import Authentication, ConfigError, NotFound, ProtocolError, ProviderError, Truncated
from promptstream.providers.base import checked_key
from promptstream.providers.failures import said_error
from promptstream.providers.ollama.address import CLOUD, PORT, is_cloud, server_address
from promptstream.providers.ollama.request import MADE_ID, encode_body
from promptstream.providers.reading import count, spent, text_in
from promptstream.providers.thinktags import ThinkTags
from promptstream.providers.toolcalls import MAX_CALLS, new_id, whole_call
from promptstream.providers.vendor import VendorDialect
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.message import ToolCall
from promptstream.values.request import Call, ChatRequest, ModelInfo
from promptstream.values.usage import Usage
from promptstream.wire.events import EventStream
from promptstream.wire.jsontext import check_depth, excerpt, loads, loads_exact, loads_quick

FINISH_REASONS = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}
_ARGUMENTS = re.compile(r'"arguments"\s*:\s*')
_OPENING = re.compile(r"\s*\{")
_NOT_PULLED = re.compile(r"model ['\"]?([\w.:/-]+)['\"]? not found")


class OllamaDialect(VendorDialect):
    """Speak ``/api/chat`` and ``/api/generate`` to an Ollama server, on this machine unless told."""

    name = "ollama"
    framing: Literal["sse", "ndjson"] = "ndjson"
    capabilities = frozenset({"streaming", "completion", "tools", "reasoning", "images", "json_schema", "models"})
    default_url: ClassVar[str] = f"http://127.0.0.1:{PORT}"
    url_variable: ClassVar[str] = "OLLAMA_HOST"
    needs_model: ClassVar[bool] = True
    key_required: ClassVar[bool] = False
    fixed_headers: ClassVar[Mapping[str, str]] = {"Accept": "application/x-ndjson, application/json"}
    models_path: ClassVar[str] = "/api/tags"
    unreachable = "Ollama is started by its app, or by: ollama serve."

    def __init__(
        self,
        *,
        api_key: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        allow_plaintext: bool = False,
        options: Mapping[str, Any] | None = None,
        keep_alive: str | float | None = None,
    ) -> None:
        """*options* are the model's (``num_ctx`` and the like), under the parameters of each call;
        *keep_alive* is how long the model stays loaded: seconds, or a text such as "5m"; -1 means always.
        """
        source, said = ("base_url", base_url) if base_url else (self.url_variable, self.url_from_environment())
        url = server_address(said or self.default_url, source)
        self._cloud = is_cloud(url)
        if self._cloud:
            self.unreachable = ""
        if api_key is None and self._cloud and url.startswith("https://"):
            needed = "authorization" not in {str(name).lower() for name in headers or {}}
            api_key = checked_key(None, ("OLLAMA_API_KEY",), CLOUD, required=needed) or None
        super().__init__(api_key=api_key, model=model, base_url=url, headers=headers, allow_plaintext=allow_plaintext)
        if not isinstance(options, (Mapping, type(None))):
            raise ConfigError(f"options={options!r:.80}: give a dict, such as {{'num_ctx': 8192}}.")
        if isinstance(keep_alive, bool) or not isinstance(keep_alive, (str, int, float, type(None))):
            raise ConfigError(f"keep_alive={keep_alive!r:.80}: give seconds, or a text such as '5m'.")
        self._options = dict(options or {})
        self._keep_alive = keep_alive

    def encode(self, request: ChatRequest) -> Call:
        """Give the POST to ``/api/chat``, or to ``/api/generate`` for a prompt.

        Raises:
            ConfigError: no model is named.
            Unsupported: a part cannot be sent.
        """
        body, warnings = encode_body(request, self._options, self._keep_alive)
        path = "/api/chat" if request.prompt is None else "/api/generate"
        return Call("POST", self.address(path), self._headers, body, tuple(warnings))

    def decode(self, events: EventStream) -> Iterator[Chunk]:
        """Turn lines into chunks; stop at the one that says ``done``.

        Raises, while iterating:
            ProviderError: the server reports an error inside the stream.
            ProtocolError: a line is not of this protocol.
        """
        answer = _Answer(self)
        text = ChunkType.TEXT
        try:
            for event in events:
                data = event.data
                try:
                    body = loads_quick(data)
                except ProtocolError:
                    if not (body := _lines(data)):
                        raise
                # Nearly every line is one delta of plain text: this is the hot path.
                try:
                    message = body["message"]
                    content = message["content"]
                    if (
                        content.__class__ is str
                        and content
                        and body["done"] is False
                        and len(message) == 2
                        and "role" in message
                        and answer.plain
                        and body["model"] == answer.model
                        and "error" not in body
                    ):
                        yield Chunk(text, content, model=answer.model)
                        continue
                except (KeyError, TypeError):
                    pass
                check_depth(data)
                yield from answer.feed_all(body) if isinstance(body, tuple) else answer.feed(body, data)
                if answer.done:
                    return
        except Truncated:
            yield from answer.flush()
            raise
        # Cut in the middle of a line, it is not a line.
        yield from answer.feed_all(_lines(events.tail.decode(errors="replace")))
        yield from answer.flush()

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Turn the one JSON object of an answer that was not streamed into chunks.

        Raises, while iterating:
            ProviderError: it is an error object.
            ProtocolError: it is neither.
        """
        if not isinstance(body, dict) or not body.keys() & {"message", "response", "error"}:
            raise ProtocolError(f"Ollama answered something else than an answer: {excerpt(str(body))}", phase="decode")
        answer = _Answer(self)
        yield from answer.feed(body)
        yield from answer.flush()
        if "done" not in body:
            yield Finish(sentinel=True)  # the body itself came whole

    def decode_models(self, body: Any) -> list[ModelInfo]:
        """Turn the list of the models that are installed into values."""
        rows = body.get("models") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise ProtocolError("Ollama answered something else than a list of models.", phase="decode")
        names = [row.get("model") or row.get("name") for row in rows if isinstance(row, dict)]
        return [ModelInfo(name) for name in names if isinstance(name, str)]

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Give the error for an HTTP status."""
        return self._advised(super().error(status, headers, body))

    def said(self, body: dict[str, Any]) -> ProviderError:
        """Give the error for a line that tells of one."""
        return self._advised(said_error(self.name, self.secret, body))

    def _advised(self, error: ProviderError) -> ProviderError:
        advice = ""
        if isinstance(error, NotFound) and (found := _NOT_PULLED.search(error.message)) and not self._cloud:
            advice = f" To fetch it: ollama pull {found[1]}"
        elif isinstance(error, Authentication) and not (self._cloud or self.secret):
            advice = " A cloud model needs: ollama signin"
        error.message += advice
        error.args = (error.message,)
        return error


class _Answer:
    """What one answer's lines add up to, as far as later lines depend on earlier ones."""

    def __init__(self, dialect: OllamaDialect) -> None:
        self.model: str | None = None
        self.done = False
        self.plain = False
        """True once content needs no search for tags."""
        self._dialect = dialect
        self._tags = ThinkTags()
        self._ids: set[str] = set()

    def feed(self, body: Any, line: str | None = None) -> Iterator[Chunk]:
        """Turn one line, or a whole answer, into chunks; *line* is its text."""
        if not isinstance(body, dict):
            raise ProtocolError(f"A line is not a JSON object: {excerpt(str(body))}", phase="decode")
        if body.get("error") or body == {"error": ""}:
            yield from self.flush()
            raise self._dialect.said(body)
        model = text_in(body, "model")
        if model and model != self.model:
            self.model = model
            yield Finish(model=model)
        message = body.get("message")
        if message is None:  # /api/generate has the same keys one level up, and another for the text
            message = {"content": body.get("response"), "thinking": body.get("thinking")}
        if not isinstance(message, dict):
            raise ProtocolError(f"A message is not an object: {excerpt(str(message))}", phase="decode")
        yield from self._thinking(_text(message, "thinking"))
        yield from self._content(_text(message, "content"))
        if calls := message.get("tool_calls"):
            yield from self._calls(calls, line)
        if body.get("done") is True:
            yield from self._finish(body)

    def feed_all(self, lines: tuple[str, ...]) -> Iterator[Chunk]:
        """Turn *lines* into chunks, as far as the one that says ``done``."""
        for line in lines:
            if not self.done:
                yield from self.feed(loads(line), line)

    def _thinking(self, text: str) -> Iterator[Chunk]:
        if text:
            yield from self.flush()  # a server that tells thinking apart leaves no tags
            yield Chunk(ChunkType.REASONING, reasoning=text, model=self.model)

    def _content(self, text: str) -> Iterator[Chunk]:
        if not self.plain:
            yield from self._told_apart(self._tags.feed(text) if text else [])
            self.plain = not self._tags.open
        elif text:
            yield Chunk(ChunkType.TEXT, text, model=self.model)

    def flush(self) -> Iterator[Chunk]:
        """Give the content held back, and look for tags no longer."""
        self.plain = True
        yield from self._told_apart(self._tags.flush())

    def _told_apart(self, pieces: list[tuple[bool, str]]) -> Iterator[Chunk]:
        for is_reasoning, text in pieces:
            if is_reasoning:
                yield Chunk(ChunkType.REASONING, reasoning=text, model=self.model)
            else:
                yield Chunk(ChunkType.TEXT, text, model=self.model)

    def _calls(self, calls: Any, line: str | None) -> Iterator[Chunk]:
        """Give the calls of one line, each of which is whole; another line may bring more."""
        yield from self.flush()
        if not isinstance(calls, list):
            raise ProtocolError(f"'tool_calls' is not a list: {excerpt(str(calls))}", phase="decode")
        for call, raw in zip(calls, _arguments(calls, line), strict=True):
            own = call.get("id")
            made = new_id() if not isinstance(own, str) or not own or own in self._ids else None
            self._ids.add(made or own)
            if len(self._ids) > MAX_CALLS:
                raise ProtocolError(f"The answer has more than {MAX_CALLS} tool calls.", phase="decode")
            name = call["function"].get("name")
            whole: ToolCall = whole_call(made or own, name if isinstance(name, str) else "", raw)
            if made is not None:
                whole = attrs.evolve(whole, metadata=MADE_ID)
            yield Chunk(ChunkType.TOOL_CALL, tool_call=whole, model=self.model)

    def _finish(self, body: dict[str, Any]) -> Iterator[Chunk]:
        yield from self.flush()
        self.done = True
        raw = body.get("done_reason") or None  # servers of before 2024 give none
        reason = None if raw is None else FINISH_REASONS.get(str(raw), "other")
        if self._ids and reason in (None, "stop"):
            reason = "tool_calls"
        yield spent(body, read_usage)
        yield Finish(
            sentinel=True,
            reason=reason,
            raw_reason=None if raw is None else str(raw),
            model=self.model,
        )


def _lines(text: str) -> tuple[str, ...]:
    """Give the objects that stand in one line, which a proxy that eats line ends makes of many; none if one is cut."""
    check_depth(text)
    decoder, end = json.JSONDecoder(), 0
    found: list[str] = []
    while (opening := _OPENING.match(text, end)) is not None:
        start = opening.end() - 1
        try:
            _, end = decoder.raw_decode(text, start)
        except ValueError:
            return ()
        found.append(text[start:end])
    return () if text[end:].strip() else tuple(found)


def _text(message: dict[str, Any], key: str) -> str:
    text = message.get(key)
    if text is not None and not isinstance(text, str):
        raise ProtocolError(f"{key!r} is not text: {excerpt(str(text))}", phase="decode")
    return text or ""


def _arguments(calls: list[Any], line: str | None) -> list[str]:
    """Give each call's arguments as JSON text: the server's own, so that every number stays as it was written.

    Raises:
        ProtocolError: a call is no object around a function.
    """
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
            raise ProtocolError(f"A tool call has no function: {excerpt(str(call))}", phase="decode")
    if line is not None:
        calls = loads_exact(line)["message"]["tool_calls"]
    values = [call["function"].get("arguments") for call in calls]
    objects = [value for value in values if value is not None and not isinstance(value, str)]
    written = _written(line or "")
    # Found by its key, which may stand elsewhere too: then the texts are not those of the calls.
    if [value for value, _ in written] == objects:
        texts = iter([text for _, text in written])
    else:
        texts = iter([json.dumps(value, ensure_ascii=False) for value in objects])
    return [value if isinstance(value, str) else "" if value is None else next(texts) for value in values]


def _written(line: str) -> list[tuple[Any, str]]:
    """Give what stands at each key "arguments" outside another's value, strings and null apart: value and text."""
    decoder = json.JSONDecoder()
    found: list[tuple[Any, str]] = []
    end = 0
    while (key := _ARGUMENTS.search(line, end)) is not None:
        value, end = decoder.raw_decode(line, key.end())
        if value is not None and not isinstance(value, str):
            found.append((value, line[key.end() : end]))
    return found


def read_usage(body: Mapping[str, Any], unread: list[str]) -> Usage:
    """Read the counts of the last line, which leaves out one that is 0; what is no count is put into *unread*.

    Of the prompt that means that its cache had all of it: nothing was evaluated, but how much there was is unknown.
    """
    output = count(body, "eval_count", unread)
    told = output is not None or bool(unread)
    prompted = count(body, "prompt_eval_count", unread)
    return Usage(input=prompted, output=0 if prompted is not None and not told else output)
