"""The faults of time, rows 31 to 36: what is late, stands still, or never ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dialects import TEXT, Dialect
from faults.core import Fault, Outcome, Scene, Step
from faults.says import PART, begun, body, drip, hold, opened, part, pour, repeat, streamed, then, top
from server import http_chunk
from wires.script import Answer, Beat

from promptstream import Timeout
from promptstream.errors import DeadlineExceeded, FirstTokenTimeout, IdleTimeout, StreamError

SHORT = 0.15
FIRST = Timeout(connect=5, first=SHORT, idle=5)
IDLE = Timeout(connect=5, first=5, idle=SHORT)
TOTAL = Timeout(total=SHORT)
BOTH = ("stream", "whole")
CLOCKS: dict[str, tuple[Timeout, type[StreamError]]] = {
    "first": (FIRST, FirstTokenTimeout),
    "idle": (IDLE, IdleTimeout),
    "total": (TOTAL, DeadlineExceeded),
}


def late(row: int, name: str, clock: str, step: Callable[[Dialect], Step], **more: Any) -> Fault:
    """Make a server that is too slow for the *clock* first, idle or total."""
    timeout, error = CLOCKS[clock]
    promised = {"error": error, "text": PART if clock == "idle" else "", "phase": "body", "retryable": False}
    promised |= {key: more.pop(key) for key in ("text", "phase") if key in more}
    return Fault(row, name, step=step, timeout=timeout, limit=SHORT, outcome=Outcome(**promised), **more)


# 31: before the first event


def continues(dialect: Dialect) -> Step:
    """Send interim answers for ever."""
    return then(repeat(b"HTTP/1.1 100 Continue\r\n\r\n"))


def beat(dialect: Dialect) -> bytes:
    """Give a sign of life that carries nothing."""
    events = dialect.wire.stream(Answer([Beat()], None)).events
    return b"".join(event for event in events[-1:] if isinstance(event, bytes))


def beats(dialect: Dialect, piece: bytes = b"") -> Callable[[Any], object]:
    """Send signs of life, or *piece*, for ever, each in an HTTP chunk."""
    return repeat(http_chunk(piece or beat(dialect)))


COMMENT = b": keep-alive\n\n"
NO_COMMENTS = {"ollama": "NDJSON has no comments"}
HEADERS = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 500

EARLY = (
    late(31, "headers never come", "first", lambda d: then(hold), phase="headers", secure=True, modes=BOTH),
    late(31, "headers never come, in all the time there is", "total", lambda d: then(hold), phase="headers"),
    late(31, "headers never come on a pooled connection", "first", lambda d: then(hold), phase="headers", reused=True),
    late(31, "headers drip", "first", lambda d: then(drip(HEADERS)), phase="headers", secure=True, modes=BOTH),
    late(31, "interim answers for ever", "first", continues, phase="headers"),
    late(31, "headers, then nothing", "first", lambda d: then(opened(d), hold), secure=True, modes=BOTH),
    late(31, "headers, then a chunk's length that drips", "first", lambda d: then(opened(d), drip(b"0" * 500))),
    late(31, "headers, then half of an event", "first", lambda d: then(opened(d) + http_chunk(body(d)[:20]), hold)),
    late(31, "headers, then signs of life for ever", "first", lambda d: then(opened(d), beats(d)), secure=True),
    late(31, "headers, then an event that drips", "first", lambda d: then(top(d), drip(b"data: {" + b" " * 500))),
)


# 32 and 33: in the middle

half = http_chunk(b"x" * 64)[:20]
MIDDLE = (
    late(32, "stall mid-stream", "idle", lambda d: then(begun(d), hold), secure=True),
    late(32, "stall mid-stream, in all the time there is", "total", lambda d: then(begun(d), hold), text=PART),
    late(
        32, "stall mid-stream on a pooled connection", "idle", lambda d: then(begun(d), hold), reused=True, secure=True
    ),
    late(32, "stall mid-stream of a body without length", "idle", lambda d: then(top(d) + part(d), hold)),
    late(32, "stall inside an event", "idle", lambda d: then(begun(d) + http_chunk(d.delta(" a")[:20]), hold)),
    late(32, "stall inside a chunk", "idle", lambda d: then(begun(d) + half, hold)),
    late(32, "stall inside a chunk's length", "idle", lambda d: then(begun(d) + b"1", hold)),
    late(33, "an event that drips", "idle", lambda d: then(top(d) + part(d), drip(d.delta(" " * 400))), secure=True),
    late(33, "chunks of one byte", "idle", lambda d: then(begun(d), drip(http_chunk(b" ") * 200, 0.005))),
    late(33, "a chunk's length that drips", "idle", lambda d: then(begun(d), drip(b"0" * 500)), secure=True),
    late(33, "comments for ever", "idle", lambda d: then(begun(d), beats(d, COMMENT)), per=NO_COMMENTS, secure=True),
    late(
        33,
        "comments for ever, in all the time there is",
        "total",
        lambda d: then(begun(d), beats(d, COMMENT)),
        per=NO_COMMENTS,
        text=PART,
    ),
    late(33, "signs of life for ever", "idle", lambda d: then(begun(d), beats(d)), secure=True),
    late(
        33,
        "signs of life without a pause",
        "idle",
        lambda d: then(begun(d), pour(http_chunk(beat(d)) * 500)),
        journaled=False,
    ),  # megabytes, which take the journal longer to read than the stream
    late(33, "blank lines for ever", "idle", lambda d: then(begun(d), beats(d, b"\n")), secure=True),
    late(
        33,
        "one comment that drips",
        "idle",
        lambda d: then(top(d) + part(d), drip(b": " + b"a" * 500)),
        per=NO_COMMENTS,
    ),
    late(
        33,
        "events without data for ever",
        "idle",
        lambda d: then(begun(d), beats(d, b"event: message\n\n")),
        per={"ollama": "a line of NDJSON is its data"},
    ),
)


# 34: without end


def deltas(pause: float) -> Callable[[Dialect], Step]:
    """Send deltas for ever."""

    def made(dialect: Dialect) -> Step:
        delta = http_chunk(dialect.delta("x"))
        act = repeat(delta, pause) if pause else pour(delta * 100)
        return then(opened(dialect) + http_chunk(dialect.opening() or b"\n"), act)

    return made


def endless(name: str, pause: float, **more: Any) -> Fault:
    """Make an answer without end, which only the deadline stops."""
    outcome = Outcome(DeadlineExceeded, retryable=False)
    return Fault(34, name, step=deltas(pause), timeout=TOTAL, limit=SHORT, outcome=outcome, also=_many, **more)


def _many(scene: Scene) -> None:
    assert len(scene.yielded) > 3, scene.yielded
    assert set(scene.yielded) == {"x"}


ENDLESS = (
    endless("tokens for ever", 0.005, secure=True),
    endless("tokens for ever, without a pause", 0),
    endless("tokens for ever on a pooled connection", 0.005, reused=True),
)


# 35 and 36: a consumer that is slow, a clock that jumps


def slowly(scene: Scene) -> None:
    """Take longer over the first chunk than the server may over one."""
    assert scene.stream is not None
    for chunk in scene.stream:
        if not scene.chunks:
            time.sleep(0.05)
        scene.chunks.append(chunk)


def dawdling(scene: Scene) -> None:
    """Take more time in all than there is, over chunks that are all here."""
    assert scene.stream is not None
    for chunk in scene.stream:
        scene.chunks.append(chunk)
        time.sleep(0.05)


def by_another_clock(scene: Scene) -> None:
    """Read while the system's clock jumps by a day at every look."""
    assert scene.stream is not None
    real, looks = time.time, [0]

    def jumping() -> float:
        looks[0] += 1
        return real() + looks[0] % 3 * 86_400 - 86_400

    time.time = jumping
    try:
        for chunk in scene.stream:
            scene.chunks.append(chunk)
    finally:
        time.time = real


CONSUMERS = (
    Fault(
        35,
        "a consumer slower than idle",
        step=lambda dialect: then(streamed(dialect, body(dialect))),
        timeout=Timeout(connect=5, first=5, idle=0.04),
        limit=0.05,
        drive=slowly,
        outcome=Outcome(text=TEXT, finish="stop"),
    ),
    Fault(
        35,
        "a consumer slower than the deadline",
        step=lambda dialect: then(streamed(dialect, body(dialect))),
        timeout=Timeout(total=0.1),
        limit=0.1,
        drive=dawdling,
        outcome=Outcome(DeadlineExceeded, phase="body"),
    ),
    Fault(
        36,
        "the system's clock jumps",
        step=lambda dialect: then(streamed(dialect, *dialect.events())),
        timeout=Timeout(first=5, idle=5, total=9),
        drive=by_another_clock,
        outcome=Outcome(text=TEXT, finish="stop"),
    ),
    Fault(
        36,
        "the system's clock jumps while the server is silent",
        step=lambda dialect: then(begun(dialect), hold),
        timeout=IDLE,
        limit=SHORT,
        drive=by_another_clock,
        outcome=Outcome(IdleTimeout, text=PART, phase="body"),
    ),
)

FAULTS = (*EARLY, *MIDDLE, *ENDLESS, *CONSUMERS)
NOT_MADE = {
    "36 suspend": "A test cannot put its machine to sleep. All limits run on the monotonic clock, which stands still "
    "meanwhile on Linux and macOS: time asleep counts towards no limit.",
}
