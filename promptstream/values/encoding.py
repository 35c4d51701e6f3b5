"""Chunks whose text may hold halves of surrogate pairs in, chunks whose text can always be encoded out."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.message import ToolCall
from promptstream.values.surrogates import Joiner, mended

_TEXT, _REASONING = ChunkType.TEXT, ChunkType.REASONING


@attrs.define(eq=False)
class Halves:
    """Keep the halves that wait for the chunk with their other."""

    text: Joiner = attrs.field(factory=Joiner)
    thoughts: Joiner = attrs.field(factory=Joiner)

    @property
    def held(self) -> bool:
        """True where one waits."""
        return bool(self.text.held or self.thoughts.held)


def encodable(chunks: Iterator[Chunk], halves: Halves | None = None) -> Iterator[Chunk]:
    """Join surrogate pairs split over deltas, so that every chunk's text can be encoded.

    With *halves* the chunks go on from those of an earlier call.
    """
    halves = halves or Halves()
    joiner, thoughts = halves.text, halves.thoughts
    for chunk in chunks:
        if chunk.type is _TEXT:
            if thoughts.held:
                yield Chunk(_REASONING, reasoning=thoughts.flush(), model=chunk.model)
            if joiner.held or not chunk.text.isascii():
                text = joiner.feed(chunk.text)
                if not text:
                    continue
                if text is not chunk.text:
                    chunk = attrs.evolve(chunk, text=text)
            yield chunk
            continue
        if isinstance(chunk, Finish) and chunk.reason is None and not chunk.sentinel:
            yield chunk  # what is learned between two deltas, such as Gemini's counts, does not part them
            continue
        if joiner.held:
            yield Chunk(_TEXT, joiner.flush(), model=chunk.model)
        if chunk.type is _REASONING:
            text = thoughts.feed(chunk.reasoning)
            if not text:
                continue
            if text is not chunk.reasoning:
                chunk = attrs.evolve(chunk, reasoning=text)
        elif thoughts.held:
            yield Chunk(_REASONING, reasoning=thoughts.flush(), model=chunk.model)
        yield chunk


def mended_call(call: ToolCall) -> ToolCall:
    """Give *call* with strings that can be encoded; itself where they can."""
    given = {name: getattr(call, name) for name in ("id", "name", "arguments", "raw_arguments", "problem")}
    changed = {name: whole for name, value in given.items() if (whole := mended(value)) != value}
    return attrs.evolve(call, **changed) if changed else call
