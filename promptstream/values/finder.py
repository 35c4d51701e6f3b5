"""What to look for in, and a growing text; out comes where it is, and from where on it may still begin.

A finder keeps no state, so any number of threads may use it. It is given the text that is not decided yet with some
characters before it, and says which part of that is: so text can leave as soon as nothing in it matters any more.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
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


def spans(finder: Finder, text: str) -> Iterator[Span]:
    """Give every span of a whole text, in order; none begins within another."""
    place, base, window = 0, 0, text[:SLICE]
    while True:
        end = base + len(window)
        found, decided = finder.find(window, place - base, end == len(text), base)
        if found is not None:
            yield found[0] + base, found[1] + base
            place = max(found[1] + base, place + 1)
        else:
            place = max(place, decided + base)
        if found is None and end == len(text):
            return
        if found is None:
            base = max(0, place - finder.behind)
            window = text[base : end + max(SLICE, end - place)]


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
    behind: int = 0

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """See :class:`Finder`."""
        end = max(self.most - offset, start)
        return ((end, len(text)), end) if len(text) > end else (None, len(text))


class Phrases:
    """Find any of *phrases*, whatever the case of their letters (Unicode's full case folding, and the Turkish i's).

    With *words*, only where a phrase is not part of a longer word.
    """

    behind = 1

    def __init__(self, phrases: Iterable[str], *, words: bool = True) -> None:
        given = tuple(phrases)
        self._plain = _Folded(map(_folded, given), words)
        self._dotless = _Folded(map(_folded_dotless, given), words)

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """See :class:`Finder`."""
        found, undecided = self._plain.find(text, start, whole, _folded)
        if "\u0130" in text or "\u0131" in text:  # which are i to some, and letters of their own to others
            other, place = self._dotless.find(text, start, whole, _folded_dotless)
            found, undecided = min(filter(None, (found, other)), default=None), min(undecided, place)
            found = found if found and found[0] < undecided else None
        return found, undecided


def _folded(text: str) -> str:
    return text.casefold()


def _folded_dotless(text: str) -> str:
    return text.translate({0x130: "i", 0x131: "i"}).casefold()


class _Folded:
    """Hold phrases in one folding, and find them in a text that is folded in the same way."""

    def __init__(self, phrases: Iterable[str], words: bool) -> None:
        self._sorted = sorted(set(phrases))
        self._words = words
        self._longest = max(map(len, self._sorted))
        first = f"[{''.join(re.escape(each) for each in sorted({phrase[0] for phrase in self._sorted}))}]"
        by_length = sorted(self._sorted, key=len, reverse=True)
        self._first = re.compile(first)
        self._any = re.compile(f"(?={first})(?:{'|'.join(map(self._bounded, by_length))})")

    def _bounded(self, phrase: str) -> str:
        before = r"(?<!\w)" if self._words and _of_word(phrase[0]) else ""
        after = r"(?!\w)" if self._words and _of_word(phrase[-1]) else ""
        return before + re.escape(phrase) + after

    def find(self, text: str, start: int, whole: bool, fold: Callable[[str], str]) -> tuple[Span | None, int]:
        """See :class:`Finder`; *fold* is the folding of the phrases."""
        folded = fold(text)
        ends = None if len(folded) == len(text) else list(accumulate(len(fold(each)) for each in text))
        begin = start if ends is None else ends[start - 1] if start else 0
        undecided = len(folded) if whole else self._begun(folded, begin)
        match = self._any.search(folded, begin)
        span = match.span() if match and match.start() < undecided else None
        if ends is None:
            return span, undecided
        place = len(text) if undecided == len(folded) else _holder(ends, undecided)
        if span is not None:
            span = _holder(ends, span[0]), _holder(ends, span[1] - 1) + 1
        return (span if span and span[0] < place else None), place

    def _begun(self, folded: str, start: int) -> int:
        """Give the first place from which the rest of the text may be the beginning of a phrase, or its end."""
        end = len(folded)
        for match in self._first.finditer(folded, max(start, end - self._longest)):
            place = match.start()
            rest = folded[place:]
            at = bisect_left(self._sorted, rest)
            if at == len(self._sorted) or not self._sorted[at].startswith(rest):
                continue
            if self._words and place and _of_word(rest[0]) and _of_word(folded[place - 1]):
                continue
            is_last = at + 1 == len(self._sorted) or not self._sorted[at + 1].startswith(rest)
            if self._sorted[at] == rest and is_last and not (self._words and _of_word(rest[-1])):
                continue
            return place
        return end


def _of_word(character: str) -> bool:
    """Tell what ``\\w`` tells."""
    return character.isalnum() or character == "_"


def _holder(ends: list[int], place: int) -> int:
    """Give the character of the text whose folding holds *place*."""
    return bisect_right(ends, place)
