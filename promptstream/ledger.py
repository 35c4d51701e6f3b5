"""What turns commit in, a conversation's history and figures out; kept in a store where there is one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from promptstream import runner
from promptstream.answer import Answer, Outcome
from promptstream.errors import ConfigError, ConversationBusy, StateError, StoreCorrupt
from promptstream.history import common, marked, partial, same, tool_message
from promptstream.tools.approval import Pending
from promptstream.values.budget import Spent
from promptstream.values.message import Message, ToolResult
from promptstream.values.response import Response
from promptstream.values.usage import Usage

if TYPE_CHECKING:
    from promptstream.state.store import Kept, Store
    from promptstream.truncation import Summary

FORMAT = 1
"""Of the state beside the messages; a later one is refused, and left as it is."""


class Ledger:
    """Keep the history, and what belongs to it, of one conversation.

    The thread that runs a turn writes; any thread may read. With a store, what a turn commits is there before the
    turn's ending is handed out, and each round before its tools run and after.
    """

    def __init__(
        self,
        id: str,
        *,
        messages: Iterable[Message] = (),
        store: Store | None = None,
        owns_store: bool = False,
        keep_partial: bool = True,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.id = id
        self.messages: list[Message] = list(messages)
        self.pending = Pending()
        self.last: Response | None = None
        self.usage = Usage(0, 0, 0, 0, 0)
        self.cost: Decimal | None = Decimal(0)
        self.spent = Spent()
        """What counts against a budget: estimated where there is one, else as far as it was told."""
        self.summary: Summary | None = None
        self.metadata: dict[str, Any] = {}
        self.lost = False
        """True once a stopped answer that was only here had to give way to what another process wrote."""
        self.origin = dict(origin or {})
        """The pack and prompt, or the system prompt, that it was opened on."""
        self.keep_partial = keep_partial
        self._store, self._owns_store = store, owns_store
        self._revision = 0
        self._stored: list[Message] = []
        """The messages that the store holds, as far as we know."""
        self._runner: dict[str, Any] | None = None
        """Who runs the calls that the store has as running: this turn, or whoever wrote it."""
        self._saved: tuple[Any, ...] | None = None
        """What was saved last, to be compared with what there is."""

    # The store

    def open(self) -> None:
        """Take over what the store keeps under this id.

        Raises:
            ConfigError: a history was given besides.
            StateError, StoreCorrupt: the store cannot be read.
        """
        given = bool(self.messages)
        self._load()
        self.lost = False
        if given and self._revision:
            raise ConfigError(
                f"The store keeps a conversation {self.id!r:.80} already: give no messages=, or another id."
            )

    def refresh(self) -> None:
        """Take over what another process has written since; ``lost`` tells whether what was only here gave way.

        Raises:
            ConversationBusy: another process is running tools of this conversation, or goes on with it.
            StateError, StoreCorrupt: the store cannot be read.
        """
        self._load()
        self._wait_for_nobody()

    def _load(self) -> None:
        store = self._store
        if store is None or store.revision(self.id) == self._revision:
            return
        kept = store.load(self.id)
        if kept is None:  # deleted: what is here begins it anew
            self._revision, self._stored = 0, []
            return
        self.lost = self.lost or self._unsaved
        self._take(kept)

    def _wait_for_nobody(self) -> None:
        if self._runner is None:
            return
        if runner.at_it(self._runner):
            raise ConversationBusy("Tools of this conversation are being run elsewhere; try again once they are done.")
        self._runner = None
        self._recover()

    def _recover(self) -> None:
        """Answer the calls of whoever is gone: how they ended is not known, and none is run again."""
        if self.pending.runs:
            self.pending = self.pending.recovered()
            if all(each.result is not None for each in self.pending):
                self.settle([each.result for each in self.pending if each.result is not None])

    def flush(self) -> None:
        """Save what the store does not have yet.

        Raises:
            ConversationBusy: another process has written since, or is running tools.
            StateError, StoreCorrupt: the store cannot be written.
        """
        if self._unsaved:
            self._wait_for_nobody()
            self.write(self.messages, self.pending)

    @property
    def _unsaved(self) -> bool:
        if self._store is None:
            return False
        if self._saved is None:
            return bool(self.messages) or self.spent != Spent()  # what never had a turn leaves no trace
        return self._saved != self._beside(self.pending) or not same(self._stored, self.messages)

    def _beside(self, pending: Pending) -> tuple[Any, ...]:
        try:
            metadata = json.dumps(self.metadata, sort_keys=True) if self.metadata else "{}"
        except (TypeError, ValueError, RecursionError) as error:
            raise StateError(f"The conversation's metadata cannot be saved as JSON: {error}") from None
        return pending, self.usage, self.cost, self.spent, metadata, self.summary, self._runner, dict(self.origin)

    def claim(self, messages: Sequence[Message], pending: Pending, *, seconds: float | None = None) -> None:
        """Save *messages* and *pending* as :meth:`write` does, and that this turn has the calls from here on.

        Nobody else runs or answers them then, until the turn is committed, its process is gone, or *seconds* are over.
        """
        if self._store is not None:
            self.release()
            self._runner = runner.begin(seconds)
            self.write(messages, pending)

    def release(self) -> None:
        """Have no calls any more: what is saved next tells so."""
        runner.end(self._runner)
        self._runner = None

    def write(self, messages: Sequence[Message], pending: Pending) -> None:
        """Save *messages* and *pending*, which may be those of a turn in progress; does nothing without a store.

        Raises:
            ConversationBusy: another process has written since; nothing changed.
            StateError, StoreCorrupt: the store cannot be written; nothing changed.
        """
        if self._store is None:
            return
        kept, beside = common(self._stored, messages), self._beside(pending)
        state = {
            "format": FORMAT,
            "pending": pending.to_list(),
            "usage": self.usage.to_dict(),
            "cost": None if self.cost is None else str(self.cost),
            "spent": self.spent.to_dict(),
            "summary": None if self.summary is None else self.summary.to_dict(),
            "metadata": self.metadata,
            "origin": self.origin,
            "runner": self._runner,
        }
        self._revision = self._store.save(
            self.id, revision=self._revision, kept=kept, added=messages[kept:], state=state
        )
        self._stored, self._saved = list(messages), beside

    def _take(self, kept: Kept) -> None:
        state = kept.state
        if not isinstance(state.get("format"), int) or state["format"] > FORMAT:
            raise StoreCorrupt(
                f"The conversation {self.id!r:.80} was written by a newer version of promptstream (format "
                f"{state.get('format')!r:.20}); use that one. It was left as it is."
            )
        try:
            pending = Pending.from_list(state["pending"])
            usage = Usage.from_dict(state["usage"])
            cost = None if state["cost"] is None else Decimal(state["cost"])
            told = {"tokens": usage.total or 0, "usd": cost or 0}  # before there was a tally
            spent = Spent.from_dict(state.get("spent") or told)
            summary = None if state["summary"] is None else _summary(state["summary"])
            metadata = dict(state["metadata"])
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise StoreCorrupt(
                f"The state of conversation {self.id!r:.80} cannot be read ({type(error).__name__}: {error}); "
                "it was left as it is."
            ) from error
        self.messages, self.pending, self.last = list(kept.messages), pending, None
        self.usage, self.cost, self.spent, self.summary, self.metadata = usage, cost, spent, summary, metadata
        self._runner = state.get("runner")
        self._revision, self._stored, self._saved = kept.revision, list(kept.messages), self._beside(pending)
        if self._runner is not None and not runner.at_it(self._runner):
            self._runner = None
            self._recover()

    # What belongs to a turn

    def undo(self) -> list[Message]:
        """Take off the last turn, from the user's message on, and give its messages.

        Raises:
            ConversationBusy, StateError, StoreCorrupt: that cannot be saved; nothing is taken off.
        """
        self.refresh()
        starts = [number for number, message in enumerate(self.messages) if message.role == "user"]
        cut = starts[-1] if starts else len(self.messages)
        undone = self.messages[cut:]
        self.replace(self.messages[:cut])
        return undone

    def keep(self, id: str, store: Store, *, owns_store: bool) -> None:
        """Be kept in *store* as *id* from now on, with all there is.

        Raises:
            StateError: it is kept already, or something else is as *id*, or it cannot be saved; nothing changed.
        """
        if self._store is not None or store.revision(id):
            raise StateError(f"There is a conversation kept as {(self.id if self._store else id)!r:.80} already.")
        before, self.id, self._store = self.id, id, store
        try:
            if self.messages:
                self.write(self.messages, self.pending)
        except BaseException:
            self.id, self._store = before, None
            raise
        self._owns_store = owns_store

    def replace(self, left: list[Message]) -> None:
        """Have *left* for a history, and nothing that waits; raises as :meth:`undo`."""
        summary = self.summary
        if summary is not None and summary.upto > len(left):
            self.summary = None
        try:
            if self._revision or left:
                self.write(left, Pending())
        except BaseException:
            self.summary = summary
            raise
        self.messages, self.pending, self.last = left, Pending(), None

    def fork(self, id: str) -> Ledger:
        """Give another one that begins with the same history."""
        fork = Ledger(id, messages=self.messages, store=self._store, keep_partial=self.keep_partial, origin=self.origin)
        fork.last = None if self.last is None else attrs.evolve(self.last, pending=())
        fork.summary, fork.metadata, fork.spent = self.summary, dict(self.metadata), self.spent
        return fork

    @property
    def unanswered(self) -> bool:
        """True where the model has the word: calls are pending, or a message or results have no answer yet."""
        return bool(self.pending) or (bool(self.messages) and self.messages[-1].role != "assistant")

    def close(self) -> None:
        """Close the store, where it was made for this conversation."""
        if self._store is not None and self._owns_store:
            self._store.close()

    @property
    def stored(self) -> bool:
        """True where there is a store."""
        return self._store is not None

    def before_results(self) -> tuple[list[Message], list[ToolResult]]:
        """Give the history up to the last assistant's message, and the results that its calls have already."""
        if self.messages and self.messages[-1].role == "tool":
            given = [part for part in self.messages[-1].parts if isinstance(part, ToolResult)]
            return self.messages[:-1], given
        return list(self.messages), []

    def settle(self, results: Iterable[ToolResult]) -> None:
        """Answer what was pending by *results*, beside those that are there."""
        base, given = self.before_results()
        self.messages = [*base, tool_message(base[-1], [*given, *results])]
        self.pending = Pending()

    def reopen(self, call_id: str) -> None:
        """Let an approved call that nobody here can run be decided anew."""
        self.decide(self.pending.reopened(call_id))

    def decide(self, pending: Pending) -> None:
        """Take over *pending*, in which one call more is decided, and save it; edited calls change the history.

        Raises:
            ConversationBusy, StateError, StoreCorrupt: it cannot be saved; nothing is decided.
        """
        base, _ = self.before_results()
        calls = {held.call.id: held.call for held in pending}
        asked = base[-1]
        parts = tuple(calls.get(part.id, part) if part in asked.tool_calls else part for part in asked.parts)
        messages = list(self.messages)
        if parts != asked.parts:
            messages[len(base) - 1] = attrs.evolve(asked, parts=parts)
        self.write(messages, pending)
        self.messages, self.pending = messages, pending

    def commit(
        self,
        base: Sequence[Message],
        answer: Answer,
        response: Response,
        outcome: Outcome,
        *,
        ran: bool,
        pending: Pending,
        spent: Spent,
    ) -> None:
        """Take a turn that ended into the history that it began from, *base*, by the way it ended.

        Args:
            ran: a tool has run, or a decision was used up: the finished rounds stay whatever happened.
            pending: what waits from here on, where the turn was whole.
            spent: what the turn took of a budget.

        Raises:
            ConversationBusy, StateError, StoreCorrupt: it cannot be saved; it is in memory all the same, but for
                ConversationBusy: another process was first, and its history counts.
        """
        self.release()
        came = bool(response.message.parts or answer.messages)
        if came or outcome == "complete" or response.usage:
            self.spent += spent
            self.usage += response.usage
            self.cost = None if self.cost is None or response.cost is None else self.cost + response.cost
        if outcome == "cancelled" and not came:
            return
        self.last = response
        if outcome == "complete":
            self.messages, self.pending = [*base, *answer.history], pending
        else:
            self._keep_some(base, answer, response, outcome, ran)
        if self._store is not None and not answer.left:
            # A finaliser does no store I/O: what a stopped turn leaves is saved by the next one, or by close().
            self._save_turn()

    def _keep_some(
        self, base: Sequence[Message], answer: Answer, response: Response, outcome: Outcome, ran: bool
    ) -> None:
        stopped = outcome == "cancelled" and self.keep_partial
        kept = list(answer.messages) if ran or stopped else []
        if outcome == "failed" and kept and kept[-1].role == "assistant":
            kept.pop()  # a round of calls of which none was run; the model is asked anew
        begun = None if answer.ends_on_calls or not stopped else partial(response.message)
        if begun is not None and begun.parts:
            kept.append(begun)
        else:
            kept = marked(kept, outcome)
        if kept:
            self.messages, self.pending = [*base, *kept], Pending()

    def _save_turn(self) -> None:
        try:
            self.flush()
        except ConversationBusy:
            # Given up, for the other's history counts: the next turn takes it over.
            self._stored, self._saved = list(self.messages), self._beside(self.pending)
            raise


def _summary(data: Any) -> Summary:
    from promptstream.truncation import Summary

    return Summary.from_dict(data)
