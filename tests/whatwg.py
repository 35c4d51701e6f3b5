"""A whole event stream in, its events out, word for word as the standard has it (WHATWG HTML 9.2.6): slow and plain.

Nothing of promptstream's is used but its values and bounds. What goes beyond the standard is marked "beyond".
"""

from __future__ import annotations

import re
from typing import NamedTuple

from promptstream.wire.events import MAX_EVENT, MAX_LINE, MAX_LINES, Event

_END_OF_LINE = re.compile("\r\n|\n|\r")
_END_OF_LINE_IN_BYTES = re.compile(b"\r\n|\n|\r")
_FIELDS = (b"data", b"event", b"id", b"retry")
_LONGEST_RETRY = 9
"""Beyond: ten digits are eleven days and more, and are ignored as what are no digits is."""


class Interpretation(NamedTuple):
    """What an event stream says."""

    events: list[Event]
    tail: bytes
    """Beyond: what came after the last blank line, with LF line ends; the standard discards it."""
    excessive: bool | None = False
    """Beyond: an event that is larger than promptstream takes follows; None where it is still open at the end."""


def interpret(body: bytes) -> Interpretation:
    """Interpret an event stream that is over."""
    body = body.removeprefix(b"\xef\xbb\xbf")  # "one leading U+FEFF BYTE ORDER MARK character must be ignored"
    *lines, _ = _END_OF_LINE.split(body.decode("utf-8", errors="replace"))
    events: list[Event] = []
    data, event_type, last_event_id, retry = "", "", "", None
    excess = _first_excess(body) if len(body) > MAX_LINES else None
    for number, line in enumerate(lines):
        if line == "":  # "dispatch the event"
            if number == excess:
                return Interpretation(events, b"", excessive=True)
            if data != "":
                events.append(Event(event_type or "message", data.removesuffix("\n"), last_event_id, retry))
            data, event_type, retry = "", "", None
            continue
        if line.startswith(":"):  # "ignore the line"
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")  # "if value starts with a U+0020 SPACE character, remove it"
        if field == "event":
            event_type = value
        elif field == "data":
            data += value + "\n"
        elif field == "id":
            if "\0" not in value:
                last_event_id = value
        elif field == "retry" and re.fullmatch("[0-9]+", value) and len(value) <= _LONGEST_RETRY:
            retry = int(value)
    return Interpretation(events, _tail(body), False if excess is None else None)


def _tail(body: bytes) -> bytes:
    *lines, rest = _END_OF_LINE_IN_BYTES.split(body)
    after = len(lines) - lines[::-1].index(b"") if b"" in lines else 0
    return b"\n".join([*lines[after:], rest])


def _first_excess(body: bytes) -> int | None:
    """Give the number of the line that ends the first event beyond the bounds, or None; of the last, the tail's."""
    sizes: list[int] = []
    lines = _END_OF_LINE_IN_BYTES.split(body)
    for number, line in enumerate(lines):
        if line.partition(b":")[0] in _FIELDS:
            sizes.append(len(line))
        if line == b"" or number == len(lines) - 1:
            if sum(sizes) > MAX_EVENT or len(sizes) > MAX_LINES or max(sizes, default=0) > MAX_LINE:
                return number
            sizes = []
    return None


def lines_of(body: bytes) -> tuple[list[str], bytes]:
    """Split newline-delimited JSON into its lines and its tail, as plainly as can be."""
    *lines, tail = body.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [line.strip().decode(errors="replace") for line in lines if line.strip()], tail.strip()
