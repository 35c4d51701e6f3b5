"""By how much the peak of resident memory grows over one long answer, each client in fresh processes."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence

from benchmarks import report, wire
from benchmarks.child import ChildFailed
from benchmarks.clients import CLIENTS
from benchmarks.peers import Missing
from benchmarks.server import Server
from benchmarks.worker import Worker

QUICK = ("raw", "naive", "provider", "conversation", "openai")
DEFAULT = (*QUICK, "anthropic", "gemini", "ollama", "llm", "litellm", "pydantic-ai", "chatlas")
HEADS = ("client", "resident before, MB", "peak growth, MB", "over the text, MB")
MEGABYTE = 1e6
MOST, HELD = 2.5, "conversation"
"""Megabytes by which a 20,000-chunk answer may make promptstream grow, its text included, which is promised."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON."""
    options = _options(arguments)
    text = sys.getsizeof("".join(wire.texts(options.chunks)))
    results = {}
    with Server() as server:
        for name in options.clients:
            try:
                results[name] = [_measure(name, server, options.chunks) for _ in range(options.runs)]
            except (Missing, ChildFailed) as problem:
                print(problem, file=sys.stderr)
    if options.json:
        print(json.dumps({"options": vars(options), "text": text, "bytes": results}))
        return 0
    print(f"{options.chunks} chunks, {text / MEGABYTE:.2f} MB of text; medians of {options.runs} fresh processes.")
    print(report.machine({}) + "\n")
    print(report.table(HEADS, [_row(name, runs, text) for name, runs in results.items()]) + "\n")
    held = statistics.median(run["growth"] for run in results[HELD]) / MEGABYTE if HELD in results else None
    print(report.promised(f"growth of a {CLIENTS[HELD].label} over 20,000 chunks, MB,", MOST, held))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="fresh processes for each client (%(default)s)")
    parser.add_argument("--chunks", type=int, default=20_000, help="text chunks of the answer (%(default)s)")
    parser.add_argument(
        "--clients", nargs="+", default=DEFAULT, choices=tuple(CLIENTS), metavar="NAME", help=", ".join(CLIENTS)
    )
    parser.add_argument("--quick", action="store_true", help="one process for each of a few clients")
    parser.add_argument("--json", action="store_true", help="print every sample, in bytes, as JSON")
    options = parser.parse_args(arguments)
    if options.quick:
        options.runs = 1
        if options.clients == DEFAULT:
            options.clients = QUICK
    if not (1 <= options.runs <= 1000 and 1 <= options.chunks <= wire.LARGEST):
        parser.error(f"give 1 to 1000 runs and 1 to {wire.LARGEST} chunks")
    return options


def _measure(name: str, server: Server, chunks: int) -> dict[str, int]:
    """Measure in a new process, on a connection that short answers have warmed."""
    protocol = CLIENTS[name].protocol
    url = server.url(chunks, protocol=protocol)
    with Worker(name, server.url(200, protocol=protocol)) as worker:
        answer = worker.ask(do="memory", url=url)
    if answer["characters"] != sum(map(len, wire.texts(chunks))):
        raise ChildFailed(f"{name} gave {answer['characters']} characters, which is not the whole answer.")
    return {"before": answer["before"], "growth": answer["growth"]}


def _row(name: str, runs: list[dict[str, int]], text: int) -> list[str]:
    before, growth = (statistics.median(run[key] for run in runs) / MEGABYTE for key in ("before", "growth"))
    label, protocol = CLIENTS[name].label, CLIENTS[name].protocol
    return [
        label if protocol == "openai" or "SDK" in label else f"{label}, {protocol}",
        f"{before:.1f}",
        f"{growth:.2f}",
        f"{growth - text / MEGABYTE:+.2f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
