"""Any server that speaks Chat Completions: vLLM, llama.cpp, LM Studio, Groq, Mistral, DeepSeek, …"""

from __future__ import annotations

from typing import ClassVar

from promptstream.providers.openai import OpenAIDialect
from promptstream.providers.openai_models import Rules


class CompatibleDialect(OpenAIDialect):
    """Speak Chat Completions to a server named by its ``base_url``, with or without a key."""

    name = "compatible"
    default_model: ClassVar[str] = ""
    default_url: ClassVar[str] = ""
    url_variable: ClassVar[str] = ""
    key_variables: ClassVar[tuple[str, ...]] = ("PROMPTSTREAM_API_KEY",)
    key_required: ClassVar[bool] = False

    def rules(self, model: str) -> Rules:
        """Refuse nothing: only the server knows what its models take."""
        return Rules(limit="max_tokens")
