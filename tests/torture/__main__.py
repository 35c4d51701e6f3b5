"""Fail the Nth fallible call of every scenario in every way, for N = 1, 2, 3, … until nothing is left to fail."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from torture.faults import FAULTS, tortured
from torture.runs import Row, tortured_rows
from torture.scenarios import Scenario, certificates_in, scenarios


def warm_up(known: dict[str, Scenario]) -> None:
    """Have loaded and started what every run shares: modules, and the watchdog."""
    for scenario in known.values():
        with scenario.stage() as stage:
            stage.calm = True
            stage.stream().result()


def table(rows: list[Row]) -> str:
    """Render runs and violations by scenario and fault."""
    names = list(dict.fromkeys(row.scenario for row in rows))
    kinds = list(dict.fromkeys(row.fault for row in rows))
    cells = {(row.scenario, row.fault): row for row in rows}
    lines = [f"{'runs (violations)':34}" + "".join(f"{kind:>15}" for kind in kinds)]
    for name in names:
        line = f"{name:34}"
        for kind in kinds:
            row = cells.get((name, kind))
            bad = f" ({len(row.violations)})" if row and row.violations else ""
            line += f"{f'{row.runs}{bad}' if row else '-':>15}"
        lines.append(line)
    return "\n".join(lines)


def main() -> int:
    """Run the program and give its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--scenario", action="append", help="only those whose names begin so; may be repeated")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only this one; may be repeated")
    parser.add_argument("--start", type=int, default=1, help="the first call to fail")
    parser.add_argument("--stride", type=int, default=1, help="fail every n-th call only")
    parser.add_argument("--most", type=int, default=20, help="violations to print")
    given = parser.parse_args()
    began = monotonic()
    with TemporaryDirectory() as directory:
        known = scenarios(certificates_in(Path(directory)))
        wanted = tuple(given.scenario or [""])
        chosen = [each for name, each in known.items() if name.startswith(wanted)]
        warm_up(known)
        with tortured():
            kinds = [FAULTS[name] for name in given.fault or FAULTS]
            rows = list(tortured_rows(chosen, kinds, given.start, given.stride))
    print(table(rows))
    calls = sum((row.calls for row in rows), Counter())
    print("failed calls:", ", ".join(f"{count} {name}" for name, count in calls.most_common()))
    violations = [each for row in rows for each in row.violations]
    print(*violations[: given.most], sep="\n", end="\n" if violations else "")
    runs = sum(row.runs for row in rows)
    print(
        f"{'FAILED' if violations else 'passed'}: {runs} runs of {len(chosen)} scenarios in "
        f"{monotonic() - began:.0f} s, {len(violations)} violations"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
