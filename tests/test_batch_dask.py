"""Rows run on two workers of a real Dask cluster: the same results as in threads, and none is lost with a worker."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from batching import KEY, ROWS, EchoServer, until_cancelled, wait_until, where
from openai_server import PATIENCE

import promptstream
from promptstream.batch import dask
from promptstream.batch.executors import open_executor
from promptstream.batch.job import JobFailed
from promptstream.errors import Cancelled, ConfigError, InvalidRequest, MissingKey, Truncated, WorkerLost

distributed = pytest.importorskip("distributed", reason="Dask is not installed (extra test)")


@pytest.fixture(scope="module")
def server() -> Iterator[EchoServer]:
    """A provider that the workers' environment names."""
    with EchoServer() as server:
        yield server


@pytest.fixture(scope="module")
def cluster(server) -> Iterator[distributed.LocalCluster]:
    """A scheduler here and two worker processes, started once; only they have the key."""
    quiet = logging.getLogger("distributed")
    before = quiet.level
    quiet.setLevel(logging.CRITICAL)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        for name, value in server.variables().items():
            patch.setenv(name, value)
        made = distributed.LocalCluster(
            n_workers=2, threads_per_worker=4, dashboard_address=":0", silence_logs=logging.CRITICAL
        )
    with made:
        yield made
    quiet.setLevel(before)


@pytest.fixture
def fresh(server) -> EchoServer:
    """The provider, as if nobody had asked it."""
    with server.lock:
        server.requests.clear()
        server.keys.clear()
    server.gate.clear()
    server.hung_up.clear()
    return server


def address(cluster: distributed.LocalCluster) -> str:
    """Give what ``executor=`` takes."""
    return cluster.scheduler_address.replace("tcp://", "dask://")


def workers(cluster: distributed.LocalCluster) -> list[int]:
    """Give the ids of the worker processes."""
    return [each.process.pid for each in cluster.workers.values()]


def test_two_workers_give_what_threads_give_and_errors_come_back_whole(cluster, fresh, monkeypatch):
    """The workers read the key where they run: this process has none, and it is in nothing that was sent."""
    options = {"provider": "openai", "model": "gpt-4o-mini", "max_in_flight": 8}
    with pytest.raises(MissingKey):
        promptstream.map(rows=ROWS, **options)
    far = list(promptstream.map(rows=ROWS, executor=address(cluster), **options))
    assert set(fresh.keys) == {f"Bearer {KEY}"}
    for name, value in fresh.variables().items():
        monkeypatch.setenv(name, value)
    local = list(promptstream.map(rows=ROWS, **options))
    assert [(each.index, each.id, each.text, each.spent, each.attempts) for each in far] == [
        (each.index, each.id, each.text, each.spent, each.attempts) for each in local
    ]
    assert [type(each.error) for each in far[12:]] == [Truncated, InvalidRequest, type(None)]
    assert far[12].error.response.text == "Echo: cut this"
    assert far[13].error.status == 400


def test_equal_rows_are_asked_as_often_as_they_stand_there(cluster, fresh):
    """Dask would run one of them, and give its result to all."""
    with distributed.Client(cluster, set_as_default=False) as client:
        rows = ["again"] * 3
        batch = promptstream.map(rows=rows, executor=client.get_executor(), provider="openai", model="gpt-4o-mini")
        assert [each.text for each in batch] == ["Echo: again"] * 3
        assert len(fresh.requests) == 3
        # The user's executor is left open, and nothing is left on the cluster, to be asked anew where a worker dies.
        assert client.submit(where, 7).result(PATIENCE)[1] == 7
        assert not [key for key in client.run_on_scheduler(tasks) if key.startswith("_run")]


def tasks(dask_scheduler: object) -> list[str]:
    """Give the names of what the scheduler knows of."""
    return [str(key) for key in dask_scheduler.tasks]


def test_a_worker_that_is_killed_costs_no_row(cluster, fresh):
    """The scheduler has its rows run by the other one; those that were done are not asked for again."""
    rows = ["first", *(f"hold {number}" for number in range(8))]
    results = []
    options = {"provider": "openai", "model": "gpt-4o-mini", "max_in_flight": 9}
    for result in promptstream.map(rows=rows, executor=address(cluster), **options):
        results.append(result)
        if result.index == 0:
            fresh.wait_for(8)
            os.kill(workers(cluster)[0], signal.SIGKILL)
            fresh.gate.set()
    assert [(each.text, each.error) for each in results] == [(f"Echo: {row}", None) for row in rows]
    assert fresh.prompts().count("first") == 1


def test_a_cancel_reaches_the_rows_that_run_on_workers(cluster, fresh):
    """They hang up, where a future of Dask's that is cancelled would run on."""
    token = promptstream.CancelToken()
    options = {"provider": "openai", "model": "gpt-4o-mini"}
    with pytest.raises(Cancelled, match="enough"):
        for _ in promptstream.map(rows=["first", "hold"], executor=address(cluster), cancel=token, **options):
            fresh.wait_for(2)
            token.cancel("enough")
    assert fresh.hung_up.wait(PATIENCE)


def test_what_dask_has_tried_too_often_is_a_lost_row(cluster, tmp_path):
    """Its KilledWorker is a WorkerLost; what cannot be sent, or not be read there, is told."""
    with distributed.Client(cluster, set_as_default=False) as client, open_executor(client.get_executor(), 4) as lent:
        assert not lent.local
        running = lent.submit(until_cancelled, str(tmp_path / "runs"))
        wait_until(tmp_path / "runs")
        assert str(lent.submit(where, threading.Lock()).exception(PATIENCE)).startswith("This row cannot be sent")
        lent.cancel_running("enough")
        assert running.cancelled()
    killed = distributed.KilledWorker("row", SimpleNamespace(address="tcp://there:1"), 3)
    assert isinstance(lent._told(killed), WorkerLost)
    assert isinstance(lent._told(ModuleNotFoundError("No module named 'mine'")), JobFailed)


# What is told before anything is sent


class Asked:
    """Stand in for a client, and for its executor, whose workers tell *versions*."""

    def __init__(self, **versions: object) -> None:
        self._client = self
        self.versions = versions

    def run(self, fn: object, name: str, on_error: str) -> dict[str, object]:
        """Give what the workers say."""
        return self.versions


def test_a_worker_without_the_package_is_told():
    """With its address, and what to install there."""
    with pytest.raises(ConfigError, match=r"cannot be imported by the Dask workers tcp___b: .*promptstream-sdk"):
        dask.DaskExecutor(Asked(tcp___a=promptstream.__version__, tcp___b=ModuleNotFoundError("promptstream")))


def test_a_worker_of_another_version_is_warned_of():
    """Rows may be understood all the same; Dask warns of Python's version and its own."""
    with pytest.warns(UserWarning, match=r"another promptstream than this one, .*: 0\.0\.1 at tcp___b"):
        dask.DaskExecutor(Asked(tcp___a=promptstream.__version__, tcp___b="0.0.1"))


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch):
    """With the command that starts one."""
    monkeypatch.setattr(dask, "PATIENCE", 0.05)
    with pytest.raises(ConfigError, match=r"No Dask scheduler answers at 127\.0\.0\.1:9 .*dask scheduler --port 9"):
        open_executor("dask://127.0.0.1:9", 4)


def test_dask_that_is_not_installed_is_told(monkeypatch):
    """It is no requirement of the package's."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"python -m pip install distributed"):
        open_executor("dask://127.0.0.1:8786", 4)


def test_a_client_is_no_executor(cluster):
    """What it has is named."""
    with (
        distributed.Client(cluster, set_as_default=False) as client,
        pytest.raises(ConfigError, match="get_executor"),
    ):
        open_executor(client, 4)
