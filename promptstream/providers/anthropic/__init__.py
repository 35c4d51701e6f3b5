"""Anthropic: Messages."""

from __future__ import annotations

from promptstream.providers.anthropic.dialect import AnthropicDialect

__all__ = ["AnthropicDialect"]
