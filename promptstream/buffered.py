"""A turn in, its chunks out, read in a thread of its own a few chunks ahead of whoever takes them.

The thread stops reading once the queue is full: the provider then waits, by TCP, and no memory grows.
Neither side polls, and either can hang up.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NoReturn

import attrs

from promptstream.errors import EndOfStream, PromptStreamError, StateError
from promptstream.turn import Turn
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.response import Response
from promptstream.wire.watch import UNWIND, Watch

_DONE, _ERROR = ChunkType.DONE, ChunkType.ERROR


@attrs.frozen(eq=False)
class Ending:
    """Stand last in the queue, and say why there is no further chunk; None after DONE or ERROR."""

    error: BaseException | None = None


if TYPE_CHECKING:
    _Queue = queue.Queue[Chunk | Ending]
else:
    _Queue = queue.Queue


class Channel(_Queue):
    """Hold chunks on their way from one writing thread to its readers; either side can hang up."""

    def __init__(self, size: int, watch: Watch) -> None:
        super().__init__(size)
        # Re-entrant: a signal handler or a finaliser may hang up while its own thread holds the lock.
        self.mutex = threading.RLock()  # type: ignore[assignment]
        self.not_empty, self.not_full = threading.Condition(self.mutex), threading.Condition(self.mutex)
        self.closed = False
        """True once the reader hung up: what comes is dropped."""
        self._watch = watch
        watch.on_stop = self._wake_writer

    def feed(self, item: Chunk | Ending, *, last: bool = False) -> None:
        """Add *item* once there is room; at once where it is the last, or the turn must end."""
        with self.not_full:
            while len(self.queue) >= self.maxsize and not (last or self.closed or self._watch.stopped):
                self.not_full.wait()
            if not self.closed:
                self.queue.append(item)
                self.not_empty.notify()

    def _get(self) -> Chunk | Ending:
        item: Chunk | Ending = self.queue.popleft()
        if isinstance(item, Ending):  # every reader must see it, now or later; its error is for the first alone
            self.queue.append(Ending())
            self.not_empty.notify()
        return item

    def _wake_writer(self) -> None:
        with self.mutex:
            self.not_full.notify()

    def hang_up(self) -> None:
        """Drop what is there and what comes, and let both sides go."""
        with self.mutex:
            self.closed = True
            self.queue.clear()
            self.queue.append(Ending())
            self.not_empty.notify()
            self.not_full.notify()


class BufferedStream(Iterator[Chunk]):
    """Take a stream's chunks while a thread reads ahead. Made by :meth:`Stream.buffered`; a context manager.

    Any thread may take chunks, each of which comes once. The loop ends after DONE, or raises what ended the
    turn, last and once. Dropping, closing or cancelling it hangs up and ends the thread; leaving a loop by break
    does not, as long as the object is kept: another loop goes on from there.
    """

    def __init__(self, turn: Turn, chunks: Iterator[Chunk], size: int) -> None:
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"size={size!r:.40}: give a whole number of chunks.")
        if size < 1:
            raise ValueError(f"size={size}: at least one chunk must fit.")
        self._turn = turn
        self._over = turn.over and turn.error is None
        """True once the ending was handed out, by this or an earlier loop."""
        self._pid = os.getpid()
        self._channel = Channel(size, turn.watch)
        # Neither the thread nor the channel refers to this object, so that dropping it ends them.
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(_pump, chunks, self._channel), name="promptstream-buffered", daemon=True
        )
        thread.start()
        self._thread = thread

    def __next__(self) -> Chunk:
        try:
            return self.get()
        except EndOfStream:
            raise StopIteration from None

    def get(self, timeout: float | None = None) -> Chunk:
        """Take the next chunk, waiting *timeout* seconds for it; None waits as long as the turn's clocks let it.

        Raises:
            queue.Empty: none came in time; the stream goes on.
            EndOfStream: there is no further chunk; every time from then on.
            PromptStreamError: the answer is not whole; once, after the chunks that came.
            ValueError: *timeout* is below 0.
        """
        self._check_process()
        until = None if timeout is None else monotonic() + timeout
        while True:
            item = self._wait(timeout)
            if isinstance(item, Ending):
                self._finish(item)
            elif self._over or not self._turn.watch.cancelled:
                self._over = self._over or _is_last(item)
                return item
            timeout = None if until is None else max(0.0, until - monotonic())  # a cancel drops what lay ready

    def _wait(self, timeout: float | None) -> Chunk | Ending:
        try:
            return self._channel.get(timeout=timeout)
        except KeyboardInterrupt:
            self.cancel("Ctrl-C was pressed")
            raise

    def _finish(self, ending: Ending) -> NoReturn:
        """Raise what ended the turn, where nobody was told yet, and EndOfStream otherwise."""
        over, self._over = self._over, True
        error = None if over else ending.error
        if error is None and not over and (self._channel.closed or self._turn.watch.cancelled):
            error = self._called_off()
        try:
            if error is not None:
                raise error
        finally:
            del error, ending  # a frame that kept what it raises would be a cycle with its traceback
        raise EndOfStream("The stream is over: there is no further chunk.")

    def _called_off(self) -> PromptStreamError:
        """Give the error for a reader who closed the stream, or cancelled it when the rest lay ready."""
        turn = self._turn
        if not turn.over and self._thread is not threading.current_thread():
            self._thread.join(UNWIND)
        if turn.over and turn.error is None:
            turn.fail(turn.watch.error())
        return turn.ending() or turn.watch.error()

    @property
    def text(self) -> str:
        """The text that came so far, which may be a few chunks ahead of the loop; also after any error."""
        return self._turn.answer.text

    @property
    def response(self) -> Response:
        """The answer as far as it came; its ``complete`` tells whether it is whole."""
        return self._turn.response or self._turn.answer.response()

    def result(self) -> Response:
        """Wait for what is left and give the whole answer; never sends again.

        Raises:
            PromptStreamError: the answer is not whole, every time.
        """
        with suppress(EndOfStream):
            while True:
                self.get()
        self._turn.raise_ending()
        return self.response

    def cancel(self, reason: str = "") -> None:
        """Stop the stream: the next chunk asked for is Cancelled, whatever lay ready. Any thread may call it."""
        self._turn.watch.cancel(reason)

    def close(self) -> None:
        """Hang up and wait a moment for the thread's end, quietly. Idempotent; any thread may call it."""
        if self._hang_up("the stream was closed") and self._thread is not threading.current_thread():
            self._thread.join(UNWIND)

    def _hang_up(self, why: str) -> bool:
        if self._pid != os.getpid():  # a fork's copy: the thread and the connection are the parent's
            return False
        self._channel.hang_up()
        self._turn.watch.cancel(why)
        return True

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise StateError("A buffered stream is read in the process that began it; a fork has no part in it.")

    def __enter__(self) -> BufferedStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "over" if self._over else f"{self._channel.qsize()} ready"
        return f"<BufferedStream {state}, {len(self.text)} characters>"

    def __del__(self) -> None:
        if hasattr(self, "_thread"):
            self._hang_up("nobody reads it any more")


def _is_last(chunk: Chunk) -> bool:
    return chunk.type is _DONE or chunk.type is _ERROR


def _pump(chunks: Iterator[Chunk], channel: Channel) -> None:
    """Feed *chunks* to *channel*, and last why there are no more."""
    ending = Ending()
    try:
        for chunk in chunks:
            channel.feed(chunk, last=_is_last(chunk))
    except BaseException as error:  # raised again where the chunks are taken
        ending = Ending(error)
    channel.feed(ending, last=True)
    del ending  # this frame, which the error's traceback holds, must not hold the error
