"""The names of kept conversations in; what is kept under them, or nothing any more, out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from promptstream.cli import keeping
from promptstream.cli.asking import Person, clipped
from promptstream.cli.completion import of_kept
from promptstream.cli.endings import exiting
from promptstream.cli.sanitise import clean
from promptstream.cli.sections import Group
from promptstream.cli.terminal import is_terminal, readable, tell, write
from promptstream.errors import ConfigError

if TYPE_CHECKING:
    from promptstream.state.store import Entry

_PIPED_WIDTH = 200


@click.group(cls=Group)
def history() -> None:
    """List, show, export and delete kept conversations.

    They are kept by --save in a file of your data folder, or where PROMPTSTREAM_STORE says: the path of a file, or
    redis://….

    \b
    Examples:
      promptstream history list
      promptstream history export oslo --format markdown -o oslo.md
    """


def _name(context: click.Context, argument: click.Parameter, given: str) -> str:
    return readable(given)


_NAMED = click.argument("name", callback=_name, shell_complete=of_kept)


@history.command("list")
@click.option("-n", "--limit", default=1000, type=click.IntRange(1), help="How many at most.", show_default=True)
@click.option("--json", "lines", is_flag=True, help="Print one JSON object a line instead of the table.")
def show_list(limit: int, lines: bool) -> None:
    """List the kept conversations, the one saved last first.

    \b
    Example:
      promptstream history list -n 10
    """
    with exiting():
        with keeping.reading() as store:
            entries = [] if store is None else store.list(limit=limit)
        if lines:
            _print_lines(entries)
        elif entries:
            _print_table(entries)
        else:
            tell(f"No conversation is kept in {keeping.shown_place(keeping.place())}; --save NAME keeps one.")


@history.command()
@_NAMED
@click.option("--json", "lines", is_flag=True, help="Print one message a line as JSON instead.")
def show(name: str, lines: bool) -> None:
    """Show what was said in the conversation called NAME, with the calls of tools and their results.

    \b
    Example:
      promptstream history show oslo
    """
    from promptstream.cli.transcript import as_lines, one_line

    with exiting():
        kept = keeping.find(name)
        texts = (one_line(message.to_dict()) for message in kept.messages) if lines else as_lines(kept)
        for text in texts:
            write(f"{text}\n")


@history.command()
@_NAMED
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "markdown"]),
    default="json",
    show_default=True,
    help="What to write.",
)
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Write into FILE instead of standard output.")
def export(name: str, form: str, output: str | None) -> None:
    """Write the conversation called NAME as JSON, whole, or as Markdown, to be read.

    \b
    Example:
      promptstream history export oslo --format markdown -o oslo.md
    """
    from promptstream.cli.transcript import as_json, as_markdown

    with exiting():
        kept = keeping.find(name)
        text = as_json(kept) + "\n" if form == "json" else "".join(f"{line}\n" for line in as_markdown(kept))
        if output is None or output == "-":
            write(text)
            return
        try:
            Path(output).write_text(text, encoding="utf-8", errors="replace")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{output} cannot be written: {getattr(error, 'strerror', None) or error}.") from error


@history.command()
@_NAMED
@click.option("--yes", is_flag=True, help="Do not ask first.")
def delete(name: str, yes: bool) -> None:
    """Delete the conversation called NAME, once you have said yes.

    \b
    Example:
      promptstream history delete oslo
    """
    with exiting():
        kept = keeping.find(name)
        if not yes and not _sure(
            f"Delete {clipped(clean(name))} with its {len(kept.messages)} messages? [y]es / [n]o: "
        ):
            tell("It was not deleted.")
            raise click.exceptions.Exit(1)
        with keeping.reading() as store:
            if store is None or not store.delete(name):
                raise keeping.missing(name, store)
        tell(f"Deleted {name}.")


def _sure(question: str) -> bool:
    person = Person.present(events=False)
    if person is None:
        raise click.UsageError("Nobody can be asked here: give --yes.")
    try:
        return person.answer(question).lower() in ("y", "yes")
    except EOFError:
        tell("")
        return False


def _print_lines(entries: Iterable[Entry]) -> None:
    from promptstream.cli.transcript import one_line, title_of, utc

    for entry in entries:
        data = {"name": entry.id, "messages": entry.messages, "title": title_of(entry.metadata)}
        data |= {"created": utc(entry.created), "updated": utc(entry.updated), "metadata": dict(entry.metadata)}
        write(one_line(data) + "\n")


def _print_table(entries: Iterable[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from promptstream.cli.transcript import local_time, title_of

    table = Table("Name", "Saved", "Messages", "Title", box=None, pad_edge=False, header_style="bold")
    for entry in entries:
        row = (entry.id, local_time(entry.updated), str(entry.messages), title_of(entry.metadata))
        table.add_row(*(Text(" ".join(clean(each).split())) for each in row))
    width = None if is_terminal(sys.stdout) else _PIPED_WIDTH
    console = Console(width=width, no_color=bool(os.environ.get("NO_COLOR")) or None)
    with console.capture() as capture:
        console.print(table)
    write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
