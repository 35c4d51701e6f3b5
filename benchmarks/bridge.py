"""What the thread and queue of ``buffered()`` cost over plain iteration: CPU per chunk, and delay to a waiting loop.

``python -m benchmarks.bridge --help`` lists the options; README.md says how to read the tables.
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
from benchmarks.clients import CLIENTS
from benchmarks.server import Server
from benchmarks.worker import Worker

PAIRS = {"promptstream": ("provider", "buffered"), "a bare thread (floor)": ("raw", "raw-thread")}
"""Who is measured plain, and in a thread of its own."""
MOST_CPU, MOST_DELAY = 15e-6, 1e-3
"""Seconds of CPU per chunk over plain iteration, and seconds to a waiting loop (median), that are promised."""
CPU_HEADS = ("chunks come", "in", "plain, CPU µs/chunk", "in a thread", "over plain")
DELAY_HEADS = ("from the server's send to the loop", "median, ms", "p99, ms")
Samples = dict[str, dict[str, list[float]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print two tables or JSON."""
    options = _options(arguments)
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        url = server.url(200)
        workers = {name: stack.enter_context(Worker(name, url)) for pair in PAIRS.values() for name in pair}
        modes = {"all at once": server.url(options.chunks)}
        if options.paced:
            modes[f"one every {options.pace} ms"] = server.url(options.paced, options.pace)
        samples = {mode: _cpu(workers, url, options.rounds, mode) for mode, url in modes.items()}
        delays = (
            _delays(workers, server.url(options.paced, options.pace, stamped=True), options) if options.paced else {}
        )
    if options.json:
        print(json.dumps({"options": vars(options), "cpu": samples, "delays": delays}))
        return 0
    print(f"{options.chunks} and {options.paced} chunks, one HTTP chunk each; medians of {options.rounds} rounds.")
    print(report.machine(workers["provider"].versions))
    print(f"\n{report.table(CPU_HEADS, _cpu_rows(samples))}")
    if delays:
        print(f"\n{report.table(DELAY_HEADS, _delay_rows(delays))}")
    print()
    for mode, taken in samples.items():
        over = report.above(taken["buffered"], taken["provider"]) * 1e6
        print(report.promised(f"buffered() over plain iteration, chunks {mode}, CPU µs,", MOST_CPU * 1e6, over))
    delay = statistics.median(delays["buffered"]) * 1e3 if delays else None
    print(report.promised("median delay from the server's send through buffered(), ms,", MOST_DELAY * 1e3, delay))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridge", description=__doc__)
    parser.add_argument("--rounds", type=int, default=31, help="both ways once a round (%(default)s)")
    parser.add_argument("--chunks", type=int, default=2000, help="of a stream that comes at once (%(default)s)")
    parser.add_argument("--paced", type=int, default=500, help="of one that comes bit by bit; 0 for none (%(default)s)")
    parser.add_argument("--pace", type=int, default=1, metavar="MS", help="between two of those (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a few rounds, for a first look")
    parser.add_argument("--json", action="store_true", help="print every sample, in seconds, as JSON")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.paced = min(options.rounds, 7), min(options.paced, 300)
    sizes = 1 <= options.chunks <= wire.LARGEST and 0 <= options.paced <= wire.LARGEST
    if not (1 <= options.rounds <= 10_000 and sizes and 1 <= options.pace <= 999):
        parser.error(f"give 1 to 10000 rounds, up to {wire.LARGEST} chunks and a pace from 1 to 999 ms")
    return options


def _cpu(workers: dict[str, Worker], url: str, rounds: int, mode: str) -> dict[str, list[float]]:
    """Give each way's CPU seconds per chunk, one sample a round, taken in turns."""
    samples: dict[str, list[float]] = {name: [] for name in workers}
    chunks = int(url.split("/")[3].partition("@")[0])
    expected = sum(map(len, wire.texts(chunks)))
    order = list(workers)
    for _ in range(rounds):
        order.reverse()
        for name in order:
            answer = workers[name].ask(do="stream", url=url)
            if answer["characters"] != expected:
                raise ChildFailed(f"{name} gave {answer['characters']} characters, not {expected}, {mode}.")
            samples[name].append(answer["cpu"] / chunks)
    return samples


def _delays(workers: dict[str, Worker], url: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Give each way's delays of all chunks of all rounds, in seconds."""
    delays: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(options.rounds):
        for name, worker in workers.items():
            delays[name] += worker.ask(do="delays", url=url)["delays"]
    return delays


def _cpu_rows(samples: Samples) -> list[list[str]]:
    return [
        [
            mode,
            what,
            f"{statistics.median(taken[plain]) * 1e6:.2f}",
            f"{statistics.median(taken[threaded]) * 1e6:.2f}",
            f"{report.above(taken[threaded], taken[plain]) * 1e6:+.2f}",
        ]
        for mode, taken in samples.items()
        for what, (plain, threaded) in PAIRS.items()
    ]


def _delay_rows(delays: dict[str, list[float]]) -> list[list[str]]:
    return [
        [
            CLIENTS[name].label,
            f"{statistics.median(taken) * 1e3:.3f}",
            f"{statistics.quantiles(taken, n=100)[98] * 1e3:.3f}",
        ]
        for name, taken in delays.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
