"""A recording's file in, its exchanges out; where it cannot be read, the line that is to blame."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from os import PathLike, fspath
from typing import Any, Literal

import attrs

from promptstream.errors import ConfigError
from promptstream.recording import FORMAT, MARK
from promptstream.recording.checks import END, PROVIDER, REQUEST, check, check_depth
from promptstream.recording.told import KINDS, Reader, error_maker
from promptstream.values.chunk import Chunk

Ending = Literal["whole", "cut", "error", "left", "open"]
_ENDINGS = ("whole", "cut", "error", "left")


@attrs.define(eq=False)
class Exchange:
    """Hold one request and all that came back."""

    number: int
    """Where it stands in the file, from 1."""
    line: int
    """The line of its request."""
    request: Mapping[str, Any]
    chunks: list[tuple[float, Chunk]] = attrs.field(factory=list)
    """Each with the seconds it came after the request, without the time that the loop took."""
    ending: Ending = "open"
    """"whole"; "cut" without a finish signal; "error"; "left" by the loop; "open" where the recording ends in it."""
    at: float = 0.0
    """The seconds to its end."""
    error: Callable[[], Exception] | None = None
    """Makes the error that it ended with."""
    cost: Decimal | None = None
    """What it cost, where the provider did not say so and a price was known."""
    reader: Reader = attrs.field(factory=Reader, repr=False)

    @property
    def provider(self) -> str:
        """The name of the provider that was asked."""
        return str(self.request.get("provider") or "")

    @property
    def model(self) -> str:
        """The model that was asked."""
        return str(self.request.get("model") or "")


@attrs.frozen(eq=False)
class Recording:
    """Hold what a file holds."""

    path: str
    exchanges: tuple[Exchange, ...]
    providers: Mapping[str, Mapping[str, Any]]
    """What is told of each provider, by name: ``model``, ``capabilities``, ``free``."""

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Recording:
        """Read a file. What a crash leaves can be read: its last line, where it is cut, does not count.

        Raises:
            ConfigError: there is none, it is no recording, it is of a newer format, or a line is damaged.
        """
        name = fspath(path)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise ConfigError(f"The recording {name} cannot be read: {error.strerror or error}.") from None
        return _read(name, data)


def check_head(path: str, line: bytes) -> None:
    """Make sure that a file that begins with *line* is a recording of a format that is known here.

    Raises:
        ConfigError: it is not.
    """
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get(MARK) != "recording":
        raise ConfigError(f"{path}, line 1: this is no recording; its first line would be {{{json.dumps(MARK)}: …}}.")
    _check_format(path, 1, head)


def _check_format(path: str, line: int, head: Mapping[str, Any]) -> None:
    version = head.get("format")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ConfigError(f"{path}, line {line}: the format is {version!r:.40}; it is a number.")
    if version > FORMAT:
        raise ConfigError(
            f"{path}, line {line}: the recording is of format {version}, and this version reads up to {FORMAT}. "
            "Update promptstream-sdk, or record it again."
        )


def _read(path: str, data: bytes) -> Recording:
    lines = data.split(b"\n")
    cut = lines.pop()  # what follows the last line's end: nothing, or what a crash left of a line
    if not lines and not cut.strip():
        raise ConfigError(f"{path}, line 1: the recording is empty.")
    check_head(path, lines[0] if lines else cut)
    kept = _Lines(path)
    if is_whole(cut):
        lines.append(cut)
    for number, line in enumerate(lines, 1):
        kept.add(number, line)
    return Recording(path, tuple(kept.exchanges), kept.providers)


def is_whole(line: bytes) -> bool:
    """Tell whether a last line without its end is whole; a record that is cut is no JSON."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


class _Lines:
    """Take the lines of a file, one after the other."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.exchanges: list[Exchange] = []
        self.providers: dict[str, Mapping[str, Any]] = {}
        self._open: dict[Any, Exchange] = {}

    def add(self, number: int, line: bytes) -> None:
        """Take a line.

        Raises:
            ConfigError: it is damaged.
        """
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("it is no JSON object")
            check_depth(record)
            if MARK in record:
                _check_format(self._path, number, record)
                self._open.clear()  # what was on its way when the program died
            else:
                self._take(number, record)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            said = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else f"{error}"
            what = f"it lacks {said}" if isinstance(error, KeyError) else said
            raise ConfigError(f"{self._path}, line {number}: the recording is damaged ({what:.200}).") from None

    def _take(self, number: int, record: dict[str, Any]) -> None:
        kind = record["type"]
        if kind == "provider":
            check(record, PROVIDER, "name")
            self.providers[record["name"]] = record
            return
        identity = record["id"]
        if kind == "request":
            if identity in self._open:
                raise ValueError(f"the exchange {identity!r} begins a second time")
            check(record, REQUEST, "messages")
            exchange = Exchange(len(self.exchanges) + 1, number, record)
            self._open[identity] = exchange
            self.exchanges.append(exchange)
            return
        if kind != "end" and kind not in KINDS:
            raise ValueError(f"the type {kind!r:.40} is not known")
        if identity not in self._open:
            raise ValueError(f"no exchange {identity!r:.40} is on its way")
        exchange = self._open[identity]
        exchange.at = max(exchange.at, _seconds(record["at"]))
        if kind == "end":
            del self._open[identity]
            _end(exchange, record)
        else:
            exchange.chunks.append((exchange.at, exchange.reader.chunk(record)))


def _end(exchange: Exchange, record: Mapping[str, Any]) -> None:
    check(record, END, "how")
    how = record["how"]
    if how not in _ENDINGS:
        raise ValueError(f"the ending {how!r:.40} is not known")
    if how == "error":
        exchange.error = error_maker(record["error"])
    if "cost" in record:
        exchange.cost = Decimal(record["cost"])
    exchange.ending = how


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 10**9:
        raise ValueError(f"{value!r:.40} is no number of seconds")
    return float(value)


def names(exchanges: Iterator[Exchange] | tuple[Exchange, ...]) -> list[str]:
    """Give the names of the providers that were asked, in the order in which they were."""
    return list(dict.fromkeys(each.provider for each in exchanges))
