"""A request in, a generateContent body out (ai.google.dev/api/generate-content)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptstream.errors import ConfigError
from promptstream.providers.gemini.content import contents_of
from promptstream.providers.gemini.models import rules_for, thinking
from promptstream.providers.parameters import left_out, rename
from promptstream.values.effort import Effort
from promptstream.values.format import Format
from promptstream.values.request import ChatRequest

MAX_STOPS = 5
_NAMES = {
    "temperature": "temperature",
    "max_tokens": "maxOutputTokens",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def encode_body(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """Give the JSON body for *request*, and a warning for each parameter left out or changed.

    ``extra`` goes over everything, an object in it into the object of that name: what
    ``generationConfig`` already holds stays. Lists and single values take the place of what is there.

    Raises:
        ConfigError: a part of a message, or a parameter, cannot be sent.
    """
    body: dict[str, Any] = {"contents": contents_of(request.messages, rules_for(request.model), request.declared)}
    system = [message.text for message in request.messages if message.role == "system" and message.text]
    if system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    if request.tools:
        body["tools"] = [{"functionDeclarations": [_declared(tool) for tool in request.tools]}]
    config, warnings = _config(request)
    if config:
        body["generationConfig"] = config
    warnings += _choice(body, request)
    _merge(body, request.extra)
    return body, warnings


def _declared(tool: Any) -> dict[str, Any]:
    # The field "parameters" refuses $ref, additionalProperties and objects without properties; this one takes them.
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "parametersJsonSchema": tool.parameters}


def _config(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    given, rules = request.parameters, rules_for(request.model)
    config = rename(given, _NAMES)
    if stops := given.get("stop"):
        config["stopSequences"] = [stops] if isinstance(stops, str) else list(stops)
        if len(config["stopSequences"]) > MAX_STOPS:
            raise ConfigError(f"Gemini takes at most {MAX_STOPS} stop sequences; {len(stops)} are given.")
    thoughts, warnings = thinking(Effort.of(given.get("reasoning")), rules, request.who, given.get("max_tokens"))
    if thoughts:
        config["thinkingConfig"] = thoughts
    wanted = Format.of(given)
    if wanted is not None and request.tools and not rules.mixes_json_and_tools:
        name = "schema" if "schema" in given else "response_format"
        warnings += left_out([name], request.who, "does not take it together with tools")
    elif wanted is not None:
        config |= _format(wanted)
    return config, warnings


def _format(wanted: Format) -> dict[str, Any]:
    if wanted.schema is not None:
        return {"responseMimeType": "application/json", "responseJsonSchema": wanted.schema}
    if wanted.raw is not None:
        return dict(wanted.raw)  # such as {"responseMimeType": "text/x.enum", "responseSchema": {…}}
    return {"responseMimeType": "application/json"}


def _choice(body: dict[str, Any], request: ChatRequest) -> list[str]:
    """Set how functions may be called, and give the warnings."""
    given = request.parameters
    tools = bool(request.tools) or "tools" in request.extra
    warnings = left_out(["parallel_tools"], request.who) if "parallel_tools" in given and tools else []
    choice = given.get("tool_choice")
    if choice is None or (not tools and choice in ("auto", "none")):
        return warnings
    if not tools:
        return warnings + left_out(["tool_choice"], request.who, "was given no tools")
    body["toolConfig"] = {"functionCallingConfig": _mode(choice)}
    return warnings


def _mode(choice: Any) -> dict[str, Any]:
    if isinstance(choice, Mapping):
        function = choice.get("function")
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            return dict(choice)  # Gemini's own: mode and allowedFunctionNames
        choice = function["name"]
        return {"mode": "ANY", "allowedFunctionNames": [choice]}
    if choice in _MODES:
        return {"mode": _MODES[choice]}
    return {"mode": "ANY", "allowedFunctionNames": [choice]}


def _merge(body: dict[str, Any], extra: Mapping[str, Any]) -> None:
    for name, value in extra.items():
        there = body.get(name)
        if isinstance(there, dict) and isinstance(value, Mapping):
            body[name] = merged = dict(there)
            _merge(merged, value)
        else:
            body[name] = value
