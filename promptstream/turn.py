"""One turn: a request in, its chunks and one ending out, committed before the ending is handed out.

``run`` is a module-level generator that never refers to a Stream or its caller, so that leaving a
loop closes it by reference count alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from decimal import Decimal
from time import monotonic
from typing import Any, Literal

import attrs

from promptstream.errors import (
    Cancelled,
    ConfigError,
    PromptStreamError,
    ProviderError,
    StateError,
    StreamError,
    Truncated,
)
from promptstream.values.chunk import Chunk, ChunkType, Finish, InternalType, Opaque
from promptstream.values.message import Message, Part, Reasoning, Text, ToolCall
from promptstream.values.request import ChatRequest
from promptstream.values.response import Response
from promptstream.values.timing import Timing
from promptstream.values.usage import Usage
from promptstream.wire.watch import Watch

_TEXT = ChunkType.TEXT
Outcome = Literal["complete", "cancelled", "failed"]


class Answer:
    """Fold chunks into the answer so far. Any thread may read it; only the turn writes."""

    def __init__(self, provider: str, model: str, cost: Decimal | None = None) -> None:
        self.model: str | None = model or None
        self.usage = Usage()
        self.cost = cost
        self.warnings: list[str] = []
        self.finished = False
        """True once the provider's finish signal, or its terminator after content, arrived."""
        self.first: float | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self._provider = provider
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
        """Open a text part and give the list that its deltas go into."""
        if self.first is None:
            self.first = monotonic()
        pieces: list[str] = []
        self._parts.append(("text", pieces, {}))
        return pieces

    def add(self, chunk: Chunk) -> None:
        """Fold in one chunk that is not text."""
        kind = chunk.type
        if kind is ChunkType.REASONING:
            if not self._parts or self._parts[-1][0] != "reasoning":
                self._parts.append(("reasoning", [], {}))
            self._parts[-1][1].append(chunk.reasoning)
        elif kind is ChunkType.TOOL_CALL:
            self._parts.append(("tool_call", chunk.tool_call, {}))
        elif isinstance(chunk, Finish):
            self._finish(chunk)
        elif isinstance(chunk, Opaque):
            if not self._parts or self._parts[-1][0] != chunk.part:
                self._parts.append((chunk.part, [], {}))
            self._parts[-1][2].update(chunk.data)

    def _finish(self, chunk: Finish) -> None:
        if chunk.restart:
            self.finished, self.usage, self._parts = False, Usage(), []
            self._reason = self._raw_reason = self._request_id = None
        if chunk.reason is not None:
            self._reason, self._raw_reason = chunk.reason, chunk.raw_reason
        if chunk.reason is not None or (chunk.sentinel and self._parts):
            self.finished = True
        self.model = chunk.model or self.model
        self._request_id = self._request_id or chunk.request_id
        self.usage = chunk.usage_seen or self.usage
        self.cost = self.cost if chunk.cost is None else chunk.cost
        self.warnings.extend(chunk.warnings)

    def response(self, outcome: Outcome | None = None) -> Response:
        """Give the answer as it stands, marked by how the turn ended, where it has."""
        parts = [part for part in map(_part, self._parts) if part is not None]
        complete = outcome == "complete"
        reason = "cancelled" if outcome == "cancelled" else self._reason
        mark = "failed" if outcome == "failed" else reason
        calls = tuple(part for part in parts if isinstance(part, ToolCall))
        texts = [part.text for part in parts if isinstance(part, Text)]
        return Response(
            text=texts[0] if len(texts) == 1 else "".join(texts),
            reasoning=self.reasoning,
            message=Message("assistant", parts, mark),
            tool_calls=calls,
            finish_reason=reason,
            raw_finish_reason=self._raw_reason,
            model=self.model,
            provider=self._provider,
            request_id=self._request_id,
            usage=self.usage,
            cost=self.cost,
            timing=self._timing(sum(map(len, texts))),
            warnings=tuple(self.warnings),
            complete=complete,
        )

    def _timing(self, characters: int) -> Timing:
        if self.started is None:
            return Timing()
        end = self.ended or monotonic()
        spent = None if self.first is None else end - self.first
        rate = self.usage.output / spent if self.usage.output and spent else None
        return Timing(
            first=None if self.first is None else self.first - self.started,
            total=end - self.started,
            chunks=sum(len(pieces) for kind, pieces, _ in self._parts if kind == "text"),
            characters=characters,
            tokens_per_second=rate,
        )


def _part(entry: tuple[str, Any, dict[str, Any]]) -> Part | None:
    kind, content, metadata = entry
    if kind == "tool_call":
        return attrs.evolve(content, metadata=metadata or content.metadata) if isinstance(content, ToolCall) else None
    text = "".join(content)
    if not (text or metadata):
        return None
    return Reasoning(text, metadata or None) if kind == "reasoning" else Text(text, metadata or None)


def check_on_error(value: str) -> str:
    """Give *value* if it is a way to end on an error.

    Raises:
        ConfigError: it is neither "raise" nor "chunk".
    """
    if value not in ("raise", "chunk"):
        raise ConfigError(f"on_error={value!r:.40}: give 'raise' or 'chunk'.")
    return value


@attrs.define(eq=False)
class Turn:
    """Hold what one turn needs, and how it ended."""

    watch: Watch
    answer: Answer
    claim: Callable[[], ChatRequest]
    """Take the conversation for this turn and give the request; raises where it cannot be had."""
    exchange: Callable[[ChatRequest, Watch], Iterator[Chunk]]
    """Send the request and yield what comes."""
    commit: Callable[[Response, Outcome], None]
    """Put the answer where it belongs, and let the conversation go."""
    on_error: str = "raise"
    response: Response | None = None
    """The answer, once the turn ended."""
    error: PromptStreamError | None = None
    """Why it ended, where it is not whole: a copy without traceback, which would hold the turn in a cycle."""

    @property
    def over(self) -> bool:
        """True once the turn ended."""
        return self.response is not None

    def fail(self, error: PromptStreamError) -> None:
        """Record *error* as the ending, with the answer so far on it."""
        assert self.response is not None
        error.response = self.response
        if isinstance(error, StreamError):
            error.provider = error.provider or self.response.provider
            error.model = error.model or self.response.model
            error.request_id = error.request_id or self.response.request_id
            error.attempts = max(error.attempts, self.watch.attempts)
        self.error = copy.copy(error)
        self.error.__cause__ = error.__cause__

    def ending(self) -> PromptStreamError | None:
        """Give a fresh copy of the recorded error, or None after a whole answer."""
        if self.error is None:
            return None
        error = copy.copy(self.error)
        error.__cause__ = self.error.__cause__
        return error

    def raise_ending(self) -> None:
        """Raise the recorded error, where there is one."""
        error = self.ending()
        try:
            if error is not None:
                raise error
        finally:
            del error  # a frame that kept what it raises would be a cycle with its traceback


def run(turn: Turn) -> Generator[Chunk, None, None]:
    """Yield the turn's chunks, then exactly one ending: DONE, an exception, or one ERROR chunk."""
    try:
        turn.raise_ending()  # closed before it was begun
        yield from _chunks(turn)
    except PromptStreamError as error:
        if turn.on_error != "chunk":
            raise
        # The recorded copy has no traceback, which would hold this frame, and the chunk in it, in a cycle.
        last = (turn.ending() or error).to_chunk()
    else:
        last = Chunk(ChunkType.DONE, response=turn.response, model=turn.answer.model)
    yield last


def _chunks(turn: Turn) -> Iterator[Chunk]:
    """Yield the visible chunks; return once the answer is whole and committed, raise otherwise."""
    answer, watch = turn.answer, turn.watch
    answer.begin()
    source: Iterator[Chunk] = iter(())
    claimed = False
    try:
        watch.start()
        watch.check()
        request = turn.claim()
        claimed = True
        source = turn.exchange(request, watch)
        yield from _folded(source, answer, watch)
        watch.check()
        if not answer.finished:
            raise Truncated("The answer was cut: it ended without the provider's finish signal.", phase="body")
    except (GeneratorExit, KeyboardInterrupt) as stop:
        _end(turn, source, "cancelled", claimed)
        why = "Ctrl-C was pressed" if isinstance(stop, KeyboardInterrupt) else "its loop was left"
        turn.fail(Cancelled(f"The stream ended early: {why}.", phase="loop"))
        raise
    except StreamError as error:
        if not _is_whole_anyway(error, answer):
            _end(turn, source, "cancelled" if isinstance(error, Cancelled) else "failed", claimed)
            turn.fail(error)
            raise
        answer.warnings.append(f"After the finish signal: {error}")
    except BaseException as error:
        _end(turn, source, "failed", claimed)
        turn.fail(error if isinstance(error, PromptStreamError) else StreamError(f"{type(error).__name__}: {error}"))
        raise
    _end(turn, source, "complete", claimed)


def _folded(source: Iterator[Chunk], answer: Answer, watch: Watch) -> Iterator[Chunk]:
    """Fold each chunk and hand out the visible ones. This is the hot path of every stream."""
    part: list[str] | None = None
    event = watch.event
    for chunk in source:
        if watch.stopped is not None or (event is not None and event.is_set()):
            watch.check()
        kind = chunk.type
        if kind is _TEXT:
            if part is None:
                part = answer.open_text()
            part.append(chunk.text)
            yield chunk
            continue
        answer.add(chunk)
        if kind.__class__ is InternalType:
            if answer.finished:
                watch.finishing()
        else:
            if kind is not ChunkType.TOOL_CALL_DELTA:
                part = None
            yield chunk


def _is_whole_anyway(error: StreamError, answer: Answer) -> bool:
    """Tell whether only the transport failed, after the provider had said that the answer is whole."""
    return answer.finished and not isinstance(error, (Cancelled, ProviderError))


def _end(turn: Turn, source: Iterator[Chunk], outcome: Outcome, claimed: bool) -> None:
    """Let go of the connection and the token, then commit, all before the ending is handed out."""
    turn.watch.end()  # first, and whatever a middleware holds on to: the server sees the hang-up now
    close = getattr(source, "close", None)
    if close is not None:
        try:
            close()
        except Exception as error:  # the turn ends as it ends; what a source says on its way out is kept
            turn.answer.warnings.append(f"While the source was closed: {type(error).__name__}: {error}")
    turn.answer.ended = monotonic()
    turn.response = turn.answer.response(outcome)
    if not claimed:
        return
    try:
        turn.commit(turn.response, outcome)
    except Exception as error:  # a failed commit takes the ending's place
        turn.fail(error if isinstance(error, PromptStreamError) else StateError(f"{type(error).__name__}: {error}"))
        raise
