"""DashScope's compatible mode from the server's side."""

from __future__ import annotations

from typing import Any, ClassVar

from wires.base import REQUEST_ID, demand, sse
from wires.chat import ChatWire
from wires.script import Answer, Asked, Thought, Use


class QwenWire(ChatWire):
    """DashScope's compatible mode: thoughts in reasoning_content, ids and names that come again empty."""

    name = "qwen"
    model = "qwen-plus"
    answering = "qwen-plus-2025-07-28"
    root = "/compatible-mode/v1"
    url_variable = "DASHSCOPE_HTTP_BASE_URL"
    key_variable = "DASHSCOPE_API_KEY"
    stream_type = "text/event-stream;charset=UTF-8"
    lacks: ClassVar[dict[str, str]] = {
        "signature": "there is nothing opaque in this dialect",
        "refusal": "a refusal is plain text, or an error",
    }
    lacking = frozenset({"frequency_penalty"})
    limit = "max_tokens"
    words: ClassVar[dict[str, str]] = ChatWire.words | {"refusal": "content_filter"}

    def chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        body = super().chunk(delta, finish, **more)
        del body["obfuscation"]
        return body | {"system_fingerprint": None}

    def first(self, answer: Answer) -> list[bytes]:
        body = self.chunk({"role": "assistant", "content": ""})
        del body["choices"][0]["finish_reason"]
        return [sse(body)]

    def text(self, text: str) -> dict[str, Any]:
        return {"role": None, "content": text, "reasoning_content": None}

    def thought(self, text: str) -> dict[str, Any]:
        return {"content": None, "reasoning_content": text}

    def pieces(self, call: Use, index: int) -> list[dict[str, Any]]:
        def delta(call_id: str, name: str, arguments: str | None) -> dict[str, Any]:
            return {
                "index": index,
                "id": call_id,
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }

        rest = [delta("", "", piece) for piece in call.pieces]
        return [delta(call.id, call.name, ""), delta(call.id, "", None), *rest]

    def message(self, answer: Answer) -> dict[str, Any]:
        return super().message(answer) | {"content": answer.text}

    def said(self, kind: str) -> Any:
        message, code = {
            "auth": ("Incorrect API key provided.", "invalid_api_key"),
            "missing": ("The model `x` does not exist.", "model_not_found"),
            "rate": ("Requests rate limit exceeded, please try again later.", "Throttling.RateQuota"),
            "server": ("An internal error has occurred.", "InternalError"),
            "overloaded": ("The service is unavailable.", "ModelServingError"),
            "context": ("Range of input length should be [1, 129024]", "InvalidParameter"),
            "filtered": ("Input data may contain inappropriate content.", "data_inspection_failed"),
        }[kind]
        return {"error": {"message": message, "type": code, "param": None, "code": code}, "request_id": REQUEST_ID}

    def failure(self, kind: str) -> list[bytes]:
        return [sse(self.said(kind) | {"id": "chatcmpl-1"})]

    def known(self) -> set[str]:
        return {"enable_thinking", "thinking_budget"}

    def read_reasoning(self, asked: Asked, body: dict[str, Any]) -> None:
        demand(asked.stream or not body.get("enable_thinking"), "parameter.enable_thinking only support stream call")
        for name in ("enable_thinking", "thinking_budget"):
            if name in body:
                asked.parameters[name] = body[name]

    def read_thoughts(self, message: dict[str, Any]) -> list[Thought]:
        thoughts = message.get("reasoning_content")
        super().read_thoughts({name: value for name, value in message.items() if name != "reasoning_content"})
        return [Thought(thoughts)] if thoughts else []
