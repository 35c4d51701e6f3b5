"""How a command ended in, its message and exit code out."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

from promptstream.cli.render import write_event
from promptstream.cli.terminal import prepare, tell
from promptstream.errors import ApprovalPending, MissingKey, MissingVariable, PromptStreamError

FAILED = 1
BROKEN_OFF = 3
WAITING = 4
INTERRUPTED = 130
NO_READER = 141

_SPELLED_HERE = (
    ("give api_key=… or set", "keep one by promptstream config set-key, or set"),
    ("name one with provider=… and api_key=…", "keep a key by promptstream config set-key PROVIDER"),
    ("point base_url=… at a server", "point --base-url at a server"),
    ("(provider='ollama', model=…)", "(-p ollama)"),
)
"""How errors of missing keys name what can be given, and what that is on the command line."""
_ROOT = re.compile(r"[.\[]")

EXIT_CODES = """\b
Exit codes:
  0    the whole answer was printed
  1    an error of setup, pack or provider; no text came
  2    wrong usage
  3    the answer broke off after some of its text
  4    calls of tools wait for a decision
  130  stopped by Ctrl-C
  141  whoever read standard output went away
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
    tell(f"Error: {_told(error)}")


def _told(error: PromptStreamError) -> str:
    """Give the text of *error*; where variables or a key are missing, with what gives them on the command line."""
    if isinstance(error, MissingKey):
        told = str(error)
        for ours, here in _SPELLED_HERE:
            told = told.replace(ours, here)
        return told
    text, give, _ = str(error).rpartition(" Give variables={")
    if not isinstance(error, MissingVariable) or not give:
        return str(error)
    names = dict.fromkeys(_ROOT.split(name)[0] for name in error.problems)
    return f"{text} Give {' '.join(f'--var {name}=…' for name in names)}."


@contextmanager
def exiting(*, events: bool = False) -> Iterator[None]:
    """Run a command's body and turn the way it ends into an exit code, without a traceback.

    Raises:
        click.exceptions.Exit: it failed, was stopped, or nobody reads its output any more.
    """
    prepare()
    code = 0
    try:
        try:
            yield
        except PromptStreamError as error:
            code = exit_code(error)
            report(error, events=events)
    except KeyboardInterrupt:
        code = INTERRUPTED
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends it at once, without a word
    except BrokenPipeError:
        code = NO_READER
    if code:
        raise click.exceptions.Exit(code)
