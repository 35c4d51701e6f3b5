"""What this process has cost so far: CPU seconds and resident bytes."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

_STATUS = Path("/proc/self/status")


def costs() -> dict[str, float]:
    """Give ``cpu`` in seconds; ``resident`` and its ``peak`` in bytes, the peak for both where there is no /proc."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return {"cpu": time.process_time(), "peak": most, "resident": most}
    held = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (each.partition(":") for each in lines)
        if rest[-2:] == "kB"
    }
    return {"cpu": time.process_time(), "peak": held["VmHWM"], "resident": held["VmRSS"]}
