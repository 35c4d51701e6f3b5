"""Gemini: streamGenerateContent."""

from __future__ import annotations

from promptstream.providers.gemini.dialect import GeminiDialect

__all__ = ["GeminiDialect"]
