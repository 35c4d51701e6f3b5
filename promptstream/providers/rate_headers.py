"""A response's headers in, what they tell of rate limits out.

Known are OpenAI's ``x-ratelimit-remaining-requests`` and its like (Groq, Azure, Mistral, Cerebras), Anthropic's
``anthropic-ratelimit-requests-remaining``, the bare ``X-RateLimit-Remaining`` of OpenRouter and many gateways, and
the IETF's ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers, with its older forms).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from time import time

from promptstream.values.rate_limits import RateLimits

_FIELDS = ("limit", "remaining", "reset")
_OPENAI = {"requests": "requests", "req-minute": "requests", "requests-minute": "requests"}
_OPENAI |= {"tokens": "tokens", "tokens-minute": "tokens"}
_TOKENS = ("tokens", "input-tokens", "output-tokens")
_PLACES = {
    **{f"x-ratelimit-{field}-{name}": f"{kind}-{field}" for name, kind in _OPENAI.items() for field in _FIELDS},
    **{
        f"anthropic-ratelimit-{kind}-{field}": f"{kind}-{field}" for kind in ("requests", *_TOKENS) for field in _FIELDS
    },
    **{f"{prefix}ratelimit-{field}": f"bare-{field}" for prefix in ("", "x-") for field in _FIELDS},
    "ratelimit": "ietf",
    "ratelimit-policy": "policy",
}
"""What is limited, and what is told of it, by a header's name in lower case."""
_TRIPLES = {kind: tuple(f"{kind}-{field}" for field in _FIELDS) for kind in ("requests", "bare", *_TOKENS)}
_NAMED = re.compile(r"(limit|remaining|reset)\s*=\s*([0-9]+)")
_SECONDS, _MILLISECONDS = 1e9, 1e11
"""From here up a number is no length of time but a date, in seconds or milliseconds since the epoch."""
_MOST = 500
"""Characters of a value that is read."""
_Triple = tuple["int | None", "int | None", "float | None"]
_NOTHING: _Triple = (None, None, None)


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """Give what *headers* tell of rate limits, or None where they tell nothing. Any thread may call it."""
    told: dict[str, str] = {}
    # items() of requests' mapping looks each name up once more.
    for name, value in getattr(headers, "lower_items", headers.items)():
        if (place := _PLACES.get(name.lower())) is not None and len(value) <= _MOST:
            told[place] = value
    if not told:
        return None
    date = headers.get("date", "")
    requests = _triple(told, "requests", date)
    if requests == _NOTHING:
        requests = _triple(told, "bare", date)
    if requests == _NOTHING and ("ietf" in told or "policy" in told):
        requests = _ietf(told.get("ietf", ""), told.get("policy", ""))
    tokens = _triple(told, "tokens", date)
    if "input-tokens-remaining" in told or "output-tokens-remaining" in told:
        tokens = min(tokens, *(_triple(told, kind, date) for kind in _TOKENS[1:]), key=_part_left)
    return None if requests == tokens == _NOTHING else RateLimits(*requests, *tokens)


def _part_left(triple: _Triple) -> float:
    """Give which part of a limit is left; where that is not told it counts as more than any."""
    limit, left, _ = triple
    return 2.0 if left is None or not limit else left / limit


def _triple(told: Mapping[str, str], kind: str, date: str) -> _Triple:
    limit, left, reset = _TRIPLES[kind]
    return _count(told.get(limit)), _count(told.get(left)), _reset(told.get(reset), date)


def _count(text: str | None) -> int | None:
    """Read a whole number; of an older draft's ``100, 100;w=60`` the first."""
    if text is None:
        return None
    try:
        return max(0, int(text))
    except ValueError:
        number = _number(text.partition(",")[0])
        return None if number is None else max(0, int(number))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _reset(text: str | None, date: str) -> float | None:
    """Give the seconds until *text*: a number of them, a length such as ``6m0s``, or a date; 0 where that is past."""
    if text is None:
        return None
    length, moment = _read_reset(text)
    if moment is not None:
        # By the server's own clock, where it tells the time, so that this machine's need not be right.
        length = moment - (_moment(date) or time())
    return None if length is None else max(0.0, length)


@lru_cache(maxsize=256)
def _read_reset(text: str) -> tuple[float | None, float | None]:
    """Give *text* as a length of time or as a moment, in seconds since the epoch."""
    number = _number(text)
    if number is not None:
        moment = number / 1000 if number >= _MILLISECONDS else number
        return (None, moment) if number >= _SECONDS else (number, None)
    if "T" in text:
        from datetime import datetime

        try:
            return None, datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        except (ValueError, OverflowError):
            return None, None
    from promptstream.providers.durations import seconds_in

    return seconds_in(text), None


@lru_cache(maxsize=4)
def _moment(date: str) -> float | None:
    """Read a Date header."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _ietf(field: str, policy: str) -> _Triple:
    """Read the ``RateLimit`` field: ``"minute";r=50;t=30`` with its policy's ``"minute";q=100``, or ``limit=100``."""
    if named := dict(_NAMED.findall(field)):
        return _count(named.get("limit")), _count(named.get("remaining")), _reset(named.get("reset"), "")
    limits = {name: said.get("q") for name, said in _items(policy)}
    found = [
        (_count(limits.get(name)), _count(said.get("r")), _reset(said.get("t"), "")) for name, said in _items(field)
    ]
    return min(found, key=_part_left, default=_NOTHING)


def _items(text: str) -> list[tuple[str, dict[str, str]]]:
    """Read a list of names with parameters (RFC 9651 section 3.1), but for those that count other than requests."""
    items = []
    for item in text.split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        said = dict(part.partition("=")[::2] for part in parameters)
        if said.get("qu", '"requests"') == '"requests"':
            items.append((name, said))
    return items
