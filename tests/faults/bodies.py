"""The faults of the bytes of a body, rows 37 to 42: too many, packed, no UTF-8, halves of characters, odd line ends."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import attrs
from dialects import TEXT as WHOLE
from dialects import Dialect
from faults.core import Fault, Outcome, Step
from faults.payload import IGNORED
from faults.says import PART, body, opened, part, say, signalled, streamed, top
from faults.shapes import amid, delta, event, filled
from server import LAST_CHUNK, Conn, Request, bomb, http_chunk

from promptstream.errors import LimitExceeded, ProtocolError, Truncated

MIB = 1 << 20
LINES = {"ollama": "an event is one line here"}
TOO_LARGE = Outcome(LimitExceeded, text=PART, phase="decode", retryable=False)
GOOD = Outcome(text=WHOLE, finish="stop")
BROKEN = Outcome(Truncated, text="", phase="body", retryable=False)


def closed(*pieces: bytes) -> Step:
    """Make a step that sends *pieces*, and ends the body with the connection."""

    def step(conn: Conn, request: Request) -> None:
        conn.send(*pieces)
        conn.end()

    return step


def flooded(ahead: bytes, piece: bytes) -> Step:
    """Make a step that sends *ahead*, and then *piece* until the client hangs up."""

    def step(conn: Conn, request: Request) -> None:
        conn.send(ahead)
        conn.flood(piece)
        conn.wait_for_hang_up()

    return step


# Row 37: too large


def _endless(dialect: Dialect) -> Step:
    """Begin a delta, and never end it."""
    return flooded(
        opened(dialect) + http_chunk(part(dialect) + event(dialect, '{"a": "')[:-2]), http_chunk(b"x" * 65_536)
    )


def _lines_of(dialect: Dialect, line: bytes) -> Step:
    """Send an event of *line* after line without end."""
    return flooded(opened(dialect) + http_chunk(part(dialect)), http_chunk(line * (65_536 // len(line))))


def _sized(dialect: Dialect, size: int) -> bytes:
    """Give a delta of text in a line of *size* bytes."""
    bare = max(map(len, delta(dialect, '""').splitlines()))
    return delta(dialect, f'"{"x" * (size - bare)}"')


def _longest(dialect: Dialect) -> int:
    return 4 * MIB if dialect.framing == "ndjson" else MIB


def _filler(dialect: Dialect) -> bytes:
    """Give 6 MiB of comments, or of blank lines, that keep the connection alive."""
    return (
        b"\n" * 6 * MIB
        if dialect.framing == "ndjson"
        else (b": keep-alive " + b"x" * 1_000 + b"\n\n") * (6 * MIB // 1_015)
    )


LARGE = (
    Fault(37, "a line without end", step=_endless, outcome=attrs.evolve(TOO_LARGE, says="A line is longer than")),
    Fault(
        37,
        "an event of long lines without end",
        step=lambda dialect: _lines_of(dialect, b"data: " + b"x" * 65_529 + b"\n"),
        outcome=attrs.evolve(TOO_LARGE, says="An event is larger than 4 MiB"),
        per=LINES,
    ),
    Fault(
        37,
        "an event of short lines without end",
        step=lambda dialect: _lines_of(dialect, b"data:x\n"),
        outcome=attrs.evolve(TOO_LARGE, says="more than 10000 lines"),
        per=LINES,
    ),
    Fault(
        37,
        "an event of 10,001 lines",
        step=amid(lambda dialect: b"data:\n" * 10_001 + b"\n"),
        outcome=attrs.evolve(TOO_LARGE, says="more than 10000 lines"),
        per=LINES,
    ),
    Fault(
        37,
        "a line of one byte too many",
        step=amid(lambda dialect: _sized(dialect, _longest(dialect) + 1)),
        outcome=attrs.evolve(TOO_LARGE, says="A line is longer than"),
        journaled=False,
    ),
    Fault(
        37,
        "a line as long as they come",
        step=amid(lambda dialect: _sized(dialect, _longest(dialect))),
        outcome=Outcome(finish="stop"),
        also=lambda scene: _is_long(scene.yielded),
        journaled=False,
    ),
    Fault(
        37,
        "6 MiB of comments, and then the end",
        step=amid(_filler),
        outcome=IGNORED,
        limit=0.3,
        journaled=False,
    ),
    Fault(
        37,
        "a comment of 6 MiB in one line",
        step=amid(lambda dialect: b": " + b"x" * 6 * MIB + b"\n\n"),
        outcome=attrs.evolve(TOO_LARGE, says="A line is longer than"),
        per={"ollama": "a line has no comments"},
        journaled=False,
    ),
)


def _is_long(text: str) -> None:
    assert text == PART + "x" * (len(text) - len(PART)), "another text"
    assert len(text) > MIB - 1_000, f"{len(text)} characters"


# Row 38 and 42: packed


@cache
def _bomb() -> bytes:
    return bomb(256 * MIB)


def _packed(coding: str, pack: Callable[[bytes], bytes]) -> Callable[[Dialect], Step]:
    """Make a good answer that *pack* packed, called *coding*."""
    return lambda dialect: closed(top(dialect, Content_Encoding=coding, Connection="close"), pack(body(dialect)))


def _spoilt(at: int) -> Callable[[bytes], bytes]:
    """Pack, and turn all bits of the byte at *at*."""

    def pack(data: bytes) -> bytes:
        packed = bytearray(gzip.compress(data))
        packed[at] ^= 255
        return bytes(packed)

    return pack


def _spoilt_after(dialect: Dialect, ahead: bytes) -> Step:
    """Make *ahead* come packed in a piece of its own, then bytes that are no packing."""
    squeeze = zlib.compressobj(wbits=31)
    packed = squeeze.compress(ahead) + squeeze.flush(zlib.Z_SYNC_FLUSH)

    def step(conn: Conn, request: Request) -> None:
        conn.send(opened(dialect, Content_Encoding="gzip"), http_chunk(packed))
        conn.gone.wait(0.02)  # it is read by then: what zlib reads together with an error is lost
        conn.send(http_chunk(b"\xff" * 100) + LAST_CHUNK)

    return step


PACKED = (
    *(
        Fault(
            38,
            f"256 MiB of zeros, packed by {coding}",
            step=lambda dialect, coding=coding, pack=pack: closed(
                top(dialect, Content_Encoding=coding, Connection="close"), pack()
            ),
            outcome=attrs.evolve(TOO_LARGE, text="", says="A line is longer than"),
            limit=0.5,
            journaled=False,
        )
        for coding, pack in {"gzip": _bomb, "gzip, gzip": lambda: gzip.compress(_bomb())}.items()
    ),
    *(
        Fault(38, f"an answer packed by {name}, unasked", step=_packed(coding, pack), outcome=GOOD, journaled=False)
        for name, coding, pack in (
            ("gzip", "gzip", gzip.compress),
            ("deflate", "deflate", zlib.compress),
            ("gzip twice", "gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
            ("gzip, with rubbish after it", "gzip", lambda data: gzip.compress(data) + b"rubbish"),
            ("gzip, in two members", "gzip", lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:])),
            ("gzip, without its trailer", "gzip", lambda data: gzip.compress(data)[:-8]),
        )
    ),
    *(
        Fault(42, f"gzip {name}", step=_packed("gzip", pack), outcome=BROKEN, journaled=False)
        for name, pack in {
            "of a spoilt head": _spoilt(0),
            "spoilt near its begin": _spoilt(12),
            "spoilt in the middle": _spoilt(60),
            "of another sum": _spoilt(-5),
            "of another length": _spoilt(-1),
            "that is plain text": bytes,
            "that is none, but a packing that nobody knows": lambda data: b"(\xb5/\xfd" + data[::-1],
        }.items()
    ),
    Fault(
        42,
        "gzip cut in its head",
        step=_packed("gzip", lambda data: gzip.compress(data)[:5]),
        outcome=Outcome(ProtocolError, text="", phase="body", says="holds no event"),
    ),
    Fault(
        42,
        "gzip spoilt after two deltas",
        step=lambda dialect: _spoilt_after(dialect, part(dialect)),
        outcome=attrs.evolve(BROKEN, text=PART),
        limit=0.02,
        journaled=False,
    ),
    Fault(
        42,
        "gzip spoilt after the finish signal",
        step=lambda dialect: _spoilt_after(dialect, signalled(dialect)),
        outcome=attrs.evolve(GOOD, warns="After the finish signal"),
        per={"responses": {"warns": None}, "ollama": {"warns": None}},
        limit=0.02,
        journaled=False,
    ),
)


# Rows 39 to 41: characters and line ends

HALVES = '"\\ud83d"', '"\\ude00"'
INVALID = {
    "a lone byte": (b"\xff", "\ufffd"),
    "a cut character": (b"\xe2\x82", "\ufffd"),
    "an overlong slash": (b"\xc0\xaf", "\ufffd\ufffd"),
    "a half of a pair": (b"\xed\xa0\xbd", "\ufffd\ufffd\ufffd"),
    "a code point beyond all": (b"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"),
    "Latin-1": (b"caf\xe9 ", "caf\ufffd "),
}


def _with_bytes(dialect: Dialect, data: bytes) -> bytes:
    return dialect.delta("§").replace("§".encode(), data)


def _bytewise(dialect: Dialect, data: bytes) -> Step:
    """Send each byte of a body in an HTTP chunk of its own."""
    return say(opened(dialect) + b"".join(http_chunk(bytes((byte,))) for byte in data) + LAST_CHUNK)


CHARACTERS = (
    *(
        Fault(
            39,
            f"no UTF-8: {name}",
            step=amid(lambda dialect, data=data: _with_bytes(dialect, data)),
            outcome=attrs.evolve(IGNORED, text=PART + shown),
        )
        for name, (data, shown) in INVALID.items()
    ),
    Fault(
        39,
        "no UTF-8 outside the text",
        step=amid(lambda dialect: event(dialect, '{"novelty": "§"}').replace("§".encode(), b"\xff\xfe")),
        outcome=IGNORED,
    ),
    Fault(
        39,
        "characters of 1 to 4 bytes, byte by byte",
        step=lambda dialect: _bytewise(dialect, b"".join(filled(dialect, dialect.delta(" é€😀\u2028\x85")))),
        outcome=attrs.evolve(IGNORED, text=f"{PART} é€😀\u2028\x85"),
        journaled=False,
    ),
    Fault(
        40,
        "a pair split over two deltas",
        step=amid(lambda dialect: [delta(dialect, half) for half in HALVES]),
        outcome=attrs.evolve(IGNORED, text=f"{PART}😀"),
        journaled=False,
    ),
    Fault(
        40,
        "a pair split over two deltas, with an event that says nothing between",
        step=amid(lambda dialect: [delta(dialect, HALVES[0]), event(dialect, "{}"), delta(dialect, HALVES[1])]),
        outcome=attrs.evolve(IGNORED, text=f"{PART}😀"),
        journaled=False,
    ),
    *(
        Fault(
            40,
            f"{name} half of a pair",
            step=amid(lambda dialect, text=text: [delta(dialect, f'" {text} "'), delta(dialect, '"more"')]),
            outcome=attrs.evolve(IGNORED, text=f"{PART} \ufffd more"),
            journaled=False,
        )
        for name, text in {"the first": "\\ud83d", "the second": "\\ude00"}.items()
    ),
    Fault(
        40,
        "halves in the wrong order",
        step=amid(lambda dialect: [delta(dialect, half) for half in reversed(HALVES)]),
        outcome=attrs.evolve(IGNORED, text=f"{PART}\ufffd\ufffd"),
        journaled=False,
    ),
    Fault(
        40,
        "half of a pair at the end of the text",
        step=amid(lambda dialect: delta(dialect, HALVES[0])),
        outcome=attrs.evolve(IGNORED, text=f"{PART}\ufffd"),
        journaled=False,
    ),
    Fault(
        40,
        "half of a pair where the answer is cut",
        step=lambda dialect: say(streamed(dialect, part(dialect), delta(dialect, HALVES[0]))),
        outcome=Outcome(Truncated, text=PART, phase="body"),  # nobody knows what it was to be
        journaled=False,
    ),
)


def _lf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def _mixed(data: bytes) -> bytes:
    """End the lines in turn by CRLF, LF and CR; by LF alone where an event is a line."""
    ends, lines = (b"\r\n", b"\n", b"\r"), _lf(data).split(b"\n")
    return b"".join(line + ends[at % 3] for at, line in enumerate(lines[:-1])) + lines[-1]


ENDS: dict[str, Callable[[bytes], bytes]] = {
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "CRLF": lambda data: _lf(data).replace(b"\n", b"\r\n"),
    "LF": _lf,
    "CR": lambda data: _lf(data).replace(b"\n", b"\r"),
    "CRLF, LF and CR in turn": _mixed,
    "two blank lines between": lambda data: _lf(data).replace(b"\n\n", b"\n\n\n\n"),
    "blank lines ahead": lambda data: b"\r\n\r\n\n" + data,
    "white space at the ends": lambda data: _lf(data).replace(b"}\n", b"} \t\n"),
    "no space after the colon": lambda data: data.replace(b"data: ", b"data:"),
    "comments between": lambda data: _lf(data).replace(b"\n\n", b"\n\n: still here\n:\n\n"),
    "the last line end missing": lambda data: data.rstrip(b"\r\n"),
    "the last blank line missing": lambda data: data.rstrip(b"\r\n") + b"\n",
}
NO_LINES = {
    "CR": "a line of JSON ends by LF (ndjson.org)",
    "CRLF, LF and CR in turn": "a line of JSON ends by LF (ndjson.org)",
    "comments between": "a line has no comments",
    "no space after the colon": "a line has no fields",
}


def _ended() -> Iterator[Fault]:
    for name, change in ENDS.items():
        per: dict[str, Any] = {"ollama": NO_LINES[name]} if name in NO_LINES else {}
        yield Fault(
            41,
            f"line ends: {name}",
            step=lambda dialect, change=change: say(streamed(dialect, change(body(dialect)))),
            outcome=GOOD,
            per=per,
            journaled=False,
        )
        yield Fault(
            41,
            f"line ends, byte by byte: {name}",
            step=lambda dialect, change=change: _bytewise(dialect, change(body(dialect))),
            outcome=GOOD,
            per=per,
            journaled=False,
        )


FAULTS = (*LARGE, *PACKED, *CHARACTERS, *_ended())
