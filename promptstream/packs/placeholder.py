"""A template's text goes in, the pieces it is made of come out, with what is wrong and what is doubtful in it.

Between ``{{`` and ``}}`` stands a variable's path, a fragment's name, or something that other template languages
know and this one does not, which is a problem. Anything else is text that happens to contain braces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from promptstream.packs.finding import shown, similar

_NOTES = 20

# Each of these moves on with every character it reads and never comes back: linear on any text.
_OPENING = re.compile(r"\{\{(?!\{)([^{}]*)(\}\})?")
_PATH = re.compile(r"[^\W\d]\w*(?:\.\w+|\[[0-9]{1,9}\])*")
_STEP = re.compile(r"\w+")
_FRAGMENT = re.compile(r"(?:fragments\.|fragments?\s*:)\s*(.+)", re.DOTALL)
_BLOCK = re.compile(r"!|[#^>@/]\s*\w|(?:else|if|elif|elsif|unless|each|for|range|with|end|include|block|define)\s+\S")
_FILTER = re.compile(r"[^|]*[^\W]\s*\|(?!\|)")
_OTHER_LANGUAGE = re.compile(r"\w+\s*[:,]")
_MEANT = re.compile(r"[^\W\d][\w\s.\-\[\]\"']*|[.$][^\W\d][\w.\[\]]*|-\s[\w\s.\-]*")
_MEANT_FRAGMENT = re.compile(r"frag\w*\s*:")

Steps: TypeAlias = "tuple[str | int, ...]"


@attrs.frozen
class Placeholder:
    """Stand for the value at a path."""

    source: str
    """The path as it is written."""
    steps: Steps
    """A name, then keys (strings) and indexes (integers)."""


@attrs.frozen
class Reference:
    """Name a fragment; a *bare* one may be a variable's name as well."""

    name: str
    bare: bool


@attrs.define(eq=False)
class Scan:
    """Hold the pieces of a text; ``problems`` and ``doubts`` say line and column, 20 of each at most."""

    parts: list[str | Placeholder | Reference] = attrs.Factory(list)
    problems: list[str] = attrs.Factory(list)
    """What can only be a mistake, or a feature that is not supported."""
    doubts: list[str] = attrs.Factory(list)
    """What may be a mistake; it stays as it is."""

    @property
    def references(self) -> tuple[str, ...]:
        """The fragments it names, each once."""
        return tuple(dict.fromkeys(part.name for part in self.parts if isinstance(part, Reference)))


def scan(text: str, fragments: Mapping[str, str], own: str | None = None) -> Scan:
    """Cut *text* into literal text, placeholders and references to *fragments*; *own* is the fragment it is."""
    found, done, whole = Scan(), 0, text.strip()
    unclosed: set[int] | None = None
    for match in _OPENING.finditer(text):
        if match[2] is None:
            unclosed = _unclosed_braces(text) if unclosed is None else unclosed
            bad = match.start() in unclosed or match.start() + 1 in unclosed
            if _PATH.match(match[1]):
                what = "is never closed; write {{name}}" if bad else "is not a placeholder and stays as it is"
                _note(found.problems if bad else found.doubts, text, match, what)
            continue
        part = _part(match[1].strip(), fragments, own if whole == match[0] else None)
        if isinstance(part, str):
            _note(found.problems, text, match, part)
        elif part is _DOUBT:
            _note(found.doubts, text, match, "is not a placeholder and stays as it is")
        elif part is not None:
            if match.start() > done:
                found.parts.append(text[done : match.start()])
            found.parts.append(part)
            done = match.end()
    if done < len(text):
        found.parts.append(text[done:])
    return found


_DOUBT = Reference("", False)


def _part(content: str, fragments: Mapping[str, str], own: str | None) -> Placeholder | Reference | str | None:
    """Read what stands between ``{{`` and ``}}``: a part, _DOUBT, what is wrong with it, or None for other text."""
    named = _FRAGMENT.fullmatch(content)
    if named is not None:
        name = named[1].strip()
        if name in fragments:
            return Reference(name, bare=False)
        return f"there is no fragment {shown(name)}.{similar(name, fragments) or ' Add it to fragments'}"
    # A compiled pack may hold {"company": "{{company}}"}: a stub for the variable, not a cycle.
    if content in fragments and content != own:
        return Reference(content, bare=True)
    if content == "else" or _BLOCK.match(content):
        return "conditionals, loops and partials are not supported; write one prompt for each case"
    if _PATH.fullmatch(content):
        return Placeholder(content, _steps(content))
    if _MEANT_FRAGMENT.match(content):
        return "this is not how a fragment is used; write {{fragment:name}}"
    if _OTHER_LANGUAGE.match(content):
        return None
    if content[:1].isidentifier() and _FILTER.match(content):
        return "filters are not supported; give the variable its final value"
    if _MEANT.fullmatch(content):
        return "this is not a placeholder; write {{name}}, {{name.key}} or {{name[0]}}"
    return _DOUBT if content[:1].isidentifier() else None


def _steps(path: str) -> Steps:
    steps: list[str | int] = []
    for match in _STEP.finditer(path):
        index = path[match.start() - 1 : match.start()] == "["
        steps.append(int(match[0]) if index else match[0])
    return tuple(steps)


def _note(notes: list[str], text: str, match: re.Match[str], what: str) -> None:
    if len(notes) < _NOTES:
        start = match.start()
        line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
        notes.append(f"line {line}, column {column}: {shown(match[0])}: {what}")


def _unclosed_braces(text: str) -> set[int]:
    opened: list[int] = []
    for match in re.finditer(r"[{}]", text):
        if match[0] == "{":
            opened.append(match.start())
        elif opened:
            opened.pop()
    return set(opened)
