"""Ollama: /api/chat and /api/generate."""

from __future__ import annotations

from promptstream.providers.ollama.dialect import OllamaDialect

__all__ = ["OllamaDialect"]
