"""A recording in, its answers out on the terminal as they streamed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import attrs
import click

from promptstream.cli.asking import clipped
from promptstream.cli.calls import ToolLines
from promptstream.cli.endings import EXIT_CODES, exit_code, exiting, report
from promptstream.cli.render import show_events, show_text, tell_ending
from promptstream.cli.sanitise import clean
from promptstream.cli.sections import Command, option
from promptstream.cli.terminal import is_terminal, tell, write
from promptstream.client import Provider
from promptstream.errors import ConfigError, PromptStreamError
from promptstream.providers.replay import ReplayDialect
from promptstream.recording.reading import Exchange, Recording

_ENDINGS = {"left": "left early", "open": "recording cut"}


def _speed(context: click.Context, option: click.Parameter, given: float | None) -> float | None:
    if given is not None and not 0 < given < 10**6:
        raise click.BadParameter(f"{given:g} is not a speed above 0.")
    return given


@click.command(cls=Command, epilog=EXIT_CODES)
@click.argument("file", type=click.Path())
@click.argument("exchange", type=click.IntRange(min=1), required=False)
@option("--speed", section="Output", type=float, metavar="NUMBER", callback=_speed,
        help="How fast: 1 as it came, 2 twice as fast. Without it, at once.")  # fmt: skip
@option("--list", "listed", section="Output", is_flag=True, help="List the exchanges instead: one a line.")
@option("--stats", section="Output", is_flag=True, help="Tell times, tokens and cost on standard error.")
@option("--json", "events", section="Output", is_flag=True, help="Print one JSON event a line instead of the text.")
def replay(file: str, exchange: int | None, speed: float | None, listed: bool, stats: bool, events: bool) -> None:
    """Show the answers of a recording as they streamed.

    FILE is what --record has written, or a Recorder. EXCHANGE is the number of one request and its answer, as --list
    shows it; without it, all are shown, one after the other. Nothing is sent. An answer that failed fails again: the
    exit code is that of the first that did.

    \b
    Examples:
      promptstream ask "Why is the sky blue?" --record sky.ndjson
      promptstream replay sky.ndjson --speed 1
      promptstream replay sky.ndjson --list
    """
    with exiting(events=events):
        recording = Recording.read(file)
        chosen = _chosen(recording, exchange)
        if listed:
            _list(chosen, events=events)
            return
        codes = [_show(recording, each, speed, stats=stats, events=events) for each in chosen]
        if failed := [code for code in codes if code]:
            raise click.exceptions.Exit(failed[0])


def _chosen(recording: Recording, number: int | None) -> Sequence[Exchange]:
    if not recording.exchanges:
        raise ConfigError(f"{recording.path} holds no exchange: nothing was asked when it was recorded.")
    if number is None:
        return recording.exchanges
    found = [each for each in recording.exchanges if each.number == number]
    if not found:
        raise ConfigError(f"{recording.path} has no exchange {number}; it has {len(recording.exchanges)}.")
    return found


def _show(recording: Recording, exchange: Exchange, speed: float | None, *, stats: bool, events: bool) -> int:
    """Show one answer, and give the exit code that it stands for."""
    if not events:
        tell(f"{exchange.number}. {clipped(clean(_asked(exchange)))}", dim=True)
    alone = Recording(recording.path, (exchange,), recording.providers)
    provider = Provider(ReplayDialect(alone, speed=speed, match="order"))
    stream = provider.stream("")
    try:
        if events:
            show_events(stream)
        else:
            show_text(stream, ToolLines(asks=False))
    except PromptStreamError as error:
        report(error, events=events)
        return exit_code(error)
    finally:
        response = stream.response  # its calls of tools were run when it was recorded: nobody is missing here
        tell_ending(attrs.evolve(response, pending=response.tool_calls), stats=stats)
    return 0


def _asked(exchange: Exchange) -> str:
    """Give what was asked, as far as a line has room for it: the last message."""
    request = exchange.request
    if request.get("prompt") is not None:
        return str(request["prompt"])
    last: dict[str, Any] = (request.get("messages") or [{}])[-1]
    parts = last.get("parts", ())
    said = "".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
    results = (f"← {part.get('name')}: {part.get('content')}" for part in parts if part.get("type") == "tool_result")
    others = (f"[{part.get('type')}]" for part in parts if part.get("type") in ("image", "document"))
    return " ".join(filter(None, (said, *results, *others)))


def _row(exchange: Exchange) -> dict[str, Any]:
    error = None if exchange.error is None else type(exchange.error()).__name__
    return {
        "exchange": exchange.number,
        "line": exchange.line,
        "provider": exchange.provider,
        "model": exchange.model,
        "asked": _asked(exchange),
        "chunks": sum(bool(chunk.text) for _, chunk in exchange.chunks),
        "seconds": exchange.at,
        "ending": error or _ENDINGS.get(exchange.ending, exchange.ending),
    }


def _list(exchanges: Sequence[Exchange], *, events: bool) -> None:
    rows = [_row(each) for each in exchanges]
    if events:
        for row in rows:
            write(json.dumps(row) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, side in (("#", "right"), ("Model", "left"), ("Ending", "left"), ("Chunks", "right"), ("Time", "right")):
        table.add_column(title, justify=side, no_wrap=title != "Model")  # type: ignore[arg-type]
    table.add_column("Asked", no_wrap=True, overflow="ellipsis")
    for row in rows:
        model = clean(" ".join(filter(None, (row["provider"], row["model"]))))
        cells = (str(row["exchange"]), model, row["ending"], str(row["chunks"]), f"{row['seconds']:.2f} s")
        table.add_row(*map(Text, cells), Text(clipped(clean(row["asked"]))))
    console = Console(width=None if is_terminal(sys.stdout) else 120, no_color=True)
    with console.capture() as capture:
        console.print(table)
    write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
