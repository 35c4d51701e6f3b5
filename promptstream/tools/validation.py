"""A JSON Schema in, a function that says in words what is wrong with a value out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from promptstream.errors import ConfigError
from promptstream.values.names import nearest

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


def validator(schema: dict[str, Any], what: str = "the schema") -> Callable[[Any], list[str]]:
    """Give a function that lists what is wrong with a value: at most 10 problems, each with its JSON path.

    Nothing is ever fetched for a reference. Any number of threads may call the function at once.

    Args:
        schema: of the draft that its ``$schema`` names, else Draft 2020-12.
        what: how an error calls it.

    Raises:
        ConfigError: it is no JSON Schema, refers to something outside it, or the extra ``tools`` is not installed.
    """
    try:
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import Draft202012Validator, validator_for
        from referencing import Registry
    except ImportError:
        raise ConfigError(
            "Checking arguments and answers needs jsonschema: pip install 'promptstream-sdk[tools]'."
        ) from None
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ConfigError(
            f"Of {what}, {path_of(error.absolute_path)} is no JSON Schema: {_short(error.message)}"
        ) from None
    except RecursionError:
        raise ConfigError(f"Of {what}, the JSON Schema is nested too deep.") from None
    _check_references(schema, what)
    checker = kind(schema, registry=Registry())

    def problems(value: Any) -> list[str]:
        try:
            found = list(islice(checker.iter_errors(value), MAX_PROBLEMS + 1))
        except RecursionError:
            return ["$: it is nested too deep to be checked"]
        told = list(dict.fromkeys(f"{path_of(each.absolute_path)}: {_in_words(each)}" for each in map(_deepest, found)))
        return told if len(told) <= MAX_PROBLEMS else [*told[:MAX_PROBLEMS], "and more"]

    return problems


def path_of(steps: Iterable[str | int]) -> str:
    """Give the JSON path of *steps*: ``$.items[0].name``."""
    path = "$"
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if step.isascii() and step.isidentifier() else f"[{step[:_SHOWN]!r}]"
    return path


def shown(value: Any) -> str:
    """Show *value* as ``repr`` does, in some 80 characters at most, whatever it is."""
    from reprlib import Repr

    short = Repr()
    short.maxstring = short.maxother = short.maxlong = _SHOWN
    return _short(short.repr(value), _SHOWN)


def _check_references(schema: dict[str, Any], what: str) -> None:
    """Make sure that what *schema* refers to is in it."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = DRAFT202012.create_resource(schema)
    resolver = Registry().with_resource(resource.id() or "", resource).resolver(resource.id() or "")
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise ConfigError(
                f"Of {what}, $ref {reference!r:.100} is outside it; nothing is ever fetched. Put it into $defs."
            )
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ConfigError(
                f"Of {what}, $ref {reference!r:.100} leads nowhere; put what it means into $defs."
            ) from None


def _references(schema: Any) -> Iterable[str]:
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            for key in ("$ref", "$dynamicRef"):
                if isinstance(each.get(key), str):
                    yield each[key]
            waiting += [inner for key, inner in each.items() if key not in ("const", "enum", "default", "examples")]
        elif isinstance(each, (list, tuple)):
            waiting += each


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
