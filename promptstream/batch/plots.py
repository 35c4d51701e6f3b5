"""The figures of a batch in, plots as SVG out; needs the extra ``report``."""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from promptstream.batch.report import percentile, seconds

if TYPE_CHECKING:
    from promptstream.batch.report import Figures

_SIZE = (6.4, 3.2)
_BINS = 40
_STEPS = 40
"""Stretches of the run over which percentiles are drawn."""
_POINTS = 1500
"""More points than these are one picture: as shapes, they would make a page that no browser likes."""
_SKEWED = 20
"""The slowest over the usual from which a logarithmic axis shows more."""
_ID, _USED = re.compile(r' id="([^"]*)"'), re.compile(r"#([\w.]+)")
_BLUE, _ORANGE, _RED, _INK = "#2b6cb0", "#dd8420", "#c53030", "#1f2933"
_LOOK: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e7eb",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
}


def plots(figures: Figures) -> Iterator[str]:
    """Draw what there is: times and how they went over the run, tokens, failures by class."""
    for name, values in (("Whole answer", figures.total), ("Time to first text", figures.first)):
        if values:
            yield _drawn(name, lambda axes, values=values: _histogram(axes, values))
            yield _drawn(f"{name}, over the run", lambda axes, values=values: _run(axes, values))
    if figures.written or figures.read:
        yield _drawn("Tokens", lambda axes: _tokens(axes, figures))
    if figures.failures:
        yield _drawn("Failures by class", lambda axes: _failures(axes, figures))


def _drawn(title: str, draw: Any) -> str:
    """Give a plot as an SVG element whose ids are its own on a page with others."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({**_LOOK, "svg.hashsalt": title}):
        figure = Figure(figsize=_SIZE, dpi=150, layout="constrained")
        axes = figure.subplots()
        axes.set_title(title)
        draw(axes)
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    used = set(_USED.findall(svg))
    svg = _ID.sub(lambda found: found[0] if found[1] in used else "", svg)  # the others are the same in each plot
    label = f'<svg role="img" aria-label="{escape(title)}" '
    return svg[svg.index("<svg ") :].replace("<svg ", label, 1)


def _histogram(axes: Any, values: array[float]) -> None:
    ordered = array("d", sorted(values))
    low, high = max(ordered[0], 1e-4), ordered[-1]
    if high > _SKEWED * percentile(ordered, 0.5):
        factor = (high / low) ** (1 / _BINS)
        axes.hist(ordered, bins=[low * factor**at for at in range(_BINS + 1)], color=_BLUE)
        axes.set_xscale("log")
    else:
        axes.hist(ordered, bins=_BINS, color=_BLUE)
        axes.set_xlim(left=0)
    for part, style in ((0.5, "-"), (0.99, "--")):
        at = percentile(ordered, part)
        axes.axvline(at, color=_ORANGE, linestyle=style, label=f"p{part * 100:.0f} {seconds(at)}")
    _in_seconds(axes.xaxis)
    _whole(axes.yaxis)
    axes.set_ylabel("rows")
    axes.legend()


def _run(axes: Any, values: array[float]) -> None:
    many = len(values) > _POINTS
    axes.plot(range(1, len(values) + 1), values, "o", markersize=1.5 if many else 3, color=_BLUE, alpha=0.4,
              markeredgewidth=0, rasterized=many)  # fmt: skip
    step = max(10, -(-len(values) // _STEPS))
    parts = [(at, array("d", sorted(values[at : at + step]))) for at in range(0, len(values), step)]
    if len(parts) > 1:
        middles = [at + len(part) / 2 for at, part in parts]
        axes.plot(middles, [percentile(part, 0.5) for _, part in parts], color=_ORANGE, label="p50")
        axes.plot(middles, [percentile(part, 0.95) for _, part in parts], "--", color=_ORANGE, label="p95")
        axes.legend()
    if max(values) > _SKEWED * percentile(array("d", sorted(values)), 0.5):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("answers, in the order in which they were done")
    _whole(axes.xaxis)
    _in_seconds(axes.yaxis)


def _tokens(axes: Any, figures: Figures) -> None:
    pairs = [(figures.read, "in", _BLUE), (figures.written, "out", _ORANGE)]
    told = [(values, f"{name} ({sum(values):,.0f})", colour) for values, name, colour in pairs if values]
    values, labels, colours = zip(*told, strict=True)
    axes.hist(values, bins=_BINS, label=labels, color=colours, histtype="stepfilled", alpha=0.6)
    axes.set_xlim(left=0)
    _whole(axes.yaxis)
    _whole(axes.xaxis)
    axes.set_xlabel("tokens of a row")
    axes.set_ylabel("rows")
    axes.legend()


def _failures(axes: Any, figures: Figures) -> None:
    names, counts = zip(*reversed(figures.failures.most_common(12)), strict=True)
    bars = axes.barh(names, counts, color=_RED, height=min(0.7, 0.15 * len(names)))
    axes.bar_label(bars, [f"{count:,}" for count in counts], padding=4)
    axes.set_xlim(0, max(counts) * 1.15)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("rows")
    _whole(axes.xaxis)


def _whole(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _in_seconds(axis: Any) -> None:
    axis.set_major_formatter(
        lambda value, _: f"{value:,.3g} s" if value >= 1 or not value else f"{value * 1000:.3g} ms"
    )
    axis.set_minor_formatter(lambda value, _: "")
