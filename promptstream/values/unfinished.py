"""A regular expression in, one out that matches its beginnings at the end of a text: what may still become a match.

It is made from the tree that ``re`` parses. It matches at least every beginning, at times more, so that whoever waits
for what it finds waits long enough.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

_parser = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")
_LONGEST = 50_000
_END = r"\Z"
_NEVER = "(?!)"
_PLACES = {
    "AT_BEGINNING": "^",
    "AT_BEGINNING_STRING": r"\A",
    "AT_BOUNDARY": r"\b",
    "AT_NON_BOUNDARY": r"\B",
    "AT_END": "$",
    "AT_END_STRING": r"\Z",
}
_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_FLAGS = ((re.ASCII, "a"), (re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s"), (re.UNICODE, "u"))


class _Unknown(Exception):
    """The pattern holds something whose beginnings no other pattern can tell, such as a reference to a group."""


def unfinished(pattern: re.Pattern[str]) -> re.Pattern[str] | None:
    """Give what finds, at the end of a text, where a match of *pattern* may have begun; None where that is unknown."""
    try:
        source = _beginnings(_tree(pattern))
        if len(source) > _LONGEST:
            return None
        return re.compile(source, pattern.flags & ~(re.VERBOSE | re.DEBUG))
    except (_Unknown, re.error, RecursionError, OverflowError):
        return None


def looks_behind(pattern: re.Pattern[str]) -> int:
    """Bound how many characters before its beginning a match of *pattern* depends on."""
    return 1 + sum(_behind(_tree(pattern)))


def shortest(pattern: re.Pattern[str]) -> int:
    """Give the length of the shortest text that *pattern* may match."""
    return int(_tree(pattern).getwidth()[0])


def _tree(pattern: re.Pattern[str]) -> Any:
    return _parser.parse(pattern.pattern, pattern.flags)


def _behind(items: Any) -> Iterable[int]:
    for name, given in _named(items):
        if name in ("ASSERT", "ASSERT_NOT") and given[0] < 0:
            yield given[1].getwidth()[1]
        for inner in _inside(name, given):
            yield from _behind(inner)


def _named(items: Any) -> list[tuple[str, Any]]:
    return [(str(op), given) for op, given in items]


def _inside(name: str, given: Any) -> Iterable[Any]:
    """Give the trees within one item."""
    if name == "BRANCH":
        return list(given[1])
    if name == "ATOMIC_GROUP":
        return [given]
    if name in _REPEATS or name in ("SUBPATTERN", "ASSERT", "ASSERT_NOT"):
        return [given[-1]]
    return []


def _beginnings(items: Any) -> str:
    """Write what matches each beginning of the items, the end of the text in the middle of one of them."""
    ways, before = [], ""
    for name, given in _named(items):
        ways.append(before + _cut(name, given))
        before += _whole(name, given)
    return f"(?:{'|'.join(ways)})" if ways else _NEVER


def _cut(name: str, given: Any) -> str:
    """Write what matches one item as far as it goes where the text ends within it."""
    if name == "AT":
        return {"AT_BEGINNING": _NEVER, "AT_BEGINNING_STRING": _NEVER, "AT_END": r"\n?\Z"}.get(str(given), _END)
    if name == "FAILURE" or (name in ("ASSERT", "ASSERT_NOT") and given[0] < 0):
        return _NEVER  # what came before is known
    if name in _REPEATS:
        most = given[1]
        if most == 0:
            return _NEVER
        times = "*" if most is _parser.MAXREPEAT else f"{{0,{most - 1}}}"
        return f"(?:{_written(given[2])}){times}{_beginnings(given[2])}"
    if name == "SUBPATTERN":
        return f"(?{_switched(given)}:{_beginnings(given[3])})"
    inner = [_beginnings(each) for each in _inside(name, given)]
    return f"(?:{'|'.join(inner)})" if inner else _END


def _written(items: Any) -> str:
    return "".join(_whole(name, given) for name, given in _named(items))


def _whole(name: str, given: Any) -> str:
    """Write one item as a pattern again; groups lose their numbers and names."""
    if name == "LITERAL":
        return _character(given)
    if name == "NOT_LITERAL":
        return f"[^{_character(given)}]"
    if name == "ANY":
        return "."
    if name == "IN":
        return _set(given)
    if name == "AT":
        return _PLACES[str(given)]
    if name == "FAILURE":
        return _NEVER
    if name == "BRANCH":
        return f"(?:{'|'.join(map(_written, given[1]))})"
    if name == "SUBPATTERN":
        return f"(?{_switched(given)}:{_written(given[3])})"
    if name == "ATOMIC_GROUP":
        return f"(?:{_written(given)})"
    if name in _REPEATS:
        most = "" if given[1] is _parser.MAXREPEAT else given[1]
        return f"(?:{_written(given[2])}){{{given[0]},{most}}}"
    if name in ("ASSERT", "ASSERT_NOT"):
        sign = ("<" if given[0] < 0 else "") + ("=" if name == "ASSERT" else "!")
        return f"(?{sign}{_written(given[1])})"
    raise _Unknown(name)


def _character(code: int) -> str:
    return f"\\U{code:08x}"


def _set(items: Any) -> str:
    written = ""
    for name, given in _named(items):
        if name == "NEGATE":
            written += "^"
        elif name == "LITERAL":
            written += _character(given)
        elif name == "RANGE":
            written += f"{_character(given[0])}-{_character(given[1])}"
        elif name == "CATEGORY":
            written += _CATEGORIES[str(given)]
        else:
            raise _Unknown(name)
    return f"[{written}]"


def _switched(given: Any) -> str:
    """Write the flags that a group switches on and off."""
    on = "".join(letter for flag, letter in _FLAGS if given[1] & flag)
    off = "".join(letter for flag, letter in _FLAGS if given[2] & flag)
    return f"{on}-{off}" if off else on
