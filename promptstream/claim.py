"""Turns that want a conversation in, one at a time out."""

from __future__ import annotations

import threading

from promptstream.errors import ConversationBusy, ConversationClosed
from promptstream.wire.watch import UNWIND, Watch


class Claim:
    """Let one turn at a time have a conversation (design, promise 13). Any thread may call it."""

    def __init__(self) -> None:
        # Taken by itself: a Ctrl-C in the middle of a Condition's own entrance would leave it locked.
        self.lock = threading.RLock()
        self._turn_over = threading.Condition(self.lock)
        self.running: Watch | None = None
        """What guards the turn that has it."""
        self.closed = False
        """True once no turn can have it any more."""
        self._thread: int | None = None

    def check(self) -> None:
        """Make sure that a turn could have it, or could once a cancelled one has ended.

        Raises:
            ConversationClosed, ConversationBusy: it could not.
        """
        if self.closed:
            raise ConversationClosed("The conversation is closed; open another.")
        if self.running is not None and not self.running.cancelled:
            raise ConversationBusy("Another turn of this conversation is running; end it first, or use fork().")

    def take(self, watch: Watch) -> None:
        """Let the turn that *watch* guards have it.

        Raises:
            ConversationClosed, ConversationBusy: it cannot.
        """
        with self.lock:
            self.settle()
            self.running, self._thread = watch, threading.get_ident()

    def settle(self) -> None:
        """Wait a moment for a cancelled turn that still unwinds in another thread, and check that none runs.

        Raises:
            ConversationClosed, ConversationBusy: as :meth:`check`, and where that turn does not end.
        """
        with self.lock:
            if self.running is not None and self.running.cancelled and not self._ended(self.running):
                raise ConversationBusy("The cancelled turn before this one has not ended yet.")
            self.check()

    def _ended(self, running: Watch) -> bool:
        self._turn_over.wait_for(lambda: self.running is not running, UNWIND)
        return self.running is not running

    def release(self) -> None:
        """Let the next turn have it."""
        with self.lock:
            self.running = None
            self._turn_over.notify_all()

    def cancel(self, reason: str = "") -> None:
        """Stop the turn that has it, if one does."""
        if (running := self.running) is not None:
            running.cancel(reason)

    def close(self, *, wait: bool) -> None:
        """Stop the turn that has it and let no other one have it; *wait* a moment for its end."""
        self.closed = True
        self.cancel("the conversation was closed")
        with self.lock:
            if wait and self.running is not None and self._thread != threading.get_ident():
                self._ended(self.running)
