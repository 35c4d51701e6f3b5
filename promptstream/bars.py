"""What tells how far something is in, the bar that suits whoever watches out: a terminal's, a notebook's, or none."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from time import monotonic
from typing import Any, Protocol

from promptstream.board import State, board, is_terminal
from promptstream.errors import ConfigError
from promptstream.painter import EVERY, Painter
from promptstream.values.markdown import plain
from promptstream.values.sanitise import clean


class Watcher(Protocol):
    """Be told how far something is. A context manager, which takes away what it shows."""

    def begin(self, now: Callable[[], State]) -> None:
        """Take what tells how far it is, any time and from any thread."""

    def look(self) -> None:
        """Know that it is further than it was."""

    def end(self, state: State) -> None:
        """Know that it is whole."""

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...


def watcher_for(progress: object) -> Watcher | None:
    """Give what ``progress=`` asks for; None where nobody is told.

    Raises:
        TypeError: *progress* is neither a bool nor a function.
        ConfigError: a bar is wanted in a terminal, and the extra ``cli`` is not installed.
    """
    if progress is None or progress is False:
        return None
    if callable(progress):
        return _Called(progress)
    if progress is not True:
        raise TypeError(f"progress={progress!r:.60}: give True for a bar, or a function that is told how far it is.")
    if in_notebook():
        return _NotebookBar()
    drawn = is_terminal(sys.stderr) and os.environ.get("TERM", "") not in ("dumb", "unknown")
    # While somebody else's live display of rich is on, all that is written is its own.
    return _TerminalBar() if drawn and type(sys.stderr).__module__ != "rich.file_proxy" else None


def in_notebook() -> bool:
    """Tell whether this runs in the kernel of a notebook, whose front end shows more than text."""
    return getattr(ipython(), "kernel", None) is not None


def ipython() -> Any:
    """Give the shell of IPython that runs this, a notebook's or a terminal's; None where none does."""
    module = sys.modules.get("IPython")  # where it is not loaded, no shell of it runs this
    return module.get_ipython() if module is not None else None


class _Called:
    """Tell a function, in the thread that reads."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self._function = function
        self._due = 0.0

    def begin(self, now: Callable[[], State]) -> None:
        self._now = now
        self.look()

    def look(self) -> None:
        if monotonic() >= self._due:
            self._function(self._now())
            self._due = monotonic() + EVERY

    def end(self, state: State) -> None:
        self._function(state)

    def __enter__(self) -> _Called:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Cell:
    """Hold which bars a cell shows, and the displays of those that are gone, for the next ones."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finaliser may end a bar
        self._bars: list[tuple[object, object]] = []
        self._spare: list[tuple[object, Any]] = []

    def add(self, bar: object, cell: object) -> tuple[bool, Any]:
        """Tell whether *bar* is begun while *cell* shows another one, and give a display that is free there, if any."""
        with self._lock:
            inner = any(each == cell for _, each in self._bars)
            self._bars.append((bar, cell))
            self._spare = [spare for spare in self._spare if inner and spare[0] == cell]
            return inner, self._spare.pop()[1] if self._spare else None

    def remove(self, bar: object, display: Any) -> None:
        """Take *bar* out, and keep *display*, where there is one, for the next."""
        with self._lock:
            cells = [cell for each, cell in self._bars if each is bar]
            self._bars = [each for each in self._bars if each[0] is not bar]
            self._spare += [(cell, display) for cell in cells if display is not None]


_cell = _Cell()


class _NotebookBar:
    """Show a bar below the cell. One that is begun while another shows is wiped at its end, for the next one."""

    def __init__(self) -> None:
        self._painter = Painter(self._paint)
        self._handle: Any = None
        self._inner = False
        self._last: State | None = None

    def begin(self, now: Callable[[], State]) -> None:
        self._now = now
        self._inner, self._handle = _cell.add(self, ipython().execution_count)
        self._paint()
        self._painter.start()

    def look(self) -> None:
        """Do nothing: the painter looks by itself."""

    def end(self, state: State) -> None:
        self._painter.stop()
        self._last = state

    def _paint(self) -> None:
        self._show(self._now(), "")

    def _show(self, state: State, mark: str) -> None:
        self._put(_bar(state, mark), f"{clean(str(state))}{mark}")

    def _put(self, html: str, text: str) -> None:
        from IPython.display import display

        put: Any = display
        bundle = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = put(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def __enter__(self) -> _NotebookBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._painter.stop()
        try:
            if self._inner:
                self._put("", "")
            elif self._handle is not None:
                self._show(self._last or self._now(), "" if self._last else " – stopped")
        finally:
            _cell.remove(self, self._handle if self._inner else None)


def _bar(state: State, mark: str) -> str:
    part = state.part
    value = f' value="{part[0]}" max="{part[1]}"' if part else ' value="0"' if mark else ""
    told = f"{plain(str(state))}{plain(mark)}"
    style = "font-variant-numeric: tabular-nums"
    return f'<div style="{style}"><progress{value} style="vertical-align: middle"></progress> {told}</div>'


class _TerminalBar:
    """Draw a bar at the foot of a terminal; it goes when all is done."""

    def __init__(self) -> None:
        try:
            import_module("rich")
        except ImportError:
            raise ConfigError(
                "progress=True draws a bar with rich: pip install 'promptstream-sdk[cli]', or give a function."
            ) from None

    def begin(self, now: Callable[[], State]) -> None:
        board.add(self, now)

    def look(self) -> None:
        """Do nothing: the painter looks by itself."""

    def end(self, state: State) -> None:
        """Do nothing: the bar goes with the context."""

    def __enter__(self) -> _TerminalBar:
        return self

    def __exit__(self, *_: object) -> None:
        board.remove(self)
