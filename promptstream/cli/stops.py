"""Signals that end a program in, the person's stop and a terminal as it was before out."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import Any

from promptstream.cli.echo import Settings

_ECHOES = 3.0
"""Seconds in which another signal is the same stop: a shell passes on the SIGHUP that its terminal sends."""


class Stopped(KeyboardInterrupt):
    """Be Ctrl-C for good: SIGTERM came, or SIGHUP, as where the terminal's window was closed."""


class Stops:
    """Take SIGTERM and SIGHUP for the person's stop, and leave the terminal as it was. A context manager.

    A signal that is ignored stays ignored. In another thread than the main one it only leaves the terminal alone.
    """

    def __init__(self) -> None:
        self.number = 0
        """The signal that came; 0 while none did."""
        self._last = 0.0
        self._before: dict[int, Any] = {}
        self._terminal = Settings(sys.stdin)

    def __enter__(self) -> Stops:
        for name, act in (("SIGTERM", self._stop), ("SIGHUP", self._stop), ("SIGQUIT", self._quit)):
            number = getattr(signal, name, None)  # Windows has but the first
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                with suppress(ValueError):  # not in the main thread
                    self._before[number] = signal.signal(number, act)
        return self

    def __exit__(self, *_: object) -> None:
        for number, act in self._before.items():
            signal.signal(number, act)
        self._terminal.restore()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.number and monotonic() < self._last + _ECHOES:
            return
        self.number, self._last = number, monotonic()
        raise Stopped

    def _quit(self, number: int, frame: FrameType | None) -> None:
        self._terminal.restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
