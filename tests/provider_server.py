"""A loopback server that speaks any provider's protocol by a script, and reads what it is asked by its rules.

::

    call = Answer([Use("toolu_1", "add", '{"a":1}')], "tool_calls")
    with ProviderServer(WIRES["anthropic"], call, "It is 1.") as server:
        provider = server.provider()  # or a child process with server.environment()
        ...
        assert server.asked[0].system == "You are terse."
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

import attrs
from server import LAST_CHUNK, Conn, Gone, Request, Server, full, head, http_chunk
from wires.base import Rejected, Wire, dumps
from wires.script import Answer, Asked, Item, Refusal, Written

from promptstream.client import Provider

FRAMINGS = ("chunked", "content-length", "close")
Step = Callable[[Conn, Request], object]
Scripted = str | Item | Iterable[str | Item] | Answer | Refusal | bytes | Step


@attrs.frozen(eq=False)
class Cut:
    """Send the first *events* of a good answer, then end the body as *how* says.

    *how* is "clean" (as if all were well), "close" (in the middle of the message) or "hold" (silence).
    """

    answer: Answer
    events: int
    how: str = "clean"


class ProviderServer:
    """Play *answers* in order over all connections, the last one again and again. A context manager.

    A request that the protocol's rules forbid is answered with 400, and leaving the block raises.

    Attributes:
        asked: every POST as its protocol's reader understands it.
        requests: every request as it came, with ``json``, ``target`` and ``headers``.
    """

    def __init__(
        self, wire: Wire, *answers: Scripted | Cut, framing: str = "chunked", tables: dict[str, Any] | None = None
    ) -> None:
        self.wire = wire
        self.tables = dict([wire.models()]) | (tables or {})
        """What a GET is answered with, by path."""
        self.framing = framing
        self.answers = answers or ("Once upon a time.",)
        self.asked: list[Asked] = []
        self.complaints: list[str] = []
        self.hung_up = threading.Event()
        """Set once a client left before its answer was whole."""
        self._lock = threading.Lock()
        self._server = Server(self._script)

    @property
    def url(self) -> str:
        """The base URL."""
        return self._server.origin + self.wire.root

    @property
    def requests(self) -> list[Request]:
        return self._server.requests

    @property
    def connections(self) -> list[Conn]:
        return self._server.connections

    def wait_for_request(self) -> None:
        """Return once one more request is there whole."""
        self._server.wait_for_request()

    def provider(self, **options: Any) -> Provider:
        """Make the provider that asks this server."""
        return self.wire.provider(self.url, **options)

    def environment(self) -> dict[str, str]:
        """Give the environment variables by which a child process finds this server."""
        return self.wire.environment(self.url)

    def __enter__(self) -> ProviderServer:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._server.close()
        if self.complaints and not isinstance(error, AssertionError):
            raise Rejected(f"{self.wire} refuses: {'; '.join(self.complaints)}")
        if error is None:
            assert not self._server.failures, self._server.failures

    def _script(self, conn: Conn) -> None:
        while True:
            request = conn.request()
            if request.method == "GET":
                self._list(conn, request)
                continue
            try:
                asked = self.wire.check_call(request.method, request.target, request.headers, json.loads(request.body))
            except (Rejected, KeyError, TypeError, ValueError, AttributeError) as error:
                why = str(error) if isinstance(error, Rejected) else f"{type(error).__name__}: {error}"
                with self._lock:
                    self.complaints.append(f"{why} in {request.body.decode()[:2000]}")
                conn.send(full("400 Bad Request", dumps(self.wire.said("context") | {"why": why})))
                continue
            with self._lock:
                number = len(self.asked)
                self.asked.append(asked)
            self._answer(conn, request, asked, self.answers[min(number, len(self.answers) - 1)])

    def _list(self, conn: Conn, request: Request) -> None:
        body = self.tables.get(request.target.partition("?")[0])
        conn.send(full("200 OK" if body else "404 Not Found", dumps(body or self.wire.said("missing"))))

    def _answer(self, conn: Conn, request: Request, asked: Asked, answer: Scripted | Cut) -> None:
        if isinstance(answer, Refusal):
            conn.send(full(f"{answer.status} No", dumps(answer.body), **_dashed(answer.headers)))
        elif isinstance(answer, bytes):
            conn.send(answer)
        elif isinstance(answer, Cut):
            events = self.wire.stream(answer.answer).events[: answer.events]
            self._stream(conn, Written(events, len(events)), answer.how)
        elif callable(answer) and not isinstance(answer, Answer):
            answer(conn, request)
        else:
            said = answer if isinstance(answer, Answer) else Answer(answer)
            if said.whole or (said.whole is None and not asked.stream):
                conn.send(full("200 OK", self.wire.whole(said), **_dashed(self.wire.headers())))
            else:
                self._stream(conn, self.wire.stream(said))

    def _stream(self, conn: Conn, written: Written, how: str = "clean") -> None:
        headers = _dashed(self.wire.headers())
        if self.framing == "chunked":
            conn.send(head(content_type=self.wire.stream_type, Transfer_Encoding="chunked", **headers))
        elif self.framing == "close":
            conn.send(head(content_type=self.wire.stream_type, Connection="close", **headers))
        else:
            length = len(written.body) + (how != "clean")
            conn.send(head(content_type=self.wire.stream_type, Content_Length=str(length), **headers))
        for event in written.events:
            if isinstance(event, threading.Event):
                self._hold(conn, event)
            else:
                self._send(conn, http_chunk(event) if self.framing == "chunked" else event)
        if how == "hold":
            self._hold(conn, threading.Event())
        if how == "clean" and self.framing == "chunked":
            conn.send(LAST_CHUNK)
        elif how == "close" or self.framing == "close":
            raise Gone

    def _send(self, conn: Conn, data: bytes) -> None:
        try:
            conn.send(data)
        except Gone:
            self.hung_up.set()
            raise

    def _hold(self, conn: Conn, gate: threading.Event) -> None:
        """Wait until the gate opens; Gone where the client left, or the test is over, before that."""
        while not gate.is_set():
            readable = select.select([conn.sock], [], [], 0.01)[0]
            if self._server.closing or (readable and not conn.sock.recv(1, socket.MSG_PEEK)):
                self.hung_up.set()
                raise Gone


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    """Give headers as the renderers take them: as keyword arguments."""
    return {name.replace("-", "_"): value for name, value in headers.items()}
