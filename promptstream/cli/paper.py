"""An answer's text in, as it comes; what a reader of standard output sees of it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TextIO

from promptstream.cli.sanitise import Sanitiser
from promptstream.cli.terminal import window, write

if TYPE_CHECKING:
    from promptstream.cli.blocks import Blocks
    from promptstream.cli.markdown import Renderer
    from promptstream.cli.region import Region


class Paper(Protocol):
    """Hold what an answer is written on. Not for several threads at once."""

    def prepare(self) -> None:
        """Make ready what takes a while; in any thread, while nothing else is called but :meth:`put`."""

    @property
    def blank(self) -> bool:
        """True where a line for something else can begin."""

    def put(self, text: str) -> None:
        """Take more of the answer."""

    def draw(self) -> None:
        """Show what was taken."""

    def make_room(self) -> None:
        """Begin a line for something else; what there is by now is finished."""

    def step_aside(self) -> None:
        """Let something be written that nobody announced."""

    def end(self) -> None:
        """Show all of it, and end the line if one was begun."""


class PlainText:
    """Put the text after a label on standard output as it is, and know where its line stands."""

    def __init__(self, label: str, out: TextIO | None) -> None:
        self._sanitiser = Sanitiser()
        self._out = out
        self._last = "\n"
        self._label = label
        self._bare = False
        """True while the label is all there is."""
        self._due = bool(label)

    def prepare(self) -> None:
        """Be ready as it is."""

    @property
    def blank(self) -> bool:
        """True where a line for something else can begin."""
        return self._last == "\n"

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

    def draw(self) -> None:
        """Do nothing: it stands there already."""

    def make_room(self) -> None:
        """Begin a line for something else; a label without text is taken back until there is some."""
        if self._bare:
            self._bare, self._due = False, True
            self._put(f"\r{' ' * len(self._label)}\r")
            self._last = "\n"
        else:
            self.end()

    def step_aside(self) -> None:
        """Do nothing: what is written goes where the text stands."""

    def end(self) -> None:
        """End the line, if one was begun."""
        self._put(self._sanitiser.flush())
        self._put("" if self._last == "\n" else "\n")

    def _put(self, text: str) -> None:
        self._last = text[-1:] or self._last  # first, for Ctrl-C may strike once it is written
        write(text, self._out)


class LiveMarkdown:
    """Show Markdown on a terminal while it comes: what is finished for good, the rest until it changes.

    So an answer may be longer than the window, and all of it can be scrolled back to.
    """

    def __init__(self, label: str, out: TextIO) -> None:
        self._sanitiser = Sanitiser()
        self._label = label
        self._out = out
        self._taken: list[str] = []
        """What was put since it was last drawn."""
        self._drawing: tuple[Blocks, Renderer, Region] | None = None
        self._width = 0

    def prepare(self) -> None:
        """Load what it takes to show Markdown."""
        self._open()

    @property
    def blank(self) -> bool:
        """True where nothing unfinished is shown or waits to be."""
        return not self._taken and (self._drawing is None or self._drawing[2].blank)

    def put(self, text: str) -> None:
        """Take more of the answer; :meth:`draw` shows it."""
        self._taken.append(text)

    def draw(self) -> None:
        """Show what there is by now."""
        columns = window(self._out)[0]
        if self._taken or (columns != self._width and not self.blank):
            blocks, renderer, region = self._open()
            taken, self._taken = self._taken, []
            blocks.feed(self._sanitiser.feed("".join(taken)))
            done = self._finished(blocks, renderer, columns)
            live: list[str] = []
            for piece in blocks.rest():
                live += renderer.lines(piece, columns - 1, label=self._label if not live else "", last=True)
            region.draw(done, live)
            self._width = columns

    def make_room(self) -> None:
        """Finish what there is by now; what follows is read on its own."""
        if self._drawing is None and not self._taken:
            return
        blocks, renderer, region = self._open()
        taken, self._taken = self._taken, []
        blocks.feed(self._sanitiser.feed("".join(taken)) + self._sanitiser.flush())
        region.draw(self._finished(blocks, renderer, window(self._out)[0], final=True), [])
        self._drawing = None

    def step_aside(self) -> None:
        """Take away what is not finished; it is drawn anew below what comes."""
        if self._drawing is not None:
            self._drawing[2].erase()
            self._width = 0

    def end(self) -> None:
        """Finish it."""
        self.make_room()

    def _finished(self, blocks: Blocks, renderer: Renderer, columns: int, *, final: bool = False) -> list[str]:
        lines: list[str] = []
        for piece in blocks.take(final=final):
            lines += renderer.lines(piece, columns - 1, label=self._label)
            self._label = ""
        return lines

    def _open(self) -> tuple[Blocks, Renderer, Region]:
        if self._drawing is None:
            from promptstream.cli.blocks import Blocks
            from promptstream.cli.markdown import Renderer
            from promptstream.cli.region import Region

            self._drawing = (
                Blocks(),
                Renderer(),
                Region(lambda text: write(text, self._out), lambda: window(self._out)),
            )
        return self._drawing
