"""A request in, the chunks of the first provider that answers out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Generic, Protocol, TypeVar

import attrs

from promptstream.capabilities import check_supported
from promptstream.errors import (
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    PromptStreamError,
    StreamError,
    Truncated,
    Unsupported,
)
from promptstream.providers.base import Dialect
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.request import ChatRequest
from promptstream.wire.watch import Watch


class Asked(Protocol):
    """What a route asks: a Provider, as far as it matters here."""

    dialect: Dialect

    @property
    def name(self) -> str:
        """The provider's name."""
        ...

    @property
    def model(self) -> str:
        """The model it asks where none is named."""
        ...

    def ask(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Give the chunks of one request."""
        ...


P = TypeVar("P", bound=Asked)


class Route(Generic[P]):
    """Ask providers in turn, each after the first with its own model, until one hands out a chunk; then keep to it.

    *passed_to* is called with each provider after the first, before it is asked.
    """

    def __init__(self, providers: Sequence[P], passed_to: Callable[[P], object] = lambda provider: None) -> None:
        self._left = list(providers)
        self._passed_to = passed_to
        self._passed_over = False
        """True once another than the first is asked."""

    def ask(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Yield the chunks of one request; why a provider was passed over is a warning of the answer.

        Raises, while iterating:
            PromptStreamError: as the last provider asked, or the one that had begun to answer.
        """
        while True:
            provider = self._left[0]
            try:
                yield from self._answer(provider, request, watch)
            except (StreamError, ConfigError) as error:
                following = self._following(request)
                if following is None or not _may_ask_another(error, watch):
                    raise
                reason = f"{provider.name} did not answer, so {following.name} was asked: {error}"
            else:
                return
            self._passed_over = True
            self._passed_to(following)
            yield Finish(
                restart=True,
                provider=following.name,
                model=following.model or None,
                cost=Decimal(0) if following.dialect.free else None,
                warnings=(reason,),
            )

    def _answer(self, provider: P, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        reason = None
        chunks = provider.ask(self._own(request, provider), watch)
        for chunk in chunks:
            if isinstance(chunk, Finish):
                reason = chunk.reason or reason
            if chunk.type.__class__ is ChunkType:
                self._left = [provider]
                yield chunk
                yield from chunks
            else:
                yield chunk
        if reason is None and len(self._left) > 1:
            raise Truncated("The answer ended before it had begun, without a finish signal.", phase="body")
        self._left = [provider]  # for the rounds that may follow

    def _following(self, request: ChatRequest) -> P | None:
        """Give the next provider that can do what is asked for, to be asked from here on."""
        others = self._left[1:]
        for number, provider in enumerate(others):
            try:
                check_supported(provider.dialect, attrs.evolve(request, models=()))
            except Unsupported:
                continue
            self._left = others[number:]
            return provider
        return None

    def _own(self, request: ChatRequest, provider: Asked) -> ChatRequest:
        return attrs.evolve(request, model=provider.model, models=()) if self._passed_over else request


def _may_ask_another(error: PromptStreamError, watch: Watch) -> bool:
    return not isinstance(error, (Cancelled, DeadlineExceeded)) and watch.resume("first", "idle")
