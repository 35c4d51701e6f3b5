"""Lines a person types, or a pipe gives, in; an answer to each out, until they leave."""

from __future__ import annotations

import sys
from collections.abc import Callable

from promptstream.cli.endings import report
from promptstream.cli.talk import Undecided
from promptstream.cli.terminal import is_terminal, read_line, tell, write
from promptstream.errors import PromptStreamError

LEAVING = ("quit", "exit")
Answer = Callable[[str | None, str], None]
"""Prints the answer to a line after a label; to None, what goes on from where the chat was left."""


def chat(answer: Answer, *, events: bool, waiting: bool = False) -> None:
    """Answer one line after the other. On a terminal Ctrl-C stops an answer, and an error is told; both go on.

    With piped input either one ends the chat, so that no later answer rests on one that is missing.

    Args:
        waiting: calls of tools wait since last time; they come before the first line.

    Raises:
        KeyboardInterrupt: Ctrl-C at the prompt, or with piped input.
        PromptStreamError: an answer is not whole, with piped input.
        Undecided: calls of tools wait, with piped input.
    """
    interactive = is_terminal(sys.stdin)
    labelled = interactive and is_terminal(sys.stdout) and not events
    if interactive:
        tell("Type quit or press Ctrl-D to leave; Ctrl-C stops an answer.", dim=True)
    if waiting:
        _turn(answer, None, interactive, labelled, events)
    while (message := _next_line(interactive, labelled)) is not None:
        if message:
            _turn(answer, message, interactive, labelled, events)


def _turn(answer: Answer, message: str | None, interactive: bool, labelled: bool, events: bool) -> None:
    try:
        answer(message, "Assistant: " if labelled else "")
    except Undecided:
        if not interactive:
            raise
    except KeyboardInterrupt:
        if not interactive:
            raise
        tell("[stopped]", dim=True)
    except PromptStreamError as error:
        if not interactive:
            raise
        report(error, events=events)
    if labelled:
        write("\n")


def _next_line(interactive: bool, labelled: bool) -> str | None:
    """Give the next line without the space around it, or None where there is none or the person leaves."""
    try:
        line = read_line("You: " if interactive else "", editing=labelled)
    except (EOFError, KeyboardInterrupt) as left:
        if interactive:
            tell("")
        if isinstance(left, KeyboardInterrupt):
            raise
        return None
    message = line.strip()
    return None if message.lower() in LEAVING else message
