"""Results in, the figures of a batch out, in memory that does not grow with it."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from time import monotonic

import attrs

from promptstream.batch.result import Result
from promptstream.values.budget import Spent
from promptstream.values.money import dollars
from promptstream.values.usage import Usage

_STEPS = 100
"""Steps of a time's logarithm that are told apart: a percentile is off by half a percent."""


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value * 1000:.0f}ms" if value < 1 else f"{value:.1f}s"


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


@attrs.frozen
class Summary:
    """Tell how a batch went, or how far it is. Any thread may read it."""

    done: int = 0
    """Rows with a whole answer."""
    failed: int = 0
    skipped: int = 0
    """Rows that the output file had already."""
    usage: Usage = attrs.field(factory=Usage)
    """Tokens of all answers that told theirs."""
    cost: Decimal | None = None
    """USD of all answers whose cost is known; None where that is none."""
    untold: int = 0
    """Answers, whole or not, that did not tell their tokens; ``usage`` is without them."""
    unpriced: int = 0
    """Answers, whole or not, whose cost is not known; ``cost`` is without them."""
    seconds: float = 0.0
    """Since the batch began, or from its beginning to its end."""
    total_p50: float | None = None
    """Seconds that half of the whole answers took at most, tries and tools included; to half a percent, as below."""
    total_p99: float | None = None
    first_p50: float | None = None
    """Seconds to the first text."""
    first_p99: float | None = None

    @property
    def rows(self) -> int:
        """Rows that were run, whatever became of them."""
        return self.done + self.failed

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        counts = [f"{self.done:,} done", f"{self.failed:,} failed"]
        if self.skipped:
            counts.append(f"{self.skipped:,} skipped")
        usage, tokens, cost = self.usage, "unknown", dollars(self.cost)
        if usage.total is not None:
            least = "at least " if self.untold else ""
            tokens = f"{least}{usage.total:,} ({_number(usage.input)} in, {_number(usage.output)} out)"
        if self.cost is not None and self.unpriced:
            cost = f"at least {cost}"
        return (
            f"Rows: {', '.join(counts)} | Cost: {cost} | "
            f"First text: {_seconds(self.first_p50)}, p99 {_seconds(self.first_p99)} | "
            f"Total: {_seconds(self.total_p50)}, p99 {_seconds(self.total_p99)} | Tokens: {tokens} | "
            f"Took: {_seconds(self.seconds)}, {self.rate:.1f} rows/s"
        )


class Times:
    """Count seconds by their logarithm, so that any number of them takes the same room."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._sum = 0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[round(math.log(max(seconds, 1e-6)) * _STEPS)] += 1
        self._sum += 1

    def at(self, part: float) -> float | None:
        """Give the seconds that this *part* of them took at most; None where there are none."""
        rank = max(1, math.ceil(part * self._sum))
        for step in sorted(self._counts.copy()):
            rank -= self._counts[step]
            if rank <= 0:
                return math.exp(step / _STEPS)
        return None


class Tally:
    """Count what became of the rows. One thread counts; any thread may read :attr:`summary`."""

    def __init__(self) -> None:
        self.done = self.failed = self.skipped = 0
        self._untold = self._unpriced = 0
        self.spent = Spent()
        self._usage = Usage()
        self._cost: Decimal | None = None
        self._total, self._first = Times(), Times()
        self._began: float | None = None
        self._ended: float | None = None

    def begin(self) -> None:
        """Start the clock."""
        self._began = monotonic()

    def end(self) -> None:
        """Stop it."""
        self._ended = monotonic()

    def add(self, result: Result) -> None:
        """Count *result*."""
        answer = result.answer
        self.spent += result.spent
        if result.error is None:
            self.done += 1
            self._total.add(result.seconds)
            if answer.timing.first is not None:
                self._first.add(answer.timing.first)
        else:
            self.failed += 1
        if result.error is None or answer.text or answer.usage:  # of what failed before it, nothing is to be told
            self._count(answer.usage, answer.cost)

    def _count(self, usage: Usage, cost: Decimal | None) -> None:
        if usage.total is None:
            self._untold += 1
        else:
            self._usage = usage if self._usage.total is None else _sum(self._usage, usage)
        if cost is None:
            self._unpriced += 1
        else:
            self._cost = cost if self._cost is None else self._cost + cost

    @property
    def rows(self) -> int:
        """Rows that were run."""
        return self.done + self.failed

    @property
    def seconds(self) -> float:
        """Since it began, or to its end."""
        if self._began is None:
            return 0.0
        return (monotonic() if self._ended is None else self._ended) - self._began

    @property
    def summary(self) -> Summary:
        """The figures so far."""
        total, first = self._total, self._first
        return Summary(
            self.done,
            self.failed,
            self.skipped,
            self._usage if self._usage or self._untold else Usage(0, 0, 0, 0, 0),
            Decimal(0) if self._cost is None and not self._unpriced else self._cost,
            self._untold,
            self._unpriced,
            self.seconds,
            total.at(0.5),
            total.at(0.99),
            first.at(0.5),
            first.at(0.99),
        )


def _sum(one: Usage, other: Usage) -> Usage:
    """Give both together; of what only one tells, that."""
    counts = [(getattr(one, field.name), getattr(other, field.name)) for field in attrs.fields(Usage)]
    return Usage(*(a if b is None else b if a is None else a + b for a, b in counts))
