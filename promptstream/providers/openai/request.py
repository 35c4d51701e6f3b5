"""A request in, a Chat Completions or text Completions body out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from promptstream.errors import Unsupported
from promptstream.providers.openai.models import Rules
from promptstream.providers.parameters import arguments_text, data_url, left_out, rename
from promptstream.values.effort import Effort
from promptstream.values.format import Format
from promptstream.values.media import media_type
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolResult
from promptstream.values.names import called_as
from promptstream.values.request import ChatRequest

_PLAIN = ("temperature", "top_p", "top_k", "stop", "seed", "frequency_penalty", "presence_penalty")
MODES = ("auto", "required", "none")
"""What ``tool_choice=`` says besides the name of a tool."""
_OF_CHAT = {"tool_choice", "parallel_tools", "response_format", "schema", "reasoning"}


def reasoning_effort(effort: Effort, who: str) -> tuple[dict[str, Any], list[str]]:
    """Give ``reasoning_effort`` for *effort*, and a warning for what Chat Completions does not take of it."""
    if effort.budget is not None:
        return {}, left_out(["reasoning"], who, "takes an effort (low, medium, high), not a budget")
    warnings = left_out([f"reasoning's {name}" for name in effort.options], who)
    return ({} if effort.level is None else {"reasoning_effort": effort.level}), warnings


def no_echo(message: Message) -> dict[str, Any]:
    """Send nothing back with an answer but what Chat Completions knows."""
    return {}


def encode_body(
    request: ChatRequest,
    rules: Rules,
    provider: str,
    *,
    reasoning: Callable[[Effort, str], tuple[dict[str, Any], list[str]]] = reasoning_effort,
    echo: Callable[[Message], Mapping[str, Any]] = no_echo,
) -> tuple[dict[str, Any], list[str]]:
    """Give the JSON body for *request*, and a warning for each parameter left out.

    *reasoning* gives the keys for an effort; *echo* further keys of an assistant's message.

    Raises:
        Unsupported: a message holds what this protocol cannot carry.
    """
    body: dict[str, Any] = {"model": request.model} if request.model else {}
    warnings: list[str] = []
    if request.prompt is not None:
        body["prompt"] = request.prompt
    else:
        encoder = _Messages(rules, provider, echo, request.declared)
        body["messages"] = [encoded for message in request.messages for encoded in encoder.encoded(message)]
        warnings += left_out(encoder.unsaid, request.who, "takes it from the user alone")
    if request.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in request.tools
        ]
    body["stream"] = request.streaming
    warnings += _parameters(body, request, rules, reasoning)
    body.update(request.extra)
    if body["stream"] and rules.usage_asked:
        body.setdefault("stream_options", {"include_usage": True})
    return body, warnings


def _parameters(
    body: dict[str, Any],
    request: ChatRequest,
    rules: Rules,
    reasoning: Callable[[Effort, str], tuple[dict[str, Any], list[str]]],
) -> list[str]:
    given, warnings = dict(request.parameters), []
    if request.prompt is not None:
        of_chat = (_OF_CHAT - rules.of_completion) & set(given)
        warnings += left_out(of_chat, "a text completion")
        given = {name: value for name, value in given.items() if name not in of_chat}
    effort, lacking = taken_effort(given, rules, request.who)
    warnings += lacking
    if effort is not None:
        keys, lacking = reasoning(effort, request.who)
        body.update(keys)
        warnings += lacking
    refused = rules.refused
    thinks = rules.reasons_by_default if effort is None or effort.level is None else not effort.off
    if thinks and request.prompt is None:
        refused |= rules.refused_while_reasoning
    warnings += left_out(refused & set(given), request.who)
    given = {name: value for name, value in given.items() if name not in refused}
    limit = rules.limit if request.prompt is None else "max_tokens"
    body.update(rename(given, {name: name for name in _PLAIN} | {"max_tokens": limit}))
    keys, lacking = of_tools(given, request, tool_choice)
    body.update(keys)
    warnings += lacking
    if (wanted := Format.of(given)) is not None:
        body["response_format"] = _response_format(wanted)
    return warnings


def taken_effort(given: Mapping[str, Any], rules: Rules, who: str) -> tuple[Effort | None, list[str]]:
    """Give the effort that *who*, a model, is to be asked for, and a warning where it does not take the one *given*."""
    effort = Effort.of(given.get("reasoning"))
    if effort is None or (rules.thinks is False and effort.off):
        return None, []
    if rules.thinks is False:
        return None, left_out(["reasoning"], who)
    if effort.level in rules.refused_efforts:
        return None, left_out(["reasoning"], who, f"does not take the effort {effort.level!r}")
    return effort, []


def of_tools(
    given: Mapping[str, Any], request: ChatRequest, form: Callable[[Any], Any]
) -> tuple[dict[str, Any], list[str]]:
    """Give the keys for how tools may be called, the choice in the *form* of the protocol.

    Without tools neither key is taken, and only one that would force a call is missed.
    """
    choice = given.get("tool_choice")
    if not request.tools and "tools" not in request.extra:
        forced = choice not in (None, "auto", "none")
        return {}, left_out(["tool_choice"], request.who, "was given no tools") if forced else []
    keys = {} if choice is None else {"tool_choice": form(choice)}
    return keys | rename(given, {"parallel_tools": "parallel_tool_calls"}), []


def tool_choice(choice: Any) -> Any:
    """Give ``tool_choice`` as Chat Completions wants it: a mode, or the one tool by name."""
    if isinstance(choice, str):
        return choice if choice in MODES else {"type": "function", "function": {"name": choice}}
    if choice.get("type") == "function" and isinstance(choice.get("name"), str):  # as Responses has it
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice


def _response_format(wanted: Format) -> Any:
    if wanted.raw is not None:
        return wanted.raw
    if wanted.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": wanted.name, "schema": wanted.schema}}


class _Messages:
    """Encode messages as one server wants them."""

    def __init__(
        self, rules: Rules, provider: str, echo: Callable[[Message], Mapping[str, Any]], declared: frozenset[str]
    ) -> None:
        self._rules = rules
        self._provider = provider
        self._echo = echo
        self._declared = declared
        """The tools that the server is told of, by whatever name it takes."""
        self.unsaid: set[str] = set()
        """What an answer held that is not sent back."""

    def encoded(self, message: Message) -> Iterator[dict[str, Any]]:
        """Give what *message* is in this protocol: one message, or one for each result of a tool."""
        if message.role == "system":
            yield {"role": self._rules.system, "content": message.text}
        elif message.role == "assistant":
            yield self._assistant(message)
        elif message.role == "tool":
            for part in message.parts:
                if isinstance(part, ToolResult):
                    call_id = self._rules.call_id(part.call_id)
                    yield {"role": "tool", "tool_call_id": call_id, "content": part.content}
        else:
            yield {"role": "user", "content": self._content(message)}

    def _assistant(self, message: Message) -> dict[str, Any]:
        calls = [
            {
                "id": self._rules.call_id(call.id),
                "type": "function",
                "function": {"name": called_as(call.name, self._declared), "arguments": arguments_text(call)},
            }
            for call in message.tool_calls
        ]
        attached = [part for part in message.parts if isinstance(part, (Image, Document))]
        self.unsaid |= {f"an answer's {type(part).__name__}" for part in attached}
        content = message.text or (None if calls else "")
        encoded: dict[str, Any] = {"role": "assistant", "content": content}
        if calls:
            encoded["tool_calls"] = calls
        return {**encoded, **self._echo(message)}

    def _content(self, message: Message) -> str | list[dict[str, Any]]:
        if all(isinstance(part, Text) for part in message.parts):
            return message.text
        return [self._part(part) for part in message.parts if not isinstance(part, Reasoning)]

    def _part(self, part: Any) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        if isinstance(part, Image):
            image = {"url": part.url or data_url(part)}
            return {"type": "image_url", "image_url": image | ({"detail": part.detail} if part.detail else {})}
        if isinstance(part, Document):
            return self._document(part)
        raise Unsupported(f"{self._provider} does not take a {type(part).__name__} in a user's message.")

    def _document(self, part: Document) -> dict[str, Any]:
        if part.data is None and part.url and self._rules.document_urls:
            return {"type": "file", "file": {"filename": part.name or "document.pdf", "file_data": part.url}}
        if part.data is None and part.url:
            raise Unsupported(
                f"{self._provider} does not take a Document by its address; fetch it and give data=…, "
                "or use Document.from_file(path)."
            )
        kind = part.media_type or media_type(part.data, part.name) or ""
        if kind.startswith("text/") and part.data is not None:  # files are PDF here; text is told as text
            name = f"{part.name}:\n" if part.name else ""
            return {"type": "text", "text": name + part.data.decode(errors="replace")}
        return {"type": "file", "file": {"filename": part.name or "document.pdf", "file_data": data_url(part)}}
