"""A number of chunks in, the bytes of that OpenAI Chat Completions stream out, always the same ones."""

from __future__ import annotations

import functools
import json
import random
import re
from typing import Any

LARGEST = 200_000
ID = "chatcmpl-BnchQ7mZr2LkV9sXe4TdWcYp0aHgN"
TEXT = """The river kept its own count of the evenings, because nobody in the three houses would.

- **Zoë** wrote “light” and “slowly” on the wall; 42 letters (at most) came back.
- 東京 answered: \\(x^2\\), a "quoted" word, and 🙂, which is more than one expects of a Tuesday.
"""
TOKENS = tuple(re.findall(r" ?\w+|\s+|[^\w\s]+", TEXT))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\n"
    b"openai-processing-ms: 120\r\nx-request-id: req_bench\r\nX-Content-Type-Options: nosniff\r\n\r\n"
)
TAIL = b"0\r\n\r\n"


@functools.lru_cache(maxsize=8)
def texts(chunks: int) -> tuple[str, ...]:
    """Give the text of each text chunk."""
    chance = random.Random(chunks)
    return tuple(chance.choice(TOKENS) for _ in range(chunks))


@functools.lru_cache(maxsize=8)
def pieces(chunks: int) -> tuple[bytes, ...]:
    """Give the body as HTTP chunks, one to an event: role, *chunks* texts, finish, usage, ``[DONE]``."""
    chance = random.Random(chunks + 1)
    events = [_event(chance, {"role": "assistant", "content": "", "refusal": None})]
    events += [_event(chance, {"content": text}) for text in texts(chunks)]
    events.append(_event(chance, {}, finish="stop"))
    events.append(_event(chance, None, usage=_usage(chunks)))
    events.append(b"data: [DONE]\n\n")
    return tuple(b"%x\r\n%b\r\n" % (len(event), event) for event in events)


@functools.lru_cache(maxsize=8)
def response(chunks: int) -> bytes:
    """Give the whole HTTP response of :func:`pieces`, head and all."""
    return b"".join((HEAD, *pieces(chunks), TAIL))


def _event(
    chance: random.Random, delta: dict[str, Any] | None, *, finish: str | None = None, usage: Any = None
) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    payload = {
        "id": ID,
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": "gpt-bench-2026-01-01",
        "service_tier": "default",
        "system_fingerprint": "fp_0b3c9d11e7",
        "choices": [] if delta is None else [choice],
        "usage": usage,
        "obfuscation": "".join(chance.choices(ALPHABET, k=chance.randint(3, 12))),
    }
    return b"data: " + json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def _usage(chunks: int) -> dict[str, Any]:
    return {
        "prompt_tokens": 20,
        "completion_tokens": chunks,
        "total_tokens": 20 + chunks,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
