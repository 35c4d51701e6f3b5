"""A script in, its turns played back: for tests and demos, without a key or a network."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from time import monotonic
from typing import Any, Literal

import attrs

from promptstream.errors import ConfigError, ProviderError, Unsupported
from promptstream.providers.base import Dialect
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.message import ToolCall
from promptstream.values.request import Call, ChatRequest
from promptstream.values.secret import Secret
from promptstream.values.twin import twin
from promptstream.values.usage import Usage
from promptstream.wire.watch import Watch
from promptstream.wire.watchdog import FOREVER

LONGEST_DELAY = 86_400
Step = str | float | int | Chunk | ToolCall | Usage | BaseException


class ScriptedDialect(Dialect):
    """Play a list of turns in order, and record the requests.

    A turn is a string, or a list of steps: strings, ToolCalls and Chunks are handed out, numbers are delays in
    seconds, exceptions are raised, a Usage is what the provider tells of its tokens. A turn without a Finish of its
    own ends with reason "stop", or "tool_calls" where it called a tool. Timeouts and cancels hold as on a wire; nothing
    is tried again. When all turns are played, the next request is a ConfigError.
    """

    name = "scripted"
    framing: Literal["sse", "ndjson"] = "sse"
    capabilities = frozenset({"streaming", "tools", "reasoning", "images", "documents", "json_schema"})
    extras = frozenset({"requests"})
    queries: frozenset[str] = frozenset()
    keepalives: frozenset[str] = frozenset()
    free = True
    secret = Secret("")

    def __init__(self, script: Iterable[str | Iterable[Step]] = (), *, model: str | None = None) -> None:
        if isinstance(script, str):
            raise ConfigError(f"Scripted takes a list of turns; for one turn write Scripted([{script[:20]!r}]).")
        self.model = model or "scripted"
        self.requests: list[ChatRequest] = []
        self._turns = [[turn] if isinstance(turn, str) else list(map(_step, turn)) for turn in script]
        self._lock = threading.Lock()
        for number, turn in enumerate(self._turns):
            for step in turn:
                delay = isinstance(step, (int, float)) and not isinstance(step, bool) and 0 <= step < LONGEST_DELAY
                if not (delay or isinstance(step, (str, Chunk, Usage, BaseException))):
                    raise ConfigError(
                        f"Turn {number} of the script holds {step!r:.60}; "
                        "a step is a string, a ToolCall, a Chunk, a delay in seconds, a Usage or an exception."
                    )

    def play(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Yield the next turn's chunks."""
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
        if number >= len(self._turns):
            raise ConfigError(f"The script has {len(self._turns)} turns and this is request {number + 1}.")
        ended = called = False
        watch.sending()
        for step in self._turns[number]:
            if isinstance(step, BaseException):
                raise _fresh(step)
            if isinstance(step, (int, float)):
                watch.sleep(step, clocks=True)
                continue
            watch.due = FOREVER
            watch.first_event = watch.first_event or monotonic()
            watch.events += 1
            if isinstance(step, str):
                yield Chunk(ChunkType.TEXT, step, model=self.model)
            elif isinstance(step, Usage):
                yield Finish(usage_seen=step, model=self.model)
            else:
                ended = ended or isinstance(step, Finish)
                called = called or step.type is ChunkType.TOOL_CALL
                yield step
            watch.due = monotonic() + watch.idle
        watch.due = FOREVER
        if not ended:
            reason = "tool_calls" if called else "stop"
            yield Finish(reason=reason, raw_reason=reason, model=self.model)

    def encode(self, request: ChatRequest) -> Call:
        """Raise: a script has no wire."""
        raise Unsupported("scripted sends nothing.")

    def decode(self, events: Any) -> Iterator[Chunk]:
        """Raise: a script has no wire."""
        raise Unsupported("scripted receives nothing.")

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Raise: a script has no wire."""
        raise Unsupported("scripted receives nothing.")

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Raise: a script has no wire."""
        raise Unsupported("scripted receives nothing.")


def _step(step: Any) -> Any:
    """Give a ToolCall as the chunk that a wire makes of it; anything else as it is."""
    if not isinstance(step, ToolCall):
        return step
    if not step.raw_arguments and step.arguments is not None:
        step = attrs.evolve(step, raw_arguments=json.dumps(step.arguments, ensure_ascii=False))
    return Chunk(ChunkType.TOOL_CALL, tool_call=step)


def _fresh(error: BaseException) -> BaseException:
    """Give a copy to raise, so that a script does not collect the traces of its runs."""
    try:
        return twin(error)
    except Exception:  # of a class that cannot be copied: then the one there is
        return error
