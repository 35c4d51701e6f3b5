"""Whatever call fails, in whatever way, the promises hold: one typed ending, no false end, nothing left behind.

This is the program ``python -m tests.torture`` in part: it fails every call of every scenario, and takes two minutes.
"""

from __future__ import annotations

import os
import random
import threading

import attrs
import pytest
from server import each, good
from torture.__main__ import warm_up
from torture.faults import FAULTS, failing, tortured
from torture.runs import run, torture
from torture.scenarios import scenarios
from torture.stage import Loop, Stage, dismiss

import promptstream
from promptstream import errors
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.wire import watch

SEED = random.randrange(10**6)
"""Where the strides begin; another place in every run."""
STRIDE = 5
ON_TLS = ("TLS", "TLS, reused connection", "TLS, break in the middle", "TLS, cancel in the middle")

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="/proc of Linux")


@pytest.fixture(scope="module")
def known(certificates):
    """Every scenario, with what all of them share loaded and started."""
    found = scenarios(certificates)
    warm_up(found)
    return found


@pytest.mark.parametrize("name", [*scenarios(), *ON_TLS])
def test_whatever_call_fails_the_promises_hold(known, name):
    """A sample of all calls fails, in eleven ways: nothing but our own errors escapes, or Ctrl-C and MemoryError as
    they are; the text is a prefix; a normal end is whole; there is one ending; the history holds whole turns or one
    that the user stopped; the next request works; no descriptor and no thread is left; the watchdog watches.
    """
    chance = random.Random(f"{SEED} {name}")
    with tortured():
        rows = [torture(known[name], fault, 1 + chance.randrange(STRIDE), STRIDE) for fault in FAULTS.values()]
    print(f"seed {SEED}: {sum(row.runs for row in rows)} runs")
    assert [violation for row in rows for violation in row.violations][:5] == []
    assert sum(row.runs for row in rows) >= 8


# The tormentor is tormented: it would be no use if it let everything pass.


def test_every_call_is_reached(known):
    """The calls counted are those of the brief: name look-up, socket, TLS, traffic, threads, waits and the parser."""
    seen = set()
    with tortured():
        for name in ("connection gone stale", "name looked up", "TLS", "the watchdog's start", "break in the middle"):
            seen |= set(torture(known[name], FAULTS["ctrl-c after"]).calls)
    assert seen == FAULTS["ctrl-c after"].calls


def test_a_run_ends_without_a_fault_in_the_end(known):
    """After the last call there is nothing left to fail, and the scenario ends well."""
    with tortured():
        assert run(known["first request, chat"], FAULTS["reset"], 10_000) == ("", [])


@pytest.mark.parametrize("broken", ["descriptors before", "ValueError escapes", "ConversationBusy", "ended normally"])
def test_a_broken_promise_is_found(known, broken):
    """A descriptor kept, a foreign exception, a conversation that stays busy and a false end are violations."""
    kept = []

    def act(stage: Stage) -> None:
        if broken == "descriptors before":
            kept.append(os.dup(0))
        elif broken == "ValueError escapes":
            raise ValueError("of somebody else")
        elif broken == "ConversationBusy":
            stage.conversation._claim.running = watch.Watch(promptstream.Timeout())
        else:
            done = Chunk(ChunkType.DONE, response=promptstream.Response())
            stage.loops.append(Loop(stage.stream(), [done], over=True))

    scenario = attrs.evolve(known["conversation, cut"], act=act)
    with tortured():
        _, problems = run(scenario, FAULTS["reset"], 10_000)
    for descriptor in kept:
        os.close(descriptor)
    assert any(broken in problem for problem in problems), problems


# What it found, by itself


def test_a_closed_provider_holds_no_connection_although_an_error_is_kept(server):
    """close() closes idle connections itself, and does not wait until the last error that refers to them is gone."""
    one = server(each(good))
    with promptstream.providers.Compatible(one.url, retry=promptstream.Retry(0)) as provider:
        with tortured(), failing(FAULTS["timeout"], 1), pytest.raises(errors.ConnectFailed) as caught:
            provider.send("Hi")
        assert provider.send("Hi").complete
    assert one.conn.gone.wait(1)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("read", [list, lambda stream: stream.buffered()], ids=["the clocks", "reading ahead"])
def test_a_thread_that_cannot_be_started_is_an_error_of_ours(server, monkeypatch, read):
    """Where the system has no thread left, for the clocks or to read ahead, the error is a StreamError."""
    one = server(each(good))
    monkeypatch.setattr(watch, "_watchdog", watch.Watchdog())
    provider = promptstream.providers.Compatible(one.url)
    raised = pytest.raises(errors.StreamError, match="No thread")
    with provider.stream("Hi") as stream, raised, tortured(), failing(FAULTS["i/o error"], 1):
        read(stream)
    with provider:
        assert provider.send("Hi").complete
    dismiss(watch._watchdog)


def test_a_second_cancel_does_what_ctrl_c_kept_the_first_from(server):
    """A cancel that was interrupted before it shut the socket down can be called again."""
    silent = server(lambda conn: (conn.request(), conn.wait_for_hang_up()))
    with promptstream.providers.Compatible(silent.url) as provider:
        stream = provider.stream("Hi")
        ended = []

        def run() -> None:
            with pytest.raises(errors.Cancelled) as caught:
                list(stream)
            ended.append(caught.value)

        thread = threading.Thread(target=run)
        thread.start()
        silent.wait_for_request()
        with tortured(), failing(FAULTS["ctrl-c"], 1), pytest.raises(KeyboardInterrupt):
            stream.cancel()
        stream.cancel()
        thread.join(1)
    assert len(ended) == 1
