"""The bytes of a server's answer in, the text and the finish signal that they hold whole out.

Read by each protocol's own documents and by nothing of the library, so that the two can disagree.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from dialects import Dialect


@attrs.frozen
class Journal:
    """What was sent whole."""

    text: str = ""
    """The deltas' text, in order."""
    finished: bool = False
    """True once the finish signal, or the terminator after content, was sent."""
    streamed: bool = True
    """False where the answer is one JSON body and no stream."""


def read_journal(dialect: Dialect, sent: bytes) -> Journal:
    """Read what a server *sent* in answer to one request."""
    head, found, body = sent.partition(b"\r\n\r\n")
    if not found or not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
        return Journal()
    top = head.decode("latin-1").lower()
    if "transfer-encoding: chunked" in top:
        body = _dechunked(body)
    if "content-encoding: gzip" in top:
        body = _unzipped(body)
    body = body.removeprefix(b"\xef\xbb\xbf")
    if dialect.framing == "sse" and body.lstrip().startswith((b"{", b"[")):
        return Journal(streamed=False)
    read = _READERS[dialect.name]
    text, finished = "", False
    for data in _lines(body) if dialect.framing == "ndjson" else _events(body):
        if data == "[DONE]":
            finished = finished or bool(text)
            continue
        try:
            said = json.loads(data)
            piece, ended = read(said)
            text += piece or ""
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            continue
        finished = finished or bool(ended)
    return Journal(text, finished)


def _dechunked(body: bytes) -> bytes:
    """Take the chunks off, as far as they are chunks; of the last one what came of it."""
    found, at = bytearray(), 0
    while (end := body.find(b"\n", at)) >= 0:
        try:
            size = int(body[at:end].partition(b";")[0], 16)
        except ValueError:
            break
        if size <= 0:
            break
        found += body[end + 1 : end + 1 + size]
        at = end + 1 + size + 2
    return bytes(found)


def _unzipped(body: bytes) -> bytes:
    squeeze, found = zlib.decompressobj(wbits=47), bytearray()
    try:
        for at in range(len(body)):
            found += squeeze.decompress(body[at : at + 1])
    except zlib.error:
        pass  # corrupt from here on, which may be the fault itself
    return bytes(found)


def _events(body: bytes) -> Iterator[str]:
    """Give the data of each event; of the unterminated rest too, which may be one whole JSON object."""
    text = re.sub("\r\n|\r", "\n", body.decode(errors="replace"))
    for block in text.split("\n\n"):
        yield "\n".join(line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:"))


def _lines(body: bytes) -> Iterator[str]:
    yield from body.decode(errors="replace").split("\n")


def _chat(said: Any) -> tuple[str, object]:
    choice = next((each for each in said["choices"] if each.get("index", 0) == 0), {})
    return choice.get("delta", {}).get("content") or "", choice.get("finish_reason")


def _completions(said: Any) -> tuple[str, object]:
    choice = next((each for each in said["choices"] if each.get("index", 0) == 0), {})
    return choice.get("text") or "", choice.get("finish_reason")


def _responses(said: Any) -> tuple[str, object]:
    kind = said["type"]
    text = said["delta"] if kind in ("response.output_text.delta", "response.refusal.delta") else ""
    return text, kind in ("response.completed", "response.incomplete")


def _anthropic(said: Any) -> tuple[str, object]:
    kind, delta = said["type"], said.get("delta") or {}
    text = delta.get("text", "") if kind == "content_block_delta" else ""
    return text, kind == "message_stop" or (kind == "message_delta" and delta.get("stop_reason"))


def _gemini(said: Any) -> tuple[str, object]:
    candidate = next((each for each in said["candidates"] if not each.get("index")), {})
    parts = (candidate.get("content") or {}).get("parts") or ()
    return "".join(part.get("text", "") for part in parts if not part.get("thought")), candidate.get("finishReason")


def _ollama(said: Any) -> tuple[str, object]:
    return (said.get("message") or {}).get("content") or "", said.get("done")


_READERS: dict[str, Callable[[Any], tuple[str, object]]] = {
    "chat": _chat,
    "completions": _completions,
    "responses": _responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "ollama": _ollama,
}
