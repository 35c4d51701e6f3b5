"""The chunks of an answer in, what a person sees of it out: text, thoughts, calls, and what is waited for."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from threading import Event, RLock, Thread
from time import monotonic
from types import TracebackType
from typing import Any, TextIO, cast

from promptstream.cli.apart import share_a_file
from promptstream.cli.calls import ToolLines
from promptstream.cli.echo import Echo
from promptstream.cli.paper import LiveMarkdown, Paper, PlainText
from promptstream.cli.sanitise import visible
from promptstream.cli.status import Status
from promptstream.cli.terminal import is_steerable, is_terminal, styled, tell, window, write
from promptstream.cli.thoughts import Thoughts
from promptstream.errors import PromptStreamError
from promptstream.values.chunk import Chunk, ChunkType

_PAUSE = 0.05
"""Seconds between two looks at what is to be drawn."""
_SHARE = 9
"""How many times longer than the drawing took the next pause is at least: drawing takes a tenth of the time at most."""


class View:
    """Show one answer. A context manager; one thread feeds it, and where something moves, one of its own draws.

    Args:
        lines: tells of calls and results.
        label: what stands before the text.
        plain: nothing moves, and the text is printed as it comes.
        reasoning: fold shows that and how long the model thinks, full what it thinks, hide neither.
    """

    def __init__(self, lines: ToolLines, label: str = "", *, plain: bool = False, reasoning: str = "fold") -> None:
        self._lines = lines
        self._lock = RLock()
        self._over = Event()
        self._free = True
        """False while what somebody else wrote last has not ended its line."""
        self._failed: Exception | None = None
        self._painter: Thread | None = None
        self._echo = Echo()
        self._streams: tuple[Any, Any, Any] = (sys.stdout, sys.stderr, sys.stdin)
        both = is_terminal(sys.stdout) and is_terminal(sys.stderr)
        self._beside = both or share_a_file(sys.stdout, sys.stderr)
        err = sys.stderr if not plain and is_steerable(sys.stderr) else None
        self._status = None if err is None else _status(err)
        out = sys.stdout if not plain and is_steerable(sys.stdout) else None
        self._plain = PlainText(label, sys.stdout) if out is None else None
        self._paper: Paper = self._plain or LiveMarkdown(label, cast(TextIO, out))
        self._moves = out is not None or err is not None
        self._thoughts = Thoughts(reasoning, self._status, None if err is None else lambda: window(err)[0])

    def take(self, chunk: Chunk) -> None:
        """Show a chunk, or soon.

        Raises:
            BrokenPipeError: nobody reads.
            click.ClickException: standard output cannot be written to.
        """
        if self._failed is not None:
            raise self._failed
        with self._lock:
            if chunk.type is ChunkType.TEXT:
                self._text(chunk.text)
            elif chunk.type is ChunkType.REASONING:
                self._reasoning(chunk.reasoning)
            elif chunk.type is not ChunkType.DONE and chunk.type is not ChunkType.ERROR:
                self._tools(chunk)

    def __enter__(self) -> View:
        if self._plain is not None and self._status is None:
            self._plain.begin()
        if self._moves:
            self._echo.off()
            sys.stdout, sys.stderr = (_aside(stream, self._step_aside) for stream in self._streams[:2])
            if is_terminal(sys.stdin):
                sys.stdin = _Keys(sys.stdin, self._typed)
            if self._status is not None:
                self._status.begin(self._lines.running)
            self._painter = Thread(target=self._paint, name="promptstream-view", daemon=True)
            self._painter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._over.set()
            if self._painter is not None:
                self._painter.join()
            with self._lock:
                if self._status is not None:
                    self._status.end()
                if error is None or isinstance(error, (PromptStreamError, KeyboardInterrupt)):
                    self._thoughts.end()
                    if not self._free:
                        tell("")
                    self._paper.end()
        finally:
            sys.stdout, sys.stderr, sys.stdin = self._streams
            self._echo.on()
        if error is None and self._failed is not None:
            raise self._failed

    def _text(self, text: str) -> None:
        if text:
            self._thoughts.end()
            self._wait(None)
            self._paper.put(text)

    def _reasoning(self, text: str) -> None:
        if text:
            if not self._thoughts.going and self._thoughts.shown:
                self._make_room()
            if self._thoughts.add(text):
                self._wait(None)
            elif self._thoughts.shown:
                self._wait("thinking…")

    def _tools(self, chunk: Chunk) -> None:
        self._thoughts.end()
        if self._status is not None:
            self._make_room()
        for line in self._lines.of(chunk):
            if self._status is None:
                self._make_room()
            else:
                self._status.erase()
            tell(line if self._status is None else self._fitting(line), dim=True)
        call = chunk.tool_call
        if chunk.type is not ChunkType.TOOL_CALL_DELTA:
            self._wait(self._lines.running)
        elif call is not None and call.name:  # only the first piece of a call names it
            self._wait("" if self._lines.asks else visible(call.name))

    def _wait(self, what: str | None) -> None:
        """Show that *what* is waited for; with None, nothing is."""
        if self._status is not None:
            if what is None:
                self._status.end()
            else:
                self._status.begin(what)

    def _make_room(self) -> None:
        if self._beside:
            self._paper.make_room()

    def _fitting(self, line: str) -> str:
        """Give *line*, or what of it has room in a line of the terminal."""
        from rich.cells import cell_len, set_cell_size

        room = window(self._streams[1])[0] - 1
        return line if cell_len(line) <= room else set_cell_size(line, max(1, room - 1)).rstrip() + "…"

    def _step_aside(self, stream: TextIO, text: str) -> None:
        """Write what somebody else has for the terminal above what is being drawn."""
        with self._lock:
            if self._status is not None:
                self._status.erase()
            if self._beside or stream is self._streams[0]:
                self._paper.step_aside()
            stream.write(text)
            self._free = text.endswith("\n") if text else self._free
            if not self._free:
                self._echo.on()  # it may be a question

    def _typed(self, read: Callable[[], str]) -> str:
        """Read what a tool asks a person for, while nothing moves."""
        with self._lock:
            if self._status is not None:
                self._status.erase()
            self._free = False
            self._echo.on()
        text = read()
        self._free = True  # the key that ended the line began another
        return text

    def _paint(self) -> None:
        self._paper.prepare()
        pause = _PAUSE
        while not self._over.wait(pause):
            began = monotonic()
            with self._lock:
                try:
                    self._draw()
                except Exception as error:  # told in the thread that feeds it
                    self._failed = error
                    return
            pause = max(_PAUSE, _SHARE * (monotonic() - began))

    def _draw(self) -> None:
        if self._free:
            self._echo.off()
            self._paper.draw()
            if self._status is not None and (self._paper.blank or not self._beside):
                self._status.turn()


def _status(err: TextIO) -> Status:
    return Status(lambda text: write(text, err), lambda: window(err)[0], dim=styled())


def _aside(stream: Any, write_above: Callable[[TextIO, str], None]) -> Any:
    return _Aside(stream, write_above) if is_terminal(stream) else stream


class _Aside(io.TextIOBase):
    """Be standard output or standard error while something is drawn there: what a tool prints goes above that."""

    def __init__(self, stream: TextIO, write_above: Callable[[TextIO, str], None]) -> None:
        self._stream = stream
        self._write_above = write_above

    def write(self, text: str) -> int:
        self._write_above(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Keys(io.TextIOBase):
    """Be standard input while something is drawn. It has no descriptor, so that input() asks by standard output."""

    def __init__(self, stream: TextIO, typed: Callable[[Callable[[], str]], str]) -> None:
        self._stream = stream
        self._typed = typed

    def read(self, size: int | None = -1) -> str:
        return self._typed(lambda: self._stream.read(-1 if size is None else size))

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        return self._typed(lambda: self._stream.readline(size))

    def isatty(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
