"""Any server that speaks Chat Completions: vLLM, llama.cpp, LM Studio, Groq, Mistral, DeepSeek, Azure, …"""

from __future__ import annotations

import hashlib
import re
from typing import ClassVar
from urllib.parse import urlsplit

from promptstream.providers.openai.chat import OpenAIDialect
from promptstream.providers.openai.models import Rules, any_id

_MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")


class CompatibleDialect(OpenAIDialect):
    """Speak Chat Completions to a server named by its ``base_url``, with or without a key."""

    name = "compatible"
    default_model: ClassVar[str] = ""
    default_url: ClassVar[str] = ""
    url_variable: ClassVar[str] = ""
    key_variables: ClassVar[tuple[str, ...]] = ("PROMPTSTREAM_API_KEY",)
    key_required: ClassVar[bool] = False
    think_tags: ClassVar[bool] = True

    def rules(self, model: str) -> Rules:
        """Refuse nothing, since only the server knows what its models take; Mistral's own is known to be strict."""
        host = urlsplit(self.base_url).hostname or ""
        if host == "mistral.ai" or host.endswith(".mistral.ai"):
            # A key that it does not know is status 422; the usage comes unasked.
            return Rules(frozenset({"seed", "top_k"}), limit="max_tokens", usage_asked=False, call_id=_nine_characters)
        return Rules(limit="max_tokens", call_id=any_id)


def _nine_characters(call_id: str) -> str:
    """Give a tool call's id as Mistral's own servers insist on it."""
    if _MISTRAL_ID.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:9]
