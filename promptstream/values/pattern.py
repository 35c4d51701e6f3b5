"""A regular expression of somebody else's in; out comes it, compiled, or the reason why no text is held against it.

Python's ``re`` tries one way of matching after another, so that a few characters of a pattern can make it run for
years. How many ways there are is worked out beforehand, from the automaton of the pattern, in the manner of Weber
and Seidl ("On the degree of ambiguity of finite automata", 1991).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from warnings import catch_warnings, filterwarnings

if TYPE_CHECKING:
    from promptstream.values.automaton import Automaton, Loop

LONGEST = 10_000
"""Characters that a pattern may have, and that a text held against one is taken to have."""
_MOST_STEPS = 2 * LONGEST**2
_MOST_WAYS = 1000
_EXPONENTIAL = (
    "repeats something that can match the same text in several ways, which may take for ever; let no repetition "
    "stand directly in another, as (a+)+ does, and no two alternatives begin alike"
)
_SLOW = (
    "may take hours on a long text: too many repetitions match the same characters; begin it with ^, leave .* out "
    "at both ends, or bound what is repeated, as .{0,100} does"
)
_COMPLICATED = "is too complicated to tell how long it may take; make it shorter"


class TooComplicated(Exception):
    """The pattern cannot be judged within bounds."""


def compile_bounded(text: str) -> tuple[re.Pattern[str] | None, str]:
    """Give *text* compiled and ``""``, or None and the reason why not, to follow "the pattern".

    ``search`` and ``finditer`` of what it gives end soon on every text of 10,000 characters at most, in some
    10**8 steps at worst; hold it against nothing longer. Any thread may call it.
    """
    pattern, reason, _ = _judged(text)
    return pattern, reason


def worst_steps(text: str) -> int:
    """Bound the steps of the pattern *text*, which compile_bounded takes, on 10,000 characters. Any thread may."""
    return _judged(text)[2]


def steps_on(characters: int, worst: int) -> int:
    """Bound the steps on so many characters of a pattern that takes *worst* on 10,000 of them. Any thread may."""
    return characters * max(1, worst // LONGEST * characters // LONGEST)


@lru_cache(maxsize=256)
def _judged(text: str) -> tuple[re.Pattern[str] | None, str, int]:
    """Give *text* compiled or None, the reason why not, and the steps it takes at worst."""
    if len(text) > LONGEST:
        return None, f"is longer than {LONGEST} characters", 0
    try:
        with catch_warnings():  # [[:alpha:]] is no class of characters here, and re only warns of it
            filterwarnings("error", "Possible (nested )?set ", FutureWarning)
            pattern = re.compile(text)
            reason, steps = _reason(text)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        return None, f"cannot be read by Python's re: {error}", 0
    return (None, reason, 0) if reason else (pattern, "", steps)


def _reason(text: str) -> tuple[str, int]:
    """Say why a pattern that can be compiled may not run, "" where it may, and its steps at worst."""
    if not re.search(r"[*+?{|]", text):
        return "", LONGEST
    from promptstream.values import automaton

    try:
        whole, needed = automaton.read(text)
        if _steps(whole) is None:
            return _EXPONENTIAL, 0
        steps = _steps(needed)
    except TooComplicated:
        return _COMPLICATED, 0
    starts = 1 if needed.anchored else LONGEST
    if steps is None or steps * starts > _MOST_STEPS:
        return _SLOW, 0
    return "", steps * starts


def _steps(part: Automaton) -> int | None:
    """Bound the steps from one place of a text on; None where they grow exponentially with its length."""
    budget = _Budget()
    if part.hopeless or any(_exponential(part, loop, budget) for loop in part.loops):
        return None
    ways, in_loops = _ways(part, budget)
    if ways > _MOST_WAYS:
        return None
    steps = _polynomial(part, budget) * in_loops
    worst = steps
    for inner, often in part.assertions:
        within = _steps(inner)
        if within is None:
            return None
        worst = max(worst, within * steps if often else within)
    return worst


class _Budget:
    """Count the steps of judging one pattern."""

    def __init__(self) -> None:
        self.left = 20_000

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise TooComplicated


def _exponential(part: Automaton, loop: Loop, budget: _Budget) -> bool:
    """Tell whether two different ways lead from one place of the loop to another over the same text."""
    masks, inside = part.masks, range(loop.start, loop.end)
    if any(part.follow[here].get(there, 0) > 1 for here in inside for there in inside if there in part.follow[here]):
        return True
    seen: set[tuple[int, int]] = set()
    todo = [(each, each) for each in inside]
    while todo:
        one, two = todo.pop()
        for first in part.follow[one]:
            for second in part.follow[two]:
                budget.spend()
                if first not in inside or second not in inside or not masks[first] & masks[second]:
                    continue
                if first == second:
                    if one != two:
                        return True
                elif first < second and (first, second) not in seen:
                    seen.add((first, second))
                    todo.append((first, second))
                elif first > second and (second, first) not in seen:
                    seen.add((second, first))
                    todo.append((second, first))
    return False


def _polynomial(part: Automaton, budget: _Budget) -> int:
    """Bound the steps that loops cost: the length of each that can share its text with one before it, multiplied."""
    loops = part.loops
    before = [1] * len(loops)
    for place, loop in enumerate(loops):
        reached = part.reached(loop)
        for later in range(place + 1, len(loops)):
            if loops[later].start in reached:
                shared = min(loop.width, loops[later].width) if _shares(part, loop, loops[later], budget) else 1
                before[later] = max(before[later], before[place] * shared)
    return max((before[place] * loop.width for place, loop in enumerate(loops)), default=1)


def _shares(part: Automaton, one: Loop, two: Loop, budget: _Budget) -> bool:
    """Tell whether some text, repeated, can be parted between the two loops anywhere (Weber and Seidl's IDA)."""
    masks, follow = part.masks, part.follow
    first, second = range(one.start, one.end), range(two.start, two.end)
    if not part.letters(one) & part.letters(two):
        return False
    for p in first:
        for q in second:
            seen = {(p, p, q)}
            todo = [(p, p, q)]
            while todo:
                stays, goes, there = todo.pop()
                for x in follow[stays]:
                    for z in follow[there]:
                        common = masks[x] & masks[z]
                        if x not in first or z not in second or not common:
                            continue
                        for y in follow[goes]:
                            budget.spend()
                            if (x, y, z) == (p, q, q) and common & masks[y]:
                                return True
                            if y < two.end and common & masks[y] and (x, y, z) not in seen:
                                seen.add((x, y, z))
                                todo.append((x, y, z))
    return False


def _ways(part: Automaton, budget: _Budget) -> tuple[int, int]:
    """Give how many ways one text can keep open, going round each loop once: anywhere, and inside of loops."""
    looping = {each for loop in part.loops for each in range(loop.start, loop.end)}
    most, most_looping = 1, 1
    todo: list[dict[int, int]] = [{0: 1}]
    seen: set[frozenset[tuple[int, int]]] = set()
    while todo and most <= _MOST_WAYS:
        by_letter: dict[int, dict[int, int]] = {}
        for here, count in todo.pop().items():
            for there, ways in part.follow[here].items():
                if there <= here or (here, there) in part.back:
                    continue
                mask = part.masks[there]
                while mask:
                    budget.spend()
                    letter = mask & -mask
                    mask ^= letter
                    state = by_letter.setdefault(letter, {})
                    state[there] = state.get(there, 0) + count * ways
        for state in by_letter.values():
            key = frozenset(state.items())
            if key not in seen:
                seen.add(key)
                todo.append(state)
                most = max(most, sum(state.values()))
                most_looping = max(most_looping, sum(count for each, count in state.items() if each in looping))
    return most, most_looping
