"""A base URL in, the official SDKs out: each one client object for every thread, its connections kept."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.client import Client
from benchmarks.protocols import KEY, MESSAGES, PROMPT, PROTOCOLS

CONNECTIONS = 1000
"""As many as OpenAI's and Anthropic's SDKs have open at once; Ollama's would stop at 100."""


class OpenAI(Client):
    """OpenAI's SDK."""

    def __init__(self, base_url: str) -> None:
        import openai

        self._create = openai.OpenAI(api_key=KEY, base_url=base_url, max_retries=0, timeout=60).chat.completions.create

    def texts(self) -> Iterator[str]:
        for chunk in self._create(**PROTOCOLS["openai"].body):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield text


class Anthropic(Client):
    """Anthropic's SDK; ``create(stream=True)``, which gives events, costs less than its ``stream()``."""

    def __init__(self, base_url: str) -> None:
        import anthropic

        self._create = anthropic.Anthropic(api_key=KEY, base_url=base_url, max_retries=0, timeout=60).messages.create

    def texts(self) -> Iterator[str]:
        for event in self._create(**PROTOCOLS["anthropic"].body):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text


class Gemini(Client):
    """Google's SDK."""

    def __init__(self, base_url: str) -> None:
        from google import genai

        options = genai.types.HttpOptions(base_url=base_url, api_version="v1beta", timeout=60_000)
        self._client = genai.Client(api_key=KEY, http_options=options)  # which ends its connections when it is dropped

    def texts(self) -> Iterator[str]:
        model = PROTOCOLS["gemini"].model
        for chunk in self._client.models.generate_content_stream(model=model, contents=PROMPT):
            if text := chunk.text:
                yield text


class Ollama(Client):
    """Ollama's SDK."""

    def __init__(self, base_url: str) -> None:
        import httpx
        import ollama

        limits = httpx.Limits(max_connections=CONNECTIONS)
        self._chat = ollama.Client(host=base_url, timeout=60, limits=limits).chat

    def texts(self) -> Iterator[str]:
        for part in self._chat(model=PROTOCOLS["ollama"].model, messages=MESSAGES, stream=True):
            if text := part.message.content:
                yield text
