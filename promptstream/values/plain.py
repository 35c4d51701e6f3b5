"""Plain dicts as vendors write messages in, values out.

Chat Completions is the shape that most code has at hand; the content blocks of Anthropic's Messages and
of OpenAI's Responses are read too, as far as one message holds them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from promptstream.values.message import (
    PART_TYPES,
    PARTS,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    part_from_dict,
)

_KEYS = {"role", "content", "name", "tool_call_id", "tool_calls", "refusal", "reasoning_content", "reasoning"}


def read_plain(data: Mapping[str, Any]) -> Message:
    """Give the message that a dict of ``role`` and ``content`` is.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is none.
    """
    # What is empty says nothing: vendors' own messages carry many such keys.
    if unknown := sorted(str(key) for key in set(data) - _KEYS if data[key] not in (None, [], {}, "")):
        raise ValueError(f"a plain message has 'role' and 'content'; {unknown[0]!r} is not understood.")
    content, role = data.get("content"), data["role"]
    if isinstance(content, Mapping):
        raise ValueError("a message's 'content' is a string or a list of parts, not a dict.")
    if role == "tool":
        if not (data.get("tool_call_id") or data.get("name")):
            raise ValueError("a tool's message needs the 'tool_call_id' of the call it answers.")
        return Message("tool", ToolResult(data.get("tool_call_id") or "", data.get("name") or "", _joined(content)))
    listed = [content] if isinstance(content, str) and content else content or ()
    parts = [_part(part) for part in listed]
    if thoughts := data.get("reasoning_content") or data.get("reasoning"):
        parts.insert(0, Reasoning(thoughts))
    if refusal := data.get("refusal"):
        parts.append(Text(refusal))
    parts += [_call(call) for call in data.get("tool_calls") or ()]
    if role == "user" and any(isinstance(part, ToolResult) for part in parts):
        if not all(isinstance(part, ToolResult) for part in parts):
            raise ValueError("results of tools stand beside other content; give them in a message of their own before.")
        role = "tool"  # where Anthropic has the user say them
    return Message("system" if role == "developer" else role, parts)


def _part(part: Any) -> Part:
    if isinstance(part, str):
        return Text(part)
    if isinstance(part, PART_TYPES):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(kind, str) and kind in _READERS:
        return _READERS[kind](part)
    if isinstance(kind, str) and kind in PARTS:
        return part_from_dict(part)
    raise ValueError(
        f"a content part of type {kind!r:.80} is not understood; give a string, or a dict of type text, image_url, "
        "file, image or document, or promptstream's own Text, Image, Document, …"
    )


def _text(part: Mapping[str, Any]) -> Text:
    return Text(part["text"], part.get("metadata"))


def _image_url(part: Mapping[str, Any]) -> Image:
    image = part["image_url"]
    if isinstance(image, str):
        return Image(url=image, detail=part.get("detail"))
    return Image(url=image["url"], detail=image.get("detail"))


def _file(part: Mapping[str, Any]) -> Document:
    file = part.get("file", part)
    address = file.get("file_data") or file.get("file_url")
    if not address:
        raise ValueError("a file is given by file_data or file_url: what is kept under an id is the provider's own.")
    return Document(url=address, name=file.get("filename"))


def _sourced(part: Mapping[str, Any]) -> Part:
    """Read an image or a document as Anthropic writes it, or as our own parts do."""
    if "source" not in part:
        return part_from_dict(part)
    source, name = part["source"], part.get("title")
    if source["type"] not in ("base64", "text", "url"):
        raise ValueError(f"the source of the {part['type']} is of type {source['type']!r:.80}; give base64 or url.")
    fields: dict[str, Any] = {"type": part["type"], "media_type": source.get("media_type")}
    if source["type"] == "url":
        fields["url"] = source["url"]
    elif source["type"] == "text":
        fields["data"] = source["data"].encode()
    else:
        fields["data"] = source["data"]
    return part_from_dict(fields | ({"name": name} if name and part["type"] == "document" else {}))


def _thinking(part: Mapping[str, Any]) -> Reasoning:
    signature = part.get("signature")
    return Reasoning(part["thinking"], {"anthropic": {"signature": signature}} if signature else None)


def _tool_use(part: Mapping[str, Any]) -> ToolCall:
    return _call({"id": part["id"], "function": {"name": part["name"], "arguments": part.get("input") or {}}})


def _tool_result(part: Mapping[str, Any]) -> Part:
    if "tool_use_id" not in part:
        return part_from_dict(part)
    return ToolResult(part["tool_use_id"], "", _joined(part.get("content") or ""), bool(part.get("is_error")))


_READERS: dict[str, Callable[[Mapping[str, Any]], Part]] = {
    **dict.fromkeys(("text", "input_text", "output_text"), _text),
    **dict.fromkeys(("image_url", "input_image"), _image_url),
    **dict.fromkeys(("file", "input_file"), _file),
    **dict.fromkeys(("image", "document"), _sourced),
    "refusal": lambda part: Text(part["refusal"]),
    "thinking": _thinking,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}


def _joined(content: Any) -> str:
    """Give the text of a tool's result."""
    if isinstance(content, str):
        return content
    parts = [_part(part) if isinstance(part, Mapping) else part for part in content or ()]
    texts = [part.text for part in parts if isinstance(part, Text)]
    if not parts or len(texts) < len(parts):
        raise ValueError("the content of a tool's result is a string, or a list of parts that are text.")
    return "".join(texts)


def _call(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function") or {}
    given, problem = function.get("arguments"), None
    raw = given if isinstance(given, str) and given else json.dumps(given or {}, ensure_ascii=False)
    try:
        arguments = json.loads(raw)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        arguments, problem = None, "the arguments are not one JSON object"
    return ToolCall(call.get("id") or "", function.get("name") or "", arguments, raw, problem)
