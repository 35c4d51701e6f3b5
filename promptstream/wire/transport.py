"""A call in, a reply out whose body streams. The only importer of requests."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError

from promptstream._version import __version__
from promptstream.errors import ConfigError, ConnectFailed, LimitExceeded, StreamError
from promptstream.values.hosts import is_loopback
from promptstream.values.request import Call
from promptstream.wire.body import iter_body
from promptstream.wire.causes import causes_of, translate
from promptstream.wire.dial import dial
from promptstream.wire.trust import shown, trusted
from promptstream.wire.watch import Deadline, Watch

USER_AGENT = f"promptstream/{__version__}"
POOL = 64
"""Idle connections kept to a host."""
MAX_ERROR_BODY = 64 << 10
MAX_WHOLE_BODY = 16 << 20
DRAIN = 64 << 10
"""Bytes read after the terminator so that the connection can be used again, within :data:`DRAIN_TIME`."""
DRAIN_TIME = 0.05
ERROR_BODY_TIME = 2.0


_FOREIGN = (
    *(requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError),
    *(AttributeError, ValueError),  # what urllib3 and http.client die of when a connection is torn down under them
)


class _Send(threading.local):
    """What the connection classes, called deep inside urllib3, must know of the send they serve."""

    watch: Watch | None = None
    fresh = False
    reused = False


_send = _Send()


class _WatchedConnection(HTTPConnection):
    """Hand the socket to the watch from before connect() on, so that it can be shut down at any time."""

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


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection

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
        self._verify, self._cert, self._proxies = verify, shown(cert), proxies
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
        except BaseException:
            watch.hang_up()
            raise
        finally:
            _send.watch = None

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
                self._routes[origin] = requests.utils.get_environ_proxies(url)
        return self._routes[origin]


class Reply:
    """Hold a status, headers, and a body that is read at most once, by the thread that sent the call."""

    def __init__(self, response: requests.Response, watch: Watch, host: str) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response, self._watch, self._host = response, watch, host
        self._body = self._feed()
        self._ended = False

    @property
    def content_type(self) -> str:
        """The media type, in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def chunks(self) -> Iterator[bytes]:
        """Give the iterator over the body's bytes, as they arrive."""
        return self._body

    def _feed(self) -> Generator[bytes, None, None]:
        self._watch.phase = "body"
        with map_errors(self._watch, self._host):
            yield from iter_body(self._response.raw)
        self._ended = True

    def whole(self) -> bytes:
        """Read a whole body of at most 16 MiB.

        Raises:
            StreamError: it was cut, or is larger.
        """
        body = bytearray()
        for piece in self._body:
            body += piece
            if len(body) > MAX_WHOLE_BODY:
                raise LimitExceeded(f"The answer is larger than {MAX_WHOLE_BODY >> 20} MiB.", phase="body")
        return bytes(body)

    def error_body(self) -> bytes:
        """Read what comes of an error's body within 64 KiB and 2 s; the status counts, not the rest."""
        return self._read_bounded(MAX_ERROR_BODY, ERROR_BODY_TIME)

    def finish(self) -> None:
        """Give the connection back for reuse if the body's end comes promptly, else hang up."""
        self._read_bounded(DRAIN, DRAIN_TIME)
        self.close()

    def _read_bounded(self, size: int, seconds: float) -> bytes:
        deadline, body = Deadline(seconds), bytearray()
        with suppress(StreamError):
            while len(body) < size and not deadline.expired:
                self._watch.bound(max(0.001, deadline.remaining()))
                piece = next(self._body, None)
                if piece is None:
                    break
                body += piece
        if self._ended:
            self._release()
        return bytes(body[:size])

    def _release(self) -> None:
        # In this order: a late cancel must not shut down a connection that is someone else's by then.
        self._watch.release()
        self._response.raw.release_conn()

    def close(self) -> None:
        """Hang up, unless the connection went back to the pool. Idempotent."""
        self._watch.hang_up()
        self._body.close()  # it refers to this reply, which would else wait for the garbage collector
        with suppress(Exception):  # closing what is broken already may fail in any way, and changes nothing
            self._response.close()


def _prepare(call: Call) -> requests.PreparedRequest:
    parts = urlsplit(call.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"base_url must be an http:// or https:// address with a host, not {parts.geturl()!r:.100}.")
    if parts.username is not None:
        raise ConfigError("base_url holds a user name or password; give the key as api_key instead.")
    headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT, **call.headers}
    body = None
    if call.json is not None:
        headers["Content-Type"] = "application/json"
        try:
            body = json.dumps(call.json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
                "utf-8", "replace"
            )
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"The request cannot be written as JSON: {error}.") from None
    try:
        return requests.Request(call.method, call.url, headers=headers, data=body).prepare()
    except (requests.exceptions.InvalidHeader, UnicodeError):
        # requests puts the header's value, which may be the key, into its message.
        raise ConfigError(
            "A header has characters that HTTP does not allow (line breaks, non-Latin letters)."
        ) from None
    except (requests.RequestException, ValueError) as error:
        raise ConfigError(f"The address {call.url!r:.100} cannot be used: {type(error).__name__}.") from None


class map_errors:  # noqa: N801 - reads as the verb it is in a with statement
    """Turn what requests, urllib3, http.client, ssl and the socket raise into our errors."""

    # Not contextlib's, whose frame is a cycle with an exception that passes it (before Python 3.11).
    def __init__(self, watch: Watch, host: str) -> None:
        self._watch, self._host = watch, host

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, StreamError) or not isinstance(error, _FOREIGN):
            return
        _bare(error)
        # What a reader sees of a shut-down socket is chance; the flag is the truth.
        if self._watch.stopped:
            raise self._watch.error() from None
        raise translate(error, self._watch.phase, self._host) from error


def _bare(error: BaseException) -> None:
    """Take the tracebacks off: http.client's frames hold the request's headers, key and all."""
    for cause in causes_of(error):
        cause.__traceback__ = None
