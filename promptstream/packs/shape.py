"""A JSON value and the shape it should have go in; findings come out, each with its JSON path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from promptstream.packs.finding import Findings, kind, shown, similar, step

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "object": (dict,),
    "array": (list,),
    "boolean": (bool,),
    "number": (int, float),
    "whole number": (int, float),
    "object or a string": (dict, str),
    "string or an object": (dict, str),
}
_NONE: Mapping[str, str] = {}


@attrs.frozen(eq=False, repr=False)
class Shape:
    """Say what a value may be. What is wrong with one is fatal where the shape is, but for keys and forms."""

    kind: str = ""
    """A key of the table above; "" is anything."""
    fatal: bool = attrs.field(default=False, kw_only=True)
    noun: str = attrs.field(default="", kw_only=True)
    """What an error asks for, such as "a tool's name"; the kind with its article where it is left out."""
    keys: Mapping[str, Shape] | None = attrs.field(default=None, kw_only=True)
    """The keys an object may have; None is any."""
    open: bool = attrs.field(default=False, kw_only=True)
    """It may have other keys as well."""
    hints: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    """What to do about some of the keys that it may not have."""
    needed: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    """The keys an object must have."""
    each: Shape | None = attrs.field(default=None, kw_only=True)
    """What each item of an array, or each value of an object without *keys*, should be."""
    filled: bool = attrs.field(default=False, kw_only=True)
    """It may not be empty."""
    low: float | None = attrs.field(default=None, kw_only=True)
    high: float | None = attrs.field(default=None, kw_only=True)
    choices: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    form: tuple[str, str] | None = attrs.field(default=None, kw_only=True)
    """A pattern that the whole of a string should match, compiled on first use, and its meaning in words."""
    null: bool = attrs.field(default=False, kw_only=True)
    """It may be null."""


TEXT = Shape("string")
FLAG = Shape("boolean")
TEXTS = Shape("array", each=TEXT)


def measure(value: Any, shape: Shape, path: str, findings: Findings) -> None:
    """Add to *findings* how *value* differs from *shape*, all the way down."""
    problem = _misfit(value, shape)
    if problem:
        findings.add(path, problem, fatal=shape.fatal)
        return
    if shape.form and not re.fullmatch(shape.form[0], value):
        findings.add(path, f"should be {shape.form[1]}, not {shown(value)}")
    if isinstance(value, dict):
        _object(value, shape, path, findings)
    elif isinstance(value, list) and shape.each is not None:
        for place, each in enumerate(value):
            if findings.full() and findings.full(fatal=True):
                return
            measure(each, shape.each, step(path, place), findings)


def unknown(key: str, known: Iterable[str], path: str, findings: Findings, hints: Mapping[str, str] = _NONE) -> None:
    """Add that *key*, which stands at *path*, is none of those *known*; *hints* say what to do about some."""
    if not findings.full():
        hint = f" {hints[key]}" if key in hints else similar(key, known)
        findings.add(path, f"unknown key; it has no effect.{hint}")


def _object(value: Mapping[str, Any], shape: Shape, path: str, findings: Findings) -> None:
    for key, each in value.items():
        if findings.full() and findings.full(fatal=True):
            return
        here = step(path, key)
        if shape.keys is None:
            if shape.each is not None:
                measure(each, shape.each, here, findings)
        elif key not in shape.keys:
            if not shape.open:
                unknown(key, shape.keys, here, findings, shape.hints)
        elif each is None and shape.keys[key].kind and not shape.keys[key].null:
            findings.add(here, "is null; leave it out")
        else:
            measure(each, shape.keys[key], here, findings)
    for key in shape.needed:
        if key not in value:
            findings.add(step(path, key), "is missing")


def _misfit(value: Any, shape: Shape) -> str:
    """Say why *value* is not of the kind, or not within the bounds."""
    if not shape.kind or (value is None and shape.null):
        return ""
    fits: bool = isinstance(value, _KINDS[shape.kind]) and (shape.kind == "boolean" or not isinstance(value, bool))
    if not fits:
        given = shown(value) if shape.low is not None and not isinstance(value, (dict, list)) else kind(value)
        return f"must be {_wanted(shape)}, not {given}"
    if shape.choices and value not in shape.choices:
        return f"{shown(value)} is not one of {', '.join(shape.choices)}.{similar(value, shape.choices)}"
    if shape.filled and not value:
        return "is empty"
    if shape.kind not in ("number", "whole number"):
        return ""
    low = value if shape.low is None else shape.low
    high = value if shape.high is None else shape.high
    uneven = shape.kind == "whole number" and isinstance(value, float) and not value.is_integer()
    return f"must be {_wanted(shape)}, not {shown(value)}" if uneven or not low <= value <= high else ""


def _wanted(shape: Shape) -> str:
    if shape.noun:
        return shape.noun
    bounds = ""
    if shape.low is not None:
        bounds = f" of {shape.low} or more" if shape.high is None else f" from {shape.low} to {shape.high}"
    return f"{'an' if shape.kind[0] in 'ao' else 'a'} {shape.kind}{bounds}"
