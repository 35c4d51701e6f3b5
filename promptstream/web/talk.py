"""One client's actions in, its conversation's events out; turns run in a thread of their own."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from promptstream.conversation import Conversation
from promptstream.errors import ConfigError, ConversationBusy, PromptStreamError
from promptstream.stream import Stream
from promptstream.values.chunk import ChunkType
from promptstream.values.events import event_json
from promptstream.values.message import Message, ToolCall, ToolResult
from promptstream.web.actions import read_action
from promptstream.web.conversations import Conversations
from promptstream.web.failures import Unavailable, event, failed, failed_chunk, refused
from promptstream.web.hands import Hands, Task
from promptstream.web.line import Gone

log = logging.getLogger("promptstream.web")
_TEXT, _LAST = ChunkType.TEXT, (ChunkType.DONE, ChunkType.ERROR)
_MOST = 64
"""Texts that are said at once."""
_UNWIND = 2.0
"""Seconds that who leaves waits for the turn to end."""


class Talk:
    """Have one conversation with one client. One thread acts; turns say what comes of it in another.

    *say* is given events of JSON, by either thread, and raises Gone once the client left; it blocks
    while the client takes nothing. *ended* is called when a turn is over.
    """

    def __init__(
        self,
        conversations: Conversations,
        say: Callable[..., None],
        *,
        hands: Hands,
        fixed: Callable[[], Iterable[str]] = tuple,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._conversations, self._say, self._fixed, self._ended = conversations, say, fixed, ended
        self._hands = hands
        self.leaving = False
        """True once the client left."""
        self._conv: Conversation | None = None
        self._seen = 0
        """The revision of the conversation that is here."""
        self._task: Task | None = None
        """The turn that runs, or ran last."""
        self._turning = False
        """True until the turn is over, which is before its last is said."""

    @property
    def conv(self) -> Conversation:
        """The conversation, begun where there is none yet."""
        if self._conv is None:
            self._hold(self._conversations.new())
        assert self._conv is not None
        return self._conv

    @property
    def running(self) -> bool:
        """True while a turn runs, or still says its last."""
        return self._task is not None and self._task.running

    def greet(self) -> None:
        """Say which conversation this is, what was said in it, and what waits for the client's word."""
        self._say(event_json(event("conversation", conversation_id=self.conv.id, messages=_told(self.conv.messages))))
        self._ask(self.conv.pending)

    def act(self, action: Mapping[str, Any]) -> None:
        """Do what a client asks for; what comes of a turn is said by its thread.

        Raises:
            PromptStreamError, TypeError, ValueError: it cannot be done; nothing changed.
        """
        getattr(self, f"_{action['action']}")(action)

    def hear(self, text: str) -> None:
        """Do what *text* asks for, and say it where that cannot be done."""
        name = None
        try:
            action = read_action(text)
            name = action["action"]
            self.act(action)
        except Gone:
            raise
        except Exception as error:
            self._say(event_json(refused(error, name)))

    def go_on(self, id: object) -> None:
        """Take the conversation that is kept under *id*.

        Raises:
            StateError: there is none, or it cannot be read.
        """
        kept = self._conversations.kept(id)
        if self._conv is not None:
            self._conv.close()
        self._hold(kept)

    def cancel(self, reason: str = "the client asked for it") -> None:
        """Stop the turn, if one runs. Any thread may call it."""
        if self._conv is not None:
            self._conv.cancel(reason)

    def wait(self, seconds: float) -> None:
        """Wait that long for the turn to end, if one runs in another thread."""
        if (task := self._task) is not None:
            task.wait(max(0.0, seconds))

    def leave(self) -> None:
        """Stop what runs, wait a moment for its end, and close the conversation."""
        self.leaving = True
        if self._conv is None:
            return
        self._conv.cancel("the client left")
        self.wait(_UNWIND)
        try:
            self._conv.close()
        except PromptStreamError as error:
            log.warning("A conversation could not be kept: %s", type(error).__name__)

    # The actions

    def _send_message(self, action: Mapping[str, Any]) -> None:
        variables = action.get("variables") or {}
        for name in variables.keys() & set(self._fixed()):
            raise ConfigError(f"variables: {name!r:.80} is set by the server.")
        conv = self.conv
        with self._turn(conv.id):
            fresh = self._conversations.fresh(conv, self._seen)
            if fresh is not conv:
                self._hold(fresh)
            self._start(fresh.stream(action["message"], variables=variables))

    def _cancel(self, action: Mapping[str, Any]) -> None:
        self._conversations.cancel(self.conv.id)

    def _approve(self, action: Mapping[str, Any]) -> None:
        self._decide(lambda conv: conv.approve(action["call_id"], arguments=action.get("arguments")))

    def _reject(self, action: Mapping[str, Any]) -> None:
        self._decide(lambda conv: conv.reject(action["call_id"], action.get("reason") or ""))

    def _tool_result(self, action: Mapping[str, Any]) -> None:
        self._decide(lambda conv: conv.submit(action["call_id"], action["result"], error=bool(action.get("error"))))

    def _resume(self, action: Mapping[str, Any]) -> None:
        if self._turning:
            raise ConversationBusy("A turn is running; resume another conversation on a new connection.")
        self.wait(_UNWIND)  # it may still be saying its last
        again = self._conv is not None and self._conv.id == action["conversation_id"]
        self.go_on(action["conversation_id"])
        self.greet()
        # Who comes back does not ask for a turn that failed between its rounds; who is there and asks once more does.
        if self.conv.decided or (again and self.conv.resumable):
            with self._turn(self.conv.id):
                self._start(self.conv.resume())

    def _authenticate(self, action: Mapping[str, Any]) -> None:
        """Do nothing: who comes as far is known, or none is asked."""

    def _decide(self, decide: Callable[[Conversation], None]) -> None:
        conv = self.conv
        with self._turn(conv.id):
            decide(conv)
            self._seen = self._conversations.revision(conv)
            if conv.decided:
                self._start(conv.resume())

    # Turns

    def _hold(self, conv: Conversation) -> None:
        self._conv, self._seen = conv, self._conversations.revision(conv)

    def _turn(self, id: str) -> _Taken:
        return _Taken(self._conversations, id, self)

    def _start(self, stream: Stream) -> None:
        before, run = self._task, contextvars.copy_context().run
        # Known before it runs: who closes the relay just then waits for what it has to say.
        self._task, self._turning = Task(partial(run, self._run, stream, before)), True
        try:
            self._hands.do(self._task)
        except RuntimeError:
            self._task, self._turning = before, False
            stream.close()
            raise Unavailable("The relay's system has no thread left for a turn; try again later.") from None

    def _run(self, stream: Stream, before: Task | None) -> None:
        if before is not None:
            before.wait()  # it may still be saying its last
        over = False
        waiting: tuple[ToolCall, ...] = ()
        batch = Batch(self._say, lambda: stream.cancel("the client left"))
        stream.when_drained(batch.drained)
        try:
            try:
                for chunk in stream:
                    kind = chunk.type
                    if kind in _LAST:
                        waiting, over = self._over(), True
                    batch.add(event_json(chunk if kind is _TEXT else failed_chunk(chunk)), kind is _TEXT)
            finally:
                stream.close()
                if not over:
                    self._over()
        except Gone:
            return
        except Exception as error:
            waiting = ()
            self._try_say(event_json(failed(error)))
        self._ask(waiting, quietly=True)
        self._ended()

    def _over(self) -> tuple[ToolCall, ...]:
        """Let the next turn begin, which the client may ask for as soon as it has read how this one ended."""
        conv, self._turning = self.conv, False
        try:
            self._seen = self._conversations.revision(conv)
            return conv.pending
        finally:
            self._conversations.release(conv.id, self)

    def _ask(self, calls: Iterable[ToolCall], *, quietly: bool = False) -> None:
        runnable = self.conv.runnable
        for call in calls:
            told = {"id": call.id, "name": call.name, "arguments": call.arguments, "raw_arguments": call.raw_arguments}
            decision = "approve" if call.id in runnable else "result"
            text = event_json(event("approval", tool_call=told, decision=decision))
            self._try_say(text) if quietly else self._say(text)

    def _try_say(self, text: str) -> None:
        try:
            self._say(text)
        except Gone:
            return


class Batch:
    """Say what came together together: texts wait for those that have come already, and for nothing else.

    *leave* is called in place of raising Gone where the one who reads the answer must not be struck.
    """

    def __init__(self, say: Callable[..., None], leave: Callable[[], object]) -> None:
        self._say, self._leave = say, leave
        self._held: list[str] = []
        self._told = False
        """True once :meth:`drained` was called: it will be again before anything is waited for."""

    def add(self, event: str, text: bool) -> None:
        """Say *event*, now or with those that have come already.

        Raises:
            Gone: the client left.
        """
        held = self._held
        held.append(event)
        if not (text and self._told) or len(held) >= _MOST:
            self._held = []
            self._say(*held)

    def drained(self) -> None:
        """Say what is held back, for what comes next is not here yet."""
        self._told = True
        held, self._held = self._held, []
        if held:
            try:
                self._say(*held)
            except Gone:
                self._leave()


class _Taken:
    """Have a conversation while a turn is begun; where that fails, or none is, let it go."""

    def __init__(self, conversations: Conversations, id: str, talk: Talk) -> None:
        self._conversations, self._id, self._talk = conversations, id, talk

    def __enter__(self) -> None:
        self._before = self._talk._task
        self._conversations.take(self._id, self._talk)

    def __exit__(self, *_: object) -> None:
        if self._talk._task is self._before:
            self._conversations.release(self._id, self._talk)


def _told(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Give a history as a client shows it."""
    told: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "tool":
            told += [_result(part) for part in message.parts if isinstance(part, ToolResult)]
        elif message.role != "system":
            told.append(_message(message))
    return told


def _message(message: Message) -> dict[str, Any]:
    data: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.reasoning:
        data["reasoning"] = message.reasoning
    if message.tool_calls:
        data["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in message.tool_calls
        ]
    if message.finish_reason is not None:
        data["finish_reason"] = message.finish_reason
    return data


def _result(result: ToolResult) -> dict[str, Any]:
    return {
        "role": "tool",
        "content": result.content,
        "tool_call_id": result.call_id,
        "name": result.name,
        "error": result.error,
    }
