"""What benchmarks printed in, the tables in it and one page of it all out: Markdown, HTML, JSON."""

from __future__ import annotations

import html
import importlib.util
import itertools
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import plots
from benchmarks.child import ROOT

PROMISED = "Promised:"
NO_PLOTS = "No plots: matplotlib is not installed."
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child,
td:first-child { text-align: left }
td.ours { font-weight: 600 }
.met { color: #2f6f4f } .missed { color: #a33 } .note, footer { color: #777 }
svg { max-width: 100%; height: auto }
"""


class Table(NamedTuple):
    """One table as it was printed; its title is the line before it that stands alone, if any."""

    title: str
    heads: list[str]
    rows: list[list[str]]


class Result(NamedTuple):
    """What one benchmark printed, and how it ended."""

    name: str
    title: str
    status: int
    seconds: float
    said: str
    notes: str
    plotted: tuple[str, ...]

    def blocks(self) -> Iterator[str | Table]:
        """Give the paragraphs and tables in their order."""
        title = ""
        for tabular, lines in itertools.groupby(self.said.splitlines(), lambda line: line.startswith("|")):
            if not tabular:
                text = "\n".join(lines)
                last = text.strip().rpartition("\n\n")[2]
                title = last if "\n" not in last and not last.endswith((".", ":")) else ""
                yield from (part for part in re.split(r"\n\s*\n", text) if part.strip())
                continue
            heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
            yield Table(title, heads, rows)

    def tables(self) -> list[Table]:
        """Give the tables alone."""
        return [block for block in self.blocks() if isinstance(block, Table)]

    def promises(self) -> list[str]:
        """Give what it says of its promises."""
        return [line for line in self.said.splitlines() if line.startswith(PROMISED)]


def machine() -> dict[str, str]:
    """Name what the figures depend on besides the code."""
    names = ("promptstream-sdk", "requests", "urllib3", "sseclient-py", "attrs", "orjson")
    return {
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "load before": ", ".join(f"{each:.2f}" for each in os.getloadavg()),
        "commit": _commit(),
        **{name: found for name in names if (found := _version(name))},
    }


def plain(results: Sequence[Result], about: Mapping[str, str]) -> dict[str, Any]:
    """Give everything as values that JSON holds."""
    return {
        "machine": dict(about),
        "benchmarks": {
            result.name: {
                "status": result.status,
                "seconds": round(result.seconds, 1),
                "tables": [table._asdict() for table in result.tables()],
                "promises": result.promises(),
                "notes": result.notes.splitlines(),
            }
            for result in results
        },
    }


def markdown(results: Sequence[Result], about: Mapping[str, str]) -> str:
    """Give one page, its tables as they were printed."""
    parts = ["# promptstream: benchmarks", "\n".join(f"- {name}: {value}" for name, value in about.items())]
    parts += ["## Promises", "\n".join(f"- {line}" for line in _promises(results)) or "None was measured."]
    for result in results:
        parts += [f"## {result.name}: {result.title}", result.said.strip(), *_ending(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def page(results: Sequence[Result], about: Mapping[str, str]) -> str:
    """Give one page that needs nothing besides, its plots in it where matplotlib is installed."""
    drawing = importlib.util.find_spec("matplotlib") is not None
    facts = "".join(f"<tr><td>{html.escape(name)}<td>{html.escape(value)}" for name, value in about.items())
    body = ["<h1>promptstream: benchmarks</h1>", f"<table>{facts}</table>", "<h2>Promises</h2><ul>"]
    body += [f'<li class="{_kept(line)}">{html.escape(line)}</li>' for line in _promises(results)]
    body.append("</ul>")
    for result in results:
        body.append(f'<h2 id="{result.name}">{html.escape(result.name)}: {html.escape(result.title)}</h2>')
        for block in result.blocks():
            if isinstance(block, Table):
                body += [_table(block), *(_plots(result, block) if drawing else ())]
            else:
                body += [f"<p>{'<br>'.join(map(html.escape, block.strip().splitlines()))}</p>"]
        body += [f'<p class="note">{html.escape(line)}</p>' for line in _ending(result)]
    if not drawing:
        body.append(f"<footer>{NO_PLOTS}</footer>")
    head = f'<meta charset="utf-8"><title>promptstream: benchmarks</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _promises(results: Sequence[Result]) -> list[str]:
    return [f"{result.name}: {line.removeprefix(PROMISED).strip()}" for result in results for line in result.promises()]


def _kept(line: str) -> str:
    return "missed" if "NOT MET" in line else "met" if line.endswith("met.") else "note"


def _ending(result: Result) -> list[str]:
    failed = [f"Failed with status {result.status}."] if result.status else []
    return [*result.notes.strip().splitlines(), *failed, f"It took {result.seconds:.0f} s."]


def _table(table: Table) -> str:
    heads = "".join(f"<th>{html.escape(head)}" for head in table.heads)
    rows = "".join(f"<tr>{''.join(_cell(row[0], cell) for cell in row)}" for row in table.rows)
    return f"<table><tr>{heads}{rows}</table>"


def _cell(label: str, cell: str) -> str:
    return f"<td{' class=ours' if 'promptstream' in label else ''}>{html.escape(cell)}"


def _plots(result: Result, table: Table) -> Iterator[str]:
    labels = [row[0] for row in table.rows]
    if len(set(labels)) < len(labels):
        labels = [", ".join(row[:2]) for row in table.rows]
    for column in result.plotted:
        if column in table.heads and len(labels) > 1:
            cells = [row[table.heads.index(column)] for row in table.rows]
            yield plots.bars(table.title or result.title, column, labels, cells)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
