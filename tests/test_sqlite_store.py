"""The SQLite store: whose file it is, what becomes of damage, and what a save does."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from stores import beside, fill, user

from promptstream.errors import ConfigError, ConversationBusy, StateError, StoreCorrupt
from promptstream.state import SQLiteStore, sqlite_file
from promptstream.values.message import Message


@pytest.fixture
def path(tmp_path) -> str:
    """Where a store is to be."""
    return str(tmp_path / "conversations.db")


def alter(path: str, *statements: str) -> None:
    """Do to the file what no store does."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


# The file


def test_the_file_and_its_directories_are_made_for_this_user_alone(tmp_path):
    """What was said is nobody else's to read; a log beside the file neither."""
    path = tmp_path / "a" / "b" / "c.db"
    with SQLiteStore(path) as store:
        store.save("id", revision=0, kept=0, added=user("a"), state={})
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"c.db": 0o600, "c.db-wal": 0o600, "c.db-shm": 0o600}
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path.parent.parent)] == [0o700, 0o700]
    assert [each.name for each in path.parent.iterdir()] == ["c.db"]


def test_a_relative_path_is_meant_from_where_it_was_opened(tmp_path, monkeypatch):
    """A program that changes its directory goes on with the same file, in new threads as well."""
    monkeypatch.chdir(tmp_path)
    with SQLiteStore("a.db") as store:
        store.save("id", revision=0, kept=0, added=[], state={})
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(store.revision("id")))
        thread.start()
        thread.join()
    assert seen == [1]
    assert repr(store) == f"SQLiteStore({str(tmp_path / 'a.db')!r})"


def test_an_empty_file_becomes_a_store(path):
    """As one that tempfile made."""
    Path(path).touch()
    fill(path)
    with SQLiteStore(path) as store:
        assert store.revision("id") == 1


def test_the_log_is_used_and_every_commit_waits_for_the_disk(path):
    """Write-ahead, with synchronous=FULL; the header says whose file it is, and in which version."""
    with SQLiteStore(path) as store, store._connection() as connection:
        asked = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert asked == [b"wal", 2]
    header = Path(path).read_bytes()[:100]
    assert (header[60:64], header[68:72]) == (b"\0\0\0\1", b"pstr")


def foreign(path: str) -> None:
    """Make another application's database."""
    alter(path, "CREATE TABLE theirs (a)", "PRAGMA user_version = 3")


def newer(path: str) -> None:
    """Make a store of the next version."""
    fill(path)
    alter(path, "PRAGMA user_version = 2")


def truncated(path: str) -> None:
    """Make a store that lost its end."""
    fill(path, 200)
    os.truncate(path, os.path.getsize(path) - 4096)


def garbled(path: str) -> None:
    """Make a store whose schema is no longer one."""
    fill(path)
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 300)


def without_table(path: str) -> None:
    """Make a store that lacks a table."""
    fill(path)
    alter(path, "DROP TABLE messages")


REFUSED = {
    "text": lambda path: Path(path).write_text("# notes\n" * 10),
    "one byte": lambda path: Path(path).write_bytes(b"S"),
    "random": lambda path: Path(path).write_bytes(bytes(range(256)) * 64),
    "zeros": lambda path: Path(path).write_bytes(bytes(8192)),
    "foreign": foreign,
    "newer": newer,
    "truncated": truncated,
    "garbled": garbled,
    "without table": without_table,
}
SAID = {"newer": "version 2 of the format", "truncated": "damaged", "garbled": "damaged", "without table": "damaged"}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_not_ours_newer_or_damaged_is_refused_and_left_alone(kind, path):
    """StoreCorrupt names it and says what to do; no byte of it changes, and no file is left beside it."""
    REFUSED[kind](path)
    before = beside(path)
    with pytest.raises(StoreCorrupt) as caught:
        SQLiteStore(path)
    assert path in str(caught.value)
    assert SAID.get(kind, "is no store of conversations but something else") in str(caught.value)
    assert "It was left as it is;" in str(caught.value)
    assert beside(path) == before


@pytest.mark.parametrize("name", ["?a=b", "a#b%41.db", "file:x.db", " x", "ü🦜.db"])
def test_a_path_may_hold_any_character(name, tmp_path):
    """It is a path and no address."""
    fill(str(tmp_path / name))
    with SQLiteStore(tmp_path / name) as store:
        assert store.revision("id") == 1
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_what_cannot_be_opened_says_why(tmp_path):
    """A directory, a pipe, a directory that is a file: StateError with the path."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for path, said in ((tmp_path, "directory"), (tmp_path / "pipe", "regular"), (tmp_path / "file" / "x", "directory")):
        with pytest.raises(StateError, match=said) as caught:
            SQLiteStore(path)
        assert str(path) in str(caught.value)
    with pytest.raises(TypeError):
        SQLiteStore(b"bytes.db")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="MemoryStore"):
        SQLiteStore(":memory:")


def test_a_newer_sqlite_message_without_a_hint_is_still_ours():
    """Whatever SQLite says comes as a StateError that repeats it."""
    error = sqlite_file.failure(sqlite3.OperationalError("something new"), "/x.db")
    assert type(error) is StateError
    assert "something new" in str(error)


# Rows


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE messages SET message = substr(message, 1, 20) WHERE conversation = 1 AND position = 1", "message 1:"),
        ("UPDATE messages SET message = CAST(x'7bff' AS TEXT) WHERE conversation = 1 AND position = 2", "message 2:"),
        ("UPDATE messages SET message = x'00' WHERE conversation = 1 AND position = 0", "message 0:"),
        (
            'UPDATE messages SET message = \'{"role": "user"}\' WHERE conversation = 1 AND position = 0',
            "message 0: it has no parts",
        ),
        (
            "UPDATE messages SET message = '[1]' WHERE conversation = 1 AND position = 0",
            "message 0: [1] where a JSON object",
        ),
        ("DELETE FROM messages WHERE conversation = 1 AND position = 1", "message 1 is missing"),
        ("DELETE FROM messages WHERE conversation = 1 AND position = 2", "there are 2 messages where 3 are expected"),
        ("INSERT INTO messages VALUES (1, 3, '{}')", "there are 4 messages where 3 are expected"),
        ("UPDATE conversations SET state = '{' WHERE id = 'id'", "its state"),
        ("UPDATE conversations SET revision = 'x' WHERE id = 'id'", "its row"),
        ("UPDATE conversations SET created = 'x' WHERE id = 'id'", "its row"),
    ],
)
def test_a_damaged_row_names_its_conversation_and_place(statement, said, path):
    """It is not passed over, not half read, and not changed; it can be deleted, and the others can be read."""
    fill(path)
    with SQLiteStore(path) as store:
        store.save("other", revision=0, kept=0, added=user("x"), state={})
        alter(path, statement)
        with pytest.raises(StoreCorrupt) as caught:
            store.load("id")
        assert f"The conversation 'id' in {path} cannot be read: {said}" in str(caught.value)
        assert store.load("other").messages == (Message("user", "x"),)
        assert store.delete("id")
        assert [entry.id for entry in store.list()] == ["other"]


def test_a_save_over_rows_that_should_not_be_there_changes_nothing(path):
    """A message that is already where the new one belongs is damage, and is not overwritten."""
    fill(path)
    alter(path, "INSERT INTO messages VALUES (1, 3, '{}')")
    with SQLiteStore(path) as store:
        with pytest.raises(StoreCorrupt, match="damaged"):
            store.save("id", revision=1, kept=3, added=user("x"), state={})
        assert store.revision("id") == 1


def test_a_damaged_page_is_found_when_it_is_read(path):
    """SQLite's own finding comes as StoreCorrupt; the file is as it was."""
    fill(path, 2000)
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:8192] + b"\xa5" * (len(data) - 8192))
    before = Path(path).read_bytes()
    with pytest.raises(StoreCorrupt), SQLiteStore(path) as store:
        store.load("id")
    assert Path(path).read_bytes() == before


# A save


def test_a_save_does_not_touch_the_history_before_it(path):
    """Appending to a thousand messages reads and writes the conversation's row and the new messages alone."""
    fill(path, 1000)
    with SQLiteStore(path) as store:
        statements: list[str] = []
        with store._connection() as connection:
            connection.set_trace_callback(statements.append)
            steps = [0]
            connection.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 1)
        store.save("id", revision=1, kept=1000, added=user("a", "b"), state={})
        few = steps[0]
        store.load("id")
    assert few < 200 < steps[0]
    verbs = [" ".join(statement.split()[:3]) for statement in statements[:6]]
    assert verbs == [
        "BEGIN IMMEDIATE",
        "SELECT number, revision,",
        "UPDATE conversations SET",
        "INSERT INTO messages",
        "INSERT INTO messages",
        "COMMIT",
    ]


def test_a_writer_that_takes_too_long_is_a_state_error(path):
    """After the time that it may wait, a save fails, says so, and has changed nothing; readers do not wait at all."""
    fill(path)
    other = sqlite3.connect(path, isolation_level=None)
    with SQLiteStore(path, timeout=0.05) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match=r"locked.*try again") as caught:
            store.save("id", revision=1, kept=3, added=user("x"), state={})
        assert type(caught.value) is StateError
        assert store.load("id").revision == 1
        other.execute("ROLLBACK")
        other.close()
        assert store.save("id", revision=1, kept=3, added=user("x"), state={}) == 2


def test_what_interrupts_a_save_undoes_it(path, monkeypatch):
    """Ctrl-C between two of its steps leaves the old, and the next save works."""
    fill(path)
    with SQLiteStore(path) as store:
        with monkeypatch.context() as patch:
            patch.setattr("promptstream.state.sqlite.time.time", lambda: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                store.save("id", revision=1, kept=3, added=user("x"), state={})
        assert store.revision("id") == 1
        assert store.save("id", revision=1, kept=3, added=user("x"), state={}) == 2


def test_a_file_that_is_replaced_under_the_store_is_not_written_to_its_ghost(path, tmp_path):
    """A save never goes to a file that no longer has the name; the revision tells that another is there."""
    fill(path)
    with SQLiteStore(path) as store:
        assert store.revision("id") == 1
        os.rename(path, tmp_path / "away.db")
        with pytest.raises(ConversationBusy, match="not stored"):
            store.save("id", revision=1, kept=3, added=user("x"), state={})
        store.save("new", revision=0, kept=0, added=user("x"), state={})
    with SQLiteStore(path) as store:
        assert [entry.id for entry in store.list()] == ["new"]
