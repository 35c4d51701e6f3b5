"""OpenRouter's chunks in, chunks out: the cost, the native finish reason, and the details of reasoning to be echoed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from promptstream.providers.openai.answer import ChatAnswer, details_in
from promptstream.values.chunk import Chunk, Opaque
from promptstream.values.message import Message

ECHO = "openrouter"
"""The key of what parts keep for the next request to OpenRouter."""


class OpenRouterAnswer(ChatAnswer):
    """Keep ``reasoning_details``, which repeat the thoughts that are shown and hold what the models want back.

    They are attached where the thought is over, so a thought that was cut short is not sent back.
    """

    _details: tuple[dict[str, Any], ...] = ()

    def busy(self) -> bool:
        """Tell whether the next delta of text ends a thought whose details are to be attached first."""
        return bool(self._details) or super().busy()

    def reasoning(self, delta: dict[str, Any]) -> Iterator[Chunk]:
        """Give the thought of a delta, once, and attach the details where what follows is no thought."""
        yield from super().reasoning(delta)
        self._details += tuple(details_in(delta))
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
            details, self._details = assembled(self._details), ()
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
    whole: list[dict[str, Any]] = []
    for piece in details:
        kind = piece.get("type")
        first = None
        if kind != "reasoning.encrypted":
            same = [each for each in whole if each.get("type") == kind and each.get("index") == piece.get("index")]
            first = same[-1] if same and not same[-1].get("signature") else None
        if first is None:
            whole.append(dict(piece))
            continue
        for key, value in piece.items():
            if key in ("text", "summary") and isinstance(value, str) and isinstance(first.get(key), str):
                first[key] += value
            elif value is not None:
                first[key] = value
    return whole


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


def amount(value: Any) -> Decimal | None:
    """Read an amount, a number or a string of one; None where it is none, or not finite, or below 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        read = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return read if read.is_finite() and read >= 0 else None
