"""Functions in, run out: by threads that stay a while for the next one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

_IDLE = 10.0
"""Seconds that a thread waits for something to do."""


class Task:
    """Be a function that is to run, runs, or has run. Any thread may ask."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.run: Callable[[], object] | None = run
        self.thread = 0
        """The number of the thread that runs it."""
        self._ended = threading.Lock()
        self._ended.acquire()

    @property
    def running(self) -> bool:
        """True until it has ended."""
        return self._ended.locked()

    def wait(self, seconds: float = -1) -> None:
        """Wait for its end, or that many seconds; its own thread does not."""
        if self.thread != threading.get_ident() and self._ended.acquire(timeout=seconds):
            self._ended.release()

    def do(self) -> None:
        """Run it, in the thread that calls this."""
        run, self.run, self.thread = self.run, None, threading.get_ident()
        assert run is not None
        try:
            run()
        finally:
            del run
            self.thread = 0
            self._ended.release()


class Hands:
    """Run functions at once, each in a thread of its own for as long as it runs. Any thread may ask for it.

    To begin a thread costs several times what it costs to give one that waits something to do.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle = 0
        """Threads that wait, for each of which no task lies in the queue yet."""
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._closed = False

    def do(self, task: Task) -> None:
        """Have *task* run; what it raises is told as that of any thread is.

        Raises:
            RuntimeError: the system has no thread left.
        """
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._tasks.put(task)
                return
        threading.Thread(target=self._work, args=(task,), name=self._name, daemon=True).start()

    def close(self) -> None:
        """Let the threads go that wait, and the others when they are done."""
        with self._lock:
            self._closed = True
            for _ in range(self._idle):
                self._tasks.put(None)
            self._idle = 0

    def _work(self, first: Task) -> None:
        task: Task | None = first
        del first
        while task is not None:
            try:
                task.do()
            except Exception:
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            task = None
            with self._lock:
                if self._closed:
                    return
                self._idle += 1
            task = self._next()

    def _next(self) -> Task | None:
        try:
            return self._tasks.get(timeout=_IDLE)
        except Empty:
            with self._lock:
                try:
                    return self._tasks.get_nowait()  # it came just now
                except Empty:
                    self._idle -= 1
                    return None
