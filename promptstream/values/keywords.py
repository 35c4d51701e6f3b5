"""The keywords of a draft of JSON Schema in, the same with a bound on what holding a value against them costs out.

What jsonschema's own do in more than linear time, with a regular expression, or by a look-up of a reference is done
here instead; all others are counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache, partial
from threading import local
from typing import Any

import attrs

from promptstream.values.pattern import LONGEST, steps_on

STEPS = 150_000
"""Keywords that one value is held against, or what takes as long: some 5 µs each."""
_TEXT = 64
_ITEMS = 20
_REGEX = 1000
_TOO_MUCH = "it is too complicated to be checked"
_TOO_LONG = f"is longer than {LONGEST} characters, which is too long to be checked against a pattern"


class Undecided(ValueError):
    """Whether a value fits cannot be told within bounds; the text says where and why."""

    def __init__(self, reason: str, long: str | None = None) -> None:
        super().__init__(reason)
        self.long = long
        """The text that is too long, if that is the reason."""


@attrs.frozen(eq=False)
class Rules:
    """Hold what the references of a schema lead to, and its patterns, by what is written in it."""

    targets: Mapping[str, Any]
    patterns: Mapping[str, tuple[re.Pattern[str], int]]
    """Each with the steps that it takes at worst."""


class _Check(local):
    """Hold what is left of the check that this thread does."""

    rules: Rules
    left: int = 0


_check = _Check()


def begin(rules: Rules) -> None:
    """Begin a check by *rules* in this thread, which does one at a time."""
    _check.rules, _check.left = rules, STEPS


def _spend(steps: int) -> None:
    _check.left -= steps
    if _check.left < 0:
        raise Undecided(_TOO_MUCH)


@lru_cache(maxsize=8)
def bounded(kind: Any) -> Any:
    """Give jsonschema's class for a draft, *kind*, with bounded keywords. Any thread may call it.

    Raises:
        ImportError: jsonschema is not installed.
    """
    from jsonschema import validators

    ours = {name: own for name, own in _OWN.items() if name in kind.VALIDATORS}
    extend: Callable[..., Any] = validators.extend
    return extend(kind, {name: partial(_counted, own) for name, own in {**kind.VALIDATORS, **ours}.items()})


def _counted(keyword: Callable[..., Any], validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
    size = len(wanted) if isinstance(wanted, (dict, list)) else 0
    size += len(value) if isinstance(value, (dict, list)) else 0
    _spend(1 + size // _ITEMS)
    for error in keyword(validator, wanted, value, schema) or ():
        _spend(1 + len(error.message) // _TEXT)  # it holds the whole value
        yield error


def _matches(pattern: str, text: str) -> bool:
    if len(text) > LONGEST:
        raise Undecided(_TOO_LONG, text)
    compiled, worst = _check.rules.patterns[pattern]
    _spend(1 + steps_on(len(text), worst) // _REGEX)
    return compiled.search(text) is not None


def _error(message: str) -> Any:
    from jsonschema.exceptions import ValidationError

    return ValidationError(message)


def _pattern(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, str) and not _matches(wanted, value):
        yield _error("it does not match a pattern")


def _pattern_properties(validator: Any, wanted: Mapping[str, Any], value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for pattern, subschema in wanted.items():
            for name, each in value.items():
                if _matches(pattern, name):
                    yield from validator.descend(each, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extras = [name for name in value if name not in known and not any(_matches(each, name) for each in patterns)]
    if isinstance(wanted, dict):
        for name in extras:
            yield from validator.descend(value[name], wanted, path=name)
    elif extras and not wanted:
        yield _error(f"{', '.join(f'{name!r:.80}' for name in extras[:3])} is not known, and matches no pattern")


def _reference(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[Any]:
    yield from validator.descend(value, _check.rules.targets[wanted])


def _recursive_reference(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[Any]:
    return _reference(validator, "#", value, schema)


def _unique_items(validator: Any, wanted: bool, value: Any, schema: Any) -> Iterator[Any]:
    if wanted and isinstance(value, list) and len({_frozen(each) for each in value}) < len(value):
        yield _error("it has an item twice")


def _frozen(value: Any) -> Any:
    """Give what two values have in common exactly if they are equal in JSON, where 1 is 1.0 and not true."""
    _spend(1)
    if isinstance(value, dict):
        return frozenset((name, _frozen(each)) for name, each in value.items())
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # As text, whose hash nobody can foresee: chosen numbers would all fall into one place of the set.
    return ("number", f"{value:x}") if type(value) is int else (type(value), str(value))


def _multiple_of(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    finite = isinstance(value, int) or value - value == 0
    if not finite or _exact(value) % _exact(wanted):
        yield _error(f"it is not a multiple of {wanted}")


def _exact(number: Any) -> Fraction:
    return Fraction(number if isinstance(number, int) else repr(number))  # 0.3 is a multiple of 0.1, as it is written


def _unevaluated_properties(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        rest = {name: each for name, each in schema.items() if name != "unevaluatedProperties"}
        seen = _evaluated(validator, value, rest)
        yield from _unevaluated(validator, wanted, value, [name for name in value if name not in seen])


def _unevaluated_items(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, list):
        rest = {name: each for name, each in schema.items() if name != "unevaluatedItems"}
        seen = _evaluated(validator, value, rest)
        yield from _unevaluated(validator, wanted, value, [place for place in range(len(value)) if place not in seen])


def _unevaluated(validator: Any, wanted: Any, value: Any, left: list[Any]) -> Iterator[Any]:
    if wanted is False and left:
        yield _error(f"{', '.join(f'{each!r:.80}' for each in left[:3])} is not known")
    elif wanted is not False:
        for each in left:
            yield from validator.descend(value[each], wanted, path=each)


def _evaluated(validator: Any, value: Any, schema: Any) -> set[Any]:
    """Give the names, or places, of *value* that *schema* says something of (Draft 2020-12 Core, section 11)."""
    if not isinstance(schema, dict):
        return set()
    _spend(1 + len(value) // _ITEMS)
    seen = _named(value, schema) if isinstance(value, dict) else _placed(validator, value, schema)
    if len(seen) == len(value):
        return seen
    targets = [schema[name] for name in ("$ref", "$dynamicRef") if name in schema]
    targets += ["#"] if "$recursiveRef" in schema else []
    applied = [_check.rules.targets[each] for each in targets]
    if isinstance(value, dict):
        applied += [each for name, each in schema.get("dependentSchemas", {}).items() if name in value]
    condition = schema.get("if")
    if condition is not None:
        fits = _fits(validator, value, condition)
        applied += [condition, schema.get("then")] if fits else [schema.get("else")]
    for name in ("allOf", "anyOf", "oneOf"):
        applied += [each for each in schema.get(name, ()) if _fits(validator, value, each)]
    return seen.union(*(_evaluated(validator, value, each) for each in applied))


def _named(value: dict[str, Any], schema: dict[str, Any]) -> set[Any]:
    if "additionalProperties" in schema or "unevaluatedProperties" in schema:
        return set(value)
    patterns = schema.get("patternProperties", {})
    matching = {name for name in value if any(_matches(each, name) for each in patterns)}
    return matching.union(value.keys() & schema.get("properties", {}).keys())


def _placed(validator: Any, value: list[Any], schema: dict[str, Any]) -> set[Any]:
    items = schema.get("items")
    rest = isinstance(items, (dict, bool)) or (isinstance(items, list) and "additionalItems" in schema)
    if rest or "unevaluatedItems" in schema:
        return set(range(len(value)))
    seen = set(range(min(len(value), len(schema.get("prefixItems", items or ())))))
    if "contains" in schema and "prefixItems" in validator.VALIDATORS:  # of 2020-12 on
        seen |= {place for place, each in enumerate(value) if _fits(validator, each, schema["contains"])}
    return seen


def _fits(validator: Any, value: Any, schema: Any) -> bool:
    return next(validator.descend(value, schema), None) is None


_OWN: Mapping[str, Callable[..., Iterator[Any]]] = {
    "$ref": _reference,
    "$dynamicRef": _reference,
    "$recursiveRef": _recursive_reference,
    "additionalProperties": _additional_properties,
    "divisibleBy": _multiple_of,
    "multipleOf": _multiple_of,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "unevaluatedItems": _unevaluated_items,
    "unevaluatedProperties": _unevaluated_properties,
    "uniqueItems": _unique_items,
}
