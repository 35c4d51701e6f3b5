"""Rounds in, two log lines for each out: what was asked, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from promptstream.errors import ConfigError
from promptstream.middleware.onion import CallNext, Middleware
from promptstream.middleware.seen import Seen, class_of, status_of
from promptstream.values.chunk import Chunk
from promptstream.values.request import ChatRequest

if TYPE_CHECKING:
    from logging import Logger, LoggerAdapter

NAME = "promptstream"
"""The logger's, where none is given."""
_INFO, _WARNING = 20, 30
"""The standard library's numbers; its package is loaded when a logger is made, not with this one."""


def logging(
    logger: Logger | LoggerAdapter[Any] | str | None = None,
    level: int = _INFO,
    content: bool = False,
) -> Middleware:
    """Log each round of a turn: one line when it begins, one when it ends, none for a chunk.

    The first tells provider, model, round and how many messages and tools go out; the second the finish reason, the
    chunks and characters of text, the time to the first of it, the time in all, and the tokens; unknowns say so.
    A round that fails ends with the class of its error, at level WARNING at least. Keys, headers and the texts of
    errors are never logged. One of these may serve many conversations in many threads.

    Args:
        logger: a Logger or its name; "promptstream" where none is given.
        level: that of the lines, such as ``logging.DEBUG`` of the standard library.
        content: add the texts of the messages and of the answer, which may be long and personal.

    Raises:
        ConfigError: *logger* is no logger, or *level* no number.
    """
    from logging import getLogger

    log: Any = getLogger(logger or NAME) if isinstance(logger, (str, type(None))) else logger
    if not (hasattr(log, "log") and hasattr(log, "isEnabledFor")):
        raise ConfigError(f"logging({logger!r:.60}): give a logger of the standard library, or its name.")
    if isinstance(level, bool) or not isinstance(level, int):
        raise ConfigError(f"logging(level={level!r:.60}): give a number such as logging.INFO.")

    def logged(request: ChatRequest, call_next: CallNext) -> Iterator[Chunk]:
        if not log.isEnabledFor(max(level, _WARNING)):
            return call_next(request)
        return _logged(log, level, content, request, call_next)

    return logged


def _logged(log: Any, level: int, content: bool, request: ChatRequest, call_next: CallNext) -> Iterator[Chunk]:
    seen = Seen(request, content)
    asked = [(message.role, message.text) for message in request.messages] if content else None
    if request.prompt is not None and content:
        asked = [("prompt", request.prompt)]
    log.log(
        level,
        "asked %s round %d: %d messages, %d tools" + (", %r" if content else ""),
        _who(seen),
        request.round,
        len(request.messages),
        len(request.tools),
        *([asked] if content else []),
    )
    try:
        for chunk in call_next(request):
            seen.add(chunk)
            yield chunk
    except BaseException as error:
        if seen.was_left(error):
            _end(log, level, content, request, seen, f"left early ({class_of(error)})")
        elif isinstance(error, GeneratorExit):  # after the finish signal: nothing was missed
            _end(log, level, content, request, seen, seen.reason)
        else:
            status = status_of(error)
            failed = f"failed ({class_of(error)}{'' if status is None else f', status {status}'})"
            _end(log, max(level, _WARNING), content, request, seen, failed)
        raise
    _end(log, level, content, request, seen, seen.reason)


def _end(log: Any, level: int, content: bool, request: ChatRequest, seen: Seen, ending: str | None) -> None:
    log.log(
        level,
        "%s round %d: %s, %d chunks, %d characters, first text %s, total %s, tokens %s in %s out"
        + (", %r" if content else ""),
        _who(seen),
        request.round,
        ending or "no reason given",
        seen.chunks,
        seen.characters,
        _milliseconds(seen.first_text),
        _milliseconds(seen.seconds),
        *("unknown" if count is None else count for count in (seen.usage.input, seen.usage.output)),
        *([seen.message().text] if content else []),
    )


def _who(seen: Seen) -> str:
    """Name provider and model on one line, whatever a server calls itself."""
    return ascii(f"{seen.provider or 'unknown'} {seen.model or 'unknown'}")[1:-1][:160]


def _milliseconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1000:.0f} ms"
