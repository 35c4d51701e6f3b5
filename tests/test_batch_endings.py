"""How many prompts end: by a bad job, a cancel, a deadline, a budget, Ctrl-C or a break; and what the file has then."""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from mapped import LONG, PACK, echo, echoed, spelled, threads

import promptstream
from promptstream import Chunk, Usage, errors
from promptstream.batch import Result
from promptstream.batch.job import Job
from promptstream.errors import (
    BudgetExceeded,
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    MissingKey,
    PromptNotFound,
    Truncated,
)
from promptstream.providers import Scripted
from promptstream.values.request import ChatRequest
from promptstream.wire.watch import Deadline

# A job that cannot be run


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        ({"pack": PACK, "prompt": "gret"}, PromptNotFound, "greet"),
        ({"pack": {"prompts": {}}}, errors.PackError, ""),
        ({"pack": "no/such.pack.json"}, errors.PackError, "no/such.pack.json"),
        ({"prompt": "greet"}, ConfigError, "give the pack too"),
        ({"pack": PACK, "system": "Be kind."}, ConfigError, "system="),
        ({"provider": "openai"}, MissingKey, "OPENAI_API_KEY"),
        ({"provider": "opnai"}, errors.ProviderNotFound, "Did you mean 'openai'"),
        ({"temprature": 1}, TypeError, "Did you mean 'temperature'"),
        ({"conversation_id": "x"}, ConfigError, "conversation of its own"),
        ({"on_error": "chunk"}, ConfigError, "a failed row is a Result"),
        ({"rows": "one message"}, TypeError, "give a list"),
        ({"rows": {"message": "hi"}}, TypeError, "give a list"),
        ({"rows": 5}, TypeError, "give a list"),
        ({"max_in_flight": 0}, ValueError, "max_in_flight=0"),
        ({"max_in_flight": "4"}, TypeError, "max_in_flight='4'"),
        ({"on_result": 5}, TypeError, "give a function"),
        ({"deadline": 0}, ValueError, "deadline=0"),
        ({"deadline": "soon"}, TypeError, "give seconds"),
        ({"cancel": 5}, TypeError, "CancelToken"),
        ({"progress": 5}, TypeError, "progress=5"),
        ({"budget": "lots"}, ValueError, "lots"),
        ({"out": 5}, TypeError, "JSONL"),
        ({"retry_failed": True}, ConfigError, "out="),
        ({"rpm": 0}, ConfigError, "rpm=0"),
        ({"executor": "thread"}, ConfigError, "Did you mean 'threads'"),
        ({"executor": "threads", "workers": 0}, ConfigError, "workers=0"),
    ],
)
def test_a_bad_job_is_told_before_anything_is_sent(arguments: dict[str, Any], kind: type[Exception], told: str) -> None:
    """By map itself, not by ten thousand rows."""
    provider = Scripted(["never"])
    with pytest.raises(kind) as caught:
        promptstream.map(**{"provider": provider, "rows": ["a"], **arguments})
    assert told in str(caught.value)
    assert provider.requests == []


def test_a_budget_in_usd_needs_a_price(no_price_list: None) -> None:
    """Which is seen before anything is sent."""
    with pytest.raises(ConfigError, match="needs the price of made-up"):
        promptstream.map(rows=["a"], base_url="http://127.0.0.1:9/v1", model="made-up", budget="$1")


class Elsewhere(Executor):
    """Run rows as another machine would: what goes there and comes back is pickled."""

    def __init__(self) -> None:
        self.largest = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        """Run it at once."""
        sent = pickle.dumps((fn, args))
        self.largest = max(self.largest, len(sent))
        future: Future[Any] = Future()
        there, arguments = pickle.loads(sent)
        try:
            future.set_result(pickle.loads(pickle.dumps(there(*arguments))))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"provider": "openai", "api_key": "sk-1234567890"}, "api_key= is not sent"),
        ({"provider": Scripted(["a"])}, "provider= holds a Provider"),
        ({"fallback": [Scripted(["a"])], "provider": "openai"}, "fallback= holds a Provider"),
        ({"middleware": [lambda request, call_next: call_next(request)], "provider": "openai"}, "middleware="),
    ],
)
def test_what_cannot_travel_is_told_before_anything_is_sent(options: dict[str, Any], told: str) -> None:
    """Keys above all, and the message does not show them."""
    with pytest.raises(ConfigError) as caught:
        promptstream.map(rows=["a"], executor=Elsewhere(), **options)
    assert told in str(caught.value)
    assert "sk-123" not in str(caught.value)


def test_a_job_travels_small_and_is_opened_once_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pack, the prompt's name and the options; the key is the one that is there."""
    opened = []
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234567890")
    monkeypatch.setattr(Job, "open", lambda job, open=Job.open: opened.append(job.id) or open(job))
    elsewhere = Elsewhere()
    rows = [{"message": f"hi {number}", "variables": {"name": "Ada"}} for number in range(5)]
    batch = promptstream.map(PACK, "greet", rows, provider="openai", executor=elsewhere, middleware=[echo])
    assert [result.text for result in batch] == [f"hi {number}!" for number in range(5)]
    assert elsewhere.largest < 2000
    assert len(opened) == 2  # here, to check it, and there
    assert len(set(opened)) == 1
    job = Job(PACK, "greet", options={"provider": "openai"})
    assert b"sk-123" not in pickle.dumps(job)


def test_a_job_that_cannot_be_opened_where_it_runs_ends_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a key that is missing there fails every row alike; a key that is missing here may be there."""
    batch = promptstream.map(rows=["a", "b"], provider="openai", executor=Elsewhere())
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        batch.run()
    assert batch.summary.rows == 0
    with pytest.raises(MissingKey):
        promptstream.map(rows=["a"], model="gpt-4o", executor=Elsewhere())


@pytest.mark.parametrize("kind", [errors.Authentication, errors.QuotaExceeded])
def test_a_key_that_is_refused_ends_the_batch_and_is_no_rows_own_failure(
    kind: type[errors.ProviderError], tmp_path: Path
) -> None:
    """Nobody asks ten thousand times with a wrong key, and a later run does the rows that it cost."""
    out = tmp_path / "out.jsonl"
    batch = spelled("a", [kind("No.", status=401)], "c", "d", out=out)
    seen = []
    with pytest.raises(kind, match="No"):
        for result in batch:
            seen.append(result.text)
    assert seen == ["a"]
    assert (batch.summary.done, batch.summary.failed) == (1, 0)
    assert [json.loads(line)["index"] for line in out.read_text().splitlines()] == [0]


def test_an_executor_of_ones_own_is_left_open() -> None:
    """And a thread pool may be given what does not pickle."""
    with ThreadPoolExecutor(2) as pool:
        assert [result.text for result in echoed(["a", "b"], executor=pool)] == ["a!", "b!"]
        assert pool.submit(lambda: 5).result() == 5


# The end


def test_a_cancel_from_another_thread_ends_it_within_a_moment() -> None:
    """What is done is handed out first; what is on its way is hung up, and is no result."""
    turns = ["one", "two", *([[LONG]] * 10)]
    batch = spelled(*turns, max_in_flight=4, ordered=False)  # which row is given which turn is the threads' affair
    results = []
    with pytest.raises(Cancelled, match=r"The batch was cancelled: enough; 2 rows are done\."):
        for result in batch:
            results.append(result)
            if len(results) == 2:
                began = monotonic()
                threading.Thread(target=batch.cancel, args=("enough",)).start()
    assert monotonic() - began < 1.0
    assert sorted(result.text for result in results) == ["one", "two"]
    assert batch.summary.failed == 0
    assert threads() == []
    with pytest.raises(Cancelled):
        batch.run()


def test_what_overtook_a_row_that_is_cancelled_is_handed_out() -> None:
    """In order of the rows a slow one holds back those behind it, until there is no point any more."""
    done = []
    rows = ["slow", "b", "c", "d"]

    def told(result: Result) -> None:
        done.append(result.text)
        if len(done) == 3:
            batch.cancel()

    def slow(request: ChatRequest, call_next: Any) -> Iterator[Chunk]:
        return call_next(request) if request.messages[-1].text == "slow" else echo(request, call_next)

    batch = promptstream.map(rows=rows, provider=Scripted([[LONG]]), middleware=[slow], on_result=told)
    results = []
    with pytest.raises(Cancelled):
        for result in batch:
            results.append(result.text)
    assert results == ["b!", "c!", "d!"]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_cancel_of_the_very_last_rows_is_no_normal_end(ordered: bool) -> None:
    """A loop that ends normally had every row."""
    batch = spelled([LONG], [LONG], max_in_flight=8, ordered=ordered)
    threading.Timer(0.02, batch.cancel).start()
    with pytest.raises(Cancelled, match="0 rows are done"):
        batch.run()


@pytest.mark.parametrize("kind", [promptstream.CancelToken, threading.Event])
def test_a_token_or_an_event_of_ones_own_ends_it(kind: Callable[[], Any]) -> None:
    """And nothing of the batch is left on the token."""
    stop = kind()
    batch = spelled([LONG], cancel=stop)
    threading.Timer(0.02, stop.cancel if isinstance(stop, promptstream.CancelToken) else stop.set).start()
    with pytest.raises(Cancelled):
        batch.run()
    if isinstance(stop, promptstream.CancelToken):
        assert stop._callbacks == []


def test_a_deadline_ends_it_within_a_moment() -> None:
    """It is the batch's, whatever single rows may take."""
    began = monotonic()
    batch = spelled("one", [LONG], deadline=0.2)
    results = []
    with pytest.raises(DeadlineExceeded, match=r"its deadline of 0.2 s; 1 row is done\."):
        for result in batch:
            results.append(result.text)
    assert results == ["one"]
    assert monotonic() - began < 1.0


def test_a_deadline_does_not_cut_what_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every row is done in time, a slow loop body does not count."""
    told = []

    def last_in_time(result: Result) -> None:
        told.append(result)
        if len(told) == 2:
            monkeypatch.setattr(Deadline, "expired", property(lambda deadline: True))

    batch = echoed(["a", "b"], deadline=LONG, on_result=last_in_time)
    assert [result.text for result in batch] == ["a!", "b!"]


def test_a_budget_of_tokens_ends_it() -> None:
    """Once it is spent no further row is sent."""
    turns = [[f"row {number}", Usage(60, 40)] for number in range(10)]
    batch = spelled(*turns, budget=250)
    results = []
    with pytest.raises(BudgetExceeded, match="The batch has used 300 tokens of its budget of 250; 3 rows are done"):
        for result in batch:
            results.append(result.text)
    assert results == ["row 0", "row 1", "row 2"]


def test_a_budget_in_usd_ends_it() -> None:
    """By prices of one's own, where the provider tells no cost."""
    turns = [["x", Usage(1000, 1000)]] * 10
    prices = {"scripted": {"input": 1, "output": 9}}
    batch = spelled(*turns, budget=Decimal("0.025"), prices=prices)
    with pytest.raises(BudgetExceeded, match=r"has spent \$0.03 of its budget of \$0.025; 3 rows are done"):
        batch.run()
    assert batch.summary.cost == Decimal("0.03")


def test_a_budget_that_the_last_row_uses_up_is_none_exceeded() -> None:
    """Every row was run."""
    assert spelled(["a", Usage(60, 40)], ["b", Usage(60, 40)], budget=150).run().done == 2


def test_tokens_that_nobody_tells_are_estimated_for_a_budget() -> None:
    """Else it would never end."""
    with pytest.raises(BudgetExceeded):
        spelled(*["some words of an answer"] * 50, budget=60).run()


def test_leaving_the_loop_cancels_what_is_on_its_way() -> None:
    """By reference count alone, whether or not the batch has a name."""
    gc.disable()
    try:
        for _ in spelled("one", *([[LONG]] * 8), max_in_flight=4, ordered=False):
            break
        assert threads() == []
        batch = spelled("one", *([[LONG]] * 8), max_in_flight=4, ordered=False)
        for _ in batch:
            break
        assert threads() == []
    finally:
        gc.enable()
    with pytest.raises(Cancelled, match="its loop was left"):
        list(batch)


def test_a_context_ends_it_too() -> None:
    """And one that never began."""
    with spelled("one", *([[LONG]] * 8), max_in_flight=2, ordered=False) as batch:
        loop = iter(batch)
        next(loop)
    assert threads() == []
    with echoed(["a"]) as batch:
        pass
    with pytest.raises(Cancelled, match="before its loop began"):
        batch.run()


def test_a_batch_that_is_never_run_says_so() -> None:
    """Who forgets the loop, or run(), has sent nothing."""
    with pytest.warns(ResourceWarning, match="nothing was sent"):
        echoed(["a"])


def test_a_batch_runs_once() -> None:
    """After its end there is nothing more, and nothing is sent again."""
    batch = echoed(["a", "b"])
    assert [result.text for result in batch] == ["a!", "b!"]
    assert list(batch) == []
    assert batch.run().done == 2


def test_what_reading_the_rows_raises_comes_after_the_rows_before_it() -> None:
    """Whole: they were paid for."""

    def rows() -> Iterator[str]:
        yield "a"
        yield "b"
        raise OSError("the disk is gone")

    results = []
    with pytest.raises(OSError, match="the disk is gone"):
        for result in echoed(rows()):
            results.append(result.text)
    assert results == ["a!", "b!"]


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_ends_it_and_keeps_what_is_done(tmp_path: Path) -> None:
    """The rows that are done are handed out and written, those on their way are not, and Ctrl-C goes on."""
    out = tmp_path / "out.jsonl"
    pressed: list[float] = []

    def told(result: Result) -> None:
        if len(pressed) < 1 and result.index == 1:
            pressed.append(monotonic())
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()

    batch = spelled("one", "two", *([[LONG]] * 8), max_in_flight=1, on_result=told, out=out)
    results = []
    with pytest.raises(KeyboardInterrupt):
        for result in batch:
            results.append(result.text)
    assert monotonic() - pressed[0] < 1.5
    assert results == ["one", "two"]
    assert [json.loads(line)["text"] for line in out.read_text().splitlines()] == ["one", "two"]
    assert threads() == []


# The output


def test_each_result_is_in_the_file_before_the_loop_has_it(tmp_path: Path) -> None:
    """So that nothing is lost, however it ends."""
    out = tmp_path / "out.jsonl"
    for result in echoed(["a", "b", "c"], out=out):
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        assert (result.index, result.text) in [(line["index"], line["text"]) for line in lines]


def test_a_second_run_does_what_is_missing(tmp_path: Path) -> None:
    """Rows that the file has are skipped, and are no results; failed ones are tried again where that is asked."""
    out = tmp_path / "out.jsonl"
    rows = [f"row {number}" for number in range(5)]
    with pytest.raises(Cancelled):
        for result in (batch := spelled("zero", [Truncated("cut")], [LONG], rows=rows, out=out)):
            if result.index == 1:
                batch.cancel()
    again = spelled("two", "three", "four", rows=rows, out=out)
    assert [result.text for result in again] == ["two", "three", "four"]
    assert (again.summary.done, again.summary.skipped) == (3, 2)
    last = spelled("one", rows=rows, out=out, retry_failed=True)
    assert [(result.index, result.text) for result in last] == [(1, "one")]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted((line["index"], line["text"]) for line in lines) == list(
        enumerate(["zero", "one", "two", "three", "four"])
    )
