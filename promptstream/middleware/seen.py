"""The chunks of one round in, what a log line or a span tells of them out."""

from __future__ import annotations

from decimal import Decimal
from time import monotonic
from typing import Protocol

from promptstream.errors import Cancelled, ProviderError
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.message import Message, Part, Reasoning, Text
from promptstream.values.pace import Pace
from promptstream.values.request import ChatRequest
from promptstream.values.usage import Usage

_TEXT, _REASONING = ChunkType.TEXT, ChunkType.REASONING


class Priced(Protocol):
    """What prices a round: see :class:`promptstream.pricing.Seller`."""

    def cost(self, usage: Usage, *models: str | None) -> Decimal | None:
        """Give what it costs in USD, or None."""


class Seen:
    """Count what passes; where *content* says so, keep it too."""

    def __init__(self, request: ChatRequest, content: bool = False) -> None:
        self.provider, self.model = request.provider, request.model
        self.answered = False
        """True once a model began to answer, or was named as the one that does."""
        self.began = monotonic()
        self.first: float | None = None
        """Seconds to the first visible chunk."""
        self.first_text: float | None = None
        """Seconds to the first text."""
        self.chunks = self.characters = 0
        """TEXT chunks, and their length in all."""
        self.reason: str | None = None
        self.finished = False
        """True once the finish signal passed."""
        self.request_id: str | None = None
        self.usage = Usage()
        self.cost: Decimal | None = None
        """USD, once it is known."""
        self.retries = 0
        """Requests that were sent again, or to another provider."""
        self.pace = Pace()
        self._asked = request.model
        self._kept: list[Chunk] | None = [] if content else None

    @property
    def seconds(self) -> float:
        """The time since the round began."""
        return monotonic() - self.began

    def add(self, chunk: Chunk) -> None:
        """Take one chunk into account."""
        kind = chunk.type
        if kind.__class__ is ChunkType:
            if self.first is None:
                self.first, self.answered = self.seconds, True
                self.pace.came()
            if kind is _TEXT:
                if self.first_text is None:
                    self.first_text = self.seconds
                self.chunks += 1
                self.characters += len(chunk.text)
            elif kind is _REASONING:
                self.pace.came(thought=True)
            self.model = chunk.model or self.model
            if self._kept is not None:
                self._kept.append(chunk)
        elif isinstance(chunk, Finish):
            self._finish(chunk)

    def _finish(self, chunk: Finish) -> None:
        if chunk.restart:
            self.retries += 1
            if chunk.provider is not None:
                self.provider, self._asked = chunk.provider, chunk.model or ""
            self.request_id, self.usage, self.reason, self.finished = None, Usage(), None, False
            self.answered, self.cost = self.first is not None, None
        elif chunk.cost is not None:
            self.cost = chunk.cost
        self.model = chunk.model or self.model
        self.request_id = self.request_id or chunk.request_id
        self.usage = chunk.usage_seen or self.usage
        self.reason = chunk.reason or self.reason
        self.finished = self.finished or chunk.reason is not None or chunk.sentinel
        self.answered = self.answered or self.finished or (chunk.model is not None and not chunk.restart)
        if self.finished:
            self.pace.finish()

    def price(self, seller: Priced | None) -> None:
        """Price the round by *seller*, where it is whole and the provider has told no cost of it."""
        if self.cost is None and self.finished and seller is not None:
            self.cost = seller.cost(self.usage, self.model if self.answered else None, self._asked)

    def message(self) -> Message:
        """Give what was kept as the assistant's message."""
        parts: list[Part] = []
        for chunk in self._kept or ():
            if chunk.tool_call is not None and chunk.type is ChunkType.TOOL_CALL:
                parts.append(chunk.tool_call)
            elif chunk.type in (_TEXT, ChunkType.REASONING):
                parts.append(Text(chunk.text) if chunk.type is _TEXT else Reasoning(chunk.reasoning))
        return Message("assistant", _joined(parts), self.reason)

    def was_left(self, error: BaseException | None) -> bool:
        """Tell whether the user stopped the round before it was whole, and it did not fail."""
        if isinstance(error, GeneratorExit):
            return not self.finished
        return isinstance(error, (KeyboardInterrupt, Cancelled))


def _joined(parts: list[Part]) -> list[Part]:
    """Join neighbours of one kind; each piece is copied once."""
    joined: list[Part] = []
    pieces: list[str] = []
    kind: type[Text] | type[Reasoning] | None = None
    for part in [*parts, None]:
        if kind is not None and type(part) is not kind:
            joined.append(kind("".join(pieces)))
            pieces, kind = [], None
        if isinstance(part, (Text, Reasoning)):
            kind = type(part)
            pieces.append(part.text)
        elif part is not None:
            joined.append(part)
    return joined


def class_of(error: BaseException) -> str:
    """Name the class of *error*: nothing of its message, which may quote anything."""
    kind = type(error)
    ours = kind.__module__.partition(".")[0] in ("promptstream", "builtins")
    return kind.__qualname__ if ours else f"{kind.__module__}.{kind.__qualname__}"


def status_of(error: BaseException) -> int | None:
    """Give the HTTP status that a provider refused with, where it told one."""
    return error.status if isinstance(error, ProviderError) else None
