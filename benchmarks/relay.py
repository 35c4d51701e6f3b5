"""How late a relay is with many clients at once, and what it costs: CPU of its process, memory for each client.

A provider writes the time into each event; the clients tell how long ago that was when they have it. All three are
processes of their own. ``python -m benchmarks.relay --help`` lists the options; README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import report
from benchmarks.child import Child

PARTS = "benchmarks.relay_parts"
PROMISED = 0.05
"""Seconds from the provider's write to the client's receipt, of 99 events in 100."""
HEADS = ("relays", "round", "messages/s", "failed", "p50, ms", "p99, ms", "max, ms")
HEADS += ("relay CPU", "µs/message", "others' CPU", "KiB/client")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON; 1 where a client got less than everything."""
    options = _options(arguments)
    rounds = {relays: _measure(relays, options) for relays in options.relays}
    failed = sum(each["failed"] for several in rounds.values() for each in several)
    if options.json:
        print(json.dumps({"options": vars(options), "relays": rounds}))
        return failed > 0
    print(f"{options.clients} clients, {options.rate} tokens a second each, {options.seconds} s a round.")
    print(f"{report.machine({})}\n")
    print(report.table(HEADS, [_row(relays, *each) for relays in rounds for each in enumerate(rounds[relays], 1)]))
    print(f"\n{report.promised('clients that got less than everything,', 0, failed, '{:.0f}')}")
    for relays, several in rounds.items():
        label = f"{relays} relays at one port:" if relays > 1 else "1 relay:"
        late = statistics.median(each["p99"] for each in several) * 1e3
        print(report.promised(f"{label} p99 from the provider's write to the client, ms,", PROMISED * 1e3, late))
    return failed > 0


def _measure(relays: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Give the figures of each round, with so many relays at one port."""
    tokens = options.rate * options.seconds
    with ExitStack() as stack:
        provider = stack.enter_context(Child(PARTS, "provider", str(tokens), str(1 / options.rate)))
        running, served = _relays(stack, str(provider.hear()["port"]), relays, options.clients)
        before = _resident(running)
        clients = stack.enter_context(Child(PARTS, "clients", str(served), str(options.clients)))
        clients.hear()
        _round(provider, running, clients, tokens, options)  # what is imported at first use is none of the relay's
        rounds = []
        for _ in range(options.rounds):
            figures = _round(provider, running, clients, tokens, options)
            rounds.append(figures | {"memory": (_resident(running) - before) / options.clients})
    return rounds


def _relays(stack: ExitStack, port: str, number: int, clients: int) -> tuple[list[Child], int]:
    """Start the relays; give them, and the port that they share."""
    folder = stack.enter_context(TemporaryDirectory())
    store = f"{folder}/kept.db" if number > 1 else ""
    relays: list[Child] = []
    served = 0
    for _ in range(number):
        relay = stack.enter_context(Child(PARTS, "relay", port, str(clients), str(served), store))
        served = relay.hear()["port"]
        relays.append(relay)
    return relays, served


def _resident(relays: Sequence[Child]) -> int:
    return sum(each.ask()["resident"] for each in relays)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=__doc__)
    parser.add_argument("--clients", type=int, default=200, help="at once (%(default)s)")
    parser.add_argument("--rate", type=int, default=50, help="tokens a second for each (%(default)s)")
    parser.add_argument("--seconds", type=int, default=10, help="that a turn takes (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each client (%(default)s)")
    parser.add_argument("--spread", type=float, default=1.0, metavar="S", help="in which all begin (%(default)s)")
    parser.add_argument(
        "--relays", nargs="+", type=int, default=(1, 3), metavar="N", help="processes that share the port (1 3)"
    )
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    options = parser.parse_args(arguments)
    if min(options.clients, options.rate, options.seconds, options.rounds, *options.relays) < 1 or options.spread < 0:
        parser.error("give numbers above 0")
    return options


def _round(
    provider: Child, relays: Sequence[Child], clients: Child, tokens: int, options: argparse.Namespace
) -> dict[str, Any]:
    def costs() -> list[float]:
        return [sum(each.ask()["cpu"] for each in relays), provider.ask()["cpu"]]

    before, begun = costs(), time.monotonic()
    answer = clients.ask(timeout=options.seconds + 180, tokens=tokens, spread=options.spread)
    took = time.monotonic() - begun
    spent = [now - then for now, then in zip(costs(), before, strict=True)]
    delays = sorted(each / 1e9 for each in answer["delays"])
    cuts = statistics.quantiles(delays, n=100)
    return {
        "messages": len(delays),
        "seconds": took,
        "failed": answer["failed"],
        "errors": answer["errors"],
        "p50": cuts[49],
        "p99": cuts[98],
        "max": delays[-1],
        "relay CPU": spent[0],
        "others": spent[1] + answer["cpu"],
    }


def _row(relays: int, number: int, figures: dict[str, Any]) -> list[str]:
    return [
        str(relays),
        str(number),
        f"{figures['messages'] / figures['seconds']:,.0f}",
        str(figures["failed"]),
        *(f"{figures[name] * 1e3:.1f}" for name in ("p50", "p99", "max")),
        f"{figures['relay CPU'] / figures['seconds']:.0%}",
        f"{figures['relay CPU'] / figures['messages'] * 1e6:.0f}",
        f"{figures['others'] / figures['seconds']:.0%}",
        f"{figures['memory'] / 1024:.0f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
