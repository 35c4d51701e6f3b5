"""Something to wait for in, a wait that anyone may end out."""

from __future__ import annotations

import threading
from contextlib import suppress


class Waker:
    """Wake who waits, once and for good, as threading.Event does.

    Unlike an Event's, each step is one operation of a lock: a signal handler or a finaliser may set it in the
    middle of a wait of its own thread.
    """

    __slots__ = ("_asleep",)

    def __init__(self) -> None:
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def set(self) -> None:
        """Wake who waits, and who will."""
        with suppress(RuntimeError):  # it is set already
            self._asleep.release()

    def is_set(self) -> bool:
        """Tell whether it was set."""
        return not self._asleep.locked()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, or *seconds* are over, and tell whether it was."""
        longest = -1 if seconds is None else min(seconds, threading.TIMEOUT_MAX)
        if self._asleep.acquire(timeout=longest):
            self.set()
            return True
        return False
