"""The path of a CSV or JSONL file in, its rows out, one at a time."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, BinaryIO

from promptstream.errors import ConfigError
from promptstream.packs.variables import Variable
from promptstream.values.names import nearest

STANDARD_INPUT = "-"
_OWN = ("message", "id")
"""Columns that are the row's own; all others are variables."""
_CSV, _JSON = (".csv", ".tsv", ".tab"), (".jsonl", ".ndjson", ".json")
_BEGINNINGS = ("{", '"', "[")
"""Of a line of JSON that may be a row, or rows."""
_DELIMITERS = ",;\t"
_NAMED = re.compile(r"sep=(.?)", re.IGNORECASE)
"""The line by which a spreadsheet is told the delimiter, its white space taken away."""
_LONGEST_CELL = 64 << 20
"""Characters; csv's own limit, 131,072, is less than many a document has."""

Row = dict[str, Any]


def read_rows(path: str | os.PathLike[str], variables: Sequence[Variable] = ()) -> Iterator[Row]:
    """Give the rows of a file, each as it is needed, and none twice.

    A line of JSONL is a message, or an object with what a row may have. A file of CSV has a header: ``message``,
    ``id``, and variables of the prompt. Which of the two it is, is told by its name, else by what it begins with.

    Args:
        path: "-" is standard input.
        variables: those that the prompt declares. An empty cell of one of them is no value, so that its default
            counts; of any other column it is empty text. Cells are text; the prompt converts them.

    Raises:
        ConfigError: the file cannot be read, or a line of it is no row; the message has the line's number.
    """
    name = os.fspath(path)
    told = "standard input" if name == STANDARD_INPUT else name
    try:
        with _opened(name) as file:
            yield from _rows_in(file, name, told, {each.name for each in variables})
    except OSError as error:
        raise ConfigError(f"{told} cannot be read: {error.strerror or error}.") from None


def _opened(name: str) -> Any:
    if name != STANDARD_INPUT:
        return open(name, "rb")
    stream = sys.stdin
    if stream is None:
        raise ConfigError("Standard input is closed; name a file.")
    return nullcontext(getattr(stream, "buffer", None) or io.BytesIO(stream.read().encode()))


def _rows_in(file: BinaryIO, name: str, told: str, declared: set[str]) -> Iterator[Row]:
    lines = _Lines(file, told)
    end = os.path.splitext(name)[1].lower()
    first = lines.peek()
    if end in _JSON or (end not in _CSV and first[:1] in _BEGINNINGS):
        yield from _json_rows(lines)
    else:
        yield from _csv_rows(lines, declared)


class _Lines:
    """Give the lines of a file as text with their ends, and know the number of the last one."""

    def __init__(self, file: BinaryIO, told: str) -> None:
        self._file = file
        self._told = told
        self.number = 0
        self._ahead: str | None = None

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._ahead is not None:
            line, self._ahead = self._ahead, None
        else:
            line = self._read()
        if not line:
            raise StopIteration
        return line

    def peek(self) -> str:
        """Give the first line that is not blank, without its white space, and let it come again; "" is none."""
        if self._ahead is None:
            self._ahead = self._read()
        while self._ahead and not self._ahead.strip():
            self._ahead = self._read()
        return self._ahead.strip()

    def _read(self) -> str:
        raw = self._file.readline()
        self.number += bool(raw)
        if self.number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")  # spreadsheets write it
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.fault(
                f"it is no UTF-8 (byte {error.start + 1}: 0x{raw[error.start]:02x}); save the file as UTF-8"
            ) from None

    def fault(self, what: str, number: int | None = None) -> ConfigError:
        """Give the error for that line, or for the one that was read last."""
        return ConfigError(f"{self._told}, line {number or self.number}: {what}.")


def _json_rows(lines: _Lines) -> Iterator[Row]:
    for line in lines:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise lines.fault(_why(line, lines.number, error)) from None
        if isinstance(value, str):
            value = {"message": value}
        if not isinstance(value, dict):
            raise lines.fault(
                "it is a whole array; write one row a line, as jq -c '.[]' does"
                if isinstance(value, list)
                else f"it is {value!r:.40}; a row is a message in quotation marks, or an object with one"
            )
        yield value


def _why(line: str, number: int, error: Exception) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return "it is nested too deep, or holds a number that is too long"
    if number == 1 and line.strip() in ("[", "{"):
        return "a value goes over several lines; write one row a line, as jq -c does"
    hint = "" if line.lstrip()[0] in _BEGINNINGS else "; jq -R . makes rows of plain lines"
    return f"it is not JSON ({error.msg}, column {error.colno}){hint}"


def _csv_rows(lines: _Lines, declared: set[str]) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    delimiter = _delimiter(lines)
    header: list[str] | None = None
    # strict tells of a quotation mark that never ends, which would make one cell of all that follows.
    cells = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        began = lines.number + 1
        try:
            row = next(cells, None)
        except csv.Error as error:
            raise _not_csv(str(error), lines, began) from None
        if row is None:
            return
        if not any(map(str.strip, row)):  # rows that were cleared in a spreadsheet, too
            continue
        if header is None:
            header = _checked([cell.strip() for cell in row], lines)
            continue
        if len(row) != len(header):
            raise lines.fault(
                f"it has {len(row)} cells, and the header has {len(header)}; text with a delimiter in it stands in "
                'quotation marks: "…"'
            )
        yield _csv_row(dict(zip(header, row, strict=True)), declared)


def _delimiter(lines: _Lines) -> str:
    """Give what stands between two cells: what is named by a line of its own, or else what the header has most of."""
    first = lines.peek()
    if named := _NAMED.fullmatch(first):
        next(lines)
        if named[1] and named[1] in _DELIMITERS:
            return named[1]
        first = lines.peek()
    return max(_DELIMITERS, key=first.count)


def _not_csv(told: str, lines: _Lines, began: int) -> ConfigError:
    if "new-line" in told:
        return lines.fault("a carriage return stands in it alone; save the file with usual line ends")
    if "unexpected end" in told:
        return lines.fault("a quotation mark in the row that begins there is never closed", began)
    return lines.fault(f"it is not CSV ({told}); a quotation mark within a cell is written twice")


def _checked(header: list[str], lines: _Lines) -> list[str]:
    """Give the header, where each column has a name of its own and one is the message."""
    twice = [name for name, times in Counter(header).items() if times > 1]
    if twice or "" in header:
        raise lines.fault(
            f"the header has {f'{twice[0]!r} twice' if twice and twice[0] else 'a column without a name'}"
        )
    if "message" not in header:
        hint = nearest("message", header)
        raise lines.fault(f"the header has no column 'message'.{hint} Its columns are {', '.join(header)[:200]}")
    return header


def _csv_row(cells: dict[str, str], declared: set[str]) -> Row:
    row: Row = {"message": cells["message"]}
    if cells.get("id"):
        row["id"] = cells["id"]
    variables = {name: cell for name, cell in cells.items() if name not in _OWN and (cell or name not in declared)}
    if variables:
        row["variables"] = variables
    return row
