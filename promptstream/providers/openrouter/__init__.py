"""OpenRouter: Chat Completions and text completions of many vendors."""

from __future__ import annotations

from promptstream.providers.openrouter.dialect import OpenRouterDialect

__all__ = ["OpenRouterDialect"]
