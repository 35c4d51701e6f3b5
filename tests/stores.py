"""Stores to test: each kind opened fresh, a real Redis server on loopback, and writers that race for a conversation."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from promptstream.errors import ConversationBusy
from promptstream.state import MemoryStore, RedisStore, SQLiteStore, Store
from promptstream.values.message import Message

# Redis ends with the test process, however that ends: the shell waits at a pipe that only the test process holds.
_UNTIL = 'redis-server "$@" >&2 & server=$!; read _; kill -9 $server'


@cache
def redis_url() -> str:
    """Start Debian's redis-server for as long as this process lives, and give its address; skip where there is none."""
    pytest.importorskip("redis", reason="the package redis is not installed (extra redis)")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"]
    quiet: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    _running.append(subprocess.Popen(["sh", "-c", _UNTIL, "sh", *options], start_new_session=True, **quiet))
    for _ in range(500):
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(5) == b"+PONG":
                    return f"redis://127.0.0.1:{port}/0"
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError("redis-server did not start")


_running: list[subprocess.Popen[bytes]] = []


def redis_store(prefix: str | None = None, **options: Any) -> RedisStore:
    """Open a store on the test's Redis, apart from all others."""
    return RedisStore(redis_url(), prefix=prefix or f"test-{token_hex(6)}", **options)


OPENERS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda directory: MemoryStore(),
    "sqlite": lambda directory: SQLiteStore(directory / "conversations.db"),
    "redis": lambda directory: redis_store(),
}


def user(*texts: str) -> list[Message]:
    """Give messages of a user."""
    return [Message("user", text) for text in texts]


def fill(path: str, count: int = 3) -> None:
    """Keep a conversation of *count* messages in a store, and close it."""
    with SQLiteStore(path) as store:
        store.save("id", revision=0, kept=0, added=user(*map(str, range(count))), state={"n": 1})


def beside(path: str) -> dict[str, bytes]:
    """Give every file of the directory with what it holds."""
    return {each.name: each.read_bytes() for each in Path(path).parent.iterdir()}


# The race: who wins a revision adds one message with its name.


def race(store: Store, id: str, name: str, wins: int, won: list[int]) -> None:
    """Save to *id* until *wins* saves were made, each of which notes its revision in *won*; losers load again."""
    while len(won) < wins:
        kept = store.load(id)
        revision, count = (kept.revision, len(kept.messages)) if kept else (0, 0)
        try:
            new = store.save(id, revision=revision, kept=count, added=user(name), state={"by": name, "n": count + 1})
        except ConversationBusy:
            continue
        won.append(new)


def race_in_threads(store: Store, id: str, names: list[str], wins: int) -> dict[str, list[int]]:
    """Let a thread for each name race; give the revisions that each won."""
    won: dict[str, list[int]] = {name: [] for name in names}
    threads = [threading.Thread(target=race, args=(store, id, name, wins, won[name])) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return won


def racer(where: str, id: str, names: list[str], wins: int) -> subprocess.Popen[str]:
    """Start another process whose threads race for *id* once it is told to; it prints what they won."""
    command = [sys.executable, "-m", "tests.stores", where, id, str(wins), *names]
    root = Path(__file__).parents[1]
    return subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main() -> None:
    """Be the other process."""
    where, id, wins, *names = sys.argv[1:]
    kind, _, rest = where.partition(" ")
    with SQLiteStore(rest) if kind == "sqlite" else RedisStore(rest.split()[0], prefix=rest.split()[1]) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(race_in_threads(store, id, names, int(wins))))


if __name__ == "__main__":
    main()
