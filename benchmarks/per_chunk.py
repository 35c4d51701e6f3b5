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
from benchmarks.clients import CLIENTS, DEFAULT
from benchmarks.protocols import PROTOCOLS, Protocol
from benchmarks.server import Server
from benchmarks.worker import Missing, Worker

SHORT = 2
CALLS = 20
HEADS = ("client", "CPU µs/chunk", "× floor", "vs SDK", "first text CPU ms", "above floor")
Samples = dict[str, dict[str, list[float]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON."""
    options = _options(arguments)
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        workers = _workers(stack, options.clients, server)
        if not workers:
            print("No client could be started.", file=sys.stderr)
            return 1
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
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.per_chunk", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="every client once a round (%(default)s)")
    parser.add_argument("--chunks", type=int, default=2000, help="text chunks of a stream (%(default)s)")
    parser.add_argument("--pace", type=int, default=0, metavar="MS", help="send one chunk every MS milliseconds")
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
    if options.protocols:
        options.clients = [name for name in options.clients if CLIENTS[name].protocol in options.protocols]
    return options


def _workers(stack: ExitStack, names: Sequence[str], server: Server) -> dict[str, Worker]:
    """Start a warmed-up worker for each client that can be made; say which cannot."""
    workers = {}
    for name in names:
        try:
            url = server.url(200, protocol=CLIENTS[name].protocol)
            workers[name] = stack.enter_context(Worker(name, url))
        except (Missing, ChildFailed) as problem:
            print(problem, file=sys.stderr)
    return workers


def _measure(workers: dict[str, Worker], server: Server, options: argparse.Namespace) -> Samples:
    """Run the rounds, each starting with another client, so that none always follows the same one."""
    samples: Samples = {name: {"chunk": [], "first": [], "call": []} for name in workers}
    urls = {
        name: [server.url(n, pace, CLIENTS[name].protocol) for n, pace in ((options.chunks, options.pace), (SHORT, 0))]
        for name in workers
    }
    expected = sum(map(len, wire.texts(options.chunks)))
    patience = 60 + 3 * options.chunks * options.pace / 1000
    for name, worker in workers.items():
        for url in urls[name][options.pace > 0 :]:
            worker.ask(do="stream", url=url)
    order = list(workers)
    for _ in range(options.rounds):
        order.append(order.pop(0))
        for name in order:
            long, short = urls[name]
            answer = workers[name].ask(patience, do="stream", url=long)
            if answer["characters"] != expected:
                raise ChildFailed(f"{name} gave {answer['characters']} characters, not {expected}.")
            samples[name]["chunk"].append(answer["cpu"] / options.chunks)
            answer = workers[name].ask(do="first", url=short, times=CALLS)
            samples[name]["first"].append(statistics.median(answer["first"]))
            samples[name]["call"].append(statistics.median(answer["call"]))
    return samples


def _rows(samples: Samples, protocol: Protocol) -> list[list[str]]:
    floor = next((taken for name, taken in samples.items() if name.endswith("raw")), None)
    peer = samples.get(protocol.peer)
    rows = []
    for name, own in samples.items():
        rows.append(
            [
                CLIENTS[name].label,
                f"{statistics.median(own['chunk']) * 1e6:.2f}",
                f"{report.paired(own['chunk'], floor['chunk']):.2f}" if floor else report.NONE,
                report.fraction(report.paired(own["chunk"], peer["chunk"])) if peer else report.NONE,
                f"{statistics.median(own['first']) * 1e3:.3f}",
                f"{report.above(own['first'], floor['first']) * 1e3:+.3f}" if floor else report.NONE,
            ]
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
