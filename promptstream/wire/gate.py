"""Requests in, at most so many of them at once out, in the order they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

from promptstream.wire.process import PerProcess
from promptstream.wire.waker import Waker
from promptstream.wire.watch import Watch

T = TypeVar("T")


class Gate:
    """Let at most *size* requests through at once; the others wait in line, without polling.

    Raises:
        TypeError, ValueError: *size* is not a whole number, or below 1.
    """

    def __init__(self, size: int) -> None:
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"max_in_flight={size!r:.60}: give a whole number, or None for no limit.")
        if size < 1:
            raise ValueError(f"max_in_flight={size}: at least one request must be let through.")
        self._rooms = PerProcess(lambda: _Room(size))

    def place(self, watch: Watch) -> Place:
        """Give a context manager that waits for a place in entering, and gives it back in leaving."""
        return Place(self._rooms.get(), watch)

    def through(self, source: Iterator[T], watch: Watch) -> Iterator[T]:
        """Yield what *source* does, which is begun once there is a place and holds it until it is over."""
        with self.place(watch):
            yield from source


class _Room:
    """Hold the free places and the line of those who wait.

    Each step is one atomic operation of a deque, and none needs a lock: a place is given back by
    finalisers and signal handlers too, which may run in the middle of any step of the same thread.
    """

    def __init__(self, size: int) -> None:
        self.free = deque([True] * size)
        self.line: deque[Place] = deque()

    def admit(self) -> None:
        """Let in as many from the head of the line as there are free places."""
        while self.line and self.free:
            try:
                self.free.pop()
            except IndexError:  # another thread was quicker
                continue
            try:
                self.line.popleft().wake.set()
            except IndexError:  # who waited went away; whoever came meanwhile is seen by the next look
                self.free.append(True)


class Place:
    """Wait for a place of a gate, hold it, and give it back once, whoever says so first."""

    def __init__(self, room: _Room, watch: Watch) -> None:
        self._room, self._watch = room, watch
        self._inside = deque((True,))
        self.wake: Waker
        """Set by whoever lets it in, and by a stop."""

    def __enter__(self) -> None:
        """Wait in line; the clocks of the answer stand still meanwhile.

        Raises:
            StreamError: the watch was stopped meanwhile.
        """
        watch = self._watch
        phase, watch.phase = watch.phase, "admission"
        self.wake = watch.waker()
        try:
            self._room.line.append(self)
            self._room.admit()
            watch.rest(self.wake)
            while not self.wake.is_set():  # a wait for the deadline may be over a moment before it
                watch.rest(self.wake)
            watch.at_end(self.leave)  # whatever a middleware holds on to
        except BaseException:
            self.leave()
            raise
        watch.phase = phase

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give the place back to the next in line, or step out of the line. Idempotent, from any thread."""
        try:
            self._inside.pop()
        except IndexError:
            return
        try:
            self._room.line.remove(self)
        except ValueError:  # not in the line any more, so it was let in
            self._room.free.append(True)
        self._room.admit()
