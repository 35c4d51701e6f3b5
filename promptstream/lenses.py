"""A conversation's ledger in, what anyone may read of it out."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from decimal import Decimal
from typing import Any

from promptstream.ledger import Ledger
from promptstream.values.budget import Spent
from promptstream.values.message import Message, ToolCall, ToolResult
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
    def interrupted(self) -> tuple[ToolResult, ...]:
        """Those results of the last round that stand for a tool that was stopped, or whose end nobody knows.

        The model reads in them what became of it.
        """
        ledger = self._ledger
        given = [part for part in ledger.messages[-1].parts if isinstance(part, ToolResult)] if ledger.messages else []
        given += [held.result for held in ledger.pending if held.result is not None]
        return tuple(result for result in given if result.error and result.content.startswith("interrupted: "))

    @property
    def resumable(self) -> bool:
        """True where :meth:`resume` can go on: all calls are decided, or the last turn failed between its rounds."""
        return self._ledger.unanswered and not self.pending

    @property
    def origin(self) -> Mapping[str, Any]:
        """What it was opened on: ``pack`` and ``prompt``, or ``system``."""
        return dict(self._ledger.origin)

    @property
    def kept(self) -> bool:
        """True where a store keeps it."""
        return self._ledger.stored

    @property
    def decided(self) -> bool:
        """True where calls were pending and every one is decided: only :meth:`resume` goes on from there."""
        return bool(self._ledger.pending) and not self.pending

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
    def spent(self) -> Spent:
        """What counts against a budget: estimated where there is one, else as far as it was told."""
        return self._ledger.spent

    @property
    def metadata(self) -> MutableMapping[str, Any]:
        """What the application wants kept with the history: JSON values, saved with the next turn or close."""
        return self._ledger.metadata

    @property
    def messages(self) -> list[Message]:
        """A copy of the history, without the system prompt."""
        return list(self._ledger.messages)

    def _repr_html_(self) -> str:
        from promptstream.values import display

        return display.of_conversation(repr(self), self.messages, last=self.last, usage=self.usage, cost=self.cost)
