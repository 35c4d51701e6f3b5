"""Every provider by name: ``get("openai", api_key=…)``, or ``OpenAI(api_key=…)`` for short."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from promptstream.providers.registry import Choice, choose, get, names, register
from promptstream.values.secret import hide

if TYPE_CHECKING:
    from promptstream.client import Provider

__all__ = [
    "Anthropic",
    "Choice",
    "Compatible",
    "Gemini",
    "Local",
    "Ollama",
    "OpenAI",
    "OpenRouter",
    "Qwen",
    "Replay",
    "Scripted",
    "choose",
    "get",
    "names",
    "register",
]


def OpenAI(**options: Any) -> Provider:  # noqa: N802 - reads as the thing it makes
    """Make the Provider of OpenAI; takes what :func:`get` takes, and ``api="responses"``."""
    return get("openai", **hide(options))


def Anthropic(**options: Any) -> Provider:  # noqa: N802
    """Make the Provider of Anthropic; takes what :func:`get` takes."""
    return get("anthropic", **hide(options))


def Gemini(**options: Any) -> Provider:  # noqa: N802
    """Make the Provider of Google's Gemini; takes what :func:`get` takes, and ``api_version``."""
    return get("gemini", **hide(options))


def OpenRouter(**options: Any) -> Provider:  # noqa: N802
    """Make the Provider of OpenRouter; takes what :func:`get` takes, and ``routing``, ``site_url``, ``site_title``.

    It also has ``credits()`` and ``generation(id)``.
    """
    return get("openrouter", **hide(options))


def Ollama(**options: Any) -> Provider:  # noqa: N802
    """Make the Provider of an Ollama server; takes what :func:`get` takes, and ``keep_alive`` and ``options``."""
    return get("ollama", **hide(options))


def Qwen(**options: Any) -> Provider:  # noqa: N802
    """Make the Provider of Alibaba's Qwen; takes what :func:`get` takes, ``region`` and ``api="native"``."""
    return get("qwen", **hide(options))


def Compatible(base_url: str, **options: Any) -> Provider:  # noqa: N802
    """Make the Provider of any server that speaks OpenAI's Chat Completions at *base_url*."""
    return get("compatible", base_url=base_url, **hide(options))


def Local(**options: Any) -> Provider:  # noqa: N802
    """Make the Provider of the embedded model, which runs in this process and needs no key."""
    return get("local", **options)


def Scripted(script: Any = (), **options: Any) -> Provider:  # noqa: N802
    """Make a Provider that plays *script*, a list of turns; ``.requests`` records what it was asked."""
    return get("scripted", script, **options)


def Replay(path: str | PathLike[str], **options: Any) -> Provider:  # noqa: N802
    """Make a Provider that plays the recording at *path*; takes ``speed``, ``match``, ``redact`` and ``model``.

    ``.requests`` records what it was asked, ``.unplayed`` counts what of the recording is left.
    """
    return get("replay", path, **options)
