"""A request in, a body of DashScope's own protocol out (help.aliyun.com/zh/model-studio: dashscope-api-reference)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from promptstream.errors import ConfigError, Unsupported
from promptstream.providers.openai.request import tool_choice
from promptstream.providers.parameters import arguments_text, data_url, left_out, portable_id, rename
from promptstream.providers.qwen.models import manner_of, plan_for
from promptstream.values.format import Format
from promptstream.values.media import media_type
from promptstream.values.message import Document, Image, Message, Part, Text, ToolResult
from promptstream.values.names import called_as
from promptstream.values.request import ChatRequest

_PLAIN = ("temperature", "top_p", "top_k", "max_tokens", "stop", "seed", "presence_penalty")
_SPACES = ("input", "parameters")


def is_multimodal(request: ChatRequest) -> bool:
    """Tell whether the request goes to the multimodal address: by its model, or because it holds an image."""
    return manner_of(request.model).multimodal or any(
        isinstance(part, Image) for message in request.messages for part in message.parts
    )


def encode_body(request: ChatRequest, incremental: bool) -> tuple[dict[str, Any], bool, list[str]]:
    """Give the JSON body, whether to ask for a stream, and a warning for each parameter left out.

    Raises:
        ConfigError: ``extra`` asks for more than one choice, or contradicts *incremental*.
        Unsupported: a message holds what this protocol cannot carry.
    """
    extra = request.extra.get("parameters")
    extra = extra if isinstance(extra, Mapping) else {}
    plan = plan_for(request.model, request.who, request.parameters, extra)
    given = {name: value for name, value in request.parameters.items() if name not in plan.dropped}
    streaming = request.streaming or plan.streams_only
    listed = is_multimodal(request)
    messages = [encoded for message in request.messages for encoded in _message(message, listed, request.declared)]
    parameters = _parameters(request, given) | dict(plan.options)
    if streaming:
        parameters["incremental_output"] = incremental
    body: dict[str, Any] = {"model": request.model, "input": {"messages": messages}, "parameters": parameters}
    for name, value in request.extra.items():
        # "Over everything" one by one: who asks for a search keeps result_format.
        body[name] = {**body[name], **value} if name in _SPACES and isinstance(value, Mapping) else value
    _check(body["parameters"], incremental if streaming else None)
    warnings = [*plan.warnings, *left_out({"frequency_penalty"} & set(given), request.who)]
    return body, streaming, warnings


def _check(parameters: Any, incremental: bool | None) -> None:
    said = parameters if isinstance(parameters, Mapping) else {}
    if said.get("n") not in (None, 1):
        raise ConfigError("n > 1 is not supported: one stream is one answer. Ask several times instead.")
    if incremental is not None and said.get("incremental_output", incremental) is not incremental:
        raise ConfigError("incremental_output in extra contradicts the provider's incremental=; give it there alone.")


def _parameters(request: ChatRequest, given: Mapping[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {"result_format": "message", **rename(given, {name: name for name in _PLAIN})}
    if request.tools:
        parameters["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in request.tools
        ]
        if "parallel_tools" in given:
            parameters["parallel_tool_calls"] = given["parallel_tools"]
    if "tool_choice" in given:
        parameters["tool_choice"] = tool_choice(given["tool_choice"])
    if (wanted := Format.of(given)) is not None:
        parameters["response_format"] = _response_format(wanted)
    return parameters


def _response_format(wanted: Format) -> Any:
    if wanted.raw is not None:
        return wanted.raw
    if wanted.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": wanted.name, "schema": wanted.schema}}


def _message(message: Message, listed: bool, declared: Container[str]) -> Iterator[dict[str, Any]]:
    """Give what *message* is in this protocol, its content *listed* by parts or not; nothing where it is empty."""
    if message.role == "tool":
        for part in message.parts:
            if isinstance(part, ToolResult):
                said = [{"text": part.content}] if listed else part.content
                result = {"role": "tool", "content": said, "tool_call_id": portable_id(part.call_id)}
                yield result | ({"name": called_as(part.name, declared)} if part.name else {})
        return
    contents = [encoded for part in message.parts if (encoded := _part(part)) is not None]
    calls = [
        {
            "id": portable_id(call.id),
            "type": "function",
            "function": {
                "name": called_as(call.name, declared),
                "arguments": "{}" if call.arguments is None and call.problem else arguments_text(call),
            },
        }
        for call in message.tool_calls
    ]
    if not contents and not calls:
        return  # "Content length must be greater than 0"
    content: Any = contents if listed else "".join(part["text"] for part in contents)
    yield {"role": message.role, "content": content} | ({"tool_calls": calls} if calls else {})


def _part(part: Part) -> dict[str, str] | None:
    if isinstance(part, Text):
        return {"text": part.text} if part.text else None
    if isinstance(part, Image):
        return {"image": part.url or data_url(part)}
    if isinstance(part, Document):
        kind = part.media_type or media_type(part.data, part.name) or ""
        if part.data is None or not kind.startswith("text/"):
            raise Unsupported(
                "qwen takes no Document but text in a message; give its text, or upload it and name it to "
                "qwen-long in the system prompt."
            )
        return {"text": (f"{part.name}:\n" if part.name else "") + part.data.decode(errors="replace")}
    return None  # a thought is not sent back; calls stand beside the content
