"""What ``executor=`` says in, one way to submit rows out: threads, processes, Dask, or any Executor of the user's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from pickle import PicklingError
from typing import Any

from promptstream.batch.dask import SCHEME, DaskExecutor, connect, is_dask
from promptstream.batch.job import JobFailed
from promptstream.batch.processes import GRACE, ProcessPool
from promptstream.errors import ConfigError, WorkerLost
from promptstream.values.names import nearest

NAMES = ("threads", "processes")
_DIED = ("KilledWorker", "WorkerCrashedError", "NodeDiedError")
"""What Dask and Ray call it when the machine or the process of a row died, more often than they try it again."""
_PICKLING = re.compile("pickle|serialize|local object")


class Lent:
    """Run rows for one batch; a context manager, whose end leaves alone what is the user's. Any thread may call it.

    A future fails with WorkerLost where its worker died, with ConfigError where the row cannot be sent, and with
    JobFailed where no row can be run there. It is cancelled where the row had not begun.
    """

    local: bool = False
    """True where rows run in threads of this process, so that a token, a key or a Provider may be shared."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run *fn* with *args*; far from here both are pickled, and *fn* finds its token by ``worker.token_here``."""
        raise NotImplementedError

    def cancel_running(self, reason: str = "") -> None:
        """Drop what has not begun, and cancel what runs, where that can be reached; what is local has its own token."""

    def close(self) -> None:
        """Let go of what was made for this batch; waits two seconds for what still runs."""

    def __enter__(self) -> Lent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_executor(executor: str | Executor | None, max_in_flight: int, workers: int | None = None) -> Lent:
    """Give what runs up to *max_in_flight* rows at once.

    Args:
        executor: None or "threads"; "processes", which are made here; "dask://HOST:PORT", a scheduler's address; or an
            Executor, which is not shut down.
        max_in_flight: how many rows may be on their way.
        workers: how many processes or threads; by default as many threads as rows, as many processes as processors.

    Raises:
        ConfigError: there is no such executor, it cannot be reached, or it lacks what it needs.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers={workers!r}: give a number from 1.")
    if isinstance(executor, Executor):
        if workers is not None:
            raise ConfigError(f"workers={workers!r} is for executors that are made here; {executor!r} has its own.")
        return _Foreign(executor)
    if executor is None or executor == "threads":
        return _Threads(min(max_in_flight, workers or max_in_flight))
    if executor == "processes":
        number = min(max_in_flight, workers or _processors())
        return _Processes(number, -(-max_in_flight // number))
    if isinstance(executor, str) and executor.startswith(SCHEME):
        if workers is not None:
            raise ConfigError(f"workers={workers!r}: the workers of {executor} are started there.")
        return _Dask(executor)
    raise ConfigError(_unknown(executor))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # those that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _unknown(executor: object) -> str:
    told = '"threads", "processes", "dask://HOST:PORT" or a concurrent.futures.Executor'
    if hasattr(executor, "get_executor"):  # Dask's Client
        return f"executor={executor!r} is no Executor: give what its get_executor() gives."
    hint = nearest(executor, NAMES) if isinstance(executor, str) else ""
    return f"executor={executor!r}: give {told}.{hint}"


class _Threads(Lent):
    """Threads of this process, made for this batch."""

    local = True

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "promptstream-row")
        self._running: set[Future[Any]] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future = self._pool.submit(fn, *args)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def close(self) -> None:
        # A tool that does not end must not hold up Ctrl-C: its thread is left to end by itself.
        self._pool.shutdown(wait=False, cancel_futures=True)
        if not wait(list(self._running), GRACE).not_done:
            self._pool.shutdown()


class _Processes(Lent):
    """Processes of our own, made for this batch."""

    def __init__(self, workers: int, threads: int) -> None:
        self._pool = ProcessPool(workers, threads)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        return self._pool.submit(fn, *args)

    def cancel_running(self, reason: str = "") -> None:
        self._pool.cancel(reason)

    def close(self) -> None:
        self._pool.close()


class _Foreign(Lent):
    """An executor of the user's; Dask's gets its token and its version check besides."""

    def __init__(self, executor: Executor, name: object = None) -> None:
        self.local = isinstance(executor, ThreadPoolExecutor)
        self._name = repr(name or executor)
        self._dask = DaskExecutor(executor) if is_dask(executor) else None
        self._submit: Callable[..., Future[Any]] = executor.submit if self._dask is None else self._dask.submit
        # They are not to refer to each other: while one is held, Dask keeps its result on the worker, and would ask for
        # it anew where that worker dies.
        self._running: dict[Future[Any], Future[Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        outer: Future[Any] = Future()
        try:
            inner = self._submit(fn, *args)
        except RuntimeError as error:  # it was shut down, or broke when a worker of it died
            hint = ' executor="processes" goes on where one dies.' if isinstance(error, BrokenExecutor) else ""
            told = f"executor={self._name} takes no more rows: {error}.{hint}"
            outer.set_exception(JobFailed(ConfigError(told)))
            return outer
        except Exception as error:
            outer.set_exception(self._told(error))
            return outer
        self._running[outer] = inner
        outer.add_done_callback(self._forget)
        inner.add_done_callback(lambda done: self._hand_over(done, outer))
        return outer

    def cancel_running(self, reason: str = "") -> None:
        for future in list(self._running):
            future.cancel()
        if self._dask is not None:
            self._dask.cancel()

    def close(self) -> None:
        self.cancel_running()

    def _forget(self, outer: Future[Any]) -> None:
        inner = self._running.pop(outer)
        if outer.cancelled():
            inner.cancel()

    def _hand_over(self, inner: Future[Any], outer: Future[Any]) -> None:
        """Give *outer* the outcome of *inner*, unless it was cancelled meanwhile."""
        if not outer.set_running_or_notify_cancel():
            return
        if inner.cancelled():  # not by us: Dask does so with all futures when it has lost the scheduler
            why = "it was shut down, or its scheduler is gone; what is done is kept"
            outer.set_exception(JobFailed(WorkerLost(f"executor={self._name} has dropped the row: {why}.")))
        elif (error := inner.exception()) is not None:
            outer.set_exception(self._told(error))
        else:
            outer.set_result(inner.result())

    def _told(self, error: BaseException) -> BaseException:
        """Give what the executor itself failed with as an error of ours."""
        name = type(error).__name__
        if isinstance(error, BrokenExecutor) or name in _DIED:
            return WorkerLost(f"The worker that ran this row died ({name}: {error}).", phase="worker", retryable=True)
        if self.local:
            return error
        if isinstance(error, (PicklingError, TypeError, AttributeError)) and _PICKLING.search(str(error)):
            return ConfigError(f"This row cannot be sent to another process: {error}")
        if isinstance(error, (ImportError, AttributeError)):
            told = "What a batch needs must be importable where its rows run, in the same versions as here."
            return JobFailed(ConfigError(f"A worker cannot read the row that it is to run: {error}. {told}"))
        return error


class _Dask(_Foreign):
    """The user's scheduler, with a connection of our own."""

    def __init__(self, address: str) -> None:
        self._client = connect(address)
        try:
            super().__init__(self._client.get_executor(), address)
        except BaseException:
            self._client.close()
            raise

    def close(self) -> None:
        if self._client.status == "closed":
            return
        super().close()
        self._client.close()
