"""The command line: arguments in, calls of the library out."""

from __future__ import annotations

import sys

import click

from promptstream._version import __version__
from promptstream.cli.endings import EXIT_CODES, exiting
from promptstream.cli.flags import Flags, answering, text_of
from promptstream.cli.history import history
from promptstream.cli.opening import open_talk
from promptstream.cli.pack import packs
from promptstream.cli.terminal import is_terminal, readable, tell, write


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, message="promptstream %(version)s")
def root() -> None:
    """Stream an LLM's answer to the terminal, or into a pipe."""


root.add_command(packs)
root.add_command(history)


@root.command(epilog=EXIT_CODES)
@click.argument("pack", type=click.Path())
@click.argument("prompt")
@click.argument("message", required=False)
@answering
def run(pack: str, prompt: str, message: str | None, flags: Flags) -> None:
    """Answer a message by a prompt of a pack.

    PACK is the path of a pack file, PROMPT one of its prompts. Without MESSAGE, what is piped in is answered.

    \b
    Example:
      promptstream run weather.pack.json report "How is Oslo?" --tools weather.py
    """
    said = _said(message, flags)
    with open_talk(flags, pack=pack, prompt=prompt) as talk:
        talk.answer(said)


@root.command(epilog=EXIT_CODES)
@click.argument("message", required=False)
@click.option("--system", default="", metavar="TEXT", callback=text_of, help="What the model should be and do.")
@answering
def ask(message: str | None, system: str, flags: Flags) -> None:
    """Answer a message, without a pack.

    Without MESSAGE, what is piped in is answered; "-" reads standard input in any case.

    \b
    Examples:
      promptstream ask "How is Oslo?" --tools weather.py --save oslo
      promptstream ask "And Bergen?" --resume oslo
    """
    _check_system(system, flags)
    said = _said(message, flags)
    with open_talk(flags, system=system) as talk:
        talk.answer(said)


@root.command(epilog=EXIT_CODES)
@click.argument("pack", type=click.Path(), required=False)
@click.argument("prompt", required=False)
@click.option("--system", default="", metavar="TEXT", callback=text_of, help="What the model should be and do.")
@answering
def chat(pack: str | None, prompt: str | None, system: str, flags: Flags) -> None:
    """Talk, a line at a time.

    Each line is a turn. "quit", "exit" or Ctrl-D leaves; Ctrl-C stops an answer, and leaves at the prompt.
    With piped input each line is answered in turn, and the first failure ends the chat.

    At a terminal you are asked about each call of a tool: whether it may run, or, for a tool that only the pack
    knows, for its result. With piped input, calls that need somebody's word end the chat.

    \b
    Examples:
      promptstream chat weather.pack.json --tools weather.py --save oslo
      promptstream chat --resume oslo
    """
    from promptstream.cli.chat import chat as converse

    if pack is not None and system:
        raise click.UsageError("--system is for a chat without a PACK.")
    _check_system(system, flags)
    with open_talk(flags, pack=pack, prompt=prompt, system=system, lasting=True) as talk:
        converse(talk.answer, events=flags.events, waiting=bool(talk.conv.pending))
        talk.leave()


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


def _check_system(system: str, flags: Flags) -> None:
    if system and flags.resume is not None:
        raise click.UsageError("--system is kept with a conversation: leave it out with --resume.")


def _said(message: str | None, flags: Flags) -> str | None:
    """Give the message, from standard input where it is "-" or left out; None where a kept conversation goes on."""
    on_terminal = sys.stdin is None or is_terminal(sys.stdin)
    if message is None and on_terminal and flags.resume is None:
        raise click.UsageError("There is no message: give MESSAGE, or pipe one in.")
    if message == "-" or (message is None and not on_terminal):
        given, message = message, sys.stdin.read() if sys.stdin is not None else ""
        if given is None and not message.strip() and flags.resume is not None:
            return None
    if message is None:
        return None
    if not message.strip():
        raise click.UsageError("The message is empty.")
    return readable(message).rstrip("\r\n")
