"""What one turn of a conversation is to do in, its steps out: requests, rounds of tools, and what is kept of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.answer import Answer, Outcome
from promptstream.errors import StateError
from promptstream.history import answered
from promptstream.ledger import Ledger, tool_message
from promptstream.tools.approval import Pending
from promptstream.tools.loop import Job, Loop, results, unfinished
from promptstream.turn import Step
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.message import Message, ToolResult
from promptstream.values.request import ChatRequest
from promptstream.values.response import Response
from promptstream.wire.watch import Watch

if TYPE_CHECKING:
    from promptstream.truncation import Truncation

MAX_PAUSES = 10
"""Requests one message takes where the provider pauses again and again."""
_VOIDED = ("length", "content_filter", "refusal")
"""Reasons after which no call is run: the last of them may be cut, and looks whole (design, promise 9)."""


@attrs.define(eq=False)
class Rounds:
    """Hold what one turn of a conversation needs besides the wire."""

    ledger: Ledger
    watch: Watch
    request: ChatRequest
    """What is asked in every round, but for its messages."""
    said: Sequence[Message] = ()
    system: Callable[[], str] = str
    loop: Loop | None = None
    """What runs tools; None where there are none."""
    truncation: Truncation | None = None
    ask: Callable[[ChatRequest, Watch], Iterator[Chunk]] | None = None
    """What answers a request beside the turn's own: for a summary."""
    _base: list[Message] = attrs.field(init=False, factory=list)
    """The history that the turn adds to."""
    _pending: Pending = attrs.field(init=False, factory=Pending)
    """What waits once the turn is over."""

    def steps(self, answer: Answer, resuming: bool) -> Iterator[Step]:
        """Give the turn's steps; the conversation is claimed by then.

        Raises:
            ApprovalPending: calls wait, which another process may have left.
            StateError: there is nothing left to answer; another turn has done it.
            PromptStreamError: the store cannot be read or written, or the prompt not be rendered.
        """
        if self.ledger.refresh():
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
        while True:
            yield self._asked(answer, system, begun)
            message = answer.message
            if answer.paused and pauses < MAX_PAUSES - 1:
                pauses, begun = pauses + 1, attrs.evolve(message, finish_reason=None)
                answer.next_round()
                continue
            pauses, begun = 0, None
            if self.loop is None or not message.tool_calls or answer.finish_reason in _VOIDED:
                return
            yield from self._run(answer, message, self.loop)
            if self._pending:
                answer.pending = self._pending.waiting
                return
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
        return attrs.evolve(request, messages=(*([system] if system else ()), *messages), round=answer.rounds)

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
        return summarise(self.ask, self.request, self.watch, answer, old, before)

    def _settle(self, answer: Answer) -> Iterator[Chunk]:
        """Answer the calls that were pending: run what was approved, and hand out every result."""
        assert self.loop is not None
        self._base, given = self.ledger.before_results()
        jobs = self.loop.settled(self.ledger.pending.held)
        if any(job.ready for job in jobs):
            self.ledger.write(self.ledger.messages, self.ledger.pending.started())
        yield from self._answered(answer, self._base[-1], jobs, self.loop, given)

    def _run(self, answer: Answer, message: Message, loop: Loop) -> Iterator[Chunk]:
        """Run the tools that *message* calls, and hand out their results; what must wait is pending then."""
        jobs = loop.judge(message.tool_calls, self.watch)
        edited = {job.call.id: job.call for job in jobs}
        parts = [edited.get(part.id, part) if part in message.tool_calls else part for part in message.parts]
        message = attrs.evolve(message, parts=parts)
        answer.keep(message)
        self._pending = Pending(tuple(held for job in jobs if (held := job.held) is not None))
        if any(job.ready for job in jobs):
            self._write(answer, Pending(tuple(job.as_running() for job in jobs)))
        yield from self._answered(answer, message, jobs, loop, [])

    def _answered(
        self, answer: Answer, asked: Message, jobs: Sequence[Job], loop: Loop, given: Sequence[ToolResult]
    ) -> Iterator[Chunk]:
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
            self._write(answer, self._pending)
        for result in made:
            yield Chunk(ChunkType.TOOL_RESULT, tool_result=result)

    def _write(self, answer: Answer, pending: Pending) -> None:
        self.ledger.write([*self._base, *answer.messages], pending)

    def commit(self, answer: Answer, response: Response, outcome: Outcome) -> None:
        """Put what came of the turn into the ledger."""
        ran = self.loop is not None and self.loop.ran
        self.ledger.commit(self._base, answer, response, outcome, ran=ran, pending=self._pending)


def _free(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give *parameters* without a demand for a tool: it holds for the first round, or the turn would never end."""
    if parameters.get("tool_choice") in (None, "auto", "none"):
        return parameters
    return {**parameters, "tool_choice": "auto"}
