"""Chat Completions from the server's side: OpenAI's own, and any other that speaks it."""

from __future__ import annotations

import re
import threading
from typing import Any, ClassVar

from wires.base import Wire, check_name, demand, dumps, parsed_arguments, pictured, sse
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
    Refuse,
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

DONE = b"data: [DONE]\n\n"
_NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "stop": "stop",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "parallel_tool_calls": "parallel_tools",
}


class ChatWire(Wire):
    """OpenAI's own server."""

    name = "openai"
    model = "gpt-4.1-mini"
    answering = "gpt-4.1-mini-2025-04-14"
    root = "/v1"
    url_variable = "OPENAI_BASE_URL"
    key_variable = "OPENAI_API_KEY"
    lacks: ClassVar[dict[str, str]] = {
        "reasoning": "Chat Completions tells no thoughts, only how many tokens they took",
        "signature": "there is nothing opaque on this endpoint",
    }
    lacking = frozenset({"top_k"})
    limit = "max_completion_tokens"
    several: ClassVar[dict[str, Any]] = {"n": 2}
    words: ClassVar[dict[str, str]] = {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "content_filter": "content_filter",
        "refusal": "stop",
        "odd": "eos_token",
    }

    def finish_word(self, finish: str) -> str | None:
        return self.words[finish]

    def path(self, asked: Asked) -> str:
        return "/chat/completions"

    # Answers

    def another(self, text: str) -> bytes:
        body = self.chunk(self.text(text))
        body["choices"][0]["index"] = 1
        return sse(body)

    def chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        """Give one event's body."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self.answering}
        return {**head, "system_fingerprint": "fp_1", "choices": [choice], "usage": None, "obfuscation": "x7", **more}

    def first(self, answer: Answer) -> list[bytes]:
        """Write what comes before the first item."""
        return [sse(self.chunk({"role": "assistant", "content": "", "refusal": None}))]

    def text(self, text: str) -> dict[str, Any]:
        return {"content": text}

    def thought(self, text: str) -> dict[str, Any]:
        return {"reasoning_content": text}

    def signed(self, value: str) -> list[bytes]:
        return []

    def item(self, item: Item, number: int) -> list[bytes]:
        """Write one item; *number* counts the calls before it."""
        if isinstance(item, Say):
            return [sse(self.chunk(self.text(item.text)))]
        if isinstance(item, Think):
            return [sse(self.chunk(self.thought(item.text)))]
        if isinstance(item, Sign):
            return self.signed(item.value)
        if isinstance(item, Refuse):
            return [sse(self.chunk({"refusal": item.text}))]
        if isinstance(item, Use):
            return [sse(self.chunk({"tool_calls": [each]})) for each in self.pieces(item, number)]
        if isinstance(item, Uses):
            return self.interleaved(item, number)
        if isinstance(item, Noise):
            return self.noise(item.what)
        if isinstance(item, Fail):
            return self.failure(item.kind)
        assert isinstance(item, (Beat, Raw)), item
        return [item.data if isinstance(item, Raw) else b": keep-alive\n\n"]

    def pieces(self, call: Use, index: int) -> list[dict[str, Any]]:
        """Give the deltas of one call: its id and name once, then pieces of its arguments."""
        head = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        return [head] + [{"index": index, "function": {"arguments": piece}} for piece in call.pieces]

    def interleaved(self, uses: Uses, number: int) -> list[bytes]:
        columns = [self.pieces(call, number + position) for position, call in enumerate(uses.calls)]
        rows = [[column[row] for column in columns if row < len(column)] for row in range(max(map(len, columns)))]
        return [sse(self.chunk({"tool_calls": row})) for row in rows]

    def noise(self, what: str) -> list[bytes]:
        if what == "event":  # such as the moderation results
            head = {"id": "chatcmpl-1", "object": "chat.completion.news", "model": self.answering, "choices": []}
            return [sse({**head, "moderation": {"input": [{"flagged": False}]}})]
        if what == "keys":
            return [sse({**self.chunk({"role": "assistant", "novelty": {"a": [1]}}), "novelty": [{}]})]
        return [sse(self.chunk({"annotations": [{"type": "novelty"}], "audio": {"id": "a"}}))]

    def failure(self, kind: str) -> list[bytes]:
        return [sse(self.said(kind))]

    def counted(self, count: Count) -> dict[str, Any]:
        """Give the usage object."""
        usage: dict[str, Any] = {"prompt_tokens": count.input, "completion_tokens": count.output}
        usage["total_tokens"] = count.input + count.output
        if count.cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": count.cached, "audio_tokens": 0}
        if count.reasoning is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": count.reasoning}
        return usage

    def last(self, answer: Answer) -> list[bytes]:
        """Write what comes after the finish signal."""
        if answer.count is None:
            return [DONE]
        return [sse({**self.chunk({}), "choices": [], "usage": self.counted(answer.count)}), DONE]

    def stream(self, answer: Answer) -> Written:
        events: list[bytes | threading.Event] = []
        number = 0
        opened = False
        for item in answer.items:
            if not opened and not isinstance(item, (Fail, Beat, threading.Event)):
                events += self.first(answer)
                opened = True
            events += [item] if isinstance(item, threading.Event) else self.item(item, number)
            number += len(item.calls) if isinstance(item, Uses) else isinstance(item, Use)
        if answer.finish is None or answer.failure:
            return Written(events, len(events))
        events += [] if opened else self.first(answer)
        events.append(sse(self.chunk({}, self.words[answer.finish])))
        return Written(events + self.last(answer), len(events))

    def message(self, answer: Answer) -> dict[str, Any]:
        """Give the message of an answer in one body."""
        text = "".join(each.text for each in answer.items if isinstance(each, Say))
        refusal = "".join(each.text for each in answer.items if isinstance(each, Refuse))
        message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": refusal or None}
        if answer.reasoning:
            message |= self.thought(answer.reasoning)
        if answer.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in answer.calls
            ]
        return message

    def whole(self, answer: Answer) -> bytes:
        if answer.failure:
            return dumps(self.said(answer.failure))
        word = self.words[answer.finish] if answer.finish else None
        choice = {"index": 0, "message": self.message(answer), "finish_reason": word}
        body = {"id": "chatcmpl-1", "object": "chat.completion", "model": self.answering, "choices": [choice]}
        return dumps(body | ({"usage": self.counted(answer.count)} if answer.count else {}))

    def said(self, kind: str) -> Any:
        message, sort, code = {
            "auth": ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
            "missing": ("The model does not exist.", "invalid_request_error", "model_not_found"),
            "rate": ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
            "server": ("The server had an error.", "server_error", None),
            "overloaded": ("The server is overloaded.", "service_unavailable_error", "server_is_overloaded"),
            "context": (
                "This model's maximum context length is 8192 tokens.",
                "invalid_request_error",
                "context_length_exceeded",
            ),
            "filtered": ("Your prompt was flagged.", "invalid_request_error", "content_policy_violation"),
        }[kind]
        return {"error": {"message": message, "type": sort, "param": None, "code": code}}

    # Requests

    def read(self, body: dict[str, Any], path: str = "") -> Asked:
        asked = Asked(body.get("model"), body.get("stream", False))
        demand(isinstance(asked.stream, bool), "stream is no bool")
        demand(asked.stream or "stream_options" not in body, "stream_options without stream")
        waiting: list[str] = []
        demand(isinstance(body.get("messages"), list) and body["messages"], "there are no messages")
        for message in body["messages"]:
            role = message.get("role")
            if role == "tool":
                demand(message.get("tool_call_id") in waiting, "a tool message answers no call of the last message")
                waiting.remove(message["tool_call_id"])
                demand(isinstance(message.get("content"), str), "a tool's content is no text")
                asked.add("tool", Returned(message["tool_call_id"], None, message["content"]))
                continue
            demand(not waiting, f"calls without an answer: {waiting}")
            if role in ("system", "developer"):
                demand(not asked.turns, "the system message is not the first")
                asked.system = (asked.system or "") + str(message["content"])
            elif role == "assistant":
                waiting = self.read_assistant(asked, message)
            else:
                demand(role == "user", f"a message's role is {role!r}")
                asked.add("user", *self.read_content(message.get("content")))
        demand(not waiting, f"calls without an answer: {waiting}")
        self.read_options(asked, body)
        return asked

    def read_assistant(self, asked: Asked, message: dict[str, Any]) -> list[str]:
        content, calls = message.get("content"), message.get("tool_calls")
        demand(isinstance(content, (str, type(None))), "an assistant's content is no text")
        demand(calls is None or calls, "tool_calls is an empty list")
        demand(content is not None or calls, "an assistant's message has neither content nor calls")
        if thoughts := self.read_thoughts(message):
            asked.add("assistant", *thoughts)
        asked.add("assistant", *([Said(content)] if content else []))
        for call in calls or ():
            self.check_id(call.get("id"))
            demand(call.get("type") == "function", "a call's type is not function")
            check_name(call["function"].get("name"))
            arguments = parsed_arguments(call["function"].get("arguments"))
            asked.add("assistant", Called(call["id"], call["function"]["name"], arguments))
        ids = [call["id"] for call in calls or ()]
        demand(len(set(ids)) == len(ids), "two calls have one id")
        return ids

    def read_thoughts(self, message: dict[str, Any]) -> list[Thought]:
        known = {"role", "content", "tool_calls", "refusal", "name"}
        demand(set(message) <= known, f"an assistant's message has {set(message) - known}")
        return []

    def read_content(self, content: Any) -> list[Any]:
        if isinstance(content, str):
            return [Said(content)]
        demand(isinstance(content, list) and content, f"a user's content is {content!r:.60}")
        items: list[Any] = []
        for part in content:
            if part["type"] == "text":
                items.append(Said(part["text"]))
            else:
                demand(part["type"] == "image_url", f"a part's type is {part['type']!r}")
                items.append(Pictured(*pictured(part["image_url"]["url"])))
        return items

    def read_options(self, asked: Asked, body: dict[str, Any]) -> None:
        for tool in body.get("tools", ()):
            demand(tool.get("type") == "function", "a tool's type is not function")
            check_name(tool["function"]["name"])
            asked.tools[tool["function"]["name"]] = tool["function"]["parameters"]
        demand("tools" not in body or asked.tools, "tools is an empty list")
        demand("parallel_tool_calls" not in body or asked.tools, "parallel_tool_calls without tools")
        names = _NAMES | {self.limit: "max_tokens"}
        asked.parameters |= {ours: body[theirs] for theirs, ours in names.items() if theirs in body}
        choice = body.get("tool_choice")
        if choice is not None:
            asked.parameters["tool_choice"] = choice if isinstance(choice, str) else choice["function"]["name"]
        if form := body.get("response_format"):
            is_schema = form["type"] == "json_schema"
            demand(is_schema or form["type"] == "json_object", f"response_format is {form!r}")
            demand(not is_schema or form["json_schema"].get("name"), "a schema has no name")
            asked.parameters["format"] = form["json_schema"]["schema"] if is_schema else "json"
        self.read_reasoning(asked, body)
        known = {"model", "messages", "stream", "stream_options", "tools", "tool_choice", "response_format", *names}
        known |= self.known()
        demand(set(body) <= known, f"unknown arguments: {sorted(set(body) - known)}")
        demand(
            not asked.stream or self.always_counts() or body.get("stream_options", {}).get("include_usage"),
            "no usage asked for",
        )

    def known(self) -> set[str]:
        """Give what this server knows beside the common fields."""
        return {"reasoning_effort"}

    def always_counts(self) -> bool:
        """Tell whether usage comes unasked."""
        return False

    def read_reasoning(self, asked: Asked, body: dict[str, Any]) -> None:
        if "reasoning_effort" in body:
            asked.parameters["reasoning"] = body["reasoning_effort"]


class CompatibleWire(ChatWire):
    """Some server that speaks the same, and tells its thoughts."""

    name = "compatible"
    model = "toy-1"
    answering = "toy-1.gguf"
    url_variable = ""
    key_variable = ""
    lacks: ClassVar[dict[str, str]] = {"signature": "there is nothing opaque in this dialect"}
    lacking = frozenset()
    limit = "max_tokens"
    ids = re.compile(r".+")  # some servers, such as Kimi's, want their own form back
