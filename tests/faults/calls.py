"""What a server says of tool calls in; the steps that say it, and a check of the calls that come of it, out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from dialects import Dialect
from faults.core import Scene, Step
from faults.says import say, streamed
from faults.shapes import event

Expected = Sequence[tuple[str | None, str, Any]]
"""Of each call: its id (None: one that was made here), its name, its arguments (None: it has a problem)."""


def calls(expected: Expected, *, problem: str = "", raw: str | None = None) -> Callable[[Scene], None]:
    """Make a check of the answer's calls; where they have no arguments, that *problem* says so and *raw* is kept."""

    def also(scene: Scene) -> None:
        assert scene.response is not None
        found = scene.response.tool_calls
        shown = [(call.id, call.name, call.arguments) for call in found]
        ids = [call.id for call in found]
        assert len(found) == len(expected), f"calls: {shown}"
        assert all(ids), f"ids: {ids}"
        assert len(set(ids)) == len(ids), f"ids: {ids}"
        wanted = [(got[0] if one[0] is None else one[0], *one[1:]) for got, one in zip(shown, expected, strict=True)]
        assert shown == wanted, f"calls: {shown}"
        for call in found:
            assert (call.arguments is None) == (call.problem is not None), f"problem: {call.problem}"
            assert call.problem is None or problem in call.problem, f"problem: {call.problem}"
            assert raw is None or call.raw_arguments == raw, f"raw: {call.raw_arguments}"

    return also


# One protocol's events, for faults that only its servers can make


def chat(*deltas: Any, finish: str = "tool_calls") -> Callable[[Dialect], Step]:
    """Make an answer of Chat Completions with *deltas* of calls: one, or a list of them, to an event."""

    def step(dialect: Dialect) -> Step:
        events = [
            json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": one if isinstance(one, list) else [one]}}]})
            for one in deltas
        ]
        events.append(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
        return say(streamed(dialect, *[event(dialect, each) for each in events], b"data: [DONE]\n\n"))

    return step


def fragment(arguments: Any = None, name: str | None = None, **fields: Any) -> dict[str, Any]:
    """Give one delta of a call of Chat Completions."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**fields, "function": function}


def blocks(*said: dict[str, Any], reason: str = "tool_use") -> Callable[[Dialect], Step]:
    """Make an answer of Anthropic's of the events *said*."""
    end = [{"type": "message_delta", "delta": {"stop_reason": reason}}, {"type": "message_stop"}]

    def step(dialect: Dialect) -> Step:
        message = {"id": "msg_1", "model": dialect.wire.answering, "content": [], "usage": {}}
        events = [{"type": "message_start", "message": message}, *said, *end]
        return say(streamed(dialect, *[event(dialect, json.dumps(each), each["type"]) for each in events]))

    return step


def block(index: Any, identity: str, name: str = "add", given: Any = None) -> dict[str, Any]:
    """Give the begin of a block that calls a tool."""
    content = {"type": "tool_use", "id": identity, "name": name, "input": {} if given is None else given}
    return {"type": "content_block_start", "index": index, "content_block": content}


def piece(index: Any, text: str) -> dict[str, Any]:
    """Give a piece of such a block's input."""
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "input_json_delta", "partial_json": text},
    }


def parts(*functions: Any, reason: str = "STOP") -> Callable[[Dialect], Step]:
    """Make an answer of Gemini's with each of *functions* in an event of its own."""

    def step(dialect: Dialect) -> Step:
        said = [{"candidates": [{"content": {"parts": [{"functionCall": each}]}}]} for each in functions]
        said.append({"candidates": [{"finishReason": reason}]})
        return say(streamed(dialect, *[event(dialect, json.dumps(each)) for each in said]))

    return step


def lines(*said: Any, reason: str = "stop") -> Callable[[Dialect], Step]:
    """Make an answer of Ollama's with each of the lists of calls *said* in a line of its own."""

    def step(dialect: Dialect) -> Step:
        rows = [{"model": "m", "message": {"content": "", "tool_calls": each}, "done": False} for each in said]
        rows.append({"model": "m", "message": {"content": ""}, "done": True, "done_reason": reason})
        return say(streamed(dialect, *[event(dialect, json.dumps(each)) for each in rows]))

    return step


def function(name: str = "add", arguments: Any = None, **fields: Any) -> dict[str, Any]:
    """Give one call of Ollama's."""
    return {**fields, "function": {"name": name, "arguments": arguments}}


def items(*said: dict[str, Any], ended: str = "completed") -> Callable[[Dialect], Step]:
    """Make an answer of Responses' of the events *said*."""
    end = {"type": f"response.{ended}", "response": {"status": ended, "output": []}}
    return lambda dialect: say(
        streamed(dialect, *[event(dialect, json.dumps(each), each["type"]) for each in (*said, end)])
    )


def item(index: Any, identity: str, name: str = "add", **fields: Any) -> dict[str, Any]:
    """Give the begin of an item that calls a tool."""
    given = {"type": "function_call", "id": f"fc_{identity}", "call_id": identity, "name": name, "arguments": ""}
    return {"type": "response.output_item.added", "output_index": index, "item": given | fields}


def argument(index: Any, identity: str, text: str) -> dict[str, Any]:
    """Give a piece of such an item's arguments."""
    kind = "response.function_call_arguments.delta"
    return {"type": kind, "output_index": index, "item_id": f"fc_{identity}", "delta": text}
