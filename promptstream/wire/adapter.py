"""What requests sends through: adapters, pools and connections in, sockets that the watch of each send owns out.

Here and in the transport alone is anything of requests or urllib3. What they would do anew for each call, and nobody
here needs, is left out or kept: docs/performance.md has the figures.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import Any, ClassVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError

from promptstream.wire.body import BoundedResponse
from promptstream.wire.dial import dial
from promptstream.wire.watch import Watch

POOL = 64
"""Idle connections kept to a host; hosts and addresses for which something is kept."""
_JOINED = 64 << 10
"""Bytes of a body that are copied to go out with the head."""


class Sender(threading.local):
    """What the connection classes, called deep inside urllib3, must know of the send they serve."""

    watch: Watch | None = None
    fresh = False
    reused = False


sender = Sender()


class _WatchedConnection(HTTPConnection):
    """Hand the socket to the watch from before connect() on, so that it can be shut down at any time."""

    response_class = BoundedResponse
    _served = False
    """True once a request went out on the present socket."""
    _owner: Watch | None = None
    _held: list[bytes] | None = None
    """What a request is written in, until it goes out: head and body at once, which saves the server a wake-up."""

    def _new_conn(self) -> socket.socket:
        if sender.watch is None:
            return super()._new_conn()
        try:
            sock = dial(self._dns_host, self.port, self.socket_options or (), sender.watch)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error
        sender.watch.phase = "tls" if isinstance(self, HTTPSConnection) else "send"
        return sock

    def connect(self) -> None:
        super().connect()
        self._claim()

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        elif self._served:
            sender.reused = True
            self._claim()
        self._held = []
        try:
            super().request(*args, **kwargs)
            self._send_held()
        finally:
            self._held = None
        self._served = True
        if sender.watch is not None:
            sender.watch.phase = "headers"

    def send(self, data: Any) -> None:
        if self._held is None or not isinstance(data, bytes) or len(data) > _JOINED:
            self._send_held()
            super().send(data)
        else:
            self._held.append(data)

    def _send_held(self) -> None:
        if self._held:
            written, self._held = b"".join(self._held), []
            super().send(written)

    def close(self) -> None:
        self._served = False
        super().close()

    def _claim(self) -> None:
        """Give the socket to the watch of the send that is going on, and take it from any other."""
        watch, previous = sender.watch, self._owner
        if previous is not None and previous is not watch:
            previous.release()
        self._owner = watch
        if watch is not None and self.sock is not None:
            self.sock.settimeout(None)  # the watch's clocks rule from here on
            watch.phase = "send"
            watch.sending()
            watch.claim(_plain(self.sock))


class _WatchedTLSConnection(_WatchedConnection, HTTPSConnection):
    _twin: socket.socket | None = None

    def _tunnel(self) -> None:
        if sender.watch is None:
            return super()._tunnel()
        sender.watch.phase = "proxy"
        super()._tunnel()
        sender.watch.phase = "tls"
        return None

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        # The handshake detaches the socket object; only a second descriptor reaches it meanwhile.
        if sender.watch is not None:
            try:
                self._twin = sock.dup()
                sender.watch.claim(self._twin)
            except BaseException:
                sock.close()
                raise
        return sock

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            if self._twin is not None:
                self._twin.close()
                self._twin = None


class _Idle:
    """Keep a pool's idle connections, as queue.LifoQueue does, which a Ctrl-C in the middle of it may leave locked."""

    def __init__(self, maxsize: int) -> None:
        self._kept: deque[Any] = deque()  # each of whose operations is one step
        self._most = maxsize

    def put(self, connection: Any, block: bool = True, timeout: float | None = None) -> None:
        if len(self._kept) >= self._most:
            raise queue.Full
        self._kept.append(connection)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return self._kept.pop()
        except IndexError:
            raise queue.Empty from None

    def qsize(self) -> int:
        return len(self._kept)


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection
    QueueCls: Any = _Idle

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)
        if sender.fresh:
            # Here, where urllib3 closes dropped ones too: later it would not tunnel through a proxy again.
            connection.close()
        return connection


class _WatchedTLSPool(_WatchedPool, HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


class Adapter(HTTPAdapter):
    """Leave out of requests' own what each call would pay for and none here has use for (docs/performance.md)."""

    _POOLS: ClassVar = {"http": _WatchedPool, "https": _WatchedTLSPool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have pools of watched connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._POOLS
        self._lock = threading.Lock()
        self._direct: dict[tuple[Any, ...], Any] = {}

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        """Give the pool for *request*: urllib3 finds one by a key of some 25 fields, which it makes anew each time."""
        if proxies:
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        key = origin(request.url), verify, cert
        pool = self._direct.get(key)
        if pool is None:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            if len(self._direct) >= POOL:
                self._direct.clear()
            self._direct[key] = pool
        return pool

    def request_url(self, request: Any, proxies: Any) -> str:
        """Give what the request's first line names."""
        return super().request_url(request, proxies) if proxies else request.path_url

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        """Give what :class:`Reply` reads, without cookies and encoding."""
        response = requests.Response()
        response.status_code, response.headers, response.reason = resp.status, resp.headers, resp.reason
        response.raw, response.url, response.request = resp, req.url, req
        return response

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Give the pools of a proxy."""
        with self._lock:  # no other thread may find a manager whose connections are not watched yet
            manager = super().proxy_manager_for(proxy, **kwargs)
            if not proxy.lower().startswith("socks"):
                manager.pool_classes_by_scheme = self._POOLS
        return manager

    def close(self) -> None:
        """Close every idle connection."""
        for pool in tuple(self._direct.values()):  # one that urllib3 has put aside for another host's is here alone
            pool.close()
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it gives no iterator of its own
                with suppress(KeyError):  # another thread was quicker
                    manager.pools[key].close()  # urllib3 leaves this to the last one who refers to the pool
        super().close()


def origin(url: str) -> str:
    """Give scheme, host and port of an address that has a path."""
    return url[: url.find("/", 8)]


def _plain(sock: Any) -> socket.socket:
    """Give the socket under *sock*, which may be urllib3's TLS-in-TLS wrapper."""
    return sock if isinstance(sock, socket.socket) else getattr(sock, "socket", sock)
