"""Ollama's /api/chat from the server's side."""

from __future__ import annotations

import json
import threading
from typing import Any, ClassVar

from wires.base import KEY, Wire, check_name, demand, dumps
from wires.script import (
    Answer,
    Asked,
    Beat,
    Called,
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

_NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "num_predict": "max_tokens",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_KEPT = {"num_ctx", "repeat_penalty", "min_p"}


class OllamaWire(Wire):
    """One JSON object to a line, calls whole, usage on the last line."""

    name = "ollama"
    model = "llama3.2"
    answering = "llama3.2:latest"
    url_variable = "OLLAMA_HOST"
    stream_type = "application/x-ndjson"
    id_header = None
    lacks: ClassVar[dict[str, str]] = {
        "signature": "there is nothing opaque in this protocol",
        "refusal": "a refusal is plain text",
        "refusal_text": "the same",
        "content_filter": "nothing filters here",
        "filtered": "nothing filters here",
        "several": "an answer is one",
        "call_pieces": "a call comes whole, its arguments an object",
        "image_url": "images are bytes only",
        "request_id": "there is none",
    }
    lacking = frozenset({"tool_choice", "parallel_tools"})
    counts_cached = False
    counts_reasoning = False
    words: ClassVar[dict[str, str]] = {"stop": "stop", "length": "length", "tool_calls": "stop", "odd": "unload"}

    def finish_word(self, finish: str) -> str | None:
        return self.words[finish]

    def path(self, asked: Asked) -> str:
        return "/api/chat"

    # Answers

    def line(self, message: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Give one line's body."""
        head = {"model": self.answering, "created_at": "2026-01-01T00:00:00Z"}
        return {**head, "message": {"role": "assistant", "content": "", **message}, "done": False, **more}

    def calls(self, item: Use | Uses, number: int) -> list[dict[str, Any]]:
        calls = item.calls if isinstance(item, Uses) else (item,)
        return [
            {
                "id": call.id,
                "function": {"index": number + at, "name": call.name, "arguments": json.loads(call.arguments or "{}")},
            }
            for at, call in enumerate(calls)
        ]

    def item(self, item: Item, number: int) -> bytes:
        if isinstance(item, Say):
            return dumps(self.line({"content": item.text})) + b"\n"
        if isinstance(item, Think):
            return dumps(self.line({"thinking": item.text})) + b"\n"
        if isinstance(item, (Use, Uses)):
            return dumps(self.line({"tool_calls": self.calls(item, number)})) + b"\n"
        if isinstance(item, Noise):
            if item.what == "event":
                return dumps({"model": self.answering, "novelty": {"content": "nothing of ours"}}) + b"\n"
            if item.what == "keys":
                return dumps(self.line({"novelty": [1]}, novelty={})) + b"\n"
            return dumps(self.line({"novelty": [{"type": "novelty"}]})) + b"\n"
        if isinstance(item, Fail):
            return dumps(self.said(item.kind)) + b"\n"
        assert isinstance(item, (Beat, Raw)), item
        return item.data if isinstance(item, Raw) else b"\n"

    def stream(self, answer: Answer) -> Written:
        events: list[bytes | threading.Event] = []
        number = 0
        for item in answer.items:
            if isinstance(item, Sign):
                continue
            events.append(item if isinstance(item, threading.Event) else self.item(item, number))
            number += len(item.calls) if isinstance(item, Uses) else isinstance(item, Use)
        if answer.finish is not None and not answer.failure:
            events.append(dumps(self.line({}, **self.ending(answer))) + b"\n")
        return Written(events, len(events))

    def ending(self, answer: Answer) -> dict[str, Any]:
        ending: dict[str, Any] = {"done": True, "done_reason": self.words[answer.finish or "stop"]}
        ending |= {"total_duration": 5, "load_duration": 1}
        if answer.count:
            ending |= {"prompt_eval_count": answer.count.input, "prompt_eval_duration": 1}
            ending |= {"eval_count": answer.count.output, "eval_duration": 1}
        return ending

    def whole(self, answer: Answer) -> bytes:
        if answer.failure:
            return dumps(self.said(answer.failure))
        message: dict[str, Any] = {"content": answer.text}
        if answer.reasoning:
            message["thinking"] = answer.reasoning
        if answer.calls:
            message["tool_calls"] = self.calls(Uses(tuple(answer.calls)), 0)
        return dumps(self.line(message, **self.ending(answer)))

    def said(self, kind: str) -> Any:
        return {
            "error": {
                "auth": "unauthorized",
                "missing": "model 'x' not found",
                "rate": "rate limit exceeded, please try again later",
                "server": "an error was encountered while running the model: unexpected EOF",
                "overloaded": "server busy, please try again. maximum pending requests exceeded",
                "context": "prompt too long; exceeded max context length by 12 tokens",
            }[kind]
        }

    def models(self) -> tuple[str, Any]:
        rows = [{"name": each, "model": each, "size": 1, "details": {}} for each in ("alpha", "beta")]
        return "/api/tags", {"models": rows}

    # Requests

    def check_call(self, method: str, path: str, headers: dict[str, str], body: Any) -> Asked:
        return super().check_call(method, path, {"authorization": f"Bearer {KEY}"} | headers, body)

    def read(self, body: dict[str, Any], path: str = "") -> Asked:
        asked = Asked(body.get("model"), body.get("stream", True))
        calls: list[Called] = []
        demand(isinstance(body.get("messages"), list) and body["messages"], "there are no messages")
        for message in body["messages"]:
            role, content = message.get("role"), message.get("content", "")
            demand(isinstance(content, str), "content is no string")
            known = {"role", "content", "images", "thinking", "tool_calls", "tool_name", "tool_call_id"}
            demand(set(message) <= known, f"a message holds {sorted(set(message) - known)}")
            if role == "tool":
                demand(calls, "a result without a call")
                call = calls.pop(0)
                demand(message.get("tool_name") == call.name, f"{call.name} is answered by {message.get('tool_name')}")
                asked.add("tool", Returned(message.get("tool_call_id"), message["tool_name"], content))
                continue
            demand(not calls, f"calls without a result: {calls}")
            if role == "system":
                demand(not asked.turns, "the system message is not the first")
                asked.system = (asked.system or "") + content
            elif role == "assistant":
                asked.add("assistant", *([Thought(message["thinking"])] if message.get("thinking") else []))
                asked.add("assistant", *([Said(content)] if content else []))
                calls = [self.read_call(call) for call in message.get("tool_calls", ())]
                asked.add("assistant", *calls)
            else:
                demand(role == "user", f"a message's role is {role!r}")
                asked.add("user", *([Said(content)] if content else []))
                for image in message.get("images", ()):
                    demand(not image.startswith(("data:", "http")), "an image is not bare base64")
                    asked.add("user", Pictured(image))
        demand(not calls, f"calls without a result: {calls}")
        self.read_options(asked, body)
        return asked

    def read_call(self, call: dict[str, Any]) -> Called:
        function = call["function"]
        check_name(function["name"])
        demand(isinstance(function["arguments"], dict), "cannot unmarshal string into arguments of type object")
        return Called(call.get("id"), function["name"], function["arguments"])

    def read_options(self, asked: Asked, body: dict[str, Any]) -> None:
        for tool in body.get("tools", ()):
            demand(tool["type"] == "function", "a tool's type is not function")
            check_name(tool["function"]["name"])
            asked.tools[tool["function"]["name"]] = tool["function"]["parameters"]
        options = body.get("options", {})
        asked.parameters |= {ours: options[theirs] for theirs, ours in _NAMES.items() if theirs in options}
        demand(isinstance(options.get("stop", []), list), "cannot unmarshal string into options.stop")
        demand(set(options) <= {*_NAMES, *_KEPT}, f"unknown options: {sorted(options)}")
        if "format" in body:
            asked.parameters["format"] = body["format"]
        if "think" in body:
            asked.parameters["reasoning"] = body["think"]
        known = {"model", "messages", "stream", "tools", "format", "options", "think", "keep_alive"}
        demand(set(body) <= known, f"unknown fields: {sorted(set(body) - known)}")
