"""A function that paints in, called again and again out, in a thread of its own and as often as a person can see."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from time import monotonic

EVERY = 0.08
"""Seconds from one look to the next, at least."""
PATIENCE = 5.0
"""Seconds to wait for a front end at the end."""


class Painter:
    """Call *paint* again and again in a thread of its own, from :meth:`start` until it is stopped.

    A paint that takes long comes less often, so that it takes a fifth of the time at most. One that raises is the
    last: whoever stops the painter paints once more, and sees what is raised then.
    """

    def __init__(self, paint: Callable[[], None]) -> None:
        self._paint = paint
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="promptstream-painter", daemon=True
        )

    def _run(self) -> None:
        pause = EVERY
        while not self._stopped.wait(pause):
            began = monotonic()
            try:
                self._paint()
            except Exception:  # raised again by the last paint, where it was not a passing trouble
                return
            pause = max(EVERY, 4 * (monotonic() - began))

    def start(self) -> None:
        """Begin, with the first paint a moment from now."""
        self._thread.start()

    def stop(self) -> None:
        """Let no further paint begin, and wait for the one that runs. Idempotent; any thread may call it."""
        self._stopped.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)
