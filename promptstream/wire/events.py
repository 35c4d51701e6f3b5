"""Byte chunks in, events out: server-sent events (WHATWG HTML 9.2.6) and newline-delimited JSON.

sseclient-py parses the fields. A normaliser in front of it hands it whole, valid, bounded events,
because it would dispatch a cut event at the end, merge events over mixed line ends, lose the first
one to a byte order mark, die of invalid UTF-8, and take quadratic time for long lines. Where a read brought
nothing but events of one data line, with a name or without, as all providers send, they are split here, all at
once: 0.8 µs an event in place of 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import sseclient

from promptstream.errors import LimitExceeded

MAX_LINE = 1 << 20
MAX_EVENT = 4 << 20
MAX_LINES = 10_000
MAX_STRAY = 64 << 10
_COMPACT = 64 << 10
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry")
_JSON = (b"{", b"[")
_NAMED = re.compile(r"^event: (.+)\ndata: (.*)\n\n", re.MULTILINE)
_new = tuple.__new__  # NamedTuple's own constructor costs as much as a Chunk


class Event(NamedTuple):
    """One event, dispatched because its blank line (or its line, in NDJSON) came whole."""

    event: str
    data: str
    id: str = ""
    """The last event id, which persists over events."""
    retry: int | None = None
    """Milliseconds, where this event set them."""


Batches = Iterator[Iterable[Event]]
"""Events as they became whole together, with one read; a list where nothing of it can fail any more."""


class EventStream(Iterator[Event]):
    """Iterate over events; ``tail`` holds the bytes left unterminated at the end."""

    # The generator below shares tail and stray, not the stream: a cycle would outlive an abandoned loop.
    def __init__(self, batches: Batches, tail: bytearray, stray: bytearray | None = None) -> None:
        self.batches = batches
        """The same events, those of a read together: for who looks ahead among what came already."""
        self._events = chain.from_iterable(batches)
        self._tail = tail
        self._stray = bytearray() if stray is None else stray

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def __next__(self) -> Event:
        return next(self._events)

    @property
    def tail(self) -> bytes:
        """What came after the last whole event, known once the iteration is over."""
        return bytes(self._tail)

    @property
    def stray(self) -> list[str]:
        """Texts in place of events that begin as JSON does, the tail included; at most 64 KiB, known at the end.

        The standard has them ignored (section 9.2.6: lines of unknown fields), and servers put errors there.
        """
        blocks = [*bytes(self._stray).split(b"\n\n"), self.tail[: MAX_STRAY + 1]]
        texts = [block.strip() for block in blocks if len(block) <= MAX_STRAY]
        return [text.decode(errors="replace") for text in texts if text.startswith(_JSON)]

    def through(self, step: Callable[[Iterator[Event]], Iterator[Event]]) -> EventStream:
        """Give the same stream with every event passed through *step*."""
        return EventStream(iter((step(self._events),)), self._tail, self._stray)

    def batched(self, step: Callable[[Batches], Batches]) -> EventStream:
        """Give the same stream with its events, all of a read together, passed through *step*."""
        return EventStream(step(self.batches), self._tail, self._stray)


def iter_sse(byte_chunks: Iterable[bytes]) -> EventStream:
    """Parse server-sent events; pure, takes any iterable of bytes, cut anywhere.

    Raises, while iterating:
        LimitExceeded: a line over 1 MiB, an event over 4 MiB or 10,000 lines.
    """
    tail, stray = bytearray(), bytearray()
    return EventStream(_Blocks(byte_chunks, tail, stray).batches(), tail, stray)


def iter_ndjson(byte_chunks: Iterable[bytes]) -> EventStream:
    """Parse newline-delimited JSON into events of one line each; blank lines are skipped.

    Raises, while iterating:
        LimitExceeded: a line over 4 MiB.
    """
    tail = bytearray()
    return EventStream(_lines(byte_chunks, tail), tail)


def _lines(byte_chunks: Iterable[bytes], tail: bytearray) -> Batches:
    pending: list[bytes] = []
    size = 0
    for chunk in _without_bom(byte_chunks):
        head, end, rest = chunk.partition(b"\n")
        pending.append(head)
        size += len(head)
        if end and size <= MAX_EVENT:
            if line := _joined(pending):
                yield [Event("message", line)]
            size = 0
            if not rest:
                continue
            # Blank lines without end take next to no time.
            *whole, last = [rest] if rest.isspace() else rest.split(b"\n")
            pending, size = [last], len(last)
            if whole:
                lines = _whole_lines(whole)
                yield list(lines) if len(rest) <= _COMPACT else lines
        if size > MAX_EVENT:
            raise _too_long(MAX_EVENT)
    tail[:] = b"".join(pending).strip()


def _whole_lines(lines: list[bytes]) -> Iterator[Event]:
    for line in filter(None, map(bytes.strip, lines)):
        if len(line) > MAX_EVENT:
            raise _too_long(MAX_EVENT)
        yield _new(Event, ("message", line.decode(errors="replace"), "", None))


def _joined(pending: list[bytes]) -> str:
    """Give the line that *pending* makes, and forget the bytes: they need not stay while it is decoded further."""
    line = b"".join(pending).strip()
    pending.clear()
    return line.decode(errors="replace")


class _Silent:
    """Take the place of the logger to which sseclient writes lines for every event."""

    def debug(self, *said: object) -> None:
        """Write nothing."""


_SILENT = _Silent()


class _Client(sseclient.SSEClient):
    _logger = property(lambda self: _SILENT, lambda self, logger: None)

    def _read(self) -> Iterator[bytes]:
        """Take each event as the normaliser gives it, instead of searching for its end line by line."""
        return self._event_source  # type: ignore[attr-defined,no-any-return]


def _without_bom(byte_chunks: Iterable[bytes]) -> Iterator[bytes]:
    chunks = iter(byte_chunks)
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(_BOM) or not _BOM.startswith(head):
            yield head.removeprefix(_BOM)
            break
    else:
        yield head
    # Not "yield from", which would close the source with us: the rest of the body is drained from it.
    for chunk in chunks:
        yield chunk


class _Blocks:
    """Whole events, split here where they are plain; else what sseclient reads: LF line ends, valid UTF-8."""

    def __init__(self, byte_chunks: Iterable[bytes], tail: bytearray, stray: bytearray) -> None:
        self._byte_chunks = byte_chunks
        self._tail = tail
        self._stray = stray
        self._fields = bytearray()
        """What counts of an event that is still open, as far as it was looked at."""
        self._lines = 0
        self.last_id = ""
        """The id that persists; written into every event, a long one would cost each of them its length."""
        self.data: str | None = None
        """The data of an event that has several lines of it, which sseclient would join in quadratic time."""

    def batches(self) -> Batches:
        """Give the events of each read that brought the end of one."""
        pending: list[bytes] = []
        size, bound = 0, _COMPACT
        for piece in _with_lf(_without_bom(self._byte_chunks)):
            cut = piece.rfind(b"\n\n") + 2
            if cut < 2:  # a blank line may be split
                cut = int(bool(pending) and piece.startswith(b"\n") and pending[-1].endswith(b"\n"))
            if not cut:
                pending.append(piece)
                size += len(piece)
                if size > bound:
                    pending = [self._compacted(b"".join(pending))]
                    size = len(pending[0])
                    bound = max(_COMPACT, 2 * size)  # doubling keeps the joins linear
                continue
            size, bound = len(piece) - cut, _COMPACT
            if pending or self._fields:
                pending.append(piece[:cut])
                yield self._split(self._whole(pending))
            else:
                yield self._split(piece[:cut])
            if size:
                pending.append(piece[cut:])
        self._tail[:] = b"".join([self._fields, *pending])

    def _whole(self, pending: list[bytes]) -> bytes:
        """Give the events that end with *pending*, and forget what they were made of: the copies would add up."""
        whole = b"".join([self._fields, *pending] if self._fields else pending)
        pending.clear()
        self._fields.clear()
        self._lines = 0
        return whole

    def _compacted(self, pending: bytes) -> bytes:
        """Keep the fields of an event still open, drop its comments, and give the line in progress with its LF."""
        lines, end, last = pending.rpartition(b"\n")
        if len(last) > MAX_LINE:
            raise _too_long(MAX_LINE)
        if _has_line(lines, _FIELDS):
            kept = _fields(lines)
            self._fields += b"\n" * bool(self._lines and kept) + b"\n".join(kept)
            self._lines += len(kept)
            _check(len(self._fields) - self._lines, self._lines)
        return end + last

    def _split(self, whole: bytes) -> Iterable[Event]:
        """Take *whole*, which ends in a blank line, apart as the specification does."""
        if len(whole) <= _COMPACT:
            try:
                text = whole.decode()
            except UnicodeDecodeError:
                return self._parsed(self._mend(whole))
            events = self._plain(text)
            if events is not None:
                return events
        return self._parsed(self._blocks(whole))

    def _plain(self, text: str) -> list[Event] | None:
        """Give the events of *text*, where each is one data line, or a name and one data line; None where not all are.

        The lines are counted first: so many of them and no more mean that there is nothing else.
        """
        lines, last_id = text.count("\n"), self.last_id
        if text.startswith("data: ") and lines == 2 * text.count("\n\ndata: ") + 2:
            return [_new(Event, ("message", data, last_id, None)) for data in text[6:-2].split("\n\ndata: ")]
        if text.startswith("event: ") and lines == 3 * len(named := _NAMED.findall(text)):
            return [_new(Event, (name, data, last_id, None)) for name, data in named]
        return None

    def _parsed(self, blocks: Iterator[bytes]) -> Iterator[Event]:
        for event in _Client(blocks).events():
            retry = None if event.retry is None else int(event.retry)
            data = event.data
            if self.data is not None:
                data, self.data = self.data, None
            yield Event(event.event, data, self.last_id, retry)

    def _blocks(self, whole: bytes) -> Iterator[bytes]:
        """Give what sseclient reads of *whole*, event by event."""
        if len(whole) > _COMPACT:
            return self._mend(whole)
        if not _has_line(whole, (b"data",)):
            return self._without_data(whole)
        if whole.count(b"\n") > MAX_LINES or _has_line(whole, (b"id", b"retry", *_JSON)):
            return self._mend(whole)
        return iter([block for block in whole.split(b"\n\n") if b"data" in block])

    def _without_data(self, whole: bytes) -> Iterator[bytes]:
        """Pass over what dispatches nothing: comments and blank lines without end take next to no time."""
        if _has_line(whole, _JSON) or (whole.count(b"\n") > MAX_LINES and _has_line(whole, _FIELDS)):
            return self._mend(whole)
        if _has_line(whole, (b"id",)):
            ids = (line[3:] for line in reversed(whole.split(b"\n")) if line.partition(b":")[0] == b"id")
            last = next((each for each in ids if b"\0" not in each), None)
            if last is not None:
                self.last_id = last.removeprefix(b" ").decode(errors="replace")
        return iter(())

    def _mend(self, whole: bytes) -> Iterator[bytes]:
        blocks = whole.split(b"\n\n")[::-1]
        del whole  # of a large event, each copy counts
        while blocks:
            if event := self._mended(blocks.pop()):
                yield event

    def _mended(self, block: bytes) -> bytes:
        """Give one event with only the lines that count; nothing of one without data, which is not dispatched."""
        if block.lstrip(b"\n").startswith(_JSON) and len(self._stray) + len(block) < MAX_STRAY:
            self._stray += block + b"\n\n"
        kept, data = [], []
        for line in _fields(block):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"id":
                if b"\0" not in value:
                    self.last_id = value.decode(errors="replace")
            elif field != b"retry" or (value.isdigit() and len(value) < 10):
                kept.append(line)
        if not data:
            return b""
        if len(data) > 1:
            self.data = b"\n".join(data).decode(errors="replace")
            data = [b"in self.data"]
        text = b"\n".join([*kept, b"data: " + data[0]]) + b"\n\n"
        return text if _is_utf8(text) else text.decode(errors="replace").encode()


def _has_line(text: bytes, beginnings: tuple[bytes, ...]) -> bool:
    """Tell whether a line of *text* begins with one of *beginnings*."""
    return text.startswith(beginnings) or any(each in text and b"\n" + each in text for each in beginnings)


def _fields(block: bytes) -> list[bytes]:
    """Give the lines of *block* that are fields of an event, without comments and unknown names.

    Raises:
        LimitExceeded: there are too many of them, or they are too long.
    """
    kept = [line for line in block.split(b"\n") if line.partition(b":")[0] in _FIELDS]
    _check(sum(map(len, kept)), len(kept))
    if max(map(len, kept), default=0) > MAX_LINE:
        raise _too_long(MAX_LINE)
    return kept


def _check(size: int, lines: int) -> None:
    """Refuse an event that is too large, or has too many lines."""
    if size > MAX_EVENT:
        raise LimitExceeded(f"An event is larger than {MAX_EVENT >> 20} MiB.", phase="decode")
    if lines > MAX_LINES:
        raise LimitExceeded(f"An event has more than {MAX_LINES} lines.", phase="decode")


def _too_long(most: int) -> LimitExceeded:
    return LimitExceeded(f"A line is longer than {most >> 20} MiB.", phase="decode")


def _with_lf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """End every line by LF: CR ends it at once, an LF after it is swallowed even in the next piece."""
    after_cr = False
    for piece in pieces:
        if after_cr and piece:
            after_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            after_cr = piece.endswith(b"\r")
            piece = (
                b"\n\n" if piece < b" " and _is_blank(piece) else piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            )
        elif piece < b" " and _is_blank(piece):
            piece = b"\n\n"
        if piece:
            yield piece


def _is_blank(piece: bytes) -> bool:
    """Tell whether *piece* is nothing but line ends, and so many that it says no more than a blank line."""
    return len(piece) > 4 and not piece.translate(None, b"\r\n")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def tail_data(tail: bytes) -> str:
    """Give the data an unterminated *tail* would have, had its blank line come; "" where it has none.

    A tail without any ``data:`` line that looks like a JSON object is given as it is: some servers
    send a bare error body inside a stream.
    """
    text = tail.decode(errors="replace")
    values = [line[5:].removeprefix(" ") for line in text.split("\n") if line.startswith("data:")]
    if values:
        return "\n".join(values).strip()
    text = text.strip()
    return text if text.startswith("{") else ""
