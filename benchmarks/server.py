"""A chunk count in the path in, a ready-made stream out, from a process of its own.

``POST /2000/v1/chat/completions`` answers 2,000 chunks as fast as the socket takes them;
``POST /400@2/v1/chat/completions`` answers 400, one every 2 ms; with ``@2s`` each one's text is the time at which
it was sent. So a client's ``base_url`` chooses the stream, and the rest of the path its protocol.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time

from benchmarks import wire
from benchmarks.child import Child, say
from benchmarks.protocols import PROTOCOLS

IDLE = 600.0
PATH = re.compile(rb"POST /(\d{1,6})(?:@(\d{1,3})(s?))?(/[^ ]*) HTTP/1\.1\r\n")
BY_PATH = {(protocol.prefix + protocol.path).encode(): name for name, protocol in PROTOCOLS.items()}
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
REFUSAL = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Server(Child):
    """Run the server for the time of a ``with`` block."""

    def __init__(self) -> None:
        super().__init__("benchmarks.server")
        self._port = self.hear()["port"]

    def url(self, chunks: int, pace: int = 0, protocol: str = "openai", *, stamped: bool = False) -> str:
        """Give the ``base_url`` under which *chunks* chunks are streamed, one every *pace* milliseconds.

        *stamped* ones, which must be paced, hold the monotonic time in ns at which each was sent.
        """
        paced = f"@{pace}{'s' * stamped}" if pace else ""
        return f"http://127.0.0.1:{self._port}/{chunks}{paced}{PROTOCOLS[protocol].prefix}"


def main() -> None:
    """Serve until the parent closes this process's input."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    say(port=listener.getsockname()[1])
    sys.stdin.buffer.read()


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(IDLE)
    with connection:
        try:
            buffer = b""
            while (request := _request(connection, buffer)) is not None:
                head, buffer = request
                if not _answer(connection, head):
                    return
        except OSError:
            return  # the client hung up, as a client may


def _request(connection: socket.socket, buffer: bytes) -> tuple[bytes, bytes] | None:
    """Read one request; give its head and what follows its body, or None at the end."""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        data = connection.recv(65536)
        if not data:
            return None
        buffer += data
    length = LENGTH.search(buffer, 0, end)
    whole = end + 4 + (int(length[1]) if length else 0)
    while len(buffer) < whole:
        data = connection.recv(65536)
        if not data:
            return None
        buffer += data
    return buffer[:end], buffer[whole:]


def _answer(connection: socket.socket, head: bytes) -> bool:
    match = PATH.match(head)
    protocol = BY_PATH.get(match[4]) if match else None
    if match is None or protocol is None or int(match[1]) > wire.LARGEST:
        connection.sendall(REFUSAL)
        return False
    chunks, pace = int(match[1]), int(match[2] or 0) / 1000
    if pace:
        _paced(connection, wire.pieces(chunks, protocol, stamped=bool(match[3])), pace, protocol)
    else:
        connection.sendall(wire.response(chunks, protocol))
    return True


def _paced(connection: socket.socket, pieces: tuple[bytes, ...], pace: float, protocol: str) -> None:
    connection.sendall(wire.head(protocol))
    due = time.monotonic()
    for piece in pieces:
        due += pace
        time.sleep(max(0.0, due - time.monotonic()))
        connection.sendall(piece.replace(wire.STAMP, b"%019d" % time.monotonic_ns()))
    connection.sendall(wire.TAIL)


if __name__ == "__main__":
    main()
