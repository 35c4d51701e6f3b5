"""What a demanding user of many prompts found: odd rows, programs that exit in the middle, and storms of refusals."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mapped import PATIENCE, echo, echoed, threads
from openai_server import basic

import promptstream
from promptstream import Chunk, ChunkType, Response, Retry
from promptstream.batch import Result
from promptstream.batch.rates import Rates
from promptstream.batch.runner import AGAIN
from promptstream.errors import Cancelled, ConfigError, RateLimited
from promptstream.providers import Scripted
from promptstream.values.request import ChatRequest


class Table:
    """Be what a row of a data frame is: no mapping, and neither true nor false."""

    def __bool__(self) -> bool:
        raise ValueError("The truth value is ambiguous.")


# Rows


@pytest.mark.parametrize("row", [Table(), {"message": Table()}, {"message": "a", "variables": Table()}])
def test_a_row_that_is_neither_true_nor_false_fails_alone(row: Any) -> None:
    """As a row of a data frame does, that somebody forgot to make a dict of."""
    results = list(echoed([row, "b"]))
    assert [type(result.error) for result in results] == [ConfigError, type(None)]
    assert results[1].text == "b!"


@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("gone")], ids=repr)
@pytest.mark.parametrize("own", [False, True])
def test_what_would_end_the_program_ends_its_row_alone(end: BaseException, own: bool) -> None:
    """A tool or a middleware that exits is a row's own failure, in threads as in processes."""

    def middleware(request: ChatRequest, call_next: Any) -> Iterator[Chunk]:
        if request.messages[-1].text == "exit":
            raise end
        return echo(request, call_next)

    with ThreadPoolExecutor(2) as pool:
        results = list(echoed(["a", "exit", "b"], middleware=[middleware], executor=pool if own else None))
    assert [result.text for result in results] == ["a!", "", "b!"]
    assert f"could not be run: {end!r}" in str(results[1].error)


# Endings


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("where", ["rows", "on_result"])
def test_a_program_that_exits_keeps_what_is_done(where: str, ordered: bool, tmp_path: Path) -> None:
    """SystemExit, as a handler of SIGTERM raises it, ends a batch as Ctrl-C does: all that is written is handed out."""
    out = tmp_path / "out.jsonl"

    def rows() -> Iterator[str]:
        yield from "abcdefgh"
        if where == "rows":
            sys.exit(0)
        yield from "ijklmnop"

    def told(result: Result) -> None:
        if where == "on_result" and result.index == 5:
            sys.exit(0)

    results = []
    with pytest.raises(SystemExit):
        for result in echoed(rows(), max_in_flight=4, ordered=ordered, on_result=told, out=out):
            results.append(result.index)
    assert sorted(results) == sorted(json.loads(line)["index"] for line in out.read_text().splitlines())
    assert len(results) >= 4
    assert threads() == []


FORKED = """
import os
from promptstream.batch.processes import ProcessPool
pool = ProcessPool(1, 1)
worker = pool.submit(os.getpid).result(20)
child = os.fork()
if not child:
    pool.close()
    os._exit(0)
os.waitpid(child, 0)
print(pool.submit(os.getpid).result(20) == worker)
pool.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_that_ends_does_not_end_the_workers() -> None:
    """They are those of the process that started them, whose rows they run."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]
    ran = subprocess.run(command, env=basic({}), capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.stdout, ran.stderr) == ("True\n", "")


# Refusals


class Gate:
    """Refuse each row as often as it says, in a middleware: "2 a" twice."""

    def __init__(self, **more: Any) -> None:
        self.asked: Counter[str] = Counter()
        self.more = {"retryable": True, "retry_after": 0.001, **more}

    def __call__(self, request: ChatRequest, call_next: Any) -> Iterator[Chunk]:
        said = request.messages[-1].text
        self.asked[said] += 1
        if self.asked[said] <= int(said.split()[0]):
            raise RateLimited("Slow down.", status=429, **self.more)
        return echo(request, call_next)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_row_that_was_turned_away_goes_out_again(ordered: bool) -> None:
    """A provider that is asked too much costs time and no row, also where all that may be read waits for one."""
    gate = Gate()
    rows = ["4 first", *(f"{number % 2} {number}" for number in range(12))]
    batch = echoed(rows, middleware=[gate], ordered=ordered, max_in_flight=2)
    results = list(batch)
    assert sorted(result.index for result in results) == list(range(13))
    assert all(result.text == f"{rows[result.index]}!" for result in results)
    assert not ordered or [result.index for result in results] == list(range(13))
    assert (batch.summary.done, batch.summary.failed) == (13, 0)


@pytest.mark.parametrize(
    ("more", "retry", "asked"),
    [({}, Retry(), AGAIN + 1), ({"retryable": False}, Retry(), 1), ({}, Retry(1), 1)],
    ids=["again and again", "for good", "retries turned off"],
)
def test_a_row_that_stays_refused_fails_in_the_end(more: dict[str, Any], retry: Retry, asked: int) -> None:
    """It is not asked for without an end, nor where that would be of no use or is not wanted."""
    gate, provider = Gate(**more), Scripted()
    provider.retry = retry
    results = list(promptstream.map(rows=["99 a", "0 b"], provider=provider, middleware=[gate], max_in_flight=1))
    assert [type(result.error) for result in results] == [RateLimited, type(None)]
    assert gate.asked == {"99 a": asked, "0 b": 1}


def test_a_row_of_which_something_had_come_does_not_go_out_again() -> None:
    """What its tools did they would do twice."""
    asked: list[str] = []

    def cut(request: ChatRequest, call_next: Any) -> Iterator[Chunk]:
        asked.append(request.messages[-1].text)
        yield Chunk(ChunkType.TEXT, "Hal", model="echo")
        raise RateLimited("Slow down.", retryable=True, retry_after=0.001)

    assert [result.text for result in echoed(["a"], middleware=[cut])] == ["Hal"]
    assert asked == ["a"]


def test_a_batch_that_is_cancelled_leaves_refused_rows_for_a_later_run(tmp_path: Path) -> None:
    """They are no results."""
    out = tmp_path / "out.jsonl"
    gate = Gate(retry_after=60.0)
    batch = echoed(["0 a", "9 b", "0 c"], middleware=[gate], out=out, max_in_flight=1)
    results = []
    with pytest.raises(Cancelled):
        for result in batch:
            results.append(result.text)
            threading.Timer(0.02, batch.cancel).start()
    assert results == ["0 a!"]
    assert [result.text for result in echoed(["0 a", "9 b", "0 c"], out=out)] == ["9 b!", "0 c!"]


def test_where_a_provider_only_refuses_rows_find_the_pace_that_it_answers() -> None:
    """5 a second, 20 at once and 32 on their way: nearly all of it is used, and few rows ask in vain."""
    now, tokens, refused = 1000.0, 20.0, 0
    rates = Rates(clock=lambda: now, wall=lambda: now)
    flying: deque[tuple[float, int, bool]] = deque()
    again: deque[int] = deque(range(600))
    answered = 0
    while answered < 600:
        while again and len(flying) < 32 and not rates.wait(0, again[0]):
            good, tokens = tokens >= 1, tokens - (tokens >= 1)
            flying.append((now + 0.3, again.popleft(), good))
        now, before = now + 0.01, now
        tokens = min(20.0, tokens + 5 * (now - before))
        while flying and flying[0][0] <= now:
            _, index, good = flying.popleft()
            error = None if good else RateLimited("Slow down.", status=429, retry_after=1.0)
            rates.learn(Result(index, {"message": "Hi"}, Response() if good else None, error, 1))
            answered, refused = answered + good, refused + (not good)
            if not good:
                again.append(index)
    assert answered / (now - 1000.0) > 5 * 0.9
    assert refused < 60
