"""Every clock stops its turn with the right class, at most 0.25 s late."""

from __future__ import annotations

import socket
import threading
from time import monotonic, sleep

import pytest
from server import (
    LAST_CHUNK,
    TEXT,
    BlackHole,
    answer,
    chunked_head,
    each,
    error,
    failure,
    finish,
    good,
    head,
    http_chunk,
    role,
    say,
    text,
    whole,
)

import promptstream
from promptstream import Timeout, errors

OVERRUN = 0.25
LIMIT = 0.2
"""The clock under test; the others have LONG."""
LONG = 30.0


def provider(url, **options):
    """Make a provider that tries once."""
    options.setdefault("retry", promptstream.Retry(0))
    options.setdefault("allow_plaintext", True)
    return promptstream.providers.Compatible(url, api_key="sk-0123456789", **options)


def clocks(**changed):
    """Give a Timeout of which only the *changed* clocks are short."""
    return Timeout(**{"connect": LONG, "first": LONG, "idle": LONG, "total": None, **changed})


def overrun(make_stream, kind, limit=LIMIT, since_text=False):
    """Run loops until one is in time, at most three; give the last error after checking its class and time."""
    late = []
    for _ in range(3):
        stream, begun, said = make_stream(), monotonic(), ""
        with pytest.raises(promptstream.StreamError) as caught:
            for chunk in stream:
                said += str(chunk)
                begun = monotonic() if since_text else begun
        late.append(monotonic() - begun - limit)
        assert type(caught.value) is kind, caught.value
        assert caught.value.response.text == stream.text == said
        assert late[-1] > -0.02, f"{-late[-1]:.3f} s too early"
        if late[-1] <= OVERRUN:
            break
    assert min(late) <= OVERRUN
    return caught.value


# connect


def test_a_connect_that_gets_no_answer_is_bounded():
    """connect bounds a connection that does not come about; it is a ConnectionError."""
    with BlackHole() as hole:
        ended = overrun(lambda: provider(hole.url, timeout=clocks(connect=LIMIT)).stream("Hi"), errors.ConnectFailed)
    assert isinstance(ended, ConnectionError)
    assert ended.phase == "connect"
    assert ended.retryable


def test_a_silent_handshake_is_bounded_by_connect(server):
    """The TLS handshake is part of connecting."""
    silent = server(lambda conn: conn.wait_for_hang_up())
    url = silent.url.replace("http:", "https:")
    ended = overrun(lambda: provider(url, timeout=clocks(connect=LIMIT)).stream("Hi"), errors.ConnectFailed)
    assert ended.phase == "tls"
    assert silent.conn.gone.wait(1)


def test_a_dripping_handshake_is_bounded_by_connect(server):
    """Bytes that come one by one do not feed the connect clock."""
    hello = b"\x16\x03\x03\x40\x00" + bytes(500)
    dripping = server(lambda conn: (conn.recv(), conn.drip(hello)))
    url = dripping.url.replace("http:", "https:")
    ended = overrun(lambda: provider(url, timeout=clocks(connect=LIMIT)).stream("Hi"), errors.ConnectFailed)
    assert ended.phase == "tls"


def test_all_addresses_share_one_budget(monkeypatch):
    """A host with several addresses, none of which answers, takes no longer than one."""
    with BlackHole() as hole:
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", hole.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: [address] * 4)
        overrun(lambda: provider(hole.url, timeout=clocks(connect=LIMIT)).stream("Hi"), errors.ConnectFailed)


def test_the_second_address_is_tried_within_the_budget(server, monkeypatch):
    """An address that does not answer leaves time for the next one."""
    one = server(each(good))
    with BlackHole() as hole:
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (hole.port, one.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: rows)
        assert provider(one.url, timeout=clocks(connect=0.6)).send("Hi").text == TEXT


def test_a_connect_clock_after_an_attempt_with_events_is_still_connect(server, monkeypatch):
    """An attempt that failed by an event leaves the clocks of the next one as they should be."""
    failing = server(each(say(head(Connection="close") + failure())))
    with BlackHole() as hole:
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", hole.port))]

        def vanish(error, delay):
            monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: rows)

        retry = promptstream.Retry(2, base=0.001, on_retry=vanish)
        with pytest.raises(promptstream.StreamError) as caught:
            provider(failing.url, timeout=clocks(connect=LIMIT), retry=retry).send("Hi")
    assert type(caught.value) is errors.ConnectFailed, caught.value


def after_a_black_hole(stalled, monkeypatch, **options):
    """Ask where the first attempt gets no connection and the second one meets *stalled*; give error and time.

    It runs in a thread, so that a clock that never rings fails the test instead of stopping all of them.
    """

    def lead_to(port):
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **given: rows)

    def work():
        try:
            asked.send("Hi", cancel=options.get("cancel"))
        except promptstream.StreamError as error:
            ended.append(error)

    ended = []
    retry = promptstream.Retry(2, base=0.001, on_retry=lambda error, delay: lead_to(stalled.port))
    with BlackHole() as hole:
        lead_to(hole.port)
        asked = provider("http://example.invalid/v1", retry=retry, timeout=options["timeout"])
        begun = monotonic()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(2)
        took = monotonic() - begun
    for conn in stalled.connections:
        conn.shut()
    thread.join(4)
    assert ended, "the turn does not end"
    return ended[0], took


SECOND = {
    "first": ({"first": LIMIT}, errors.FirstTokenTimeout),
    "idle": ({"idle": LIMIT}, errors.IdleTimeout),
    "total": ({"total": 0.5}, errors.DeadlineExceeded),
}


@pytest.mark.parametrize("clock", SECOND)
def test_an_attempt_after_a_connect_that_ran_out_keeps_its_clocks(server, monkeypatch, clock):
    """A connect clock that ran out ends its attempt alone: first, idle and total guard the next one."""
    short, kind = SECOND[clock]
    stalled = server(no_headers if clock == "first" else stall)
    ended, took = after_a_black_hole(stalled, monkeypatch, timeout=clocks(**{"connect": LIMIT, **short}))
    assert type(ended) is kind, ended
    assert took <= 0.5 + OVERRUN


@pytest.mark.parametrize("means", ["event", "token"])
def test_an_attempt_after_a_connect_that_ran_out_can_be_cancelled(server, monkeypatch, means):
    """Tokens and Events reach the second attempt as they reach the first."""
    cancel = threading.Event() if means == "event" else promptstream.CancelToken()

    def script(conn):
        conn.request()
        cancel.set() if means == "event" else cancel.cancel()
        conn.wait_for_hang_up()

    ended, took = after_a_black_hole(server(script), monkeypatch, cancel=cancel, timeout=clocks(connect=LIMIT))
    assert type(ended) is errors.Cancelled, ended
    assert took <= LIMIT + 1


# first


def no_headers(conn):
    """Say nothing."""
    conn.request()
    conn.wait_for_hang_up()


def dripping_headers(conn):
    """Send headers that never end, byte by byte."""
    conn.request()
    conn.drip(chunked_head(X_Long="x" * 10_000))


def endless_continues(conn):
    """Send "100 Continue" without end."""
    conn.request()
    while True:
        conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if conn.gone.wait(0.005):
            return


def headers_alone(conn):
    """Send the headers and then nothing."""
    conn.request()
    conn.send(chunked_head())
    conn.wait_for_hang_up()


def comments(conn):
    """Send keep-alives without end."""
    conn.request()
    conn.send(chunked_head())
    while not conn.gone.wait(0.02):
        conn.send(http_chunk(b": keep-alive\n\n"))


def dripping_event(conn):
    """Send one event byte by byte."""
    conn.request()
    conn.send(chunked_head())
    for byte in b"data: " + b"x" * 10_000:
        conn.send(http_chunk(bytes((byte,))))
        if conn.gone.wait(0.02):
            return


def half_a_whole_answer(conn):
    """Send half of a JSON body."""
    conn.request()
    conn.send(head("200 OK", "application/json", Content_Length="1000") + whole()[:50])
    conn.wait_for_hang_up()


FIRST = (no_headers, dripping_headers, endless_continues, headers_alone, comments, dripping_event, half_a_whole_answer)


@pytest.mark.parametrize("script", FIRST, ids=lambda script: script.__name__)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_first_counts_data_events_alone(server, certificates, script, secure):
    """Whatever comes instead of a data event, first ends the wait; it is a TimeoutError, and the server sees it."""
    slow = server(script, tls=certificates.context if secure else None)
    asked = provider(slow.url, timeout=clocks(first=LIMIT), verify=certificates.bundle)
    ended = overrun(lambda: asked.stream("Hi"), errors.FirstTokenTimeout)
    assert isinstance(ended, TimeoutError)
    assert not ended.retryable
    assert slow.conn.gone.wait(1)


# idle


def stall(conn):
    """Send one delta, then nothing."""
    conn.request()
    conn.send(chunked_head() + http_chunk(role() + text("Once")))
    conn.wait_for_hang_up()


def stall_with_comments(conn):
    """Send one delta, then keep-alives without end."""
    conn.request()
    conn.send(chunked_head() + http_chunk(role() + text("Once")))
    while not conn.gone.wait(0.02):
        conn.send(http_chunk(b": keep-alive\n\n"))


def stall_with_bytes(conn):
    """Send one delta, then an event that never ends."""
    conn.request()
    conn.send(chunked_head() + http_chunk(role() + text("Once") + b"data: "))
    while not conn.gone.wait(0.02):
        conn.send(http_chunk(b"x"))


def stall_in_a_chunk(conn):
    """Send one delta, then half an HTTP chunk."""
    conn.request()
    conn.send(chunked_head() + http_chunk(role() + text("Once")) + b"ff\r\ndata: {")
    conn.wait_for_hang_up()


@pytest.mark.parametrize(
    "script", [stall, stall_with_comments, stall_with_bytes, stall_in_a_chunk], ids=lambda script: script.__name__
)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_idle_counts_data_events_alone(server, certificates, script, secure):
    """An answer that stands still ends in IdleTimeout with its text, whatever keeps the connection busy."""
    slow = server(script, tls=certificates.context if secure else None)
    asked = provider(slow.url, timeout=clocks(idle=LIMIT), verify=certificates.bundle)
    ended = overrun(lambda: asked.stream("Hi"), errors.IdleTimeout, since_text=True)
    assert isinstance(ended, TimeoutError)
    assert ended.response.text == "Once"
    assert slow.conn.gone.wait(1)


def test_a_slow_consumer_does_not_trip_idle(server):
    """Time that the loop's body takes is not the server's silence."""
    stream = provider(server(each(good)).url, timeout=clocks(first=LIMIT, idle=LIMIT)).stream("Hi")
    said = ""
    for chunk in stream:
        said += str(chunk)
        sleep(LIMIT + 0.05)  # the one thing under test here is time
    assert said == TEXT
    assert stream.result().complete


def test_a_steady_stream_may_take_longer_than_idle(server):
    """Idle is the pause between two events, not the sum of pauses."""

    def steady(conn):
        conn.request()
        conn.send(chunked_head())
        for each_of in answer(*"abcdefghij"):
            conn.send(http_chunk(each_of))
            conn.gone.wait(0.04)
        conn.send(LAST_CHUNK)

    begun = monotonic()
    response = provider(server(steady).url, timeout=clocks(first=0.3, idle=0.3)).send("Hi")
    assert response.text == "abcdefghij"
    assert monotonic() - begun > 0.3


def test_a_held_connection_after_the_finish_signal_is_whole_after_a_short_wait(server):
    """After the finish signal only a short grace is given to usage and terminator, whatever idle says."""
    held = server(
        lambda conn: (
            conn.request(),
            conn.send(chunked_head() + http_chunk(text("Hi") + finish())),
            conn.wait_for_hang_up(),
        )
    )
    begun = monotonic()
    response = provider(held.url, timeout=clocks(idle=LIMIT)).send("Hi")
    assert response.complete
    assert response.warnings
    assert monotonic() - begun <= LIMIT + OVERRUN + 0.2


# total


def endless_tokens(conn):
    """Send tokens without end."""
    conn.request()
    conn.send(chunked_head())
    while not conn.gone.wait(0.005):
        conn.send(http_chunk(text("x")))


def flood_of_tokens(conn):
    """Send tokens without end, as fast as it goes."""
    conn.request()
    conn.send(chunked_head())
    conn.flood(http_chunk(text("x") * 100))


TOTAL = (no_headers, comments, stall, endless_tokens, flood_of_tokens)


@pytest.mark.parametrize("script", TOTAL, ids=lambda script: script.__name__)
def test_total_covers_everything(server, script):
    """A bare number is the total: it ends silence and floods alike with DeadlineExceeded, a TimeoutError."""
    slow = server(script)
    ended = overrun(lambda: provider(slow.url).stream("Hi", timeout=LIMIT), errors.DeadlineExceeded)
    assert isinstance(ended, TimeoutError)


def test_total_covers_connecting():
    """A total shorter than connect bounds the connection, too."""
    with BlackHole() as hole:
        overrun(lambda: provider(hole.url).stream("Hi", timeout=LIMIT), errors.DeadlineExceeded)


def test_total_covers_the_handshake(server):
    """A total shorter than connect bounds the TLS handshake, too."""
    url = server(lambda conn: conn.wait_for_hang_up()).url.replace("http:", "https:")
    overrun(lambda: provider(url).stream("Hi", timeout=LIMIT), errors.DeadlineExceeded)


def test_total_covers_the_sleeps_of_retries(server):
    """Retries never go on beyond the total: the last error, or DeadlineExceeded, comes in time."""
    busy = server(each(say(error("503 Busy"))))
    asked = provider(busy.url, retry=promptstream.Retry(1000, base=0.05, longest=0.05))
    begun = monotonic()
    with pytest.raises((errors.Overloaded, errors.DeadlineExceeded)) as caught:
        asked.send("Hi", timeout=LIMIT)
    assert monotonic() - begun <= LIMIT + OVERRUN
    assert len(busy.requests) > 1
    assert caught.value.attempts - len(busy.requests) in (0, 1)  # the last may have ended on its way


def test_total_counts_the_consumer_too(server):
    """The total goes on while the loop's body runs, and ends the turn at the next step."""
    stream = provider(server(each(good)).url).stream("Hi", timeout=LIMIT)
    chunks = []
    with pytest.raises(errors.DeadlineExceeded):
        for chunk in stream:
            chunks.append(chunk)
            sleep(LIMIT + 0.02)
    assert len(chunks) == 1


def test_total_bounds_a_server_that_does_not_read(server):
    """A prompt that nobody reads cannot hold the turn."""
    deaf = server(lambda conn: conn.server.release.wait(5))
    overrun(lambda: provider(deaf.url).stream("x" * (32 << 20), timeout=0.5), errors.DeadlineExceeded, limit=0.5)


def test_clocks_start_anew_with_each_turn(server):
    """A pooled connection carries no clock of the turn before."""
    one = server(each(good, good, lambda conn, request: late(conn)))

    def late(conn):
        conn.gone.wait(0.3)
        conn.answer()

    with provider(one.url) as asked:
        asked.send("Hi", timeout=Timeout(first=0.25, idle=0.25, total=0.25))
        asked.send("Hi", timeout=Timeout(first=0.25, idle=0.25, total=0.25))
        assert asked.send("Hi", timeout=clocks()).complete
    assert len(one.connections) == 1


def test_clocks_hold_on_a_pooled_connection(server):
    """The second turn on a connection is guarded as the first was."""
    one = server(each(good, lambda conn, request: conn.wait_for_hang_up()))
    with provider(one.url) as asked:
        asked.send("Hi")
        overrun(lambda: asked.stream("Hi", timeout=clocks(first=LIMIT)), errors.FirstTokenTimeout)
    assert len(one.requests) >= 2


def test_a_list_of_models_is_bounded(server):
    """models() keeps the provider's clocks as a turn does."""
    silent = server(no_headers)
    begun = monotonic()
    with pytest.raises(errors.FirstTokenTimeout), provider(silent.url, timeout=clocks(first=LIMIT)) as asked:
        asked.models()
    assert monotonic() - begun <= LIMIT + OVERRUN


def test_no_limit_means_no_limit(server):
    """Timeout(None, None, None) streams without any clock."""
    unlimited = Timeout(connect=None, first=None, idle=None, total=None)
    assert provider(server(each(good)).url, timeout=unlimited).send("Hi").complete


def test_a_stopped_answer_after_its_finish_signal_is_whole(server):
    """A total that runs out between the finish signal and the terminator does not spoil a whole answer."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(text("Hello") + finish()))
        conn.wait_for_hang_up()

    response = provider(server(script).url).send("Hi", timeout=LIMIT)
    assert response.complete
    assert response.warnings
