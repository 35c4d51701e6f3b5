"""A call in, a reply out whose body streams. The only importer of requests."""

from __future__ import annotations

import json
import os
import queue
import socket
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError

from promptstream._version import __version__
from promptstream.errors import ConfigError, ConnectFailed
from promptstream.values.hosts import is_loopback
from promptstream.values.request import Call
from promptstream.values.secret import Secret, bare_address, hidden, plain, secrets_of
from promptstream.values.surrogates import mend
from promptstream.wire.body import BoundedResponse
from promptstream.wire.dial import dial
from promptstream.wire.foreign import map_errors
from promptstream.wire.reply import Reply
from promptstream.wire.secrecy import clear_frames, sending
from promptstream.wire.trust import shown, trusted
from promptstream.wire.watch import Watch

USER_AGENT = f"promptstream/{__version__}"
POOL = 64
"""Idle connections kept to a host."""


class _Send(threading.local):
    """What the connection classes, called deep inside urllib3, must know of the send they serve."""

    watch: Watch | None = None
    fresh = False
    reused = False


_send = _Send()


class _WatchedConnection(HTTPConnection):
    """Hand the socket to the watch from before connect() on, so that it can be shut down at any time."""

    response_class = BoundedResponse
    _served = False
    """True once a request went out on the present socket."""
    _owner: Watch | None = None

    def _new_conn(self) -> socket.socket:
        if _send.watch is None:
            return super()._new_conn()
        try:
            sock = dial(self._dns_host, self.port, self.socket_options or (), _send.watch)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error
        _send.watch.phase = "tls" if isinstance(self, HTTPSConnection) else "send"
        return sock

    def connect(self) -> None:
        super().connect()
        self._claim()

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None and self._served:
            _send.reused = True
            self._claim()
        super().request(*args, **kwargs)
        self._served = True
        if _send.watch is not None:
            _send.watch.phase = "headers"

    def close(self) -> None:
        self._served = False
        super().close()

    def _claim(self) -> None:
        """Give the socket to the watch of the send that is going on, and take it from any other."""
        watch, previous = _send.watch, self._owner
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
        if _send.watch is None:
            return super()._tunnel()
        _send.watch.phase = "proxy"
        super()._tunnel()
        _send.watch.phase = "tls"
        return None

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        # The handshake detaches the socket object; only a second descriptor reaches it meanwhile.
        if _send.watch is not None:
            try:
                self._twin = sock.dup()
                _send.watch.claim(self._twin)
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
        if _send.fresh:
            # Here, where urllib3 closes dropped ones too: later it would not tunnel through a proxy again.
            connection.close()
        return connection


class _WatchedTLSPool(_WatchedPool, HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


class _Adapter(HTTPAdapter):
    _POOLS: ClassVar = {"http": _WatchedPool, "https": _WatchedTLSPool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._POOLS
        self._lock = threading.Lock()

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        with self._lock:  # no other thread may find a manager whose connections are not watched yet
            manager = super().proxy_manager_for(proxy, **kwargs)
            if not proxy.lower().startswith("socks"):
                manager.pool_classes_by_scheme = self._POOLS
        return manager

    def close(self) -> None:
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it gives no iterator of its own
                with suppress(KeyError):  # another thread was quicker
                    manager.pools[key].close()  # urllib3 leaves this to the last one who refers to the pool
        super().close()


def _plain(sock: Any) -> socket.socket:
    """Give the socket under *sock*, which may be urllib3's TLS-in-TLS wrapper."""
    return sock if isinstance(sock, socket.socket) else getattr(sock, "socket", sock)


class Transport:
    """Send calls and hand out their replies. One object serves many threads.

    Args:
        verify: False, or the path of a CA bundle; None follows REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE
            and SSL_CERT_FILE, then certifi's bundle.
        cert: the path of a client certificate, or (certificate, key).
        proxies: scheme → URL; None follows the proxy variables. Loopback is never proxied.
    """

    def __init__(
        self,
        *,
        verify: bool | str | None = None,
        cert: str | tuple[str, str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        trusted(verify)
        self._verify, self._cert, self._proxies = verify, shown(cert), hidden(proxies)
        self._routes: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._session: requests.Session | None = None
        self._pid = os.getpid()

    def send(self, call: Call, watch: Watch) -> Reply:
        """Send *call* and give its reply as soon as the status and headers are there.

        Raises:
            ConfigError: the URL, a header or the body cannot be sent; nothing was.
            StreamError: the subclass that names what failed, or why the watch was stopped.
        """
        session = self._get_session()
        host = urlsplit(call.url).netloc.rpartition("@")[2]
        prepared = _prepare(call)
        for fresh in (False, True):
            try:
                with map_errors(watch, host):
                    response = self._send(session, prepared, watch, fresh)
            except ConnectFailed as error:
                # A pooled connection may have been closed by the server meanwhile: zero bytes of an
                # answer on a connection used before is not the ambiguous case, so it goes out anew.
                if fresh or not _send.reused or error.phase not in ("send", "headers") or watch.stopped:
                    raise
            else:
                return Reply(response, watch, host)
        raise AssertionError("unreachable")

    def _send(self, session: requests.Session, prepared: Any, watch: Watch, fresh: bool) -> requests.Response:
        _send.watch, _send.fresh, _send.reused = watch, fresh, False
        sending.request, sending.secret = prepared, self.secret
        watch.connecting()
        try:
            # Not session.send, which reads a redirect's body to its end, however long, to look after it.
            return session.get_adapter(prepared.url).send(
                prepared,
                stream=True,
                timeout=None if watch.timeout.connect is None else (watch.timeout.connect, None),
                verify=trusted(self._verify),
                cert=self._cert,
                proxies=self._route(prepared.url),
            )
        except BaseException as error:
            watch.hang_up()
            clear_frames(error)
            raise
        finally:
            _send.watch = sending.request = None

    def close(self) -> None:
        """Close every idle connection."""
        self._check_pid()
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _check_pid(self) -> None:
        if self._pid != os.getpid():  # forked: another thread of the parent may have held the lock
            self._lock, self._session, self._pid = threading.Lock(), None, os.getpid()

    def _get_session(self) -> requests.Session:
        self._check_pid()
        with self._lock:
            if self._session is None:
                session = requests.Session()
                session.trust_env = False  # .netrc would replace the key; the rest is read here, once
                adapter = _Adapter(pool_connections=POOL, pool_maxsize=POOL)
                session.mount("https://", adapter)
                session.mount("http://", adapter)
                self._session, self._routes = session, {}
            return self._session

    def _route(self, url: str) -> dict[str, str]:
        origin = url[: url.find("/", 8)]
        if origin not in self._routes:
            if is_loopback(urlsplit(url).hostname or ""):
                self._routes[origin] = {}
            elif self._proxies is not None:
                self._routes[origin] = dict(self._proxies)
            else:
                self._routes[origin] = hidden(requests.utils.get_environ_proxies(url))
        return self._routes[origin]

    @property
    def secret(self) -> Secret:
        """The proxies' user names and passwords, as far as proxies are known."""
        routes = [self._proxies or {}, *self._routes.values()]
        return Secret(also=[each for route in routes for url in route.values() for each in secrets_of(url)])


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return mend(text).encode()


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"base_url must be an http(s):// address with a host, not {bare_address(url)!r:.100}.")
    if parts.username is not None:
        raise ConfigError("base_url holds a user name or password; give the key as api_key instead.")


def _prepare(call: Call) -> requests.PreparedRequest:
    _check_address(call.url)
    headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT, **call.headers}
    body = None
    if call.json is not None:
        headers["Content-Type"] = "application/json"
        try:
            text = json.dumps(call.json, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            body = _encoded(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"The request cannot be written as JSON: {error}.") from None
    try:
        return requests.Request(call.method, plain(call.url), headers=headers, data=body).prepare()
    except (requests.exceptions.InvalidHeader, UnicodeError):
        # requests puts the header's value, which may be the key, into its message.
        raise ConfigError("A header has characters that HTTP does not allow (line breaks, non-Latin ones).") from None
    except (requests.RequestException, ValueError) as error:
        raise ConfigError(f"The address {call.url!r:.100} cannot be used: {type(error).__name__}.") from None
