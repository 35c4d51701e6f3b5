"""What a call costs besides its chunks: CPU of a two-chunk answer, beside a bare ``requests`` post of the same body.

``python -m benchmarks.call --help`` lists the options; README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import report
from benchmarks.clients import CLIENTS
from benchmarks.rounds import start, turns
from benchmarks.server import Server
from benchmarks.worker import Worker

SHORT = 2
MOST = 1.3
"""Times a bare post on a kept connection, which is promised."""
BARE, EACH = "session", "post"
HELD = ("provider", "conversation", "send")
"""Whom the promise is about."""
DEFAULT = ("raw", BARE, EACH, *HELD, "provider-orjson", "conversation-orjson", "naive", "openai", "litellm")
HEADS = ("client", "CPU µs/call", "× session.post", "× requests.post", "to the first text, µs")
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
    print(f"A {SHORT}-chunk answer, read whole; medians of {options.rounds} rounds of {options.calls} calls.")
    print(report.machine(versions))
    print(f"\n{report.table(HEADS, [_row(name, samples) for name in samples])}\n")
    for name in HELD:
        here = _ratio(samples, name, BARE)
        print(report.promised(f"a call of a {CLIENTS[name].label}, in bare session.posts,", MOST, here))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.call", description=__doc__)
    parser.add_argument("--rounds", type=int, default=31, help="every client once a round (%(default)s)")
    parser.add_argument("--calls", type=int, default=40, help="of each client in a round (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a few rounds, without litellm")
    parser.add_argument(
        "--clients", nargs="+", default=DEFAULT, choices=tuple(CLIENTS), metavar="NAME", help=", ".join(CLIENTS)
    )
    parser.add_argument("--json", action="store_true", help="print every round's medians, in seconds, as JSON")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = min(options.rounds, 7)
        options.clients = [name for name in options.clients if name != "litellm"]
    if not (1 <= options.rounds <= 10_000 and 1 <= options.calls <= 10_000):
        parser.error("give 1 to 10000 rounds and calls")
    return options


def _measure(workers: dict[str, Worker], server: Server, options: argparse.Namespace) -> Samples:
    samples: Samples = {name: {"call": [], "first": []} for name in workers}
    for name in turns(workers, options.rounds):
        url = server.url(SHORT, protocol=CLIENTS[name].protocol)
        answer = workers[name].ask(do="first", url=url, times=options.calls)
        for what, taken in samples[name].items():
            taken.append(statistics.median(answer[what]))
    return samples


def _ratio(samples: Samples, name: str, against: str) -> float | None:
    if name not in samples or against not in samples:
        return None
    return report.paired(samples[name]["call"], samples[against]["call"])


def _row(name: str, samples: Samples) -> list[str]:
    own = samples[name]
    ratios = (_ratio(samples, name, against) for against in (BARE, EACH))
    return [
        CLIENTS[name].label,
        f"{statistics.median(own['call']) * 1e6:.0f}",
        *(report.NONE if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        f"{statistics.median(own['first']) * 1e6:.0f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
