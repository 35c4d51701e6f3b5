"""The faults of being stopped, rows 63, 64 and 69: Ctrl-C, a signal, a cancel by another thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from dialects import TEXT as WHOLE
from dialects import Dialect
from faults.checks import LATE
from faults.core import ANY, Fault, Outcome, Scene
from faults.payload import IGNORED
from faults.process import Left, is_cancelled
from faults.says import PART, begun, good, hold, then

import promptstream
from promptstream.errors import Cancelled

PROMISED = 0.1
"""Seconds in which a cancel or Ctrl-C takes effect."""
SOON = 0.04
"""Seconds after which the one who stops it does."""
STOPPED = Outcome(Cancelled, text=PART, phase="body", retryable=False, finish="cancelled")


@contextmanager
def alarm(handler: Any) -> Iterator[None]:
    """Have *handler* called in the main thread, soon, while it reads."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, SOON)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _read(scene: Scene) -> None:
    assert scene.stream is not None
    for chunk in scene.stream:
        scene.chunks.append(chunk)


def signalled(handler: Any) -> Callable[[Scene], None]:
    """Make a drive that reads while a signal calls *handler*."""

    def drive(scene: Scene) -> None:
        with alarm(handler):
            _read(scene)

    return drive


def _raise(number: int, frame: object) -> None:
    raise Left


def cancelling(cancel: Callable[[Scene], object]) -> Callable[[Scene], None]:
    """Make a drive that reads while another thread cancels, twice."""

    def twice(scene: Scene) -> None:
        cancel(scene)
        cancel(scene)

    def drive(scene: Scene) -> None:
        timer = threading.Timer(SOON, twice, [scene])
        timer.start()
        try:
            _read(scene)
        finally:
            timer.join()

    return drive


def _in_time(scene: Scene) -> None:
    over = scene.seconds - scene.fault.limit
    assert over <= PROMISED, f"{LATE}: {over:.3f} s after it was stopped"


def _in_time_and_cancelled(scene: Scene) -> None:
    _in_time(scene)
    is_cancelled(scene)


def _cancelled_late(scene: Scene) -> None:
    """Read a whole answer, and cancel it while the next one is on its connection."""
    assert scene.stream is not None
    assert scene.provider is not None
    assert scene.server is not None
    _read(scene)
    running = scene.dialect.stream(scene.provider)
    for chunk in running:
        if chunk.text:
            scene.stream.cancel()
            scene.stream.close()
    assert running.result().text == WHOLE
    assert len(scene.server.connections) == 1, "the connection was not used again"


def _stopped(name: str, make: Callable[[], Any] | None, place: str) -> Fault:
    """Give the fault of a stream that is stopped by a token of *make*, or by its own cancel(), at *place*."""
    given: list[Any] = []

    def ask(dialect: Dialect, provider: Any) -> Any:
        if make is None:
            return dialect.stream(provider)
        given.append(make())
        return dialect.stream(provider, cancel=given[-1])

    def cancel(scene: Scene) -> None:
        token = given[-1] if given else scene.stream
        (token.set if isinstance(token, threading.Event) else token.cancel)()

    in_body = place == "body"
    return Fault(
        64,
        f"{name}, from another thread, twice, in the {place}",
        step=lambda dialect: then(begun(dialect), hold) if in_body else then(hold),
        ask=ask,
        drive=cancelling(cancel),
        # An event is looked at every 50 ms.
        limit=SOON + (0.05 if make is threading.Event else 0),
        outcome=STOPPED if in_body else attrs.evolve(STOPPED, text="", phase="headers"),
        also=_in_time,
        secure=make is None,
    )


def _knows_of_it(scene: Scene) -> None:
    assert scene.stream is not None
    assert not scene.stream.response.complete, "whole"
    assert scene.stream.response.text == PART


FAULTS = (
    Fault(
        63,
        "Ctrl-C while the body is read",
        step=lambda dialect: then(begun(dialect), hold),
        drive=signalled(signal.default_int_handler),
        limit=SOON,
        outcome=Outcome(KeyboardInterrupt, text=PART, attempts=ANY),
        also=_in_time_and_cancelled,
        secure=True,
    ),
    Fault(
        63,
        "Ctrl-C before the headers",
        step=lambda dialect: then(hold),
        drive=signalled(signal.default_int_handler),
        limit=SOON,
        outcome=Outcome(KeyboardInterrupt, text="", attempts=ANY),
        also=_in_time_and_cancelled,
    ),
    *(
        _stopped(name, make, place)
        for name, make in {
            "cancel() of the stream": None,
            "cancel() of its token": promptstream.CancelToken,
            "set() of its event": threading.Event,
        }.items()
        for place in ("headers", "body")
    ),
    Fault(
        64,
        "a late cancel, while another turn is on the connection",
        step=good,
        drive=_cancelled_late,
        outcome=attrs.evolve(IGNORED, text=WHOLE, requests=2),
    ),
    Fault(
        69,
        "a signal handler that raises while the body is read",
        step=lambda dialect: then(begun(dialect), hold),
        drive=signalled(_raise),
        limit=SOON,
        outcome=Outcome(Left, text=PART, attempts=ANY),
        also=_knows_of_it,
    ),
)
