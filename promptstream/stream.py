"""A turn in, what a for loop runs over out; and lenses on the answer so far."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from promptstream.buffered import BufferedStream
from promptstream.errors import Cancelled, PromptStreamError, StateError
from promptstream.turn import Turn, run
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.response import Response
from promptstream.values.usage import Usage

if TYPE_CHECKING:
    from promptstream.progress import Asked


class Stream(Iterable[Chunk]):
    """Run a turn in a ``for`` loop: a loop that ends normally received the whole answer.

    Nothing is sent before the first chunk is asked for. Leaving the loop, by break, return or an
    exception, hangs up at once. One thread iterates; ``cancel`` and the lenses may be used from any.
    :meth:`buffered` reads it in a thread of its own.
    """

    def __init__(self, turn: Turn, max_tokens: int | None = None) -> None:
        self._turn = turn
        self._max_tokens = max_tokens
        self._loop: weakref.ref[Generator[Chunk, None, None]] | None = None
        self._lent = False
        """True once a thread of :meth:`buffered` reads it."""

    def __iter__(self) -> Iterator[Chunk]:
        """Give the turn's generator, which the loop then owns.

        Raises:
            PromptStreamError: the turn is over already and this is how it ended. After a whole
                answer there is nothing more, and nothing is sent again.
            StateError: a thread of :meth:`buffered` reads it.
        """
        if self._turn.over:
            return _again(self._turn)
        if self._lent:
            raise StateError("This stream is buffered: take its chunks from the object that buffered() gave.")
        generator = self._loop() if self._loop else None
        if generator is None:
            generator = run(self._turn)
            self._loop = weakref.ref(generator)
        return generator

    @property
    def text(self) -> str:
        """The text so far; also after any error."""
        return self._turn.answer.text

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._turn.answer.reasoning

    @property
    def model(self) -> str | None:
        """The model that answers, or the one that was asked, until it does."""
        return self._turn.answer.model

    @property
    def usage(self) -> Usage:
        """The token counts as far as the provider has told them."""
        return self._turn.answer.usage

    @property
    def cost(self) -> Decimal | None:
        """USD as far as the provider has told; None means unknown."""
        return self._turn.answer.cost

    @property
    def attempts(self) -> int:
        """Requests begun so far, those of tool rounds and those tried again included."""
        return self._turn.watch.attempts

    @property
    def response(self) -> Response:
        """The answer so far as a value; its ``complete`` tells whether it is whole."""
        return self._turn.response or self._turn.answer.response()

    def partial(self) -> Any:
        """Give the answer's JSON as far as it came: an object or list that is still growing; None before it begins.

        One parse that goes on with each call. Strings are there as far as they came, numbers once they are whole.
        Any thread may call it; what it gives is to be read only.
        """
        return self._turn.answer.partial()

    def result(self, *, progress: Asked = None) -> Response:
        """Read what is left and give the whole answer; never sends again.

        Args:
            progress: True for a bar, or a function that is given a :class:`~promptstream.progress.Progress` now and
                then; what it raises is raised here, and hangs up.

        Raises:
            PromptStreamError: the answer is not whole, also with ``on_error="chunk"``.
            TypeError, ConfigError: *progress* is neither, or the extra ``cli`` is missing that draws a bar.
        """
        try:
            for _ in self if progress is None else self._watched(progress):
                pass
        except ValueError as error:
            if "already executing" not in str(error):
                raise
            raise StateError("Another thread is iterating over this stream.") from None
        self._turn.raise_ending()
        return self.response

    def _watched(self, progress: Asked) -> Iterator[Chunk]:
        from promptstream.bars import watcher_for
        from promptstream.progress import watched

        try:
            watcher = watcher_for(progress)
        except BaseException:
            self.close()  # nothing is sent then, on purpose
            raise
        if watcher is None:
            yield from self
            return
        chunks = iter(self)
        try:
            yield from watched(chunks, watcher, self._turn.answer, self._max_tokens)
        finally:
            if not getattr(chunks, "gi_running", True):  # not in another thread, whose loop it is then
                self.close()

    def iter_text(self) -> Iterator[str]:
        """Yield the text alone, as it comes.

        Raises, while iterating:
            PromptStreamError: the answer is not whole.
        """
        return _texts(self._turn, iter(self))

    def iter_events(self) -> Iterator[dict[str, Any]]:
        """Yield each chunk as a JSON-safe dict; an error is the last event instead of an exception."""
        return _events(self._turn, None if self._turn.over else iter(self))

    def when_drained(self, fn: Callable[[], object]) -> None:
        """Call *fn* whenever all that has come of the answer is handed out, before the thread that iterates waits.

        So a consumer may put off what costs less for several chunks at once. It is not called where the answer does
        not come from a server, or through middleware, which may take its time.
        """
        if self._turn.direct:
            self._turn.watch.drained = fn

    def buffered(self, size: int = 10) -> BufferedStream:
        """Read the stream in a thread of its own, up to *size* chunks ahead of whoever takes them. Sends at once.

        Give a large *size* to have the whole answer come in while nobody looks.

        Raises:
            ValueError, TypeError: *size* is below 1, or not a whole number.
            PromptStreamError: the turn is over already and this is how it ended.
            StateError: a loop over it has begun, or it is buffered already.
            StreamError: the system has no thread left.
        """
        turn = self._turn
        if not turn.over and (self._lent or (self._loop and self._loop())):
            raise StateError("This stream is being read already, by a loop or by what buffered() gave.")
        buffered = BufferedStream(turn, _again(turn) if turn.over else run(turn), size, self._max_tokens)
        self._lent = True
        return buffered

    def cancel(self, reason: str = "") -> None:
        """Stop the stream: a blocked read ends within 100 ms with Cancelled. Any thread may call it."""
        self._turn.watch.cancel(reason)

    def close(self) -> None:
        """Hang up and end the turn, quietly. The thread that iterates calls it; idempotent."""
        if self._turn.over:
            return
        if self._lent:
            self.cancel("the stream was closed")
            return
        generator = self._loop() if self._loop else None
        if generator is not None and self._turn.answer.started is not None:
            try:
                generator.close()
            except ValueError:  # it runs, in another thread
                self.cancel("the stream was closed")
        if self._turn.answer.started is None:
            self._turn.response = self._turn.answer.response("cancelled")
            self._turn.fail(Cancelled("The stream was closed before anything was sent.", phase="loop"))

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Stream {self._state}, {len(self.text)} characters>"

    @property
    def _state(self) -> str:
        turn = self._turn
        if turn.over:
            return "whole" if turn.error is None else f"ended by {type(turn.error).__name__}"
        return "not started" if turn.answer.started is None else "running"

    def _repr_html_(self) -> str:
        from promptstream.values import display

        return display.of_stream(f"Stream, {self._state}", self.response, self._turn.over)

    def __del__(self) -> None:
        turn = getattr(self, "_turn", None)
        if turn is not None and not turn.over and turn.answer.started is None and turn.watch.stopped is None:
            loop = self._loop() if self._loop else None
            if loop is None and not self._lent:
                warnings.warn(f"{self!r} was never iterated over: nothing was sent.", ResourceWarning, stacklevel=2)


def _again(turn: Turn) -> Iterator[Chunk]:
    if turn.error is None:
        return iter(())
    if turn.on_error == "chunk":
        return iter([error.to_chunk() for error in (turn.ending(),) if error is not None])
    turn.raise_ending()
    raise AssertionError("unreachable")


def _texts(turn: Turn, chunks: Iterator[Chunk]) -> Iterator[str]:
    for chunk in chunks:
        if chunk.type is ChunkType.TEXT:
            yield chunk.text
        elif chunk.error is not None:
            turn.raise_ending()


def _events(turn: Turn, chunks: Iterator[Chunk] | None) -> Iterator[dict[str, Any]]:
    if chunks is None:
        if (ended := turn.ending()) is not None:
            yield ended.to_event()
        return
    try:
        for chunk in chunks:
            yield chunk.to_event()
    except PromptStreamError as error:
        event = error.to_event()
    else:
        return
    yield event
