"""Random event streams and lines of JSON, cut at random, in; where promptstream is not with the standard out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise

from whatwg import interpret, lines_of

from promptstream.errors import LimitExceeded
from promptstream.wire.events import MAX_EVENT, MAX_LINE, MAX_LINES, iter_ndjson, iter_sse

BOM = b"\xef\xbb\xbf"
_ENDS = [b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n", b"\r\r", b"\n\r"]
_BROKEN = [
    *(b"\xe2\x82", b"\xac", b"\xff", b"\xed\xa0\x80", b"\xbf", b"\xc3", b"\xa9", b"\xf0\x9f", b"\x98\x80", b"\0"),
    *("é".encode(), "\u2028".encode(), "\x85".encode(), "🐌".encode(), BOM, BOM[:1], BOM[1:]),
]
_FIELDS = [
    *(b"data", b"data:", b"data: ", b"data:  y", b"data: x\n", b"data: y\n\n", b"data:\n", b"data:{}\n\n"),
    *(b"id", b"id:", b"id: ", b"id: 7\n", b"id: a\0b\n", b"id\n", b"id:  8\n", b"da", b"ta:", b"i", b"d: 3"),
    *(b"event", b"event:", b"event: ", b"event: e\n", b"event: message\ndata: z\n\n", b"event\n"),
    *(b"retry", b"retry:", b"retry: 5\n", b"retry: 5x\n", b"retry: -1\n", b"retry: 0123456789\n", b"retry:\n"),
    *(
        b": ping\n\n",
        b":\n",
        b": x",
        b"Data: n\n",
        b"date: z\n",
        b" data: n\n",
        b"unknown\n",
        b'{"error":1}\n',
        b"[]\n",
    ),
    *(
        b":",
        b" ",
        b"x",
        b"12",
        b"\xd9\xa3",
        b"data\n\n",
        b"retry: \xd9\xa3\n",
        b"id: \xe2\x82\n",
        b"data: a\rdata: b\r\n",
    ),
]
TOKENS = [*_ENDS * 4, *_FIELDS * 2, *_BROKEN]
"""What event streams are made of, some of it cut in odd places."""
LINE_TOKENS = [*_ENDS * 3, *_BROKEN, b"{", b"}", b'{"a": 1}', b" ", b"\t", b"x", b"\x0b", b'{"done": true}\n', b"\n"]
_NEAR = (4 << 10, 16 << 10, 64 << 10, 128 << 10)
"""Sizes of reads and of the compaction of an open event: long streams lie about them."""
_RARE = 2000
"""One stream in so many is a long one."""


def cut(body: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut *body* at the given places; the same place twice makes an empty piece."""
    return [body[a:b] for a, b in pairwise([0, *sorted(place % (len(body) + 1) for place in places), len(body)])]


def one_by_one(body: bytes) -> list[bytes]:
    """Cut *body* into single bytes."""
    return [body[at : at + 1] for at in range(len(body))]


def random_pieces(dice: random.Random, tokens: Sequence[bytes] = TOKENS) -> list[bytes]:
    """Make a small stream and cut it: not at all, between its tokens, anywhere, or byte by byte."""
    chance = dice.random()
    made = dice.choices(tokens, k=1 + int(chance * chance * 24))
    way = dice.random()
    if way < 0.3:
        return made
    body = b"".join(made)
    if way < 0.5:
        return [body]
    if way < 0.6:
        return one_by_one(body)
    return cut(body, [int(dice.random() * len(body)) for _ in range(1 + int(way * 4))])


def long_pieces(dice: random.Random) -> list[bytes]:
    """Make a long stream about the sizes where parsers change their ways, in pieces of about those sizes."""
    near = dice.choice(_NEAR)
    filler = dice.choice(
        [b": keep-alive\n", b"data: more\n", b"data: y\n\n", b"event: e\ndata: 1\n\n", b"other: x\r\n"]
    )
    parts = [
        *dice.choices(TOKENS, k=8),
        b"data: " + b"a" * (near + dice.randrange(-20, 20)),
        *dice.choices(TOKENS, k=4),
        filler * ((near + dice.randrange(-40, 40)) // len(filler)),
        *dice.choices(TOKENS, k=8),
    ]
    body = b"".join(parts if dice.random() < 0.7 else reversed(parts))
    size = dice.choice([len(body), near - 1, near, near + 1, 1000, 16 << 10])
    return cut(body, range(0, len(body), size))


def huge_pieces(dice: random.Random) -> list[bytes]:
    """Make a stream about the bounds of a line, of an event and of its lines."""
    line = dice.randrange(MAX_LINE - 3, MAX_LINE + 2)
    body = dice.choice(
        [
            lambda: b"data:" + b"x" * (line - 5),
            lambda: b"\n".join([b"data:" + b"x" * (line // 2)] * (2 * MAX_EVENT // MAX_LINE)),
            lambda: b"data: x\n: comment\n" * (MAX_LINES + dice.randrange(-1, 2)),
        ]
    )()
    body = b"data: before\n\n" + body + dice.choice([b"\n\n", b"\r\n\r\n"]) + b"data: after\n\n"
    return cut(body, range(0, len(body), dice.choice([len(body), 16 << 10, 64 << 10])))


def sse_difference(pieces: list[bytes]) -> str:
    """Tell where the events, or the tail, of *pieces* are not those of the standard; "" where they are."""
    expected = interpret(b"".join(pieces))
    stream, events, excessive = iter_sse(pieces), [], False
    try:
        events.extend(stream)
    except LimitExceeded:
        excessive = True
    if events != expected.events:
        return f"gave {events}, not {expected.events}"
    if expected.excessive is None and excessive:
        return ""
    if excessive != bool(expected.excessive):
        return f"was {'' if excessive else 'not '}refused as too large"
    # A blank line in front of everything stands before the tail; a long one may have lost its comments.
    found, told = stream.tail.lstrip(b"\n"), expected.tail
    if not excessive and found != told and (len(told) < 4096 or _told(found) != _told(told)):
        return f"left {found!r}, not {told!r}"
    return ""


def _told(tail: bytes) -> list[bytes]:
    """Give the lines of an open event that count."""
    *lines, last = tail.split(b"\n")
    return [line for line in lines if line.partition(b":")[0] in (b"data", b"event", b"id", b"retry")] + [last]


def ndjson_difference(pieces: list[bytes]) -> str:
    """Tell where the lines, or the tail, of *pieces* are not those of the whole; "" where they are."""
    lines, tail = lines_of(b"".join(pieces))
    stream = iter_ndjson(pieces)
    events = [event.data for event in stream]
    if events != lines:
        return f"gave {events}, not {lines}"
    return "" if stream.tail == tail else f"left {stream.tail!r}, not {tail!r}"


Difference = Callable[[list[bytes]], str]


def compare(runs: int, seed: int) -> str:
    """Compare *runs* random streams, one in ten of them NDJSON; give the first difference, made small, or ""."""
    dice = random.Random(seed)
    for number in range(runs):
        difference: Difference = sse_difference
        if number % 10 == 9:
            pieces, difference = random_pieces(dice, LINE_TOKENS), ndjson_difference
        elif number % _RARE == 0:
            pieces = huge_pieces(dice) if number % (50 * _RARE) == 0 else long_pieces(dice)
        else:
            pieces = random_pieces(dice)
        if difference(pieces):
            return described(smallest(pieces, difference), difference)
    return ""


def described(pieces: list[bytes], difference: Difference) -> str:
    """Give what reproduces a difference: the bytes of each piece in hex."""
    name = difference.__name__
    return f"{name}([bytes.fromhex(each) for each in {[piece.hex() for piece in pieces]}])\n  {difference(pieces)}"


def smallest(pieces: list[bytes], difference: Difference, seconds: float = 10.0) -> list[bytes]:
    """Take stretches of bytes, and cuts, away as long as there is still a difference, for some *seconds* of CPU."""
    over = time.process_time() + seconds
    size = max(1, sum(map(len, pieces)) // 2)
    while size:
        smaller = None
        for candidate in _smaller(pieces, size):
            if time.process_time() > over:
                return pieces
            if difference(candidate):
                smaller = candidate
                break
        if smaller is None:
            size //= 2
        else:
            pieces, size = smaller, min(size, max(1, sum(map(len, smaller))))
    return pieces


def _smaller(pieces: list[bytes], size: int) -> Iterable[list[bytes]]:
    """Give *pieces* without each stretch of *size* bytes, and, at the finest, without each cut."""
    ends = [0, *accumulate(map(len, pieces))]
    for start in range(0, ends[-1], size):
        yield [
            piece[: max(0, start - begin)] + piece[max(0, start + size - begin) :]
            for piece, begin in zip(pieces, ends, strict=False)
        ]
    if size == 1:
        for at in range(len(pieces) - 1):
            yield [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]
