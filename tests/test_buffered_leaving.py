"""Whoever leaves a buffered stream hangs up: no thread, connection or word is left of it, in forks and at exit too."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from contextlib import suppress
from time import monotonic

import pytest
from counted import counted, read, settled, soon
from openai_server import basic
from server import LAST_CHUNK, PATIENCE, chunked_head, finish, http_chunk, role, text
from test_leaks import needs_proc, no_collector
from test_transport import in_child, needs_fork

import promptstream
from promptstream import errors

WITHIN = 0.1
"""Seconds in which a hang-up is seen; the fastest of three tries counts."""


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def endless(request, server, tls_server, certificates):
    """A server that streams deltas, then holds; and the provider that asks it."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role()) + b"".join(http_chunk(text(piece)) for piece in "abcdefgh"))
        conn.wait_for_hang_up()

    one = (tls_server if request.param else server)(script)
    verify = certificates.bundle if request.param else None
    with promptstream.providers.Compatible(one.url, verify=verify, retry=promptstream.Retry(0)) as provider:
        yield one, provider


@pytest.mark.parametrize("size", [1, 100], ids=["full", "reading"])
def test_a_cancel_reaches_the_socket(endless, size):
    """The reader is told and the server sees the end within 100 ms, over TLS as well."""
    one, provider = endless
    seconds = []
    for _ in range(3):
        stream = provider.stream("Hi").buffered(size)
        assert str(stream.get()) == "a"
        begin = monotonic()
        stream.cancel()
        came, error = read(stream)
        ended = monotonic()
        assert came == []
        assert isinstance(error, errors.Cancelled)
        assert one.conn.gone.wait(PATIENCE)
        seconds.append(max(ended, one.conn.hung_up) - begin)
        if seconds[-1] <= WITHIN:
            break
    assert min(seconds) <= WITHIN


class Broken(Exception):
    """A fault of the reader's own."""


def by_del(provider, size):
    """Drop the only name."""
    stream = provider.stream("Hi").buffered(size)
    stream.get()
    del stream


def by_scope(provider, size):
    """Leave the function in the middle of a loop."""
    for _ in provider.stream("Hi").buffered(size):
        return


def by_a_generator(provider, size):
    """Close a generator that reads it."""

    def pieces():
        yield from provider.stream("Hi").buffered(size)

    reading = pieces()
    next(reading)
    reading.close()


def by_an_exception(provider, size):
    """Free the exception whose traceback holds it."""

    def work():
        for _ in provider.stream("Hi").buffered(size):
            raise Broken

    with suppress(Broken):
        work()


def by_with(provider, size):
    """Leave its block, and keep it."""
    with provider.stream("Hi").buffered(size) as stream:
        stream.get()
    return stream


def by_the_block_of_the_stream(provider, size):
    """Leave the block of the stream it was made of, and keep it."""
    with provider.stream("Hi") as origin:
        stream = origin.buffered(size)
        stream.get()
    return stream


def by_a_collected_cycle(provider, size):
    """Put it into a cycle and have that collected in another thread."""
    stream = provider.stream("Hi").buffered(size)
    stream.get()
    stream.me = stream
    del stream
    collector = threading.Thread(target=gc.collect)
    collector.start()
    collector.join(PATIENCE)


def reading():
    """Give the threads that read a stream."""
    return [each for each in threading.enumerate() if each.name == "promptstream-buffered"]


LEAVING = [by_del, by_scope, by_a_generator, by_an_exception, by_with, by_the_block_of_the_stream, by_a_collected_cycle]


@pytest.mark.parametrize("size", [1, 100], ids=["full", "reading"])
@pytest.mark.parametrize("way", LEAVING, ids=lambda way: way.__name__)
def test_leaving_it_hangs_up_and_ends_the_thread(endless, way, size):
    """The server sees the end within 100 ms, with the garbage collector off."""
    one, provider = endless
    seconds, kept = [], []
    with no_collector():
        for _ in range(3):
            kept.append(way(provider, size))
            left = monotonic()
            assert one.conn.gone.wait(PATIENCE), "the server still waits"
            seconds.append(one.conn.hung_up - left)
            if seconds[-1] <= WITHIN:
                break
        assert soon(lambda: not reading())
    assert min(seconds) <= WITHIN


@needs_proc
def test_many_abandoned_streams_leave_no_descriptor_and_no_thread(server):
    """300 left with the collector off, in whatever way: nothing more than before."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role() + text("Once") + text(" upon")))
        conn.wait_for_hang_up()

    one = server(script)

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    def is_quiet():
        return all(conn.gone.is_set() for conn in one.connections) and not reading()

    with promptstream.providers.Compatible(one.url) as provider, no_collector():
        by_del(provider, 1)
        assert soon(is_quiet)
        threads, before = threading.active_count(), settled(descriptors)
        for number in range(300):
            LEAVING[number % 6](provider, 1 + number % 2)
        assert soon(is_quiet)
        assert soon(lambda: descriptors() <= before)
        assert soon(lambda: threading.active_count() <= threads)


def test_the_thread_itself_may_collect_it():
    """A finaliser that runs in it, in the middle of a turn, ends that turn."""
    held = threading.Event()
    provider, dialect = counted(["a", lambda: (held.wait(PATIENCE), gc.collect()), *"bcdef"])
    with no_collector():
        stream = provider.stream("Hi").buffered(1)
        stream.me, thread = stream, stream._thread
        del stream
        held.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert dialect.pulled <= 2


# Forks and exits


@needs_fork
@pytest.mark.parametrize("use", ["get", "close", "drop", "lenses"])
def test_a_forked_child_has_no_part_in_it(server, use):
    """It is told so, can close, drop and look at its copy, and the parent's stream goes on undisturbed."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role() + text("Once")))
        conn.wait(conn.server.release)
        conn.send(http_chunk(text(" more") + finish()) + LAST_CHUNK)

    one = server(script)
    with promptstream.providers.Compatible(one.url) as provider:
        box = [provider.stream("Hi").buffered()]
        assert str(box[0].get()) == "Once"

        def child():
            if use == "get":
                for take in (box[0].get, box[0].result, lambda: list(box[0]), lambda: box[0].get(timeout=0)):
                    with pytest.raises(errors.StateError, match="fork"):
                        take()
            elif use == "lenses":
                assert (box[0].text, box[0].response.complete) == ("Once", False)
                assert repr(box[0])
            elif use == "close":
                with box[0] as stream:
                    stream.cancel()
            box.clear()
            gc.collect()
            return True

        assert in_child(child) == 0
        one.release.set()
        assert box[0].result().text == "Once more"


START = """
import sys, threading, promptstream
provider = promptstream.providers.Compatible(sys.argv[1], retry=promptstream.Retry(0))
stream = provider.stream("Hi").buffered({size})
"""
EXITS = {
    "unread": (1, ""),
    "half read": (1, "stream.get()"),
    "reading ahead": (100, "stream.get()"),
    "blocked in another thread": (100, "threading.Thread(target=list, args=(stream,), daemon=True).start()"),
    "in a cycle": (100, "stream.me = stream; stream.get()"),
    "in a module": (100, "sys.kept = stream; threading.kept = iter(stream)"),
    "by sys.exit": (1, "stream.get(); sys.exit(0)"),
}


def run(url, size, code):
    """Run a child that buffers a stream from *url* and ends; give its exit code and what it printed."""
    program = START.format(size=size) + code
    # The debug allocator of CPython 3.10 fails of itself where a daemon thread runs while the interpreter ends.
    strict = ["-X", "dev"] if sys.version_info >= (3, 11) else ["-W", "default"]
    command = [sys.executable, *strict, "-c", program, url]
    env = basic({"PYTHONWARNINGS": "default"})
    child = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=env, check=False)
    return child.returncode, child.stdout + child.stderr


@pytest.mark.parametrize("kind", EXITS)
def test_an_interpreter_ends_quietly(server, kind):
    """Exit code 0, not a word, no hang, whatever state a stream is left in."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role() + text("Once") + text(" upon") + text(" a")))
        conn.wait_for_hang_up()

    assert run(server(script).url, *EXITS[kind]) == (0, "")


def test_an_interpreter_that_an_exception_ends_says_that_alone(server):
    """The traceback is the program's own."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role() + text("Once")))
        conn.wait_for_hang_up()

    code, said = run(server(script).url, 1, "for chunk in stream: raise ValueError('mine')")
    assert code == 1
    assert said.count("Traceback") == 1
    assert said.endswith("ValueError: mine\n")
