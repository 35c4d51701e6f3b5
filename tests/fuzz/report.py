"""How many runs of what in; what they found, gathered from a few processes, out."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
from fuzz.events import compare
from fuzz.seeds import seeds
from fuzz.stack import Report, kind_of, reduced, violations

ROOT = Path(__file__).parents[2]
GROWTH = 64
"""MiB that any number of runs may take on top of what the first of them took."""
_WARM = 500


@attrs.define
class Found:
    """What many runs found."""

    streams: int = 0
    streams_cpu: float = 0.0
    runs: int = 0
    runs_cpu: float = 0.0
    worst: float = 0.0
    """CPU seconds of the run that took longest."""
    growth: float = 0.0
    """MiB."""
    outcomes: dict[str, int] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)
    """Each with what reproduces it."""

    def add(self, other: Found) -> None:
        """Add what another process found."""
        for name in ("streams", "streams_cpu", "runs", "runs_cpu", "problems"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.worst, self.growth = max(self.worst, other.worst), max(self.growth, other.growth)
        self.outcomes = dict(Counter(self.outcomes) + Counter(other.outcomes))


def work(streams: int, runs: int, seed: int, dialect: str = "") -> Found:
    """Do so many runs in this process."""
    found = Found(streams=streams, runs=runs)
    begun = time.process_time()
    if streams and (difference := compare(streams, seed)):
        found.problems.append(difference)
    found.streams_cpu = time.process_time() - begun
    if runs:
        _mutate(found, seed, dialect)
    return found


def _mutate(found: Found, seed: int, dialect: str) -> None:
    known, report = seeds(dialect), Report()
    if not known:
        found.problems.append(f"no answer's name begins with {dialect!r}")
        return
    gc.freeze()
    gc.set_threshold(20_000)
    begun = time.process_time()
    report.run(min(_WARM, found.runs), seed, known)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report.run(max(0, found.runs - _WARM), seed + 1, known)
    found.growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    found.runs_cpu = time.process_time() - begun
    found.runs, found.worst, found.outcomes = report.outcomes.total(), report.worst, dict(report.outcomes)
    if found.growth > GROWTH:
        found.problems.append(f"the process grew by {found.growth:.0f} MiB")
    for kind, case in report.found.items():
        small = reduced(case, kind)
        said = next((each for each in violations(small)[0] if kind_of(each) == kind), kind)
        found.problems.append(f"{said}\n  --again '{small.described()}'")


def gather(streams: int, runs: int, seed: int, dialect: str = "", workers: int = 1) -> Found:
    """Share the runs among processes, every other one without orjson, and add up what they found."""
    asked = [[streams // workers, runs // workers, seed + 1000 * number, dialect] for number in range(workers)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz", "--work", json.dumps(each)],
            cwd=ROOT,
            env={**os.environ, "PROMPTSTREAM_JSON": "stdlib" if number % 2 else ""},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, each in enumerate(asked)
    ]
    found = Found()
    for process in running:
        told, _ = process.communicate()
        if process.returncode:
            found.problems.append(f"a process of the fuzzer died with {process.returncode}")
        else:
            found.add(Found(**json.loads(told)))
    return found


def as_json(found: Found) -> str:
    """Give what :func:`gather` reads."""
    data: dict[str, Any] = attrs.asdict(found)
    return json.dumps(data)
