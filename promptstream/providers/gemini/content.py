"""Messages in, Gemini's contents out: each part where it was, each signature on the part it came on."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from promptstream.errors import ConfigError, LimitExceeded, ProtocolError
from promptstream.providers.gemini.models import Rules, rules_for
from promptstream.providers.parameters import encoded_data
from promptstream.values.media import media_type
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.names import called_as
from promptstream.wire.jsontext import loads_exact

NO_SIGNATURE = "skip_thought_signature_validator"
"""What stands for the signature of another model's call (ai.google.dev/gemini-api/docs/thought-signatures)."""
_PARTIAL = ("cancelled", "failed")


def contents_of(messages: Sequence[Message], rules: Rules, declared: Container[str]) -> list[dict[str, Any]]:
    """Give the contents for all messages but the system's; neighbours in one role are one content.

    *declared* are the tools' names.

    Raises:
        ConfigError: a part cannot be sent, or nothing is left to be sent.
    """
    calls: dict[str, ToolCall] = {}
    turn = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
    contents: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        if message.role == "system":
            continue
        if message.role == "assistant":
            role, parts = "model", _said(message, rules, declared)
            calls.update((call.id, call) for call in message.tool_calls)
            if at > turn and rules.wants_signatures:
                _sign_first_call(parts)
        else:
            role, parts = "user", [_part(part, calls, declared) for part in message.parts if not _is_empty(part)]
        if parts and contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": role, "parts": parts})
    if not contents:
        raise ConfigError("Gemini needs a message besides the system prompt; there is none that says anything.")
    for before, content in pairwise(contents):
        _in_order(before["parts"], content["parts"])
    for content in contents:
        for part in content["parts"]:
            part.pop(_CALL, None)
    return contents


_CALL = "promptstream:call"
"""Which call a part is or answers; only until all contents are in order."""


def _is_empty(part: Any) -> bool:
    return isinstance(part, Reasoning) or (isinstance(part, Text) and not part.text)


def _said(message: Message, rules: Rules, declared: Container[str]) -> list[dict[str, Any]]:
    """Give the parts of a model's message as they came; foreign thoughts and foreign signatures stay behind."""
    parts = []
    for part in message.parts:
        kept = _kept(part, rules)
        if isinstance(part, ToolCall):
            encoded = _call(part, kept, declared)
        elif isinstance(part, Reasoning):
            whole = message.finish_reason not in _PARTIAL or "thoughtSignature" in kept
            encoded = {"text": part.text, "thought": True} if kept.get("own") and whole else {}
        elif isinstance(part, (Image, Document)):
            encoded = _media(part)
        elif isinstance(part, ToolResult):
            raise ConfigError("Gemini does not take a ToolResult in an assistant's message.")
        elif isinstance(raw := kept.get("part"), Mapping) and not part.text:
            encoded = dict(raw)
        else:
            encoded = {"text": part.text} if part.text or "thoughtSignature" in kept else {}
        if encoded:
            if isinstance(signature := kept.get("thoughtSignature"), str):
                encoded["thoughtSignature"] = signature
            parts.append(encoded)
    return parts


def _kept(part: Any, rules: Rules) -> dict[str, Any]:
    """Give what was kept of Gemini's own part; without the signature where another generation signed."""
    kept = (part.metadata or {}).get("gemini")
    if not isinstance(kept, Mapping):
        return {}
    models = [model for model in (kept.get("model"), kept.get("asked")) if isinstance(model, str)]
    theirs = {rules_for(model).major for model in models} or {None}
    own = rules.major is None or bool(theirs & {None, rules.major})
    return {name: value for name, value in kept.items() if own or name != "thoughtSignature"} | {"own": own}


def _call(call: ToolCall, kept: Mapping[str, Any], declared: Container[str]) -> dict[str, Any]:
    function: dict[str, Any] = {"name": called_as(call.name, declared), "args": call.arguments or {}}
    if isinstance(identity := kept.get("id"), str):
        function["id"] = identity
    return {"functionCall": function, _CALL: call.id}


def _sign_first_call(parts: list[dict[str, Any]]) -> None:
    first = next((part for part in parts if "functionCall" in part), None)
    if first is not None:
        first.setdefault("thoughtSignature", NO_SIGNATURE)


def _in_order(said: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
    """Put the responses in *answers* into the order of the calls in *said*, before all else."""
    order = {part[_CALL]: at for at, part in enumerate(said) if _CALL in part}
    answers.sort(key=lambda part: order.get(part[_CALL], len(said)) if "functionResponse" in part else len(said) + 1)


def _part(part: Any, calls: Mapping[str, ToolCall], declared: Container[str]) -> dict[str, Any]:
    if isinstance(part, ToolResult):
        return _result(part, calls.get(part.call_id), declared)
    if isinstance(part, Text):
        return {"text": part.text}
    if isinstance(part, (Image, Document)):
        return _media(part)
    raise ConfigError(f"Gemini does not take a {type(part).__name__} in a user's message.")


def _result(result: ToolResult, call: ToolCall | None, declared: Container[str]) -> dict[str, Any]:
    if not (call or result.name):
        raise ConfigError(
            f"The result of the call {result.call_id!r:.80} names no tool, and no message holds the call."
        )
    name = called_as(call.name if call else result.name, declared)
    response: dict[str, Any] = {"name": name, "response": _object(result)}
    kept = (call.metadata or {}).get("gemini") if call else None
    if isinstance(kept, Mapping) and isinstance(identity := kept.get("id"), str):
        response["id"] = identity
    return {"functionResponse": response, _CALL: result.call_id}


def _object(result: ToolResult) -> dict[str, Any]:
    """Give a result as the object it must be; JSON text is read, so that numbers stay numbers."""
    if result.error:
        return {"error": result.content}
    try:
        value = loads_exact(result.content.strip())
    except (ProtocolError, LimitExceeded):
        value = result.content
    return value if isinstance(value, dict) else {"result": value}


def _media(part: Image | Document) -> dict[str, Any]:
    if part.data is not None:
        data, kind = encoded_data(part)
        return {"inlineData": {"mimeType": kind, "data": data}}
    url = part.url or ""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https", "gs"):
        raise ConfigError(
            f"The {type(part).__name__} has no bytes and no address that Gemini takes ({url!r:.80}); "
            "give data=…, or an https:// or gs:// address."
        )
    named = part.name if isinstance(part, Document) else None
    file = {"fileUri": url}
    guess = part.media_type or media_type(None, parts.path) or media_type(None, named)
    if guess:
        file["mimeType"] = guess
    return {"fileData": file}
