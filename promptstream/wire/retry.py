"""A failure in, whether and when to try again out: only before the first chunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from promptstream.errors import ConnectFailed, ProviderError, StreamError

PATIENCE = 120.0
"""Seconds: the longest Retry-After that is slept through; a longer one is raised at once."""


def _number(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    kinds = (int,) if attribute.name == "attempts" else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value <= 1e6:
        raise ValueError(f"Retry.{attribute.name} is {value!r}; give a number from 0 up.")


@attrs.frozen(eq=False)
class Retry:
    """Try a request again, as long as nothing of its answer was handed out.

    Waits are drawn evenly from 0 to ``base``·2ⁿ seconds, at most ``longest``; a provider's own
    Retry-After is obeyed instead, unless it is longer than the time left or 120 s: then its error is
    raised at once. ``Retry(0)`` and ``Retry(1)`` turn retrying off.
    """

    attempts: int = attrs.field(default=3, validator=_number)
    """Attempts in all."""
    base: float = attrs.field(default=0.5, validator=_number)
    longest: float = attrs.field(default=8.0, validator=_number)
    ambiguous: bool = False
    """Send again also where a request died whole on its way, and may have been answered and billed."""
    on_retry: Callable[[StreamError, float], object] | None = None
    """Called with the error and the seconds until the next attempt, in the thread that iterates."""

    def delay(self, error: StreamError, attempt: int, remaining: float) -> float | None:
        """Give the seconds to wait after attempt number *attempt* (from 1), or None to give up.

        *remaining* is the time left in seconds: a wait that does not fit in it is not begun.
        """
        if attempt >= self.attempts or not (error.retryable or (self.ambiguous and _is_ambiguous(error))):
            return None
        asked = error.retry_after if isinstance(error, ProviderError) else None
        if asked is not None:
            return asked if asked <= min(remaining, PATIENCE) else None
        import random  # not worth its import to those who never fail

        wait = random.uniform(0, min(self.longest, self.base * 2 ** (attempt - 1)))
        return wait if wait < remaining else None


def _is_ambiguous(error: StreamError) -> bool:
    return isinstance(error, ConnectFailed) and error.phase == "headers"
