"""CPU per chunk and CPU to the first text, of promptstream, its floor and its peers, in one interleaved run.

``python -m benchmarks.per_chunk --help`` lists the options; README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import report, wire
from benchmarks.child import ChildFailed
from benchmarks.clients import CLIENTS, DEFAULT, FRAMEWORKS
from benchmarks.protocols import PROTOCOLS, Protocol
from benchmarks.rounds import start, turns
from benchmarks.server import Server
from benchmarks.worker import Worker

SHORT = 2
CALLS = 20
HEADS = ("client", "CPU µs/chunk", "× floor", "vs SDK", "first text CPU ms", "above floor")
WHOLE, FAST, ANTHROPIC = 1.8, 1.4, 2.4
"""Times the floor that a whole conversation may take for a chunk, which is promised: in general, with orjson, there."""
EVERY = 3
HEAVY = tuple(name for name in DEFAULT if CLIENTS[name].peer in FRAMEWORKS)
"""Those that take most of a run's time, for figures that need no precision: measured every third round only."""
Samples = dict[str, dict[str, list[float]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON."""
    options = _options(arguments)
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        workers = start(stack, options.clients, server)
        samples = _measure(workers, server, options)
        versions = {name: version for worker in workers.values() for name, version in worker.versions.items()}
    if options.json:
        print(json.dumps({"options": vars(options), "versions": versions, "samples": samples}))
        return 0
    pace = f", one every {options.pace} ms" if options.pace else ", all at once"
    print(f"{options.chunks} chunks{pace}, one HTTP chunk each; medians of {options.rounds} rounds.")
    print(report.machine(versions))
    for name, protocol in PROTOCOLS.items():
        if own := {client: taken for client, taken in samples.items() if CLIENTS[client].protocol == name}:
            print(f"\n{protocol.title}\n")
            print(report.table(HEADS, _rows(own, protocol)))
    if not options.pace:
        print()
        _judge(samples)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.per_chunk", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="every client once a round (%(default)s)")
    parser.add_argument("--chunks", type=int, default=2000, help="text chunks of a stream (%(default)s)")
    parser.add_argument("--pace", type=int, default=0, metavar="MS", help="send one chunk every MS milliseconds")
    parser.add_argument("--quick", action="store_true", help="three rounds, without the libraries that take long")
    parser.add_argument(
        "--protocols", nargs="+", choices=tuple(PROTOCOLS), metavar="NAME", help=f"{', '.join(PROTOCOLS)} (all)"
    )
    parser.add_argument(
        "--clients", nargs="+", default=DEFAULT, choices=tuple(CLIENTS), metavar="NAME", help=", ".join(CLIENTS)
    )
    parser.add_argument("--json", action="store_true", help="print every sample, in seconds, as JSON")
    options = parser.parse_args(arguments)
    if not (1 <= options.rounds <= 10_000 and 1 <= options.chunks <= wire.LARGEST and 0 <= options.pace <= 999):
        parser.error(f"give 1 to 10000 rounds, 1 to {wire.LARGEST} chunks and a pace below 1000 ms")
    if options.quick:
        options.rounds = min(options.rounds, 3)
        options.clients = [name for name in options.clients if name not in HEAVY]
    if options.protocols:
        options.clients = [name for name in options.clients if CLIENTS[name].protocol in options.protocols]
    return options


def _measure(workers: dict[str, Worker], server: Server, options: argparse.Namespace) -> Samples:
    """Run the rounds; a peer that fails is left out and said so, promptstream and its floor must not."""
    samples: Samples = {name: {"chunk": [], "first": [], "call": []} for name in workers}
    order = [(False, name) for name in workers]
    order += [
        (True, name)
        for turn, name in enumerate(turns(workers, options.rounds))
        if name not in HEAVY or not turn // len(workers) % EVERY
    ]
    for counts, name in order:
        if name not in samples:
            continue
        try:
            taken = _take(workers[name], server, CLIENTS[name].protocol, options)
        except ChildFailed as problem:
            if not CLIENTS[name].peer:
                raise
            print(f"{name}: left out, {problem}", file=sys.stderr)
            del samples[name]
            continue
        for what, value in taken.items() if counts else ():
            samples[name][what].append(value)
    return samples


def _take(worker: Worker, server: Server, protocol: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure one whole stream, and some calls with a short one, each a sample in CPU seconds."""
    expected = sum(map(len, wire.texts(options.chunks)))
    patience = 60 + 3 * options.chunks * options.pace / 1000
    whole = worker.ask(patience, do="stream", url=server.url(options.chunks, options.pace, protocol))
    if whole["characters"] != expected:
        raise ChildFailed(f"{worker.name} gave {whole['characters']} characters, not {expected}.")
    short = worker.ask(do="first", url=server.url(SHORT, protocol=protocol), times=CALLS)
    calls = {what: statistics.median(short[what]) for what in ("first", "call")}
    return {"chunk": whole["cpu"] / options.chunks, **calls}


def _rows(samples: Samples, protocol: Protocol) -> list[list[str]]:
    floor = next((name for name in samples if name.endswith("raw")), None)
    peer = protocol.peer if protocol.peer in samples else None
    rows = []
    for name, own in samples.items():
        rows.append(
            [
                CLIENTS[name].label,
                f"{statistics.median(own['chunk']) * 1e6:.2f}",
                f"{report.paired(*_both(samples, name, floor, 'chunk')):.2f}" if floor else report.NONE,
                report.fraction(report.paired(*_both(samples, name, peer, "chunk"))) if peer else report.NONE,
                f"{statistics.median(own['first']) * 1e3:.3f}",
                f"{report.above(*_both(samples, name, floor, 'first')) * 1e3:+.3f}" if floor else report.NONE,
            ]
        )
    return rows


def _both(samples: Samples, name: str, other: str, what: str) -> tuple[list[float], list[float]]:
    """Give two clients' series of the same rounds."""
    against = samples[other][what]
    return samples[name][what], against[::EVERY] if name in HEAVY else against


def _judge(samples: Samples) -> None:
    """Say of a whole conversation, in each protocol, what is promised and what came of it."""
    for protocol in PROTOCOLS.values():
        own = "" if protocol.name == "openai" else f"{protocol.name}-"
        for name, most in (("conversation", WHOLE), ("conversation-orjson", FAST)):
            if f"{own}{name}" not in samples or f"{own}raw" not in samples:
                continue
            ratio = report.paired(*_both(samples, f"{own}{name}", f"{own}raw", "chunk"))
            label = f"{protocol.title}: a chunk of a {CLIENTS[name].label}, in floors,"
            print(report.promised(label, ANTHROPIC if protocol.name == "anthropic" else most, ratio))


if __name__ == "__main__":
    sys.exit(main())
