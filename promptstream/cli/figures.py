"""An answer in, its figures out: as a line, or as a panel."""

from __future__ import annotations

import sys
from decimal import Decimal

from promptstream.cli.sanitise import clean
from promptstream.cli.terminal import styled, window
from promptstream.values.money import dollars
from promptstream.values.response import Response
from promptstream.values.usage import Usage

_UNKNOWN = "unknown"


def figures_line(response: Response) -> str:
    """Give the most important figures of an answer as one line; what is not known says so, or is left out."""
    timing, usage = response.timing, response.usage
    times = [] if timing.first is None else [f"first {_time(timing.first)}"]
    times += [] if timing.total is None else [f"all {_time(timing.total)}"]
    parts = [
        response.model or "model unknown",
        ", ".join(times),
        _tokens(usage),
        "" if timing.tokens_per_second is None else f"{timing.tokens_per_second:.0f}/s",
        _cost(response.cost),
    ]
    return clean(" · ".join(part for part in parts if part))


def spent_line(usage: Usage, cost: Decimal | None) -> str:
    """Give tokens and cost as :func:`figures_line` does."""
    return f"{_tokens(usage)} · {_cost(cost)}"


def figures(response: Response) -> list[tuple[str, str]]:
    """Give every figure of an answer with its name; what is not known says "unknown"."""
    timing, usage = response.timing, response.usage
    speed = timing.tokens_per_second
    rows = [
        ("Model", clean(response.model or _UNKNOWN)),
        ("Provider", clean(response.provider or _UNKNOWN)),
        ("Ended", clean(response.finish_reason or (_UNKNOWN if response.complete else "cut off"))),
        ("Chunks", f"{timing.chunks:,}"),
        ("Characters", f"{timing.characters:,}"),
        ("To first text", _time(timing.first)),
        ("Total time", _time(timing.total)),
        ("Tokens in", _count(usage.input)),
        ("  cached", _count(usage.cached)),
        ("Tokens out", _count(usage.output)),
        ("  reasoning", _count(usage.reasoning)),
        ("Tokens/s", _UNKNOWN if speed is None else f"{speed:.1f}"),
        ("Cost", dollars(response.cost)),
    ]
    return rows if response.rounds == 1 else [*rows, ("Requests", str(response.rounds))]


def beside_report(response: Response) -> str:
    """Give as lines the figures that ``Response.report()`` does not have."""
    rows = {name.strip(): value for name, value in figures(response)}
    more = {"    Cached:    ": "cached", "    Reasoning: ": "reasoning", "  Tokens per second:  ": "Tokens/s"}
    more["  Model:              "] = "Model"
    return "\n".join(f"{label} {rows[name]}" for label, name in more.items())


def tell_panel(response: Response) -> None:
    """Show every figure of an answer on the terminal that standard error is."""
    from rich import box
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    head = "Answer" if response.complete else "Answer, as far as it came"
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim" if styled() else "")
    table.add_column(justify="right", overflow="fold")
    for name, value in figures(response):
        table.add_row(name, Text(value))
    console = Console(stderr=True, width=window(sys.stderr)[0], highlight=False)
    console.print(Panel.fit(table, title=head, box=box.ROUNDED, border_style="dim" if styled() else ""))


def _tokens(usage: Usage) -> str:
    return f"{_count(usage.input)} → {_count(usage.output)} tokens" if usage else "tokens unknown"


def _cost(cost: Decimal | None) -> str:
    return "cost unknown" if cost is None else dollars(cost)


def _count(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _time(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
