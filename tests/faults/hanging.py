"""The faults of tools that take long, row 59: the turn's clock, a cancel and Ctrl-C reach those that look."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import attrs
from faults.benches import ANSWERED, BOTH, CALLED, Bench, Says, goes_on, played
from faults.checks import LATE
from faults.core import ANY, Fault, Outcome, Scene
from faults.says import good
from faults.stopped import PROMISED, SOON

from promptstream import Timeout, ToolContext
from promptstream.errors import Cancelled, DeadlineExceeded

TOTAL = 0.1
"""Seconds that a turn may take here, of which the request takes its part."""


def _heedless(bench: Bench, context: ToolContext) -> str:
    while context.remaining():
        time.sleep(0.01)
    time.sleep(0.05)
    return "late"


def _waiting(bench: Bench, context: ToolContext) -> str:
    assert context.wait(10), "it waited to its end"
    return "stopped"


def _checking(bench: Bench, context: ToolContext) -> str:
    while True:
        context.check()
        context.wait(10)


def _working(bench: Bench, context: ToolContext) -> str:
    context.wait(TOTAL + 0.02)
    return str(context.remaining() > 100)


class Stopping:
    """Read a stream, and have another thread do *act* once all of the round's tools run."""

    def __init__(self, bench: Bench, runs: int, act: Callable[[Scene, Bench], object]) -> None:
        self.bench = bench
        self.runs = runs
        self.act = act
        self.acted = 0.0
        self.took = 0.0
        """Seconds from there to the stream's end."""

    def _watch(self, scene: Scene) -> None:
        if all(self.bench.begun.acquire(timeout=5) for _ in range(self.runs)):
            # A signal just before a blocking call of Python's is seen after it; so that they wait by then.
            time.sleep(SOON)
            self.acted = time.monotonic()
            self.act(scene, self.bench)

    def drive(self, scene: Scene) -> None:
        """Read to the end, however it comes."""
        assert scene.stream is not None
        other = threading.Thread(target=self._watch, args=[scene])
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        other.start()
        try:
            for chunk in scene.stream:
                scene.chunks.append(chunk)
        finally:
            self.took = time.monotonic() - self.acted
            other.join()
            signal.signal(signal.SIGALRM, before)

    def check(self, scene: Scene, bench: Bench) -> None:
        """Tools that heed the turn end with it; the round stands."""
        grace = PROMISED + (0.05 if bench.event is not None else 0)  # an event is looked at every 50 ms
        assert self.took <= grace, f"{LATE}: {self.took:.3f} s after it was stopped"
        goes_on(scene, bench)


def _cancel(scene: Scene, bench: Bench) -> None:
    assert scene.stream is not None
    (scene.stream.cancel if bench.event is None else bench.event.set)()


def _interrupt(scene: Scene, bench: Bench) -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGALRM)


def _stopped(
    name: str, says: Says, runs: int, bench: Bench, act: Callable[[Scene, Bench], object], outcome: Outcome
) -> Fault:
    stopping = Stopping(bench, runs, act)
    return played(
        59,
        name,
        says,
        bench=bench,
        outcome=outcome,
        drive=stopping.drive,
        limit=SOON + PROMISED,
        ran=runs,
        kept=3,
        check=stopping.check,
    )


def _hanging() -> Iterator[Fault]:
    late = Outcome(DeadlineExceeded, text="", attempts=ANY)
    stopped = Outcome(Cancelled, text="", attempts=ANY, finish="cancelled")
    for says, ran, several in ((CALLED, 1, ""), (BOTH, 2, ", two at once")):
        yield played(
            59,
            f"a tool that takes longer than total, and does not look{several}",
            says,
            bench=Bench(_heedless, timeout=Timeout(total=TOTAL)),
            outcome=late,
            limit=TOTAL + 0.05,
            ran=ran,
            kept=3,
            check=goes_on,
        )
        for words, tool in {"waits": _waiting, "checks": _checking}.items():
            yield played(
                59,
                f"a tool that takes longer than total, and {words} in its context{several}",
                says,
                bench=Bench(tool, timeout=Timeout(total=TOTAL)),
                outcome=attrs.evolve(late, warns=""),
                limit=TOTAL,
                ran=ran,
                kept=3,
                check=goes_on,
            )
            for how, bench in {"cancel()": Bench(tool), "set() of its event": Bench(tool, by_event=True)}.items():
                name = f"{how} while a tool {words} in its context{several}"
                yield _stopped(name, says, ran, bench, _cancel, attrs.evolve(stopped, warns=""))
        name = f"Ctrl-C while a tool waits in its context{several}"
        yield _stopped(name, says, ran, Bench(_waiting), _interrupt, Outcome(KeyboardInterrupt, text="", attempts=ANY))
        yield played(
            59,
            f"a tool that takes longer than first and idle{several}",
            says,
            good,
            bench=Bench(_working, timeout=Timeout(first=TOTAL, idle=TOTAL)),
            outcome=ANSWERED,
            limit=TOTAL,
            told="True",
            ran=ran,
        )


FAULTS = (*_hanging(),)
