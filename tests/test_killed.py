"""A process is killed while it saves: what was confirmed is there, nothing is torn, and writing goes on.

This is the program ``python -m tests.killed`` in part: it kills 200 times.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from killed import perform, saves, verify

from promptstream.state import SQLiteStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def test_whenever_it_is_killed_what_was_confirmed_is_there_and_nothing_is_torn():
    """28 kills in all four ways: at steps of SQLite, in the middle of writes, after a while, beside another writer."""
    command = [sys.executable, "-m", "tests.killed", "--points", "28"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed: 28 kills" in done.stdout


# The killer is tried as well: it would be no use if it let everything pass.


@pytest.fixture
def stands(tmp_path):
    """A store that stands at step 20, and its path."""
    path = str(tmp_path / "a.db")
    with SQLiteStore(path) as store:
        for save, _ in islice(saves("a"), 20):
            perform(store, save)
    return path


@pytest.mark.parametrize(("confirmed", "after"), [(20, 21), (19, 21)])
def test_the_old_state_and_the_new_are_both_right(stands, confirmed, after):
    """A save that was not confirmed may have happened or not."""
    assert verify(stands, "a", confirmed) == (after, [])


@pytest.mark.parametrize("confirmed", [21, 18])
def test_a_confirmed_step_that_is_missing_and_one_too_many_are_found(stands, confirmed):
    """Neither less than was confirmed is right, nor more than one step beyond it."""
    wrong = [f"a: step {confirmed} was confirmed, and it stands at 20"]
    assert verify(stands, "a", confirmed) == (confirmed, wrong)


def test_a_mix_of_two_steps_is_found(stands):
    """The state of one step beside the messages of another is neither."""
    connection = sqlite3.connect(stands)
    connection.execute("UPDATE conversations SET state = replace(state, '20', '21')")
    connection.commit()
    connection.close()
    assert "it is torn" in verify(stands, "a", 20)[1][0]


def test_damage_to_the_file_is_found(stands):
    """What the store or SQLite itself refuses is a violation, and no crash of the program."""
    with open(stands, "r+b") as file:
        file.seek(4096 * 6)
        file.write(b"\xff" * 8192)
    assert verify(stands, "a", 20)[1] != []
