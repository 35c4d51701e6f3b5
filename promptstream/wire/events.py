"""Byte chunks in, events out: server-sent events (WHATWG HTML 9.2.6) and newline-delimited JSON.

sseclient-py parses the fields. A normaliser in front of it hands it whole, valid, bounded events,
because it would dispatch a cut event at the end, merge events over mixed line ends, lose the first
one to a byte order mark, die of invalid UTF-8, and take quadratic time for long lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import sseclient

from promptstream.errors import LimitExceeded

MAX_LINE = 1 << 20
MAX_EVENT = 4 << 20
MAX_LINES = 10_000
MAX_STRAY = 64 << 10
_COMPACT = 64 << 10
_BOM = b"\xef\xbb\xbf"
_FIELDS = {b"data", b"event", b"id", b"retry"}
_JSON = (b"{", b"[")


class Event(NamedTuple):
    """One event, dispatched because its blank line (or its line, in NDJSON) came whole."""

    event: str
    data: str
    id: str = ""
    """The last event id, which persists over events."""
    retry: int | None = None
    """Milliseconds, where this event set them."""


class EventStream(Iterator[Event]):
    """Iterate over events; ``tail`` holds the bytes left unterminated at the end."""

    # The generator below shares tail and stray, not the stream: a cycle would outlive an abandoned loop.
    def __init__(self, events: Iterator[Event], tail: bytearray, stray: bytearray | None = None) -> None:
        self._events = events
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
        return [text for block in blocks if len(block) <= MAX_STRAY and (text := _json_text(block))]

    def through(self, step: Callable[[Iterator[Event]], Iterator[Event]]) -> EventStream:
        """Give the same stream with every event passed through *step*."""
        return EventStream(step(self._events), self._tail, self._stray)


def iter_sse(byte_chunks: Iterable[bytes]) -> EventStream:
    """Parse server-sent events; pure, takes any iterable of bytes, cut anywhere.

    Raises, while iterating:
        LimitExceeded: a line over 1 MiB, an event over 4 MiB or 10,000 lines.
    """
    tail, stray = bytearray(), bytearray()
    return EventStream(_parse(iter(_Blocks(byte_chunks, tail, stray))), tail, stray)


def iter_ndjson(byte_chunks: Iterable[bytes]) -> EventStream:
    """Parse newline-delimited JSON into events of one line each; blank lines are skipped.

    Raises, while iterating:
        LimitExceeded: a line over 4 MiB.
    """
    tail = bytearray()
    return EventStream(_lines(byte_chunks, tail), tail)


def _lines(byte_chunks: Iterable[bytes], tail: bytearray) -> Iterator[Event]:
    pending: list[bytes] = []
    size = 0
    for chunk in _without_bom(byte_chunks):
        head, *whole = chunk.split(b"\n")
        pending.append(head)
        size += len(head)
        for following in whole:
            if size > MAX_EVENT:
                break
            if line := b"".join(pending).strip():
                yield Event("message", line.decode(errors="replace"))
            pending, size = [following], len(following)
        if size > MAX_EVENT:
            raise LimitExceeded(f"A line is longer than {MAX_EVENT >> 20} MiB.", phase="decode")
    tail[:] = b"".join(pending).strip()


class _Client(sseclient.SSEClient):
    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__(blocks)
        self._blocks = blocks

    def _read(self) -> Iterator[bytes]:
        """Take each event as the normaliser gives it, instead of searching for its end line by line."""
        return self._blocks


def _parse(blocks: Iterator[bytes]) -> Iterator[Event]:
    new = tuple.__new__  # NamedTuple's own constructor costs as much as a Chunk
    for event in _Client(blocks).events():
        retry = None if event.retry is None else int(event.retry)
        yield new(Event, (event.event, event.data, event.id or "", retry))


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
    """The byte source sseclient reads: one whole event after the other, with LF line ends and valid UTF-8."""

    def __init__(self, byte_chunks: Iterable[bytes], tail: bytearray, stray: bytearray) -> None:
        self._byte_chunks = byte_chunks
        self._tail = tail
        self._stray = stray
        self._last_id = b""

    def __iter__(self) -> Iterator[bytes]:
        pending: list[bytes] = []
        size, bound = 0, _COMPACT
        for piece in _with_lf(_without_bom(self._byte_chunks)):
            # A blank line may be split: the piece is searched together with the byte before it.
            before = pending[-1][-1:] if pending else b""
            cut = (before + piece).rfind(b"\n\n")
            if cut < 0:
                pending.append(piece)
                size += len(piece)
                if size > bound:
                    pending = [_compacted(b"".join(pending))]
                    size = len(pending[0])
                    bound = max(_COMPACT, 2 * size)  # doubling keeps the joins linear
                continue
            cut += 2 - len(before)
            pending.append(piece[:cut])
            whole = b"".join(pending)
            pending = [piece[cut:]] if cut < len(piece) else []
            size, bound = len(piece) - cut, _COMPACT
            blocks = filter(None, whole.split(b"\n\n"))
            yield from blocks if self._is_plain(whole) else map(self._mended, blocks)
        self._tail[:] = b"".join(pending)

    def _is_plain(self, whole: bytes) -> bool:
        """Tell whether sseclient reads *whole* just as the specification does."""
        if self._last_id or len(whole) > MAX_LINE or not (whole.isascii() or _is_utf8(whole)):
            return False
        lines = whole.count(b"\n")
        if whole.startswith(b"data:") and lines == 2 * whole.count(b"\n\ndata:") + 2:
            return True  # nothing but events of one data line, as most providers send
        if whole.startswith(b"event:") and lines == 3 * whole.count(b"\n\nevent:") + 3 == 3 * whole.count(b"\ndata:"):
            return True  # nothing but events of a name and one data line, as the others send
        if lines > MAX_LINES or whole.startswith((b"id", b"retry", *_JSON)):
            return False
        signs = b"\nid" in whole or b"\nretry" in whole
        return not (signs or b"\n{" in whole or b"\n[" in whole)

    def _mended(self, block: bytes) -> bytes:
        """Give one event with only the lines that count, the persistent id written out."""
        if block.lstrip(b"\n").startswith(_JSON) and len(self._stray) + len(block) < MAX_STRAY:
            self._stray += block + b"\n\n"
        kept = []
        for line in _fields(block.split(b"\n")):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"id":
                if b"\0" not in value:
                    self._last_id = value
            elif field != b"retry" or (value.isdigit() and len(value) < 10):
                kept.append(line)
        if self._last_id:
            # With the space: an id may itself begin with one.
            kept.append(b"id: " + self._last_id)
        text = b"\n".join(kept) + b"\n\n"
        return text if _is_utf8(text) else text.decode(errors="replace").encode()


def _fields(lines: list[bytes]) -> list[bytes]:
    """Give the lines that are fields of an event, without comments and unknown names.

    Raises:
        LimitExceeded: there are too many of them, or they are too long.
    """
    kept = [line for line in lines if line.partition(b":")[0] in _FIELDS]
    if sum(map(len, kept)) > MAX_EVENT:
        raise LimitExceeded(f"An event is larger than {MAX_EVENT >> 20} MiB.", phase="decode")
    if len(kept) > MAX_LINES:
        raise LimitExceeded(f"An event has more than {MAX_LINES} lines.", phase="decode")
    if any(len(line) > MAX_LINE for line in kept):
        raise LimitExceeded(f"A line is longer than {MAX_LINE >> 20} MiB.", phase="decode")
    return kept


def _compacted(pending: bytes) -> bytes:
    """Drop the comments of an event still open, so that keep-alives without end take no memory."""
    *lines, last = pending.split(b"\n")
    if len(last) > MAX_LINE:
        raise LimitExceeded(f"A line is longer than {MAX_LINE >> 20} MiB.", phase="decode")
    return b"\n".join([*_fields(lines), last])


def _with_lf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """End every line by LF: CR ends it at once, an LF after it is swallowed even in the next piece."""
    after_cr = False
    for piece in pieces:
        if after_cr and piece:
            after_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if piece:
            yield piece


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _json_text(block: bytes) -> str:
    text = block.strip()
    return text.decode(errors="replace") if text.startswith(_JSON) else ""


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
