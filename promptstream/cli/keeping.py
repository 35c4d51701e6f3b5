"""A conversation's name in, what is kept under it out; and how the command line goes on with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.errors import ConfigError, StateError
from promptstream.state.record import check_id
from promptstream.values.folders import user_folder
from promptstream.values.names import nearest
from promptstream.values.secret import bare_address

if TYPE_CHECKING:
    from promptstream.state.store import Kept, Store

STORE_VARIABLE = "PROMPTSTREAM_STORE"
_TITLE = 60


def place() -> str:
    """Give where conversations are kept: ``PROMPTSTREAM_STORE`` if set, else a file in the user's data folder.

    Raises:
        ConfigError: there is no such folder.
    """
    try:
        return os.environ.get(STORE_VARIABLE) or str(user_folder("data") / "conversations.db")
    except RuntimeError:
        raise ConfigError(f"This user has no home folder. Set {STORE_VARIABLE} to the path of a file.") from None


def is_remote(where: str) -> bool:
    """Tell whether a store is the address of a server, not a file of this user's."""
    return "://" in where


def shown_place(where: str) -> str:
    """Give *where* as it may be shown."""
    return bare_address(where) if is_remote(where) else where


@contextmanager
def reading() -> Iterator[Store | None]:
    """Give the store, or None where nothing was ever kept: no file is made to be read.

    Raises:
        ConfigError, StateError, StoreCorrupt: it cannot be opened.
    """
    from promptstream.state.store import open_store

    where = place()
    if not is_remote(where) and not os.path.exists(os.path.expanduser(where)):
        yield None
        return
    store, _ = open_store(where)
    try:
        yield store
    finally:
        store.close()


def find(name: str) -> Kept:
    """Give what is kept under *name*.

    Raises:
        StateError: nothing is, or the store cannot be read.
        ConfigError: it cannot be a name.
    """
    check_id(name)
    with reading() as store:
        kept = None if store is None else store.load(name)
        if kept is None:
            raise missing(name, store)
        return kept


def missing(name: str, store: Store | None) -> StateError:
    """Give the error that there is no conversation called *name*."""
    near = "" if store is None else nearest(name, [each.id for each in store.list()])
    return StateError(f"There is no conversation {name!r:.100}.{near} See: promptstream history list")


def check_free(name: str) -> None:
    """Make sure that nothing is kept under *name* yet.

    Raises:
        StateError: something is, or the store cannot be read.
        ConfigError: it cannot be a name.
    """
    check_id(name)
    if not name.isprintable():
        raise ConfigError(f"{name!r:.100} cannot name a conversation: it holds characters that do not show.")
    with reading() as store:
        if store is not None and store.revision(name):
            raise StateError(
                f"There is a conversation {name!r:.100} already. Go on with it by --resume, or choose another name."
            )


def title(message: str) -> str:
    """Give a conversation's title: the first of what the user says."""
    line = " ".join(message.split())
    return line if len(line) <= _TITLE else line[: _TITLE - 1] + "…"


@attrs.frozen
class Setup:
    """Hold what a conversation was begun with, to go on in the same way. No key is ever kept."""

    provider: str | None = None
    """None where the base URL alone said it."""
    model: str | None = None
    base_url: str | None = None
    variables: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, metadata: Any) -> Setup:
        """Read what :meth:`to_dict` gave; what is missing, or something else, counts as not told."""
        kept = metadata.get("cli") if isinstance(metadata, Mapping) else None
        kept = kept if isinstance(kept, Mapping) else {}
        texts = {name: kept[name] for name in ("provider", "model", "base_url") if isinstance(kept.get(name), str)}
        variables = kept.get("variables")
        variables = variables if isinstance(variables, Mapping) else {}
        return cls(**texts, variables={str(name): value for name, value in variables.items() if isinstance(value, str)})

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON, as the metadata of a conversation hold it under "cli"."""
        data = attrs.asdict(self, filter=lambda field, value: bool(value))
        if self.base_url is not None:
            data["base_url"] = bare_address(self.base_url)
        return data
