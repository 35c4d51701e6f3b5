"""What a layer did in, what is wrong with it in words out."""

from __future__ import annotations

from typing import Any

from promptstream.values.chunk import Chunk, ChunkType, Finish, InternalType, Opaque
from promptstream.values.message import ToolCall
from promptstream.values.response import FINISH_REASONS

_KINDS = {
    ChunkType.TEXT: Chunk,
    ChunkType.REASONING: Chunk,
    ChunkType.TOOL_CALL: Chunk,
    ChunkType.TOOL_CALL_DELTA: Chunk,
    InternalType.FINISH: Finish,
    InternalType.OPAQUE: Opaque,
}
"""The kinds that pass through a layer, and what carries them."""


def name_of(layer: object) -> str:
    """Give the name by which errors call *layer*."""
    return str(getattr(layer, "__qualname__", None) or repr(layer))[:80]


def problem(chunk: Any) -> str | None:
    """Tell what is wrong with a chunk that a layer yields."""
    if not isinstance(chunk, Chunk):
        hint = " Write Chunk(ChunkType.TEXT, ...)." if isinstance(chunk, str) else ""
        return f"{chunk!r:.60}, which is no Chunk.{hint}"
    kind: Any = chunk.type
    if kind.__class__ not in (ChunkType, InternalType):
        known = isinstance(kind, str) and kind in {each.value for each in ChunkType}
        return (
            f"a chunk whose type is {kind!r:.60}; {f'write ChunkType.{kind.upper()}' if known else 'give a ChunkType'}."
        )
    if kind not in _KINDS or not isinstance(chunk, _KINDS[kind]):
        return f"a chunk of type {kind!s:.40}, which only the turn makes."
    said: Any = chunk.reasoning if kind is ChunkType.REASONING else chunk.text
    if not isinstance(said, str):
        return f"a chunk of type {kind!s} that holds {said!r:.60} in place of a string."
    if kind is ChunkType.TOOL_CALL and not isinstance(chunk.tool_call, ToolCall):
        return f"a TOOL_CALL chunk whose tool_call is {chunk.tool_call!r:.60}."
    if isinstance(chunk, Finish) and chunk.reason is not None and chunk.reason not in FINISH_REASONS:
        return f"the finish reason {chunk.reason!r:.60}; give one of {', '.join(FINISH_REASONS)}."
    return None


def no_iterator(name: str, given: Any) -> str:
    """Say that a layer gave no iterator; what it gave is let go."""
    close(given)  # a coroutine would warn that nobody awaited it
    if callable(given):
        return f"The middleware {name} gave a function instead of chunks: is it {name}() that was meant?"
    what = "None: is its yield missing" if given is None else f"{given!r:.60}: is it a generator function"
    return f"The middleware {name} must give an iterator of chunks, and gave {what}?"


def close(source: Any) -> None:
    """Close *source* if it can be closed."""
    close = getattr(source, "close", None)
    if close is not None:
        close()
