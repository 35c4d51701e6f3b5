"""A urllib3 response in, its body's bytes out, each as soon as it arrives.

urllib3's ``stream()`` hands out nothing of a close-delimited or Content-Length body before its end,
and ``read1()`` pays for each HTTP chunk what a whole event costs. A plain chunked body, which is what
every provider sends, is therefore taken apart here, many chunks to a read (RFC 9112 section 7.1).
"""

from __future__ import annotations

import http.client
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

from promptstream.errors import LimitExceeded
from promptstream.wire.watch import Watch

MAX_BODY = 256 << 20
"""Decoded bytes of one answer, comments and all: events may come for ever without any clock running out."""
MAX_QUIET = 24 << 20
"""Bytes of it in a row, keep-alives and all, of which the loop gets no chunk."""
MAX_SILENT = 40_000
"""Events in a row of which the loop gets none, such as thoughts not shown: what they leave behind is little."""
READ = 16 << 10
"""Bytes to a read: larger ones double the CPU of a paced stream."""
_LITTLE = 4 << 10
"""Bytes to a read while less comes: what a read reserves and gives back leaves holes between those of other streams."""
_MAX_SIZE_LINE = 8 << 10
_MAX_TRAILERS = 64 << 10
_MAX_SIZES = 1024
_MAX_HEADS = 100
_MAX_FIELD = 65536
_MAX_FIELDS = 100
_PLAIN_FIELDS = re.compile(rb"(?:[\w!#$%&'*+.^`|~-]+:[\t\x20-\x7e]*\r\n)+\r\n", re.ASCII)
_FIELD = re.compile(r"([^:\r\n]+):[ \t]*([^\r\n]*)\r\n")


def iter_body(raw: Any) -> Iterator[bytes]:
    """Yield a body's bytes, decoded, in any framing.

    *raw* is a urllib3 response that has not been read from.

    Raises, while iterating:
        HTTPException, urllib3's HTTPError, OSError: the body was cut or malformed.
    """
    source = getattr(raw, "_fp", None)
    fp: Any = getattr(source, "fp", None)
    plain = raw.headers.get("content-encoding", "identity").lower() in ("", "identity")
    if isinstance(source, http.client.HTTPResponse) and source.chunked and plain and hasattr(fp, "read1"):
        yield from dechunk(_sparing(fp.read1))
        source.close()  # only the reader's end: the connection stays open for the pool
    else:
        while piece := raw.read1(READ, decode_content=True):
            yield piece


def _sparing(read: Callable[[int], bytes]) -> Callable[[], bytes]:
    """Ask *read* for :data:`READ` bytes where the last ones were many, and for a few where they were few."""
    size = _LITTLE

    def read_some() -> bytes:
        nonlocal size
        piece = read(size)
        size = READ if len(piece) >= _LITTLE else _LITTLE
        return piece

    return read_some


class BoundedResponse(http.client.HTTPResponse):
    """Read a response's head, which http.client bounds but for the interim answers before it."""

    fp: Any = None
    """Asked for by the finaliser, also where there was no memory or no descriptor to make it of."""
    _heads = 0

    def _read_status(self) -> tuple[str, int, str]:
        self._heads += 1
        if self._heads > _MAX_HEADS:
            raise http.client.HTTPException("interim answers come without end.")
        status: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
        return status

    def begin(self) -> None:
        """Read the head as http.client does, its fields without the parser of mail, which takes a seventh of a call."""
        version, status, reason = self._read_status()
        while status == http.client.CONTINUE:
            read_fields(self.fp)
            version, status, reason = self._read_status()
        self.code = self.status = status
        self.reason = reason.strip()
        if not version.startswith("HTTP/1.") and version != "HTTP/0.9":
            raise http.client.UnknownProtocol(version)
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self.headers = self.msg = read_fields(self.fp)
        self.chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.will_close = self._check_close()  # type: ignore[attr-defined]
        self.length = None if self.chunked else _length(self.headers.get("content-length"))
        if status in (http.client.NO_CONTENT, http.client.NOT_MODIFIED) or status < 200:
            self.length = 0  # nobody here asks by HEAD
        if not self.chunked and self.length is None:
            self.will_close = True


def read_fields(fp: Any) -> http.client.HTTPMessage:
    """Read a head's fields up to the blank line; what is not plain is left to the standard library, bounds and all.

    Raises:
        HTTPException: a line is longer than 64 KiB, or there are more than 100.
    """
    lines: list[bytes] = []
    while True:
        line = fp.readline(_MAX_FIELD + 1)
        lines.append(line)
        if line in (b"\r\n", b"\n", b"") or len(line) > _MAX_FIELD or len(lines) > _MAX_FIELDS:
            break
    head = b"".join(lines)
    if not _PLAIN_FIELDS.fullmatch(head):
        return http.client.parse_headers(io.BytesIO(head))
    message = http.client.HTTPMessage()
    for name, value in _FIELD.findall(head.decode("ascii")):
        message.set_raw(name, value)
    return message


def _length(said: str | None) -> int | None:
    try:
        length = int(said or "")
    except ValueError:
        return None
    return length if length >= 0 else None


def bounded(pieces: Iterator[bytes], watch: Watch) -> Iterator[bytes]:
    """Pass *pieces* of a body on, as long as they are not too many, nor too many for what comes of them.

    Raises, while iterating:
        LimitExceeded: they are more than 256 MiB, or 24 MiB or 40,000 events in a row brought the loop nothing.
    """
    left, quiet, heard = MAX_BODY, 0, 0
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise LimitExceeded(f"The answer is larger than {MAX_BODY >> 20} MiB.", phase="body")
        if watch.heard > heard:
            quiet, heard = 0, watch.heard
        quiet += len(piece)
        if quiet > MAX_QUIET:
            raise LimitExceeded(f"{MAX_QUIET >> 20} MiB came that bring no text.", phase="body")
        if watch.events - watch.heard > MAX_SILENT:
            raise LimitExceeded(f"{MAX_SILENT} events came that bring no text.", phase="body")
        yield piece
        if watch.drained is not None:
            watch.all_handed_out()


def dechunk(read: Callable[[], bytes]) -> Iterator[bytes]:
    """Take the chunked transfer coding off the bytes that *read* gives; ``b""`` from it is the end.

    Raises, while iterating:
        HTTPException: the bytes ended before the last chunk, or are not chunks.
    """
    buffer = b""
    malformed = ""
    left = 0  # bytes of a chunk that came in part, its CRLF included
    sizes: dict[bytes, int] = {}  # length lines repeat
    while piece := read():
        buffer = buffer + piece if buffer else piece
        at, end = 0, len(buffer)
        found: list[bytes] = []
        while at < end:
            if not left:
                line_end = buffer.find(b"\n", at)
                if line_end < 0:
                    malformed = "a chunk's length line is endless." if end - at > _MAX_SIZE_LINE else ""
                    break
                line = buffer[at:line_end]
                size = sizes.get(line)
                if size is None:
                    size = _size(line)
                    if size is None:
                        malformed = f"a chunk's length line reads {line[:20]!r}."
                        break
                    if len(sizes) > _MAX_SIZES:
                        sizes.clear()
                    sizes[line] = size
                at = line_end + 1
                if size == 0:
                    if found:
                        yield b"".join(found)
                    _read_trailers(buffer[at:], read)
                    return
                left = size + 2
                if at + left <= end and buffer[at + size] == 13 and buffer[at + size + 1] == 10:
                    found.append(buffer[at : at + size])  # the whole chunk is here, as it mostly is
                    at += left
                    left = 0
                    continue
            taken = min(left - 2, end - at)
            if taken > 0:
                found.append(buffer[at : at + taken])
                at += taken
                left -= taken
            if left <= 2:  # the CRLF after a chunk's data
                if end - at < left:
                    break
                if buffer[at : at + left] != b"\r\n":
                    malformed = "a chunk is longer than its length line says."
                    break
                at += left
                left = 0
        buffer = buffer[at:]
        if found:
            yield found[0] if len(found) == 1 else b"".join(found)
        if malformed:  # only now: what came whole before it counts
            raise http.client.HTTPException(malformed)
    raise http.client.HTTPException("the body ended before its last chunk.")


def _size(line: bytes) -> int | None:
    digits = line.partition(b";")[0].strip()
    if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
        return None
    return int(digits, 16)


def _read_trailers(buffer: bytes, read: Callable[[], bytes]) -> None:
    """Read to the blank line that ends the message, so that the connection can serve the next one."""
    while not buffer.startswith((b"\r\n", b"\n")) and b"\r\n\r\n" not in buffer and b"\n\n" not in buffer:
        piece = read()
        if not piece or len(buffer) > _MAX_TRAILERS:
            raise http.client.HTTPException("the body ended inside its trailers.")
        buffer += piece
