"""A client's message in, the checked action that it asks for out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptstream.errors import ConfigError, StreamError
from promptstream.values.names import nearest
from promptstream.wire.jsontext import loads

UNKNOWN = "unknown"
"""What stands for the action of a message that asks for none that there is."""
_TYPES: dict[type, str] = {str: "a string", dict: "an object", bool: "true or false"}
_NEEDED: dict[str, Mapping[str, type]] = {
    "send_message": {"message": str},
    "cancel": {},
    "approve": {"call_id": str},
    "reject": {"call_id": str},
    "tool_result": {"call_id": str, "result": object},
    "resume": {"conversation_id": str},
    "authenticate": {"token": str},
}
_ALLOWED: Mapping[str, type] = {"variables": dict, "arguments": dict, "reason": str, "error": bool}


class Unfit(ConfigError):
    """A message asks for nothing that can be done."""

    def __init__(self, message: str = "", action: str = UNKNOWN) -> None:
        super().__init__(message)
        self.action = action


def read_action(text: str) -> dict[str, Any]:
    """Give the action in *text*, with every field that it needs, each of its type.

    Raises:
        Unfit: it is no such thing; the text quotes nothing of it but names.
    """
    try:
        action = loads(text)
    except StreamError:
        raise Unfit("The message is not JSON, or not within its bounds.") from None
    if not isinstance(action, dict):
        raise Unfit('The message is no JSON object; send {"action": "send_message", "message": "…"}.')
    name = action.get("action", "send_message" if "message" in action else None)
    if not isinstance(name, str) or name not in _NEEDED:
        near = nearest(name, [*_NEEDED]) if isinstance(name, str) else ""
        raise Unfit(f"There is no action {name!r:.60}.{near} Known: {', '.join(_NEEDED)}.")
    for field, kind in _NEEDED[name].items():
        if field not in action:
            raise Unfit(f"{name} needs {field!r}.", name)
        _check(name, field, action[field], kind)
    for field, kind in _ALLOWED.items():
        if action.get(field) is not None:
            _check(name, field, action[field], kind)
    return {**action, "action": name}


def _check(action: str, field: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise Unfit(f"{action}: {field!r} is not {_TYPES[kind]}.", action)
