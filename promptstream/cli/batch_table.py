"""A batch that runs in, how far it is out: as a table at the foot of a terminal, else as a line now and then."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from promptstream.cli.sanitise import clean
from promptstream.cli.status import duration
from promptstream.cli.terminal import is_steerable, styled, tell, window
from promptstream.painter import Painter
from promptstream.values.money import dollars

if TYPE_CHECKING:
    from promptstream.batch import Batch, Summary

EVERY = 10.0
"""Seconds from line to line where nobody watches."""
_PER_SECOND = 5
_WINDOW = 60.0
"""Seconds over which the rate is measured."""
_WIDE = 76
"""Columns from which the figures stand side by side."""


class Counted(Protocol):
    """Know how many rows there are."""

    @property
    def rows(self) -> int | None:
        """All of them; None where that is not known."""

    @property
    def left(self) -> int | None:
        """Those that are to be run."""


class Told(Protocol):
    """Know the last failure."""

    last: str


@contextmanager
def watching(batch: Batch, counted: Counted, told: Told) -> Iterator[None]:
    """Show how far *batch* is, until it is left; on standard error."""
    pace = Pace(batch, counted.left)
    with _live(pace, counted, told) if is_steerable(sys.stderr) else _lines(pace, counted):
        yield


class Pace:
    """Know how fast a batch is of late, and how long it will take. Not for several threads at once."""

    def __init__(self, batch: Batch, left: int | None) -> None:
        self._batch = batch
        self._left = left
        self._seen: deque[tuple[float, int]] = deque([(monotonic(), 0)])

    def look(self) -> tuple[Summary, float | None, float | None]:
        """Give the figures, the rows a second, and the seconds left; None is not known yet."""
        summary, now = self._batch.summary, monotonic()
        self._seen.append((now, summary.rows))
        while self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()
        since, rows = self._seen[0]
        rate = (summary.rows - rows) / (now - since) if now > since and summary.rows > rows else None
        if self._left is None or rate is None:
            return summary, rate, None
        return summary, rate, max(0, self._left - summary.rows) / rate


def figures(summary: Summary, rate: float | None, left: float | None) -> dict[str, str]:
    """Give what the table shows, by the names of its columns."""
    usage = summary.usage
    return {
        "done": f"{summary.done:,}",
        "failed": f"{summary.failed:,}",
        "skipped": f"{summary.skipped:,}",
        "tokens": f"{short(usage.input)} → {short(usage.output)}" if usage else "unknown",
        "cost": dollars(summary.cost),
        "rate": "" if rate is None else f"{rate:.1f}/s",
        "left": "" if left is None else duration(left),
    }


def short(count: int | None) -> str:
    """Give *count* in few characters."""
    if count is None:
        return "?"
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            return f"{count / min(size, 10**3 if unit == 'k' else size):.3g}{unit}"
    return f"{count:,}"


@contextmanager
def _lines(pace: Pace, counted: Counted) -> Iterator[None]:
    lines = _Lines(pace, counted)
    painter = Painter(lines.put)
    painter.start()
    try:
        yield
    finally:
        painter.stop()


class _Lines:
    """Tell a line now and then."""

    def __init__(self, pace: Pace, counted: Counted) -> None:
        self._pace = pace
        self._counted = counted
        self._due = monotonic() + EVERY

    def put(self) -> None:
        """Tell one where it is time for it."""
        if monotonic() >= self._due:
            self._due = monotonic() + EVERY
            tell(_line(self._pace, self._counted))


def _line(pace: Pace, counted: Counted) -> str:
    shown = figures(*pace.look())
    rows = "" if counted.rows is None else f" of {counted.rows:,} rows"
    parts = [f"{shown['done']}{rows} done", f"{shown['failed']} failed", f"{shown['skipped']} skipped"]
    parts += [f"tokens {shown['tokens']}", f"cost {shown['cost']}", shown["rate"]]
    parts += [f"{shown['left']} left"] if shown["left"] else []
    return ", ".join(part for part in parts if part)


def _live(pace: Pace, counted: Counted, told: Told) -> AbstractContextManager[Any]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False, no_color=not styled())
    return Live(
        console=console,
        transient=True,
        refresh_per_second=_PER_SECOND,
        get_renderable=lambda: _drawn(pace, counted, told, window(sys.__stderr__ or sys.stderr)[0]),
        vertical_overflow="crop",
    )


def _drawn(pace: Pace, counted: Counted, told: Told, columns: int) -> Any:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    summary, rate, left = pace.look()
    shown = figures(summary, rate, left)
    there = summary.rows + summary.skipped
    head = Table.grid(padding=(0, 1), expand=False)
    total = counted.rows
    bar = ProgressBar(total=total or None, completed=there, width=min(40, columns // 2), pulse=total is None)
    head.add_row(bar, Text(f"{there:,}" if total is None else f"{there:,} of {total:,}"))
    if columns >= _WIDE:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim" if styled() else "")
        for name in shown:
            table.add_column(name, justify="right", no_wrap=True, min_width=_widths[name])
        table.add_row(*map(Text, shown.values()))
    else:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim" if styled() else "")
        table.add_column(justify="right", no_wrap=True)
        for name, value in shown.items():
            table.add_row(name, Text(value))
    rows: list[Any] = [head, table]
    if told.last:
        line = clean(told.last).replace("\n", " ")
        rows.append(Text(line, style="yellow" if styled() else "", no_wrap=True, overflow="ellipsis"))
    return Group(*rows)


_widths = {"done": 6, "failed": 6, "skipped": 7, "tokens": 13, "cost": 8, "rate": 7, "left": 8}
"""Columns that each figure has at least, so that nothing moves as they grow."""
