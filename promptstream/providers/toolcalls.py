"""Fragments of tool calls in, whole calls out, parsed once, at the end."""

from __future__ import annotations

import re
from typing import Any

import attrs

from promptstream.errors import LimitExceeded, ProtocolError
from promptstream.values.message import ToolCall
from promptstream.values.surrogates import mend
from promptstream.wire.jsontext import loads_exact

MAX_CALLS = 128
_NUMBER = re.compile(r"\d{1,3}", re.ASCII)
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


@attrs.define(eq=False)
class _Open:
    id: str = ""
    name: str = ""
    pieces: list[str] = attrs.field(factory=list)


class ToolCalls:
    """Collect the calls of one answer, keyed by index and id as servers variously give them.

    A new id on a known index is a new call (Ollama and Gemini behind OpenAI's protocol reuse 0);
    without an index a new id is a new call, and no id continues the last one.
    """

    def __init__(self) -> None:
        self._calls: list[_Open] = []
        self._by_index: dict[int, _Open] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, index: Any, call_id: Any, name: Any, fragment: Any) -> ToolCall:
        """Take one delta and give it as a ToolCall whose ``raw_arguments`` is the fragment.

        Raises:
            ProtocolError: the index is not a whole number from 0 to 127, or there are too many calls.
        """
        call_id = mend(call_id) if isinstance(call_id, str) else ""
        name = mend(name) if isinstance(name, str) else ""
        call = self._find(index, call_id, name)
        call.id = call.id or call_id
        call.name = call.name or name
        text = fragment if isinstance(fragment, str) else "" if fragment is None else _dumps(fragment)
        if text:
            call.pieces.append(text)
        return ToolCall(call.id, call.name, None, mend(text))

    def _find(self, index: Any, call_id: str, name: str) -> _Open:
        known = [call for call in self._calls if call.id == call_id] if call_id else []
        if index is None:
            known = known or ([] if call_id else self._calls[-1:])
            return known[-1] if known else self._open()
        if isinstance(index, str) and _NUMBER.fullmatch(index):
            index = int(index)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < MAX_CALLS:
            raise ProtocolError(
                f"A tool call has index {index!r:.40}; it must be 0 to {MAX_CALLS - 1}.", phase="decode"
            )
        call = self._by_index.get(index)
        other = call is not None and call_id and call.id and call_id != call.id
        if call is None or (other and (name or known)):  # another id alone is vLLM's, which makes one for each delta
            call = self._by_index[index] = known[-1] if known else self._open()
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
            arguments = _mended(arguments)
        if not isinstance(arguments, dict):
            arguments, problem = None, "the arguments are not a JSON object"
    return ToolCall(call_id, name, arguments, raw, problem)


def new_id() -> str:
    """Give an id for a call that the provider gave none; it is never sent back to that provider as its own."""
    from uuid import uuid4

    return f"call_{uuid4().hex[:24]}"


def _mended(value: Any) -> Any:
    """Mend every string in a JSON value: escapes can spell halves of surrogate pairs."""
    if isinstance(value, str):
        return mend(value)
    if isinstance(value, list):
        return [_mended(each) for each in value]
    if isinstance(value, dict):
        return {mend(key): _mended(each) for key, each in value.items()}
    return value


def _dumps(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
