"""Chunks, or the items of many prompts, in; the same out, and a bar for whoever watches.

``progress=`` is None or False for nothing, True for the bar that suits (on standard error in a terminal, in the cell's
output in a notebook, none where nobody watches), or a function that is told how far it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import attrs

from promptstream.bars import Watcher, watcher_for

if TYPE_CHECKING:
    from promptstream.answer import Answer
    from promptstream.values.chunk import Chunk

Asked = bool | Callable[["Progress"], object] | None
"""What ``progress=`` of one answer takes."""

T = TypeVar("T")


@attrs.frozen
class Progress:
    """Tell how far an answer is."""

    chunks: int = 0
    """Pieces of text and of thoughts so far."""
    characters: int = 0
    """Characters of text so far."""
    reasoning: int = 0
    """Characters of thoughts so far."""
    tokens: int | None = None
    """Output tokens, as far as the provider has told; most tell at the end."""
    max_tokens: int | None = None
    """The limit that was asked for; None where none was."""
    elapsed: float = 0.0
    """Seconds since it began."""
    done: bool = False
    """True the last time, once the answer is whole."""

    def __str__(self) -> str:
        told = [f"{self.characters:,} characters", f"{self.elapsed:.1f} s"]
        if not self.characters:
            told[0] = f"thinking, {self.reasoning:,} characters" if self.reasoning else "waiting"
        if self.tokens is not None:
            told.insert(1, f"{self.tokens:,} tokens" + (f" of {self.max_tokens:,}" if self.max_tokens else ""))
        return ", ".join(told)

    @property
    def part(self) -> tuple[int, int] | None:
        """What is done, and of how much; None: how long an answer gets is known once it is there."""
        return (1, 1) if self.done else None


@attrs.frozen
class Count:
    """Tell how many of many things are done."""

    finished: int = 0
    total: int | None = None
    """None where it is unknown."""
    description: str = ""
    elapsed: float = 0.0
    """Seconds since it began."""
    done: bool = False
    """True the last time, once all were given out."""

    def __str__(self) -> str:
        told = f"{self.finished:,}" if self.total is None else f"{self.finished:,} of {self.total:,}"
        told = f"{told}, {_duration(self.elapsed)}"
        if self.total and 0 < self.finished < self.total:
            told += f", {_duration(self.elapsed / self.finished * (self.total - self.finished))} left"
        return f"{self.description}: {told}" if self.description else told

    @property
    def part(self) -> tuple[int, int] | None:
        """What is done, and of how much; None where that is unknown."""
        if self.total is None:
            return (1, 1) if self.done else None
        return min(self.finished, self.total), self.total


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def track(
    items: Iterable[T],
    total: int | None = None,
    description: str = "",
    *,
    progress: bool | Callable[[Count], object] | None = True,
) -> Iterator[T]:
    """Give *items* one by one, and show how many were; *total* is their number, where they do not tell it.

    A function given as *progress* is called with a :class:`Count` in the loop's thread: before the first item, now and
    then, and at the end with ``done``. What it raises is raised by the loop. The bar goes when the loop is left.

    Raises:
        TypeError: *progress* is none of these; *total* is no whole number.
        ValueError: *total* is below 0.
        ConfigError: a bar is wanted, somebody watches a terminal, and the extra ``cli`` is not there to draw it.
    """
    if total is None:
        total = length_hint(items, -1)
        total = None if total < 0 else total
    elif isinstance(total, bool) or not hasattr(total, "__index__"):
        raise TypeError(f"total={total!r:.60}: give how many items there are, a whole number, or None.")
    elif total < 0:
        raise ValueError(f"total={total}: give how many items there are, or None.")
    watcher = watcher_for(progress)
    return iter(items) if watcher is None else _tracked(items, total, description, watcher)


def _tracked(items: Iterable[T], total: int | None, description: str, watcher: Watcher) -> Iterator[T]:
    began, finished = monotonic(), 0

    def now(done: bool = False) -> Count:
        return Count(finished, total, description, monotonic() - began, done)

    with watcher:
        watcher.begin(now)
        for item in items:
            yield item
            finished += 1
            watcher.look()
        watcher.end(now(True))


def watched(
    chunks: Iterable[Chunk], watcher: Watcher, answer: Answer, max_tokens: int | None = None
) -> Iterator[Chunk]:
    """Give *chunks* on, and tell *watcher* how far *answer* is, to which they belong and what came before them."""
    began = monotonic() if answer.started is None else answer.started

    def now(done: bool = False) -> Progress:
        end = monotonic() if answer.ended is None else answer.ended
        return Progress(*answer.lengths, answer.usage.output, max_tokens, max(0.0, end - began), done)

    with watcher:
        watcher.begin(now)
        for chunk in chunks:
            yield chunk
            watcher.look()
        watcher.end(now(True))
