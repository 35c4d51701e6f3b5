"""What a provider tells of its rate limits."""

from __future__ import annotations

from time import time
from typing import Any

import attrs


@attrs.frozen
class RateLimits:
    """Tell how many requests and tokens an account may use, as the headers of one response say it.

    None stands for what was not told. Of several limits on tokens (Anthropic counts prompts and answers apart, too)
    this is the one of which the smallest part is left.
    """

    requests: int | None = None
    """Requests that the limit allows in its window, which most providers make a minute and some a day."""
    requests_left: int | None = None
    requests_reset: float | None = None
    """Seconds until all of them are there again."""
    tokens: int | None = None
    tokens_left: int | None = None
    tokens_reset: float | None = None
    at: float = attrs.field(factory=time, eq=False)
    """When it was told, in seconds since the epoch by this machine's clock."""

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as a JSON-safe dict that :meth:`from_dict` reads back."""
        return attrs.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RateLimits:
        """Build from what :meth:`to_dict` gave."""
        return cls(**data)
