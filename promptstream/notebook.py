"""A stream in, its answer shown live in a notebook's cell out; outside of one, as plain text on standard output."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from typing import Any, Protocol

from promptstream.bars import in_notebook, ipython
from promptstream.buffered import BufferedStream
from promptstream.errors import ConfigError, PromptStreamError, StateError
from promptstream.painter import Painter
from promptstream.stream import Stream
from promptstream.values import display
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.markdown import Section, available
from promptstream.values.response import Response
from promptstream.values.sanitise import Sanitiser, clean
from promptstream.values.transcript import Block, Transcript, Waiting


def show(
    stream: Stream | BufferedStream, *, markdown: bool = True, reasoning: bool = True, figures: bool = True
) -> Response:
    """Show *stream* live, as its answer comes in, and give the answer. As a cell's last line it is not shown twice.

    In a notebook (Jupyter, VS Code, Colab) text is shown as Markdown and brought up to date about twelve times a
    second; thoughts, tool calls and their results fold away; the figures stand below. Elsewhere it is printed.
    Interrupting the kernel hangs up: what came stays, marked as stopped, in the cell and in the conversation, and the
    cell ends with KeyboardInterrupt, so that none that waits behind it goes on with half an answer. The stream runs
    in the thread that calls this.

    Args:
        markdown: False shows the text as it is.
        reasoning: False leaves thoughts out.
        figures: False leaves the line of figures out.

    Raises:
        PromptStreamError: the answer is not whole, unless the stream has ``on_error="chunk"``; what came is shown.
        ConfigError: Markdown is wanted, and the extra ``notebook`` is not installed. Nothing was sent.
        TypeError: *stream* is none.
    """
    if not isinstance(stream, (Stream, BufferedStream)):
        raise TypeError(f'show() takes a stream, not a {type(stream).__name__}: show(conv.stream("Hello")).')
    live = in_notebook()
    if live and markdown and not available():
        raise ConfigError(
            "Markdown is read by markdown-it-py: pip install 'promptstream-sdk[notebook]', or show(…, markdown=False)."
        )
    transcript = Transcript(markdown=markdown, reasoning=reasoning)
    stopped = _follow(stream, _Live(transcript, figures) if live else _Printed(reasoning, figures))
    try:
        if stopped is not None:
            raise stopped.with_traceback(None)  # where inside of this library it struck tells a reader nothing
    finally:
        del stopped  # a frame that kept what it raises would be a cycle with its traceback
    response = stream.response
    _not_twice(response)
    return response


def _not_twice(response: Response) -> None:
    """Let *response* not be shown again where it is the value of the cell of IPython that has just shown it."""
    shell: Any = ipython()
    if shell is None:
        return
    cell, shown = shell.execution_count, weakref.ref(response)

    def skip(value: Response) -> None:
        if value is not shown() or shell.execution_count != cell:
            raise NotImplementedError  # which lets the next formatter have it

    def shorten(value: Response, printer: Any, cycle: bool) -> None:
        again = value is not shown() or shell.execution_count != cell
        printer.text(repr(value) if again or cycle else "<Response, shown above>")

    if in_notebook():
        shell.display_formatter.ipython_display_formatter.for_type(Response, skip)
    else:  # a terminal, which has put "Out[1]: " there by then
        shell.display_formatter.formatters["text/plain"].for_type(Response, shorten)


class _Shown(Protocol):
    """Show chunks as they come."""

    def begin(self) -> None: ...

    def take(self, response: Response) -> None: ...

    def add(self, chunk: Chunk) -> None: ...

    def end(self, response: Response, error: BaseException | None) -> None: ...


def _follow(stream: Stream | BufferedStream, shown: _Shown) -> PromptStreamError | KeyboardInterrupt | None:
    """Show all of *stream*, and how it ended; give what is to be raised."""
    came, failed, ended = isinstance(stream, Stream), None, None
    chunks: Iterator[Chunk] = iter(())
    try:
        chunks = iter(stream)
        if getattr(chunks, "gi_running", False):
            raise StateError("Another thread is iterating over this stream.")
    except StateError:  # it is somebody else's
        raise
    except PromptStreamError as error:
        ended = error
    try:
        shown.begin()
        if came:
            shown.take(stream.response)
        if ended is not None:
            raise ended
        for chunk in chunks:
            came, failed = True, chunk.error
            shown.add(chunk)
        if not came:  # all was taken before
            shown.take(stream.response)
    except (PromptStreamError, KeyboardInterrupt) as stop:
        stream.close()
        told = stop if isinstance(stop, PromptStreamError) else None  # an interrupt is told by how the answer ended
        shown.end(stream.response, told)
        return stop
    except BaseException as stop:
        stream.close()
        shown.end(stream.response, stop)
        raise
    shown.end(stream.response, failed)
    return None


class _Live:
    """Show a transcript in the cell's output, a display to each section of it."""

    def __init__(self, transcript: Transcript, figures: bool) -> None:
        self._transcript = transcript
        self._figures = figures
        self._waiting = Waiting()
        self._displays: list[list[tuple[Any, str]]] = []
        """Of each block: the handles of its displays, and the HTML in them."""
        self._painter = Painter(self._paint)
        self.add = transcript.add
        self.take = transcript.take

    def begin(self) -> None:
        self._paint()
        self._painter.start()

    def end(self, response: Response, error: BaseException | None) -> None:
        self._painter.stop()
        self._transcript.end(response, error, figures=self._figures)
        self._paint()

    def _paint(self) -> None:
        """Bring the displays up to date; one thread at a time."""
        blocks: list[Block] = [*self._transcript.blocks] or [self._waiting]  # all but the last are whole by now
        for place, block in enumerate(blocks):
            if place == len(self._displays):
                self._displays.append([])
            if block.changed:
                self._put(self._displays[place], block.sections())

    def _put(self, displays: list[tuple[Any, str]], sections: list[Section]) -> None:
        from IPython.display import display as put_untyped

        put: Any = put_untyped

        for number, (html, text) in enumerate(sections):
            bundle = {"text/html": display.framed(html), "text/plain": text}
            if number == len(displays) and html:
                displays.append((put(bundle, raw=True, display_id=True), html))
            elif number < len(displays) and displays[number][1] != html:
                handle = displays[number][0]
                handle.update(bundle, raw=True)
                displays[number] = handle, html


class _Printed:
    """Print chunks on standard output, safe for a terminal."""

    def __init__(self, reasoning: bool, figures: bool) -> None:
        self._reasoning = reasoning
        self._figures = figures
        self._sanitiser = Sanitiser()
        self._kind = ChunkType.TEXT
        self._last = "\n"

    def begin(self) -> None:
        pass

    def take(self, response: Response) -> None:
        self._piece(ChunkType.REASONING, response.reasoning)
        self._piece(ChunkType.TEXT, response.text)

    def add(self, chunk: Chunk) -> None:
        if chunk.type in (ChunkType.TEXT, ChunkType.REASONING):
            self._piece(ChunkType(chunk.type), chunk.text or chunk.reasoning)
        elif chunk.type is ChunkType.TOOL_CALL and chunk.tool_call is not None:
            self._line(f"→ {display.clipped(str(chunk.tool_call))}")
        elif chunk.tool_result is not None:
            self._line(f"← {display.clipped(chunk.tool_result.content)}")

    def end(self, response: Response, error: BaseException | None) -> None:
        told = display.note(response) if error is None else f"{type(error).__name__}: {error}"
        if told:
            self._line(f"[{told}]")
        for warning in response.warnings:
            self._line(f"Warning: {warning}")
        self._line(display.figures(response) if self._figures else "")

    def _piece(self, kind: ChunkType, text: str) -> None:
        if not text or (kind is ChunkType.REASONING and not self._reasoning):
            return
        if kind is not self._kind:
            self._kind = kind
            self._line("[thinks]" if kind is ChunkType.REASONING else "[answers]")
        self._write(self._sanitiser.feed(text))

    def _line(self, text: str) -> None:
        self._write(self._sanitiser.flush())
        self._write(("" if self._last == "\n" else "\n") + clean(text) + ("\n" if text else ""))

    def _write(self, text: str) -> None:
        self._last = text[-1:] or self._last
        sys.stdout.write(text)
        sys.stdout.flush()
