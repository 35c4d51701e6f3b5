"""A length of time in words or in Go's writing in, seconds out."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBERS = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(milli|ms|[smhd])")


def seconds_in(text: str) -> float | None:
    """Give the seconds of ``48.9s``, ``6m0s``, ``200ms`` or ``20 seconds``; None where *text* names no time."""
    parts = _NUMBERS.findall(text.lower())
    if not parts:
        return None
    return sum(float(number) * _UNITS[unit.replace("milli", "ms")] for number, unit in parts)
