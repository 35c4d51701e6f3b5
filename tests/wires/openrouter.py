"""OpenRouter from the server's side."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from wires.base import demand, sse
from wires.chat import DONE, ChatWire
from wires.script import Answer, Asked, Beat, Count, Item, Sign, Thought


class OpenRouterWire(ChatWire):
    """OpenRouter: comments to keep alive, reasoning_details, usage with its cost, and the reason said twice."""

    name = "openrouter"
    model = "meta-llama/llama-3.3-70b-instruct"
    answering = "meta-llama/llama-3.3-70b-instruct-0001"
    root = "/api/v1"
    url_variable = "OPENROUTER_BASE_URL"
    key_variable = "OPENROUTER_API_KEY"
    id_header = "x-generation-id"
    cost = "0.00125"
    lacks: ClassVar[dict[str, str]] = {"refusal": "a refusal comes as content_filter"}
    lacking = frozenset()
    limit = "max_tokens"
    ids = re.compile(r".+")  # each upstream has its own form
    words: ClassVar[dict[str, str]] = ChatWire.words | {"refusal": "content_filter"}

    def chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": {"role": "assistant", "content": "", **delta}, "finish_reason": finish}
        choice |= {"native_finish_reason": finish, "logprobs": None}
        head = {
            "id": "gen-1",
            "provider": "Toy",
            "model": self.answering,
            "object": "chat.completion.chunk",
            "created": 1,
        }
        return {**head, "choices": [choice], **more}

    def first(self, answer: Answer) -> list[bytes]:
        return [b": OPENROUTER PROCESSING\n\n"]

    def thought(self, text: str) -> dict[str, Any]:
        detail = {"type": "reasoning.text", "text": text, "format": "anthropic-claude-v1", "index": 0}
        return {"content": "", "reasoning": text, "reasoning_details": [detail]}

    def signed(self, value: str) -> list[bytes]:
        detail = {"type": "reasoning.text", "signature": value, "format": "anthropic-claude-v1", "index": 0}
        return [sse(self.chunk({"reasoning": None, "reasoning_details": [detail]}))]

    def item(self, item: Item, number: int) -> list[bytes]:
        return [b": OPENROUTER PROCESSING\n\n"] if isinstance(item, Beat) else super().item(item, number)

    def message(self, answer: Answer) -> dict[str, Any]:
        message = super().message(answer)
        if answer.reasoning:
            for sign in [each for each in answer.items if isinstance(each, Sign)]:
                message["reasoning_details"][0]["signature"] = sign.value
            message["content"] = answer.text or None
        return message

    def counted(self, count: Count) -> dict[str, Any]:
        details = {"upstream_inference_cost": None}
        return super().counted(count) | {"cost": 0.00125, "is_byok": False, "cost_details": details}

    def last(self, answer: Answer) -> list[bytes]:
        if answer.count is None:
            return [DONE]
        again = self.chunk({}, self.words[answer.finish] if answer.finish else None, usage=self.counted(answer.count))
        return [sse(again), DONE]

    def said(self, kind: str) -> Any:
        message, code, sort = {
            "auth": ("User not found.", 401, "authentication"),
            "missing": ("No endpoints found for x/y.", 404, "not_found"),
            "rate": ("Rate limit exceeded.", 429, "rate_limit_exceeded"),
            "server": ("Internal Server Error", 500, "server"),
            "overloaded": ("Provider is overloaded", 503, "provider_overloaded"),
            "context": ("This endpoint's maximum context length is 8192 tokens.", 400, "context_length_exceeded"),
            "filtered": ("The prompt was refused.", 400, "content_policy_violation"),
        }[kind]
        return {"error": {"code": code, "message": message, "metadata": {"error_type": sort}}}

    def failure(self, kind: str) -> list[bytes]:
        return [sse(self.chunk({}, "error") | self.said(kind))]

    def known(self) -> set[str]:
        return {"reasoning", "models", "provider", "usage"}

    def always_counts(self) -> bool:
        return True

    def read_reasoning(self, asked: Asked, body: dict[str, Any]) -> None:
        if "reasoning" in body:
            demand(not {"effort", "max_tokens"} <= set(body["reasoning"]), "both effort and max_tokens")
            asked.parameters["reasoning"] = body["reasoning"]

    def read_thoughts(self, message: dict[str, Any]) -> list[Thought]:
        own = {"reasoning", "reasoning_details"}
        super().read_thoughts({name: value for name, value in message.items() if name not in own})
        details = message.get("reasoning_details")
        demand(details is None or details, "reasoning_details is an empty list")
        for each in details or ():
            demand(each.get("type", "").startswith("reasoning."), f"a detail's type is {each.get('type')!r}")
        return [Thought(each.get("text", ""), each.get("signature")) for each in details or ()]
