"""The output file of a batch in, one page of HTML with its figures and plots out; needs the extra ``report``."""

from __future__ import annotations

import json
import os
from array import array
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs

from promptstream.batch.output import read_line
from promptstream.errors import ConfigError
from promptstream.values.money import dollars
from promptstream.values.sanitise import clean

_SHOWN = 50
"""Failures that are listed."""
_LONGEST = 300
"""Characters of a message in that list."""


@attrs.define(eq=False)
class Figures:
    """Hold what the lines of an output tell, in the order in which the rows ended."""

    ok: int = 0
    failed: int = 0
    total: array[float] = attrs.field(factory=lambda: array("d"))
    """Seconds of whole answers."""
    first: array[float] = attrs.field(factory=lambda: array("d"))
    """Seconds to the first text, of whole answers."""
    read: array[float] = attrs.field(factory=lambda: array("d"))
    """Tokens of prompts."""
    written: array[float] = attrs.field(factory=lambda: array("d"))
    """Tokens of answers."""
    cost: Decimal | None = None
    """USD of those whose cost is known."""
    unpriced: int = 0
    retried: int = 0
    """Rows that took more requests than rounds."""
    failures: Counter[str] = attrs.field(factory=Counter)
    models: Counter[str] = attrs.field(factory=Counter)
    endings: Counter[str] = attrs.field(factory=Counter)
    """Whole answers by finish reason."""
    listed: list[tuple[str, str, str]] = attrs.field(factory=list)
    """Row, class and message of the first failures."""
    ended: list[str] = attrs.field(factory=list)
    """When the first row ended, and the last one."""

    @property
    def rows(self) -> int:
        """All of them."""
        return self.ok + self.failed

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line."""
        answer, error = line["response"], line["error"]
        self.ended = [*self.ended[:1], str(line.get("at", ""))]
        self.retried += line["attempts"] > answer["rounds"]
        if error is None:
            self.ok += 1
            self.endings[answer["finish_reason"] or "none given"] += 1
            self.models[answer["model"] or "unknown"] += 1
            for seconds, into in ((line["seconds"], self.total), (answer["timing"]["first"], self.first)):
                if seconds is not None:
                    into.append(seconds)
        else:
            self.failed += 1
            self.failures[error["type"]] += 1
            if len(self.listed) < _SHOWN:
                name = f"{line['index'] + 1}" + ("" if line["id"] is None else f" ({line['id']})")
                self.listed.append((name, error["type"], error["message"]))
        for tokens, into in ((answer["usage"]["input"], self.read), (answer["usage"]["output"], self.written)):
            if tokens is not None:
                into.append(tokens)
        if answer["cost"] is not None:
            self.cost = Decimal(answer["cost"]) + (self.cost or 0)
        elif error is None:
            self.unpriced += 1


def check_drawable(report: str | os.PathLike[str] | None = None) -> None:
    """Make sure that reports can be drawn, and that *report* can be written.

    Raises:
        ConfigError: the extra is not installed, or the file or its folder does not let itself be written to.
    """
    if find_spec("matplotlib") is None:
        raise ConfigError("A report is drawn with matplotlib: pip install 'promptstream-sdk[report]'.")
    if report is not None:
        folder = os.path.join(os.path.dirname(os.path.abspath(report)), "")
        if not os.access(report if os.path.exists(report) else folder, os.W_OK):
            raise ConfigError(f"{os.fspath(report)} cannot be written: it, or its folder, is missing or not yours.")


def read_figures(output: str | os.PathLike[str]) -> Figures:
    """Read the figures of an output file; a torn last line is passed over.

    Raises:
        ConfigError: it cannot be read, or a line of it is no result.
    """
    figures = Figures()
    try:
        with open(output, "rb") as file:
            for number, raw in enumerate(file, 1):
                if read_line(raw) is not None:
                    with suppress(KeyError, TypeError, ArithmeticError):
                        figures.add(json.loads(raw))
                        continue
                elif not raw.endswith(b"\n"):
                    break
                raise ConfigError(f"{os.fspath(output)} is not the output of a batch: line {number} is no result.")
    except OSError as error:
        raise ConfigError(f"{os.fspath(output)} cannot be read: {error.strerror or error}.") from None
    return figures


def write_report(output: str | os.PathLike[str], report: str | os.PathLike[str]) -> None:
    """Write the page on all rows that the file *output* holds, of however many runs; the page needs no other file.

    Raises:
        ConfigError: matplotlib is not installed; *output* cannot be read or holds something else, or *report* cannot
            be written.
    """
    check_drawable()
    page = page_of(read_figures(output), os.path.basename(os.fspath(output)))
    try:
        Path(report).write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{os.fspath(report)} cannot be written: {error.strerror or error}.") from None


def page_of(figures: Figures, title: str) -> str:
    """Give the page."""
    from promptstream.batch.plots import plots

    drawn = "\n".join(f"<figure>{svg}</figure>" for svg in plots(figures))
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(clean(value))}</td></tr>" for name, value in told(figures))
    return _PAGE.format(title=escape(clean(title)), rows=rows, plots=drawn, failures=_failures(figures))


def told(figures: Figures) -> list[tuple[str, str]]:
    """Give the figures in words; what is not known says so."""
    least = "at least " if figures.unpriced and figures.cost is not None else ""
    rows = [
        ("Rows", f"{figures.rows:,}: {figures.ok:,} done, {figures.failed:,} failed"),
        ("Whole answer", _times(figures.total)),
        ("To first text", _times(figures.first)),
        ("Tokens", f"{_sum(figures.read)} in, {_sum(figures.written)} out"),
        ("Cost", least + dollars(figures.cost)),
        ("Tried again", f"{figures.retried:,} rows"),
        ("Models", _counted(figures.models)),
        ("Endings", _counted(figures.endings)),
    ]
    return rows + ([("Answered", " to ".join(map(_when, figures.ended)))] if all(figures.ended) else [])


def percentile(values: array[float], part: float) -> float:
    """Give the value that this *part* of *values*, which are sorted, is at most."""
    return values[min(len(values) - 1, int(part * len(values)))]


def seconds(value: float) -> str:
    """Give *value* as a person says it."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _times(values: array[float]) -> str:
    ordered = array("d", sorted(values))
    if not ordered:
        return "unknown"
    parts = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)]
    return ", ".join(f"{name} {seconds(percentile(ordered, part))}" for name, part in parts) + (
        f", slowest {seconds(ordered[-1])}"
    )


def _when(told: str) -> str:
    return f"{told[:19].replace('T', ' ')} UTC"


def _sum(values: array[float]) -> str:
    return f"{sum(values):,.0f}" if values else "unknown"


def _counted(counts: Counter[str]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} {times:,}" for name, times in counts.most_common(8)) or "unknown"


def _failures(figures: Figures) -> str:
    if not figures.listed:
        return ""
    rows = "".join(
        f"<tr><td>{escape(clean(row)[:100])}</td><td>{escape(kind)}</td><td>{escape(clean(message[:_LONGEST]))}</td></tr>"
        for row, kind, message in figures.listed
    )
    more = figures.failed - len(figures.listed)
    rest = f"<p>… and {more:,} more.</p>" if more else ""
    return f"<h2>Failures</h2><table><tr><th>Row</th><th>Class</th><th>Message</th></tr>{rows}</table>{rest}"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<title>{title}: batch report</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; max-width: 76rem; margin: 2rem auto;
       padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
table {{ border-collapse: collapse; }}
td + td:nth-child(2) {{ overflow-wrap: break-word; }}
th, td {{ text-align: left; vertical-align: top; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid #e4e7eb;
         overflow-wrap: anywhere; }}
th {{ font-weight: 600; white-space: nowrap; }}
td {{ font-variant-numeric: tabular-nums; }}
.plots {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 1rem;
         margin-top: 1.5rem; }}
figure {{ margin: 0; border: 1px solid #e4e7eb; border-radius: 6px; padding: .5rem; }}
svg {{ width: 100%; height: auto; display: block; }}
</style>
</head>
<body>
<h1>{title}</h1>
<table>{rows}</table>
<div class="plots">
{plots}
</div>
{failures}
</body>
</html>
"""
