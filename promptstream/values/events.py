"""Chunks or events in, their JSON out: as Server-Sent Events, as lines, or one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from json.encoder import encode_basestring
from typing import Any

from promptstream.values.chunk import Chunk, ChunkType

_TEXT = ChunkType.TEXT
_BEFORE, _AFTER = '{"type": "content", "content": ', ', "tool_call": null, "error": null, "final": null}'
_UNSAFE = re.compile("[\x7f\x85\u2028\u2029\ud800-\udfff]")
"""What some readers of lines take for the end of one, and halves of surrogate pairs, which UTF-8 cannot carry."""


def events_to_sse(events: Iterable[Chunk] | Iterable[Mapping[str, Any]]) -> Written:
    """Yield *events* as Server-Sent Events, each whole and ready to be sent: ``data: {…}`` and an empty line.

    One thread reads what this gives. Its ``close()``, which web frameworks call where the reader went away, closes
    *events*, so that the provider is hung up on; so does dropping it.

    Args:
        events: a Stream, or any iterable of chunks or of events. An error of this library's becomes the last event.

    Raises, while iterating:
        TypeError, ValueError: an event is no JSON.
    """
    return Written(events, "data: ", "\n\n")


def events_to_ndjson(events: Iterable[Chunk] | Iterable[Mapping[str, Any]]) -> Written:
    """Yield *events* as lines of JSON, each whole and ready to be sent. All else is as with :func:`events_to_sse`."""
    return Written(events, "", "\n")


def event_json(event: Chunk | Mapping[str, Any]) -> str:
    """Give a chunk, or an event, as one line of JSON that every reader of lines takes for one. Any thread may call it.

    Raises:
        TypeError, ValueError: the event is no JSON.
    """
    if isinstance(event, Chunk):
        if event.type is _TEXT:  # all but a few of a stream's chunks
            return f"{_BEFORE}{_safe(encode_basestring(event.text))}{_AFTER}"
        event = event.to_event()
    return _safe(json.dumps(event, ensure_ascii=False))


def _safe(text: str) -> str:
    return _UNSAFE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


class Written(Iterator[str]):
    """Give events as text, one by one, until it is closed. Made by ``events_to_sse`` and ``events_to_ndjson``."""

    # No generator: its close() before the first step would not reach what it reads.

    def __init__(self, events: Iterable[Any], before: str, after: str) -> None:
        self._source: Any = events
        self._events: Iterator[Any] | None = None
        self._before, self._after = before, after

    def __next__(self) -> str:
        try:
            if self._events is None:
                self._events = iter(self._source)
            event = next(self._events)
        except Exception as error:
            to_event = getattr(error, "to_event", None)  # of this library's own errors, which values do not know
            if to_event is None:
                raise
            self._events, event = iter(()), to_event()
        return f"{self._before}{event_json(event)}{self._after}"

    def close(self) -> None:
        """Hang up. Idempotent."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
        self._events = iter(())
