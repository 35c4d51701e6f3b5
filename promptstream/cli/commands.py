"""The command line: arguments in, calls of the library out."""

from __future__ import annotations

import click

from promptstream._version import __version__
from promptstream.cli import completion
from promptstream.cli.attach import attachments
from promptstream.cli.batch import batch
from promptstream.cli.config import config
from promptstream.cli.endings import EXIT_CODES, exiting
from promptstream.cli.flags import SYSTEM, Flags, answering
from promptstream.cli.history import history
from promptstream.cli.models import models
from promptstream.cli.opening import open_talk
from promptstream.cli.pack import packs
from promptstream.cli.piped import said
from promptstream.cli.replay import replay
from promptstream.cli.sections import Root
from promptstream.cli.serve import serve
from promptstream.cli.terminal import tell, write

_SECTIONS = {
    "Ask": ("ask", "chat", "run", "batch"),
    "Look": ("providers", "models", "pack", "history"),
    "Serve and replay": ("serve", "replay"),
    "Set up": ("config", "local", "completion"),
}


@click.group(cls=Root, sections=_SECTIONS, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, message="promptstream %(version)s", help="Show the version and exit.")
def root() -> None:
    """Stream an LLM's answer to the terminal, or into a pipe.

    The provider is the one that is named (--provider, a pack, PROMPTSTREAM_PROVIDER, the config file), else the first
    whose key is in the environment or the config file, else an Ollama on this machine, else the embedded demo model.

    \b
    Examples:
      promptstream ask "Why is the sky blue?"
      cat error.log | promptstream ask "What went wrong here?"
      promptstream chat --save talk
      promptstream config set-key openai
    """


@root.command(epilog=EXIT_CODES)
@click.argument("pack", type=click.Path())
@click.argument("prompt", shell_complete=completion.of_prompts)
@click.argument("message", required=False)
@answering
def run(pack: str, prompt: str, message: str | None, flags: Flags) -> None:
    """Answer a message by a prompt of a pack.

    PACK is the path of a pack file, PROMPT one of its prompts. What is piped in follows MESSAGE, and is the message
    where there is none.

    \b
    Examples:
      promptstream run weather.pack.json report "How is Oslo?" --tools weather.py
      git diff | promptstream run review.pack.json strict "Look at the locks."
    """
    told = said(message, flags)
    with open_talk(flags, pack=pack, prompt=prompt, parts=told.parts) as talk:
        talk.answer(told.text)


@root.command(epilog=EXIT_CODES)
@click.argument("message", required=False)
@SYSTEM
@answering
def ask(message: str | None, system: str | None, flags: Flags) -> None:
    """Answer a message, without a pack.

    What is piped in follows MESSAGE, and is the message where there is none, or "-". A pipe is waited for; in a script
    or a loop where nothing is meant to be piped in, add: < /dev/null

    \b
    Examples:
      cat report.txt | promptstream ask "Summarise this in three lines."
      promptstream ask "What is on this picture?" --attach photo.jpg
      promptstream ask "How is Oslo?" --tools weather.py --save oslo
      promptstream ask "And Bergen?" --resume oslo
    """
    _check_system(system, flags)
    told = said(message, flags)
    with open_talk(flags, system=system, parts=told.parts) as talk:
        talk.answer(told.text)


@root.command(epilog=EXIT_CODES)
@click.argument("pack", type=click.Path(), required=False)
@click.argument("prompt", required=False, shell_complete=completion.of_prompts)
@SYSTEM
@answering
def chat(pack: str | None, prompt: str | None, system: str | None, flags: Flags) -> None:
    """Talk, a line at a time.

    Each line is a turn. "quit", "exit" or Ctrl-D leaves; Ctrl-C stops an answer, and leaves at an empty prompt.
    At a terminal /help lists commands (/model, /retry, /save, ...) and keys: Alt-Enter begins a new line.

    With piped input each line is answered in turn, and the first failure ends the chat. What --attach names goes with
    the first line.

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
    if "-" in flags.attach:
        raise click.UsageError("--attach - is not for a chat: standard input is what you say.")
    _check_system(system, flags)
    parts = attachments(flags.attach)
    with open_talk(flags, pack=pack, prompt=prompt, system=system, parts=parts, lasting=True) as talk:
        converse(talk)
        talk.leave()


@root.group()
def local() -> None:
    """Manage the embedded demo model.

    \b
    Example:
      promptstream local install
    """


@local.command("install")
def local_install() -> None:
    """Fetch the embedded model, if it is not there yet.

    \b
    Example:
      promptstream local install && promptstream ask "Hello" -p local
    """
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

    \b
    Example:
      ls -lh "$(promptstream local path)"
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

    \b
    Example:
      promptstream providers
    """
    from promptstream.cli.overview import show_providers

    with exiting():
        show_providers()


for each in (batch, packs, history, models, config, completion.completion, replay, serve):
    root.add_command(each)


def _check_system(system: str | None, flags: Flags) -> None:
    if system and flags.resume is not None:
        raise click.UsageError("--system is kept with a conversation: leave it out with --resume.")
