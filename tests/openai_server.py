"""A loopback server that speaks Chat Completions by a script, for tests of whole programs over the real wire."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[1]
PATIENCE = 20.0
"""Seconds a test waits for what must happen before it fails."""


def basic(more: dict[str, str]) -> dict[str, str]:
    """Give the environment of a child process that runs this library, with *more* in it."""
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        # Ctrl-C in the middle of an import leaves a file to Python's own importer.
        "PYTHONWARNINGS": "always::ResourceWarning,ignore::ResourceWarning:importlib._bootstrap_external",
        "PROMPTSTREAM_CONFIG": os.devnull,
        "SYSTEMROOT": "C:\\Windows",
        **more,
    }


@attrs.frozen(eq=False)
class Answer:
    """Script one answer: its deltas, texts or dicts; an Event among them holds the rest back until it is set."""

    pieces: tuple[str | dict[str, Any] | threading.Event, ...] = attrs.field(
        converter=lambda each: (each,) if isinstance(each, str) else tuple(each)
    )
    finish: str | None = "stop"
    """None cuts the answer: the body ends without a finish signal."""
    status: int = 200
    """Anything else answers with an error whose message is the text."""


def calling(*calls: tuple[str, str, str], text: str = "") -> Answer:
    """Give an answer that calls tools: the id, name and arguments, as JSON, of each."""
    pieces: list[str | dict[str, Any]] = [text] if text else []
    for index, (id, name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": arguments}
        pieces.append({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
    return Answer(pieces, finish="tool_calls")


class OpenAIServer(ThreadingHTTPServer):
    """Play *answers* in order, the last one again and again. A context manager."""

    daemon_threads = True

    def __init__(self, *answers: str | Iterable[str | dict[str, Any] | threading.Event] | Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = [each if isinstance(each, Answer) else Answer(each) for each in answers]
        self.requests: list[dict[str, Any]] = []
        """The bodies it was sent."""
        self.asked = threading.Event()
        """Set once a request has come."""
        self.hung_up = threading.Event()
        """Set once a client left before its answer was whole."""
        self.closing = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer_to(self, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        """Give what is said to this request; the next of the answers. Called under the lock."""
        return self.answers[min(len(self.requests), len(self.answers) - 1)]

    def environment(self, **more: str) -> dict[str, str]:
        """Give the environment of a child process whose configured provider is this server."""
        return basic({"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": self.url, **more})

    def __enter__(self) -> OpenAIServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OpenAIServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            answer = server.answer_to(body, self.headers)
            server.requests.append(body)
        server.asked.set()
        self.close_connection = True
        if answer.status != 200:
            self._refuse(answer)
            return
        try:
            self._stream(answer, str(body.get("model", "toy-1")))
        except OSError:
            server.hung_up.set()

    def _refuse(self, answer: Answer) -> None:
        body = json.dumps({"error": {"message": answer.pieces[0], "type": "error"}}).encode()
        self._head(answer.status, "application/json", ("Content-Length", str(len(body))), ("retry-after-ms", "10"))
        self.wfile.write(body)

    def _stream(self, answer: Answer, model: str) -> None:
        self._head(200, "text/event-stream", ("Transfer-Encoding", "chunked"))
        for piece in answer.pieces:
            if isinstance(piece, str):
                self._event(_chunk(model, {"content": piece}))
            elif isinstance(piece, dict):
                self._event(_chunk(model, piece))
            elif not self._wait(piece):
                self.server.hung_up.set()
                return
        if answer.finish is not None:
            self._event(_chunk(model, {}, answer.finish))
            usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
            self._event({**_chunk(model, {}), "choices": [], "usage": usage})
            self._send("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _wait(self, gate: threading.Event) -> bool:
        """Wait until the gate opens; False where the client left, or the test is over, before that."""
        while not gate.is_set():
            readable = select.select([self.connection], [], [], 0.01)[0]
            if self.server.closing.is_set() or (readable and not self.connection.recv(1, socket.MSG_PEEK)):
                return False
        return True

    def _head(self, status: int, kind: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Connection", "close"), *headers):
            self.send_header(name, value)
        self.end_headers()

    def _event(self, body: dict[str, Any]) -> None:
        self._send(f"data: {json.dumps(body)}\n\n")

    def _send(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def log_message(self, *_: Any) -> None:
        pass


def _chunk(model: str, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": model, "choices": choices}
