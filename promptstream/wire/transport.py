"""A call in, a reply out whose body streams. It and its adapter alone import requests."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from urllib3.util import Timeout

from promptstream._version import __version__
from promptstream.errors import ConfigError, ConnectFailed
from promptstream.values.hosts import is_loopback
from promptstream.values.request import Call
from promptstream.values.secret import Secret, bare_address, hidden, plain, secrets_of
from promptstream.values.surrogates import mend
from promptstream.wire.adapter import POOL, Adapter, origin, sender
from promptstream.wire.foreign import map_errors
from promptstream.wire.reply import Reply
from promptstream.wire.secrecy import clear_frames, sending
from promptstream.wire.trust import shown, trusted
from promptstream.wire.watch import Watch

USER_AGENT = f"promptstream/{__version__}"


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
        self._secret: Secret | None = None
        self._forms: dict[tuple[str, str, bool], _Form] = {}
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
        form = self._form(call)
        host, prepared = form.host, form.filled(call)
        for fresh in (False, True):
            try:
                with map_errors(watch, host):
                    response = self._send(session, prepared, watch, fresh)
            except ConnectFailed as error:
                # A pooled connection may have been closed by the server meanwhile: zero bytes of an
                # answer on a connection used before is not the ambiguous case, so it goes out anew.
                if fresh or not sender.reused or error.phase not in ("send", "headers") or watch.stopped:
                    raise
            else:
                return Reply(response, watch, host)
        raise AssertionError("unreachable")

    def _send(self, session: requests.Session, prepared: Any, watch: Watch, fresh: bool) -> requests.Response:
        sender.watch, sender.fresh, sender.reused = watch, fresh, False
        sending.request, sending.secret = prepared, self.secret
        watch.connecting()
        try:
            # Not session.send, which reads a redirect's body to its end, however long, to look after it.
            return session.get_adapter(prepared.url).send(
                prepared,
                stream=True,
                timeout=_patience(watch.timeout.connect),
                verify=trusted(self._verify),
                cert=self._cert,
                proxies=self._route(prepared.url),
            )
        except BaseException as error:
            watch.hang_up()
            clear_frames(error)
            raise
        finally:
            sender.watch = sending.request = None

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
                adapter = Adapter(pool_connections=POOL, pool_maxsize=POOL)
                session.mount("https://", adapter)
                session.mount("http://", adapter)
                self._session, self._routes, self._secret = session, {}, None
            return self._session

    def _route(self, url: str) -> dict[str, str]:
        place = origin(url)
        if place not in self._routes:
            self._secret = None
            if is_loopback(urlsplit(url).hostname or ""):
                self._routes[place] = {}
            elif self._proxies is not None:
                self._routes[place] = dict(self._proxies)
            else:
                self._routes[place] = hidden(requests.utils.get_environ_proxies(url))
        return self._routes[place]

    @property
    def secret(self) -> Secret:
        """The proxies' user names and passwords, as far as proxies are known."""
        if self._secret is None:
            routes = [self._proxies or {}, *self._routes.values()]
            self._secret = Secret(also=[each for route in routes for url in route.values() for each in secrets_of(url)])
        return self._secret

    def _form(self, call: Call) -> _Form:
        key = call.method, call.url, call.json is None
        form = self._forms.get(key)
        if form is None or form.given != call.headers:
            form = _Form.of(call)
            if len(self._forms) >= POOL:
                self._forms.clear()
            self._forms[key] = form
        return form


class _Form(NamedTuple):
    """What calls to one address have in common: requests takes the address and the headers apart once, not each time.

    It takes 0.15 ms for them, a third of what a call costs.
    """

    given: dict[str, str]
    host: str
    made: requests.PreparedRequest

    @classmethod
    def of(cls, call: Call) -> _Form:
        """Check and read what is the same for every *call* to its address."""
        _check_address(call.url)
        headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT, **call.headers}
        if call.json is not None:
            headers["Content-Type"] = "application/json"
        try:
            made = requests.Request(call.method, plain(call.url), headers=headers).prepare()
        except (requests.exceptions.InvalidHeader, UnicodeError):
            # requests puts the header's value, which may be the key, into its message.
            raise ConfigError(
                "A header has characters that HTTP does not allow (line breaks, non-Latin ones)."
            ) from None
        except (requests.RequestException, ValueError) as error:
            raise ConfigError(f"The address {call.url!r:.100} cannot be used: {type(error).__name__}.") from None
        return cls(dict(call.headers), urlsplit(call.url).netloc.rpartition("@")[2], made)

    def filled(self, call: Call) -> requests.PreparedRequest:
        """Give the request of *call*."""
        request, made = requests.PreparedRequest(), self.made
        request.method, request.url, request.headers = made.method, made.url, made.headers.copy()
        if call.json is not None:
            request.body = _written(call.json)
            request.headers["Content-Length"] = str(len(request.body))
        return request


_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _written(value: Any) -> bytes:
    try:
        text = _write(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"The request cannot be written as JSON: {error}.") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        return mend(text).encode()


@lru_cache(maxsize=64)
def _patience(connect: float | None) -> Any:
    return Timeout(connect=connect, read=None)


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"base_url must be an http(s):// address with a host, not {bare_address(url)!r:.100}.")
    if parts.username is not None:
        raise ConfigError("base_url holds a user name or password; give the key as api_key instead.")
