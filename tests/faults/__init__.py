"""Every fault that can be made on one machine, in all six dialects, each with its promised outcome.

``python -m tests.faults`` plays them all; tests/test_faults.py does the same, a case to a test. A module of this
package holds one group of rows: its ``FAULTS``, and, where it has them, ``ELSEWHERE`` (row → the test that makes it,
``test_file.py::test_name``) and ``NOT_MADE`` (row, or row and variant in words, → the reason).
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from faults.core import Fault

GROUPS = (
    *("connection", "status", "refusals", "truncation", "clocks"),
    *(
        "bodies",
        "payload",
        "said",
        "counts",
        "tools",
        "rounds",
        "hanging",
        "approvals",
        "process",
        "stopped",
        "history",
        "security",
    ),
)
ROWS = range(1, 78)


def _gathered(name: str) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for module in _MODULES:
        found |= getattr(module, name, {})
    return found


_MODULES = [import_module(f"faults.{name}") for name in GROUPS if find_spec(f"faults.{name}")]
FAULTS: tuple[Fault, ...] = tuple(
    sorted((fault for module in _MODULES for fault in getattr(module, "FAULTS", ())), key=lambda fault: fault.number)
)
ELSEWHERE: dict[int, str] = _gathered("ELSEWHERE")
NOT_MADE: dict[int | str, str] = _gathered("NOT_MADE")
