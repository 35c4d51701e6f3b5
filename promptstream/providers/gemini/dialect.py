"""Gemini's generateContent: requests out, events in (ai.google.dev/api/generate-content)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import repeat
from typing import Any, ClassVar
from urllib.parse import quote

from promptstream.errors import ConfigError, LimitExceeded, ProtocolError
from promptstream.providers.failures import said_error
from promptstream.providers.gemini.answer import GeminiAnswer
from promptstream.providers.gemini.request import encode_body
from promptstream.providers.reading import DONE, last_event
from promptstream.providers.vendor import VendorDialect
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.request import Call, ChatRequest, ModelInfo
from promptstream.wire.events import Event, EventStream
from promptstream.wire.jsontext import check_depth, loads_exact, loads_quick


class GeminiDialect(VendorDialect):
    """Speak generateContent to the Gemini API, or to Vertex AI by ``base_url`` and ``api_version``."""

    name = "gemini"
    capabilities = frozenset({"streaming", "tools", "reasoning", "images", "documents", "json_schema", "models"})
    default_model: ClassVar[str] = "gemini-2.5-flash"
    default_url: ClassVar[str] = "https://generativelanguage.googleapis.com"
    url_variable: ClassVar[str] = "GOOGLE_GEMINI_BASE_URL"
    url_example: ClassVar[str] = "the server's address without the API version"
    key_variables: ClassVar[tuple[str, ...]] = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    key_header: ClassVar[str] = "x-goog-api-key"
    key_prefix: ClassVar[str] = ""

    def __init__(
        self,
        *,
        api_key: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        allow_plaintext: bool = False,
        api_version: str = "v1beta",
    ) -> None:
        """Take what every vendor's dialect takes, and the version of the API that stands before ``/models``.

        Raises:
            ConfigError: *api_version* is no path.
        """
        super().__init__(
            api_key=api_key, model=model, base_url=base_url, headers=headers, allow_plaintext=allow_plaintext
        )
        if not isinstance(api_version, str) or not re.fullmatch(r"[\w-][\w./-]*", api_version, re.ASCII):
            raise ConfigError(f"api_version={api_version!r:.80}: give one such as v1beta or v1.")
        self.base_url = self.base_url.removesuffix(f"/{api_version}")
        self._version = api_version

    def encode(self, request: ChatRequest) -> Call:
        """Give the POST to ``:streamGenerateContent``, or to ``:generateContent`` for one JSON body.

        Raises:
            ConfigError: more than one candidate is asked for, or something cannot be sent.
        """
        body, warnings = encode_body(request)
        for config in (body.get("generationConfig"), body.get("generation_config")):
            counts = map(config.get, ("candidateCount", "candidate_count")) if isinstance(config, Mapping) else ()
            if any(count not in (None, 1) for count in counts):
                raise ConfigError("candidateCount > 1 is not supported: one stream is one answer. Ask several times.")
        verb, query = ("streamGenerateContent", "alt=sse") if request.streaming else ("generateContent", "")
        url = self._url(f"{_resource(request.model)}:{verb}", query)
        return Call("POST", url, self._headers, body, tuple(warnings))

    def _url(self, path: str, query: str) -> str:
        return self.address(f"/{self._version}/{path}{'?' if query else ''}{query}")

    def decode(self, events: EventStream) -> Iterator[Chunk]:
        """Turn events into chunks, to the very end: no terminator tells that nothing more comes.

        Raises, while iterating:
            ProviderError: the provider reports an error inside the stream, or refuses the prompt.
            ProtocolError: an event is not of this protocol.
        """
        answer = GeminiAnswer(self.name, self.secret, self.model)
        text = ChunkType.TEXT
        for batch in events.batches:
            bodies = _bodies(batch)
            if ahead := answer.look_ahead(bodies):
                yield ahead
            for event, body in zip(batch, bodies, strict=False):
                data = event.data
                if body is None:
                    try:
                        body = loads_quick(data)
                    except ProtocolError:
                        if data == DONE:
                            yield from answer.end()
                            return
                        if (body := _meant(event)) is None:
                            raise
                # Nearly every event is one piece of plain text: this is the hot path.
                try:
                    (candidate,) = body["candidates"]
                    (part,) = candidate["content"]["parts"]
                    if len(part) == 1 and answer.plain and "finishReason" not in candidate and "error" not in body:
                        content = part["text"]
                        if (
                            content.__class__ is str
                            and content
                            and not candidate.get("index")
                            and body["modelVersion"] == answer.model
                        ):
                            counts = body.get("usageMetadata")
                            if counts is not None and (news := answer.news(counts, data)):
                                yield news
                            yield Chunk(text, content, model=answer.model)
                            continue
                except (KeyError, TypeError, ValueError, AttributeError):
                    pass
                check_depth(data)
                if event.event == "error":
                    raise said_error(self.name, self.secret, body)
                # Arguments are numbers by now, not text as elsewhere: whole ones of any size are to stay exact.
                yield from answer.feed(loads_exact(data) if '"args"' in data else body)
        yield from self._ended(events, answer)

    def _ended(self, events: EventStream, answer: GeminiAnswer) -> Iterator[Chunk]:
        """Look at what came after and beside all events."""
        for stray in events.stray:
            self._raise_error(stray)
        last = last_event(events.tail)
        if last == DONE:
            yield from answer.end()
        elif last is not None:
            yield from answer.feed(last)

    def _raise_error(self, text: str) -> None:
        """Raise the error that a text outside of all events is, alone or in an array; pass over all else."""
        value = _value(text)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and each.get("error"):
                raise said_error(self.name, self.secret, each)

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Turn a GenerateContentResponse, or the array of them that comes without ``alt=sse``, into chunks.

        Raises, while iterating:
            ProviderError: it is an error object, or the prompt was refused.
            ProtocolError: it is neither.
        """
        answer = GeminiAnswer(self.name, self.secret, self.model)
        for each in body if isinstance(body, list) else [body]:
            yield from answer.feed(each)

    def models_call(self) -> Call:
        """Give the GET that lists the models."""
        return Call("GET", self._url("models", "pageSize=1000"), self._headers)

    def decode_models(self, body: Any) -> list[ModelInfo]:
        """Turn the list of models into values."""
        rows = body.get("models", []) if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise ProtocolError("gemini answered something else than a list of models.", phase="decode")
        return [_model(row) for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]


def _bodies(batch: Iterable[Event]) -> Iterable[Any]:
    """Give a list of what the events of one read hold; Nones where they are to be read one by one, for a broken one."""
    if isinstance(batch, list) and len(batch) > 1:
        with suppress(ProtocolError, LimitExceeded):  # told when that event's turn comes
            return [loads_quick(event.data) for event in batch]
    return repeat(None)


def _meant(event: Event) -> Any:
    """Give the body that stands for data which is no JSON, as proxies send it; None where it is broken JSON."""
    if event.event == "error":
        return event.data
    return None if event.data.strip() else {}  # without data it keeps the connection alive


def _value(text: str) -> Any:
    """Give the JSON value a text holds, or None where it is cut or none."""
    try:
        return loads_exact(text)
    except (ProtocolError, LimitExceeded):
        return None


def _model(row: Mapping[str, Any]) -> ModelInfo:
    name, context = row.get("displayName"), row.get("inputTokenLimit")
    return ModelInfo(
        row["name"].removeprefix("models/"),
        name if isinstance(name, str) else None,
        context if isinstance(context, int) and not isinstance(context, bool) else None,
    )


def _resource(model: str) -> str:
    """Give a model's resource path: ``models/…`` for a bare name, ``tunedModels/…`` and the like as they are.

    Raises:
        ConfigError: it is no path.
    """
    steps = model.split("/") if "/" in model else ["models", model]
    if not all(steps) or {".", ".."} & set(steps):
        raise ConfigError(
            f"model={model!r:.80}: give a name such as gemini-2.5-flash, or a path such as tunedModels/…."
        )
    return "/".join(quote(step, safe="@") for step in steps)
