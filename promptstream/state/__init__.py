"""State: what a conversation commits goes in, and comes out again in another process, whole or not at all.

``MemoryStore``, ``SQLiteStore`` and ``RedisStore`` keep one promise, :class:`Store`; importing this loads none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptstream.state.memory import MemoryStore
    from promptstream.state.redis import RedisStore
    from promptstream.state.sqlite import SQLiteStore
    from promptstream.state.store import Entry, Kept, Notes, Store, open_store

__all__ = ["Entry", "Kept", "MemoryStore", "Notes", "RedisStore", "SQLiteStore", "Store", "open_store"]

_HOMES = {"MemoryStore": "memory", "RedisStore": "redis", "SQLiteStore": "sqlite"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'store')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
