"""A JSON Schema in, a function that says in words what is wrong with a value out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from promptstream.errors import ConfigError
from promptstream.values.keywords import Undecided
from promptstream.values.names import nearest
from promptstream.values.schemas import checker
from promptstream.values.subschemas import path_of

MAX_PROBLEMS = 10
_SHOWN = 80
_LONGEST = 300
_TYPES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "array": "an array",
    "object": "an object",
}


def validator(schema: Mapping[str, Any], what: str = "the schema") -> Callable[[Any], list[str]]:
    """Give a function that lists what is wrong with a value: at most 10 problems, each with its JSON path.

    Nothing is ever fetched for a reference, and no check takes long: where it would, that is the problem. Any number
    of threads may call the function at once.

    Args:
        schema: of the draft that its ``$schema`` names, else Draft 2020-12.
        what: how an error calls it.

    Raises:
        ConfigError: it is no JSON Schema, refers to something outside it, has a regular expression that may run for
            ages, or the extra ``tools`` is not installed.
    """
    try:
        held = checker(schema)
    except ImportError:
        raise ConfigError(
            "Checking arguments and answers needs jsonschema: pip install 'promptstream-sdk[tools]'."
        ) from None
    except ValueError as error:
        subject = what if what.endswith("=") else f"{what[:1].upper()}{what[1:]}"
        raise ConfigError(f"{subject} cannot be used: {error}") from None

    def problems(value: Any) -> list[str]:
        try:
            found = held.errors(value, MAX_PROBLEMS + 1)
        except Undecided as error:
            return [str(error)]
        told = list(dict.fromkeys(f"{path_of(each.absolute_path)}: {_in_words(each)}" for each in map(_deepest, found)))
        return told if len(told) <= MAX_PROBLEMS else [*told[:MAX_PROBLEMS], "and more"]

    return problems


def shown(value: Any) -> str:
    """Show *value* as ``repr`` does, in some 80 characters at most, whatever it is."""
    from reprlib import Repr

    short = Repr()
    short.maxstring = short.maxother = short.maxlong = _SHOWN
    return _short(short.repr(value), _SHOWN)


def _deepest(error: Any) -> Any:
    """Give, of an anyOf where one form is clearly meant, what is wrong with that form."""
    while error.context:
        deeper = [each for each in error.context if len(each.relative_path)]
        if not deeper:
            return error
        forms = {each.relative_schema_path[0] for each in deeper}
        if len(forms) != 1:
            return error
        error = deeper[0]
    return error


def _in_words(error: Any) -> str:
    rule, wanted, value = error.validator, error.validator_value, error.instance
    if rule == "required":
        missing = [name for name in wanted if name not in value and repr(name) in error.message]
        return f"{shown(missing[0] if missing else wanted)} is missing"
    if rule == "additionalProperties" and wanted is False:
        return _unknown(error)
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else list(wanted)
        return f"{shown(value)} is not {' or '.join(_TYPES.get(each, str(each)) for each in kinds)}"
    if rule in ("enum", "const"):
        return f"{shown(value)} is not {'one of ' if rule == 'enum' else ''}{_short(str(wanted), _LONGEST)}"
    if rule in ("anyOf", "oneOf"):
        reasons = dict.fromkeys(_in_words(each) for each in error.context[:MAX_PROBLEMS])
        return _short(" and ".join(reasons) or f"{shown(value)} is of several forms at once", _LONGEST)
    if rule is None:  # the schema is false
        return f"{shown(value)} is not allowed"
    return f"{shown(value)} breaks {rule} ({shown(wanted)})"


def _unknown(error: Any) -> str:
    known = list(error.schema.get("properties", ()))
    patterns = error.schema.get("patternProperties")
    names = [name for name in error.instance if name not in known] if not patterns else []
    if not names:
        return _short(error.message, _LONGEST)
    hint = nearest(names[0], known) if len(names[0]) <= _SHOWN else ""
    return f"{', '.join(map(shown, names[:3]))} is not known.{hint}"


def _short(text: str, most: int = _LONGEST) -> str:
    return text if len(text) <= most else text[:most] + "…"
