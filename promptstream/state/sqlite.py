"""Conversations in, rows of an SQLite file out, and back: what was saved survives the death of the process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from promptstream.state import record, sqlite_file
from promptstream.state.sqlite_pool import Pool
from promptstream.state.store import Entry, Kept
from promptstream.values.message import Message

if TYPE_CHECKING:
    import sqlite3

_LARGEST = 2**63 - 1


class SQLiteStore:
    """Keep conversations in the file at *path*, for the threads and processes of one machine.

    May be used from any thread, and after a fork. A save is on the disk when it returns; one that was cut off by a
    crash has not happened. The file and its directory are made where they are missing, for this user alone.

    Args:
        path: of the file; a leading "~" is the home directory. Not on a network file system, which does not lock.
        timeout: how many seconds to wait while another thread or process writes.

    Raises:
        ConfigError: *path* is empty, or ":memory:" (for which there is MemoryStore).
        StateError: the file cannot be opened.
        StoreCorrupt: it is not a store, is damaged, or was written by a newer version; it was left as it is.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 10.0) -> None:
        self.path = where = sqlite_file.absolute(path)
        sqlite_file.prepare(where)
        self._pool = Pool(where, lambda: sqlite_file.connect(where, timeout), timeout)
        with self._connection():
            pass

    def __repr__(self) -> str:
        return f"SQLiteStore({self.path!r})"

    def __enter__(self) -> SQLiteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, id: str) -> Kept | None:
        """Give what is kept under *id*, or None; see :meth:`promptstream.state.Store.load`."""
        record.check_id(id)
        with self._transaction("BEGIN") as connection:
            head = self._head(connection, id)
            if head is None:
                return None
            number, revision, count, created = head
            query = "SELECT state, updated FROM conversations WHERE number = ?"
            state, updated = connection.execute(query, (number,)).fetchone()
            query = "SELECT position, message FROM messages WHERE conversation = ? ORDER BY position"
            rows = connection.execute(query, (number,)).fetchall()
        for place, (position, _) in enumerate(rows):
            if position != place:
                raise record.corrupt(id, self.path, f"message {place} is missing")
        if len(rows) != count:
            raise record.corrupt(id, self.path, f"there are {len(rows)} messages where {count} are expected")
        messages = record.read_messages(id, self.path, [text for _, text in rows])
        return Kept(id, revision, messages, record.read_state(id, self.path, state), created, updated)

    def revision(self, id: str) -> int:
        """Give the revision that is kept under *id*, 0 where there is none."""
        record.check_id(id)
        with self._connection() as connection:
            head = self._head(connection, id)
        return 0 if head is None else head[1]

    def save(self, id: str, *, revision: int, kept: int, added: Sequence[Message], state: Mapping[str, Any]) -> int:
        """Write if the stored revision is still *revision*; see :meth:`promptstream.state.Store.save`."""
        record.check_save(id, revision, kept)
        texts = record.message_texts(id, added)
        whole, metadata = record.state_texts(id, state)
        with self._transaction("BEGIN IMMEDIATE") as connection:
            head = self._head(connection, id)
            number, stored, count, _ = head or (None, 0, 0, 0.0)
            if stored != revision:
                raise record.busy(id, revision, stored)
            if kept > count:
                raise record.beyond(id, kept, count)
            now, messages = time.time(), kept + len(texts)
            if number is None:
                new = self._first_revision(connection, id)
                query = "INSERT INTO conversations VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
                number = connection.execute(query, (id, new, messages, whole, metadata, now, now)).lastrowid
            else:
                new = stored + 1
                query = (
                    "UPDATE conversations SET revision = ?, messages = ?, state = ?, metadata = ?, updated = ? "
                    "WHERE number = ?"
                )
                connection.execute(query, (new, messages, whole, metadata, now, number))
            if kept < count:
                query = "DELETE FROM messages WHERE conversation = ? AND position >= ?"
                connection.execute(query, (number, kept))
            rows = [(number, kept + place, text) for place, text in enumerate(texts)]
            connection.executemany("INSERT INTO messages VALUES (?, ?, ?)", rows)
        return new

    def list(self, *, limit: int = 1000) -> list[Entry]:
        """Give up to *limit* conversations, the one saved last first."""
        record.check_limit(limit)
        query = (
            "SELECT id, revision, messages, created, updated, metadata FROM conversations "
            "ORDER BY updated DESC, number DESC LIMIT ?"
        )
        with self._connection() as connection:
            rows = connection.execute(query, (min(limit, _LARGEST),)).fetchall()
        return [self._entry(*row) for row in rows]

    def delete(self, id: str) -> bool:
        """Remove what is kept under *id*; tell whether there was something."""
        record.check_id(id)
        with self._transaction("BEGIN IMMEDIATE") as connection:
            query = "SELECT number, revision FROM conversations WHERE id = ?"
            row = connection.execute(query, (id,)).fetchone()
            if row is None:
                return False
            connection.execute("DELETE FROM messages WHERE conversation = ?", (row[0],))
            connection.execute("DELETE FROM conversations WHERE number = ?", (row[0],))
            connection.execute("INSERT OR REPLACE INTO deleted VALUES (?, ?)", (id, row[1]))
        return True

    def swap(self, name: str, before: str | None, after: str | None, seconds: float) -> str | None:
        """Change a note; see :meth:`promptstream.state.Notes.swap`."""
        record.check_id(name)
        with self._connection() as connection:
            connection.execute("PRAGMA synchronous = NORMAL")  # a note need not outlive the machine's end
            try:
                with self._changing(connection, "BEGIN IMMEDIATE"):
                    return self._swap(connection, name, before, after, seconds)
            finally:
                connection.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        """Close all connections, once what they are about is done; may be called twice."""
        self._pool.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        import sqlite3

        try:
            with self._pool.connection() as connection:
                yield connection
        except sqlite3.Error as error:
            raise sqlite_file.failure(error, self.path) from error

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        """See one state of the file in the block, and write all of it or nothing."""
        with self._connection() as connection, self._changing(connection, begin):
            yield connection

    @contextmanager
    def _changing(self, connection: sqlite3.Connection, begin: str) -> Iterator[None]:
        connection.execute(begin)
        try:
            yield
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _swap(
        self, connection: sqlite3.Connection, name: str, before: str | None, after: str | None, seconds: float
    ) -> str | None:
        now = time.time()
        connection.execute(sqlite_file.NOTES)
        connection.execute("DELETE FROM notes WHERE until <= ?", (now,))
        row = connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        held = None if row is None else record.as_text(row[0])
        if held != before:
            return held
        if after is None:
            connection.execute("DELETE FROM notes WHERE name = ?", (name,))
        else:
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (name, after, now + seconds))
        return after

    def _head(self, connection: sqlite3.Connection, id: str) -> tuple[int, int, int, float] | None:
        """Give the number, revision, count of messages and time of creation of *id*."""
        query = "SELECT number, revision, messages, created FROM conversations WHERE id = ?"
        row: tuple[int, int, int, float] | None = connection.execute(query, (id,)).fetchone()
        if row is not None and [*map(type, row)] != [int, int, int, float]:
            raise record.corrupt(id, self.path, "its row holds something else than numbers")
        return row

    def _first_revision(self, connection: sqlite3.Connection, id: str) -> int:
        """Give 1, or more where the id was deleted: who still holds the old one must not match the new by chance."""
        row = connection.execute("SELECT revision FROM deleted WHERE id = ?", (id,)).fetchone()
        connection.execute("DELETE FROM deleted WHERE id = ?", (id,))
        return 1 if row is None else int(row[0]) + 1

    def _entry(self, id: bytes, revision: int, messages: int, created: float, updated: float, metadata: bytes) -> Entry:
        try:
            name = record.as_text(id)
        except ValueError as error:
            raise record.corrupt(repr(id), self.path, f"its id: {error}") from None
        return Entry(name, revision, messages, created, updated, record.read_state(name, self.path, metadata))
