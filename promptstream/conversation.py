"""A provider and a prompt in, what a user holds out: turns streamed, their history kept."""

from __future__ import annotations

import threading
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from promptstream.answer import Outcome
from promptstream.capabilities import check_supported
from promptstream.errors import ConfigError, ConversationBusy, ConversationClosed
from promptstream.history import Attachment, answered, next_id, partial, user_message
from promptstream.stream import Stream
from promptstream.turn import check_on_error
from promptstream.values.message import Message, Part, ToolCall
from promptstream.values.request import ChatRequest, check_models, merge_parameters
from promptstream.values.response import Response
from promptstream.values.timing import Timeout
from promptstream.values.usage import Usage
from promptstream.wire.watch import UNWIND, CancelToken, Watch

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from promptstream.client import Provider
    from promptstream.values.request import Parameters


class Conversation:
    """Stream turns and keep their history. Made by :func:`promptstream.open` or :func:`promptstream.chat`.

    A context manager. One turn runs at a time; ``cancel`` may be called from any thread.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        render: Callable[..., str],
        model: str | None = None,
        models: tuple[str, ...] = (),
        fallback: Sequence[Provider] = (),
        messages: Iterable[Message] = (),
        variables: Mapping[str, Any] | None = None,
        conversation_id: str | None = None,
        timeout: Timeout | float | None = None,
        keep_partial: bool = True,
        on_error: str = "raise",
        extra: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        owns: Sequence[Provider] = (),
    ) -> None:
        self.provider = provider
        self.id = conversation_id or next_id()
        self.variables: MutableMapping[str, Any] = ChainMap({}, dict(variables or {}))
        """Values for the prompt's variables, over those given to open; used from the next turn on."""
        self.last: Response | None = None
        """The answer of the last turn, whole or not; a turn stopped before anything came does not count."""
        self.usage = Usage(0, 0, 0, 0, 0)
        """The tokens of all turns so far; unknown as soon as those of one turn are."""
        self.cost: Decimal | None = Decimal(0)
        """USD of all turns so far, under the same rule."""
        self._settings: dict[str, Any] = {
            "render": render,
            "model": model,
            "models": models,
            "fallback": tuple(fallback),
            "timeout": Timeout.of(timeout, provider.timeout),
            "keep_partial": keep_partial,
            "on_error": check_on_error(on_error),
            "extra": dict(extra or {}),
            "parameters": dict(parameters or {}),
        }
        self._owns = tuple(owns)
        """The providers that closing the conversation closes."""
        self._history: list[Message] = list(messages)
        # Taken by itself: a Ctrl-C in the middle of a Condition's own entrance would leave it locked.
        self._lock = threading.RLock()
        self._turn_over = threading.Condition(self._lock)
        self._running: Watch | None = None
        self._closed = False

    def stream(
        self,
        message: str | Message | Part | Iterable[str | Part] | None = None,
        *,
        attachments: Iterable[Attachment] = (),
        models: Iterable[str] | None = None,
        variables: Mapping[str, Any] | None = None,
        timeout: Timeout | float | None = None,
        cancel: CancelToken | threading.Event | None = None,
        on_error: str | None = None,
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> Stream:
        """Give a Stream of the answer to *message*; nothing is sent before it is iterated over.

        Args:
            message: what the user says: text, a Message, or parts. None answers the history as it is.
            attachments: images and documents that go with it: paths, http(s) addresses of images, bytes, or parts.
            models: as :func:`promptstream.open` takes it, for this turn alone.
            variables: values for this turn alone.
            timeout: a Timeout, or seconds in total.
            cancel: a CancelToken or threading.Event that stops it from any thread.

        Raises:
            ConversationClosed, ConversationBusy: the conversation cannot take a turn.
            MissingVariable, VariableInvalid: the prompt cannot be rendered.
            ConfigError, TypeError, ValueError: an argument cannot be used.
        """
        said = self._said(message, attachments)
        return self._stream(said, models, variables, timeout, cancel, on_error, extra, parameters, streaming=True)

    def send(
        self,
        message: str | Message | Part | Iterable[str | Part] | None = None,
        *,
        streaming: bool = True,
        attachments: Iterable[Attachment] = (),
        models: Iterable[str] | None = None,
        variables: Mapping[str, Any] | None = None,
        timeout: Timeout | float | None = None,
        cancel: CancelToken | threading.Event | None = None,
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> Response:
        """Give the whole answer to *message*; ``streaming=False`` asks for it as one JSON body.

        Raises:
            StreamError: the answer is not whole; ``error.response`` is what came of it.
            PromptStreamError, TypeError: as :meth:`stream`.
        """
        said = self._said(message, attachments)
        stream = self._stream(said, models, variables, timeout, cancel, "raise", extra, parameters, streaming=streaming)
        return stream.result()

    def _stream(
        self,
        said: tuple[Message, ...],
        models: Iterable[str] | None,
        variables: Mapping[str, Any] | None,
        timeout: Any,
        cancel: Any,
        on_error: str | None,
        extra: Mapping[str, Any] | None,
        parameters: Mapping[str, Any],
        streaming: bool,
    ) -> Stream:
        settings = self._settings
        layers = (self.variables, dict(variables or {}))
        settings["render"](*layers)
        watch = Watch(Timeout.of(timeout, settings["timeout"]), cancel)
        names = settings["models"] if models is None else check_models(models)
        model = self.provider.asked_model(settings["model"], names)
        parameters = merge_parameters(settings["parameters"], parameters)
        extra = {**settings["extra"], **(extra or {})}
        if not settings["fallback"]:  # else another provider may do what this one cannot
            check_supported(self.provider.dialect, ChatRequest(said, parameters=parameters, models=names))
        self._check_free()

        def claim() -> ChatRequest:
            self._claim(watch)
            try:
                system = settings["render"](*layers)
                history = [*([Message("system", system)] if system else []), *answered([*self._history, *said])]
                return ChatRequest(tuple(history), model, (), parameters, extra, streaming=streaming, models=names)
            except BaseException:
                self._let_go()
                raise

        def commit(response: Response, outcome: Outcome) -> None:
            try:
                self._commit(said, response, outcome)
            finally:
                self._let_go()

        turn = self.provider.turn(
            model=model,
            watch=watch,
            on_error=on_error or settings["on_error"],
            claim=claim,
            commit=commit,
            fallback=settings["fallback"],
            goes_on=True,
        )
        return Stream(turn)

    def _said(self, message: Any, attachments: Any) -> tuple[Message, ...]:
        """Give the turn's new message as a tuple of one, or of none."""
        if message is None and not attachments:
            if not self._history or self._history[-1].role == "assistant":
                raise ConfigError("There is nothing to answer: give a message.")
            return ()
        return (user_message(message, attachments),)

    def _check_free(self) -> None:
        if self._closed:
            raise ConversationClosed("The conversation is closed; open another.")
        if self._running is not None and not self._running.cancelled:
            raise ConversationBusy("Another turn of this conversation is running; end it first, or use fork().")

    def _claim(self, watch: Watch) -> None:
        with self._lock:
            self._settle()
            self._running = watch

    def _settle(self) -> None:
        """Wait a moment for a cancelled turn that still unwinds in another thread, and check that none runs."""
        with self._lock:
            running = self._running
            if running is not None and running.cancelled:
                self._turn_over.wait_for(lambda: self._running is not running, UNWIND)
                if self._running is running:
                    raise ConversationBusy("The cancelled turn before this one has not ended yet.")
            self._check_free()

    def _let_go(self) -> None:
        with self._lock:
            self._running = None
            self._turn_over.notify_all()

    def _commit(self, said: tuple[Message, ...], response: Response, outcome: Outcome) -> None:
        came = bool(response.message.parts)
        if outcome == "cancelled" and not came:
            return
        self.last = response
        if came or outcome == "complete":
            self.usage += response.usage
            self.cost = None if self.cost is None or response.cost is None else self.cost + response.cost
        if outcome == "complete":
            self._history += [*said, response.message]
        elif outcome == "cancelled" and self._settings["keep_partial"] and (kept := partial(response.message)).parts:
            self._history += [*said, kept]

    def cancel(self, reason: str = "") -> None:
        """Stop the running turn, if there is one. Any thread may call it."""
        if (running := self._running) is not None:
            running.cancel(reason)

    @property
    def messages(self) -> list[Message]:
        """A copy of the history, without the system prompt."""
        return list(self._history)

    @property
    def system(self) -> str:
        """The system prompt as the next turn would send it; raises what rendering it raises."""
        return str(self._settings["render"](self.variables, {}))

    @property
    def pending(self) -> tuple[ToolCall, ...]:
        """The last answer's tool calls that wait for a result."""
        return self.last.pending if self.last else ()

    def undo(self) -> list[Message]:
        """Take the last turn off the history, from the user's message on, and give its messages."""
        self._settle()
        starts = [number for number, message in enumerate(self._history) if message.role == "user"]
        cut = starts[-1] if starts else len(self._history)
        undone, self._history, self.last = self._history[cut:], self._history[:cut], None
        return undone

    def clear(self) -> None:
        """Forget the history; variables, usage and cost stay."""
        self._settle()
        self._history, self.last = [], None

    def fork(self) -> Conversation:
        """Give a new conversation that goes on from here by itself, on the same provider."""
        fork = Conversation(self.provider, messages=self._history, variables=self.variables, **self._settings)
        fork.last = self.last
        return fork

    def close(self) -> None:
        """Stop a running turn and refuse further ones; close the provider if it was made here. Idempotent."""
        self._closed = True
        self.cancel("the conversation was closed")
        for provider in self._owns:
            provider.close()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Conversation {self.id} on {self.provider.name}, {len(self._history)} messages>"
