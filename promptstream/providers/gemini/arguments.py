"""Pieces of a function call's arguments in, one JSON text out (streamFunctionCallArguments).

Each piece names its place by a JSONPath and comes in the order of the document, so that the text can be
written as it goes: https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling
"""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_DEEPEST = 60


@attrs.define(eq=False)
class _Level:
    """An object or a list that is still open."""

    keys: set[str] | None
    """The keys written so far; None of a list."""
    step: str | int
    """The key, or index, of what is written last."""


class Arguments:
    """Write the arguments of one call as JSON text, piece by piece."""

    def __init__(self) -> None:
        self.problem: str | None = None
        """Why the pieces make no whole text, where they do not."""
        self._levels: list[_Level] = []
        self._text = False
        """True while a string is open."""

    def add(self, pieces: Any) -> str:
        """Take ``partialArgs`` and give the JSON text they add."""
        written = []
        for piece in pieces if isinstance(pieces, list) else [pieces]:
            if self.problem is None:
                written.append(self._write(piece))
        return "".join(written)

    def close(self) -> str:
        """Give what the text still lacks, every object and list closed; a string still open is a problem."""
        if self._text:
            self.problem = self.problem or "a string among them was not ended"
        if not self._levels:
            return "{}"
        return self._closed(0)

    def _write(self, piece: Any) -> str:
        path = _steps(piece.get("jsonPath")) if isinstance(piece, dict) else None
        if not path:
            return self._fail("a piece of them has no path")
        text = piece.get("stringValue")
        if isinstance(text, str):
            value, goes_on = json.dumps(text, ensure_ascii=False)[1:-1], bool(piece.get("willContinue"))
            if self._text and path == [level.step for level in self._levels]:
                before = ""
            elif (opened := self._reach(path)) is not None:
                before = f'{opened}"'
            else:
                return ""
            self._text = goes_on
            return f"{before}{value}" if goes_on else f'{before}{value}"'
        scalar = _scalar(piece)
        if scalar is None:
            return ""
        before_scalar = self._reach(path)
        return "" if before_scalar is None else before_scalar + scalar

    def _reach(self, path: list[str | int]) -> str | None:
        """Close what is left and open what is entered on the way to *path*, whose value comes next."""
        if self._text:
            self._fail("a string among them was not ended")
            return None
        shared = 0
        for level, step in zip(self._levels, path, strict=False):
            if level.step != step:
                break
            shared += 1
        if not self._levels:
            return self._opened(path, "")
        if shared >= len(self._levels) or shared >= len(path):
            self._fail("a value of them came twice")
            return None
        closed, level, step = self._closed(shared + 1), self._levels[shared], path[shared]
        if isinstance(step, str):
            if level.keys is None or step in level.keys:
                self._fail("they came out of order")
                return None
            level.keys.add(step)
            key = f"{json.dumps(step, ensure_ascii=False)}:"
        else:
            if level.keys is not None or not isinstance(level.step, int) or step != level.step + 1:
                self._fail("they came out of order")
                return None
            key = ""
        level.step = step
        return self._opened(path[shared + 1 :], f"{closed},{key}")

    def _opened(self, path: list[str | int], before: str) -> str | None:
        written = [before]
        for step in path:
            if isinstance(step, str):
                self._levels.append(_Level({step}, step))
                written.append(f"{{{json.dumps(step, ensure_ascii=False)}:")
            elif step == 0:
                self._levels.append(_Level(None, 0))
                written.append("[")
            else:
                self._fail("they came out of order")
                return None
        return "".join(written)

    def _closed(self, depth: int) -> str:
        """Close all levels from *depth* on."""
        ends = ["]" if level.keys is None else "}" for level in reversed(self._levels[depth:])]
        del self._levels[depth:]
        return "".join(ends)

    def _fail(self, problem: str) -> str:
        self.problem = problem
        return ""


def _steps(path: Any) -> list[str | int] | None:
    """Give the steps of a JSONPath of plain keys and indexes (RFC 9535), or None where it is none."""
    if not isinstance(path, str) or not path.startswith("$"):
        return None
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or len(steps) >= _DEEPEST:
            return None
        plain, index, single, double = found.groups()
        quoted = single if single is not None else double
        steps.append(int(index) if index else plain or _ESCAPE.sub(r"\1", quoted or ""))
        at = found.end()
    return steps


def _scalar(piece: dict[str, Any]) -> str | None:
    """Give a number, truth value or null as JSON; None where the piece holds none."""
    for name in ("numberValue", "boolValue"):
        if isinstance(value := piece.get(name), (int, float)):
            return json.dumps(value)
    return "null" if "nullValue" in piece else None
