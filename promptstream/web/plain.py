"""A plain HTTP request in, its answer out: a file of the page, or a turn as Server-Sent Events or lines of JSON."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from promptstream.errors import ApprovalPending, ConfigError, PromptStreamError, StateError, StoreCorrupt
from promptstream.values.events import event_json
from promptstream.web.actions import read_action
from promptstream.web.failures import Unavailable, event, refused
from promptstream.web.files import POLICY
from promptstream.web.gate import Refusal
from promptstream.web.line import Gone, Late, Line
from promptstream.web.talk import Talk

if TYPE_CHECKING:
    from promptstream.web.visit import House

log = logging.getLogger("promptstream.web")
_LINES, _EVENTS = "application/x-ndjson", "text/event-stream"
FULL = "There are as many clients as this relay may have; try again later."
_FIRST = 8192
"""Bytes that a request's first line may have."""
_FORMATS = ("", "sse", "ndjson")
_GOODBYE = 2.0
"""Seconds that a client has to hang up once the answer is whole."""


class Exchange(BaseHTTPRequestHandler):
    """Answer one request of a line, and be done with it."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"

    def __init__(self, line: Line, came: bytes, deadline: float, house: House) -> None:
        self.line, self.house, self.deadline = line, house, deadline
        self.rfile = io.BufferedReader(_Incoming(line, came, deadline))
        self.wfile = _Outgoing(line)  # type: ignore[assignment]
        self.close_connection = True
        self.sends_events = True
        self.answer: _Answer | None = None

    def serve(self, *, full: bool = False) -> None:
        """Read the request and answer it; where it is *full*, only to who asks whether the relay lives.

        Raises:
            Refusal: it is nothing that could be answered otherwise; Gone: the client left.
        """
        self.raw_requestline = self.rfile.readline(_FIRST)
        if not self.raw_requestline.endswith(b"\n"):
            raise Refusal(414, "The address is too long.")
        if not self.parse_request():
            return
        if self.request_version < "HTTP/1":
            raise Refusal(505, "This relay speaks HTTP/1.1.")
        try:
            path = urlsplit(self.path).path
            self.house.gate.check(self.headers)
            if full and path != "/health":
                raise Refusal(503, FULL)
            known = _PATHS.get(path)
            if known is None:
                known = {"GET": "file", "HEAD": "file"}
            if self.command not in known:
                raise Refusal(405 if known else 404, f"{self.command:.20} is not for this path.")
            getattr(self, f"_{known[self.command]}")(path)
        except Refusal as error:
            self._say(error.status, event("error", error=error.reason))
        except Late:
            self._say(408, event("error", error="The request did not come in time."))

    def _file(self, path: str) -> None:
        file = None if self.house.files is None else self.house.files.find(path)
        if file is None:
            raise Refusal(404, "There is nothing here. A WebSocket, or a POST, goes to /chat.")
        same = self.headers.get("If-None-Match") == file.tag
        headers = {"ETag": file.tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        self._reply(304 if same else 200, b"" if same else file.body, None if same else file.type, headers)

    def _health(self, path: str) -> None:
        self._reply(200, b'{"status": "ok"}\n', "application/json", {"Cache-Control": "no-store"})

    def _socket(self, path: str) -> None:
        raise Refusal(426, "This is for WebSockets, or for POST.")

    def _options(self, path: str) -> None:
        allowed = {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "authorization, content-type, accept",
        }
        self._reply(204, b"", None, allowed)

    def _chat(self, path: str) -> None:
        if not self.house.gate.admits(self.headers):
            raise Refusal(401, "Give the token of this relay: Authorization: Bearer …")
        if self._format() not in _FORMATS:
            raise Refusal(400, "format is 'sse' or 'ndjson'.")
        try:
            action = read_action(self._body())
        except ConfigError as error:
            self._say(400, refused(error))
            return
        self.answer = answer = _Answer(self)
        talk = Talk(
            self.house.conversations, answer.say, hands=self.house.hands, fixed=self.house.fixed, ended=answer.end
        )
        try:
            with self.house.having(talk):
                self._act(talk, action, answer)
        finally:
            talk.leave()

    def _act(self, talk: Talk, action: Mapping[str, Any], answer: _Answer) -> None:
        name, id = action["action"], action.get("conversation_id")
        try:
            if name == "authenticate":
                raise ConfigError("authenticate is for WebSockets; give the token by Authorization: Bearer …")
            if id is None and name != "send_message":
                raise ConfigError(f"{name} needs 'conversation_id'.")
            if name == "cancel":
                if not self.house.conversations.known(id):
                    raise StateError("There is no such conversation.")
                self.house.conversations.cancel(str(id))
                self._say(200, event("conversation", conversation_id=id))
                return
            if name != "resume":
                if id is not None:
                    talk.go_on(id)
                answer.first = event("conversation", conversation_id=talk.conv.id)
            talk.act(action)
        except Exception as error:
            if isinstance(error, (Gone, Late)):
                raise
            if not answer.begun:
                self._say(_status(error), refused(error, name))
                return
            answer.say(event_json(refused(error, name)))
        if not talk.running and not answer.ended:
            answer.end()
        self._wait(talk, answer)

    def _wait(self, talk: Talk, answer: _Answer) -> None:
        """Watch the line until the turn is over and the client has hung up, or until the client leaves."""
        until = None
        while True:
            if until is None and answer.ended:
                until = monotonic() + _GOODBYE
            data = self.line.read(4096, 1.0)
            if data == b"" or (until is not None and monotonic() > until):
                return

    def _body(self) -> str:
        if self.headers.get("Transfer-Encoding") is not None or "Content-Length" not in self.headers:
            raise Refusal(411, "Give the body with its Content-Length.")
        length = self.headers["Content-Length"].strip()
        if not (length.isascii() and length.isdigit()) or len(self.headers.get_all("Content-Length", ())) > 1:
            raise Refusal(400, "Content-Length is no number.")
        if len(length) > 12 or int(length) > self.house.max_message:
            raise Refusal(413, f"The message is larger than {self.house.max_message:,} bytes.")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Gone
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise Refusal(400, "The message is not UTF-8.") from None

    def _format(self) -> str:
        return parse_qs(urlsplit(self.path).query).get("format", [""])[-1]

    def wants_lines(self) -> bool:
        """Tell whether lines of JSON are asked for, rather than Server-Sent Events."""
        asked = self._format()
        accept = self.headers.get("Accept", "")
        return asked == "ndjson" or (not asked and _LINES in accept and _EVENTS not in accept)

    def _say(self, status: int, told: Mapping[str, Any]) -> None:
        headers = {"Cache-Control": "no-store"}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if status == 503:
            headers["Retry-After"] = "5"
        self._reply(status, json.dumps(told).encode() + b"\n", "application/json", headers)

    def _reply(self, status: int, body: bytes, kind: str | None, headers: Mapping[str, str]) -> None:
        self.begin(status, kind, {**headers, **({} if status in (204, 304) else {"Content-Length": str(len(body))})})
        if self.command != "HEAD" and body:
            self.wfile.write(body)
        self.line.finish()
        with suppress(Gone):
            self._drain()

    def begin(self, status: int, kind: str | None, headers: Mapping[str, str]) -> None:
        """Send a status and headers."""
        self.send_response(status)
        if kind is not None:
            self.send_header("Content-Type", kind)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Connection", "close")
        origin = self.headers.get("Origin") if hasattr(self, "headers") else None
        if origin is not None and origin in self.house.gate.origins:
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Vary", "Origin")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _drain(self) -> None:
        """Read on until the client hangs up: what it still sends would otherwise cost it the answer."""
        until = monotonic() + _GOODBYE
        while (left := until - monotonic()) > 0 and self.line.read(65536, left):
            pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what cannot be parsed, as everything is refused here."""
        self.command = self.command or "GET"
        self._say(code, event("error", error=f"The request cannot be read: {HTTPStatus(code).phrase}."))

    def version_string(self) -> str:
        """Give what ``Server`` says: a name, and nothing of versions."""
        return "promptstream"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing of what a client says; its requests are counted elsewhere."""


_PATHS: dict[str, dict[str, str]] = {
    "/chat": {"GET": "socket", "POST": "chat", "OPTIONS": "options"},
    "/health": {"GET": "health", "HEAD": "health"},
}


class _Answer:
    """Write events as they come, one HTTP chunk each."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._lines = exchange.wants_lines()
        self._chunked = exchange.request_version != "HTTP/1.0"
        self.first: Mapping[str, Any] | None = None
        """What is said before all else."""
        self.begun = self.ended = False

    def say(self, *texts: str) -> None:
        """Send events."""
        if not self.begun:
            self._begin()
        before, after = ("", "\n") if self._lines else ("data: ", "\n\n")
        self._write("".join([f"{before}{text}{after}" for text in texts]))

    def end(self) -> None:
        """Tell that the answer is whole."""
        if not self.begun:
            self._begin()
        self.ended = True
        with suppress(Gone):
            if self._chunked:
                self._exchange.line.write(b"0\r\n\r\n")
        self._exchange.line.finish()

    def _begin(self) -> None:
        self.begun = True
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        self._exchange.begin(200, _LINES if self._lines else f"{_EVENTS}; charset=utf-8", headers)
        if self.first is not None:
            self.say(json.dumps(self.first))

    def _write(self, text: str) -> None:
        data = text.encode()
        self._exchange.line.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)


class _Incoming(io.RawIOBase):
    """Give what came already, and then what comes until the deadline."""

    def __init__(self, line: Line, came: bytes, deadline: float) -> None:
        self._line, self._came, self._deadline = line, came, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self._came = self._came[: len(buffer)], self._came[len(buffer) :]
        if not data:
            read = self._line.read(len(buffer), self._deadline - monotonic())
            if read is None:
                raise Late
            data = read
        buffer[: len(data)] = data
        return len(data)


class _Outgoing(io.RawIOBase):
    """Write to the line at once."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._line.write(bytes(data))
        return len(data)


def _status(error: Exception) -> int:
    if isinstance(error, Unavailable):
        return 503
    if isinstance(error, StoreCorrupt):
        return 500
    if isinstance(error, StateError):
        return 404 if "no such conversation" in str(error) else 409
    if isinstance(error, ApprovalPending):
        return 409
    return 400 if isinstance(error, (PromptStreamError, TypeError, ValueError)) else 500
