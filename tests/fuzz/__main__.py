"""Flags in, a table of what random bytes did out: ``python -m tests.fuzz --sse 200000 --runs 100000``.

``--sse`` compares the readers of server-sent events and of lines of JSON with plain ones; ``--runs`` sends spoilt
answers of every dialect through the whole stack. Exits with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time

from fuzz.report import Found, as_json, gather, work
from fuzz.seeds import seeds
from fuzz.stack import again, violations


def main(arguments: list[str] | None = None) -> int:
    """Run the program and give its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--sse", type=int, metavar="N", help="random event streams (200000 where nothing is given)")
    parser.add_argument("--runs", type=int, metavar="N", help="spoilt answers (100000 where nothing is given)")
    parser.add_argument("--seed", type=int, help="of the dice; a fresh one is printed where none is given")
    parser.add_argument("--dialect", default="", help="only answers whose name begins so: chat, anthropic/call, …")
    parser.add_argument("--workers", type=int, default=2, help="processes; every other one parses JSON without orjson")
    parser.add_argument("--again", metavar="JSON", help="run one answer again, as a report printed it")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.work:
        print(as_json(work(*json.loads(given.work))))
        return 0
    if given.again:
        broken, outcome, seconds = violations(again(given.again, seeds()))
        print(f"{outcome or 'an exception'} in {seconds * 1000:.1f} ms of CPU", *broken, sep="\n")
        return bool(broken)
    neither = given.sse is None and given.runs is None
    streams, runs = (given.sse or 0, given.runs or 0) if not neither else (200_000, 100_000)
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    begun = time.monotonic()
    return shown(gather(streams, runs, seed, given.dialect, given.workers), time.monotonic() - begun)


def shown(found: Found, seconds: float) -> int:
    """Print a report and give the exit code."""
    if found.streams:
        print(f"event streams  {found.streams:>10,}  {found.streams / found.streams_cpu:>8,.0f} a second of CPU")
    if found.runs:
        print(f"answers        {found.runs:>10,}  {found.runs / found.runs_cpu:>8,.0f} a second of CPU")
        print(
            f"worst CPU      {found.worst * 1000:>10.1f}  ms\nmemory         {found.growth:>10.1f}  MiB more at the end"
        )
        for outcome, times in sorted(found.outcomes.items(), key=lambda pair: -pair[1]):
            print(f"  {outcome or 'escaped':<20} {times:>10,}")
    for problem in found.problems:
        print(f"BROKEN: {problem}")
    print(f"{len(found.problems)} promises broken in {seconds:.0f} s")
    return bool(found.problems)


if __name__ == "__main__":
    sys.exit(main())
