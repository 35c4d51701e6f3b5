"""The file of a batch's results, and the file of its rows: what is written, what is read back, and what is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openai_server import PATIENCE, ROOT
from terminals import POSIX

from promptstream.batch.output import Output, digest
from promptstream.batch.result import Result
from promptstream.batch.source import read_rows
from promptstream.errors import ConfigError, RateLimited, StateError
from promptstream.packs.variables import Variable
from promptstream.values.message import Image
from promptstream.values.response import Response


def result(index: int, text: str = "Yes.", *, failed: bool = False) -> Result:
    """Give a row's result."""
    row = {"message": f"row {index}"}
    if failed:
        return Result(index, row, error=RateLimited("Too many.", status=429, response=Response("Ye")))
    return Result(index, row, Response(text, complete=True))


def written(path: Path, *results: Result, **options: Any) -> list[dict[str, Any]]:
    """Write *results* in a run of their own, and give all lines that are there then."""
    with Output(path, **options) as output:
        for each in results:
            output.write(each)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def done(path: Path, *indices: int, **options: Any) -> list[bool]:
    """Tell of rows whether they are done."""
    with Output(path, **options) as output:
        return [output.done(index, {"message": f"row {index}"}) for index in indices]


# Lines


def test_a_line_holds_the_result_and_what_tells_its_row(tmp_path: Path) -> None:
    """A JSON object a row, in the order in which they come, with the digest of the row and when it ended."""
    first, second = written(tmp_path / "o.jsonl", result(1, "Grüße, 漢\n"), result(0, failed=True))
    assert (first["index"], first["text"], first["error"]) == (1, "Grüße, 漢\n", None)
    assert first["digest"] == digest({"message": "row 1"})
    assert (second["text"], second["error"]["type"], second["error"]["status"]) == ("Ye", "RateLimited", 429)
    assert Result.from_dict(first) == Result.from_dict(result(1, "Grüße, 漢\n").to_dict())
    assert first["at"].endswith("+00:00")


def test_a_line_is_written_at_once_and_whole(tmp_path: Path) -> None:
    """It can be read while the batch runs."""
    with Output(tmp_path / "o.jsonl") as output:
        output.write(result(0))
        assert json.loads((tmp_path / "o.jsonl").read_text())["index"] == 0


def test_half_a_surrogate_pair_does_not_end_the_batch(tmp_path: Path) -> None:
    """No file can hold it; U+FFFD stands in its place."""
    (line,) = written(tmp_path / "o.jsonl", result(0, "a\ud83db"))
    assert line["text"] == "a\ufffdb"


def test_a_row_is_written_once(tmp_path: Path) -> None:
    """A result that comes twice, as where machines are lost, or after it was there before, is one line."""
    path = tmp_path / "o.jsonl"
    assert len(written(path, result(0), result(0))) == 1
    assert len(written(path, result(0), result(1))) == 2


# Going on


def test_what_is_there_is_done(tmp_path: Path) -> None:
    """Rows with a line are, failed ones too; the others are not."""
    path = tmp_path / "o.jsonl"
    written(path, result(7), result(2, failed=True))
    assert done(path, 7, 2, 0, 8) == [True, True, False, False]


def test_failed_rows_are_taken_out_to_be_run_again(tmp_path: Path) -> None:
    """With retry_failed they are not done, and the file holds the others alone, with the rights that it had."""
    path = tmp_path / "o.jsonl"
    written(path, result(0), result(1, failed=True), result(2))
    path.chmod(0o640)
    assert done(path, 0, 1, 2, retry_failed=True) == [True, False, True]
    assert [each["index"] for each in written(path, result(1))] == [0, 2, 1]
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["o.jsonl"]


def test_a_changed_input_is_told(tmp_path: Path) -> None:
    """A row that is another than the one that was answered is an error, with its number as a person counts."""
    written(tmp_path / "o.jsonl", result(0))
    with (
        Output(tmp_path / "o.jsonl") as output,
        pytest.raises(ConfigError, match=r"^Row 1 of the input is not the one"),
    ):
        output.done(0, {"message": "row 0", "temperature": 1})


ROW = (
    "{'message': 'a', 'variables': {'b': [1, 2.5, None, True], 'a': {'x', 'y', 'z'}}, 'attachments': (b'1', Path('p'))}"
)


def test_a_digest_depends_on_nothing_but_the_row() -> None:
    """Not on the order of names, on the process, or on where a value lies in memory."""
    row = {
        "message": "a",
        "variables": {"b": [1, 2.5, None, True], "a": {"x", "y", "z"}},
        "attachments": (b"1", Path("p")),
    }
    assert digest(row) == digest(dict(reversed(row.items())))
    assert digest({"a": object()}) == digest({"a": object()})
    assert digest({"a": Image(url="https://example.org/a.png")}) != digest(
        {"a": Image(url="https://example.org/b.png")}
    )
    assert digest({"message": "1"}) != digest({"message": 1})
    program = f"from pathlib import Path; from promptstream.batch.output import digest; print(digest({ROW}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == digest(row)


# What a crash leaves


@pytest.mark.parametrize("cut", [1, 9, 12, 40, 200, -2])
def test_a_torn_last_line_is_taken_away(tmp_path: Path, cut: int) -> None:
    """Cut at any byte, its row is not done, and what is written next is a line of its own."""
    path = tmp_path / "o.jsonl"
    written(path, result(0), result(1))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:cut])
    assert done(path, 0, 1) == [True, False]
    assert [each["index"] for each in written(path, result(1))] == [0, 1]


def test_a_whole_line_without_its_end_is_kept(tmp_path: Path) -> None:
    """Cut right before the line feed, or saved by an editor so, nothing is lost."""
    path = tmp_path / "o.jsonl"
    written(path, result(0))
    path.write_bytes(path.read_bytes().rstrip())
    assert [each["index"] for each in written(path, result(0), result(1))] == [0, 1]


def test_zeros_that_a_crash_of_the_machine_leaves_are_taken_away(tmp_path: Path) -> None:
    """Some file systems have them where a write was under way."""
    path = tmp_path / "o.jsonl"
    written(path, result(0))
    path.write_bytes(path.read_bytes() + bytes(100))
    assert [each["index"] for each in written(path, result(1))] == [0, 1]


@pytest.mark.parametrize(
    "content",
    [
        "dear diary",
        "dear diary\n",
        '{"message": "row 0"}\n',
        "[]\n",
        '{"index":0}\n',
        '{"index":-1,"digest":"0123456789abcdef","error":null}\n',
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    """It is an error with the number of the line, and not a byte changes."""
    path = tmp_path / "o.jsonl"
    path.write_text(content)
    with pytest.raises(ConfigError, match="line 1 is no result"):
        Output(path)
    assert path.read_text() == content


def test_a_row_that_stands_there_twice_is_told(tmp_path: Path) -> None:
    """Two outputs that were put together are none of one batch."""
    path = tmp_path / "o.jsonl"
    written(path, result(0))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ConfigError, match="line 2: row 1 stands there twice"):
        Output(path)


@pytest.mark.parametrize("name", [".", "missing/o.jsonl", pytest.param("/dev/null", marks=POSIX)])
def test_what_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    """A directory, one that is not there, and a device are errors before anything is sent."""
    with pytest.raises(ConfigError):
        Output(tmp_path / name)


# Two at once


def test_two_runs_at_once_are_told(tmp_path: Path) -> None:
    """The second one is refused as long as the first has the file, also once that has replaced it."""
    path = tmp_path / "o.jsonl"
    written(path, result(0, failed=True))
    with Output(path, retry_failed=True), pytest.raises(ConfigError, match="Another batch is writing to"):
        Output(path)
    Output(path).close()


FORKED = """
import os, signal, sys
from promptstream.batch.output import Output
output = Output(sys.argv[1])
reading, writing = os.pipe()
if not os.fork():
    os.write(writing, b"I am here.")
    sys.stdin.read()
    os._exit(0)
os.read(reading, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


@POSIX
def test_a_forked_child_does_not_keep_the_file(tmp_path: Path) -> None:
    """Where a run is killed, its workers, which may live on, do not stand in the way of the next."""
    command = [sys.executable, "-c", FORKED, str(tmp_path / "o.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.wait(PATIENCE) == -signal.SIGKILL
        Output(tmp_path / "o.jsonl").close()


# A full disk


FULL = """
import resource, sys
from test_batch_output import result
from promptstream.batch.output import Output
from promptstream.errors import StateError
sys.dont_write_bytecode = True  # a file of it that is cut at the limit would be kept
with Output(sys.argv[1]) as output:
    output.write(result(0))
    size = output._size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
    try:
        output.write(result(1))
    except StateError as error:
        print(error)
    print(output.done(1, result(1).row))
"""


@POSIX
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    """What was written stands, the line that did not fit is not there in part, and there is a way on."""
    path = tmp_path / "o.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done_here = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True, env=environment
    )
    said, is_done = done_here.stdout.splitlines()
    assert said.startswith(f"{path} cannot be written: File too large. All rows that it has are whole;")
    assert is_done == "False"
    assert [each["index"] for each in written(path, result(1))] == [0, 1]


@POSIX
def test_a_disk_that_is_full_for_the_retry_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failed rows are taken out at once or not at all."""
    path = tmp_path / "o.jsonl"
    written(path, result(0), result(1, failed=True))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left on device"):
        Output(path, retry_failed=True)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["o.jsonl"]


# Killed


@POSIX
def test_killed_at_any_moment_it_does_what_is_missing() -> None:
    """4 kills of a real batch, by SIGKILL and in the middle of a line: ``python -m tests.killed_batch`` in part."""
    command = [sys.executable, "-m", "tests.killed_batch", "--kills", "4"]
    done_here = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done_here.returncode == 0, done_here.stdout + done_here.stderr
    assert "passed: 4 kills" in done_here.stdout


@POSIX
def test_the_killer_finds_what_is_missing_twice_there_or_wrong(tmp_path: Path) -> None:
    """It would be no use if it let everything pass."""
    from killed_batch import Course, answer_to, check_whole

    messages = [f"row {number}" for number in range(4)]
    lines = [{"index": at, "text": answer_to(messages[at]), "error": None} for at in (0, 1, 1, 2)]
    lines[3]["text"] = "no"
    path = tmp_path / "o.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    course = Course()
    check_whole(path, messages, course)
    assert course.violations == ["rows [3] are missing", "rows [1] are twice there", "rows [2] are wrong"]


# Rows


def rows_of(tmp_path: Path, name: str, content: str | bytes, *declared: str) -> list[dict[str, Any]]:
    """Give the rows of a file with this content."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(path, [Variable(each) for each in declared]))


def test_jsonl_has_a_message_or_an_object_a_line(tmp_path: Path) -> None:
    """Empty lines, a byte order mark and Windows' line ends do not matter; U+2028 ends no line."""
    content = b'\xef\xbb\xbf"Hi\xe2\x80\xa8"\r\n\n  {"message": "Ho", "variables": {"n": 1}}  \n"last"'
    assert rows_of(tmp_path, "r.jsonl", content) == [
        {"message": "Hi\u2028"},
        {"message": "Ho", "variables": {"n": 1}},
        {"message": "last"},
    ]


def test_csv_has_messages_ids_and_variables(tmp_path: Path) -> None:
    """Cells may go over lines, hold quotation marks, and be long; an empty id is none."""
    long = "x" * 200_000
    content = f'id,message,city\n7,"Hi, ""you""\nthere",Oslo\n,{long},Bergen\n'
    assert rows_of(tmp_path, "r.csv", content) == [
        {"message": 'Hi, "you"\nthere', "id": "7", "variables": {"city": "Oslo"}},
        {"message": long, "variables": {"city": "Bergen"}},
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_may_have_what_spreadsheets_write(tmp_path: Path, delimiter: str) -> None:
    """The delimiter is the one that the header has; a byte order mark and blank lines do not matter."""
    content = f"\ufeffmessage{delimiter} city \r\n\r\nHi{delimiter}Oslo\r\n"
    assert rows_of(tmp_path, "r.csv", content) == [{"message": "Hi", "variables": {"city": "Oslo"}}]


def test_an_empty_cell_is_no_value_where_the_prompt_declares_the_variable(tmp_path: Path) -> None:
    """So that its default counts; of any other column it is empty text."""
    content = "message,city,note\nHi,,\n"
    assert rows_of(tmp_path, "r.csv", content, "city") == [{"message": "Hi", "variables": {"note": ""}}]


def test_what_a_file_is_is_told_by_what_it_begins_with_where_its_name_does_not(tmp_path: Path) -> None:
    """An object or a text in quotation marks is JSON; anything else is CSV."""
    assert rows_of(tmp_path, "a", '\n{"message": "Hi"}\n') == [{"message": "Hi"}]
    assert rows_of(tmp_path, "b", "message\nHi\n") == [{"message": "Hi"}]
    assert rows_of(tmp_path, "c", "") == []


def test_rows_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "-" reads it as it is needed."""
    stdin = io.TextIOWrapper(io.BytesIO(b'"one"\n"two"\n'))
    monkeypatch.setattr(sys, "stdin", stdin)
    rows = read_rows("-")
    assert next(rows) == {"message": "one"}
    assert next(rows) == {"message": "two"}
    assert not stdin.buffer.closed


def test_rows_are_read_as_they_are_needed(tmp_path: Path) -> None:
    """What follows a line is not looked at before the line is used."""
    (tmp_path / "r.jsonl").write_text('"Hi"\n{\n')
    rows = read_rows(tmp_path / "r.jsonl")
    assert next(rows) == {"message": "Hi"}
    with pytest.raises(ConfigError, match="line 2"):
        next(rows)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.jsonl", '"Hi"\n{"message": }\n', r"r\.jsonl, line 2: it is not JSON \(Expecting value, column 13\)\."),
        ("r.jsonl", "[1, 2]\n", "line 1: it is a whole array; write one row a line, as jq"),
        ("r.jsonl", "[\n  {}\n]\n", "line 1: a value goes over several lines"),
        ("r.jsonl", "17\n", "line 1: it is 17; a row is a message in quotation marks, or an object"),
        ("r.jsonl", '"\xff"'.encode("latin-1"), "line 1: it is no UTF-8 .byte 2: 0xff"),
        ("r.jsonl", "[" * 100_000, "line 1: it is nested too deep"),
        ("r.csv", "massage,city\nHi,Oslo\n", "line 1: the header has no column 'message'. Did you mean 'massage'?"),
        ("r.csv", "message,city,city\n", "line 1: the header has 'city' twice"),
        ("r.csv", "message,\n", "line 1: the header has a column without a name"),
        ("r.csv", "message,city\nHi, you,Oslo\n", "line 2: it has 3 cells, and the header has 2"),
        ("r.csv", 'message\nHi\n"never ends\nx\n', "line 3: a quotation mark in the row that begins there is never"),
    ],
)
def test_a_line_that_is_no_row_is_told_with_its_number(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    """And with what is wrong, and what would be right."""
    with pytest.raises(ConfigError, match=said):
        rows_of(tmp_path, name, content)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(ConfigError, match=r"none\.csv cannot be read: No such file or directory\."):
        list(read_rows(tmp_path / "none.csv"))
