"""Messages in, a history that every provider takes out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from promptstream.errors import ConfigError
from promptstream.values.message import Message, Part, Reasoning, ToolCall, ToolResult


def user_message(message: str | Message | Part | Iterable[str | Part]) -> Message:
    """Give what the user says as a Message.

    Raises:
        ConfigError: it is empty, or no text and no parts.
    """
    if isinstance(message, Message):
        return message
    try:
        read = Message("user", message)
    except TypeError as error:
        raise ConfigError(f"The message cannot be used: {error}") from None
    if not read.parts:
        raise ConfigError("The message is empty.")
    return read


def answered(history: Iterable[Message]) -> list[Message]:
    """Give *history* with a result for every tool call: one without would make the next request invalid."""
    repaired: list[Message] = []
    waiting: dict[str, ToolCall] = {}
    for message in history:
        if message.role == "tool":
            for part in message.parts:
                if isinstance(part, ToolResult):
                    waiting.pop(part.call_id, None)
        elif waiting:
            repaired.append(_interrupted(waiting.values()))
            waiting = {}
        repaired.append(message)
        waiting.update((call.id, call) for call in message.tool_calls)
    if waiting:
        repaired.append(_interrupted(waiting.values()))
    return repaired


def _interrupted(calls: Iterable[ToolCall]) -> Message:
    return Message(
        "tool", [ToolResult(call.id, call.name, "interrupted: the tool did not run", True) for call in calls]
    )


def partial(message: Message) -> Message:
    """Give a stopped answer as the history keeps it: thoughts that were not signed yet are not echoed."""
    kept = [part for part in message.parts if not isinstance(part, Reasoning) or part.metadata]
    return Message("assistant", kept, "cancelled")


_id_lock = threading.Lock()
_last_id = 0


def next_id() -> str:
    """Give "conv_" and the time in nanoseconds, strictly increasing in this process."""
    global _last_id
    with _id_lock:
        _last_id = max(time.time_ns(), _last_id + 1)
        return f"conv_{_last_id}"
