"""A terminal's screen within the test: what is written in, what a person sees out."""

from __future__ import annotations

import io
import sys
import threading
from time import monotonic, sleep

import pyte
import pytest
from openai_server import PATIENCE


class Screen:
    """Be the screen of a terminal, on which standard output and standard error both are."""

    def __init__(self, patch: pytest.MonkeyPatch, columns: int = 80, rows: int = 24) -> None:
        self._patch = patch
        self._screen = pyte.HistoryScreen(columns, rows, history=5_000, ratio=0.5)
        self._stream = pyte.Stream(self._screen)
        self.lock = threading.Lock()
        self.written = ""
        self.broken = False

    def watch(self) -> None:
        """Be where the program writes; within the test, whose output is captured only once it has begun."""
        self._patch.setattr(sys, "stdout", File(self))
        self._patch.setattr(sys, "stderr", File(self))

    def feed(self, text: str) -> None:
        """Take what is written."""
        with self.lock:
            self.written += text
            self._stream.feed(text.replace("\n", "\r\n"))

    @property
    def lines(self) -> list[str]:
        """What stands there now, with what scrolled off, but for empty lines at the end."""
        with self.lock:
            top = self._screen.history.top
            above = ["".join(line[column].data for column in range(self._screen.columns)) for line in top]
            return "\n".join(line.rstrip() for line in [*above, *self._screen.display]).rstrip("\n").split("\n")

    def seen(self, wanted: str) -> list[str]:
        """Wait until *wanted* stands there, and give the lines."""
        until = monotonic() + PATIENCE
        while wanted not in "\n".join(lines := self.lines):
            assert monotonic() < until, lines
            sleep(0.005)
        return lines


class File(io.StringIO):
    """Stand in for a file that is a terminal."""

    encoding = "utf-8"
    person: int | None = None

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def isatty(self) -> bool:
        """Say that somebody watches."""
        return True

    def fileno(self) -> int:
        """Give a descriptor that is none of a terminal."""
        return 1

    def write(self, text: str) -> int:
        """Write, unless the terminal is gone."""
        if self._screen.broken:
            raise OSError(5, "Input/output error")
        self._screen.feed(text)
        return len(text)
