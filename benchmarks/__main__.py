"""Run the benchmarks, all or those that are named, one after the other, and save one report of them.

Figures are never judged by the exit status; it is 1 where a benchmark failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from benchmarks import page
from benchmarks.child import ROOT
from benchmarks.peers import PEERS, install

PATIENCE = 1800.0
"""Seconds after which a benchmark is ended."""


class Benchmark(NamedTuple):
    """Say what a benchmark measures, how it is run, and which columns of its tables are worth a picture."""

    title: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)
    plotted: tuple[str, ...] = ()
    module: str = ""
    """Its own name, where it is empty."""


PACED = ("--pace", "2", "--chunks", "400", "--clients")
PACED_FEW = ("raw", "provider", "conversation", "openai")
PACED_ALL = (
    *(f"{protocol}{name}" for protocol in ("", "anthropic-", "gemini-", "ollama-") for name in PACED_FEW[:3]),
    *("openai", "anthropic", "gemini", "ollama", "llm", "litellm", "pydantic-ai", "chatlas"),
)
BENCHMARKS = {
    "per_chunk": Benchmark(
        "CPU per chunk, and to the first text", ("--rounds", "9"), plotted=("CPU µs/chunk", "first text CPU ms")
    ),
    "paced": Benchmark(
        "the same, one chunk every 2 ms",
        ("--rounds", "5", *PACED, *PACED_ALL),
        ("--quick", *PACED, *PACED_FEW),
        ("CPU µs/chunk",),
        "per_chunk",
    ),
    "call": Benchmark("what a call costs besides its chunks", plotted=("CPU µs/call",)),
    "startup": Benchmark("what the import costs", plotted=("CPU ms",)),
    "memory": Benchmark("growth of memory over a long answer", ("--runs", "3"), plotted=("peak growth, MB",)),
    "bridge": Benchmark("the thread and queue of buffered()", ("--rounds", "15"), plotted=("median, ms",)),
    "concurrency": Benchmark("many paced streams in threads", plotted=("µs/event", "p99, ms")),
    "load": Benchmark(
        "the load profile: a slow upstream, a tool, up to 2,000 streams",
        quick=("--streams", "100"),
        plotted=("peak, MB", "p99, ms"),
    ),
    "batch": Benchmark("many prompts through promptstream.map", quick=("--rows", "2000")),
    "relay": Benchmark(
        "a relay with 200 clients",
        quick=("--clients", "50", "--seconds", "3", "--rounds", "1", "--relays", "1"),
        plotted=("p99, ms",),
    ),
    "telemetry": Benchmark("traces and metrics, on and off"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them, say what they say, and save the report."""
    options = _options(arguments)
    if options.install:
        for problem in install(list(PEERS)):
            print(problem, file=sys.stderr)
    about = page.machine()
    results = []
    for name in options.names:
        if options.json:
            print(f"{name} …", file=sys.stderr, flush=True)
        else:
            print(f"\n# {name}: {BENCHMARKS[name].title}\n", flush=True)
        results.append(_run(name, quick=options.quick, echo=not options.json))
        if results[-1].status:
            print(f"{name} failed with status {results[-1].status}", file=sys.stderr)
    if options.json:
        print(json.dumps(page.plain(results, about), indent=1, ensure_ascii=False))
    if options.report:
        _save(options.report, results, about)
    return any(result.status for result in results)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="Each also runs alone, with options of its own: python -m benchmarks.per_chunk --help",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)} (all)")
    parser.add_argument("--quick", action="store_true", help="few rounds and clients, some minutes in all")
    parser.add_argument("--json", action="store_true", help="print every table as JSON, once all have run")
    parser.add_argument("--report", type=Path, metavar="DIR", help="save report.html, report.md and report.json there")
    parser.add_argument("--install", action="store_true", help="first make the peers' environments that are not there")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no such benchmark: {', '.join(unknown)}; choose from {', '.join(BENCHMARKS)}")
    options.names = options.names or list(BENCHMARKS)
    if options.report:
        options.report.mkdir(parents=True, exist_ok=True)
    return options


def _run(name: str, *, quick: bool, echo: bool) -> page.Result:
    """Run one in a process of its own, and say what it says as it says it."""
    asked = BENCHMARKS[name]
    module = f"benchmarks.{asked.module or name}"
    begun = time.monotonic()
    if importlib.util.find_spec(module) is None:
        return page.Result(name, asked.title, 1, 0.0, "", f"{module} is not there", ())
    process = subprocess.Popen(
        [sys.executable, "-m", module, *(asked.quick if quick else asked.full)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    said: list[str] = []
    notes: list[str] = []
    try:
        readers = [
            threading.Thread(target=_read, args=(process.stdout, said, sys.stdout if echo else None)),
            threading.Thread(target=_read, args=(process.stderr, notes, sys.stderr)),
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        status = process.wait()
    except BaseException:
        process.kill()
        raise
    finally:
        guard.cancel()
    return page.Result(
        name, asked.title, status, time.monotonic() - begun, "".join(said), "".join(notes), asked.plotted
    )


def _read(source: IO[str] | None, lines: list[str], echo: IO[str] | None) -> None:
    assert source is not None
    with source:
        for line in source:
            lines.append(line)
            if echo:
                echo.write(line)
                echo.flush()


def _save(folder: Path, results: Sequence[page.Result], about: dict[str, str]) -> None:
    """Write the three files; a line tells where, and that there are no plots where there are none."""
    written = {
        "report.html": page.page(results, about),
        "report.md": page.markdown(results, about),
        "report.json": json.dumps(page.plain(results, about), indent=1, ensure_ascii=False) + "\n",
    }
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    without = "" if importlib.util.find_spec("matplotlib") else f" {page.NO_PLOTS}"
    print(f"Saved {folder / 'report.html'}, and beside it report.md and report.json.{without}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
