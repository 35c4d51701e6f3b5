"""Calls in, futures out: processes of our own, each running several rows at once; one that dies costs no row.

Rows wait for the network, so a process runs many in threads. ``ProcessPoolExecutor`` runs one at a time in each, and
fails every row on its way when any process dies.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import attrs

from promptstream.batch.job import JobFailed
from promptstream.batch.worker import CALL, CANCEL, READY, STOP, serve
from promptstream.errors import Cancelled, ConfigError, WorkerLost

AGAIN = 3
"""How often a row is given to another process after one died with it; the last time it runs alone in its process."""
STARTS = 10
"""How many processes one after another may be killed before they are ready."""
GRACE = 2.0
"""Seconds that rows have to end after a cancel, before their process is killed."""

GUARD = (
    'A script that starts worker processes must do so below `if __name__ == "__main__":`, '
    'because each of them imports the script again. Or use executor="threads".'
)


@attrs.define(eq=False)
class _Task:
    number: int
    call: bytes
    future: Future[Any]
    lost: int = 0

    @property
    def alone(self) -> bool:
        """True where it may be what kills its process: others shall not die with it once more."""
        return self.lost >= AGAIN


@attrs.define(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    tasks: dict[int, _Task] = attrs.field(factory=dict)
    sending: threading.Lock = attrs.field(factory=threading.Lock)
    reader: threading.Thread = attrs.field(init=False)

    def takes(self, task: _Task, threads: int) -> bool:
        if not self.ready or len(self.tasks) >= threads:
            return False
        return not self.tasks if task.alone else not any(each.alone for each in self.tasks.values())

    def send(self, message: bytes) -> None:
        """Send; a process that is dead already is its reader's to notice."""
        try:
            with self.sending, suppress(OSError):
                self.pipe.send_bytes(message)
        except BaseException:  # Ctrl-C in the middle of a message leaves nothing to go on with
            self.process.kill()
            raise

    def end(self) -> int | None:
        """Wait for the end of a process that was told to end; kill it where it does not. Gives its exit code."""
        self.process.join(GRACE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        return self.process.exitcode


class ProcessPool:
    """Run calls in up to *workers* processes, *threads* at once in each. Any thread may call it."""

    def __init__(self, workers: int, threads: int) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise ConfigError(f"A worker process was about to start workers of its own. {GUARD}")
        self._pid = os.getpid()
        """A forked child has the pipes too: its end is none of the workers'."""
        self._limit = workers
        self._threads = threads
        self._lock = threading.RLock()
        self._workers: list[_Worker] = []
        self._waiting: deque[_Task] = deque()
        self._numbers = 0
        self._failed_starts = 0
        self._ever_ready = False
        self._stopped: Cancelled | JobFailed | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run *fn* with *args* in a process; both must pickle.

        The future fails with ConfigError where they do not, with WorkerLost where every process that ran it died, and
        with JobFailed where no process can be started.
        """
        future: Future[Any] = Future()
        try:
            call = pickle.dumps((fn, args))
        except Exception as error:
            future.set_exception(ConfigError(f"This row cannot be sent to another process: {error}"))
            return future
        with self._lock:
            if self._stopped is not None:
                future.set_exception(self._stopped)
                return future
            if not self._numbers:  # runs before multiprocessing's own, which waits for the workers to end
                atexit.register(self.close)
            self._numbers += 1
            self._waiting.append(_Task(self._numbers, call, future))
        self._go_on()
        return future

    def cancel(self, reason: str = "") -> None:
        """Cancel the token of all calls that run, and drop those that wait; nothing can be submitted any more."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._stopped = self._stopped or Cancelled(reason or "The batch was cancelled.", phase="worker")
            workers, waiting = list(self._workers), list(self._waiting)
            self._waiting.clear()
        for worker in workers:
            worker.send(CANCEL + reason.encode(errors="replace"))
        for task in waiting:
            self._fail(task, self._stopped)

    def close(self) -> None:
        """End every process; what runs is cancelled, and killed after a grace of two seconds."""
        if os.getpid() != self._pid:
            return
        atexit.unregister(self.close)
        self.cancel("The batch was closed.")
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.send(STOP)
        for worker in workers:
            worker.reader.join(GRACE)
            if worker.reader.is_alive():
                with suppress(ValueError):  # it has just ended by itself
                    worker.process.kill()
                worker.reader.join()

    def _go_on(self) -> None:
        """Give what waits to the processes that have room, and start more where there is more than they can take."""
        calls: list[tuple[_Worker, _Task]] = []
        with self._lock:
            while self._waiting and (worker := self._free_for(self._waiting[0])) is not None:
                task = self._waiting.popleft()
                if task.lost or task.future.set_running_or_notify_cancel():
                    worker.tasks[task.number] = task
                    calls.append((worker, task))
            failed = self._grow()
        for worker, task in calls:
            worker.send(CALL + pickle.dumps((task.number, task.call)))
        for task in failed:
            self._fail(task, self._stopped)

    def _free_for(self, task: _Task) -> _Worker | None:
        free = [each for each in self._workers if each.takes(task, self._threads)]
        return min(free, key=lambda each: len(each.tasks), default=None)

    def _grow(self) -> list[_Task]:
        """Start the processes that the load asks for; gives the tasks that fail because none can be."""
        load = len(self._waiting) + sum(len(each.tasks) for each in self._workers)
        # One first: where a script lacks its guard, one traceback is enough.
        wanted = min(self._limit, load) if self._ever_ready else min(1, load)
        try:
            while self._stopped is None and len(self._workers) < wanted:
                self._start()
        except (OSError, RuntimeError) as error:  # no more processes, or threads
            self._failed_starts += 1
            if not self._workers:
                return self._give_up(f"No worker process can be started: {error}.")
        return []

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._threads), name="promptstream-worker")
        try:
            with _deaf_to_ctrl_c():
                process.start()
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = _Worker(process, ours)
        worker.reader = threading.Thread(target=self._read, args=(worker,), name="promptstream-worker", daemon=True)
        try:
            worker.reader.start()
        except RuntimeError:
            ours.close()  # which ends the process
            raise
        self._workers.append(worker)

    def _read(self, worker: _Worker) -> None:
        """Take what *worker* says until it is dead."""
        with suppress(EOFError, OSError):
            while True:
                message = worker.pipe.recv_bytes()
                if message == READY:
                    with self._lock:
                        worker.ready = self._ever_ready = True
                        self._failed_starts = 0
                else:
                    self._take(worker, message)
                self._go_on()
        self._lose(worker, worker.end())

    def _take(self, worker: _Worker, message: bytes) -> None:
        number, outcome = pickle.loads(message)  # noqa: S301  # from our own worker
        with self._lock:
            task = worker.tasks.pop(number)
        try:
            good, value = pickle.loads(outcome)  # noqa: S301
        except Exception as error:
            good, value = False, ConfigError(f"What this row gave cannot be read in this process: {error}")
        if good:
            task.future.set_result(value)
        else:
            task.future.set_exception(value)

    def _lose(self, worker: _Worker, exit_code: int | None) -> None:
        """Have the rows of a dead process run again, but for those that saw too many die."""
        how = f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
        failed: list[_Task] = []
        with self._lock:
            self._workers.remove(worker)
            lost = sorted(worker.tasks.values(), key=lambda each: each.number)
            if self._stopped is None and not worker.ready:
                self._failed_starts += 1
                if not (self._ever_ready or how.startswith("signal")):
                    failed = self._give_up(f"The worker processes do not start ({how}); see what they say. {GUARD}")
                elif self._failed_starts >= STARTS:
                    failed = self._give_up(
                        f"{STARTS} worker processes died before they could begin, the last by {how}."
                    )
            for task in lost:
                task.lost += 1
            if self._stopped is None:
                self._waiting.extendleft(task for task in reversed(lost) if task.lost <= AGAIN)
                lost = [task for task in lost if task.lost > AGAIN]
        worker.pipe.close()
        worker.process.close()
        for task in failed:
            self._fail(task, self._stopped)
        for task in lost:
            self._fail(task, self._stopped or _lost(task, how))
        self._go_on()

    def _give_up(self, why: str) -> list[_Task]:
        self._stopped = JobFailed(ConfigError(why))
        failed = list(self._waiting)
        self._waiting.clear()
        return failed

    def _fail(self, task: _Task, error: Exception | None) -> None:
        if task.future.running() or task.future.set_running_or_notify_cancel():
            task.future.set_exception(error)


def _lost(task: _Task, how: str) -> WorkerLost:
    told = f"Each of the {task.lost} worker processes that ran this row died, the last by {how}."
    hint = " Signal 9 is most often the system's, out of memory." if how == "signal 9" else ""
    return WorkerLost(told + hint, phase="worker", attempts=task.lost)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let a process started meanwhile not hear Ctrl-C before it can ignore it by itself; the mask is inherited."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starts with the first process, and would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
