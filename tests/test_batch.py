"""Many prompts by one map: in order or as they come, read as there is room, and ended whenever one likes."""

from __future__ import annotations

import itertools
import json
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mapped import LONG, PACK, Held, echo, echoed, spelled, threads

import promptstream
from promptstream import Chunk, ChunkType, ToolCall, Usage, errors
from promptstream.batch import Result, Summary
from promptstream.errors import (
    ConfigError,
    ContentFiltered,
    DeadlineExceeded,
    MissingVariable,
    Truncated,
    VariableInvalid,
)
from promptstream.progress import Count
from promptstream.providers import Scripted
from promptstream.values.request import ChatRequest

# Rows in, results out


def test_results_come_in_the_order_of_the_rows() -> None:
    """Though the first is the last to be done."""
    with Held("a") as held:
        seen: list[str] = []

        def let_go(result: Result) -> None:
            seen.append(result.text)
            if len(seen) == 2:
                held.gates["a"].set()

        batch = echoed(["a", "b", "c"], middleware=[held], on_result=let_go)
        assert [result.text for result in batch] == ["a!", "b!", "c!"]
    assert sorted(seen[:2]) == ["b!", "c!"]
    assert seen[2] == "a!"


def test_results_come_as_they_are_there_where_order_does_not_matter() -> None:
    """A slow row holds up nobody."""
    with Held("a") as held:
        loop = iter(echoed(["a", "b", "c"], middleware=[held], ordered=False))
        assert {next(loop).text, next(loop).text} == {"b!", "c!"}
        held.gates["a"].set()
        assert [(result.index, result.text) for result in loop] == [(0, "a!")]


def test_a_row_is_a_message_or_a_dict_of_what_a_turn_takes() -> None:
    """And its id and metadata stay with it, which goes to nobody."""
    provider = Scripted(["one", "two", "three"])
    rows = ["hi", {"id": 7, "metadata": {"label": "x"}, "message": "there", "temperature": 0.5}, {"json": {"a": 1}}]
    results = list(promptstream.map(rows=rows, system="Be kind.", provider=provider, max_in_flight=1))
    assert [result.id for result in results] == [None, 7, None]
    assert [result.row for result in results] == [{"message": "hi"}, rows[1], rows[2]]
    assert [request.messages[-1].text for request in provider.requests] == ["hi", "there", '{"a": 1}']
    assert [dict(request.parameters) for request in provider.requests] == [{}, {"temperature": 0.5}, {}]
    assert [request.messages[0].text for request in provider.requests] == ["Be kind."] * 3


def test_each_row_is_a_conversation_of_its_own() -> None:
    """None sees what another said, and none has the id of another."""
    provider = Scripted(["one", "two"])
    assert [result.text for result in promptstream.map(rows=["a", "b"], provider=provider, max_in_flight=1)] == [
        "one",
        "two",
    ]
    assert [[each.text for each in request.messages] for request in provider.requests] == [["a"], ["b"]]
    assert len({request.conversation_id for request in provider.requests}) == 2


def test_a_pack_is_filled_in_by_each_row() -> None:
    """Over what the batch gives for all of them."""
    provider = Scripted(["", ""])
    rows = [{"message": "go", "variables": {"name": "Ada"}}, {"message": "go", "variables": {"name": "Bo", "times": 3}}]
    batch = promptstream.map(PACK, "greet", rows, provider=provider, variables={"times": 1}, max_in_flight=1)
    assert batch.run().done == 2
    assert [request.messages[0].text for request in provider.requests] == [
        "Greet Ada 1 times.",
        "Greet Bo 3 times.",
    ]


def test_tools_run_in_every_row() -> None:
    """And the requests of their rounds belong to it."""

    def double(number: int) -> int:
        """Double it."""
        return number * 2

    script: list[Any] = []
    for number in range(3):
        script += [[ToolCall(f"c{number}", "double", {"number": number})], f"It is {number * 2}."]
    results = list(spelled(*script, rows=["0", "1", "2"], tools=[double]))
    assert [result.text for result in results] == ["It is 0.", "It is 2.", "It is 4."]
    assert [result.answer.rounds for result in results] == [2, 2, 2]


def test_no_rows_are_no_results() -> None:
    """And no error, even where it was cancelled before: it had every row."""
    batch = echoed([])
    batch.cancel()
    assert list(batch) == []
    assert batch.summary.rows == 0
    assert (batch.summary.usage.total, batch.summary.cost) == (0, 0)


# Room


class Row(dict):  # type: ignore[type-arg]  # a dict itself cannot be referred to weakly
    """A row of which can be seen whether it is still held."""


def test_rows_are_read_as_there_is_room_and_let_go() -> None:
    """Of endless ones only those on their way are held: memory stays flat."""
    rows: list[weakref.ref[Row]] = []

    def endless() -> Iterator[Row]:
        for number in itertools.count():
            row = Row(message=f"row {number}")
            rows.append(weakref.ref(row))
            yield row

    most = 0
    for result in echoed(endless(), max_in_flight=4):
        assert result.text == f"row {result.index}!"
        most = max(most, sum(ref() is not None for ref in rows))
        if result.index == 300:
            break
    assert len(rows) <= 301 + 16
    assert most <= 4 * 4 + 2


def test_a_slow_row_lets_so_many_be_read_and_no_more() -> None:
    """Four for each on its way, in either manner of handing out."""
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        for _ in itertools.count():
            read += 1
            yield "slow" if read == 1 else "fast"

    done = threading.Semaphore(0)
    with Held("slow") as held:
        batch = echoed(endless(), middleware=[held], max_in_flight=2, on_result=lambda result: done.release())
        threading.Thread(target=lambda: ([done.acquire() for _ in range(7)], held.gates["slow"].set())).start()
        assert next(iter(batch)).text == "slow!"
    assert read == 8


def test_a_slow_loop_holds_up_the_rows() -> None:
    """Results that nobody takes are not heaped up."""
    read: list[int] = []
    batch = echoed((read.append(number) or str(number) for number in itertools.count()), max_in_flight=2, ordered=False)
    for number, _ in enumerate(batch):
        assert len(read) <= number + 1 + 8
        if number == 50:
            break


def test_at_most_so_many_rows_are_on_their_way() -> None:
    """As max_in_flight says."""
    lock, now, most = threading.Lock(), 0, 0

    def counted(request: ChatRequest, call_next: Any) -> Iterator[Chunk]:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        yield from echo(request, call_next)
        with lock:
            now -= 1

    assert echoed(map(str, range(200)), middleware=[counted], max_in_flight=3).run().done == 200
    assert most <= 3


# on_result


def test_on_result_is_told_before_the_loop_in_the_loops_thread() -> None:
    """Each once."""
    told: list[tuple[int, int]] = []
    batch = echoed(["a", "b", "c"], on_result=lambda result: told.append((threading.get_ident(), result.index)))
    for result in batch:
        assert (threading.get_ident(), result.index) in told
    assert sorted(told) == [(threading.get_ident(), index) for index in range(3)]


def test_what_on_result_raises_ends_the_batch() -> None:
    """It comes out of the loop, nothing is left on its way, and it is not called again."""
    told = []

    def fail(result: Result) -> None:
        told.append(result.index)
        raise ZeroDivisionError("mine")

    batch = echoed(map(str, itertools.count()), on_result=fail)
    with pytest.raises(ZeroDivisionError, match="mine"):
        batch.run()
    assert len(told) == 1
    assert threads() == []
    with pytest.raises(promptstream.PromptStreamError, match="ended early: ZeroDivisionError"):
        batch.run()


# Rows that fail


def test_a_row_that_fails_is_a_result_with_its_error_and_what_had_come() -> None:
    """The others do not notice."""
    cut = Truncated("The answer was cut.", phase="body")
    results = list(spelled("one", ["half an ", cut], [ContentFiltered("No.", status=400)], "four"))
    assert [result.ok for result in results] == [True, False, False, True]
    assert [type(result.error) for result in results] == [type(None), Truncated, ContentFiltered, type(None)]
    assert [result.text for result in results] == ["one", "half an ", "", "four"]
    assert results[1].response is None
    assert results[1].error is not None
    assert results[1].error.response is results[1].answer
    assert results[1].error.__traceback__ is None


@pytest.mark.parametrize(
    ("row", "kind", "told"),
    [
        ("", ConfigError, "The message is empty"),
        (None, ConfigError, "nothing to answer"),
        (42, ConfigError, "cannot be used"),
        ({}, ConfigError, "nothing to answer"),
        ({"mesage": "hi"}, ConfigError, "A row has no 'mesage'. Did you mean 'message'?"),
        ({"message": "hi", "conversation_id": "x"}, ConfigError, "A row has no 'conversation_id'"),
        ({"message": "hi", "temperature": "hot"}, ConfigError, "temperature='hot'"),
        ({"message": "hi", "timeout": -1}, ConfigError, "give seconds above 0"),
        ({"message": "hi", "attachments": ["no/such.png"]}, ConfigError, "no/such.png"),
        ({"message": "hi", "variables": {"name": ""}}, MissingVariable, "name"),
        ({"message": "hi", "variables": {"name": "x", "times": "often"}}, VariableInvalid, "times"),
        ({"message": "hi", "variables": 5}, ConfigError, ""),
    ],
)
def test_a_bad_row_is_a_result_with_its_error_and_never_sent(row: Any, kind: type[Exception], told: str) -> None:
    """Those before and after it are run."""
    provider = Scripted(["one", "two"])
    base = {"name": "Ada"}
    results = list(promptstream.map(PACK, "greet", ["a", row, "c"], provider=provider, variables=base, max_in_flight=1))
    assert [result.text for result in results] == ["one", "", "two"]
    assert isinstance(results[1].error, kind)
    assert told in str(results[1].error)
    assert len(provider.requests) == 2


def test_what_a_middleware_raises_is_the_rows_own_error() -> None:
    """As an error of ours, with what had come."""

    def broken(request: ChatRequest, call_next: Any) -> Iterator[Chunk]:
        yield Chunk(ChunkType.TEXT, "so far")
        raise KeyError("mine")

    (result,) = echoed(["a"], middleware=[broken])
    assert isinstance(result.error, errors.StreamError)
    assert "KeyError: 'mine'" in str(result.error)
    assert result.text == "so far"


def test_a_row_has_its_own_deadline() -> None:
    """By timeout=, the batch's or the row's."""
    batch = spelled("one", [LONG], [LONG], rows=["a", "b", {"message": "c", "timeout": 0.02}], timeout=0.03)
    results = list(batch)
    assert [type(result.error) for result in results] == [type(None), DeadlineExceeded, DeadlineExceeded]


def test_every_result_pickles_whole() -> None:
    """Also with its error, and that with its answer."""
    cut = Truncated("The answer was cut.", phase="body", provider="p", attempts=2)
    for result in spelled("one", ["half", cut], rows=["a", {"message": "b", "id": "x"}]):
        copy = pickle.loads(pickle.dumps(result))
        assert (copy.index, copy.row, copy.response, copy.text) == (
            result.index,
            result.row,
            result.response,
            result.text,
        )
        assert type(copy.error) is type(result.error)
        assert str(copy.error) == str(result.error)


def test_a_line_of_the_output_says_all_of_a_result_and_reads_back() -> None:
    """JSON alone, whatever the row holds."""
    row = {"message": "hi", "id": 3, "metadata": {"path": Path("x"), "data": b"12345", "price": Decimal("0.5")}}
    cut = Truncated("The answer was cut.", phase="body")
    for result in spelled(["whole ", Usage(3, 2), "answer"], ["half", cut], rows=[row, row]):
        line = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert list(line) == ["index", "id", "text", "error", "response", "attempts", "seconds", "row"]
        assert line["row"]["metadata"] == {"path": "x", "data": "5 bytes", "price": "0.5"}
        back = Result.from_dict(line)
        assert (back.index, back.id, back.text, back.ok) == (result.index, 3, result.text, result.ok)
        assert back.answer.usage == result.answer.usage
        assert type(back.error) is type(result.error)
        assert back.to_dict() == line


# Figures


def test_the_summary_tells_how_it_went() -> None:
    """Rows, tokens, cost and times, in one line; what is not known says so."""
    prices = {"scripted": {"input": 1, "output": 1}}
    batch = spelled(["a", Usage(60, 40)], [Truncated("cut")], ["c", Usage(20, 10)], "d", prices=prices)
    summary = batch.run()
    assert (summary.done, summary.failed, summary.skipped, summary.rows) == (3, 1, 0, 4)
    assert (summary.usage.total, summary.usage.input, summary.usage.output) == (130, 80, 50)
    assert (summary.cost, summary.untold, summary.unpriced) == (Decimal("0.00013"), 1, 1)
    assert str(summary).startswith("Rows: 3 done, 1 failed | Cost: at least $0.00013 | First text: ")
    assert "| Tokens: at least 130 (80 in, 50 out) |" in str(summary)
    assert "\n" not in str(summary)
    assert str(Summary()) == (
        "Rows: 0 done, 0 failed | Cost: unknown | First text: unknown, p99 unknown | "
        "Total: unknown, p99 unknown | Tokens: unknown | Took: 0ms, 0.0 rows/s"
    )


def test_percentiles_are_right_to_half_a_percent() -> None:
    """In memory that does not grow with the rows."""
    from promptstream.batch.summary import Times

    times = Times()
    for number in range(1, 10_001):
        times.add(number / 1000)
    assert times.at(0.5) == pytest.approx(5.0, rel=0.006)
    assert times.at(0.99) == pytest.approx(9.9, rel=0.006)
    assert times.at(1.0) == pytest.approx(10.0, rel=0.006)
    assert Times().at(0.5) is None


def test_progress_is_told_how_far_it_is() -> None:
    """With the number of rows, where they tell it."""
    told: list[Count] = []
    assert echoed(["a", "b", "c"], progress=told.append).run().done == 3
    assert (told[0].finished, told[0].total, told[0].done) == (0, 3, False)
    assert (told[-1].finished, told[-1].total, told[-1].done) == (3, 3, True)


def test_rows_keep_to_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row goes out when the rates let it, with an estimate of its tokens, and their results teach the rates."""
    from promptstream.batch.rates import Rates

    asked: list[tuple[int, int | None]] = []
    learned: list[int] = []

    def wait(rates: Rates, tokens: int = 0, index: int | None = None) -> float:
        asked.append((tokens, index))
        return 0.01 if len(asked) % 2 else 0.0

    monkeypatch.setattr(Rates, "wait", wait)
    monkeypatch.setattr(Rates, "learn", lambda rates, result: learned.append(result.index))
    assert echoed(["x" * 400, "b"], rpm=100, max_in_flight=1).run().done == 2
    assert [index for _, index in asked] == [0, 0, 1, 1]
    assert asked[0][0] == 104
    assert learned == [0, 1]


def test_importing_the_package_does_not_load_the_batch() -> None:
    """Who does not use it does not pay for it."""
    code = "import sys, promptstream\nfor _ in range(2): print('promptstream.batch' in sys.modules); promptstream.map"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
