"""What a relay was made with in, conversations out: new ones, kept ones, each had by one turn at a time."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from promptstream.conversation import Conversation
from promptstream.errors import ConfigError, ConversationBusy, StateError
from promptstream.opening import chat
from promptstream.opening import open as open_pack
from promptstream.packs.pack import load
from promptstream.settings import gathered, split_variables
from promptstream.web.leases import BUSY, Leases

if TYPE_CHECKING:
    from promptstream.state.store import Notes, Store

Opener = Callable[[str], Conversation]
"""An id in, the conversation that is kept under it, or a new one of that id, out."""
_MAKING = ("api_key", "base_url", "retry")
"""What the provider is made with."""
_PATIENCE = 1.0
"""Seconds that who comes back waits for the turn that was left behind."""


class Taker(Protocol):
    """Be who runs a turn."""

    leaving: bool

    def cancel(self) -> None:
        """Stop the turn."""
        ...


class Conversations:
    """Open conversations, and know which of them runs a turn. Any thread may use it."""

    def __init__(self, opener: Opener, store: Store | None, notes: Notes | None = None) -> None:
        self._opener, self.store = opener, store
        self._takers: dict[str, Taker] = {}
        self._changed = threading.Condition()
        self.leases = Leases(notes, self._cancel_here)
        """What the relays that share the store know of each other's turns."""

    def new(self) -> Conversation:
        """Open a conversation under an id that nobody can guess."""
        return self._open(secrets.token_urlsafe(18))

    def kept(self, id: object) -> Conversation:
        """Open the conversation that is kept under *id*; waits a moment for a turn whose client has left.

        That a client of another relay has left cannot be known: its turn is waited for as long in any case.

        Raises:
            StateError: there is none, or it cannot be read; ConversationBusy: its first turn is still running.
        """
        if not isinstance(id, str) or not _fits(id):
            raise StateError("There is no such conversation.")
        first = self.store is not None and not self.store.revision(id)  # that its client left may not be known yet
        until = monotonic() + _PATIENCE
        with self._changed:
            while (taker := self._takers.get(id)) is not None and (taker.leaving or first) and monotonic() < until:
                self._changed.wait(until - monotonic())
        running = taker is not None or self.leases.runs_elsewhere(id, until - monotonic())
        if self.store is not None and not self.store.revision(id):
            if running:
                raise ConversationBusy(
                    "The first turn of this conversation is running; cancel it, or wait for its end."
                )
            raise StateError("There is no such conversation.")
        conv = self._open(id)
        if not conv.messages:
            conv.close()
            raise StateError("There is no such conversation.")
        return conv

    def fresh(self, conv: Conversation, seen: int) -> Conversation:
        """Give *conv*, opened again where the store has more than the revision *seen* of it."""
        if self.store is None or self.store.revision(conv.id) == seen:
            return conv
        conv.close()
        return self._open(conv.id)

    def revision(self, conv: Conversation) -> int:
        """Give the revision that is kept of *conv*, 0 where there is none."""
        return 0 if self.store is None else self.store.revision(conv.id)

    def take(self, id: str, taker: Taker) -> None:
        """Let *taker* run a turn.

        Raises:
            ConversationBusy: another does, here or in another relay; StateError: the store cannot be asked.
        """
        with self._changed:
            if id in self._takers:
                raise ConversationBusy(BUSY)
            self._takers[id] = taker
        try:
            self.leases.take(id)
        except BaseException:
            self._let_go(id)
            raise

    def release(self, id: str, taker: Taker) -> None:
        """Let others run a turn."""
        if self._takers.get(id) is taker:
            self.leases.release(id)  # first, so that who takes it here next has a lease of its own
            self._let_go(id)

    def _let_go(self, id: str) -> None:
        with self._changed:
            del self._takers[id]
            self._changed.notify_all()

    def known(self, id: object) -> bool:
        """Tell whether there may be a conversation *id*: one is kept under it, or runs a turn."""
        if not isinstance(id, str):
            return False
        with self._changed:
            if id in self._takers:
                return True
        return self.store is None or (_fits(id) and (self.store.revision(id) > 0 or self.leases.runs_elsewhere(id)))

    def cancel(self, id: str) -> None:
        """Stop the turn that runs, if there is one; in another relay it takes up to a second.

        Raises:
            StateError: the store cannot be asked.
        """
        if not self._cancel_here(id):
            self.leases.ask_to_stop(id)

    def _cancel_here(self, id: str) -> bool:
        with self._changed:
            taker = self._takers.get(id)
        if taker is not None:
            taker.cancel()
        return taker is not None

    def _open(self, id: str) -> Conversation:
        conv = self._opener(id)
        if not isinstance(conv, Conversation):
            raise ConfigError(f"opener= gave {conv!r:.80}; it takes an id and gives a Conversation of that id.")
        if conv.id != id:
            conv.close()
            raise ConfigError(
                "opener= gave a conversation of another id; pass on the one it is given: conversation_id=id."
            )
        return conv


def _fits(id: str) -> bool:
    return 0 < len(id) <= 200 and id.isprintable()


class Opening:
    """Open conversations on one pack or system prompt, all on one provider."""

    def __init__(self, pack: Any, prompt: str | None, store: Store, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._pack = None if pack is None else load(pack, strict=bool(options.get("strict")))
        self._prompt = prompt
        if self._pack is None and prompt is not None:
            raise ConfigError(f"prompt={prompt!r:.80} is given without a pack.")
        self._provide()
        self._first = self._made()
        """Kept open, as it owns the provider."""
        for name in _MAKING:
            self._options.pop(name, None)
        self._options["provider"] = self._first.provider
        self._options["store"] = store

    def __call__(self, id: str) -> Conversation:
        """Open the conversation *id*."""
        return self._made(conversation_id=id)

    @property
    def name(self) -> str:
        """What a person would call it."""
        if self._pack is None:
            return "promptstream"
        return self._pack.prompt(self._prompt).name

    def fixed(self) -> set[str]:
        """Give the names of the variables that were set here, and are not for clients to change."""
        base, providers = split_variables(self._options.get("variables"))
        return {*gathered(base, *providers)}

    def close(self) -> None:
        """Close the provider, where it was made here."""
        self._first.close()

    def _provide(self) -> None:
        """Take over the pack's provider, which counts only where no other is given, as a Provider will be."""
        options, wanted = self._options, None if self._pack is None else self._pack.provider
        if wanted is not None and options.get("provider") is None and options.get("base_url") is None:
            options["provider"], options["model"] = wanted.name, options.get("model") or wanted.model

    def _made(self, **more: Any) -> Conversation:
        options = {**self._options, **more}
        if self._pack is None:
            return chat(options.pop("system", ""), **options)
        return open_pack(self._pack, self._prompt, **options)
