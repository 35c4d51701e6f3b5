"""A Gemini model's name in, how it is asked to think out (ai.google.dev/gemini-api/docs/thinking)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from promptstream.providers.parameters import left_out
from promptstream.values.effort import Effort

_GENERATION = re.compile(r"(?:^|/)gemini-(?:(?:flash|pro)(?:-lite)?-latest|(?:robotics-er-)?(\d+)(?:\.(\d+))?)")
_BUDGETS = {"minimal": 512, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
_LEVELS = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


@attrs.frozen
class Rules:
    """Say how a model wants to be asked."""

    generation: tuple[int, int] | None = None
    """Major and minor number; None where the name does not tell."""
    alias: bool = False
    """True of names such as gemini-flash-latest, which mean another generation every few months."""
    pro: bool = False
    lite: bool = False
    thinks: bool = False

    @property
    def major(self) -> int | None:
        """The generation's first number, or None."""
        return None if self.generation is None else self.generation[0]

    @property
    def by_level(self) -> bool:
        """True where thinking is asked for by level; before generation 3, and by an alias, by tokens."""
        return self.generation is not None and self.generation >= (3, 0)

    @property
    def wants_signatures(self) -> bool:
        """True where each step's first function call must carry a signature."""
        return self.by_level or self.alias

    @property
    def mixes_json_and_tools(self) -> bool:
        """True where an answer in JSON and functions may be asked for at once."""
        return self.generation is None or self.by_level


def rules_for(model: str) -> Rules:
    """Give the rules of a model, with or without ``models/`` and the like in front."""
    found = _GENERATION.search(model)
    if found is None:
        return Rules()
    generation = (int(found[1]), int(found[2] or 0)) if found[1] else None
    spoken = "-image" in model or "-tts" in model
    return Rules(
        generation,
        alias=generation is None,
        pro="-pro" in model,
        lite="-lite" in model,
        thinks=generation is None or generation >= (3, 0) or (generation >= (2, 5) and not spoken),
    )


def thinking(wanted: Effort | None, rules: Rules, who: str, limit: int | None) -> tuple[dict[str, Any], list[str]]:
    """Give the ``thinkingConfig`` for an effort, {} for none, and the warnings; *limit* is the answer's max_tokens."""
    if wanted is None:
        return {}, []
    if not rules.thinks:
        return {}, [] if wanted.off else left_out(["reasoning"], who)
    shown = {"includeThoughts": _shown(wanted.options)}
    if wanted.off:
        if rules.pro:
            return {}, left_out(["reasoning"], who, "cannot be told not to think")
        if rules.by_level:
            return {"thinkingLevel": "minimal"}, [_changed("none", "minimal", who)]
        return {"thinkingBudget": 0}, []
    if wanted.level is None and wanted.budget is None:
        return shown | ({} if rules.by_level else {"thinkingBudget": -1}), []
    asked = wanted.budget if wanted.level is None else wanted.level
    if not rules.by_level:
        budget = _budget(wanted, rules, limit)
        changed = wanted.budget not in (None, budget)
        return shown | {"thinkingBudget": budget}, [_changed(asked, budget, who)] if changed else []
    level = _level(wanted, rules)
    return shown | {"thinkingLevel": level}, [_changed(asked, level, who)] if level != asked else []


def _changed(asked: str | int | None, sent: str | int, who: str) -> str:
    return f"reasoning={asked!r} was sent as {sent!r}, the nearest that {who} takes."


def _shown(options: Mapping[str, Any]) -> bool:
    return bool(options.get("includeThoughts", not options.get("exclude", False)))


def _budget(wanted: Effort, rules: Rules, limit: int | None) -> int:
    """Give the tokens, within what the model takes; thoughts count into max_tokens, so a level leaves room."""
    least = 512 if rules.lite else 128 if rules.pro else 1
    most = 32_768 if rules.pro else 24_576
    budget = wanted.budget
    if budget is None:
        budget = _BUDGETS[wanted.level or "medium"]
        if limit is not None:
            budget = min(budget, wanted.tokens(limit))
    return max(least, min(budget, most))


def _level(wanted: Effort, rules: Rules) -> str:
    level = _LEVELS.get(wanted.level or "")
    if level is None:  # a budget: the level whose tokens cover it
        tokens = wanted.budget or 0
        level = next((name for name in ("minimal", "low", "medium") if tokens <= _BUDGETS[name]), "high")
    if rules.pro and level == "minimal":
        return "low"  # the lowest that pro models know
    if rules.pro and level == "medium" and rules.generation == (3, 0):
        return "high"  # gemini-3-pro knows low and high alone
    return level
