"""Every fault of the table, in all six dialects, comes to exactly what is promised for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dialects import DIALECTS
from faults import ELSEWHERE, FAULTS, NOT_MADE, ROWS
from faults.__main__ import cases, main
from faults.core import attempt

HERE = Path(__file__).parent


TRUSTME = "trustme is not installed (it comes with the extra test)"
SSE = [dialect for dialect in DIALECTS.values() if dialect.framing == "sse"]
NDJSON = [dialect for dialect in DIALECTS.values() if dialect.framing == "ndjson"]


def sample(fault, number):
    """Give the dialects to play a fault in here: of what takes its time, one to each framing, in turns."""
    if fault.slow:
        return SSE[:1]
    if not fault.limit:
        return list(DIALECTS.values())
    able = [dialect for dialect in SSE if not fault.lacking(dialect)]
    return [able[number % len(able)], *NDJSON] if able else NDJSON


def made(*, tls: bool = False):
    """Give a test's parameters for each fault, each way to ask, and some or all dialects that it can be made in."""
    for number, (fault, mode, words) in enumerate(cases(FAULTS, tls=tls)):
        for dialect in sample(fault, number):
            if not fault.lacking(dialect):
                yield pytest.param(fault, mode, dialect, id=f"{fault.number} {words}-{dialect}")


@pytest.mark.parametrize(("fault", "mode", "dialect"), list(made()))
def test_a_fault_comes_to_its_promised_outcome(fault, mode, dialect):
    """The class, text and facts of the table, in time; one ending; no text that was not sent; nothing left behind."""
    if fault.raw:
        pytest.importorskip("trustme", reason=TRUSTME)
    _, wrong = attempt(fault, dialect, mode=mode)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("fault", "mode", "dialect"), list(made(tls=True)))
def test_a_fault_under_tls_comes_to_the_same(fault, mode, dialect):
    """TLS changes nothing of what a transport fault comes to."""
    pytest.importorskip("trustme", reason=TRUSTME)
    _, wrong = attempt(fault, dialect, mode=mode, tls=True)
    assert not wrong, "\n".join(wrong)


def test_every_row_of_the_table_is_accounted_for():
    """A row is made here, or by a test that exists, or listed with the reason why it is not made."""
    rows = {fault.number for fault in FAULTS} | set(ELSEWHERE) | {row for row in NOT_MADE if isinstance(row, int)}
    assert rows == set(ROWS)
    for row, where in ELSEWHERE.items():
        file, _, name = where.partition("::")
        assert re.search(rf"^def {re.escape(name)}\(", (HERE / file).read_text(), re.M), f"row {row}: {where}"


def test_faults_have_names_of_their_own():
    """No two faults are called the same, and what differs by dialect is said of dialects that exist."""
    names = [str(fault) for fault in FAULTS]
    assert len(set(names)) == len(names)
    for fault in FAULTS:
        assert set(fault.per) <= set(DIALECTS), fault
        ways = (fault.step, fault.script, fault.place, fault.prove)
        assert sum(way is not None for way in ways) == 1, f"{fault} is made in no way, or in two"
        assert set(fault.modes) <= {"stream", "whole"}, fault


def test_the_program_prints_the_table_and_a_verdict(capsys):
    """``python -m tests.faults`` names each fault, how each dialect fared, and ends with the counts."""
    assert main(["--only", "32", "--dialect", "chat"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r" 32  stall mid-stream +ok 0\.\d\d s$", lines[1])
    assert re.match(r"\d+ faults, (\d+) of \1 cases as promised, worst overrun", lines[-1])
