"""Faults in, a table of what became of each in each dialect out: ``python -m tests.faults [--only 32] [--tls]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from dialects import DIALECTS
from faults import FAULTS, NOT_MADE
from faults.core import MARGIN, Fault, attempt


def cases(faults: Sequence[Fault], *, tls: bool = False) -> Iterator[tuple[Fault, str, str]]:
    """Give each fault with each way to ask and the words for the two."""
    for fault in faults:
        for mode in fault.modes if not tls else fault.modes[:1]:
            if not tls or fault.secure:
                yield fault, mode, f"{fault.name}{', in one body' if mode == 'whole' else ''}{', TLS' if tls else ''}"


def main(argv: Sequence[str] | None = None) -> int:
    """Play the faults, print the table, and give 1 where a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", type=int, action="append", metavar="ROW", help="this row of the table")
    parser.add_argument("--dialect", choices=DIALECTS, action="append", help="this dialect")
    parser.add_argument("--tls", action="store_true", help="the faults that are made under TLS, under TLS")
    options = parser.parse_args(argv)
    faults = [fault for fault in FAULTS if not options.only or fault.number in options.only]
    dialects = [DIALECTS[name] for name in options.dialect or DIALECTS]
    listed = list(cases(faults, tls=options.tls))
    width = max((len(words) for _, _, words in listed), default=0)
    print(f"{'row':>3}  {'fault':<{width}}" + "".join(f"{dialect.name:>13}" for dialect in dialects))
    wrong, done, kept, worst, lacking = [], 0, 0, 0.0, []
    for fault, mode, words in listed:
        print(f"{fault.number:>3}  {words:<{width}}", end="", flush=True)
        for dialect in dialects:
            if reason := fault.lacking(dialect):
                lacking.append(f"{fault} in {dialect}: {reason}")
                print(f"{'–':>13}", end="", flush=True)
                continue
            seconds, broken = attempt(fault, dialect, mode=mode, tls=options.tls)
            done, kept, worst = done + 1, kept + (not broken), max(worst, seconds - fault.limit)
            wrong += [f"{fault.number} {words}, {dialect}: {each}" for each in broken]
            print(f"{('FAIL' if broken else 'ok') + f' {seconds:.2f} s':>13}", end="", flush=True)
        print()
    _print_rest(lacking, [f"{row}: {reason}" for row, reason in NOT_MADE.items()], wrong)
    print(f"{len(listed)} faults, {kept} of {done} cases as promised, worst overrun {worst:.2f} s of {MARGIN} s")
    return 1 if wrong or not done else 0


def _print_rest(lacking: Sequence[str], not_made: Sequence[str], wrong: Sequence[str]) -> None:
    for title, lines in (("Not in this dialect", lacking), ("Not made", not_made), ("BROKEN", wrong)):
        if lines:
            print(f"\n{title}:")
            print("\n".join(f"  {line}" for line in lines))
    print()


if __name__ == "__main__":
    sys.exit(main())
