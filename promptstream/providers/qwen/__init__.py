"""Qwen: DashScope's compatible mode, and its own protocol."""

from __future__ import annotations

from promptstream.providers.qwen.dialect import QwenDialect

__all__ = ["QwenDialect"]
