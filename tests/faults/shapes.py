"""A dialect and JSON text in, the events of an answer with that text in one place of them out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dialects import Dialect
from faults.core import Step
from faults.says import PARTS, say, streamed
from wires.script import Answer, Say

MARK = "\N{SECTION SIGN}"
"""Stands in a JSON text for what JSON cannot hold otherwise."""
NO_TOOLS = {"completions": "a text completion calls no tools"}
TEXT = {
    "chat": "choices.0.delta.content",
    "completions": "choices.0.text",
    "responses": "delta",
    "anthropic": "delta.text",
    "gemini": "candidates.0.content.parts.0.text",
    "ollama": "message.content",
}
"""Where a delta has its text."""


def event(dialect: Dialect, text: str, name: str | None = None) -> bytes:
    """Frame *text* as the data of one event, or as one line."""
    if dialect.framing == "ndjson":
        return f"{text}\n".encode()
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def data_of(framed: bytes) -> tuple[Any, str | None]:
    """Give the JSON value of one event, None where it is none, and the event's name."""
    name, data = None, framed.decode()
    if not data.startswith("{"):
        lines = data.splitlines()
        name = next((line[7:] for line in lines if line.startswith("event: ")), None)
        data = "".join(line[6:] for line in lines if line.startswith("data: "))
    try:
        return json.loads(data), name
    except ValueError:
        return None, name


def with_at(dialect: Dialect, framed: bytes, path: str, text: str | None) -> bytes:
    """Put the JSON *text* at *path* into one event, or with None take away what is there."""
    value, name = data_of(framed)
    *steps, last = path.split(".")
    place = value
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    if text is None:
        place.pop(last, None)
    elif isinstance(place, list):
        place[int(last)] = MARK
    else:
        place[last] = MARK
    return event(dialect, json.dumps(value, ensure_ascii=False).replace(f'"{MARK}"', text or ""), name)


def has(framed: bytes, path: str) -> bool:
    """Tell whether an event has something at *path*."""
    place, _ = data_of(framed)
    for step in path.split("."):
        try:
            place = place[int(step)] if isinstance(place, list) else place[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return False
    return True


def changed(dialect: Dialect, events: Iterable[bytes], path: str, text: str | None) -> list[bytes]:
    """Put *text* at *path* into every event that has something there."""
    return [with_at(dialect, each, path, text) if has(each, path) else each for each in events]


def delta(dialect: Dialect, text: str, path: str | None = None) -> bytes:
    """Give a delta with the JSON *text* where its text stands, or at *path*."""
    return with_at(dialect, dialect.delta("x"), path or TEXT[dialect.name], text)


def filled(dialect: Dialect, *extra: bytes) -> list[bytes]:
    """Give a good answer of :data:`PARTS` with *extra* events before it ends, without any framing."""
    begun = dialect.events(*PARTS, finish=None)
    return [*begun, *extra, *dialect.events(*PARTS)[len(begun) :]]


def around(dialect: Dialect, *extra: bytes) -> bytes:
    """Give the same in HTTP chunks."""
    return streamed(dialect, *filled(dialect, *extra))


def amid(make: Callable[[Dialect], bytes | Iterable[bytes]]) -> Callable[[Dialect], Step]:
    """Make what *make* gives for a dialect come in the middle of an answer that is good otherwise."""

    def step(dialect: Dialect) -> Step:
        made = make(dialect)
        return say(around(dialect, *([made] if isinstance(made, bytes) else made)))

    return step


def counted(dialect: Dialect, count: Any) -> list[bytes]:
    """Give the events of a good answer with *count*, or without any usage."""
    written = dialect.wire.stream(Answer([Say(piece) for piece in PARTS], "stop", count))
    return [each for each in written.events if isinstance(each, bytes)]


def every(*names: str, but: Mapping[str, str] | None = None, why: str = "") -> dict[str, str]:
    """Give the reason *why* for each dialect but *names*, and those of *but*."""
    from dialects import DIALECTS

    return {name: why for name in DIALECTS if name not in names} | dict(but or {})
