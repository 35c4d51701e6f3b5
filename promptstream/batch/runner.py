"""Rows in, read as there is room for them, their results out: what runs a batch in its consumer's thread."""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack
from operator import length_hint
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.batch.job import JobFailed, bare
from promptstream.batch.result import Result
from promptstream.batch.run import Run
from promptstream.errors import (
    Authentication,
    BudgetExceeded,
    Cancelled,
    ConnectFailed,
    DeadlineExceeded,
    PromptStreamError,
    QuotaExceeded,
)
from promptstream.progress import Count
from promptstream.wire.watch import EVENT_POLL, UNWIND, CancelToken, Deadline

if TYPE_CHECKING:
    from promptstream.batch.output import Output

_OF_ALL = (Authentication, QuotaExceeded)
"""Errors of the key and the account: the other rows would fail alike, and are for a later run."""
AHEAD = 4
"""Rows that are read and not handed out, for each that may be on its way: a slow one holds up those behind it."""
AGAIN = 4
"""How often a row goes out again that its provider had no room for, after its own retries and a pause of all."""
_LOOK = 1.0
"""Seconds between two looks at nothing: on Windows, Ctrl-C is seen only between two waits."""
_LATE = 2.0
"""Seconds by which the clock of a row far away may stop it after the batch's own would have."""


@attrs.define(eq=False)
class _Slot:
    """Hold a row that was read, and its result once there is one."""

    index: int
    row: Mapping[str, Any]
    result: Result | None = None
    refusals: int = 0
    """How often its provider had no room for it; it goes out again."""
    attempts: int = 0
    """Requests of those times."""


def results(run: Run) -> Generator[Result, None, None]:
    """Yield the results of a batch. The generator never refers to the Batch, so that leaving its loop closes it."""
    run.tally.begin()
    try:
        with ExitStack() as stack:
            if run.watcher is not None:
                stack.enter_context(run.watcher)
            yield from _handed_out(run, _Pump.opened(run, stack))
            if run.watcher is not None:
                run.watcher.end(_count(run, run.tally.rows, True))
    except GeneratorExit:
        run.error = Cancelled("The batch ended early: its loop was left.", phase="loop")
        raise
    except BaseException as error:
        ended = PromptStreamError(f"The batch ended early: {error!r}")
        run.error = copy.copy(error) if isinstance(error, PromptStreamError) else ended
        raise
    finally:
        run.over = True
        run.tally.end()
        run.close()


def _handed_out(run: Run, pump: _Pump) -> Iterator[Result]:
    try:
        while True:
            pump.collect()
            pump.fill()
            result = pump.take()
            if result is not None:
                yield result
            elif pump.is_drained():
                return
            else:
                pump.wait()
    except (KeyboardInterrupt, SystemExit, PromptStreamError) as error:  # what a handler of SIGTERM raises, too
        pump.halt(str(error) if isinstance(error, PromptStreamError) else "the program was stopped")
        while (result := pump.take(finished=True)) is not None:
            yield result
        raise
    finally:
        pump.deaf = True
        pump.halt("its loop was left")
        pump.let_go()


class _Pump:
    """Send rows out, and take in what comes back. For the thread that runs the generator alone."""

    def __init__(self, run: Run, output: Output | None) -> None:
        self._run, self._lent, self._output = run, run.lent, output
        self._rows: Iterator[Any] | None = iter(run.rows)
        self._count = 0
        """Rows that were read."""
        self._refused: deque[_Slot] = deque()
        """Those that are to go out again."""
        self._held: _Slot | None = None
        """One that the rates do not let go yet."""
        self._again = 0.0
        """When they may."""
        self._flying: dict[Future[Result], _Slot] = {}
        self._line: deque[_Slot] = deque()
        """What is to be handed out, in that order; in order of the rows also those that have no result yet."""
        self._done: SimpleQueue[Future[Result] | None] = SimpleQueue()
        self._deadline = Deadline(run.deadline)
        self._until = None if run.lent.local or run.deadline is None else time.time() + run.deadline + _LATE
        self._token = run.stop if run.lent.local else None
        self._failed: Exception | None = None
        """What reading the rows has raised; it is raised once those before it are handed out."""
        self._dropped = False
        """True once a row was stopped by the end of the batch."""
        self._halted = False
        self.deaf = False
        """True where on_result is not called any more: it failed, or nobody is given what it would be told of."""
        self._watched = [run.stop.on_cancel(lambda done=self._done: done.put(None))]  # type: ignore[misc]
        if isinstance(token := run.cancel, CancelToken):
            self._watched.append(token.on_cancel(lambda: run.stop.cancel(token.reason)))
        self._event = run.cancel if isinstance(run.cancel, Event) else None

    @classmethod
    def opened(cls, run: Run, stack: ExitStack) -> _Pump:
        """Open what a batch needs; *stack* closes it."""
        from promptstream.batch.output import Output

        if run.watcher is not None:
            total = length_hint(run.rows, -1)
            run.watcher.begin(lambda: _count(run, total))
        output = None if run.out is None else stack.enter_context(Output(run.out, run.retry_failed))
        return cls(run, output)

    # Rows out

    def fill(self) -> None:
        """Read and send rows while there is room.

        Raises:
            Cancelled, DeadlineExceeded, BudgetExceeded: the batch is to end.
        """
        while True:
            if self._flying or self._held is not None or self._dropped:
                self.check()
            if self._held is None and self._refused:
                self._held = self._refused.popleft()
            elif self._held is None and self._has_room:
                self._held = self._read()
            if self._held is None:
                return
            if not self._flying:
                self.check()
            room = self._has_room or (self._held.refusals and len(self._flying) < self._run.max_in_flight)
            if not room or self._must_wait(self._held):
                return
            slot, self._held = self._held, None
            self._send(slot)

    @property
    def _has_room(self) -> bool:
        flying, run = len(self._flying), self._run
        there = len(self._line) + (0 if run.ordered else flying)
        return flying < run.max_in_flight and there < AHEAD * run.max_in_flight

    def _read(self) -> _Slot | None:
        """Give the next row that has no result yet; None where there is none."""
        while self._rows is not None:
            try:
                given = next(self._rows)
            except StopIteration:
                self._rows = None
                return None
            except Exception as error:
                self._rows, self._failed = None, error
                return None
            row = given if isinstance(given, Mapping) else {"message": given}
            slot = _Slot(self._count, row)
            self._count += 1
            if self._output is None or not self._output.done(slot.index, row):
                return slot
            self._run.tally.skipped += 1
            self.check()
        return None

    def _must_wait(self, slot: _Slot) -> bool:
        run, now = self._run, monotonic()
        if now < self._again:
            return True
        seconds = run.rates.wait(run.job.tokens(slot.row), slot.index)
        self._again = now + seconds
        return seconds > 0

    def _send(self, slot: _Slot) -> None:
        if self._run.ordered and not slot.refusals:  # else it stands there already
            self._line.append(slot)
        future = self._lent.submit(self._run.job.run, slot.index, slot.row, self._until, self._token)
        self._flying[future] = slot
        future.add_done_callback(self._done.put)

    # Results in

    def wait(self) -> None:
        """Wait until something is back, or it is time for something else."""
        times = [_LOOK, self._deadline.remaining()]
        if self._held is not None:
            times.append(self._again - monotonic())
        if self._event is not None:
            times.append(EVENT_POLL)
        self._take_in(max(0.0, min(times)))

    def collect(self) -> None:
        """Take in what is back already."""
        while not self._done.empty():
            self._take_in(0.0)

    def _take_in(self, seconds: float) -> None:
        try:
            future = self._done.get(timeout=seconds)
        except Empty:
            return
        if future is not None:
            self._land(future)

    def _land(self, future: Future[Result]) -> None:
        """Take in what became of a row that is back.

        Raises:
            Authentication, QuotaExceeded, ConnectFailed: it says so of every row.
        """
        slot = self._flying.pop(future, None)
        if slot is None:  # an end has taken it in already
            return
        result = self._result(slot, future)
        if self._is_of_the_end(result):
            self._dropped = True
        elif result.error is not None and self._is_of_all(result.error):
            self._dropped = True
            if not self._halted:
                raise result.error
        elif slot.refusals < AGAIN and self._run.job.is_refused(result):
            slot.refusals += 1
            slot.attempts += result.attempts
            self._run.rates.learn(result)
            self._refused.append(slot)
        else:
            self._settle(slot, result)

    def _is_of_the_end(self, result: Result) -> bool:
        """Tell whether the end of the batch has stopped the row, which has no result then."""
        if isinstance(result.error, Cancelled):
            return self._run.stop.cancelled
        return isinstance(result.error, DeadlineExceeded) and self._until is not None and time.time() >= self._until

    def _is_of_all(self, error: PromptStreamError) -> bool:
        """Tell whether the other rows would fail alike; a provider that has answered one may be back for the next."""
        return isinstance(error, _OF_ALL) or (isinstance(error, ConnectFailed) and not self._run.tally.done)

    def _result(self, slot: _Slot, future: Future[Result]) -> Result:
        """Give what became of a row that *future* ran.

        Raises:
            PromptStreamError, TypeError, ValueError: no row can be run there, this one neither.
        """
        if future.cancelled():
            raised: BaseException | None = Cancelled("The row was cancelled by what was to run it.", phase="start")
        else:
            raised = future.exception()  # not raised: a tool's SystemExit would be taken for our own
        if raised is None:
            return future.result()
        if isinstance(raised, JobFailed):
            raise raised.error from None
        if not isinstance(raised, PromptStreamError):
            raised = PromptStreamError(f"The row could not be run: {raised!r}")
        return Result(slot.index, slot.row, error=bare(raised))

    def _settle(self, slot: _Slot, last: Result) -> None:
        """Write, count and tell the result of a row, the *last* of its tries, and put it where it is handed out."""
        run = self._run
        result = attrs.evolve(last, attempts=slot.attempts + last.attempts) if slot.refusals else last
        if self._output is not None:
            self._output.write(result)
        slot.result = result  # at once: Ctrl-C may strike, and what is written is to be handed out
        if not run.ordered:
            self._line.append(slot)
        run.tally.add(result)
        run.rates.learn(last)
        if run.on_result is not None and not self.deaf:
            self.deaf = True
            run.on_result(result)
            self.deaf = False
        if run.watcher is not None:
            run.watcher.look()

    def take(self, finished: bool = False) -> Result | None:
        """Give the result to hand out now, if there is one; all that are *finished* may overtake what is not."""
        line = self._line
        while line and (line[0].result is not None or finished):
            result = line.popleft().result
            if result is not None:
                return result
        return None

    # The end

    def is_drained(self) -> bool:
        """Tell whether every row was handed out; raises what reading the rows has raised."""
        if self._rows is not None or self._flying or self._held is not None or self._refused or self._line:
            return False
        if self._failed is not None:
            raise self._failed
        return True

    def check(self) -> None:
        """Make sure that another row may be sent.

        Raises:
            Cancelled, DeadlineExceeded, BudgetExceeded: the batch is to end.
        """
        run = self._run
        if self._event is not None and self._event.is_set():
            run.stop.cancel()
        if run.stop.cancelled:
            why = f": {run.stop.reason}" if run.stop.reason else ""
            raise Cancelled(f"The batch was cancelled{why}; {self._so_far}", phase="loop")
        if self._deadline.expired:
            limit = f"its deadline of {run.deadline:g} s"
            raise DeadlineExceeded(f"The batch took longer than {limit}; {self._so_far}", phase="loop")
        if run.budget and (excess := run.budget.excess(run.tally.spent, "batch")):
            raise BudgetExceeded(f"{excess}; {self._so_far}")

    @property
    def _so_far(self) -> str:
        rows = self._run.tally.rows
        return "1 row is done." if rows == 1 else f"{rows:,} rows are done."

    def halt(self, reason: str) -> None:
        """Cancel what is on its way, once, and take in for a moment what was finished all the same."""
        if self._halted:
            return
        self._halted, self._rows, self._held = True, None, None
        self._refused.clear()
        if not self._flying:
            return
        self._run.stop.cancel(reason)
        for future in list(self._flying):
            future.cancel()
        self._lent.cancel_running(reason)
        for future in wait(list(self._flying), UNWIND).done:
            self._land(future)

    def let_go(self) -> None:
        """Take what listens to tokens off them."""
        for forget in self._watched:
            forget()


def _count(run: Run, total: int, done: bool = False) -> Count:
    tally = run.tally
    known = None if total < 0 else total
    return Count(tally.rows + tally.skipped, known, "", tally.seconds, done)
