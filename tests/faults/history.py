"""The faults of a conversation, rows 65 and 75 to 77: two turns at once, broken stores, what a broken turn leaves."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dialects import DIALECTS, Dialect
from dialects import TEXT as WHOLE
from faults.benches import calling
from faults.core import Fault, Stage, Step
from faults.says import PART, PARTS, begun, good, hold, part, say, streamed, then
from faults.shapes import event

import promptstream
from promptstream import Conversation
from promptstream.errors import (
    ConversationBusy,
    ProtocolError,
    ServerError,
    StateError,
    StoreCorrupt,
    StreamError,
    Truncated,
)
from promptstream.state import SQLiteStore

NO_TURNS = {"completions": "a text completion has no history"}
ALIKE = dict.fromkeys(DIALECTS, "what a store does is the same in every dialect") | NO_TURNS
del ALIKE["chat"]


class Turns:
    """A server of *steps* and a conversation with it: a context manager that gives both."""

    def __init__(self, dialect: Dialect, *steps: Step, **options: Any) -> None:
        self.server = Stage(steps, None)
        self.conv = promptstream.chat(provider=dialect.provider(self.server.origin), **options)

    def __enter__(self) -> tuple[Any, Stage]:
        return self.conv, self.server

    def __exit__(self, *details: object) -> None:
        self.conv.close()
        self.conv.provider.close()
        self.server.close()
        assert not self.server.failures, self.server.failures


def _said(conv: Any) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in conv.messages]


def _busy(dialect: Dialect) -> None:
    """Ask from another thread, and inside the loop, while a turn runs."""
    refused: list[type[BaseException] | None] = []

    def ask(conv: Any) -> None:
        try:
            list(conv.stream("2"))
        except BaseException as error:
            refused.append(type(error))
        else:
            refused.append(None)

    with Turns(dialect, good(dialect)) as (conv, server):
        inner = conv.stream("3")
        texts = []
        for chunk in conv.stream("1"):
            texts.append(chunk.text)
            if not chunk.done and len(refused) < 2:
                other = threading.Thread(target=ask, args=[conv])
                other.start()
                other.join()
                with suppress(ConversationBusy):
                    list(inner)
                    refused.append(None)
                refused.append(ConversationBusy)
        assert refused == [ConversationBusy] * 2, f"the second turn came to {refused}"
        assert "".join(texts) == WHOLE, texts
        assert _said(conv) == [("user", "1"), ("assistant", WHOLE)], _said(conv)
        assert len(server.requests) == 1


def _failure(conv: Any) -> StreamError:
    """Give what a turn fails with."""
    try:
        conv.send("2")
    except StreamError as error:
        return error
    raise AssertionError("the turn is whole")


def _failing(dialect: Dialect) -> None:
    """Fail a turn in three ways: each leaves the history as it was, and the next one goes on from there."""
    cut = say(streamed(dialect, part(dialect)))
    failed = say(streamed(dialect, part(dialect), dialect.failure("server")))
    spoilt = say(streamed(dialect, part(dialect), event(dialect, "123")))
    with Turns(dialect, good(dialect), cut, failed, spoilt, good(dialect)) as (conv, server):
        conv.send("1")
        before = conv.messages
        for error in (Truncated, ServerError, ProtocolError):
            failure = _failure(conv)
            assert type(failure) is error, repr(failure)
            assert failure.response.text == PART, failure.response.text
            assert conv.messages == before, f"after {error.__name__}: {_said(conv)}"
            assert conv.last.text == PART
            assert not conv.last.complete
        conv.send("3")
        assert _said(conv) == [("user", "1"), ("assistant", WHOLE), ("user", "3"), ("assistant", WHOLE)], _said(conv)
        sent = server.requests[-1].body.decode()
        assert PART not in sent.replace(WHOLE, ""), sent


def _left_in_a_turn(dialect: Dialect) -> None:
    """Leave a turn: its partial answer is kept, marked; with keep_partial=False there is no trace of it."""
    for keep in (True, False):
        with Turns(dialect, then(begun(dialect), hold), keep_partial=keep) as (conv, _):
            for _ in conv.stream("1"):
                break
            kept = [("user", "1"), ("assistant", PARTS[0])] if keep else []
            assert _said(conv) == kept, _said(conv)


# Rows 75 and 76: what is kept in a store


class Kept:
    """A server of *steps* and a store in a file: a context manager that opens conversations on both."""

    def __init__(self, dialect: Dialect, *steps: Step) -> None:
        self.server = Stage(steps, None)
        self.provider = dialect.provider(self.server.origin)
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / "kept.db"
        self.stores: list[SQLiteStore] = []
        self.ran: list[int] = []

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *details: object) -> None:
        for store in self.stores:
            store.close()
        self.provider.close()
        self.server.close()
        self.directory.cleanup()
        assert not self.server.failures, self.server.failures

    def open(self, **options: Any) -> Conversation:
        """Open the one conversation as another process would."""
        self.stores.append(SQLiteStore(self.path))
        return promptstream.chat(provider=self.provider, store=self.stores[-1], conversation_id="c", **options)

    def limit(self, pages: int = 1) -> None:
        """Let the last store have no more room, or so many pages; SQLite's own limit stands for the disk's."""
        with self.stores[-1]._connection() as connection:
            connection.execute(f"PRAGMA max_page_count = {pages}")

    def execute(self, statement: str) -> None:
        """Do something to the file that no store would do."""
        for store in self.stores:
            store.close()
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(statement)
        connection.close()


LONG = "x" * 100_000
ROOM = 100_000


def _full(dialect: Dialect) -> None:
    """Fill the disk between two turns: the turn ends in StateError, is there in memory, and is saved by the next."""
    with Kept(dialect, good(dialect)) as kept:
        conv = kept.open()
        conv.send("1")
        kept.limit()
        error = _state_error(lambda: conv.send(LONG))
        assert "full" in str(error), error
        assert [len(message.text) for message in conv.messages] == [1, len(WHOLE), len(LONG), len(WHOLE)]
        assert conv.last is not None
        assert conv.last.complete
        assert len(kept.open().messages) == 2, "something of the second turn is in the file"
        kept.stores.pop()
        kept.limit(ROOM)
        conv.send("3")
        assert kept.open().messages == conv.messages
        assert len(conv.messages) == 6


def _full_around_a_tool(dialect: Dialect, *, ran: bool) -> None:
    """Fill the disk before the tool, which does not run then, or while it runs: it is not run again."""
    call = calling(("add", '{"a":1}'))(dialect)
    with Kept(dialect, *([call] if ran else [call, call]), good(dialect)) as kept:

        def add(a: int) -> str:
            """Add."""
            kept.ran.append(a)
            if ran:
                kept.limit()
            return LONG

        conv = kept.open(tools=[add])
        if not ran:
            kept.limit()
        message = "1" if ran else LONG
        assert "full" in str(_state_error(lambda: conv.send(message)))
        assert kept.ran == [1] * ran
        assert [each.role for each in conv.messages] == (["user", "assistant", "tool"] if ran else [])
        kept.limit(ROOM)
        response = conv.resume().result() if ran else conv.send(message)
        assert response.text == WHOLE
        assert kept.ran == [1]
        assert kept.open(tools=[add]).messages == conv.messages


def _two_writers(dialect: Dialect) -> None:
    """Have two processes say something to one conversation: at once, and one after the other."""
    with Kept(dialect, good(dialect)) as kept:
        conv, other = kept.open(), kept.open()
        conv.send("1")
        other.send("2")  # it has read what the first one wrote meanwhile
        assert [text for role, text in _said(other) if role == "user"] == ["1", "2"]
        stream = conv.stream("3")
        for chunk in stream:
            if chunk.text == PARTS[0]:
                other.send("4")
                break
        conv.send("5")
        for each in (conv, kept.open()):
            assert [text for role, text in _said(each) if role == "user"] == ["1", "2", "4", "5"], _said(each)
        begun = iter(conv.stream("6"))
        next(begun)
        other.send("7")
        error = _state_error(lambda: list(begun))
        assert type(error) is ConversationBusy, repr(error)
        assert error.response is not None
        assert error.response.text == WHOLE
        conv.send("8")
        for each in (conv, kept.open()):
            said = _said(each)
            assert [text for role, text in said if role == "user"] == ["1", "2", "4", "5", "7", "8"], said
            assert [role for role, _ in said] == ["user", "assistant"] * 6, said


def _state_error(act: Callable[[], object]) -> StateError:
    try:
        act()
    except StateError as error:
        return error
    raise AssertionError("nothing was raised")


_STATE = "UPDATE conversations SET state = replace(state, '{}', '{}')"
DAMAGE: dict[str, str | Callable[[bytes], bytes]] = {
    "that is cut in half": lambda file: file[: len(file) // 2],
    "that is something else": lambda file: b"Dear diary, " * 1000,
    "with a page of zeros": lambda file: file[:4096] + bytes(len(file) - 4096),
    "with a head of zeros": lambda file: bytes(100) + file[100:],
    "of a newer version": "PRAGMA user_version = 2",
    "with a message that is cut": "UPDATE messages SET message = substr(message, 1, 20) WHERE position = 1",
    "with a message that is gone": "DELETE FROM messages WHERE position = 1",
    "with a message of a newer kind": """UPDATE messages SET message = '{"role":"oracle","parts":[]}'""",
    "with a state that is cut": "UPDATE conversations SET state = substr(state, 1, 20)",
    "with a state of a newer version": _STATE.format('"format":1', '"format":2'),
    "with a state that lacks something": """UPDATE conversations SET state = '{"format": 1}'""",
    "with pending calls that are none": _STATE.format('"pending":[]', '"pending":[1]'),
}


def _corrupted(dialect: Dialect) -> None:
    """Damage the file in every way: it is refused, by its path or the conversation's id, and left as it is."""
    for words, damage in DAMAGE.items():
        with Kept(dialect, good(dialect)) as kept:
            conv = kept.open()
            conv.send("1")
            conv.send("2")
            kept.execute("PRAGMA wal_checkpoint(TRUNCATE)" if callable(damage) else damage)
            if callable(damage):
                kept.path.write_bytes(damage(kept.path.read_bytes()))
            before = kept.path.read_bytes()
            try:
                kept.open()
            except StateError as refused:
                error = refused
            else:
                raise AssertionError(f"a store {words} was opened")
            assert type(error) is StoreCorrupt, f"a store {words}: {error!r}"
            assert str(kept.path) in str(error) or "'c'" in str(error), f"a store {words}: {error}"
            assert kept.path.read_bytes() == before, f"a store {words} was changed"
            assert len(kept.server.requests) == 2


def _corrupted_meanwhile(dialect: Dialect) -> None:
    """Damage the file while the conversation is open: nothing is sent, and what is in memory stays."""
    with Kept(dialect, good(dialect)) as kept:
        conv = kept.open()
        conv.send("1")
        before = conv.messages
        connection = sqlite3.connect(kept.path)
        with connection:
            connection.execute("UPDATE conversations SET revision = 7, state = 'x'")
        connection.close()
        error = _state_error(lambda: conv.send("2"))
        assert type(error) is StoreCorrupt, repr(error)
        assert conv.messages == before
        assert len(kept.server.requests) == 1


FAULTS = (
    Fault(65, "a second turn of a conversation, in another thread and in the loop", prove=_busy, per=NO_TURNS),
    Fault(75, "a disk that is full", prove=_full, per=ALIKE),
    Fault(
        75,
        "a disk that is full before a tool runs",
        prove=lambda dialect: _full_around_a_tool(dialect, ran=False),
        per=ALIKE,
    ),
    Fault(
        75,
        "a disk that is full once a tool ran",
        prove=lambda dialect: _full_around_a_tool(dialect, ran=True),
        per=ALIKE,
    ),
    Fault(75, "two processes that write", prove=_two_writers, per=ALIKE),
    Fault(76, "a store that is damaged, in every way, or newer", prove=_corrupted, per=ALIKE, limit=3.0),
    Fault(76, "a store that is damaged while it is in use", prove=_corrupted_meanwhile, per=ALIKE),
    Fault(77, "a turn that fails", prove=_failing, per=NO_TURNS),
    Fault(77, "a turn that is left", prove=_left_in_a_turn, per=NO_TURNS),
)
ELSEWHERE = {75: "test_killed.py::test_whenever_it_is_killed_what_was_confirmed_is_there_and_nothing_is_torn"}
