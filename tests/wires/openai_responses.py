"""OpenAI's Responses from the server's side."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from wires.base import check_name, demand, dumps, parsed_arguments, pictured, sse
from wires.chat import ChatWire
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

_NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_output_tokens": "max_tokens",
    "parallel_tool_calls": "parallel_tools",
}


class ResponsesWire(ChatWire):
    """Items with parts, each event named; usage and status in the last one; no terminator."""

    options: ClassVar[dict[str, Any]] = {"api": "responses"}
    lacks: ClassVar[dict[str, str]] = {"several": "a response is one"}
    lacking = frozenset({"top_k", "stop", "seed", "frequency_penalty", "presence_penalty"})

    def __str__(self) -> str:
        return "openai-responses"

    def path(self, asked: Asked) -> str:
        return "/responses"

    def finish_word(self, finish: str) -> str | None:
        return {
            "length": "max_output_tokens",
            "content_filter": "content_filter",
            "odd": "novelty",
        }.get(finish, "completed")

    # Answers

    def stream(self, answer: Answer) -> Written:
        return _Writer(self, answer).written()

    def response(self, status: str, output: list[Any], answer: Answer) -> dict[str, Any]:
        """Give the response object."""
        body: dict[str, Any] = {"id": "resp_1", "object": "response", "created_at": 1, "status": status}
        body |= {"error": None, "incomplete_details": None, "model": self.answering, "output": output}
        if status in ("completed", "incomplete"):
            body["usage"] = self.counted(answer.count) if answer.count else None
        return body

    def ended(self, output: list[Any], answer: Answer) -> dict[str, Any]:
        """Give the response object at the end."""
        reason = self.finish_word(answer.finish or "stop")
        if reason == "completed":
            return self.response("completed", output, answer)
        return self.response("incomplete", output, answer) | {"incomplete_details": {"reason": reason}}

    def whole(self, answer: Answer) -> bytes:
        if answer.failure:
            failed = self.response("failed", [], answer)
            error = self.said(answer.failure)["error"]
            return dumps(failed | {"error": {"code": error["code"] or error["type"], "message": error["message"]}})
        writer = _Writer(self, answer)
        writer.written()
        return dumps(self.ended(writer.output, answer))

    def counted(self, count: Count) -> dict[str, Any]:
        usage: dict[str, Any] = {"input_tokens": count.input, "output_tokens": count.output}
        usage["total_tokens"] = count.input + count.output
        if count.cached is not None:
            usage["input_tokens_details"] = {"cached_tokens": count.cached}
        if count.reasoning is not None:
            usage["output_tokens_details"] = {"reasoning_tokens": count.reasoning}
        return usage

    # Requests

    def read(self, body: dict[str, Any], path: str = "") -> Asked:
        asked = Asked(body.get("model"), body.get("stream", False), body.get("instructions"))
        items = body.get("input")
        demand(isinstance(items, (str, list)) and items, "there is no input")
        waiting: list[str] = []
        needs_follower = None
        for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
            kind = item.get("type", "message")
            if kind == "reasoning":
                demand(body.get("store") is False, "a reasoning item is echoed though the provider stores it")
                demand(item.get("encrypted_content"), "a reasoning item has no encrypted_content")
                demand(isinstance(item.get("summary"), list), "a reasoning item has no summary list")
                text = "".join(part["text"] for part in item["summary"])
                asked.add("assistant", Thought(text, item["encrypted_content"]))
                needs_follower = item.get("id")
                continue
            if kind == "function_call_output":
                demand(item.get("call_id") in waiting, "an output answers no call")
                waiting.remove(item["call_id"])
                demand(isinstance(item.get("output"), str), "an output is no text")
                asked.add("tool", Returned(item["call_id"], None, item["output"]))
            elif kind == "function_call":
                self.check_id(item.get("call_id"))
                check_name(item.get("name"))
                arguments = parsed_arguments(item.get("arguments"))
                asked.add("assistant", Called(item["call_id"], item["name"], arguments))
                waiting.append(item["call_id"])
                needs_follower = None
            else:
                demand(kind == "message", f"an item's type is {kind!r}")
                demand(not waiting, f"calls without an output: {waiting}")
                self.read_message(asked, item)
                needs_follower = None if item["role"] == "assistant" else needs_follower
            demand(
                needs_follower is None,
                f"Item {needs_follower!r} of type 'reasoning' was provided without its required following item",
            )
        demand(needs_follower is None, "a reasoning item is the last one")
        demand(not waiting, f"calls without an output: {waiting}")
        self.read_options(asked, body)
        return asked

    def read_message(self, asked: Asked, item: dict[str, Any]) -> None:
        role, content = item.get("role"), item.get("content")
        parts = [{"type": "plain", "text": content}] if isinstance(content, str) else content
        demand(isinstance(parts, list) and parts, f"a message's content is {content!r:.60}")
        if role in ("system", "developer"):
            demand(not asked.turns, "the system message is not the first")
            asked.system = (asked.system or "") + "".join(part["text"] for part in parts)
            return
        demand(role in ("user", "assistant"), f"a message's role is {role!r}")
        takes = {"plain", "output_text", "refusal"} if role == "assistant" else {"plain", "input_text", "input_image"}
        for part in parts:
            demand(part["type"] in takes, f"a part of type {part['type']!r} in a message of the {role}")
            if part["type"] == "input_image":
                asked.add("user", Pictured(*pictured(part["image_url"])))
            else:
                asked.add(role, Said(part.get("text", part.get("refusal"))))

    def read_options(self, asked: Asked, body: dict[str, Any]) -> None:
        for tool in body.get("tools", ()):
            demand(tool.get("type") == "function", "a tool's type is not function")
            check_name(tool.get("name"))
            demand("function" not in tool, "a tool is nested as in Chat Completions")
            demand(tool.get("strict") is False, "strict is true by default, which most schemas do not stand")
            asked.tools[tool["name"]] = tool["parameters"]
        demand("parallel_tool_calls" not in body or asked.tools, "parallel_tool_calls without tools")
        asked.parameters |= {ours: body[theirs] for theirs, ours in _NAMES.items() if theirs in body}
        if (choice := body.get("tool_choice")) is not None:
            asked.parameters["tool_choice"] = choice if isinstance(choice, str) else choice["name"]
        if form := body.get("text", {}).get("format"):
            demand(form["type"] in ("json_object", "json_schema"), f"text.format is {form!r}")
            demand(form["type"] == "json_object" or form.get("name"), "a schema has no name")
            asked.parameters["format"] = form["schema"] if form["type"] == "json_schema" else "json"
        if "reasoning" in body:
            asked.parameters["reasoning"] = body["reasoning"]
        known = {"model", "input", "instructions", "stream", "store", "include", "tools", "tool_choice", "text"}
        known |= {"reasoning", "stream_options", *_NAMES}
        demand(set(body) <= known, f"unknown arguments: {sorted(set(body) - known)}")
        demand(
            set(body.get("stream_options", ())) <= {"include_obfuscation"}, "stream_options are not of this endpoint"
        )


class _Writer:
    """Write one answer: items open when their kind comes and close when another does."""

    def __init__(self, wire: ResponsesWire, answer: Answer) -> None:
        self.wire = wire
        self.answer = answer
        self.events: list[bytes | threading.Event] = []
        self.output: list[Any] = []
        self.number = 0
        self.open: dict[str, Any] | None = None

    def emit(self, kind: str, **fields: Any) -> None:
        self.events.append(sse({"type": kind, "sequence_number": self.number, **fields}, kind))
        self.number += 1

    def written(self) -> Written:
        begun = False
        for item in self.answer.items:
            if not begun and not isinstance(item, (Beat, Fail, threading.Event)):
                self.begin()
                begun = True
            self.item(item)
        if self.answer.finish is None or self.answer.failure:
            return Written(self.events, len(self.events))
        if not begun:
            self.begin()
        self.close()
        ended = self.wire.ended(self.output, self.answer)
        self.emit(f"response.{ended['status']}", response=ended)
        return Written(self.events, len(self.events))

    def begin(self) -> None:
        for kind in ("created", "in_progress"):
            self.emit(f"response.{kind}", response=self.wire.response("in_progress", [], self.answer))

    def where(self) -> dict[str, Any]:
        assert self.open is not None
        return {"item_id": self.open["id"], "output_index": len(self.output)}

    def item(self, item: Item) -> None:
        if isinstance(item, threading.Event):
            self.events.append(item)
        elif isinstance(item, (Say, Refuse)):
            self.say(item)
        elif isinstance(item, Think):
            self.switch("reasoning", {"id": f"rs_{self.number}", "type": "reasoning", "summary": []})
            assert self.open is not None
            if not self.open["summary"]:
                self.open["summary"].append({"type": "summary_text", "text": ""})
                part = {"type": "summary_text", "text": ""}
                self.emit("response.reasoning_summary_part.added", **self.where(), summary_index=0, part=part)
            self.open["summary"][0]["text"] += item.text
            self.emit("response.reasoning_summary_text.delta", **self.where(), summary_index=0, delta=item.text)
        elif isinstance(item, Sign):
            self.switch("reasoning", {"id": f"rs_{self.number}", "type": "reasoning", "summary": []})
            assert self.open is not None
            self.open["encrypted_content"] = item.value
        elif isinstance(item, (Use, Uses)):
            for call in item.calls if isinstance(item, Uses) else (item,):
                self.call(call)
        elif isinstance(item, Noise):
            self.noise(item.what)
        elif isinstance(item, Fail):
            error = self.wire.said(item.kind)["error"]
            told = {"code": error["code"] or error["type"], "message": error["message"]}
            self.emit("error", error={"type": error["type"], "param": None, **told})
            failed = self.wire.response("failed", [], self.answer) | {"error": told}
            self.emit("response.failed", response=failed)
        else:
            self.events.append(item.data if isinstance(item, Raw) else b": keep-alive\n\n")

    def switch(self, kind: str, item: dict[str, Any]) -> bool:
        """Open *item* unless one of its kind is open."""
        if self.open is not None and self.open["type"] == kind:
            return False
        self.close()
        self.open = item
        added = {**item, "status": "in_progress"} | ({"content": []} if kind == "message" else {})
        self.emit("response.output_item.added", output_index=len(self.output), item=added)
        return True

    def say(self, item: Say | Refuse) -> None:
        kind, key = ("output_text", "text") if isinstance(item, Say) else ("refusal", "refusal")
        self.switch("message", {"id": f"msg_{self.number}", "type": "message", "role": "assistant", "content": []})
        assert self.open is not None
        content = self.open["content"]
        if not content or content[-1]["type"] != kind:
            content.append({"type": kind, key: ""} | ({"annotations": []} if kind == "output_text" else {}))
            part = {"type": kind, key: ""}
            self.emit("response.content_part.added", **self.where(), content_index=len(content) - 1, part=part)
        content[-1][key] += item.text
        index = len(content) - 1
        self.emit(f"response.{kind}.delta", **self.where(), content_index=index, delta=item.text, obfuscation="x")

    def call(self, call: Use) -> None:
        self.close()
        self.open = {"id": f"fc_{self.number}", "type": "function_call", "call_id": call.id, "name": call.name}
        added = {**self.open, "arguments": "", "status": "in_progress"}
        self.emit("response.output_item.added", output_index=len(self.output), item=added)
        for piece in call.pieces:
            self.emit("response.function_call_arguments.delta", **self.where(), delta=piece)
        self.emit("response.function_call_arguments.done", **self.where(), arguments=call.arguments)
        self.open["arguments"] = call.arguments
        self.close()

    def noise(self, what: str) -> None:
        if what == "event":
            self.emit("response.novelty.delta", delta="nothing of ours", item_id="n_1", output_index=0)
        elif what == "keys":
            body = self.wire.response("in_progress", [], self.answer) | {"novelty": [{}]}
            self.emit("response.in_progress", response=body, novelty={"a": 1})
        else:
            self.close()
            self.open = {"id": f"nv_{self.number}", "type": "novelty_call", "status": "completed", "novelty": [1]}
            self.emit("response.output_item.added", output_index=len(self.output), item=self.open)
            self.close()

    def close(self) -> None:
        """Close the item that is open."""
        if self.open is None:
            return
        item = self.open | {"status": "completed"}
        if item["type"] == "message":
            for index, part in enumerate(item["content"]):
                key = "refusal" if part["type"] == "refusal" else "text"
                done = {key: part[key], "content_index": index}
                self.emit(f"response.{part['type']}.done", **self.where(), **done)
                self.emit("response.content_part.done", **self.where(), content_index=index, part=part)
        elif item["type"] == "reasoning":
            for index, part in enumerate(item["summary"]):
                self.emit(
                    "response.reasoning_summary_text.done", **self.where(), summary_index=index, text=part["text"]
                )
                self.emit("response.reasoning_summary_part.done", **self.where(), summary_index=index, part=part)
        self.emit("response.output_item.done", output_index=len(self.output), item=item)
        self.output.append(item)
        self.open = None
