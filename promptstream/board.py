"""Bars in, lines at the foot of a terminal out; what is printed meanwhile stands above them, as it came.

A process has one board, which all its bars share. What is written to standard output and standard error goes through
it meanwhile, where they are that terminal: the bars are wiped, the text is written, and they are drawn below the
cursor's line, which is left where it was. So a line that is written piece by piece stays one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol, TextIO

from promptstream.painter import Painter
from promptstream.values.sanitise import clean

MOST = 8
"""How many bars are drawn, the first ones; the others are counted."""


class State(Protocol):
    """Tell how far something is; ``str()`` of it is the line beside the bar."""

    @property
    def part(self) -> tuple[int, int] | None:
        """What is done, and of how much; None where that is unknown."""


def is_terminal(file: Any) -> bool:
    """Tell whether somebody watches *file*, which may be closed, or None."""
    try:
        return file is not None and file.isatty()
    except ValueError:  # it is closed
        return False


class Board:
    """Draw the bars of a process. Any thread may add and remove bars, and write; a forked child begins without any."""

    def __init__(self) -> None:
        self._streams: dict[str, _Above] = {}
        self._cells: int | None = None
        """The columns that the cursor's line takes so far; None where that cannot be told."""
        self._beside = True
        """True where the cursor can be brought back to where it is in its line."""
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.RLock()  # a signal handler or a finaliser may print
        self._bars: dict[object, tuple[Callable[[], State], Any]] = {}
        self._rows: list[str] = []
        self._drawn = False
        """True where bars stand in the cursor's line or below it."""
        self._leave_streams()

    def add(self, bar: object, now: Callable[[], State]) -> None:
        """Draw *bar* from now on, by what *now* tells, which is called in any thread.

        Raises:
            ImportError: rich is not installed.
        """
        with self._lock:
            if not self._bars:
                self._open()
            self._bars[bar] = now, self._layout.add_task("", total=None, told="")
        self._paint()

    def remove(self, bar: object) -> None:
        """Wipe *bar*. Idempotent."""
        with self._lock:
            now_and_task = self._bars.pop(bar, None)
            if now_and_task is None:  # also where another process drew it, of which this one is a fork
                return
            self._layout.remove_task(now_and_task[1])
            last = not self._bars
            if last:
                self._wipe()
                self._leave_streams()
            painter = self._painter
        if last:
            painter.stop()
        else:
            self._paint()

    def write(self, file: Any, text: Any) -> Any:
        """Write *text* to *file*, a file of the same terminal, above the bars."""
        with self._lock:
            if not self._bars:
                return file.write(text)
            self._wipe()
            try:
                written = file.write(text)
                file.flush()
                return written
            finally:
                self._drawn = False  # a signal handler may have printed meanwhile
                self._follow(text)
                self._draw()

    def step_aside(self) -> None:
        """Wipe the bars until the end of a line is written: somebody else uses the terminal, such as ``input()``."""
        with self._lock:
            self._wipe()
            self._cells, self._beside = None, False

    def _open(self) -> None:
        from rich.cells import cell_len
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
        from rich.table import Column

        for name in ("stdout", "stderr"):
            file = getattr(sys, name)
            if is_terminal(file) and not isinstance(file, _Above):
                with suppress(OSError, ValueError):
                    file.flush()
                self._streams[name] = _Above(file, self)
                setattr(sys, name, self._streams[name])
        error: Any = sys.stderr
        self._file: TextIO = error.beneath if isinstance(error, _Above) else error
        self._console = Console(file=self._file)
        told = TextColumn("{task.fields[told]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        # It lays out; it is never started, for rich hides what is written up to the end of its line.
        self._layout = Progress(SpinnerColumn(), BarColumn(20), told, console=self._console, auto_refresh=False)
        self._cell_len = cell_len
        self._cells, self._beside = None, True
        self._painter = Painter(self._paint)
        self._painter.start()

    def _leave_streams(self) -> None:
        for name, above in self._streams.items():
            if getattr(sys, name) is above:
                setattr(sys, name, above.beneath)
        self._streams = {}

    def _paint(self) -> None:
        with self._lock:
            bars = list(self._bars.values())
        told = [(task, now()) for now, task in bars]  # without the lock: whoever is asked may hold others
        with self._lock:
            if not self._bars:
                return
            for task, state in told:
                if task in self._layout.task_ids:
                    done, total = state.part or (0, None)
                    self._layout.update(task, completed=done, total=total, told=clean(str(state)).replace("\n", " "))
            self._rows = self._laid_out()
            self._draw()

    def _laid_out(self) -> list[str]:
        """Give the lines, none of which fills its row: a cursor behind a full row is in no certain place."""
        console, tasks = self._console, self._layout.tasks
        most = max(1, min(MOST, console.height - 3))
        with console.capture() as drawn:
            console.print(self._layout.make_tasks_table(tasks[:most]), width=max(1, console.width - 1))
        rows = drawn.get().rstrip("\n").split("\n")
        return [*rows, f"… and {len(tasks) - most:,} more"] if len(tasks) > most else rows

    def _draw(self) -> None:
        """Draw below the cursor's line and leave the cursor where it was.

        So a line that others write past this board, as a handler of logs may, goes where a line belongs.
        """
        if not self._rows or not self._beside:
            return
        depth = len(self._rows)
        room = "\x1bD" * depth + f"\x1b[{depth}A"  # where that scrolls, nothing does once the place is saved
        rows = "\x1b[K\r\n".join(self._rows)
        self._put(f"{room}\x1b7\x1b[K\r\n{rows}\x1b[J\x1b8")
        self._drawn = True

    def _wipe(self) -> None:
        if self._drawn:
            self._drawn = False
            self._put("\x1b[J")

    def _follow(self, text: str | bytes) -> None:
        """Know where the cursor is after *text*. Bytes, controls and wide characters leave that open."""
        line = text if isinstance(text, str) else text.decode("utf-8", "replace")
        if "\n" in line:
            line, self._cells = line.rpartition("\n")[2], 0
        plain = line.isprintable() and self._cell_len(line) == len(line)
        self._cells = self._cells + len(line) if plain and self._cells is not None else None
        # Behind a full row the cursor is in no certain place.
        self._beside = self._cells is not None and (not self._cells or self._cells % self._console.width > 0)

    def _put(self, text: str) -> None:
        """Write to a terminal that may have gone away: a bar is no reason to fail."""
        with suppress(OSError, ValueError):
            self._file.write(text)
            self._file.flush()


class _Above:
    """Be a file of the terminal on which the bars are; passes all on."""

    def __init__(self, file: Any, board: Board) -> None:
        self.beneath = file
        self._board = board

    def write(self, text: Any) -> Any:
        return self._board.write(self.beneath, text)

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    def fileno(self) -> int:
        self._board.step_aside()
        return int(self.beneath.fileno())

    @property
    def buffer(self) -> _Above:
        return _Above(self.beneath.buffer, self._board)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.beneath, name)


board = Board()
"""The one of this process."""
