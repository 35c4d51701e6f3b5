"""Cancel reaches a turn wherever it is, in 100 ms, and hits nothing but its own connection."""

from __future__ import annotations

import os
import queue
import random
import signal
import socket
import threading
from contextlib import contextmanager
from time import monotonic, sleep

import pytest
from server import (
    DONE,
    LAST_CHUNK,
    PATIENCE,
    TEXT,
    BlackHole,
    chunked_head,
    each,
    error,
    finish,
    good,
    head,
    http_chunk,
    role,
    say,
    text,
)

import promptstream
from promptstream import errors
from promptstream.values.chunk import ChunkType

WITHIN = 0.1
"""Seconds in which a cancel takes effect; the fastest of three tries counts."""
WITHIN_OF_EVENT = 0.15
"""The same for a threading.Event, which is looked at every 50 ms."""


def provider(url, **options):
    """Make a provider that tries once."""
    options.setdefault("retry", promptstream.Retry(0))
    options.setdefault("timeout", promptstream.Timeout(first=10, idle=10))
    return promptstream.providers.Compatible(url, api_key="sk-0123456789", **options)


class Loop(threading.Thread):
    """Run a loop over a stream in a thread, and note what comes of it and when it ends."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream = stream
        self.chunks = []
        self.came = queue.Queue()
        self.error = None
        self.ended = None
        self.start()

    def run(self):
        try:
            for chunk in self.stream:
                self.chunks.append(chunk)
                self.came.put(chunk)
        except BaseException as error:
            self.error = error
        self.ended = monotonic()
        self.came.put(None)

    def first(self):
        """Wait for the first chunk."""
        return self.came.get(timeout=PATIENCE)

    def end(self):
        """Wait for the end, and give its time."""
        self.join(PATIENCE)
        assert self.ended is not None, "the loop does not end"
        return self.ended


def by_stream(stream, token, event):
    """Cancel by the stream's own method."""
    stream.cancel("enough")


def by_token(stream, token, event):
    """Cancel by the token that the stream was given."""
    token.cancel("enough")


def by_event(stream, token, event):
    """Cancel by a plain threading.Event."""
    event.set()


MEANS = {"stream": by_stream, "token": by_token, "event": by_event}


def stall_in_the_body(conn):
    """Send one delta and then nothing."""
    conn.request()
    conn.send(chunked_head() + http_chunk(role() + text("Once")))
    conn.wait_for_hang_up()


def stall_before_headers(conn):
    """Read the request and say nothing."""
    conn.request()
    conn.wait_for_hang_up()


def stall_in_the_headers(conn):
    """Send half of the headers."""
    conn.request()
    conn.send(chunked_head()[:-9])
    conn.wait_for_hang_up()


def stall_in_the_handshake(conn):
    """Accept, and never answer the client's hello."""
    conn.recv()
    conn.wait_for_hang_up()


def ask_to_wait(conn):
    """Ask for a retry in 30 s."""
    conn.request()
    conn.send(error("503 Busy", Retry_After="30"))


@contextmanager
def stalled(place, server, certificates):
    """Make a provider whose next turn gets stuck at *place*; give it and what tells that it is there."""
    if place == "connect":
        with BlackHole() as hole:
            yield provider(hole.url), lambda loop: sleep(0.02)
        return
    scripts = {
        "body": stall_in_the_body,
        "tls body": stall_in_the_body,
        "headers": stall_before_headers,
        "tls headers": stall_before_headers,
        "half of the headers": stall_in_the_headers,
        "tls handshake": stall_in_the_handshake,
        "retry's sleep": ask_to_wait,
    }
    tls = certificates.context if place.startswith("tls") else None
    stuck = server(scripts[place], tls=tls, raw=place == "tls handshake")
    slept = threading.Event()
    retry = promptstream.Retry(3, on_retry=lambda error, delay: slept.set())
    asked = provider(stuck.url, verify=certificates.bundle, retry=retry)

    def there(loop):
        if place.endswith("body"):
            assert str(loop.first()) == "Once"
        elif place == "tls handshake":
            stuck.wait_for_connection()
        elif place == "retry's sleep":
            assert slept.wait(PATIENCE)
        else:
            stuck.wait_for_request()
        sleep(0.02)  # let it block

    yield asked, there


PLACES = (
    *("body", "headers", "half of the headers", "connect", "tls handshake", "tls headers", "tls body"),
    "retry's sleep",
)


@pytest.mark.parametrize("means", MEANS)
@pytest.mark.parametrize("place", PLACES)
def test_cancel_reaches_a_turn_wherever_it_waits(place, means, server, certificates):
    """From another thread, by any means, a cancel ends the loop with Cancelled in 100 ms (an Event: 150 ms)."""
    delays = []
    for _ in range(3):
        token, event = promptstream.CancelToken(), threading.Event()
        with stalled(place, server, certificates) as (asked, there):
            stream = asked.stream("Hi", cancel=event if means == "event" else token)
            loop = Loop(stream)
            there(loop)
            begun = monotonic()
            MEANS[means](stream, token, event)
            delays.append(loop.end() - begun)
        said = "Once" if place.endswith("body") else ""
        assert isinstance(loop.error, errors.Cancelled), loop.error
        assert loop.error.response.text == stream.text == said
        assert loop.error.response.finish_reason == "cancelled"
        assert not loop.error.response.complete
        assert means == "event" or "enough" in str(loop.error)
        if delays[-1] <= WITHIN:
            break
    assert min(delays) <= (WITHIN_OF_EVENT if means == "event" else WITHIN)


@pytest.mark.parametrize("place", ["body", "headers", "tls body"])
def test_the_server_sees_a_cancel_at_once(place, server, certificates):
    """A cancel hangs up, so that the server can stop generating."""
    delays = []
    for _ in range(3):
        tls = certificates.context if place == "tls body" else None
        stuck = server(stall_before_headers if place == "headers" else stall_in_the_body, tls=tls)
        stream = provider(stuck.url, verify=certificates.bundle).stream("Hi")
        loop = Loop(stream)
        stuck.wait_for_request()
        if place != "headers":
            loop.first()
        begun = monotonic()
        stream.cancel()
        assert stuck.conn.gone.wait(PATIENCE)
        delays.append(stuck.conn.hung_up - begun)
        loop.end()
    assert min(delays) <= WITHIN


def test_a_conversation_cancels_its_running_turn(server):
    """conv.cancel() ends the turn; the partial answer stays in the history, marked, and the next turn may start."""
    one = server(each(lambda conn, request: stall(conn), good))
    with promptstream.chat(base_url=one.url) as conv:
        loop = Loop(conv.stream("Hi"))
        assert str(loop.first()) == "Once"
        begun = monotonic()
        conv.cancel("the user left")
        assert loop.end() - begun <= WITHIN * 3
        assert isinstance(loop.error, errors.Cancelled)
        assert conv.last.text == "Once"
        assert [(m.role, m.text, m.finish_reason) for m in conv.messages] == [
            ("user", "Hi", None),
            ("assistant", "Once", "cancelled"),
        ]
        assert conv.send("And now?").complete


def stall(conn):
    """Send one delta, then wait for the client to go."""
    conn.send(chunked_head() + http_chunk(role() + text("Once")))
    conn.wait_for_hang_up()


@pytest.mark.parametrize("framing", ["one chunk", "many chunks", "close"])
def test_no_chunk_comes_after_a_cancel(server, framing):
    """Events that lie in the buffer already are not handed out after a cancel, and the end is never clean."""
    events = [role(), *(text(f"{n} ") for n in range(50)), finish(), DONE]

    def script(conn):
        conn.request()
        if framing == "close":
            conn.send(head(Connection="close") + b"".join(events))
            return
        chunks = [b"".join(events)] if framing == "one chunk" else events
        conn.send(chunked_head() + b"".join(map(http_chunk, chunks)) + LAST_CHUNK)

    token = promptstream.CancelToken()
    stream = provider(server(script).url).stream("Hi", cancel=token)
    chunks = []
    with pytest.raises(errors.Cancelled) as caught:
        for chunk in stream:
            chunks.append(str(chunk))
            if len(chunks) == 3:
                token.cancel()
    assert chunks == ["0 ", "1 ", "2 "]
    assert caught.value.response.text == "0 1 2 "
    assert not caught.value.response.complete


@pytest.mark.parametrize("means", MEANS)
def test_a_cancel_in_the_loop_body_of_the_last_text_is_no_clean_end(server, means):
    """Cancelled before DONE was handed out means Cancelled, although the whole answer has arrived."""
    token, event = promptstream.CancelToken(), threading.Event()
    stream = provider(server(each(good)).url).stream("Hi", cancel=event if means == "event" else token)
    with pytest.raises(errors.Cancelled):
        for chunk in stream:
            if stream.text == TEXT:
                assert not chunk.done
                MEANS[means](stream, token, event)
    assert not stream.response.complete


def test_a_cancel_after_done_changes_nothing(server):
    """Once DONE was handed out the answer is whole for good."""
    token = promptstream.CancelToken()
    stream = provider(server(each(good)).url).stream("Hi", cancel=token)
    for chunk in stream:
        if chunk.done:
            token.cancel()
            stream.cancel()
    assert stream.result().complete
    assert stream.result().finish_reason == "stop"


def test_a_late_cancel_leaves_the_next_turn_on_the_connection_alone(server):
    """A stream that is over owns no connection: cancelling it does not disturb who uses that connection now."""
    one = server(each(good, lambda conn, request: second(conn)))

    def second(conn):
        conn.send(chunked_head() + http_chunk(role() + text("Hello")))
        conn.wait(conn.server.release)
        conn.send(http_chunk(text(" you") + finish() + DONE) + LAST_CHUNK)

    token = promptstream.CancelToken()
    with provider(one.url) as asked:
        over = asked.stream("Hi", cancel=token)
        over.result()
        running = asked.stream("Hi")
        for _ in running:
            if not one.release.is_set():
                assert len(one.connections) == 1
                over.cancel()
                token.cancel()
                over.close()
                one.release.set()
        assert running.result().text == "Hello you"
    assert len(one.connections) == 1


def test_late_cancels_never_hit_a_pooled_connection(server):
    """Cancels that race with the end of a turn end that turn or nothing; those of other threads stay whole."""
    one = server(each(good))
    stop, wrong = threading.Event(), []
    with provider(one.url) as asked:

        def others():
            while not stop.is_set():
                try:
                    assert asked.send("Hi").text == TEXT
                except BaseException as fault:
                    wrong.append(fault)

        threads = [threading.Thread(target=others) for _ in range(2)]
        for thread in threads:
            thread.start()
        chance, ends = random.Random(7), set()
        for _ in range(150):
            stream = asked.stream("Hi")
            loop = Loop(stream)
            sleep(chance.uniform(0, 0.004))
            stream.cancel()
            loop.end()
            ends.add(type(loop.error))
            assert loop.error is None or isinstance(loop.error, errors.Cancelled)
            assert loop.error is not None or loop.chunks[-1].done
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not wrong, wrong[:3]
    assert errors.Cancelled in ends


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_cancel_in_full_flow_never_yields_garbage(server, certificates, secure):
    """Cancelled at any moment of a fast stream, TLS too, it hands out the text in order and then Cancelled alone."""
    numbers = [http_chunk(text(f"{n},")) for n in range(3000)]

    def script(conn):
        conn.request()
        conn.send(chunked_head(), *numbers)
        conn.wait_for_hang_up()

    fast = server(script, tls=certificates.context if secure else None)
    whole = "".join(f"{n}," for n in range(3000))
    chance = random.Random(11)
    with provider(fast.url, verify=certificates.bundle) as asked:
        for _ in range(25):
            stream = asked.stream("Hi")
            loop = Loop(stream)
            loop.first()
            sleep(chance.uniform(0, 0.01))
            stream.cancel()
            loop.end()
            assert isinstance(loop.error, errors.Cancelled), loop.error
            said = "".join(map(str, loop.chunks))
            assert whole.startswith(said)
            assert loop.error.response.text == said
            assert all(chunk.type is ChunkType.TEXT for chunk in loop.chunks)


@pytest.mark.parametrize("means", MEANS)
def test_a_cancel_before_the_start_sends_nothing(server, means):
    """What was cancelled before its first next raises Cancelled and opens no connection."""
    one = server(each(good))
    token, event = promptstream.CancelToken(), threading.Event()
    stream = provider(one.url).stream("Hi", cancel=event if means == "event" else token)
    MEANS[means](stream, token, event)
    for _ in range(2):
        with pytest.raises(errors.Cancelled):
            list(stream)
    assert not one.connections


def test_a_cancel_before_the_start_leaves_no_trace_in_a_conversation(server):
    """A turn cancelled before it began changes neither history nor the last answer."""
    one = server(each(good))
    token = promptstream.CancelToken()
    token.cancel()
    with promptstream.chat(base_url=one.url) as conv:
        for _ in range(2):
            with pytest.raises(errors.Cancelled):
                conv.send("Hi", cancel=token)
        assert conv.messages == []
        assert conv.last is None
        assert conv.send("Hi").complete


def test_one_token_stops_many_streams(server):
    """A token given to several streams ends them all."""
    stuck = server(stall_in_the_body)
    token = promptstream.CancelToken()
    with provider(stuck.url) as asked:
        loops = [Loop(asked.stream("Hi", cancel=token)) for _ in range(5)]
        for loop in loops:
            loop.first()
        begun = monotonic()
        token.cancel("all of you")
        assert max(loop.end() for loop in loops) - begun <= WITHIN * 3
    assert all(isinstance(loop.error, errors.Cancelled) for loop in loops)


def test_cancel_is_idempotent(server):
    """Cancelling again, by other means, changes neither the ending nor its reason."""
    stuck = server(stall_in_the_body)
    token = promptstream.CancelToken()
    stream = provider(stuck.url).stream("Hi", cancel=token)
    with pytest.raises(errors.Cancelled, match="first reason"):
        for _ in stream:
            stream.cancel("first reason")
            stream.cancel("second reason")
            token.cancel("third reason")
    with pytest.raises(errors.Cancelled, match="first reason"):
        list(stream)


def test_a_cancelled_request_is_not_sent_again(server):
    """Cancelled while the request is out, it is neither retried nor counted as a fault of the connection."""
    one = server(each(good, lambda conn, request: conn.wait_for_hang_up()))
    with provider(one.url, retry=promptstream.Retry(3, base=0.001, ambiguous=True)) as asked:
        asked.send("Hi")
        one.wait_for_request()
        stream = asked.stream("Hi")
        loop = Loop(stream)
        one.wait_for_request()
        stream.cancel()
        loop.end()
        assert isinstance(loop.error, errors.Cancelled)
    assert len(one.requests) == 2
    assert len(one.connections) == 1


def test_a_cancel_stops_a_request_that_is_still_being_sent(server):
    """A server that does not read cannot hold a large prompt against a cancel."""
    stuck = server(lambda conn: conn.server.release.wait(PATIENCE))
    stream = provider(stuck.url).stream("x" * (32 << 20))
    loop = Loop(stream)
    stuck.wait_for_connection()
    sleep(0.2)  # until the buffers are full
    begun = monotonic()
    stream.cancel()
    assert loop.end() - begun <= WITHIN * 3
    assert isinstance(loop.error, errors.Cancelled)


class CountedEvent(threading.Event):
    """Be set from the given look on."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks

    def is_set(self):
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_cancel_at_every_look_is_cancelled_and_leaves_nothing(server, certificates, secure):
    """Set at the nth look, for every n up to the answer's end, an Event gives Cancelled, and no descriptor is left."""
    one = server(each(good), tls=certificates.context if secure else None)
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    whole = cancelled = 0
    for looks in range(60):
        with provider(one.url, verify=certificates.bundle) as asked:
            stream = asked.stream("Hi", cancel=CountedEvent(looks))
            try:
                chunks = list(stream)
            except errors.Cancelled:
                cancelled += 1
                assert TEXT.startswith(stream.text)
            else:
                whole += 1
                assert chunks[-1].done
                assert stream.text == TEXT
    assert cancelled > 5
    assert whole > 5
    if descriptors is not None:
        for conn in one.connections:
            assert conn.gone.wait(PATIENCE)
            conn.close()
        assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_a_cancel_between_the_claim_and_the_connect_is_not_lost(monkeypatch):
    """A cancel that comes just before connect() blocks, on a socket not connected yet, still ends it in time."""
    import promptstream.wire.dial as dialling

    stream = None

    class Late(socket.socket):
        def connect(self, address):
            stream.cancel()
            super().connect(address)

    class Sockets:
        socket = Late

        def __getattr__(self, name):
            return getattr(socket, name)

    monkeypatch.setattr(dialling, "socket", Sockets())
    with BlackHole() as hole:
        stream = provider(hole.url, timeout=promptstream.Timeout(connect=2)).stream("Hi")
        begun = monotonic()
        with pytest.raises(errors.Cancelled):
            list(stream)
        assert monotonic() - begun <= 1


needs_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX signals")


@needs_signals
@pytest.mark.parametrize("place", ["body", "headers", "retry's sleep"])
def test_a_token_may_be_cancelled_in_a_signal_handler(place, server, certificates):
    """A handler of the very thread that is blocked may cancel."""
    token = promptstream.CancelToken()
    before = signal.signal(signal.SIGALRM, lambda number, frame: token.cancel("a signal"))
    try:
        with stalled(place, server, certificates) as (asked, _):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            begun = monotonic()
            with pytest.raises(errors.Cancelled, match="a signal"):
                list(asked.stream("Hi", cancel=token))
            assert monotonic() - begun <= 0.5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@needs_signals
@pytest.mark.parametrize("place", ["body", "headers"])
def test_ctrl_c_ends_the_turn_and_hangs_up(place, server):
    """KeyboardInterrupt in a blocked read comes through at once; the connection is closed, the partial answer kept."""
    stuck = server(stall_in_the_body if place == "body" else stall_before_headers)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with promptstream.chat(base_url=stuck.url) as conv:
            stream = conv.stream("Hi")
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            begun = monotonic()
            with pytest.raises(KeyboardInterrupt):
                for _ in stream:
                    pass
            assert monotonic() - begun <= 0.5
            assert stuck.conn.gone.wait(1)
            with pytest.raises(errors.Cancelled):
                stream.result()
            kept = ["Hi", "Once"] if place == "body" else []
            assert [message.text for message in conv.messages] == kept
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_cancelled_carries_what_is_known(server):
    """Cancelled has the text, the model and the request id, and pickles."""
    import pickle

    opening = chunked_head(X_Request_Id="req-7") + http_chunk(role() + text("Once"))
    stuck = server(each(lambda conn, request: (conn.send(opening), conn.wait_for_hang_up())))
    stream = provider(stuck.url).stream("Hi")
    with pytest.raises(errors.Cancelled) as caught:
        for _ in stream:
            stream.cancel()
    copy = pickle.loads(pickle.dumps(caught.value))
    for each_of in (caught.value, copy):
        assert each_of.response.text == "Once"
        assert (each_of.model, each_of.request_id, each_of.provider) == ("toy-1", "req-7", "compatible")


def test_a_wrong_kind_of_token_is_a_type_error(server):
    """What can neither be a token nor an Event is refused at the call."""
    with pytest.raises(TypeError, match="CancelToken"):
        provider("http://127.0.0.1:1/v1").stream("Hi", cancel=lambda: None)


def test_a_cancel_ends_a_stalled_error_body(server):
    """A cancel while an error's body stalls ends in Cancelled or in that error, promptly."""

    def script(conn):
        conn.request()
        conn.send(head("400 Bad", "application/json", Content_Length="100") + b'{"error"')
        conn.wait_for_hang_up()

    stuck = server(script)
    stream = provider(stuck.url).stream("Hi")
    loop = Loop(stream)
    stuck.wait_for_request()
    sleep(0.03)
    begun = monotonic()
    stream.cancel()
    assert loop.end() - begun <= WITHIN * 3
    assert isinstance(loop.error, (errors.Cancelled, errors.InvalidRequest))


def test_an_error_that_came_before_the_cancel_stays(server):
    """An error that was there before the cancel stays that error."""
    no = server(each(say(error("400 Bad", "Never."))))
    stream = provider(no.url).stream("Hi")
    with pytest.raises(errors.InvalidRequest):
        list(stream)
    stream.cancel()
    with pytest.raises(errors.InvalidRequest):
        list(stream)
