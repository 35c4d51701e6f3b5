"""The eight providers of the contract, each from the server's side."""

from __future__ import annotations

from wires.anthropic import AnthropicWire
from wires.base import Wire
from wires.chat import ChatWire, CompatibleWire
from wires.gemini import GeminiWire
from wires.ollama import OllamaWire
from wires.openai_responses import ResponsesWire
from wires.openrouter import OpenRouterWire
from wires.qwen import QwenWire

WIRES: dict[str, Wire] = {
    str(wire): wire
    for wire in (
        ChatWire(),
        ResponsesWire(),
        AnthropicWire(),
        GeminiWire(),
        OpenRouterWire(),
        QwenWire(),
        OllamaWire(),
        CompatibleWire(),
    )
}
"""By name: openai, openai-responses, anthropic, gemini, openrouter, qwen, ollama, compatible."""
