"""``reasoning=`` in, how much a model is asked to think out."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import attrs

from promptstream.values.names import nearest

LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
SHARES = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95, "max": 0.95}
"""The part of an answer's limit that each level means where a provider wants tokens."""


@attrs.frozen
class Effort:
    """Say how much a model is to think: a level, a budget in tokens, or neither for the model's own measure."""

    level: str | None = None
    budget: int | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """What else the dict said, such as OpenRouter's ``exclude`` or Responses' ``summary``."""

    @classmethod
    def of(cls, value: str | int | bool | Mapping[str, Any] | None) -> Effort | None:
        """Read a ``reasoning=`` argument; None where none was given.

        Raises:
            ValueError: it is no level, number of tokens from 0 up, bool or dict of ``effort`` or ``max_tokens``.
        """
        if value is None:
            return None
        if value is True:
            return cls()
        if value is False:
            return cls("none")
        if isinstance(value, str) and value in LEVELS:
            return cls(value)
        if isinstance(value, Integral) and (tokens := int(value)) >= 0:  # an integer of numpy's, too
            return cls(budget=tokens) if tokens else cls("none")
        if isinstance(value, Mapping):
            return cls._of_dict(value)
        hint = nearest(value, LEVELS) if isinstance(value, str) else ""
        raise ValueError(
            f"reasoning={value!r:.80}: give {', '.join(LEVELS)}, a number of tokens, True, False or a dict.{hint}"
        )

    @classmethod
    def _of_dict(cls, value: Mapping[str, Any]) -> Effort:
        options = dict(value)
        level, budget = options.pop("effort", None), options.pop("max_tokens", None)
        if options.get("enabled") is False and level is None and budget is None:  # as OpenRouter has it
            return cls("none")
        if level is not None and budget is not None:
            raise ValueError("reasoning= has both 'effort' and 'max_tokens'; give one of them.")
        inner = cls.of(budget if level is None else level)
        return attrs.evolve(inner or cls(), options=options)

    @property
    def off(self) -> bool:
        """True where the model is asked not to think."""
        return self.level == "none"

    def tokens(self, limit: int) -> int:
        """Give the budget, or the share of *limit* (tokens) that the level stands for."""
        return int(limit * SHARES.get(self.level or "medium", 0.5)) if self.budget is None else self.budget
