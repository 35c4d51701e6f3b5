"""Conversations in, the same out again, for as long as this process lives."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from promptstream.errors import StateError
from promptstream.state import record
from promptstream.state.store import Entry, Kept
from promptstream.values.message import Message

_WHERE = "this process's memory"


@attrs.frozen
class _Row:
    """One conversation as text, as the other stores keep it: nothing is shared with the caller."""

    revision: int
    messages: tuple[str, ...]
    state: str
    metadata: str
    created: float
    updated: float

    @property
    def size(self) -> int:
        """Characters in it."""
        return sum(map(len, self.messages)) + len(self.state)


class MemoryStore:
    """Keep conversations in memory: for tests, and for those that need not outlive the process.

    May be used from any thread. It forgets everything when it is closed; a forked child has a copy of its own.
    """

    def __init__(self, most: int | None = None, characters: int | None = None) -> None:
        """Keep at most *most* conversations, and *characters* of them; those saved longest ago are forgotten."""
        self._most, self._characters, self._size = most, characters, 0
        self._rows: dict[str, _Row] = {}
        self._gone: dict[str, int] = {}
        self._notes: dict[str, tuple[str, float]] = {}
        self._closed = False
        self._locks: dict[int, threading.Lock] = {}

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self._rows)} conversations>"

    def __enter__(self) -> MemoryStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, id: str) -> Kept | None:
        """Give what is kept under *id*, or None."""
        with self._lock():
            row = self._row(id)
        if row is None:
            return None
        messages = record.read_messages(id, _WHERE, row.messages)
        state = record.read_state(id, _WHERE, row.state)
        return Kept(id, row.revision, messages, state, row.created, row.updated)

    def revision(self, id: str) -> int:
        """Give the revision that is kept under *id*, 0 where there is none."""
        with self._lock():
            row = self._row(id)
        return row.revision if row else 0

    def save(self, id: str, *, revision: int, kept: int, added: Sequence[Message], state: Mapping[str, Any]) -> int:
        """Write if the stored revision is still *revision*; see :meth:`promptstream.state.Store.save`."""
        record.check_save(id, revision, kept)
        texts = record.message_texts(id, added)
        whole, metadata = record.state_texts(id, state)
        with self._lock():
            row = self._row(id)
            stored = row.revision if row else 0
            if stored != revision:
                raise record.busy(id, revision, stored)
            before = row.messages if row else ()
            if kept > len(before):
                raise record.beyond(id, kept, len(before))
            new = stored + 1 if row else self._gone.get(id, 0) + 1
            now = time.time()
            self._rows.pop(id, None)  # the one saved last stands last
            self._rows[id] = _Row(new, (*before[:kept], *texts), whole, metadata, row.created if row else now, now)
            self._size += self._rows[id].size - (row.size if row else 0)
            self._forget()
            return new

    def list(self, *, limit: int = 1000) -> list[Entry]:
        """Give up to *limit* conversations, the one saved last first."""
        record.check_limit(limit)
        with self._lock():
            self._open()
            rows = list(reversed(self._rows.items()))[:limit]
        return [
            Entry(id, row.revision, len(row.messages), row.created, row.updated, metadata)
            for id, row in rows
            for metadata in [record.read_state(id, _WHERE, row.metadata)]
        ]

    def delete(self, id: str) -> bool:
        """Forget what is kept under *id*; tell whether there was something."""
        with self._lock():
            row = self._row(id)
            if row is not None:
                self._gone[id] = row.revision
                self._size -= row.size
                del self._rows[id]
            return row is not None

    def swap(self, name: str, before: str | None, after: str | None, seconds: float) -> str | None:
        """Change a note; see :meth:`promptstream.state.Notes.swap`."""
        record.check_id(name)
        with self._lock():
            self._open()
            now = time.monotonic()
            for each in [each for each, (_, until) in self._notes.items() if until <= now]:
                del self._notes[each]
            held, _ = self._notes.get(name, (None, 0.0))
            if held != before:
                return held
            self._notes.pop(name, None)
            if after is not None:
                self._notes[name] = after, now + seconds
            return after

    def close(self) -> None:
        """Forget everything."""
        with self._lock():
            self._closed = True
            self._rows.clear()
            self._notes.clear()
            self._gone.clear()
            self._size = 0

    def _forget(self) -> None:
        """Make room; the one saved last stays, however large it is."""
        while len(self._rows) > 1 and (
            (self._most is not None and len(self._rows) > self._most)
            or (self._characters is not None and self._size > self._characters)
        ):
            self._size -= self._rows.pop(next(iter(self._rows))).size

    def _row(self, id: str) -> _Row | None:
        record.check_id(id)
        self._open()
        return self._rows.get(id)

    def _open(self) -> None:
        if self._closed:
            raise StateError("The MemoryStore is closed; what it kept is forgotten.")

    def _lock(self) -> threading.Lock:
        # A lock for each process: another thread may have held the parent's when it forked.
        return self._locks.get(os.getpid()) or self._locks.setdefault(os.getpid(), threading.Lock())
