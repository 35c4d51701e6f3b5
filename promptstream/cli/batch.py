"""A prompt and a file of rows in, a file of results out; started again, it does what is missing."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs
import click

from promptstream.cli import completion
from promptstream.cli.batch_table import watching
from promptstream.cli.fitting import fitted
from promptstream.cli.flags import SYSTEM, Flags, positive_seconds, serving
from promptstream.cli.opening import relay_options
from promptstream.cli.sections import Command, option
from promptstream.cli.serve import ask_seldom, make_room
from promptstream.cli.spelling import spelled_here
from promptstream.cli.status import duration
from promptstream.cli.terminal import tell
from promptstream.errors import BudgetExceeded, ConfigError, DeadlineExceeded, PromptStreamError
from promptstream.values.money import dollars

if TYPE_CHECKING:
    from promptstream.batch import Batch, Result
    from promptstream.packs.variables import Variable

LEFT = 3
"""The exit code where rows failed, or are left."""
_MANY = 64
"""Rows at once from which on their threads are many."""
_EXECUTORS = ("threads", "processes", "dask://")
_EXIT_CODES = """\b
Exit codes:
  0    every row has its answer
  1    an error of setup, pack, input or output
  2    wrong usage
  3    rows failed, or are left as --budget or --deadline said
  129  stopped by SIGHUP, as where the terminal is closed
  130  stopped by Ctrl-C; the same command goes on
  143  stopped by SIGTERM; the same command goes on
"""


@attrs.frozen
class Census:
    """Count the rows before a request is sent."""

    rows: int | None
    """How many there are; None where they come from a pipe."""
    before: int = 0
    """Those that the output had already."""
    failed: int = 0
    """Failures among them."""

    @property
    def left(self) -> int | None:
        """Those that are to be run."""
        return None if self.rows is None else self.rows - self.before


@click.command(cls=Command, epilog=_EXIT_CODES)
@click.argument("pack", type=click.Path(), required=False)
@click.argument("prompt", required=False, shell_complete=completion.of_prompts)
@click.argument("rows", type=click.Path(allow_dash=True), required=False)
@SYSTEM
@option("-o", "--output", section="Rows", required=True, type=click.Path(), metavar="FILE",
        help="The JSONL file that results are appended to. Rows that it has are not run again.")  # fmt: skip
@option("--limit", section="Rows", type=click.IntRange(1), metavar="N", help="Only the first N rows, to try.")
@option("--retry-failed", section="Rows", is_flag=True, help="Run the rows again that failed before.")
@option("--executor", section="Rows", default="threads", show_default=True, metavar="WHERE",
        shell_complete=completion.of_words(_EXECUTORS),
        help="Where they run: threads, processes, or dask://HOST:PORT.")  # fmt: skip
@option("--workers", section="Rows", type=click.IntRange(1), metavar="N",
        help="How many processes or threads; else as many as suit.")  # fmt: skip
@option("--max-in-flight", section="Rows", default=16, show_default=True, type=click.IntRange(1), metavar="N",
        help="How many rows at once.")  # fmt: skip
@option("--rpm", section="Rows", type=click.FloatRange(0, min_open=True), metavar="N",
        help="Send at most so many requests a minute.")  # fmt: skip
@option("--tpm", section="Rows", type=click.FloatRange(0, min_open=True), metavar="N",
        help="Use at most about so many tokens a minute.")  # fmt: skip
@option("--deadline", section="Rows", type=float, callback=positive_seconds, metavar="SECONDS",
        help="How long all of it may take.")  # fmt: skip
@option("--report", section="Rows", type=click.Path(dir_okay=False), metavar="FILE.html",
        help="Write a page with plots on all rows of the output; without ROWS, nothing else.")  # fmt: skip
@serving
def batch(
    pack: str | None,
    prompt: str | None,
    rows: str | None,
    system: str | None,
    output: str,
    report: str | None,
    flags: Flags,
    **settings: Any,
) -> None:
    """Answer every row of a file.

    PACK is the path of a pack file, PROMPT one of its prompts. ROWS is a file of CSV (columns: message, id, and
    variables of the prompt) or JSONL (a line: a message in quotation marks, or an object with message, variables, id),
    or - for standard input. PROMPT may be left out where the pack has one, and PACK too where no pack is needed.

    Each result is appended to the output as soon as it is there. Stopped or killed at any point, the same command
    goes on with the rows that are missing. --budget is for all rows together, --timeout for each.

    \b
    Examples:
      promptstream batch weather.pack.json report cities.csv -o out.jsonl
      promptstream batch reviews.jsonl -o out.jsonl --system "Sum it up."
      promptstream batch reviews.jsonl -o try.jsonl --limit 5 --report try.html
      promptstream batch -o out.jsonl --report report.html
    """
    pack, prompt, rows = _told_apart(pack, prompt, rows)
    _check(pack, rows, system, output, report)
    if report is not None:
        from promptstream.batch.report import check_drawable

        check_drawable(report)
    if rows is None:
        _report(output, report)
        return
    loaded, options = _options(flags, pack, prompt, system, settings["executor"])
    declared = () if loaded is None else loaded.prompt(prompt).variables
    limit, retry = settings.pop("limit"), settings["retry_failed"]
    census = _counted(rows, declared, output, limit, retry)
    if census.rows == 0:
        tell(f"{rows} has no rows.", notable=True)
    elif census.left == 0:
        tell(f"Nothing is left to do: {output} has a result of each of {census.rows:,} rows.")
        _report(output, report)
        _leave(census.failed)
        return
    _run(loaded, prompt, _limited(rows, declared, limit), census, output, report, {**settings, **options})


def _told_apart(*given: str | None) -> tuple[str | None, str | None, str | None]:
    """Give PACK, PROMPT and ROWS: the last that is given is ROWS."""
    words = [each for each in given if each is not None]
    rows = words.pop() if words else None
    return words[0] if words else None, words[1] if len(words) > 1 else None, rows


def _check(pack: str | None, rows: str | None, system: str | None, output: str, report: str | None) -> None:
    if rows is None and report is None:
        raise click.UsageError("Missing argument 'ROWS': a file of CSV or JSONL, or - for standard input.")
    if pack is not None and system:
        raise click.UsageError("--system is for rows without a PACK.")
    if output in ("-", "/dev/stdout", "/dev/stderr"):
        raise click.UsageError("--output: a batch goes on from its file; name one.")
    for name, path, others in (("output", output, (rows, pack, report)), ("report", report, (rows, pack))):
        if path is not None and any(_same(path, each) for each in others if each is not None):
            raise click.UsageError(f"--{name} {path}: that is another file of this command; name one of its own.")


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _options(
    flags: Flags, pack: str | None, prompt: str | None, system: str | None, executor: str
) -> tuple[Any, dict[str, Any]]:
    """Give the pack, and what ``promptstream.map`` takes beside it.

    Raises:
        ConfigError: tools, or the provider's key in the config file, are not where the rows run.
    """
    loaded, options = relay_options(flags, pack=pack, prompt=prompt, system=system, attended=False)
    del options["retry"]  # which would tell of each time that a row is tried again
    elsewhere = executor.startswith(_EXECUTORS[1:])
    if elsewhere and flags.tools:
        raise ConfigError(
            f"--executor {executor}: the functions of --tools are loaded in this process alone, and the rows run in "
            "others: leave --executor out. From Python, promptstream.map takes those of a module."
        )
    if elsewhere and options["api_key"] is not None:
        raise ConfigError(
            f"--executor {executor}: the rows run in processes that read keys from the environment, and the one of "
            f"{options['provider']} is in the config file: set its variable, or leave --executor out."
        )
    return loaded, options


def _limited(rows: str, declared: Any, limit: int | None) -> Iterator[Any]:
    from promptstream.batch.source import read_rows

    return islice(read_rows(rows, declared), limit)


def _counted(rows: str, declared: tuple[Variable, ...], output: str, limit: int | None, retry: bool) -> Census:
    """Read the rows through, so that an error in them is told before anything is sent; count those that are there.

    Raises:
        ConfigError, StateError: a row cannot be read, or is not the one that the output has; as of Output.
    """
    from promptstream.batch.output import Output
    from promptstream.batch.source import STANDARD_INPUT

    piped = rows == STANDARD_INPUT or (os.path.exists(rows) and not os.path.isfile(rows) and not os.path.isdir(rows))
    if not os.path.exists(output):
        return Census(None if piped else sum(1 for _ in _limited(rows, declared, limit)))
    with Output(output, retry) as found:
        if piped:
            return Census(None, found.ok + found.failed, found.failed)
        done = [found.done(index, row) for index, row in enumerate(_limited(rows, declared, limit))]
        return Census(len(done), sum(done), found.failed)


def _run(
    pack: Any, prompt: str | None, rows: Iterator[Any], census: Census, output: str, report: str | None, options: Any
) -> None:
    """Run the rows; tell how far it is meanwhile, and at the end how it went.

    Raises:
        click.exceptions.Exit: rows failed, or are left.
        KeyboardInterrupt: the person's stop.
    """
    import promptstream

    make_room(options["max_in_flight"], "rows at once", "--max-in-flight")
    if options["max_in_flight"] >= _MANY:
        ask_seldom(options["max_in_flight"])
    seen = _Seen()
    with promptstream.map(pack, prompt, rows, out=output, ordered=False, on_result=seen.add, **options) as made:
        why: BaseException | None = None
        try:
            with watching(made, census, seen):
                made.run()
        except (PromptStreamError, KeyboardInterrupt) as error:
            why = error
        if made.summary.rows or why is None:
            _sum_up(made, seen)
    if isinstance(why, (BudgetExceeded, DeadlineExceeded)):
        tell(fitted(f"{spelled_here(why)} Go on with: {_again()}"), notable=True)
        _report(output, report)
        raise click.exceptions.Exit(LEFT)
    if isinstance(why, KeyboardInterrupt):
        tell(fitted(f"Stopped. Go on with: {_again()}"), notable=True)
    if why is not None:
        raise why
    _report(output, report)
    _leave(census.failed + made.summary.failed)


@attrs.define(eq=False)
class _Seen:
    """Count what the table and the summary need beside the batch's own figures."""

    failures: Counter[str] = attrs.field(factory=Counter)
    """By class."""
    last: str = ""
    """The last failure, in words."""
    pending: int = 0
    """Calls that somebody has to approve."""

    def add(self, result: Result) -> None:
        """Count *result*."""
        if result.error is not None:
            kind = type(result.error).__name__
            self.failures[kind] += 1
            self.last = f"Row {result.index + 1}: {kind}: {spelled_here(result.error)}"
        self.pending += len(result.answer.pending)


def _sum_up(made: Batch, seen: _Seen) -> None:
    """Tell how it went."""
    summary = made.summary
    told = [f"{summary.done:,} done", f"{summary.failed:,} failed"]
    told += [f"{summary.skipped:,} skipped"] if summary.skipped else []
    lines = [f"{', '.join(told)}; {duration(summary.seconds)}, {summary.rate:.1f} rows/s"]
    if summary.rows:
        least = "at least " if summary.untold and summary.cost is not None else ""
        usage = summary.usage
        tokens = "tokens unknown" if not usage else f"{usage.input or 0:,} → {usage.output or 0:,} tokens"
        cost = "cost unknown" if summary.cost is None else f"{least}{dollars(summary.cost)}"
        lines.append(f"{tokens} · {cost}")
        lines.append(
            f"first text {_times(summary.first_p50, summary.first_p99)} · "
            f"whole answer {_times(summary.total_p50, summary.total_p99)}"
        )
    if seen.failures:
        lines += [f"Failed: {', '.join(f'{kind} {times:,}' for kind, times in seen.failures.most_common())}", seen.last]
    tell(fitted("\n".join(lines)))
    if seen.pending:
        tell(fitted(f"Calls of tools that wait for approval: {seen.pending:,}; --yes runs them."), notable=True)


def _times(half: float | None, most: float | None) -> str:
    if half is None or most is None:
        return "unknown"
    return f"{_seconds(half)}, p99 {_seconds(most)}"


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _again() -> str:
    return shlex.join(["promptstream", *sys.argv[1:]])


def _report(output: str, report: str | None) -> None:
    if report is None:
        return
    from promptstream.batch.report import write_report

    write_report(output, report)
    tell(f"Report: {report}")


def _leave(failed: int) -> None:
    """Leave with the exit code of a batch that is through."""
    if failed:
        rows, those = ("1 row has", "it") if failed == 1 else (f"{failed:,} rows have", "them")
        tell(fitted(f"{rows} failed; --retry-failed runs {those} again."), notable=True)
        raise click.exceptions.Exit(LEFT)
