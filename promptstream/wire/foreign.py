"""What a library raises inside a ``with`` block in, our error for it out, without anything that shows a key."""

from __future__ import annotations

import http.client
from typing import Any

from promptstream.errors import StreamError
from promptstream.wire.causes import translate
from promptstream.wire.secrecy import strip
from promptstream.wire.watch import Watch

_LIBRARIES = ("requests", "urllib3")
_FOREIGN = (
    *(OSError, http.client.HTTPException),
    *(AttributeError, ValueError),  # what urllib3 and http.client die of when a connection is torn down under them
)


class map_errors:  # noqa: N801 - reads as the verb it is in a with statement
    """Turn what requests, urllib3, http.client, ssl and the socket raise into our errors."""

    # Not contextlib's, whose frame is a cycle with an exception that passes it (before Python 3.11).
    def __init__(self, watch: Watch, host: str) -> None:
        self._watch, self._host = watch, host

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, StreamError) or not (isinstance(error, _FOREIGN) or _is_a_librarys(error)):
            return
        assert isinstance(error, Exception)
        strip(error)
        # What a reader sees of a shut-down socket is chance; the flag is the truth.
        if self._watch.stopped:
            raise self._watch.error() from None
        raise translate(error, self._watch.phase, self._host) from error


def _is_a_librarys(error: BaseException | None) -> bool:
    return isinstance(error, Exception) and type(error).__module__.partition(".")[0] in _LIBRARIES
