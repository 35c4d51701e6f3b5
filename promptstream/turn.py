"""One turn: a request in, its chunks and one ending out, committed before the ending is handed out.

``run`` is a module-level generator that never refers to a Stream or its caller, so that leaving a
loop closes it by reference count alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from time import monotonic

import attrs

from promptstream.answer import Answer, Outcome
from promptstream.errors import (
    Cancelled,
    ConfigError,
    PromptStreamError,
    ProviderError,
    StateError,
    StreamError,
    Truncated,
)
from promptstream.values.chunk import Chunk, ChunkType, InternalType
from promptstream.values.format import Format
from promptstream.values.request import ChatRequest
from promptstream.values.response import Response
from promptstream.wire.watch import Watch

_TEXT = ChunkType.TEXT
MAX_ROUNDS = 10
"""Requests one turn sends where the provider pauses again and again."""


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
    goes_on: bool = False
    """Ask again by itself where the provider pauses: a conversation does."""
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
        asked = request = turn.claim()
        claimed = True
        form = Format.of(request.parameters)
        answer.wants_json = form is not None and form.is_json
        while True:
            source = turn.exchange(request, watch)
            yield from _folded(source, answer, watch)
            watch.check()
            if not answer.finished:
                raise Truncated("The answer was cut: it ended without the provider's finish signal.", phase="body")
            if not (turn.goes_on and answer.paused and answer.rounds < MAX_ROUNDS):
                break
            request = attrs.evolve(request, messages=(*asked.messages, answer.next_round()))
    except (GeneratorExit, KeyboardInterrupt) as stop:
        why = "Ctrl-C was pressed" if isinstance(stop, KeyboardInterrupt) else "its loop was left"
        _end(turn, source, "cancelled", claimed, Cancelled(f"The stream ended early: {why}.", phase="loop"))
        raise
    except StreamError as error:
        if not _is_whole_anyway(error, answer):
            _end(turn, source, "cancelled" if isinstance(error, Cancelled) else "failed", claimed, error)
            raise
        answer.warnings.append(f"After the finish signal: {error}")
    except BaseException as error:
        ours = error if isinstance(error, PromptStreamError) else StreamError(f"{type(error).__name__}: {error}")
        _end(turn, source, "failed", claimed, ours)
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
            watch.heard = watch.events
            yield chunk
            continue
        answer.add(chunk)
        if kind.__class__ is InternalType:
            part = None  # another may have begun
            if answer.finished:
                watch.finishing()
        else:
            if kind is not ChunkType.TOOL_CALL_DELTA:
                part = None
            watch.heard = watch.events
            yield chunk


def _is_whole_anyway(error: StreamError, answer: Answer) -> bool:
    """Tell whether only the transport failed, after the provider had said that the answer is whole."""
    return answer.finished and not isinstance(error, (Cancelled, ProviderError))


def _end(
    turn: Turn,
    source: Iterator[Chunk],
    outcome: Outcome,
    claimed: bool,
    error: PromptStreamError | None = None,
) -> None:
    """Let go of the connection and the token, then commit, all before the ending is handed out.

    A Ctrl-C in one of these steps does not prevent those after it.
    """
    try:
        try:
            turn.watch.end()  # first, and whatever a middleware holds on to: the server sees the hang-up now
        finally:
            _close(source, turn.answer)
    finally:
        turn.answer.ended = monotonic()
        turn.answer.first_event = turn.watch.first_event
        turn.response = turn.answer.response(outcome)
        if error is not None:
            turn.fail(error)
        if claimed:
            _commit(turn, outcome)


def _close(source: Iterator[Chunk], answer: Answer) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        try:
            close()
        except Exception as error:  # the turn ends as it ends; what a source says on its way out is kept
            answer.warnings.append(f"While the source was closed: {type(error).__name__}: {error}")


def _commit(turn: Turn, outcome: Outcome) -> None:
    assert turn.response is not None
    try:
        turn.commit(turn.response, outcome)
    except Exception as error:  # a failed commit takes the ending's place
        turn.fail(error if isinstance(error, PromptStreamError) else StateError(f"{type(error).__name__}: {error}"))
        raise
