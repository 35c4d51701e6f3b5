"""The faults of the connection, rows 1 to 10: what goes wrong before there is a status line."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from threading import Event
from typing import Any

from dialects import TEXT, Dialect
from faults.core import Fault, Outcome, Scene, context
from faults.says import good, streamed, then
from server import BlackHole, Conn, Gone, Script, Server, each, full, unused_port

from promptstream import Retry, Timeout
from promptstream.errors import ConnectFailed, ProtocolError

CONNECT = Timeout(connect=0.2, first=5, idle=5)
THRICE = Retry(3, base=0.001)
BOTH = ("stream", "whole")
Place = Iterator[tuple[str, dict[str, Any]]]


# 1 to 3: no connection


@contextmanager
def resolving(answer: Callable[..., Any], port: int = 443) -> Place:
    """Let the name ``host.invalid`` be looked up by *answer*."""
    real = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **named: (  # type: ignore[assignment]
        answer(host, *rest) if host == "host.invalid" else real(host, *rest, **named)
    )
    try:
        yield f"https://host.invalid:{port}", {"proxies": {}}
    finally:
        socket.getaddrinfo = real


def unknown(*_: Any) -> Any:
    """Say that there is no such name."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@contextmanager
def stalled_look_up(dialect: Dialect) -> Place:
    """Give a name whose look-up takes for ever."""
    release = Event()

    def stalled(*_: Any) -> Any:
        release.wait(5)
        unknown()

    with resolving(stalled) as place:
        yield place
        release.set()


@contextmanager
def black_holes(dialect: Dialect, addresses: int = 3) -> Place:
    """Give a name with several addresses, at none of which anybody answers."""
    with BlackHole() as hole:
        found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", hole.port))
        with resolving(lambda *_: [found] * addresses) as place:
            yield place


@contextmanager
def at(origin: str, **options: Any) -> Place:
    """Give a place that needs no keeping."""
    yield origin, options


NOWHERE = (
    Fault(
        1,
        "DNS: no such name",
        place=lambda dialect: resolving(unknown),
        modes=BOTH,
        outcome=Outcome(ConnectFailed, text="", phase="dns", retryable=True, says="host.invalid"),
    ),
    Fault(
        1,
        "DNS: no such name, asked three times",
        place=lambda dialect: resolving(unknown),
        retry=THRICE,
        outcome=Outcome(ConnectFailed, text="", phase="dns", retryable=True, attempts=3),
    ),
    Fault(
        1,
        "DNS: the look-up stalls",
        place=stalled_look_up,
        timeout=CONNECT,
        limit=0.2,
        outcome=Outcome(ConnectFailed, text="", phase="dns", retryable=True),
    ),
    Fault(
        2,
        "connection refused",
        place=lambda dialect: at(f"http://127.0.0.1:{unused_port()}"),
        modes=BOTH,
        outcome=Outcome(ConnectFailed, text="", phase="connect", retryable=True, says="Is it running"),
        per={"ollama": {"says": "ollama serve"}},
    ),
    Fault(
        2,
        "network unreachable",  # a broadcast address cannot be connected to, on any machine
        place=lambda dialect: at("https://255.255.255.255:9", proxies={}),
        outcome=Outcome(ConnectFailed, text="", phase="connect", retryable=True, says="255.255.255.255"),
    ),
    Fault(
        3,
        "one address, black-holed",
        place=lambda dialect: black_holes(dialect, 1),
        timeout=CONNECT,
        limit=0.2,
        outcome=Outcome(ConnectFailed, text="", phase="connect", retryable=True),
    ),
    Fault(
        3,
        "three addresses, each black-holed",
        place=black_holes,
        timeout=CONNECT,
        limit=0.2,
        outcome=Outcome(ConnectFailed, text="", phase="connect", retryable=True),
    ),
)


# 4: no secure connection


def shaking(*names: str, **options: Any) -> Callable[[Dialect], Script]:
    """Do the handshake with a certificate for *names*, then answer well."""

    def script(dialect: Dialect) -> Script:
        def serve(conn: Conn) -> None:
            with suppress(ssl.SSLError):
                conn.sock = context(*names, **options).wrap_socket(conn.sock, server_side=True)
                each(good(dialect))(conn)

        return serve

    return script


def instead(*acts: bytes | Callable[[Conn], object]) -> Callable[[Dialect], Script]:
    """Take the client's first bytes, then do *acts* in place of a handshake."""

    def serve(conn: Conn) -> None:
        conn.recv()
        then(*acts)(conn, None)  # type: ignore[arg-type]

    return lambda dialect: serve


def silent(conn: Conn) -> None:
    """Say nothing until the client leaves."""
    conn.wait_for_hang_up()


def names_no_way_out(scene: Scene) -> None:
    """Check that the error tempts nobody to turn verification off."""
    assert "verify" not in str(scene.error).replace("verify failed", ""), scene.error


def untrusted(name: str, script: Callable[[Dialect], Script], says: str = "", **options: Any) -> Fault:
    """Make a fault of the handshake."""
    outcome = Outcome(ConnectFailed, text="", phase="tls", retryable=False, requests=0, says=says)
    options = {"also": names_no_way_out, "retry": THRICE, **options}
    return Fault(4, name, script=script, raw=True, outcome=outcome, **options)


HANDSHAKES = (
    untrusted("an unknown authority", shaking(), "unable to get local issuer", options={"verify": None}, modes=BOTH),
    untrusted("another host's certificate", shaking("example.org"), "127.0.0.1"),
    untrusted("an expired certificate", shaking(not_after=datetime(2020, 1, 1, tzinfo=timezone.utc)), "expired"),
    untrusted("plain HTTP on a TLS port", instead(full("400 Bad Request", "plain"))),
    untrusted("the handshake is closed", instead()),
    untrusted("the handshake is reset", instead(lambda conn: conn.reset())),
    Fault(
        4,
        "the handshake stalls",
        script=instead(silent),
        raw=True,
        timeout=CONNECT,
        limit=0.2,
        outcome=Outcome(ConnectFailed, text="", phase="tls", retryable=True, requests=0),
    ),
    Fault(
        4,
        "the handshake drips",
        script=instead(b"\x16\x03\x03\x3f\x00", lambda conn: conn.drip(bytes(10_000))),
        raw=True,
        timeout=CONNECT,
        limit=0.2,
        outcome=Outcome(ConnectFailed, text="", phase="tls", retryable=True, requests=0),
    ),
    Fault(
        4,
        "http:// to a TLS port",
        step=lambda dialect: then(b"\x15\x03\x01\x00\x02\x02\x46", gone),  # an alert
        retry=THRICE,
        outcome=Outcome(ProtocolError, text="", phase="headers", retryable=False),
    ),
)


# 6: proxies


def proxied(script: Callable[[Conn], object]) -> Callable[[Dialect], Any]:
    """Go through a proxy that behaves as *script* says."""

    @contextmanager
    def place(dialect: Dialect) -> Place:
        with Server(script) as proxy:
            yield "https://host.invalid", {"proxies": {"https": f"http://user:pass-word@127.0.0.1:{proxy.port}"}}
            assert not proxy.failures, proxy.failures

    return place


def hides_the_password(scene: Scene) -> None:
    """Check that the proxy's password does not show."""
    assert "pass-word" not in str(scene.error) + repr(scene.error), scene.error


def asked(*acts: bytes | Callable[[Conn], object]) -> Callable[[Conn], object]:
    """Take a CONNECT, then do *acts*."""
    return lambda conn: then(*acts)(conn, conn.request())


PROXIES = tuple(
    Fault(
        6,
        f"a proxy that {does}",
        place=place,
        timeout=CONNECT,
        limit=limit,
        also=hides_the_password,
        outcome=Outcome(ConnectFailed, text="", phase=phase, retryable=True),
    )
    for does, place, limit, phase in (
        (
            "is down",
            lambda dialect: at(
                "https://host.invalid", proxies={"https": f"http://user:pass-word@127.0.0.1:{unused_port()}"}
            ),
            0.0,
            "proxy",
        ),
        ("says no", proxied(asked(full("403 Forbidden", "no"))), 0.0, "proxy"),
        ("wants a password", proxied(asked(full("407 Proxy Authentication Required", ""))), 0.0, "proxy"),
        ("hangs up", proxied(asked()), 0.0, "proxy"),
        ("says nothing", proxied(asked(silent)), 0.2, "proxy"),
    )
)


# 8 and 9: a connection that dies


def stale(dialect: Dialect) -> Script:
    """Answer once to a connection, then close it as if it had been idle for too long."""
    return lambda conn: then(streamed(dialect, *dialect.events()))(conn, conn.request())


def dead(name: str, *acts: Callable[[Conn], object]) -> tuple[Fault, ...]:
    """Make the deaths of a connection that happen by *acts*, before a byte of an answer."""
    died = Outcome(ConnectFailed, text="", phase="headers", retryable=False)
    step = lambda dialect: then(*acts, gone)  # noqa: E731
    again = lambda dialect: (then(*acts, gone), good(dialect))  # noqa: E731
    return (
        Fault(8, f"{name} before a byte", step=step, retry=THRICE, outcome=died, secure=True, modes=BOTH),
        Fault(
            8,
            f"{name} before a byte, and sending again is allowed",
            step=again,
            retry=Retry(3, base=0.001, ambiguous=True),
            outcome=Outcome(text=TEXT, requests=2),
        ),
        Fault(
            9,
            f"{name} of a pooled connection",
            step=again,
            reused=True,
            secure=True,
            modes=BOTH,
            outcome=Outcome(text=TEXT, requests=2),
        ),
        Fault(
            9,
            f"{name} of a pooled connection and of the next one",
            step=step,
            retry=THRICE,
            reused=True,
            outcome=Outcome(ConnectFailed, text="", phase="headers", retryable=False, requests=2),
        ),
    )


def gone(conn: Conn) -> None:
    """Leave the connection to be closed."""
    raise Gone


def closed_at_once(dialect: Dialect) -> Script:
    """Close every connection as soon as it is accepted."""
    return lambda conn: conn.reset()


DEATHS = (
    *dead("a close"),
    *dead("a reset", lambda conn: conn.reset()),
    Fault(
        8,
        "a reset before the request",
        script=closed_at_once,
        outcome=Outcome(ConnectFailed, text="", requests=0),
    ),
    Fault(
        9,
        "a pooled connection that was closed while idle",
        script=stale,
        reused=True,
        secure=True,
        outcome=Outcome(text=TEXT),
    ),
    Fault(
        9,
        "a pooled connection that dies after one byte",
        step=lambda dialect: (then(b"H", gone), good(dialect)),
        retry=THRICE,
        reused=True,
        outcome=Outcome(ProtocolError, text="", phase="headers", retryable=False),
    ),
)


# 10: no HTTP

RUBBISH = {
    "garbage": b"\x00\x01\x02garbage\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2 alone": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 OK fine\r\n\r\n",
    "half a status line": b"HTTP/1.1 20",
    "a status of five digits": b"HTTP/1.1 20000 OK\r\n\r\n",
    "a Content-Length that is no number, without a body": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
}
FLOODS = {
    "an endless status line": (b"HTTP/1.1 200 ", b"O" * 65536),
    "an endless header": (b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 65536),
    "endless headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 4096),
}
NO_HTTP = (
    *(
        Fault(
            10,
            name,
            step=lambda dialect, said=said: then(said, gone),
            modes=BOTH,
            outcome=Outcome(ProtocolError, text="", retryable=False),
        )
        for name, said in RUBBISH.items()
    ),
    *(
        Fault(
            10,
            name,
            step=lambda dialect, start=start, piece=piece: then(start, lambda conn: conn.flood(piece)),
            secure=True,
            outcome=Outcome(ProtocolError, text="", phase="headers", retryable=False),
            also=lambda scene: _bounded(scene),
        )
        for name, (start, piece) in FLOODS.items()
    ),
)


def _bounded(scene: Scene) -> None:
    assert scene.server is not None
    taken = scene.server.conn.flooded
    assert taken < 32 << 20, f"{taken >> 20} MiB were taken"


FAULTS = (*NOWHERE, *HANDSHAKES, *PROXIES, *DEATHS, *NO_HTTP)
ELSEWHERE = {7: "test_packs.py::test_a_pack_cannot_say_where_requests_go_or_with_which_key"}
