"""What goes over the wire and what does not: headers, hosts, proxies, trust, limits, keys, forks."""

from __future__ import annotations

import base64
import os
import socket
import threading
import traceback
import tracemalloc
from contextlib import suppress
from time import monotonic

import pytest
from server import (
    DONE,
    LAST_CHUNK,
    PATIENCE,
    TEXT,
    answer,
    bomb,
    chunked_head,
    each,
    error,
    failure,
    finish,
    full,
    good,
    head,
    http_chunk,
    role,
    say,
    text,
    unused_port,
    whole,
    zipped,
)

import promptstream
from promptstream import Retry, Timeout, errors

KEY = "sk-Q0pB7mZr4xWc9vTn"
"""A key that occurs nowhere by chance."""
MEGABYTE = 1 << 20


def provider(url, **options):
    """Make a provider with a key, that tries once."""
    options.setdefault("retry", Retry(0))
    options.setdefault("api_key", KEY)
    options.setdefault("allow_plaintext", True)  # a proxy on loopback stands for the network
    options.setdefault("timeout", Timeout(first=10, idle=10))
    return promptstream.providers.Compatible(url, **options)


def failed(asked, kind=promptstream.StreamError, **options):
    """Send, and give the error."""
    with pytest.raises(kind) as caught:
        asked.send("Hi", **options)
    return caught.value


def peak_of(work):
    """Run *work* and give the most bytes it held."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# What is sent


def test_a_request_says_what_it_should(server):
    """The body is UTF-8 JSON with its length, compression is declined, the key goes into one header."""
    one = server(each(good))
    provider(one.url).send("Grüße, 世界 🙂 \udcff", temperature=0.5)
    (request,) = one.requests
    assert request.top == "POST /v1/chat/completions HTTP/1.1"
    headers = request.headers
    assert headers["accept-encoding"] == "identity"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(request.body))
    assert headers["host"] == f"127.0.0.1:{one.port}"
    assert headers["user-agent"] == f"promptstream/{promptstream.__version__}"
    assert "text/event-stream" in headers["accept"]
    assert {"cookie", "transfer-encoding"}.isdisjoint(headers)
    assert request.json["messages"] == [{"role": "user", "content": "Grüße, 世界 🙂 \ufffd"}]
    assert request.json["stream"] is True
    assert request.json["stream_options"] == {"include_usage": True}
    assert request.json["temperature"] == 0.5


def test_a_server_without_a_key_gets_none(server):
    """Where no key is given no Authorization is sent."""
    one = server(each(good))
    provider(one.url, api_key=None).send("Hi")
    assert "authorization" not in one.requests[0].headers


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), object(), {1, 2}], ids=["nan", "infinite", "object", "set"]
)
def test_what_is_not_json_is_not_sent(server, bad):
    """A body that cannot be written as JSON is a ConfigError before any I/O."""
    one = server(each(good))
    with pytest.raises(promptstream.errors.ConfigError):
        provider(one.url).send("Hi", extra={"odd": bad})
    assert not one.connections


def test_cookies_are_not_kept(server):
    """What a server sets is not sent back."""
    first = say(b"".join([chunked_head(Set_Cookie="track=me; Path=/"), http_chunk(b"".join(answer())), LAST_CHUNK]))
    one = server(each(first))
    with provider(one.url) as asked:
        for _ in range(3):
            asked.send("Hi")
    assert not any("cookie" in request.headers for request in one.requests)


def test_many_threads_share_a_provider(server):
    """One provider serves 16 threads at once; each gets its own answer, and connections are reused."""

    def echo(conn, request):
        said = request.json["messages"][-1]["content"]
        conn.send(chunked_head() + b"".join(map(http_chunk, answer(*said))) + LAST_CHUNK)

    one = server(each(echo))
    wrong = []

    def work(number):
        for turn in range(10):
            said = f"thread {number} turn {turn}"
            if asked.send(said).text != said:
                wrong.append(said)

    with provider(one.url) as asked:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert not wrong
    assert len(one.requests) == 160
    assert len(one.connections) <= 16


# Where it is sent


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(server, status):
    """Key and prompt go nowhere else: the other host sees no connection, and the error names it, and only it."""
    other = server(each(good))
    target = f"{other.origin}/elsewhere?token=t0psecret"
    one = server(each(say(full(f"{status} Elsewhere", Location=target))))
    ended = failed(provider(one.url, retry=Retry(3, base=0.001)), errors.ProtocolError)
    assert f"127.0.0.1:{other.port}" in str(ended)
    assert "t0psecret" not in str(ended)
    assert not other.connections
    assert len(one.requests) == 1


@pytest.mark.parametrize("location", [None, "", "/v2", "//", "http://[", "ht!tp://x", "x" * 5000, "\xff\xfe"])
def test_a_redirect_to_nonsense_is_a_protocol_error(server, location):
    """Whatever the target looks like, a redirect is a ProtocolError."""
    headers = {} if location is None else {"Location": location}
    one = server(each(say(full("307 Elsewhere", **headers))))
    assert len(str(failed(provider(one.url), errors.ProtocolError))) < 1000


def test_a_redirects_body_is_bounded(server):
    """The endless body of a redirect is not read."""

    def script(conn):
        conn.request()
        conn.send(head("307 Elsewhere", Location="http://127.0.0.1:1/", Transfer_Encoding="chunked"))
        conn.flood(http_chunk(bytes(65536)), 64 * MEGABYTE)

    one = server(script)
    asked = provider(one.url)
    assert peak_of(lambda: failed(asked, errors.ProtocolError)) < 8 * MEGABYTE
    assert one.conn.gone.wait(PATIENCE)
    assert one.conn.flooded < 32 * MEGABYTE


def test_a_redirects_body_is_not_waited_for(server):
    """A redirect whose body stalls is told at once."""

    def script(conn):
        conn.request()
        conn.send(head("307 Elsewhere", Location="http://127.0.0.1:1/", Content_Length="100") + b"x")
        conn.wait_for_hang_up()

    begun = monotonic()
    failed(provider(server(script).url, timeout=Timeout(first=4)), errors.ProtocolError)
    assert monotonic() - begun <= 2.5


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_used(server, monkeypatch, name):
    """A host that is not loopback is asked through the proxy, in absolute form, key and all."""
    proxy = server(each(good))
    monkeypatch.setenv(name, proxy.origin)
    assert provider("http://example.invalid/v1").send("Hi").text == TEXT
    (request,) = proxy.requests
    assert request.top == "POST http://example.invalid/v1/chat/completions HTTP/1.1"
    assert request.headers["host"] == "example.invalid"
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_a_proxy_given_to_the_provider_is_used(server, monkeypatch):
    """proxies= comes before the environment; its credentials go to the proxy and into no message."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    proxy = server(each(good))
    url = f"http://user:pr0xypass@127.0.0.1:{proxy.port}"
    with provider("http://example.invalid/v1", proxies={"http": url}) as asked:
        assert asked.send("Hi").text == TEXT
        assert asked.send("Hi").text == TEXT
    told = base64.b64encode(b"user:pr0xypass").decode()
    assert [request.headers["proxy-authorization"] for request in proxy.requests] == [f"Basic {told}"] * 2
    assert len(proxy.connections) == 1
    closed = {"http": f"http://user:pr0xypass@127.0.0.1:{unused_port()}"}
    ended = failed(provider("http://example.invalid/v1", proxies=closed), errors.ConnectFailed)
    assert "pr0xypass" not in "".join(traceback.format_exception(ended))


def test_no_proxy_is_honoured(server, monkeypatch):
    """A host in NO_PROXY is asked directly."""
    proxy = server(each(good))
    monkeypatch.setenv("HTTP_PROXY", proxy.origin)
    monkeypatch.setenv("NO_PROXY", "example.invalid")

    def unknown(host, *args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    failed(provider("http://example.invalid/v1"), errors.ConnectFailed)
    assert not proxy.connections


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_never_proxied(server, monkeypatch, host):
    """A model on this machine is asked directly, whatever the proxy variables say."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    one = server(each(good))
    assert provider(one.url.replace("127.0.0.1", host)).send("Hi").text == TEXT


def test_a_host_that_only_begins_like_loopback_is_not_loopback(server, monkeypatch):
    """127.0.0.1.example.invalid is somebody else's host."""
    proxy = server(each(good))
    monkeypatch.setenv("HTTP_PROXY", proxy.origin)
    for host in ("127.0.0.1.example.invalid", "localhost.example.invalid"):
        provider(f"http://{host}/v1").send("Hi")
    assert len(proxy.requests) == 2


def tunnel(inner, seen):
    """Make a proxy's script that answers CONNECT and then passes bytes to and from *inner*."""

    def script(conn):
        seen.append(conn.request())
        with socket.create_connection(("127.0.0.1", inner.port)) as far:
            conn.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

            def back():
                with suppress(OSError):
                    while data := far.recv(65536):
                        conn.sock.sendall(data)
                with suppress(OSError):  # also after a reset, which a close with unread bytes is
                    conn.end()

            thread = threading.Thread(target=back)
            thread.start()
            try:
                while True:
                    far.sendall(conn.recv())
            finally:
                with suppress(OSError):
                    far.shutdown(socket.SHUT_RDWR)
                thread.join(PATIENCE)

    return script


def test_https_goes_through_a_tunnel(server, tls_server, certificates):
    """Through an HTTP proxy an https host is reached by CONNECT; the proxy sees neither key nor prompt."""
    secure, seen = tls_server(each(good)), []
    proxy = server(tunnel(secure, seen))
    url = "https://example.invalid/v1"
    with provider(url, proxies={"https": proxy.origin}, verify=certificates.bundle) as asked:
        for _ in range(3):
            assert asked.send("Hi").text == TEXT
    assert [request.top.rpartition(" ")[0] for request in seen] == ["CONNECT example.invalid:443"]
    assert "authorization" not in seen[0].headers
    assert len(secure.requests) == 3


@pytest.mark.parametrize("idle", [1, 2])
def test_stale_tunnels_are_replaced_unseen(server, tls_server, certificates, idle):
    """Tunnels that die at the next request are replaced by a fresh tunnel, also where several lie about."""
    together = threading.Barrier(idle)

    def script(conn):
        conn.request()
        if conn.number < idle:
            together.wait(PATIENCE)
            conn.answer()
            conn.recv()
        else:
            conn.answer()

    secure, seen = tls_server(script), []
    proxy = server(tunnel(secure, seen))
    options = {"proxies": {"https": proxy.origin}, "verify": certificates.bundle}
    with provider("https://example.invalid/v1", **options) as asked:
        threads = [threading.Thread(target=asked.send, args=("Hi",)) for _ in range(idle)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert asked.send("Hi").text == TEXT
    assert {request.method for request in seen} == {"CONNECT"}
    assert len(seen) == idle + 1


@pytest.mark.parametrize("says", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"HTTP/1.1 502 Bad\r\n\r\n"])
def test_a_proxy_that_refuses_is_connect_failed(server, says):
    """What a proxy answers to CONNECT in place of 200 is ConnectFailed, and says that it is the proxy's."""
    proxy = server(each(say(says)))
    options = {"proxies": {"https": proxy.origin}, "timeout": Timeout(connect=3)}
    ended = failed(provider("https://example.invalid/v1", **options), errors.ConnectFailed)
    assert "proxy" in str(ended)
    assert ended.phase == "proxy"


# Trust


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "verify"])
def test_an_authority_of_ones_own_is_honoured(tls_server, certificates, monkeypatch, name):
    """The bundle comes from verify= or from the variables that requests and OpenSSL know."""
    if name == "verify":
        options = {"verify": certificates.bundle}
    else:
        options = {}
        monkeypatch.setenv(name, certificates.bundle)
    one = tls_server(each(good))
    with provider(one.url, **options) as asked:
        assert asked.send("Hi").text == TEXT
        assert asked.send("Hi").text == TEXT
    assert len(one.connections) == 1


def test_an_unknown_authority_is_connect_failed(tls_server):
    """A certificate that is not trusted ends in ConnectFailed, phase tls, without another try or any request."""
    one = tls_server(each(good))
    ended = failed(provider(one.url, retry=Retry(3, base=0.001)), errors.ConnectFailed)
    assert (ended.phase, ended.retryable, ended.attempts) == ("tls", False, 1)
    assert "certificate" in str(ended)
    assert "verify=False" not in str(ended)
    assert not one.requests


def test_another_hosts_certificate_is_connect_failed(server, certificates):
    """A certificate for another name is refused."""
    one = server(each(good), tls=certificates.context_for("other.invalid"))
    ended = failed(provider(one.url, verify=certificates.bundle), errors.ConnectFailed)
    assert ended.phase == "tls"
    assert not one.requests


def test_verification_can_be_turned_off_visibly(tls_server):
    """verify=False works, and urllib3 warns."""
    one = tls_server(each(good))
    with pytest.warns(match="Unverified HTTPS request"):
        assert provider(one.url, verify=False).send("Hi").text == TEXT


def test_a_client_certificate_is_shown(server, certificates, tmp_path):
    """cert= is presented to a server that asks for one; without it there is no answer."""
    import ssl

    import trustme

    authority = trustme.CA()
    mine = authority.issue_cert("client.invalid")
    paths = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(paths[0])
    mine.private_key_pem.write_to_path(paths[1])
    context = certificates.context_for("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    one = server(each(good), tls=context)
    assert provider(one.url, verify=certificates.bundle, cert=paths).send("Hi").text == TEXT
    failed(provider(one.url, verify=certificates.bundle))
    assert len(one.requests) == 1


def test_plain_http_on_a_tls_port_is_connect_failed(server):
    """https:// to a server that speaks plain HTTP is ConnectFailed, phase tls; there is no downgrade."""
    one = server(lambda conn: (conn.recv(), conn.send(full("400 Bad", "Not TLS."))))
    ended = failed(provider(one.url.replace("http:", "https:")), errors.ConnectFailed)
    assert ended.phase == "tls"
    assert not one.requests


def test_http_to_a_tls_port_is_an_error(tls_server):
    """http:// to a TLS server ends in an error, whatever it does with it."""
    one = tls_server(each(good))
    failed(provider(one.url.replace("https:", "http:")), (errors.ConnectFailed, errors.ProtocolError))
    assert not one.requests


# What is no HTTP


GARBAGE = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "binary": bytes(range(256)) * 10,
    "no status": b"HTTP/1.1\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 two hundred OK\r\n\r\n",
    "a status out of range": b"HTTP/1.1 1200 OK\r\n\r\n",
    "blank lines": b"\r\n\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X-Flood: 1\r\n" * 200 + b"\r\n",
    "an endless header": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
    "an endless status line": b"HTTP/1.1 200 " + b"K" * 100_000,
}


@pytest.mark.parametrize("what", GARBAGE)
def test_what_is_no_http_is_a_protocol_error(server, what):
    """An answer that is not HTTP, or has no bounds, is a ProtocolError, after one attempt."""

    def script(conn):
        conn.request()
        conn.send(GARBAGE[what])
        conn.end()
        conn.wait_for_hang_up()

    one = server(script)
    asked = provider(one.url, retry=Retry(3, base=0.001), timeout=Timeout(first=3))
    ended = failed(asked, errors.ProtocolError)
    assert ended.attempts == 1
    assert len(str(ended)) < 1000
    assert str(ended).isprintable()


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 ", b"\r\n", b"garbage"], ids=repr)
def test_a_flood_before_the_body_is_bounded(server, start):
    """Headers, status lines and rubbish without end take neither time nor memory."""

    def script(conn):
        conn.request()
        conn.send(start)
        conn.flood(b"X-Flood: 1\r\n" * 5000 if start.endswith(b"\n") else b"x" * 60000, 64 * MEGABYTE)

    one = server(script)
    asked = provider(one.url, timeout=Timeout(first=5))
    begun = monotonic()
    assert peak_of(lambda: failed(asked, errors.ProtocolError)) < 8 * MEGABYTE
    assert monotonic() - begun <= 3
    assert one.conn.gone.wait(PATIENCE)
    assert one.conn.flooded < 32 * MEGABYTE


# Error bodies


def test_an_endless_error_body_is_bounded(server):
    """The status counts: at most 64 KiB of its body are read."""

    def script(conn):
        conn.request()
        conn.send(head("500 Oh", "application/json", Transfer_Encoding="chunked"))
        conn.flood(http_chunk(b"x" * 65536), 64 * MEGABYTE)

    one = server(script)
    asked = provider(one.url)
    begun = monotonic()
    assert peak_of(lambda: failed(asked, errors.ServerError)) < 4 * MEGABYTE
    assert monotonic() - begun <= 2.2
    assert one.conn.gone.wait(PATIENCE)
    assert one.conn.flooded < 32 * MEGABYTE


@pytest.mark.parametrize("how", ["stalled", "dripping", "stalled in a chunk"])
def test_a_slow_error_body_is_not_waited_for(server, how):
    """An error body is given 2 s; then the status is raised anyway."""

    def script(conn):
        conn.request()
        if how == "stalled in a chunk":
            conn.send(head("404 None", "application/json", Transfer_Encoding="chunked") + b"ff\r\n{")
        else:
            conn.send(head("404 None", "application/json", Content_Length="5000") + b'{"error":')
        if how == "dripping":
            conn.drip(b"x" * 5000)
        conn.wait_for_hang_up()

    begun = monotonic()
    assert failed(provider(server(script).url), errors.NotFound).status == 404
    assert monotonic() - begun <= 2.25


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html><body>Bad gateway</body></html>", "text/html"),
        (b"", "text/plain"),
        (b"\xff\xfe\x00\x80", "text/plain"),
        (b"[[[[[" * 100, "application/json"),
        (b"{" * 5000, "application/json"),
        (b'{"error": NaN}', "application/json"),
        (b'{"error": {"message": ["odd", 1]}}', "application/json"),
        (b'{"error": "\\u001b[31mred\\u0007"}', "application/json"),
        (b"null", "application/json"),
        (b'"no"', "application/json"),
        (b"[]", "application/json"),
        (b'{"error": []}', "application/json"),
        (b'{"error": {"code": {"a": 1}, "type": 7}}', "application/json"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_any_error_body_is_survived(server, body, kind):
    """Whatever an error's body holds, the status makes the error, and its text is short and printable."""
    one = server(each(say(full("502 Bad", body, kind))))
    ended = failed(provider(one.url), errors.ServerError)
    assert ended.status == 502
    assert len(str(ended)) < 800
    assert str(ended).isprintable()
    assert "<html" not in str(ended)


def test_a_packed_error_body_is_read(server):
    """An error body in gzip, though it was declined, is understood."""
    packed = zipped(b'{"error": {"message": "Engine on fire"}}')
    one = server(each(say(full("500 Oh", packed, Content_Encoding="gzip"))))
    assert "Engine on fire" in str(failed(provider(one.url), errors.ServerError))


def test_an_error_gives_its_connection_back(server):
    """After an error that was read whole the connection serves the next turn."""
    one = server(each(say(error("400 Bad")), say(error("503 Busy")), good))
    with provider(one.url) as asked:
        failed(asked)
        failed(asked)
        assert asked.send("Hi").text == TEXT
    assert len(one.connections) == 1


# A 200 that is something else


NOT_AN_ANSWER = {
    "a page": full("200 OK", "<html>Log in</html>", "text/html"),
    "nothing": full("200 OK", "", "text/event-stream"),
    "nothing, unlabelled": full("200 OK", "", None),
    "nothing, as JSON": full("200 OK", "", "application/json"),
    "no content": head("204 No Content", None),
    "half of JSON": full("200 OK", '{"choices": [', "application/json"),
    "a list": full("200 OK", "[1, 2]", "application/json"),
    "null": full("200 OK", "null", "application/json"),
    "no choices": full("200 OK", "{}", "application/json"),
    "events that are no JSON": full("200 OK", "data: hello\n\n", "text/event-stream"),
    "events that are scalars": full("200 OK", "data: 1\n\ndata: null\n\n", "text/event-stream"),
    "wrong types": full("200 OK", 'data: {"choices": {"delta": 1}}\n\n', "text/event-stream"),
    "nested": full("200 OK", "data: " + "[" * 100 + "]" * 100 + "\n\n", "text/event-stream"),
    "deeply nested": full("200 OK", "data: " + "[" * 100_000 + "\n\n", "text/event-stream"),
}


@pytest.mark.parametrize("what", NOT_AN_ANSWER)
@pytest.mark.parametrize("streaming", [True, False])
def test_a_200_that_is_no_answer_is_an_error(server, what, streaming):
    """A success that holds no answer is a ProtocolError (or a limit, or cut), not an empty one, and not tried again."""
    one = server(each(say(NOT_AN_ANSWER[what])))
    kinds = (errors.ProtocolError, errors.LimitExceeded, errors.Truncated)
    ended = failed(provider(one.url, retry=Retry(3, base=0.001)), kinds, streaming=streaming)
    assert not ended.response.complete
    assert len(one.requests) == 1
    assert len(str(ended)) < 500


def test_a_whole_answer_to_a_streaming_request_is_an_answer(server):
    """Some servers ignore stream=true: their one JSON body is the answer."""
    one = server(each(say(full("200 OK", whole(), "application/json; charset=utf-8"))))
    chunks = list(provider(one.url).stream("Hi"))
    assert [str(chunk) for chunk in chunks] == [TEXT, ""]
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage.total == 9


def test_a_streamed_answer_to_a_whole_request_is_an_answer(server):
    """Some servers always stream: it is the answer all the same."""
    one = server(each(good))
    response = provider(one.url).send("Hi", streaming=False)
    assert (response.text, response.finish_reason) == (TEXT, "stop")
    assert one.requests[0].json["stream"] is False
    assert "stream_options" not in one.requests[0].json


def test_a_whole_answer_is_asked_for_and_read(server):
    """streaming=False asks for one JSON body and gives the same Response."""
    one = server(each(say(full("200 OK", whole(reason="length")))))
    response = provider(one.url).send("Hi", streaming=False)
    assert (response.text, response.finish_reason, response.usage.total) == (TEXT, "length", 9)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_api_key", errors.Authentication),
        ("insufficient_quota", errors.QuotaExceeded),
        ("context_length_exceeded", errors.ContextTooLong),
        ("server_error", errors.ServerError),
        ("never_heard_of", errors.ProviderError),
    ],
)
def test_an_error_inside_a_200_is_the_providers(server, streamed, code, kind):
    """A JSON error in a 200, whole or in the stream, is the class that the status would have been."""
    said = failure(kind=code)
    body = chunked_head() + http_chunk(said) + LAST_CHUNK if streamed else full("200 OK", said[6:].strip())
    ended = failed(provider(server(each(say(body))).url), kind)
    assert isinstance(ended, errors.ProviderError)
    assert "The engine failed" in str(ended)


# Limits


@pytest.mark.parametrize("body", ["one line", "comments", "error", "whole answer"])
def test_a_gzip_bomb_costs_nothing(server, body):
    """256 KiB that unpack to 256 MiB end in an error, or are skipped, in little memory."""
    packed = bomb(256 * MEGABYTE)
    status = "500 Oh" if body == "error" else "200 OK"
    kind = "application/json" if body == "whole answer" else "text/event-stream"
    one = server(each(say(full(status, packed, kind, Content_Encoding="gzip"))))
    asked = provider(one.url, timeout=20)
    assert peak_of(lambda: failed(asked)) < 48 * MEGABYTE


FLOODS = {
    "a line": (b"data: ", b"x" * 65536),
    "an event": (b"", b"data: " + b"x" * 60000 + b"\n"),
    "short lines": (b"", b"data: x\n" * 5000),
    "event names": (b"", b"event: " + b"x" * 60000 + b"\n"),
}


@pytest.mark.parametrize("what", FLOODS)
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_giant_is_refused(server, what, framing):
    """A line over 1 MiB, an event over 4 MiB or 10,000 lines is LimitExceeded; memory stays bounded, text is kept."""
    opening, piece = FLOODS[what]

    def script(conn):
        conn.request()
        first = role() + text("Once") + opening
        if framing == "chunked":
            conn.send(chunked_head() + http_chunk(first))
            conn.flood(http_chunk(piece), 64 * MEGABYTE)
        else:
            conn.send(head(Connection="close") + first)
            conn.flood(piece, 64 * MEGABYTE)

    one = server(script)
    asked, ended = provider(one.url, timeout=20), []
    assert peak_of(lambda: ended.append(failed(asked, errors.LimitExceeded))) < 48 * MEGABYTE
    assert ended[0].response.text == "Once"
    assert one.conn.gone.wait(PATIENCE)
    assert one.conn.flooded < 32 * MEGABYTE


def test_endless_comments_take_no_memory(server):
    """Comments are dropped as they come; that they bring nothing ends them."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role() + text("Once")))
        conn.flood(http_chunk(b": nothing at all\n" * 1000))

    asked = provider(server(script).url, timeout=20)
    assert peak_of(lambda: failed(asked, errors.LimitExceeded)) < 8 * MEGABYTE


def test_a_giant_whole_answer_is_refused(server):
    """One JSON body of more than 16 MiB is refused, in bounded memory."""

    def script(conn):
        conn.request()
        conn.send(head("200 OK", "application/json", Transfer_Encoding="chunked") + http_chunk(b'{"choices": "'))
        conn.flood(http_chunk(b"x" * 65536), 256 * MEGABYTE)

    asked = provider(server(script).url, timeout=20)
    kinds = (errors.ProtocolError, errors.LimitExceeded)
    assert peak_of(lambda: failed(asked, kinds, streaming=False)) < 64 * MEGABYTE


def test_a_long_answer_takes_no_more_memory_than_its_text(server):
    """20,000 chunks hold their text and little else."""
    events = [text("word ")] * 20_000

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role()))
        for at in range(0, len(events), 100):
            conn.send(b"".join(map(http_chunk, events[at : at + 100])))
        conn.send(http_chunk(finish() + DONE) + LAST_CHUNK)

    stream = provider(server(script).url).stream("Hi")

    def run():
        for _ in stream:
            pass

    assert peak_of(run) < 12 * MEGABYTE
    assert len(stream.text) == 100_000


# Fork


def needs_fork(test):
    """Mark *test* as one that forks."""
    for mark in (
        pytest.mark.skipif(not hasattr(os, "fork"), reason="fork"),
        pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    ):
        test = mark(test)
    return test


def in_child(work):
    """Run *work* in a forked child and give its exit code: 0 where it returned True."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def hold_the_parents_answer(conn):
    """Hold the answer to "parent" until it is released, and answer all else at once."""
    while True:
        if conn.request().json["messages"][-1]["content"] != "parent":
            conn.answer()
            continue
        conn.send(chunked_head() + http_chunk(role() + text("Once")))
        conn.wait(conn.server.release)
        conn.send(http_chunk(text(" more") + finish() + DONE) + LAST_CHUNK)


@needs_fork
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("does", ["asks", "drops the iterator", "closes the stream", "cancels", "closes all"])
def test_a_child_does_not_disturb_its_parent(server, certificates, secure, does):
    """Whatever a child does with what it inherited, the parent's stream survives, also the child's exit."""
    one = server(hold_the_parents_answer, tls=certificates.context if secure else None)
    asked = provider(one.url, verify=certificates.bundle)
    asked.send("pooled")
    conv = promptstream.chat(provider=asked)
    stream = conv.stream("parent", timeout=Timeout(idle=5))
    iterator = iter(stream)
    assert str(next(iterator)) == "Once"

    def child():
        nonlocal iterator
        if does == "drops the iterator":
            del iterator
        elif does == "closes the stream":
            stream.close()
        elif does == "cancels":
            conv.cancel()
        elif does == "closes all":
            conv.close()
            asked.close()
        return asked.send("child").text == TEXT

    assert in_child(child) == 0
    one.release.set()
    assert [str(chunk) for chunk in iterator] == [" more", ""]
    assert stream.result().text == "Once more"
    assert asked.send("again").text == TEXT
    asked.close()


@needs_fork
def test_a_child_does_not_use_its_parents_connections(server):
    """A child opens connections of its own, and the pooled one still serves the parent."""
    one = server(hold_the_parents_answer)
    with provider(one.url) as asked:
        asked.send("first")
        assert in_child(lambda: asked.send("child").text == TEXT and asked.send("child").text == TEXT) == 0
        asked.send("second")
    assert len(one.connections) == 2
    assert [len(conn.requests) for conn in one.connections] == [2, 2]
