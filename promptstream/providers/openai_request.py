"""A request in, a Chat Completions body out."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from promptstream.errors import ConfigError
from promptstream.providers.openai_models import Rules
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.request import ChatRequest

_PLAIN = ("temperature", "top_p", "top_k", "stop", "seed", "frequency_penalty", "presence_penalty")


def encode_body(request: ChatRequest, rules: Rules, provider: str) -> tuple[dict[str, Any], list[str]]:
    """Give the JSON body for *request*, and a warning for each parameter left out.

    Raises:
        ConfigError: a message holds what this protocol cannot carry.
    """
    body: dict[str, Any] = {"model": request.model} if request.model else {}
    body["messages"] = [encoded for message in request.messages for encoded in _message(message, rules, provider)]
    if request.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in request.tools
        ]
    body["stream"] = request.streaming
    if request.streaming:
        body["stream_options"] = {"include_usage": True}
    warnings = _parameters(body, request, rules)
    body.update(request.extra)
    return body, warnings


def _parameters(body: dict[str, Any], request: ChatRequest, rules: Rules) -> list[str]:
    given = dict(request.parameters)
    warnings: list[str] = []
    effort = _effort(given.pop("reasoning", None), warnings)
    refused = rules.refused
    if effort not in (None, "none") or (effort is None and rules.reasons_by_default):
        refused |= rules.refused_while_reasoning
    for name in sorted(refused & set(given)):
        del given[name]
        warnings.append(f"{name} was left out: {request.model or 'the model'} does not take it.")
    if effort is not None:
        body["reasoning_effort"] = effort
    for name in _PLAIN:
        if name in given:
            body[name] = given[name]
    if "max_tokens" in given:
        body[rules.limit] = given["max_tokens"]
    if "tool_choice" in given:
        body["tool_choice"] = _tool_choice(given["tool_choice"])
    if "parallel_tools" in given and request.tools:
        body["parallel_tool_calls"] = given["parallel_tools"]
    if (wanted := _response_format(given)) is not None:
        body["response_format"] = wanted
    return warnings


def _effort(reasoning: Any, warnings: list[str]) -> str | None:
    if isinstance(reasoning, dict):
        reasoning = reasoning.get("effort")
    if isinstance(reasoning, str):
        return reasoning
    if reasoning is False:
        return "none"
    if reasoning not in (None, True):
        warnings.append("reasoning was left out: this provider takes an effort (low, medium, high), not a budget.")
    return None


def _tool_choice(choice: Any) -> Any:
    if choice in ("auto", "required", "none") or not isinstance(choice, str):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _response_format(given: dict[str, Any]) -> Any:
    wanted = given.get("response_format")
    if (schema := given.get("schema")) is not None:
        name = re.sub(r"[^a-zA-Z0-9_-]+", "_", str(schema.get("title", "answer")), flags=re.ASCII)[:64]
        return {"type": "json_schema", "json_schema": {"name": name.strip("_") or "answer", "schema": schema}}
    if isinstance(wanted, str):
        return {"type": {"json": "json_object"}.get(wanted, wanted)}
    return wanted


def _message(message: Message, rules: Rules, provider: str) -> Iterator[dict[str, Any]]:
    if message.role == "system":
        yield {"role": rules.system, "content": message.text}
    elif message.role == "assistant":
        yield _assistant(message)
    elif message.role == "tool":
        for part in message.parts:
            if isinstance(part, ToolResult):
                yield {"role": "tool", "tool_call_id": part.call_id, "content": part.content}
    else:
        yield {"role": "user", "content": _content(message, provider)}


def _assistant(message: Message) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    if message.tool_calls:
        encoded["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
            for call in message.tool_calls
        ]
    elif not message.text:
        encoded["content"] = ""
    return encoded


def _arguments(call: ToolCall) -> str:
    if call.arguments is None:
        return call.raw_arguments or "{}"
    # The provider's own text where there is one: numbers and key order stay as they were.
    return call.raw_arguments or json.dumps(call.arguments, ensure_ascii=False)


def _content(message: Message, provider: str) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in message.parts):
        return message.text
    return [_part(part, provider) for part in message.parts if not isinstance(part, Reasoning)]


def _part(part: Any, provider: str) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        image = {"url": part.url or _data_url(part, "image/png")}
        return {"type": "image_url", "image_url": image | ({"detail": part.detail} if part.detail else {})}
    if isinstance(part, Document) and part.data is not None:
        name = part.name or "document.pdf"
        return {"type": "file", "file": {"filename": name, "file_data": _data_url(part, "application/pdf")}}
    raise ConfigError(f"{provider} does not take a {type(part).__name__} of this kind in a user's message.")


def _data_url(part: Image | Document, media_type: str) -> str:
    if part.data is None:
        raise ConfigError(f"The {type(part).__name__} has neither url nor data.")
    return f"data:{part.media_type or media_type};base64,{base64.b64encode(part.data).decode()}"
