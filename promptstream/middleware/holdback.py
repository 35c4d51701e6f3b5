"""Chunks in, the same chunks in the same order out, each as soon as nothing in it can matter any more.

Text and reasoning are followed in a lane each; a chunk whose text is only decided in part is parted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.finder import SLICE, Finder, Span, ending
from promptstream.values.message import Message
from promptstream.values.request import ChatRequest

_LONG = 1024
_KEPT = 256
"""Characters that have left and are still looked at where the text might end."""


class Lane:
    """Follow one text: how much of it is decided, and where each finder found its first span."""

    def __init__(self, finders: Sequence[Finder], before: str = "") -> None:
        self.finders = finders
        self.total = self.left = len(before)
        """Characters that came, and that were handed out, those of earlier rounds counted."""
        self.found: dict[int, Span] = {}
        """The first span of each finder, by its place in *finders*."""
        self._text, self._base = before, 0
        self._new: list[str] = []
        self._waiting = 0
        self._decided = [0] * len(finders)
        self._behind = max((each.behind for each in finders), default=0)
        for number, each in enumerate(finders):
            if before and each.find(before, 0, True, 0)[0] is not None:
                self._decided[number] = len(before)  # it has left, and is nothing of this round

    def add(self, text: str) -> None:
        """Take what came next, and look for spans in it."""
        for place in range(0, len(text), SLICE):
            piece = text[place : place + SLICE]
            self._new.append(piece)
            self._waiting += len(piece)
            self.total += len(piece)
            held = self._base + len(self._text) - min(self._decided, default=self.total)
            # What waits long is looked at anew only after it has grown by an eighth, so that the cost stays linear.
            if held <= _LONG or self._waiting * 8 >= held:
                self.look(False)

    def look(self, whole: bool) -> None:
        """Look for spans; *whole* says that nothing follows."""
        self._text += "".join(self._new)
        self._new, self._waiting = [], 0
        for number, finder in enumerate(self.finders):
            self._seek(number, finder, whole)
        needed = min([self.left - _KEPT, *self._decided]) - self._behind - self._base
        if needed > 0:
            self._text, self._base = self._text[needed:], self._base + needed

    def _seek(self, number: int, finder: Finder, whole: bool) -> None:
        if number not in self.found:
            span, decided = finder.find(self._text, self._decided[number] - self._base, whole, self._base)
            self._decided[number] = decided + self._base
            if span is not None:
                self.found[number] = span[0] + self._base, span[1] + self._base
        if number in self.found:
            self._decided[number] = self.total - self._waiting

    def bound(self) -> int:
        """Give how much of the text may leave: what is decided, before the first span."""
        return min([self.total - self._waiting, *self._decided, *(start for start, _ in self.found.values())])

    def end(self, place: int) -> int:
        """Give *place*, or a place before it, such that the text could end there and hold no span."""
        lowered = True
        while lowered and place > self.left:
            lowered = False
            start = max(self.left - _KEPT, self._base + (self._behind if self._base else 0)) - self._base
            for finder in self.finders:
                begin = ending(finder, self._text[: place - self._base], max(start, 0), self._base)
                if begin is not None and begin + self._base < place:
                    place, lowered = max(self.left, begin + self._base), True
        return place

    def render(self, start: int, end: int, text: str) -> str:
        """Give what leaves for *text*, which stands at *start* to *end*."""
        return text


@attrs.define(eq=False)
class Held:
    """Hold a chunk that waits."""

    chunk: Chunk
    lane: Lane | None = None
    start: int = 0
    """Where in its lane what is left of its text begins."""
    end: int = 0
    ready: bool = True


class Holdback:
    """Keep chunks back, in order, until their lanes say that they may leave."""

    def __init__(self, text: Lane, reasoning: Lane, *, all: bool = False) -> None:
        self.text, self.reasoning = text, reasoning
        self.all = all
        """True while nothing may leave."""
        self._held: deque[Held] = deque()
        self._fragments: dict[str, list[Held]] = {}

    def add(self, chunk: Chunk) -> Held:
        """Take a chunk; one of a tool call is not ready before it is said to be."""
        kind = chunk.type
        held = Held(chunk)
        if kind is ChunkType.TEXT or kind is ChunkType.REASONING:
            held.lane = lane = self.text if kind is ChunkType.TEXT else self.reasoning
            held.start = lane.total
            lane.add(_text_of(chunk))
            held.end = lane.total
        elif kind is ChunkType.TOOL_CALL_DELTA or kind is ChunkType.TOOL_CALL:
            held.ready = False
            if kind is ChunkType.TOOL_CALL_DELTA and chunk.tool_call is not None:
                self._fragments.setdefault(chunk.tool_call.id, []).append(held)
        self._held.append(held)
        return held

    def fragments(self, call_id: str | None = None) -> list[Held]:
        """Take the fragments of a call that wait for it; without an id, those of all calls that never came whole."""
        if call_id is not None:
            return self._fragments.pop(call_id, [])
        found, self._fragments = [each for group in self._fragments.values() for each in group], {}
        return found

    def release(self, *, ended: bool = False) -> Iterator[Chunk]:
        """Yield what may leave by now; *ended* says that nothing follows it."""
        if not self._held or self.all:
            return
        lanes = (self.text, self.reasoning)
        bounds = {id(lane): lane.bound() for lane in lanes}
        lowered = True
        while lowered:
            lowered = False
            reached = self._reach(bounds)
            for lane in lanes:
                place = reached.get(id(lane), lane.left)
                if (ended or place < lane.total) and (end := lane.end(place)) < place:
                    bounds[id(lane)], lowered = end, True
        while self._held and self._held[0].ready and self._held[0].end <= self._bound(bounds):
            held = self._held.popleft()
            if held.lane is None:
                yield held.chunk
            elif not self._joined(held, bounds):
                yield from _parted(held, held.end)
        if self._held and self._held[0].ready:
            yield from _parted(self._held[0], self._bound(bounds))

    def _joined(self, held: Held, bounds: dict[int, int]) -> bool:
        """Join a chunk to the next one, where its end would be a bad one for the text: a loop may end there too."""
        lane, following = held.lane, self._held[0] if self._held else None
        if lane is None or following is None or following.lane is not lane or bounds[id(lane)] <= following.start:
            return False
        if lane.end(held.end) >= held.end:
            return False
        joined = _text_of(held.chunk) + _text_of(following.chunk)
        following.chunk, following.start = _with(following.chunk, joined, None), held.start
        return True

    def _bound(self, bounds: dict[int, int]) -> int:
        """Give how far the first chunk's lane may go."""
        return bounds.get(id(self._held[0].lane), 0)

    def _reach(self, bounds: dict[int, int]) -> dict[int, int]:
        """Give how far each lane comes with what leaves in its order, up to the first chunk that must wait."""
        reached: dict[int, int] = {}
        for held in self._held:
            if not held.ready:
                break
            if held.lane is not None:
                reached[id(held.lane)] = place = max(held.start, min(held.end, bounds[id(held.lane)]))
                if place < held.end:
                    break
        return reached


def _text_of(chunk: Chunk) -> str:
    return chunk.text if chunk.type is ChunkType.TEXT else chunk.reasoning


def _parted(held: Held, end: int) -> Iterator[Chunk]:
    """Yield what stands before *end* of a chunk, and leave the rest."""
    lane, text = held.lane, _text_of(held.chunk)
    if lane is None or (end <= held.start and text):
        return
    piece = text[: end - held.start]
    shown = lane.render(held.start, end, piece)
    lane.left = max(lane.left, end)
    whole = end == held.end
    if whole and shown == text:
        yield held.chunk
        return
    # The provider's own event holds all of the text, so it goes with the last piece, where nothing was changed.
    raw = held.chunk.raw if shown == piece else None
    if shown:
        yield _with(held.chunk, shown, raw if whole else None)
    held.chunk = _with(held.chunk, text[end - held.start :], raw)
    held.start = end


def _with(chunk: Chunk, text: str, raw: Any) -> Chunk:
    """Give *chunk* with another text."""
    if chunk.type is ChunkType.TEXT:
        return attrs.evolve(chunk, text=text, raw=raw)
    return attrs.evolve(chunk, reasoning=text, raw=raw)


def said_before(request: ChatRequest) -> list[Message]:
    """Give what the assistant said in earlier rounds of this turn: its messages since the last one of the user."""
    said: list[Message] = []
    for message in reversed(request.messages):
        if message.role == "user":
            break
        if message.role == "assistant":
            said.append(message)
    return said[::-1]
