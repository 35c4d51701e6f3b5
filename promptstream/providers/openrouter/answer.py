"""OpenRouter's chunks in, chunks out: the cost, the native finish reason, and the details of reasoning to be echoed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from promptstream.providers.openai.answer import ChatAnswer, details_in
from promptstream.providers.reading import amount
from promptstream.values.chunk import Chunk, Opaque
from promptstream.values.message import Message
from promptstream.values.secret import Secret

ECHO = "openrouter"
"""The key of what parts keep for the next request to OpenRouter."""


class OpenRouterAnswer(ChatAnswer):
    """Keep ``reasoning_details``, which repeat the thoughts that are shown and hold what the models want back.

    They are attached where the thought is over, so a thought that was cut short is not sent back.
    """

    def __init__(self, name: str, secret: Secret) -> None:
        super().__init__(name, secret)
        self._details: list[dict[str, Any]] = []

    def busy(self) -> bool:
        """Tell whether the next delta of text ends a thought whose details are to be attached first."""
        return bool(self._details) or super().busy()

    def reasoning(self, delta: dict[str, Any]) -> Iterator[Chunk]:
        """Give the thought of a delta, once, and attach the details where what follows is no thought."""
        yield from super().reasoning(delta)
        self._details += details_in(delta)
        if delta.get("content") or delta.get("tool_calls"):
            yield from self._attached()

    def finish(self, said: str, choice: dict[str, Any]) -> Iterator[Chunk]:
        """End the answer for the reason *said*, the details of its last thought attached."""
        if said != "error":
            yield from self._attached()
        yield from super().finish(said, choice)

    def end(self) -> Iterator[Chunk]:
        """Close the answer at its terminator."""
        yield from self._attached()
        yield from super().end()

    def _attached(self) -> Iterator[Chunk]:
        if self._details:
            details, self._details = assembled(self._details), []
            yield Opaque(part="reasoning", data={ECHO: {"reasoning_details": details}})

    def cost(self, usage: Mapping[str, Any]) -> Decimal | None:
        """Read ``usage.cost``, in USD; where ``is_byok`` says that your own key paid upstream, the fee alone."""
        return amount(usage.get("cost"))

    def raw_reason(self, choice: Mapping[str, Any], said: str) -> str:
        """Give the upstream provider's own word for the finish reason, where there is one."""
        native = choice.get("native_finish_reason")
        return native if isinstance(native, str) and native else said


def assembled(details: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put the pieces of ``reasoning_details`` together: text and summary of one index joined, the signature once.

    What is encrypted stands for itself, piece by piece.
    """
    whole: list[_Detail] = []
    growing: dict[tuple[str, str], _Detail] = {}
    for piece in details:
        key = repr(piece.get("type")), repr(piece.get("index"))
        detail = growing.get(key)
        if detail is None:
            detail = _Detail()
            whole.append(detail)
        detail.add(piece)
        if piece.get("signature") or piece.get("type") == "reasoning.encrypted":
            growing.pop(key, None)
        else:
            growing[key] = detail
    return [detail.whole() for detail in whole]


class _Detail:
    """Put the pieces of one detail together; its texts are joined once, at the end."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        for key, value in piece.items():
            if key in ("text", "summary") and isinstance(value, str):
                self._texts.setdefault(key, []).append(value)
            if value is not None or key not in self._fields:
                self._fields[key] = value

    def whole(self) -> dict[str, Any]:
        return self._fields | {key: "".join(texts) for key, texts in self._texts.items()}


def kept_details(message: Message) -> list[dict[str, Any]]:
    """Give the ``reasoning_details`` of an answer of OpenRouter's, in order, as they go back to it.

    Anthropic's models refuse a thought without its signature, as one that was cut by the token limit is.
    """
    pieces: list[dict[str, Any]] = []
    for part in message.parts:
        kept = (part.metadata or {}).get(ECHO)
        if isinstance(kept, Mapping):
            pieces += details_in(kept)
    return [detail for detail in assembled(pieces) if not _unsigned(detail)]


def _unsigned(detail: Mapping[str, Any]) -> bool:
    of_anthropic = str(detail.get("format")).startswith("anthropic")
    return of_anthropic and detail.get("type") == "reasoning.text" and not detail.get("signature")
