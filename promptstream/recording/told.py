"""Chunks and errors in, the records of a file out, and back."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import attrs

from promptstream import errors
from promptstream.errors import PromptStreamError, StreamError
from promptstream.recording.checks import CHUNK, ERROR, check
from promptstream.recording.masking import Masker
from promptstream.values.chunk import Chunk, ChunkType, Finish, InternalType, Opaque
from promptstream.values.message import ToolCall, part_from_dict, part_to_dict
from promptstream.values.usage import Usage

KINDS: dict[str, tuple[type[Chunk], ChunkType | InternalType]] = {
    "text": (Chunk, ChunkType.TEXT),
    "reasoning": (Chunk, ChunkType.REASONING),
    "tool_call_delta": (Chunk, ChunkType.TOOL_CALL_DELTA),
    "tool_call": (Chunk, ChunkType.TOOL_CALL),
    "finish": (Finish, InternalType.FINISH),
    "opaque": (Opaque, InternalType.OPAQUE),
}
"""What passes through a layer, by the type of its record."""
_UNWRITTEN = {"type", "model", "response", "error", "tool_result", "rate_limits"}
_FIELDS = {
    kind: [field for field in attrs.fields(kind) if field.name not in _UNWRITTEN] for kind in (Chunk, Finish, Opaque)
}
_STREAMED = ("text", "reasoning")
_OF_CALLS = (ChunkType.TOOL_CALL, ChunkType.TOOL_CALL_DELTA)
_OF_ERRORS = {"provider", "model", "phase", "request_id", "retryable", "attempts", "status", "code", "retry_after"}
_OF_ERRORS |= {"problems"}
_UNRAISABLE = (Exception, StopIteration, StopAsyncIteration)
"""What tells nothing, or has a meaning of its own in a generator."""


class Writer:
    """Give the chunks of one exchange as records. It knows what went before: for the model, and for keys in pieces."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._before: dict[tuple[str, str], str] = {}
        self._model: str | None = None

    def chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Give the record of a chunk: its type, and what is set. A visible one has the model where that changes."""
        record: dict[str, Any] = {"type": chunk.type.value}
        for field in _FIELDS[type(chunk)]:
            value = getattr(chunk, field.name)
            if value is None or value == field.default or (field.name == "data" and not value):
                continue
            record[field.name] = self._written(chunk, field.name, value)
        visible = chunk.type.__class__ is ChunkType
        if chunk.model != (self._model if visible else None):
            record["model"] = self._masker.value(chunk.model)
            self._model = chunk.model if visible else self._model
        return record

    def _written(self, chunk: Chunk, name: str, value: Any) -> Any:
        if name in _STREAMED and isinstance(value, str):
            return self._piece(name, "", value)
        if name == "tool_call":
            call = part_to_dict(value)
            fragment = call.pop("raw_arguments", None) if chunk.type is ChunkType.TOOL_CALL_DELTA else None
            written = self._masker.value(call)
            if fragment is not None:
                written["raw_arguments"] = self._piece(name, value.id, fragment)
            return written
        return self._masker.value(value.to_dict() if isinstance(value, Usage) else value)

    def _piece(self, name: str, whose: str, text: str) -> str:
        shown, self._before[name, whose] = self._masker.piece(text, self._before.get((name, whose), ""))
        return shown


class Reader:
    """Give the records of one exchange as chunks."""

    def __init__(self) -> None:
        self._model: str | None = None

    def chunk(self, record: Mapping[str, Any]) -> Chunk:
        """Give the chunk of a record.

        Raises:
            ValueError, TypeError, KeyError, ArithmeticError: it is none.
        """
        made, kind = KINDS[record["type"]]
        check(record, CHUNK)
        fields = {name: _read(name, value) for name, value in record.items() if name not in ("type", "id", "at")}
        allowed = {"model", *(field.name for field in _FIELDS[made])}
        if unknown := fields.keys() - allowed:
            raise ValueError(f"the field {min(unknown)!r:.40} is not known")
        if kind.__class__ is ChunkType:
            self._model = fields.pop("model", self._model)
            fields["model"] = self._model
        if isinstance(fields.get("tool_call"), ToolCall) is not (kind in _OF_CALLS):
            raise ValueError("a tool call stands where none is, or lacks where one is")
        return made(type=kind, **fields)


def _read(name: str, value: Any) -> Any:
    reader = _READERS.get(name)
    return value if reader is None or value is None else reader(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "tool_call": part_from_dict,
    "usage_seen": Usage.from_dict,
    "cost": lambda value: Decimal(str(value)),
    "warnings": tuple,
    "unread": tuple,
    "validations": tuple,
}


# Errors


def error_to_dict(error: BaseException, masker: Masker) -> dict[str, Any]:
    """Give an error by its class, the nearest of ours where it is another's, its message and what else it tells."""
    names = [each.__name__ for each in type(error).__mro__ if _class(each.__name__) is each]
    told = {name: value for name, value in vars(error).items() if name in _OF_ERRORS and value is not None}
    said = {"class": type(error).__name__, "message": masker.text(str(error)), **masker.value(told)}
    if names and names[0] != said["class"]:
        said["like"] = names[0]
    return said


def error_maker(said: Mapping[str, Any]) -> Callable[[], Exception]:
    """Give what makes a fresh error of :func:`error_to_dict` each time.

    Raises:
        ValueError, KeyError: it is none.
    """
    check(said, ERROR, "class", "message")
    name, message = said["class"], said["message"]
    kind = _class(name) or _class(said.get("like", ""))
    if kind is None:
        return partial(StreamError, f"{name}: {message}")
    told = {key: value for key, value in said.items() if key in _OF_ERRORS}
    if "problems" in told:
        told["problems"] = tuple(told["problems"])
    return partial(_made, kind, message, told)


def _made(kind: type[Exception], message: str, told: dict[str, Any]) -> Exception:
    try:
        error = kind(message)
    except TypeError:  # one that takes more than a message, as UnicodeError does
        return StreamError(f"{kind.__name__}: {message}")
    if isinstance(error, PromptStreamError):
        vars(error).update(told)
    return error


def _class(name: str) -> type[Exception] | None:
    """Give the error of that name, ours or one of Python's."""
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)) or kind in _UNRAISABLE:
        return None
    return kind
