"""Chunks in, the answer so far out: one fold builds text, parts, usage and ending."""

from __future__ import annotations

import json
from decimal import Decimal
from time import monotonic
from typing import Any, Literal

import attrs

from promptstream.values.chunk import Chunk, ChunkType, Finish, Opaque
from promptstream.values.message import Message, Part, Reasoning, Text, ToolCall
from promptstream.values.response import Response
from promptstream.values.surrogates import mend
from promptstream.values.timing import Timing
from promptstream.values.usage import Usage

Outcome = Literal["complete", "cancelled", "failed"]


class Answer:
    """Fold chunks into the answer so far. Any thread may read it; only the turn writes."""

    def __init__(self, provider: str, model: str, cost: Decimal | None = None) -> None:
        self.provider = provider
        self.model: str | None = model or None
        self.usage = Usage()
        self.cost = cost
        self.warnings: list[str] = []
        self.wants_json = False
        """True where the answer is to be read as JSON."""
        self.rounds = 1
        self.paused = False
        """True where the provider wants to be asked again with what came so far."""
        self.finished = False
        """True once the provider's finish signal, or its terminator after content, arrived."""
        self.first: float | None = None
        self.first_reasoning: float | None = None
        self.first_event: float | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self._untold = cost
        """What a round costs of which nothing is told: 0, or None for unknown."""
        self._kept = 0
        """The parts of earlier rounds, which another attempt at this one does not take back."""
        self._spent: tuple[Usage, Decimal | None] = (Usage(0, 0, 0, 0, 0), Decimal(0))
        """The figures of earlier rounds."""
        self._doubted = False
        """True once it was warned of a usage that cannot be read."""
        self._parts: list[tuple[str, Any, dict[str, Any]]] = []
        self._reason: str | None = None
        self._raw_reason: str | None = None
        self._request_id: str | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces("text"))

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._pieces("reasoning"))

    def _pieces(self, wanted: str) -> list[str]:
        return [piece for kind, pieces, _ in self._parts if kind == wanted for piece in pieces]

    def begin(self) -> None:
        """Start the clock."""
        self.started = monotonic()

    def open_text(self) -> list[str]:
        """Give the list that deltas of text go into: that of the part in progress, or of a new one."""
        if self.first is None:
            self.first = monotonic()
        if not self._in_progress("text"):
            self._parts.append(("text", [], {}))
        pieces: list[str] = self._parts[-1][1]
        return pieces

    def _in_progress(self, kind: str) -> bool:
        return len(self._parts) > self._kept and self._parts[-1][0] == kind

    def next_round(self) -> Message:
        """Begin another round of the same answer, and give what came so far, to be sent back."""
        self._kept, self._spent = len(self._parts), (self.usage, self.cost)
        self._begin_round()
        self.rounds += 1
        return Message("assistant", self._message_parts())

    def _begin_round(self) -> None:
        """Know nothing of the round's ending; what it costs is unknown, and the sum with it, until it is told."""
        self.finished = self.paused = False
        self._reason = self._raw_reason = None
        self.usage, self.cost = Usage(), _sum(self._spent[1], self._untold)

    def add(self, chunk: Chunk) -> None:
        """Fold in one chunk that is not text."""
        kind = chunk.type
        if kind is ChunkType.REASONING:
            if self.first_reasoning is None:
                self.first_reasoning = monotonic()
            if not self._in_progress("reasoning"):
                self._parts.append(("reasoning", [], {}))
            self._parts[-1][1].append(chunk.reasoning)
        elif kind is ChunkType.TOOL_CALL:
            self._parts.append(("tool_call", chunk.tool_call, {}))
        elif isinstance(chunk, Finish):
            self._finish(chunk)
        elif isinstance(chunk, Opaque):
            if chunk.new or not self._in_progress(chunk.part):
                self._parts.append((chunk.part, [], {}))
            self._parts[-1][2].update(chunk.data)

    def _finish(self, chunk: Finish) -> None:
        if chunk.restart:
            self._restart(chunk)
        if chunk.reason is not None:
            self._reason, self._raw_reason = chunk.reason, chunk.raw_reason and mend(chunk.raw_reason)
        if chunk.reason is not None or (chunk.sentinel and len(self._parts) > self._kept):
            self.finished = True
        self.model = chunk.model or self.model
        self._request_id = self._request_id or chunk.request_id
        self.paused = self.paused or chunk.pause
        spent, paid = self._spent
        if chunk.unread and not self._doubted:
            self._doubted = True
            self.warnings.append(f"The provider told a usage that cannot be read: {', '.join(chunk.unread)}.")
        if chunk.usage_seen or (chunk.usage_seen is not None and chunk.unread):
            self.usage = chunk.usage_seen if self.rounds == 1 else spent + chunk.usage_seen
        if chunk.cost is not None:
            self.cost = _sum(paid, chunk.cost)
        self.warnings.extend(chunk.warnings)

    def _restart(self, chunk: Finish) -> None:
        """Take back what an attempt that failed told; another provider goes by its own name, model and price."""
        if chunk.provider is not None:
            self.provider, self.model, self._untold = chunk.provider, chunk.model, chunk.cost
        del self._parts[self._kept :]
        self._request_id = None
        self._begin_round()

    def response(self, outcome: Outcome | None = None) -> Response:
        """Give the answer as it stands, marked by how the turn ended, where it has."""
        parts = self._message_parts()
        complete = outcome == "complete"
        reason = "cancelled" if outcome == "cancelled" else self._reason
        mark = "failed" if outcome == "failed" else reason
        calls = tuple(part for part in parts if isinstance(part, ToolCall))
        texts = [part.text for part in parts if isinstance(part, Text)]
        text = texts[0] if len(texts) == 1 else "".join(texts)
        return Response(
            text=text,
            reasoning=self.reasoning,
            message=Message("assistant", parts, mark),
            tool_calls=calls,
            parsed=self._parsed(text) if complete and self.wants_json and not calls else None,
            finish_reason=reason,
            raw_finish_reason=self._raw_reason,
            model=self.model,
            provider=self.provider,
            request_id=self._request_id,
            usage=self.usage,
            cost=self.cost,
            timing=self._timing(sum(map(len, texts))),
            rounds=self.rounds,
            warnings=tuple(self.warnings),
            complete=complete,
        )

    def _message_parts(self) -> list[Part]:
        return [part for part in map(_part, self._parts) if part is not None]

    def _parsed(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            self.warnings.append(f"The answer is not the JSON that was asked for: {error}")
            return None

    def _timing(self, characters: int) -> Timing:
        if self.started is None:
            return Timing()
        end = self.ended or monotonic()
        seen = [moment for moment in (self.first, self.first_reasoning) if moment is not None]
        spent = end - min(seen) if seen else None
        return Timing(
            first=self._since_start(self.first),
            total=end - self.started,
            chunks=sum(len(pieces) for kind, pieces, _ in self._parts if kind == "text"),
            characters=characters,
            tokens_per_second=self.usage.output / spent if self.usage.output and spent else None,
            first_event=self._since_start(self.first_event),
            first_reasoning=self._since_start(self.first_reasoning),
        )

    def _since_start(self, moment: float | None) -> float | None:
        return None if moment is None or self.started is None else moment - self.started


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other


def _part(entry: tuple[str, Any, dict[str, Any]]) -> Part | None:
    kind, content, metadata = entry
    if kind == "tool_call":
        return attrs.evolve(content, metadata=metadata) if metadata and content else content or None
    text = "".join(content)
    if not (text or metadata):
        return None
    return Reasoning(text, metadata or None) if kind == "reasoning" else Text(text, metadata or None)
