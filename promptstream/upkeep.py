"""A conversation between its turns in: its model, system prompt and history changed, kept or forgotten out."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.claim import Claim
from promptstream.errors import ConfigError
from promptstream.ledger import Ledger
from promptstream.lenses import Lenses
from promptstream.settings import Settings, gathered
from promptstream.values.message import Message

if TYPE_CHECKING:
    from promptstream.client import Provider
    from promptstream.state.store import Store
    from promptstream.tools.toolbox import Toolbox
    from promptstream.values.request import ToolSpec


def renderer(system: str, *, templated: bool) -> Callable[..., str]:
    """Give what makes a system prompt of layers of variables: the text itself, or filled in where it is *templated*.

    Raises:
        ConfigError, PackError: it is no template.
    """
    if not templated:
        return lambda *layers: system
    from promptstream.packs.template import Template

    template = Template.parse(system, {})
    return lambda *layers: template.render(ChainMap(*map(dict, reversed(layers))))


class Upkeep(Lenses):
    """Let a conversation be changed between its turns. Any thread may; while a turn runs it is ConversationBusy."""

    def __init__(self, provider: Provider, settings: Settings, ledger: Ledger, toolbox: Toolbox) -> None:
        super().__init__(ledger)
        self.provider = provider
        self.variables: MutableMapping[str, Any] = ChainMap({}, dict(settings.base))
        """Values for the prompt's variables, over those given to open; used from the next turn on."""
        self._settings = settings
        self._toolbox = toolbox
        self._claim = Claim()

    @property
    def _own(self) -> Mapping[str, Any]:
        variables = self.variables
        return variables.maps[0] if isinstance(variables, ChainMap) else variables

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """What the model may call, as it is told of it; :meth:`Conversation.tool` adds one."""
        return tuple(self._toolbox.specs(self._settings.policy.blocklist))

    @property
    def runnable(self) -> frozenset[str]:
        """The ids of pending calls that there is code for here; all others are answered by :meth:`submit` alone."""
        return frozenset(call.id for call in self.pending if self._toolbox.find(call.name) is not None)

    @property
    def model(self) -> str:
        """The model that the next turn asks; may be set, and is not checked before it is asked.

        What a pack says for single models stays as it was opened.
        """
        return self.provider.asked_model(self._settings.model, self._settings.models)

    @model.setter
    def model(self, name: str) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"model={name!r:.80}: give the name of a model.")
        self._settings.check_priced(self.provider, name)
        with self._claim.lock:
            self._claim.settle()
            self._settings = attrs.evolve(self._settings, model=name)

    @property
    def system(self) -> str:
        """The system prompt as the next turn would send it; raises what rendering it raises.

        May be set where the conversation is on no pack; ``{{name}}`` in it is replaced where variables were given.
        """
        return self._settings.render(self._settings.provided(), gathered(self._own))

    @system.setter
    def system(self, text: str) -> None:
        if not isinstance(text, str):
            raise ConfigError(f"system={text!r:.80}: give the system prompt as a string.")
        with self._claim.lock:
            self._claim.settle()
            settings = self._settings
            render = renderer(text, templated=bool(settings.base or settings.providers))
            render(settings.provided(), gathered(self._own))
            if "system" not in self._ledger.origin:
                raise ConfigError("The system prompt is the pack's, and stays; its variables may be changed.")
            self._ledger.origin["system"] = text
            self._settings = attrs.evolve(settings, render=render)

    def undo(self) -> list[Message]:
        """Take the last turn off the history, from the user's message on, and give its messages.

        Pending calls of it are forgotten.
        """
        with self._claim.lock:
            self._claim.settle()
            return self._ledger.undo()

    def restore(self, messages: Iterable[Message]) -> None:
        """Put back at the end of the history what :meth:`undo` took off; calls that were pending stay forgotten."""
        with self._claim.lock:
            self._claim.settle()
            self._ledger.refresh()
            self._ledger.replace([*self._ledger.messages, *messages])

    def clear(self) -> None:
        """Forget the history; variables, metadata, usage and cost stay."""
        with self._claim.lock:
            self._claim.settle()
            self._ledger.refresh()
            self._ledger.replace([])

    def keep(self, store: Store | str | os.PathLike[str], conversation_id: str) -> None:
        """Keep the conversation from now on in *store*, as :func:`promptstream.open` takes it, under this id.

        What was said so far is saved at once; without a word so far, the first turn makes the first save.

        Raises:
            StateError: it is kept already, something else is kept under that id, or the store cannot be written.
            ConfigError: it cannot be an id; ConversationBusy: a turn runs.
        """
        from promptstream.state.record import check_id
        from promptstream.state.store import open_store

        check_id(conversation_id)
        with self._claim.lock:
            self._claim.settle()
            kept_in, made_here = open_store(store)
            try:
                self._ledger.keep(conversation_id, kept_in, owns_store=made_here)
            except BaseException:
                if made_here:
                    kept_in.close()
                raise
