"""Many paced streams at once, each in a thread of one process: how late their chunks are, and what they cost.

The server, a process of its own with one loop for all, writes the time into each chunk; the loop that has it tells
how long ago that was. ``python -m benchmarks.concurrency --help`` lists the options; README.md says how to read it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import report
from benchmarks.child import ChildFailed
from benchmarks.clients import CLIENTS
from benchmarks.peers import Missing
from benchmarks.rounds import turns
from benchmarks.server import Server
from benchmarks.worker import Worker

LOADS = (64, 256)
SPREAD = 1.0
"""Seconds in which the streams begin."""
LATE = 0.005
FLOOR, HELD = "raw", ("provider", "conversation")
OURS = (FLOOR, *HELD)
"""Measured in every round; the others, whom nothing is promised of, in the first one alone."""
OTHERS = ("conversation-orjson", "anthropic-raw", "anthropic-conversation")
PEERS = ("openai", "anthropic", "gemini", "ollama", "llm", "litellm", "pydantic-ai", "chatlas")
HEADS = (
    "client",
    "CPU of a core",
    "µs/event",
    "× floor",
    "p50, ms",
    "p99, ms",
    "max, ms",
    "> 5 ms late",
    "resident, MB",
    "events",
    "errors",
)
Figures = dict[str, Any]
Samples = dict[str, list[Figures]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table for each load or JSON; 1 where the floor or promptstream lost an event."""
    options = _options(arguments)
    loads: dict[int, Samples] = {}
    versions: dict[str, str] = {}
    clients = list(options.clients)
    with Server() as server:
        for streams in sorted(set(options.streams)):
            clients = _fit(clients, loads)
            loads[streams] = _measure(clients, streams, server, options, versions)
    if options.json:
        print(json.dumps({"options": vars(options), "versions": versions, "loads": loads}))
    else:
        print(f"One chunk every {options.pace} ms in each stream, for {options.seconds} s.")
        print(f"Medians of {options.rounds} rounds, of one for those whom nothing is promised of.")
        print(report.machine(versions))
        for streams, samples in loads.items():
            print(f"\n{streams} streams\n\n{report.table(HEADS, _rows(samples))}\n")
            _judge(streams, samples)
    lost = [each for samples in loads.values() for name in OURS for each in samples.get(name, ())]
    return any(each["failed"] or each["events"] != each["expected"] for each in lost)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concurrency", description=__doc__)
    parser.add_argument("--streams", nargs="+", type=int, default=LOADS, metavar="N", help="at once (64 256)")
    parser.add_argument("--pace", type=int, default=20, metavar="MS", help="between two chunks (%(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="that a stream takes (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="promptstream and its floor once a round (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round of promptstream, its floor and one SDK")
    parser.add_argument(
        "--clients",
        nargs="+",
        default=(*OURS, *OTHERS, *PEERS),
        choices=tuple(CLIENTS),
        metavar="NAME",
        help=", ".join(CLIENTS),
    )
    parser.add_argument("--json", action="store_true", help="print the figures of each round as JSON, in seconds")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, min(options.seconds, 2)
        if options.clients == parser.get_default("clients"):
            options.clients = (FLOOR, *HELD, "openai")
    if not (all(1 <= each <= 5000 for each in options.streams) and 1 <= options.pace <= 999):
        parser.error("give 1 to 5000 streams and a pace from 1 to 999 ms")
    if not (1 <= options.seconds <= 600 and 1 <= options.rounds <= 1000):
        parser.error("give 1 to 600 seconds and 1 to 1000 rounds")
    return options


def _measure(
    clients: Sequence[str], streams: int, server: Server, options: argparse.Namespace, versions: dict[str, str]
) -> Samples:
    samples: Samples = {}
    gone: set[str] = set()
    for name in turns(clients, options.rounds):
        if name in gone or (name in samples and name not in OURS):
            continue
        try:
            samples.setdefault(name, []).append(_run(name, streams, server, options, versions))
        except (Missing, ChildFailed) as problem:
            gone.add(name)
            print(problem, file=sys.stderr)
    return {name: samples[name] for name in clients if samples.get(name)}


def _run(name: str, streams: int, server: Server, options: argparse.Namespace, versions: dict[str, str]) -> Figures:
    """Measure one client in a fresh process, which short answers have warmed."""
    protocol = CLIENTS[name].protocol
    chunks = options.seconds * 1000 // options.pace
    url = server.url(chunks, options.pace, protocol, stamped=True)
    with Worker(name, server.url(200, protocol=protocol)) as worker:
        versions |= worker.versions
        answer = worker.ask(60 + 20 * options.seconds, do="crowd", url=url, streams=streams, spread=SPREAD)
    if not answer["delays"]:
        raise ChildFailed(f"{name} gave no event: {answer['errors']}")
    delays = sorted(answer["delays"])
    cuts = statistics.quantiles(delays, n=100)
    return {
        "share": answer["cpu"] / (answer["wall"] - SPREAD),
        "event": answer["cpu"] / len(delays),
        "p50": cuts[49],
        "p99": cuts[98],
        "max": delays[-1],
        "late": sum(delay > LATE for delay in delays) / len(delays),
        "resident": answer["resident"],
        "events": len(delays),
        "expected": streams * chunks,
        "failed": answer["failed"],
        "errors": answer["errors"],
    }


def _fit(clients: Sequence[str], loads: dict[int, Samples]) -> list[str]:
    """Leave out those whom a smaller load has shown to fall behind, and say so; ours and the floor always stay."""
    fit = []
    for name in clients:
        behind = name not in OURS and any(
            samples[name][0]["late"] > 0.5 for samples in loads.values() if name in samples
        )
        if behind:
            print(f"{_label(name)}: left out of the greater load, the smaller one was too much", file=sys.stderr)
        elif not loads or any(name in samples for samples in loads.values()):
            fit.append(name)
    return fit


def _judge(streams: int, samples: Samples) -> None:
    for name in HELD:
        own = samples.get(name)
        share = _median(own, "share") if own else None
        label = f"{streams} streams of a {CLIENTS[name].label}:"
        if streams == 64:
            ratio = _ratio(samples, name)
            print(report.promised(f"{label} CPU, in floors,", 2.5, ratio))
            late = _median(own, "p99") * 1e3 if own else None
            print(report.promised(f"{label} p99 lateness, ms,", 2.0, late))
        elif streams == 256:
            floor = f" (the floor takes {_median(samples[FLOOR], 'share'):.2f})" if FLOOR in samples else ""
            print(report.promised(f"{label} CPU, of a core{floor},", 0.6, share))


def _median(taken: list[Figures], what: str) -> float:
    return float(statistics.median(figures[what] for figures in taken))


def _ratio(samples: Samples, name: str) -> float | None:
    """Give the CPU of an event as a multiple of the floor's in that protocol, taken in the same rounds."""
    protocol = CLIENTS[name].protocol
    floor = samples.get(FLOOR if protocol == "openai" else f"{protocol}-{FLOOR}")
    if not floor or name not in samples:
        return None
    series = ([figures["event"] for figures in taken] for taken in (samples[name], floor))
    own, other = (taken[: min(len(samples[name]), len(floor))] for taken in series)
    return report.paired(own, other)


def _label(name: str) -> str:
    label, protocol = CLIENTS[name].label, CLIENTS[name].protocol
    return label if protocol == "openai" or "SDK" in label else f"{label}, {protocol}"


def _rows(samples: Samples) -> list[list[str]]:
    rows = []
    for name, taken in samples.items():
        ratio = _ratio(samples, name)
        rows.append(
            [
                _label(name),
                f"{_median(taken, 'share'):.0%}",
                f"{_median(taken, 'event') * 1e6:.0f}",
                report.NONE if ratio is None else f"{ratio:.2f}",
                *(f"{_median(taken, what) * 1e3:.2f}" for what in ("p50", "p99", "max")),
                f"{_median(taken, 'late'):.1%}",
                f"{_median(taken, 'resident') / 1e6:.0f}",
                f"{sum(each['events'] for each in taken)}/{sum(each['expected'] for each in taken)}",
                str(sum(each["failed"] for each in taken)),
            ]
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
