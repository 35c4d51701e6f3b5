"""The start, deltas and stop of Anthropic's content blocks in, chunks out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs

from promptstream.errors import LimitExceeded, ProtocolError
from promptstream.providers.toolcalls import MAX_CALLS, unused, whole_call
from promptstream.values.chunk import Chunk, ChunkType, Finish, Opaque
from promptstream.values.message import ToolCall
from promptstream.values.surrogates import mend
from promptstream.wire.jsontext import excerpt, loads_exact

PROTOCOL = "anthropic"
"""The key of what is kept to be echoed: signature, redacted, citations, block, caller, refusal."""
MAX_OPEN = 128


def bad(what: str, value: Any) -> ProtocolError:
    """Give the error for an event that is not of this protocol."""
    return ProtocolError(f"{what}: {excerpt(str(value))}", phase="decode")


@attrs.define(eq=False)
class _Block:
    """One block in progress."""

    kind: str
    raw: dict[str, Any]
    """As it began; of a block that is echoed as it is, what its deltas made of it."""
    id: str = ""
    pieces: list[str] = attrs.field(factory=list)
    """Of its input, or of its signature, as its deltas gave them."""
    citations: list[Any] = attrs.field(factory=list)
    known: bool = True
    """False once a delta came that is not understood: the block cannot be echoed."""


class Blocks:
    """Hold the blocks of one answer that have begun and not ended, by their index."""

    def __init__(self) -> None:
        self.model: str | None = None
        """Who answers; a fallback to another model is a block of its own."""
        self.text_index: int | None = None
        """The index of the block of text in progress."""
        self.begun = False
        self._open: dict[int, _Block] = {}
        self._ids: set[str] = set()

    @property
    def called(self) -> bool:
        """True once a tool was called."""
        return bool(self._ids)

    def start(self, index: Any, raw: Any) -> Iterator[Chunk]:
        """Begin a block; what it already holds counts as its first delta."""
        index = _index(index)
        if not isinstance(raw, dict) or not isinstance(kind := raw.get("type"), str):
            raise bad("A content block has no type", raw)
        yield from self._stop_before(index)
        if len(self._open) >= MAX_OPEN:
            raise ProtocolError(f"The answer has more than {MAX_OPEN} content blocks open at once.", phase="decode")
        block = self._open[index] = _Block(kind, dict(raw))
        self.begun = True
        self.text_index = index if kind == "text" else None
        if kind == "text":
            yield Opaque(part="text", new=True)
            yield from self._text(raw.get("text"))
            block.citations += [each for each in _list(raw.get("citations")) if isinstance(each, dict)]
        elif kind == "thinking":
            yield Opaque(part="reasoning", new=True)
            yield from self._thoughts(raw.get("thinking"))
        elif kind == "redacted_thinking":
            yield Opaque(part="reasoning", new=True, data={PROTOCOL: {"redacted": _string(raw.get("data"), "Data")}})
        elif kind == "tool_use":
            yield self._call(block)
        elif kind == "fallback" and isinstance(target := raw.get("to"), dict):
            model = _string(target.get("model"), "A model")
            self.model = mend(model) or self.model
            yield Finish(model=self.model)

    def extend(self, index: Any, delta: Any) -> Iterator[Chunk]:
        """Take one delta; one of a type that is not known is ignored."""
        index = _index(index)
        if not isinstance(delta, dict):
            raise bad("A block's delta is not an object", delta)
        kind, block = delta.get("type"), self._open.get(index)
        if kind == "text_delta":
            yield from self._text(delta.get("text"))
        elif kind == "thinking_delta":
            yield from self._thoughts(delta.get("thinking"))
        elif block is None:
            if kind == "input_json_delta":
                raise bad("The input of a tool that was never named", delta)
        elif kind == "input_json_delta":
            fragment = _string(delta.get("partial_json"), "A tool's input")
            if fragment:
                block.pieces.append(fragment)
                if block.kind == "tool_use":
                    yield self._fragment(block, fragment)
        elif kind == "signature_delta":
            block.pieces.append(_string(delta.get("signature"), "A signature"))
        elif kind == "citations_delta" and isinstance(citation := delta.get("citation"), dict):
            block.citations.append(citation)
        elif kind == "compaction_delta":
            block.raw |= {key: value for key, value in delta.items() if key != "type" and value is not None}
        else:
            block.known = False

    def stop(self, index: Any) -> Iterator[Chunk]:
        """End a block, and give what is known only now; nothing where none is open."""
        index = _index(index)
        block = self._open.pop(index, None)
        if block is None:
            return
        if index == self.text_index:
            self.text_index = None
        if block.kind == "tool_use":
            yield from self._whole_call(block)
        elif block.kind == "text":
            if block.citations:
                yield Opaque(part="text", data={PROTOCOL: {"citations": block.citations}})
        elif block.kind == "thinking":
            # One that is not signed is not kept: the provider would refuse it.
            if signature := "".join(block.pieces) or _string(block.raw.get("signature"), "A signature"):
                yield Opaque(part="reasoning", data={PROTOCOL: {"signature": signature}})
        elif block.kind != "redacted_thinking" and (raw := _whole_block(block)) is not None:
            yield Opaque(part="text", new=True, data={PROTOCOL: {"block": raw}})

    def _stop_before(self, index: int) -> Iterator[Chunk]:
        """End what another block's begin ends, where the server did not say so: its index, text, thoughts."""
        for at in [at for at, block in self._open.items() if at == index or block.kind in ("text", "thinking")]:
            yield from self.stop(at)

    def stop_all(self) -> Iterator[Chunk]:
        """End all blocks that are open: the answer ends."""
        for index in list(self._open):
            yield from self.stop(index)

    def refuse(self, details: Any) -> Iterator[Chunk]:
        """Mark the answer as a refusal, so that what came of it is not sent again."""
        yield Opaque(part="text", new=True, data={PROTOCOL: {"refusal": details if isinstance(details, dict) else {}}})

    def _text(self, text: Any) -> Iterator[Chunk]:
        if text := _string(text, "A text"):
            yield Chunk(ChunkType.TEXT, text, model=self.model)

    def _thoughts(self, text: Any) -> Iterator[Chunk]:
        if text := _string(text, "A thought"):
            yield Chunk(ChunkType.REASONING, reasoning=text, model=self.model)

    def _call(self, block: _Block) -> Chunk:
        if len(self._ids) >= MAX_CALLS:
            raise ProtocolError(f"The answer has more than {MAX_CALLS} tool calls.", phase="decode")
        block.id = unused(mend(_string(block.raw.get("id"), "A tool call's id")), self._ids)
        return self._fragment(block, "")

    def _fragment(self, block: _Block, fragment: str) -> Chunk:
        name = mend(_string(block.raw.get("name"), "A tool's name"))
        call = ToolCall(block.id, name, None, mend(fragment))
        return Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=call, model=self.model)

    def _whole_call(self, block: _Block) -> Iterator[Chunk]:
        if not block.pieces and (given := block.raw.get("input")):
            block.pieces.append(given if isinstance(given, str) else json.dumps(given, ensure_ascii=False))
            yield self._fragment(block, block.pieces[0])
        call = whole_call(block.id, _string(block.raw.get("name"), "A tool's name"), "".join(block.pieces))
        caller = block.raw.get("caller")
        if isinstance(caller, dict) and caller.get("type") != "direct":  # a program that runs in a server's tool
            call = attrs.evolve(call, metadata={PROTOCOL: {"caller": caller}})
        yield Chunk(ChunkType.TOOL_CALL, tool_call=call, model=self.model)


def _whole_block(block: _Block) -> dict[str, Any] | None:
    """Give a block to be echoed as it is, its input put into it; None where it is not whole."""
    if not block.known:
        return None
    if block.pieces:
        try:
            block.raw["input"] = loads_exact("".join(block.pieces))
        except (ProtocolError, LimitExceeded):
            return None
    if "input" in block.raw and not isinstance(block.raw["input"], dict):
        return None
    return block.raw


def _index(index: Any) -> int:
    if index is None:
        return 0  # which some servers leave out, as values that go without saying
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise bad("A content block's index is no whole number from 0 up", index)
    return index


def _string(value: Any, what: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise bad(f"{what} is not a string", value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
