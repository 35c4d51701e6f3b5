"""Lines a person types, or a pipe gives, in; an answer to each out, until they leave."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

from promptstream.cli.endings import report
from promptstream.cli.terminal import is_terminal, tell, write
from promptstream.errors import PromptStreamError

LEAVING = ("quit", "exit")


def chat(answer: Callable[[str], None], *, events: bool) -> None:
    """Answer one line after the other. On a terminal Ctrl-C stops an answer, and an error is told; both go on.

    With piped input either one ends the chat, so that no later answer rests on one that is missing.

    Raises:
        KeyboardInterrupt: Ctrl-C at the prompt, or with piped input.
        PromptStreamError: an answer is not whole, with piped input.
    """
    interactive = is_terminal(sys.stdin)
    labelled = interactive and is_terminal(sys.stdout) and not events
    if interactive:
        tell("Type quit or press Ctrl-D to leave; Ctrl-C stops an answer.", dim=True)
        _edit_lines()
    while (message := _next_line(interactive, labelled)) is not None:
        if not message:
            continue
        if labelled:
            write("Assistant: ")
        try:
            answer(message)
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


def _edit_lines() -> None:
    with suppress(ImportError):
        import readline  # noqa: F401 - input() edits lines and remembers them where it is loaded


def _next_line(interactive: bool, labelled: bool) -> str | None:
    """Give the next line without the space around it, or None where there is none or the person leaves."""
    try:
        if labelled:
            line = input("You: ")
        else:
            if interactive:
                sys.stderr.write("You: ")
                sys.stderr.flush()
            line = sys.stdin.readline() if sys.stdin is not None else ""
            if not line:
                raise EOFError
    except (EOFError, KeyboardInterrupt) as left:
        if interactive:
            tell("")
        if isinstance(left, KeyboardInterrupt):
            raise
        return None
    message = line.strip()
    return None if message.lower() in LEAVING else message
