"""A place in a pack and what is wrong there go in; findings, bounded in number and length, come out."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import attrs

from promptstream.values.names import nearest

LIMIT = 500
_COMPARED = 60
_SHOWN = 60
_KEY = 80


@attrs.frozen
class Finding:
    """Tell one thing that is wrong with a pack. ``str(finding)`` is ``path: message``."""

    path: str
    """A JSON path, such as ``$.prompts.chat.variables[0].type``."""
    message: str
    fatal: bool = False
    """True where no text turn is possible with it; False where only a strict load refuses it."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Findings:
    """Collect findings in the order they are made, at most 500 fatal and 500 others, so that no pack can flood us."""

    def __init__(self) -> None:
        self._all: list[Finding] = []
        self._counts = {False: 0, True: 0}

    def add(self, path: str, message: str, *, fatal: bool = False) -> None:
        """Add a finding, unless there are 500 of its kind already."""
        self._counts[fatal] += 1
        if self._counts[fatal] <= LIMIT:
            self._all.append(Finding(path, message, fatal))

    def full(self, *, fatal: bool = False) -> bool:
        """Tell whether further ones of this kind would be dropped, so that none need be worked out."""
        return self._counts[fatal] >= LIMIT

    @property
    def fatal(self) -> tuple[Finding, ...]:
        """The findings that make the pack unusable."""
        return tuple(each for each in self._all if each.fatal)

    @property
    def all(self) -> tuple[Finding, ...]:
        """Every finding, in order."""
        return tuple(self._all)


def step(path: str, key: str | int) -> str:
    """Give the JSON path of *key* below *path*; a very long key is shortened."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if len(key) > _KEY:
        key = key[:_KEY] + "…"
    if key.isascii() and key.removeprefix("$").isidentifier():
        return f"{path}.{key}"
    return f"{path}[{key!r}]"


def shown(value: object) -> str:
    """Show *value* as ``repr`` does, in some 60 characters at most, whatever it is."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _SHOWN else repr(value[:_SHOWN] + "…")
    from reprlib import Repr  # only ever needed on the way to an error

    short = Repr()
    short.maxstring = short.maxother = short.maxlong = _SHOWN
    text = short.repr(value)
    return text if len(text) <= _SHOWN * 2 else text[: _SHOWN * 2] + "…"


def kind(value: object) -> str:
    """Name the JSON kind of *value*, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    for types, name in (((int, float), "a number"), (str, "a string"), (dict, "an object"), (list, "an array")):
        if isinstance(value, types):
            return name
    return f"a Python {type(value).__name__}"


def similar(name: str, known: Iterable[Any]) -> str:
    """Give " Did you mean 'x'?" as ``nearest`` does, in bounded time: it compares 60 names of about that length."""
    if len(name) > _KEY:
        return ""
    room = 2 + len(name) // 2
    alike = (each for each in known if isinstance(each, str) and abs(len(each) - len(name)) <= room)
    return nearest(name, islice(alike, _COMPARED))
