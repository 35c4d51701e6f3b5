"""A response in, its status, headers and body out, read at most once and within bounds."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from typing import Any

from promptstream.errors import LimitExceeded, StreamError
from promptstream.wire.body import bounded, iter_body
from promptstream.wire.foreign import map_errors
from promptstream.wire.watch import Deadline, Watch

MAX_ERROR_BODY = 64 << 10
MAX_WHOLE_BODY = 12 << 20
DRAIN = 64 << 10
"""Bytes read after the terminator so that the connection can be used again, within :data:`DRAIN_TIME`."""
DRAIN_TIME = 0.05
ERROR_BODY_TIME = 2.0


class Reply:
    """Hold a status, headers, and a body that is read at most once, by the thread that sent the call."""

    def __init__(self, response: Any, watch: Watch, host: str) -> None:
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
            yield from bounded(iter_body(self._response.raw), self._watch)
        self._ended = True

    def whole(self, body: bytearray | None = None) -> bytes:
        """Read a whole body of at most 12 MiB, onto *body*, which keeps what came where the rest did not.

        Raises:
            StreamError: it was cut, or is larger.
        """
        body = bytearray() if body is None else body
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
