"""What a caller asks in, a checked ChatRequest out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from promptstream.errors import ConfigError
from promptstream.history import read_messages
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
    if tools == ():
        return ()
    from promptstream.tools.toolbox import Toolbox

    try:
        return Toolbox(tools).specs()
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from None


def check_choice(choice: Any, tools: Sequence[ToolSpec]) -> None:
    """Make sure that ``tool_choice=`` says "auto", "required", "none", or names one of *tools*, where there are any.

    Raises:
        ConfigError: it does not.
    """
    names = [tool.name for tool in tools]
    if tools and isinstance(choice, str) and choice not in ("auto", "required", "none", *names):
        raise ConfigError(f"tool_choice={choice!r:.60} names none of the tools: {', '.join(names)}.")
