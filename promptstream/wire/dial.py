"""A host and port in, a connected socket out that its watch owns from the first packet on."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from promptstream.errors import StreamError
from promptstream.wire.watch import Deadline, Watch


def dial(host: str, port: int, options: Iterable[tuple[Any, ...]], watch: Watch) -> socket.socket:
    """Connect within one budget for all of the host's addresses (``Timeout.connect``).

    The name look-up itself cannot be interrupted; a cancel takes effect right after it.

    Raises:
        OSError: no address could be reached (socket.gaierror: the name has none).
        StreamError: the watch was stopped meanwhile.
    """
    watch.phase = "dns"
    addresses = socket.getaddrinfo(host.strip("[]"), port, 0, socket.SOCK_STREAM)
    watch.check()
    watch.phase = "connect"
    budget = Deadline(watch.timeout.connect)
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
