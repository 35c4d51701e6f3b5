"""A docstring in, its first paragraph and what it says of each argument out: Google, NumPy and Sphinx style."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc

_SECTION = re.compile(
    r"(args|arguments|parameters|params|attributes|keyword args|keyword arguments|other parameters)\s*:?"
)
_RULE = re.compile(r"\s*-{3,}\s*")
_GOOGLE = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:(?:\s+(.*)|$)")
_NUMPY = re.compile(r"(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?")
_SPHINX = re.compile(r":(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:]*\s)?(\w+)\s*:\s*(.*)")


def read_docstring(text: str | None) -> tuple[str, dict[str, str]]:
    """Give the first paragraph of *text* and the descriptions of arguments, each on one line."""
    lines = cleandoc(text or "").splitlines()
    told: dict[str, list[str]] = {}
    for name, words in (*_sphinx(lines), *_sections(lines)):
        told.setdefault(name, []).append(words.strip())
    return _summary(lines), {name: joined for name, words in told.items() if (joined := " ".join(words).strip())}


def _summary(lines: list[str]) -> str:
    kept = []
    for at, line in enumerate(lines):
        if not line.strip() or line.startswith(":") or _heads(lines, at):
            break
        kept.append(line.strip())
    return " ".join(kept)


def _heads(lines: list[str], at: int) -> bool:
    """Tell whether a section of arguments begins in line *at*."""
    if not _SECTION.fullmatch(lines[at].strip().lower()):
        return False
    return lines[at].rstrip().endswith(":") or (at + 1 < len(lines) and _RULE.fullmatch(lines[at + 1]) is not None)


def _sphinx(lines: list[str]) -> Iterator[tuple[str, str]]:
    name = ""
    for line in lines:
        if found := _SPHINX.fullmatch(line.strip()):
            name = found[1]
            yield name, found[2]
        elif name and line.startswith((" ", "\t")) and line.strip():
            yield name, line
        else:
            name = ""


def _sections(lines: list[str]) -> Iterator[tuple[str, str]]:
    for at in range(len(lines)):
        if _heads(lines, at):
            numpy = not lines[at].rstrip().endswith(":") or (
                at + 1 < len(lines) and bool(_RULE.fullmatch(lines[at + 1]))
            )
            yield from _entries(lines[at + 2 if numpy else at + 1 :], numpy)


def _entries(lines: list[str], numpy: bool) -> Iterator[tuple[str, str]]:
    """Give the arguments of one section, a line of description at a time."""
    base: int | None = None
    names: list[str] = []
    for at, line in enumerate(lines):
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        if base is None:
            base = indent
        if indent < base or (not numpy and indent == 0):
            return
        if indent > base:
            yield from ((name, line) for name in names)
            continue
        if numpy and at + 1 < len(lines) and _RULE.fullmatch(lines[at + 1]):
            return  # the next section
        found = (_NUMPY if numpy else _GOOGLE).fullmatch(line.strip())
        if found is None:
            names = []
            continue
        names = [name.strip() for name in found[1].split(",")]
        if not numpy:
            yield names[0], found[2] or ""
