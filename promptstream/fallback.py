"""A request in, the chunks of the first provider that answers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from promptstream.errors import Cancelled, DeadlineExceeded, PromptStreamError, StreamError, Unsupported
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.request import ChatRequest
from promptstream.wire.watch import Watch

if TYPE_CHECKING:
    from promptstream.client import Provider


class Route:
    """Ask providers in turn, each after the first with its own model, until one hands out a chunk; then keep to it."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._first = providers[0]
        self._left = list(providers)

    def ask(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Yield the chunks of one request; why a provider was passed over is a warning of the answer.

        Raises, while iterating:
            PromptStreamError: as the last provider asked, or the one that had begun to answer.
        """
        while True:
            provider = self._left[0]
            try:
                for chunk in provider.ask(self._for(provider, request), watch):
                    if chunk.type.__class__ is ChunkType:
                        self._left = [provider]
                    yield chunk
            except (StreamError, Unsupported) as error:
                if len(self._left) == 1 or not _may_ask_another(error, watch):
                    raise
                following = self._left[1]
                reason = f"{provider.name} did not answer, so {following.name} was asked: {error}"
            else:
                self._left = [provider]
                return
            del self._left[0]
            yield Finish(
                restart=True,
                provider=following.name,
                model=following.model or None,
                cost=Decimal(0) if following.dialect.free else None,
                warnings=(reason,),
            )

    def _for(self, provider: Provider, request: ChatRequest) -> ChatRequest:
        return request if provider is self._first else attrs.evolve(request, model=provider.model, models=())


def _may_ask_another(error: PromptStreamError, watch: Watch) -> bool:
    return not isinstance(error, (Cancelled, DeadlineExceeded)) and watch.resume("first", "idle")
