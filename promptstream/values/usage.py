"""Token counts of one answer or of many."""

from __future__ import annotations

from typing import Any

import attrs

_UNKNOWN = (None,) * 6


def _add(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


@attrs.frozen
class Usage:
    """Count the tokens of an answer; ``None`` means unknown and is never 0.

    Adding keeps that rule: known + unknown is unknown.
    """

    input: int | None = None
    """Every prompt token, cached ones included."""
    output: int | None = None
    """Every generated token, reasoning included."""
    cached: int | None = None
    """The part of ``input`` read from a cache."""
    cache_write: int | None = None
    """The part of ``input`` written to a cache."""
    reasoning: int | None = None
    """The part of ``output`` spent on reasoning."""
    total: int | None = attrs.field()
    """``input`` + ``output``."""

    @total.default
    def _sum(self) -> int | None:
        return _add(self.input, self.output)

    def __add__(self, other: Usage) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(
            input=_add(self.input, other.input),
            output=_add(self.output, other.output),
            cached=_add(self.cached, other.cached),
            cache_write=_add(self.cache_write, other.cache_write),
            reasoning=_add(self.reasoning, other.reasoning),
            total=_add(self.total, other.total),
        )

    def __radd__(self, other: object) -> Usage:
        """Let ``sum(usages)`` start from its 0."""
        return self if other == 0 else NotImplemented

    def __bool__(self) -> bool:
        known = self.input, self.output, self.cached, self.cache_write, self.reasoning, self.total
        return known != _UNKNOWN

    def to_dict(self) -> dict[str, int | None]:
        """Give the six counts as a JSON-safe dict, unknown ones as ``None``."""
        return attrs.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Usage:
        """Build from what :meth:`to_dict` gave."""
        return cls(**data)
