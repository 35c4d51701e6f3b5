"""Streams left early in every way in, what stays behind of them out: ``python -m tests.leaks``.

The client runs in a process of its own, with the garbage collector off. The server sends one delta and
then waits for the client to go, so that a connection that is not hung up stays open and is counted.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import attrs
from dialects import DIALECTS
from server import PATIENCE, Conn, Server, chunked_head, http_chunk, role, text

import promptstream
from promptstream import errors

MEMORY = 5 << 20
"""Bytes that a thousand streams may leave."""
WARM = 12
"""Streams before it is counted: the watchdog, the pool and what is imported late."""
TOGETHER = 10
"""Streams at once, where each takes as long as its clock."""
HOLDERS = ("provider", "conversation")
WIRES = ("plain", "TLS")
Way = Callable[[Any], object]
WAYS: dict[str, Way] = {}
"""Every way to leave a stream, by name; each is given what has a method ``stream``."""


def way(name: str) -> Callable[[Way], Way]:
    """Enter a way under its name."""
    return lambda function: WAYS.setdefault(name, function)


# The loop in the same thread


@way("break")
def by_break(asked: Any) -> None:
    """Leave the loop; the stream has no name."""
    for _ in asked.stream("Hi"):
        break


@way("exception")
def by_exception(asked: Any) -> None:
    """Raise in the loop's body."""
    stream = asked.stream("Hi")
    with suppress(ZeroDivisionError):
        for _ in stream:
            _ = 1 / 0


@way("dropped")
def by_drop(asked: Any) -> None:
    """Take one chunk and drop the iterator."""
    next(iter(asked.stream("Hi")))


@way("close")
def by_close(asked: Any) -> None:
    """Close the stream that is iterated over."""
    stream = asked.stream("Hi")
    chunks = iter(stream)
    next(chunks)
    stream.close()


@way("with")
def by_with(asked: Any) -> None:
    """Leave the with block of the stream."""
    with asked.stream("Hi") as stream:
        chunks = iter(stream)
        next(chunks)


@way("break of text")
def by_break_of_text(asked: Any) -> None:
    """Leave a loop over the text alone."""
    for _ in asked.stream("Hi").iter_text():
        break


@way("break of events")
def by_break_of_events(asked: Any) -> None:
    """Leave a loop over the events."""
    for _ in asked.stream("Hi").iter_events():
        break


# Somebody else's hand


@way("cancel from a thread")
def by_cancel(asked: Any) -> None:
    """Cancel the stream while its loop is blocked."""
    stream = asked.stream("Hi")
    _stopped(stream, stream.cancel)


@way("token")
def by_token(asked: Any) -> None:
    """Cancel the token while the loop is blocked."""
    token = promptstream.CancelToken()
    _stopped(asked.stream("Hi", cancel=token), token.cancel)


@way("event")
def by_event(asked: Any) -> None:
    """Set the event while the loop is blocked."""
    event = threading.Event()
    _stopped(asked.stream("Hi", cancel=event), event.set)


def _stopped(stream: Iterable[Any], stop: Callable[[], object]) -> None:
    """Iterate until *stop*, called by another thread after the first chunk, is felt."""
    begun = threading.Event()
    stopper = threading.Thread(target=lambda: (begun.wait(PATIENCE), stop()))
    stopper.start()
    with suppress(errors.Cancelled):
        for _ in stream:
            begun.set()
        raise AssertionError("the stream ended by itself")
    stopper.join()


@way("deadline")
def by_deadline(asked: Any) -> None:
    """Let the total clock run out."""
    with suppress(errors.DeadlineExceeded):
        for _ in asked.stream("Hi", timeout=0.25):
            pass
        raise AssertionError("the stream ended by itself")


# A thread that reads ahead


def _buffered(asked: Any) -> Any:
    """Give a buffered stream whose first delta is there."""
    buffered = asked.stream("Hi").buffered(size=2)
    end = monotonic() + PATIENCE
    while not buffered.text and monotonic() < end:
        sleep(0.0005)
    return buffered


@way("buffered, dropped")
def by_dropping_buffered(asked: Any) -> None:
    """Take one chunk and drop it."""
    next(_buffered(asked))


@way("buffered, never read")
def by_never_reading_buffered(asked: Any) -> None:
    """Drop it unread."""
    _buffered(asked)


@way("buffered, closed")
def by_closing_buffered(asked: Any) -> None:
    """Take one chunk and close it."""
    buffered = _buffered(asked)
    next(buffered)
    buffered.close()


@way("buffered, with")
def by_with_of_buffered(asked: Any) -> None:
    """Leave its with block."""
    with _buffered(asked) as buffered:
        next(buffered)


@way("buffered, break")
def by_break_of_buffered(asked: Any) -> None:
    """Leave a loop over it."""
    for _ in _buffered(asked):
        break


@way("buffered, exception")
def by_exception_over_buffered(asked: Any) -> None:
    """Raise in the body of a loop over it."""
    with suppress(ZeroDivisionError):
        for _ in _buffered(asked):
            _ = 1 / 0


@way("buffered, cancelled")
def by_cancelling_buffered(asked: Any) -> None:
    """Cancel it from another thread while its loop is blocked."""
    buffered = _buffered(asked)
    _stopped(buffered, buffered.cancel)


SLOW = ("event", "deadline")
"""The ways that take as long as a clock does."""


# The client


@attrs.frozen
class Left:
    """What stayed behind of a number of streams."""

    streams: int
    fds: int
    threads: int
    memory: int
    seconds: float
    hung_up: int = 0
    """Connections whose end the server saw."""

    def verdict(self) -> str:
        """Tell what is left that should not be; "" where all is well."""
        wrong = [name for name, left in (("fds", self.fds), ("threads", self.threads)) if left > 0]
        wrong += ["memory"] if self.memory >= MEMORY else []
        return ", ".join(wrong + (["hang-ups"] if self.hung_up != self.streams else []))


def client(origin: str, holder: str, bundle: str | None, names: Sequence[str], times: int, pipe: Any) -> None:
    """Leave *times* streams in each of the named ways; send what stayed behind, and wait for a word to go on."""
    gc.disable()
    with DIALECTS["chat"].provider(origin, verify=bundle) as provider, _holders(holder, provider) as asked:
        for name in names:
            _leave(name, asked, WARM)
            _settle(0)
            pipe.send(None)
            pipe.recv()
            before, start = _counts(), monotonic()
            _leave(name, asked, times)
            seconds = monotonic() - start
            _settle(before[1])
            fds, threads, memory = (now - then for now, then in zip(_counts(), before, strict=True))
            pipe.send(Left(times, fds, threads, memory, seconds))
            pipe.recv()


@contextmanager
def _holders(holder: str, provider: Any) -> Iterator[list[Any]]:
    """Give as many holders as there may be streams at once: a conversation has one turn at a time."""
    if holder == "provider":
        yield [provider] * TOGETHER
        return
    with ExitStack() as stack:
        opened = [promptstream.chat("Be brief.", provider=provider, keep_partial=False) for _ in range(TOGETHER)]
        yield [stack.enter_context(conversation) for conversation in opened]


def _leave(name: str, asked: list[Any], times: int) -> None:
    if name not in SLOW:
        for _ in range(times):
            WAYS[name](asked[0])
        return
    shares = [times // TOGETHER + (number < times % TOGETHER) for number in range(TOGETHER)]
    work = [
        lambda one=one, share=share: [WAYS[name](one) for _ in range(share)]
        for one, share in zip(asked, shares, strict=True)
    ]
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _settle(threads: int) -> None:
    """Wait for threads that were told to end: the watchdog and this one alone go on."""
    end = monotonic() + PATIENCE
    while len(os.listdir("/proc/self/task")) > max(threads, 2) and monotonic() < end:
        sleep(0.002)


def _counts() -> tuple[int, int, int]:
    """Count this process's descriptors, threads and resident bytes."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), resident


# The server


def script(conn: Conn) -> None:
    """Send a delta and wait for the client to go."""
    conn.request()
    conn.send(chunked_head() + http_chunk(role() + text("Once")))
    conn.wait_for_hang_up()


def leave(
    names: Sequence[str], times: int, holder: str = "provider", tls: tuple[ssl.SSLContext, str] | None = None
) -> Iterator[tuple[str, Left]]:
    """Leave *times* streams in each of the named ways, and give for each what stayed behind.

    *tls* is the server's context and the path of the authority's certificate.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with Server(script, tls=tls and tls[0]) as server:
        arguments = (server.origin, holder, tls and tls[1], tuple(names), times, theirs)
        process = context.Process(target=client, args=arguments)
        process.start()
        theirs.close()
        try:
            for name in names:
                _heard(ours, name)
                _gone(server)
                server.connections.clear()
                ours.send("go")
                left = _heard(ours, name)
                yield name, attrs.evolve(left, hung_up=_gone(server))
                ours.send("go")
        finally:
            process.kill()
            process.join()


def _heard(pipe: Any, name: str) -> Any:
    assert pipe.poll(600), f"{name}: the client hangs"
    return pipe.recv()


def _gone(server: Server) -> int:
    """Count the connections whose end was seen, the last of which may be on its way."""
    end = monotonic() + PATIENCE
    for conn in server.connections:
        conn.gone.wait(max(0.0, end - monotonic()))
    return sum(conn.hung_up is not None for conn in server.connections)


@contextmanager
def authority() -> Iterator[tuple[ssl.SSLContext, str]]:
    """Make an authority of one's own: a server context for loopback, and the path of its certificate."""
    import trustme

    with tempfile.TemporaryDirectory() as directory:
        made, bundle = trustme.CA(), os.path.join(directory, "ca.pem")
        made.cert_pem.write_to_path(bundle)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.issue_cert("127.0.0.1").configure_cert(context)
        yield context, bundle


def main(arguments: Sequence[str] | None = None) -> int:
    """Leave streams in every way, and print what each left behind; 1 where it is too much."""
    parser = argparse.ArgumentParser(prog="python -m tests.leaks", description=__doc__)
    parser.add_argument("--streams", type=int, default=1000, metavar="N", help="left in each way (%(default)s)")
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=list(WAYS), metavar="WAY")
    options = parser.parse_args(arguments)
    print(
        f"{'way':23}{'of a':14}{'over':7}{'streams':>8}{'hung up':>9}{'fds':>5}{'threads':>9}{'MiB':>7}{'seconds':>9}"
    )
    failed = 0
    with authority() as tls:
        for wire in WIRES:
            for holder in HOLDERS:
                found = leave(options.ways, options.streams, holder, tls if wire == "TLS" else None)
                for name, left in found:
                    told = f"{name:23}{holder:14}{wire:7}{left.streams:8}{left.hung_up:9}{left.fds:+5}{left.threads:+9}"
                    why = left.verdict()
                    failed += bool(why)
                    told += f"{left.memory / (1 << 20):7.2f}{left.seconds:9.1f}"
                    print(told + (f"  FAILED: {why}" if why else ""), flush=True)
    print(
        f"\n{len(WIRES) * len(HOLDERS) * len(options.ways)} ways of leaving, {failed} of them leave something behind."
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
