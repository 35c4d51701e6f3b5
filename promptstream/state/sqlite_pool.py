"""Threads ask, a few connections go round among them; a forked child gets new ones and leaves its parent's alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, finalize

from promptstream.errors import StateError

if TYPE_CHECKING:
    import sqlite3

_MOST = 8
"""Connections at once: reads are short and writes wait for each other anyway, and each takes three descriptors."""
_pools: WeakSet[Pool] = WeakSet()
_abandoned: list[sqlite3.Connection] = []


class _Line:
    """One connection."""

    def __init__(self, connection: sqlite3.Connection, file: tuple[int, int] | None) -> None:
        self.connection = connection
        self.file = file
        self.lock = threading.RLock()  # who has it against close(), which may come from any thread

    def close(self) -> None:
        with self.lock:
            self.connection.close()


def _close_all(lines: set[_Line], process: int) -> None:
    if process == os.getpid():
        while lines:
            with suppress(KeyError):  # it was given back just now
                lines.pop().close()


class Pool:
    """Lend connections, made by *connect* where none is free: any number of threads share a few.

    A thread whose turn does not come within *patience* seconds gets a StateError.
    """

    def __init__(self, path: str, connect: Callable[[], sqlite3.Connection], patience: float) -> None:
        self.path = path
        self._connect = connect
        self._patience = patience
        self._closed = False
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._lines: set[_Line] = set()
        """All that are open."""
        self._free: list[_Line] = []
        self._lent = 0
        finalize(self, _close_all, self._lines, self._process)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for the block; it is closed where an error other than ours leaves the block.

        Raises:
            StateError: the pool was closed, no connection can be made, or others had all of them for too long.
        """
        line, whole = self._take(), True
        try:
            with line.lock:
                self._check_open()
                try:
                    yield line.connection
                except (StateError, ValueError):
                    raise
                except BaseException:
                    whole = False
                    raise
        finally:
            self._give_back(line, whole)

    def close(self) -> None:
        """Close all connections of this process, once what they are about is done."""
        self.leave_to_parent()
        with self._changed:
            self._closed = True
            self._free.clear()
            self._changed.notify_all()
        _close_all(self._lines, self._process)

    def leave_to_parent(self) -> None:
        """Forget connections that a parent made before the fork: closing them here could harm what it writes."""
        if self._process != os.getpid():
            lines = self._lines
            _abandoned.extend(line.connection for line in lines)
            for line in lines:
                _keep_for_ever(line.connection)
            self._begin()

    def _check_open(self) -> None:
        if self._closed:
            raise StateError(f"The store {self.path!r} is closed; open it again.")

    def _take(self) -> _Line:
        self.leave_to_parent()
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._lent < _MOST, self._patience):
                raise StateError(
                    f"The store {self.path!r} could not be used: others have been using it all the time that this "
                    "waited; try again. Nothing was changed."
                )
            self._check_open()
            self._lent += 1
        try:
            return self._line()
        except BaseException:
            self._left()
            raise

    def _line(self) -> _Line:
        file = _identity(self.path)
        while self._free:
            with suppress(IndexError):  # another was quicker
                line = self._free.pop()
                if line.file == file:
                    return line
                self._drop(line)  # the file was moved away or replaced: what is written to the old one would be lost
        line = _Line(self._connect(), _identity(self.path))
        self._lines.add(line)
        return line

    def _give_back(self, line: _Line, whole: bool) -> None:
        if line not in self._lines:  # closed, or left to the parent
            return
        if whole and not self._closed:
            self._free.append(line)
        else:
            self._drop(line)
        self._left()

    def _left(self) -> None:
        with self._changed:
            self._lent -= 1
            self._changed.notify()

    def _drop(self, line: _Line) -> None:
        self._lines.discard(line)
        line.close()


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
