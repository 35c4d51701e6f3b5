"""A model's text in, piece by piece; the same text without anything that steers a terminal out."""

from __future__ import annotations

import json
import re
from typing import Literal

# C0 except \n and \t, DEL, C1, and the characters that reorder what is read (Unicode's "Trojan Source").
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_UNUSUAL = re.compile("[^\n -~]+")

_Kind = Literal["escape", "csi", "string"]
# As single characters (C1) and after an escape: CSI; and DCS, SOS, OSC, PM and APC, which hold a string.
_INTRODUCERS: dict[str, _Kind] = {"\x1b": "escape", "\x9b": "csi"}
_INTRODUCERS.update(dict.fromkeys("\x90\x98\x9d\x9e\x9f", "string"))
_AFTER_ESCAPE: dict[str, _Kind] = {"[": "csi"}
_AFTER_ESCAPE.update(dict.fromkeys("PX]^_", "string"))
# What a sequence consists of, what ends it, and how long it may get (ECMA-48, sections 5.3 to 5.6).
_BODY: dict[_Kind, re.Pattern[str]] = {
    "escape": re.compile("[ -/]*"),
    "csi": re.compile("[ -?]*"),
    "string": re.compile("[^\x00-\x1f\x7f-\x9f]*"),
}
_END: dict[_Kind, re.Pattern[str]] = {
    "escape": re.compile("[0-~]"),
    "csi": re.compile("[@-~]"),
    "string": re.compile("[\x07\x9c]"),
}
LONGEST: dict[_Kind, int] = {"escape": 16, "csi": 256, "string": 4096}


class Sanitiser:
    """Strip control sequences and control characters, however the text is split into pieces.

    A sequence is taken out whole. One that does not end, or not as it should, loses its introducer
    and shows as plain text: nothing is swallowed. Linear in time; holds at most 4096 characters.
    """

    def __init__(self) -> None:
        self._kind: _Kind | None = None
        self._held = ""

    def feed(self, text: str) -> str:
        """Take a piece and give what of the text so far is safe to print and was not given yet."""
        if self._kind is None and not _CONTROL.search(text):
            return text
        shown: list[str] = []
        place = 0
        while place < len(text):
            if self._kind is None:
                place = self._plain(text, place, shown)
            else:
                place = self._sequence(self._kind, text, place, shown)
        return "".join(shown)

    def flush(self) -> str:
        """Give what is still held of a sequence that never ended; the next piece starts anew."""
        held, self._kind, self._held = self._held, None, ""
        return _CONTROL.sub("", held)

    def _plain(self, text: str, place: int, shown: list[str]) -> int:
        control = _CONTROL.search(text, place)
        if control is None:
            shown.append(text[place:])
            return len(text)
        shown.append(text[place : control.start()])
        self._kind = _INTRODUCERS.get(control[0])
        return control.end()

    def _sequence(self, kind: _Kind, text: str, place: int, shown: list[str]) -> int:
        if kind == "escape" and not self._held and text[place] in _AFTER_ESCAPE:
            self._kind = _AFTER_ESCAPE[text[place]]
            return place + 1
        body = _BODY[kind].match(text, place, place + LONGEST[kind] - len(self._held))
        assert body is not None
        self._held += body[0]
        place = body.end()
        if len(self._held) == LONGEST[kind]:
            shown.append(self.flush())
        elif place < len(text):
            place = self._last(kind, text, place, shown)
        return place

    def _last(self, kind: _Kind, text: str, place: int, shown: list[str]) -> int:
        """Leave the sequence at the first character that is not its body."""
        if text[place] == "\x1b":  # in a string it begins the two characters that end it; elsewhere a new sequence
            if kind != "string":
                shown.append(self.flush())
            self._kind, self._held = "escape", ""
            return place + 1
        if _END[kind].match(text, place):
            self._kind, self._held = None, ""
            return place + 1
        shown.append(self.flush())
        return place


def clean(text: str) -> str:
    """Give a whole *text* without control sequences and control characters."""
    sanitiser = Sanitiser()
    return sanitiser.feed(text) + sanitiser.flush()


def visible(text: str) -> str:
    """Give *text* with all that does not show, newlines apart, as the escapes of JSON: nothing can hide in it."""
    return _UNUSUAL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return "".join([each if each.isprintable() else json.dumps(each)[1:-1] for each in found[0]])
