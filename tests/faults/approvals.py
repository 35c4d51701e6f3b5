"""The faults of calls that wait, row 60: decided or resumed twice, by two at once, and by processes that die."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dialects import DIALECTS, Dialect
from dialects import TEXT as WHOLE
from faults.benches import calling
from faults.core import Fault, Stage
from faults.says import good
from faults.shapes import NO_TOOLS

import promptstream
from promptstream import Conversation, Message
from promptstream.errors import StateError
from promptstream.state import MemoryStore, SQLiteStore

CALLS = calling(("add", '{"a":1}'), ("add", '{"a":2}'))
ONCE_IS_ENOUGH = NO_TOOLS | {
    name: "it takes processes, and is the same in every dialect" for name in DIALECTS if name not in ("chat", *NO_TOOLS)
}


class Office:
    """Serve two calls and then a good answer, and open conversations with the server: a context manager."""

    def __init__(self, dialect: Dialect, *, approval: bool = True) -> None:
        self.directory = TemporaryDirectory()
        self.server = Stage((CALLS(dialect), good(dialect)), None)
        self.provider = dialect.provider(self.server.origin)
        self.approval = approval
        self.die_in: int | None = None
        """The argument with which the tool kills its process, once it has taken note of its run."""
        self.gate: Callable[[], object] = lambda: None
        """What the tool does while it runs."""

    def __enter__(self) -> Office:
        return self

    def __exit__(self, *details: object) -> None:
        self.provider.close()
        self.server.close()
        self.directory.cleanup()
        assert not self.server.failures, self.server.failures

    @property
    def path(self) -> Path:
        """The store's file."""
        return Path(self.directory.name) / "kept.db"

    @property
    def ran(self) -> list[int]:
        """The arguments of every run, in whatever process."""
        journal = Path(self.directory.name) / "ran"
        return sorted(map(int, journal.read_text().split())) if journal.exists() else []

    def tool(self) -> promptstream.Tool:
        """Make the tool, which takes note of its runs on disk."""

        def add(a: int) -> int:
            """Add."""
            with open(Path(self.directory.name) / "ran", "a", encoding="utf-8") as journal:
                journal.write(f"{a}\n")
            if a == self.die_in:
                os._exit(9)
            self.gate()
            return a + 1

        return promptstream.tool(add, approval=self.approval)

    @contextmanager
    def open(self, store: Any = None) -> Iterator[Conversation]:
        """Open the one conversation, which is kept in *store*, or in the file."""
        options = {"provider": self.provider, "tools": [self.tool()], "store": store or SQLiteStore(self.path)}
        with promptstream.chat(conversation_id="c", **options) as conv:
            yield conv

    def asked(self) -> None:
        """Have the two calls wait, in the file."""
        with self.open() as conv:
            assert len(conv.send("Hi").pending) == 2


def _settled(office: Office, conv: Conversation, ran: Sequence[int]) -> None:
    """The turn is whole: each call ran or did not, one request carried the results, and nothing is left."""
    assert office.ran == list(ran), f"the tool ran with {office.ran}"
    assert len(office.server.requests) == 2, f"{len(office.server.requests)} requests"
    assert [message.role for message in conv.messages] == ["user", "assistant", "tool", "assistant"]
    assert conv.messages[-1].text == WHOLE
    assert conv.pending == ()


def _refused(act: Callable[[], object]) -> None:
    try:
        act()
    except StateError:
        return
    raise AssertionError("a second decision was taken")


def _twice(dialect: Dialect) -> None:
    """Decide and resume twice: the second time is refused, and nothing runs or is sent again."""
    with Office(dialect) as office, office.open(MemoryStore()) as conv:
        first, second = conv.send("Hi").pending
        conv.approve(first.id)
        conv.reject(second.id, "no")
        for act in (conv.approve, conv.reject, lambda id: conv.submit(id, "5")):
            _refused(lambda act=act: act(first.id))
            _refused(lambda act=act: act(second.id))
        one, two = conv.resume(), conv.resume()
        assert one.result().text == WHOLE
        _refused(two.result)
        _refused(conv.resume)
        _refused(lambda: conv.approve(first.id))
        _settled(office, conv, [1])


def _by_two(dialect: Dialect) -> None:
    """Two have the conversation open: the one decides, the other's decision and resume() find it done."""
    store = MemoryStore()
    with Office(dialect) as office, office.open(store) as conv, office.open(store) as other:
        conv.send("Hi")
        with office.open(store) as third:
            for call in third.pending:
                third.approve(call.id)
            first, _ = conv.messages[1].tool_calls
            _refused(lambda: conv.reject(first.id))
            stream = conv.resume()
            assert third.resume().result().text == WHOLE
            _refused(stream.result)
            _settled(office, third, [1, 2])
        _refused(lambda: other.approve(first.id))
        _settled(office, other, [1, 2])


def _at_once(dialect: Dialect) -> None:
    """Two resume at the same moment, in threads: one runs the tools, the other is told that it is busy."""
    with Office(dialect) as office:
        office.asked()
        with office.open() as one, office.open() as two:
            for call in one.pending:
                one.approve(call.id)
            started, ended = threading.Event(), threading.Event()
            office.gate = lambda: (started.set(), ended.wait(5))
            told: list[str] = []
            first = threading.Thread(target=lambda: told.append(one.resume().result().text))
            first.start()
            assert started.wait(5), "the tool did not begin"
            try:
                two.resume().result()
            except StateError as error:
                told.append(type(error).__name__)
            ended.set()
            first.join()
            assert told == ["ConversationBusy", WHOLE], told
            _settled(office, one, [1, 2])


def _child(act: Callable[[], object]) -> int:
    """Do *act* in a forked process and give how that ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        with suppress(BaseException):
            act()
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _decided_and_killed(dialect: Dialect) -> None:
    """A process approves one call and rejects the other, and dies: another resumes."""
    with Office(dialect) as office:
        office.asked()

        def decide() -> None:
            with office.open() as conv:
                first, second = conv.pending
                conv.approve(first.id)
                conv.reject(second.id, "no")
                os._exit(9)

        assert _child(decide) == 9
        with office.open() as conv:
            assert conv.resume().result().text == WHOLE
            _settled(office, conv, [1])
            (told,) = [message for message in conv.messages if message.role == "tool"]
            assert [part.content for part in told.parts] == ["2", "rejected: no"]


def _killed_in_a_tool(dialect: Dialect) -> None:
    """A process dies while an approved tool runs: nobody runs it again, and the model is told that its end is open."""
    with Office(dialect) as office:
        office.asked()

        def run() -> None:
            office.die_in = 1
            with office.open() as conv:
                for call in conv.pending:
                    conv.approve(call.id)
                conv.resume().result()

        assert _child(run) == 9
        ran = office.ran  # the second ran beside it, or had not begun
        with office.open() as conv:
            assert conv.resume().result().text == WHOLE
            _settled(office, conv, ran)
            assert "not known how it ended" in office.server.requests[-1].body.decode()


class Dying(SQLiteStore):
    """Kill the process at the *number*-th save, before or after it is written."""

    def __init__(self, path: Path, number: int, *, after: bool) -> None:
        super().__init__(path)
        self._left = number
        self._after = after

    def save(self, id: str, *, revision: int, kept: int, added: Sequence[Message], state: Mapping[str, Any]) -> int:
        """Write, or die."""
        self._left -= 1
        if self._left == 0 and not self._after:
            os._exit(9)
        saved = super().save(id, revision=revision, kept=kept, added=added, state=state)
        if self._left == 0:
            os._exit(9)
        return saved


def _killed_at_every_save(dialect: Dialect, *, approval: bool) -> None:
    """Kill at each save of a turn with tools: each call runs at most once, and the turn comes to its end."""
    for number, after in product(range(1, 9), (False, True)):
        with Office(dialect, approval=approval) as office:
            ended = _child(partial(_whole, office, number, after))
            assert ended in (0, 9), f"save {number}: the process ended by {ended}"
            before = office.ran
            text = _whole(office)
            assert text == WHOLE, f"save {number}: {text!r}"
            once = [each for each in (1, 2) if each in office.ran]
            assert office.ran == once, f"save {number}: the tool ran with {office.ran}, {before} before the kill"
            assert len(office.server.requests) <= 4, f"save {number}: {len(office.server.requests)} requests"
            if ended == 0:
                assert (once, number) == ([1, 2], 7 if approval else 4), f"whole at save {number} with {once}"
                return
    raise AssertionError("the turn was never whole")


def _whole(office: Office, number: int | None = None, after: bool = False) -> str:
    """Bring the conversation to its end from wherever it stands, dying at save *number*; give its last text."""
    store = None if number is None else Dying(office.path, number, after=after)
    with office.open(store) as conv:
        if not conv.messages:
            conv.send("Hi")
        for call in conv.pending:
            conv.approve(call.id)
        if conv.messages[-1].role != "assistant" or conv.messages[-1].tool_calls:
            conv.resume().result()
        return conv.messages[-1].text


FAULTS = (
    Fault(60, "a call that is decided twice, and resumed twice", prove=_twice, per=NO_TOOLS),
    Fault(60, "calls that two decide, and resume", prove=_by_two, per=NO_TOOLS),
    Fault(60, "calls that two resume at once", prove=_at_once, per=NO_TOOLS),
    Fault(60, "a process killed between approve and resume", prove=_decided_and_killed, per=ONCE_IS_ENOUGH),
    Fault(60, "a process killed while an approved tool runs", prove=_killed_in_a_tool, per=ONCE_IS_ENOUGH),
    Fault(
        60,
        "a process killed at each save of approved calls",
        prove=lambda dialect: _killed_at_every_save(dialect, approval=True),
        per=ONCE_IS_ENOUGH,
        limit=3.0,
    ),
    Fault(
        60,
        "a process killed at each save of calls that need no approval",
        prove=lambda dialect: _killed_at_every_save(dialect, approval=False),
        per=ONCE_IS_ENOUGH,
        limit=3.0,
    ),
)
