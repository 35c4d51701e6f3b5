"""A request is tried again only while nothing of its answer was handed out, and only where it does no harm."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from email.utils import formatdate
from time import monotonic, time

import pytest
from server import (
    LAST_CHUNK,
    PATIENCE,
    TEXT,
    BlackHole,
    answer,
    chunked_head,
    each,
    error,
    failure,
    finish,
    full,
    good,
    http_chunk,
    role,
    say,
    text,
    unused_port,
    usage,
)

import promptstream
from promptstream import Retry, Timeout, errors
from promptstream.wire.retry import PATIENCE as LONGEST_ASKED

FAST = Retry(3, base=0.001)


def provider(url, retry=FAST, **options):
    """Make a provider that tries three times, quickly."""
    options.setdefault("allow_plaintext", True)  # a proxy on loopback stands for the network
    options.setdefault("timeout", Timeout(first=10, idle=10))
    return promptstream.providers.Compatible(url, api_key="sk-0123456789", retry=retry, **options)


def streamed(*events, last=LAST_CHUNK):
    """Make a step that streams *events* and ends the message."""
    return say(chunked_head() + b"".join(map(http_chunk, events)) + last)


# What is tried again


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_a_passing_fault_is_tried_again(server, status):
    """A status that may pass, before the first chunk, is followed by another attempt and leaves no trace."""
    one = server(each(say(error(f"{status} Not now")), good))
    stream = provider(one.url).stream("Hi")
    assert "".join(map(str, stream)) == TEXT
    assert stream.result().complete
    assert len(one.requests) == 2
    assert one.requests[0].json == one.requests[1].json
    assert len(one.connections) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 501])
def test_a_lasting_fault_is_not_tried_again(server, status):
    """A status that will not pass is raised at once, after one attempt."""
    one = server(each(say(error(f"{status} No")), good))
    with pytest.raises(errors.ProviderError) as caught:
        provider(one.url).send("Hi")
    assert caught.value.status == status
    assert caught.value.attempts == 1
    assert not caught.value.retryable
    assert len(one.requests) == 1


def test_a_spent_quota_is_not_a_rate_limit(server):
    """A 429 that means an empty account is not tried again."""
    body = '{"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}}'
    one = server(each(say(full("429 No", body)), good))
    with pytest.raises(errors.QuotaExceeded):
        provider(one.url).send("Hi")
    assert len(one.requests) == 1


@pytest.mark.parametrize(("told", "attempts"), [("true", 2), ("false", 1)])
def test_the_provider_may_decide(server, told, attempts):
    """x-should-retry overrules the status, either way."""
    status = "400 Odd" if told == "true" else "503 Busy"
    one = server(each(say(error(status, X_Should_Retry=told)), good))
    with suppress(errors.ProviderError):
        provider(one.url).send("Hi")
    assert len(one.requests) == attempts


def test_a_refused_connection_is_tried_again(server):
    """A server that is not up yet is waited for."""
    port, started = unused_port(), []

    def start(error, delay):
        assert isinstance(error, errors.ConnectFailed)
        assert error.phase == "connect"
        listener = socket.create_server(("127.0.0.1", port))
        thread = threading.Thread(target=serve, args=(listener,))
        started.append((listener, thread))
        thread.start()

    def serve(listener):
        sock, _ = listener.accept()
        with sock:
            while b"\r\n\r\n" not in sock.recv(65536):
                pass
            sock.sendall(chunked_head(Connection="close") + http_chunk(b"".join(answer())) + LAST_CHUNK)
            sock.recv(65536)

    retry = Retry(2, base=0.001, on_retry=start)
    with provider(f"http://127.0.0.1:{port}/v1", retry) as asked:
        assert asked.send("Hi").text == TEXT
    for listener, thread in started:
        thread.join(PATIENCE)
        listener.close()


def test_refused_for_good_is_connect_failed():
    """When every attempt is refused, ConnectFailed says where, and how many attempts there were."""
    port = unused_port()
    begun = monotonic()
    with pytest.raises(errors.ConnectFailed, match=f"127.0.0.1:{port}") as caught:
        provider(f"http://127.0.0.1:{port}/v1").send("Hi")
    assert isinstance(caught.value, ConnectionError)
    assert (caught.value.attempts, caught.value.phase, caught.value.retryable) == (3, "connect", True)
    assert monotonic() - begun <= 1


def test_a_connect_that_ran_out_of_time_is_tried_again():
    """A connection that does not come about within Timeout.connect counts as a failed attempt, not as the end."""
    with BlackHole() as hole, pytest.raises(errors.ConnectFailed) as caught:
        provider(hole.url, Retry(2, base=0.001), timeout=Timeout(connect=0.1)).send("Hi")
    assert caught.value.retryable
    assert caught.value.attempts == 2


def test_an_unknown_host_is_connect_failed(monkeypatch):
    """A name that does not resolve is ConnectFailed in phase dns, naming the host; it may be tried again."""
    looked = []

    def unknown(*args, **options):
        looked.append(args)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(errors.ConnectFailed, match=r"nowhere\.invalid") as caught:
        provider("http://nowhere.invalid/v1").send("Hi")
    assert caught.value.phase == "dns"
    assert len(looked) == 3


@pytest.mark.parametrize("kind", ["server_error", "rate_limit_exceeded", "overloaded_error"])
def test_an_error_as_the_first_event_is_tried_again(server, kind):
    """An error inside a 200 stream before any chunk counts as the status it stands for."""
    one = server(each(streamed(role(), failure(kind=kind)), good))
    response = provider(one.url).send("Hi")
    assert response.text == TEXT
    assert response.complete
    assert len(one.requests) == 2


def test_a_lasting_error_as_the_first_event_is_not_tried_again(server):
    """An error inside a 200 stream that will not pass is raised at once."""
    one = server(each(streamed(failure(kind="invalid_api_key")), good))
    with pytest.raises(errors.Authentication):
        provider(one.url).send("Hi")
    assert len(one.requests) == 1


def test_nothing_of_a_failed_attempt_stays(server):
    """Usage, model and request id are those of the attempt that answered."""
    old = role().replace(b"toy-1", b"old-1")
    first = say(chunked_head(X_Request_Id="req-1") + http_chunk(old + usage(90, 9) + failure()) + LAST_CHUNK)
    second = say(chunked_head(X_Request_Id="req-2") + http_chunk(role() + text("Hello") + finish()) + LAST_CHUNK)
    response = provider(server(each(first, second)).url).send("Hi")
    assert response.text == "Hello"
    assert response.model == "toy-1"
    assert response.request_id == "req-2"
    assert response.usage.total is None


# What is never tried again


@pytest.mark.parametrize("ending", ["error", "cut", "reset"])
def test_never_after_a_chunk(server, ending):
    """Once a chunk was handed out nothing is sent again, whatever happens."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role() + text("Once")))
        conn.wait(conn.server.release)
        if ending == "error":
            conn.send(http_chunk(failure()) + LAST_CHUNK)
        if ending == "reset":
            conn.reset()

    one = server(script)
    seen = []
    with pytest.raises(promptstream.StreamError) as caught:
        for chunk in provider(one.url, Retry(3, base=0.001, ambiguous=True)).stream("Hi"):
            seen.append(str(chunk))
            one.release.set()
    assert seen == ["Once"]
    assert caught.value.response.text == "Once"
    assert caught.value.attempts == 1
    assert len(one.requests) == 1


@pytest.mark.parametrize("event", ["reasoning", "tool call"])
def test_never_after_any_visible_chunk(server, event):
    """Reasoning and a tool call's fragment count as handed out, too."""
    delta = (
        {"reasoning_content": "Hm."}
        if event == "reasoning"
        else {"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "f", "arguments": "{"}}]}
    )
    from server import event as render

    one = server(each(streamed(render({"index": 0, "delta": delta, "finish_reason": None}), failure())))
    with pytest.raises(errors.ServerError):
        provider(one.url).send("Hi")
    assert len(one.requests) == 1


def die(conn, request):
    """Close without a byte of an answer."""
    conn.close()


def die_by_reset(conn, request):
    """Reset without a byte of an answer."""
    conn.reset()


@pytest.mark.parametrize("death", [die, die_by_reset], ids=["closed", "reset"])
@pytest.mark.parametrize("ambiguous", [False, True])
def test_a_request_that_died_whole_is_sent_again_only_where_allowed(server, death, ambiguous):
    """A fully sent POST that died without a byte may have been billed: Retry(ambiguous=True) must say so."""
    one = server(each(death, good))
    asked = provider(one.url, Retry(3, base=0.001, ambiguous=ambiguous))
    if ambiguous:
        assert asked.send("Hi").text == TEXT
    else:
        with pytest.raises(errors.ConnectFailed) as caught:
            asked.send("Hi")
        assert isinstance(caught.value, ConnectionError)
        assert (caught.value.phase, caught.value.retryable, caught.value.attempts) == ("headers", False, 1)
        assert not caught.value.response.complete
    assert len(one.requests) == 1 + ambiguous


@pytest.mark.parametrize("death", [die, die_by_reset], ids=["closed", "reset"])
def test_a_request_that_died_whole_behind_a_proxy_is_not_sent_again_either(server, death):
    """A proxy between does not make a fully sent POST harmless to repeat."""
    proxy = server(each(death, good))
    with pytest.raises(errors.ConnectFailed) as caught:
        provider("http://example.invalid/v1", proxies={"http": proxy.origin}).send("Hi")
    assert (caught.value.phase, caught.value.retryable) == ("headers", False)
    assert len(proxy.requests) == 1


def test_a_proxy_that_talks_rubbish_is_asked_once(server):
    """What a proxy answers to a fully sent POST is judged as any server's answer."""
    proxy = server(each(lambda conn, request: (conn.send(b"rubbish\r\n"), conn.close()), good))
    with pytest.raises(errors.ProtocolError):
        provider("http://example.invalid/v1", proxies={"http": proxy.origin}).send("Hi")
    assert len(proxy.requests) == 1


def test_a_proxy_that_is_down_is_tried_again():
    """No connection to the proxy is no connection: nothing was sent, so it may be tried again."""
    proxies = {"http": f"http://127.0.0.1:{unused_port()}"}
    with pytest.raises(errors.ConnectFailed, match="proxy") as caught:
        provider("http://example.invalid/v1", proxies=proxies).send("Hi")
    assert (caught.value.phase, caught.value.attempts) == ("proxy", 3)


def test_headers_that_were_cut_are_ambiguous_too(server):
    """A connection that died inside the headers is not sent again either."""
    one = server(each(lambda conn, request: (conn.send(b"HTTP/1.1 200 OK\r\nContent-"), conn.close()), good))
    with pytest.raises(promptstream.StreamError) as caught:
        provider(one.url).send("Hi")
    assert not caught.value.response.complete
    assert len(one.requests) == 1


# Stale connections


def test_a_connection_that_the_server_closed_is_replaced_unseen(server):
    """A pooled connection that the server closed meanwhile costs nothing and counts as no attempt."""

    def script(conn):
        conn.request()
        conn.answer()
        conn.close()
        conn.gone.set()

    one = server(script)
    retries = []
    with provider(one.url, Retry(0, on_retry=lambda *told: retries.append(told))) as asked:
        for _ in range(3):
            assert asked.send("Hi").text == TEXT
            assert one.conn.gone.wait(PATIENCE)
    assert not retries
    assert len(one.requests) == 3


def close_at_the_request(conn):
    """Answer once; then close as soon as the next request begins to arrive, as an idle time-out that races does."""
    conn.request()
    conn.answer()
    conn.recv()
    conn.close()


def reset_at_the_request(conn):
    """The same by a reset."""
    conn.request()
    conn.answer()
    conn.recv()
    conn.reset()


@pytest.mark.parametrize("script", [close_at_the_request, reset_at_the_request], ids=["closed", "reset"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_close_that_races_with_the_request_is_repaired_once(server, certificates, script, secure):
    """A reused connection that dies without a byte is replaced by a fresh one, even with retrying off."""
    one = server(script, tls=certificates.context if secure else None)
    with provider(one.url, Retry(0), verify=certificates.bundle) as asked:
        for _ in range(5):
            assert asked.send("Hi").text == TEXT
    assert len(one.requests) == 5
    assert len(one.connections) == 5


@pytest.mark.parametrize("script", [close_at_the_request, reset_at_the_request], ids=["closed", "reset"])
def test_a_proxys_stale_connection_is_repaired_too(server, script):
    """The same through an HTTP proxy."""
    proxy = server(script)
    with provider("http://example.invalid/v1", Retry(0), proxies={"http": proxy.origin}) as asked:
        for _ in range(3):
            assert asked.send("Hi").text == TEXT
    assert len(proxy.requests) == 3


def test_a_stale_connection_is_repaired_only_once(server):
    """Where the fresh connection dies as well, it is the ambiguous case and raised."""
    seen = threading.Event()

    def script(conn):
        conn.request()
        if conn.number == 0:
            conn.answer()
            conn.recv()
            seen.set()

    one = server(script)
    with provider(one.url) as asked:
        asked.send("Hi")
        with pytest.raises(errors.ConnectFailed):
            asked.send("Hi")
    assert seen.is_set()
    assert len(one.connections) == 2


def test_stale_connections_are_repaired_although_several_lie_about(server):
    """With many idle connections, all of which die at the next request, that request still gets a fresh one."""
    together = threading.Barrier(4)

    def script(conn):
        conn.request()
        if conn.number < 4:
            together.wait(PATIENCE)
            conn.answer()
            conn.recv()
        else:
            conn.answer()

    one = server(script)
    with provider(one.url, Retry(0)) as asked:
        threads = [threading.Thread(target=asked.send, args=("Hi",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert asked.send("Hi").text == TEXT
    assert len(one.connections) == 5


# How long is waited


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "0.15"}, 0.15),
        ({"retry_after_ms": "150"}, 0.15),
        ({"retry_after_ms": "150", "Retry_After": "60"}, 0.15),
        ({"Retry_After": "-5"}, 0),
        ({"Retry_After": "soon"}, 0),
        ({"Retry_After": "0"}, 0),
    ],
    ids=str,
)
def test_retry_after_is_obeyed(server, headers, seconds):
    """The wait is what the provider asked for; what cannot be read counts as nothing asked."""
    told = []
    retry = Retry(2, base=0.001, on_retry=lambda error, delay: told.append((error.retry_after, delay)))
    one = server(each(say(error("429 Slow down", **headers)), good))
    begun = monotonic()
    assert provider(one.url, retry).send("Hi").complete
    took = monotonic() - begun
    assert seconds <= took <= seconds + 0.25
    ((asked, delay),) = told
    assert asked == (pytest.approx(seconds) if seconds else None)
    assert delay <= (seconds or 0.001)


def test_retry_after_may_be_a_date(server):
    """An HTTP date is understood as the time until then."""
    told = []
    retry = Retry(2, base=0.001, on_retry=lambda error, delay: told.append(delay))
    one = server(
        each(
            lambda conn, request: conn.send(error("503 Busy", Retry_After=formatdate(time() + 1.2, usegmt=True))), good
        )
    )
    assert provider(one.url, retry).send("Hi").complete
    assert 0 < told[0] <= 1.2


@pytest.mark.parametrize("timeout", [None, 5])
def test_a_wait_longer_than_the_time_left_is_not_begun(server, timeout):
    """Asked to wait beyond the total, or beyond all patience, the provider's own error is raised at once."""
    seconds = 6 if timeout else LONGEST_ASKED + 1
    one = server(each(say(error("429 Slow down", "Later.", Retry_After=f"{seconds:g}")), good))
    begun = monotonic()
    with pytest.raises(errors.RateLimited, match="Later") as caught:
        provider(one.url).send("Hi", timeout=timeout)
    assert monotonic() - begun <= 0.5
    assert caught.value.retry_after == seconds
    assert caught.value.retryable
    assert len(one.requests) == 1


def test_waits_grow_and_are_bounded():
    """Full jitter: from 0 to base·2ⁿ, at most longest, and never beyond the time left."""
    retry = Retry(20, base=0.5, longest=4.0)
    fault = errors.Overloaded("Busy.", retryable=True)
    for attempt, most in [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (10, 4.0), (19, 4.0)]:
        waits = [retry.delay(fault, attempt, float("inf")) for _ in range(200)]
        assert 0 <= min(waits) < most / 4
        assert most / 2 < max(waits) <= most
    assert retry.delay(fault, 20, float("inf")) is None
    assert retry.delay(fault, 1, 0.0) is None


# How often


@pytest.mark.parametrize(("retry", "attempts"), [(Retry(0), 1), (Retry(1), 1), (Retry(2, base=0.001), 2), (FAST, 3)])
def test_attempts_are_bounded(server, retry, attempts):
    """attempts counts them all; the error that is left tells how many there were."""
    one = server(each(say(error("503 Busy"))))
    with pytest.raises(errors.Overloaded) as caught:
        provider(one.url, retry).send("Hi")
    assert caught.value.attempts == len(one.requests) == attempts


def test_the_attempts_of_a_cut_answer_are_told(server):
    """An error that ends the second attempt says so, whichever layer found it."""
    one = server(each(say(error("503 Busy")), streamed(role(), text("Half"))))
    with pytest.raises(errors.Truncated) as caught:
        provider(one.url).send("Hi")
    assert caught.value.attempts == len(one.requests) == 2


def test_on_retry_hears_of_every_wait(server):
    """on_retry is called with the error and the wait, in the thread that iterates, once for each wait."""
    told = []
    retry = Retry(3, base=0.001, on_retry=lambda error, delay: told.append((type(error), delay, threading.get_ident())))
    one = server(each(say(error("503 Busy")), say(error("500 Oh")), good))
    assert provider(one.url, retry).send("Hi").complete
    assert [kind for kind, _, _ in told] == [errors.Overloaded, errors.ServerError]
    assert all(0 <= delay <= 0.002 and thread == threading.get_ident() for _, delay, thread in told)


def test_a_first_text_counts_from_the_first_request(server):
    """Timing includes the failed attempts: what the user waited for is what is told."""
    one = server(each(say(error("429 Slow down", Retry_After="0.1")), good))
    assert provider(one.url).send("Hi").timing.first >= 0.1
