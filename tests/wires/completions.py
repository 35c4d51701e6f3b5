"""Text completions from the server's side: Chat Completions' older sibling, without roles (OpenAI's /completions)."""

from __future__ import annotations

from typing import Any, ClassVar

from wires.base import demand, dumps, sse
from wires.chat import CompatibleWire
from wires.script import Answer, Asked, Item, Say


class CompletionsWire(CompatibleWire):
    """Some server that goes on from a prompt: no tools, no thoughts, the text of a choice is its delta."""

    lacks: ClassVar[dict[str, str]] = CompatibleWire.lacks | {
        "tools": "a text completion has no tools",
        "reasoning": "a text completion tells no thoughts",
        "refusal": "a text completion has no field for it",
    }

    def __str__(self) -> str:
        return "completions"

    def path(self, asked: Asked) -> str:
        return "/completions"

    def chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "text": delta.get("content", ""), "logprobs": None, "finish_reason": finish}
        head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": self.answering}
        return {**head, "choices": [choice], **more}

    def first(self, answer: Answer) -> list[bytes]:
        return []

    def item(self, item: Item, number: int) -> list[bytes]:
        return [sse(self.chunk({"content": item.text}))] if isinstance(item, Say) else super().item(item, number)

    def whole(self, answer: Answer) -> bytes:
        if answer.failure:
            return dumps(self.said(answer.failure))
        word = self.words[answer.finish] if answer.finish else None
        choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": word}
        body = {"id": "cmpl-1", "object": "text_completion", "model": self.answering, "choices": [choice]}
        return dumps(body | ({"usage": self.counted(answer.count)} if answer.count else {}))

    def read(self, body: dict[str, Any], path: str = "") -> Asked:
        asked = Asked(body.get("model"), body.get("stream", False))
        demand(isinstance(body.get("prompt"), str) and body["prompt"], "there is no prompt")
        self.read_options(asked, {name: value for name, value in body.items() if name != "prompt"})
        return asked
