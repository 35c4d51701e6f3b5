"""A request in, a Responses body out (platform.openai.com/docs/api-reference/responses/create)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from promptstream.errors import Unsupported
from promptstream.providers.openai.models import Rules
from promptstream.providers.openai.request import MODES, of_tools, taken_effort
from promptstream.providers.parameters import arguments_text, data_url, encoded_data, left_out, rename
from promptstream.values.format import Format
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.names import called_as
from promptstream.values.request import ChatRequest

KEY = "openai_responses"
"""Under which a part's metadata holds what this protocol wants back."""
CUSTOM = "custom_tool_call"
LACKING = frozenset({"top_k", "stop", "seed", "frequency_penalty", "presence_penalty"})
"""Parameters that OpenAI's own endpoint does not know; other servers take them by these names."""
_NAMES = {"max_tokens": "max_output_tokens"} | {name: name for name in ("temperature", "top_p", *sorted(LACKING))}
_PARTIAL = ("cancelled", "failed")
_KEPT_THERE = {"store", "previous_response_id", "conversation", "background"}
"""Fields of ``extra`` after which ``store`` is the user's own matter: all but the first need it to be true."""


def encode_body(
    request: ChatRequest, rules: Rules, provider: str, *, stateful: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Give the JSON body for *request*, and a warning for each thing left out.

    With *stateful* the server keeps the conversation, and gets what came after its last answer alone.

    Raises:
        Unsupported: a message holds what this protocol cannot carry.
    """
    body: dict[str, Any] = {"model": request.model} if request.model else {}
    messages = [message for message in request.messages if message.role != "system"]
    system = "\n\n".join(message.text for message in request.messages if message.role == "system")
    if system and messages and rules.system != "user":
        body["instructions"] = system
    elif system:  # input may not be empty, and the oldest models take no instructions
        messages.insert(0, Message("user", system))
    if stateful and not {"previous_response_id", "conversation"} & set(request.extra):
        body |= _continued(messages)
    stored = stateful or any(request.extra.get(name) for name in _KEPT_THERE)
    custom = frozenset(call.id for told in request.messages for call in told.tool_calls if _is_custom(call))
    history = _History(provider, rules.call_id, stored, custom, request.declared)
    body["input"] = [item for message in messages for item in history.items(message)]
    if request.tools:
        body["tools"] = [_tool(tool.name, tool.description, tool.parameters) for tool in request.tools]
    body["stream"] = request.streaming
    warnings = left_out(history.unsaid, request.who, "takes it from the user alone")
    warnings += _parameters(body, request, rules)
    if stateful:
        body["store"] = True
    elif not _KEPT_THERE & set(request.extra):
        body["store"] = False
    if not stateful and (rules.thinks or (rules.thinks is None and "reasoning" in body)):
        body["include"] = ["reasoning.encrypted_content"]  # other models answer it with status 400
    extra = dict(request.extra)
    if isinstance(extra.get("text"), Mapping):  # a verbosity, say, beside which the form of the answer stays
        extra["text"] = {**body.get("text", {}), **extra["text"]}
    body.update(extra)
    return body, warnings


def _continued(messages: list[Message]) -> dict[str, str]:
    """Take what the server has from the head of *messages*, and give the response to go on from."""
    for position in range(len(messages) - 2, -1, -1):
        message = messages[position]
        if message.role != "assistant" or message.finish_reason in _PARTIAL:
            continue  # what was not whole was not kept there
        for part in message.parts:
            if isinstance(identity := _own(part).get("response_id"), str):
                del messages[: position + 1]
                return {"previous_response_id": identity}
    return {}


def _tool(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    tool = {"type": "function", "name": name, "description": description, "parameters": parameters}
    return tool | {"strict": False}  # strict is the default here, and refuses most schemas


def _parameters(body: dict[str, Any], request: ChatRequest, rules: Rules) -> list[str]:
    given = request.parameters
    asked, warnings = _reasoning(given, rules, request.who)
    level = None if asked is None else asked.get("effort")
    refused = rules.refused
    if level not in (None, "none") or (level is None and rules.reasons_by_default):
        refused |= rules.refused_while_reasoning
    warnings += left_out(LACKING & refused & set(given), "the Responses API")
    warnings += left_out((refused - LACKING) & set(given), request.who)
    given = {name: value for name, value in given.items() if name not in refused}
    if asked is not None:
        body["reasoning"] = asked
    keys, lacking = of_tools(given, request, _tool_choice)
    body.update(rename(given, _NAMES) | keys)
    warnings += lacking
    if (wanted := Format.of(given)) is not None:
        body["text"] = {"format": _format(wanted)}
    return warnings


def _reasoning(given: Mapping[str, Any], rules: Rules, who: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Give the ``reasoning`` object: an effort, and a summary, without which no thought is ever shown."""
    wanted, warnings = taken_effort(given, rules, who)
    if wanted is None:
        return None, warnings
    if wanted.budget is not None:
        return None, left_out(["reasoning"], who, "takes an effort (low, medium, high), not a budget")
    asked: dict[str, Any] = {} if wanted.off else {"summary": "auto"}
    if wanted.level is not None:
        asked["effort"] = wanted.level
    asked |= wanted.options
    return {name: value for name, value in asked.items() if value is not None} or None, []


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice if choice in MODES else {"type": "function", "name": choice}
    function = choice.get("function")  # as Chat Completions nests it
    return {"type": "function", **function} if isinstance(function, Mapping) else choice


def _format(wanted: Format) -> Mapping[str, Any]:
    if wanted.raw is not None:
        nested = wanted.raw.get("json_schema")  # as Chat Completions nests it
        if wanted.schema is None or not isinstance(nested, Mapping):
            return wanted.raw
        return {"type": "json_schema", **nested, "name": wanted.name}
    if wanted.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "name": wanted.name, "schema": wanted.schema}


def _own(part: Any) -> Mapping[str, Any]:
    """Give what this protocol keeps on *part*."""
    data = (part.metadata or {}).get(KEY)
    return data if isinstance(data, Mapping) else {}


def _is_custom(call: ToolCall) -> bool:
    return _own(call).get("type") == CUSTOM


@attrs.define(eq=False)
class _History:
    """Turn messages into input items, one after the other."""

    provider: str
    call_id: Callable[[str], str]
    stored: bool
    """Whether the server keeps answers, and so knows items by their ids alone."""
    custom: frozenset[str]
    """The ids of calls of custom tools, whose results have a type of their own."""
    declared: frozenset[str]
    """The tools that the server is told of, by whatever name it takes."""
    unsaid: set[str] = attrs.field(factory=set)
    """What an answer held that is not sent back."""

    def items(self, message: Message) -> Iterator[dict[str, Any]]:
        """Give the items that stand for *message*."""
        if message.role == "assistant":
            yield from self._answer(message)
            return
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        for result in results:
            kind = f"{CUSTOM}_output" if result.call_id in self.custom else "function_call_output"
            yield {"type": kind, "call_id": self.call_id(result.call_id), "output": result.content}
        if message.role == "user" and not (results and len(results) == len(message.parts)):
            yield {"role": "user", "content": self._content(message)}

    def _content(self, message: Message) -> str | list[dict[str, Any]]:
        if all(isinstance(part, Text) for part in message.parts):
            return message.text
        told = [part for part in message.parts if not isinstance(part, (Reasoning, ToolResult))]
        return [self._part(part) for part in told]

    def _part(self, part: Any) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"type": "input_text", "text": part.text}
        if isinstance(part, Image):
            url = part.url or data_url(part)
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        if isinstance(part, Document):
            if part.data is None and part.url is not None:
                return {"type": "input_file", "file_url": part.url}
            return {"type": "input_file", "filename": part.name or _file_name(part), "file_data": data_url(part)}
        raise Unsupported(f"{self.provider} does not take a {type(part).__name__} in a user's message.")

    def _answer(self, message: Message) -> Iterator[dict[str, Any]]:
        """Give an answer's items in order, each thought right before what it led to.

        A thought alone is refused, as are an item known by its id without the thought before it, and
        what the server ran itself (a search, say) without either. So where a thought cannot be sent
        back, as in a partial answer, the rest goes as if another had said it.
        """
        known = message.finish_reason not in _PARTIAL
        thoughts: list[dict[str, Any]] = []
        for part in message.parts:
            own = _own(part)
            if isinstance(part, Reasoning):
                thought = _item(own.get("item"))
                known = known and (thought is None or self._takes_back(thought))
                if thought is not None and known:
                    thoughts.append(thought)
                continue
            item = self._spoken(part, own if known else {"phase": own.get("phase")})
            if item is not None:
                yield from thoughts if known else ()
                thoughts = []
                yield item

    def _takes_back(self, thought: Mapping[str, Any]) -> bool:
        return self.stored or bool(thought.get("encrypted_content")) or bool(thought.get("content"))

    def _spoken(self, part: Any, own: Mapping[str, Any]) -> dict[str, Any] | None:
        if isinstance(part, ToolCall):
            return self._call(part, own)
        if not isinstance(part, Text):
            self.unsaid.add(f"an answer's {type(part).__name__}")
            return None
        if not part.text:
            return _item(own.get("item"))
        phase = {"phase": own["phase"]} if own.get("phase") else {}
        if not own.get("id"):
            return {"type": "message", "role": "assistant", "content": part.text} | phase
        content = [{"type": "output_text", "text": part.text, "annotations": []}]
        return {
            "type": "message", "id": own["id"], "status": "completed", "role": "assistant", "content": content
        } | phase  # fmt: skip

    def _call(self, call: ToolCall, own: Mapping[str, Any]) -> dict[str, Any]:
        more = {name: own[name] for name in ("id", "namespace") if own.get(name)}
        what = {"call_id": self.call_id(call.id), "name": called_as(call.name, self.declared)} | more
        if _is_custom(call):
            return {"type": CUSTOM, "input": str((call.arguments or {}).get("input", ""))} | what
        return {"type": "function_call", "arguments": arguments_text(call)} | what


def _item(item: Any) -> dict[str, Any] | None:
    """Give an item as it may be sent back: null stands for nothing in an answer, and is refused in a request."""
    return {name: value for name, value in item.items() if value is not None} if isinstance(item, Mapping) else None


def _file_name(part: Document) -> str:
    from mimetypes import guess_extension

    return f"document{guess_extension(encoded_data(part)[1]) or '.pdf'}"
