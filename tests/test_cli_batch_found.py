"""What a person who tried ``promptstream batch`` ran into: files, spreadsheets, a provider that is not there."""

# ruff: noqa: F811 - fixtures of another module

from __future__ import annotations

import os
from pathlib import Path

import pytest
from terminals import POSIX
from test_cli import Play, pack, play, run  # noqa: F401 - fixtures
from test_cli_batch import batch, here, lines  # noqa: F401 - a fixture among them

from promptstream.batch.output import Output
from promptstream.batch.report import Figures, page_of
from promptstream.batch.source import read_rows
from promptstream.errors import ConfigError, ConnectFailed, PromptStreamError, ServerError


def read(path: Path, text: str | bytes) -> list[dict[str, object]]:
    """Give the rows of a file that holds *text*."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_rows(path))


# Files


@pytest.mark.parametrize("report", ["rows.jsonl", "./rows.jsonl", "pack"])
def test_a_report_does_not_take_the_place_of_what_is_read(play: Play, pack: str, here: Path, report: str) -> None:
    """Rows and packs are a person's work: naming one as the report is wrong usage, and leaves it as it is."""
    path = pack if report == "pack" else report
    before = Path(path).read_bytes()
    result = batch(pack, "--report", path)
    assert (result.exit_code, f"--report {path}: that is another file" in result.stderr) == (2, True)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("report", ["missing/page.html", "rows.jsonl/page.html"])
def test_a_report_that_cannot_be_written_is_told_before_anything_is_sent(play: Play, here: Path, report: str) -> None:
    """Not after hours of rows."""
    asked = play("A", "B", "C")
    result = batch("--report", report)
    assert (result.exit_code, asked.requests, (here / "out.jsonl").exists()) == (1, [], False)
    assert f"{report} cannot be written: it, or its folder, is missing" in result.stderr


def test_a_file_without_rows_says_so(play: Play, here: Path) -> None:
    """It is through at once, and its report is a page like any other."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")
    play("A")
    (here / "none.csv").write_text("message,id\n")
    result = batch("--report", "page.html", rows="none.csv")
    assert (result.exit_code, "none.csv has no rows." in result.stderr) == (0, True)
    assert (lines(here), "<td>0: 0 done, 0 failed</td>" in (here / "page.html").read_text()) == ([], True)


@pytest.mark.parametrize("rows", ["missing.jsonl", "."])
def test_rows_that_are_not_there_leave_no_output_behind(play: Play, here: Path, rows: str) -> None:
    """A misspelt name makes no file."""
    play("A")
    result = batch(rows=rows)
    assert (result.exit_code, f"Error: {rows} cannot be read" in result.stderr) == (1, True)
    assert not (here / "out.jsonl").exists()


@POSIX
def test_an_output_that_is_a_pipe_is_told_by_the_name_it_was_given() -> None:
    """Its name in /proc leads nowhere."""
    reading, writing = os.pipe()
    try:
        name = f"/dev/fd/{writing}"
        with pytest.raises(ConfigError, match=f"^{name} is no regular file"):
            Output(name)
    finally:
        os.close(reading)
        os.close(writing)


# Where they run


@pytest.mark.parametrize("executor", ["processes", "dask://127.0.0.1:1"])
def test_tools_of_a_file_do_not_run_elsewhere(play: Play, here: Path, executor: str) -> None:
    """That is told in the words of the command, with the way out."""
    (here / "tools.py").write_text('import promptstream\n@promptstream.tool\ndef f() -> str:\n    """F."""\n')
    result = batch("--executor", executor, "--tools", "tools.py")
    assert result.exit_code == 1
    told = " ".join(result.stderr.split())
    assert f"--executor {executor}: the functions of --tools are loaded in this process alone" in told
    assert "leave --executor out" in told
    assert "pickle" not in told


def test_a_misspelt_executor_is_told_where_the_config_file_has_the_key(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said of keys then."""
    config = here / "config.toml"
    config.write_text('[keys]\nopenai = "sk-test-key"\n')
    config.chmod(0o600)
    monkeypatch.setenv("PROMPTSTREAM_CONFIG", str(config))
    result = run("batch", "rows.jsonl", "-o", "out.jsonl", "-p", "openai", "--executor", "thread")
    assert (result.exit_code, "executor='thread'" in result.stderr) == (1, True)


def test_a_provider_that_is_not_there_ends_the_batch_at_its_first_row(play: Play, here: Path) -> None:
    """The other rows would fail alike: none is written as failed, and the same command does them all."""
    asked = play(*[[ConnectFailed("No connection to it.")]] * 9)
    result = batch()
    assert (result.exit_code, lines(here)) == (1, [])
    assert "Error: No connection to it." in result.stderr
    assert len(asked.requests) < 9


@pytest.mark.parametrize(("first", "failed"), [("A", ["ConnectFailed"]), ([ServerError("Oh.")], None)])
def test_a_connection_that_fails_later_is_its_rows_own_failure(
    play: Play, here: Path, first: str | list[PromptStreamError], failed: list[str] | None
) -> None:
    """Once the provider has answered, it may be back for the next row."""
    play(first, *[[ConnectFailed("No connection to it.")]] * 9)
    (here / "rows.jsonl").write_text('"one"\n"two"\n')
    assert batch().exit_code == (3 if failed else 1)
    assert [each["error"]["type"] for each in lines(here) if each["error"]] == (failed or ["ServerError"])


# Spreadsheets


def test_empty_rows_of_a_spreadsheet_are_none(tmp_path: Path) -> None:
    """It writes the delimiters of rows that were cleared, and sometimes fewer or more of them."""
    rows = read(tmp_path / "a.csv", "message,id\r\nhi,1\r\n,\r\n , \r\n,,\r\nho,2\r\n")
    assert [each["message"] for each in rows] == ["hi", "ho"]


def test_a_line_that_names_the_delimiter_is_heeded(tmp_path: Path) -> None:
    """Exports for Excel begin with it."""
    (row,) = read(tmp_path / "a.csv", 'sep=;\r\nmessage;"a, b, c"\r\nhi;x\r\n')
    assert row == {"message": "hi", "variables": {"a, b, c": "x"}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"message,id\nw\xe4,1\n", "line 2: it is no UTF-8 (byte 2: 0xe4); save the file as UTF-8"),
        (b"\xff\xfem\x00", "line 1: it is no UTF-8 (byte 1: 0xff); save the file as UTF-8"),
        (b"message,id\rhi,1\r", "line 1: a carriage return stands in it alone; save the file with usual line ends"),
        (b'message\na\n"b\nc\nd\n', "line 3: a quotation mark in the row that begins there is never closed"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_what_to_do(tmp_path: Path, text: bytes, told: str) -> None:
    """In plain words, by the line on which it begins."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path / "a.csv", text)
    assert told in str(raised.value)


def test_plain_lines_are_told_how_they_become_rows(tmp_path: Path) -> None:
    """A file of questions is the first that anybody tries."""
    with pytest.raises(ConfigError, match=r"line 1: it is not JSON \(.*\); jq -R . makes rows of plain lines"):
        read(tmp_path / "a.jsonl", "Why is the sky blue?\n")


# The report


def test_a_long_name_of_a_row_is_cut_between_characters() -> None:
    """And not within the name of one."""
    figures = Figures(failed=1, listed=[("1 (" + "<" * 200, "ServerError", "Oh.")])
    page = page_of(figures, "out.jsonl")
    assert "<td>1 (" + "&lt;" * 97 + "</td>" in page
