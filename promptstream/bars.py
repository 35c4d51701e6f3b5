"""What tells how far something is in, the bar that suits whoever watches out: a terminal's, a notebook's, or none."""

from __future__ import annotations

import contextvars
import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol, TextIO, cast

from promptstream.errors import ConfigError
from promptstream.values.markdown import plain
from promptstream.values.sanitise import clean

EVERY = 0.08
"""Seconds from one look to the next, at least."""
PATIENCE = 5.0
"""Seconds to wait for a front end at the end."""


class State(Protocol):
    """Tell how far something is; ``str()`` of it is the line beside the bar."""

    @property
    def part(self) -> tuple[int, int] | None:
        """What is done, and of how much; None where that is unknown."""


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
    drawn = _is_watched(sys.stderr) and os.environ.get("TERM", "") not in ("dumb", "unknown")
    return _TerminalBar(sys.stderr) if drawn else None


def _is_watched(file: TextIO | None) -> bool:
    try:
        return file is not None and file.isatty()
    except ValueError:  # it is closed
        return False


def in_notebook() -> bool:
    """Tell whether this runs in the kernel of a notebook, whose front end shows more than text."""
    ipython = sys.modules.get("IPython")  # where it is not loaded, no kernel of it runs this
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


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


class Painter:
    """Call *paint* again and again in a thread of its own, from :meth:`start` until it is stopped.

    A paint that takes long comes less often, so that it takes a fifth of the time at most. One that raises is the
    last: whoever stops the painter paints once more, and sees what is raised then.
    """

    def __init__(self, paint: Callable[[], None]) -> None:
        self._paint = paint
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="promptstream-painter", daemon=True
        )

    def _run(self) -> None:
        pause = EVERY
        while not self._stopped.wait(pause):
            began = monotonic()
            try:
                self._paint()
            except Exception:  # raised again by the last paint, where it was not a passing trouble
                return
            pause = max(EVERY, 4 * (monotonic() - began))

    def start(self) -> None:
        """Begin, with the first paint a moment from now."""
        self._thread.start()

    def stop(self) -> None:
        """Let no further paint begin, and wait for the one that runs. Idempotent."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)


class _NotebookBar:
    """Show a bar below the cell."""

    def __init__(self) -> None:
        self._painter = Painter(self._paint)
        self._handle: Any = None
        self._last: State | None = None

    def begin(self, now: Callable[[], State]) -> None:
        self._now = now
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
        from IPython.display import display

        put: Any = display
        bundle = {"text/html": _bar(state, mark), "text/plain": f"{clean(str(state))}{mark}"}
        if self._handle is None:
            self._handle = put(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def __enter__(self) -> _NotebookBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._painter.stop()
            self._show(self._last or self._now(), "" if self._last else " – stopped")


def _bar(state: State, mark: str) -> str:
    part = state.part
    value = f' value="{part[0]}" max="{part[1]}"' if part else ' value="0"' if mark else ""
    told = f"{plain(str(state))}{plain(mark)}"
    style = "font-variant-numeric: tabular-nums"
    return f'<div style="{style}"><progress{value} style="vertical-align: middle"></progress> {told}</div>'


class _TerminalBar:
    """Draw a bar with rich; it goes when all is done, and what is printed meanwhile stands above it."""

    def __init__(self, file: TextIO) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
            from rich.table import Column
        except ImportError:
            raise ConfigError(
                "progress=True draws a bar with rich: pip install 'promptstream-sdk[cli]', or give a function."
            ) from None
        self._bars = Progress(
            SpinnerColumn(),
            BarColumn(20),
            TextColumn("{task.fields[told]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=Console(file=cast("TextIO", _Quiet(file))),
            auto_refresh=False,  # rich's own thread may outlive the bar
            transient=True,
            redirect_stdout=_is_watched(sys.stdout),
        )
        self._painter = Painter(self._paint)

    def begin(self, now: Callable[[], State]) -> None:
        self._now = now
        self._task = self._bars.add_task("", total=None, told="")
        self._bars.start()
        self._paint()
        self._painter.start()

    def _paint(self) -> None:
        state = self._now()
        done, total = state.part or (0, None)
        self._bars.update(self._task, completed=done, total=total, told=clean(str(state)), refresh=True)

    def look(self) -> None:
        """Do nothing: the painter looks by itself."""

    def end(self, state: State) -> None:
        """Do nothing: the bar goes with the context."""

    def __enter__(self) -> _TerminalBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._painter.stop()
        self._bars.stop()


class _Quiet(io.TextIOBase):
    """Write to a file that may go away: a bar is no reason to fail."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._file.encoding

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()

    def isatty(self) -> bool:
        return _is_watched(self._file)

    def fileno(self) -> int:
        return self._file.fileno()
