"""Texts in, the events of one protocol's stream out, each shaped and sized like a real one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
PROMPT_TOKENS = 20
Make = Callable[[Sequence[str], random.Random], Iterator[bytes]]


def _dumps(value: Any, *, spaced: bool = False) -> bytes:
    return json.dumps(value, separators=None if spaced else (",", ":"), ensure_ascii=False).encode()


def openai(texts: Sequence[str], chance: random.Random) -> Iterator[bytes]:
    """Give Chat Completions: role, texts, finish, usage, ``[DONE]``."""
    for delta, finish, usage in (
        ({"role": "assistant", "content": "", "refusal": None}, None, None),
        *(({"content": text}, None, None) for text in texts),
        ({}, "stop", None),
        (None, None, _openai_usage(len(texts))),
    ):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        payload = {
            "id": "chatcmpl-BnchQ7mZr2LkV9sXe4TdWcYp0aHgN",
            "object": "chat.completion.chunk",
            "created": 1767225600,
            "model": "gpt-bench-2026-01-01",
            "service_tier": "default",
            "system_fingerprint": "fp_0b3c9d11e7",
            "choices": [] if delta is None else [choice],
            "usage": usage,
            "obfuscation": "".join(chance.choices(ALPHABET, k=chance.randint(3, 12))),
        }
        yield b"data: " + _dumps(payload) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _openai_usage(chunks: int) -> dict[str, Any]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": chunks,
        "total_tokens": PROMPT_TOKENS + chunks,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def anthropic(texts: Sequence[str], chance: random.Random) -> Iterator[bytes]:
    """Give Messages: start, a block with a ping in it, the texts, and the two events that end it; padded as there."""
    counts = {"input_tokens": PROMPT_TOKENS, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    message = {
        "model": "claude-bench-20260101",
        "id": "msg_01BnchQ7mZr2LkV9sXe4TdWcY",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**counts, "output_tokens": 1, "service_tier": "standard"},
    }
    payloads: Iterable[dict[str, Any]] = (
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {**counts, "output_tokens": len(texts)},
        },
        {"type": "message_stop"},
    )
    for payload in payloads:
        padding = b" " * chance.randint(0, 15)
        yield b"event: %b\ndata: %b%b\n\n" % (payload["type"].encode(), _dumps(payload), padding)


def gemini(texts: Sequence[str], chance: random.Random) -> Iterator[bytes]:
    """Give GenerateContentResponses, CRLF between them, the counts in each and the finish reason in the last."""
    for number, text in enumerate((*texts, ""), 1):
        candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}}
        if number > len(texts):
            candidate["finishReason"] = "STOP"
        produced = min(number, len(texts))
        usage = {
            "promptTokenCount": PROMPT_TOKENS,
            "candidatesTokenCount": produced,
            "totalTokenCount": PROMPT_TOKENS + produced,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": PROMPT_TOKENS}],
        }
        payload = {
            "candidates": [{**candidate, "index": 0}],
            "usageMetadata": usage,
            "modelVersion": "gemini-bench",
            "responseId": "BnchQ7mZr2LkV9sXe4TdWc",
        }
        yield b"data: " + _dumps(payload, spaced=True) + b"\r\n\r\n"


def ollama(texts: Sequence[str], chance: random.Random) -> Iterator[bytes]:
    """Give the lines of ``/api/chat``, the counts in the last one."""

    def line(content: str, **more: Any) -> bytes:
        made = f"2026-01-01T00:00:{chance.uniform(10, 59):.7f}Z"
        message = {"role": "assistant", "content": content}
        return _dumps({"model": "llama-bench", "created_at": made, "message": message, **more}) + b"\n"

    for text in texts:
        yield line(text, done=False)
    yield line(
        "",
        done=True,
        done_reason="stop",
        total_duration=3722518334,
        load_duration=1534053125,
        prompt_eval_count=PROMPT_TOKENS,
        prompt_eval_duration=179676000,
        eval_count=len(texts),
        eval_duration=2006086000,
    )


MAKE: dict[str, Make] = {"openai": openai, "anthropic": anthropic, "gemini": gemini, "ollama": ollama}
