"""Results in, lines of a JSONL file out; started again, the file tells which rows are done."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from datetime import datetime, timezone
from enum import Enum
from io import FileIO
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.batch import lock
from promptstream.errors import ConfigError, StateError
from promptstream.values.surrogates import mended

if TYPE_CHECKING:
    from promptstream.batch.result import Result

_HEAD = b'{"index":'
"""What every line begins with."""
_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
_DIGITS = 16
"""Of a digest: 64 bits, which an array holds as a number. A row's own is never 0."""


def digest(row: Mapping[str, Any]) -> str:
    """Give what tells a row from another: 16 hexadecimal digits, the same in every process."""
    text = json.dumps(_canonical(row), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_DIGITS // 2).hexdigest()


def _canonical(value: Any) -> Any:
    """Give *value* as JSON that depends on nothing but what it says."""
    if value is None or (isinstance(value, (str, int, float)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _canonical(each) for key, each in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return ["bytes", hashlib.blake2b(value).hexdigest()]
    if isinstance(value, Sequence):
        return [_canonical(each) for each in value]
    if isinstance(value, Set):
        return sorted(json.dumps(_canonical(each), sort_keys=True) for each in value)
    if attrs.has(type(value)):
        fields = {each.name: _canonical(getattr(value, each.name)) for each in attrs.fields(type(value))}
        return [type(value).__name__, fields]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    told = str(value)
    return [type(value).__name__, "" if " at 0x" in told else told]  # an address says nothing of what is there


@attrs.frozen
class Line:
    """Be what a line of the file says that is needed to go on from it."""

    index: int
    digest: str
    ok: bool


class Output:
    """Append results to a JSONL file, each in one write; no other run may have it open. A context manager.

    A torn last line, as a crash or a full disk leaves one, is taken away, and its row is not done. For one thread.

    Args:
        path: the file; it is made where there is none.
        retry_failed: take the rows that failed out first, so that they are not done.

    Raises:
        ConfigError: it cannot be opened, is used by another run, or holds something else; it was left as it is.
        StateError: it cannot be written, as where the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], retry_failed: bool = False) -> None:
        given = os.path.expanduser(os.fspath(path))
        real = os.path.realpath(given)
        self.path = given if os.path.exists(given) and not os.path.exists(real) else real  # a pipe of /proc has no name
        self.ok = 0
        """Rows in the file that have their answer."""
        self.failed = 0
        """Rows in the file that failed."""
        self._digests = array("Q")
        """By index; 0 where the row is not done."""
        self._file, self._size = self._open()
        try:
            self._mend()
            if retry_failed and self.failed:
                self._drop_failed()
        except BaseException:
            self._file.close()
            raise

    def done(self, index: int, row: Mapping[str, Any]) -> bool:
        """Tell whether the file has the result of *row*, the *index*-th of the input.

        Raises:
            ConfigError: it has that of another row: the input is not the one that it was begun with.
        """
        found = self._at(index)
        if not found:
            return False
        if found != int(digest(row), 16):
            raise ConfigError(
                f"Row {index + 1} of the input is not the one that {self.path} has an answer to: the input was "
                "changed. Go on with the input as it was, rows added at its end, or write to another file."
            )
        return True

    def write(self, result: Result) -> None:
        """Append the line of *result*; one whose row is there already is not written again.

        Raises:
            StateError: it cannot be written; all that was written before stands.
        """
        told = digest(result.row)
        if self._at(result.index):
            return
        fields = {"index": result.index, "digest": told, "at": _now(), **result.to_dict()}
        self._mark(Line(result.index, told, result.ok))  # first: Ctrl-C may strike once it is written
        try:
            self._append(_encoded(fields))
        except BaseException:
            self._unmark(result.index, result.ok)
            raise

    def close(self) -> None:
        """Close the file, with all of it on the disk. Idempotent.

        Raises:
            StateError: the disk does not take it.
        """
        if self._file.closed:
            return
        with self._file as file:
            try:
                os.fsync(file.fileno())
            except OSError as error:
                raise self._unwritten(error) from error

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> tuple[FileIO, int]:
        try:
            while True:
                file = FileIO(os.open(self.path, _FLAGS | os.O_CREAT, 0o666), "r+")
                try:
                    found = os.fstat(file.fileno())
                    if not stat.S_ISREG(found.st_mode):
                        raise ConfigError(f"{self.path} is no regular file; a batch writes one, to go on from it.")
                    if not lock.take(file):
                        raise ConfigError(
                            f"Another batch is writing to {self.path}: wait for it, or name another file."
                        )
                    with suppress(FileNotFoundError):
                        if os.path.samestat(os.stat(self.path), found):  # it was not replaced meanwhile
                            return file, found.st_size
                except BaseException:
                    file.close()
                    raise
                file.close()
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror or error}.") from None

    def _mend(self) -> None:
        """Read which rows are done, and bring the end of the file in order."""
        whole = 0
        for place, raw in _raw_lines(self.path):
            line = read_line(raw)
            if line is None and not raw.endswith(b"\n") and _may_be_torn(raw):
                break
            if line is None:
                raise ConfigError(
                    f"{self.path} is not the output of a batch: line {place} is no result. Nothing in it was changed."
                )
            if self._at(line.index):
                raise ConfigError(f"{self.path}, line {place}: row {line.index + 1} stands there twice; take one out.")
            self._mark(line)
            whole += len(raw)
            if not raw.endswith(b"\n"):
                self._append(b"\n")
                return
        if whole < self._size:
            self._cut(whole)

    def _drop_failed(self) -> None:
        """Put a file without the rows that failed into the place of this one, at once or not at all."""
        fresh = f"{self.path}.new"  # what a crash left of an earlier one is written over: we hold the lock
        try:
            with open(fresh, "wb") as file:
                for _, raw in _raw_lines(self.path):
                    line = read_line(raw)
                    if line is not None and line.ok:
                        file.write(raw)
                    elif line is not None:
                        self._unmark(line.index, ok=False)
                file.flush()
                os.fsync(file.fileno())
            shutil.copymode(self.path, fresh)
            self._replace(fresh)
        except OSError as error:
            with suppress(OSError):
                os.unlink(fresh)
            raise self._unwritten(error) from error

    def _replace(self, fresh: str) -> None:
        """Let *fresh* be the file, which nobody else can take in between where the system can rename an open one."""
        if os.name == "posix":
            taken = FileIO(os.open(fresh, _FLAGS), "r+")
            lock.take(taken)
            os.replace(fresh, self.path)
            self._file.close()
            self._file, self._size = taken, os.path.getsize(self.path)
        else:
            self._file.close()
            os.replace(fresh, self.path)
            self._file, self._size = self._open()

    def _append(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):  # a disk that is about to be full takes a part
                written += os.write(self._file.fileno(), line[written:])
        except BaseException as error:
            if written:
                self._cut(self._size)
            if isinstance(error, OSError):
                raise self._unwritten(error) from error
            raise
        self._size += written

    def _cut(self, size: int) -> None:
        """Take away what follows the last whole line."""
        try:
            os.ftruncate(self._file.fileno(), size)
        except OSError as error:
            raise self._unwritten(error) from error
        self._size = size

    def _unwritten(self, error: OSError) -> StateError:
        return StateError(
            f"{self.path} cannot be written: {error.strerror or error}. All rows that it has are whole; see to that, "
            "and start again to go on with the others."
        )

    def _at(self, index: int) -> int:
        return self._digests[index] if index < len(self._digests) else 0

    def _mark(self, line: Line) -> None:
        missing = line.index + 1 - len(self._digests)
        if missing > 0:
            self._digests.extend(array("Q", bytes(8 * missing)))
        self._digests[line.index] = int(line.digest, 16)
        if line.ok:
            self.ok += 1
        else:
            self.failed += 1

    def _unmark(self, index: int, ok: bool) -> None:
        self._digests[index] = 0
        if ok:
            self.ok -= 1
        else:
            self.failed -= 1


def _raw_lines(path: str) -> Iterator[tuple[int, bytes]]:
    with open(path, "rb") as file:
        yield from enumerate(file, 1)


def read_line(raw: bytes) -> Line | None:
    """Read a line of an output; None where it is none, or not whole."""
    if not raw.startswith(_HEAD):
        return None
    try:
        fields = json.loads(raw)
        index, told, error = fields["index"], fields["digest"], fields["error"]
        if type(index) is int and 0 <= index < 1 << 40 and len(told) == _DIGITS and int(told, 16):
            return Line(index, told, error is None)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return None


def _may_be_torn(raw: bytes) -> bool:
    """Tell whether *raw* may be the beginning of a line of ours; a file system may leave zeros in its place."""
    return not raw.strip(b"\0") or raw.startswith(_HEAD) or _HEAD.startswith(raw)


def _encoded(fields: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which no file can hold
        return _encoded(mended(fields))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
