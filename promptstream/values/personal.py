"""The name of a kind of personal data in, a finder out: e-mail addresses, phone and card numbers, IBAN, US SSN."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from promptstream.values.finder import Pattern

_SOURCES = {
    "email": r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?:\w(?:[\w-]{0,61}\w)?\.){1,8}[^\W\d_]{2,63}(?![\w-])",
    "phone": (
        r"(?<![\w+])(?:(?:\+|00)[1-9](?:[ ().\-/]{0,2}\d){7,14}"
        r"|(?:\(\d{3}\) ?|\d{3}[ .\-])\d{3}[ .\-]\d{4}"
        r"|\(?0\d{1,5}\)?[ /\-]\d{3,8}(?:[ \-]\d{2,6}){0,2})(?!\w)"
    ),
    "card": r"(?<![\w.])[2-6](?:[ \-]?\d){12,18}(?!\d)",
    "iban": r"(?<![^\W_])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])",
    "ssn": r"(?<![\w\-])(?!000|666|9)\d{3}[ \-](?!00)\d{2}[ \-](?!0000)\d{4}(?!\w)",
}
KINDS = tuple(_SOURCES)


@cache
def personal(kind: str) -> Pattern:
    """Give the finder of one of :data:`KINDS`. All of them have a greatest width, so that little text waits."""
    accept = {"phone": _phone, "card": _card, "iban": _iban}.get(kind)
    return Pattern(re.compile(_SOURCES[kind]), accept)


def _shorter(match: re.Match[str]) -> Iterator[str]:
    """Give what was matched, then less and less of it, cut where a group of characters ends."""
    text = match[0]
    yield text
    for end in range(len(text) - 1, 0, -1):
        if text[end] in " -":
            yield text[:end]


def _digits(text: str) -> str:
    return "".join(each for each in text if each.isdecimal())


def _phone(match: re.Match[str]) -> int | None:
    return match.end() if 7 <= len(_digits(match[0])) <= 15 else None


def _card(match: re.Match[str]) -> int | None:
    for text in _shorter(match):
        digits = _digits(text)
        if 13 <= len(digits) <= 19 and _luhn(digits):
            return match.start() + len(text)
    return None


def _luhn(digits: str) -> bool:
    """Check the last digit (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        total += digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4)
    return total % 10 == 0


def _iban(match: re.Match[str]) -> int | None:
    for text in _shorter(match):
        plain = text.replace(" ", "").upper()
        if 15 <= len(plain) <= 34 and int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1:
            return match.start() + len(text)  # the check digits of ISO 7064, as ISO 13616 has them
    return None
