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


def first_answering(providers: Sequence[Provider], request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
    """Ask *providers* in turn, each after the first with its own model, until one hands out a chunk.

    Why one was passed over is a warning of the answer.

    Raises, while iterating:
        PromptStreamError: as the last provider asked, or the one that had begun to answer.
    """
    for provider, following in zip(providers, (*providers[1:], None), strict=True):
        handed_out = False
        try:
            chunks = provider.ask(request, watch)
            for chunk in chunks:
                handed_out = chunk.type.__class__ is ChunkType
                yield chunk
                if handed_out:
                    yield from chunks
            return
        except (StreamError, Unsupported) as error:
            if handed_out or following is None or not _may_ask_another(error, watch):
                raise
            reason = f"{provider.name} did not answer, so {following.name} was asked: {error}"
        request = attrs.evolve(request, model=following.model, models=())
        yield Finish(
            restart=True,
            provider=following.name,
            model=following.model or None,
            cost=Decimal(0) if following.dialect.free else None,
            warnings=(reason,),
        )


def _may_ask_another(error: PromptStreamError, watch: Watch) -> bool:
    return not isinstance(error, (Cancelled, DeadlineExceeded)) and watch.resume("first", "idle")
