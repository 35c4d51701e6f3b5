"""What one turn of a conversation is to do in, its steps out: requests, rounds of tools, and what is kept of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.answer import Answer, Outcome
from promptstream.errors import StateError, ToolError
from promptstream.history import answered, tool_message
from promptstream.ledger import Ledger
from promptstream.spending import Spending
from promptstream.tools.approval import Held, Pending
from promptstream.tools.loop import Job, Loop, results, unfinished
from promptstream.turn import Step
from promptstream.values.budget import Budget
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.message import Message, ToolCall, ToolResult
from promptstream.values.request import ChatRequest
from promptstream.values.response import Response
from promptstream.wire.watch import Watch

if TYPE_CHECKING:
    from promptstream.truncation import Truncation

MAX_PAUSES = 10
"""Requests one message takes where the provider pauses again and again."""
ANSWERING = 60.0
"""Seconds that a resumed turn keeps others from asking for the same answer, should its loop be left and not closed."""
_VOIDED = ("length", "content_filter", "refusal")
"""Reasons after which no call is run: the last of them may be cut, and looks whole (design, promise 9)."""


@attrs.define(eq=False)
class Rounds:
    """Hold what one turn of a conversation needs besides the wire."""

    ledger: Ledger
    watch: Watch
    request: ChatRequest
    """What is asked in every round, but for its messages."""
    loop: Loop
    said: Sequence[Message] = ()
    unenforced: Sequence[str] = ()
    """Rules of the pack that cannot be enforced, of which the first turn warns."""
    system: Callable[[], str] = str
    """What runs tools."""
    offers: bool = False
    """True where there are tools: else a call is the caller's own affair."""
    truncation: Truncation | None = None
    budget: Budget = attrs.field(factory=Budget)
    ask: Callable[[ChatRequest, Watch], Iterator[Chunk]] | None = None
    """What answers a request for a summary: as the turn's own are answered, middleware and all."""
    _base: list[Message] = attrs.field(init=False, factory=list)
    """The history that the turn adds to."""
    _spending: Spending = attrs.field(init=False)
    _pending: Pending = attrs.field(init=False, factory=Pending)
    """What waits once the turn is over."""

    def __attrs_post_init__(self) -> None:
        self._spending = Spending(self.budget)

    def steps(self, answer: Answer, resuming: bool) -> Iterator[Step]:
        """Give the turn's steps; the conversation is claimed by then.

        Raises:
            ApprovalPending: calls wait, which another process may have left.
            StateError: there is nothing left to answer; another turn has done it.
            PromptStreamError: the store cannot be read or written, or the prompt not be rendered.
        """
        self.ledger.refresh()
        self._spending.before = self.ledger.spent
        if self.ledger.last is None:
            answer.warnings += self.unenforced
        if self.ledger.lost:
            self.ledger.lost = False
            answer.warnings.append(
                "Another process has gone on with this conversation: its history counts, and a stopped answer "
                "that was only here is lost."
            )
        self.ledger.pending.check(resuming)
        if not self.said and not self.ledger.unanswered:
            raise StateError("There is nothing left to answer: another turn has done it since this one was asked for.")
        self.ledger.flush()
        system = self.system()
        return self._steps(answer, Message("system", system) if system else None)

    def _steps(self, answer: Answer, system: Message | None) -> Iterator[Step]:
        if self.ledger.pending:
            yield from self._settle(answer)
        else:
            self._base = [*self.ledger.messages, *self.said]
        pauses = 0
        begun: Message | None = None
        self._spending.check(answer)
        while True:
            yield self._asked(answer, system, begun)
            message = answer.message
            if answer.paused and pauses < MAX_PAUSES - 1:
                pauses, begun = pauses + 1, attrs.evolve(message, finish_reason=None)
                self._go_on(answer)
                continue
            pauses, begun = 0, None
            if not self.offers or not message.tool_calls or answer.finish_reason in _VOIDED:
                return
            yield from self._run(answer, message)
            if self._pending:
                answer.pending = self._pending.waiting
                return
            self._go_on(answer)

    def _go_on(self, answer: Answer) -> None:
        answer.price()
        self._spending.check(answer)
        answer.next_round()

    def _asked(self, answer: Answer, system: Message | None, begun: Message | None) -> ChatRequest:
        """Give the request of the next round; *begun* is the message that the provider paused in."""
        request = self.request
        messages = answered([*self._base, *answer.messages])
        if begun is not None:
            messages.append(begun)
        if self.truncation is not None:
            messages = self._fitted(answer, system, messages)
        if answer.messages:  # a tool has been called by now, as was required
            request = attrs.evolve(request, parameters=_free(request.parameters))
        request = attrs.evolve(request, messages=(*([system] if system else ()), *messages), round=answer.rounds)
        self._spending.asked(request)
        return request

    def _fitted(self, answer: Answer, system: Message | None, messages: list[Message]) -> list[Message]:
        assert self.truncation is not None
        fitted, self.ledger.summary = self.truncation.fit(
            system,
            messages,
            self.request.tools,
            summary=self.ledger.summary,
            summarise=lambda old, before: self._summarised(answer, old, before),
        )
        return list(fitted)

    def _summarised(self, answer: Answer, old: Sequence[Message], before: str) -> str:
        from promptstream.summary import summarise

        assert self.ask is not None
        assert self.truncation is not None
        return summarise(self.ask, self.request, self.watch, answer, old, before, self.truncation.budget // 8)

    def _settle(self, answer: Answer) -> Iterator[Chunk]:
        """Answer the calls that were pending: run what was approved, and hand out every result."""
        ledger = self.ledger
        self._base, given = ledger.before_results()
        jobs = [self._settled(held) for held in ledger.pending]
        runs = any(job.ready for job in jobs)
        ledger.claim(ledger.messages, ledger.pending.started(), seconds=None if runs else ANSWERING)
        yield from self._answered(answer, self._base[-1], jobs, given)

    def _settled(self, held: Held) -> Job:
        try:
            return self.loop.settled(held)
        except ToolError:
            self.ledger.reopen(held.call.id)
            raise

    def _run(self, answer: Answer, message: Message) -> Iterator[Chunk]:
        """Run the tools that *message* calls, and hand out their results; what must wait is pending then."""
        jobs = self.loop.judge(message.tool_calls, self.watch)
        calls = iter([job.call for job in jobs])  # which a person may have edited
        parts = [next(calls) if isinstance(part, ToolCall) else part for part in message.parts]
        message = attrs.evolve(message, parts=parts)
        answer.keep(message)
        self._pending = Pending(tuple(held for job in jobs if (held := job.held) is not None))
        if any(job.ready for job in jobs):
            self.ledger.claim([*self._base, *answer.messages], Pending(tuple(job.as_running() for job in jobs)))
        yield from self._answered(answer, message, jobs, [], done=True)

    def _answered(
        self, answer: Answer, asked: Message, jobs: Sequence[Job], given: Sequence[ToolResult], *, done: bool = False
    ) -> Iterator[Chunk]:
        """Run *jobs* and hand out their results; where they are not *done* with, nobody else may go on from them."""
        loop = self.loop
        try:
            loop.run(jobs, self.watch)
        finally:
            unfinished(jobs)
            made = list(results(jobs))
            answer.warnings += loop.warnings
            loop.warnings.clear()
            if made:
                answer.keep(tool_message(asked, [*given, *made]))
        if loop.ran:
            if done:
                self.ledger.release()
                self._write(answer, self._pending)
            else:
                self.ledger.claim([*self._base, *answer.messages], self._pending, seconds=ANSWERING)
        for result in made:
            yield Chunk(ChunkType.TOOL_RESULT, tool_result=result)

    def _write(self, answer: Answer, pending: Pending) -> None:
        self.ledger.write([*self._base, *answer.messages], pending)

    def commit(self, answer: Answer, response: Response, outcome: Outcome) -> None:
        """Put what came of the turn into the ledger."""
        spent = self._spending.spent(answer)
        self.ledger.commit(self._base, answer, response, outcome, ran=self.loop.ran, pending=self._pending, spent=spent)


def _free(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give *parameters* without a demand for a tool: it holds for the first round, or the turn would never end."""
    if parameters.get("tool_choice") in (None, "auto", "none"):
        return parameters
    return {**parameters, "tool_choice": "auto"}
