"""The path of a file in, a connection to the store in it out; a file that is not ours is refused and left alone."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from promptstream.errors import ConfigError, StateError, StoreCorrupt

if TYPE_CHECKING:
    import sqlite3

APPLICATION = 0x70737472
"""What SQLite's header says of whose file it is: "pstr"."""
VERSION = 1
"""The version of the tables below; a file of a greater one is refused."""
_TABLES = (
    """CREATE TABLE conversations (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        revision INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        state TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL
    )""",
    "CREATE INDEX conversations_by_time ON conversations (updated)",
    """CREATE TABLE messages (
        conversation INTEGER NOT NULL,
        position INTEGER NOT NULL,
        message TEXT NOT NULL,
        UNIQUE (conversation, position)
    )""",
    "CREATE TABLE deleted (id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID",
)
NOTES = (
    "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, until REAL NOT NULL) "
    "WITHOUT ROWID"
)
"""Made when the first note is; who knows of none reads the file as before."""
_USED = (
    "SELECT number, id, revision, messages, state, metadata, created, updated FROM conversations LIMIT 0",
    "SELECT conversation, position, message FROM messages LIMIT 0",
    "SELECT id, revision FROM deleted LIMIT 0",
)
_HEADER = (  # in one query: another process may be making the tables just now
    "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), "
    "(SELECT count(*) FROM sqlite_master)"
)
_LOOKS = 5
_HINTS = (
    ("locked", "others have been writing to it all the time that it waited; try again"),
    ("full", "the disk is full; make room and try again"),
    ("readonly", "it may not be written; check the permissions of the file and of its directory"),
    ("unable to open", "it cannot be opened; check the permissions of the file and of its directory"),
    ("disk I/O", "the disk is full or failing, or the file may not grow; see to that and try again"),
)
_BROKEN = ("no such table", "no such column", "malformed", "unsupported file format", "could not decode")


def absolute(path: str | os.PathLike[str]) -> str:
    """Give *path* as it will be meant wherever the program goes; "~" is the home directory.

    Raises:
        ConfigError: it cannot be a file's.
        TypeError: it is no path.
    """
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"store={path!r:.80}: give the path as a string, not as bytes.")
    if name == ":memory:":
        raise ConfigError(
            "store=':memory:' would be another database in each thread; "
            "give 'memory:' or promptstream.state.MemoryStore()."
        )
    if not name.strip() or "\0" in name:
        raise ConfigError(f"store={name!r:.80} is no path; give the path of a file, such as 'conversations.db'.")
    return os.path.abspath(os.path.expanduser(name))


def prepare(path: str) -> None:
    """Make the file at *path* and its directory where they are missing, for this user alone; refuse what is not ours.

    Raises:
        StateError: it cannot be made, or is no regular file.
        StoreCorrupt: it is not a store, is damaged, or was written by a newer version; nothing was touched.
    """
    try:
        for folder in reversed([each for each in Path(path).parents if not each.exists()]):
            folder.mkdir(0o700, exist_ok=True)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            found = os.stat(path)
        else:
            return
    except OSError as error:
        raise StateError(f"The store {path!r} cannot be opened: {error.strerror or error}.") from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a directory; give the path of a file in it" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise StateError(f"The store {path!r} cannot be opened: it is {kind}.")
    if found.st_size == 1:  # which SQLite takes for an empty one
        raise _not_ours(path)
    if found.st_size:
        _look(path)


def connect(path: str, timeout: float) -> sqlite3.Connection:
    """Connect to the store at *path*, with its tables made where there are none.

    Every commit is on the disk when it returns. *timeout* is how many seconds to wait for another's write.

    Raises:
        StateError, StoreCorrupt: as :func:`prepare`.
    """
    import sqlite3

    connection = None
    try:
        connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        connection.text_factory = bytes  # so that it is us who find what is no UTF-8, and say where
        _establish(connection, path, time.monotonic() + timeout)
        for query in ("PRAGMA synchronous = FULL", "PRAGMA secure_delete = ON", *_USED):
            connection.execute(query).fetchall()
        return connection
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise failure(error, path) from error
        raise


def failure(error: sqlite3.Error, path: str) -> StateError:
    """Give what SQLite says of the store at *path* as an error of ours."""
    import sqlite3

    said = str(error)
    damaged = not isinstance(error, (sqlite3.OperationalError, sqlite3.DataError, sqlite3.ProgrammingError))
    if damaged or any(word in said for word in _BROKEN):
        return _refused(path, f"is damaged ({said})")
    hint = next((hint for word, hint in _HINTS if word in said), "see to that and try again")
    return StateError(f"The store {path!r} could not be used: {said}: {hint}. Nothing was changed.")


def _refused(path: str, what: str, do: str = "restore it from a backup, or give another path") -> StoreCorrupt:
    return StoreCorrupt(f"The store {path!r} {what}. It was left as it is; {do}.")


def _look(path: str) -> None:
    """Refuse a file by what its first page says, without a lock, and without making the files that stand beside it.

    By SQLite and not by ``open``: closing the file would take away the locks of this process' other connections.
    """
    import sqlite3

    uri = f"file:{quote(path)}?mode=ro&immutable=1"
    for look in range(_LOOKS):
        recoverable = any(_filled(path + beside) for beside in ("-wal", "-journal"))
        try:
            connection = sqlite3.connect(uri, uri=True, isolation_level=None)
            try:
                _check(connection, path)
            finally:
                connection.close()
            return
        except sqlite3.OperationalError as error:
            raise failure(error, path) from error
        except sqlite3.DatabaseError as error:
            if recoverable:  # a process may have died in a write: the connection that follows mends it, or says why not
                return
            if look == _LOOKS - 1:
                raise (_not_ours(path) if "not a database" in str(error) else failure(error, path)) from error
            time.sleep(0.01)  # another process may be in the middle of one


def _filled(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def _not_ours(path: str) -> StoreCorrupt:
    return _refused(path, "is no store of conversations but something else", "give another path")


def _check(connection: sqlite3.Connection, path: str) -> bool:
    """Tell whether the database is still empty; refuse one that is not ours, or newer."""
    application, version, tables = connection.execute(_HEADER).fetchone()
    if application == APPLICATION and version == VERSION:
        return False
    if application == APPLICATION:
        raise _refused(
            path,
            f"was written in version {version} of the format; this promptstream reads version {VERSION}",
            "install the promptstream that wrote it, or give another path",
        )
    if application or version or tables:
        raise _not_ours(path)
    return True


def _establish(connection: sqlite3.Connection, path: str, deadline: float) -> None:
    if _check(connection, path):
        # In the journal mode of old, and one step: so the main file says whose it is from its first byte on.
        connection.execute("BEGIN IMMEDIATE")
        if _check(connection, path):
            for table in _TABLES:
                connection.execute(table)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    while not _in_wal_mode(connection):
        if time.monotonic() > deadline:  # a file system without shared memory: slower, as safe
            return
        time.sleep(0.01)


def _in_wal_mode(connection: sqlite3.Connection) -> bool:
    """Switch to a write-ahead log, which lets others read while one writes; False while others are in the way."""
    import sqlite3

    try:
        for query in ("PRAGMA journal_mode", "PRAGMA journal_mode = WAL"):
            if connection.execute(query).fetchone()[0] == b"wal":
                return True
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        return False
    return False
