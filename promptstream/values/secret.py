"""A key in, the same key out for the wire alone: it never prints."""

from __future__ import annotations

from os.path import commonprefix
from typing import Any

MASK = "[key]"
_SHORTEST = 4
_BEGINNING = 8


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
        """Replace the secret, and any beginning of it, in *text* by ``[key]``; a toy of a few letters stays."""
        start, rest = self[:_BEGINNING], self[_BEGINNING:]
        if len(start) < _SHORTEST or start not in text:
            return text
        head, *pieces = text.split(start)
        return head + "".join([MASK + piece[len(commonprefix([rest, piece])) :] for piece in pieces])  # noqa: RUF071

    def found_in(self, text: str) -> bool:
        """Tell whether *text* quotes the secret, or the beginning of it."""
        return self.scrub(text) != text
