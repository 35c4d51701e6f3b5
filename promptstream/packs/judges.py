"""What a whole answer must be in, functions out that say what is wrong with one, or None."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from promptstream.values.keywords import Undecided
from promptstream.values.schemas import checker

Judge = Callable[[str, str], "str | None"]
"""Take a whole answer and the text of its last round, and say what is wrong, or None. Any thread may call it.

JSON is looked for in the last round: what a model says before it calls a tool is no part of its result.
"""
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s|\Z)|[。！？]+")
FORBIDDEN = "holds what is forbidden"
_NO_JSON = "is not valid JSON"
_TOLD = 120


def least(characters: int) -> Judge:
    """Ask for so many characters."""
    return lambda text, last: f"has fewer than {characters} characters" if len(text) < characters else None


def sentences(low: int | None, high: int | None) -> Judge:
    """Ask for a number of sentences."""

    def judge(text: str, last: str) -> str | None:
        ends = [match.end() for match in _SENTENCE_END.finditer(text)]
        count = len(ends) + bool(text[ends[-1] if ends else 0 :].strip())
        if low is not None and count < low:
            return f"has fewer than {low} sentences"
        return f"has more than {high} sentences" if high is not None and count > high else None

    return judge


def includes(missing: Callable[[str], bool]) -> Judge:
    """Ask for a text of which *missing* does not say that it lacks anything."""
    return lambda text, last: "lacks what it must hold" if missing(text) else None


def valid_json() -> Judge:
    """Ask for JSON."""
    return lambda text, last: _NO_JSON if _read(last) is _read else None


def fields(names: Iterable[str]) -> Judge:
    """Ask for a JSON object with these fields; a dot leads into an object within."""
    wanted = tuple(names)

    def judge(text: str, last: str) -> str | None:
        found = _read(last)
        if found is _read:
            return _NO_JSON
        missing = [name for name in wanted if not _has(found, name)]
        return f"lacks the fields {', '.join(map(repr, missing[:5]))}" if missing else None

    return judge


def matching(schema: dict[str, Any]) -> Judge:
    """Ask for JSON that fits a JSON Schema; references lead to places within it only.

    Raises:
        ImportError: jsonschema is not installed.
        ValueError: *schema* is none, or none that is safe to use.
    """
    from jsonschema.exceptions import best_match

    try:
        checks = checker(schema)
    except ValueError as error:
        raise ValueError(f"is no JSON Schema that can be used: {error!s:.300}") from None

    def judge(text: str, last: str) -> str | None:
        found = _read(last)
        if found is _read:
            return _NO_JSON
        try:
            error = best_match(checks.errors(found))
        except Undecided as undecided:
            return f"cannot be held against its JSON Schema: {undecided!s:.200}"
        return None if error is None else f"does not fit its JSON Schema at {error.json_path:.80}: {_why(error)}"

    return judge


def _why(error: Any) -> str:
    """Say what a schema asks for, in its own words; what the model wrote is not repeated."""
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"it lacks {', '.join(map(repr, missing[:5])):.{_TOLD}}"
    told = json.dumps(error.validator_value, ensure_ascii=False)
    return f'the schema has "{error.validator}": {told if len(told) <= _TOLD else told[:_TOLD] + "…"}'


def _read(text: str) -> Any:
    """Give the JSON value, which may stand in a fence of Markdown; this very function where it is none."""
    plain = text.strip()
    if plain.startswith("```") and plain.endswith("```"):
        plain = plain[3:-3].removeprefix("json")
    try:
        return json.loads(plain, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _read


def _refuse(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _has(value: Any, name: str) -> bool:
    if isinstance(value, dict) and name in value:
        return True
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True
