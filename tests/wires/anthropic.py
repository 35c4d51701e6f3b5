"""Anthropic's Messages from the server's side."""

from __future__ import annotations

import json
import threading
from typing import Any, ClassVar

from wires.base import REQUEST_ID, Wire, check_name, demand, dumps, sse
from wires.script import (
    Answer,
    Asked,
    Beat,
    Called,
    Count,
    Fail,
    Item,
    Noise,
    Pictured,
    Raw,
    Returned,
    Said,
    Say,
    Sign,
    Think,
    Thought,
    Use,
    Uses,
    Written,
)

_NAMES = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "max_tokens": "max_tokens"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class AnthropicWire(Wire):
    """Blocks by index between message_start and message_stop."""

    name = "anthropic"
    model = "claude-sonnet-4-5"
    answering = "claude-sonnet-4-5-20250929"
    url_variable = "ANTHROPIC_BASE_URL"
    key_variable = "ANTHROPIC_API_KEY"
    key_header = "x-api-key"
    key_prefix = ""
    id_header = "request-id"
    lacks: ClassVar[dict[str, str]] = {
        "refusal_text": "a refusal is a stop_reason; it has no text of its own",
        "filtered": "a filtered prompt is answered with the stop_reason refusal",
        "several": "a message is one",
        "json": "structured output needs a schema here",
    }
    lacking = frozenset({"seed", "frequency_penalty", "presence_penalty"})
    statuses = Wire.statuses | {"overloaded": 529}
    words: ClassVar[dict[str, str]] = {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "refusal",
        "refusal": "refusal",
        "odd": "novelty",
    }

    def finish_word(self, finish: str) -> str | None:
        return self.words[finish]

    def path(self, asked: Asked) -> str:
        return "/v1/messages"

    def check_call(self, method: str, path: str, headers: dict[str, str], body: Any) -> Asked:
        demand(headers.get("anthropic-version") == "2023-06-01", "anthropic-version is missing")
        demand("authorization" not in headers, "two keys")
        return super().check_call(method, path, headers, body)

    # Answers

    def stream(self, answer: Answer) -> Written:
        return _Writer(self, answer).written()

    def start_usage(self, count: Count | None) -> dict[str, Any]:
        """Give what is known at the start; the output is a placeholder."""
        if count is None:
            return {}
        usage: dict[str, Any] = {"input_tokens": count.input - (count.cached or 0), "output_tokens": 1}
        if count.cached is not None:
            usage |= {"cache_read_input_tokens": count.cached, "cache_creation_input_tokens": 0}
        return usage | {"service_tier": "standard"}

    def end_usage(self, count: Count) -> dict[str, Any]:
        usage: dict[str, Any] = {"output_tokens": count.output}
        if count.reasoning is not None:
            usage["output_tokens_details"] = {"thinking_tokens": count.reasoning}
        return usage

    def message(self, answer: Answer) -> dict[str, Any]:
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": self.answering}

    def whole(self, answer: Answer) -> bytes:
        if answer.failure:
            return dumps(self.said(answer.failure))
        writer = _Writer(self, answer)
        writer.written()
        body = self.message(answer) | {"content": writer.blocks, "stop_sequence": None}
        body["stop_reason"] = self.words[answer.finish] if answer.finish else None
        if answer.count:
            body["usage"] = self.start_usage(answer.count) | self.end_usage(answer.count)
        return dumps(body)

    def said(self, kind: str) -> Any:
        sort, message = {
            "auth": ("authentication_error", "invalid x-api-key"),
            "missing": ("not_found_error", "model: x"),
            "rate": ("rate_limit_error", "Number of request tokens has exceeded your rate limit."),
            "server": ("api_error", "Internal server error"),
            "overloaded": ("overloaded_error", "Overloaded"),
            "context": ("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
        }[kind]
        return {"type": "error", "error": {"type": sort, "message": message}, "request_id": REQUEST_ID}

    def models(self) -> tuple[str, Any]:
        data = [{"type": "model", "id": each, "display_name": each.title()} for each in ("alpha", "beta")]
        return "/v1/models", {"data": data, "has_more": False, "first_id": "alpha", "last_id": "beta"}

    # Requests

    def read(self, body: dict[str, Any], path: str = "") -> Asked:
        asked = Asked(body.get("model"), body.get("stream", False))
        system = body.get("system")
        if isinstance(system, list):
            demand(system and all(block["type"] == "text" for block in system), "system holds other blocks than text")
            system = "".join(block["text"] for block in system)
        demand(system != "", "system is empty")
        asked.system = system
        demand(isinstance(body.get("max_tokens"), int) and body["max_tokens"] > 0, "max_tokens: Field required")
        messages = body.get("messages")
        demand(isinstance(messages, list) and messages, "there are no messages")
        demand(messages[0]["role"] == "user", "the first message is not the user's")
        waiting: list[str] = []
        for message in messages:
            demand(message["role"] in ("user", "assistant"), f"a message's role is {message['role']!r}")
            blocks = message["content"]
            blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
            demand(isinstance(blocks, list) and blocks, "a message's content is empty")
            results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            demand(sorted(results) == sorted(waiting), f"calls {waiting} are answered by {results}")
            first = [block["type"] == "tool_result" for block in blocks]
            demand(first == sorted(first, reverse=True), "a tool_result is not first in its message")
            for block in blocks:
                self.read_block(asked, message["role"], block)
            waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
            demand(len(set(waiting)) == len(waiting), "two calls have one id")
        demand(not waiting, f"calls without a result: {waiting}")
        demand(messages[-1]["role"] == "user", "the last message is a prefill, which newer models refuse")
        self.read_options(asked, body)
        return asked

    def read_block(self, asked: Asked, role: str, block: dict[str, Any]) -> None:
        kind = block["type"]
        if kind == "text":
            demand(block["text"].strip(), "text content blocks must contain non-whitespace text")
            asked.add(role, Said(block["text"]))
        elif kind in ("thinking", "redacted_thinking"):
            demand(role == "assistant", "thoughts in a user's message")
            mark = block["signature"] if kind == "thinking" else block["data"]
            demand(mark, "a thinking block has no signature")
            asked.add(role, Thought(block.get("thinking", ""), mark))
        elif kind == "tool_use":
            demand(role == "assistant", "a call in a user's message")
            self.check_id(block["id"])
            check_name(block["name"])
            demand(isinstance(block["input"], dict), "input: should be a valid dictionary")
            asked.add(role, Called(block["id"], block["name"], block["input"]))
        elif kind == "tool_result":
            content = block.get("content", "")
            if isinstance(content, list):
                demand(content, "a tool_result's content is an empty list")
                content = "".join(each["text"] for each in content)
            asked.add("tool", Returned(block["tool_use_id"], None, content, block.get("is_error", False)))
        else:
            demand(kind == "image" and role == "user", f"a block of type {kind!r} in a message of the {role}")
            source = block["source"]
            if source["type"] == "url":
                asked.add(role, Pictured(url=source["url"]))
            else:
                demand(source["type"] == "base64", f"a source of type {source['type']!r}")
                asked.add(role, Pictured(source["data"], source["media_type"]))

    def read_options(self, asked: Asked, body: dict[str, Any]) -> None:
        for tool in body.get("tools", ()):
            check_name(tool["name"])
            demand(tool["input_schema"].get("type") == "object", "input_schema is not of type object")
            asked.tools[tool["name"]] = tool["input_schema"]
        asked.parameters |= {ours: body[theirs] for theirs, ours in _NAMES.items() if theirs in body}
        demand(not {"temperature", "top_p"} <= set(body), "`temperature` and `top_p` cannot both be specified")
        if "stop_sequences" in body:
            demand(isinstance(body["stop_sequences"], list), "stop_sequences is no list")
            asked.parameters["stop"] = body["stop_sequences"]
        if choice := body.get("tool_choice"):
            demand(asked.tools, "tool_choice may only be specified while providing tools")
            kind = choice["type"]
            asked.parameters["tool_choice"] = choice["name"] if kind == "tool" else _CHOICES[kind]
            if "disable_parallel_tool_use" in choice:
                demand(kind != "none", "disable_parallel_tool_use: Extra inputs are not permitted")
                asked.parameters["parallel_tools"] = not choice["disable_parallel_tool_use"]
        thinking = body.get("thinking")
        if thinking is not None:
            asked.parameters["reasoning"] = thinking
            if thinking["type"] == "enabled":
                budget = thinking["budget_tokens"]
                demand(1024 <= budget < body["max_tokens"], f"budget_tokens is {budget} of {body['max_tokens']}")
                demand(asked.parameters.get("temperature", 1) == 1, "temperature may only be 1 while thinking")
                demand("top_k" not in body, "top_k must be unset while thinking")
        form = body.get("output_config", {}).get("format")
        if form:
            demand(form["type"] == "json_schema", f"output_config.format is {form!r:.60}")
            asked.parameters["format"] = form["schema"]
        known = {"model", "messages", "system", "stream", "stop_sequences", "tools", "tool_choice", "thinking"}
        known |= {"output_config", "metadata", "cache_control", *_NAMES}
        demand(set(body) <= known, f"Extra inputs are not permitted: {sorted(set(body) - known)}")


class _Writer:
    """Write one answer: a block opens when its kind comes and closes when another does."""

    def __init__(self, wire: AnthropicWire, answer: Answer) -> None:
        self.wire = wire
        self.answer = answer
        self.events: list[bytes | threading.Event] = []
        self.blocks: list[dict[str, Any]] = []
        self.opened = False

    def emit(self, kind: str, **fields: Any) -> None:
        self.events.append(sse({"type": kind, **fields}, kind))

    def written(self) -> Written:
        begun = False
        for item in self.answer.items:
            if not begun and not isinstance(item, (Fail, Beat, threading.Event)):
                self.begin()
                begun = True
            self.item(item)
        if self.answer.finish is None or self.answer.failure:
            return Written(self.events, len(self.events))
        if not begun:
            self.begin()
        self.close()
        delta = {"stop_reason": self.wire.words[self.answer.finish], "stop_sequence": None}
        count = self.answer.count
        self.emit("message_delta", delta=delta, usage=self.wire.end_usage(count) if count else {})
        signal = len(self.events)
        self.emit("message_stop")
        return Written(self.events, signal)

    def begin(self) -> None:
        message = self.wire.message(self.answer) | {"content": [], "stop_reason": None, "stop_sequence": None}
        self.emit("message_start", message=message | {"usage": self.wire.start_usage(self.answer.count)})

    def item(self, item: Item) -> None:
        if isinstance(item, threading.Event):
            self.events.append(item)
        elif isinstance(item, Say):
            self.switch({"type": "text", "text": ""})
            self.delta({"type": "text_delta", "text": item.text})
            self.blocks[-1]["text"] += item.text
        elif isinstance(item, Think):
            self.switch({"type": "thinking", "thinking": "", "signature": ""})
            self.delta({"type": "thinking_delta", "thinking": item.text})
            self.blocks[-1]["thinking"] += item.text
        elif isinstance(item, Sign):
            self.switch({"type": "thinking", "thinking": "", "signature": ""})
            self.delta({"type": "signature_delta", "signature": item.value})
            self.blocks[-1]["signature"] = item.value
            self.close()
        elif isinstance(item, (Use, Uses)):
            for call in item.calls if isinstance(item, Uses) else (item,):
                self.call(call)
        elif isinstance(item, Noise):
            self.noise(item.what)
        elif isinstance(item, Fail):
            self.events.append(sse(self.wire.said(item.kind), "error"))
        elif isinstance(item, Beat):
            self.emit("ping")
        else:
            assert isinstance(item, Raw), item
            self.events.append(item.data)

    def switch(self, block: dict[str, Any]) -> None:
        if not self.opened or self.blocks[-1]["type"] != block["type"]:
            self.close()
            self.blocks.append(dict(block))
            self.opened = True
            self.emit("content_block_start", index=len(self.blocks) - 1, content_block=block)

    def delta(self, delta: dict[str, Any]) -> None:
        self.emit("content_block_delta", index=len(self.blocks) - 1, delta=delta)

    def call(self, call: Use) -> None:
        self.close()
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        self.switch(block)
        pieces = [] if call.arguments == "{}" else list(call.pieces)  # a call without arguments writes nothing
        for piece in ["", *pieces]:
            self.delta({"type": "input_json_delta", "partial_json": piece})
        try:
            self.blocks[-1]["input"] = json.loads(call.arguments or "{}")
        except ValueError:
            self.blocks[-1]["input"] = {}
        self.close()

    def noise(self, what: str) -> None:
        if what == "event":
            self.emit("novelty", index=0, novelty={"type": "text_delta", "text": "nothing of ours"})
        elif what == "keys":
            self.switch({"type": "text", "text": ""})
            self.delta({"type": "novelty_delta", "novelty": "nothing of ours"})
        else:
            self.close()
            self.blocks.append({"type": "novelty_result", "content": [{"type": "novelty", "text": "nothing of ours"}]})
            self.opened = True
            self.emit("content_block_start", index=len(self.blocks) - 1, content_block=self.blocks[-1])
            self.close()

    def close(self) -> None:
        if self.opened:
            self.emit("content_block_stop", index=len(self.blocks) - 1)
            self.opened = False
