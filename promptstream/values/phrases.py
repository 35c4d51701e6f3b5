"""Phrases in, a finder out: what it costs hardly depends on how many there are.

They are sorted, forwards and backwards, so that a few look-ups at the beginning of a word tell whether one of them may
begin there, and a few at the end of a text whether one of them ends there.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from promptstream.values.finder import Span
from promptstream.values.folding import Folded, belongs, fold, of_word, word_goes_on

_KEY = 4
"""Symbols by which phrases are looked up."""
_NEAR = 256
"""Characters that are folded at first: most spans are near."""
_TAIL = 24


def unusable(phrase: str) -> str:
    """Say why a phrase cannot be looked for, or ""."""
    symbols = fold(phrase).text
    if not symbols.strip():
        return "holds nothing but white space and what is invisible"
    return "begins with a combining mark, which is a part of the letter before it" if belongs(symbols[0]) else ""


class Phrases:
    """Find any of *phrases*, in every spelling that :func:`promptstream.values.folding.fold` makes the same.

    With *words*, only where a phrase is not part of a longer word; a script without spaces has no such places. None
    ends between a letter and its marks. Any thread may use it.
    """

    behind = 1

    def __init__(self, phrases: Iterable[str], *, words: bool = True) -> None:
        folded = {fold(each).text for each in phrases}
        self._words = words
        self._count = len(folded)
        self._forwards = _Sorted(folded)
        self._backwards = _Sorted({each[::-1] for each in folded})
        firsts = {each[0] for each in folded}
        self._anywhere = re.compile(_any_of(firsts))
        inner = _any_of({each for each in firsts if of_word(each)}) if words else "(?!)"
        outer = _any_of({each for each in firsts if not (words and of_word(each))})
        self._at_words = re.compile(rf"(?<![a-z0-9_]){inner}|{outer}")

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """See :class:`promptstream.values.finder.Finder`."""
        end = start + _NEAR
        while True:
            last = end >= len(text)
            span, decided = self._find(text[start:end], text[start - 1 : start] if start else "", whole and last)
            if span is not None:
                return (span[0] + start, span[1] + start), decided + start
            start += decided
            if last:
                return None, start
            end += max(_NEAR, end - start)

    def ending(self, text: str, start: int) -> int | None:
        """Give where in *text*, from *start* on, the longest phrase begins with which it ends."""
        for begin in (max(start, len(text) - _TAIL), start):
            folded = fold(text[begin:])
            backwards = folded.text[::-1]
            if begin > start and (belongs(folded.text[:1]) or self._backwards.begins(backwards)):
                continue  # a phrase may begin before, or the marks of a letter do
            before, end = text[begin - 1 : begin] if begin else "", len(backwards)
            for length in self._backwards.at(backwards, 0):
                if self._may_begin(folded, end - length, before):
                    return folded.span(end - length, end)[0] + begin
            break
        return None

    def missing(self, text: str) -> bool:
        """Tell whether a whole text lacks any of the phrases."""
        folded = fold(text)
        found = {
            folded.text[place:end]
            for match in self._starts(folded)
            if self._may_begin(folded, place := match.start(), "")
            for end in self._ends(folded, place)
        }
        return len(found) < self._count

    def _find(self, text: str, before: str, whole: bool) -> tuple[Span | None, int]:
        """Find the first phrase in *text*, which follows the character *before*."""
        folded = fold(text)
        symbols = folded.text
        known = len(symbols)  # more marks may follow the last letter, and come before those that are there
        while known and not symbols.isascii() and belongs(symbols[known - 1]):
            known -= 1
        for match in self._starts(folded):
            place = match.start()
            if not self._may_begin(folded, place, before):
                continue
            if not whole and self._forwards.begins(symbols[place:known]):
                return None, folded.span(place, place + 1)[0]
            for end in self._ends(folded, place):
                span = folded.span(place, end)
                return span, span[0]
        return None, len(text)

    def _starts(self, folded: Folded) -> Iterator[re.Match[str]]:
        return (self._at_words if folded.starts is None else self._anywhere).finditer(folded.text)

    def _may_begin(self, folded: Folded, place: int, before: str) -> bool:
        if not self._words or not of_word(folded.text[place]):
            return True
        if place == 0:
            return not (before and folded.span(0, 1)[0] == 0 and word_goes_on(before))
        return not (folded.touch(place) and of_word(folded.text[place - 1]))

    def _may_end(self, folded: Folded, place: int) -> bool:
        symbols = folded.text
        if place == len(symbols) or not folded.touch(place):
            return True
        if belongs(symbols[place]):
            return False
        return not (self._words and of_word(symbols[place - 1]) and of_word(symbols[place]))

    def _ends(self, folded: Folded, place: int) -> Iterator[int]:
        """Give where phrases end that begin at *place*, the longest first."""
        for length in self._forwards.at(folded.text, place):
            if self._may_end(folded, place + length):
                yield place + length


class _Sorted:
    """Hold texts in order, each with the longest other one that it begins with.

    The last of them that is not after a given text has all those for beginnings that the given text has.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = sorted(texts)
        self._longest = max(map(len, self._texts))
        self._heads = frozenset(each[:_KEY] for each in self._texts)
        self._sizes = sorted({len(each) for each in self._heads})
        self._shorter: list[int] = []
        """The place of the longest other text that each begins with, or -1."""
        for place, each in enumerate(self._texts):
            at = place - 1
            while at >= 0 and not each.startswith(self._texts[at]):
                at = self._shorter[at]
            self._shorter.append(at)

    def may_begin(self, symbols: str, place: int) -> bool:
        """Tell, fast, whether one of the texts may stand at *place*."""
        return any(symbols[place : place + size] in self._heads for size in self._sizes)

    def begins(self, symbols: str) -> bool:
        """Tell whether one of the texts begins with *symbols*, or is they."""
        if len(symbols) > self._longest:
            return False
        at = bisect_left(self._texts, symbols)
        return at < len(self._texts) and self._texts[at].startswith(symbols)

    def at(self, symbols: str, place: int) -> Iterator[int]:
        """Give the lengths of the texts that stand at *place*, the longest first."""
        if not self.may_begin(symbols, place):
            return
        given = symbols[place : place + self._longest]
        at = bisect_right(self._texts, given) - 1
        while at >= 0:
            if given.startswith(self._texts[at]):
                yield len(self._texts[at])
            at = self._shorter[at]


def _any_of(characters: set[str]) -> str:
    return f"[{''.join(map(re.escape, sorted(characters)))}]" if characters else "(?!)"
