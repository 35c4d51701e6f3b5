"""A thread asks, its own connection comes out; a forked child gets new ones and leaves its parent's alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, finalize

from promptstream.errors import StateError

if TYPE_CHECKING:
    import sqlite3

_pools: WeakSet[Pool] = WeakSet()
_abandoned: list[sqlite3.Connection] = []


class _Line:
    """One thread's connection."""

    def __init__(self, connection: sqlite3.Connection, file: tuple[int, int] | None) -> None:
        self.connection = connection
        self.file = file
        self.lock = threading.RLock()  # its thread against close(), which may come from any

    def close(self) -> None:
        with self.lock:
            self.connection.close()


class _Seat:
    """What a thread holds of its line: it goes with the thread, and takes the line along."""

    def __init__(self, line: _Line) -> None:
        self.line = line


def _leave(lines: set[_Line], line: _Line, process: int) -> None:
    if process == os.getpid():
        lines.discard(line)
        line.close()


class Pool:
    """Hand every thread a connection of its own, made by *connect* when the thread first asks."""

    def __init__(self, path: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self.path = path
        self._connect = connect
        self._closed = False
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._local = threading.local()
        self._lines: set[_Line] = set()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend this thread's connection; it is thrown away where an error other than ours leaves the block.

        Raises:
            StateError: the pool was closed, or no connection can be made.
        """
        line = self._line()
        with line.lock:
            if self._closed:
                raise StateError(f"The store {self.path!r} is closed; open it again.")
            try:
                yield line.connection
            except (StateError, ValueError):
                raise
            except BaseException:
                self._drop()
                raise

    def close(self) -> None:
        """Close every thread's connection of this process, once what they are about is done."""
        self.leave_to_parent()
        self._closed = True
        self._local = threading.local()
        while self._lines:
            self._lines.pop().close()

    def leave_to_parent(self) -> None:
        """Forget connections that a parent made before the fork: closing them here could harm what it writes."""
        if self._process != os.getpid():
            lines = self._lines
            _abandoned.extend(line.connection for line in lines)
            for line in lines:
                _keep_for_ever(line.connection)
            self._begin()

    def _line(self) -> _Line:
        self.leave_to_parent()
        if self._closed:
            raise StateError(f"The store {self.path!r} is closed; open it again.")
        seat: _Seat | None = getattr(self._local, "seat", None)
        if seat is not None and seat.line.file == _identity(self.path):
            return seat.line
        self._drop()  # the file was moved away or replaced: what is written to the old one would be lost
        line = _Line(self._connect(), _identity(self.path))
        seat = _Seat(line)
        finalize(seat, _leave, self._lines, line, self._process)
        self._lines.add(line)
        self._local.seat = seat
        return line

    def _drop(self) -> None:
        self._local.__dict__.pop("seat", None)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _keep_for_ever(thing: Any) -> None:
    """Have the interpreter never take *thing* down, not even at its end."""
    try:
        from ctypes import py_object, pythonapi
    except ImportError:  # no CPython: there it stays in the list
        return
    pythonapi.Py_IncRef(py_object(thing))


def _after_fork() -> None:
    for pool in list(_pools):
        pool.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
