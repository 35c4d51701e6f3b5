"""The SQLite store in trouble: no room, no permission, threads that come and go, forks."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from stores import beside, fill, user

from promptstream.errors import ConversationBusy, StateError
from promptstream.state import SQLiteStore
from promptstream.values.message import Message, ToolCall
from promptstream.values.secret import Secret

ROOT = Path(__file__).parents[1]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@pytest.fixture
def path(tmp_path) -> str:
    """Where a store is to be."""
    return str(tmp_path / "conversations.db")


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run *code* in another process."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


# No room, no permission


def full(store: SQLiteStore) -> None:
    """Save until the disk is full, and see that nothing changed by what failed."""
    revision, texts = 0, []
    with pytest.raises(StateError) as caught:
        for _ in range(10_000):
            text = "x" * 20_000
            revision = store.save("id", revision=revision, kept=len(texts), added=user(text), state={"n": revision + 1})
            texts.append(text)
    assert type(caught.value) is StateError
    assert "full" in str(caught.value)
    assert "Nothing was changed" in str(caught.value)
    kept = store.load("id")
    assert (kept.revision, kept.state) == (revision, {"n": revision})
    assert [message.text for message in kept.messages] == texts


def test_a_full_database_changes_nothing_and_later_saves_work(path):
    """SQLite's own limit stands for the disk's."""
    with SQLiteStore(path) as store:
        with store._connection() as connection:
            connection.execute("PRAGMA max_page_count = 100")
        full(store)
        with store._connection() as connection:
            connection.execute("PRAGMA max_page_count = 100000")
        kept = store.load("id")
        assert store.save("id", revision=kept.revision, kept=0, added=user("room"), state={}) == kept.revision + 1


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of one MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_changes_nothing_and_later_saves_work(small_disk):
    """On a real file system without room: what was confirmed stays, and when there is room again it goes on."""
    (small_disk / "ballast").write_bytes(bytes(300_000))
    with SQLiteStore(small_disk / "a.db") as store:
        full(store)
        os.remove(small_disk / "ballast")
        kept = store.load("id")
        count = len(kept.messages)
        assert store.save("id", revision=kept.revision, kept=count, added=user("room"), state={}) == kept.revision + 1
    with SQLiteStore(small_disk / "a.db") as store:
        assert store.load("id").messages[-1].text == "room"


def test_a_disk_without_room_for_a_new_store_is_a_state_error(small_disk):
    """Where nothing fits, not even the empty file, opening says so."""
    with suppress(OSError):
        (small_disk / "ballast").write_bytes(bytes(2_000_000))
    with pytest.raises(StateError, match="full"):
        SQLiteStore(small_disk / "a.db")


def test_a_file_that_may_not_grow_changes_nothing(path):
    """A limit of the system's, with the signal ignored as Python does: the error is ours, and reading goes on."""
    code = """if True:
        import resource, sys
        from promptstream.errors import StateError
        from promptstream.state import SQLiteStore
        from promptstream.values.message import Message
        store = SQLiteStore(sys.argv[1])
        revision = 0
        sys.dont_write_bytecode = True  # a file of it that is cut at the limit would be kept
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        try:
            while True:
                added = [Message("user", "x" * 20_000)]
                revision = store.save("id", revision=revision, kept=revision, added=added, state={"n": revision + 1})
        except StateError as error:
            assert type(error) is StateError and "full" in str(error), error
        kept = store.load("id")
        assert (kept.revision, len(kept.messages), kept.state) == (revision, revision, {"n": revision}), kept
        assert revision > 3
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert store.save("id", revision=revision, kept=revision, added=added, state={}) == revision + 1
        store.close()
    """
    done = run(code, path)
    assert (done.returncode, done.stderr) == (0, "")
    with SQLiteStore(path) as store:
        assert store.revision("id") > 4


@forks
def test_without_permission_it_is_a_state_error():
    """A file that may only be read, one that may not even be read, and a directory that may not be entered."""
    code = """if True:
        import os, sqlite3, sys
        from promptstream.errors import StateError
        from promptstream.state import SQLiteStore
        if os.getuid() == 0:
            os.setuid(65534)
        for path in sys.argv[1:]:
            try:
                with SQLiteStore(path) as store:
                    store.save("id", revision=1, kept=0, added=[], state={})
            except StateError as error:
                assert type(error) is StateError and path in str(error) and "permission" in str(error).lower(), error
            else:
                raise AssertionError(path)
    """
    with TemporaryDirectory() as directory:
        places = [f"{directory}/{name}" for name in ("readable.db", "closed.db", "locked/a/b.db")]
        for path, mode in zip(places[:2], (0o444, 0o000), strict=True):
            fill(path)
            os.chmod(path, mode)
        os.mkdir(f"{directory}/locked", 0o000)
        os.chmod(directory, 0o555)
        done = run(code, *places)
        os.chmod(directory, 0o700)
        os.chmod(f"{directory}/locked", 0o700)
    assert (done.returncode, done.stderr) == (0, "")


# Threads and forks


def test_threads_share_a_few_connections(path):
    """Descriptors do not grow with the threads, whether they live or ended; a store that goes takes them along."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("/proc of Linux")

    def held() -> int:
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return sum(os.path.exists(link) and os.readlink(link).startswith(path) for link in links)

    fill(path)
    store = SQLiteStore(path)
    alone = held()
    for _ in range(5):
        thread = threading.Thread(target=store.revision, args=("id",))
        thread.start()
        thread.join()
    assert held() == alone
    begun, stay = threading.Barrier(101), threading.Event()

    def ask_and_stay(ask: Callable[[str], int]) -> None:
        begun.wait()
        ask("id")
        begun.wait()
        stay.wait()

    threads = [threading.Thread(target=ask_and_stay, args=(store.revision,)) for _ in range(100)]
    for thread in threads:
        thread.start()
    begun.wait()
    begun.wait()
    assert held() <= 8 * 3
    stay.set()
    while threads:
        threads.pop().join()
    gone = weakref.ref(store)
    gc.disable()
    try:
        del store
        assert (gone(), held()) == (None, 0)
    finally:
        gc.enable()


def test_who_has_to_wait_for_a_connection_too_long_is_told(path):
    """As one who has to wait for another's write; once there is one again, it goes on."""
    fill(path)
    with SQLiteStore(path, timeout=0.05) as store:
        with ExitStack() as all_of_them:
            for _ in range(8):
                all_of_them.enter_context(store._connection())
            with pytest.raises(StateError, match=r"try again. Nothing was changed"):
                store.revision("id")
        assert store.revision("id") == 1


def test_closing_waits_for_what_other_threads_are_about(path):
    """A save under way is finished or fails by itself; nothing is torn, and later ones say that it is closed."""
    fill(path, 0)
    store = SQLiteStore(path)
    said: list[str] = []
    saved = [1]
    begun = threading.Barrier(5)

    def work() -> None:
        begun.wait()
        try:
            while True:
                revision = store.revision("id")
                try:
                    saved.append(store.save("id", revision=revision, kept=revision - 1, added=user("x"), state={}))
                except ConversationBusy:
                    continue
        except StateError as error:
            said.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    while len(saved) < 5:
        pass
    store.close()
    for thread in threads:
        thread.join(30)
    assert len(said) == 4
    assert all("is closed" in each for each in said)
    with SQLiteStore(path) as again:
        assert (again.revision("id"), len(again.load("id").messages)) == (max(saved), max(saved) - 1)


FORKED = """if True:
    import os, sys, threading
    from promptstream.state import SQLiteStore
    from promptstream.values.message import Message
    path, how = sys.argv[1:]
    store = SQLiteStore(path)
    save = lambda revision: store.save("id", revision=revision, kept=0, added=[Message("user", "x")], state={})
    assert save(0) == 1
    stay, seen = threading.Event(), threading.Event()
    def other():
        store.revision("id"); seen.set(); stay.wait()
    thread = threading.Thread(target=other, daemon=True)
    if how == "thread":
        thread.start(); seen.wait()
    child = os.fork()
    if not child:
        if how == "close":
            store.close()
        elif how != "idle":
            assert save(1) == 2
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.path.exists(path + "-wal"), "the child took the log away"
    revision = store.revision("id")
    assert revision == (1 if how in ("idle", "close") else 2), revision
    assert save(revision) == revision + 1
    stay.set()
    if how == "thread":
        thread.join()
    store.close()
    assert not os.path.exists(path + "-wal")
"""


@forks
@pytest.mark.parametrize("how", ["idle", "save", "thread", "close"])
def test_a_forked_child_leaves_its_parents_connections_alone(how, path):
    """It gets its own; whether it saves, closes or only ends, the parent's locks and log stay as they are."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, path, how], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@forks
def test_a_child_that_outlives_its_parent_takes_no_log_away_that_another_left(path):
    """A worker forked long ago ends; what a process wrote and confirmed since, and was killed, is still there."""
    code = """if True:
        import os, signal, sys
        from promptstream.state import SQLiteStore
        from promptstream.values.message import Message
        path = sys.argv[1]
        store = SQLiteStore(path)
        store.save("id", revision=0, kept=0, added=[], state={})
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(writing)
            os.read(reading, 1)
            sys.exit(0)
        os.close(reading)
        store.close()
        killed = os.fork()
        if not killed:
            store = SQLiteStore(path)
            store.save("id", revision=1, kept=0, added=[Message("user", "confirmed")], state={})
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(killed, 0)
        os.close(writing)
        assert os.waitpid(child, 0)[1] == 0
        assert SQLiteStore(path).load("id").messages[0].text == "confirmed"
    """
    done = run(code, path)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_warns_when_a_program_ends_without_closing(path):
    """Leaving a store to the end of the program is quiet, and what was saved is in the file."""
    code = """if True:
        import sys, threading
        from promptstream.state import SQLiteStore
        store = SQLiteStore(sys.argv[1])
        thread = threading.Thread(target=store.list); thread.start(); thread.join()
        store.save("id", revision=0, kept=0, added=[], state={})
    """
    done = run(code, path)
    assert (done.returncode, done.stderr) == (0, "")
    with SQLiteStore(path) as store:
        assert store.revision("id") == 1


def test_no_key_is_in_the_file(path):
    """Not even one that strayed into a message."""
    key = Secret("sk-0123456789abcdef")
    with SQLiteStore(path) as store:
        call = Message("assistant", ToolCall("1", "f", {"key": key}))
        store.save("id", revision=0, kept=0, added=[call, *user(key)], state={"key": [key]})
        assert not any(b"0123456789" in data for data in beside(path).values())
