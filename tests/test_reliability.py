"""The page on reliability says what the table of faults holds, and what it shows runs."""

from __future__ import annotations

import re

import pytest
from dialects import DIALECTS
from documents import ROOT
from faults import FAULTS, NOT_MADE, ROWS

from promptstream import errors

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
TOLD = {
    row: told
    for numbers, told in re.findall(r"^\| ([\d, –]+) \| [^|]+ \| (.+) \|$", PAGE, re.M)
    for row in (range(int(numbers[:2]), int(numbers[-2:]) + 1) if len(numbers) > 2 else [int(numbers)])
}
"""What the page promises, by row."""


def outcomes(row: int) -> set[str]:
    """Give the names of our errors that the row's faults come to, and "whole" where there is none."""
    promised = [
        fault.promised(dialect).error
        for fault in FAULTS
        for dialect in DIALECTS.values()
        if fault.number == row and fault.prove is None and not fault.lacking(dialect)
    ]
    return {error.__name__ if error else "whole" for error in promised if not error or hasattr(errors, error.__name__)}


def test_every_fault_has_its_row_on_the_page():
    """The list is complete."""
    assert sorted(TOLD) == list(ROWS)


@pytest.mark.parametrize("row", [row for row in ROWS if outcomes(row)])
def test_a_row_of_the_page_promises_what_its_faults_do(row):
    """Each error of ours that a fault of the row comes to is named there, and no other."""
    named = {name for name in re.findall(r"`(\w+)`", TOLD[row]) if hasattr(errors, name)}
    assert named | {word for word in ("whole",) if word in TOLD[row]} == outcomes(row)


def test_what_is_not_made_is_told():
    """A fault without a test is named on the page."""
    for row in NOT_MADE:
        if isinstance(row, int):
            assert "not made" in TOLD[row], row
        else:
            assert row.partition(" ")[0] in PAGE


def test_every_command_of_the_page_is_there():
    """What a reader is told to run can be run."""
    commands = re.findall(r"^python -m ([\w.]+)", PAGE, re.M)
    assert len(commands) == 9
    for command in commands:
        path = ROOT / command.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), command
