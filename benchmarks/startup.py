"""What an import costs over bare Python: CPU, resident memory, modules; each in fresh interleaved processes."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import report
from benchmarks.child import ROOT

EDGES = ("providers", "map")
TOUCH = f"import promptstream\nfor name in promptstream.__all__:\n    name in {EDGES!r} or getattr(promptstream, name)"
CASES = {
    "bare Python": "",
    "attrs": "import attrs",
    "promptstream": "import promptstream",
    "promptstream, every name touched": TOUCH,
    "promptstream, provider made": (
        "import promptstream\n"
        "promptstream.providers.get('openai', api_key='sk-bench', base_url='http://127.0.0.1:9/v1', model='gpt-bench')"
    ),
    "requests": "import requests",
    "requests + sseclient-py + attrs": "import requests, sseclient, attrs",
    "openai": "import openai",
}
TELL = """
import sys
try:
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
except OSError:
    peak = 0
print(peak, "requests" in sys.modules, len(sys.modules))
"""
HEADS = ("import", "CPU ms", "over bare", "peak RSS MB", "over bare", "modules", "requests loaded")
PATIENCE = 60.0
DOOR, MADE, SHARE = 50.0, 130.0, 1 / 3
"""CPU ms over bare Python that are promised: of the import, with a provider made, and that as a part of openai's."""


class Sample(NamedTuple):
    """What one process cost."""

    cpu: float
    peak: int
    requests: bool
    modules: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON."""
    options = _options(arguments)
    cases = {}
    for label, code in CASES.items():
        if _run(code) is None:  # this first run also leaves the bytecode behind
            print(f"{label}: left out, it cannot be imported", file=sys.stderr)
        else:
            cases[label] = code
    samples = _measure(cases, options.runs)
    if options.json:
        print(json.dumps({label: [sample._asdict() for sample in taken] for label, taken in samples.items()}))
        return 0
    print(f"Medians of {options.runs} fresh processes each.")
    print(report.machine({}) + "\n")
    print(report.table(HEADS, [_row(label, taken, samples["bare Python"]) for label, taken in samples.items()]) + "\n")
    for label, most in (("promptstream", DOOR), ("promptstream, provider made", MADE)):
        print(report.promised(f"{label}: import over bare Python, ms of CPU,", most, _over(samples, label), "{:.0f}"))
    share = _over(samples, "promptstream, provider made") / _over(samples, "openai") if "openai" in samples else None
    print(report.promised("promptstream, provider made: the same as a part of openai's,", SHARE, share))
    return 0


def _over(samples: dict[str, list[Sample]], label: str) -> float:
    """Give the ms of CPU over bare Python."""
    return report.above(*([sample.cpu for sample in samples[each]] for each in (label, "bare Python"))) * 1e3


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="processes for each case (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="five processes for each case")
    parser.add_argument("--json", action="store_true", help="print every sample as JSON")
    options = parser.parse_args(arguments)
    if options.quick:
        options.runs = min(options.runs, 5)
    if not 1 <= options.runs <= 1000:
        parser.error("give 1 to 1000 runs")
    return options


def _measure(cases: dict[str, str], runs: int) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {label: [] for label in cases}
    order = list(cases)
    for _ in range(runs):
        order.append(order.pop(0))
        for label in order:
            if sample := _run(cases[label]):
                samples[label].append(sample)
    return samples


def _run(code: str) -> Sample | None:
    """Run *code* in a new interpreter; None where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [sys.executable, "-c", code + TELL],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        with process.stdout:
            told = process.stdout.read().split()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        guard.cancel()
    if process.returncode or len(told) != 3:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    peak = int(told[0]) * 1024 or usage.ru_maxrss * unit
    return Sample(usage.ru_utime + usage.ru_stime, peak, told[1] == "True", int(told[2]))


def _row(label: str, taken: list[Sample], bare: list[Sample]) -> list[str]:
    cpu, peak = ([getattr(sample, field) for sample in taken] for field in ("cpu", "peak"))
    bare_cpu, bare_peak = ([getattr(sample, field) for sample in bare] for field in ("cpu", "peak"))
    return [
        label,
        f"{statistics.median(cpu) * 1e3:.1f}",
        f"{report.above(cpu, bare_cpu) * 1e3:+.1f}",
        f"{statistics.median(peak) / 1e6:.1f}",
        f"{report.above(peak, bare_peak) / 1e6:+.1f}",
        f"{taken[0].modules}",
        "yes" if taken[0].requests else "no",
    ]


if __name__ == "__main__":
    sys.exit(main())
