"""What to look for in, and a growing text; out comes where it is, and from where on it may still begin.

A finder keeps no state, so any number of threads may use it. It is given the text that is not decided yet with some
characters before it, and says which part of that is: so text can leave as soon as nothing in it matters any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

import attrs

from promptstream.values.unfinished import looks_behind, unfinished

Span = tuple[int, int]
SLICE = 4096
"""Characters that a finder is given at once beyond those it holds."""


class Finder(Protocol):
    """Find something in a text that grows."""

    @property
    def behind(self) -> int:
        """How many characters before a place must be there for the place to be judged."""

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """Give the first span from *start* on, or None, and the place before which no other can begin.

        *whole* says that nothing follows *text*; *offset* is how many characters came before it, all in all. A span
        that may change with what follows is not given yet.
        """


def spans(finder: Finder, text: str, *, within: bool = False) -> Iterator[Span]:
    """Give every span of a whole text, in order; none begins *within* another, or those too."""
    place, base, window = 0, 0, text[:SLICE]
    while True:
        end = base + len(window)
        found, decided = finder.find(window, place - base, end == len(text), base)
        if found is not None:
            yield found[0] + base, found[1] + base
            place = base + found[0] + 1 if within else max(found[1] + base, place + 1)
        else:
            place = max(place, decided + base)
        if found is None and end == len(text):
            return
        if found is None:
            base = max(0, place - finder.behind)
            window = text[base : end + max(SLICE, end - place)]


def ending(finder: Finder, text: str, start: int, offset: int = 0) -> int | None:
    """Give where a span begins, from *start* on, that is one if *text* ends here; spans before it may be left out.

    A finder with a method ``ending(text, start)`` is asked for it; with any other one the text is searched.
    """
    own = getattr(finder, "ending", None)
    if own is not None:
        place: int | None = own(text, start)
        return place
    span, _ = finder.find(text, start, True, offset)
    return None if span is None else span[0]


@attrs.frozen(eq=False)
class Pattern:
    """Find what a regular expression matches, empty matches apart.

    What may be the beginning of a match is undecided; a pattern that refers to its own groups is so up to the end.
    """

    pattern: re.Pattern[str]
    accept: Callable[[re.Match[str]], int | None] | None = None
    """Say where in a match it really ends, or None where it is none."""
    longest: int | None = None
    """A text longer than this that may still become a match is taken for one."""
    behind: int = attrs.field(init=False)
    _unfinished: re.Pattern[str] | None = attrs.field(init=False, repr=False)

    @behind.default
    def _looks_behind(self) -> int:
        return looks_behind(self.pattern)

    @_unfinished.default
    def _beginning(self) -> re.Pattern[str] | None:
        return unfinished(self.pattern)

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """See :class:`Finder`."""
        undecided = len(text)
        if not whole:
            begun = self._unfinished.search(text, start) if self._unfinished else None
            undecided = begun.start() if begun else undecided if self._unfinished else start
        place = start
        while (match := self.pattern.search(text, place)) and match.start() < undecided:
            end = self.accept(match) if self.accept else match.end()
            if end is not None and end > match.start():
                return (match.start(), end), undecided
            place = match.start() + 1
        if self.longest is not None and len(text) - undecided > self.longest:
            return (undecided, len(text)), undecided
        return None, undecided


@attrs.frozen(eq=False)
class Limit:
    """Find what goes beyond a number of characters."""

    most: int
    reason: str = attrs.field()
    """What is wrong with a text that goes beyond."""
    behind: int = 0

    @reason.default
    def _longer(self) -> str:
        return f"is longer than {self.most} characters"

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """See :class:`Finder`."""
        end = max(self.most - offset, start)
        return ((end, len(text)), end) if len(text) > end else (None, len(text))

    def ending(self, text: str, start: int) -> int | None:
        """See :func:`ending`: a text that may go on may end."""
        return None


@attrs.frozen(eq=False)
class AnyOf:
    """Find what any of several finders does."""

    finders: tuple[Finder, ...]
    behind: int = attrs.field(init=False)

    @behind.default
    def _most(self) -> int:
        return max(each.behind for each in self.finders)

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """See :class:`Finder`."""
        found = [each.find(text, start, whole, offset) for each in self.finders]
        return min((span for span, _ in found if span), default=None), min(place for _, place in found)

    def ending(self, text: str, start: int) -> int | None:
        """See :func:`ending`."""
        places = [ending(each, text, start) for each in self.finders]
        return min((each for each in places if each is not None), default=None)
