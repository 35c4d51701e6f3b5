"""All that a program prints in; the answer alone on standard output, the rest on standard error, out."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO

_OUT, _ERR = 1, 2


class _Apart(io.TextIOBase):
    """Be standard output where it is no terminal: what tools print goes to standard error, whatever that is by then."""

    def __init__(self, answer: TextIO) -> None:
        self.answer = answer
        """What the answer itself is written to."""

    def write(self, text: str) -> int:
        if sys.stderr is not None:
            with suppress(OSError):  # nobody reads remarks: that ends no answer
                sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        if sys.stderr is not None:
            with suppress(OSError):
                sys.stderr.flush()

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if sys.stderr is None:
            raise io.UnsupportedOperation("standard error is closed")
        return sys.stderr.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stderr, "encoding", self.answer.encoding)

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return getattr(sys.stderr, "errors", self.answer.errors)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


@contextmanager
def answers_alone() -> Iterator[None]:
    """Keep standard output for answers, where it is a pipe or a file; what processes of tools print, too (POSIX).

    For the main thread, while nothing is being printed.
    """
    real = sys.stdout
    if real is None or isinstance(real, _Apart) or real.closed or real.isatty():
        yield
        return
    with ExitStack() as stack:
        answer = stack.enter_context(_moved(real)) if _is_standard(real) else real
        sys.stdout = _Apart(answer)
        try:
            yield
        finally:
            sys.stdout = real


def answer_stream(stream: TextIO) -> TextIO:
    """Give what an answer is written to where it shall stand on *stream*."""
    return stream.answer if isinstance(stream, _Apart) else stream


def share_a_file(one: TextIO, other: TextIO) -> bool:
    """Tell whether two streams write into one file or pipe."""
    try:
        places = [os.fstat(answer_stream(each).fileno()) for each in (one, other)]
    except (OSError, ValueError, AttributeError):  # not a file of the system's, or closed
        return False
    return os.path.samestat(*places)


def _is_standard(stream: TextIO) -> bool:
    try:
        return os.name == "posix" and stream.fileno() == _OUT
    except (OSError, ValueError):
        return False


@contextmanager
def _moved(real: TextIO) -> Iterator[TextIO]:
    """Give a stream to where standard output leads, and let its descriptor lead to standard error meanwhile."""
    import fcntl

    real.flush()
    kept = fcntl.fcntl(_OUT, fcntl.F_DUPFD_CLOEXEC, _ERR + 1)
    answer = open(kept, "w", encoding=real.encoding, errors=real.errors, closefd=False)  # noqa: SIM115
    try:
        if sys.stderr is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _OUT)
            os.close(nowhere)
        else:
            os.dup2(_ERR, _OUT)
        yield answer
    finally:
        with suppress(OSError):
            real.flush()
        os.dup2(kept, _OUT)
        with suppress(OSError):  # where nobody reads, that has been told
            answer.close()
        os.close(kept)
