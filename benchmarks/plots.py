"""A table and one of its columns in, a picture of it as SVG out; needs matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

OURS, FLOOR, OTHER = "#2f6f4f", "#8a8a8a", "#c9a34a"
WIDE, ROW = 8.0, 0.28
DECADES = 20
"""From this many times the least on, the axis is logarithmic."""
NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+")


def bars(title: str, column: str, labels: Sequence[str], cells: Sequence[str]) -> str:
    """Draw the column of one table, a bar to a row; nothing where it holds no figures."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    pairs = [(label, value) for label, cell in zip(labels, cells, strict=True) if (value := number(cell)) is not None]
    if not pairs or max(value for _, value in pairs) <= 0:
        return ""
    names, values = zip(*reversed(pairs), strict=True)
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": title + column, "font.family": "sans-serif", "font.size": 9}
    ):
        figure = Figure(figsize=(WIDE, 0.9 + ROW * len(names)), layout="constrained")
        axes = figure.add_subplot()
        drawn = axes.barh(range(len(names)), values, color=[_colour(name) for name in names], height=0.7)
        axes.bar_label(drawn, labels=[f"{value:g}" for value in values], padding=3, fontsize=8)
        axes.set_yticks(range(len(names)), names)
        axes.set(title=title, xlabel=column)
        axes.margins(x=0.12)
        if min(values) > 0 and max(values) > DECADES * min(values):
            axes.set_xscale("log")
        axes.spines[["top", "right"]].set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()[file.getvalue().index("<svg") :]


def number(cell: str) -> float | None:
    """Read a figure as the tables write it: ``1,234``, ``+0.8``, ``41%``, ``1/15``; None where there is none."""
    if cell.startswith("1/"):
        return 1 / float(cell[2:])
    found = NUMBER.match(cell)
    return float(found[0].replace(",", "")) if found else None


def _colour(label: str) -> str:
    return OURS if "promptstream" in label else FLOOR if "floor" in label else OTHER
