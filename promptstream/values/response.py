"""The answer, whole or as far as it came."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from promptstream.values.message import Message, ToolCall, part_from_dict, part_to_dict
from promptstream.values.money import dollars
from promptstream.values.rate_limits import RateLimits
from promptstream.values.timing import Timing
from promptstream.values.usage import Usage

FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "refusal", "cancelled", "other")


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value * 1000:.0f}ms" if value < 1 else f"{value:.1f}s"


def _count(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _plain(parsed: Any) -> Any:
    if attrs.has(type(parsed)):
        return attrs.asdict(parsed)
    if hasattr(parsed, "__dataclass_fields__"):
        from dataclasses import asdict

        return asdict(parsed)
    return [_plain(each) for each in parsed] if isinstance(parsed, list) else parsed


@attrs.frozen
class Response:
    """Hold an answer; of a stream that failed or was stopped, what came of it (``complete`` is False)."""

    text: str = ""
    reasoning: str = ""
    message: Message = attrs.field(factory=lambda: Message("assistant"))
    """The answer as it stands in the history."""
    tool_calls: tuple[ToolCall, ...] = ()
    pending: tuple[ToolCall, ...] = ()
    """The calls that wait for an approval or for the application's own result."""
    parsed: Any = None
    """The answer read as JSON, where that was asked for and came whole; else None."""
    finish_reason: str | None = None
    """One of stop, length, tool_calls, content_filter, refusal, cancelled, other; None where none was given."""
    raw_finish_reason: str | None = None
    model: str | None = None
    """The model that answered, as the provider names it."""
    provider: str | None = None
    request_id: str | None = None
    usage: Usage = attrs.field(factory=Usage)
    cost: Decimal | None = None
    """USD; None means unknown."""
    timing: Timing = attrs.field(factory=Timing)
    rounds: int = 1
    """Requests the turn took: 1, and one more for each round of tools."""
    validations: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    complete: bool = False
    """True only where everything the provider had to send arrived."""
    rate_limits: RateLimits | None = None
    """What the headers of the last request told of the account's limits; None where they told nothing."""

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        from promptstream.values import display

        return display.of_response(self)

    def summary(self) -> str:
        """Tell cost, time to the first text, total time and tokens in one line; unknowns say so."""
        usage = self.usage
        line = (
            f"Cost: {dollars(self.cost)} | First text: {_seconds(self.timing.first)} | "
            f"Total: {_seconds(self.timing.total)} | Tokens: {_count(usage.total)} "
            f"({_count(usage.input)} in, {_count(usage.output)} out)"
        )
        if self.finish_reason not in ("stop", "tool_calls"):
            line += f" | Ended: {self._ended()}"
        return f"{line} | Warnings: {len(self.warnings)}" if self.warnings else line

    def report(self) -> str:
        """Tell chunks, times, length and tokens as a block of lines; unknowns say so."""
        usage, timing = self.usage, self.timing
        head = "✓ Streaming completed" if self.complete else "✗ Streaming stopped"
        if self.finish_reason not in ("stop", "tool_calls"):
            head += f" ({self._ended()})"
        return "\n".join(
            (
                head,
                f"  Total chunks:        {timing.chunks}",
                f"  Time to first chunk: {_seconds(timing.first)}",
                f"  Total time:          {_seconds(timing.total)}",
                f"  Content length:      {timing.characters} chars",
                "  Token usage:",
                f"    Prompt:     {_count(usage.input)}",
                f"    Completion: {_count(usage.output)}",
                f"    Total:      {_count(usage.total)}",
            )
        )

    def _ended(self) -> str:
        return {
            "length": "length, cut at the token limit",
            None: "no reason given" if self.complete else "cut off",
        }.get(self.finish_reason, str(self.finish_reason))

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-safe dict that :meth:`from_dict` reads back; of ``parsed`` the fields, where it is an object."""
        data = {field.name: getattr(self, field.name) for field in attrs.fields(Response)}
        data["parsed"] = _plain(self.parsed)
        data["message"] = self.message.to_dict()
        data["tool_calls"] = [part_to_dict(call) for call in self.tool_calls]
        data["pending"] = [part_to_dict(call) for call in self.pending]
        data["usage"] = self.usage.to_dict()
        data["timing"] = self.timing.to_dict()
        data["cost"] = None if self.cost is None else str(self.cost)
        data["validations"] = [dict(each) for each in self.validations]
        data["warnings"] = list(self.warnings)
        data["rate_limits"] = None if self.rate_limits is None else self.rate_limits.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Response:
        """Build from what :meth:`to_dict` gave."""
        fields = dict(data)
        fields["message"] = Message.from_dict(fields["message"])
        for name in ("tool_calls", "pending"):
            fields[name] = tuple(part_from_dict(call) for call in fields[name])
        fields["usage"] = Usage.from_dict(fields["usage"])
        fields["timing"] = Timing.from_dict(fields["timing"])
        fields["cost"] = None if fields["cost"] is None else Decimal(fields["cost"])
        fields["validations"] = tuple(fields["validations"])
        fields["warnings"] = tuple(fields["warnings"])
        if (limits := fields.get("rate_limits")) is not None:
            fields["rate_limits"] = RateLimits.from_dict(limits)
        return cls(**fields)
