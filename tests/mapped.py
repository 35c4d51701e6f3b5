"""Rows in, batches over what answers without a wire out: for the tests of many prompts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import promptstream
from promptstream import Chunk, ChunkType
from promptstream.batch import Batch
from promptstream.middleware import finish
from promptstream.providers import Scripted
from promptstream.values.request import ChatRequest

PATIENCE = 20.0
LONG = 60.0
"""Seconds that nothing here ever waits for: it is cancelled before."""
PACK = {
    "prompts": {
        "greet": {
            "system_template": "Greet {{name}} {{times}} times.",
            "variables": [
                {"name": "name", "type": "string", "required": True},
                {"name": "times", "type": "number", "required": False, "default": 2},
            ],
        }
    }
}


def echo(request: ChatRequest, call_next: Any) -> Iterator[Chunk]:
    """Answer each request with its own words, whatever the order they come in."""
    yield Chunk(ChunkType.TEXT, f"{request.messages[-1].text}!", model="echo")
    yield finish("stop")


def echoed(rows: Any, **more: Any) -> Batch:
    """Map *rows* over what gives back what it is told."""
    return promptstream.map(rows=rows, provider=Scripted(), **{"middleware": [echo], **more})


def spelled(*turns: Any, rows: Any = None, **more: Any) -> Batch:
    """Map rows over a script, one at a time unless told."""
    rows = [f"row {number}" for number in range(len(turns))] if rows is None else rows
    return promptstream.map(rows=rows, provider=Scripted(turns), **{"max_in_flight": 1, **more})


def threads() -> list[str]:
    """Give the threads that run rows."""
    return [each.name for each in threading.enumerate() if each.name.startswith("promptstream-row")]


class Held:
    """Hold back the rows that are named, in a middleware; a context manager, which lets all of them go."""

    def __init__(self, *names: str) -> None:
        self.gates = {name: threading.Event() for name in names}
        self.began = {name: threading.Event() for name in names}

    def __call__(self, request: ChatRequest, call_next: Any) -> Iterator[Chunk]:
        name = request.messages[-1].text
        if name in self.gates:
            self.began[name].set()
            assert self.gates[name].wait(PATIENCE)
        return echo(request, call_next)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        for gate in self.gates.values():
            gate.set()
