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
    in_file, in_environment = _places(config)
    return in_file.under(in_environment)


def unused(config: Config) -> dict[str, str]:
    """Give which settings of the config file do not count though no other says them, each with the reason.

    Raises:
        ConfigError: the environment says something that cannot be.
    """
    in_file, here = _places(config)
    counts = in_file.under(here)
    named = f"{here.source} is set"
    why = {"provider": named, "base_url": named, "model": named}
    if in_file.provider:
        why |= {"base_url": f"for {in_file.provider}", "model": f"for {in_file.provider}"}
    names = ("provider", "base_url", "model")
    return {name: why[name] for name in names if getattr(in_file, name) and not getattr(counts, name)}


def _places(config: Config) -> tuple[Place, Place]:
    return _place_in(config.settings, IN_FILE), _place_in(from_environment(), f"{PREFIX}PROVIDER")


def _place_in(settings: Any, source: str) -> Place:
    provider, base_url = settings.get("provider"), settings.get("base_url")
    if base_url and not provider and source != IN_FILE:
        source = f"{PREFIX}BASE_URL"
    return Place(provider, base_url, settings.get("model"), source)


def chosen(place: Place, config: Config) -> Choice:
    """Give the provider that *place* comes down to, and why; the keys of *config* count where nothing is said.

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
    return choose(place.model, ollama=newest_ollama_model, kept=config.keys)


def credentials(place: Place, choice: Choice, config: Config) -> dict[str, Any]:
    """Give ``provider=``, ``base_url=`` and ``api_key=`` of the provider that was chosen; None where none is needed.

    A server that is named by its address alone gets no key: one goes only where its provider is named.
    """
    if place.base_url and not place.provider:
        return {"provider": None, "base_url": place.base_url, "api_key": None}
    return {"provider": choice.name, "base_url": place.base_url, "api_key": config.key_for(choice.name)}


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
