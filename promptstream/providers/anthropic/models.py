"""A Claude model's name in, how it wants to be asked out (platform.claude.com/docs, models and thinking)."""

from __future__ import annotations

import re
from typing import Literal

import attrs

_NAME = re.compile(r"claude-([a-z]+)-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_OLD_NAME = re.compile(r"claude-v?(\d)(?:[-.](\d))?(?:-([a-z]+))?(?!\d)")
_WITHOUT_NUMBER = re.compile(r"claude-(opus|sonnet|fable|mythos)\b")
"""A preview, or an alias of whatever is the newest of its family."""
_LEVELS = ("low", "medium", "high")


@attrs.frozen
class Rules:
    """Say how a model wants to be asked. The defaults are for names that are not known: as little as possible."""

    longest: int = 8_192
    """The most tokens that an answer may have, thoughts included."""
    thinking: Literal["no", "budget", "either", "adaptive"] = "budget"
    """What asks it to think: nothing does, a number of tokens, that or its own measure, its own measure alone."""
    levels: tuple[str, ...] = ()
    """The efforts that it knows."""
    off: Literal["disabled", "between_tools", "never", None] = None
    """What asks it not to think; None where it only thinks when asked, "never" where it always thinks."""
    shows_thoughts: bool = True
    """False where thoughts come without their text unless they are asked for."""
    refused: frozenset[str] = frozenset()
    """Parameters that are left out, with a warning."""
    temperature_or_top_p: bool = False
    """True where the two together are refused."""
    forced_tools: bool = True
    schemas: bool = True


def rules_for(model: str) -> Rules:
    """Give the rules of one of Anthropic's models; later ones than are known here follow the last known."""
    family, version = _read(model)
    if version is None:
        return Rules()
    if version < (3, 7):
        longest = 8_192 if version == (3, 5) else 4_096
        return Rules(longest, "no", schemas=False)
    if version < (4, 6):
        longest = 32_000 if family == "opus" and version < (4, 5) else 64_000
        return Rules(longest, "budget", temperature_or_top_p=version >= (4, 1), schemas=version >= (4, 1))
    if version < (4, 7):
        return Rules(128_000, "either", (*_LEVELS, "max"), temperature_or_top_p=True)
    return Rules(
        128_000,
        "adaptive",
        (*_LEVELS, "xhigh", "max"),
        _off(family, version),
        shows_thoughts=False,
        refused=frozenset({"temperature", "top_p", "top_k"}),
        forced_tools=family not in ("fable", "mythos") and (family not in ("opus", "sonnet") or version < (5, 5)),
    )


def _off(family: str, version: tuple[int, int]) -> Literal["disabled", "between_tools", "never", None]:
    if family in ("fable", "mythos") or (family == "opus" and version >= (5, 5)):
        return "never"
    if version < (5, 0):
        return None
    return "between_tools" if family == "sonnet" and version >= (5, 5) else "disabled"


def _read(model: str) -> tuple[str, tuple[int, int] | None]:
    """Find family and version in a name, also as other clouds write it (``anthropic.claude-opus-4-5-…-v1:0``)."""
    if found := _NAME.search(model):
        return found[1], (int(found[2]), int(found[3] or 0))
    if found := _OLD_NAME.search(model):
        return found[3] or "", (int(found[1]), int(found[2] or 0))
    if found := _WITHOUT_NUMBER.search(model):
        return found[1], (5, 0)
    return "", None
