"""A request in, a Chat Completions or text Completions body out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from promptstream.errors import Unsupported
from promptstream.providers.openai_models import Rules
from promptstream.providers.parameters import arguments_text, data_url, left_out, rename
from promptstream.values.effort import Effort
from promptstream.values.format import Format
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolResult
from promptstream.values.request import ChatRequest

_PLAIN = ("temperature", "top_p", "top_k", "stop", "seed", "frequency_penalty", "presence_penalty")
_OF_CHAT = {"tool_choice", "parallel_tools", "response_format", "schema", "reasoning"}


def encode_body(request: ChatRequest, rules: Rules, provider: str) -> tuple[dict[str, Any], list[str]]:
    """Give the JSON body for *request*, and a warning for each parameter left out.

    Raises:
        Unsupported: a message holds what this protocol cannot carry.
    """
    body: dict[str, Any] = {"model": request.model} if request.model else {}
    if request.prompt is not None:
        body["prompt"] = request.prompt
    else:
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
    if request.prompt is not None:
        warnings = left_out(_OF_CHAT & set(given), "a text completion")
        given = {name: value for name, value in given.items() if name not in _OF_CHAT}
        return warnings + _sampling(body, given, request, rules.refused, "max_tokens")
    effort, warnings = _effort(Effort.of(given.get("reasoning")), request.who)
    refused = rules.refused
    if effort not in (None, "none") or (effort is None and rules.reasons_by_default):
        refused |= rules.refused_while_reasoning
    if effort is not None:
        body["reasoning_effort"] = effort
    warnings += _sampling(body, given, request, refused, rules.limit)
    if "tool_choice" in given:
        body["tool_choice"] = tool_choice(given["tool_choice"])
    if "parallel_tools" in given and request.tools:
        body["parallel_tool_calls"] = given["parallel_tools"]
    if (wanted := Format.of(given)) is not None:
        body["response_format"] = _response_format(wanted)
    return warnings


def _sampling(
    body: dict[str, Any], given: dict[str, Any], request: ChatRequest, refused: frozenset[str], limit: str
) -> list[str]:
    lacking = refused & set(given)
    taken = {name: value for name, value in given.items() if name not in lacking}
    body.update(rename(taken, {name: name for name in _PLAIN} | {"max_tokens": limit}))
    return left_out(lacking, request.who)


def _effort(wanted: Effort | None, who: str) -> tuple[str | None, list[str]]:
    if wanted is None or (wanted.level is None and wanted.budget is None):
        return None, []
    if wanted.level is None:
        return None, left_out(["reasoning"], who, "takes an effort (low, medium, high), not a budget")
    return wanted.level, []


def tool_choice(choice: Any) -> Any:
    """Give ``tool_choice`` as Chat Completions wants it: a mode, or the one tool by name."""
    if choice in ("auto", "required", "none") or not isinstance(choice, str):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _response_format(wanted: Format) -> Any:
    if wanted.raw is not None:
        return wanted.raw
    if wanted.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": wanted.name, "schema": wanted.schema}}


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
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments_text(call)}}
            for call in message.tool_calls
        ]
    elif not message.text:
        encoded["content"] = ""
    return encoded


def _content(message: Message, provider: str) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in message.parts):
        return message.text
    return [_part(part, provider) for part in message.parts if not isinstance(part, Reasoning)]


def _part(part: Any, provider: str) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        image = {"url": part.url or data_url(part)}
        return {"type": "image_url", "image_url": image | ({"detail": part.detail} if part.detail else {})}
    if isinstance(part, Document) and part.data is not None:
        return {"type": "file", "file": {"filename": part.name or "document.pdf", "file_data": data_url(part)}}
    raise Unsupported(f"{provider} does not take a {type(part).__name__} of this kind in a user's message.")
