"""OpenAI: Chat Completions, which most servers speak, and Responses."""

from __future__ import annotations

from promptstream.providers.openai.chat import OpenAIDialect

__all__ = ["OpenAIDialect"]
