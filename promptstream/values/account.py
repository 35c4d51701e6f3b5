"""What a provider tells of an account and of one answer after the fact: money left, and a generation's figures."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from promptstream.values.usage import Usage


@attrs.frozen
class Credits:
    """Tell an account's credit in USD."""

    total: Decimal
    """Bought so far."""
    used: Decimal
    """Spent so far."""

    @property
    def remaining(self) -> Decimal:
        """What is left; below 0 where more was spent than bought."""
        return self.total - self.used


@attrs.frozen
class Generation:
    """Describe one answer as the provider's books have it; unknowns are None."""

    id: str
    model: str | None = None
    provider: str | None = None
    """Who ran the model."""
    cost: Decimal | None = None
    """USD."""
    usage: Usage = attrs.field(factory=Usage)
    """Tokens as the model's own tokenizer counts them."""
    finish_reason: str | None = None
    raw_finish_reason: str | None = None
    """As the upstream provider said it."""
    latency: float | None = None
    """Seconds to the first token."""
    duration: float | None = None
    """Seconds of generating."""
    created: str | None = None
    streamed: bool | None = None
    cancelled: bool | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)
    """The whole object as the provider sent it."""
