"""One connection in, served to its end out: as a WebSocket, or as plain HTTP."""

from __future__ import annotations

import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from io import BytesIO
from time import monotonic
from typing import Any

import attrs

from promptstream.errors import ConfigError
from promptstream.values.events import event_json
from promptstream.web.actions import read_action
from promptstream.web.conversations import Conversations
from promptstream.web.failures import event, refused
from promptstream.web.files import Files
from promptstream.web.gate import Gate, Refusal
from promptstream.web.hands import Hands
from promptstream.web.line import Gone, Late, Lengthy, Line
from promptstream.web.plain import Exchange
from promptstream.web.talk import Talk
from promptstream.web.websocket import GOING_AWAY, INTERNAL, VIOLATION, WebSocket

log = logging.getLogger("promptstream.web")
_MORE = {401: "WWW-Authenticate: Bearer\r\n", 503: "Retry-After: 5\r\n"}
_UNREAD = 16
"""Reads of what a client that was refused still sends, so that it gets to read why."""
_HEAD, _FIRST = 16 << 10, 8 << 10
"""Bytes that a request's headers may have, and its first line."""


@attrs.frozen(eq=False)
class House:
    """Hold what all connections of a relay share."""

    gate: Gate
    conversations: Conversations
    files: Files | None
    fixed: Callable[[], Any]
    max_message: int
    handshake: float
    """Seconds that a client has to say what it wants, and who it is."""
    send_timeout: float
    ping: float
    hands: Hands = attrs.field(factory=lambda: Hands("promptstream-web-turn"))
    """What turns run in."""
    talks: set[Talk] = attrs.field(factory=set)

    @contextmanager
    def having(self, talk: Talk) -> Iterator[None]:
        """Know of *talk* while it goes on."""
        self.talks.add(talk)
        try:
            yield
        finally:
            self.talks.discard(talk)


class Visit:
    """Serve one connection in the thread that runs it; any thread may end it."""

    def __init__(self, sock: socket.socket, house: House, *, full: bool) -> None:
        self._sock, self._house, self._full = sock, house, full
        self._line: Line | None = None
        self._websocket: WebSocket | None = None
        self.thread: threading.Thread | None = None

    def run(self) -> None:
        """Serve until the client, or the relay, is done."""
        line = self._line = Line(self._sock, self._house.send_timeout)
        try:
            with suppress(Gone, Late):
                try:
                    self._serve(line)
                except Refusal as refusal:
                    refuse(line, refusal)
        except Exception as error:
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s while a connection was served\n%s", type(error).__name__, frames)
        finally:
            line.close()

    def end(self) -> None:
        """Say farewell where there is a way to, and hang up."""
        if self._websocket is not None:
            with suppress(Gone):
                self._websocket.close(GOING_AWAY, "the relay is closing")
        elif self._line is not None:
            self._line.cut()

    def cut(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.cut()

    def _serve(self, line: Line) -> None:
        deadline = monotonic() + self._house.handshake
        try:
            came = line.read_until(b"\r\n\r\n", _HEAD, deadline)
        except Late:
            raise Refusal(408, "The request did not come in time.") from None
        except Lengthy as error:
            if b"\n" not in error.came[:_FIRST]:
                raise Refusal(414, "The address is too long.") from None
            raise Refusal(431, f"The headers are larger than {_HEAD:,} bytes.") from None
        if not came.split(b"\r\n", 1)[0].strip():
            raise Refusal(400, "The request cannot be read: it has no first line.")
        if _asks_for_websocket(came) and not self._full:
            self._converse(line, came, deadline)
        else:
            Exchange(line, came, deadline, self._house).serve(full=self._full)

    def _converse(self, line: Line, came: bytes, deadline: float) -> None:
        house = self._house
        first, _, rest = came.partition(b"\r\n")
        path = first.split(b" ")[1].partition(b"?")[0]
        try:
            headers = parse_headers(BytesIO(rest))
            house.gate.check(headers)
            if path != b"/chat":
                raise Refusal(404, "WebSockets go to /chat.")
            known = house.gate.admits(headers)
        except HTTPException:
            raise Refusal(431, "There are too many headers.") from None
        websocket = self._websocket = WebSocket(line, max_message=house.max_message, ping=house.ping)
        if not websocket.open(came):
            line.read(4096, 1.0)
            return
        talk = Talk(house.conversations, websocket.send, hands=house.hands, fixed=house.fixed)
        try:
            if known or self._authenticated(websocket, deadline):
                with house.having(talk):
                    if self._greeted(websocket, talk):
                        while (text := websocket.receive()) is not None:
                            talk.hear(text)
        finally:
            line.cut()  # a turn that waits for this client waits no longer
            talk.leave()

    def _greeted(self, websocket: WebSocket, talk: Talk) -> bool:
        """Tell whether there is a conversation; says farewell where none can be had."""
        try:
            talk.greet()
        except Gone:
            raise
        except Exception as error:
            websocket.send(event_json(refused(error, "connect")))
            _part(websocket, INTERNAL, "no conversation")
            return False
        return True

    def _authenticated(self, websocket: WebSocket, deadline: float) -> bool:
        """Tell whether the first message holds the token; says farewell where it does not."""
        try:
            text = websocket.receive(deadline)
        except Late:
            text = ""
        if text is None:
            return False
        try:
            action = read_action(text)
        except ConfigError:
            action = {}
        if action.get("action") == "authenticate" and self._house.gate.knows(action["token"]):
            return True
        websocket.send(event_json(event("error", error="This relay wants its token first: authenticate.")))
        _part(websocket, VIOLATION, "no token")
        return False


def _part(websocket: WebSocket, code: int, reason: str) -> None:
    websocket.close(code, reason)
    while websocket.receive() is not None:
        pass  # until its farewell


def _asks_for_websocket(head: bytes) -> bool:
    lines = head.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    return head.startswith(b"GET ") and any(each.startswith(b"upgrade:") and b"websocket" in each for each in lines[1:])


def refuse(line: Line, refusal: Refusal) -> None:
    """Answer a request that is not read any further, and hang up in a way that lets the answer arrive."""
    line.write(answer(refusal))
    line.finish()
    until = monotonic() + 1.0
    for _ in range(_UNREAD):
        if not line.read(65536, until - monotonic()):
            return


def answer(refusal: Refusal) -> bytes:
    """Give the whole answer that *refusal* is."""
    body = event_json(event("error", error=refusal.reason)).encode() + b"\n"
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\nServer: promptstream\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n"
        f"Connection: close\r\n{_MORE.get(refusal.status, '')}\r\n"
    )
    return head.encode() + body
