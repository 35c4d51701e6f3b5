"""Calls in through a pipe, outcomes out: the inside of a worker process, and the token by which its driver cancels."""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from promptstream.errors import ConfigError
from promptstream.wire.watch import CancelToken

READY = b"ready"
"""What a worker says first."""
STOP = b"stop"
CANCEL = b"cancel "
CALL = b"call "

_here = threading.local()


def token_here() -> CancelToken | None:
    """Give the token that the batch's driver cancels, in a thread that runs a row far from it; None anywhere else."""
    token: CancelToken | None = getattr(_here, "token", None)
    return token


def run_under(token: CancelToken, fn: Callable[..., Any], *args: Any) -> Any:
    """Call *fn* with :func:`token_here` giving *token*.

    Raises:
        RuntimeError: a tool would exit; that ends its row, not the worker and the rows beside it.
    """
    _here.token = token
    try:
        return fn(*args)
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"The row tried to end its worker: {error!r}") from error
    finally:
        del _here.token


def serve(pipe: Connection, threads: int) -> None:
    """Run what comes through *pipe*, *threads* calls at once, until the driver says stop or is gone.

    Ctrl-C reaches every process of a terminal; it is the driver's to handle, and a worker does not hear it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    token = CancelToken()
    sending = threading.Lock()
    with ThreadPoolExecutor(threads, "promptstream-row") as pool:
        pipe.send_bytes(READY)
        while True:
            message = _next(pipe)
            if message == STOP:
                token.cancel("The driver has closed.")
                return
            if message.startswith(CANCEL):
                token.cancel(message[len(CANCEL) :].decode())
            else:
                number, call = pickle.loads(message[len(CALL) :])  # noqa: S301  # from our own driver
                pool.submit(_answer, pipe, sending, token, number, call)


def _next(pipe: Connection) -> bytes:
    try:
        return pipe.recv_bytes()
    except (EOFError, OSError):  # the driver died
        return STOP


def _answer(pipe: Connection, sending: threading.Lock, token: CancelToken, number: int, call: bytes) -> None:
    try:
        fn, args = pickle.loads(call)  # noqa: S301  # from our own driver
        outcome = (True, run_under(token, fn, *args))
    except Exception as error:
        outcome = (False, error)
    message = pickle.dumps((number, _pickled(outcome)))
    with sending, suppress(OSError):  # a driver that died wants no outcome
        pipe.send_bytes(message)


def _pickled(outcome: tuple[bool, Any]) -> bytes:
    try:
        return pickle.dumps(outcome)
    except Exception as error:
        what = f"{type(outcome[1]).__name__}, {type(error).__name__}: {error}"
        told = f"What this row gave cannot be sent back from its process ({what}). Use plain values, or threads."
        return pickle.dumps((False, ConfigError(told)))
