"""What a stream hands out, one piece at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs

from promptstream.values.message import ToolCall, ToolResult
from promptstream.values.rate_limits import RateLimits
from promptstream.values.response import Response
from promptstream.values.usage import Usage


class ChunkType(str, Enum):
    """Name the kinds of chunk; each is, prints and formats as its value."""

    TEXT = "text"
    REASONING = "reasoning"
    TOOL_CALL_DELTA = "tool_call_delta"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    DONE = "done"
    ERROR = "error"

    def __str__(self) -> str:
        return self._value_

    def __format__(self, spec: str) -> str:
        return format(self._value_, spec)


class InternalType(str, Enum):
    """Name the kinds that pass between a dialect and the fold and never reach a loop."""

    FINISH = "finish"
    OPAQUE = "opaque"


EVENT_NAMES = {kind: kind.value for kind in ChunkType} | {ChunkType.TEXT: "content"}


@attrs.define(repr=False)
class Chunk:
    """Carry one piece of a stream. Read-only by agreement: frozen would triple what a chunk costs.

    ``str(chunk)`` is its text, so every chunk is safe to print.
    """

    type: ChunkType | InternalType
    text: str = ""
    reasoning: str = ""
    tool_call: ToolCall | None = None
    """Of TOOL_CALL: the whole call, once. Of TOOL_CALL_DELTA: ``raw_arguments`` is the fragment."""
    tool_result: ToolResult | None = None
    response: Response | None = None
    """Of DONE: the whole answer. Of ERROR: what came of it."""
    error: Exception | None = None
    model: str | None = None
    """The model that answers, as the provider names it."""
    raw: Any = None
    """The provider's own event, when asked for."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        fields = [f"type={getattr(self.type, 'value', self.type)!r}"]  # a plain string is an easy slip
        for field in attrs.fields(type(self))[1:]:
            value = getattr(self, field.name)
            if value != field.default:
                fields.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(fields)})"

    @property
    def done(self) -> bool:
        """True of the last chunk of a whole answer."""
        return self.type is ChunkType.DONE

    @property
    def usage(self) -> Usage | None:
        """The token counts, on DONE."""
        return self.response.usage if self.response else None

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended, on DONE."""
        return self.response.finish_reason if self.response else None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The answer's tool calls, on DONE."""
        return self.response.tool_calls if self.response else ()

    def to_event(self) -> dict[str, Any]:
        """Give the chunk as a dict of five keys that ``json.dumps`` takes.

        ``type`` is content, reasoning, tool_call_delta, tool_call, tool_result, error or done;
        ``content`` a string; ``tool_call`` a dict or None; ``error`` a string or None; ``final`` the
        answer's figures on done, else None. Of a tool_result, ``error`` is the result's text, as ``content``
        is, where the call failed, was rejected or named no tool; the turn goes on after it.
        """
        call, content = _event_call(self.tool_call), self.text or self.reasoning
        error = None if self.error is None else str(self.error)
        if (result := self.tool_result) is not None:
            content, call = result.content, {"id": result.call_id, "name": result.name}
            if result.error:
                error = result.content
        return {
            "type": EVENT_NAMES[ChunkType(self.type)],
            "content": content,
            "tool_call": call,
            "error": error,
            "final": _final(self.response) if self.done and self.response else None,
        }


def _event_call(call: ToolCall | None) -> dict[str, Any] | None:
    if call is None:
        return None
    return {"id": call.id, "name": call.name, "arguments": call.arguments, "raw_arguments": call.raw_arguments}


def _final(response: Response) -> dict[str, Any]:
    total = response.timing.total
    return {
        "content": response.text,
        "tool_calls": [_event_call(call) for call in response.tool_calls],
        "finish_reason": response.finish_reason,
        "model": response.model,
        "usage": response.usage.to_dict(),
        "cost": None if response.cost is None else float(response.cost),
        "latency_ms": None if total is None else round(total * 1000),
    }


@attrs.define(repr=False)
class Finish(Chunk):
    """Tell the fold what a dialect learned about the ending; several may come, later fields win.

    ``reason`` or ``sentinel`` is what makes an answer complete.
    """

    type: ChunkType | InternalType = InternalType.FINISH
    reason: str | None = None
    """The common finish reason, where the provider gave one."""
    raw_reason: str | None = None
    sentinel: bool = False
    """The protocol's terminator arrived."""
    restart: bool = False
    """What came before this was of an attempt that failed and handed nothing out."""
    pause: bool = False
    """The provider wants to be asked again with what came so far, to go on from there."""
    provider: str | None = None
    """Who answers from here on, where another provider is asked; ``cost`` then starts anew."""
    usage_seen: Usage | None = None
    unread: Sequence[str] = ()
    """What in the usage cannot be read, in words; the answer gets one warning of it, however often it is told."""
    cost: Decimal | None = None
    request_id: str | None = None
    rate_limits: RateLimits | None = None
    """What the response's headers tell of them."""
    warnings: tuple[str, ...] = ()
    validations: tuple[Mapping[str, Any], ...] = ()
    """What guards found; each ends in ``Response.validations``."""


@attrs.define(repr=False)
class Opaque(Chunk):
    """Tell the fold to keep *data* on the part of kind *part* in progress, to be echoed next turn."""

    type: ChunkType | InternalType = InternalType.OPAQUE
    part: str = "text"
    """"text", "reasoning" or "tool_call"; a part of that kind is opened where none is in progress."""
    new: bool = False
    """True where a part begins here, whatever is in progress: what follows must not be merged with it."""
    data: Mapping[str, Any] = attrs.field(factory=dict)
    """Keyed by provider."""
