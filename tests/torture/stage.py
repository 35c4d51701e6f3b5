"""A server and a client for one scenario in, what they sent, handed out and kept on record out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any

import attrs
from dialects import DIALECTS, Dialect
from server import Conn, Gone, Server, framed
from torture import faults

import promptstream
from promptstream.buffered import BufferedStream
from promptstream.conversation import Conversation
from promptstream.stream import Stream
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.timing import Timeout
from promptstream.wire import watch

Step = Callable[["Stage", Conn], None]
PATIENCE = 1.0
"""Seconds that what must end is given to do so."""


@attrs.define(eq=False)
class Loop:
    """Note what one loop was given."""

    stream: Any
    chunks: list[Chunk] = attrs.field(factory=list)
    over: bool = False
    """True where the loop ran to its end."""
    stopped: bool = False
    """True once the stream was cancelled or left."""

    @property
    def text(self) -> str:
        return "".join(map(str, self.chunks))

    @property
    def endings(self) -> int:
        """How many chunks say that it is over."""
        return sum(chunk.type in (ChunkType.DONE, ChunkType.ERROR) for chunk in self.chunks)


class Stage:
    """Run a server that answers by *steps*, then well, and keep what a provider or a conversation made of it."""

    def __init__(
        self,
        *steps: Step,
        dialect: str = "chat",
        certificates: Any = None,
        host: str = "127.0.0.1",
        talks: bool = False,
        fresh_watchdog: bool = False,
        **options: Any,
    ) -> None:
        self.dialect: Dialect = DIALECTS[dialect]
        self.loops: list[Loop] = []
        self.sent_whole = 0
        """How many good answers were sent to their last byte."""
        self.calm = False
        """True once every request is answered well."""
        self._steps = list(steps)
        self._watchdog = watch._watchdog
        if fresh_watchdog:
            watch._watchdog = watch.Watchdog()
        self.server = Server(self._serve, tls=certificates.context if certificates else None)
        if certificates:
            options["verify"] = certificates.bundle
        self.provider = self.dialect.provider(self.server.origin.replace("127.0.0.1", host), **options)
        self.conversation: Conversation | None = promptstream.chat(provider=self.provider) if talks else None

    def _serve(self, conn: Conn) -> None:
        while True:
            conn.request()
            step = self._steps.pop(0) if self._steps and not self.calm else good
            step(self, conn)

    def stream(self, **options: Any) -> Stream:
        """Ask for an answer."""
        if self.conversation is not None:
            return self.conversation.stream("Hi", **options)
        return self.dialect.stream(self.provider, **options)

    def loop(self, stream: Any, leave: Callable[[Loop], object] = lambda seen: False) -> None:
        """Run a loop, noting what it is given, until it ends or *leave* says so."""
        seen = Loop(stream)
        self.loops.append(seen)
        for chunk in stream:
            seen.chunks.append(chunk)
            if leave(seen):
                seen.stopped = True
                return
        seen.over = True

    def close(self) -> None:
        """Close all there is, and let no thread of it live on."""
        for seen in self.loops:
            if isinstance(seen.stream, BufferedStream):
                seen.stream.close()
        if self.conversation is not None:
            self.conversation.close()
        self.provider.close()
        self.server.close()
        self.loops.clear()  # the server refers to this stage, and no cycle may hold what a run left
        if watch._watchdog is not self._watchdog:
            dismiss(watch._watchdog)
            watch._watchdog = self._watchdog

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Last:
    """Look as a watch does, and end the thread that asks, which says nothing of it."""

    def look(self, now: float) -> float:
        # Its own hook, not everybody's: a thread whose start was struck may begin when nobody waits for it any more.
        threading.current_thread()._invoke_excepthook = lambda thread: None  # type: ignore[attr-defined]
        raise SystemExit


def dismiss(watchdog: Any) -> None:
    """End a watchdog's thread."""
    with watchdog._condition:
        watchdog._watches[_Last()] = 0.0
        watchdog._condition.notify_all()
    if watchdog._thread is not None and watchdog._thread.is_alive():
        watchdog._thread.join(PATIENCE)


def works(watchdog: Any) -> bool:
    """Tell whether *watchdog* still stops what is overdue."""
    if watchdog._thread is None:
        return True
    bell = threading.Event()
    each = watch.Watch(Timeout(total=0.001))
    each.listen(bell.set)
    each.start()
    try:
        return bell.wait(PATIENCE)
    finally:
        each.end()


def until(done: Callable[[], bool]) -> bool:
    """Wait a moment for *done*, and tell whether it came true."""
    end = monotonic() + PATIENCE
    while not done() and monotonic() < end:
        sleep(0.001)
    return done()


@contextmanager
def resolved_elsewhere(port: int) -> Iterator[None]:
    """Let the next look-up give a port of loopback on which nobody listens."""
    faults.refused.append(("127.0.0.1", port))
    try:
        yield
    finally:
        faults.refused.clear()


# What the server does


def answering(framing: str) -> Step:
    """Make a step that answers well."""

    def step(stage: Stage, conn: Conn) -> None:
        kind = stage.dialect.wire.stream_type.encode()
        reply = b"".join(framed(stage.dialect.events(), framing)).replace(b"text/event-stream", kind, 1)
        conn.send(reply)
        stage.sent_whole += 1
        if "close" in framing:
            raise Gone

    return step


good = answering("chunked")


def saying(*pieces: bytes) -> Step:
    """Make a step that sends *pieces*."""
    return lambda stage, conn: conn.send(*pieces)


def dying(stage: Stage, conn: Conn) -> None:
    """Close the connection instead of answering."""
    raise Gone


def holding(stage: Stage, conn: Conn) -> None:
    """Send all but the last delta and what follows it, and hold the rest until the client goes."""
    kind = stage.dialect.wire.stream_type.encode()
    head, *events = framed(stage.dialect.events(*("Once", " upon", " a"), finish=None), "chunked")
    conn.send(head.replace(b"text/event-stream", kind, 1) + b"".join(events[:-1]))
    with suppress(Gone):
        conn.wait_for_hang_up()
    raise Gone
