"""What every store promises, and a path, an address or a store in, a store out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import attrs

from promptstream.errors import ConfigError, StateError
from promptstream.values.message import Message
from promptstream.values.secret import plain

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_VERBS = ("load", "revision", "save", "list", "delete", "close")


@attrs.frozen
class Kept:
    """Hold what a store keeps of one conversation."""

    id: str
    revision: int
    """1 after the first save, one more after each. An id that was deleted and comes back goes on counting."""
    messages: tuple[Message, ...]
    state: Mapping[str, Any]
    """JSON-safe, the conversation's own: pending approvals, usage, cost, metadata and the like."""
    created: float
    """Unix time of the first save, in seconds."""
    updated: float
    """Unix time of the last one."""


@attrs.frozen
class Entry:
    """Be one line of a listing."""

    id: str
    revision: int
    messages: int
    """How many there are."""
    created: float
    updated: float
    metadata: Mapping[str, Any]
    """What the state holds as "metadata", or {}."""


@runtime_checkable
class Store(Protocol):
    """Keep conversations, so that what was saved is there in another process, whole or not at all.

    Every method may be called from any thread. Every one of them may raise StateError (the store cannot be
    reached, read or written) and StoreCorrupt (what is there cannot be read; it was left as it is), and
    ConfigError for an id that is empty, holds NUL or a lone surrogate, or is longer than 1,000 characters.
    """

    def load(self, id: str) -> Kept | None:
        """Give what is kept under *id*, as one save left it, or None."""
        ...

    def revision(self, id: str) -> int:
        """Give the revision that is kept under *id*, 0 where there is none; reads no messages."""
        ...

    def save(self, id: str, *, revision: int, kept: int, added: Sequence[Message], state: Mapping[str, Any]) -> int:
        """Write in one step if the stored revision is still *revision* (0: there is none yet); give the new one.

        The first *kept* of the stored messages stay, *added* follow them, *state* replaces the old.

        Raises:
            ConversationBusy: another has written since; nothing changed.
            StateError: it cannot be written (disk full, locked, no permission, server gone); nothing changed.
            StoreCorrupt: what is there cannot be read; nothing changed.
            ValueError: fewer than *kept* messages are stored.
        """
        ...

    def list(self, *, limit: int = 1000) -> list[Entry]:
        """Give up to *limit* conversations, the one saved last first."""
        ...

    def delete(self, id: str) -> bool:
        """Remove what is kept under *id*; tell whether there was something."""
        ...

    def close(self) -> None:
        """Let go of files and connections; may be called twice. Any other use raises StateError from here on."""
        ...


@runtime_checkable
class Notes(Protocol):
    """Keep short notes beside the conversations: those who share a store tell each other by them who does what.

    The stores of this package do; a store of your own need not. Any thread may call it, and it raises what any method
    of a Store raises.
    """

    def swap(self, name: str, before: str | None, after: str | None, seconds: float) -> str | None:
        """Put *after* in the place of *before* in one step, if that is noted under *name*; give what is from here on.

        None is no note. A note is forgotten after *seconds*; it may be lost earlier, where the server or the machine
        breaks down.
        """
        ...


def open_store(where: Store | str | os.PathLike[str]) -> tuple[Store, bool]:
    """Give the store at *where*, and whether it was made here, so that the caller closes it.

    Args:
        where: a store, which is given back as it is; "redis://…", "rediss://…" or "unix://…" (Redis); "memory:";
            anything else is the path of an SQLite file, made where there is none. A leading "~" is the home directory.

    Raises:
        ConfigError: it is none of these, or what it needs is not installed.
        StateError: the file cannot be opened.
        StoreCorrupt: the file is no store, is damaged, or was written by a newer version.
    """
    if isinstance(where, (str, os.PathLike)):
        return _at(where), True
    missing = [verb for verb in _VERBS if not callable(getattr(where, verb, None))]
    if isinstance(where, type) or missing:
        reason = "it is a class; call it" if isinstance(where, type) else f"it has no {', '.join(missing)}"
        raise ConfigError(
            f"store={where!r:.80} is no store: {reason}. Give the path of a file, redis://host:port, or a store object."
        )
    return where, False


def check_there(where: Store | str | os.PathLike[str]) -> None:
    """Make sure that a file that is meant by *where* is there, before one is made.

    Raises:
        StateError: it is not.
    """
    text = os.fspath(where) if isinstance(where, (str, os.PathLike)) else None
    if not isinstance(text, str) or text == "memory:" or _SCHEME.match(text):
        return
    if not os.path.exists(os.path.expanduser(text)):
        raise StateError(f"There is no store {text!r:.200}, so nothing is kept in it.")


def _at(where: str | os.PathLike[str]) -> Store:
    text = plain(where) if isinstance(where, str) else None
    scheme = _SCHEME.match(text or "")
    if text == "memory:":
        from promptstream.state.memory import MemoryStore

        return MemoryStore()
    if text is not None and scheme:
        if scheme[1].lower() not in ("redis", "rediss", "unix"):
            raise ConfigError(
                f"store={scheme[0]!r}…: there is no store for {scheme[1]}. Give the path of a file, or redis://host:port."
            )
        from promptstream.state.redis import RedisStore

        return RedisStore(text)
    from promptstream.state.sqlite import SQLiteStore

    return SQLiteStore(where if text is None else text)
