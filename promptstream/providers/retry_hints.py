"""What a provider says about waiting in, the seconds it asks for out: in headers, in a body, in words."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from promptstream.providers.durations import seconds_in

_PART = r"[0-9]+(?:\.[0-9]+)?\s*(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])"
_LENGTH = rf"(?:{_PART}\s*)+"  # as Go writes durations the parts touch: 6m0s
_WHOLE = re.compile(_LENGTH, re.I)
_WORDS = re.compile(rf"(?:(?:try again|retry|available)(?: in| after)|wait(?: for)?) ({_LENGTH})", re.I)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Give the seconds that Retry-After (RFC 9110 section 10.2.3) or retry-after-ms ask for, above 0, or None."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        seconds = _seconds(value.partition(",")[0].strip())  # a header that came twice is one, with a comma
        if seconds is None:
            seconds = _until(value)
        if seconds is not None:
            return seconds * scale
    return None


def retry_in(error: Mapping[str, Any], message: str) -> float | None:
    """Give the seconds that an error object asks for, by Google's RetryInfo, OpenRouter's availability or in words."""
    for place in (error, error.get("availability"), error.get("metadata")):
        if isinstance(place, Mapping) and (seconds := _seconds(place.get("retry_after"))) is not None:
            return seconds
    if (seconds := _seconds(error.get("estimated_time"))) is not None:  # until Hugging Face has loaded a model
        return seconds
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping) and (seconds := _seconds(detail.get("retryDelay"))) is not None:
            return seconds
    found = _WORDS.search(message)
    return _length(found[1]) if found else None


def _seconds(value: Any) -> float | None:
    """Read a number of seconds, or a duration such as ``"34.4s"``."""
    if isinstance(value, str):
        try:
            return _sensible(float(value))
        except ValueError:
            return _length(value) if _WHOLE.fullmatch(value) else None
    return _sensible(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _length(text: str) -> float | None:
    """Read a duration such as ``48.9s``, ``6m0s``, ``200ms`` or ``20 seconds``."""
    return _sensible(seconds_in(text) or 0)


def _sensible(seconds: float) -> float | None:
    """Give *seconds* where they say something: above 0 and finite."""
    return float(seconds) if 0 < seconds <= sys.float_info.max else None


def _until(date: str) -> float | None:
    """Give the seconds until an HTTP date that is to come."""
    from datetime import datetime, timezone
    from email.utils import parsedate_to_datetime

    try:
        until = parsedate_to_datetime(date)
        if until.tzinfo is None:  # the asctime form, which is UTC (RFC 9110 section 5.6.7)
            until = until.replace(tzinfo=timezone.utc)
        return _sensible((until - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
