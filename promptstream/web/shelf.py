"""A store in, the same store out, whose failures can be told from a client's mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from promptstream.errors import ConversationBusy, StateError, StoreCorrupt
from promptstream.web.failures import StoreFailed

if TYPE_CHECKING:
    from promptstream.state.store import Entry, Kept, Notes, Store
    from promptstream.values.message import Message


class Shelf:
    """Be the store that a relay's conversations are kept in. Any thread may use it.

    What it does is the store's; where the store cannot be used at all, it raises StoreFailed.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self, id: str) -> Kept | None:
        """Give what is kept under *id*, or None."""
        with _telling():
            return self._store.load(id)

    def revision(self, id: str) -> int:
        """Give the revision that is kept under *id*, 0 where there is none."""
        with _telling():
            return self._store.revision(id)

    def save(self, id: str, *, revision: int, kept: int, added: Sequence[Message], state: Mapping[str, Any]) -> int:
        """Write if the stored revision is still *revision*."""
        with _telling():
            return self._store.save(id, revision=revision, kept=kept, added=added, state=state)

    def list(self, *, limit: int = 1000) -> list[Entry]:
        """Give up to *limit* conversations, the one saved last first."""
        with _telling():
            return self._store.list(limit=limit)

    def delete(self, id: str) -> bool:
        """Remove what is kept under *id*; tell whether there was something."""
        with _telling():
            return self._store.delete(id)

    def swap(self, name: str, before: str | None, after: str | None, seconds: float) -> str | None:
        """Change a note, where the store has them: see :attr:`notes`."""
        with _telling():
            return cast("Notes", self._store).swap(name, before, after, seconds)

    @property
    def notes(self) -> Notes | None:
        """This, where the store keeps notes; else None."""
        return self if callable(getattr(self._store, "swap", None)) else None

    def close(self) -> None:
        """Let go of files and connections."""
        self._store.close()


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except (ConversationBusy, StoreCorrupt):
        raise
    except StateError as error:
        raise StoreFailed(str(error)) from error
