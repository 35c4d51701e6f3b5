"""Requests and tokens a minute in, how long the next row has to wait out; one for all rows, wherever they run.

A limit that is given is kept in every window of a minute, and what it allows is spread evenly over that minute: many
providers enforce 600 a minute as 10 a second. What a provider's headers tell is kept besides: when less than half of
its own limit is left, that is spread over the time until the limit is whole again. Where a provider tells nothing and
only refuses, what it answers tells how fast rows may go.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic, time
from typing import Any

import attrs

from promptstream.batch.result import Result
from promptstream.errors import ConfigError, Overloaded, ProviderError, RateLimited
from promptstream.values.rate_limits import RateLimits

MINUTE = 60.0
CATCH_UP = 0.5
"""Seconds of lateness that are made up for; so much may go out at once."""
JITTER = 2.5
"""Seconds by which the network may bring two requests nearer together."""
WINDOW = MINUTE + JITTER
LONGEST_WINDOW = 120.0
"""Seconds: a limit that comes back later is a day's quota, which nobody wants spread over the day."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds to pause after a refusal that names no time: each within a minute of the last pause's end is doubled,
unless rows were answered between them."""
SLOWER, FASTER, STEEPEST = 1.4, 0.99, 4.0
"""By which the time between two rows grows at a refusal, and shrinks at an answer; and the most by which it grows."""
WEIGHT = 0.1
"""Of the newest row, in the average by which rows take more tokens than was estimated."""


class Rates:
    """Keep all rows together to so many requests and tokens a minute, and to what the provider tells of its limits.

    Any thread may use it. The rows' further requests, for rounds of tools and those tried again, are counted when
    their row is done: nobody can know them before.

    Args:
        rpm: requests a minute; None: as many as the provider's headers allow.
        tpm: tokens a minute, of prompts and answers together; None likewise.
        clock, wall: what tells the time, monotonic and since the epoch.

    Raises:
        ConfigError: *rpm* or *tpm* is no number above 0.
    """

    def __init__(
        self,
        rpm: float | None = None,
        tpm: float | None = None,
        *,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        self._requests, self._tokens = _Meter(_limit("rpm", rpm)), _Meter(_limit("tpm", tpm))
        self._clock, self._wall = clock, wall
        self._lock = threading.RLock()  # what is done is counted when Ctrl-C has struck inside it, too
        self._rows: dict[int | None, deque[_Row]] = {}
        """What went out and is not back, by the row's index; where that was not told, by None, the oldest first."""
        self._beyond: float | None = None
        """The tokens that a row takes beyond its estimate, on an average."""
        self._paused = -math.inf
        self._pause = 0.0
        self._pace = _Pace()

    def wait(self, tokens: int = 0, index: int | None = None) -> float:
        """Give the seconds to wait until a row may go out, and count it where they are 0; then ask again.

        Args:
            tokens: what it is estimated to take; what rows take beyond that is learned.
            index: the row's, by which its result is known again; without it the oldest row is taken to be back.
        """
        with self._lock:
            now = self._clock()
            amount = max(0, math.ceil(tokens + (self._beyond or 0.0)))
            held = max(self._paused - now, self._pace.delay(now))
            delay = max(held, self._requests.delay(now, 1), self._tokens.delay(now, amount))
            if delay > 1e-6:  # less is what floats lose
                return delay
            self._pace.take(now)
            row = _Row(tokens, self._requests.take(now, 1), self._tokens.take(now, amount))
            self._rows.setdefault(index, deque()).append(row)
            return 0.0

    def learn(self, result: Result) -> None:
        """Take into account what a row took, what its provider told, and whether that asked to slow down."""
        error = result.error
        told = getattr(error, "rate_limits", None) or result.answer.rate_limits
        with self._lock:
            now = self._clock()
            row = self._settle(result, now)
            if told is not None:
                self._tell(told, now)
            if isinstance(error, RateLimited) and row is not None:
                self._pace.refused(now, row.requests.at)
            elif error is None:
                self._pace.answered()
                self._pause = 0.0
            if isinstance(error, (RateLimited, Overloaded)):
                self._slow_down(error, now)

    def _settle(self, result: Result, now: float) -> _Row | None:
        """Put what the row of *result* took in the place of what it was estimated to; gives that row."""
        key = result.index if result.index in self._rows else None
        waiting = self._rows.get(key)
        if not waiting:
            return None
        row = waiting.popleft()
        if not waiting:
            del self._rows[key]
        if result.attempts > 1:
            self._requests.take(now, result.attempts - 1)
        if not (result.attempts or result.ok):  # nothing was sent; a scripted answer has no attempts either
            self._requests.correct(row.requests, 0)
            self._tokens.correct(row.tokens, 0)
        elif taken := result.spent.tokens:
            self._tokens.correct(row.tokens, taken)
            beyond = taken - row.estimate
            self._beyond = beyond if self._beyond is None else self._beyond + WEIGHT * (beyond - self._beyond)
        return row

    def _tell(self, told: RateLimits, now: float) -> None:
        at = now - max(0.0, self._wall() - told.at)
        self._requests.tell(at, now, told.requests, told.requests_left, told.requests_reset)
        self._tokens.tell(at, now, told.tokens, told.tokens_left, told.tokens_reset)

    def _slow_down(self, error: ProviderError, now: float) -> None:
        seconds = error.retry_after
        if seconds is None:
            if now < self._paused:  # one of those that were out already
                return
            again = now < self._paused + MINUTE
            self._pause = min(LONGEST_PAUSE, self._pause * 2) if again and self._pause else FIRST_PAUSE
            seconds = self._pause
        self._paused = max(self._paused, now + seconds)


@attrs.define(eq=False)
class _Use:
    """Tell when how much went out."""

    at: float
    amount: int
    counted: bool = True
    """True while it is within the window."""


@attrs.frozen(eq=False)
class _Row:
    """Hold a row that is out."""

    estimate: int
    requests: _Use
    tokens: _Use


class _Pace:
    """Find by refusals how fast rows may go; as fast as they like until there is one."""

    def __init__(self) -> None:
        self._gap = 0.0
        """Seconds from one row to the next."""
        self._due = -math.inf
        self._since = -math.inf
        """When it last became slower, or the first row went out."""
        self._answers = 0
        """How many came since then."""

    def delay(self, now: float) -> float:
        """Give the seconds until the next row may go out."""
        return self._due - now

    def take(self, now: float) -> None:
        """Let a row go out."""
        if self._since == -math.inf:
            self._since = now
        self._due = max(self._due, now) + self._gap

    def answered(self) -> None:
        """Go a little faster."""
        self._answers += 1
        self._gap *= FASTER

    def refused(self, now: float, sent: float) -> None:
        """Go as slowly as answers came, at least, unless the refused row was *sent* at an older pace."""
        if sent < self._since:
            return
        found = (now - self._since) / max(1, self._answers)
        if self._gap:
            found = min(max(found, self._gap * SLOWER), self._gap * STEEPEST)
        self._gap, self._since, self._answers = found, now, 0
        self._due = now + found


class _Meter:
    """Spread one thing, requests or tokens, over the minutes. Times are those of the monotonic clock."""

    def __init__(self, limit: float | None) -> None:
        self._limit = math.inf if limit is None else limit
        self._step = (WINDOW + CATCH_UP) / self._limit
        """Seconds from one to the next, so that those that are a limit apart are more than a window apart."""
        self._next = -math.inf
        """When the next is due."""
        self._uses: deque[_Use] = deque()
        """Those of the window, the oldest first."""
        self._sum = 0
        self._told_at = self._whole_at = -math.inf
        self._told: float = math.inf
        """What the provider's limit is."""
        self._left: float = math.inf
        """What is left of it, as far as is known."""

    def delay(self, now: float, amount: int) -> float:
        """Give the seconds until *amount* may go out."""
        while self._uses and self._uses[0].at <= now - WINDOW:
            use = self._uses.popleft()
            use.counted = False
            self._sum -= use.amount
        return max(self._next - CATCH_UP - now, self._until_room(now, amount), self._until_share(now, amount))

    def _until_room(self, now: float, amount: int) -> float:
        """Give the seconds until the window has room; what is more than a whole limit waits until it is empty."""
        over = self._sum + amount - self._limit
        last = now - WINDOW
        for use in self._uses:
            if over <= 0:
                break
            over -= use.amount
            last = use.at
        return last + WINDOW - now

    def _until_share(self, now: float, amount: int) -> float:
        """Give the seconds until it is the turn of *amount*, of what the provider told to be left."""
        if now >= self._whole_at or self._left >= self._told:
            return 0.0
        if self._left < amount or self._left <= 0:
            return self._whole_at - now
        if self._left * 2 >= self._told or not self._uses:
            return 0.0
        return self._uses[-1].at + amount * (self._whole_at - now) / self._left - now

    def take(self, now: float, amount: int) -> _Use:
        """Count *amount*, which goes out now."""
        use = _Use(now, amount)
        self._uses.append(use)
        self._sum += amount
        self._next = max(self._next, now) + amount * self._step
        self._left -= amount
        return use

    def correct(self, use: _Use, amount: int) -> None:
        """Count *amount* in place of what *use* was taken to be."""
        more, use.amount = amount - use.amount, amount
        if use.counted:
            self._sum += more
        self._next += more * self._step
        if use.at > self._told_at:
            self._left -= more

    def tell(self, at: float, now: float, limit: int | None, left: int | None, reset: float | None) -> None:
        """Take in what the provider told: of a *limit* so much was *left* when it was *at*, and whole in *reset*."""
        if left is None or at < max(self._told_at, now - MINUTE):
            return
        reset = MINUTE if reset is None else reset
        self._told_at = at
        self._whole_at = at + reset if reset <= LONGEST_WINDOW else -math.inf
        self._told = math.inf if limit is None else limit
        self._left = left - sum(use.amount for use in self._uses if use.at > at)


def _limit(name: str, given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < math.inf:
        raise ConfigError(f"{name}={given!r:.60}: give a number a minute, above 0, or None for no limit of your own.")
    return given
