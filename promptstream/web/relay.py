"""A pack, or a way to open conversations, in; a server out that has them with browsers and scripts."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import threading
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from promptstream.errors import ConfigError
from promptstream.state.memory import MemoryStore
from promptstream.state.store import open_store
from promptstream.values.hosts import is_loopback
from promptstream.web.conversations import Conversations, Opener, Opening
from promptstream.web.files import Files
from promptstream.web.gate import Gate, Refusal
from promptstream.web.plain import FULL
from promptstream.web.shelf import Shelf
from promptstream.web.visit import House, Visit, answer
from promptstream.web.websocket import PING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from promptstream.packs.pack import Pack
    from promptstream.state.store import Store

log = logging.getLogger("promptstream.web")
_RESERVE = 16
"""Connections beyond the limit that are heard, for who asks whether the relay lives; those beyond these are not."""
_FULL = answer(Refusal(503, FULL))
_KEPT, _CHARACTERS = 1000, 64 << 20
"""Conversations, or twice the connections, and characters of them, that are kept in memory where no store is given."""
_LEAVING = 1.0
"""Seconds that clients have to answer a farewell, and then turns to end."""


class Relay:
    """Serve conversations over WebSockets, Server-Sent Events and NDJSON, and a page to have them on.

    A context manager: ``with Relay("weather.pack.json") as relay: …`` serves in threads meanwhile. All conversations
    share one provider. Any thread may call what it has.
    """

    def __init__(
        self,
        pack: str | os.PathLike[str] | Mapping[str, Any] | Pack | None = None,
        prompt: str | None = None,
        *,
        opener: Opener | None = None,
        host: str = "127.0.0.1",
        port: int = 8000,
        origins: Iterable[str] = (),
        token: str | None = None,
        store: Store | str | os.PathLike[str] | None = None,
        max_message: int = 262_144,
        max_connections: int = 256,
        send_timeout: float = 20.0,
        handshake_timeout: float = 10.0,
        ping_interval: float = PING,
        page: bool = True,
        title: str | None = None,
        insecure: bool = False,
        share_port: bool = False,
        **options: Any,
    ) -> None:
        """Check all it can; nothing listens yet.

        Args:
            pack: as :func:`promptstream.open` takes it; None for conversations without one, as those of
                :func:`promptstream.chat`.
            opener: opens each conversation instead: a function of an id, which gives a Conversation opened with
                ``conversation_id=id`` and, where they are to be gone on with, on *store*.
            host: the address to listen on; any but this machine's own needs *token*, or *insecure*.
            port: 0 for any that is free.
            origins: of the web pages that may talk to the relay besides its own: "https://chat.example.com".
            token: what clients have to know, by ``Authorization: Bearer`` or an ``authenticate`` message.
            store: where conversations are kept; else in memory, the newest 1,000 of them, or twice *max_connections*.
            max_message: bytes that a client's message may have.
            max_connections: how many there may be at once; who comes then gets status 503.
            send_timeout: seconds that a client may take nothing before it is cut off.
            handshake_timeout: seconds that it has to say what it wants, and who it is.
            ping_interval: seconds of silence after which it is asked whether it is there.
            page: serve the web page.
            title: of the page; else the prompt's name.
            insecure: listen for other machines without a token.
            share_port: let further processes listen at the same port, each with relays of its own; the system spreads
                the clients over them. They need a *store* that they share.
            options: all else that :func:`promptstream.open`, or :func:`promptstream.chat` with its ``system``, takes.

        Raises:
            ConfigError: an argument cannot be used, or the extra ``web`` is not installed.
            PromptStreamError, TypeError, ValueError: as :func:`promptstream.open`.
        """
        _check_installed()
        _check_numbers(port, max_message, max_connections, send_timeout, handshake_timeout, ping_interval)
        gate = Gate(host, origins, token)
        if not (is_loopback(host) or gate.wants_token or insecure):
            raise ConfigError(
                f"host={host!r}: whoever reaches this machine could have conversations at your cost. Give token=…, or "
                "insecure=True where something else keeps strangers out."
            )
        if share_port and (store is None or not hasattr(socket, "SO_REUSEPORT")):
            reason = (
                "this system has no SO_REUSEPORT" if store is not None else "give the store that the processes share"
            )
            raise ConfigError(f"share_port=True: {reason}.")
        if "conversation_id" in options:
            raise ConfigError("conversation_id= is not for a relay: each connection has a conversation of its own.")
        if opener is not None and (pack is not None or prompt is not None or options):
            other = "pack" if pack is not None else "prompt" if prompt is not None else next(iter(options))
            raise ConfigError(f"{other}= is given beside opener=, which opens every conversation by itself.")
        self._host, self._port, self._max, self._share = host, port, max_connections, share_port
        kept = max(_KEPT, 2 * max_connections)
        made: Store | str | os.PathLike[str] = MemoryStore(kept, _CHARACTERS) if store is None else store
        self._store, owned = open_store(made)
        self._owns_store = owned or store is None
        self._opening: Opening | None = None
        try:
            shelf = Shelf(self._store)
            if opener is None:
                opener = self._opening = Opening(pack, prompt, shelf, options)
            known = None if store is None and self._opening is None else shelf
            name = title or (self._opening.name if self._opening is not None else "promptstream")
            self._house = House(
                gate=gate,
                conversations=Conversations(opener, known, None if store is None else shelf.notes),
                files=Files(name) if page else None,
                fixed=self._opening.fixed if self._opening is not None else tuple,
                max_message=max_message,
                handshake=handshake_timeout,
                send_timeout=send_timeout,
                ping=ping_interval,
            )
        except BaseException:
            if self._owns_store:
                self._store.close()
            raise
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._visits: set[Visit] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def port(self) -> int:
        """The port it listens on, or will."""
        return self._port

    @property
    def url(self) -> str:
        """The address of its page."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}/"

    @property
    def connections(self) -> int:
        """How many there are at this moment."""
        return len(self._visits)

    def start(self) -> Relay:
        """Listen, and serve in threads from here on; gives itself. Once it serves, it does nothing.

        Raises:
            ConfigError: it was closed, or it cannot listen at that address.
        """
        with self._lock:
            if self._stopped.is_set():
                raise ConfigError("The relay is closed; make another.")
            if self._listener is not None:
                return self
            self._listener = _listen(self._host, self._port, shared=self._share)
            self._listener.setblocking(False)
            self._port = self._listener.getsockname()[1]
            self._waker, self._waking = socket.socketpair()
            self._acceptor = threading.Thread(
                target=self._accept, args=(self._listener,), name="promptstream-web", daemon=True
            )
            self._acceptor.start()
        log.info("Serving at %s", self.url)
        return self

    def serve_forever(self) -> None:
        """Serve until :meth:`close` is called, or until Ctrl-C, which is passed on."""
        self.start()
        self._stopped.wait()

    def close(self) -> None:
        """Stop listening, end all streams, say farewell to the clients, wait a moment for the threads. Idempotent.

        A tool, or other code in a turn, may call it too: its own turn then ends when it returns.
        """
        with self._lock:
            if self._stopped.is_set():
                return
            self._stopped.set()
        with ExitStack() as rest:  # done whatever fails before
            if self._owns_store:
                rest.callback(self._store.close)
            if self._opening is not None:
                rest.callback(self._opening.close)
            rest.callback(self._house.hands.close)
            rest.callback(self._house.conversations.leases.close)
            rest.callback(self._part)
            if self._acceptor is not None:
                with suppress(OSError):
                    self._waking.send(b"x")
                self._acceptor.join()

    def _part(self) -> None:
        visits, talks, until = self._now(), list(self._house.talks), monotonic() + _LEAVING
        for talk in talks:
            talk.cancel("the relay is closing")
        for talk in talks:
            talk.wait(until - monotonic())  # for what the turn has to say of its end
        for visit in visits:
            visit.end()
        _join(visits, _LEAVING)
        for visit in self._now():
            visit.cut()
        _join(self._now(), _LEAVING)
        if left := len(self._visits):
            told = "1 connection has not ended" if left == 1 else f"{left} connections have not ended"
            log.warning("%s: something in a turn cannot be stopped.", told)

    def __enter__(self) -> Relay:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._stopped.is_set() else "not started" if self._listener is None else "serving"
        return f"<Relay {state} at {self.url}, {len(self._visits)} connections>"

    def _now(self) -> list[Visit]:
        with self._lock:
            return list(self._visits)

    def _accept(self, listener: socket.socket) -> None:
        with selectors.DefaultSelector() as ready, listener, self._waker, self._waking:
            ready.register(listener, selectors.EVENT_READ)
            ready.register(self._waker, selectors.EVENT_READ)
            while not self._stopped.is_set():
                ready.select()
                if self._stopped.is_set():
                    return
                try:
                    sock, _ = listener.accept()
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                        log.warning("No connection can be taken: %s", os.strerror(error.errno))
                        sleep(0.05)  # others have to end first
                    continue
                self._receive(sock)

    def _receive(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        with self._lock:
            number = len(self._visits)
            visit = Visit(sock, self._house, full=number >= self._max)
            thread = threading.Thread(target=self._serve, args=(visit,), name="promptstream-web", daemon=True)
            visit.thread = thread
            if number < self._max + _RESERVE:
                self._visits.add(visit)
        try:
            if number >= self._max + _RESERVE:
                raise RuntimeError
            thread.start()
        except RuntimeError:  # the system has no thread left, or we have no room
            _turn_away(sock)
            with self._lock:
                self._visits.discard(visit)

    def _serve(self, visit: Visit) -> None:
        try:
            visit.run()
        finally:
            with self._lock:
                self._visits.discard(visit)


def reserve(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Give a socket that holds the port for relays of this user's with ``share_port=True``, and listens to nobody.

    Args:
        port: 0 for any that is free.
        shared: others may have it already.

    Raises:
        ConfigError: it cannot be had, or the system shares no ports.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("Several processes cannot serve one port here: this system has no SO_REUSEPORT.")
    with _listen(host, port, shared=shared) as probe:
        port, family = probe.getsockname()[1], probe.family
    held = socket.socket(family)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        held.bind((host, port))
    except OSError as error:  # another was quicker
        held.close()
        raise ConfigError(f"The relay cannot listen at {host}:{port}: {_reason(error)}") from None
    return held


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if host:  # create_server() passes its error on as one of another kind
            socket.getaddrinfo(host, port)
        return socket.create_server((host, port), family=family, backlog=512, reuse_port=shared)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"The relay cannot listen at {host}:{port}: {_reason(error)}") from None


def _turn_away(sock: socket.socket) -> None:
    """Say that it is full, as far as that can be done without waiting."""
    with sock, suppress(OSError):
        sock.setblocking(False)
        with suppress(BlockingIOError):
            sock.recv(65536)  # what is left unread would have the system take the answer back
        sock.send(_FULL)
        sock.shutdown(socket.SHUT_WR)


def _join(visits: Iterable[Visit], seconds: float) -> None:
    until = monotonic() + seconds
    for visit in visits:
        if visit.thread is not None and visit.thread is not threading.current_thread():
            visit.thread.join(max(0.0, until - monotonic()))


def _check_installed() -> None:
    try:
        import websockets.server  # noqa: F401
    except ImportError:
        raise ConfigError("A relay needs the package websockets: pip install 'promptstream-sdk[web]'") from None


def _check_numbers(port: Any, message: Any, connections: Any, *seconds: Any) -> None:
    for name, value, least, most in (
        ("port", port, 0, 65535),
        ("max_message", message, 1, 1 << 30),
        ("max_connections", connections, 1, 1 << 20),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ConfigError(f"{name}={value!r:.40}: give a whole number from {least:,} to {most:,}.")
    for name, value in zip(("send_timeout", "handshake_timeout", "ping_interval"), seconds, strict=True):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
            raise ConfigError(f"{name}={value!r:.40}: give seconds above 0.")


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "there is no such host; give a name or an address of this machine."
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
