"""A provider and a prompt in, what a user holds out: turns streamed, their history kept."""

from __future__ import annotations

import threading
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from promptstream.answer import Answer, Outcome
from promptstream.errors import ConfigError, StateError
from promptstream.history import Attachment, next_id, user_message
from promptstream.ledger import Ledger
from promptstream.rounds import Rounds
from promptstream.settings import Asked, Settings, as_json, gathered
from promptstream.stream import Stream
from promptstream.tools.approval import Pending, approved
from promptstream.tools.result import encode_result
from promptstream.tools.tool import tool
from promptstream.upkeep import Upkeep
from promptstream.values.message import Message, Part, ToolCall
from promptstream.values.response import Response
from promptstream.values.timing import Timeout
from promptstream.wire.watch import CancelToken, Watch

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from promptstream.client import Provider
    from promptstream.progress import Asked as ProgressAsked
    from promptstream.state.store import Store
    from promptstream.tools.toolbox import Toolbox
    from promptstream.turn import Step
    from promptstream.values.request import Parameters

Said = str | Message | Part | Iterable[str | Part]


class Conversation(Upkeep):
    """Stream turns and keep their history. Made by :func:`promptstream.open` or :func:`promptstream.chat`.

    A context manager. One turn runs at a time; ``cancel`` may be called from any thread.
    """

    def __init__(
        self,
        provider: Provider,
        settings: Settings,
        ledger: Ledger,
        toolbox: Toolbox,
        *,
        owns: Sequence[Provider | Store] = (),
    ) -> None:
        super().__init__(provider, settings, ledger, toolbox)
        self._owns = tuple(owns)
        """What closing the conversation closes."""

    def stream(
        self,
        message: Said | None = None,
        *,
        attachments: Iterable[Attachment] = (),
        json: Any = None,
        models: Iterable[str] | None = None,
        variables: Mapping[str, Any] | None = None,
        timeout: Timeout | float | None = None,
        cancel: CancelToken | threading.Event | None = None,
        on_error: str | None = None,
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> Stream:
        """Give a Stream of the answer to *message*; nothing is sent before it is iterated over.

        Tools that the model calls are run between its rounds, in the same stream. It ends with ``response.pending``
        where a call waits for an approval, or for the application to run it: decide, then :meth:`resume`.

        Args:
            message: what the user says: text, a Message, or parts. None answers the history as it is.
            attachments: images and documents that go with it: paths, http(s) addresses of images, bytes, or parts.
            json: a JSON value: its fields, and all of it as ``input``, are variables of this turn; without a
                *message* its text is what the user says.
            models: as :func:`promptstream.open` takes it, for this turn alone.
            variables: values for this turn alone.
            timeout: a Timeout, or seconds in total, tools included.
            cancel: a CancelToken or threading.Event that stops it from any thread.
            parameters: temperature and the like; ``schema`` may also be a class, which ``response.parsed`` is then
                an object of.

        Raises:
            ConversationClosed, ConversationBusy: the conversation cannot take a turn.
            ApprovalPending: calls of the last turn wait for a decision, or for :meth:`resume`.
            MissingVariable, VariableInvalid: the prompt cannot be rendered.
            ConfigError, TypeError, ValueError: an argument cannot be used.
        """
        options: dict[str, Any] = {"models": models, "variables": variables, "timeout": timeout, "cancel": cancel}
        options |= {"on_error": on_error, "extra": extra, "parameters": parameters}
        return self._stream(message, attachments, json, **options)

    def send(
        self,
        message: Said | None = None,
        *,
        streaming: bool = True,
        attachments: Iterable[Attachment] = (),
        json: Any = None,
        models: Iterable[str] | None = None,
        variables: Mapping[str, Any] | None = None,
        timeout: Timeout | float | None = None,
        cancel: CancelToken | threading.Event | None = None,
        progress: ProgressAsked = None,
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> Response:
        """Give the whole answer to *message*; ``streaming=False`` asks for it as one JSON body.

        Args:
            progress: as :meth:`Stream.result` takes it.

        Raises:
            StreamError: the answer is not whole; ``error.response`` is what came of it.
            AnswerInvalid: it is whole, and not what ``schema`` asks for.
            PromptStreamError, TypeError: as :meth:`stream`.
        """
        options: dict[str, Any] = {"models": models, "variables": variables, "timeout": timeout, "cancel": cancel}
        options |= {"on_error": "raise", "extra": extra, "parameters": parameters, "streaming": streaming}
        return self._stream(message, attachments, json, **options).result(progress=progress)

    def resume(
        self,
        *,
        variables: Mapping[str, Any] | None = None,
        timeout: Timeout | float | None = None,
        cancel: CancelToken | threading.Event | None = None,
        on_error: str | None = None,
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> Stream:
        """Give a Stream that goes on once all pending calls are decided, or after a turn failed between its rounds.

        Approved calls are run first, each once, whoever else may hold this conversation; then one request carries
        the results of all of them.

        Raises:
            ApprovalPending: a call still waits.
            StateError: there is nothing to go on from.
            PromptStreamError, TypeError, ValueError: as :meth:`stream`.
        """
        options: dict[str, Any] = {"models": None, "variables": variables, "timeout": timeout, "cancel": cancel}
        options |= {"on_error": on_error, "extra": extra, "parameters": parameters}
        self._look(whatever=True)
        if not self._ledger.unanswered:
            raise StateError("There is nothing to resume: no call is pending, and the last turn was answered.")
        return self._stream(None, (), None, resuming=True, **options)

    def _stream(
        self,
        message: Said | None,
        attachments: Iterable[Attachment],
        json: Any,
        *,
        models: Iterable[str] | None,
        variables: Mapping[str, Any] | None,
        timeout: Any,
        cancel: Any,
        on_error: str | None,
        extra: Mapping[str, Any] | None,
        parameters: Mapping[str, Any],
        streaming: bool = True,
        resuming: bool = False,
    ) -> Stream:
        settings = self._settings
        self._look()
        bound, text = ({}, None) if json is None else as_json(json)
        said = settings.media_applied(self._said(text if message is None else message, attachments, resuming))
        provided, sent = settings.provided(), gathered(bound, variables or {})

        def system() -> str:
            return settings.render(provided, gathered(self._own), sent)

        system()
        watch = Watch(Timeout.of(timeout, settings.timeout), cancel)
        asked = Asked.of(settings, parameters)
        request = settings.request(
            *(self.provider, self._toolbox, said, asked, models, extra), streaming=streaming, conversation_id=self.id
        )
        self._ledger.pending.check(resuming)
        rounds = Rounds(
            ledger=self._ledger,
            watch=watch,
            request=request,
            said=said,
            unenforced=settings.unenforced,
            system=system,
            loop=settings.loop(self._toolbox, request),
            offers=len(self._toolbox) > 0,
            truncation=settings.truncation,
            budget=settings.budget,
        )

        def claim(answer: Answer) -> Iterator[Step]:
            self._claim.take(watch)
            try:
                return rounds.steps(answer, resuming)
            except BaseException:
                self._claim.release()
                raise

        def commit(answer: Answer, response: Response, outcome: Outcome) -> None:
            try:
                rounds.commit(answer, response, outcome)
            finally:
                self._claim.release()
                if self._claim.closed:
                    self._keep_all()

        turn = self.provider.turn(
            model=request.model,
            watch=watch,
            on_error=on_error or settings.on_error,
            claim=claim,
            commit=commit,
            fallback=settings.fallback,
            middleware=settings.middleware,
            reader=asked.reader,
            demanded=asked.demanded,
            prices=settings.prices,
        )
        rounds.ask = turn.exchange
        return Stream(turn, request.parameters.get("max_tokens"))

    def _said(self, message: Said | None, attachments: Iterable[Attachment], resuming: bool) -> tuple[Message, ...]:
        """Give the turn's new message as a tuple of one, or of none."""
        if message is None and not attachments:
            if not resuming and not self._ledger.unanswered:
                raise ConfigError("There is nothing to answer: give a message.")
            return ()
        return (user_message(message, attachments),)

    def _look(self, *, whatever: bool = False) -> None:
        """Make sure that a turn can be taken; calls that seem to wait may have been answered elsewhere meanwhile."""
        with self._claim.lock:
            self._claim.check()
            if (whatever or self._ledger.pending) and self._claim.running is None:
                self._ledger.refresh()

    # Approvals and tools

    def tool(self, fn: Any = None, /, *, approval: bool = False) -> Any:
        """Add a tool from the next turn on: ``@conv.tool``, or ``@conv.tool(approval=True)`` for one that waits.

        Raises:
            ToolNotFound: the pack declares no tool of that name.
            ConfigError, TypeError: it cannot be a tool.
        """
        if fn is None:
            return partial(self.tool, approval=approval)
        return self._toolbox.add(tool(fn, approval=approval or None))

    def approve(self, call_id: str | ToolCall, *, arguments: Mapping[str, Any] | None = None) -> None:
        """Let a pending call run, with other *arguments* where they are given; :meth:`resume` runs it.

        Raises:
            StateError: no such call waits, or another has decided it; ConversationBusy: a turn runs.
            ToolNotFound: no code here runs it.
            ToolArguments: the arguments given are not valid.
        """

        self._decide(lambda pending: approved(pending, self._toolbox, _id(call_id), arguments))

    def reject(self, call_id: str | ToolCall, reason: str = "") -> None:
        """Refuse a pending call; the model is told the reason. Raises StateError as :meth:`approve` does."""
        self._decide(lambda pending: pending.reject(_id(call_id), reason))

    def submit(self, call_id: str | ToolCall, result: Any, *, error: bool = False) -> None:
        """Answer a pending call with *result*: the application has run it. Text as it is, all else as JSON.

        Raises:
            StateError: as :meth:`approve`; ToolError: the result cannot be encoded.
        """
        content = encode_result(result)
        self._decide(lambda pending: pending.submit(_id(call_id), content, error=error))

    def _decide(self, decision: Callable[[Pending], Pending]) -> None:
        with self._claim.lock:
            self._claim.settle()
            self._ledger.refresh()
            self._ledger.decide(decision(self._ledger.pending))

    def fork(self) -> Conversation:
        """Give a new conversation that goes on from here by itself, with its own id, on the same provider and store.

        Its usage and cost begin at 0; of a budget it has what is left here.
        Pending calls stay with this one: in the fork they count as interrupted, so that none is run twice.
        """
        fork = Conversation(self.provider, self._settings, self._ledger.fork(next_id()), self._toolbox.copy())
        fork.variables = ChainMap(dict(self._own), dict(self._settings.base))
        return fork

    def close(self) -> None:
        """Stop a running turn, save what is not saved yet, and refuse further turns. Idempotent.

        Closes the provider and the store, if they were made here.

        Raises:
            StateError, ConversationBusy: what was left cannot be saved.
        """
        try:
            self._claim.close(wait=self._ledger.stored)
            if self._claim.running is None:  # else the turn that still ends does it
                self._keep_all()
        finally:
            for each in self._owns:
                each.close()

    def _keep_all(self) -> None:
        """Save what is left, and close the store that was made here."""
        try:
            self._ledger.flush()
        finally:
            self._ledger.close()

    def cancel(self, reason: str = "") -> None:
        """Stop the running turn, if there is one. Any thread may call it."""
        self._claim.cancel(reason)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Conversation {self.id} on {self.provider.name}, {len(self._ledger.messages)} messages>"


def _id(call: str | ToolCall) -> str:
    return call.id if isinstance(call, ToolCall) else call
