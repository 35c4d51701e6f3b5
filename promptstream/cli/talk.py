"""A message in, its answer on standard output, with all that the tools it calls need from a person on the way."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

import attrs
import click

from promptstream.cli.asking import Person, clipped, decide, told
from promptstream.cli.endings import INTERRUPTED, WAITING
from promptstream.cli.flags import Flags
from promptstream.cli.keeping import title
from promptstream.cli.render import ToolLines, show_events, show_text, tell_ending
from promptstream.cli.stops import Stopped
from promptstream.cli.terminal import check_output, is_terminal, tell
from promptstream.conversation import Conversation
from promptstream.errors import ApprovalPending, PromptStreamError
from promptstream.stream import Stream
from promptstream.values.message import Message, Part


class Undecided(click.exceptions.Exit):
    """Leave, for calls wait that nobody here decides about; which, has been told."""


@attrs.define(eq=False)
class Talk:
    """Hold a conversation, and who decides about the calls of its tools. A context manager: it closes both."""

    conv: Conversation
    flags: Flags
    person: Person | None = None
    """None where nobody can be asked."""
    runnable: frozenset[str] = frozenset()
    """The names of the tools with code here."""
    lasting: bool = False
    """True where a call that is left undecided is asked about again, as in a chat at a terminal."""
    parts: Sequence[Part] = ()
    """What goes with the next message: images, documents, texts."""
    _lines: ToolLines = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._lines = ToolLines(asks=self.person is not None and not self.flags.yes)

    def answer(self, message: str | Message | None, label: str = "") -> None:
        """Stream the answer to *message*, or go on from where it was left, until no call of a tool waits.

        Raises:
            PromptStreamError: it is not whole.
            Undecided: calls wait, and stay pending.
            KeyboardInterrupt: Ctrl-C was pressed; the conversation keeps what had come.
            BrokenPipeError: nobody reads it.
            click.ClickException: it has nowhere to go; nothing is asked.
        """
        conv = self.conv
        check_output()
        if message is None:
            self._decide()
            stream = conv.resume()
        else:
            said = [message, *self.parts] if self.parts and isinstance(message, str) else message
            try:
                stream = conv.stream(said)
            except ApprovalPending:  # calls that an earlier turn left
                self._decide()
                self._show(conv.resume(), label)
                self._settle(label)
                stream = conv.stream(said)
            self.parts = ()
            if self.flags.kept is not None and not conv.messages:
                conv.metadata["title"] = title(message if isinstance(message, str) else message.text)
        self._show(stream, label)
        self._settle(label)

    def _settle(self, label: str) -> None:
        while self.conv.pending:
            self._decide()
            self._show(self.conv.resume(), label)

    def _show(self, stream: Stream, label: str) -> None:
        flags = self.flags
        try:
            if flags.events:
                show_events(stream)
            else:
                show_text(stream, self._lines, label, plain=flags.plain, reasoning_view=flags.reasoning_view)
        except (PromptStreamError, KeyboardInterrupt) as error:
            tell_ending(stream.response, stats=flags.stats, line=flags.stats_line)
            if isinstance(error, KeyboardInterrupt) and not self.lasting and is_terminal(sys.stderr):
                tell("[stopped]", dim=True)
            raise
        tell_ending(stream.response, stats=flags.stats, line=flags.stats_line)

    def _decide(self) -> None:
        """Have every pending call decided; what is decided is kept at once."""
        calls = self.conv.pending
        self._lines.begin(calls)
        for call in calls:
            runnable = call.name in self.runnable
            if self.flags.yes and runnable:
                tell(f"→ {clipped(told(call))}", dim=True)
                self.conv.approve(call.id)
                continue
            if self.person is None:
                continue
            try:
                elsewhere = not runnable and call.id not in self.conv.client_side
                if not decide(self.conv, call, self.person, runnable=runnable, elsewhere=elsewhere):
                    self._lines.silence(call.id)
            except Stopped:
                tell("")
                self.lasting = False
                self._tell_waiting()
                raise
            except (KeyboardInterrupt, EOFError) as left:
                tell("")
                raise self._undecided(INTERRUPTED if isinstance(left, KeyboardInterrupt) else WAITING) from None
        if self.conv.pending:
            raise self._undecided(WAITING)

    def leave(self) -> None:
        """Tell of calls that are left undecided.

        Raises:
            Undecided: there are some.
        """
        self.lasting = False
        if self.conv.pending:
            raise self._undecided(WAITING)

    def _undecided(self, code: int) -> Undecided:
        self._tell_waiting()
        return Undecided(code)

    def _tell_waiting(self) -> None:
        waiting = "; ".join(clipped(told(call)) for call in self.conv.pending)
        name = self.flags.kept
        if self.lasting:
            tell(f"[not decided: {waiting}; you are asked again with your next line]", dim=True)
        elif name is None:
            tell(
                f"Calls wait for a decision: {waiting}. At a terminal you are asked; --save NAME keeps them until then."
            )
        else:
            files = "".join(f" --tools {shlex.quote(file)}" for file in self.flags.tools)
            tell(
                f"Calls wait for a decision: {waiting}. They are kept; decide them at a terminal by: "
                f"promptstream chat --resume {shlex.quote(name)}{files}"
            )

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.conv.close()
