"""Kill a process at many points of its writing to an SQLite store; what was confirmed is there, and nothing is torn.

``python -m tests.killed`` kills 200 times, in four ways: after the k-th step of SQLite's virtual machine, at the k-th
byte that a file may have (so in the middle of a write to the log, to its journal or to the file itself), after
a while, and after a while with a second process that writes to the same file. The store lives on from kill to kill.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import select
import signal
import sqlite3
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from promptstream.errors import PromptStreamError
from promptstream.state import SQLiteStore
from promptstream.values.message import Message

CHECKPOINT = 8
"""Pages after which the log is written back: far fewer than SQLite's own 1,000, so that kills find it at that too."""
LIVES = 12
"""So many kills a file goes through before a new one is begun."""
LONGEST = 2.0
"""Seconds after which a writer that nothing hit is killed by hand."""
SIZES = [(1, 33_000), (33_000, 80_000), (33_000, 200_000)]
"""Bytes at which files are cut short: below 33,000 it is the memory that processes share, which comes first."""
STEP = struct.Struct("<q")
Content = dict[str, tuple[tuple[str, ...], dict[str, Any]]]
"""What a store holds: texts and state by id."""


# What is written: the content after each step follows from the number of the step alone.


@attrs.frozen
class Save:
    """One step: a save to a conversation, or its deletion."""

    id: str
    kept: int
    added: tuple[str, ...]
    state: dict[str, Any] | None
    """None deletes it."""


def saves(whose: str) -> Iterator[tuple[Save, Content]]:
    """Give the steps of a writer without end, each with all that its conversations hold after it."""
    content: Content = {}
    step = 0
    while True:
        step += 1
        id = f"{whose}{step // 30 % 3}"
        texts, _ = content.get(id, ((), {}))
        if step % 30 == 29 and texts:
            save = Save(id, 0, (), None)
            content = {name: held for name, held in content.items() if name != id}
        else:
            kept = max(0, len(texts) - 3) if step % 7 == 0 else len(texts)  # every seventh takes back what was said
            size = 20_000 if step % 5 == 0 else 40
            added = tuple(f"{whose} {step} {part} ".ljust(size, "x") for part in range(2 + step % 2))
            save = Save(id, kept, added, {"step": step, "pending": ["y" * (3000 if step % 11 == 0 else 3)]})
            content = {**content, id: ((*texts[:kept], *added), save.state or {})}
        yield save, content


def perform(store: SQLiteStore, save: Save) -> None:
    """Do one step."""
    if save.state is None:
        store.delete(save.id)
        return
    added = [Message("user", text) for text in save.added]
    store.save(save.id, revision=store.revision(save.id), kept=save.kept, added=added, state=save.state)


def content_of(store: SQLiteStore, whose: str) -> Content:
    """Read all that a writer's conversations hold."""
    found: Content = {}
    for entry in store.list():
        kept = store.load(entry.id)
        assert kept is not None
        assert kept.revision == entry.revision
        if entry.id.startswith(whose):
            found[entry.id] = (tuple(message.text for message in kept.messages), dict(kept.state))
    return found


def verify(path: str, whose: str, confirmed: int) -> tuple[int, list[str]]:
    """Give the step that the file at *path* stands at, which is *confirmed* or the one after, and what is wrong."""
    try:
        with SQLiteStore(path) as store:
            found = content_of(store, whose)
            steps = saves(whose)
            wanted = {0: Content()}
            for step in range(1, confirmed + 3):
                save, content = next(steps)
                wanted[step] = content
            stands = next((step for step in (confirmed, confirmed + 1) if wanted[step] == found), None)
            if stands is None:
                older = [step for step in wanted if wanted[step] == found]
                lost = f"step {confirmed} was confirmed, and it stands at {older[-1]}" if older else "it is torn"
                return confirmed, [f"{whose}: {lost}"]
            if stands == confirmed:  # and writing goes on
                steps = saves(whose)
                for _ in range(confirmed + 1):
                    save, _ = next(steps)
            perform(store, save)
            if content_of(store, whose) != wanted[stands + 1]:
                return stands, [f"{whose}: the save after the kill did not do what it should"]
        connection = sqlite3.connect(path)
        (said,) = connection.execute("PRAGMA integrity_check").fetchone()
        connection.close()
        return stands + 1, [] if said == "ok" else [f"integrity_check: {said}"]
    except (PromptStreamError, sqlite3.Error) as error:
        return confirmed, [f"{whose}: {type(error).__name__}: {error}"]


# Who writes, and how it dies.


def write(path: str, whose: str, start: int, pipe: int, dress: Callable[[sqlite3.Connection], None]) -> None:
    """Do one step after another from *start* on, and report each that is confirmed; reopen the store now and then."""
    connect = sqlite3.connect

    def dressed(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        dress(connection)
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        return connection

    sqlite3.connect = dressed
    os.write(pipe, STEP.pack(start))
    store = SQLiteStore(path)
    for step, (save, _) in enumerate(saves(whose), 1):
        if step <= start:
            continue
        perform(store, save)
        os.write(pipe, STEP.pack(step))
        if step % 9 == 0:
            store.close()
            store = SQLiteStore(path)


def at_step(number: int) -> Callable[[sqlite3.Connection], None]:
    """Die at the *number*-th step of SQLite's virtual machine, over all connections."""
    left = [number]

    def tick() -> int:
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    return lambda connection: connection.set_progress_handler(tick, 1)


def at_byte(size: int) -> Callable[[sqlite3.Connection], None]:
    """Die by the kernel's hand in the write that would make any file longer than *size* bytes; a part is written."""
    sys.dont_write_bytecode = True  # Python takes what it could write in part for whole, and keeps it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    return lambda connection: None


def undressed(_: int) -> Callable[[sqlite3.Connection], None]:
    """Live until the parent says otherwise."""
    return lambda connection: None


def begin(path: str, whose: str, start: int, arm: Callable[[int], Any], number: int) -> tuple[int, int]:
    """Fork a writer, armed; give its process id, and where it reports."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        os.close(reading)
        write(path, whose, start, writing, arm(number))
    except BaseException as error:
        os.write(2, f"{whose}: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)  # only ever reached by an error: a writer writes until it is killed


def end(child: int, pipe: int, *, kill: bool) -> tuple[int, str]:
    """Have a writer dead; give the last step that it confirmed, and how it died."""
    said = b""
    deadline = 0.0 if kill else time.monotonic() + LONGEST
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            os.kill(child, signal.SIGKILL)
        piece = os.read(pipe, 65536)
        if not piece:
            break
        said += piece
    os.close(pipe)
    _, status = os.waitpid(child, 0)
    steps = [step for (step,) in STEP.iter_unpack(said)]
    return steps[-1] if steps else 0, signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "error"


@attrs.define
class Row:
    """What came of all kills of one kind."""

    kills: int = 0
    deaths: Counter[str] = attrs.Factory(Counter)
    confirmed: int = 0
    unconfirmed: int = 0
    """Kills after which the save that was under way turned out to have happened."""
    violations: list[str] = attrs.Factory(list)


def kill_once(kind: str, path: str, stands: dict[str, int], chance: random.Random, row: Row) -> None:
    """Have the writers go on from where they stand, kill one of them, and look at what is left."""
    fresh = not os.path.exists(path)
    size = 0 if fresh else os.path.getsize(path)
    arm, number = {
        "step": (at_step, chance.randrange(1, 900 if fresh else 4000)),
        "byte": (at_byte, chance.randrange(*chance.choice((*SIZES, (33_000, size + 50_000))))),
    }.get(kind, (undressed, 0))
    writers = {"a": begin(path, "a", stands["a"], arm, number)}
    if kind == "beside":
        writers["b"] = begin(path, "b", stands["b"], undressed, 0)
    if kind in ("while", "beside"):
        select.select([writers["a"][1]], [], [], 10)
        time.sleep(chance.random() * 0.06)
    for whose in sorted(writers):
        confirmed, death = end(*writers[whose], kill=kind in ("while", "beside"))
        if death not in ("SIGKILL", "SIGXFSZ"):
            row.violations.append(f"{kind} {number}: the writer {whose} ended by {death}")
        row.deaths[death] += 1
        row.confirmed += confirmed - stands[whose]
        if whose == "a" and "b" in writers:
            time.sleep(0.002)  # the other outlives it, and goes on beside a log that nobody closed
        stands[f"{whose} confirmed"] = confirmed
    for whose in sorted(writers):
        confirmed = stands.pop(f"{whose} confirmed")
        stands[whose], wrong = verify(path, whose, confirmed)
        row.unconfirmed += stands[whose] == confirmed + 2
        row.violations += [f"{kind} {number}: {each}" for each in wrong]
    row.kills += 1


def kill(points: int, seed: int, directory: Path) -> dict[str, Row]:
    """Kill *points* times, each kind in its turn; give what came of it."""
    chance = random.Random(seed)
    rows = {kind: Row() for kind in ("step", "byte", "while", "beside")}
    kinds = list(rows)
    for point in range(points):
        if point % LIVES == 0:
            path = str(directory / f"{point}.db")
            stands = {"a": 0, "b": 0}
        # In the first life of a file the kinds take turns, so that each of them meets one that is being made.
        kind = kinds[(point + point // LIVES) % len(kinds)]
        kill_once(kind, path, stands, chance, rows[kind])
        if rows[kind].violations:
            break
    return rows


def main() -> int:
    """Run the program and give its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.killed", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--points", type=int, default=200, help="how many times to kill")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    began = time.monotonic()
    with TemporaryDirectory() as directory:
        rows = kill(given.points, given.seed, Path(directory))
    print(f"{'':8}{'kills':>7}{'SIGKILL':>9}{'SIGXFSZ':>9}{'confirmed':>11}{'done, unconfirmed':>19}{'violations':>12}")
    for kind, row in rows.items():
        deaths = f"{row.deaths['SIGKILL']:>9}{row.deaths['SIGXFSZ']:>9}"
        print(f"{kind:8}{row.kills:>7}{deaths}{row.confirmed:>11}{row.unconfirmed:>19}{len(row.violations):>12}")
    violations = [each for row in rows.values() for each in row.violations]
    print(*violations, sep="\n", end="\n" if violations else "")
    print(
        f"{'FAILED' if violations else 'passed'}: {sum(row.kills for row in rows.values())} kills in "
        f"{time.monotonic() - began:.1f} s, seed {given.seed}, {len(violations)} violations"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
