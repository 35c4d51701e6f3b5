"""A template's text and the fragments it may use go in once; the values of a turn go in and its text comes out.

``{{name}}``, ``{{user.profile.name}}`` and ``{{items[0].title}}`` stand for values; ``{{fragment:name}}``,
``{{fragments.name}}`` and, where no value of that name is given, ``{{name}}`` for fragments. A value is never read
again as a template. Other text in braces, JSON for example, stays as it is.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any

import attrs

from promptstream.errors import MissingVariable, PackError, VariableInvalid
from promptstream.packs.finding import shown, similar
from promptstream.packs.placeholder import Placeholder, Reference, Scan, Steps, scan

LARGEST = 4 * 1024 * 1024
DEEPEST = 32
_INDEX = re.compile(r"[0-9]{1,9}")
_BYTES = (bytes, bytearray, memoryview)
_TOO_LARGE = "with the fragments it uses it grows above 4 MiB; use fewer of them"


@attrs.frozen(eq=False)
class Inclusion:
    """Stand for a fragment; a *bare* one gives way to a value of its name."""

    name: str
    template: Template
    bare: bool


@attrs.frozen(eq=False)
class Template:
    """Hold a parsed template. Immutable: any number of threads may render it at once."""

    text: str = attrs.field(repr=shown)
    parts: tuple[str | Placeholder | Inclusion, ...] = attrs.field(repr=False)
    doubts: tuple[str, ...] = ()
    """What looks like a placeholder, is none, and is sent as it stands."""
    size: int = attrs.field(default=0, repr=False)
    """Characters and placeholders it expands to, fragments included."""
    depth: int = attrs.field(default=0, repr=False)

    @classmethod
    def parse(cls, text: str, fragments: Mapping[str, str] | Fragments | None = None) -> Template:
        """Parse *text* once, for any number of renderings; it may use the *fragments*. Any thread may call it.

        Raises:
            PackError: a placeholder cannot be understood, a fragment is unknown, or fragments form a
                cycle; ``problems`` lists them all.
        """
        library = fragments if isinstance(fragments, Fragments) else Fragments(fragments or {})
        template, problems = library.parse(text)
        if template is not None:
            return template
        for name, found in library.problems.items():
            problems += (f"fragment {shown(name)}: {problem}" for problem in found)
        raise PackError(f"The template cannot be used: {'; '.join(problems[:5])}.", problems)

    @classmethod
    def joined(cls, templates: Sequence[Template]) -> Template:
        """Give one template that writes *templates* one after another, with nothing in between."""
        return cls(
            "".join(each.text for each in templates),
            tuple(part for each in templates for part in each.parts),
            tuple(doubt for each in templates for doubt in each.doubts),
            sum(each.size for each in templates),
            max(each.depth for each in templates),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variables it uses, each once, in order, through fragments too."""
        return tuple(dict.fromkeys(str(each.steps[0]) for each in self._placeholders(set())))

    def render(self, values: Mapping[str, Any]) -> str:
        """Give the text with every placeholder replaced by its value. Any thread may call it.

        None becomes nothing, a boolean ``true`` or ``false``, a list or a mapping JSON, anything else ``str()``.

        Raises:
            MissingVariable: a placeholder has no value; all of them are named.
            VariableInvalid: a list or a mapping cannot be written as JSON, or a value has no text of its own.
        """
        out: list[str] = []
        missing: dict[str, str] = {}
        self._render(values, out, missing)
        if missing:
            names = ", ".join(map(repr, missing))
            hints = "".join(missing.values())
            raise MissingVariable(
                f"The template uses {names}, and no value was given.{hints} Give variables={{...}}.", missing
            )
        return "".join(out)

    def _render(self, values: Mapping[str, Any], out: list[str], missing: dict[str, str]) -> None:
        for part in self.parts:
            if isinstance(part, str):
                out.append(part)
            elif isinstance(part, Placeholder):
                try:
                    value = _walk(values, part.steps)
                except LookupError as error:
                    missing.setdefault(part.source, str(error.args[0]))
                else:
                    out.append(as_text(value, part.source))
            elif part.bare and part.name in values:
                out.append(as_text(values[part.name], part.name))
            else:
                part.template._render(values, out, missing)

    def _placeholders(self, seen: set[int]) -> Iterator[Placeholder]:
        for part in self.parts:
            if isinstance(part, Placeholder):
                yield part
            elif isinstance(part, Inclusion) and id(part.template) not in seen:
                seen.add(id(part.template))
                yield from part.template._placeholders(seen)


class Fragments:
    """Parse the fragments of a pack once, each on its own, and link those that can be linked.

    ``problems`` holds what is wrong, by fragment; the others are in ``templates``.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self.templates: dict[str, Template] = {}
        self.problems: dict[str, list[str]] = {}
        self._scans = {name: scan(text, texts, name) for name, text in texts.items()}
        for name, found in self._scans.items():
            if found.problems:
                self.problems[name] = list(found.problems)
        self._link_all()

    def parse(self, text: str) -> tuple[Template | None, list[str]]:
        """Give the template of *text*, or None and what is wrong with it; of its fragments ``problems`` tells."""
        found = scan(text, self.texts)
        if found.problems or any(name not in self.templates for name in found.references):
            return None, found.problems
        template = self._link(text, found)
        return (template, []) if template.size <= LARGEST else (None, [_TOO_LARGE])

    def _link(self, text: str, found: Scan) -> Template:
        """Make the template of *found*, whose fragments are all linked."""
        parts: list[str | Placeholder | Inclusion] = []
        size, depth = 0, 0
        for part in found.parts:
            if isinstance(part, Reference):
                fragment = self.templates[part.name]
                parts.append(Inclusion(part.name, fragment, part.bare))
                size, depth = size + fragment.size + 1, max(depth, fragment.depth + 1)
            else:
                parts.append(part)
                size += len(part) if isinstance(part, str) else 1
        return Template(text, tuple(parts), tuple(found.doubts), size, depth)

    def _link_all(self) -> None:
        """Link from the leaves up, without recursion: what is left in the end leans on a cycle or a bad one."""
        waits = {name: set(found.references) for name, found in self._scans.items()}
        users: dict[str, list[str]] = {}
        for name, needed in waits.items():
            for each in needed:
                users.setdefault(each, []).append(name)
        ready = deque(name for name, needed in waits.items() if not needed)
        while ready:
            name = ready.popleft()
            del waits[name]
            if name not in self.problems and self._keep(name):
                for user in users.get(name, ()):
                    waits[user].discard(name)
                    if not waits[user]:
                        ready.append(user)
        self._name_cycles(waits)

    def _keep(self, name: str) -> bool:
        template = self._link(self.texts[name], self._scans[name])
        if template.size > LARGEST:
            self.problems[name] = [_TOO_LARGE]
        elif template.depth >= DEEPEST:
            self.problems[name] = [f"its fragments are nested deeper than {DEEPEST} levels"]
        else:
            self.templates[name] = template
        return name in self.templates

    def _name_cycles(self, waits: Mapping[str, set[str]]) -> None:
        seen: set[str] = set()
        for start in waits:
            chain: dict[str, None] = {}
            name: str | None = start
            while name is not None and name not in seen:
                seen.add(name)
                chain[name] = None
                name = next((each for each in self._scans[name].references if each in waits), None)
            if name in chain:
                walk = list(chain)
                circle = [*walk[walk.index(name) :], name]
                text = " → ".join(circle if len(circle) <= 10 else [*circle[:9], "…", name])
                self.problems.setdefault(name, []).append(f"fragments include each other in a cycle: {text}")


def _walk(values: Mapping[str, Any], steps: Steps) -> Any:
    """Follow *steps* through mappings and sequences only; None has nothing in it and stays None.

    Raises:
        LookupError: there is nothing at a step; its text is a hint.
    """
    value: Any = values
    for count, key in enumerate(steps):
        if isinstance(value, Mapping):
            if key not in value:
                here = f" {_joined(steps[:count])!r} has no {key!r}.{similar(str(key), value)}"
                raise LookupError(here if count else near(str(key), value))
            value = value[key]
        elif value is None and count:
            return None
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and _INDEX.fullmatch(str(key)):
            if int(key) >= len(value):
                raise LookupError(f" {_joined(steps[:count])!r} has {len(value)} items and no [{key}].")
            value = value[int(key)]
        else:
            raise LookupError(f" {_joined(steps[:count])!r} is {shown(value)} and has no {key!r}.")
    return value


def _joined(steps: Steps) -> str:
    return "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in steps).lstrip(".")


def near(name: str, given: Iterable[Any]) -> str:
    """Give " 'user_nam' was given." for the given name closest to *name*, or "" where none is close."""
    from difflib import get_close_matches  # only ever needed on the way to an error

    lower = {each.lower(): each for each in given if isinstance(each, str)}  # User_Name is user_name, mistyped
    found = get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f" {lower[found[0]]!r} was given." if found else ""


def as_text(value: Any, name: str) -> str:
    """Write *value* as a template shows it; *name* is what an error calls it.

    Raises:
        VariableInvalid: a list or a mapping cannot be written as JSON, or it is of a type without a text of its own.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (Mapping, Sequence)) or isinstance(value, _BYTES):
        if not _has_text(value):
            raise VariableInvalid(
                f"The variable {name!r} is a Python {type(value).__name__}, which a prompt has no text for; "
                "give a string, a number, a list or a mapping."
            )
        return str(value)
    import json

    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise VariableInvalid(f"The variable {name!r} cannot be written as JSON: {error}.") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, _BYTES):
        return list(value)
    if not _has_text(value):
        raise TypeError(f"a prompt has no text for a Python {type(value).__name__}")
    return str(value)


def _has_text(value: Any) -> bool:
    """Tell whether ``str`` gives what *value* means, as of dates and decimals, and not where it lies in memory."""
    bare: Any = object.__str__
    return isinstance(value, Number) or (type(value).__str__ is not bare and not isinstance(value, _BYTES))
