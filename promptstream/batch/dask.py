"""A scheduler's address or the user's own Dask executor in, futures out; the user's workers run the rows."""

from __future__ import annotations

import pkgutil
import threading
import uuid
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any

from promptstream._version import __version__
from promptstream.batch.worker import run_under
from promptstream.errors import ConfigError
from promptstream.wire.watch import CancelToken

SCHEME = "dask://"
PATIENCE = 10.0
"""Seconds that a scheduler has to answer."""

_tokens: dict[str, CancelToken] = {}
_lock = threading.Lock()


def is_dask(executor: Executor) -> bool:
    """Tell whether *executor* came from ``Client.get_executor()``; imports nothing."""
    return type(executor).__module__.partition(".")[0] == "distributed"


def connect(address: str) -> Any:
    """Give a client of the scheduler at *address*, ``dask://HOST:PORT``; the caller closes it.

    Raises:
        ConfigError: ``distributed`` is not installed, or nothing answers there as a scheduler within ten seconds.
    """
    host, colon, port = address.removeprefix(SCHEME).rstrip("/").rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ConfigError(f"executor={address!r} is no address of a Dask scheduler: write dask://HOST:PORT.")
    try:
        from distributed import Client
    except ImportError as error:
        told = f"executor={address!r} needs Dask: python -m pip install distributed, here and where the workers run."
        raise ConfigError(told) from error
    try:
        made: Any = Client
        return made(f"tcp://{host}:{port}", timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        why = str(error) or type(error).__name__
        told = f"No Dask scheduler answers at {host}:{port} ({why}). Is `dask scheduler --port {port}` running there?"
        raise ConfigError(told) from error


class DaskExecutor:
    """Run calls by *executor*, which stays open. Any thread may call it."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._client = executor._client  # it has no public name
        self._name = f"promptstream-{uuid.uuid4().hex}"
        self._check_versions()

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run *fn* with *args* on a worker of the cluster, anew even where the same was asked for before."""
        # Of equal calls Dask would run one, and hand out its result for all.
        future: Future[Any] = self._executor.submit(_run, self._name, fn, args, pure=False)
        return future

    def cancel(self) -> None:
        """Cancel the token of all calls that run, on every worker."""
        with suppress(OSError, RuntimeError):  # the cluster is gone, and with it what ran there
            _event(self._name, self._client).set()

    def _check_versions(self) -> None:
        asked = self._client.run(pkgutil.resolve_name, "promptstream:__version__", on_error="return")
        missing = sorted(address for address, version in asked.items() if isinstance(version, ImportError))
        if missing:
            told = "python -m pip install promptstream-sdk there, in the environment of the worker."
            raise ConfigError(f"promptstream cannot be imported by the Dask workers {', '.join(missing)}: {told}")
        other = sorted(f"{version} at {address}" for address, version in asked.items() if _is_other(version))
        if other:
            told = f"Dask workers run another promptstream than this one, {__version__}: {', '.join(other)}."
            warnings.warn(f"{told} Rows or results may not be understood; install one version.", stacklevel=2)


def _event(name: str, client: Any) -> Any:
    from distributed import Event

    made: Any = Event
    return made(name, client=client)


def _is_other(version: object) -> bool:
    return isinstance(version, str) and version != __version__


def _run(name: str, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return run_under(_token(name), fn, *args)


def _token(name: str) -> CancelToken:
    """Give the token of the batch *name* in this worker; one thread waits for its driver to cancel."""
    from distributed import get_client

    with _lock:
        token = _tokens.get(name)
        if token is None:
            event = _event(name, get_client())
            token = _tokens[name] = CancelToken()
            threading.Thread(target=_follow, args=(name, token, event), name=name, daemon=True).start()
        return token


def _follow(name: str, token: CancelToken, event: Any) -> None:
    try:
        if event.wait():
            token.cancel("The batch was cancelled.")
    except (OSError, RuntimeError):  # the scheduler is gone: nobody can cancel any more
        return
    finally:
        with _lock:
            del _tokens[name]
