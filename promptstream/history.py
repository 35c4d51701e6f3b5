"""Messages in, a history that every provider takes out."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import attrs

from promptstream.errors import ConfigError
from promptstream.values.media import media_type
from promptstream.values.message import Document, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult

_ADDRESS = re.compile(r"(https?|gs)://|data:", re.IGNORECASE)
Attachment = str | PathLike[str] | bytes | Image | Document


def user_message(
    message: str | Message | Part | Iterable[str | Part] | None, attachments: Iterable[Attachment] = ()
) -> Message:
    """Give what the user says as a Message, with what is attached to it.

    Raises:
        ConfigError: it is empty, or no text and no parts; an attachment cannot be read.
    """
    attached = attached_parts(attachments)
    if isinstance(message, Message):
        return attrs.evolve(message, parts=(*message.parts, *attached)) if attached else message
    try:
        read = Message("user", message if message is not None else ())
    except TypeError as error:
        raise ConfigError(f"The message cannot be used: {error}") from None
    if not (read.parts or attached):
        raise ConfigError("The message is empty.")
    return Message("user", (*read.parts, *attached)) if attached else read


def attached_parts(attachments: Iterable[Attachment]) -> list[Image | Document]:
    """Give attachments as parts: a path or bytes by what they hold, an address as an Image unless it names a document.

    Raises:
        ConfigError: one cannot be read, or is of a kind that is not known here.
    """
    if isinstance(attachments, (str, bytes, PathLike, Image, Document)):
        raise ConfigError(f"attachments={attachments!r:.80}: give a list, also for one.")
    return [_attached(each) for each in attachments]


def _attached(value: Attachment) -> Image | Document:
    if isinstance(value, (Image, Document)):
        return value
    if isinstance(value, str) and _ADDRESS.match(value):
        return _at_address(value)
    if isinstance(value, bytes):
        return _holding(value, media_type(value))
    if not isinstance(value, (str, PathLike)):
        raise ConfigError(f"An attachment is a path, an address, bytes, an Image or a Document, not {value!r:.80}.")
    try:
        document = Document.from_file(value)
    except (OSError, ValueError) as error:
        raise ConfigError(f"The attachment {str(value)!r:.200} cannot be read: {error}") from None
    return _holding(document.data, document.media_type, document.name)


def _at_address(address: str) -> Image | Document:
    from urllib.parse import urlsplit

    try:
        image = Image(url=address)
        kind = media_type(None, urlsplit(address).path) if image.data is None else image.media_type
    except ValueError as error:
        raise ConfigError(f"The attachment cannot be read: {error}") from None
    if image.data is not None:
        return _holding(image.data, kind or media_type(image.data))
    is_document = kind is not None and (kind == "application/pdf" or kind.startswith("text/"))
    return Document(url=address) if is_document else image


def _holding(data: bytes | None, kind: str | None, name: str | None = None) -> Image | Document:
    if kind is None:
        raise ConfigError(
            f"What {name or 'is attached'} holds is not known: no image, no PDF; "
            "give Document(data=…, media_type=…) instead."
        )
    if kind.startswith("image/"):
        return Image(data=data, media_type=kind)
    return Document(data=data, media_type=kind, name=name)


def read_messages(
    messages: str | Message | Iterable[Message | Mapping[str, Any]], *, needed: bool = True
) -> tuple[Message, ...]:
    """Give messages as values: from a user's text, from messages, or from plain dicts.

    Raises:
        ConfigError: there are none, or one cannot be read; the text says which and why.
    """
    if isinstance(messages, str):
        messages = (Message("user", messages),)
    elif isinstance(messages, (Message, Mapping)):
        messages = (messages,)
    if not isinstance(messages, Iterable):
        raise ConfigError(f"messages={messages!r:.80}: give a string, or a list of messages.")
    read = []
    for number, message in enumerate(messages):
        try:
            read.append(message if isinstance(message, Message) else Message.from_dict(message))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"messages[{number}]: {error}") from None
    if needed and not read:
        raise ConfigError("There is no message to answer: messages is empty.")
    return tuple(read)


def answered(history: Iterable[Message]) -> list[Message]:
    """Give *history* with a result for every tool call: one without would make the next request invalid."""
    repaired: list[Message] = []
    waiting: dict[str, ToolCall] = {}
    for message in history:
        if message.role == "tool":
            if waiting and repaired[-1].finish_reason in ("cancelled", "failed"):
                # That is said of its turn: the answer itself came whole, or its calls would have no results.
                repaired[-1] = attrs.evolve(repaired[-1], finish_reason="tool_calls")
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


def tool_message(asked: Message, results: Iterable[ToolResult]) -> Message:
    """Give the message that answers *asked*, in the order of its calls."""
    order = {call.id: place for place, call in enumerate(asked.tool_calls)}
    ordered: list[ToolResult] = sorted(results, key=lambda result: order.get(result.call_id, len(order)))
    return Message("tool", ordered)


def marked(messages: Iterable[Message], outcome: str) -> list[Message]:
    """Mark the last assistant's message of rounds whose turn did not end."""
    marked = list(messages)
    for place in range(len(marked) - 1, -1, -1):
        if marked[place].role == "assistant":
            marked[place] = attrs.evolve(marked[place], finish_reason=outcome)
            break
    return marked


def partial(message: Message) -> Message:
    """Give a stopped answer as the history keeps it.

    Thoughts that were not signed yet are not echoed, nor are a provider's own blocks: what answers them is missing.
    """
    return Message("assistant", [part for part in message.parts if _outlives_a_stop(part)], "cancelled")


def _outlives_a_stop(part: Part) -> bool:
    if isinstance(part, Reasoning):
        return bool(part.metadata)
    return not isinstance(part, Text) or bool(part.text)


def common(old: Sequence[Message], new: Sequence[Message]) -> int:
    """Count the messages that both begin with. The same objects: a history grows, and is rarely changed."""
    count = 0
    for one, other in zip(old, new, strict=False):
        if one is not other:
            break
        count += 1
    return count


def same(old: Sequence[Message], new: Sequence[Message]) -> bool:
    """Tell whether both are the same objects throughout."""
    return len(old) == len(new) == common(old, new)


_id_lock = threading.Lock()
_last_id = 0


def next_id() -> str:
    """Give "conv_" and the time in nanoseconds, strictly increasing in this process."""
    global _last_id
    with _id_lock:
        _last_id = max(time.time_ns(), _last_id + 1)
        return f"conv_{_last_id}"
