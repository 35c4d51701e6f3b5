"""What a batch goes by in, and how it went out: what its loop, its runner and its summary share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Event
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.bars import Watcher
from promptstream.batch.job import Job
from promptstream.batch.result import Result
from promptstream.batch.summary import Tally
from promptstream.errors import PromptStreamError
from promptstream.values.budget import Budget
from promptstream.wire.watch import CancelToken

if TYPE_CHECKING:
    from promptstream.batch.executors import Lent
    from promptstream.batch.rates import Rates


@attrs.define(eq=False)
class Run:
    """Hold what a batch goes by, and how it went."""

    job: Job
    rows: Iterable[Any]
    lent: Lent
    max_in_flight: int
    ordered: bool
    on_result: Callable[[Result], object] | None
    out: Any
    retry_failed: bool
    rates: Rates
    budget: Budget
    deadline: float | None
    cancel: CancelToken | Event | None
    watcher: Watcher | None
    stop: CancelToken = attrs.field(factory=CancelToken)
    """Cancelled once the batch is to end before its rows do."""
    tally: Tally = attrs.field(factory=Tally)
    over: bool = False
    error: PromptStreamError | None = None
    """Why it ended early, for whoever iterates again."""

    def close(self) -> None:
        """Close what was opened for it."""
        try:
            self.lent.close()
        finally:
            self.job.close()
