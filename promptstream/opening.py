"""A pack, or a system prompt, and settings in, a Conversation out; all checked, nothing sent."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from promptstream.capabilities import check_capabilities
from promptstream.client import Provider
from promptstream.conversation import Conversation
from promptstream.errors import ConfigError
from promptstream.history import read_messages
from promptstream.providers.registry import resolve
from promptstream.values.message import Message
from promptstream.values.request import check_models, check_parameters, merge_parameters
from promptstream.values.secret import Secret
from promptstream.values.timing import Timeout

if TYPE_CHECKING:
    import os

    from typing_extensions import Unpack

    from promptstream.packs.pack import Pack
    from promptstream.values.request import Parameters
    from promptstream.wire.retry import Retry


def open(
    pack: str | os.PathLike[str] | Mapping[str, Any] | Pack,
    /,
    prompt: str | None = None,
    *,
    provider: str | Provider | None = None,
    model: str | None = None,
    models: Iterable[str] = (),
    api_key: str | None = None,
    base_url: str | None = None,
    variables: Mapping[str, Any] | None = None,
    conversation_id: str | None = None,
    timeout: Timeout | float | None = None,
    retry: Retry | None = None,
    fallback: Iterable[str | Provider] = (),
    keep_partial: bool = True,
    on_error: str = "raise",
    strict: bool = False,
    extra: Mapping[str, Any] | None = None,
    **parameters: Unpack[Parameters],
) -> Conversation:
    """Open a conversation on a prompt of a pack. Checks all it can, and sends nothing.

    Args:
        pack: a path, a dict or a loaded Pack.
        prompt: its name; may be left out where the pack has one prompt.
        provider: a name or a Provider; else the pack's, else what the model's name or the keys at hand say.
            The pack's provider and model count where neither *provider* nor *base_url* is given.
        models: further models, in order, that the provider itself turns to where one cannot answer (OpenRouter).
        variables: values for the pack's ``{{variables}}``, over its defaults.
        timeout: a Timeout, or seconds in total for each turn.
        fallback: names of providers, or Providers, asked in turn, each with its own model, where the one before
            it fails before its first chunk; ``response.warnings`` says why.
        keep_partial: keep what had come of an answer that you stopped.
        on_error: "raise", or "chunk" for one ERROR chunk in place of the exception.
        strict: refuse a pack with any finding, not only with those that matter here.
        extra: goes into every request body verbatim.
        parameters: temperature, max_tokens and the like, over the pack's.

    Raises:
        PackError: the pack cannot be used (PromptNotFound: it has no such prompt).
        ConfigError: the provider cannot be made (ProviderNotFound, MissingKey).
        TypeError, ValueError: an unknown parameter, or one of the wrong type; a time limit not above 0.
    """
    from promptstream.packs.pack import load

    api_key = Secret.of(api_key)
    loaded = load(pack, strict=strict)
    chosen = loaded.prompt(prompt)
    wanted = loaded.provider
    if provider is None and base_url is None and wanted is not None:
        provider, model = wanted.name, model or wanted.model
    checked = merge_parameters(chosen.parameters, parameters)
    return _made(
        provider,
        model,
        {"api_key": api_key, "base_url": base_url, "retry": retry},
        models=models,
        fallback=fallback,
        render=chosen.render,
        variables=variables,
        conversation_id=conversation_id,
        timeout=timeout,
        keep_partial=keep_partial,
        on_error=on_error,
        extra=extra,
        parameters=checked,
    )


def chat(
    system: str = "",
    *,
    messages: Iterable[Message | Mapping[str, Any]] = (),
    provider: str | Provider | None = None,
    model: str | None = None,
    models: Iterable[str] = (),
    api_key: str | None = None,
    base_url: str | None = None,
    variables: Mapping[str, Any] | None = None,
    conversation_id: str | None = None,
    timeout: Timeout | float | None = None,
    retry: Retry | None = None,
    fallback: Iterable[str | Provider] = (),
    keep_partial: bool = True,
    on_error: str = "raise",
    extra: Mapping[str, Any] | None = None,
    **parameters: Unpack[Parameters],
) -> Conversation:
    """Open a conversation without a pack. Checks all it can, and sends nothing.

    Args:
        system: the system prompt, taken literally; ``{{name}}`` in it is replaced where *variables* are given.
        messages: a history to go on from, as Messages or plain role/content dicts.

    The other arguments and errors are those of :func:`open`.
    """
    api_key = Secret.of(api_key)
    if not isinstance(system, str):
        raise ConfigError(f"system={system!r:.80}: give the system prompt as a string.")
    checked = check_parameters(parameters)
    render = _renderer(system, variables is not None)
    history = read_messages(messages, needed=False)
    return _made(
        provider,
        model,
        {"api_key": api_key, "base_url": base_url, "retry": retry},
        models=models,
        fallback=fallback,
        render=render,
        messages=history,
        variables=variables,
        conversation_id=conversation_id,
        timeout=timeout,
        keep_partial=keep_partial,
        on_error=on_error,
        extra=extra,
        parameters=checked,
    )


def _made(
    provider: Any,
    model: str | None,
    options: Mapping[str, Any],
    *,
    models: Iterable[str],
    fallback: Iterable[str | Provider],
    **settings: Any,
) -> Conversation:
    choices = check_models(models)
    made, owned = resolve(provider, model=model, models=choices, options=options)
    owns = [made] if owned else []
    try:
        check_capabilities(made.dialect, {"model_fallback": bool(choices)})
        _check_model(made, model)
        others = _others(fallback, options, owns)
        return Conversation(made, model=model, models=choices, fallback=others, owns=owns, **settings)
    except BaseException:
        for each in owns:
            each.close()
        raise


def _check_model(provider: Provider, model: str | None) -> None:
    if not (model or provider.model) and getattr(provider.dialect, "needs_model", False):
        raise ConfigError(
            f"{provider.name} has no default model: name one, such as provider={provider.name!r}, model='llama3.2', "
            f"or providers.get({provider.name!r}, model=…) in fallback."
        )


def _others(fallback: Iterable[str | Provider], options: Mapping[str, Any], owns: list[Provider]) -> list[Provider]:
    if isinstance(fallback, str) or not isinstance(fallback, Iterable):
        raise ConfigError(f"fallback={fallback!r:.80}: give a list of providers' names, or of Providers.")
    others = []
    for each in fallback:
        if not isinstance(each, (str, Provider)):
            raise ConfigError(f"fallback holds {each!r:.80}: give names of providers, or Providers.")
        made, owned = resolve(each, model=None, options={"retry": options["retry"]} if isinstance(each, str) else {})
        _check_model(made, None)
        others.append(made)
        if owned:
            owns.append(made)
    return others


def _renderer(system: str, templated: bool) -> Callable[..., str]:
    if not templated:
        return lambda *layers: system
    from promptstream.packs.template import Template

    template = Template.parse(system, {})
    return lambda *layers: template.render(ChainMap(*map(dict, reversed(layers))))
