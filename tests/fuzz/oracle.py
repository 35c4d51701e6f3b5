"""The bytes of an answer in; whether anything in them says that it is whole out, by no code of promptstream's."""

from __future__ import annotations

import json
import re

from whatwg import interpret, lines_of

_SET = rb"\s*:\s*(?!null|\"\"|false|0|\[\]|\{\})"
_ENDS: dict[str, re.Pattern[bytes]] = {
    "openai-chat": re.compile(rb'"finish_reason"' + _SET),
    "openai-completions": re.compile(rb'"finish_reason"' + _SET),
    "openai-responses": re.compile(rb"response\.(completed|incomplete)"),
    "anthropic": re.compile(rb'"stop_reason"' + _SET + rb"|message_stop"),
    "gemini": re.compile(rb'"finish_?[rR]eason"' + _SET),
    "ollama": re.compile(rb'"(done|done_reason)"' + _SET),
    "qwen-native": re.compile(rb'"finish_reason"' + _SET),
}
"""What the finish signal of each protocol cannot do without."""
_SENTINELS = ("[DONE]", '"[DONE]"')


def may_be_whole(protocol: str, body: bytes) -> bool:
    """Tell whether a whole event of *body*, or all of it, holds what may end an answer."""
    if _values(body.removeprefix(b"\xef\xbb\xbf").decode(errors="replace")):
        return True  # one JSON value, and it came whole
    if protocol == "ollama":
        lines, tail = lines_of(body)
        return any(_ends(protocol, "", line) for line in (*lines, tail.decode(errors="replace")))
    events, tail, _ = interpret(body)
    last = interpret(tail.removesuffix(b"\n") + b"\n\n").events  # as if its blank line had come
    bare = tail.decode(errors="replace")  # one whole JSON object, without any field
    return any(_ends(protocol, event.event, event.data) for event in (*events, *last)) or _ends(protocol, "", bare)


def _ends(protocol: str, name: str, data: str) -> bool:
    text = data.strip()
    if protocol != "ollama" and text in _SENTINELS:
        return True
    found = _ENDS[protocol].search(f"{name}\n{text}".encode(errors="replace"))
    if found is None and "\\u" in text:  # a key may be written in escapes
        values = _values(text)
        found = _ENDS[protocol].search(json.dumps(values[0]).encode()) if values else None
    return found is not None and bool(_values(text))


def _values(text: str) -> list[object]:
    """Give the JSON values that *text* is made of, one after the other; none where it is not wholly JSON."""
    decoder, values, at = json.JSONDecoder(), [], 0
    text = text.strip()
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        values.append(value)
        while at < len(text) and text[at].isspace():
            at += 1
    return values
