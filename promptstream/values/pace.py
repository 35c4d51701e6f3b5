"""When the pieces of an answer came, and its tokens, in; tokens per second out."""

from __future__ import annotations

from time import monotonic

from promptstream.values.usage import Usage

_LEAST = 0.01
"""Seconds below which nothing is measured: the answer came at once."""


class Pace:
    """Measure how fast tokens come, from the first piece that is seen of each round to its end; tools do not count."""

    def __init__(self) -> None:
        self._tokens: int | None = 0
        self._seconds = 0.0
        self._since: float | None = None
        self._until: float | None = None
        self._thought = False

    def came(self, *, thought: bool = False) -> None:
        """Take note of a part of the round that can be seen."""
        self._thought = self._thought or thought
        if self._since is None:
            self._since = monotonic()

    def finish(self) -> None:
        """Take note that the provider said that the round is over."""
        if self._until is None:
            self._until = monotonic()

    def next_round(self, usage: Usage) -> None:
        """Count the round, which took *usage*, and begin another."""
        self._tokens, self._seconds = self._with(usage)
        self._since = self._until = None
        self._thought = False

    def per_second(self, usage: Usage) -> float | None:
        """Give tokens per second, the round in progress included, which took *usage*; None where that is not known."""
        tokens, seconds = self._with(usage)
        return tokens / seconds if tokens and seconds >= _LEAST else None

    def _with(self, usage: Usage) -> tuple[int | None, float]:
        if self._since is None:
            return self._tokens, self._seconds
        if self._tokens is None or usage.output is None:
            return None, self._seconds
        unseen = 0 if self._thought else usage.reasoning or 0  # thoughts that were kept back came before all pieces
        return self._tokens + usage.output - unseen, self._seconds + (self._until or monotonic()) - self._since
