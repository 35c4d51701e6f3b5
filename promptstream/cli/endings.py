"""How a command ended in, its message and exit code out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from promptstream.cli.apart import answers_alone
from promptstream.cli.fitting import fitted
from promptstream.cli.render import write_event
from promptstream.cli.spelling import spelled_here
from promptstream.cli.stops import Stops
from promptstream.cli.terminal import prepare, tell
from promptstream.errors import ApprovalPending, PromptStreamError

FAILED = 1
BROKEN_OFF = 3
WAITING = 4
INTERRUPTED = 130
SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a program."""
NO_READER = 141

EXIT_CODES = """\b
Exit codes:
  0    the whole answer was printed
  1    an error of setup, pack or provider; no text came
  2    wrong usage
  3    the answer broke off after some of its text
  4    calls of tools wait for a decision
  129  stopped by SIGHUP, as where the terminal is closed
  130  stopped by Ctrl-C
  141  whoever read standard output went away
  143  stopped by SIGTERM
"""


def exit_code(error: PromptStreamError) -> int:
    """Give the exit code for *error*: whether some text came makes the difference."""
    if isinstance(error, ApprovalPending):
        return WAITING
    return BROKEN_OFF if error.response is not None and error.response.text else FAILED


def report(error: PromptStreamError, *, events: bool) -> None:
    """Tell *error* on standard error, and on standard output as the last event where *events* are printed."""
    if events:
        write_event(error.to_event())
    tell(fitted(f"Error: {spelled_here(error)}"))


@contextmanager
def exiting(*, events: bool = False) -> Iterator[None]:
    """Run a command's body and turn the way it ends into an exit code, without a traceback.

    Raises:
        click.exceptions.Exit: it failed, was stopped, or nobody reads its output any more.
    """
    prepare()
    code = 0
    with Stops() as stops, answers_alone():
        try:
            with _heeding_interrupts():
                try:
                    yield
                except PromptStreamError as error:
                    code = exit_code(error)
                    report(error, events=events)
                except click.Abort as left:
                    if isinstance(left.__context__, KeyboardInterrupt):  # at a question of click's
                        raise left.__context__ from None
                    raise
        except KeyboardInterrupt:
            code = INTERRUPTED
            _set_interrupt(signal.SIG_DFL)  # a second one ends it at once, without a word
        except BrokenPipeError:
            code = NO_READER
        except (click.ClickException, click.exceptions.Exit):
            if not stops.number:  # a terminal that is gone cannot be written to, either
                raise
    if code := SIGNALLED + stops.number if stops.number else code:
        raise click.exceptions.Exit(code)


@contextmanager
def _heeding_interrupts() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, where it has ended the program without a word so far and will do so again."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_DFL:
        yield
        return
    try:
        _set_interrupt(signal.default_int_handler)
        yield
    finally:
        _set_interrupt(signal.SIG_DFL)


def _set_interrupt(handler: Any) -> None:
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, handler)
