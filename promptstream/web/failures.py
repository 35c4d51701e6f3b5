"""An error in, what its client is told of it out: what is for the operator goes to the log, without what was said."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from promptstream.errors import (
    AnswerInvalid,
    Authentication,
    Cancelled,
    ConnectFailed,
    ContentFiltered,
    ContextTooLong,
    ConversationBusy,
    ConversationClosed,
    MissingKey,
    NotFound,
    Overloaded,
    PermissionDenied,
    PromptStreamError,
    ProviderNotFound,
    QuotaExceeded,
    RateLimited,
    StateError,
    StoreCorrupt,
    StreamError,
    Truncated,
    Unsupported,
)
from promptstream.values.chunk import Chunk
from promptstream.web.actions import UNKNOWN

log = logging.getLogger("promptstream.web")
_SEE_LOG = "the server's log says why."
_SPELLED = (
    ("approve(id), reject(id, reason) or submit(id, result) each, then resume(); or undo() the turn.",
     "Send approve, reject or tool_result for each."),
    ("give its result by submit(", "send its tool_result ("),
    ("give it by tools=[…], or use submit().", "send its tool_result."),
    ("resume() goes on", "send resume to go on"),
)  # fmt: skip
"""How errors name what is to be called, and what that is in the protocol."""


class Unavailable(StateError):
    """The relay cannot do it for now, whoever asks."""


class StoreFailed(Unavailable):
    """The store of the relay cannot be used; the text is the store's, and for the log."""


_TOLD: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((RateLimited,), "The model has been asked too much; try again {later}."),
    ((Overloaded,), "The model's provider is overloaded; try again {later}."),
    ((ContextTooLong,), "This is too long for the model: say less, or begin a new conversation."),
    ((ContentFiltered,), "A filter of the model's provider refused this."),
    ((TimeoutError,), "The model did not answer in time; try again."),
    ((Truncated,), "The answer broke off; try again."),
    ((AnswerInvalid,), "The answer does not have the form that was asked for."),
    ((StreamError,), f"The model's provider gave no answer: {_SEE_LOG}"),
    ((MissingKey, ProviderNotFound, Unsupported), f"The relay is not set up for this: {_SEE_LOG}"),
    ((StoreCorrupt,), f"This conversation cannot be read: {_SEE_LOG}"),
    ((StoreFailed,), f"The relay cannot keep conversations at the moment: {_SEE_LOG}"),
)
"""What is said of errors whose own text names servers, keys and files; the first that fits counts."""
_HARMLESS = (
    Authentication,
    ConnectFailed,
    MissingKey,
    NotFound,
    Overloaded,
    PermissionDenied,
    ProviderNotFound,
    QuotaExceeded,
    RateLimited,
    StoreFailed,
    TimeoutError,
    Unsupported,
)
"""Errors whose text does not quote what was said."""
_DETAILS = ("status", "code", "provider", "model", "phase", "request_id")


def event(kind: str, **more: Any) -> dict[str, Any]:
    """Give an event of the relay's own, with the five keys that every event has."""
    return {"type": kind, "content": "", "tool_call": None, "error": None, "final": None, **more}


def refused(error: Exception, action: str | None = None) -> dict[str, Any]:
    """Give the error event for an *action* that could not be done, which names it; None where it was not read."""
    action = action or getattr(error, "action", UNKNOWN)
    if isinstance(error, (TypeError, ValueError)) and not isinstance(error, PromptStreamError):
        return event("error", error=str(error), action=action)
    return event("error", error=_told(error, f"{action} could not be done"), action=action)


def failed(error: Exception) -> dict[str, Any]:
    """Give the error event for what a turn ends with."""
    if type(error) is StateError:  # of its end: whoever says it knows no more than that it could not be kept
        error = StoreFailed(str(error))
    return event("error", error=_told(error, "A turn failed"))


def failed_chunk(chunk: Chunk) -> Chunk | dict[str, Any]:
    """Give *chunk*, or the event for it where it holds an error."""
    return chunk if chunk.error is None else {**chunk.to_event(), **_error_of(chunk.error)}


def _error_of(error: BaseException) -> dict[str, Any]:
    return {"error": failed(error)["error"]} if isinstance(error, Exception) else {}


def note(error: Exception, what: str) -> None:
    """Log *error* in a line: its class, its figures, and its text where that quotes nothing of what was said."""
    details = [f"{name} {value}" for name in _DETAILS if (value := getattr(error, name, None)) is not None]
    said = f": {error}" if isinstance(error, _HARMLESS) else ""
    log.warning("%s: %s%s", what, ", ".join([type(error).__name__, *details]), said)


def _told(error: Exception, what: str) -> str:
    if not isinstance(error, PromptStreamError):
        log.error("%s: %s\n%s", what, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        return "Something went wrong in the relay; its log says where."
    if isinstance(error, StateError) and error.__cause__ is not None and type(error) is StateError:
        error = StoreFailed(str(error))  # of a store that an opener brought along
    if not isinstance(error, (Cancelled, ConversationBusy, ConversationClosed)):
        for kinds, text in _TOLD:
            if isinstance(error, kinds):
                note(error, what)
                wait = getattr(error, "retry_after", None)
                return text.format(later=f"in {wait:,.0f} seconds" if wait and wait >= 1 else "in a moment")
    said = str(error)
    for ours, here in _SPELLED:
        said = said.replace(ours, here)
    return said
