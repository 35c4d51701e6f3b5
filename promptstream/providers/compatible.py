"""Any server that speaks Chat Completions: vLLM, llama.cpp, LM Studio, Groq, Mistral, DeepSeek, …"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from promptstream.errors import ConfigError
from promptstream.providers.openai import OpenAIDialect
from promptstream.providers.openai_models import Rules


class CompatibleDialect(OpenAIDialect):
    """Speak Chat Completions to a server named by its ``base_url``, with or without a key."""

    name = "compatible"
    default_model: ClassVar[str] = ""
    default_url: ClassVar[str] = ""
    key_variables: ClassVar[tuple[str, ...]] = ("PROMPTSTREAM_API_KEY",)
    key_required: ClassVar[bool] = False

    def __init__(
        self,
        *,
        api_key: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not base_url:
            raise ConfigError("compatible needs base_url=…, the server's address up to and with /v1.")
        super().__init__(api_key=api_key, model=model, base_url=base_url, headers=headers)

    def rules(self, model: str) -> Rules:
        """Refuse nothing: only the server knows what its models take."""
        return Rules(limit="max_tokens")
