"""The faults of the consumer and its process, rows 61, 62 and 66 to 68: a loop that is left, a fork, an exit."""

from __future__ import annotations

import gc
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from dialects import TEXT as WHOLE
from dialects import Dialect
from faults.core import ANY, MARGIN, Fault, Outcome, Scene, Stage
from faults.says import PARTS, begun, good, hold, then

import promptstream
from promptstream.errors import Cancelled

LEFT = Outcome(Cancelled, text=PARTS[0], phase="loop", retryable=False, finish="cancelled")
STREAMS = 40


class Left(Exception):
    """What a consumer raises in its loop."""


# Row 61 and 62: the loop is left


def _gone(scene: Scene) -> None:
    """See that the server was let go of at once, by reference count alone."""
    assert scene.server is not None
    assert scene.server.conn.gone.wait(MARGIN), "the connection is still open"


def leaving(way: Callable[[Scene], None]) -> Callable[[Scene], None]:
    """Make a drive that takes one chunk and leaves by *way*; the stream's own ending is then raised."""

    def drive(scene: Scene) -> None:
        assert scene.stream is not None
        gc.disable()
        try:
            way(scene)
            _gone(scene)
        finally:
            gc.enable()
        scene.stream.result()

    return drive


def _one(scene: Scene) -> Iterator[Any]:
    """Give the stream's iterator once it has given one chunk."""
    assert scene.stream is not None
    chunks = iter(scene.stream)
    scene.chunks.append(next(chunks))
    return chunks


def _break(scene: Scene) -> None:
    assert scene.stream is not None
    for chunk in scene.stream:
        scene.chunks.append(chunk)
        break


def _break_of_text(scene: Scene) -> None:
    assert scene.stream is not None
    for text in scene.stream.iter_text():
        scene.chunks.append(promptstream.Chunk(promptstream.ChunkType.TEXT, text))
        break


def _del(scene: Scene) -> None:
    chunks = _one(scene)
    del chunks


def _close(scene: Scene) -> None:
    assert scene.stream is not None
    chunks = _one(scene)
    scene.stream.close()
    assert next(chunks, None) is None


def _with(scene: Scene) -> None:
    assert scene.stream is not None
    with scene.stream:
        chunks = _one(scene)
    assert next(chunks, None) is None


def _close_iterator(scene: Scene) -> None:
    _one(scene).close()  # type: ignore[attr-defined]


WAYS = {
    "break": _break,
    "break of a loop over the text": _break_of_text,
    "del": _del,
    "close()": _close,
    "the end of a with block": _with,
    "close() of the iterator": _close_iterator,
}


def raising(error: BaseException) -> Callable[[Scene], None]:
    """Make a drive whose loop raises *error* after the first chunk."""

    def drive(scene: Scene) -> None:
        assert scene.stream is not None
        try:
            for chunk in scene.stream:
                scene.chunks.append(chunk)
                raise error
        finally:
            _gone(scene)

    return drive


def is_cancelled(scene: Scene) -> None:
    """See that a stream which ended by no error of its own tells how it ended."""
    assert scene.stream is not None
    kept = None
    with suppress(Cancelled):
        kept = scene.stream.response
        scene.stream.result()
        raise AssertionError("the stream does not know that it was left")
    assert kept is not None
    assert kept.text == scene.yielded, f"kept {kept.text!r}"


# Rows 66 and 68: many streams, many processes


def _nested(dialect: Dialect) -> None:
    """Begin another loop over a stream inside its loop: what is left comes there, once."""
    with Stage((good(dialect),), None) as server, dialect.provider(server.origin) as provider:
        stream, texts = dialect.stream(provider), []
        for chunk in stream:
            texts.append(chunk.text)
            texts += [each.text for each in stream]
        assert "".join(texts) == WHOLE, texts
        assert stream.result().complete


def _forked(dialect: Dialect) -> None:
    """Ask in a child with a provider that has a connection open, and then in the parent again."""
    with Stage((good(dialect),), None) as server, dialect.provider(server.origin) as provider:
        assert dialect.send(provider).text == WHOLE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if dialect.send(provider).text == WHOLE else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child got no answer"
        assert dialect.send(provider).text == WHOLE
        assert len(server.connections) == 2, f"{len(server.connections)} connections, of a parent and its child"


def _abandoned(dialect: Dialect) -> None:
    """Leave many streams, in every way, with the garbage collector off."""
    with Stage((then(begun(dialect), hold),), None) as server, dialect.provider(server.origin) as provider:

        def leave(number: int) -> None:
            stream = dialect.stream(provider)
            chunks = iter(stream)
            next(chunks)
            if number % 3 == 1:
                stream.close()
            if number % 3 == 2:
                stream.cancel()
                with suppress(Cancelled):
                    list(chunks)

        leave(0)
        before = _held()
        gc.disable()
        try:
            for number in range(STREAMS):
                leave(number)
            for conn in server.connections:
                conn.gone.wait(MARGIN)
            after = before
            for _ in range(100):
                after = _held()
                if after <= before:
                    break
                threading.Event().wait(0.005)
        finally:
            gc.enable()
        assert after <= before, f"descriptors and threads: {before} before, {after} after"


def _held() -> tuple[int, int]:
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    return files, threading.active_count()


FAULTS = (
    *(
        Fault(
            61,
            f"the loop is left by {name}",
            step=lambda dialect: then(begun(dialect), hold),
            drive=leaving(way),
            outcome=LEFT,
            secure=name == "break",
        )
        for name, way in WAYS.items()
    ),
    *(
        Fault(
            61,
            f"the loop raises {type(error).__name__}",
            step=lambda dialect: then(begun(dialect), hold),
            drive=raising(error),
            outcome=Outcome(type(error), text=PARTS[0], attempts=ANY),
            also=is_cancelled,
        )
        for error in (Left(), MemoryError(), KeyboardInterrupt(), RecursionError())
    ),
    Fault(61, "a loop over a stream inside its loop", prove=_nested),
    Fault(66, "a fork", prove=_forked),
    Fault(68, f"{STREAMS} streams left in every way, with the collector off", prove=_abandoned),
)
ELSEWHERE = {
    62: "test_leaks.py::test_a_stream_never_iterated_over_warns_and_sends_nothing",
    67: "test_watch.py::test_the_interpreter_ends_although_a_stream_is_held",
}
