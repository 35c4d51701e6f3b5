"""A pack, or a system prompt, and settings in, a Conversation out; all checked, nothing sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from promptstream.capabilities import check_capabilities
from promptstream.client import Provider
from promptstream.conversation import Conversation
from promptstream.errors import ConfigError, StateError
from promptstream.history import next_id, read_messages
from promptstream.ledger import Ledger
from promptstream.middleware.onion import Middleware
from promptstream.pricing import Price
from promptstream.providers.registry import resolve
from promptstream.settings import Given, Settings, Sources, combined, split_schema, split_variables
from promptstream.tools.toolbox import Toolbox
from promptstream.truncation import Strategy, Truncation
from promptstream.upkeep import renderer
from promptstream.values.budget import Budget
from promptstream.values.message import Message
from promptstream.values.policy import ToolPolicy
from promptstream.values.request import check_models, merge_parameters
from promptstream.values.secret import Secret
from promptstream.values.timing import Timeout

if TYPE_CHECKING:
    import os
    from decimal import Decimal

    from typing_extensions import Unpack

    from promptstream.packs.pack import Pack, Prompt
    from promptstream.state.store import Store
    from promptstream.tools.loop import Approve
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
    variables: Sources | None = None,
    tools: Iterable[Any] = (),
    tool_policy: ToolPolicy | Mapping[str, Any] | None = None,
    approve: Approve | None = None,
    middleware: Iterable[Middleware] = (),
    store: Store | str | os.PathLike[str] | None = None,
    conversation_id: str | None = None,
    timeout: Timeout | float | None = None,
    retry: Retry | None = None,
    fallback: Iterable[str | Provider] = (),
    budget: Budget | Decimal | float | str | None = None,
    prices: Mapping[str, Price | Mapping[str, Any]] | None = None,
    truncate: str | Strategy | Truncation | None = None,
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
        variables: values for the pack's ``{{variables}}``, over its defaults: a dict, a callable that gives one and is
            asked anew each turn (such as :class:`promptstream.packs.Clock`), or a list of these.
        tools: typed functions, Tools, or ToolSpecs of tools that the application runs itself (``submit``). Those of
            the pack are bound by their names.
        tool_policy: how far a turn may go with tools: a ToolPolicy, or a dict of what differs from the pack's.
        approve: is asked about each call before it is run: True, False, Denied(reason), or the ToolCall with other
            arguments. Without it, calls of tools with ``approval=True`` end the stream as pending.
        middleware: generators around each request, the outermost first; see :mod:`promptstream.middleware`.
        store: keeps the conversation: the path of an SQLite file, ``redis://…``, or a Store.
        conversation_id: its name in the store, where a kept one is gone on with; else a new one.
        timeout: a Timeout, or seconds in total for each turn.
        fallback: names of providers, or Providers, asked in turn, each with its own model, where the one before
            it fails before its first chunk; ``response.warnings`` says why.
        budget: what the conversation may spend, in all its turns: tokens (an int), or USD (a Decimal, a float or
            "$0.50"); once it is spent, no further request is sent. With *truncate*, an int is the tokens that the
            prompt of one request may take, estimated. A Budget says each of them.
        prices: what models cost, by their names or patterns such as "gpt-*": a Price, or a dict of its fields, in USD
            per million tokens; they come before those of the provider and of the extra ``cost``.
        truncate: what is done with a history over *budget*: "fail" (the default), "sliding", "summarize", a
            function of messages and tokens that gives the messages to send, or a Truncation, which has a budget and
            may count by a tokenizer. The history itself stays whole.
        keep_partial: keep what had come of an answer that you stopped.
        on_error: "raise", or "chunk" for one ERROR chunk in place of the exception.
        strict: refuse a pack with any finding, not only with those that matter here.
        extra: goes into every request body verbatim.
        parameters: temperature, max_tokens and the like, over the pack's.

    Raises:
        PackError: the pack cannot be used (PromptNotFound: it has no such prompt).
        ConfigError: the provider cannot be made (ProviderNotFound, MissingKey), or something here cannot be used.
        ToolNotFound: the pack declares no tool of that name.
        StateError, StoreCorrupt: the store cannot be opened, or what it keeps not be read.
        TypeError, ValueError: an unknown parameter, or one of the wrong type; a time limit not above 0.
    """
    from promptstream.packs.pack import load

    api_key = Secret.of(api_key)
    loaded = load(pack, strict=strict)
    chosen = loaded.prompt(prompt)
    wanted = loaded.provider
    if provider is None and base_url is None and wanted is not None:
        provider, model = wanted.name, model or wanted.model
    turns = Given(
        variables, timeout, on_error, extra, tool_policy, approve, middleware, budget, prices, truncate, parameters
    )
    with _Making(provider, model, models, fallback, {"api_key": api_key, "base_url": base_url, "retry": retry}) as made:
        chosen = chosen.for_model(made.model)
        settings = made.settings(turns, chosen.render, chosen)
        toolbox = Toolbox(tools, declared=chosen.tools, wildcards=chosen.tool_names)
        origin = {"pack": None if loaded.path is None else str(loaded.path), "prompt": chosen.name}
        ledger = made.ledger(store, conversation_id, keep_partial, origin)
        return Conversation(made.provider, settings, ledger, toolbox, owns=made.owns)


def chat(
    system: str = "",
    *,
    messages: Iterable[Message | Mapping[str, Any]] = (),
    provider: str | Provider | None = None,
    model: str | None = None,
    models: Iterable[str] = (),
    api_key: str | None = None,
    base_url: str | None = None,
    variables: Sources | None = None,
    tools: Iterable[Any] = (),
    tool_policy: ToolPolicy | Mapping[str, Any] | None = None,
    approve: Approve | None = None,
    middleware: Iterable[Middleware] = (),
    store: Store | str | os.PathLike[str] | None = None,
    conversation_id: str | None = None,
    timeout: Timeout | float | None = None,
    retry: Retry | None = None,
    fallback: Iterable[str | Provider] = (),
    budget: Budget | Decimal | float | str | None = None,
    prices: Mapping[str, Price | Mapping[str, Any]] | None = None,
    truncate: str | Strategy | Truncation | None = None,
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
    turns = Given(
        variables, timeout, on_error, extra, tool_policy, approve, middleware, budget, prices, truncate, parameters
    )
    history = read_messages(messages, needed=False)
    with _Making(provider, model, models, fallback, {"api_key": api_key, "base_url": base_url, "retry": retry}) as made:
        settings = made.settings(turns, renderer(system, templated=variables is not None))
        toolbox = Toolbox(tools)
        ledger = made.ledger(store, conversation_id, keep_partial, {"system": system}, history)
        return Conversation(made.provider, settings, ledger, toolbox, owns=made.owns)


def resume(
    conversation_id: str,
    pack: str | os.PathLike[str] | Mapping[str, Any] | Pack | None = None,
    prompt: str | None = None,
    *,
    store: Store | str | os.PathLike[str],
    **options: Any,
) -> Conversation:
    """Open a kept conversation again, to go on where it was left: its history, its pending calls, its figures.

    Args:
        conversation_id: its name in the store.
        pack: the pack it is on; may be left out where the pack is still at the path it was opened from, and for a
            conversation without one, whose system prompt is kept.
        prompt: which of the pack's; else the one it was opened on.
        store: where it is kept; as :func:`open` takes it.
        options: all else that :func:`open` and :func:`chat` take, which is not kept: provider, model, tools, …

    Raises:
        StateError: the store has no such conversation, or is not there.
        StoreCorrupt: what it keeps cannot be read.
        PromptStreamError, TypeError, ValueError: as :func:`open`.
    """
    from promptstream.state.store import check_there, open_store

    check_there(store)
    kept_in, made_here = open_store(store)
    try:
        kept = kept_in.load(conversation_id)
        if kept is None:
            raise StateError(f"The store keeps no conversation {conversation_id!r:.80}.")
        origin = kept.state.get("origin") or {}
    finally:
        if made_here:
            kept_in.close()
    options = {"store": store, "conversation_id": conversation_id, **options}
    if pack is None and origin.get("pack") is None and "system" in origin:
        return chat(options.pop("system", origin["system"]), **options)
    if pack is None and origin.get("pack") is None:
        raise ConfigError(f"The conversation {conversation_id!r:.80} is on a pack that came as a dict: give it again.")
    return open(origin["pack"] if pack is None else pack, prompt or origin.get("prompt"), **options)


class _Making:
    """Make the parts of a conversation, and close those that were made where that fails."""

    def __init__(
        self, provider: Any, model: str | None, models: Any, fallback: Any, options: Mapping[str, Any]
    ) -> None:
        self._models = check_models(models)
        self.provider, owned = resolve(provider, model=model, models=self._models, options=options)
        self.owns: list[Any] = [self.provider] if owned else []
        self._model = model
        try:
            check_capabilities(self.provider.dialect, {"model_fallback": bool(self._models)})
            _check_model(self.provider, model)
            self._fallback = tuple(_others(fallback, options, self.owns))
        except BaseException:
            self.__exit__(ConfigError)
            raise

    def __enter__(self) -> _Making:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is not None:
            for each in self.owns:
                each.close()

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self.provider.asked_model(self._model, self._models)

    def settings(self, turns: Given, render: Callable[..., str], prompt: Prompt | None = None) -> Settings:
        """Give what every turn goes by; a pack's *prompt* says what is not given."""
        base, providers = split_variables(turns.variables)
        parameters, form = split_schema(turns.parameters)
        layers = turns.middleware
        if prompt is not None and prompt.validators:
            from promptstream.middleware import guard

            layers = (guard(*prompt.validators), *layers)
        settings = Settings(
            render=render,
            base=base,
            providers=providers,
            model=self._model,
            models=self._models,
            fallback=self._fallback,
            timeout=Timeout.of(turns.timeout, self.provider.timeout),
            on_error=turns.on_error,
            extra=dict(turns.extra or {}),
            parameters=merge_parameters(prompt.parameters if prompt is not None else {}, parameters),
            form=form,
            policy=combined(prompt.policy if prompt is not None else ToolPolicy(), turns.tool_policy),
            approve=turns.approve,
            middleware=layers,
            truncation=turns.truncation,
            budget=turns.budget,
            prices=turns.prices,
            media=None if prompt is None else prompt.media,
            unenforced=() if prompt is None else prompt.unenforced,
        )
        for provider, model in ((self.provider, self.model), *((each, each.model) for each in self._fallback)):
            settings.check_priced(provider, model)
        for model in self._models:
            settings.check_priced(self.provider, model)
        return settings

    def ledger(
        self,
        where: Any,
        conversation_id: str | None,
        keep_partial: bool,
        origin: Mapping[str, Any],
        history: Iterable[Message] = (),
    ) -> Ledger:
        """Give the history: the one that is kept under *conversation_id*, or a new one.

        Raises:
            ConfigError: the id is empty, or a history is given for one that is kept.
        """
        if conversation_id == "":
            raise ConfigError("conversation_id is empty; leave it out for a new one.")
        store, made_here = None, False
        if where is not None:
            from promptstream.state.store import open_store

            store, made_here = open_store(where)
        ledger = Ledger(
            conversation_id or next_id(),
            messages=history,
            store=store,
            owns_store=made_here,
            keep_partial=keep_partial,
            origin=origin,
        )
        try:
            ledger.open()
        except BaseException:
            ledger.close()
            raise
        return ledger


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
