"""Declared variables and layers of given values go in; one dict of checked values comes out, or what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from promptstream.errors import MissingVariable, VariableInvalid
from promptstream.packs.finding import shown
from promptstream.values.pattern import LONGEST, compile_bounded
from promptstream.packs.template import as_text, near

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")


@attrs.frozen(eq=False)
class Variable:
    """Declare a variable of a template: its type, whether it must be given, and its rules. Any thread may use it."""

    name: str
    type: str = "string"
    """One of string, number, boolean, object, array."""
    required: bool = False
    default: Any = None
    """Used where no value is given; None means that there is none."""
    description: str = ""
    example: Any = None
    validation: Mapping[str, Any] = attrs.field(factory=dict)
    """The rules: pattern, min_length, max_length, minimum, maximum, enum."""
    binding: Mapping[str, Any] = attrs.field(factory=dict)
    """Where a runtime may take the value from: kind, field, auto_populate, filter; see ``packs.Bindings``."""
    _pattern: re.Pattern[str] | None = attrs.field(init=False, repr=False)

    @_pattern.default
    def _compiled(self) -> re.Pattern[str] | None:
        pattern = self.validation.get("pattern")
        return None if pattern is None else compile_bounded(pattern)[0]

    def check(self, value: Any) -> Any:
        """Give *value* as the declared type; a string such as a command line gives is converted.

        None, and an empty string where a string is expected, pass: they are no value.

        Raises:
            VariableInvalid: it is not of the type, or breaks a rule.
        """
        if value is None:
            return None
        try:
            converted = CONVERTERS[self.type](value)
        except (ValueError, RecursionError):
            expected = "an" if self.type in ("object", "array") else "a"
            raise VariableInvalid(
                f"The variable {self.name!r} must be {expected} {self.type}, not {shown(value)}."
            ) from None
        broken = None if converted == "" else self._broken(converted)
        if broken:
            raise VariableInvalid(f"The variable {self.name!r} is {shown(value)}; it must {broken}.")
        return converted

    def _broken(self, value: Any) -> str | None:
        """Say which rule *value* breaks, or None."""
        rules = self.validation
        allowed = rules.get("enum")
        if allowed is not None and value not in allowed:
            return f"be one of {', '.join(map(shown, allowed[:20]))}"
        if isinstance(value, str):
            low, high = rules.get("min_length"), rules.get("max_length")
            if low is not None and len(value) < low:
                return f"have {low} characters or more"
            if high is not None and len(value) > high:
                return f"have {high} characters or fewer"
            if self._pattern is not None and len(value) > LONGEST:
                return f"have {LONGEST} characters or fewer, since it is checked against a pattern"
            if self._pattern is not None and not self._pattern.search(value):
                return f"match the pattern {shown(rules['pattern'])}"
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = rules.get("minimum"), rules.get("maximum")
            if low is not None and value < low:
                return f"be {low} or more"
            if high is not None and value > high:
                return f"be {high} or less"
        return None


def resolve(variables: Sequence[Variable], *layers: Mapping[str, Any], needed: Iterable[str] = ()) -> dict[str, Any]:
    """Give the values of one turn: the declared defaults, then each of *layers* over the one before it.

    Names that nobody declared are allowed. None never hides the value of a lower layer. *needed* names what else
    must have a value, declared or not. Any thread may call it.

    Raises:
        MissingVariable: a required variable has no value or an empty one; all of them are named.
        VariableInvalid: values of the wrong type or against their rules; ``problems`` lists them all.
    """
    values = {each.name: each.default for each in variables if each.default is not None}
    for layer in layers:
        for name, value in layer.items():
            if value is not None or name not in values:
                values[name] = value
    declared = {each.name: each for each in variables}
    missing = [name for name, each in declared.items() if each.required and _empty(values.get(name))]
    missing += (name for name in dict.fromkeys(needed) if name not in declared and name not in values)
    if missing:
        raise _missing(missing, declared, values)
    problems = []
    for name, variable in declared.items():
        try:
            if name in values:
                values[name] = variable.check(values[name])
        except VariableInvalid as error:
            problems.append(str(error))
    if problems:
        raise VariableInvalid(" ".join(problems[:5]), problems)
    return values


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _missing(names: Sequence[str], declared: Mapping[str, Variable], values: Mapping[str, Any]) -> MissingVariable:
    stray = [name for name in values if name not in declared]
    told, hints = [], ""
    for name in names:
        about = declared[name].description[:100] if name in declared else ""
        told.append(f"{name!r} ({about.rstrip('.')})" if about else repr(name))
        hints += near(name, stray)
    give = ", ".join(f'"{name}": ...' for name in names)
    verb = "has" if len(names) == 1 else "have"
    noun = "variable" if len(names) == 1 else "variables"
    return MissingVariable(f"The {noun} {', '.join(told)} {verb} no value.{hints} Give variables={{{give}}}.", names)


def _string(value: Any) -> str:
    if isinstance(value, (str, int, float)):
        return as_text(value, "")
    raise ValueError


def _number(value: Any) -> int | float:
    if isinstance(value, str) and len(value) <= 400:
        text = value.strip()
        if _WHOLE.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            value = float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        raise ValueError
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ValueError


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    import json

    return json.loads(value)


def _object(value: Any) -> Mapping[str, Any]:
    found = _parsed(value)
    if isinstance(found, Mapping):
        return found
    raise ValueError


def _array(value: Any) -> Sequence[Any]:
    found = _parsed(value)
    if isinstance(found, Sequence) and not isinstance(found, (str, bytes, bytearray)):
        return found
    raise ValueError


CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "string": _string,
    "number": _number,
    "boolean": _boolean,
    "object": _object,
    "array": _array,
}
TYPES = tuple(CONVERTERS)
