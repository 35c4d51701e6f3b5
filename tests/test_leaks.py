"""Leaving a loop hangs up at once and leaves nothing behind, with the garbage collector off."""

from __future__ import annotations

import gc
import os
import threading
import tracemalloc
from contextlib import contextmanager, suppress
from time import monotonic, sleep

import leaks
import pytest
from server import (
    LAST_CHUNK,
    PATIENCE,
    chunked_head,
    each,
    error,
    finish,
    good,
    http_chunk,
    role,
    say,
    text,
)

import promptstream
from promptstream import Stream, errors
from promptstream.turn import Answer, Turn

WITHIN = 0.1
MANY = 300
KEY = "sk-0123456789"


@contextmanager
def no_collector():
    """Run with the garbage collector off, after all that lies about was collected."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
def endless(server):
    """A server that streams one delta and then waits for the client to go."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role() + text("Once")))
        conn.wait_for_hang_up()

    return server(script)


@pytest.fixture(params=["provider", "conversation"])
def asked(request, endless):
    """Something with a ``stream`` method: a provider, or a conversation."""
    if request.param == "provider":
        with promptstream.providers.Compatible(endless.url, api_key=KEY) as provider:
            yield provider
    else:
        with promptstream.chat("Be brief.", base_url=endless.url, api_key=KEY) as conv:
            yield conv


# Ways to leave a loop


def by_break(asked):
    """Leave by break; the stream has no name."""
    for _ in asked.stream("Hi"):
        break


def by_break_with_a_name(asked):
    """Leave by break, and keep the stream."""
    stream = asked.stream("Hi")
    for _ in stream:
        break
    return stream


def by_return(asked):
    """Leave by return."""
    for chunk in asked.stream("Hi"):
        return chunk
    return None


def by_an_exception(asked):
    """Leave by an exception of the loop's body."""
    with suppress(ZeroDivisionError):
        for _ in asked.stream("Hi"):
            _ = 1 / 0


def by_an_exception_with_a_name(asked):
    """Leave by an exception, and keep the stream."""
    stream = asked.stream("Hi")
    with suppress(ZeroDivisionError):
        for _ in stream:
            _ = 1 / 0
    return stream


def by_del(asked):
    """Take one chunk and drop the iterator."""
    iterator = iter(asked.stream("Hi"))
    next(iterator)
    del iterator


def by_close(asked):
    """Close the stream that is iterated over."""
    stream = asked.stream("Hi")
    iterator = iter(stream)
    next(iterator)
    stream.close()
    return stream, iterator


def by_with(asked):
    """Leave the with block of the stream."""
    with asked.stream("Hi") as stream:
        iterator = iter(stream)
        next(iterator)
    return stream, iterator


def by_break_of_text(asked):
    """Leave a loop over the text alone."""
    for _ in asked.stream("Hi").iter_text():
        break


def by_break_of_text_with_a_name(asked):
    """Leave a loop over the text alone, and keep the stream."""
    stream = asked.stream("Hi")
    for _ in stream.iter_text():
        break
    return stream


def by_break_of_events(asked):
    """Leave a loop over the events."""
    for _ in asked.stream("Hi").iter_events():
        break


def by_break_of_events_with_a_name(asked):
    """Leave a loop over the events, and keep the stream."""
    stream = asked.stream("Hi")
    for _ in stream.iter_events():
        break
    return stream


def by_break_with_error_chunks(asked):
    """Leave a loop that would end in an ERROR chunk."""
    for _ in asked.stream("Hi", on_error="chunk"):
        break


WAYS = (
    *(by_break, by_break_with_a_name, by_return, by_an_exception, by_an_exception_with_a_name, by_del, by_close),
    *(by_with, by_break_of_text, by_break_of_text_with_a_name, by_break_of_events, by_break_of_events_with_a_name),
    by_break_with_error_chunks,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_leaving_the_loop_hangs_up_at_once(endless, asked, way):
    """The server sees the end within 100 ms of the loop's, by reference count alone, named stream or not."""
    delays, kept = [], []
    with no_collector():
        for _ in range(3):
            kept.append(way(asked))
            left = monotonic()
            assert endless.conn.gone.wait(PATIENCE), "the server still waits"
            delays.append(endless.conn.hung_up - left)
            if delays[-1] <= WITHIN:
                break
    assert min(delays) <= WITHIN


@pytest.mark.parametrize("way", [by_break, by_an_exception, by_break_of_text], ids=lambda way: way.__name__)
def test_leaving_the_loop_hangs_up_at_once_under_tls(tls_server, certificates, way):
    """The same over TLS."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role() + text("Once")))
        conn.wait_for_hang_up()

    secure = tls_server(script)
    delays = []
    with no_collector(), promptstream.providers.Compatible(secure.url, verify=certificates.bundle) as asked:
        for _ in range(3):
            way(asked)
            left = monotonic()
            assert secure.conn.gone.wait(PATIENCE), "the server still waits"
            delays.append(secure.conn.hung_up - left)
    assert min(delays) <= WITHIN


def descriptors():
    """Count this process's descriptors."""
    return len(os.listdir("/proc/self/fd"))


def settled(server):
    """Wait until the server has seen every client go, so that only the client's own descriptors count."""
    for conn in server.connections:
        assert conn.gone.wait(PATIENCE), "the server still waits"
    end = monotonic() + PATIENCE
    while any(thread.is_alive() for thread in server._threads[1:]) and monotonic() < end:
        sleep(0.005)


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="/proc of Linux")


@contextmanager
def nothing_left(server, memory=None):
    """Check that what runs inside leaves no descriptor, no thread and, where *memory* says so, few bytes."""
    settled(server)
    threads, before = threading.active_count(), descriptors()
    with no_collector():
        if memory is not None:
            tracemalloc.start()
        try:
            yield
            settled(server)
            grown = tracemalloc.get_traced_memory()[0] if memory is not None else 0
        finally:
            tracemalloc.stop()
        assert descriptors() <= before
        assert threading.active_count() <= threads
        if memory is not None:
            assert grown <= memory


@needs_proc
@pytest.mark.parametrize("way", [by_break, by_an_exception, by_break_of_text, by_break_of_events])
def test_many_abandoned_streams_leave_no_descriptor_and_no_thread(endless, asked, way):
    """300 loops left early, with the collector off: no descriptor and no thread more than before."""
    by_break(asked)  # the watchdog, the pool
    with nothing_left(endless):
        for _ in range(MANY):
            way(asked)


@needs_proc
def test_many_streams_cancelled_before_their_headers_leave_nothing(server):
    """300 streams cancelled while the server is silent leave no descriptor and no thread."""
    silent = server(lambda conn: (conn.request(), conn.wait_for_hang_up()))
    with promptstream.providers.Compatible(silent.url, retry=promptstream.Retry(0)) as asked:

        def run():
            stream = asked.stream("Hi")
            canceller = threading.Thread(target=lambda: (silent.wait_for_request(), stream.cancel()))
            canceller.start()
            with pytest.raises(errors.Cancelled):
                list(stream)
            canceller.join(PATIENCE)

        run()
        with nothing_left(silent):
            for _ in range(MANY):
                run()


@needs_proc
@pytest.mark.parametrize("kind", ["cut", "refused", "error chunk"])
def test_many_failed_streams_leave_nothing(server, kind):
    """300 streams that failed leave no descriptor and no thread."""
    step = say(error("400 Bad")) if kind == "refused" else say(chunked_head() + http_chunk(text("Half")) + LAST_CHUNK)
    one = server(each(step))

    def run():
        if kind == "error chunk":
            assert list(asked.stream("Hi", on_error="chunk"))[-1].error
        else:
            with suppress(promptstream.StreamError):
                asked.send("Hi")

    asked = promptstream.providers.Compatible(one.url, retry=promptstream.Retry(0))
    with asked:
        run()
    with nothing_left(one), asked:
        for _ in range(MANY):
            run()


@needs_proc
def test_abandoned_streams_take_no_memory(endless):
    """300 loops left early, with the collector off, take less than 5 MiB."""
    with promptstream.providers.Compatible(endless.url) as asked:
        for _ in range(10):
            by_break(asked)
        for conn in endless.connections:
            conn.sent.clear()
        with nothing_left(endless, memory=5 << 20):
            for _ in range(MANY):
                by_break(asked)


def cycles_of(kinds, run, times=10):
    """Count the objects of *kinds* that *times* calls of *run* leave alive while the collector is off."""
    run()
    with no_collector():
        before = sum(isinstance(thing, kinds) for thing in gc.get_objects())
        for _ in range(times):
            run()
        return sum(isinstance(thing, kinds) for thing in gc.get_objects()) - before


@pytest.mark.parametrize("way", [by_break, by_an_exception, by_break_of_text, by_break_of_events, by_del])
def test_an_abandoned_stream_is_freed_by_reference_count(endless, asked, way):
    """Nothing of a loop left early is part of a cycle: stream, turn, answer and reply go without the collector."""
    from promptstream.wire.transport import Reply

    assert cycles_of((Stream, Turn, Answer, Reply), lambda: way(asked) and None) <= 1


@pytest.mark.parametrize("kind", ["whole", "cut", "refused"])
@pytest.mark.parametrize("on_error", ["raise", "chunk"])
def test_a_stream_that_ended_is_freed_by_reference_count(server, kind, on_error):
    """After its ending, whatever it was, nothing of a turn stays alive but what the caller holds."""
    from promptstream.wire.transport import Reply

    steps = {
        "whole": good,
        "cut": say(chunked_head() + http_chunk(text("Half")) + LAST_CHUNK),
        "refused": say(error("400 Bad")),
    }

    def run():
        with suppress(promptstream.StreamError):
            for _ in asked.stream("Hi", on_error=on_error):
                pass

    with promptstream.providers.Compatible(server(each(steps[kind])).url) as asked:
        assert cycles_of((Stream, Turn, Answer, Reply), run) <= 1


def test_a_stream_never_iterated_over_warns_and_sends_nothing(server):
    """A forgotten stream leaves no trace but a ResourceWarning."""
    one = server(each(good))
    with promptstream.chat(base_url=one.url) as conv:
        with pytest.warns(ResourceWarning, match="nothing was sent"):
            conv.stream("Hi")
        assert conv.messages == []
        assert conv.last is None
        conv.send("Hi")
    assert len(one.requests) == 1


def test_with_alone_sends_nothing(server):
    """Entering and leaving a stream without iterating sends nothing and warns of nothing."""
    one = server(each(good))
    with promptstream.providers.Compatible(one.url) as asked:
        with asked.stream("Hi"):
            pass
        with pytest.raises(errors.Cancelled):
            asked.stream("Hi").close() or list(closed(asked))
    assert not one.connections


def closed(asked):
    """Give a stream that was closed before it began."""
    stream = asked.stream("Hi")
    stream.close()
    stream.close()
    return stream


def test_a_stream_left_by_break_gives_the_conversation_free(endless):
    """After break the next turn starts at once; the partial answer is in the history, marked cancelled."""
    with promptstream.chat(base_url=endless.url) as conv:
        for number in range(3):
            for _ in conv.stream("Hi"):
                break
            assert conv.last.text == "Once"
            assert conv.last.finish_reason == "cancelled"
            assert len(conv.messages) == 2 * (number + 1)


def test_keep_partial_false_drops_what_was_left(endless):
    """With keep_partial=False a turn that was left leaves no message behind."""
    with promptstream.chat(base_url=endless.url, keep_partial=False) as conv:
        for _ in conv.stream("Hi"):
            break
        assert conv.messages == []


def test_closing_the_conversation_hangs_up(endless):
    """Leaving the conversation's with block ends a turn that is still held."""
    with promptstream.chat(base_url=endless.url) as conv:
        iterator = iter(conv.stream("Hi"))
        next(iterator)
    assert endless.conn.gone.wait(1)
    with pytest.raises(errors.Cancelled):
        next(iterator)


def test_closing_the_provider_leaves_running_streams_alone(server):
    """close() drops idle connections; a stream that runs goes on to its end."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(text("Once")))
        conn.wait(conn.server.release)
        conn.send(http_chunk(text(" more") + finish()) + LAST_CHUNK)
        conn.wait_for_hang_up()

    held = server(script)
    asked = promptstream.providers.Compatible(held.url)
    said = ""
    for chunk in asked.stream("Hi"):
        said += str(chunk)
        asked.close()
        held.release.set()
    assert said == "Once more"
    asked.close()


@needs_proc
def test_a_closed_provider_holds_no_descriptor(server):
    """close() closes the idle connections, each of them."""
    one = server(each(good))
    asked = promptstream.providers.Compatible(one.url)
    asked.send("Hi")
    before = descriptors()
    threads = [threading.Thread(target=asked.send, args=("Hi",)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    asked.close()
    settled(one)
    assert descriptors() <= before


# Every way to leave a stream, as python -m tests.leaks has them

BUFFERED = tuple(name for name in leaks.WAYS if name.startswith("buffered"))
SHORT = ("break", "buffered, dropped")


@needs_proc
@pytest.mark.parametrize(
    ("holder", "names"),
    [("provider", tuple(leaks.WAYS)), ("conversation", ("break", "token", *BUFFERED))],
    ids=["provider", "conversation"],
)
def test_a_hundred_streams_left_in_every_way_leave_nothing(holder, names):
    """Each of 100 is hung up; no descriptor, no thread and less than 5 MiB stay, with the collector off."""
    found = {name: left.verdict() for name, left in leaks.leave(names, 100, holder)}
    assert found == dict.fromkeys(names, "")


@needs_proc
def test_a_hundred_streams_left_over_tls_leave_nothing(certificates):
    """The same over TLS."""
    found = {
        name: left.verdict() for name, left in leaks.leave(SHORT, 100, tls=(certificates.context, certificates.bundle))
    }
    assert found == dict.fromkeys(SHORT, "")
