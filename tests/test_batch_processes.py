"""Rows run in processes of their own: the same results as in threads, and none is lost when one of them is killed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from batching import KEY, ROWS, EchoServer, die, fail, leave, unsendable, until_cancelled, wait_until, where
from openai_server import PATIENCE

import promptstream
from promptstream.batch import processes
from promptstream.batch.executors import open_executor
from promptstream.batch.job import Job, JobFailed
from promptstream.batch.processes import ProcessPool
from promptstream.errors import Cancelled, ConfigError, InvalidRequest, Truncated, WorkerLost

posix = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")


@pytest.fixture
def server(monkeypatch) -> Iterator[EchoServer]:
    """A provider that this process's environment names, as that of the processes it starts."""
    with EchoServer() as server:
        for name, value in server.variables().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    """Two processes, each for four calls at once."""
    pool = ProcessPool(2, 4)
    yield pool
    pool.close()


def workers() -> list[int]:
    """Give the ids of the worker processes that live."""
    return [each.pid for each in multiprocessing.active_children() if each.name == "promptstream-worker" and each.pid]


def gone(pid: int) -> bool:
    """Tell whether the process *pid*, which is no child of this one, is over."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# What a batch promises


def test_processes_give_what_threads_give_and_errors_come_back_whole(server):
    """The same answers in the same order; an error brings its partial answer; the key was read where the rows ran."""
    local, far = (
        list(promptstream.map(rows=ROWS, executor=name, workers=2, max_in_flight=8, model="gpt-4o-mini"))
        for name in ("threads", "processes")
    )
    assert [(each.index, each.id, each.text, each.spent, each.attempts) for each in far] == [
        (each.index, each.id, each.text, each.spent, each.attempts) for each in local
    ]
    assert [each.text for each in far[:2]] == ["Echo: row 0", "Echo: row 1"]
    assert far[0].response.usage == local[0].response.usage
    assert [type(each.error) for each in far[12:]] == [Truncated, InvalidRequest, type(None)]
    assert str(far[12].error) == str(local[12].error)
    assert far[12].error.response.text == "Echo: cut this"
    assert far[13].error.status == 400
    assert set(server.keys) == {f"Bearer {KEY}"}


@posix
def test_a_worker_that_is_killed_costs_no_row(server):
    """The rows that were in flight in it, and they alone, are asked for again."""
    rows = [f"hold {number}" for number in range(8)]
    with promptstream.map(rows=rows, executor="processes", workers=2, max_in_flight=8, model="gpt-4o-mini") as batch:
        killer = threading.Thread(target=lambda: (server.wait_for(8), kill_one(), server.gate.set()))
        killer.start()
        results = list(batch)
        killer.join()
    assert [(each.text, each.error) for each in results] == [(f"Echo: {row}", None) for row in rows]
    asked = server.prompts()
    twice = {row for row in rows if asked.count(row) == 2}
    assert 0 < len(twice) < 8
    assert len(asked) == 8 + len(twice)
    assert workers() == []


def kill_one() -> None:
    """Kill one of the workers."""
    os.kill(workers()[0], signal.SIGKILL)


def test_a_cancel_reaches_the_rows_that_run_in_processes(server):
    """They hang up; the loop raises Cancelled, after what was done; nothing runs on."""
    token = promptstream.CancelToken()
    rows = ["first", "hold 1", "hold 2"]
    seen = []
    with pytest.raises(Cancelled, match="enough"):
        for result in promptstream.map(rows=rows, executor="processes", workers=1, cancel=token, model="gpt-4o-mini"):
            seen.append(result.text)
            server.wait_for(3)
            token.cancel("enough")
    assert server.hung_up.wait(PATIENCE)
    assert seen == ["Echo: first"]
    assert workers() == []


# Keys


def test_no_key_is_in_what_travels(monkeypatch, server):
    """Not that of the environment, nor a proxy's password, not even after the job was opened and used here."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:proxy-pass@127.0.0.1:9")
    job = Job(options={"model": "gpt-4o-mini", "provider": "openai"})
    assert job.run(0, {"message": "Hi"}).text == "Echo: Hi"
    sent = pickle.dumps((job.run, (0, {"message": "Hi"}, None, None)))
    job.close()
    assert server.keys == [f"Bearer {KEY}"]
    for secret in (KEY, "proxy-pass"):
        assert secret.encode() not in sent
    assert len(sent) < 1000


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"api_key": "sk-given"}, "api_key"),
        ({"provider": "a Provider"}, "provider= holds a Provider"),
        ({"fallback": "a Provider"}, "fallback= holds a Provider"),
        ({"tools": [lambda: 1]}, "tools="),
    ],
)
def test_what_cannot_travel_is_told_before_anything_is_sent(server, options, told):
    """A key, a Provider, a function of no module: with threads all of them would do."""
    with promptstream.providers.get("openai", api_key="sk-given") as provider:
        options = {name: provider if value == "a Provider" else value for name, value in options.items()}
        with pytest.raises(ConfigError, match=re.escape(told)):
            promptstream.map(rows=["Hi"], executor="processes", model="gpt-4o-mini", **options)
    assert server.requests == []
    assert workers() == []


# The pool itself


def test_calls_run_in_several_processes_and_come_back(pool):
    """Neither is this one."""
    found = [pool.submit(where, number) for number in range(8)]
    assert [each.result(PATIENCE)[1] for each in found] == list(range(8))
    assert os.getpid() not in {each.result()[0] for each in found}


def test_what_a_call_raises_comes_back(pool):
    """Also where it would exit, or gives what does not pickle; the process goes on."""
    before = set(workers())
    assert repr(pool.submit(fail).exception(PATIENCE)) == "ValueError('It was wrong.')"
    assert isinstance(pool.submit(leave).exception(PATIENCE), RuntimeError)
    told = "What this row gave cannot be sent back from its process"
    assert str(pool.submit(unsendable).exception(PATIENCE)).startswith(told)
    assert str(pool.submit(lambda: None).exception(PATIENCE)).startswith("This row cannot be sent to another process")
    assert before <= set(workers())


@posix
def test_a_row_that_kills_its_worker_fails_in_the_end_and_takes_no_other_along(pool, monkeypatch):
    """After three more tries, here one; the last time it runs alone, and so do those that were beside it each time."""
    assert processes.AGAIN == 3
    monkeypatch.setattr(processes, "AGAIN", 1)
    doomed = pool.submit(die)
    others = [pool.submit(where, number) for number in range(7)]
    lost = doomed.exception(PATIENCE)
    assert isinstance(lost, WorkerLost)
    assert (lost.attempts, lost.phase) == (2, "worker")
    assert "signal 9" in str(lost)
    assert [each.result(PATIENCE)[1] for each in others] == list(range(7))
    assert pickle.loads(pickle.dumps(lost)).attempts == lost.attempts


def test_a_cancel_drops_what_waits_and_tells_what_runs(tmp_path):
    """The token of the worker has the driver's reason; nothing can be submitted after it."""
    pool = ProcessPool(1, 1)
    running = pool.submit(until_cancelled, str(tmp_path / "runs"))
    waiting = pool.submit(where)
    wait_until(tmp_path / "runs")
    pool.cancel("enough")
    assert isinstance(waiting.exception(PATIENCE), Cancelled)
    assert isinstance(pool.submit(where).exception(PATIENCE), Cancelled)
    assert running.result(PATIENCE) == "enough"
    pool.close()
    pool.close()
    assert not [each for each in threading.enumerate() if each.name == "promptstream-worker" and not each.daemon]


# Whole programs

PROGRAM = """
import os, multiprocessing, promptstream
{guard}
    rows = ["first", "hold 1", "hold 2"]
    try:
        for result in promptstream.map(rows=rows, executor="processes", workers=1, model="gpt-4o-mini"):
            print(result.text, *[each.pid for each in multiprocessing.active_children()], flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


def program(tmp_path: Path, server: EchoServer, guard: str) -> subprocess.Popen[str]:
    """Start the program above in a process group of its own, as a terminal would."""
    script = tmp_path / "script.py"
    script.write_text(PROGRAM.format(guard=guard))
    return subprocess.Popen(
        [sys.executable, str(script)],
        env=server.environment(**server.variables()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@posix
def test_ctrl_c_is_the_drivers_and_no_worker_says_a_word(tmp_path, server):
    """The terminal sends it to all of them; the loop raises KeyboardInterrupt, and the connections are closed."""
    with program(tmp_path, server, 'if __name__ == "__main__":') as child:
        server.wait_for(3)
        first = child.stdout.readline()
        os.killpg(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE)
    assert (first.split()[:2], out, err, child.returncode) == (["Echo:", "first"], "stopped\n", "", 0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
def test_workers_do_not_outlive_a_driver_that_was_killed(tmp_path, server):
    """Their rows hang up, too."""
    with program(tmp_path, server, 'if __name__ == "__main__":') as child:
        server.wait_for(3)
        pid = int(child.stdout.readline().split()[2])
        assert not gone(pid)
        child.kill()
        child.communicate(timeout=PATIENCE)
    assert server.hung_up.wait(PATIENCE)
    end = time.monotonic() + PATIENCE
    while not gone(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_script_without_its_guard_is_told_so_once(tmp_path, server):
    """Nothing is sent, nothing hangs, and no process starts processes without end."""
    with program(tmp_path, server, "if True:") as child:
        _, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1
    assert err.count("ConfigError: A worker process was about to start workers of its own.") == 1
    assert err.count("The worker processes do not start (exit code 1)") == 1
    assert 'if __name__ == "__main__":' in err
    assert server.requests == []


# Executors of the user's


def test_an_executor_that_was_given_is_not_shut_down(server):
    """A thread pool shares keys, Providers and tokens; fewer threads than rows in flight lose none."""
    with ThreadPoolExecutor(2) as pool, promptstream.providers.get("openai") as provider:
        batch = promptstream.map(rows=ROWS[:6], executor=pool, provider=provider, model="gpt-4o-mini")
        assert [each.text for each in batch] == [f"Echo: row {number}" for number in range(6)]
        assert pool.submit(where, 1).result()[1] == 1


@posix
def test_a_process_pool_that_was_given_breaks_as_a_whole_and_says_so():
    """What it had lost was lost by it; it takes no more, and what would is named."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as given, open_executor(given, 2) as lent:
        assert not lent.local
        assert lent.submit(where, 1).result(PATIENCE)[1] == 1
        assert str(lent.submit(where, lambda: 1).exception(PATIENCE)).startswith("This row cannot be sent")
        assert isinstance(lent.submit(die).exception(PATIENCE), WorkerLost)
        failed = lent.submit(where).exception(PATIENCE)
        assert isinstance(failed, JobFailed)
        assert 'executor="processes"' in str(failed.error)


@pytest.mark.parametrize(
    ("executor", "workers", "told"),
    [
        ("process", None, "Did you mean 'processes'?"),
        ("ray://head:10001", None, 'give "threads", "processes", "dask://HOST:PORT" or a concurrent.futures.Executor'),
        (7, None, "executor=7"),
        ("processes", 0, "workers=0: give a number from 1."),
        ("dask://here:8786", 4, "workers=4"),
        ("dask://here", None, "write dask://HOST:PORT"),
    ],
)
def test_an_executor_that_there_is_not_is_told(executor, workers, told):
    """With what there is, before anything is started."""
    with pytest.raises(ConfigError, match=re.escape(told)):
        open_executor(executor, 16, workers)


def test_workers_are_for_what_is_made_here():
    """An executor that was given has its own."""
    with ThreadPoolExecutor(1) as given, pytest.raises(ConfigError, match="workers=2"):
        open_executor(given, 16, 2)
