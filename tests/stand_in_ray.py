"""What the recipe for Ray uses of it, in threads: calls and results are pickled, and come back as futures."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def init(address: str | None = None) -> None:
    """Connect to nothing."""


def remote(**options: Any) -> Callable[[type], type]:
    """Give a decorator that makes actors of a class."""
    assert options.keys() <= {"max_concurrency", "max_restarts", "max_task_retries"}

    def decorate(cls: type) -> type:
        return type(cls.__name__, (_Actors,), {"of": cls, "threads": options["max_concurrency"]})

    return decorate


class _Actors:
    of: type
    threads: int

    @classmethod
    def remote(cls) -> _Handle:
        """Start an actor."""
        return _Handle(cls.of(), ThreadPoolExecutor(cls.threads))


class _Handle:
    def __init__(self, actor: Any, pool: ThreadPoolExecutor) -> None:
        self._actor, self._pool = actor, pool

    def __getattr__(self, name: str) -> _Method:
        return _Method(self._pool, getattr(self._actor, name))


class _Method:
    def __init__(self, pool: ThreadPoolExecutor, method: Callable[..., Any]) -> None:
        self._pool, self._method = pool, method

    def remote(self, *args: Any, **kwargs: Any) -> _Reference:
        """Call it, elsewhere."""
        return _Reference(self._pool.submit(_call, self._method, pickle.dumps((args, kwargs))))


def _call(method: Callable[..., Any], sent: bytes) -> Any:
    args, kwargs = pickle.loads(sent)
    return pickle.loads(pickle.dumps(method(*args, **kwargs)))


class _Reference:
    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def future(self) -> Future[Any]:
        """Give a future of what comes."""
        return self._future
