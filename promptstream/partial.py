"""Pieces of a JSON text in, the value so far out: one incremental parse, linear in the text, without recursion."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 64
"""Levels of objects and lists, one within the other."""

_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_TICKS = re.compile(r"`*")
_LANGUAGE = re.compile(r"[A-Za-z0-9_.+-]*")
_HEX = re.compile(r"[0-9a-fA-F]{1,4}")
_FENCE = 3
"""Backticks that make a fence, at the least (CommonMark 0.31, 4.5)."""

_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERALS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}

_DIGITS = "0123456789"
_NUMBER: dict[str, dict[str, str]] = {
    "start": {"-": "minus", "0": "zero"} | dict.fromkeys("123456789", "whole"),
    "minus": {"0": "zero"} | dict.fromkeys("123456789", "whole"),
    "zero": {".": "point", "e": "e", "E": "e"},
    "whole": {".": "point", "e": "e", "E": "e"} | dict.fromkeys(_DIGITS, "whole"),
    "point": dict.fromkeys(_DIGITS, "fraction"),
    "fraction": {"e": "e", "E": "e"} | dict.fromkeys(_DIGITS, "fraction"),
    "e": {"+": "sign", "-": "sign"} | dict.fromkeys(_DIGITS, "exponent"),
    "sign": dict.fromkeys(_DIGITS, "exponent"),
    "exponent": dict.fromkeys(_DIGITS, "exponent"),
}
"""Where a number stands, and by which character it goes where (RFC 8259, section 6)."""
_WHOLE = ("zero", "whole")
_ENDS = (*_WHOLE, "fraction", "exponent")


class PartialJSON:
    """Read JSON as it is written. Fed and read in one thread.

    White space and a Markdown fence around the text are passed over. What is not JSON sets ``problem``; nothing raises.
    The text is read strictly (RFC 8259: no NaN, no comma at an end), into what ``json.loads`` gives.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        """Why the text cannot become JSON any more, and where; the value stays what was read till then."""
        self._root: Any = None
        self._open: list[Any] = []
        """The objects and lists that are not closed, outermost first."""
        self._keys: list[str] = []
        """For each of them that is an object: the key that is read, or was read last."""
        self._pieces: list[str] = []
        """Of the string that is read."""
        self._in_key = False
        self._high = ""
        """The first half of a surrogate pair that was escaped, until its other half comes (RFC 8259, section 7)."""
        self._held = ""
        """The characters so far of an escape, a number, a literal or a fence."""
        self._number: list[str] = []
        self._where = "start"
        """Where the number stands."""
        self._fenced = False
        self._read = 0
        """Characters fed before this piece."""
        self._step: Callable[[PartialJSON, str, int], int] = PartialJSON._begin

    @property
    def value(self) -> Any:
        """The value so far: a live object, the same one each time, which grows; copy what is to stay as it is.

        Objects and lists are there as soon as they begin, strings as far as they are read but for an escape that is
        not whole, numbers and literals once they are certain, keys once something of their value is there. So it only
        grows: strings get longer, lists and objects get more, and nothing else changes unless a key comes twice. None
        where nothing is known yet. Not to be changed before the text is complete. Costs a copy of the string that is
        read at most.
        """
        if self._step in _IN_STRING and not self._in_key:
            self._set(self._joined())
        return self._root

    @property
    def complete(self) -> bool:
        """True once the value is whole, and while nothing came after it that does not belong there."""
        return self._step in _AFTER and self.problem is None

    def feed(self, text: str) -> None:
        """Take the next piece of the text, cut anywhere. After a problem it is ignored."""
        at, end = 0, len(text)
        while at < end and self.problem is None:
            at = self._step(self, text, at)
        self._read += end

    def end(self) -> None:
        """Say that no more comes: a number by itself is certain then, and what is not whole is a problem."""
        if self.problem is None and self._step is PartialJSON._digits and not self._open:
            self._end_number("", 0)
        if self.problem is None and not self.complete:
            self.problem = f"The text ends at character {self._read}, before its JSON does."

    def _fail(self, text: str, at: int, wanted: str) -> int:
        found = f", not {text[at]!r}" if at < len(text) else ""
        self.problem = f"Character {self._read + at}: {wanted} is expected{found}."
        return at

    # Around the value

    def _begin(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at < len(text):
            self._step = PartialJSON._opening if text[at] == "`" else PartialJSON._any
        return at

    def _opening(self, text: str, at: int) -> int:
        at = self._ticks(text, at)
        if at < len(text) and self.problem is None:
            self._held, self._fenced, self._step = "", True, PartialJSON._language
        return at

    def _language(self, text: str, at: int) -> int:
        at = _end_of(_LANGUAGE, text, at)
        if at < len(text):
            self._step = PartialJSON._any
        return at

    def _closing(self, text: str, at: int) -> int:
        at = self._ticks(text, at)
        if at < len(text) and self.problem is None:
            self._step = PartialJSON._nothing
        return at

    def _ticks(self, text: str, at: int) -> int:
        """Pass over backticks; a fence has enough of them."""
        end = _end_of(_TICKS, text, at)
        self._held = (self._held + text[at:end])[:_FENCE]
        if end < len(text) and len(self._held) < _FENCE:
            return self._fail(text, end, "a backtick")
        return end

    def _after(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at < len(text) and text[at] == "`" and self._fenced:
            self._step = PartialJSON._closing
            return at
        return self._nothing(text, at)

    def _nothing(self, text: str, at: int) -> int:
        at = _skip(text, at)
        return at if at == len(text) else self._fail(text, at, "the end")

    # Values

    def _any(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at == len(text):
            return at
        first = text[at]
        if first == '"':
            self._place("")
            self._in_key, self._step = False, PartialJSON._string
        elif first == "{":
            return self._enter({}, PartialJSON._first_key, text, at)
        elif first == "[":
            return self._enter([], PartialJSON._first_item, text, at)
        elif first in _LITERALS:
            self._held, self._step = first, PartialJSON._literal
        elif first in _NUMBER["start"]:
            self._where, self._step = "start", PartialJSON._digits
            return at
        else:
            return self._fail(text, at, "a value")
        return at + 1

    def _enter(self, value: Any, step: Callable[[PartialJSON, str, int], int], text: str, at: int) -> int:
        if len(self._open) == MAX_DEPTH:
            self.problem = f"Character {self._read + at}: this is nested deeper than {MAX_DEPTH} levels."
            return at
        self._place(value)
        self._open.append(value)
        self._keys.append("")
        self._step = step
        return at + 1

    def _place(self, value: Any) -> None:
        """Put a value where it belongs, for the first time."""
        if self._open and isinstance(self._open[-1], list):
            self._open[-1].append(value)
        else:
            self._set(value)

    def _set(self, value: Any) -> None:
        """Put a value where it belongs, in place of what was there of it."""
        if not self._open:
            self._root = value
        else:
            self._open[-1][-1 if isinstance(self._open[-1], list) else self._keys[-1]] = value

    def _whole(self) -> None:
        self._step = PartialJSON._next if self._open else PartialJSON._after

    def _leave(self, at: int) -> int:
        self._open.pop()
        self._keys.pop()
        self._whole()
        return at + 1

    def _first_item(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at < len(text):
            if text[at] == "]":
                return self._leave(at)
            self._step = PartialJSON._any
        return at

    def _first_key(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at < len(text) and text[at] == "}":
            return self._leave(at)
        return self._key(text, at)

    def _key(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at == len(text):
            return at
        if text[at] != '"':
            return self._fail(text, at, "a key in double quotes")
        self._in_key, self._step = True, PartialJSON._string
        return at + 1

    def _colon(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at == len(text):
            return at
        if text[at] != ":":
            return self._fail(text, at, "':'")
        self._step = PartialJSON._any
        return at + 1

    def _next(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at == len(text):
            return at
        is_list = isinstance(self._open[-1], list)
        if text[at] == ("]" if is_list else "}"):
            return self._leave(at)
        if text[at] != ",":
            return self._fail(text, at, "',' or ']'" if is_list else "',' or '}'")
        self._step = PartialJSON._any if is_list else PartialJSON._key
        return at + 1

    # Strings

    def _string(self, text: str, at: int) -> int:
        end = _end_of(_PLAIN, text, at)
        if end > at:
            self._add(text[at:end])
        if end == len(text):
            return end
        if text[end] == "\\":
            self._step = PartialJSON._escape
        elif text[end] == '"':
            self._end_string()
        else:
            return self._fail(text, end, "an escape")
        return end + 1

    def _escape(self, text: str, at: int) -> int:
        if text[at] == "u":
            self._held, self._step = "", PartialJSON._hex
        elif text[at] in _ESCAPES:
            self._add(_ESCAPES[text[at]])
            self._step = PartialJSON._string
        else:
            return self._fail(text, at, "one of \" \\ / b f n r t u after '\\'")
        return at + 1

    def _hex(self, text: str, at: int) -> int:
        found = _HEX.match(text, at, at + 4 - len(self._held))
        if found is None:
            return self._fail(text, at, "a hexadecimal digit")
        self._held += found[0]
        if len(self._held) == 4:
            self._add_unit(chr(int(self._held, 16)))
            self._step = PartialJSON._string
        return found.end()

    def _add_unit(self, unit: str) -> None:
        """Add what an escape of four digits stands for; two of them may make one character."""
        if "\ud800" <= unit <= "\udbff":
            self._add("")
            self._high = unit
        elif self._high and "\udc00" <= unit <= "\udfff":
            pair, self._high = self._high + unit, ""
            self._add(pair.encode("utf-16-le", "surrogatepass").decode("utf-16-le"))
        else:
            self._add(unit)

    def _add(self, text: str) -> None:
        if self._high:
            self._pieces.append(self._high)
            self._high = ""
        self._pieces.append(text)

    def _joined(self) -> str:
        """Give the string so far, and keep it joined: reading it again costs nothing, adding to it one copy."""
        if len(self._pieces) != 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def _end_string(self) -> None:
        self._add("")
        text, self._pieces = self._joined(), []
        if self._in_key:
            self._keys[-1] = text
            self._step = PartialJSON._colon
        else:
            self._set(text)
            self._whole()

    # Numbers and literals

    def _literal(self, text: str, at: int) -> int:
        word, value = _LITERALS[self._held[0]]
        if text[at] != word[len(self._held)]:
            return self._fail(text, at, repr(word))
        self._held += text[at]
        if self._held == word:
            self._place(value)
            self._whole()
        return at + 1

    def _digits(self, text: str, at: int) -> int:
        start, where = at, self._where
        while at < len(text) and (then := _NUMBER[where].get(text[at])) is not None:
            where = then
            at += 1
        self._number.append(text[start:at])
        self._where = where
        return self._end_number(text, at) if at < len(text) else at

    def _end_number(self, text: str, at: int) -> int:
        if self._where not in _ENDS:
            return self._fail(text, at, "a digit")
        digits, self._number = "".join(self._number), []
        try:
            self._place(int(digits) if self._where in _WHOLE else float(digits))
        except ValueError:  # more digits than Python reads as an integer
            self.problem = f"Character {self._read + at}: the number before it has {len(digits)} digits, too many."
            return at
        self._whole()
        return at


_IN_STRING = (PartialJSON._string, PartialJSON._escape, PartialJSON._hex)
_AFTER = (PartialJSON._after, PartialJSON._closing, PartialJSON._nothing)


def _skip(text: str, at: int) -> int:
    return _end_of(_SPACE, text, at)


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Give where what *pattern* matches ends; it matches nothing, too."""
    found = pattern.match(text, at)
    return found.end() if found else at
