"""Hundreds and thousands of streams at once, each with a tool: memory, CPU, how late each text is, what goes wrong.

An answer's first event comes after 200 ms, then 30 chunks, one every 30 ms; the first answer calls a tool that takes
500 ms, the second is text. All streams are open before any is answered. ``python -m benchmarks.load --help`` lists the
options; README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import environments, peers, report
from benchmarks.child import Child, ChildFailed
from benchmarks.load_parts import PAUSE
from benchmarks.load_upstream import Upstream

PARTS = "benchmarks.load_parts"
CLIENTS = {
    "threads": "promptstream, threads",
    "relay": "promptstream, relay",
    "langchain": "LangChain, threads",
    "promptkit": "PromptKit",
}
OURS = ("threads", "relay")
FIRST, PACE = 0.2, 0.03
PROMISED = {100: 74, 500: 210, 1000: 348, 2000: 607}
"""MB, which PromptKit publishes for its own at so many streams."""
PATIENCE = 1200.0
HEADS = ("client", "streams", "errors", "lost", "before, MB", "peak, MB", "promised", "KiB/stream")
MORE = ("CPU ms/stream", "p50, ms", "p99, ms", "max, ms", "seconds")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON; 1 where a stream of promptstream's was not whole."""
    options = _options(arguments)
    _raise_limit()
    results: list[dict[str, Any]] = []
    broken = False
    for client in options.clients:
        for streams in options.streams:
            try:
                results.append(_measure(client, streams, options))
            except peers.Missing as problem:
                print(problem, file=sys.stderr, flush=True)
                break
            except ChildFailed as problem:
                print(f"{CLIENTS[client]}, {streams} streams: {problem}", file=sys.stderr, flush=True)
                broken |= client in OURS
    if options.json:
        print(json.dumps({"options": vars(options), "results": results}))
    else:
        ideal = 2 * (FIRST + options.chunks * PACE) + PAUSE
        print(f"{options.chunks} chunks an answer; a stream takes {ideal:.1f} s at least. {_versions(results)}")
        print(f"\n{report.table(HEADS + MORE, map(_row, results))}")
        for said in sorted({error for each in results for error in each["errors"]})[:5]:
            print(said)
        print()
        print("\n".join(_promises(results)))
    return int(broken or any(each["failed"] or each["lost"] for each in results if each["client"] in OURS))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=tuple(PROMISED), metavar="N", help="at once")
    parser.add_argument("--clients", nargs="+", default=tuple(CLIENTS), choices=CLIENTS, metavar="NAME")
    parser.add_argument("--chunks", type=int, default=30, help="of each of the two answers (%(default)s)")
    parser.add_argument(
        "--switch", type=float, metavar="S", help="sys.setswitchinterval (1 s for 4,000 streams, 0.05 s at least)"
    )
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    options = parser.parse_args(arguments)
    if min(options.streams) < 1 or options.chunks < 3 or (options.switch or 1) <= 0:
        parser.error("give numbers above 0, and at least 3 chunks")
    return options


def _raise_limit() -> None:
    """Let this process and its children have as many files open as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _measure(client: str, streams: int, options: argparse.Namespace) -> dict[str, Any]:
    if client == "promptkit":
        there = "its own harness has to drive it" if shutil.which("go") else "there is no Go here"
        raise peers.Missing(f"PromptKit: left out, {there}")
    with Upstream(options.chunks, FIRST, PACE, calls=True) as upstream:
        figures = (
            _relay(upstream, streams, options) if client == "relay" else _threads(client, upstream, options, streams)
        )
        told = upstream.ask()
    delays = sorted(each / 1e6 for each in figures.pop("delays"))
    cuts = statistics.quantiles(delays, n=100) if len(delays) > 1 else [float("nan")] * 99
    return {
        "client": client,
        "streams": streams,
        **figures,
        "lost": options.chunks * streams - len(delays),
        "p50": cuts[49],
        "p99": cuts[98],
        "max": max(delays, default=float("nan")),
        "seconds": figures["ended"] - told["began"],
        "open at once": told["most"],
        "upstream late": told["late"],
        "upstream cpu": told["cpu"],
    }


def _threads(client: str, upstream: Upstream, options: argparse.Namespace, streams: int) -> dict[str, Any]:
    python = peers.python("langchain") if client == "langchain" else sys.executable
    part = "langchain" if client == "langchain" else "promptstream"
    with Child(PARTS, part, *_asked(upstream, options, streams), python=python) as child:
        before = child.hear()
        upstream.ask(hold=streams)
        figures = child.ask(PATIENCE)
        return {**figures, "before": before["peak"], "ended": time.monotonic()}


def _relay(upstream: Upstream, streams: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a relay whose WebSocket clients are another process, one selector loop."""
    with Child(PARTS, "relay", *_asked(upstream, options, streams)) as relay:
        port = str(relay.hear()["port"])
        _ask(port, 1, options.chunks)  # what is imported at first use counts before
        before = relay.ask()
        with Child("benchmarks.relay_parts", "clients", port, str(streams)) as clients:
            clients.hear()
            upstream.ask(hold=streams)
            answer = clients.ask(PATIENCE, tokens=options.chunks, spread=0)
            ended, after = time.monotonic(), relay.ask()
    return {
        "before": before["peak"],
        "peak": after["peak"],
        "cpu": after["cpu"] - before["cpu"],
        "ended": ended,
        **{name: answer[name] for name in ("delays", "errors", "failed")},
    }


def _asked(upstream: Upstream, options: argparse.Namespace, streams: int) -> tuple[str, ...]:
    """Give a part's arguments; of so many threads, those that wait for Python's lock must not ask for it too often."""
    switch = options.switch or max(0.05, streams / 4000)
    return upstream.url, str(streams), str(options.chunks), str(switch)


def _ask(port: str, streams: int, chunks: int) -> None:
    with Child("benchmarks.relay_parts", "clients", port, str(streams)) as clients:
        clients.hear()
        clients.ask(tokens=chunks, spread=0)


def _versions(results: Sequence[dict[str, Any]]) -> str:
    there = any(each["client"] == "langchain" for each in results)
    return report.machine(environments.versions(peers.python("langchain"), "langchain-openai") if there else {})


def _promises(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    for each in results:
        if each["client"] in OURS and each["streams"] in PROMISED:
            who, wrong = f"{CLIENTS[each['client']]}, {each['streams']:,} streams:", each["failed"] + each["lost"]
            yield report.promised(f"{who} MB resident,", PROMISED[each["streams"]], each["peak"] / 1e6, "{:.0f}")
            yield report.promised(f"{who} errors and lost chunks,", 0, wrong, "{:.0f}")


def _row(figures: dict[str, Any]) -> list[str]:
    streams = figures["streams"]
    return [
        CLIENTS[figures["client"]],
        f"{streams:,}",
        f"{figures['failed']:,}",
        f"{figures['lost']:,}",
        f"{figures['before'] / 1e6:.0f}",
        f"{figures['peak'] / 1e6:.0f}",
        f"< {PROMISED[streams]}" if streams in PROMISED else report.NONE,
        f"{(figures['peak'] - figures['before']) / streams / 1024:.0f}",
        f"{figures['cpu'] / streams * 1e3:.1f}",
        *(f"{figures[name]:,.1f}" for name in ("p50", "p99", "max")),
        f"{figures['seconds']:.1f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
