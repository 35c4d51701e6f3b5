"""The chunks of calls and results in, the lines that tell of them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from promptstream.cli.asking import clipped, told
from promptstream.cli.sanitise import visible
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.message import ToolCall, ToolResult


class ToolLines:
    """Give the lines that tell of calls and results.

    Args:
        asks: a person is asked about each call, and sees it then; its line comes only where nobody is.
    """

    def __init__(self, *, asks: bool) -> None:
        self.asks = asks
        """True where a person is asked about each call."""
        self._calls: dict[str, ToolCall] = {}
        """Those of the round."""
        self._running: dict[str, str] = {}
        """The names of those that run, by their ids."""
        self._untold: set[str] = set()
        self._silent: set[str] = set()
        self._answered = False

    def begin(self, calls: Iterable[ToolCall]) -> None:
        """Take note of the calls of a round, which are known to whoever watches, and run once all are decided."""
        self._calls, self._untold, self._silent = {call.id: call for call in calls}, set(), set()
        self._answered = False
        self._running = {call.id: call.name for call in self._calls.values()}

    @property
    def running(self) -> str:
        """The names of the tools that run by now, or are about to; "" where there are none."""
        return ", ".join(map(visible, self._running.values()))

    def silence(self, call_id: str) -> None:
        """Let the result of a call be told by nobody: a person has just typed it, and nothing runs."""
        self._silent.add(call_id)
        self._running.pop(call_id, None)

    def of(self, chunk: Chunk) -> Iterator[str]:
        """Give the lines for a chunk."""
        if chunk.type is ChunkType.TOOL_CALL and chunk.tool_call is not None:
            yield from self._called(chunk.tool_call)
        elif chunk.type is ChunkType.TOOL_RESULT and chunk.tool_result is not None:
            yield from self._came(chunk.tool_result)

    def _called(self, call: ToolCall) -> Iterator[str]:
        if self._answered:
            self.begin(())
        self._calls[call.id] = call
        if self.asks:
            self._untold.add(call.id)
        else:
            self._running[call.id] = call.name
            yield f"→ {clipped(told(call))}"

    def _came(self, result: ToolResult) -> Iterator[str]:
        self._answered = True
        self._running.pop(result.call_id, None)
        if result.call_id in self._untold:
            yield f"→ {clipped(told(self._calls[result.call_id]))}"
        if result.call_id not in self._silent:
            name = f"{result.name}: " if len(self._calls) > 1 else ""
            yield clipped(f"← {name}{result.content}")
