"""Keys never leak from a fault: whatever fails, and whatever is printed of it, no part of a key or password shows."""

from __future__ import annotations

import base64
import socket
import threading

import attrs
import pytest
from canary import (
    API_KEY,
    BASIC,
    CANARIES,
    HEADERS,
    Ear,
    assert_hidden,
    assert_nothing_shows,
    assert_nothing_shows_of,
    failed,
    leak,
    made,
    proxied,
    shown_by,
)
from dialects import DIALECTS
from echoes import FORMS, QUOTES, as_a_status_line, as_header_lines, as_rubbish, in_message, in_plain_text, quoting
from faults import FAULTS
from faults.core import play
from faults.says import begun
from server import BlackHole, each, full, unused_port

import promptstream
from promptstream import Retry, Timeout, errors

SHORT = Timeout(connect=5, first=0.1, idle=0.1)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: quote.__name__)
def test_a_key_that_the_server_quotes_shows_nowhere(server, dialect, quote, capfd):
    """Not in any text of the error or its causes, in a frame's variables, a log, a warning, a chunk or an object."""
    provider = made(dialect, server(quoting(quote, dialect)).origin)
    error = assert_nothing_shows(dialect, provider, capfd, rich=dialect.name == "chat")
    assert str(error) == error.message == error.args[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("quote", [in_message, in_plain_text, as_rubbish], ids=lambda quote: quote.__name__)
def test_a_key_quoted_in_another_form_shows_nowhere(server, quote, form, capfd):
    """Quoted for a URL, for JSON, in another case, in Base64, or from its middle on."""
    dialect = DIALECTS["chat"]
    assert_nothing_shows(dialect, made(dialect, server(quoting(quote, dialect, form)).origin), capfd)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "api-key", "Cookie", "x-custom-token"])
def test_a_key_in_any_header_shows_nowhere(server, dialect, name, capfd):
    """A header of the user's that names a key is one; so is Basic's password, also out of its Base64."""
    value = {"Authorization": f"Basic {BASIC}", "Cookie": HEADERS["Cookie"]}.get(name, CANARIES["x-custom-token"])
    one = server(quoting(in_plain_text, dialect))
    provider = made(dialect, one.origin, headers={name: value})
    assert_nothing_shows(dialect, provider, capfd)
    assert one.requests[0].headers[name.lower()] == value


def test_an_error_stays_useful_where_a_key_is_taken_out(server):
    """What the server said besides is there, and so is how it masked the key itself."""
    dialect = DIALECTS["chat"]
    said = f"Incorrect API key provided: {API_KEY[:8]}***{API_KEY[-4:]}. You can find yours at https://x.example/keys?a=b%20c."
    one = server(each(lambda conn, request: conn.send(in_message(dialect, said))))
    assert said.rstrip(".") in str(failed(dialect, made(dialect, one.origin), errors.Authentication))


def test_a_redirect_is_never_followed(server):
    """A second server gets nothing: neither key nor prompt."""
    other = server(each(lambda conn, request: conn.answer()))
    for status in (301, 302, 303, 307, 308):
        for dialect in DIALECTS.values():
            target = f"{other.origin}/{API_KEY}"
            one = server(each(lambda conn, request: conn.send(full(f"{status} Go", Location=target))))  # noqa: B023
            error = failed(dialect, made(dialect, one.origin), errors.ProtocolError)
            assert f"127.0.0.1:{other.port}" in str(error)
            assert leak(str(error)) is None
    assert not other.connections


# Faults in which nobody quotes a key, but libraries hold it


def stalls(conn):
    """Say nothing."""
    conn.request()
    conn.wait_for_hang_up()


def stalls_in_the_body(conn):
    """Begin an answer, then say nothing."""
    conn.request()
    conn.send(begun(DIALECTS["chat"]))
    conn.wait_for_hang_up()


def dies(conn):
    """Close at the request."""
    conn.request()


def resets(conn):
    """Reset the connection at the request."""
    conn.request()
    conn.reset()


def cuts_the_answer(conn):
    """Begin an answer and reset the connection."""
    conn.request()
    conn.send(begun(DIALECTS["chat"]))
    conn.reset()


@pytest.mark.parametrize("script", [stalls, stalls_in_the_body, dies, resets, cuts_the_answer])
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
def test_a_connection_that_fails_shows_no_key(server, dialect, script, capfd):
    """Neither urllib3's messages, which hold the URL, nor http.client's frames, which hold the headers, get out."""
    provider = made(dialect, server(script).origin, timeout=SHORT)
    assert_nothing_shows(dialect, provider, capfd, rich=dialect.name == "chat")


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
def test_no_connection_shows_no_key(tls_server, dialect, capfd, monkeypatch):
    """Refused, black-holed, an untrusted certificate, an unknown host."""
    ways = {
        f"http://127.0.0.1:{unused_port()}": {},
        tls_server(stalls).origin: {},
        "https://nowhere.invalid": {},
    }
    real = socket.getaddrinfo

    def unknown(host, *args, **named):
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, f"no such name in {API_KEY}")
        return real(host, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for origin, options in ways.items():
        assert_nothing_shows(dialect, made(dialect, origin, **options), capfd, kind=errors.ConnectFailed)
    with BlackHole() as hole:
        provider = made(dialect, f"http://127.0.0.1:{hole.port}", timeout=Timeout(connect=0.05))
        assert_nothing_shows(dialect, provider, capfd, kind=errors.ConnectFailed)


def test_a_request_that_breaks_off_while_it_is_sent_shows_no_key(server, capfd, monkeypatch):
    """http.client holds the headers in the frames that send them; also where Ctrl-C comes in between."""
    import http.client

    dialect = DIALECTS["chat"]
    provider = made(dialect, server(stalls).origin)
    for failure in (OSError(5, f"I/O error {API_KEY}"), KeyboardInterrupt(), MemoryError()):

        def broken(self, *args, failure=failure, **named):
            raise failure

        monkeypatch.setattr(http.client.HTTPConnection, "send", broken)
        kind = errors.StreamError if isinstance(failure, OSError) else type(failure)
        assert_nothing_shows_of(failed(dialect, provider, kind), capfd)


def test_a_cancel_shows_no_key(server, capfd):
    """A request that is cancelled leaves the key out of its error, too."""
    dialect = DIALECTS["chat"]
    one = server(stalls)
    stream = dialect.stream(made(dialect, one.origin))
    thread = threading.Thread(target=lambda: (one.wait_for_request(), stream.cancel()))
    thread.start()
    with pytest.raises(errors.Cancelled) as caught:
        list(stream)
    thread.join()
    assert_nothing_shows_of(caught.value, capfd)


def test_a_hook_for_retries_is_shown_no_key(server):
    """on_retry gets an error that is clean already."""
    dialect, shown = DIALECTS["chat"], []
    retry = Retry(3, base=0.001, on_retry=lambda error, delay: shown.extend(shown_by(error)))
    one = server(quoting(lambda dialect, said: full("503 No", said, "text/plain"), dialect))
    error = failed(dialect, made(dialect, one.origin, retry=retry), errors.Overloaded)
    assert error.attempts == 3
    assert shown
    assert_hidden(shown)


def test_a_list_of_models_that_quotes_the_key_shows_none(server):
    """Unary calls are no different."""
    for name in ("chat", "responses", "anthropic", "gemini", "ollama"):
        dialect = DIALECTS[name]
        for way in (in_plain_text, as_a_status_line):
            provider = made(dialect, server(quoting(way, dialect)).origin)
            with pytest.raises(errors.StreamError) as caught:
                provider.models()
            assert_hidden(shown_by(caught.value))


QUICK = [fault for fault in FAULTS if fault.prove is None and not fault.slow and not fault.limit]


@pytest.mark.parametrize("number", range(len(DIALECTS)), ids=list(DIALECTS))
def test_no_fault_of_the_table_shows_a_key(number):
    """Each fault, in one of the dialects: its error, what lies behind it, the frames, the logs."""
    dialect = list(DIALECTS.values())[number]
    for fault in QUICK[number :: len(DIALECTS)]:
        if fault.lacking(dialect):
            continue
        with Ear() as ear:
            scene = play(attrs.evolve(fault, options={"headers": HEADERS, **fault.options}), dialect)
        shown = [] if scene.error is None else shown_by(scene.error)
        assert_hidden((f"{fault}: {what}", text) for what, text in [*shown, *ear.heard])


# Proxies


def behind(dialect, url, **options):
    """Make a provider behind the proxy at *url*."""
    return made(dialect, "http://example.invalid", allow_plaintext=True, proxies={"http": url}, **options)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
@pytest.mark.parametrize("quote", [in_plain_text, as_a_status_line, as_header_lines], ids=lambda quote: quote.__name__)
def test_a_proxy_that_quotes_its_password_shows_none(server, dialect, quote, capfd):
    """Credentials of a proxy go to the proxy, and nowhere else."""
    proxy = server(quoting(quote, dialect))
    assert_nothing_shows(dialect, behind(dialect, proxied(proxy.port)), capfd)
    told = base64.b64encode(f"someone:{CANARIES['proxy']}".encode()).decode()
    assert {request.headers["proxy-authorization"] for request in proxy.requests} == {f"Basic {told}"}


@pytest.mark.parametrize("given", [True, False], ids=["given", "environment"])
def test_a_proxy_that_fails_shows_no_password(given, capfd, monkeypatch):
    """Down, or at an address that is none; given, or from the environment."""
    dialect = DIALECTS["chat"]
    secret = f"someone:{CANARIES['proxy']}"
    for url in (proxied(unused_port()), f"http://{secret}@127.0.0.1:99999", f"http://{secret}@[::bad", f"{secret}@x y"):
        if not given:
            monkeypatch.setenv("HTTP_PROXY", url)
        options = {} if given else {"proxies": None}
        origin = "http://example.invalid"
        provider = behind(dialect, url) if given else made(dialect, origin, allow_plaintext=True, **options)
        assert_nothing_shows(dialect, provider, capfd, kind=promptstream.PromptStreamError)


def test_netrc_never_replaces_nor_adds_a_key(server, monkeypatch, tmp_path):
    """Credentials in .netrc go nowhere, in any dialect, whether there is a key or not, here or behind a proxy."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password s3cretnetrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    one = server(each(lambda conn, request: conn.send(full("500 No"))))
    for dialect in DIALECTS.values():
        failed(dialect, made(dialect, one.origin), errors.ServerError)
        failed(dialect, behind(dialect, f"http://127.0.0.1:{one.port}"), errors.ServerError)
        failed(dialect, made(dialect, one.origin, headers={"Authorization": f"Basic {BASIC}"}), errors.ServerError)
    ollama = DIALECTS["ollama"]
    failed(ollama, ollama.provider(one.origin, api_key=None), errors.ServerError)
    netrc_basic = base64.b64encode(b"someone:s3cretnetrc").decode()
    for request in one.requests:
        assert netrc_basic not in " ".join(request.headers.values())
    assert "authorization" not in one.requests[-1].headers
