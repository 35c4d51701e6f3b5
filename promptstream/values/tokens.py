"""Messages and tools in, the tokens that they take out: an estimate, without a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from promptstream.values.message import Document, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.request import ToolSpec

# In twelfths of a token. Measured with a vocabulary of 49,152 entries, SmolLM2's, which splits more finely than the
# larger ones of hosted models do: prose, code and JSON come to 0.98 to 1.36 times its count. Tables of numbers
# (0.67) and Chinese (0.85) stay below it, for large vocabularies have entries for three digits and for most characters.
_UNIT = 12
_WEIGHTS = (
    (b"abcdefghijklmnopqrstuvwxyz ", 3),  # words: four characters to a token
    (bytes(byte for byte in range(128) if not chr(byte).islower() and byte != 32), 8),  # two tokens to three
    (bytes(range(0xC2, 0xE0)), 8),  # first bytes of two: Latin with marks, Greek, Cyrillic, Hebrew, Arabic
    (bytes(range(0xE0, 0xF0)), 18),  # of three: Chinese, Japanese, Korean, Hindi, Thai
    (bytes(range(0xF0, 0xF5)), 30),  # of four: emoji, mostly
)
_LETTERS = 4
"""Characters of a token of prose."""
PER_MESSAGE = 4
"""Tokens that say who speaks, and that the message is over."""
_PER_CALL = 12
"""Tokens around a call, a result or a tool's description: its id and the names of its fields."""
_IMAGE = 1600
"""Tokens of an image: those of a square of 1,092 pixels at one for every 750, Anthropic's rate; others take less."""
_PAGE = 2000
"""Tokens of a page of a document that is no plain text: its text and its picture are both read."""
_PAGE_BYTES = 20_000
"""Bytes of such a page, where the pages cannot be counted."""
_UNSEEN_PAGES = 4
"""Pages of a document that is known by its address only."""


def text_tokens(text: str) -> int:
    """Estimate the tokens of *text* without a tokenizer, on the high side. Linear; any thread may call it."""
    data = text.encode("utf-8", "surrogatepass")
    classes = _WEIGHTS[:2] if text.isascii() else _WEIGHTS
    return -(-sum((len(data) - len(data.translate(None, each))) * weight for each, weight in classes) // _UNIT)


def estimate(messages: Iterable[Message], tools: Iterable[ToolSpec] = ()) -> int:
    """Estimate the tokens that *messages* and *tools* take in a request: every part, schema and overhead.

    Without a tokenizer, and rather too high than too low. Any thread may call it.
    """
    return sum(message_tokens(each, text_tokens) for each in messages) + sum(
        tool_tokens(each, text_tokens) for each in tools
    )


def message_tokens(message: Message, count: Callable[[str], int]) -> int:
    """Estimate the tokens of *message*, those of its texts by *count*."""
    return PER_MESSAGE + sum([part_tokens(part, count) for part in message.parts])


def part_tokens(part: Part, count: Callable[[str], int]) -> int:
    """Estimate the tokens of *part*, those of its texts by *count*."""
    # What a provider wants echoed it reads too: most often a thought, encrypted, so letters count as in prose.
    kept = len(str(part.metadata)) // _LETTERS if part.metadata else 0
    if isinstance(part, Text):
        return count(part.text) + kept
    if isinstance(part, Reasoning):
        return max(count(part.text), kept)
    if isinstance(part, ToolCall):
        raw = part.raw_arguments or _json(part.arguments or {})
        return _PER_CALL + count(part.name) + count(raw) + kept
    if isinstance(part, ToolResult):
        return _PER_CALL + count(part.name) + count(part.content) + kept
    return (_IMAGE if isinstance(part, Image) else _document(part, count)) + kept


def _document(part: Document, count: Callable[[str], int]) -> int:
    if part.data is None:
        return _PAGE * _UNSEEN_PAGES
    if (part.media_type or "").startswith("text/"):
        return count(part.data.decode(errors="replace"))
    # Pages are told in plain bytes, unless the file keeps its objects compressed (ISO 32000-1, 7.7.3.3 and 7.5.7).
    pages = sum(part.data.count(mark + b"/Page") - part.data.count(mark + b"/Pages") for mark in (b"/Type", b"/Type "))
    return _PAGE * (pages if pages > 0 else len(part.data) // _PAGE_BYTES + 1)


def tool_tokens(tool: ToolSpec, count: Callable[[str], int]) -> int:
    """Estimate the tokens of a tool's description and schema, those of its texts by *count*."""
    return _PER_CALL + count(tool.name) + count(tool.description) + count(_json(tool.parameters))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
