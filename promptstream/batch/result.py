"""What became of one row in, a line of the output file out, and back."""

from __future__ import annotations

from collections.abc import Mapping, Set
from os import PathLike, fspath
from typing import Any

import attrs

from promptstream import errors
from promptstream.errors import PromptStreamError, ToolError
from promptstream.tools.unstructure import MAX_DEPTH, unstructure
from promptstream.values.budget import Spent
from promptstream.values.message import Message
from promptstream.values.response import Response

_TOLD = ("status", "code", "retry_after", "phase", "provider", "model", "request_id", "retryable")
"""What is told of an error beside its text, where it has it."""


@attrs.frozen
class Result:
    """Hold what became of one row: its answer, or why there is none. Pickles whole."""

    index: int
    """The row's place among all rows, from 0."""
    row: Mapping[str, Any]
    """The row as it was given; a message alone is ``{"message": …}``."""
    response: Response | None = None
    """The whole answer; None where the row failed."""
    error: PromptStreamError | None = None
    """Why there is no whole answer; its ``response`` is what had come by then."""
    attempts: int = 0
    """Requests that went over the wire for it, tool rounds and what was tried again included; a script has none."""
    seconds: float = 0.0
    """How long it took where it ran, from its first step to its end."""
    spent: Spent = attrs.field(factory=Spent, repr=False)
    """What counts against the batch's budget."""

    @property
    def id(self) -> Any:
        """The row's own ``id``, or None."""
        return self.row.get("id")

    @property
    def ok(self) -> bool:
        """True where the answer is whole."""
        return self.error is None

    @property
    def answer(self) -> Response:
        """The answer, whole or as far as it came."""
        came = self.response if self.error is None else self.error.response
        return Response() if came is None else came

    @property
    def text(self) -> str:
        """The text of the answer, whole or as far as it came."""
        return self.answer.text

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON-safe dict that is a line of the output file; :meth:`from_dict` reads it back.

        ``response`` holds all that is known of the answer, whole or not, beside its ``text``. Bytes in the row are
        told by their number.
        """
        response = self.answer.to_dict()
        del response["message"], response["text"]  # the text is there once, and nobody goes on from here
        return {
            "index": self.index,
            "id": _shown(self.id),
            "text": self.text,
            "error": None if self.error is None else _error_dict(self.error),
            "response": response,
            "attempts": self.attempts,
            "seconds": round(self.seconds, 6),
            "row": _shown(self.row),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """Build from what :meth:`to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is no such dict.
        """
        text = data["text"]
        message = Message("assistant", text) if text else Message("assistant")
        answer = Response.from_dict({**data["response"], "text": text, "message": message.to_dict()})
        error = None if data["error"] is None else _error_from(data["error"], answer)
        response = answer if error is None else None
        return cls(data["index"], data["row"], response, error, data["attempts"], data["seconds"])


def _error_dict(error: PromptStreamError) -> dict[str, Any]:
    told = {name: getattr(error, name, None) for name in _TOLD}
    return {"type": type(error).__name__, "message": str(error)} | {
        name: value for name, value in told.items() if value is not None
    }


def _error_from(data: Mapping[str, Any], answer: Response) -> PromptStreamError:
    kind = getattr(errors, data["type"], PromptStreamError)
    error = kind(data["message"])
    error.__dict__.update({name: data[name] for name in _TOLD if name in data}, response=answer)
    return error


def _shown(value: Any, depth: int = 0) -> Any:
    """Give *value* as JSON values; what JSON cannot express as its text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if depth > MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {str(name): _shown(each, depth + 1) for name, each in value.items()}
    if isinstance(value, (list, tuple, Set)):
        return [_shown(each, depth + 1) for each in value]
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value):,} bytes"
    if isinstance(value, PathLike):
        return str(fspath(value))
    if attrs.has(type(value)):
        return {field.name: _shown(getattr(value, field.name), depth + 1) for field in attrs.fields(type(value))}
    try:
        return unstructure(value)
    except ToolError:
        return repr(value)[:200]
