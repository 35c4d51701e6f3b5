"""A text in, its symbols out, the same for every spelling of it, and where in the text each stands.

Case (Unicode's full case folding), composed and decomposed letters, widths and mathematical letters, kinds and lengths
of white space, invisible characters, the points of Arabic and Hebrew, and the dots of the Turkish i's make no
difference. Each character is folded by itself and each letter's marks are sorted, so that part of a text folds as in
the whole.
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import category, combining, decomposition, normalize

import attrs

_SPACE = re.compile(r"\s")
_SPACES = re.compile(r"\s\s")


def _characters(*ranges: str) -> re.Pattern[str]:
    return re.compile(f"[{''.join(ranges)}]")


# What is not seen: hyphens that may be, joiners, marks of direction, selectors of a variant.
_INVISIBLE = _characters(
    "\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff"
)
# Vowel points and the like, with which a word may be written or without.
_POINTS = _characters("\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u0652\u0670")
# Letters of scripts that put no space between words.
_UNSPACED = _characters(
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaadf",
    "\u3005-\u3007\u3031-\u3035\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff",
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff",
)


@attrs.frozen(eq=False)
class Folded:
    """Hold the symbols of a text."""

    text: str
    starts: list[int] | None = None
    """Where the character of each symbol begins; None where each symbol stands where its character does."""
    ends: list[int] | None = None

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Give where the characters stand whose symbols are those from *first* to before *last*."""
        if self.starts is None or self.ends is None:
            return first, last
        return self.starts[first], self.ends[last - 1]

    def touch(self, place: int) -> bool:
        """Tell whether nothing, not even what is invisible, stands between the symbols around *place*."""
        return self.starts is None or self.ends is None or self.starts[place] <= self.ends[place - 1]


def fold(text: str) -> Folded:
    """Give the symbols of *text*. Any thread may call it."""
    if text.isascii() and not _SPACES.search(text):
        return Folded(_SPACE.sub(" ", text.lower()))
    return _Folding().all(text)


class _Folding:
    """Fold one text."""

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self._marks: list[str] = []
        self._from = self._to = 0

    def all(self, text: str) -> Folded:
        """Give its symbols."""
        known, starts, ends = self.symbols, self.starts, self.ends
        for place, character in enumerate(text):
            symbols, plain = _of(character)
            if self._marks and (plain or symbols in ("", " ")):
                self._sort()
            if plain:
                for symbol in symbols:
                    known.append(symbol)
                    starts.append(place)
                    ends.append(place + 1)
            elif not symbols:
                if ends and ends[-1] == place and _POINTS.match(character):
                    ends[-1] = place + 1
            elif symbols == " ":
                if not (known and known[-1] == " "):
                    self._add(" ", place, place + 1)
            else:
                self._letter(symbols, place)
        self._sort()
        return Folded("".join(known), starts, ends)

    def _add(self, symbol: str, start: int, end: int) -> None:
        self.symbols.append(symbol)
        self.starts.append(start)
        self.ends.append(end)

    def _letter(self, symbols: str, place: int) -> None:
        for symbol in symbols:
            if combining(symbol):
                self._mark(symbol, place)
            else:
                self._sort()
                self._add(symbol, place, place + 1)

    def _mark(self, mark: str, place: int) -> None:
        if not self._marks:
            self._from = place
        self._marks.append(mark)
        self._to = place + 1

    def _sort(self) -> None:
        """Add the marks of a letter in the canonical order (Unicode, section 3.11); an i has no dot of its own."""
        if not self._marks:
            return
        if self.symbols and self.symbols[-1] == "i" and self._from <= self.ends[-1]:
            self._marks = [each for each in self._marks if each != "\u0307"]
            self.ends[-1] = self._to if not self._marks else self.ends[-1]
        for each in sorted(self._marks, key=combining):
            self._add(each, self._from, self._to)
        self._marks = []


@lru_cache(8192)
def _of(character: str) -> tuple[str, bool]:
    """Give the symbols of one character, and whether they are neither white space nor marks."""
    symbols = symbols_of(character)
    return symbols, bool(symbols) and symbols != " " and not any(map(combining, symbols))


def symbols_of(character: str) -> str:
    """Give the symbols of one character: none where it makes no difference."""
    if character.isascii():
        return " " if character.isspace() else character.lower()
    if _INVISIBLE.match(character) or _POINTS.match(character):
        return ""
    if character.isspace():
        return " "
    plain = normalize("NFD", "".join(map(_narrowed, normalize("NFD", character))))
    # The iota below, whose folding is a letter, stays a mark: else folding would depend on the order of the marks.
    folded = "".join(each if each == "\u0345" else each.casefold() for each in plain)
    return normalize("NFD", folded).replace("\u0131", "i")


def _narrowed(character: str) -> str:
    """Give the ordinary character for one that differs in width or typeface only."""
    form, _, code = decomposition(character).partition(" ")
    return chr(int(code, 16)) if form in ("<wide>", "<narrow>", "<font>") else character


@lru_cache(8192)
def of_word(symbol: str) -> bool:
    """Tell whether no word ends next to a symbol, where another such one follows."""
    if _UNSPACED.match(symbol):
        return False
    return symbol.isalnum() or symbol == "_" or belongs(symbol)


@lru_cache(8192)
def belongs(symbol: str) -> bool:
    """Tell whether a symbol is a part of the letter before it: a combining mark, or the rest of a Hangul syllable."""
    return not symbol.isascii() and (category(symbol) in ("Mn", "Mc") or "\u1160" <= symbol <= "\u11ff")


def word_goes_on(character: str) -> bool:
    """Tell whether a word may go on after a character of a text."""
    symbols = symbols_of(character)
    return of_word(symbols[-1]) if symbols else bool(_POINTS.match(character))
