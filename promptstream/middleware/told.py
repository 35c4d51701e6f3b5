"""What a provider tells beside the visible chunks in, the same out at the other end, whatever the layers drop of it.

A Finish or an Opaque is kept when it enters the layers, and forgotten when it comes out. One that is overtaken by a
later one, or is still there at the end, was dropped: it is handed out in the layers' place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from zlib import crc32

import attrs

from promptstream.values.chunk import Chunk, ChunkType, Finish, Opaque
from promptstream.values.usage import Usage

_REASONING = ChunkType.REASONING
SHOWN = {ChunkType.TEXT, ChunkType.REASONING, ChunkType.TOOL_CALL}
"""What makes an answer by itself; a fragment of a call does not."""


@attrs.define(eq=False)
class _Entry:
    """A Finish on its way out."""

    chunk: Finish
    providers: bool
    """True where the provider made it, and no layer."""
    retold: bool = False
    """True once a layer made another of it, with its warnings and validations."""


@attrs.frozen(eq=False)
class _Mark:
    """An Opaque on its way out, and where the provider put it."""

    chunk: Opaque
    behind: Chunk | None
    """The visible chunk before it."""
    thought: int
    """The checksum of the reasoning up to it."""


class Told:
    """Keep what is on its way through the layers of one request."""

    def __init__(self) -> None:
        # Inside
        self.marks: dict[int, deque[_Mark]] = {}
        """Each Opaque on its way, by the identity of the chunk it is behind."""
        self.latest: Chunk | None = None
        """The last visible chunk the provider gave."""
        self._thought = 0
        """A checksum of the reasoning it gave."""
        self._entries: dict[int, _Entry] = {}
        """Each Finish on its way by identity, in order."""
        self._spent: tuple[Usage, Decimal | None] | None = None
        """What calls of the provider took whose answer was put aside."""
        # Outside
        self.seen: Chunk | None = None
        """The last visible chunk that came out."""
        self.shown = False
        """True once something came out that makes an answer."""
        self.stated = False
        """True once a layer said by itself why the answer ends."""
        self._thoughts = 0
        self._placed: dict[int, Chunk] = {}
        """What was handed out in place of a layer."""
        self._signals: list[Finish] = []
        """Finish signals leave last, so that no answer counts as whole while a layer holds text of it.

        What is told beside them leaves at once: it holds also where the answer does not become whole.
        """

    # Inside

    def begin(self) -> None:
        """Begin a call of the provider: what it gives follows on what came out by now."""
        self.marks.clear()
        self.latest, self._thought = self.seen, self._thoughts

    def spend(self, usage: Usage, cost: Decimal | None) -> None:
        """Add what a call took whose answer is put aside to what the next one tells."""
        spent, paid = self._spent or (Usage(0, 0, 0, 0, 0), Decimal(0))
        self._spent = spent + usage, None if paid is None or cost is None else paid + cost

    def tell(self, chunk: Finish, providers: bool = True) -> Finish:
        """Keep a Finish, which the provider made or, where *providers* is False, a layer."""
        if chunk.restart:
            self.marks.clear()
        self._entries[id(chunk)] = _Entry(chunk, providers)
        return chunk

    def retell(self, chunk: Finish) -> None:
        """Keep a Finish that a layer yields, unless it is known; it may be made of the one before it."""
        if id(chunk) in self._entries or id(chunk) in self._placed:
            return
        last = next(reversed(self._entries.values()), None)
        if last is not None and all(each in chunk.warnings for each in last.chunk.warnings):
            last.retold = all(each in chunk.validations for each in last.chunk.validations)
        self.tell(chunk, providers=False)

    def mark(self, chunk: Opaque) -> None:
        """Keep an Opaque of the provider's, and its place."""
        self.marks.setdefault(id(self.latest), deque()).append(_Mark(chunk, self.latest, self._thought))

    def give(self, chunk: Chunk) -> None:
        """Take note of a visible chunk that the provider gives."""
        self.latest = chunk
        if chunk.type is _REASONING:
            self._thought = _checksum(chunk, self._thought)

    # Outside

    def out(self, chunk: Chunk) -> Iterator[Chunk]:
        """Hand out a chunk that the outermost layer yields."""
        return self._show(chunk) if chunk.type.__class__ is ChunkType else self._internal(chunk)

    def _show(self, chunk: Chunk) -> Iterator[Chunk]:
        """Hand out a visible chunk, after what was dropped that belongs before it."""
        yield from self._marked()
        self.seen = chunk
        self.shown = self.shown or chunk.type in SHOWN
        if chunk.type is _REASONING:
            self._thoughts = _checksum(chunk, self._thoughts)
        yield chunk

    def _internal(self, chunk: Chunk) -> Iterator[Chunk]:
        """Hand out a Finish or an Opaque, after those before it that were dropped."""
        if id(chunk) in self._placed:
            return
        if not isinstance(chunk, Finish):
            yield from self._marked(chunk)
            yield chunk
            return
        for entry in self._drained():
            if entry.chunk is chunk:
                yield from self._let_out(chunk, entry.providers)
                return
            yield from self._retrieved(entry)

    def rest(self) -> Iterator[Chunk]:
        """Hand out all that was dropped and not missed by now, but for the finish signals."""
        yield from self._marked()
        yield from self.known()

    def known(self) -> Iterator[Chunk]:
        """Hand out each Finish that was dropped, but for the finish signals."""
        for entry in self._drained():
            yield from self._retrieved(entry)

    def signals(self, begun: bool) -> Iterator[Chunk]:
        """Hand out the finish signals; *begun* says that the provider gave content, or a layer its word for it.

        A sentinel counts after content alone: what was dropped of it is stood for, what never came is not.
        """
        if begun and not self.shown and any(chunk.sentinel and chunk.reason is None for chunk in self._signals):
            yield Opaque(new=True)
        yield from (chunk for chunk in self._signals if begun or chunk.reason is not None)

    def withdraw(self) -> None:
        """Take the finish signals back: they are of an answer that was put aside, or is cut."""
        self._signals.clear()

    def _drained(self) -> Iterator[_Entry]:
        while self._entries:
            yield self._entries.pop(next(iter(self._entries)))

    def _marked(self, until: Chunk | None = None) -> Iterator[Chunk]:
        """Hand out the dropped Opaques whose place is here, up to *until*, which comes by itself.

        Their place is known where the layers hand on the provider's own chunk before it. A signature of reasoning
        that a layer changed would be refused, and goes with it.
        """
        marks = self.marks.pop(id(self.seen), None)
        while marks:
            mark = marks.popleft()
            if mark.chunk is until:
                break
            if mark.thought == self._thoughts:
                self._placed[id(mark.chunk)] = mark.chunk
                yield mark.chunk
        if marks:
            self.marks[id(self.seen)] = marks

    def _retrieved(self, entry: _Entry) -> Iterator[Chunk]:
        """Hand out a Finish that was dropped, as far as no layer said otherwise."""
        chunk = entry.chunk
        self._placed[id(chunk)] = chunk
        if entry.providers and self.stated:
            chunk = _unsigned(chunk)
        if entry.retold:
            chunk = attrs.evolve(chunk, warnings=(), validations=())
        yield from self._let_out(chunk, entry.providers)

    def _let_out(self, chunk: Finish, providers: bool) -> Iterator[Chunk]:
        """Hand out a Finish, but keep its signal for the end."""
        if chunk.restart:
            self.withdraw()
            self.stated = False
        if providers and self._spent and (chunk.usage_seen is not None or chunk.cost is not None):
            spent, paid = self._spent
            usage = chunk.usage_seen and spent + chunk.usage_seen
            cost = None if chunk.cost is None or paid is None else paid + chunk.cost
            chunk = attrs.evolve(chunk, usage_seen=usage, cost=cost)
        self.stated = self.stated or (not providers and chunk.reason is not None)
        if chunk.reason is not None or chunk.sentinel:
            signal = Finish(
                reason=chunk.reason, raw_reason=chunk.raw_reason, sentinel=chunk.sentinel, pause=chunk.pause
            )
            self._signals.append(signal)
            chunk = _unsigned(chunk)
        yield chunk


def _unsigned(chunk: Finish) -> Finish:
    return attrs.evolve(chunk, reason=None, raw_reason=None, sentinel=False, pause=False)


def _checksum(chunk: Chunk, before: int) -> int:
    return crc32(chunk.reasoning.encode("utf-8", "surrogatepass"), before)
