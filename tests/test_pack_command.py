"""``promptstream pack``: what it prints of a pack, and how it exits."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from test_cli import run
from test_packs import CURRENT, STORY, WHOLE, needs_data, write
from test_packs_whole import FULL


def pack(folder: Path, name: str, content: Any) -> str:
    """Write a pack file and give its path."""
    return str(write(folder, content, name))


def test_a_pack_without_findings_exits_with_0_and_tells_the_client_side_tools(tmp_path: Path) -> None:
    """One line for those tools, one for the count."""
    path = pack(tmp_path, "a.json", FULL)
    result = run("pack", "check", path)
    assert result.stdout.splitlines() == [
        f"{path}: client-side tool: lookup (answered with submit() unless bound in code)",
        "1 pack: no findings, none refused",
    ]
    assert result.exit_code == 0


def test_findings_that_are_not_fatal_exit_with_0_and_with_1_where_strict(tmp_path: Path) -> None:
    """Each on a line: the file, the JSON path, and what is wrong there."""
    path = pack(tmp_path, "a.json", {**FULL, "fragmnts": {}})
    result = run("pack", "check", path)
    assert f"{path}: $.fragmnts: unknown key; it has no effect. Did you mean 'fragments'?" in result.stdout
    assert result.stdout.endswith("1 pack: 1 finding, none refused\n")
    assert result.exit_code == 0
    strict = run("pack", "check", "--strict", path)
    assert strict.stdout.endswith("1 pack: 1 finding, 1 refused\n")
    assert strict.exit_code == 1


def test_a_pack_that_cannot_be_used_tells_everything_and_exits_with_1(tmp_path: Path) -> None:
    """What is fatal and what is not."""
    path = pack(tmp_path, "a.json", {"prompts": {"a": {"system": "x"}}})
    result = run("pack", "check", path)
    lines = result.stdout.splitlines()
    assert f"{path}: $.id: is missing" in lines
    assert any("$.prompts.a.system_template: is missing" in line for line in lines)
    assert lines[-1].endswith("1 refused")
    assert result.exit_code == 1


def test_a_file_that_cannot_be_read_does_not_keep_the_others_from_being_checked(tmp_path: Path) -> None:
    """All are looked at, and the exit code is 1."""
    broken = pack(tmp_path, "b.json", b"{")
    good = pack(tmp_path, "c.json", FULL)
    missing = str(tmp_path / "nowhere.json")
    result = run("pack", "check", missing, broken, str(tmp_path), good)
    assert f"{missing}: There is no pack file" in result.stdout
    assert f"{broken}: The pack file {broken!r} is not JSON" in result.stdout
    assert f"{tmp_path}: {str(tmp_path)!r} is a directory" in result.stdout
    assert f"{good}: client-side" in result.stdout
    assert result.stdout.endswith("4 packs: 3 findings, 3 refused\n")
    assert result.exit_code == 1
    assert result.stderr == ""


def test_check_needs_a_file() -> None:
    """Without one it is wrong usage."""
    assert run("pack", "check").exit_code == 2


def test_show_prints_prompts_variables_and_tools(tmp_path: Path) -> None:
    """Plain text, readable in a pipe."""
    result = run("pack", "show", pack(tmp_path, "a.json", FULL))
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for line in (
        "Full (full) 1.2.3",
        "prompt chat",
        "parameters: temperature 1, top_k 3",
        "tools: lookup",
        "policy: auto, 3 rounds, 4 calls a turn",
        "for m: system_template_suffix, temperature 0",
        "Variable Required Type Rules",
        'user yes string pattern "^[a-z]+$", min_length 1, max_length 9, enum ["ada"]',
        "n no number minimum 1, maximum 3",
        "Tool Arguments Description",
        "lookup id Look up an order",
        "workflow: begins at start; states: start, end",
        "evals: 1",
    ):
        assert line in lines
    assert result.exit_code == 0


def test_show_prints_defaults_descriptions_validators_and_findings(tmp_path: Path) -> None:
    """And where the findings can be read."""
    path = pack(tmp_path, "a.json", {**WHOLE, "odd": 1, "description": "What it is for"})
    shown = run("pack", "show", path).stdout
    for words in (
        "What it is for",
        "asks for: openai some-model",
        "Who is helped",
        '"brief"',
        "validators: max_length",
    ):
        assert words in shown
    assert f"findings: 1; see: promptstream pack check {path}" in shown


def test_show_of_a_pack_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """On standard error, with exit code 1."""
    result = run("pack", "show", pack(tmp_path, "a.json", {}))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "$.prompts" in result.stderr


@pytest.mark.parametrize("command", ["check", "show"])
def test_control_characters_of_a_pack_never_reach_the_terminal(tmp_path: Path, command: str) -> None:
    """Whatever a pack has in its names and texts."""
    evil = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31mx"
    variable = {"name": "a", "type": "string", "required": False, "default": evil, "description": evil}
    content = json.loads(json.dumps(FULL))
    content["prompts"][evil] = {"system_template": "x", "description": evil, "variables": [variable], "tools": [evil]}
    content["tools"][evil] = {
        "name": evil,
        "description": evil,
        "parameters": {"type": "object", "properties": {evil: {}}},
    }
    content |= {"name": evil, "description": evil, evil: 1, "metadata": {"language": evil}}
    content["prompts"][evil]["model_overrides"] = {evil: {"system_template_prefix": "x"}}
    out = run("pack", command, pack(tmp_path, "evil.json", content))
    assert [each for each in out.stdout + out.stderr if unicodedata.category(each) == "Cc" and each != "\n"] == []
    assert out.exit_code == 0


@needs_data
def test_every_current_pack_is_checked_and_shown() -> None:
    """None fails otherwise than by what its validators say."""
    result = run("pack", "check", *map(str, CURRENT))
    assert result.stdout.splitlines()[-1].startswith("39 packs: ")
    for path in CURRENT:
        if "guardrail-bad" not in path.name:
            assert run("pack", "show", str(path)).exit_code == 0


def test_a_bare_pack_is_shown(tmp_path: Path) -> None:
    """Under the name of its file, where it has none."""
    assert run("pack", "show", pack(tmp_path, "a.json", STORY)).stdout.startswith("a.json\n\nprompt storyteller\n")


def test_show_prints_templates_and_fragments_wrapped_and_without_what_steers_a_terminal(tmp_path: Path) -> None:
    """Line by line as they are, an override's too."""
    template = "Hello {{name}}.\n\n  - [bold]\x1b[31mlist[/bold]\n" + "word " * 60 + "{{tone}}"
    body = {"system_template": template, "model_overrides": {"m": {"system_template_suffix": "Now."}}}
    content = {"prompts": {"chat": body}, "fragments": {"tone": "Be kind.\nAlways."}}
    lines = run("pack", "show", pack(tmp_path, "a.json", content)).stdout.splitlines()
    at = lines.index("  template:")
    assert lines[at + 1 : at + 4] == ["    Hello {{name}}.", "", "      - [bold]list[/bold]"]
    assert lines[at + 4].startswith("    word word")
    assert lines[at + 5].endswith("word {{tone}}")
    assert max(map(len, lines)) <= 200
    at = lines.index("  system_template_suffix for m:")
    assert lines[at + 1] == "    Now."
    at = lines.index("fragment tone:")
    assert lines[at - 1 : at + 3] == ["", "fragment tone:", "  Be kind.", "  Always."]


def test_standard_input_is_checked_and_shown(tmp_path: Path) -> None:
    """As -, among files too; a key that is there twice is found as in a file."""
    text = '{"prompts": {"a": {"system_template": "x", "system_template": "Hi."}}}'
    result = run("pack", "check", "-", pack(tmp_path, "a.json", FULL), piped=text)
    assert "-: $.prompts.a.system_template: this key is there more than once" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("2 packs: ")
    assert result.exit_code == 0
    assert run("pack", "check", "-", "--strict", piped=text).exit_code == 1
    assert "    Hi.\n" in run("pack", "show", "-", piped=text).stdout


@pytest.mark.parametrize(
    ("piped", "words"),
    [
        ("", "The pack on standard input is empty"),
        ("{", "The pack on standard input is not JSON"),
        (b"\xff", "The pack on standard input is not UTF-8"),
        ("[" * (4 * 1024 * 1024 + 1), "The pack on standard input is larger than 4 MiB"),
        ("{}", "-: $.prompts: a pack needs at least one prompt"),
    ],
)
def test_a_pack_on_standard_input_that_cannot_be_used_says_why(piped: Any, words: str) -> None:
    """With exit code 1, as of a file."""
    result = run("pack", "check", "-", piped=piped)
    assert words in result.stdout
    assert result.exit_code == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_in_place_of_a_file_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    """Nobody may ever write to it."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    result = run("pack", "check", path)
    assert f"{path!r} is no regular file, but a pipe or a device" in result.stdout
    assert result.exit_code == 1


def test_a_missing_variable_says_how_it_is_given_on_the_command_line(tmp_path: Path) -> None:
    """By --var, not by an argument of Python's."""
    content = {"prompts": {"chat": {"system_template": "{{a}} {{b.c}} {{b.d}}"}}}
    result = run("run", pack(tmp_path, "a.json", content), "chat", "Hi", "--provider", "scripted")
    assert result.stderr == "Error: The variables 'a', 'b' have no value. Give --var a=… --var b=….\n"
    assert (result.exit_code, result.stdout) == (1, "")
