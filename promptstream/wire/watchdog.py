"""Watches in, each looked at when it is due, from one daemon thread that sleeps until then."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Protocol

from promptstream.errors import StreamError

FOREVER = float("inf")


class Watched(Protocol):
    """What the watchdog looks after."""

    def look(self, now: float) -> float:
        """Do what is due, and tell when to look again; never again is FOREVER."""
        ...

    def forked(self) -> None:
        """Let go, in a forked child, of locks that a thread of the parent may have held."""
        ...


class Watchdog:
    """Look after every running watch of the process from one thread, begun with the first of them."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        # Taken by itself: a Ctrl-C in the middle of a Condition's own entrance would leave it locked.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._watches: dict[Watched, float] = {}
        self._thread: threading.Thread | None = None
        self._wakes_at = FOREVER

    def forked(self) -> None:
        """Begin anew in a forked child: the thread, and what it looked after, are the parent's."""
        watches = list(self._watches)
        self._begin()
        for watch in watches:
            watch.forked()

    def add(self, watch: Watched) -> None:
        """Look after *watch* until it is discarded.

        Raises:
            StreamError: the system has no thread for it.
        """
        at = watch.look(monotonic())
        if at == FOREVER:
            return
        with self._lock:
            self._watches[watch] = at
            if self._thread is None or not self._thread.is_alive():
                # Kept before it is started: a Ctrl-C on the way must not lead to a second one.
                self._thread = threading.Thread(target=self._run, name="promptstream-watchdog", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:
                    raise StreamError(f"No thread for the clocks: {error}.", phase="start") from error
            elif at < self._wakes_at:
                self._condition.notify()

    def discard(self, watch: Watched) -> None:
        """Look after *watch* no more."""
        with self._lock:
            self._watches.pop(watch, None)

    def retire(self) -> None:
        """Let the thread stand still outside of its lock for good: an interpreter that ends freezes it where it is.

        What is finalised after that discards its watch in this thread, which would wait for a frozen one for ever.
        """
        self._lock.acquire()

    def _run(self) -> None:
        condition = self._condition
        while True:
            with condition:
                self._wakes_at = self._make_round()
                condition.wait(None if self._wakes_at == FOREVER else self._wakes_at - monotonic())

    def _make_round(self) -> float:
        """Look at what is due and give when the next one is."""
        now = monotonic()
        for watch, at in list(self._watches.items()):  # a finaliser that runs here may discard some
            if at <= now:
                again = watch.look(now)
                if watch in self._watches:
                    self._watches[watch] = again
        return min(self._watches.values(), default=FOREVER)
