"""Figures in, Markdown tables and a line about the machine out."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence

NONE = "–"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay *rows* out as a Markdown table, its first column left, the others right."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    laid = (
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in laid)


def paired(values: Sequence[float], against: Sequence[float]) -> float:
    """Give the median of the ratios of two series measured in the same rounds."""
    return statistics.median(value / other for value, other in zip(values, against, strict=True))


def above(values: Sequence[float], against: Sequence[float]) -> float:
    """Give the median of the differences of two series measured in the same rounds."""
    return statistics.median(value - other for value, other in zip(values, against, strict=True))


def fraction(ratio: float) -> str:
    """Write a ratio as people say it: ``1/15`` below one, ``2.1x`` above."""
    return f"1/{1 / ratio:.1f}" if ratio < 0.95 else f"{ratio:.2f}x"


def promised(what: str, most: float, here: float | None, form: str = "{:.2f}") -> str:
    """Say what is promised, what this run has, and whether that keeps it; a run asserts nothing."""
    promise = f"Promised: {what} at most {form.format(most)}"
    if here is None:
        return f"{promise}; not measured here."
    return f"{promise}; here {form.format(here)}: {'met' if here <= most else 'NOT MET'}."


def machine(versions: Mapping[str, str]) -> str:
    """Name the Python and the libraries a table was measured with."""
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    python = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    return f"{python}; {libraries}" if libraries else python
