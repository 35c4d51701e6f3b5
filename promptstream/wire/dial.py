"""A host and port in, a connected socket out that its watch owns from the first packet on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from typing import Any

from promptstream.errors import StreamError
from promptstream.values.twin import twin
from promptstream.wire.process import PerProcess
from promptstream.wire.waker import Waker
from promptstream.wire.watch import Deadline, Watch

Addresses = list[tuple[Any, ...]]
"""What socket.getaddrinfo gives."""


def dial(host: str, port: int, options: Iterable[tuple[Any, ...]], watch: Watch) -> socket.socket:
    """Connect within one budget for the look-up and all of the host's addresses (``Timeout.connect``).

    Raises:
        OSError: no address could be reached (socket.gaierror: the name has none).
        StreamError: the watch was stopped meanwhile.
    """
    watch.phase, watch.host = "dns", f"{host}:{port}"
    budget = Deadline(watch.timeout.connect)
    addresses = look_up(host.strip("[]"), port, watch)
    watch.check()
    watch.phase = "connect"
    failure: OSError = OSError("the name has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        share = budget.remaining() / (len(addresses) - number)
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options:
                sock.setsockopt(*option)
            sock.settimeout(None if watch.timeout.connect is None else max(0.001, share))
            watch.claim(sock)
            sock.connect(address)
            sock.settimeout(None)  # from here on the watch's connect clock alone, whose end has a name of its own
            watch.check()
        except BaseException as error:
            watch.release()
            sock.close()
            if not isinstance(error, OSError) or isinstance(error, StreamError):
                raise
            watch.check()
            failure = error
        else:
            return sock
    raise failure


def look_up(host: str, port: int, watch: Watch) -> Addresses:
    """Give the addresses of *host*, or raise as soon as *watch* is stopped.

    The system's resolver cannot be interrupted, so it runs in a daemon thread of its own, which outlives
    a cancel or a deadline until the resolver gives up. Whoever asks for the same name meanwhile waits
    for the same thread, so that no more of them linger than there are names. An address needs none.

    Raises:
        OSError, UnicodeError: the name has no address, or cannot be one.
        StreamError: the watch was stopped meanwhile.
    """
    if _is_address(host):
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    wake = watch.waker()
    running, name, mine = _running.get(), (host, port), _LookUp(host, port)
    try:
        found = running.setdefault(name, mine)
        if found is mine:
            mine.start(running)
    except BaseException:
        running.pop(name, None)
        raise
    found.tell(wake)
    while not found.over:
        watch.rest(wake, clocks=True)
    if found.failure is not None:
        raise twin(found.failure)
    return found.addresses


class _LookUp:
    """Ask the resolver for one name, and wake all who wait for it."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.addresses: Addresses = []
        self.failure: BaseException | None = None
        self.over = False
        self._wakes: list[Waker] = []

    def start(self, running: dict[tuple[str, int], _LookUp]) -> None:
        """Begin, in a thread; in this one, where the system or a dying interpreter has no other."""
        try:
            threading.Thread(target=self._run, args=(running,), name="promptstream-dns", daemon=True).start()
        except RuntimeError:
            self._run(running)

    def tell(self, wake: Waker) -> None:
        """Set *wake* once it is over."""
        self._wakes.append(wake)
        if self.over:  # perhaps before it stood in the list
            wake.set()

    def _run(self, running: dict[tuple[str, int], _LookUp]) -> None:
        try:
            self.addresses = socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)
        except BaseException as error:  # for those who wait to raise
            self.failure = error.with_traceback(None)  # which would hold this frame
        running.pop((self.host, self.port), None)
        self.over = True
        for wake in self._wakes:
            wake.set()


_running: PerProcess[dict[tuple[str, int], _LookUp]] = PerProcess(dict)
"""The look-ups under way."""


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except (OSError, ValueError):
            continue
        return True
    return False
