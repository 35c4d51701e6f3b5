"""A stream in, its text or its events out on standard output, and what a person should know on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator

from promptstream.cli.asking import clipped, told
from promptstream.cli.sanitise import Sanitiser
from promptstream.cli.terminal import is_terminal, tell, write
from promptstream.errors import Cancelled, PromptStreamError
from promptstream.stream import Stream
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.message import ToolCall, ToolResult
from promptstream.values.response import Response


class ToolLines:
    """Give the lines that tell of calls and results.

    Args:
        asks: a person is asked about each call, and sees it then; its line comes only where nobody is.
    """

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks
        self._calls: dict[str, ToolCall] = {}
        """Those of the round."""
        self._untold: set[str] = set()
        self._silent: set[str] = set()
        self._answered = False

    def begin(self, calls: Iterable[ToolCall]) -> None:
        """Take note of the calls of a round, which are known to whoever watches."""
        self._calls, self._untold, self._silent = {call.id: call for call in calls}, set(), set()
        self._answered = False

    def silence(self, call_id: str) -> None:
        """Let the result of a call be told by nobody: a person has just typed it."""
        self._silent.add(call_id)

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
        if self._asks:
            self._untold.add(call.id)
        else:
            yield f"→ {clipped(told(call))}"

    def _came(self, result: ToolResult) -> Iterator[str]:
        self._answered = True
        if result.call_id in self._untold:
            yield f"→ {clipped(told(self._calls[result.call_id]))}"
        if result.call_id not in self._silent:
            name = f"{result.name}: " if len(self._calls) > 1 else ""
            yield clipped(f"← {name}{result.content}")


class _Text:
    """Put text after a label on standard output, and know where its line stands."""

    def __init__(self, label: str) -> None:
        self._sanitiser = Sanitiser()
        self._last = "\n"
        self._label = label
        self._bare = False
        """True while the label is all there is."""
        self._due = bool(label)

    def begin(self) -> None:
        """Put the label."""
        if self._due:
            self._due, self._bare = False, True
            self._put(self._label)

    def put(self, text: str) -> None:
        """Put what of *text* is safe."""
        if safe := self._sanitiser.feed(text):
            self.begin()
            self._bare = False
            self._put(safe)

    def make_room(self) -> None:
        """Begin a line for something else; a label without text is taken back until there is some."""
        if self._bare:
            self._bare, self._due = False, True
            self._put(f"\r{' ' * len(self._label)}\r")
            self._last = "\n"
        else:
            self.end()

    def end(self) -> None:
        """End the line, if one was begun."""
        self._put(self._sanitiser.flush())
        self._put("" if self._last == "\n" else "\n")

    def _put(self, text: str) -> None:
        self._last = text[-1:] or self._last  # first, for Ctrl-C may strike once it is written
        write(text)


def show_text(stream: Stream, lines: ToolLines, label: str = "") -> None:
    """Print the text as it comes, after *label*, and end the line, also where the answer breaks off.

    Calls and results of tools are told on standard error.

    Raises:
        PromptStreamError: the answer is not whole.
        BrokenPipeError: nobody reads; the stream was hung up.
    """
    text = _Text(label)
    beside = is_terminal(sys.stdout) and is_terminal(sys.stderr)
    with stream:
        try:
            text.begin()
            for chunk in stream:
                if chunk.type is ChunkType.TEXT:
                    text.put(chunk.text)
                    continue
                for line in lines.of(chunk):
                    if beside:
                        text.make_room()
                    tell(line, dim=True)
        except (PromptStreamError, KeyboardInterrupt):
            text.end()
            raise
        text.end()


def show_events(stream: Stream) -> None:
    """Print each chunk as a line of JSON as it comes; of an answer that failed, all but the error.

    Raises:
        PromptStreamError: the answer is not whole.
        BrokenPipeError: nobody reads; the stream was hung up.
    """
    with stream:
        try:
            for chunk in stream:
                write_event(chunk.to_event())
        except KeyboardInterrupt:
            stream.close()
            write_event(Cancelled("The stream ended early: Ctrl-C was pressed.").to_event())
            raise


def write_event(event: dict[str, object]) -> None:
    """Print one event as a line of JSON; ASCII alone, so that a terminal shows it and does nothing else."""
    write(json.dumps(event).replace("\x7f", "\\u007f") + "\n")


def tell_ending(response: Response, *, stats: bool) -> None:
    """Tell the warnings of an answer, how it ended where that is not the plain way, and its figures on request."""
    for warning in response.warnings:
        tell(f"Warning: {warning}")
    if response.complete and (note := _note(response)):
        tell(note)
    if stats:
        tell(response.report())
        tell(response.summary())


def _note(response: Response) -> str:
    if response.pending:
        return ""
    reason = response.finish_reason
    if reason == "tool_calls":
        return f"[the model asks for tools, which nobody runs here: {', '.join(c.name for c in response.tool_calls)}]"
    if reason == "other":
        return f"[the answer ended for another reason: {response.raw_finish_reason or 'not told'}]"
    known = {
        "length": "[cut at the token limit]",
        "content_filter": "[stopped by a content filter]",
        "refusal": "[the model refused]",
    }
    return known.get(reason or "", "" if response.text else "[the answer has no text]")
