"""A failure in, whether and when to try again out: only before the first chunk."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import attrs

from promptstream.errors import ConfigError, ConnectFailed, ProviderError, StreamError
from promptstream.wire.process import PerProcess

PATIENCE = 120.0
"""Seconds: the longest Retry-After that is slept through; a longer one is raised at once."""
REGAINED_A_SECOND = 1.0
REGAINED_BY_AN_ANSWER = 0.5
"""Retries that come back to a budget."""


def _number(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None and attribute.name == "budget":
        return
    whole = attribute.name in ("attempts", "budget")
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value <= 1e6:
        raise ValueError(f"Retry.{attribute.name} is {value!r}; give a {'whole ' * whole}number from 0 up.")


@attrs.frozen(eq=False)
class Retry:
    """Try a request again, as long as nothing of its answer was handed out.

    Tried again is what may pass and can do no harm: no connection, a status such as 429, 500 or 503, an error
    of that kind as the first event of a stream. A provider's own ``x-should-retry`` goes before its status.
    Waits are drawn evenly from 0 to ``base``·2ⁿ seconds, at most ``longest``; a provider's own
    Retry-After, wherever it says it, is obeyed instead, unless it is longer than the time left or 120 s: then its
    error is raised at once. ``Retry(0)`` and ``Retry(1)`` turn retrying off.

    With ``fallback=[…]`` each provider has its own attempts, by its own ``Retry``. Repairing a pooled connection
    that the server had closed, unseen and before a byte of an answer, is no attempt of its own.

    A provider object shares one budget among all its threads, so that the failures of a provider that is down
    do not become three times the load: each further attempt takes one from a reserve of ``budget``, which
    regains one a second and a half for each answer that came to its end. So a provider that answers two
    attempts of three never runs out, a program that asks seldom starts afresh each time, and one that
    answers nobody is asked once more a second, however many threads wait for it. When the reserve is spent
    the error is raised at once, and says so. The AWS SDKs' retry quota and gRPC's retry throttling are the idea.
    """

    attempts: int = attrs.field(default=3, validator=_number)
    """Attempts in all, of one request at one provider."""
    base: float = attrs.field(default=0.5, validator=_number)
    """Seconds that the first wait is drawn from; each further one from twice as many."""
    longest: float = attrs.field(default=8.0, validator=_number)
    """Seconds that no wait exceeds, unless the provider asks for it."""
    ambiguous: bool = False
    """Send again also where a request died whole on its way, and may have been answered and billed."""
    on_retry: Callable[[StreamError, float], object] | None = attrs.field(default=None)
    """Called with the error and the seconds until the next attempt, in the thread that iterates.

    An exception raised in it ends the turn, and is what the turn raises.
    """
    budget: int | None = attrs.field(default=20, validator=_number)
    """Retries in reserve, of all requests of one provider object in one process; None for no such limit."""

    @on_retry.validator
    def _check_hook(self, attribute: object, value: object) -> None:
        if value is not None and not callable(value):
            raise TypeError(f"Retry.on_retry is {value!r:.60}; give a function of the error and the seconds.")

    def delay(self, error: StreamError, attempt: int, remaining: float, *, repeatable: bool = False) -> float | None:
        """Give the seconds to wait after attempt number *attempt* (from 1), or None to give up.

        *remaining* is the time left in seconds: a wait that does not fit in it is not begun. *repeatable* says that
        a request does no harm when it arrives twice.
        """
        if attempt >= self.attempts or not (
            error.retryable or ((self.ambiguous or repeatable) and _is_ambiguous(error))
        ):
            return None
        asked = error.retry_after if isinstance(error, ProviderError) else None
        if asked is not None:
            return asked if asked <= min(remaining, PATIENCE) else None
        import random  # not worth its import to those who never fail

        wait = random.uniform(0, min(self.longest, self.base * 2 ** (attempt - 1)))
        return wait if wait < remaining else None


def _is_ambiguous(error: StreamError) -> bool:
    return isinstance(error, ConnectFailed) and error.phase == "headers"


def check_key_header(name: str) -> str:
    """Give *name* if it can be that of a header, or is "" (RFC 9110 section 5.6.2).

    Raises:
        ConfigError: it cannot.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[-!#$%&'*+.^_`|~0-9A-Za-z]*", name):
        raise ConfigError(f"idempotency_header={name!r:.60}: give the name of a header, such as 'Idempotency-Key'.")
    return name


class Retries:
    """Decide on the further attempts of one provider object, whose requests share one budget.

    Args:
        rules: when, and how often.
        key_header: the header that carries a key by which the server tells a repeated request; "" for none.
    """

    def __init__(self, rules: Retry, key_header: str = "") -> None:
        self.rules, self.key_header = rules, key_header
        self._budget: PerProcess[_Budget] | None = None
        if (size := rules.budget) is not None:
            self._budget = PerProcess(lambda: _Budget(size))

    def delay(self, error: StreamError, attempt: int, remaining: float, *, repeatable: bool = False) -> float | None:
        """Give what :meth:`Retry.delay` gives and take it from the budget; where that is spent, the error says so."""
        wait = self.rules.delay(error, attempt, remaining, repeatable=repeatable)
        if wait is None or self._budget is None or self._budget.get().take():
            return wait
        error.message += " It was not tried again: this provider object's retry budget is spent (Retry.budget)."
        error.args = (error.message,)
        return None

    def answered(self) -> None:
        """Give some of the budget back: an answer came to its end."""
        if self._budget is not None:
            self._budget.get().regain(REGAINED_BY_AN_ANSWER)


class _Budget:
    """Hold the retries in reserve."""

    def __init__(self, size: int) -> None:
        self._size, self._left, self._at = size, float(size), monotonic()
        # Re-entrant: a signal handler may send a request of its own while its thread holds the lock.
        self._lock = threading.RLock()

    def take(self) -> bool:
        """Take one retry, and tell whether there was one."""
        with self._lock:
            now = monotonic()
            self.regain((now - self._at) * REGAINED_A_SECOND)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def regain(self, retries: float) -> None:
        """Put *retries* back, up to what the reserve holds."""
        with self._lock:
            self._left = min(self._size, self._left + retries)
