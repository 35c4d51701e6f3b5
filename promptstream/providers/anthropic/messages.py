"""A history in, the messages that Anthropic takes out: roles alternate, the user begins, nothing is empty."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from promptstream.errors import ConfigError, Unsupported
from promptstream.providers.anthropic.blocks import PROTOCOL
from promptstream.providers.parameters import encoded_data, portable_id
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.names import called_as

OPENING = "(The assistant begins.)"
"""What the user says where a history begins with the assistant: the user must speak first."""
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_Blocks = list[dict[str, Any]]


def encode_messages(
    messages: Sequence[Message], declared: Container[str]
) -> tuple[str, list[dict[str, Any]], list[str]]:
    """Give the system prompt, the other messages, and warnings of what was added; *declared* are the tools' names.

    Raises:
        ConfigError: no user speaks, or what the user says last is empty.
        Unsupported: a message holds what this protocol cannot carry.
    """
    system = "\n\n".join(message.text for message in messages if message.role == "system" and message.text.strip())
    said = [message for message in messages if message.role != "system"]
    if not said:
        raise ConfigError("Anthropic answers what a user says; give a message of the user.")
    awaited = _awaited(said)
    discarded = {call.id for message in said if _is_refused(message) for call in message.tool_calls}
    encoded: list[dict[str, Any]] = []
    for message in said:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _assistant(message, awaited, declared) if role == "assistant" else _user(message, discarded)
        if not blocks:
            continue
        if encoded and encoded[-1]["role"] == role:
            encoded[-1]["content"] += blocks
        else:
            encoded.append({"role": role, "content": blocks})
    if said[-1].role == "user" and not _user(said[-1], discarded):
        raise ConfigError("The user's last message is empty or white space, which Anthropic refuses.")
    for turn in encoded:
        if turn["role"] == "user":  # results go first; the sort keeps the order of all else
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    _trim(encoded)
    warnings = []
    if encoded and encoded[0]["role"] == "assistant":
        encoded.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENING}]})
        warnings.append(f"The history begins with the assistant; {OPENING!r} was sent before it as the user's.")
    if not encoded:
        raise ConfigError("The messages are empty or white space, which Anthropic refuses.")
    return system, [_plain(turn) for turn in encoded], warnings


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """Write content that is one text as a string, as most requests are written."""
    content = message["content"]
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        return {"role": message["role"], "content": content[0]["text"]}
    return message


def _trim(encoded: list[dict[str, Any]]) -> None:
    """Take the white space off the end of an answer that is to be gone on with: it would be refused."""
    if encoded and encoded[-1]["role"] == "assistant" and (last := encoded[-1]["content"][-1])["type"] == "text":
        last["text"] = last["text"].rstrip()


def _own(part: Any) -> Mapping[str, Any]:
    """Give what an earlier answer of this protocol left on a part; that of other protocols is not looked at."""
    own = (part.metadata or {}).get(PROTOCOL)
    return own if isinstance(own, Mapping) else {}


def _awaited(messages: Sequence[Message]) -> set[str]:
    """Give the ids of the uses of a server's tools that may be sent: with a result, or with one still to come."""
    ids: set[str] = set()
    for number, message in enumerate(messages):
        stopped = message.finish_reason in ("cancelled", "failed", "length")
        goes_on = not stopped and (bool(message.tool_calls) or number == len(messages) - 1)
        for part in message.parts:
            block = _own(part).get("block")
            if not _is_block(block):
                continue
            key = "id" if goes_on and _is_use(block) else "tool_use_id"
            if isinstance(identity := block.get(key), str):
                ids.add(identity)
    return ids


def _is_block(block: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(block, dict) and isinstance(block.get("type"), str)


def _is_use(block: Mapping[str, Any]) -> bool:
    return str(block["type"]).endswith("tool_use")


def _is_refused(message: Message) -> bool:
    """Tell whether an answer ended in a refusal: the provider asks that what came before it be discarded."""
    return any("refusal" in _own(part) for part in message.parts)


def _assistant(message: Message, awaited: set[str], declared: Container[str]) -> _Blocks:
    if _is_refused(message):
        return []
    blocks = [block for part in message.parts for block in _said(part, awaited, declared)]
    while blocks and blocks[-1]["type"] in ("thinking", "redacted_thinking"):
        blocks.pop()  # stopped before it spoke: an answer that ends in a thought is refused
    return blocks


def _said(part: Any, awaited: set[str], declared: Container[str]) -> Iterator[dict[str, Any]]:
    own = _own(part)
    if isinstance(part, ToolCall):
        name, given = called_as(part.name, declared), part.arguments or {}
        use = {"type": "tool_use", "id": portable_id(part.id), "name": name, "input": given}
        yield use | ({"caller": own["caller"]} if "caller" in own else {})
    elif isinstance(part, Reasoning):
        if own.get("signature"):
            yield {"type": "thinking", "thinking": part.text, "signature": own["signature"]}
        elif own.get("redacted"):
            yield {"type": "redacted_thinking", "data": own["redacted"]}
    elif isinstance(part, Text):
        block = own.get("block")
        if _is_block(block) and (not _is_use(block) or block.get("id") in awaited):
            yield copy.deepcopy(block)
        if part.text.strip():
            yield {"type": "text", "text": part.text} | ({"citations": own["citations"]} if "citations" in own else {})
    else:
        raise Unsupported(f"Anthropic does not take a {type(part).__name__} in an assistant's message.")


def _user(message: Message, discarded: set[str]) -> _Blocks:
    return list(_heard(part for part in message.parts if getattr(part, "call_id", None) not in discarded))


def _heard(parts: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for part in parts:
        if isinstance(part, ToolResult):
            result = {"type": "tool_result", "tool_use_id": portable_id(part.call_id), "content": part.content}
            yield result | ({"is_error": True} if part.error else {})
        elif isinstance(part, Text):
            if part.text.strip():
                yield {"type": "text", "text": part.text}
        elif isinstance(part, Image):
            yield {"type": "image", "source": _image(part)}
        elif isinstance(part, Document):
            yield {"type": "document", "source": _document(part)} | ({"title": part.name} if part.name else {})
        elif isinstance(part, ToolCall):
            raise Unsupported("Anthropic does not take a ToolCall in a user's message.")


def _image(image: Image) -> dict[str, Any]:
    if image.data is None and image.url is not None:
        return {"type": "url", "url": image.url}
    data, kind = encoded_data(image)
    kind = "image/jpeg" if kind == "image/jpg" else kind
    if kind not in IMAGES:
        raise Unsupported(f"Anthropic takes images as {', '.join(IMAGES)}, not {kind}; convert it first.")
    return {"type": "base64", "media_type": kind, "data": data}


def _document(document: Document) -> dict[str, Any]:
    if document.data is None and document.url is not None:
        return {"type": "url", "url": document.url}
    data, kind = encoded_data(document)
    if kind == "application/pdf":
        return {"type": "base64", "media_type": kind, "data": data}
    if kind.startswith("text/") or kind == "application/json":
        text = (document.data or b"").decode("utf-8-sig", errors="replace")
        if not text.strip():
            raise ConfigError(
                f"The Document {document.name or ''} is empty, which Anthropic refuses.".replace("  ", " ")
            )
        return {"type": "text", "media_type": "text/plain", "data": text}
    raise Unsupported(f"Anthropic takes documents as PDF or text, not {kind}; convert it first.")
