"""A script in, a provider out that counts how many chunks of it were pulled; and waits for what must come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import pytest
from server import PATIENCE

from promptstream import errors, providers
from promptstream.client import Provider
from promptstream.providers.scripted import ScriptedDialect
from promptstream.values.chunk import Chunk

HOLD = 60.0
"""A step that only a stop ends."""


class CountedDialect(ScriptedDialect):
    """Play a script; a step may also be a function, called in the thread that pulls."""

    pulled = 0
    """Chunks that were pulled so far, the finish signal included."""

    def __init__(self, *turns: list[Any]) -> None:
        super().__init__([[step for step in turn if not callable(step)] for turn in turns])
        self._turns = [list(turn) for turn in turns]

    def play(self, request: Any, watch: Any) -> Iterator[Chunk]:
        """Yield the next turn's chunks, counted."""
        turn = self._turns[len(self.requests)]
        calls = [(number, step) for number, step in enumerate(turn) if callable(step)]
        self._turns[len(self.requests)] = [step for step in turn if not callable(step)]
        # A function is called before the step that follows it is handed out.
        at = {number - before: step for before, (number, step) in enumerate(calls)}
        for number, chunk in enumerate(super().play(request, watch)):
            if number in at:
                at[number]()
            self.pulled += 1
            yield chunk


def counted(*turns: list[Any]) -> tuple[Provider, CountedDialect]:
    """Make a provider that plays *turns*, and what counts the pulls."""
    dialect = CountedDialect(*turns)
    return Provider(dialect), dialect


def soon(true: Callable[[], object]) -> bool:
    """Wait until *true* is, and tell whether it came to be."""
    end = monotonic() + PATIENCE
    while not true():
        if monotonic() > end:
            return False
        sleep(0.002)
    return True


def settled(reading: Callable[[], int]) -> int:
    """Wait until *reading* stands still for 60 ms, and give it."""
    value, since = reading(), monotonic()
    while monotonic() - since < 0.06:
        sleep(0.005)
        if (now := reading()) != value:
            value, since = now, monotonic()
    return value


def shown(chunk: Chunk) -> tuple[str, str, str | None, str | None]:
    """Give what two chunks of equal answers have in common."""
    whole = chunk.response.text if chunk.response else None
    return (str(chunk.type), chunk.text, whole, chunk.finish_reason)


def scripted(*turns):
    """Make a provider that plays *turns*."""
    return providers.Scripted(list(turns))


def read(stream):
    """Take all there is: the chunks' texts, and what was raised, or None."""
    came = []
    try:
        for chunk in stream:
            came.append(chunk)
    except BaseException as error:
        return came, error
    return came, None


def texts(chunks):
    """Give the texts of *chunks*."""
    return [chunk.text for chunk in chunks]


def is_over(stream):
    """Tell whether nothing more comes, again and again, and the thread has ended."""
    for _ in range(2):
        assert list(stream) == []
        with pytest.raises(errors.EndOfStream):
            stream.get(timeout=PATIENCE)
    stream._thread.join(PATIENCE)
    return not stream._thread.is_alive()
