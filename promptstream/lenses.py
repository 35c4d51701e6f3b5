"""A conversation's ledger in, what anyone may read of it out."""

from __future__ import annotations

from collections.abc import MutableMapping
from decimal import Decimal
from typing import Any

from promptstream.ledger import Ledger
from promptstream.values.message import Message, ToolCall
from promptstream.values.response import Response
from promptstream.values.usage import Usage


class Lenses:
    """Let a conversation's history and figures be read. Any thread may."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @property
    def pending(self) -> tuple[ToolCall, ...]:
        """The tool calls that wait for a decision."""
        return self._ledger.pending.waiting

    @property
    def client_side(self) -> frozenset[str]:
        """The ids of pending calls that never had code: the application runs them, and submits what they gave."""
        return frozenset(held.call.id for held in self._ledger.pending if held.client_side)

    @property
    def resumable(self) -> bool:
        """True where :meth:`resume` can go on: all calls are decided, or the last turn failed between its rounds."""
        return self._ledger.unanswered and not self.pending

    @property
    def id(self) -> str:
        """What a store keeps the conversation under."""
        return self._ledger.id

    @property
    def last(self) -> Response | None:
        """The answer of the last turn, whole or not; a turn stopped before anything came does not count."""
        return self._ledger.last

    @property
    def usage(self) -> Usage:
        """The tokens of all turns so far; unknown as soon as those of one turn are."""
        return self._ledger.usage

    @property
    def cost(self) -> Decimal | None:
        """USD of all turns so far, under the same rule."""
        return self._ledger.cost

    @property
    def metadata(self) -> MutableMapping[str, Any]:
        """What the application wants kept with the history: JSON values, saved with the next turn or close."""
        return self._ledger.metadata

    @property
    def messages(self) -> list[Message]:
        """A copy of the history, without the system prompt."""
        return list(self._ledger.messages)
