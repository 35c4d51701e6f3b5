"""What a caller asks in, a checked ChatRequest out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from promptstream.errors import ConfigError
from promptstream.history import read_messages
from promptstream.tools.tool import tool
from promptstream.values.request import ChatRequest, ToolSpec, check_models, check_parameters


def asked_model(model: str | None, models: tuple[str, ...], default: str) -> str:
    """Give the model that a request names: *model*, else *default*, else none beside *models*."""
    return model or ("" if models else default)


def chat_request(
    messages: Any,
    default: str,
    *,
    model: str | None,
    models: Iterable[str],
    tools: Iterable[ToolSpec | Mapping[str, Any]],
    extra: Mapping[str, Any] | None,
    parameters: Mapping[str, Any],
    streaming: bool,
) -> ChatRequest:
    """Read *messages* and what goes with them; *default* is the model where none is named.

    Raises:
        TypeError, ValueError: an unknown parameter, or one of the wrong type.
        ConfigError: the messages or tools cannot be read.
    """
    if isinstance(messages, ChatRequest):
        if model or models != () or extra or parameters or tools != ():
            raise ConfigError("A ChatRequest says all itself; give model, tools, extra and parameters to it instead.")
        return attrs.evolve(
            messages,
            model=asked_model(messages.model, messages.models, default),
            parameters=check_parameters(messages.parameters),
            streaming=streaming,
        )
    names, checked, specs = check_models(models), check_parameters(parameters), _read_tools(tools)
    check_choice(checked.get("tool_choice"), specs)
    return ChatRequest(
        messages=read_messages(messages),
        model=asked_model(model, names, default),
        models=names,
        tools=specs,
        parameters=checked,
        extra=dict(extra or {}),
        streaming=streaming,
    )


def completion_request(
    prompt: str,
    default: str,
    *,
    model: str | None,
    models: Iterable[str],
    extra: Mapping[str, Any] | None,
    parameters: Mapping[str, Any],
    streaming: bool,
) -> ChatRequest:
    """Read a text completion's *prompt* and what goes with it; *default* is the model where none is named.

    Raises:
        TypeError, ValueError: an unknown parameter, or one of the wrong type.
        ConfigError: there is no prompt.
    """
    if not isinstance(prompt, str) or not prompt:
        raise ConfigError(f"prompt={prompt!r:.80}: give the text to go on from, as a string.")
    names = check_models(models)
    return ChatRequest(
        messages=(),
        prompt=prompt,
        model=asked_model(model, names, default),
        models=names,
        parameters=check_parameters(parameters),
        extra=dict(extra or {}),
        streaming=streaming,
    )


def _read_tools(tools: Iterable[Any]) -> tuple[ToolSpec, ...]:
    if isinstance(tools, (str, ToolSpec, Mapping)) or not isinstance(tools, Iterable):
        raise ConfigError(f"tools={tools!r:.80}: give a list of functions, Tools or ToolSpecs.")
    read = []
    for number, each in enumerate(tools):
        try:
            read.append(_spec(each))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"tools[{number}]: {error}") from None
    names = [tool.name for tool in read]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"Two tools are called {twice!r:.60}; a call could not tell them apart.")
    return tuple(read)


def _spec(given: Any) -> ToolSpec:
    if isinstance(given, ToolSpec):
        return given
    return tool(given).spec if callable(given) else ToolSpec.from_dict(given)


def check_choice(choice: Any, tools: Sequence[ToolSpec]) -> None:
    """Make sure that ``tool_choice=`` says "auto", "required", "none", or names one of *tools*, where there are any.

    Raises:
        ConfigError: it does not.
    """
    names = [tool.name for tool in tools]
    if tools and isinstance(choice, str) and choice not in ("auto", "required", "none", *names):
        raise ConfigError(f"tool_choice={choice!r:.60} names none of the tools: {', '.join(names)}.")
