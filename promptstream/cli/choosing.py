"""Whom to ask in, as far as it is said; the provider that it comes down to, and why, out."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from promptstream.cli.configured import PREFIX, Config, from_environment
from promptstream.cli.place import Place
from promptstream.errors import ConfigError, StreamError
from promptstream.providers.registry import Choice, choose, get
from promptstream.values.hosts import is_loopback
from promptstream.values.timing import Timeout
from promptstream.wire.retry import Retry

IN_FILE = "the config file"


def ambient_place(config: Config) -> Place:
    """Give whom the environment and the config file say to ask.

    Raises:
        ConfigError: the environment says something that cannot be.
    """
    return _place_in(config.settings, IN_FILE).under(_place_in(from_environment(), f"{PREFIX}PROVIDER"))


def _place_in(settings: Any, source: str) -> Place:
    provider, base_url = settings.get("provider"), settings.get("base_url")
    if base_url and not provider and source != IN_FILE:
        source = f"{PREFIX}BASE_URL"
    return Place(provider, base_url, settings.get("model"), source)


def chosen(place: Place) -> Choice:
    """Give the provider that *place* comes down to, and why.

    Raises:
        MissingKey: nothing is said, and nothing is configured.
        ConfigError: the choice would not be safe.
    """
    told = "as before" if place.source == "before" else None
    if place.provider:
        found = newest_ollama_model() if place.provider == "ollama" and not place.model else None
        return Choice(place.provider, told or f"named by {place.source}", found)
    if place.base_url:
        given = "--base-url is given" if place.source == "--base-url" else f"named by {place.source}"
        return Choice("compatible", told or given)
    return choose(place.model, ollama=newest_ollama_model)


def newest_ollama_model() -> str | None:
    """Give the newest model of an Ollama that answers on this machine, or None."""
    try:
        with get("ollama", timeout=Timeout(connect=0.3, total=1), retry=Retry(attempts=1)) as ollama:
            dialect: Any = ollama.dialect
            if not is_loopback(urlsplit(dialect.base_url).hostname or ""):
                return None
            models = ollama.models()
    except (ConfigError, StreamError):  # none that could answer, or none that does
        return None
    return models[0].id if models else None
