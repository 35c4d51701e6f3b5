"""Several relays behind one store: to their clients they are one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import requests
from openai_server import PATIENCE
from relays import LONG, Client, texts, wait_until
from stores import OPENERS, redis_store, redis_url

import promptstream
from promptstream.errors import ConversationBusy, StateError
from promptstream.providers import Scripted
from promptstream.state import MemoryStore, Notes, RedisStore
from promptstream.values.message import ToolCall
from promptstream.web import Relay, conversations, leases
from promptstream.web.hands import Hands, Task
from promptstream.web.leases import Leases

pytest.importorskip("websockets", reason="websockets is not installed (extra web)")
ROOMS = ToolCall("call-1", "book", {"room": 7})


@promptstream.tool(approval=True)
def book(room: int) -> str:
    """Book a room."""
    return f"room {room} is yours"


# Notes


@pytest.fixture(params=OPENERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each kind of store."""
    opened = OPENERS[request.param](tmp_path)
    yield opened
    opened.close()


def test_a_note_is_changed_by_who_knows_what_it_says(store: Any):
    """Whoever does not is told what it says instead; a note that nobody left is None."""
    assert isinstance(store, Notes)
    assert store.swap("turn {a}%é", None, None, 1) is None
    assert store.swap("turn {a}%é", None, "=me", 60) == "=me"
    assert store.swap("turn {a}%é", None, "you", 60) == "=me"
    assert store.swap("turn {a}%é", "you", None, 60) == "=me"
    assert store.swap("turn {a}%é", "=me", "", 60) == ""
    assert store.swap("turn {a}%é", "", None, 60) is None
    assert store.swap("turn {a}%é", "", "again", 60) is None
    assert store.list() == []


def test_a_note_is_forgotten_after_its_time(store: Any):
    """Another may be left then; a conversation of the same name has nothing to do with it."""
    store.save("note", revision=0, kept=0, added=[], state={})
    assert store.swap("note", None, "brief", 0.03) == "brief"
    wait_until(lambda: store.swap("note", None, "mine", 60) == "mine")
    assert store.revision("note") == 1


def test_of_many_who_want_one_note_one_has_it(store: Any):
    """Whatever threads ask at once."""
    had: list[str | None] = []
    gate = threading.Barrier(8)

    def want(name: str) -> None:
        gate.wait()
        had.append(store.swap("turn", None, name, 60))

    threads = [threading.Thread(target=want, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(had) == 8
    assert len({*had}) == 1


def test_a_file_of_before_takes_notes_and_one_with_notes_is_read_as_before(tmp_path: Path):
    """The table is made when the first note is; the version of the file stays."""
    import sqlite3

    from promptstream.state import SQLiteStore

    path = str(tmp_path / "kept.db")
    with SQLiteStore(path) as store, closing(sqlite3.connect(path)) as other:
        before = other.execute("SELECT name FROM sqlite_master WHERE name = 'notes'").fetchall()
        store.swap("turn", None, "me", 60)
    with SQLiteStore(path) as store:
        assert (before, store.swap("turn", None, None, 0)) == ([], "me")


# Leases


def test_a_turn_whose_relay_is_gone_is_anybodys(store: Any):
    """One that says nothing for its time is gone, and so is one whose process was on this machine and is no more."""
    stopped: list[str] = []
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ours = Leases(store, stopped.append)
    me = json.loads(ours._me)
    for other in ({**me, "host": "elsewhere", "token": "silent"}, {**me, "pid": gone.pid, "token": "killed"}):
        assert store.swap("turn c", None, json.dumps(other), 60)
        if other["token"] == "killed":
            store.swap("relay killed", None, "", 60)
        assert not ours.runs_elsewhere("c")
        ours.take("c")
        assert store.swap("turn c", None, None, 0) == ours._me
        ours.release("c")
    store.swap("turn c", None, json.dumps({**me, "host": "elsewhere", "token": "there"}), 60)
    store.swap("relay there", None, "", 60)
    with pytest.raises(ConversationBusy, match="is running"):
        ours.take("c")
    ours.ask_to_stop("c")
    ours.ask_to_stop("c")
    assert store.swap("relay there", None, None, 0) == "c"
    ours.close()


def test_what_the_store_could_not_be_told_is_made_good(monkeypatch: pytest.MonkeyPatch):
    """A turn that ended while the store was away is free once it is back."""
    monkeypatch.setattr(leases, "_TICK", 0.01)
    fails = threading.Event()

    class Shaky(MemoryStore):
        def swap(self, *arguments: Any) -> str | None:
            if fails.is_set():
                raise StateError("away")
            return super().swap(*arguments)

    store = Shaky()
    one = Leases(store, lambda id: None)
    one.take("c")
    fails.set()
    one.release("c")
    fails.clear()
    wait_until(lambda: store.swap("turn c", None, None, 0) is None)
    one.close()
    assert store._notes == {}


# Two relays, one store


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Begin two relays on one Redis, each with a script of its own; they look for each other often."""
    monkeypatch.setattr(leases, "_TICK", 0.02)
    with ExitStack() as open:

        def begin(*scripts: list[Any]) -> list[Relay]:
            prefix = f"test-{token_hex(6)}"
            stores = [open.enter_context(redis_store(prefix)) for _ in scripts]
            made = [
                Relay(provider=Scripted(script), store=store, port=0, tools=[book])
                for script, store in zip(scripts, stores, strict=True)
            ]
            return [open.enter_context(relay) for relay in made]

        yield begin


def post(relay: Relay, **action: Any) -> requests.Response:
    """Ask for an action over plain HTTP."""
    return requests.post(f"{relay.url}chat?format=ndjson", json=action, timeout=PATIENCE)


def test_a_turn_at_one_relay_is_known_at_the_other_and_stopped_from_there(pair: Any):
    """A message there is refused, a cancel is heard within a second; what came is kept, and gone on with there."""
    one, other = pair([["Once upon", LONG]], ["a time."])
    with Client(one) as client:
        client.say("A story")
        assert client.next()["content"] == "Once upon"
        refused = post(other, message="Me too", conversation_id=client.id)
        assert (refused.status_code, "is running" in refused.json()["error"]) == (409, True)
        assert post(other, action="cancel", conversation_id=client.id).status_code == 200
        assert "cancelled" in client.until("error")[-1]["error"]
        assert texts(post(other, message="Go on", conversation_id=client.id)) == "a time."
        assert post(other, action="cancel", conversation_id="nobody's").status_code == 404


def test_who_left_one_relay_finds_at_the_other_what_had_come(pair: Any):
    """Also of a first turn, of which nothing is kept yet when they come back."""
    one, other = pair([["Once upon", LONG]], ["a time."])
    with Client(one) as client:
        client.say("A story")
        client.next()
    with Client(other) as back:
        back.do("resume", conversation_id=client.id)
        assert [each["content"] for each in back.next()["messages"]] == ["A story", "Once upon"]
        assert back.answer("Go on") == "a time."


def test_a_first_turn_that_still_runs_elsewhere_is_told(pair: Any, monkeypatch: pytest.MonkeyPatch):
    """The conversation is not denied."""
    monkeypatch.setattr(conversations, "_PATIENCE", 0.05)
    one, other = pair([["Once upon", LONG]], [])
    with Client(one) as client:
        client.say("A story")
        client.next()
        answer = post(other, action="resume", conversation_id=client.id)
        assert (answer.status_code, "first turn" in answer.json()["error"]) == (409, True)


def test_a_call_of_one_relay_is_decided_at_the_other(pair: Any):
    """And run there; the client of the first is told that another was quicker."""
    one, other = pair([[ROOMS]], ["Booked."])
    with Client(one) as client:
        client.say("Room 7, please")
        client.until("approval")
        answer = post(other, action="approve", call_id="call-1", conversation_id=client.id)
        assert texts(answer).endswith("Booked.")
        client.do("approve", call_id="call-1")
        assert client.next()["error"]
    with Client(one) as back:
        back.do("resume", conversation_id=client.id)
        assert [each["role"] for each in back.next()["messages"]] == ["user", "assistant", "tool", "assistant"]


def test_a_store_of_ones_own_needs_no_notes():
    """Relays on it know of their own turns alone, as before."""

    class Plain:
        def __init__(self) -> None:
            kept = MemoryStore()
            for verb in ("load", "revision", "save", "list", "delete", "close"):
                setattr(self, verb, getattr(kept, verb))

    with Relay(provider=Scripted(["Hi."]), store=Plain(), port=0) as relay:  # type: ignore[arg-type]
        assert texts(post(relay, message="Hi")) == "Hi."


# Hands


def begun(hands: Hands, run: Any) -> Task:
    """Have *run* run by *hands*."""
    task = Task(run)
    hands.do(task)
    return task


def test_a_thread_that_waits_is_given_the_next_turn():
    """One after the other has one thread; at once, each has its own; at the end all of them go."""
    hands, ran, gate = Hands("test-hands"), [], threading.Event()
    for _ in range(3):
        begun(hands, lambda: ran.append(threading.get_ident())).wait(PATIENCE)
        wait_until(lambda: hands._idle == 1)
    both = [begun(hands, gate.wait), begun(hands, gate.wait)]
    assert ([each.running for each in both], len({*ran})) == ([True, True], 1)
    hands.close()
    gate.set()
    wait_until(lambda: not any(each.name == "test-hands" for each in threading.enumerate()))
    assert [each.running for each in both] == [False, False]


def test_what_a_turn_raises_is_told_and_harms_no_other(monkeypatch: pytest.MonkeyPatch):
    """As what any thread raises; a turn does not wait for its own end."""
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    hands, own = Hands("test-hands"), []
    begun(hands, lambda: 1 / 0).wait(PATIENCE)
    wait_until(lambda: hands._idle == 1)
    gate = threading.Event()
    own.append(begun(hands, lambda: (gate.wait(), own[0].wait())))
    gate.set()
    own[0].wait(PATIENCE)
    assert ([each.exc_type for each in told], own[0].running) == ([ZeroDivisionError], False)
    hands.close()


def test_threads_nobody_needs_go(monkeypatch: pytest.MonkeyPatch):
    """After their time."""
    monkeypatch.setattr("promptstream.web.hands._IDLE", 0.01)
    hands = Hands("test-hands")
    begun(hands, lambda: None)
    wait_until(lambda: not any(each.name == "test-hands" for each in threading.enumerate()))
    assert hands._idle == 0


# Many processes


def test_many_processes_and_threads_lose_no_turn_of_a_common_conversation():
    """4 processes with 6 threads each talk in 3 conversations of one Redis: what was told to be kept is there, once."""
    prefix = f"test-{token_hex(6)}"
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "tests.test_relays", redis_url(), prefix]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    talkers = [subprocess.Popen([*command, str(number)], cwd=root, **pipes) for number in range(4)]
    for talker in talkers:
        assert str(talker.stdout and talker.stdout.readline()) == "ready\n"
    kept: Counter[str] = Counter()
    for out, _ in [talker.communicate("go\n", timeout=60) for talker in talkers]:
        kept.update(json.loads(out))
    with redis_store(prefix) as store:
        there = Counter(
            message.text for each in store.list() for message in store.load(each.id).messages if message.role == "user"
        )
        histories = [[message.role for message in store.load(each.id).messages] for each in store.list()]
    assert len(kept) == 4 * 6 * 2
    assert kept == there
    assert all(roles == ["user", "assistant"] * (len(roles) // 2) for roles in histories)


def talk(where: str, prefix: str, process: str) -> None:
    """Be a process whose threads talk until each was heard twice; prints what was kept."""
    kept: list[str] = []
    with RedisStore(where, prefix=prefix) as store, Scripted(["Yes."] * 10_000) as provider:

        def one(name: str) -> None:  # two of each process have a conversation in common
            heard = 0
            while heard < 2:
                said = f"{name} {heard}"
                with promptstream.chat(provider=provider, store=store, conversation_id=f"c{name[-1]}") as conv:
                    try:
                        conv.send(said)
                    except ConversationBusy:
                        continue
                kept.append(said)
                heard += 1

        threads = [
            threading.Thread(target=one, args=(f"{process}{each}-{number}",)) for each in "ab" for number in range(3)
        ]
        print("ready", flush=True)
        sys.stdin.readline()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(json.dumps(kept))


if __name__ == "__main__":
    talk(*sys.argv[1:])
