"""A JSON Schema in, all the schemas in it out: what each applies to the same value, and what is refused of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

import attrs

MOST = 10_000
"""Schemas in one, and how many of them one value is held against, following references."""
_SHOWN = 80

# The keywords of all drafts that hold schemas: for the value itself, for what is in it, or for neither.
_SAME = ("not", "if", "then", "else", "allOf", "anyOf", "oneOf", "extends", "disallow", "type")
_SAME_BY_NAME = ("dependentSchemas", "dependencies")
_ITEMS = ("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains")
_NAMES = ("propertyNames", "additionalProperties", "unevaluatedProperties")
_WITHIN_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
_ANCHORS = ("$anchor", "$dynamicAnchor")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_PLACE = {
    **dict.fromkeys(_SAME, (True, False)),
    **dict.fromkeys(_SAME_BY_NAME, (True, True)),
    **dict.fromkeys((*_ITEMS, *_NAMES), (False, False)),
    **dict.fromkeys(_WITHIN_BY_NAME, (False, True)),
}
"""By keyword: whether its schemas are for the same value, and whether they have names."""


class Refused(ValueError):
    """The schema is not used; the text says what of it, and why."""


@attrs.define(eq=False)
class Subschema:
    """Hold one of the schemas, and where it stands."""

    schema: dict[str, Any]
    above: Subschema | None = None
    steps: tuple[str | int, ...] = ()
    """Where it stands in the one above."""
    embedded: bool = False
    """It stands in one that has an identifier of its own, to which its references would be relative."""
    same: list[Subschema] = attrs.Factory(list)
    """Those that the same value is held against."""

    @property
    def path(self) -> str:
        """Where it stands, as a JSON path."""
        steps: list[str | int] = []
        place: Subschema | None = self
        while place is not None:
            steps[:0] = place.steps
            place = place.above
        return path_of(steps)


def path_of(steps: Iterable[str | int]) -> str:
    """Give the JSON path of *steps*: ``$.items[0].name``."""
    path = "$"
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            bare = len(step) <= _SHOWN and step.isascii() and step.isidentifier()
            path += f".{step}" if bare else f"[{step[:_SHOWN]!r}]"
    return path


class Subschemas:
    """Find the schemas in *root*, a JSON value of one's own: identifiers are taken out of it.

    Raises:
        Refused: there are too many, or a reference leads outside, nowhere, or to itself for ever.
    """

    def __init__(self, root: dict[str, Any]) -> None:
        self.targets: dict[str, Any] = {}
        """What each reference leads to."""
        self.apart: list[dict[str, Any]] = []
        """What references lead to that stands where no schema is looked for."""
        self.patterns: dict[str, Subschema] = {}
        """The regular expressions, and where each stands first."""
        self._root = root
        self._dialect = root.get("$schema")
        self._found: dict[int, Subschema] = {}
        self._anchors: dict[str, dict[str, Any]] = {}
        self._referring: list[tuple[Subschema, str]] = []
        self._add(Subschema(root))
        while self._referring:
            self._follow(*self._referring.pop())
        self._bound()

    def _add(self, first: Subschema) -> None:
        """Take note of *first* and the schemas in it; nobody has checked that they are any."""
        waiting = [first]
        while waiting:
            place = waiting.pop()
            self._found[id(place.schema)] = place
            if len(self._found) > MOST:
                raise Refused(f"it holds more than {MOST} schemas")
            self._read(place)
            for steps, schema, same in _schemas_in(place.schema):
                inner = self._found.get(id(schema))
                if inner is None:
                    inner = Subschema(schema, place, steps, place.embedded)
                    waiting.append(inner)
                if same:
                    place.same.append(inner)

    def _read(self, place: Subschema) -> None:
        schema = place.schema
        for name in ("$id", "id"):
            if isinstance(identifier := schema.get(name), str):
                del schema[name]
                if identifier.startswith("#"):  # as drafts 4 to 7 write an anchor
                    self._anchors[identifier[1:]] = schema
                elif place.above is not None:
                    place.embedded = True
        if isinstance(dialect := schema.get("$schema"), str):
            if dialect != self._dialect:
                raise Refused(f"{place.path} is of another draft than what it stands in")
            del schema["$schema"]
        for name in _ANCHORS:
            if isinstance(schema.get(name), str):
                self._anchors[schema[name]] = schema
        for name in _REFERENCES:
            if name in schema:
                if not isinstance(schema[name], str):
                    raise Refused(f"{place.path}.{name} is no text")
                self._referring.append((place, schema[name]))
        patterns = schema.get("patternProperties")
        for pattern in [schema.get("pattern"), *(patterns if isinstance(patterns, dict) else ())]:
            if isinstance(pattern, str):
                self.patterns.setdefault(pattern, place)

    def _follow(self, place: Subschema, reference: str) -> None:
        what = f"$ref {reference!r:.100}"
        if not reference.startswith("#"):
            raise Refused(f"{what} is outside it; nothing is ever fetched: put it into $defs")
        if place.embedded:
            raise Refused(f"{what} stands in a schema with an $id of its own; leave the $id out")
        try:
            target = self._anchors[reference[1:]] if reference[1:] in self._anchors else self._pointed(reference)
        except (LookupError, ValueError):
            raise Refused(f"{what} leads nowhere; put what it means into $defs") from None
        if not isinstance(target, (dict, bool)):
            raise Refused(f"{what} leads to something that is no schema")
        self.targets[reference] = target
        if isinstance(target, dict):
            if id(target) not in self._found:
                self.apart.append(target)
                self._add(Subschema(target, None, (reference,)))
            place.same.append(self._found[id(target)])

    def _pointed(self, reference: str) -> Any:
        """Follow a JSON Pointer (RFC 6901, section 6)."""
        first, *steps = unquote(reference[1:]).split("/")
        if first:
            raise LookupError(first)
        target: Any = self._root
        for step in steps:
            step = step.replace("~1", "/").replace("~0", "~")
            target = target[int(step)] if isinstance(target, list) else dict(target)[step]
        return target

    def _bound(self) -> None:
        """Refuse schemas that lead back to themselves with the same value, and those that grow too large."""
        above: dict[int, list[Subschema]] = {}
        waits: dict[int, int] = {}
        for place in self._found.values():
            waits[id(place)] = len(place.same)
            for each in place.same:
                above.setdefault(id(each), []).append(place)
        size = dict.fromkeys(waits, 1)
        ready = [place for place in self._found.values() if not place.same]
        for place in ready:
            if size[id(place)] > MOST:
                raise Refused(f"it holds one value against more than {MOST} schemas, following references")
            for each in above.get(id(place), ()):
                size[id(each)] += size[id(place)]
                waits[id(each)] -= 1
                if not waits[id(each)]:
                    ready.append(each)
        if len(ready) < len(waits):
            circle = next(place for place in self._found.values() if waits[id(place)])
            raise Refused(f"{circle.path} leads back to itself without going into the value, for ever")


def _schemas_in(schema: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any], bool]]:
    """Give what stands where schemas do in *schema*, with where, and whether it is for the same value."""
    for name, (same, named) in _PLACE.items():
        held = schema.get(name)
        if isinstance(held, list):
            inner: Iterable[tuple[tuple[str | int, ...], Any]] = (((name, at), each) for at, each in enumerate(held))
        elif named and isinstance(held, dict):
            inner = (((name, key), each) for key, each in held.items())
        else:
            inner = [((name,), held)]
        for steps, each in inner:
            if isinstance(each, dict):
                yield steps, each, same
