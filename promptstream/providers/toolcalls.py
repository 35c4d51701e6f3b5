"""Fragments of tool calls in, whole calls out, parsed once, at the end."""

from __future__ import annotations

import re
from typing import Any

import attrs

from promptstream.errors import LimitExceeded, ProtocolError
from promptstream.values.message import ToolCall
from promptstream.values.surrogates import mend, mended
from promptstream.wire.jsontext import loads_exact

MAX_CALLS = 128
_NUMBER = re.compile(r"\d{1,3}", re.ASCII)
_LOOKS = 64
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


@attrs.define(eq=False)
class _Open:
    id: str = ""
    given: str = ""
    """The id that the server gave it, which another call may have too."""
    name: str = ""
    pieces: list[str] = attrs.field(factory=list)
    looks: int = _LOOKS
    """How often it may still be looked whether the arguments are whole."""

    def is_whole(self) -> bool:
        """Tell whether the arguments are one whole object, after which nothing of it can come."""
        if not self.looks:
            return False
        self.looks -= 1
        text = "".join(self.pieces).strip()
        try:
            return text.startswith("{") and text.endswith("}") and isinstance(loads_exact(text), dict)
        except (ProtocolError, LimitExceeded):
            return False


class ToolCalls:
    """Collect the calls of one answer, keyed by index and id as servers variously give them.

    A new id on a known index is a new call (Ollama and Gemini behind OpenAI's protocol reuse 0);
    without an index a new id is a new call, and no id continues the last one. Calls that share an id are told apart
    by what they are: after whole arguments another call begins, which gets an id of its own.
    """

    def __init__(self) -> None:
        self._calls: list[_Open] = []
        self._by_index: dict[int, _Open] = {}
        self._ids: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, index: Any, call_id: Any, name: Any, fragment: Any, own: bool = False) -> ToolCall:
        """Take one delta and give it as a ToolCall whose ``raw_arguments`` is the fragment.

        With *own* the index alone says which call it is of.

        Raises:
            ProtocolError: the index is not a whole number from 0 to 127, or there are too many calls.
        """
        call_id = mend(call_id) if isinstance(call_id, str) else ""
        name = mend(name) if isinstance(name, str) else ""
        text = fragment if isinstance(fragment, str) else "" if fragment is None else _dumps(fragment)
        call = self._find(index, call_id, name, text, own)
        if call_id and not call.given:
            call.given, call.id = call_id, unused(call_id, self._ids)
        call.name = call.name or name
        if text:
            call.pieces.append(text)
        return ToolCall(call.id, call.name, None, mend(text))

    def _find(self, index: Any, call_id: str, name: str, text: str, own: bool) -> _Open:
        known = [call for call in self._calls if call.given == call_id] if call_id and not own else []
        if index is None:
            known = known or ([] if call_id else self._calls[-1:])
            return self._open() if not known or _is_another(known[-1], call_id and name, text) else known[-1]
        if isinstance(index, str) and _NUMBER.fullmatch(index):
            index = int(index)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < MAX_CALLS:
            raise ProtocolError(
                f"A tool call has index {index!r:.40}; it must be 0 to {MAX_CALLS - 1}.", phase="decode"
            )
        call = self._by_index.get(index)
        if call is None:
            over = known and name and (name != known[-1].name or known[-1].is_whole())
            call = self._by_index[index] = known[-1] if known and not over else self._open()
        elif call_id and call.given and call_id != call.given:
            if name or known:  # another id alone is vLLM's, which makes one for each delta
                call = self._by_index[index] = known[-1] if known else self._open()
        elif call_id and not own and _is_another(call, name, text):
            call = self._by_index[index] = self._open()
        return call

    def _open(self) -> _Open:
        if len(self._calls) >= MAX_CALLS:
            raise ProtocolError(f"The answer has more than {MAX_CALLS} tool calls.", phase="decode")
        call = _Open()
        self._calls.append(call)
        return call

    def take(self) -> list[ToolCall]:
        """Give the whole calls, once, and forget them."""
        calls, self._calls, self._by_index = self._calls, [], {}
        return [whole_call(call.id, call.name, "".join(call.pieces)) for call in calls]


def _is_another(call: _Open, name: str, text: str) -> bool:
    """Tell whether a delta under the id of *call*, and no index of its own, begins another."""
    return bool(name and text.lstrip().startswith("{") and call.pieces and call.is_whole())


def whole_call(call_id: str, name: str, raw: str) -> ToolCall:
    """Parse a call's arguments; where they are not one whole JSON object, ``problem`` says so.

    They are never repaired: half a file written is worse than none. No text at all means ``{}``.
    """
    call_id, name, raw = mend(call_id), mend(name), mend(raw)
    arguments: Any = None
    problem = None if name else "the call names no tool"
    try:
        arguments = loads_exact(raw) if raw.strip() else {}
    except (ProtocolError, LimitExceeded) as error:
        problem = f"the arguments are not whole: {error}"
    else:
        if _HALF.search(raw):
            arguments = mended(arguments)
        if not isinstance(arguments, dict):
            arguments, problem = None, "the arguments are not a JSON object"
    return ToolCall(call_id, name, arguments, raw, problem)


def unused(call_id: str, taken: set[str]) -> str:
    """Give the id of another call, which is *taken* then: *call_id*, or a new one where it is empty or another's."""
    own = call_id if call_id and call_id not in taken else new_id()
    taken.add(own)
    return own


def new_id() -> str:
    """Give an id for a call that the provider gave none; it is never sent back to that provider as its own."""
    from uuid import uuid4

    return f"call_{uuid4().hex[:24]}"


def _dumps(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
