"""How a thing is made in, this process' own out: a forked child gets another, and finds nothing half done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

undivided = threading.RLock()
"""Held where a fork by another thread would leave something half done in the child, such as a locked module."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=undivided.acquire, after_in_parent=undivided.release, after_in_child=undivided.release)


class PerProcess(Generic[T]):
    """Hold one thing for each process, so that a forked child finds no lock its parent had locked, and no one waiting.

    Without a lock of its own, which a fork could leave locked as well: ``dict.setdefault`` is one step.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """Give the thing of this process, made when first asked for."""
        made = self._made.get(os.getpid())
        return self._made.setdefault(os.getpid(), self._make()) if made is None else made
