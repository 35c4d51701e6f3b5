"""``promptstream batch``: rows in, lines in a file; what is told meanwhile and at the end, and how to go on."""

# ruff: noqa: F811 - fixtures of another module

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from batching import EchoServer
from openai_server import PATIENCE
from rich.console import Console
from terminals import POSIX, read_all, started, terminal
from test_cli import Play, pack, play, run  # noqa: F401 - fixtures
from test_cli_models import completed

from promptstream.batch.report import page_of, read_figures
from promptstream.batch.summary import Summary
from promptstream.cli import batch_table
from promptstream.cli.batch import Census
from promptstream.errors import RateLimited, Truncated
from promptstream.values.message import ToolCall
from promptstream.values.usage import Usage

Batch = Callable[..., Any]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, in which the command runs; with three rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["promptstream", "batch", "rows.jsonl", "-o", "out.jsonl"])
    (tmp_path / "rows.jsonl").write_text('"one"\n"two"\n{"message": "three", "id": "c"}\n')
    return tmp_path


def batch(*arguments: str, rows: str | None = "rows.jsonl", piped: str | None = None) -> Any:
    """Run the command on the rows, one at a time, so that a script is played in their order."""
    given = [*arguments] + ([] if rows is None else [rows])
    return run("batch", *given, "-o", "out.jsonl", "-p", "played", "--max-in-flight", "1", piped=piped)


def lines(path: Path) -> list[dict[str, Any]]:
    """Give the lines of the output."""
    return [json.loads(line) for line in (path / "out.jsonl").read_text(encoding="utf-8").splitlines()]


# Rows


def test_every_row_is_answered_into_a_line(play: Play, here: Path) -> None:
    """Standard output stays empty; the figures are told on standard error."""
    play(["A", Usage(10, 2)], ["B", Usage(20, 3)], ["C", Usage(1000, 5)])
    result = batch()
    assert (result.stdout, result.exit_code) == ("", 0)
    assert [(each["index"], each["id"], each["text"]) for each in lines(here)] == [
        (0, None, "A"),
        (1, None, "B"),
        (2, "c", "C"),
    ]
    told = result.stderr.splitlines()
    assert told[0] == "played · its default model (named by --provider)"
    assert re.fullmatch(r"3 done, 0 failed; .* s, .* rows/s", told[1])
    assert told[2] == "1,030 → 10 tokens · $0.0000"
    assert re.fullmatch(r"first text \d+ ms, p99 \d+ ms · whole answer \d+ ms, p99 \d+ ms", told[3])


def test_columns_are_variables_of_the_prompt(play: Play, pack: str, here: Path) -> None:
    """CSV has text, and the prompt reads it as what it declares; --var counts where the row says nothing."""
    asked = play("A", "B")
    (here / "rows.csv").write_text("message,who,count,id\nHi,Ann,3,x\nHo,,,y\n")
    assert batch(pack, "teller", "--var", "who=Bob", rows="rows.csv").exit_code == 0
    said = [[message.text for message in request.messages] for request in asked.requests]
    assert said == [["Tell it to Ann, 3 times.", "Hi"], ["Tell it to Bob, 1 times.", "Ho"]]
    assert [each["id"] for each in lines(here)] == ["x", "y"]


def test_the_last_word_is_the_rows(play: Play, pack: str, here: Path) -> None:
    """PROMPT may be left out where the pack has one, and PACK too."""
    asked = play(*["A"] * 3, *["B"] * 3)
    assert batch(pack, "--var", "who=Ann").exit_code == 0
    (here / "out.jsonl").unlink()
    assert batch("--system", "Be brief.").exit_code == 0
    assert [each.messages[0].text for each in asked.requests[::3]] == ["Tell it to Ann, 1 times.", "Be brief."]


def test_rows_come_through_a_pipe(play: Play, here: Path) -> None:
    """With "-"; what the output has is not asked again."""
    asked = play("A", "B")
    assert batch(rows="-", piped='"one"\n').exit_code == 0
    assert batch(rows="-", piped='"one"\n"two"\n').exit_code == 0
    assert [each.messages[-1].text for each in asked.requests] == ["one", "two"]


def test_the_first_rows_can_be_tried(play: Play, here: Path) -> None:
    """--limit ends after them, and without it the same command does the others."""
    play("A", "B", "C")
    assert batch("--limit", "2").exit_code == 0
    assert len(lines(here)) == 2
    assert "1 done, 0 failed, 2 skipped" in batch().stderr
    assert [each["text"] for each in lines(here)] == ["A", "B", "C"]


def test_what_the_rows_share_reaches_each_of_them(play: Play, here: Path) -> None:
    """Parameters, as for one answer."""
    asked = play("A", "B", "C")
    batch("--temperature", "0.5", "--max-tokens", "9")
    assert [(each.parameters["temperature"], each.parameters["max_tokens"]) for each in asked.requests] == [
        (0.5, 9)
    ] * 3


TOOLS = '''
import promptstream
@promptstream.tool(approval=True)
def look() -> str:
    """Look."""
    return "seen"
'''


@pytest.mark.parametrize("yes", [False, True])
def test_a_tool_that_needs_approval_waits_unless_it_is_given(play: Play, here: Path, yes: bool) -> None:
    """Nobody can be asked: the calls are counted, and --yes runs them."""
    (here / "tools.py").write_text(TOOLS)
    play([ToolCall("c1", "look", {})], "A")
    result = batch("--limit", "1", "--tools", "tools.py", *(["--yes"] if yes else []))
    assert lines(here)[0]["text"] == ("A" if yes else "")
    assert ("Calls of tools that wait for approval: 1; --yes runs them." in result.stderr) is not yes


# Failures


def test_failed_rows_are_told_and_kept_until_they_are_run_again(play: Play, here: Path) -> None:
    """Exit code 3 as long as there are any; the same command does nothing, and --retry-failed does those rows."""
    play("A", ["Hal", Truncated("It was cut.")], [RateLimited("Too many.")], "B", "C")
    first = batch()
    assert first.exit_code == 3
    assert "Failed: Truncated 1, RateLimited 1\nRow 3: RateLimited: " in first.stderr
    assert first.stderr.endswith("2 rows have failed; --retry-failed runs them again.\n")
    assert [(each["text"], each["error"] and each["error"]["type"]) for each in lines(here)][1] == ("Hal", "Truncated")
    second = batch()
    assert second.exit_code == 3
    assert "Nothing is left to do: out.jsonl has a result of each of 3 rows.\n2 rows have failed;" in second.stderr
    third = batch("--retry-failed")
    assert (third.exit_code, "2 done, 0 failed, 1 skipped" in third.stderr) == (0, True)
    assert [each["text"] for each in lines(here)] == ["A", "B", "C"]


def test_a_budget_that_is_spent_leaves_the_other_rows(play: Play, here: Path) -> None:
    """Exit code 3, with how to go on; what was paid for is kept."""
    play(["A", Usage(60, 60)], "B", "C")
    result = batch("--budget", "100tokens")
    assert result.exit_code == 3
    assert "The batch has used 120 tokens of its budget of 100; 1 row is done." in result.stderr
    assert "Go on with: promptstream batch rows.jsonl -o out.jsonl" in result.stderr
    assert len(lines(here)) == 1


def test_an_unreadable_row_is_told_before_anything_is_sent(play: Play, here: Path) -> None:
    """By its line; there is no output then."""
    asked = play("A")
    (here / "rows.jsonl").write_text('"one"\n{"message"}\n')
    result = batch()
    assert result.exit_code == 1
    assert "Error: rows.jsonl, line 2: it is not JSON" in result.stderr
    assert (asked.requests, (here / "out.jsonl").exists()) == ([], False)


def test_a_changed_input_is_told_before_anything_is_sent(play: Play, here: Path) -> None:
    """Answers would not belong to their rows."""
    asked = play("A", "B", "C", "D")
    batch()
    (here / "rows.jsonl").write_text('"one"\n"2"\n"three"\n"four"\n')
    result = batch()
    assert (result.exit_code, len(asked.requests)) == (1, 3)
    assert "Row 2 of the input is not the one that" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "out.jsonl"], "Missing argument 'ROWS'"),
        (["rows.jsonl"], "Missing option '-o' / '--output'"),
        (["rows.jsonl", "-o", "-"], "a batch goes on from its file"),
        (["rows.jsonl", "-o", "/dev/stdout"], "a batch goes on from its file"),
        (["rows.jsonl", "-o", "./rows.jsonl"], "that is another file of this command"),
        (["p.pack.json", "rows.jsonl", "-o", "out.jsonl", "--system", "x"], "--system is for rows without a PACK"),
        (["rows.jsonl", "-o", "out.jsonl", "--deadline", "0"], "0 is not a number of seconds above 0"),
        (["rows.jsonl", "-o", "out.jsonl", "--rpm", "0"], "Invalid value for '--rpm'"),
    ],
)
def test_wrong_usage_is_told(here: Path, arguments: list[str], said: str) -> None:
    """With exit code 2, and no file is touched."""
    result = run("batch", *arguments)
    assert (result.exit_code, said in " ".join(result.stderr.split())) == (2, True), result.stderr
    assert not (here / "out.jsonl").exists()


def test_an_executor_that_is_not_known_is_told(play: Play, here: Path) -> None:
    """With the one that was meant."""
    result = batch("--executor", "thread")
    assert result.exit_code == 1
    assert "'threads'" in result.stderr


def test_a_key_of_the_config_file_stays_in_this_process(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes read keys from the environment: that is told, with the way out."""
    config = here / "config.toml"
    config.write_text('[keys]\nopenai = "sk-test-key"\n')
    config.chmod(0o600)
    monkeypatch.setenv("PROMPTSTREAM_CONFIG", str(config))
    result = run("batch", "rows.jsonl", "-o", "out.jsonl", "-p", "openai", "--executor", "processes")
    assert result.exit_code == 1
    assert "the one of openai is in the config file: set its variable, or leave --executor out." in result.stderr


def test_words_are_completed(here: Path, pack: str) -> None:
    """Prompts of the pack, and where rows can run."""
    assert completed("batch", pack, "t") == ["teller"]
    assert completed("batch", "--executor", "p") == ["processes"]


# Stopped


@POSIX
def test_a_batch_that_is_stopped_tells_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done is kept, what is on its way is not written, and the same command does the rest."""
    (tmp_path / "rows.jsonl").write_text('"one"\n"hold two"\n"three"\n')
    with EchoServer() as server:
        command = ["batch", "rows.jsonl", "-o", "out.jsonl", "-m", "toy"]
        with started(server, *command, cwd=tmp_path) as child:
            server.wait_for(3)
            while not (tmp_path / "out.jsonl").exists() or len(lines(tmp_path)) < 2:
                assert child.poll() is None
            child.send_signal(signal.SIGINT)
            _, told = child.communicate(timeout=PATIENCE)
        assert child.returncode == 130
        assert b"2 done, 0 failed" in told
        assert b"Stopped. Go on with: promptstream batch rows.jsonl -o out.jsonl -m toy\n" in told
        assert sorted(each["index"] for each in lines(tmp_path)) == [0, 2]
        server.gate.set()
        monkeypatch.chdir(tmp_path)
        for name, value in server.variables().items():
            monkeypatch.setenv(name, value)
        assert run(*command).exit_code == 0
        assert [each["text"] for each in sorted(lines(tmp_path), key=lambda line: line["index"])] == [
            "Echo: one",
            "Echo: hold two",
            "Echo: three",
        ]
        assert len(server.requests) == 4


# How far it is


@attrs.define
class Far:
    """Stand in for a batch that is so far."""

    summary: Summary
    last: str = ""


FAR = Summary(4120, 12, 3000, Usage(1_203_400, 402_100), None, 0, 80.0)


def drawn(columns: int, far: Far) -> str:
    """Give what is drawn of it in a window that wide."""
    console = Console(width=columns, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        pace = batch_table.Pace(far, 7000)  # type: ignore[arg-type]
        console.print(batch_table._drawn(pace, Census(10_000, 3000), far, columns))
    return console.export_text()


def test_the_table_fits_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns in a row, at 60 one below the other; the last failure stands below it, cut."""
    monkeypatch.setenv("NO_COLOR", "1")
    ticks = iter(range(0, 1000, 40))
    monkeypatch.setattr(batch_table, "monotonic", lambda: float(next(ticks)))
    far = Far(FAR, f"Row 17: RateLimited: {'too many ' * 10}\nof them")
    wide = drawn(80, far).splitlines()
    assert wide[0].endswith(" 7,132 of 10,000")
    assert wide[1].split() == ["done", "failed", "skipped", "tokens", "cost", "rate", "left"]
    assert re.split(" {2,}", wide[2].strip()) == ["4,120", "12", "3,000", "1.2M → 402k", "unknown", "103.3/s", "28 s"]
    assert wide[3].startswith("Row 17: RateLimited: too many")
    assert max(map(len, wide)) <= 80
    narrow = drawn(60, far).splitlines()
    assert max(map(len, narrow)) <= 60
    assert [re.split(" {2,}", line.strip()) for line in narrow[1:8]][3] == ["tokens", "1.2M → 402k"]


def test_numbers_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three digits of what has more than four."""
    counts = (None, 0, 9_999, 10_000, 402_100, 1_203_400, 2_500_000_000)
    assert [batch_table.short(count) for count in counts] == ["?", "0", "9,999", "10k", "402k", "1.2M", "2.5G"]


def test_without_a_terminal_a_line_tells_now_and_then(here: Path, monkeypatch: pytest.MonkeyPatch, play: Play) -> None:
    """For logs: nothing is drawn."""
    monkeypatch.setattr(batch_table, "EVERY", 0.0)
    play(["A", 0.1], ["B", 0.1], ["C", 0.1])
    told = batch().stderr
    assert re.search(r"^[012] of 3 rows done, 0 failed, 0 skipped, tokens unknown, cost", told, re.MULTILINE)
    assert "\x1b" not in told


@POSIX
def test_a_terminal_shows_a_table_that_leaves_no_trace(tmp_path: Path) -> None:
    """It is drawn while the batch runs; at the end the summary stands alone."""
    (tmp_path / "rows.jsonl").write_text('"one"\n"hold two"\n')
    with (
        EchoServer() as server,
        terminal(server, "batch", "rows.jsonl", "-o", "out.jsonl", columns=80, cwd=tmp_path) as (child, person),
    ):
        server.wait_for(2)
        threading.Timer(0.05, server.gate.set).start()
        seen = read_all(person)
        assert child.wait(PATIENCE) == 0
    assert "skipped" in seen
    assert "1 of 2" in seen or "0 of 2" in seen
    assert re.search(r"2 done, 0 failed; ", seen)


# The report


def test_a_report_has_all_rows_of_all_runs(play: Play, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made at the end, or from the output alone; it needs no other file, and what models say is text in it."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")
    play(["A", Usage(60, 30)], [Truncated("<script>cut</script>")], "C")
    batch("--limit", "1")
    result = batch("--report", "report.html")
    assert (result.exit_code, "Report: report.html\n" in result.stderr) == (3, True)
    page = (here / "report.html").read_text(encoding="utf-8")
    assert "<td>3: 2 done, 1 failed</td>" in page
    assert "<td>Truncated</td><td>&lt;script&gt;cut&lt;/script&gt;" in page
    titles = re.findall('aria-label="([^"]*)"', page)
    assert titles[::2] == ["Whole answer", "Time to first text", "Tokens"]
    assert titles[-1] == "Failures by class"
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    named = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert [each for each in named if not each.startswith(("#", "data:"))] == []
    monkeypatch.setattr("promptstream.batch.report.page_of", lambda figures, title: f"{figures.rows} of {title}")
    assert batch("--report", "report.html", rows=None).exit_code == 0
    assert (here / "report.html").read_text(encoding="utf-8") == "3 of out.jsonl"


def test_a_report_of_no_rows_is_a_page(here: Path) -> None:
    """What is not known says so."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")
    (here / "out.jsonl").write_text("")
    page = page_of(read_figures("out.jsonl"), "out.jsonl")
    assert "<td>0: 0 done, 0 failed</td>" in page
    assert "<th>Whole answer</th><td>unknown</td>" in page


def test_a_report_without_its_extra_is_told_before_anything_is_sent(
    play: Play, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to install."""
    asked = play("A")
    monkeypatch.setattr("promptstream.batch.report.find_spec", lambda name: None)
    result = batch("--report", "report.html")
    assert (result.exit_code, asked.requests) == (1, [])
    assert "pip install 'promptstream-sdk[report]'" in result.stderr
