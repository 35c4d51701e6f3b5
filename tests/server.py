"""A loopback server on raw sockets that does exactly what its script says, and keeps a journal."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

MODEL = "toy-1"
PATIENCE = 10.0
"""Seconds after which a script that waits in vain gives up; no passing test comes near."""


# What the server says


def event(choice: dict[str, Any] | None, **fields: Any) -> bytes:
    """Render one Chat Completions event."""
    body = {"id": "c1", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice] if choice else []}
    return f"data: {json.dumps({**body, **fields}, separators=(',', ':'))}\n\n".encode()


def role() -> bytes:
    """Render the first event, which carries no text."""
    return event({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})


def text(piece: str) -> bytes:
    """Render a delta of text."""
    return event({"index": 0, "delta": {"content": piece}, "finish_reason": None})


def finish(reason: str = "stop") -> bytes:
    """Render the finish signal."""
    return event({"index": 0, "delta": {}, "finish_reason": reason})


def usage(prompt: int = 5, completion: int = 4) -> bytes:
    """Render the event that tells the token counts."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return event(None, usage=counts)


def failure(message: str = "The engine failed.", kind: str = "server_error") -> bytes:
    """Render an error inside a 200 stream."""
    return f"data: {json.dumps({'error': {'message': message, 'type': kind, 'code': kind}})}\n\n".encode()


DONE = b"data: [DONE]\n\n"
PIECES = ("Once", " upon", " a", " time.")
TEXT = "".join(PIECES)


def answer(*pieces: str) -> list[bytes]:
    """Render a good answer as a list of events."""
    return [role(), *map(text, pieces or PIECES), finish(), usage(), DONE]


def whole(content: str = TEXT, reason: str | None = "stop") -> bytes:
    """Render a good answer as one JSON body."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": reason}
    counts = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
    return json.dumps({"id": "c1", "model": MODEL, "choices": [choice], "usage": counts}).encode()


# How it is framed


def head(status: str = "200 OK", content_type: str | None = "text/event-stream", **headers: str) -> bytes:
    """Render a status line and headers; an underscore in a name stands for a hyphen."""
    lines = [f"HTTP/1.1 {status}"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunked_head(**headers: str) -> bytes:
    """Render the head of a chunked stream of events."""
    return head(Transfer_Encoding="chunked", **headers)


def http_chunk(data: bytes) -> bytes:
    """Render one HTTP chunk; of no bytes it is the last one."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def full(status: str, body: bytes | str = b"", content_type: str | None = "application/json", **headers: str) -> bytes:
    """Render a whole response with its Content-Length."""
    body = body.encode() if isinstance(body, str) else body
    return head(status, content_type, Content_Length=str(len(body)), **headers) + body


def error(status: str, message: str = "No.", **headers: str) -> bytes:
    """Render an HTTP error in OpenAI's shape."""
    return full(status, json.dumps({"error": {"message": message}}), **headers)


def cuts(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Cut *data* into pieces of the given *sizes*, the rest in one."""
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


FRAMINGS = ("chunked", "chunked in pieces", "glued chunks", "content-length", "close", "gzip", "gzip close")


def framed(events: Iterable[bytes], framing: str) -> Iterator[bytes]:
    """Frame *events*: the head, then what to send for each event, then what ends the message."""
    events = list(events)
    if framing == "content-length":
        yield head(Content_Length=str(sum(map(len, events))))
        yield from events
        yield b""
    elif framing == "close":
        yield head(Connection="close")
        yield from events
        yield b""
    elif framing.startswith("gzip"):
        close = framing.endswith("close")
        yield head(Content_Encoding="gzip", **({"Connection": "close"} if close else {"Transfer_Encoding": "chunked"}))
        squeeze = zlib.compressobj(wbits=31)
        for each in events:
            packed = squeeze.compress(each) + squeeze.flush(zlib.Z_SYNC_FLUSH)
            yield packed if close else http_chunk(packed)
        yield squeeze.flush() if close else http_chunk(squeeze.flush()) + LAST_CHUNK
    else:
        yield chunked_head()
        for each in events:
            if framing == "chunked in pieces":  # the chunks' ends have nothing to do with the events'
                yield b"".join(map(http_chunk, filter(None, cuts(each, (1, 7, 30)))))
            elif framing == "glued chunks":
                yield http_chunk(each[:9]) + http_chunk(each[9:])
            else:
                yield http_chunk(each)
        yield LAST_CHUNK


def bomb(size: int) -> bytes:
    """Pack *size* zeros, without ever holding them."""
    squeeze = zlib.compressobj(9, wbits=31)
    block = bytes(1 << 20)
    return b"".join([squeeze.compress(block) for _ in range(size >> 20)]) + squeeze.flush()


def zipped(data: bytes) -> bytes:
    """Pack *data*."""
    return gzip.compress(data)


# Who says it


class Request:
    """Hold one parsed request."""

    def __init__(self, top: bytes, body: bytes) -> None:
        first, *lines = top.decode("latin-1").split("\r\n")
        self.top = first
        self.method, self.target = (*first.split(" "), "")[:2]
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Gone(Exception):
    """The client hung up, or the server closes."""


class Conn:
    """Serve one connection, as its script says."""

    def __init__(self, server: Server, sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        """From 0, in the order of accepting."""
        self.requests: list[Request] = []
        self.sent: list[tuple[float, bytes]] = []
        self.hung_up: float | None = None
        """When the client's end was seen."""
        self.gone = threading.Event()
        self.flooded = 0
        """Bytes that :meth:`flood` sent."""
        self._buffer = b""

    def recv(self, size: int = 65536) -> bytes:
        """Read; raises Gone, and notes the time, at the client's end."""
        try:
            data = self.sock.recv(size)
        except OSError:
            data = b""
        if not data:
            self.hung_up = self.hung_up or monotonic()
            self.gone.set()
            raise Gone
        return data

    def _until(self, found: Callable[[bytes], bool]) -> None:
        while not found(self._buffer):
            self._buffer += self.recv()

    def request(self) -> Request:
        """Read the next request whole."""
        self._until(lambda data: b"\r\n\r\n" in data)
        top, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        length = int(Request(top, b"").headers.get("content-length", 0))
        self._until(lambda data: len(data) >= length)
        request = Request(top, self._buffer[:length])
        self._buffer = self._buffer[length:]
        self.requests.append(request)
        self.server.add(request)
        return request

    def send(self, *pieces: bytes) -> None:
        """Send each piece by itself, and note the time."""
        for piece in pieces:
            self.sent.append((monotonic(), piece))
            try:
                self.sock.sendall(piece)
            except OSError:
                self.gone.set()
                raise Gone from None

    def answer(self, *pieces: str, framing: str = "chunked") -> None:
        """Send a good answer."""
        self.send(b"".join(framed(answer(*pieces), framing)))

    def wait(self, event: threading.Event) -> None:
        """Hold until *event* is set."""
        if not event.wait(PATIENCE) or self.server.closing:
            raise Gone

    def wait_for_hang_up(self) -> None:
        """Read until the client hangs up, and note when that was; raises Gone."""
        while True:
            self.recv()

    def flood(self, piece: bytes, most: int = 1 << 30) -> None:
        """Send *piece* again and again until the client hangs up or *most* bytes are out; ``flooded`` counts them."""
        with suppress(OSError):
            while self.flooded < most and not self.server.closing:
                self.sock.sendall(piece)
                self.flooded += len(piece)
        self.gone.set()

    def drip(self, data: bytes, pause: float = 0.02) -> None:
        """Send *data* byte by byte until it is out or the client hangs up."""
        for byte in data:
            self.send(bytes((byte,)))
            if self.gone.wait(pause) or self.server.closing:
                raise Gone

    def end(self) -> None:
        """End the stream cleanly; what is sent already still arrives."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Tear the connection down with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def shut(self) -> None:
        """End both directions, from any thread: a script that is blocked in this connection wakes."""
        with suppress(OSError):  # the plain shutdown, which also wakes a thread that is blocked in TLS
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self.sock.close()


Script = Callable[[Conn], object]


def each(*scripts: Callable[[Conn, Request], object]) -> Script:
    """Make a script that serves one request after the other, the last of *scripts* for all that follow.

    They are counted over all connections, so that the second request is the second script's wherever it arrives.
    """
    lock, served = threading.Lock(), [0]

    def script(conn: Conn) -> None:
        while True:
            request = conn.request()
            with lock:
                number, served[0] = served[0], served[0] + 1
            scripts[min(number, len(scripts) - 1)](conn, request)

    return script


def say(*pieces: bytes) -> Callable[[Conn, Request], None]:
    """Make a step of :func:`each` that sends *pieces*, whatever was asked."""
    return lambda conn, request: conn.send(*pieces)


def good(conn: Conn, request: Request) -> None:
    """Answer well; a step of :func:`each`."""
    conn.answer()


class Server:
    """Listen on loopback and run the script for every connection. A context manager; quiet, closes all it opened."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, raw: bool = False) -> None:
        self.script = script
        self.tls = tls
        self.raw = raw
        """True leaves the TLS handshake to the script."""
        self.connections: list[Conn] = []
        self.requests: list[Request] = []
        self.failures: list[BaseException] = []
        """What went wrong in a script itself; a test's own fault."""
        self.release = threading.Event()
        """For scripts that hold until the test lets them go."""
        self.arrived = threading.Semaphore(0)
        """Counts requests; a test that must not start before the request is there acquires it."""
        self.accepted = threading.Semaphore(0)
        self.closing = False
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL for the compatible provider."""
        return f"{self.origin}/v1"

    @property
    def conn(self) -> Conn:
        """The latest connection."""
        return self.connections[-1]

    def add(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
        self.arrived.release()

    def wait_for_request(self) -> None:
        """Return once one more request is there whole."""
        assert self.arrived.acquire(timeout=PATIENCE), "no request came"

    def wait_for_connection(self) -> None:
        """Return once one more connection is accepted."""
        assert self.accepted.acquire(timeout=PATIENCE), "no connection came"

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True, name="test-server")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self.closing:
                    sock.close()
                    return
                conn = Conn(self, sock, len(self.connections))
                self.connections.append(conn)
                self._threads = [thread for thread in self._threads if thread.is_alive()]
            self.accepted.release()
            self._start(self._serve, conn)

    def _serve(self, conn: Conn) -> None:
        try:
            if self.tls is not None and not self.raw:
                conn.sock = self.tls.wrap_socket(conn.sock, server_side=True)
            self.script(conn)
        except (Gone, OSError):
            conn.gone.set()
        except BaseException as fault:
            self.failures.append(fault)
        finally:
            conn.close()

    def close(self) -> None:
        with self._lock:
            self.closing = True
        self.release.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for conn in self.connections:
            conn.shut()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a script of the test server does not end"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


class BlackHole:
    """Listen on loopback, and let no connect() come through: its queue is full and nobody accepts."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        for sock in (*self._fillers, self._listener):
            sock.close()

    def __enter__(self) -> BlackHole:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def unused_port() -> int:
    """Give a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
