"""A base URL and a protocol in, the libraries that speak several out, each asked as its documentation does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.client import Client
from benchmarks.protocols import KEY, MESSAGES, PROMPT, PROTOCOLS

PREFIXES = {"openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "ollama": "ollama_chat"}
"""What LiteLLM calls them."""
OUTPUT = 4096
"""Tokens asked for at most, where a protocol makes one say."""


class LiteLLM(Client):
    """``litellm.completion(stream=True)``."""

    def __init__(self, base_url: str, protocol: str = "openai") -> None:
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks the network for one
        import litellm

        litellm.suppress_debug_info = True  # which it prints
        spoken = PROTOCOLS[protocol]
        if protocol == "gemini":
            base_url = base_url + spoken.path.partition("/models")[0]  # the rest it adds
        self._completion = litellm.completion
        self._asked: dict[str, Any] = {
            "model": f"{PREFIXES[protocol]}/{spoken.model}",
            "messages": MESSAGES,
            "api_base": base_url,
            "api_key": KEY,
            "stream": True,
            "num_retries": 0,
            "timeout": 60,
            "max_tokens": OUTPUT,
        }

    def texts(self) -> Iterator[str]:
        for chunk in self._completion(**self._asked):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield text


class PydanticAI(Client):
    """``agent.run_stream_sync``, its texts not held back."""

    def __init__(self, base_url: str, protocol: str = "openai") -> None:
        from pydantic_ai import Agent

        self._agent = Agent(self._model(base_url, protocol))

    @staticmethod
    def _model(base_url: str, protocol: str) -> Any:
        name = PROTOCOLS[protocol].model
        if protocol == "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModel
            from pydantic_ai.providers.anthropic import AnthropicProvider

            return AnthropicModel(name, provider=AnthropicProvider(api_key=KEY, base_url=base_url))
        if protocol == "gemini":
            from pydantic_ai.models.google import GoogleModel
            from pydantic_ai.providers.google import GoogleProvider

            return GoogleModel(name, provider=GoogleProvider(api_key=KEY, base_url=base_url))
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        return OpenAIChatModel(name, provider=OpenAIProvider(api_key=KEY, base_url=base_url))

    def texts(self) -> Iterator[str]:
        yield from self._agent.run_stream_sync(PROMPT).stream_text(delta=True, debounce_by=None)


class LLM(Client):
    """The ``llm`` package, and its plugins for Anthropic and Ollama; a response for each prompt, nothing logged."""

    def __init__(self, base_url: str, protocol: str = "openai") -> None:
        self._folder = TemporaryDirectory()  # rather than the user's own settings
        os.environ["LLM_USER_PATH"] = self._folder.name
        self._host = ""
        name = PROTOCOLS[protocol].model
        if protocol == "anthropic":
            from llm_anthropic import ClaudeMessages

            self._model: Any = ClaudeMessages(name, base_url=base_url)
        elif protocol == "ollama":
            self._host = base_url
            from llm_ollama.models.chat import OllamaChatModel

            self._model = OllamaChatModel(model_id=name, ollama_name=name, capabilities=("completion",))
        else:
            from llm.default_plugins.openai_models import Chat

            self._model = Chat(name, api_base=base_url)
        self._model.key = KEY

    def prepare(self) -> None:
        if self._host:  # which its plugin reads at each call
            os.environ["OLLAMA_HOST"] = self._host

    def texts(self) -> Iterator[str]:
        for text in self._model.prompt(PROMPT, stream=True):
            if text:
                yield text


class Chatlas(Client):
    """``chat.stream`` of a new chat for each run, made before the clock starts."""

    def __init__(self, base_url: str, protocol: str = "openai") -> None:
        self._asked = (base_url, protocol)
        self._chat: Any = self._make(base_url, protocol)

    def another(self) -> Chatlas:
        return type(self)(*self._asked)

    @staticmethod
    def _make(base_url: str, protocol: str) -> Any:
        import chatlas

        name = PROTOCOLS[protocol].model
        if protocol == "anthropic":
            return chatlas.ChatAnthropic(model=name, api_key=KEY, kwargs={"base_url": base_url})
        if protocol == "gemini":
            return chatlas.ChatGoogle(
                model=name, api_key=KEY, kwargs={"http_options": {"base_url": base_url, "api_version": "v1beta"}}
            )
        return chatlas.ChatOpenAICompletions(base_url=base_url, model=name, api_key=KEY)

    def prepare(self) -> None:
        self._chat.set_turns([])

    def texts(self) -> Iterator[str]:
        for text in self._chat.stream(PROMPT, echo="none"):
            if text:
                yield text
