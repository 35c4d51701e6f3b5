"""A path or a mapping goes in, a plain dict of JSON values comes out, or a PackError that says why not."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptstream.errors import PackError
from promptstream.packs.finding import Findings, kind, similar, step

LARGEST = 4 * 1024 * 1024
DEEPEST = 64
_FIX = "A pack is a JSON object with prompts: {name: {system_template: ...}}."


class _Doubled(dict[str, Any]):
    """A JSON object whose text named some keys more than once."""

    doubled: tuple[str, ...] = ()


def read(path: str | os.PathLike[str], findings: Findings) -> tuple[dict[str, Any], Path]:
    """Read the pack file at *path* (relative to the working directory) and give it with its absolute path.

    Raises:
        PackError: the file is missing, a directory, unreadable, above 4 MiB, not UTF-8, not JSON, or no object.
        TypeError: *path* is not a path.
    """
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"pack={path!r}: give the path as a string, not as bytes.")
    if not name.strip():
        raise PackError("The path of the pack is empty; give the path of a *.pack.json file.")
    if name.lstrip().startswith("{"):
        raise PackError("The pack is JSON text where a path is expected; give a dict: json.loads(text).")
    where = _absolute(name)
    return plain(parsed(_bytes(where), f"The pack file {str(where)!r}"), findings, repr(str(where))), where


def parsed(data: bytes, what: str) -> dict[str, Any]:
    """Give the JSON object that *data* is; errors call it *what*.

    Raises:
        PackError: it is above 4 MiB, not UTF-8, not JSON, or no object.
    """
    if len(data) > LARGEST:
        raise PackError(f"{what} is larger than 4 MiB; a pack of prompts is far smaller.")
    return _parse(_text(data, what), what)


def plain(value: Mapping[str, Any], findings: Findings, what: str = "The pack") -> dict[str, Any]:
    """Copy *value* into dicts and lists of its own; keys that its JSON text doubled become findings.

    Raises:
        PackError: it is nested deeper than 64, or a key is not a string.
    """
    # By identity, so that sharing cannot explode; each original is kept, so that its id stays its own.
    copies: dict[int, tuple[Any, Any]] = {}

    def copy(value: Any, path: str, depth: int) -> Any:
        if not isinstance(value, (Mapping, list, tuple)):
            return value
        if depth > DEEPEST:
            raise PackError(f"{what} is nested deeper than {DEEPEST} levels at {path[:200]}; make it flatter.")
        if id(value) in copies:
            return copies[id(value)][1]
        made: Any
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    raise PackError(f"{what} has the key {key!r} at {path}; keys must be strings.")
            for key in getattr(value, "doubled", ()):
                findings.add(step(path, key), "this key is there more than once; the last one is used")
            made = {key: copy(each, step(path, key), depth + 1) for key, each in value.items()}
        else:
            made = [copy(each, step(path, place), depth + 1) for place, each in enumerate(value)]
        copies[id(value)] = (value, made)
        return made

    made: dict[str, Any] = copy(value, "$", 1)
    return made


def _absolute(name: str) -> Path:
    try:
        return Path(os.path.abspath(name))
    except (OSError, ValueError):  # the working directory is gone
        return Path(name)


def _bytes(where: Path) -> bytes:
    shown = repr(str(where))
    try:
        if not stat.S_ISREG(os.stat(where).st_mode) and not os.path.isdir(where):  # a pipe may never be written to
            raise PackError(f"{shown} is no regular file, but a pipe or a device; give the path of a pack file.")
        with open(where, "rb") as file:
            return file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise PackError(f"There is no pack file {shown}.{_neighbour(where)}") from None
    except (OSError, ValueError) as error:
        if os.path.isdir(where):
            raise PackError(f"{shown} is a directory; give the path of a pack file in it.") from None
        reason = getattr(error, "strerror", None) or str(error)
        raise PackError(f"The pack file {shown} cannot be read: {reason}.") from error


def _neighbour(where: Path) -> str:
    """Tell what is there instead of the missing file."""
    from itertools import islice

    folder = where.parent
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in islice(entries, 1000))
    except (OSError, ValueError):
        return f" There is no directory {str(folder)!r} that can be read either; check the path."
    fuller = [name for name in names if name.endswith(".json") and name.startswith(where.name)]
    if fuller:
        return f" Did you mean {fuller[0]!r}?"
    return similar(where.name, names) or " Check the path; a relative one starts at the working directory."


def _text(data: bytes, what: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        coding = " It looks like UTF-16." if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise PackError(
            f"{what} is not UTF-8: byte 0x{data[error.start]:02x} in line {line}.{coding} Save it as UTF-8."
        ) from None
    if not text.strip():
        raise PackError(f"{what} is empty. {_FIX}")
    return text


def _parse(text: str, what: str) -> dict[str, Any]:
    import json

    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        stands = text[error.pos : error.pos + 30].split("\n")[0]
        place = f"where {stands!r} stands" if stands else "where the line or the file ends"
        raise PackError(
            f"{what} is not JSON: {error.msg}: line {error.lineno}, column {error.colno}, {place}."
        ) from None
    except RecursionError:
        raise PackError(f"{what} is nested deeper than {DEEPEST} levels; make it flatter.") from None
    except ValueError as error:
        reason = "a number in it has thousands of digits" if "digits" in str(error) else str(error)
        raise PackError(f"{what} cannot be used: {reason}.") from None
    if not isinstance(value, dict):
        raise PackError(f"{what} holds {kind(value)}. {_FIX}")
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = _Doubled(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        doubled: dict[str, None] = {}
        for key, _ in pairs:
            if key in seen:
                doubled[key] = None
            seen.add(key)
        made.doubled = tuple(doubled)
    return made


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number; write a finite one")
