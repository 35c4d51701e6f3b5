"""A number of rows in, the rate, memory and CPU of ``promptstream.map`` over them out: the process that runs it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promptstream
from benchmarks.child import say
from benchmarks.costs import costs

MARKS = (0.1, 0.5, 1.0)
"""Shares of the rows at which the memory is looked at."""


def run(url: str, rows: int, *, at_once: int, chunks: int, out: str, executor: str | None) -> dict[str, Any]:
    """Run the batch; tell what it took, and how many rows were not whole or came twice."""
    marks = {max(1, round(rows * share)): str(share) for share in MARKS}
    resident: dict[str, float] = {}
    seen = bytearray(rows)
    failed, done = 0, 0
    before, begun = costs(), time.monotonic()
    batch = promptstream.map(
        rows=_rows(rows),
        executor=executor,
        max_in_flight=at_once,
        ordered=False,
        out=out or None,
        provider="compatible",
        base_url=url,
        model="bench",
    )
    for result in batch:
        done += 1
        seen[result.index] = 1
        failed += not result.ok or result.text.count(" ") != chunks
        if done in marks:
            resident[marks[done]] = costs()["resident"]
    seconds, after = time.monotonic() - begun, costs()
    return {
        "seconds": seconds,
        "cpu": after["cpu"] - before["cpu"],
        "before": before["resident"],
        "peak": max(after["peak"], *resident.values()),
        "resident": resident,
        "failed": failed,
        "missing": rows - sum(seen),
        "twice": done - sum(seen),
        "lines": sorted(json.loads(line)["index"] for line in Path(out).open(encoding="utf-8")) == list(range(rows))
        if out
        else None,
    }


def _rows(rows: int) -> Iterator[dict[str, Any]]:
    for number in range(rows):
        yield {"id": f"row-{number}", "message": f"What is there to say about {number}?"}


def main() -> None:
    """Run one batch for each line, the first of a few rows for what is imported at first use."""
    for line in sys.stdin:
        say(**run(**json.loads(line)))


if __name__ == "__main__":
    main()
