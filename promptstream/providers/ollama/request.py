"""A request in, the body of Ollama's ``/api/chat`` or ``/api/generate`` out."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from promptstream.errors import ConfigError, Unsupported
from promptstream.providers.parameters import encoded_data, left_out, rename
from promptstream.values.effort import Effort
from promptstream.values.format import Format
from promptstream.values.message import Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.names import called_as
from promptstream.values.request import ChatRequest

MADE_ID = {"ollama": {"made_id": True}}
"""Metadata of a tool call to which the server gave no id: ours means nothing to it."""
_OPTIONS = {
    "temperature": "temperature",
    "max_tokens": "num_predict",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def encode_body(
    request: ChatRequest, options: Mapping[str, Any], keep_alive: str | float | None
) -> tuple[dict[str, Any], list[str]]:
    """Give the JSON body for *request*, and a warning for each parameter left out or changed.

    Raises:
        ConfigError: no model is named, or ``extra`` has options that are no dict.
        Unsupported: a message holds what this protocol cannot carry.
    """
    extra = dict(request.extra)
    body: dict[str, Any] = {"model": request.model}
    if not (request.model or extra.get("model")):
        raise ConfigError(
            "ollama needs a model: give model=…, one of those that its models() or 'ollama list' names; "
            "'ollama pull NAME' fetches another."
        )
    if request.prompt is None:
        body["messages"] = list(_messages(request.messages, request.declared))
        # There is no tool_choice: a model that must not call any is not told of any.
        if request.tools and request.parameters.get("tool_choice") != "none":
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
                }
                for tool in request.tools
            ]
    else:
        body["prompt"] = request.prompt
    body["stream"] = request.streaming
    warnings = _parameters(body, request, {**options}, extra.pop("options", None))
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    body.update(extra)
    return body, warnings


def _parameters(body: dict[str, Any], request: ChatRequest, options: dict[str, Any], over: Any) -> list[str]:
    given = request.parameters
    lacking = {"parallel_tools"} & set(given)
    if given.get("tool_choice", "auto") not in ("auto", "none"):
        lacking.add("tool_choice")
    warnings = left_out(lacking, "Ollama")
    if (wanted := Format.of(given)) is not None:
        body["format"] = wanted.schema or wanted.raw or "json"
    think, changed = _think(given.get("reasoning"), request)
    if think is not None:
        body["think"] = think
    options |= rename(given, _OPTIONS)
    if "stop" in given:
        options["stop"] = [given["stop"]] if isinstance(given["stop"], str) else list(given["stop"])
    if not isinstance(over, (Mapping, type(None))):
        raise ConfigError(f"extra has options={over!r:.80}: give a dict, such as {{'num_ctx': 8192}}.")
    options |= over or {}
    if options:
        body["options"] = options
    return warnings + changed


def _think(wanted: Any, request: ChatRequest) -> tuple[bool | str | None, list[str]]:
    """Give ``think``, and a warning where it is not just what was asked for.

    gpt-oss takes a level and ignores a bool. Ollama lets the other models think or not; many of its
    versions refuse a level for them.
    """
    effort = Effort.of(wanted)
    if effort is None:
        return None, []
    shown = repr(effort.budget if effort.level is None else effort.level)
    sent: bool | str = not effort.off
    if "gpt-oss" in request.model.lower() and effort.level is not None:
        sent = "low" if effort.off else _LEVELS[effort.level]
        why = "knows low, medium and high"
    elif effort.budget is not None or effort.level not in (None, "none"):
        why = "thinks or does not, in no measure"
    else:
        return sent, []
    if sent == effort.level:
        return sent, []
    return sent, [f"reasoning={shown} was left out, and think={sent!r} sent instead: {request.who} {why}."]


def _messages(messages: Sequence[Message], declared: Container[str]) -> Iterator[dict[str, Any]]:
    calls = {call.id: call for message in messages for call in message.tool_calls}
    for message in messages:
        if message.role == "tool":
            for part in message.parts:
                if isinstance(part, ToolResult):
                    yield _result(part, calls.get(part.call_id), declared)
        elif message.role == "assistant":
            yield _assistant(message, declared)
        else:
            yield _said(message)


def _result(result: ToolResult, call: ToolCall | None, declared: Container[str]) -> dict[str, Any]:
    name = called_as(result.name or (call.name if call else ""), declared)
    encoded = {"role": "tool", "content": result.content, "tool_name": name}
    if result.call_id and not (call and _is_made(call)):
        encoded["tool_call_id"] = result.call_id
    return encoded


def _assistant(message: Message, declared: Container[str]) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": "assistant", "content": message.text}
    # What carries another provider's signature is that provider's alone.
    thoughts = [part.text for part in message.parts if isinstance(part, Reasoning) and not part.metadata]
    if thinking := "".join(thoughts):
        encoded["thinking"] = thinking
    if message.tool_calls:
        encoded["tool_calls"] = [
            ({"id": call.id} if call.id and not _is_made(call) else {})
            | {"function": {"name": called_as(call.name, declared), "arguments": call.arguments or {}}}
            for call in message.tool_calls
        ]
    return encoded


def _is_made(call: ToolCall) -> bool:
    return bool((call.metadata or {}).get("ollama"))


def _said(message: Message) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": message.role, "content": message.text}
    images = []
    for part in message.parts:
        if isinstance(part, Image):
            images.append(_image(part))
        elif not isinstance(part, (Text, Reasoning)):
            raise Unsupported(f"Ollama does not take a {type(part).__name__} in a {message.role}'s message.")
    if images:
        encoded["images"] = images
    return encoded


def _image(image: Image) -> str:
    """Give an image as Ollama wants it: base64 alone."""
    if image.data is None:
        raise Unsupported("Ollama takes images as bytes only: give Image(data=…) or Image.from_file(path), not a URL.")
    return encoded_data(image)[0]
