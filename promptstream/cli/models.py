"""A provider's name in, the models that it offers out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from promptstream.cli.choosing import ambient_place, chosen, credentials
from promptstream.cli.completion import remember_models
from promptstream.cli.configured import Config, load
from promptstream.cli.endings import exiting
from promptstream.cli.fitting import NARROW, records
from promptstream.cli.flags import BASE_URL, PROVIDER
from promptstream.cli.place import Place
from promptstream.cli.sanitise import clean
from promptstream.cli.sections import Command, option
from promptstream.cli.terminal import is_terminal, readable, tell, window, write
from promptstream.errors import Unsupported
from promptstream.pricing import Prices, listed_cost, own_price
from promptstream.providers.registry import resolve
from promptstream.values.request import ModelInfo
from promptstream.values.usage import Usage

if TYPE_CHECKING:
    from promptstream.client import Provider

_MILLION = 1_000_000
Row = Mapping[str, Any]


@click.command(cls=Command)
@click.argument("words", nargs=-1)
@PROVIDER
@BASE_URL
@option("--json", "lines", section="Output", is_flag=True, help="Print one JSON object a line instead of the table.")
def models(words: Sequence[str], provider: str | None, base_url: str | None, lines: bool) -> None:
    """List the models of a provider whose names have all WORDS in them.

    With how many tokens of context each has, and what a million tokens of prompt and answer cost in USD, where that is
    known: by [prices] of the config file, else by the list of the extra "cost".

    \b
    Examples:
      promptstream models -p openrouter claude
      promptstream models -p ollama --json
    """
    with exiting():
        config = load()
        place = ambient_place(config).under(Place(provider, base_url, None, "--provider" if provider else "--base-url"))
        with _opened(place, config) as opened:
            listed = sorted(opened.models(), key=lambda each: each.id)
            remember_models(opened.name, [each.id for each in listed])
            found = [each for each in listed if all(word.lower() in _searched(each) for word in map(readable, words))]
            rows = [_row(each, opened, place.base_url, config.prices) for each in found]
        if lines:
            for row in rows:
                write(json.dumps(row) + "\n")
        elif rows:
            _print_table(rows)
        else:
            like = f" with {' and '.join(map(readable, words))} in its name" if words and listed else ""
            tell(f"{opened.name} offers no model{like}.")


def _opened(place: Place, config: Config) -> Provider:
    """Make the provider that *place* comes down to.

    Raises:
        Unsupported: it cannot list its models.
    """
    choice = chosen(place, config)
    options = credentials(place, choice, config)
    opened, _ = resolve(options.pop("provider"), model=None, options=options)
    if "models" not in opened.capabilities:
        opened.close()
        raise Unsupported(
            f"{choice.name} ({choice.reason}) cannot list its models; nothing was sent. Name another: promptstream "
            "models -p NAME. See: promptstream providers"
        )
    return opened


def _searched(model: ModelInfo) -> str:
    return f"{model.id} {model.name or ''}".lower()


def _row(model: ModelInfo, provider: Provider, base_url: str | None, prices: Prices) -> Row:
    cost: dict[str, Decimal | None] = {}
    own = own_price(prices, model.id)
    for side, usage in (("input", Usage(_MILLION, 0)), ("output", Usage(0, _MILLION))):
        listed = own.cost(usage) if own is not None else listed_cost(usage, model.id, provider.name, base_url)
        cost[side] = listed
    told = {side: None if amount is None else float(amount) for side, amount in cost.items()}
    return {"provider": provider.name, "id": model.id, "name": model.name, "context": model.context, **told}


def _print_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    longest = max(len(row["id"]) for row in rows)
    width = window(sys.stdout)[0] if is_terminal(sys.stdout) else max(80, longest + 40)
    if width < NARROW:
        write(records(([clean(row["id"]), _figures(row)] for row in rows), width))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Model", overflow="fold", ratio=None)
    shown = [name for name in ("context", "input", "output") if any(row[name] is not None for row in rows)]
    titles = {"context": "Context", "input": "$/M in", "output": "$/M out"}
    for name in shown:
        table.add_column(titles[name], justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{row[name]:,}" if name == "context" and row[name] else _price(row[name]) for name in shown]
        table.add_row(Text(clean(row["id"])), *cells)
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(table)
    write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def _figures(row: Row) -> str:
    told = [f"{row['context']:,} tokens"] if row["context"] else []
    told += [
        f"${_price(row[side])}/M {way}" for side, way in (("input", "in"), ("output", "out")) if row[side] is not None
    ]
    return ", ".join(told)


def _price(amount: float | None) -> str:
    return "" if amount is None else f"{amount:.4g}"
