"""Packs: a JSON file of prompts goes in, the system prompt and the parameters of a turn come out.

``promptstream.load`` is the way in. Nothing here sends anything; importing this package alone loads nothing.
``Clock``, ``Environment`` and ``Bindings`` provide variables, anew each turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptstream.packs.providers import Bindings, Clock, Environment, gathered

__all__ = ["Bindings", "Clock", "Environment", "gathered"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from promptstream.packs import providers

        return getattr(providers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
