"""A protocol and a number of chunks in, the bytes of that stream out, always the same ones."""

from __future__ import annotations

import functools
import random
import re

from benchmarks.events import MAKE
from benchmarks.protocols import PROTOCOLS

LARGEST = 200_000
TEXT = """The river kept its own count of the evenings, because nobody in the three houses would.

- **Zoë** wrote “light” and “slowly” on the wall; 42 letters (at most) came back.
- 東京 answered: \\(x^2\\), a "quoted" word, and 🙂, which is more than one expects of a Tuesday.
"""
TOKENS = tuple(re.findall(r" ?\w+|\s+|[^\w\s]+", TEXT))
HEAD = (
    "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: {}\r\n"
    "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\n"
    "openai-processing-ms: 120\r\nx-request-id: req_bench\r\nX-Content-Type-Options: nosniff\r\n\r\n"
)
TAIL = b"0\r\n\r\n"
STAMP = b"@" * 19
"""Stands where the server writes the time, in as many digits."""


@functools.lru_cache(maxsize=8)
def texts(chunks: int) -> tuple[str, ...]:
    """Give the text of each text chunk, the same for every protocol."""
    chance = random.Random(chunks)
    return tuple(chance.choice(TOKENS) for _ in range(chunks))


def head(protocol: str) -> bytes:
    """Give the status line and headers."""
    return HEAD.format(PROTOCOLS[protocol].content_type).encode()


@functools.lru_cache(maxsize=16)
def pieces(chunks: int, protocol: str, *, stamped: bool = False) -> tuple[bytes, ...]:
    """Give the body as HTTP chunks, one to an event; *stamped*, each text is :data:`STAMP`."""
    said = (STAMP.decode(),) * chunks if stamped else texts(chunks)
    events = MAKE[protocol](said, random.Random(chunks + 1))
    return tuple(b"%x\r\n%b\r\n" % (len(event), event) for event in events)


@functools.lru_cache(maxsize=16)
def response(chunks: int, protocol: str) -> bytes:
    """Give the whole HTTP response of :func:`pieces`, head and all."""
    return b"".join((head(protocol), *pieces(chunks, protocol), TAIL))
