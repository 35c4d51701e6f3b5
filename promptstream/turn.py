"""One turn: its requests in, their chunks and one ending out, committed before the ending is handed out.

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
from promptstream.values.request import ChatRequest
from promptstream.values.response import Response
from promptstream.values.twin import twin
from promptstream.wire.watch import Watch

_TEXT = ChunkType.TEXT
Step = ChatRequest | Chunk
"""What a turn does next: send a request and hand out its answer, or hand out a chunk that is made here."""


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
    claim: Callable[[], Iterator[Step]]
    """Take the conversation for this turn and give its steps; raises where it cannot be had.

    After each request the next step is asked for only when its answer is whole and folded.
    """
    exchange: Callable[[ChatRequest, Watch], Iterator[Chunk]]
    """Send the request and yield what comes."""
    commit: Callable[[Response, Outcome], None]
    """Put the answer where it belongs, and let the conversation go."""
    on_error: str = "raise"
    direct: bool = False
    """True where nothing stands between the provider and the loop that may take its time."""
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
        self.error.__cause__ = _bare(error.__cause__)

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


def _bare(cause: BaseException | None) -> BaseException | None:
    """Give a copy of *cause* without its traceback, whose frames hold the turn; None where it cannot be copied."""
    try:
        return None if cause is None else twin(cause)
    except Exception:  # somebody else's class; the error that is raised still has it
        return None


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
    steps: Iterator[Step] | None = None
    source: Iterator[Chunk] | None = None
    try:
        watch.start()
        watch.check()
        steps = turn.claim()
        for step in steps:
            if isinstance(step, Chunk):
                yield step
                continue
            source = turn.exchange(step, watch)
            try:
                yield from _folded(source, answer, watch)
                watch.check()
            except StreamError as error:
                if not _is_whole_anyway(error, answer):
                    raise
                answer.warnings.append(f"After the finish signal: {error}")
                watch.resume("first", "idle")  # for the round that may follow
            if not answer.finished:
                raise Truncated("The answer was cut: it ended without the provider's finish signal.", phase="body")
            watch.hang_up()  # a middleware may have left the rest of the answer unread
        answer.read()
    except (GeneratorExit, KeyboardInterrupt) as stop:
        answer.left = isinstance(stop, GeneratorExit)
        why = "its loop was left" if answer.left else "Ctrl-C was pressed"
        _end(turn, (source, steps), "cancelled", Cancelled(f"The stream ended early: {why}.", phase="loop"))
        raise
    except Cancelled as error:
        _end(turn, (source, steps), "cancelled", error)
        raise
    except BaseException as error:
        _end(turn, (source, steps), "failed", _ours(error))
        raise
    _end(turn, (source, steps), "complete")


def _ours(error: BaseException) -> PromptStreamError:
    return error if isinstance(error, PromptStreamError) else StreamError(f"{type(error).__name__}: {error}")


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
    sources: tuple[Iterator[Chunk] | None, Iterator[Step] | None],
    outcome: Outcome,
    error: PromptStreamError | None = None,
) -> None:
    """Let go of the connection and the token, then commit, all before the ending is handed out.

    A Ctrl-C in one of these steps does not prevent those after it.
    """
    try:
        try:
            turn.watch.end()  # first, and whatever a middleware holds on to: the server sees the hang-up now
        finally:
            for source in sources:
                _close(source, turn.answer)
    finally:
        turn.answer.ended = monotonic()
        turn.answer.first_event = turn.watch.first_event
        turn.response = turn.answer.response(outcome)
        if error is not None:
            turn.fail(error)
        if sources[1] is not None:
            _commit(turn, outcome)


def _close(source: Iterator[Chunk] | Iterator[Step] | None, answer: Answer) -> None:
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
