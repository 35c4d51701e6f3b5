"""A conversation's values in, the text that every store keeps out, and back; what does not fit is named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from promptstream.errors import ConfigError, ConversationBusy, StateError, StoreCorrupt
from promptstream.values.message import Message
from promptstream.values.secret import MASK, Secret

LONGEST_ID = 1000
DEEPEST = 200
"""What nests deeper is refused when it is written, before the reader of JSON would run out of stack."""
_SIMPLE = (str, int, float, bool, type(None))


class _UnfitError(Exception):
    """A value that JSON does not know, with the keys that lead to it, innermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.keys: list[str] = []


def check_id(id: object) -> None:
    """Refuse what cannot name a conversation.

    Raises:
        TypeError: it is not a string.
        ConfigError: it is empty, too long, or holds NUL or a lone surrogate.
    """
    if not isinstance(id, str):
        raise TypeError(f"conversation_id={id!r:.80}: give a string.")
    problem = None
    if not id:
        problem = "it is empty"
    elif len(id) > LONGEST_ID:
        problem = f"it has {len(id)} characters; {LONGEST_ID} is the limit"
    elif "\0" in id:
        problem = "it holds the character NUL"
    elif not id.isascii() and any("\ud800" <= each <= "\udfff" for each in id):
        problem = "it holds half of a surrogate pair"
    if problem:
        raise ConfigError(f"conversation_id={id!r:.80} cannot name a conversation: {problem}.")


def check_save(id: str, revision: int, kept: int) -> None:
    """Refuse what no save can mean, as :func:`check_id` does.

    Raises:
        ValueError: a number is negative.
    """
    check_id(id)
    for name, number in (("revision", revision), ("kept", kept)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ValueError(f"{name}={number!r:.60}: give a whole number of 0 or more.")


def check_limit(limit: int) -> None:
    """Refuse a *limit* of a listing that is no count.

    Raises:
        ValueError: it is negative or no whole number.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ValueError(f"limit={limit!r:.60}: give a whole number of 0 or more.")


def busy(id: str, held: int, stored: int) -> ConversationBusy:
    """Give the error of a save that came too late."""
    what = f"revision {stored} is stored" if stored else "it is not stored"
    return ConversationBusy(
        f"The conversation {id!r:.80} was changed by another: {what}, this one goes on from "
        f"{f'revision {held}' if held else 'none'}. Nothing was saved; load it again and repeat the turn."
    )


def beyond(id: str, kept: int, stored: int) -> ValueError:
    """Give the error of a save that would keep more messages than there are."""
    return ValueError(f"kept={kept}: the conversation {id!r:.80} has {stored} stored messages.")


def corrupt(id: str, where: str, reason: str) -> StoreCorrupt:
    """Give the error for a conversation at *where* that cannot be read."""
    return StoreCorrupt(
        f"The conversation {id!r:.80} in {where} cannot be read: {reason}. It was left as it is; "
        "restore it from a backup, or delete it and start anew."
    )


def message_texts(id: str, messages: Iterable[Message]) -> list[str]:
    """Give each message as one line of ASCII JSON.

    Raises:
        StateError: one holds what JSON does not know.
        TypeError: one is no message.
    """
    texts = []
    for number, message in enumerate(messages):
        if not isinstance(message, Message):
            raise TypeError(f"added[{number}] is {message!r:.80}; give promptstream.Message objects.")
        texts.append(_text(id, f"added[{number}]", message.to_dict()))
    return texts


def state_texts(id: str, state: Mapping[str, Any]) -> tuple[str, str]:
    """Give *state* and its metadata as JSON, apart, so that a listing need not read the whole.

    Raises:
        StateError: it holds what JSON does not know.
        TypeError: it, or its metadata, is no mapping.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state={state!r:.80}: give a dict.")
    metadata = state.get("metadata", {})
    if not isinstance(metadata, Mapping):
        raise TypeError(f"state['metadata'] is {metadata!r:.80}; give a dict.")
    return _text(id, "state", state), _text(id, "state.metadata", metadata)


def read_messages(id: str, where: str, texts: Sequence[object]) -> tuple[Message, ...]:
    """Build messages from what :func:`message_texts` gave.

    Raises:
        StoreCorrupt: one cannot be read; the text says which, counted from 0.
    """
    messages = []
    for position, text in enumerate(texts):
        try:
            data = _value(text)
            if "parts" not in data:
                raise ValueError("it has no parts")
            messages.append(Message.from_dict(data))
        except ValueError as error:
            raise corrupt(id, where, f"message {position}: {error!s:.200}") from None
    return tuple(messages)


def read_state(id: str, where: str, text: object) -> dict[str, Any]:
    """Build a state, or its metadata, from what :func:`state_texts` gave.

    Raises:
        StoreCorrupt: it cannot be read.
    """
    try:
        return _value(text)
    except ValueError as error:
        raise corrupt(id, where, f"its state: {error!s:.200}") from None


def as_text(value: object) -> str:
    """Give what a store handed out as text.

    Raises:
        ValueError: it is neither text nor UTF-8.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8")  # UnicodeDecodeError is a ValueError
    if isinstance(value, str):
        return value
    raise ValueError(f"{type(value).__name__} where text is expected")


def _value(text: object) -> dict[str, Any]:
    try:
        value = json.loads(as_text(text))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.60} where a JSON object is expected")
    return value


_write = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
"""ASCII alone, so that a lone surrogate survives; Infinity and NaN are written as Python reads them."""


def _text(id: str, what: str, value: object) -> str:
    try:
        return _write(_plain(value, 1))
    except (_UnfitError, ValueError) as error:  # ValueError: an integer of thousands of digits
        path = "".join(reversed(getattr(error, "keys", ())))
        raise StateError(
            f"The conversation {id!r:.80} cannot be saved: {what}{path[:200]} {error!s:.200}. Nothing was changed."
        ) from None


def _plain(value: Any, depth: int) -> Any:
    """Copy *value* into JSON's own types: a key would lose its mask and a subclass its meaning otherwise."""
    if type(value) in _SIMPLE:
        return value
    if depth > DEEPEST:
        raise _UnfitError(f"is nested deeper than {DEEPEST} levels")
    if isinstance(value, Mapping):
        return {_key(key): each if type(each) in _SIMPLE else _inner(each, key, depth) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_inner(each, place, depth) for place, each in enumerate(value)]
    if isinstance(value, str):
        return MASK if isinstance(value, Secret) else str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise _UnfitError(f"is a {type(value).__name__}, which JSON does not know")


def _inner(value: Any, key: object, depth: int) -> Any:
    try:
        return _plain(value, depth + 1)
    except _UnfitError as error:
        error.keys.append(f"[{key!r:.60}]")
        raise


def _key(key: object) -> str:
    if type(key) is str:
        return key
    if isinstance(key, str) and not isinstance(key, Secret):
        return str.__str__(key)
    raise _UnfitError(f"has the key {key!r:.60}; keys are strings")
