"""docs/traps.md, held to what it says: every trap has tests, and they are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "traps.md").read_text(encoding="utf-8")
ROWS = {
    int(number): re.findall(r"`(\w+\.py)::(\w+)`", tests)
    for number, tests in re.findall(r"^\| (\d+) \|.*?\| (`test.*) \|$", PAGE, re.MULTILINE)
}


def test_the_page_lists_all_37():
    """None is missing and none is there twice."""
    assert [*ROWS] == [*range(1, 38)]
    assert len(re.findall(r"^\| \d+ \|", PAGE, re.MULTILINE)) == 37


@pytest.mark.parametrize("number", ROWS)
def test_every_trap_has_tests_that_exist(number):
    """A test that is renamed or deleted is missed here."""
    assert ROWS[number]
    for file, name in ROWS[number]:
        module = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
