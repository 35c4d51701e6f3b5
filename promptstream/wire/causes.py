"""A library's exception in, what lies at the bottom of it out."""

from __future__ import annotations

import ssl
from collections.abc import Iterator


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Give *error* and all it was made from: libraries wrap by cause, by context and by argument."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        each = pending.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            pending += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]


def detail(causes: list[BaseException]) -> str:
    """Say in a few words what lies at the bottom of it."""
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "timed out"
    bottom = causes[-1]
    said = "".join([character if character.isprintable() else " " for character in str(bottom)[:200]])
    return f"{type(bottom).__name__}: {said}".rstrip(". :")
