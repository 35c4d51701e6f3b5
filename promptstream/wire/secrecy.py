"""An error or a log record in, the same without a key out."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Any

from promptstream.errors import StreamError
from promptstream.values.secret import Secret, secrets_in, secrets_queried
from promptstream.wire.causes import causes_of

_LONGEST = 100_000
"""Characters of a cause's attributes that are searched; what says more quotes an answer, and goes unsearched."""
_LOGGERS = ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry")


def conceal(error: StreamError, secret: Secret) -> None:
    """Take *secret* out of *error*, out of what lies behind it, and out of the frames that it passed."""
    for name in ("message", "code", "request_id"):
        said = getattr(error, name, None)
        if isinstance(said, str):
            setattr(error, name, secret.scrub(said))
    error.args = (error.message,)
    clear_frames(error)
    if error.__suppress_context__:
        error.__context__ = None
    causes = [cause for cause in causes_of(error) if cause is not error]
    if any(_shows(cause, secret) for cause in causes):  # http.client and json quote what they cannot read
        error.__cause__ = error.__context__ = None


def _shows(error: BaseException, secret: Secret) -> bool:
    told = f"{error} {error.args!r} {vars(error)!r}"
    return len(told) > _LONGEST or secret.found_in(told)


def clear_frames(error: BaseException) -> None:
    """Clear the local variables of every frame that *error* and its causes have left: they hold headers and bodies."""
    for each in causes_of(error):
        trace = each.__traceback__
        while trace is not None:
            with suppress(RuntimeError):  # it still runs
                trace.tb_frame.clear()
            trace = trace.tb_next


def strip(error: BaseException) -> None:
    """Take tracebacks and requests off an exception of another library and its causes."""
    for cause in causes_of(error):
        cause.__traceback__ = None
        if getattr(cause, "request", None) is not None:
            cause.request = None  # type: ignore[attr-defined]


class Sending(threading.local):
    """What is being sent by this thread, for the filter to know."""

    request: Any = None
    secret = Secret()
    """What must not be shown besides."""


sending = Sending()


class _Filter(logging.Filter):
    """Scrub what urllib3 logs of our own requests: URLs with their query, header lines that it cannot read."""

    def filter(self, record: logging.LogRecord) -> bool:
        if sending.request is not None:
            headers, query = sending.request.headers.values(), sending.request.url.partition("?")[2]
            kept = [found for value in headers if isinstance(value, Secret) for found in secrets_in(value)]
            secret = Secret(also=(*sending.secret.also, *kept, *secrets_queried(query)))
            record.msg, record.args = secret.scrub(record.getMessage()), None
            if record.exc_info and _shows_any(record.exc_info[1], secret):
                record.exc_info = None
        return True


def _shows_any(error: BaseException | None, secret: Secret) -> bool:
    return any(_shows(cause, secret) for cause in causes_of(error))


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_Filter())
