"""The environment in, a table of the providers it configures out."""

from __future__ import annotations

import os
import sys
from typing import Any

from promptstream.cli.choosing import ambient_place, chosen
from promptstream.cli.configured import Config, load
from promptstream.cli.terminal import is_terminal, write
from promptstream.providers.registry import BUILT_IN, ENTRY_POINTS, Entry, names
from promptstream.values.secret import plain

_HIDDEN = ("scripted", "replay")
"""For tests: the command line has no way to give them a script."""


def show_providers() -> None:
    """Print which providers there are and what of each is configured, never a key; then which is chosen.

    Raises:
        MissingKey: none would be chosen.
        ConfigError: the choice is not safe.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    config = load()
    on_terminal = is_terminal(sys.stdout)
    columns = ("Provider", "Streaming", "Key", "Default model", "Notes")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for name, entry in BUILT_IN.items():
        if name not in _HIDDEN:
            dialect: Any = entry.dialect()
            streaming = f"yes, {dialect.framing.upper()}"
            row = (name, streaming, _key(entry, config), dialect.default_model or "-", _notes(name, entry))
            table.add_row(*map(Text, row))
    for name in _foreign():
        table.add_row(Text(name), "", "", "", "from another package")
    console = Console(width=None if on_terminal else 200, no_color=bool(os.environ.get("NO_COLOR")) or None)
    with console.capture() as capture:
        console.print(table)
    write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
    choice = chosen(ambient_place(config))
    write(f"\nWithout --provider: {choice.name} ({choice.reason})\n")


def _key(entry: Entry, config: Config) -> str:
    told = []
    for variable in entry.keys:
        key, kept = os.environ.get(variable), config.keys.get(variable)
        in_file = key is not None and kept is not None and plain(kept) == key
        told.append(f"{variable}: {'in the config file' if in_file else 'set' if key else 'not set'}")
    return ", ".join(told) or "not needed"


def _notes(name: str, entry: Entry) -> str:
    notes = [entry.notes]
    if name == "local":
        notes.append(_local())
    if entry.url_variable and os.environ.get(entry.url_variable):
        notes.append(f"{entry.url_variable} is set")
    return "; ".join(notes)


def _local() -> str:
    from promptstream.providers.local import llama_server, weights

    if not llama_server.available():
        return "not installed; pip install 'promptstream-sdk[local]'"
    return "installed" if weights.installed() else "installed; the model is fetched on first use"


def _foreign() -> list[str]:
    from importlib.metadata import entry_points

    return sorted({*names(), *(point.name for point in entry_points(group=ENTRY_POINTS))} - set(BUILT_IN))
