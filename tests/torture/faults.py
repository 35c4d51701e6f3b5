"""A fault and a number in, that call of the threads under test made to fail.

As few things as possible are replaced, and only as the library sees them: the socket class and the look-up that
``wire.dial`` uses, the shutdown of ``wire.watch``, the class of TLS sockets, thread starts and waits, and the JSON
parser. What the test server's threads and the watchdog do never fails.
"""

from __future__ import annotations

import errno
import json
import socket
import ssl
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

import attrs
import urllib3.connection

from promptstream.wire import dial, transport, watch

T = TypeVar("T")
SHORT = 192
"""Bytes a read gives at most, so that an answer takes several."""
_SPARED = ("test-server", "promptstream-watchdog")
"""Threads whose calls never fail."""

READS = frozenset({"recv"})
TRAFFIC = frozenset({"recv", "send"})
NETWORK = TRAFFIC | {"connect", "handshake", "shutdown", "close"}
SOCKET = NETWORK | {"getaddrinfo", "socket", "setsockopt", "settimeout", "dup", "makefile"}
SOCKET |= {"wrap", "trust", "start"}
ALL = SOCKET | {"poll", "wait", "json"}


@attrs.frozen
class Fault:
    """One way to fail."""

    name: str
    calls: frozenset[str]
    """Which calls fail in this way."""
    error: Callable[[], BaseException] | None
    """Makes what is raised; None ends the stream of bytes instead."""
    passes: tuple[type[BaseException], ...] = ()
    """What may come out as it went in: not the system's word, but something that strikes Python in between."""
    after: bool = False
    """True where the call is made before it fails: what it gave is lost."""
    lasts: bool = False
    """True where every call from then on fails."""
    breaks: bool = False
    """True where the connection is gone from then on; urllib3 goes on reading where a send failed so."""

    def raised(self, call: str, *, tls: bool) -> BaseException:
        """Make the exception as *call* would raise it."""
        assert self.error is not None
        error = self.error()
        if isinstance(error, OSError):
            if call == "getaddrinfo":
                return socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            if call == "start":
                return RuntimeError("can't start new thread")
            if tls and error.errno == errno.EIO:
                return ssl.SSLError(1, "[SSL] record layer failure")
        return error


FAULTS: dict[str, Fault] = {
    each.name: each
    for each in (
        Fault("timeout", SOCKET, lambda: TimeoutError("timed out")),
        Fault(
            "reset", NETWORK, lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), breaks=True
        ),
        Fault("pipe", NETWORK, lambda: BrokenPipeError(errno.EPIPE, "Broken pipe"), breaks=True),
        Fault("i/o error", SOCKET, lambda: OSError(errno.EIO, "Input/output error")),
        Fault("i/o errors", SOCKET, lambda: OSError(errno.EIO, "Input/output error"), lasts=True),
        Fault("end", READS, None, breaks=True),
        Fault("closed file", TRAFFIC, lambda: ValueError("I/O operation on closed file.")),
        Fault("no memory", ALL, MemoryError, (MemoryError,)),
        Fault("no memory left", ALL - {"shutdown", "close"}, MemoryError, (MemoryError,), lasts=True),
        Fault("ctrl-c", ALL, KeyboardInterrupt, (KeyboardInterrupt,)),
        Fault("ctrl-c after", ALL, KeyboardInterrupt, (KeyboardInterrupt,), after=True),
    )
}
"""By name. Ctrl-C strikes before the call, or after it and before anyone has its result."""


class Injector:
    """Count the calls that *fault* applies to, and fail the one with the given *number* (from 1)."""

    def __init__(self, fault: Fault, number: int) -> None:
        self.fault = fault
        self.number = number
        self.count = 0
        self.fired = ""
        """The call that failed."""

    def call(self, name: str, do: Callable[[], T], sock: socket.socket | None = None) -> T:
        """Do what *do* does, or fail; *sock* carries the traffic."""
        if name not in self.fault.calls or threading.current_thread().name in _SPARED:
            return do()
        self.count += 1
        if self.count < self.number or (self.count > self.number and not self.fault.lasts):
            return do()
        self.fired = self.fired or name
        if self.fault.breaks and sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        if self.fault.error is None:
            return 0  # type: ignore[return-value]
        # Whatever close() says, the descriptor is gone, and what shutdown() complains of was no connection any more.
        if self.fault.after or name == "close" or (name == "shutdown" and not self.fault.passes):
            do()
        raise self.fault.raised(name, tls=isinstance(sock, ssl.SSLSocket))


class _Depth(threading.local):
    inside = 0
    """How many calls of ours the thread is in: what the standard library does on the way is not the library's."""


_active: list[Injector] = []
_depth = _Depth()
_opened: weakref.WeakSet[socket.socket] = weakref.WeakSet()
sends: list[int] = []
"""The sizes of what the client sent, or tried to."""
refused: list[tuple[str, int]] = []
"""Addresses to give, each once, in place of the one that is looked up."""


def _call(name: str, do: Callable[[], T], sock: socket.socket | None = None) -> T:
    if not _active or (name == "settimeout" and _depth.inside):
        return do()
    _depth.inside += 1
    try:
        return _active[-1].call(name, do, sock)
    finally:
        _depth.inside -= 1


def forget_sockets() -> None:
    """Count none of those there are from here on, and nothing that they sent."""
    _opened.clear()
    sends.clear()


def open_sockets() -> int:
    """Count the client's sockets that are open."""
    return sum(sock.fileno() >= 0 for sock in list(_opened))


@contextmanager
def failing(fault: Fault, number: int) -> Iterator[Injector]:
    """Let call *number* of those that *fault* applies to fail inside."""
    injector = Injector(fault, number)
    _active.append(injector)
    try:
        yield injector
    finally:
        _active.remove(injector)


class _Socket(socket.socket):
    """A socket whose calls may fail, and whose reads are short."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _opened.add(self)

    def connect(self, address: Any) -> None:
        _call("connect", lambda: super(_Socket, self).connect(address))

    def setsockopt(self, *args: Any) -> None:
        _call("setsockopt", lambda: super(_Socket, self).setsockopt(*args))

    def settimeout(self, value: float | None) -> None:
        _call("settimeout", lambda: super(_Socket, self).settimeout(value))

    def sendall(self, data: Any, flags: int = 0) -> None:
        sends.append(len(data))
        _call("send", lambda: super(_Socket, self).sendall(data, flags), self)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        size = min(nbytes or len(buffer), SHORT)
        return _call("recv", lambda: super(_Socket, self).recv_into(buffer, size, flags), self)

    def dup(self) -> socket.socket:
        return _call("dup", super().dup)

    def makefile(self, *args: Any, **options: Any) -> Any:
        return _call("makefile", lambda: super(_Socket, self).makefile(*args, **options))

    def close(self) -> None:
        _call("close", super().close)


class _TLSSocket(ssl.SSLSocket):
    """The same on TLS."""

    def do_handshake(self, block: bool = False) -> None:
        if not self.server_side:
            _opened.add(self)
        _call("handshake", lambda: super(_TLSSocket, self).do_handshake(block), self)

    def settimeout(self, value: float | None) -> None:
        _call("settimeout", lambda: super(_TLSSocket, self).settimeout(value))

    def sendall(self, data: Any, flags: int = 0) -> None:
        if not self.server_side:
            sends.append(len(data))
        _call("send", lambda: super(_TLSSocket, self).sendall(data, flags), self)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        size = min(nbytes or len(buffer), SHORT)
        return _call("recv", lambda: super(_TLSSocket, self).recv_into(buffer, size, flags), self)

    def makefile(self, *args: Any, **options: Any) -> Any:
        return _call("makefile", lambda: super(_TLSSocket, self).makefile(*args, **options))

    def close(self) -> None:
        _call("close", super().close)


class _View:
    """A module as one of ours sees it: some names are replaced, the rest is the module's own."""

    def __init__(self, module: Any, **names: Any) -> None:
        self.__dict__.update(names)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _socket(*args: Any) -> socket.socket:
    return _call("socket", lambda: _Socket(*args))


def _getaddrinfo(host: str, port: int, *args: Any) -> Any:
    if refused:
        host, port = refused.pop()
    return _call("getaddrinfo", lambda: socket.getaddrinfo(host, port, *args))


def _shutdown(sock: socket.socket, how: int) -> None:
    _call("shutdown", lambda: socket.socket.shutdown(sock, how))


def _counted(name: str, original: Any) -> Any:
    return lambda *args, **options: _call(name, lambda: original(*args, **options))


@contextmanager
def tortured() -> Iterator[None]:
    """Put what may fail in the place of what the library calls."""
    with ExitStack() as stack:

        def replace(holder: Any, name: str, new: Any) -> None:
            stack.enter_context(patch.object(holder, name, new))

        replace(dial, "socket", _View(socket, socket=_socket, getaddrinfo=_getaddrinfo))
        replace(watch, "socket", _View(socket, socket=SimpleNamespace(shutdown=_shutdown)))
        replace(transport, "json", _View(json, dumps=_counted("json", json.dumps)))
        replace(ssl.SSLContext, "sslsocket_class", _TLSSocket)
        replace(ssl.SSLContext, "wrap_socket", _method("wrap", ssl.SSLContext.wrap_socket))
        replace(ssl.SSLContext, "load_verify_locations", _method("trust", ssl.SSLContext.load_verify_locations))
        replace(threading.Thread, "start", _method("start", threading.Thread.start))
        replace(threading.Condition, "wait", _method("wait", threading.Condition.wait))
        replace(urllib3.connection, "wait_for_read", _counted("poll", urllib3.connection.wait_for_read))
        for name, module in list(sys.modules.items()):
            for parser in ("loads", "loads_quick", "loads_exact"):
                if name.startswith("promptstream.") and parser in vars(module):
                    replace(module, parser, _counted("json", getattr(module, parser)))
        yield


def _method(name: str, original: Any) -> Any:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        return _call(name, lambda: original(self, *args, **options))

    return method
