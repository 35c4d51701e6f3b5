"""A name that is not known in, the nearest known one out."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Give " Did you mean 'x'?" for the known name closest to *name*, or "" where none is close."""
    from difflib import get_close_matches  # only ever needed on the way to an error

    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {found[0]!r}?" if found else ""
