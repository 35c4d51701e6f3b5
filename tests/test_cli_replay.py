"""``--record`` and ``promptstream replay``: what was asked is written, and shown again as it streamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_cli import pack, run  # noqa: F401 - pack is a fixture

from promptstream import ToolCall
from promptstream.errors import Overloaded
from promptstream.providers import registry
from promptstream.providers.scripted import ScriptedDialect

TURNS = (["Once ", "upon."], [ToolCall("c", "look", {"at": "it"})], ["Half", Overloaded("busy", status=529)])


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Give a recording of three answers in a chat: whole, of a call, broken off."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = str(tmp_path / "talk.ndjson")
    dialect = ScriptedDialect(TURNS, model="toy-1")
    monkeypatch.setitem(registry._registered, "played", lambda **options: dialect)
    done = run("chat", "-p", "played", "--record", path, piped="One\nTwo\x1b[31m red\nThree\n")
    assert (done.exit_code, done.stdout) == (3, "Once upon.\nHalf\n")
    return path


def told(result: Any) -> list[str]:
    """Give the lines on standard error."""
    return result.stderr.splitlines()


def test_a_recording_is_shown_again(file):
    """Each answer after what was asked; nothing of it steers the terminal, and one that failed fails again."""
    result = run("replay", file)
    assert result.stdout == "Once upon.\nHalf\n"
    assert told(result) == ["1. One", "2. Two red", '→ look(at="it")', "3. Three", "Error: busy"]
    assert result.exit_code == 3


def test_one_exchange_alone_and_as_events(file):
    """The number is that of --list; the events are those that a program gets."""
    assert run("replay", file, "1").stdout == "Once upon.\n"
    result = run("replay", file, "1", "--json", "--speed", "1000")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["type"] for event in events] == ["content", "content", "done"]
    assert events[-1]["final"]["content"] == "Once upon."
    assert result.stderr == ""
    last = run("replay", file, "3", "--json")
    assert [json.loads(line)["type"] for line in last.stdout.splitlines()] == ["content", "error"]
    assert last.exit_code == 3


def test_the_list_tells_each_exchange(file):
    """In a line for a person, or as JSON."""
    head, *rows = run("replay", file, "--list").stdout.splitlines()
    assert head.split() == ["#", "Model", "Ending", "Chunks", "Time", "Asked"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert all(word in rows[2] for word in ("scripted toy-1", "Overloaded", "Three"))
    listed = [json.loads(line) for line in run("replay", file, "--list", "--json").stdout.splitlines()]
    assert [(each["exchange"], each["line"], each["ending"], each["chunks"]) for each in listed] == [
        (1, 3, "whole", 2), (2, 8, "whole", 0), (3, 12, "Overloaded", 1)
    ]  # fmt: skip


def test_what_cannot_be_shown_is_told(file, pack, tmp_path):  # noqa: F811
    """With the line, or the number; and a file of somebody else's is never recorded over."""
    empty = str(tmp_path / "empty.ndjson")
    Path(empty).write_text('{"promptstream":"recording","format":1}\n')
    for arguments, code, text in (
        (("replay", pack), 1, "story.pack.json, line 1: this is no recording"),
        (("replay", file, "4"), 1, "has no exchange 4; it has 3"),
        (("replay", str(tmp_path / "none")), 1, "No such file"),
        (("replay", file, "--speed", "0"), 2, "is not a speed above 0"),
        (("ask", "Hi", "-p", "played", "--record", pack), 1, "this is no recording"),
        (("ask", "Hi", "-p", "played", "--record", "-"), 2, "name a file"),
        (("replay", empty), 1, "holds no exchange: nothing was asked"),
        (("replay", empty, "--list"), 1, "holds no exchange"),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        assert text in result.stderr
