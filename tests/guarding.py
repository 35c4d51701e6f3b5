"""A layer and chunks in, what left it and when out: for the tests of guards and the like."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from promptstream.errors import GuardrailTripped, Truncated
from promptstream.packs.finding import Findings
from promptstream.packs.validators import Validator, parse_validators
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.message import Message, ToolCall
from promptstream.values.request import ChatRequest

Layer = Callable[..., Iterator[Chunk]]
HELLO = ChatRequest(messages=(Message("system", "Be kind."), Message("user", "Hello")))
STOP = Finish(reason="stop")


def text(said: str, **fields: Any) -> Chunk:
    """Give a chunk of text."""
    return Chunk(ChunkType.TEXT, said, **fields)


def thought(said: str) -> Chunk:
    """Give a chunk of reasoning."""
    return Chunk(ChunkType.REASONING, reasoning=said)


def fragment(call_id: str, raw: str, name: str = "send") -> Chunk:
    """Give a fragment of a tool call."""
    return Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=ToolCall(call_id, name, None, raw))


def whole(call_id: str, raw: str, name: str = "send") -> Chunk:
    """Give a whole tool call."""
    return Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall(call_id, name, json.loads(raw), raw))


@attrs.define
class Seen:
    """What came out of a layer."""

    chunks: list[Chunk] = attrs.field(factory=list)
    error: Exception | None = None
    taken: int = 0
    """How many chunks the layer read."""
    closed: bool = False

    @property
    def text(self) -> str:
        return "".join(each.text for each in self.chunks)

    @property
    def reasoning(self) -> str:
        return "".join(each.reasoning for each in self.chunks)

    @property
    def validations(self) -> list[dict[str, Any]]:
        return [dict(found) for each in self.chunks if isinstance(each, Finish) for found in each.validations]

    @property
    def reason(self) -> str | None:
        return [each.reason for each in self.chunks if isinstance(each, Finish) and each.reason][-1]


def run(layer: Layer, *chunks: Chunk | Exception, request: ChatRequest = HELLO) -> Seen:
    """Give what *layer* makes of *chunks*."""
    seen = Seen()

    def provider(asked: ChatRequest) -> Iterator[Chunk]:
        try:
            for each in chunks:
                seen.taken += 1
                if isinstance(each, Exception):
                    raise each
                yield each
        finally:
            seen.closed = True

    try:
        for each in layer(request, provider):
            seen.chunks.append(each)
    except (GuardrailTripped, Truncated) as error:
        seen.error = error
    return seen


def flow(layer: Layer, *chunks: Chunk) -> list[str]:
    """Give the text that had left after each chunk was read."""
    left: list[str] = []
    said: list[str] = []

    def provider(asked: ChatRequest) -> Iterator[Chunk]:
        for each in chunks:
            yield each
            left.append("".join(said))

    for each in layer(HELLO, provider):
        said.append(each.text)
    return left


def validator(kind: str, fails: bool = True, **params: Any) -> Validator:
    """Give a validator of a pack."""
    findings = Findings()
    raw = [{"type": kind, "enabled": True, "fail_on_violation": fails, "params": params}]
    (parsed,) = parse_validators(raw, "$.v", findings)
    assert not findings.all
    return parsed


def pieces(said: str, places: list[int]) -> list[str]:
    """Cut a text."""
    ends = sorted({min(each, len(said)) for each in places} | {len(said)})
    return [said[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]


INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
WIDE = {0xFF01 + number: 0x21 + number for number in range(94)}


def normalised(said: str) -> tuple[str, list[int]]:
    """Give a text by whole letters (a base with its marks) in one spelling, and whose letter each character is."""
    letters: list[tuple[int, str]] = []
    for place, each in enumerate(said):
        if unicodedata.combining(each) and letters and letters[-1][1] not in INVISIBLE:
            letters[-1] = letters[-1][0], letters[-1][1] + each
        else:
            letters.append((place, each))
    text, owners = "", []
    for place, letter in letters:
        plain = unicodedata.normalize("NFD", letter.translate(WIDE)).casefold()
        plain = unicodedata.normalize("NFD", plain).replace("\u0131", "i")
        plain = re.sub("i[\u0300-\u036f]+", lambda found: found[0].replace("\u0307", ""), plain)
        text += plain
        owners += [place] * len(plain)
    return text, owners


def _of_word(character: str) -> bool:
    if character in "词坏คำ":
        return False
    return character.isalnum() or character == "_" or unicodedata.category(character) in ("Mn", "Mc")


def first_banned(said: str, phrases: list[str], by_word: bool) -> int | None:
    """Search naively: write all of the text in one spelling, and try each phrase at each place of it."""
    text, owners = normalised(said)
    found = []
    for phrase in phrases:
        seen = "".join(each for each in normalised(phrase)[0] if each not in INVISIBLE)
        items = [rf"\s[\s{INVISIBLE}]*?" if each.isspace() else re.escape(each) for each in re.findall(r"\s+|\S", seen)]
        pattern = re.compile(f"[{INVISIBLE}]*".join(items))
        for place in range(len(text)):
            match = pattern.match(text, place)
            if match is None or unicodedata.category(text[match.end() : match.end() + 1] or " ") in ("Mn", "Mc"):
                continue
            before = place > 0 and _of_word(text[place - 1]) and _of_word(text[place])
            after = match.end() < len(text) and _of_word(text[match.end() - 1]) and _of_word(text[match.end()])
            if not by_word or not (before or after):
                found.append(owners[place])
    return min(found, default=None)
