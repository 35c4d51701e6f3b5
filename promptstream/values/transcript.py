"""Chunks in, the blocks of a display out: thoughts, text and calls in the order in which they came.

One thread adds chunks while another looks; a block is looked at again only where it changed.
"""

from __future__ import annotations

from time import monotonic

import attrs

from promptstream.values import display
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.markdown import SECTION, Markdown, Section, preformatted
from promptstream.values.message import ToolCall, ToolResult
from promptstream.values.response import Response
from promptstream.values.sanitise import clean

SHOWN_THOUGHTS = 4_000
"""Characters of thoughts that show while they grow, the last ones."""


class Waiting:
    """Say that nothing came yet, and for how long."""

    def __init__(self) -> None:
        self._since = monotonic()
        self._told = -1

    @property
    def changed(self) -> bool:
        """True once another second has passed."""
        return int(monotonic() - self._since) > self._told

    def sections(self) -> list[Section]:
        """Give the line."""
        self._told = int(monotonic() - self._since)
        line = f"Waiting for the model… {self._told} s"
        return [(display.quiet(line), line)]


class Thoughts:
    """Show thoughts while they grow, then fold them."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._shown: tuple[int, bool] = (0, True)
        self._growing = True

    def add(self, text: str) -> None:
        """Add a piece."""
        self._pieces.append(text)

    def end(self) -> None:
        """Fold them."""
        self._growing = False

    @property
    def changed(self) -> bool:
        """True where something came, or they ended, since the last look."""
        return self._shown != (len(self._pieces), self._growing)

    def sections(self) -> list[Section]:
        """Give them; their last part alone while they grow."""
        self._shown = len(self._pieces), self._growing
        if self._shown[1]:
            return [(display.reasoning("".join(self._pieces[-SHOWN_THOUGHTS:])[-SHOWN_THOUGHTS:], unfolded=True), "…")]
        text = "".join(self._pieces)
        return [(display.reasoning(text), f"[reasoning] {clean(text)}")]


class Lines:
    """Hold text that is no Markdown while it grows, and give it as it is."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._taken = 0
        self._closed: list[Section] = []
        self._tail = ""

    def add(self, text: str) -> None:
        """Add a piece."""
        self._pieces.append(text)

    @property
    def changed(self) -> bool:
        """True where something came since the last look."""
        return self._taken < len(self._pieces)

    def sections(self) -> list[Section]:
        """Give what came so far, in sections of which the last one alone may still change."""
        pieces = self._pieces[self._taken :]
        self._taken += len(pieces)
        self._tail += "".join(pieces)
        while len(self._tail) > SECTION:
            end = self._tail.rfind("\n", 0, SECTION) + 1 or SECTION
            self._closed.append(_as_it_is(self._tail[:end]))
            self._tail = self._tail[end:]
        return [*self._closed, _as_it_is(self._tail)]


def _as_it_is(text: str) -> Section:
    return preformatted(text), clean(text)


class Called:
    """Show a call while it is written, then what it waits for, then its result."""

    def __init__(self, id: str = "", name: str = "") -> None:
        self.id = id
        self.name = name
        self.length = 0
        """Characters of its arguments so far."""
        self.call: ToolCall | None = None
        self.result: ToolResult | None = None
        self.over = False
        """True once the turn is: what has no result by then gets none."""
        self._since = monotonic()
        self._shown: tuple[object, ...] = ()

    def _state(self) -> tuple[object, ...]:
        runs = self.call is not None and self.result is None and not self.over
        return self.length, self.call, self.result, self.over, int(monotonic() - self._since) if runs else 0

    @property
    def changed(self) -> bool:
        """True where more of it came, or it has run for another second, since the last look."""
        return self._shown != self._state()

    def sections(self) -> list[Section]:
        """Give the call as far as it is known."""
        self._shown = self._state()
        call, result = self.call, self.result
        if call is None:
            line = f"🔧 {self.name or 'a tool'}: {self.length:,} characters of arguments so far"
            return [(display.quiet(line), clean(line))]
        text = f"→ {call}" if result is None else f"→ {call}\n← {result.content}"
        return [(display.call(call, result, "" if self.over else f"… {self._shown[-1]} s"), clean(text))]


@attrs.define(eq=False)
class Ended:
    """Show how the answer ended, and its figures."""

    response: Response
    error: BaseException | None = None
    figures: bool = True
    changed: bool = True

    def sections(self) -> list[Section]:
        """Give the lines; none where there is nothing to say."""
        self.changed = False
        response, error = self.response, self.error
        told = display.note(response) if error is None else f"{type(error).__name__}: {error}"
        warnings = [f"Warning: {each}" for each in response.warnings]
        below = [*warnings, *([display.figures(response)] if self.figures else ())]
        html = "".join([display.alert(told) if told else "", *map(display.quiet, below)])
        return [(html, clean("\n".join(filter(None, (told, *below)))))]


Block = Waiting | Thoughts | Markdown | Lines | Called | Ended


class Transcript:
    """Fold chunks into blocks, of which the last ones alone may still change.

    Args:
        markdown: text is read as Markdown.
        reasoning: thoughts are shown.
    """

    def __init__(self, *, markdown: bool = True, reasoning: bool = True) -> None:
        self.blocks: list[Block] = []
        self._markdown = markdown
        self._reasoning = reasoning
        self._open: list[Called] = []
        """The calls without a result, in the order in which they were begun."""

    def add(self, chunk: Chunk) -> None:
        """Fold in a chunk; an ending is told by :meth:`end`."""
        kind = chunk.type
        if kind is ChunkType.TEXT:
            self._said(chunk.text)
        elif kind is ChunkType.REASONING:
            self._thought(chunk.reasoning)
        elif kind is ChunkType.TOOL_CALL_DELTA and chunk.tool_call is not None:
            self._writes(chunk.tool_call)
        elif kind is ChunkType.TOOL_CALL and chunk.tool_call is not None:
            self._called(chunk.tool_call)
        elif kind is ChunkType.TOOL_RESULT and chunk.tool_result is not None:
            self._came(chunk.tool_result)

    def take(self, response: Response) -> None:
        """Begin with what had come before anybody looked."""
        self._thought(response.reasoning)
        for call in response.tool_calls:
            self._called(call)
        self._said(response.text)

    def end(self, response: Response, error: BaseException | None = None, *, figures: bool = True) -> None:
        """Tell how it ended; nothing comes after that."""
        self._fold()
        for block in self.blocks:
            if isinstance(block, Called):
                block.over = True
        self.blocks.append(Ended(response, error, figures))

    def _fold(self) -> None:
        """Let the last block know that nothing more comes to it."""
        if self.blocks and isinstance(last := self.blocks[-1], (Thoughts, Markdown)):
            last.end()

    def _said(self, text: str) -> None:
        last = self.blocks[-1] if self.blocks else None
        if text and not isinstance(last, (Markdown, Lines)):
            self._fold()
            last = Markdown() if self._markdown else Lines()
            self.blocks.append(last)
        if isinstance(last, (Markdown, Lines)):
            last.add(text)

    def _thought(self, text: str) -> None:
        last = self.blocks[-1] if self.blocks else None
        if text and self._reasoning and not isinstance(last, Thoughts):
            self._fold()
            last = Thoughts()
            self.blocks.append(last)
        if isinstance(last, Thoughts):
            last.add(text)

    def _begun(self, call: ToolCall) -> Called:
        self._fold()
        block = Called(call.id, call.name)
        self._open.append(block)
        self.blocks.append(block)
        return block

    def _writes(self, delta: ToolCall) -> None:
        written = [block for block in self._open if block.call is None and delta.id in ("", block.id)]
        block = written[-1] if written else self._begun(delta)
        block.length += len(delta.raw_arguments)

    def _called(self, call: ToolCall) -> None:
        written = [block for block in self._open if block.call is None]
        block = written[0] if written else self._begun(call)
        block.call = call

    def _came(self, result: ToolResult) -> None:
        called = [block for block in self._open if block.call is not None and block.call.id == result.call_id]
        block = called[0] if called else self._begun(ToolCall(result.call_id, result.name))
        block.call = block.call or ToolCall(result.call_id, result.name)
        block.result = result
        self._open.remove(block)
