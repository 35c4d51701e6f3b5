"""How far a turn may go with tools: what a pack's ``tool_policy`` or the caller says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from promptstream.values.names import nearest


def _at_least_one(instance: object, attribute: attrs.Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{attribute.name}={value!r:.60}: give a whole number of 1 or more.")


def _names(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, set, frozenset)) else value


def _texts(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{attribute.name}={value!r:.80}: give a list of tools' names.")


@attrs.frozen(kw_only=True)
class ToolPolicy:
    """Bound what the model may do with tools in one turn; the first four are a pack's own words."""

    tool_choice: str | None = None
    """"auto", "required", "none" or a tool's name, where a call says nothing; a demand holds for the first round."""
    max_rounds: int = attrs.field(default=10, validator=_at_least_one)
    """Rounds of tools; a model that asks for another ends the turn with ToolLoopLimit, and nothing of it runs."""
    max_tool_calls_per_turn: int = attrs.field(default=50, validator=_at_least_one)
    """Calls of a whole turn, in the same manner."""
    blocklist: tuple[str, ...] = attrs.field(default=(), converter=_names, validator=_texts)
    """Tools that are neither offered nor run."""
    max_identical_calls: int = attrs.field(default=3, validator=_at_least_one)
    """From this one on, a call with the same name and arguments is not run: the model is told once, then it ends."""
    parallel: int = attrs.field(default=8, validator=_at_least_one)
    """Calls of one round that run at the same time, each in a thread; 1 runs them one by one in the loop's thread."""

    @classmethod
    def of(cls, given: ToolPolicy | Mapping[str, Any] | None) -> ToolPolicy:
        """Give *given* as a policy: a dict holds what differs from the defaults.

        Raises:
            TypeError: it is neither, or a name is unknown.
            ValueError: a value means nothing.
        """
        if given is None or isinstance(given, cls):
            return given or cls()
        if not isinstance(given, Mapping):
            raise TypeError(f"tool_policy={given!r:.80}: give a ToolPolicy or a dict.")
        known = [field.name for field in attrs.fields(cls)]
        for name in given:
            if name not in known:
                raise TypeError(f"tool_policy: {name!r:.60} is not known.{nearest(str(name), known)}")
        return cls(**{name: value for name, value in given.items() if value is not None})
