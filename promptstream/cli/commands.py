"""The command line: arguments in, calls of the library out."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import click

from promptstream._version import __version__
from promptstream.cli.endings import EXIT_CODES, exiting
from promptstream.cli.opening import Flags, open_conversation
from promptstream.cli.render import show_events, show_text, tell_ending
from promptstream.cli.terminal import is_terminal, readable, tell, write
from promptstream.conversation import Conversation
from promptstream.errors import PromptStreamError

Command = Callable[..., None]


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, message="promptstream %(version)s")
def root() -> None:
    """Stream an LLM's answer to the terminal, or into a pipe."""


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


def _text(context: click.Context, option: click.Parameter, given: str | None) -> str | None:
    return None if given is None else readable(given)


_FLAGS = (
    click.option("-p", "--provider", metavar="NAME", help="Which provider to ask; else the one that is configured."),
    click.option("-m", "--model", metavar="NAME", help="Which model to ask."),
    click.option("--base-url", metavar="URL", help="Where the provider's API is; alone, an OpenAI-compatible server."),
    click.option("--var", "variables", metavar="NAME=VALUE", multiple=True, callback=_variables,
                 help="A variable of the prompt; may be repeated."),
    click.option("--timeout", type=float, metavar="SECONDS", callback=_seconds, help="How long an answer may take."),
    click.option("--stats", is_flag=True, help="Tell times, tokens and cost on standard error."),
    click.option("--json", "events", is_flag=True, help="Print one JSON event a line instead of the text."),
)  # fmt: skip


def answering(command: Command) -> Command:
    """Give *command* the flags of every command with an answer, as ``flags``, and its exit codes."""

    @functools.wraps(command)
    def run_it(
        provider: str | None,
        model: str | None,
        base_url: str | None,
        variables: dict[str, str],
        timeout: float | None,
        stats: bool,
        events: bool,
        **arguments: Any,
    ) -> None:
        flags = Flags(provider, model, base_url, variables, timeout, stats, events)
        with exiting(events=events):
            command(flags=flags, **arguments)

    for flag in reversed(_FLAGS):
        run_it = flag(run_it)
    return run_it


@root.command(epilog=EXIT_CODES)
@click.argument("pack", type=click.Path())
@click.argument("prompt")
@click.argument("message", required=False)
@answering
def run(pack: str, prompt: str, message: str | None, flags: Flags) -> None:
    """Answer a message by a prompt of a pack.

    PACK is the path of a pack file, PROMPT one of its prompts. Without MESSAGE, what is piped in is answered.
    """
    said = _said(message)
    with open_conversation(flags, pack=pack, prompt=prompt) as conv:
        answer(conv, said, flags)


@root.command(epilog=EXIT_CODES)
@click.argument("message", required=False)
@click.option("--system", default="", metavar="TEXT", callback=_text, help="What the model should be and do.")
@answering
def ask(message: str | None, system: str, flags: Flags) -> None:
    """Answer a message, without a pack.

    Without MESSAGE, what is piped in is answered; "-" reads standard input in any case.
    """
    said = _said(message)
    with open_conversation(flags, system=system) as conv:
        answer(conv, said, flags)


@root.command(epilog=EXIT_CODES)
@click.argument("pack", type=click.Path(), required=False)
@click.argument("prompt", required=False)
@click.option("--system", default="", metavar="TEXT", callback=_text, help="What the model should be and do.")
@answering
def chat(pack: str | None, prompt: str | None, system: str, flags: Flags) -> None:
    """Talk, a line at a time.

    Each line is a turn. "quit", "exit" or Ctrl-D leaves; Ctrl-C stops an answer, and leaves at the prompt.
    With piped input each line is answered in turn, and the first failure ends the chat.
    """
    from promptstream.cli.chat import chat as converse

    if pack is not None and system:
        raise click.UsageError("--system is for a chat without a PACK.")
    with open_conversation(flags, pack=pack, prompt=prompt, system=system) as conv:
        converse(lambda said: answer(conv, said, flags), events=flags.events)


@root.group()
def local() -> None:
    """Manage the embedded demo model."""


@local.command("install")
def local_install() -> None:
    """Fetch the embedded model, if it is not there yet."""
    from promptstream.cli.install import install
    from promptstream.providers.local import weights

    with exiting():
        if weights.installed():
            tell(f"Already there: {weights.path()}")
        else:
            install()


@local.command("path")
def local_path() -> None:
    """Print the embedded model's path.

    The exit code is 1 where it is not there yet.
    """
    from promptstream.providers.local import weights

    with exiting():
        write(f"{weights.path()}\n")
        if not weights.installed():
            tell("It is not there yet; fetch it by: promptstream local install")
            raise click.exceptions.Exit(1)


@root.command()
def providers() -> None:
    """List what is configured.

    Shows each provider, whether its key is set, its default model, and which one would be chosen and why.
    The exit code is 1 where none would be.
    """
    from promptstream.cli.overview import show_providers

    with exiting():
        show_providers()


def answer(conv: Conversation, message: str, flags: Flags) -> None:
    """Stream one answer to standard output, and tell on standard error how it ended.

    Raises:
        PromptStreamError: it is not whole.
        KeyboardInterrupt: Ctrl-C was pressed; the conversation keeps what had come.
        BrokenPipeError: nobody reads it.
    """
    stream = conv.stream(message)
    try:
        (show_events if flags.events else show_text)(stream)
    except (PromptStreamError, KeyboardInterrupt):
        tell_ending(stream.response, stats=flags.stats)
        raise
    tell_ending(stream.response, stats=flags.stats)


def _said(message: str | None) -> str:
    """Give the message, from standard input where it is "-" or left out."""
    if message is None and (sys.stdin is None or is_terminal(sys.stdin)):
        raise click.UsageError("There is no message: give MESSAGE, or pipe one in.")
    if message is None or message == "-":
        message = sys.stdin.read() if sys.stdin is not None else ""
    if not message.strip():
        raise click.UsageError("The message is empty.")
    return readable(message).rstrip("\r\n")
