"""A turn in, its chunks out, read in a thread of its own a few chunks ahead of whoever takes them.

The thread stops reading once that many lie ready: the provider then waits, by TCP, and no memory grows.
Neither side polls, and either can hang up. A signal handler, or a finaliser in whatever thread it runs, may do so
between any two steps of either side; so they share a queue and a lock each of whose operations is one step, and
no condition, which could be left locked or miss its wake-up then.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from promptstream.errors import EndOfStream, PromptStreamError, StateError, StreamError
from promptstream.turn import Turn, run
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.response import Response
from promptstream.wire.watch import UNWIND, Watch

if TYPE_CHECKING:
    from promptstream.progress import Asked

_DONE, _ERROR = ChunkType.DONE, ChunkType.ERROR
_Ready = queue.SimpleQueue["Chunk | BaseException | None"]
"""What lies ready: chunks, what was raised where it was, and None at the end, which stays there for every reader."""


class BufferedStream(Iterator[Chunk]):
    """Take a stream's chunks while a thread reads ahead. Made by :meth:`Stream.buffered`; a context manager.

    Any thread may take chunks, each of which comes once. The loop ends after DONE, or raises what ended the
    turn, last and once. Dropping, closing or cancelling it hangs up and ends the thread; leaving a loop by break
    does not, as long as the object is kept: another loop goes on from there.
    """

    def __init__(self, turn: Turn, chunks: Iterator[Chunk], size: int, max_tokens: int | None = None) -> None:
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"size={size!r:.40}: give a whole number of chunks.")
        if size < 1:
            raise ValueError(f"size={size}: at least one chunk must fit.")
        self._turn = turn
        self._max_tokens = max_tokens
        self._pid = os.getpid()
        self._ready: _Ready = queue.SimpleQueue()
        self._room = threading.Lock()
        """Unlocked to wake the thread, which waits for room by locking it."""
        # Nothing that the thread holds refers to this object, so that dropping it ends the thread.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(_pump, chunks, size, self._ready, self._room, turn.watch),
            name="promptstream-buffered",
            daemon=True,
        )
        try:
            self._thread.start()
        except BaseException as error:
            struck = error.__context__ if isinstance(error, RuntimeError) else error
            if struck is not None and not isinstance(struck, Exception):  # a Ctrl-C, or what start() makes of it
                self.cancel("Ctrl-C was pressed")  # the thread may have begun by then
                raise struck from None
            del self._thread  # there is none, and the stream is as it was
            raise StreamError(f"No thread to read ahead in: {error}.", phase="start") from error

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
            StateError: this process is a fork of the one that reads the stream.
        """
        if self._pid != os.getpid():
            raise StateError("A buffered stream is read in the process that began it; a fork has no part in it.")
        if timeout is not None and not 0 <= timeout <= threading.TIMEOUT_MAX:
            raise ValueError(f"timeout={timeout}: give seconds from 0 up, or None to wait for as long as it takes.")
        until = None if timeout is None else monotonic() + timeout
        watch = self._turn.watch
        try:
            while True:
                item = self._ready.get(timeout=None if until is None else max(0.0, until - monotonic()))
                _wake(self._room)
                if item is None:
                    self._ready.put(None)
                if item is None or isinstance(item, BaseException):
                    break
                if item.type is _ERROR or not watch.cancelled:
                    return item
                if item.type is _DONE:
                    break
        except queue.Empty:
            raise
        except BaseException as stop:
            self._struck(stop)
            raise
        try:
            if item is None:
                raise EndOfStream("The stream is over: there is no further chunk.")
            if isinstance(item, BaseException):
                raise item
        finally:
            del item  # a frame that kept what it raises would be a cycle with its traceback
        return next(self._called_off())

    def _struck(self, stop: BaseException) -> None:
        """Cancel for Ctrl-C, or whatever a signal handler raised: what was being taken then is lost."""
        self.cancel("Ctrl-C was pressed" if isinstance(stop, KeyboardInterrupt) else f"{type(stop).__name__} struck")
        if self._turn.over:  # that may have been the end, so it is told anew
            self._thread.join(UNWIND)
            with suppress(queue.Empty):
                while True:
                    self._ready.get_nowait()
            _pump(self._called_off(), 1, self._ready, self._room, self._turn.watch)

    def _called_off(self) -> Iterator[Chunk]:
        """Give the ending of a turn that was over, perhaps whole, when a cancel came before its end was taken."""
        if self._turn.error is None:
            self._turn.fail(self._turn.watch.error())
        return run(self._turn)

    @property
    def text(self) -> str:
        """The text that came so far, which may be a few chunks ahead of the loop; also after any error."""
        return self._turn.answer.text

    @property
    def response(self) -> Response:
        """The answer as far as it came; its ``complete`` tells whether it is whole."""
        return self._turn.response or self._turn.answer.response()

    def result(self, *, progress: Asked = None) -> Response:
        """Take what is left and give the whole answer; never sends again.

        Args:
            progress: as :meth:`Stream.result` takes it. Told is how much came, which may be ahead of what was taken.

        Raises:
            PromptStreamError: the answer is not whole, every time.
            TypeError, ConfigError: *progress* is neither, or the extra ``cli`` is missing that draws a bar. The
                stream goes on.
        """
        for _ in self if progress is None else self._watched(progress):
            pass
        self._turn.raise_ending()
        return self.response

    def _watched(self, progress: Asked) -> Iterator[Chunk]:
        from promptstream.bars import watcher_for
        from promptstream.progress import watched

        watcher = watcher_for(progress)
        if watcher is None:
            yield from self
            return
        try:
            yield from watched(self, watcher, self._turn.answer, self._max_tokens)
        except PromptStreamError:
            raise
        except BaseException:  # of the function that is told
            self.close()
            raise

    def cancel(self, reason: str = "") -> None:
        """Stop the stream: the next chunk asked for is Cancelled, whatever lay ready. Any thread may call it."""
        if self._pid == os.getpid():  # the thread and the connection are not a fork's
            self._turn.watch.cancel(reason)

    def close(self) -> None:
        """Hang up and wait a moment for the thread's end, quietly. Idempotent; any thread may call it."""
        self.cancel("the stream was closed")
        if self._pid == os.getpid() and self._thread is not threading.current_thread():
            self._thread.join(UNWIND)

    def __enter__(self) -> BufferedStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<BufferedStream {self._state}, {len(self.text)} characters>"

    @property
    def _state(self) -> str:
        turn = self._turn
        if turn.over:
            return "whole" if turn.error is None else f"ended by {type(turn.error).__name__}"
        return f"running, {self._ready.qsize()} ready"

    def _repr_html_(self) -> str:
        from promptstream.values import display

        return display.of_stream(f"BufferedStream, {self._state}", self.response, self._turn.over)

    def __del__(self) -> None:
        if hasattr(self, "_thread"):
            self.cancel("nobody reads it any more")


def _pump(chunks: Iterator[Chunk], size: int, ready: _Ready, room: threading.Lock, watch: Watch) -> None:
    """Put each of *chunks* into *ready*, at most *size* ahead, then what was raised, and None."""
    watch.listen(partial(_wake, room))
    try:
        for chunk in chunks:
            # The last one waits for no room: the thread ends although nobody reads.
            while ready.qsize() >= size and watch.stopped is None and chunk.type not in (_DONE, _ERROR):
                room.acquire()
            ready.put(chunk)
    except BaseException as error:  # raised again where the chunks are taken
        ready.put(error)
    ready.put(None)
    del ready  # the error's traceback holds this frame, which must not hold the error


def _wake(room: threading.Lock) -> None:
    if room.locked():
        with suppress(RuntimeError):  # another thread was quicker
            room.release()
