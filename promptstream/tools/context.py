"""A running turn in, what a tool of it may ask and wait for out."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import attrs

from promptstream.values.message import ToolCall

if TYPE_CHECKING:
    from promptstream.wire.watch import CancelToken, Deadline


@attrs.frozen(eq=False)
class ToolContext:
    """Tell a tool about the turn that runs it.

    A tool gets it by a parameter of this type, of any name, which the model does not see. Any thread may use it.
    """

    call: ToolCall
    """The call that is answered."""
    cancel: CancelToken | None = attrs.field(default=None, kw_only=True)
    """The turn's token; its ``on_cancel`` calls back at once."""
    deadline: Deadline | None = attrs.field(default=None, kw_only=True)
    """The turn's total deadline."""
    conversation_id: str | None = attrs.field(default=None, kw_only=True)

    @property
    def cancelled(self) -> bool:
        """True once the user wants no more of the turn."""
        return self.cancel is not None and self.cancel.cancelled

    def remaining(self) -> float:
        """Give the seconds that the turn has left, never below 0; infinite where there is no limit."""
        return inf if self.deadline is None else self.deadline.remaining()

    def check(self) -> None:
        """Raise if the turn is to end: a tool that takes long calls this between its steps.

        Raises:
            Cancelled: the user wants no more.
            DeadlineExceeded: the turn's time is over.
        """
        from promptstream.errors import Cancelled, DeadlineExceeded

        if self.cancel is not None and self.cancel.cancelled:
            reason = f": {self.cancel.reason}" if self.cancel.reason else ""
            raise Cancelled(f"The stream was cancelled while {self.call.name} ran{reason}.", phase="tool")
        if self.remaining() <= 0:
            raise DeadlineExceeded(f"The turn's time ran out while {self.call.name} ran (timeout).", phase="tool")

    def wait(self, seconds: float) -> bool:
        """Sleep *seconds*, and at most until the turn is to end; tell whether it is, as ``Event.wait`` does."""
        from promptstream.wire.waker import Waker

        waker = Waker()
        forget = self.cancel.on_cancel(waker.set) if self.cancel is not None else None
        longest = max(0.0, min(seconds, self.remaining()))
        try:
            waker.wait(None if longest == inf else longest)
        finally:
            if forget is not None:
                forget()
        return self.cancelled or self.remaining() <= 0
