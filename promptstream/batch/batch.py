"""A pack, a prompt and rows in, a Batch that runs them in a plain ``for`` loop out."""

from __future__ import annotations

import copy
import os
import warnings
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from decimal import Decimal
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.bars import watcher_for
from promptstream.batch.job import Job
from promptstream.batch.result import Result
from promptstream.batch.run import Run
from promptstream.batch.runner import results
from promptstream.batch.summary import Summary
from promptstream.errors import Cancelled, ConfigError, MissingKey
from promptstream.settings import check_callable
from promptstream.values.budget import Budget
from promptstream.values.timing import LONGEST
from promptstream.wire.watch import CancelToken

if TYPE_CHECKING:
    from promptstream.packs.pack import Pack
    from promptstream.progress import Count


def map(
    pack: str | os.PathLike[str] | Mapping[str, Any] | Pack | None = None,
    prompt: str | None = None,
    rows: Iterable[Any] = (),
    *,
    system: str = "",
    executor: str | Executor | None = None,
    workers: int | None = None,
    max_in_flight: int = 16,
    ordered: bool = True,
    on_result: Callable[[Result], object] | None = None,
    out: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    rpm: float | None = None,
    tpm: float | None = None,
    budget: Budget | Decimal | float | str | None = None,
    deadline: float | None = None,
    cancel: CancelToken | Event | None = None,
    progress: bool | Callable[[Count], object] | None = None,
    **options: Any,
) -> Batch:
    """Give a Batch of the answers to *rows*, each in a conversation of its own. Checks all it can, and sends nothing.

    Args:
        pack: as :func:`promptstream.open` takes it; None for rows without a pack, with *system* as their prompt.
        prompt: which of the pack's.
        rows: any iterable, read as there is room: messages, or dicts of ``message``, ``variables``, ``attachments``
            and whatever else :meth:`Conversation.stream` takes. ``id`` and ``metadata`` are kept with the row.
        executor: where the rows run: "threads" (the default), "processes", "dask://HOST:PORT" for a scheduler of
            yours, or any ``concurrent.futures.Executor``.
        workers: how many processes, or threads, are made here; by default what *max_in_flight* and the machine ask.
        max_in_flight: how many rows may be on their way at once.
        ordered: give the results in the order of the rows; else as they come.
        on_result: is given each result once it is there, in the loop's thread, before the loop is. What it raises ends
            the batch.
        out: a JSONL file, to which each result is appended at once. Rows that it has a result of are not run again.
        retry_failed: run the rows again of which *out* has a failure.
        rpm: requests that may be begun in a minute. What a provider tells of its limits is kept to in any case.
        tpm: tokens of prompts and answers in a minute, the prompts' estimated.
        budget: what the batch may spend: tokens (an int), USD (a Decimal, a float or "$0.50"), or a Budget.
        deadline: seconds for the whole batch; ``timeout=`` is for each row.
        cancel: a CancelToken or threading.Event that stops it from any thread.
        progress: True for a bar, or a function that is given a :class:`~promptstream.progress.Count` now and then.
        options: all else that :func:`promptstream.open`, or :func:`promptstream.chat`, takes: provider, model, tools,
            middleware, timeout, retry, temperature and so on. Those that travel to other processes must pickle, and
            keys are never sent: they are read from the environment there.

    Raises:
        PackError, ConfigError: as :func:`promptstream.open`; or an option cannot be used here, or be sent elsewhere.
        TypeError, ValueError: an argument is of the wrong type, or out of range.
    """
    from promptstream.batch.executors import open_executor
    from promptstream.batch.rates import Rates

    spend = _budget(budget, options)
    prepared = partial(
        Run,
        job=_job(pack, prompt, system, options, spend),
        rows=_rows(rows),
        max_in_flight=_at_once(max_in_flight),
        ordered=ordered,
        on_result=check_callable("on_result", on_result),
        out=_path(out, retry_failed),
        retry_failed=retry_failed,
        rates=Rates(rpm=rpm, tpm=tpm),
        budget=spend,
        deadline=_seconds(deadline),
        cancel=_token(cancel),
        watcher=watcher_for(progress),
    )
    run = prepared(lent=open_executor(executor, max_in_flight, workers))
    try:
        _check_opens(run.job, run.lent.local, run.lent.local or executor == "processes")
    except BaseException:
        run.close()
        raise
    return Batch(run)


class Batch(Iterable[Result]):
    """Run rows in a ``for`` loop: a loop that ends normally had a result of every row.

    Nothing is sent before the first result is asked for, and a row is read only when there is room for it. A row that
    fails is a Result with its error. Leaving the loop, by break, return or an exception, cancels what is on its way.
    A context manager. One thread iterates; ``cancel`` and ``summary`` may be used from any.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loop: weakref.ref[Generator[Result, None, None]] | None = None

    def __iter__(self) -> Iterator[Result]:
        """Give the batch's generator, which the loop then owns.

        Raises, while iterating:
            Cancelled, DeadlineExceeded, BudgetExceeded: the batch ended before its rows did. All results that were
                there were given first.
            PromptStreamError: the rows cannot be run, or the output not be written.
        """
        run = self._run
        if run.over:
            if run.error is not None:
                raise copy.copy(run.error)
            return iter(())
        generator = self._loop() if self._loop else None
        if generator is None:
            generator = results(run)
            self._loop = weakref.ref(generator)
        return generator

    def run(self) -> Summary:
        """Run what is left of it, and give the figures; raises what a loop over it would."""
        for _ in self:
            pass
        return self.summary

    @property
    def summary(self) -> Summary:
        """The figures so far; ``str()`` of them is one line."""
        return self._run.tally.summary

    def cancel(self, reason: str = "") -> None:
        """Stop the batch: its loop ends with Cancelled, once what is done was given out. Any thread may call it."""
        self._run.stop.cancel(reason)

    def close(self) -> None:
        """End the batch, quietly; what is on its way is cancelled. The thread that iterates calls it; idempotent."""
        generator = self._loop() if self._loop else None
        if generator is not None:
            generator.close()
        run = self._run
        if not run.over:
            run.over, run.error = True, Cancelled("The batch was closed before its loop began.", phase="loop")
        run.close()

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        run, tally = self._run, self._run.tally
        state = "over" if run.over else "not started" if self._loop is None else "running"
        return f"<Batch {state}, {tally.done} done, {tally.failed} failed>"

    def __del__(self) -> None:
        run = getattr(self, "_run", None)
        if run is not None and self._loop is None and not run.over:
            run.close()
            warnings.warn(f"{self!r} was never iterated over: nothing was sent.", ResourceWarning, stacklevel=2)


def _job(pack: Any, prompt: str | None, system: str, options: Mapping[str, Any], budget: Budget) -> Job:
    for name in ("conversation_id", "on_error"):
        if name in options:
            why = "each row is a conversation of its own" if name == "conversation_id" else "a failed row is a Result"
            raise ConfigError(f"{name}= is not for a batch: {why}.")
    if pack is None and prompt is not None:
        raise ConfigError(f"prompt={prompt!r:.60} names a prompt of a pack: give the pack too.")
    if pack is not None and system:
        raise ConfigError("system= is for rows without a pack, whose prompt is the pack's.")
    if budget:
        options = {**options, "budget": budget}
    if pack is not None:
        from promptstream.packs.pack import load

        pack = load(pack, strict=bool(options.get("strict")))
    return Job(pack, prompt, system, options)


def _check_opens(job: Job, local: bool, here: bool) -> None:
    """Open the job, so that what is wrong with it is told before anything is sent.

    Raises:
        ConfigError: it cannot travel where it must; a key is missing, which those on other machines may have.
        PromptStreamError, TypeError, ValueError: as :func:`promptstream.open`.
    """
    if not local:
        job.check_travels()
    try:
        job.opened()
    except MissingKey:
        declared = getattr(getattr(job.pack, "provider", None), "name", None)
        if here or not isinstance(job.options.get("provider", declared), str):
            raise
        attrs.evolve(job, options={**job.options, "api_key": "elsewhere"}).open().close()


def _budget(given: Any, options: Mapping[str, Any]) -> Budget:
    truncate = options.get("truncate")
    budget = Budget.of(given, prompt=isinstance(truncate, str) or callable(truncate))
    return budget if truncate is not None or not isinstance(given, int) else attrs.evolve(budget, prompt=None)


def _rows(given: Any) -> Iterable[Any]:
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise TypeError(f"rows={given!r:.60}: give a list, or another iterable, of messages or dicts; also for one.")
    return given


def _at_once(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(f"max_in_flight={given!r:.60}: give a whole number.")
    if given < 1:
        raise ValueError(f"max_in_flight={given}: give a number from 1.")
    return given


def _path(given: Any, retry_failed: bool) -> Any:
    if given is None and retry_failed:
        raise ConfigError("retry_failed=True says what to do with the rows of out=, which is not given.")
    if not (given is None or isinstance(given, (str, os.PathLike))):
        raise TypeError(f"out={given!r:.60}: give the path of a JSONL file.")
    return given


def _seconds(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(f"deadline={given!r:.60}: give seconds.")
    if not 0 < given <= LONGEST:
        raise ValueError(f"deadline={given!r}: give seconds above 0.")
    return given


def _token(given: Any) -> CancelToken | Event | None:
    if not (given is None or isinstance(given, (CancelToken, Event))):
        raise TypeError(f"cancel={given!r:.60}: give a promptstream.CancelToken or a threading.Event.")
    return given
