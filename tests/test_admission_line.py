"""Those who wait at max_in_flight: in order, without polling, stopped by what stops a turn, in every process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, process_time, sleep

import pytest
from server import PATIENCE
from test_admission import free, until, waiting

import promptstream
from promptstream import CancelToken, Provider, Timeout, errors
from promptstream.providers import Scripted
from promptstream.wire.gate import Gate
from promptstream.wire.watch import Watch

ROOT = Path(promptstream.__file__).parents[1]


@contextmanager
def line_of(provider: Provider, many: int = 1):
    """Fill the only place by a stream, have *many* threads wait behind it, and give what becomes of them."""
    stream = provider.stream("first")
    next(chunks := iter(stream))
    ended: list[str] = []

    def ask(number):
        try:
            ended.append(provider.send(f"number {number}").text)
        except promptstream.PromptStreamError as error:
            ended.append(type(error).__name__)

    threads = []
    for number in range(many):
        threads.append(threading.Thread(target=ask, args=(number,)))
        threads[-1].start()
        until(lambda: waiting(provider) == number + 1)  # noqa: B023 - called before the next round
    try:
        yield stream, ended
    finally:
        del chunks
        stream.close()
        for thread in threads:
            thread.join(PATIENCE)


# Those who wait


def cancel_by_token():
    """Give what to pass as cancel=, and how to cancel by it."""
    token = CancelToken()
    return token, token.cancel


def cancel_by_event():
    """The same by a plain Event."""
    event = threading.Event()
    return event, event.set


@pytest.mark.parametrize("means", [cancel_by_token, cancel_by_event, None], ids=["token", "event", "stream"])
def test_who_waits_in_line_can_be_cancelled(means):
    """Within 100 ms, with phase admission; the line closes up behind."""
    asked = Scripted([["Once", " upon"], "Third"], max_in_flight=1)
    first = iter(asked.stream("first"))
    next(first)
    took = []
    for _ in range(3):
        cancel, fire = means() if means else (None, None)
        stream = asked.stream("second", cancel=cancel)
        ended = []

        def wait(stream=stream, ended=ended):
            try:
                list(stream)
            except errors.Cancelled as error:
                ended.append((monotonic(), error.phase))

        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: waiting(asked) == 1)
        begun = monotonic()
        (fire or stream.cancel)()
        thread.join(PATIENCE)
        ((at, phase),) = ended
        took.append(at - begun)
        assert phase == "admission"
        assert waiting(asked) == 0
    assert min(took) <= 0.1
    del first
    assert free(asked) == 1
    assert asked.send("third").text == "Third"


def test_who_waits_in_line_stops_at_the_total():
    """The total deadline holds in line; at most 0.25 s late."""
    asked = Scripted([["Once", " upon"], "Third"], max_in_flight=1)
    first = iter(asked.stream("first"))
    next(first)
    begun = monotonic()
    with pytest.raises(errors.DeadlineExceeded) as caught:
        asked.send("second", timeout=0.1)
    assert 0.1 <= monotonic() - begun <= 0.35
    assert caught.value.phase == "admission"
    assert len(asked.requests) == 1
    del first


def test_waiting_in_line_is_not_counted_by_the_other_clocks():
    """first and connect begin with the request, not in line."""
    asked = Scripted(
        [["Once", 0.25, " upon"], "Second"], max_in_flight=1, timeout=Timeout(connect=0.1, first=0.1, idle=5)
    )
    other = []
    first = iter(asked.stream("first"))
    next(first)
    thread = threading.Thread(target=lambda: other.append(asked.send("second")))
    thread.start()
    until(lambda: waiting(asked) == 1)
    assert [str(chunk) for chunk in first] == [" upon", ""]
    thread.join(PATIENCE)
    assert other[0].text == "Second"
    assert other[0].timing.total >= 0.2


def test_what_happens_after_the_line_is_not_said_to_have_happened_in_it():
    """An error's phase is the same with and without a gate."""
    phases = set()
    for options in ({}, {"max_in_flight": 1}):
        with pytest.raises(errors.DeadlineExceeded) as caught:
            Scripted([[5, "Late"]], **options).send("Hi", timeout=0.02)
        phases.add(caught.value.phase)
    assert len(phases) == 1


def test_ctrl_c_in_line_leaves_the_line():
    """A waiting main thread wakes for a signal, and no place is lost."""
    asked = Scripted([["Once", " upon"], "Third"], max_in_flight=1)
    first = iter(asked.stream("first"))
    next(first)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    begun = monotonic()
    with pytest.raises(KeyboardInterrupt):
        timer.start()  # only here: on a busy machine it may strike before the next line
        try:
            asked.send("second")
        finally:
            timer.cancel()
    assert monotonic() - begun <= 0.5
    assert waiting(asked) == 0
    del first
    assert free(asked) == 1


def test_a_cancelled_waiter_that_was_just_let_in_passes_the_place_on():
    """Whichever came first, the cancel or the place, none is lost and none is made."""
    gate = Gate(1)
    room = gate._rooms.get()
    for _ in range(300):
        holder, waiter, third = (Watch(Timeout()) for _ in range(3))
        held, wanted = gate.place(holder), gate.place(waiter)
        held.__enter__()
        entered = []

        def wait(wanted=wanted, entered=entered):
            with suppress(errors.Cancelled), wanted:
                entered.append(True)

        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: len(room.line) == 1)
        go = threading.Barrier(2)
        canceller = threading.Thread(target=lambda go=go, waiter=waiter: (go.wait(), waiter.cancel()))
        canceller.start()
        go.wait()
        held.leave()
        thread.join(PATIENCE)
        canceller.join(PATIENCE)
        assert (len(room.free), len(room.line)) == (1, 0)
        with gate.place(third):
            assert len(room.free) == 0


def test_many_threads_neither_lose_nor_make_a_place():
    """Whatever the threads do: never more inside than there are places, and all are free in the end."""
    gate, inside, most, wrong = Gate(3), [], [0], []

    def work(seed):
        for turn in range(60):
            watch = Watch(Timeout(total=0.0005 if (seed + turn) % 5 == 0 else None))
            watch.start()
            try:
                with gate.place(watch):
                    inside.append(seed)
                    most[0] = max(most[0], len(inside))
                    sleep(0.0001)
                    inside.remove(seed)
            except errors.DeadlineExceeded:
                pass
            except BaseException as error:
                wrong.append(error)
            finally:
                watch.end()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    room = gate._rooms.get()
    assert wrong == []
    assert (len(room.free), len(room.line)) == (3, 0)
    assert 1 < most[0] <= 3


def test_waiting_costs_no_cpu():
    """The line is not polled: half a second of waiting costs next to nothing."""
    asked = Scripted([["Once", " upon"]] + ["Hi"] * 20, max_in_flight=1)
    with line_of(asked, 20) as (_, ended):
        before = process_time()
        sleep(0.05)
        sleep(0.05)
        spent = process_time() - before
        assert ended == []
    assert spent <= 0.05
    assert ended == ["Hi"] * 20


def test_a_line_is_served_in_order_by_whoever_leaves():
    """Each that ends lets the next in."""
    asked = Scripted([["Once", " upon"]] + [str(number) for number in range(10)], max_in_flight=1)
    with line_of(asked, 10) as (_, ended):
        pass
    assert ended == [str(number) for number in range(10)]
    assert [request.messages[-1].text for request in asked.requests[1:]] == [f"number {number}" for number in range(10)]


def test_a_place_given_back_by_a_finaliser_in_the_middle_of_a_step_is_not_lost():
    """A generator may be collected at any moment, also while its own thread lets somebody in."""
    gate = Gate(2)
    room = gate._rooms.get()
    held = gate.place(Watch(Timeout()))
    held.__enter__()

    class Line(type(room.line)):
        def popleft(self):
            held.leave()  # as a finaliser would, between two steps
            return super().popleft()

    room.line = Line()
    with gate.place(Watch(Timeout())):
        assert len(room.free) == 1
    assert (len(room.free), len(room.line)) == (2, 0)


# Processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_with_all_places_free():
    """Whoever holds a place or waits in the parent is not in the child; and what ends there frees nothing here."""
    asked = Scripted([["Once", " upon"]] + ["Hi"] * 9, max_in_flight=2)
    first, second = iter(asked.stream("first")), iter(asked.stream("second"))
    next(first), next(second)
    waiter = threading.Thread(target=asked.send, args=("third",))
    waiter.start()
    until(lambda: waiting(asked) == 1)
    child = os.fork()
    if child == 0:
        threading.Timer(5, os._exit, (9,)).start()
        good = (free(asked), waiting(asked)) == (2, 0)
        del first
        good = good and free(asked) == 2 and asked.send("Hi").text == "Hi" and free(asked) == 2
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (free(asked), waiting(asked)) == (0, 1)
    del first
    waiter.join(PATIENCE)
    del second
    assert (free(asked), waiting(asked)) == (2, 0)


def test_an_interpreter_exits_although_threads_wait_in_line():
    """Daemon threads in line neither hang nor print."""
    code = textwrap.dedent(
        """
        import threading, time
        from promptstream.providers import Scripted
        asked = Scripted([["Once", " upon"], "Hi"], max_in_flight=1)
        first = iter(asked.stream("Hi")); next(first)
        thread = threading.Thread(target=asked.send, args=("Hi",), daemon=True); thread.start()
        while not asked._gate._rooms.get().line: time.sleep(0.001)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_is_left_behind():
    """A thousand streams through a gate, left by break with the collector off: no memory, no place."""
    asked = Scripted([["Once", " upon"]] * 1100, max_in_flight=1)
    asked.dialect.requests = _Forgetful()

    def leave(times):
        for _ in range(times):
            for _ in asked.stream("Hi"):
                break

    gc.collect()
    gc.disable()
    try:
        leave(100)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        leave(1000)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    finally:
        gc.enable()
    assert grown < 100_000
    assert free(asked) == 1


class _Forgetful(list):
    """A record of requests that keeps their number alone."""

    def append(self, request):
        super().append(None)
