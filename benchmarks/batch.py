"""Ten thousand rows of ``promptstream.map``, 64 in flight: the rate, the memory and the CPU, with and without a file.

An answer comes after 200 ms and takes 200 ms more, so that 160 rows a second are possible: 64 / 0.4 s. ``python -m
benchmarks.batch --help`` lists the options; README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import report
from benchmarks.batch_run import MARKS
from benchmarks.child import Child
from benchmarks.load_upstream import Upstream

FIRST = 0.2
PROMISED = 0.9
"""Of the rate that the upstream allows."""
FLAT = 4e6
"""Bytes that memory may grow after the first tenth of the rows, and still be called flat: what went out in the last
minute is remembered for the rate limits, and an allocator keeps some of what it has."""
HEADS = ("results go to", "rows", "wrong", "seconds", "rows/s", "of possible", "CPU ms/row")
MEMORY = (*(f"at {share:.0%}, MB" for share in MARKS), "peak, MB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON; 1 where a row was lost, came twice or was not whole."""
    options = _options(arguments)
    with TemporaryDirectory() as folder:
        results = {
            kind: _measure(options, str(Path(folder, "out.jsonl")) if kind == "a file" else "")
            for kind in ("the loop", "a file")
        }
    if options.json:
        print(json.dumps({"options": vars(options), "results": results}))
    else:
        possible = options.at_once / _answer(options)
        print(f"{options.at_once} rows in flight, an answer takes {_answer(options):.2f} s: {possible:.0f} rows/s.")
        print(report.machine({}) + "\n")
        print(report.table((*HEADS, *MEMORY), [_row(kind, each, options) for kind, each in results.items()]))
        print()
        for kind, each in results.items():
            lost, grown = 1 - _rate(each, options) / possible, _grown(each)
            print(report.promised(f"results to {kind}: of the possible rate, lost", 1 - PROMISED, lost, "{:.1%}"))
            print(
                report.promised("  memory grown from a tenth of the rows to all, MB", FLAT / 1e6, grown / 1e6, "{:.1f}")
            )
    return int(any(_wrong(each) for each in results.values()))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--at-once", type=int, default=64, help="rows in flight (%(default)s)")
    parser.add_argument("--chunks", type=int, default=10, help="of an answer (%(default)s)")
    parser.add_argument("--pace", type=float, default=20, metavar="MS", help="between two of them (%(default)s)")
    parser.add_argument("--executor", help="processes, or an address as promptstream.map takes it")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    options = parser.parse_args(arguments)
    if min(options.rows, options.at_once) < 1 or options.chunks < 3 or options.pace < 0:
        parser.error("give numbers above 0, and at least 3 chunks")
    return options


def _answer(options: argparse.Namespace) -> float:
    """Give the seconds that the upstream takes for an answer."""
    return float(FIRST + options.chunks * options.pace / 1000)


def _measure(options: argparse.Namespace, out: str) -> dict[str, Any]:
    pace = options.pace / 1000
    asked = {"at_once": options.at_once, "chunks": options.chunks, "executor": options.executor}
    with Upstream(options.chunks, FIRST, pace, calls=False) as upstream, Child("benchmarks.batch_run") as child:
        child.ask(url=upstream.url, rows=options.at_once, out="", **asked)  # what is imported at first use
        patience = 60 + 10 * options.rows / options.at_once * _answer(options)
        return child.ask(patience, url=upstream.url, rows=options.rows, out=out, **asked)


def _wrong(figures: dict[str, Any]) -> int:
    return int(figures["failed"] + figures["missing"] + figures["twice"] + (figures["lines"] is False))


def _rate(figures: dict[str, Any], options: argparse.Namespace) -> float:
    return float(options.rows / figures["seconds"])


def _grown(figures: dict[str, Any]) -> float:
    first, *_, last = figures["resident"].values()
    return float(last - first)


def _row(kind: str, figures: dict[str, Any], options: argparse.Namespace) -> list[str]:
    rate = _rate(figures, options)
    return [
        kind,
        f"{options.rows:,}",
        f"{_wrong(figures):,}",
        f"{figures['seconds']:.1f}",
        f"{rate:.1f}",
        f"{rate * _answer(options) / options.at_once:.1%}",
        f"{figures['cpu'] / options.rows * 1e3:.2f}",
        *(f"{figures['resident'][str(share)] / 1e6:.1f}" for share in MARKS),
        f"{figures['peak'] / 1e6:.1f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
