"""An OpenAI model's name in, what it refuses out (the table of the reasoning guide)."""

from __future__ import annotations

import re

import attrs

_SAMPLING = frozenset({"temperature", "top_p"})
_PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})
_O_SERIES = re.compile(r"^o(\d+)(?:-|$)")
_GPT = re.compile(r"^gpt-(\d+)(?:\.(\d+))?(?:-(.+))?$")


@attrs.frozen
class Rules:
    """Say how a model wants to be asked."""

    refused: frozenset[str] = frozenset()
    """Parameters that are left out, with a warning."""
    refused_while_reasoning: frozenset[str] = frozenset()
    """Parameters that are left out unless the effort is "none"."""
    reasons_by_default: bool = False
    limit: str = "max_completion_tokens"
    system: str = "system"


def rules_for(model: str) -> Rules:
    """Give the rules of one of OpenAI's models; unknown names keep the classic behaviour."""
    lacks = frozenset({"top_k"})
    if series := _O_SERIES.match(model):
        stop = frozenset({"stop"}) if int(series[1]) >= 3 else frozenset()
        return Rules(lacks | _SAMPLING | _PENALTIES | stop, system="developer")
    if (gpt := _GPT.match(model)) and int(gpt[1]) >= 5 and not (gpt[3] or "").startswith("chat"):
        version = (int(gpt[1]), int(gpt[2] or 0))
        if version == (5, 0):
            return Rules(lacks | _SAMPLING | _PENALTIES, system="developer")
        return Rules(lacks | _PENALTIES, _SAMPLING, reasons_by_default=version >= (5, 5), system="developer")
    if model.endswith("-search-preview"):
        return Rules(lacks | {"temperature"})
    return Rules(lacks)
