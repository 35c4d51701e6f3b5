"""Gemini's generateContent from the server's side."""

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
    Refusal,
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
    "topP": "top_p",
    "topK": "top_k",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
_MODES = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto"}
_STATUSES = {
    "auth": (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    "missing": (404, "NOT_FOUND", "models/x is not found for API version v1beta."),
    "rate": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "server": (500, "INTERNAL", "An internal error has occurred."),
    "overloaded": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "context": (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1310720) exceeds the maximum number of tokens allowed (1048576).",
    ),
}


class GeminiWire(Wire):
    """A whole small response in every event, CRLF, no event names, no terminator."""

    name = "gemini"
    model = "gemini-2.5-flash"
    answering = "gemini-2.5-flash-001"
    url_variable = "GOOGLE_GEMINI_BASE_URL"
    key_variable = "GEMINI_API_KEY"
    key_header = "x-goog-api-key"
    key_prefix = ""
    id_header = None
    lacks: ClassVar[dict[str, str]] = {
        "refusal": "a refused answer ends with SAFETY or the like",
        "refusal_text": "the same",
        "call_pieces": "a call comes whole, its arguments an object",
    }
    lacking = frozenset({"parallel_tools"})
    words: ClassVar[dict[str, str]] = {
        "stop": "STOP",
        "length": "MAX_TOKENS",
        "tool_calls": "STOP",
        "content_filter": "SAFETY",
        "refusal": "SAFETY",
        "odd": "NOVELTY",
    }
    several: ClassVar[dict[str, Any]] = {"generationConfig": {"candidateCount": 2}}

    def finish_word(self, finish: str) -> str | None:
        return self.words[finish]

    def path(self, asked: Asked) -> str:
        return f"/v1beta/models/{asked.model}:{'streamG' if asked.stream else 'g'}enerateContent"

    # Answers

    def chunk(self, parts: list[Any] | None, count: dict[str, Any] | None = None, **candidate: Any) -> dict[str, Any]:
        """Give one response."""
        content = {} if parts is None else {"content": {"parts": parts, "role": "model"}}
        body: dict[str, Any] = {"candidates": [{**content, **candidate, "index": 0}]}
        if count is not None:
            body["usageMetadata"] = count
        return body | {"modelVersion": self.answering, "responseId": REQUEST_ID}

    def another(self, text: str) -> bytes:
        body = self.chunk([{"text": text}])
        body["candidates"][0]["index"] = 1
        return sse(body, end=b"\r\n")

    def counted(self, count: Count | None, *, ended: bool) -> dict[str, Any] | None:
        if count is None:
            return None
        usage = {"promptTokenCount": count.input}
        if count.cached is not None:
            usage["cachedContentTokenCount"] = count.cached
        if not ended:
            return usage | {"totalTokenCount": count.input}
        if count.reasoning is not None:
            usage["thoughtsTokenCount"] = count.reasoning
        usage["candidatesTokenCount"] = count.output - (count.reasoning or 0)
        return usage | {"totalTokenCount": count.input + count.output}

    def call(self, call: Use) -> dict[str, Any]:
        function: dict[str, Any] = {"id": call.id}
        function["name"] = call.name
        if (arguments := json.loads(call.arguments or "{}")) or call.arguments:
            function["args"] = arguments
        return {"functionCall": function}

    def parts(self, answer: Answer) -> list[list[dict[str, Any]] | Item]:
        """Give each item's parts: a signature is on the call after it, or on an empty text."""
        rows: list[list[dict[str, Any]] | Item] = []
        mark: dict[str, Any] = {}
        for item in answer.items:
            if isinstance(item, Say):
                rows.append([{"text": item.text}])
            elif isinstance(item, Think):
                rows.append([{"text": item.text, "thought": True}])
            elif isinstance(item, (Use, Uses)):
                calls = [self.call(call) for call in (item.calls if isinstance(item, Uses) else (item,))]
                calls[0] |= mark
                mark = {}
                rows.append(calls)
            elif isinstance(item, Sign):
                mark = {"thoughtSignature": item.value}
            else:
                rows.append(item)
        return rows + ([[{"text": "", **mark}]] if mark else [])

    def stream(self, answer: Answer) -> Written:
        events: list[bytes | threading.Event] = []
        early = self.counted(answer.count, ended=False)
        for row in self.parts(answer):
            if isinstance(row, list):
                events.append(sse(self.chunk(row, early), end=b"\r\n"))
            elif isinstance(row, threading.Event):
                events.append(row)
            else:
                events += self.other(row, early)
        if answer.finish is None or answer.failure:
            return Written(events, len(events))
        late = self.counted(answer.count, ended=True)
        events.append(sse(self.chunk([{"text": ""}], late, finishReason=self.words[answer.finish]), end=b"\r\n"))
        return Written(events, len(events))

    def other(self, item: Item, early: Any) -> list[bytes]:
        if isinstance(item, Fail):
            return [self.failure(item.kind)]
        if isinstance(item, Beat):
            return [b": keep-alive\r\n\r\n"]
        if isinstance(item, Raw):
            return [item.data]
        assert isinstance(item, Noise), item
        if item.what == "event":
            news = {"novelty": {"text": "nothing of ours"}, "modelVersion": self.answering}
            return [sse(news | {"responseId": REQUEST_ID}, end=b"\r\n")]
        if item.what == "keys":
            return [sse(self.chunk(None, early, groundingMetadata={"novelty": [1]}) | {"novelty": 1}, end=b"\r\n")]
        return [sse(self.chunk([{"novelty": {"text": "nothing of ours"}}], early), end=b"\r\n")]

    def failure(self, kind: str) -> bytes:
        """Write an error as Google does inside a stream: bare JSON over several lines, no field name."""
        if kind == "filtered":
            feedback = {"blockReason": "PROHIBITED_CONTENT"}
            body = {"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8}}
            return sse(body | {"modelVersion": self.answering, "responseId": REQUEST_ID}, end=b"\r\n")
        return json.dumps(self.said(kind), indent=2).replace("\n", "\r\n").encode() + b"\r\n"

    def whole(self, answer: Answer) -> bytes:
        if answer.failure == "filtered":
            return dumps({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": self.answering})
        if answer.failure:
            return dumps(self.said(answer.failure))
        found: list[dict[str, Any]] = []
        for row in self.parts(answer):
            for part in row if isinstance(row, list) else ():
                mergeable = found and set(part) == set(found[-1]) <= {"text", "thought"}
                if mergeable:
                    found[-1]["text"] += part["text"]
                else:
                    found.append(dict(part))
        late = self.counted(answer.count, ended=True)
        return dumps(self.chunk(found, late, finishReason=self.words[answer.finish or "stop"]))

    def said(self, kind: str) -> Any:
        code, status, message = _STATUSES[kind]
        return {"error": {"code": code, "message": message, "status": status}}

    def refusal(self, kind: str, *, hint: float | None = None) -> Refusal:
        body = self.said(kind)
        if hint is not None:
            info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{hint:g}s"}
            body["error"]["details"] = [info]
        return Refusal(self.statuses[kind], body)

    def models(self) -> tuple[str, Any]:
        rows = [{"name": f"models/{each}", "displayName": each, "inputTokenLimit": 9} for each in ("alpha", "beta")]
        for row in rows:
            row["supportedGenerationMethods"] = ["generateContent"]
        return "/v1beta/models", {"models": rows}

    # Requests

    def read(self, body: dict[str, Any], path: str = "") -> Asked:
        plain, _, query = path.partition("?")
        name, _, verb = plain.rpartition("/models/")[2].rpartition(":")
        stream = verb == "streamGenerateContent"
        demand(not path or not stream or query == "alt=sse", f"the query is {query!r}")
        asked = Asked(name or None, stream)
        if system := body.get("systemInstruction"):
            asked.system = "".join(part["text"] for part in system["parts"])
        contents = body.get("contents")
        demand(isinstance(contents, list) and contents, "contents is not specified")
        calls: list[dict[str, Any]] = []
        for content in contents:
            role, parts = content.get("role"), content.get("parts")
            demand(role in ("user", "model"), f"a content's role is {role!r}")
            demand(isinstance(parts, list) and parts, "a content has no parts")
            results = [part["functionResponse"] for part in parts if "functionResponse" in part]
            demand(
                len(results) == len(calls),
                "the number of function response parts is not equal to that of the function call parts",
            )
            self.match(calls, results)
            for part in parts:
                self.read_part(asked, role, part)
            calls = [part["functionCall"] for part in parts if "functionCall" in part]
        demand(not calls, "a function call is not answered")
        demand(contents[-1]["role"] == "user", "the last content is the model's")
        self.read_options(asked, body)
        return asked

    def match(self, calls: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
        for call, result in zip(calls, results, strict=True):
            demand(call["name"] == result["name"], f"{call['name']} is answered by {result['name']}")
            demand(call.get("id") == result.get("id"), f"id {call.get('id')!r} is answered by {result.get('id')!r}")

    def read_part(self, asked: Asked, role: str, part: dict[str, Any]) -> None:
        who = "assistant" if role == "model" else "user"
        signature = part.get("thoughtSignature")
        known = {"text", "thought", "thoughtSignature", "functionCall", "functionResponse", "inlineData", "fileData"}
        demand(part and set(part) <= known, f"a part holds {sorted(part)}")
        if "functionCall" in part:
            call = part["functionCall"]
            check_name(call["name"])
            demand(isinstance(call.get("args", {}), dict), "args is no object")
            asked.add(who, Called(call.get("id"), call["name"], call.get("args", {}), signature))
        elif "functionResponse" in part:
            result = part["functionResponse"]
            demand(isinstance(result["response"], dict) and result["response"], "a response is no object")
            (key,) = result["response"]
            value = result["response"][key]
            text = value if isinstance(value, str) else json.dumps(value)
            asked.add("tool", Returned(result.get("id"), result["name"], text, key == "error"))
        elif "inlineData" in part:
            asked.add(who, Pictured(part["inlineData"]["data"], part["inlineData"]["mimeType"]))
        elif "fileData" in part:
            asked.add(who, Pictured(url=part["fileData"]["fileUri"]))
        elif part.get("thought") or (signature and not part["text"]):
            asked.add(who, Thought(part["text"], signature))
        else:
            demand(part["text"] or signature, "a text part is empty")
            asked.add(who, Said(part["text"]))

    def read_options(self, asked: Asked, body: dict[str, Any]) -> None:
        for tool in body.get("tools", ()):
            demand(tool["functionDeclarations"], "functionDeclarations is empty")
            for each in tool["functionDeclarations"]:
                check_name(each["name"])
                asked.tools[each["name"]] = each.get("parametersJsonSchema", each.get("parameters"))
        config = body.get("generationConfig", {})
        asked.parameters |= {ours: config[theirs] for theirs, ours in _NAMES.items() if theirs in config}
        demand(isinstance(config.get("stopSequences", []), list), "stopSequences is no list")
        calling = body.get("toolConfig", {}).get("functionCallingConfig")
        if calling:
            demand(asked.tools, "a function calling config without function declarations")
            allowed = calling.get("allowedFunctionNames")
            asked.parameters["tool_choice"] = allowed[0] if allowed else _MODES[calling["mode"]]
        if mime := config.get("responseMimeType"):
            demand(mime == "application/json", f"responseMimeType is {mime}")
            asked.parameters["format"] = config.get("responseJsonSchema", config.get("responseSchema", "json"))
        if thinking := config.get("thinkingConfig"):
            asked.parameters["reasoning"] = thinking
        known = {*_NAMES, "responseMimeType", "responseJsonSchema", "responseSchema", "thinkingConfig"}
        demand(set(config) <= known, f"Unknown name in generationConfig: {sorted(set(config) - known)}")
        known = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"}
        demand(set(body) <= known, f"Unknown name: {sorted(set(body) - known)}")
