"""Lines that a person types, or a pipe gives, in; an answer to each out, until they leave."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import attrs

from promptstream.cli import keeping, slash
from promptstream.cli.asking import Person, clipped, told
from promptstream.cli.echo import typed_early
from promptstream.cli.endings import report
from promptstream.cli.flags import Flags
from promptstream.cli.stops import Stopped
from promptstream.cli.talk import Talk, Undecided
from promptstream.cli.terminal import is_terminal, read_line, tell, write
from promptstream.conversation import Conversation
from promptstream.errors import PromptStreamError
from promptstream.history import user_message
from promptstream.values.message import Message, Text

LEAVING = ("quit", "exit")
_LABEL = "You: "


@attrs.define(eq=False)
class Chat:
    """Hold a talk at a terminal, or with a pipe, and what the person has prepared for their next line."""

    talk: Talk
    interactive: bool
    """True where a person types: there are commands, and what fails ends nothing."""
    unanswered: Message | None = None
    """The last question, where its turn left nothing in the history."""
    draft: str = ""
    """What was typed and not sent; it is offered again."""
    _models: list[str] | None = None

    @property
    def conv(self) -> Conversation:
        """The conversation."""
        return self.talk.conv

    @property
    def flags(self) -> Flags:
        """What the command line said."""
        return self.talk.flags

    @property
    def labelled(self) -> bool:
        """True where who speaks is shown: all that is said stands on one terminal."""
        return self.interactive and is_terminal(sys.stdout) and not self.flags.events

    def models(self) -> list[str]:
        """Give the names of the provider's models, as far as it tells them; it is asked once."""
        if self._models is None:
            self._models = slash.models_of(self)
        return self._models

    def kept_as(self, name: str) -> None:
        """Know that the conversation is kept from now on."""
        self.talk.flags = attrs.evolve(self.flags, save=name)
        first = next((message.text for message in self.conv.messages if message.role == "user"), "")
        if first:
            self.conv.metadata["title"] = keeping.title(first)

    def sure(self, question: str) -> bool:
        """Ask, and tell whether the answer is yes; Ctrl-C, Ctrl-D and nobody are no."""
        person = self.talk.person or Person.present(events=self.flags.events)
        if person is None:
            return False
        try:
            return person.answer(f"{question} [y]es / [n]o: ").lower() in ("y", "yes")
        except Stopped:
            raise
        except (EOFError, KeyboardInterrupt):
            tell("")
            return False

    def say(self, line: str) -> None:
        """Do what a person's line commands, or have it answered.

        Raises:
            slash.Leave: it says so.
        """
        if slash.is_command(line):
            try:
                slash.obey(self, line)
            except PromptStreamError as error:
                report(error, events=False)
            except Stopped:
                raise
            except KeyboardInterrupt:
                tell("[stopped]", dim=True)
            return
        self.ask(line.removeprefix("/") if line.startswith("//") else line)

    def ask(self, text: str) -> None:
        """Have *text* answered, with what is attached."""
        parts, self.talk.parts = self.talk.parts, ()
        self.turn(user_message([text, *parts]))

    def retry(self) -> None:
        """Ask the last question again. Its answer is taken back for that, and stays where no other one comes whole.

        A turn that failed after tools had run goes on from their results: they are not run again.
        """
        if self.unanswered is not None:
            self.turn(self.unanswered)
            return
        if self.conv.resumable and not self._stopped():
            tell("[going on from what the tools gave]", dim=True)
            self.turn(None)
            return
        undone = self.conv.undo()
        if not undone:
            tell("There is no question to ask again.")
            return
        tell(f"[again: {clipped(undone[0].text)}]", dim=True)
        before = self._questions()
        try:
            self.turn(undone[0])
        finally:
            if not (self.conv.pending or (self.conv.last is not None and self.conv.last.complete)):
                self._go_back(undone, begun=self._questions() > before)

    def _go_back(self, undone: Sequence[Message], *, begun: bool) -> None:
        """Have the answer before in the place of one that is not whole, where no tool has run for that."""
        if begun and any(message.role == "tool" for message in self._last_turn()):
            tell("[what the tools gave stays, in the place of the answer before]", dim=True)
            return
        if begun:
            self.conv.undo()
        self.unanswered = None
        self.conv.restore(undone)
        tell("[the answer before stays]", dim=True)

    def _last_turn(self) -> Sequence[Message]:
        messages = self.conv.messages
        return messages[max(place for place, message in enumerate(messages) if message.role == "user") :]

    def _stopped(self) -> bool:
        """Tell whether the last turn was stopped by the person."""
        said = [message for message in self.conv.messages if message.role == "assistant"]
        return bool(said) and said[-1].finish_reason == "cancelled"

    def undo(self) -> None:
        """Take back the last question and what came of it."""
        undone = [self.unanswered] if self.unanswered is not None else self.conv.undo()
        self.unanswered = None
        tell(f"[taken back: {clipped(undone[0].text)}]" if undone else "There is nothing to take back.", dim=True)

    def turn(self, message: Message | None) -> bool:
        """Have *message* answered, and tell whether it is in the history; None goes on from where that was left.

        Raises:
            KeyboardInterrupt: Ctrl-C, with piped input; or the program is to end.
            PromptStreamError: the answer is not whole, with piped input.
            Undecided: calls of tools wait, with piped input.
        """
        before = self._questions()
        self.unanswered = None
        try:
            self.talk.answer(message, "Assistant: " if self.labelled else "")
        except Undecided:
            if not self.interactive:
                raise
            if message is not None and self._questions() == before:
                self._offer_again(message)
        except (KeyboardInterrupt, PromptStreamError) as error:
            if not self.interactive or isinstance(error, Stopped):
                raise
            if message is not None and self._questions() == before:
                self.unanswered = message
            if isinstance(error, PromptStreamError):
                report(error, events=self.flags.events)
            else:
                tell("[stopped]", dim=True)
        if self.labelled:
            write("\n")
        self._take_early()
        return message is None or self._questions() > before

    def _take_early(self) -> None:
        """Offer what was typed before a question, and is no answer to it, at the prompt, with all typed since."""
        person = self.talk.person
        if person is not None and person.early:
            texts = [self.draft, *person.early, typed_early()]
            self.draft = "\n".join(filter(None, map(str.strip, texts)))
            person.early.clear()

    def _questions(self) -> int:
        return sum(message.role == "user" for message in self.conv.messages)

    def _offer_again(self, message: Message) -> None:
        """Give back a message that calls of tools were in the way of."""
        typed, *self.talk.parts = message.parts
        text = typed.text if isinstance(typed, Text) else ""
        self.draft = f"/{text}" if text.startswith("/") else text
        tell(f"[not sent: {clipped(text)}]", dim=True)

    def begin(self) -> None:
        """Tell where a conversation that goes on was left, and have calls decided that still wait."""
        conv = self.conv
        if self.flags.resume is not None and self.interactive and conv.messages:
            tell(f"[{len(conv.messages)} messages so far; /show shows them]", dim=True)
        calls = {call.id: call for message in conv.messages for call in message.tool_calls}
        for result in conv.interrupted:
            call = calls.get(result.call_id)
            what = clipped(told(call)) if call is not None else clipped(result.name)
            tell(f"[{what}: {clipped(result.content)}]")
        if conv.pending:
            self.turn(None)
        elif conv.resumable and self.interactive:
            tell("[the last question has no answer yet: /retry has the model go on]", dim=True)


def chat(talk: Talk) -> None:
    """Answer one line after the other. On a terminal Ctrl-C stops an answer, and an error is told; both go on.

    With piped input either one ends the chat, so that no later answer rests on one that is missing; and a line is
    text, whatever it begins with.

    Raises:
        KeyboardInterrupt: Ctrl-C at the prompt, or with piped input.
        PromptStreamError: an answer is not whole, with piped input.
        Undecided: calls of tools wait, with piped input.
    """
    chat = Chat(talk, is_terminal(sys.stdin))
    if chat.interactive:
        tell("/help lists commands; quit or Ctrl-D leaves; Ctrl-C stops an answer.", dim=True)
    answered = bool(chat.conv.pending)
    chat.begin()
    if chat.labelled and not answered:
        write("\n")  # as after each answer
    read = _reader(chat)
    with suppress(slash.Leave):
        while (line := _next_line(chat, read)) is not None:
            if line and chat.interactive:
                chat.say(line)
            elif line:
                chat.ask(line)


def _reader(chat: Chat) -> Callable[[str], str]:
    """Give what reads a line, with a draft to begin from: with an editor at a terminal, else as it comes."""
    if not chat.interactive:
        return lambda draft: read_line("", editing=False)
    edited = (is_terminal(sys.stdout) or is_terminal(sys.stderr)) and os.environ.get("TERM") not in ("", "dumb")
    if not edited:
        return _plain_lines
    from promptstream.cli.prompt import Prompt

    return Prompt(_LABEL, lambda: chat._models or ()).read


def _plain_lines(draft: str) -> str:
    """Give the next text; a backslash at the end of a line asks for one more."""
    line = read_line(_LABEL, editing=False)
    while slash.goes_on(line):
        line = f"{line[:-1]}\n{read_line(' ' * len(_LABEL), editing=False)}"
    return line


def _next_line(chat: Chat, read: Callable[[str], str]) -> str | None:
    """Give the next line without the space around it, or None where there is none or the person leaves."""
    draft, chat.draft = chat.draft, ""
    try:
        line = read(draft)
    except (EOFError, KeyboardInterrupt) as left:
        if chat.interactive:
            tell("")
        if isinstance(left, KeyboardInterrupt):
            raise
        return None
    message = line.strip()
    return None if message.lower() in LEAVING else message
