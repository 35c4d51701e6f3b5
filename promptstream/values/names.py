"""A name in: the nearest known one out, or one that a provider takes."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

UNNAMED = "unnamed"
"""In place of a name that a call lacks: none would be refused."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Give " Did you mean 'x'?" for the known name closest to *name*, or "" where none is close."""
    from difflib import get_close_matches  # only ever needed on the way to an error

    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {found[0]!r}?" if found else ""


def called_as(name: str, declared: Container[str]) -> str:
    """Give the *name* that a model called a tool by as every provider takes it in a history.

    A model may call what no tool can be named, and is told so; the request that tells it must not be refused for it.
    A name that is *declared* with the request stays, since whoever takes that takes this; else it gets what is common
    to all: at most 64 ASCII letters, digits, "_" and "-", the first of them no digit (Gemini) and no "-".
    """
    if name in declared:
        return name
    fit = re.sub(r"[^a-zA-Z0-9_-]", "_", name) or UNNAMED
    return (fit if fit[0].isalpha() or fit[0] == "_" else f"_{fit}")[:64]
