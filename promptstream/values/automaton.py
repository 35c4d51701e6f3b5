"""A regular expression goes in; out comes the automaton of its characters: which can come after which, how many ways.

It is Glushkov's, one state for each character of the pattern, made from the tree that ``re`` parses. It matches at
least what the pattern does: anchors are left out, and what is repeated more than eight times may repeat for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import attrs

from promptstream.values.pattern import LONGEST, TooComplicated

_COPIES = 8
_EXACT_COPIES = 64
_MOST_STATES = 10_000
_MOST_EDGES = 100_000
# What stands for all characters, next to those that the pattern names.
_SAMPLES = tuple(map(chr, range(128))) + tuple(
    "\x85\xa0\xb2\xdf\xe9\u0130\u017f\u0663\u2028\u212a\u3000\u4e2d\U0001f600"
)
_SETS = ("LITERAL", "NOT_LITERAL", "ANY", "IN", "RANGE", "CATEGORY")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")

Items = Sequence[tuple[Any, Any]]


@attrs.frozen
class Loop:
    """Hold an outermost repetition: the states from *start* to below *end*, and the most characters it matches."""

    start: int
    end: int
    width: int


@attrs.define(eq=False)
class Automaton:
    """Hold the states of a pattern, state 0 being its start."""

    anchored: bool = False
    """It can match at the beginning of the text only."""
    hopeless: bool = False
    """Something that can match nothing is repeated."""
    masks: list[int] = attrs.Factory(lambda: [0])
    """Of each state the characters that lead into it, a bit for each class of characters."""
    follow: list[dict[int, int]] = attrs.Factory(lambda: [{}])
    """Of each state those that can come next, and in how many ways."""
    back: set[tuple[int, int]] = attrs.Factory(set)
    """The steps that begin a repetition anew."""
    loops: list[Loop] = attrs.Factory(list)
    """In the order of their states."""
    assertions: list[tuple[Automaton, bool]] = attrs.Factory(list)
    """What must come next or have come before, and whether that is asked often: in or after a loop."""

    def letters(self, loop: Loop) -> int:
        """Give the characters that the loop can read."""
        found = 0
        for each in range(loop.start, loop.end):
            found |= self.masks[each]
        return found

    def reached(self, loop: Loop) -> set[int]:
        """Give the states that can come after the loop's first one."""
        seen = {loop.start}
        todo = [loop.start]
        while todo:
            for each in self.follow[todo.pop()]:
                if each not in seen:
                    seen.add(each)
                    todo.append(each)
        return seen


def read(text: str) -> tuple[Automaton, Automaton]:
    """Give the automaton of *text*, which ``re`` can compile: the whole one, and as far as ``search`` goes through it.

    Raises:
        TooComplicated: it has too many states.
    """
    try:
        parser = import_module("re._parser")
    except ImportError:  # before Python 3.11
        parser = import_module("sre_parse")
    tree = parser.parse(text)
    builder = _Builder(tree.state.groupwidths, text, tree.state.flags)
    whole, needed = builder.build(list(tree)), builder.build(_without_tail(list(tree)))
    whole.anchored = needed.anchored = _anchored(tree, bool(tree.state.flags & re.MULTILINE))
    return whole, needed


@attrs.frozen
class _Piece:
    """Say of a part of the pattern how it begins and ends."""

    empty: int
    """The ways in which it matches nothing."""
    first: dict[int, int]
    last: dict[int, int]
    width: int


_NOTHING = _Piece(1, {}, {}, 0)


class _Builder:
    def __init__(self, group_widths: Sequence[Any], text: str, flags: int) -> None:
        self.group_widths = group_widths
        # An inline flag for a part counts for all: it can only make more of the characters alike.
        self._any_case = bool(flags & re.IGNORECASE) or re.search(r"\(\?[a-zA-Z]*i", text) is not None
        self._dot_all = bool(flags & re.DOTALL) or re.search(r"\(\?[a-zA-Z]*s", text) is not None

    def build(self, items: Items) -> Automaton:
        """Make an automaton of its own for *items*."""
        part = _Part(self)
        piece = part.sequence(items)
        part.made.follow[0] = dict(piece.first)
        part.made.masks = [0, *self._masks(part.sets)]
        return part.made

    def _masks(self, sets: Sequence[Items]) -> list[int]:
        """Give each set of characters as bits, one for all characters that no set tells apart."""
        samples = dict.fromkeys(_SAMPLES)
        for each in sets:
            samples.update(dict.fromkeys(_edges(each)))
        known: dict[str, list[bool]] = {}
        for each in sets:
            if str(each) not in known:
                known[str(each)] = [self._holds(each, character) for character in samples]
        # Of all characters that the same sets hold, one is enough.
        classes = set(zip(*known.values(), strict=True))
        bits = {
            name: sum(1 << place for place, held in enumerate(classes) if held[row]) for row, name in enumerate(known)
        }
        return [bits[str(each)] for each in sets]

    def _holds(self, items: Items, character: str) -> bool:
        if not self._any_case:
            return _within(items, character, self._dot_all)
        forms = {character, character.lower()[:1], character.upper()[:1]}
        return any(_within(items, each, self._dot_all) for each in forms)


class _Part:
    """Make the states of one automaton."""

    def __init__(self, builder: _Builder) -> None:
        self.made = Automaton()
        self.sets: list[Items] = []
        self._builder = builder
        self._group_widths = builder.group_widths
        self._depth = 0
        self._edges = 0

    def sequence(self, items: Iterable[tuple[Any, Any]]) -> _Piece:
        done = _NOTHING
        for op, value in items:
            done = self._join(done, self._item(str(op), value))
        return done

    def _item(self, op: str, value: Any) -> _Piece:
        if op in _SETS:
            return self._state(value if op == "IN" else [(op, value)])
        if op in _REPEATS:
            return self._repeat(*value)
        if op == "BRANCH":
            return self._branch([self.sequence(each) for each in value[1]])
        if op == "SUBPATTERN":
            return self.sequence(value[-1])
        if op == "ATOMIC_GROUP":
            return self.sequence(value)
        if op in ("ASSERT", "ASSERT_NOT"):
            often = self._depth > 0 or bool(self.made.loops)
            self.made.assertions.append((self._builder.build(list(value[1])), often))
            return _NOTHING
        if op == "GROUPREF_EXISTS":
            return self._branch([self.sequence(each or ()) for each in value[1:]])
        if op == "GROUPREF":
            return self._again(value)
        return _NOTHING  # an anchor, or what matches nothing at all

    def _again(self, group: int) -> _Piece:
        """Stand for the text of a group: as it is settled by then, it adds no way of its own."""
        low, high = self._group_widths[group] or (0, LONGEST)
        piece = self._state([("ANY_AT_ALL", None)])
        return attrs.evolve(piece, empty=0 if low else 1, width=min(int(high), LONGEST))

    def _state(self, items: Items) -> _Piece:
        place = len(self.made.follow)
        if place > _MOST_STATES:
            raise TooComplicated
        self.made.follow.append({})
        self.sets.append(items)
        return _Piece(0, {place: 1}, {place: 1}, 1)

    def _join(self, one: _Piece, two: _Piece) -> _Piece:
        self._link(one.last, two.first)
        first = _sum(one.first, two.first, one.empty)
        last = _sum(two.last, one.last, two.empty)
        return _Piece(min(one.empty * two.empty, 2), first, last, min(one.width + two.width, LONGEST))

    def _link(self, ends: dict[int, int], starts: dict[int, int]) -> None:
        self._edges += len(ends) * len(starts)
        if self._edges > _MOST_EDGES:
            raise TooComplicated
        for end, ways in ends.items():
            following = self.made.follow[end]
            for start, more in starts.items():
                following[start] = following.get(start, 0) + ways * more

    def _branch(self, pieces: Sequence[_Piece]) -> _Piece:
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for each in pieces:
            first, last = _sum(first, each.first, 1), _sum(last, each.last, 1)
        empty = min(sum(each.empty for each in pieces), 2)
        return _Piece(empty, first, last, max((each.width for each in pieces), default=0))

    def _repeat(self, low: int, high: int, body: Items) -> _Piece:
        single = len(body) == 1 and str(body[0][0]) in _SETS
        if high <= 1 or high <= _COPIES or (single and low == high <= _EXACT_COPIES):
            return self._copies(low, high, body)
        start, outermost = len(self.made.follow), self._depth == 0
        self._depth += 1
        piece = self.sequence(body)
        self._depth -= 1
        self.made.hopeless |= bool(piece.empty)
        self._link(piece.last, piece.first)
        self.made.back.update((end, begin) for end in piece.last for begin in piece.first)
        width = min(piece.width * min(high, LONGEST), LONGEST)
        if outermost and piece.first:
            self.made.loops.append(Loop(start, len(self.made.follow), width))
        return _Piece(0 if low else 1, piece.first, piece.last, width)

    def _copies(self, low: int, high: int, body: Items) -> _Piece:
        """Write a repetition out: xx(x(x)?)? for x{2,4}."""
        rest = _NOTHING
        pieces = [self.sequence(body) for _ in range(high)]
        self.made.hopeless |= high > 1 and any(each.empty for each in pieces)
        for place in range(high - 1, -1, -1):
            rest = self._join(pieces[place], rest)
            if place >= low:
                rest = attrs.evolve(rest, empty=min(rest.empty + 1, 2))
        return rest


def _sum(one: dict[int, int], two: dict[int, int], ways: int) -> dict[int, int]:
    if not ways or not two:
        return one
    made = dict(one)
    for each, count in two.items():
        made[each] = made.get(each, 0) + count * ways
    return made


def _without_tail(items: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Leave out what need not be there at the end: where only that is left, ``search`` has found what it wants."""
    while items:
        op, value = items[-1]
        if str(op) in _REPEATS:
            low, _, body = value
            items = items[:-1]
            if low == 1:
                items += _without_tail(list(body))
            elif low > 1:
                return [*items, (op, (low, low, body))]
            if low:
                return items
        elif str(op) == "SUBPATTERN":
            return [*items[:-1], (op, (*value[:-1], _without_tail(list(value[-1]))))]
        elif str(op) == "BRANCH":
            return [*items[:-1], (op, (None, [_without_tail(list(each)) for each in value[1]]))]
        else:
            break
    return items


def _anchored(items: Iterable[tuple[Any, Any]], lines: bool) -> bool:
    """Tell whether *items* match at the beginning of the text only; with *lines*, ^ is that of any line."""
    for op, value in items:
        if str(op) == "AT":
            if str(value) == "AT_BEGINNING_STRING" or (str(value) == "AT_BEGINNING" and not lines):
                return True
        elif str(op) == "SUBPATTERN":
            return _anchored(value[-1], lines or bool(value[1] & re.MULTILINE))
        elif str(op) == "BRANCH":
            return all(_anchored(each, lines) for each in value[1])
        elif not str(op).startswith("ASSERT"):
            return False
    return False


def _edges(items: Items) -> Iterable[str]:
    """Give the characters at and next to the borders of a set."""
    for op, value in items:
        borders = value if str(op) == "RANGE" else (value,) if str(op) in ("LITERAL", "NOT_LITERAL") else ()
        for border in borders:
            for code in (border - 1, border, border + 1):
                if 0 <= code <= 0x10FFFF:
                    yield chr(code)


def _within(items: Items, character: str, dot_all: bool) -> bool:
    """Tell whether a set has *character*."""
    wanted, code = True, ord(character)
    for op, value in items:
        name = str(op)
        if name == "NEGATE":
            wanted = False
        elif (
            name == "ANY_AT_ALL"
            or (name == "LITERAL" and code == value)
            or (name == "NOT_LITERAL" and code != value)
            or (name == "ANY" and (dot_all or character != "\n"))
            or (name == "RANGE" and value[0] <= code <= value[1])
            or (name == "CATEGORY" and _in_category(str(value), character))
        ):
            return wanted
    return not wanted


def _in_category(name: str, character: str) -> bool:
    kind = name.rpartition("_")[2]
    if kind == "DIGIT":
        found = character.isdecimal()
    elif kind == "SPACE":
        found = character.isspace()
    else:
        found = character.isalnum() or character == "_"
    return found != ("NOT" in name)
