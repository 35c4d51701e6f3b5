"""A key in, the same key out for the wire alone: it never prints."""

from __future__ import annotations

from typing import Any

MASK = "[key]"
_SHORTEST = 6


class Secret(str):
    """A string that shows itself as ``[key]`` wherever it is printed, formatted, logged or pickled.

    Only explicit operations on its characters (``+``, ``encode``) give the real text,
    so a traceback with local variables or a repr of headers does not leak it.
    """

    __slots__ = ()

    def __new__(cls, text: str = "") -> Secret:  # noqa: D102
        # str() of a secret is its mask; only a slice of it gives the characters.
        return super().__new__(cls, text[:])

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, (MASK,))

    def prefixed(self, prefix: str) -> Secret:
        """Give the secret with *prefix* in front, still secret: ``Bearer …``."""
        return Secret(str.__add__(prefix, self))

    def scrub(self, text: str) -> str:
        """Replace every occurrence of the secret in *text* by ``[key]``; a toy of a few letters stays."""
        return str.replace(text, self, MASK) if len(self) >= _SHORTEST else text
