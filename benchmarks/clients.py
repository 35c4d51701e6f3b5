"""A name in, a client to measure out: its label, how it is made, and what its process needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from benchmarks.client import Client
from benchmarks.floor import Handed, Naive, Post, Raw, Session
from benchmarks.frameworks import LLM, Chatlas, LiteLLM, PydanticAI
from benchmarks.ours import Buffered, Conversation, Provider, Sent
from benchmarks.sdks import Anthropic, Gemini, Ollama, OpenAI


class Entry(NamedTuple):
    """Name a client, say how it is made and what its process's environment holds."""

    label: str
    make: Callable[[str], Client]
    environment: Mapping[str, str]
    packages: tuple[str, ...]
    protocol: str = "openai"
    peer: str = ""
    """Whose environment it runs in; this one's, where it is empty."""


STDLIB, FAST = {"PROMPTSTREAM_JSON": "stdlib"}, {"PROMPTSTREAM_JSON": "orjson"}
BARE = ("requests", "urllib3")
OURS = (*BARE, "sseclient-py", "attrs")
FRAMEWORKS: dict[str, tuple[Callable[..., Client], tuple[str, ...]]] = {
    "llm": (LLM, ("openai", "anthropic", "ollama")),  # its plugin for Gemini has one fixed address
    "litellm": (LiteLLM, ("openai", "anthropic", "gemini", "ollama")),
    "pydantic-ai": (PydanticAI, ("openai", "anthropic", "gemini")),  # which speaks to Ollama in OpenAI's protocol
    "chatlas": (Chatlas, ("openai", "anthropic", "gemini")),  # and so does this one
}
"""How each is made, and which protocols it speaks."""
VERSIONED = {"pydantic-ai": "pydantic-ai-slim"}
"""What is installed of those who have another name for it."""


def _spoken(protocol: str) -> dict[str, Entry]:
    """Name the clients that speak every protocol: the floor, and promptstream each way."""
    provider, conversation = partial(Provider, protocol=protocol), partial(Conversation, protocol=protocol)
    fast = (*OURS, "orjson")
    return _named(
        protocol,
        {
            "raw": Entry("raw socket + json (floor)", partial(Raw, protocol=protocol), {}, (), protocol),
            "provider": Entry("promptstream provider", provider, STDLIB, OURS, protocol),
            "conversation": Entry("promptstream conversation", conversation, STDLIB, OURS, protocol),
            "provider-orjson": Entry("promptstream provider, orjson", provider, FAST, fast, protocol),
            "conversation-orjson": Entry("promptstream conversation, orjson", conversation, FAST, fast, protocol),
        },
    )


def _frameworks(protocol: str) -> dict[str, Entry]:
    """Name the libraries that speak *protocol* among others."""
    return _named(
        protocol,
        {
            name: Entry(name, partial(make, protocol=protocol), {}, (VERSIONED.get(name, name),), protocol, name)
            for name, (make, spoken) in FRAMEWORKS.items()
            if protocol in spoken
        },
    )


def _named(protocol: str, clients: dict[str, Entry]) -> dict[str, Entry]:
    return clients if protocol == "openai" else {f"{protocol}-{name}": entry for name, entry in clients.items()}


CLIENTS: dict[str, Entry] = {
    **_spoken("openai"),
    "raw-thread": Entry("raw socket + json, in a thread", Handed, {}, ()),
    "buffered": Entry("promptstream provider, buffered", Buffered, STDLIB, OURS),
    "send": Entry("promptstream conversation, send", Sent, STDLIB, OURS),
    "post": Entry("requests.post, a connection each", Post, {}, BARE),
    "session": Entry("session.post of requests, bare", Session, {}, BARE),
    "naive": Entry("requests + sseclient-py", Naive, {}, ("requests", "urllib3", "sseclient-py")),
    "openai": Entry("openai SDK", OpenAI, {}, ("openai", "pydantic"), peer="openai"),
    **_frameworks("openai"),
    **_spoken("anthropic"),
    "anthropic": Entry("anthropic SDK", Anthropic, {}, ("anthropic", "pydantic"), "anthropic", "anthropic"),
    **_frameworks("anthropic"),
    **_spoken("gemini"),
    "gemini": Entry("google-genai SDK", Gemini, {}, ("google-genai", "pydantic"), "gemini", "google-genai"),
    **_frameworks("gemini"),
    **_spoken("ollama"),
    "ollama": Entry("ollama SDK", Ollama, {}, ("ollama", "pydantic"), "ollama", "ollama"),
    **_frameworks("ollama"),
}
"""By name; who speaks several protocols is called with the protocol's name before it, Chat Completions apart."""
SPECIAL = ("buffered", "raw-thread", "send", "post", "session")
"""Only measured where they are asked for: each answers a question of its own."""
DEFAULT = tuple(name for name in CLIENTS if name not in SPECIAL)
