"""A Qwen model's name in, how it may be asked out (help.aliyun.com/zh/model-studio: deep-thinking, json-mode)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from promptstream.providers.parameters import left_out
from promptstream.values.effort import Effort
from promptstream.values.format import Format

BUDGETS: Mapping[str, int] = {"minimal": 1024, "low": 4096, "medium": 12288, "high": 24576}
"""Tokens of thought by level of effort; above these the model's own measure holds, its longest."""

_ALWAYS = re.compile(r"qwq|qvq|.*-thinking(-|$)")
_NEVER = re.compile(
    r".*-instruct(-|$)|qwen(1\.5|2|2\.5)?-(max|long|coder|math|mt|vl|1?\d)|qwen(1\.5|2|2\.5)-|qwen3-coder"
)
_BY_DEFAULT = re.compile(r"qwen3-\d+(\.\d+)?b|qwen(3\.[5-9]|[4-9])")
_MANY_SENSES = re.compile(r"qvq|.*-(vl|omni|ocr|audio)(-|$)|qwen(3\.[5-9]|[4-9])")
_NEVER_FORCED = re.compile(r"qwen3-coder")


@attrs.frozen
class Manner:
    """Say how a model wants to be asked."""

    thinks: Literal["never", "if asked", "by default", "always"] = "if asked"
    multimodal: bool = False
    """True where the native protocol has it at the multimodal address."""
    streams_only: bool = False
    takes_required: bool = True
    """False where ``tool_choice="required"`` cannot be relied on."""


def manner_of(model: str) -> Manner:
    """Give the manner of *model*; a name nobody knows thinks if asked."""
    name = model.lower().rpartition("/")[2]
    thinks: Literal["never", "if asked", "by default", "always"] = "if asked"
    if _ALWAYS.match(name):
        thinks = "always"
    elif _NEVER.match(name):
        thinks = "never"
    elif _BY_DEFAULT.match(name):
        thinks = "by default"
    return Manner(thinks, bool(_MANY_SENSES.match(name)), "-omni" in name, not _NEVER_FORCED.match(name))


@attrs.frozen
class Plan:
    """Say what is asked of a model, of things that exclude each other."""

    streams_only: bool
    """True where the answer comes as a stream only: what thinks does."""
    options: Mapping[str, Any]
    """``enable_thinking`` and ``thinking_budget``, as far as they are to be said."""
    dropped: frozenset[str]
    """Names of parameters that are not sent."""
    warnings: tuple[str, ...]


def plan_for(model: str, who: str, parameters: Mapping[str, Any], extra: Mapping[str, Any]) -> Plan:
    """Decide on thinking, on JSON and on forced tools, of which thinking excludes the others.

    *extra* is what the user puts into the body unseen; its ``enable_thinking`` counts.
    """
    manner = manner_of(model)
    effort = Effort.of(parameters.get("reasoning"))
    forced, formatted = _forced(parameters), Format.of(parameters) is not None
    options, warnings = _thinking(manner, effort, who)
    thinks = manner.thinks in ("by default", "always") if "enable_thinking" not in options else True
    thinks = thinks and options.get("enable_thinking") is not False
    dropped: set[str] = set()
    if isinstance(said := extra.get("enable_thinking"), bool):
        thinks = said
    elif thinks and formatted and manner.thinks != "always":
        thinks, options = False, {"enable_thinking": False}
        warnings += left_out(["reasoning"], who, "gives JSON only without thinking")
    if thinks and formatted:
        dropped |= {"response_format", "schema"} & set(parameters)
        warnings += left_out(dropped, who, "gives no JSON while it thinks")
    if forced and (thinks or (parameters["tool_choice"] == "required" and not manner.takes_required)):
        dropped.add("tool_choice")
        why = "chooses tools itself while it thinks" if thinks else "cannot be forced to call a tool"
        warnings += left_out(["tool_choice"], who, why)
    return Plan(thinks or manner.streams_only, options, frozenset(dropped), tuple(warnings))


def _forced(parameters: Mapping[str, Any]) -> bool:
    return parameters.get("tool_choice") not in (None, "auto", "none")


def _thinking(manner: Manner, effort: Effort | None, who: str) -> tuple[dict[str, Any], list[str]]:
    if effort is None:
        return {}, []
    warnings = left_out([f"reasoning's {name}" for name in effort.options], who)
    if manner.thinks == "never":
        return {}, warnings + ([] if effort.off else left_out(["reasoning"], who, "does not think"))
    if manner.thinks == "always" and effort.off:
        return {}, [*warnings, *left_out(["reasoning"], who, "always thinks")]
    if effort.off:
        return {"enable_thinking": False}, warnings
    budget = effort.budget or BUDGETS.get(effort.level or "")
    options: dict[str, Any] = {} if manner.thinks == "always" else {"enable_thinking": True}
    return options | ({"thinking_budget": budget} if budget else {}), warnings
