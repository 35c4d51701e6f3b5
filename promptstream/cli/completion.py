"""What stands on a command line so far in, the words that may come next out; and the script that asks for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from promptstream.cli.sections import Command
from promptstream.errors import PromptStreamError
from promptstream.values.folders import user_folder

if TYPE_CHECKING:
    from promptstream.packs.pack import Pack

_VARIABLE = "_PROMPTSTREAM_COMPLETE"
_MOST = 500
"""Names of models of one provider that are remembered."""

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _begun(words: Iterable[str], so_far: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(so_far)]


def of_words(words: Sequence[str]) -> Complete:
    """Give what completes any of *words*."""
    return lambda context, parameter, so_far: _begun(words, so_far)


def of_providers(context: click.Context, parameter: click.Parameter, so_far: str) -> list[CompletionItem]:
    """Complete the name of a provider."""
    from promptstream.providers.registry import BUILT_IN

    return _begun((name for name in BUILT_IN if name not in ("scripted", "replay")), so_far)


def of_models(context: click.Context, parameter: click.Parameter, so_far: str) -> list[CompletionItem]:
    """Complete the name of a model: those that ``promptstream models`` listed last, since nothing is asked here."""
    named = context.params.get("provider")
    try:
        files = sorted(_folder().glob("*.txt")) if named is None else [_folder() / f"{named}.txt"]
        return _begun((name for file in files for name in file.read_text(encoding="utf-8").split("\n") if name), so_far)
    except (OSError, RuntimeError, ValueError):
        return []


def remember_models(provider: str, names: Iterable[str]) -> None:
    """Keep the *names* of a provider's models to complete them by."""
    if not provider.replace("-", "_").isidentifier():  # it is the name of a file
        return
    try:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        fit = [name for name in names if name.isprintable()][:_MOST]
        (folder / f"{provider}.txt").write_text("\n".join(fit), encoding="utf-8")
    except (OSError, RuntimeError, ValueError):  # a convenience: what asked for the list has it all the same
        return


def _folder() -> Path:
    from promptstream.providers.local.weights import CACHE_VARIABLE

    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named).expanduser() if named else user_folder("cache")) / "models"


def of_kept(context: click.Context, parameter: click.Parameter, so_far: str) -> list[CompletionItem]:
    """Complete the name of a kept conversation; of a store on a server nothing is asked."""
    from promptstream.cli import keeping

    try:
        if keeping.is_remote(keeping.place()):
            return []
        with keeping.reading() as store:
            return [] if store is None else _begun((entry.id for entry in store.list()), so_far)
    except PromptStreamError:
        return []


def of_settings(context: click.Context, parameter: click.Parameter, so_far: str) -> list[CompletionItem]:
    """Complete the name of a setting."""
    from promptstream.cli.configured import SETTINGS

    return _begun(SETTINGS, so_far)


def of_prompts(context: click.Context, parameter: click.Parameter, so_far: str) -> list[CompletionItem]:
    """Complete the name of a prompt of the pack that is named before it."""
    pack, _ = _named(context)
    return [] if pack is None else _begun(pack.prompts, so_far)


def of_variables(context: click.Context, parameter: click.Parameter, so_far: str) -> list[CompletionItem]:
    """Complete NAME= of a variable of the prompt."""
    pack, prompt = _named(context)
    if pack is None or (prompt is not None and prompt not in pack.prompts):
        return []
    try:
        found = pack.prompt(prompt)
    except PromptStreamError:
        return []
    names = [*(each.name for each in found.variables), *(each.split(".")[0] for each in found.template.names)]
    return _begun((f"{name}=" for name in dict.fromkeys(names)), so_far)


def _named(context: click.Context) -> tuple[Pack | None, str | None]:
    """Give the pack and the name of the prompt that stand before the word."""
    from promptstream.packs.pack import load

    path, prompt = context.params.get("pack"), context.params.get("prompt")
    if path is None:  # behind an option whose value is being typed, click has not told words apart yet
        path, prompt = ([*context.args, None, None])[:2]
    try:
        return None if path is None or not os.path.isfile(path) else load(path), prompt
    except PromptStreamError:
        return None, prompt


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that lets SHELL complete what you type.

    Commands, options, providers, prompts of a pack and their variables, kept conversations, files; and names of
    models, once "promptstream models" has listed them.

    \b
    Examples:
      eval "$(promptstream completion bash)"       # in ~/.bashrc
      eval "$(promptstream completion zsh)"        # in ~/.zshrc
      promptstream completion fish | source        # in config.fish
    """
    from promptstream.cli.endings import exiting
    from promptstream.cli.terminal import write

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"Nothing is known of {shell}.")
    with exiting():
        write(made(context.find_root().command, {}, "promptstream", _VARIABLE).source() + "\n")
