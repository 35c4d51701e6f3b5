"""A protocol's name in, how it is asked and where its events hold their text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

KEY, SYSTEM, PROMPT = "sk-bench", "You are terse.", "Hello"
MESSAGES = [{"role": "user", "content": PROMPT}]


class Protocol(NamedTuple):
    """Say what a client must know to speak one protocol."""

    name: str
    """Also promptstream's provider of that name."""
    title: str
    model: str
    prefix: str
    """What a base URL ends in, after the number of chunks."""
    path: str
    """What follows the base URL."""
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    text: Callable[[Any], str | None]
    """Give the text of an event's JSON value."""
    framing: str = "sse"
    line_end: bytes = b"\n"
    peer: str = ""
    """The official SDK's client, which the others are compared with."""

    @property
    def mark(self) -> bytes:
        """The bytes that end an event."""
        return self.line_end if self.framing == "ndjson" else 2 * self.line_end

    @property
    def content_type(self) -> str:
        """The type of the answer."""
        return "application/x-ndjson" if self.framing == "ndjson" else "text/event-stream; charset=utf-8"


def _openai(event: Any) -> str | None:
    choices = event["choices"]
    return choices[0]["delta"].get("content") if choices else None


def _anthropic(event: Any) -> str | None:
    return event["delta"]["text"] if event["type"] == "content_block_delta" else None


def _gemini(event: Any) -> str | None:
    return event["candidates"][0]["content"]["parts"][0]["text"]  # type: ignore[no-any-return]


def _ollama(event: Any) -> str | None:
    return event["message"]["content"]  # type: ignore[no-any-return]


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "openai",
            "Chat Completions",
            "gpt-bench",
            "/v1",
            "/chat/completions",
            {"Authorization": f"Bearer {KEY}"},
            {"model": "gpt-bench", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}},
            _openai,
            peer="openai",
        ),
        Protocol(
            "anthropic",
            "Anthropic Messages",
            "claude-bench",
            "",
            "/v1/messages",
            {"x-api-key": KEY, "anthropic-version": "2023-06-01"},
            {"model": "claude-bench", "messages": MESSAGES, "stream": True, "max_tokens": 4096},
            _anthropic,
            peer="anthropic",
        ),
        Protocol(
            "gemini",
            "Gemini streamGenerateContent",
            "gemini-bench",
            "",
            "/v1beta/models/gemini-bench:streamGenerateContent?alt=sse",
            {"x-goog-api-key": KEY},
            {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]},
            _gemini,
            line_end=b"\r\n",
            peer="gemini",
        ),
        Protocol(
            "ollama",
            "Ollama chat",
            "llama-bench",
            "",
            "/api/chat",
            {},
            {"model": "llama-bench", "messages": MESSAGES, "stream": True},
            _ollama,
            framing="ndjson",
            peer="ollama",
        ),
    )
}
