"""What telemetry costs, off and on: CPU per chunk and per round, against the same calls without any middleware.

``python -m benchmarks.telemetry --help`` lists the options. It needs the extra ``otel`` and ``opentelemetry-sdk``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from time import process_time
from typing import Any

import promptstream
from benchmarks import report, wire
from benchmarks.server import Server
from promptstream import ChunkType, middleware
from promptstream.values.chunk import Chunk
from promptstream.values.request import ChatRequest

MOST = 2e-6
"""Seconds of CPU per chunk that telemetry may add."""
OFF = "off (no middleware)"
PLAIN = "a middleware that does nothing"
HEADS = ("telemetry", "CPU µs/chunk", "over off", "over plain", "CPU µs/round of one chunk", "over off", "over plain")
Samples = dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON."""
    options = _options(arguments)
    layers = _layers()
    with Server() as server:
        many, one = server.url(options.chunks), server.url(1)
        with _provider(many) as for_chunks, _provider(one) as for_rounds:
            _take(layers, options.calls, lambda layer: _chunks(for_rounds, layer, 1))  # once for the caches
            chunks = _take(layers, options.rounds, lambda layer: _chunks(for_chunks, layer, options.chunks))
            rounds = _take(layers, options.rounds, lambda layer: _calls(for_rounds, layer, options.calls))
    if options.json:
        print(json.dumps({"options": vars(options), "chunk": chunks, "round": rounds}))
        return 0
    print(f"Streams of {options.chunks} chunks, and {options.calls} of one; medians of {options.rounds} rounds.")
    versions = {"promptstream": promptstream.__version__, "opentelemetry-sdk": version("opentelemetry-sdk")}
    print(report.machine(versions) + "\n")
    print(report.table(HEADS, [_row(name, chunks, rounds) for name in layers]))
    over = report.above(chunks["on"], chunks[PLAIN]) * 1e6
    print("\n" + report.promised("telemetry over a middleware that does nothing, CPU µs per chunk,", MOST * 1e6, over))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="each way once a round (%(default)s)")
    parser.add_argument("--chunks", type=int, default=2000, help="of a stream (%(default)s)")
    parser.add_argument("--calls", type=int, default=50, help="streams of one chunk in a round (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a few rounds, for a first look")
    parser.add_argument("--json", action="store_true", help="print every sample, in seconds, as JSON")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = min(options.rounds, 5)
    if not (1 <= options.rounds <= 1000 and 1 <= options.chunks <= wire.LARGEST and 1 <= options.calls <= 1000):
        parser.error(f"give 1 to 1000 rounds and calls, and up to {wire.LARGEST} chunks")
    return options


def _layers() -> dict[str, list[Any]]:
    """Give the middleware of each way; spans and metrics are kept by the SDK and go nowhere."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    tracers, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    return {
        OFF: [],
        PLAIN: [_plain],
        "without an SDK": [middleware.telemetry()],
        "on": [middleware.telemetry(tracers, meters)],
        "on, each chunk measured": [middleware.telemetry(tracers, meters, chunks=True)],
    }


def _plain(request: ChatRequest, call_next: middleware.CallNext) -> Iterator[Chunk]:
    yield from call_next(request)


def _provider(url: str) -> promptstream.Provider:
    return promptstream.providers.get("openai", api_key="sk-bench", base_url=url, model="gpt-bench")


def _take(layers: dict[str, list[Any]], rounds: int, run: Callable[[list[Any]], float]) -> Samples:
    """Run every way once a round, in turns."""
    samples: Samples = {name: [] for name in layers}
    order = list(layers)
    for _ in range(rounds):
        order.append(order.pop(0))
        for name in order:
            samples[name].append(run(layers[name]))
    return samples


def _chunks(provider: promptstream.Provider, layers: list[Any], chunks: int) -> float:
    """Stream once, and give the CPU seconds per chunk."""
    came = 0
    with promptstream.chat(provider=provider, middleware=layers) as conversation:
        began = process_time()
        for chunk in conversation.stream("Hi"):
            came += chunk.type is ChunkType.TEXT
        taken = process_time() - began
    if came != chunks:
        raise SystemExit(f"{came} chunks came, not {chunks}.")
    return taken / chunks


def _calls(provider: promptstream.Provider, layers: list[Any], calls: int) -> float:
    return statistics.fmean(_chunks(provider, layers, 1) for _ in range(calls))


def _row(name: str, chunks: Samples, rounds: Samples) -> list[str]:
    cells = [name]
    for taken in (chunks, rounds):
        cells.append(f"{statistics.median(taken[name]) * 1e6:.2f}")
        cells += [f"{report.above(taken[name], taken[base]) * 1e6:+.2f}" for base in (OFF, PLAIN)]
    return cells


if __name__ == "__main__":
    sys.exit(main())
