"""Declared variables and layers of given values go in; one dict of checked values comes out, or what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from promptstream.errors import MissingVariable, VariableInvalid
from promptstream.packs.finding import shown
from promptstream.packs.template import as_text, near
from promptstream.values.pattern import LONGEST, compile_bounded

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_EXACT = 2**53
"""Up to here a float tells whole numbers apart (IEEE 754, binary64)."""
ANY = "any"
# Schemas before 1.5 leave the type free, and these were written; they can only mean one thing.
_MEANT = {
    "integer": "number",
    "int": "number",
    "float": "number",
    "str": "string",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "map": "object",
}
_RULED = {
    "pattern": "string",
    "min_length": "string",
    "max_length": "string",
    "minimum": "number",
    "maximum": "number",
}
"""Which type a rule is for."""


@attrs.frozen(eq=False)
class Variable:
    """Declare a variable of a template: its type, whether it must be given, and its rules. Any thread may use it."""

    name: str
    type: str = "string"
    """One of string, number, boolean, object, array; or any, which is not checked."""
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

    @property
    def unenforced(self) -> tuple[str, ...]:
        """Say of each rule that no value is held against which one it is, and why."""
        rules = {name: rule for name, rule in self.validation.items() if rule is not None}
        told = [
            f"the rule {name} of variable {self.name!r} is not enforced: it has no effect on type {self.type}"
            for name in misfits(self.type, rules)
        ]
        if rules.get("pattern") is not None and self._pattern is None:
            reason = compile_bounded(rules["pattern"])[1]
            told.append(f"the pattern of variable {self.name!r} is not enforced: {shown(rules['pattern'])} {reason}")
        return tuple(told)

    def check(self, value: Any) -> Any:
        """Give *value* as the declared type; a string such as a command line gives is converted.

        None, and an empty string where a string is expected, pass: they are no value. Only a least length says that
        there must be text.

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
        broken = self._broken(converted) if converted != "" else self._too_short(0)
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
            high = rules.get("max_length")
            if (short := self._too_short(len(value))) is not None:
                return short
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

    def _too_short(self, length: int) -> str | None:
        low = self.validation.get("min_length")
        return None if low is None or length >= low else f"have {low} characters or more"


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
            if name not in values:
                continue
            if name == "input" and variable.type == "string" and isinstance(values[name], (Mapping, list)):
                values[name] = as_text(values[name], name)  # json= gives the value; a string is what it is sent as
            if values[name] != "" or variable.default != "":  # empty text that the pack itself gives is no value
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
    filled = [name for name, value in values.items() if not _empty(value)]
    told, hints = [], ""
    for name in names:
        about = declared[name].description[:100] if name in declared else ""
        told.append(f"{name!r} ({about.rstrip('.')})" if about else repr(name))
        hints += near(name, stray if name in declared else filled)
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
    # JSON knows one number where Python has 1e5 and 100000; a prompt should have the latter.
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT else value


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
    ANY: lambda value: value,
}
TYPES = tuple(name for name in CONVERTERS if name != ANY)


def type_named(name: str) -> str:
    """Give the type that *name* means, in whatever case it is written; "any" where it is none that is known."""
    name = name.lower()
    return name if name in TYPES else _MEANT.get(name, ANY)


def misfits(sort: str, rules: Iterable[str]) -> list[str]:
    """Give those of *rules* that say nothing of a value of the type *sort*."""
    return [name for name in rules if sort != ANY and _RULED.get(name, sort) != sort]
