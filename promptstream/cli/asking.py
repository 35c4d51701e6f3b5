"""A call of a tool in, what a person at the terminal decides about it out."""

from __future__ import annotations

import json
import sys
from typing import Any

import attrs

from promptstream.cli.echo import typed_early
from promptstream.cli.sanitise import visible
from promptstream.cli.terminal import is_terminal, load_editor, read_line, tell
from promptstream.conversation import Conversation
from promptstream.errors import ToolError
from promptstream.values.message import ToolCall

REFUSED = "the person said no"
UNANSWERED = "the person gave no result"
_CLIPPED = 200
_EDITING = "arguments as JSON (an empty line goes back): "


@attrs.frozen
class Person:
    """Be who sits at the terminal."""

    editing: bool
    """True where lines can be edited, and questions stand on standard output."""
    early: list[str] = attrs.field(factory=list, eq=False)
    """What was typed before a question was on screen: it is no answer to it."""

    @classmethod
    def present(cls, *, events: bool) -> Person | None:
        """Give the person who can read a question and type an answer, or None where nobody can."""
        shown = is_terminal(sys.stdout)
        if not is_terminal(sys.stdin) or not (shown or is_terminal(sys.stderr)):
            return None
        editing = shown and not events
        if editing:
            load_editor()
        return cls(editing)

    def answer(self, question: str, prefill: str = "") -> str:
        """Give what is typed in answer, without the space around it; nothing that was typed before counts.

        Raises:
            EOFError: Ctrl-D was pressed instead; KeyboardInterrupt: Ctrl-C.
        """
        while text := typed_early():
            if text.strip():
                self.early.append(text)
                tell(f"[typed before this was asked, and no answer to it: {clipped(text)}]", dim=True)
        return read_line(question, editing=self.editing, prefill=prefill).strip()


def told(call: ToolCall) -> str:
    """Give a call as one line, with nothing left out and nothing that steers a terminal: name(argument="value")."""
    if call.arguments is None:
        return f"{_json(call.name)[1:-1]}({_json(call.raw_arguments)[1:-1]})"
    arguments = ", ".join(f"{_json(key)[1:-1]}={_json(value)}" for key, value in call.arguments.items())
    return f"{_json(call.name)[1:-1]}({arguments})"


def clipped(line: str) -> str:
    """Give *line*, or what of it suits a remark in passing."""
    line = " ".join(line.split())
    return line if len(line) <= _CLIPPED else line[: _CLIPPED - 1] + "…"


def decide(conv: Conversation, call: ToolCall, person: Person, *, runnable: bool, elsewhere: bool) -> bool:
    """Have *person* say what becomes of a pending call, and tell whether it will run.

    *elsewhere* says that there was code for it when it was made, and is none here.

    Raises:
        EOFError, KeyboardInterrupt: they left the question; the call is still pending.
        StateError: the decision cannot be saved.
    """
    line = told(call)
    if len(line) > _CLIPPED:
        tell(line)
        line = clipped(line)
    if runnable:
        return _allow(conv, call, person, f"run {line}? [y]es / [n]o / [e]dit: ")
    if elsewhere:
        tell(f"{call.name}: its code is not here. To run it, leave (Ctrl-D) and come back with --tools FILE.py.")
    result = person.answer(f"result for {line}: ")
    while elsewhere and (not result or result.lower() in ("y", "yes", "n", "no", "e", "edit")):
        tell("Type what it gave, as the model is to read it, or leave it waiting by Ctrl-D.")
        result = person.answer(f"result for {line}: ")
    if result:
        conv.submit(call.id, result)
    else:
        conv.reject(call.id, UNANSWERED)
    return False


def _allow(conv: Conversation, call: ToolCall, person: Person, question: str) -> bool:
    while True:
        word, _, reason = person.answer(question).partition(" ")
        word = word.lower()
        if word in ("n", "no"):
            conv.reject(call.id, reason.strip() or REFUSED)
            return False
        if word in ("y", "yes") and not reason:
            if _approved(conv, call, None):
                return True
        elif word in ("e", "edit") and not reason:
            if _edited(conv, call, person):
                return True
        else:
            tell("Type y, n or e; n may be followed by a reason, which the model is told.")


def _edited(conv: Conversation, call: ToolCall, person: Person) -> bool:
    """Have the arguments changed until they are valid, and approve the call with them; False where that is given up."""
    text = _json(call.arguments or {})
    if not person.editing:
        tell(text)
    while text := person.answer(_EDITING, prefill=text):
        try:
            arguments = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            tell(f"That is no JSON: {error}")
            continue
        if not isinstance(arguments, dict):
            tell('The arguments are a JSON object: {"name": value, …}')
        elif _approved(conv, call, arguments):
            return True
    return False


def _approved(conv: Conversation, call: ToolCall, arguments: dict[str, Any] | None) -> bool:
    try:
        conv.approve(call.id, arguments=arguments)
    except ToolError as error:  # the arguments are not valid
        tell(str(error))
        return False
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not in JSON.")


def _json(value: Any) -> str:
    return visible(json.dumps(value, ensure_ascii=False))
