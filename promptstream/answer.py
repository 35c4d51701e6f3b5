"""Chunks in, the answer so far out: one fold builds text, parts, usage and ending."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

import attrs

from promptstream.errors import AnswerInvalid
from promptstream.values.chunk import Chunk, ChunkType, Finish, Opaque
from promptstream.values.message import Message, Part, Reasoning, Text, ToolCall
from promptstream.values.pace import Pace
from promptstream.values.rate_limits import RateLimits
from promptstream.values.response import Response
from promptstream.values.surrogates import mend
from promptstream.values.timing import Timing
from promptstream.values.usage import Usage

if TYPE_CHECKING:
    from promptstream.partial import PartialJSON
    from promptstream.pricing import Pricing

_NOTHING = Usage(0, 0, 0, 0, 0)
Outcome = Literal["complete", "cancelled", "failed"]


class Answer:
    """Fold chunks into the answer so far. Any thread may read it; only the turn writes."""

    def __init__(
        self,
        provider: str,
        model: str,
        cost: Decimal | None = None,
        reader: Callable[[str], Any] | None = None,
        demanded: bool = False,
        pricing: Pricing | None = None,
    ) -> None:
        self.provider = provider
        self.model: str | None = model or None
        self.usage = Usage()
        self.cost = cost
        self.warnings: list[str] = []
        self.validations: list[Mapping[str, Any]] = []
        self.reader = reader
        """What reads the text of the last round, where the answer is to be read; ValueError means that it cannot be."""
        self.demanded = demanded
        """True where an answer that cannot be read is an error, and not only a warning."""
        self.parsed: Any = None
        self._lock = threading.Lock()
        """Held by who reads the text as JSON."""
        self._json: tuple[int, PartialJSON, list[int]] | None = None
        """Where the message begins that is read as JSON, its reader, and how far that has come: part and piece."""
        self.messages: list[Message] = []
        """What the turn adds to the history before the message in progress: calls and their results, a pair a round."""
        self.pending: tuple[ToolCall, ...] = ()
        """The calls that the turn ends with, for somebody else to decide or to run."""
        self.left = False
        """True once the loop was left, perhaps by a finaliser, which does no store I/O."""
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
        self._begun = 0
        """Where the message in progress begins in the parts."""
        self._asked = self.model
        """The model that was asked, by whose price an answer of one without any is priced."""
        self._untold = cost
        """What a round costs of which nothing is told: 0, or None for unknown."""
        self.pricing = pricing
        self._told: Usage | None = None
        """The usage of the round, until it is priced."""
        self._usage = Usage()
        """The usage of the round."""
        self._pace = Pace()
        self._paid = False
        """True once the wire has told what the round costs."""
        self._kept = 0
        """The parts of earlier rounds, which another attempt at this one does not take back."""
        self._spent: tuple[Usage, Decimal | None] = (_NOTHING, Decimal(0))
        """The figures of earlier rounds."""
        self._doubted = False
        """True once it was warned of a usage that cannot be read."""
        self._parts: list[tuple[str, Any, dict[str, Any]]] = []
        self._reason: str | None = None
        self._raw_reason: str | None = None
        self._request_id: str | None = None
        self._rate_limits: RateLimits | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces("text"))

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._pieces("reasoning"))

    @property
    def lengths(self) -> tuple[int, int, int]:
        """The pieces of text and of thoughts so far, and the characters of either."""
        text, thoughts = self._pieces("text"), self._pieces("reasoning")
        return len(text) + len(thoughts), sum(map(len, text)), sum(map(len, thoughts))

    def partial(self) -> Any:
        """Read the text of the last message as JSON, as far as it came; each call goes on from the one before."""
        from promptstream.partial import PartialJSON

        with self._lock:
            if self._json is None or self._json[0] != self._begun:
                self._json = (self._begun, PartialJSON(), [self._begun, 0])
            _, reader, at = self._json
            parts = self._parts
            while at[0] < len(parts):
                kind, pieces, _ = parts[at[0]]
                if kind == "text":
                    fresh = pieces[at[1] :]
                    at[1] += len(fresh)
                    reader.feed("".join(fresh))
                if at[0] == len(parts) - 1:
                    break
                at[:] = at[0] + 1, 0
            return reader.value

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
            self._pace.came()
            self._parts.append(("text", [], {}))
        pieces: list[str] = self._parts[-1][1]
        return pieces

    def _in_progress(self, kind: str) -> bool:
        return len(self._parts) > self._kept and self._parts[-1][0] == kind

    @property
    def message(self) -> Message:
        """The assistant's message in progress; after the last round that of the whole answer."""
        return Message("assistant", self._message_parts(), self._reason)

    @property
    def finish_reason(self) -> str | None:
        """Why the round ended, as far as the provider has told."""
        return self._reason

    def keep(self, message: Message) -> None:
        """End the message in progress, as *message* is to stand in the history."""
        calls = iter(message.tool_calls)  # which a person may have edited
        for place, (kind, call, metadata) in enumerate(self._parts[self._begun :], self._begun):
            if kind == "tool_call" and call is not None and not isinstance(call, list):
                self._parts[place] = kind, next(calls, call), metadata
        self.messages.append(message)
        self._begun = len(self._parts)

    def next_round(self) -> None:
        """Begin another request of the turn: of the message in progress, or of another once that is kept."""
        self.price()
        self._pace.next_round(self._usage)
        self._kept, self._spent = len(self._parts), (self.usage, self.cost)
        self._begin_round()
        self.rounds += 1

    @property
    def told(self) -> tuple[Usage, Decimal | None]:
        """What is known of tokens and cost: of the turn so far, or of its rounds before the one in progress."""
        spent, paid = self._spent
        return (self.usage if self.usage else spent), (paid if self.cost is None else self.cost)

    def price(self) -> None:
        """Price the round, once it is whole, where the wire has told no cost of it: its own comes first."""
        usage, self._told = self._told, None
        if usage is None or self._paid or not self.finished or self.pricing is None:
            return
        cost = self.pricing.cost(usage, self.model, self._asked)
        if cost is not None:
            self.cost = _sum(self._spent[1], cost)
        elif doubt := self.pricing.doubt(usage, self.model or self._asked):
            self.warnings.append(doubt)

    def spend(self, usage: Usage, cost: Decimal | None) -> None:
        """Count what a request beside the answer took, before its round has begun."""
        spent, paid = self._spent
        self._spent = (spent + usage, _sum(paid, cost))
        self._begin_round()

    def read(self) -> None:
        """Read the last message's text, where it is to be read.

        Raises:
            AnswerInvalid: it is not what was demanded.
        """
        if self.reader is None or self.ends_on_calls or (message := self.message).tool_calls:
            return
        try:
            self.parsed = self.reader(message.text)
        except (ValueError, RecursionError) as error:
            if self.demanded and self._reason not in ("refusal", "content_filter"):
                hint = "It was cut at the token limit. " if self._reason == "length" else ""
                raise AnswerInvalid(f"The answer is not what schema= asks for. {hint}{error}", phase="read") from error
            self.warnings.append(f"The answer is not the JSON that was asked for: {error}")

    @property
    def ends_on_calls(self) -> bool:
        """True where a round of calls is done, and no message after it begun."""
        return bool(self.messages) and self._begun == len(self._parts)

    @property
    def history(self) -> list[Message]:
        """What the turn, once it is whole, adds to the history."""
        return list(self.messages) if self.ends_on_calls else [*self.messages, self.message]

    def _begin_round(self) -> None:
        """Know nothing of the round's ending; what it costs is unknown, and the sum with it, until it is told."""
        self.finished = self.paused = self._paid = False
        self._reason = self._raw_reason = self._told = None
        self.usage, self.cost = Usage(), _sum(self._spent[1], self._untold)
        self._usage = Usage()

    def add(self, chunk: Chunk) -> None:
        """Fold in one chunk that is not text."""
        kind = chunk.type
        if kind is ChunkType.REASONING:
            if self.first_reasoning is None:
                self.first_reasoning = monotonic()
            if not self._in_progress("reasoning"):
                self._pace.came(thought=True)
                self._parts.append(("reasoning", [], {}))
            self._parts[-1][1].append(chunk.reasoning)
        elif kind is ChunkType.TOOL_CALL:
            if chunk.tool_call is not None:
                chunk.tool_call = self._told_apart(chunk.tool_call)
            self._parts.append(("tool_call", chunk.tool_call, {}))
        elif isinstance(chunk, Finish):
            self._finish(chunk)
        elif isinstance(chunk, Opaque):
            if chunk.new or not self._in_progress(chunk.part):
                self._parts.append((chunk.part, [], {}))
            self._parts[-1][2].update(chunk.data)

    def _told_apart(self, call: ToolCall) -> ToolCall:
        """Give *call* an id of its own, where it has none or that of another one of its message."""
        ids = {
            part.id for kind, part, _ in self._parts[self._begun :] if kind == "tool_call" and part is not None and part
        }
        if call.id and call.id not in ids:
            return call
        return attrs.evolve(call, id=f"call_{os.urandom(12).hex()}")

    def _finish(self, chunk: Finish) -> None:
        if chunk.restart:
            self._restart(chunk)
        if chunk.reason is not None:
            self._reason, self._raw_reason = chunk.reason, chunk.raw_reason and mend(chunk.raw_reason)
        if chunk.reason is not None or (chunk.sentinel and len(self._parts) > self._kept):
            self.finished = True
            self._pace.finish()
        self.model = chunk.model or self.model
        self._request_id = self._request_id or chunk.request_id
        self._rate_limits = chunk.rate_limits or self._rate_limits
        self.paused = self.paused or chunk.pause
        spent, paid = self._spent
        if chunk.unread and not self._doubted:
            self._doubted = True
            self.warnings.append(f"The provider told a usage that cannot be read: {', '.join(chunk.unread)}.")
        if chunk.usage_seen or (chunk.usage_seen is not None and chunk.unread):
            self.usage = chunk.usage_seen if spent is _NOTHING else spent + chunk.usage_seen
            self._told = self._usage = chunk.usage_seen
        if chunk.cost is not None:
            self._paid = not chunk.restart
            self.cost = _sum(paid, chunk.cost)
        self.warnings += chunk.warnings
        self.validations += chunk.validations

    def _restart(self, chunk: Finish) -> None:
        """Take back what an attempt that failed told; another provider goes by its own name, model and price.

        What a middleware had shown by then stays: the loop has it.
        """
        if chunk.provider is not None:
            self.provider, self.model, self._untold = chunk.provider, chunk.model, chunk.cost
            self._asked = chunk.model
        self._parts[self._kept :] = [entry for entry in self._parts[self._kept :] if entry[1]]
        self._request_id = self._rate_limits = None
        self._begin_round()

    def response(self, outcome: Outcome | None = None) -> Response:
        """Give the answer as it stands, marked by how the turn ended, where it has."""
        if outcome is not None:
            self.price()
        reason = "cancelled" if outcome == "cancelled" else self._reason
        message = self._last_message("failed" if outcome == "failed" else reason)
        everything = [part for part in map(_part, self._parts) if part is not None] if self.messages else message.parts
        texts = [part.text for part in everything if isinstance(part, Text)]
        text = texts[0] if len(texts) == 1 else "".join(texts)
        return Response(
            text=text,
            reasoning=self.reasoning,
            message=message,
            tool_calls=tuple(part for part in everything if isinstance(part, ToolCall)),
            pending=self.pending,
            parsed=self.parsed,
            finish_reason=reason,
            raw_finish_reason=self._raw_reason,
            model=self.model,
            provider=self.provider,
            request_id=self._request_id,
            usage=self.usage,
            cost=self.cost,
            timing=self._timing(sum(map(len, texts))),
            rounds=self.rounds,
            validations=tuple(self.validations),
            warnings=tuple(self.warnings),
            complete=outcome == "complete",
            rate_limits=self._rate_limits,
        )

    def _last_message(self, reason: str | None) -> Message:
        if self.ends_on_calls:
            asked = [message for message in self.messages if message.role == "assistant"]
            return asked[-1] if asked else Message("assistant", (), reason)
        return Message("assistant", self._message_parts(), reason)

    def _message_parts(self) -> list[Part]:
        return [part for part in map(_part, self._parts[self._begun :]) if part is not None]

    def _timing(self, characters: int) -> Timing:
        if self.started is None:
            return Timing()
        end = self.ended or monotonic()
        return Timing(
            first=self._since_start(self.first),
            total=end - self.started,
            chunks=sum(len(pieces) for kind, pieces, _ in self._parts if kind == "text"),
            characters=characters,
            tokens_per_second=self._pace.per_second(self._usage),
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
