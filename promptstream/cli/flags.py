"""What every command with an answer takes from the command line in, its flags as one value out."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import click

from promptstream.cli.endings import exiting
from promptstream.cli.terminal import is_terminal, readable

Command = Callable[..., None]


@attrs.frozen(eq=False)
class Flags:
    """Hold the flags that every command with an answer takes."""

    provider: str | None = None
    model: str | None = None
    base_url: str | None = None
    variables: Mapping[str, str] = attrs.field(factory=dict)
    timeout: float | None = None
    tools: tuple[str, ...] = ()
    """Paths of Python files."""
    yes: bool = False
    save: str | None = None
    resume: str | None = None
    stats: bool = False
    events: bool = False

    @property
    def talkative(self) -> bool:
        """True where a person watches: standard error is a terminal, or figures were asked for."""
        return self.stats or is_terminal(sys.stderr)

    @property
    def kept(self) -> str | None:
        """The name that the conversation is kept under; None where it is not."""
        return self.resume if self.save is None else self.save


def _variables(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    variables = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (equals and name.strip()):
            raise click.BadParameter(f"{each!r} is not name=value.")
        variables[name.strip()] = readable(value)
    return variables


def _seconds(context: click.Context, option: click.Parameter, given: float | None) -> float | None:
    if given is not None and not 0 < given < math.inf:
        raise click.BadParameter(f"{given:g} is not a number of seconds above 0.")
    return given


def text_of(context: click.Context, option: click.Parameter, given: str | None) -> str | None:
    """Give an option's text with what the locale could not read; None where it was not given."""
    return None if given is None else readable(given)


_FLAGS = (
    click.option("-p", "--provider", metavar="NAME", help="Which provider to ask; else the one that is configured."),
    click.option("-m", "--model", metavar="NAME", help="Which model to ask."),
    click.option("--base-url", metavar="URL", help="Where the provider's API is; alone, an OpenAI-compatible server."),
    click.option("--var", "variables", metavar="NAME=VALUE", multiple=True, callback=_variables,
                 help="A variable of the prompt; may be repeated."),
    click.option("--timeout", type=float, metavar="SECONDS", callback=_seconds, help="How long an answer may take."),
    click.option("--tools", metavar="FILE.py", multiple=True, type=click.Path(),
                 help="A Python file whose @promptstream.tool functions the model may call; may be repeated."),
    click.option("--yes", is_flag=True, help="Run the tools of --tools without asking."),
    click.option("--save", metavar="NAME", callback=text_of, help="Keep the conversation under this new name."),
    click.option("--resume", metavar="NAME", callback=text_of, help="Go on with the conversation of this name."),
    click.option("--stats", is_flag=True, help="Tell times, tokens and cost on standard error."),
    click.option("--json", "events", is_flag=True, help="Print one JSON event a line instead of the text."),
)  # fmt: skip


def answering(command: Command) -> Command:
    """Give *command* the flags of every command with an answer, as ``flags``, and its exit codes."""
    names = [field.name for field in attrs.fields(Flags)]

    @functools.wraps(command)
    def run_it(**arguments: Any) -> None:
        flags = Flags(**{name: arguments.pop(name) for name in names})
        if flags.save is not None and flags.resume is not None:
            raise click.UsageError("--save begins a conversation and --resume goes on with one: give one of them.")
        with exiting(events=flags.events):
            command(flags=flags, **arguments)

    for flag in reversed(_FLAGS):
        run_it = flag(run_it)
    return run_it
