"""Tools on the command line: those of a file, those that only a pack knows, and what a person is asked about them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_server import PATIENCE, Answer, OpenAIServer, calling
from terminals import POSIX, PROMPT, interrupt, read_until, started, terminal
from test_cli import run

from promptstream.cli.asking import clipped, told
from promptstream.cli.render import ToolLines
from promptstream.cli.sanitise import visible
from promptstream.state import SQLiteStore
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.message import ToolCall, ToolResult

TOOLS = '''
import promptstream

@promptstream.tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"12 °C in {city}"

@promptstream.tool(approval=True)
def delete_file(path: str, force: bool = False) -> str:
    """Delete a file."""
    with open(__file__ + ".log", "a") as log:
        log.write(f"{path} {force}\\n")
    return "deleted"
'''
WEATHER = ("call_w", "get_weather", '{"city": "Oslo"}')
DELETE = ("call_d", "delete_file", '{"path": "x"}')
PACK = {
    "id": "weather",
    "name": "Weather",
    "version": "1.0.0",
    "template_engine": {"version": "v1", "syntax": "{{variable}}"},
    "prompts": {
        "report": {
            "id": "report",
            "name": "Report",
            "version": "1.0.0",
            "system_template": "Report the weather.",
            "tools": ["get_weather"],
        }
    },
    "tools": {
        "get_weather": {
            "name": "get_weather",
            "description": "Tell the weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
    },
}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Keep conversations in a file of the test's own, and give its path."""
    path = str(tmp_path / "kept" / "conversations.db")
    monkeypatch.setenv("PROMPTSTREAM_STORE", path)
    return path


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """Give the path of a file with a tool, and one that needs approval."""
    path = tmp_path / "my_tools.py"
    path.write_text(TOOLS, encoding="utf-8")
    return str(path)


@pytest.fixture
def pack(tmp_path: Path) -> str:
    """Give the path of a pack that declares a tool."""
    path = tmp_path / "weather.pack.json"
    path.write_text(json.dumps(PACK))
    return str(path)


def ran(tools: str) -> str:
    """Give what the tool that needs approval has done."""
    log = Path(f"{tools}.log")
    return log.read_text() if log.exists() else ""


def results(request: dict[str, Any]) -> list[str]:
    """Give the results of tools in a request."""
    return [message["content"] for message in request["messages"] if message["role"] == "tool"]


# In a pipe


def test_a_tool_of_a_file_runs_and_the_text_stays_alone_on_standard_output(tools: str) -> None:
    """Call and result are a line each on standard error; the text of both rounds is the answer."""
    with OpenAIServer(calling(WEATHER, text="I look. "), "It is mild.") as server:
        result = run("ask", "How is Oslo?", "--base-url", server.url, "--tools", tools)
    assert (result.stdout, result.exit_code) == ("I look. It is mild.\n", 0)
    assert result.stderr == '→ get_weather(city="Oslo")\n← 12 °C in Oslo\n'
    assert [each["function"]["name"] for each in server.requests[0]["tools"]] == ["get_weather", "delete_file"]
    assert results(server.requests[1]) == ["12 °C in Oslo"]


def test_results_of_several_calls_say_whose_they_are(tools: str) -> None:
    """Where a round has more than one call, each result is named."""
    bergen = ("call_b", "get_weather", '{"city": "Bergen"}')
    with OpenAIServer(calling(WEATHER, bergen), "Mild.") as server:
        told = run("ask", "x", "--base-url", server.url, "--tools", tools).stderr.splitlines()
    assert told[2:] == ["← get_weather: 12 °C in Oslo", "← get_weather: 12 °C in Bergen"]


def test_a_call_that_needs_approval_ends_a_pipe_with_4(tools: str) -> None:
    """Nothing runs, and what waits is named, with what to do."""
    with OpenAIServer(calling(WEATHER, DELETE)) as server:
        result = run("ask", "x", "--base-url", server.url, "--tools", tools)
    assert (result.stdout, result.exit_code, ran(tools)) == ("", 4, "")
    assert result.stderr.splitlines()[-1] == (
        'Calls wait for a decision: delete_file(path="x"). At a terminal you are asked; '
        "--save NAME keeps them until then."
    )
    assert len(server.requests) == 1


def test_yes_runs_every_tool_of_a_file(tools: str) -> None:
    """--yes is the word for all of them."""
    with OpenAIServer(calling(DELETE), "Done.") as server:
        result = run("ask", "x", "--base-url", server.url, "--tools", tools, "--yes")
    assert (result.stdout, result.exit_code, ran(tools)) == ("Done.\n", 0, "x False\n")


def test_a_call_of_a_packs_tool_ends_a_pipe_with_4(pack: str) -> None:
    """Nobody runs it here, whatever --yes says."""
    for more in ([], ["--yes"]):
        with OpenAIServer(calling(WEATHER)) as server:
            result = run("run", pack, "report", "x", "--base-url", server.url, *more)
        assert result.exit_code == 4
        assert 'get_weather(city="Oslo")' in result.stderr.splitlines()[-1]


def test_a_tool_of_a_file_answers_for_the_pack(pack: str, tmp_path: Path) -> None:
    """One of the pack's name is bound to it."""
    path = tmp_path / "mine.py"
    path.write_text(TOOLS.partition("@promptstream.tool(")[0], encoding="utf-8")
    with OpenAIServer(calling(WEATHER), "Mild.") as server:
        result = run("run", pack, "report", "x", "--base-url", server.url, "--tools", str(path))
    assert (result.stdout, result.exit_code) == ("Mild.\n", 0)


def test_a_tool_that_the_pack_does_not_declare_is_an_error(pack: str, tools: str) -> None:
    """A slip in a name is told before anything is sent."""
    result = run("run", pack, "report", "x", "--base-url", "http://127.0.0.1:9", "--tools", tools)
    assert result.exit_code == 1
    assert "declares no tool 'delete_file'" in result.stderr


def test_a_piped_chat_ends_where_a_call_waits(tools: str) -> None:
    """No later line is answered as if the call had been decided."""
    with OpenAIServer(calling(DELETE), "never") as server:
        result = run("chat", "--base-url", server.url, "--tools", tools, piped="one\ntwo\n")
    assert (result.exit_code, len(server.requests)) == (4, 1)


def test_events_hold_calls_and_results(tools: str) -> None:
    """With --json they are events, and standard error is left alone."""
    with OpenAIServer(calling(WEATHER), "Mild.") as server:
        result = run("ask", "x", "--base-url", server.url, "--tools", tools, "--json")
    kinds = [json.loads(line)["type"] for line in result.stdout.splitlines()]
    assert [kind for kind in kinds if kind != "tool_call_delta"] == ["tool_call", "tool_result", "content", "done"]
    assert result.stderr == ""


def test_what_waits_is_kept_and_yes_decides_it_later(tools: str, store: str) -> None:
    """--save keeps a call that waits; --resume with --yes runs it once and goes on without a message."""
    with OpenAIServer(calling(DELETE), "Done.") as server:
        kept = run("ask", "x", "--base-url", server.url, "--tools", tools, "--save", "my trip")
        assert kept.exit_code == 4
        assert kept.stderr.endswith(f"promptstream chat --resume 'my trip' --tools {tools}\n")
        resumed = run("ask", "--resume", "my trip", "--tools", tools, "--yes")
    assert (resumed.stdout, resumed.exit_code, ran(tools)) == ("Done.\n", 0, "x False\n")
    assert resumed.stderr == '→ delete_file(path="x")\n← deleted\n'
    with SQLiteStore(store) as kept_in:
        assert [message.role for message in kept_in.load("my trip").messages] == [
            "user",
            "assistant",
            "tool",
            "assistant",
        ]


def test_a_message_does_not_pass_calls_that_wait(tools: str) -> None:
    """A resumed conversation whose calls nobody decides takes no message; with --yes they come first."""
    with OpenAIServer(calling(DELETE), "Done.", "And more.") as server:
        run("ask", "x", "--base-url", server.url, "--tools", tools, "--save", "t")
        assert run("ask", "more", "--resume", "t", "--tools", tools).exit_code == 4
        result = run("ask", "more", "--resume", "t", "--tools", tools, "--yes")
    assert (result.stdout, result.exit_code) == ("Done.\nAnd more.\n", 0)
    assert len(server.requests) == 3


def test_a_tool_that_has_code_by_now_runs_what_was_left_to_the_person(pack: str, tmp_path: Path) -> None:
    """A call that was held for want of code is run by a --tools file that comes later."""
    path = tmp_path / "mine.py"
    path.write_text(TOOLS.partition("@promptstream.tool(")[0], encoding="utf-8")
    with OpenAIServer(calling(WEATHER), "Mild.") as server:
        assert run("run", pack, "report", "x", "--base-url", server.url, "--save", "t").exit_code == 4
        result = run("ask", "--resume", "t", "--tools", str(path), "--yes")
    assert (result.stdout, result.exit_code) == ("Mild.\n", 0)
    assert results(server.requests[1]) == ["12 °C in Oslo"]


PRINTING = """
import os, promptstream, subprocess, sys
print("loading")
@promptstream.tool
def look() -> str:
    print("looking")
    sys.__stdout__.write("past it\\n")
    subprocess.run(["echo", "a child"])
    return "seen"
"""


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_what_tools_print_stays_out_of_the_answer(tmp_path: Path, more: list[str]) -> None:
    """Also as their file is loaded, and what their processes print: standard output holds the answer alone."""
    path = tmp_path / "printing.py"
    path.write_text(PRINTING)
    arguments = ["ask", "x", "--tools", str(path), *more]
    with OpenAIServer(calling(("c1", "look", "{}"), text="I look. "), "Seen.") as server:
        with started(server, *arguments) as child:
            out, errors = child.communicate(timeout=PATIENCE)
        server.requests.clear()
        within = run(*arguments, "--base-url", server.url)
    for shown in (out.decode(), within.stdout):
        if more:
            assert {"content", "tool_result", "done"} <= {json.loads(line)["type"] for line in shown.splitlines()}
        else:
            assert shown == "I look. Seen.\n"
    assert within.exit_code == child.returncode == 0
    assert {"loading", "looking", "a child", "past it"} <= {*errors.decode().splitlines()}
    assert {"loading", "looking"} <= {*within.stderr.splitlines()}


def test_lines_about_calls_begin_where_text_does_not_stand_in_one_log(tools: str) -> None:
    """Where standard output and standard error are one file or pipe, neither sticks to the other."""
    with (
        OpenAIServer(calling(WEATHER, text="I look. "), "It is mild.") as server,
        started(server, "ask", "x", "--tools", tools, stderr=subprocess.STDOUT) as child,
    ):
        log = child.communicate(timeout=PATIENCE)[0].decode()
    assert log == 'I look. \n→ get_weather(city="Oslo")\n← 12 °C in Oslo\nIt is mild.\n'


# Files of tools


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("x = 1\n", "it holds no tool"),
        ("def broken(:\n", "it cannot be loaded, line 1: SyntaxError"),
        ("\nimport nowhere_to_be_found\n", "it cannot be loaded, line 2: ModuleNotFoundError"),
        ("raise SystemExit(7)\n", "it cannot be loaded, line 1: SystemExit: 7"),
        ("import promptstream\n@promptstream.tool\nasync def f(): ...\n", "TypeError: f is async"),
    ],
)
def test_a_file_that_is_no_file_of_tools_is_an_error_in_a_line(tmp_path: Path, code: str, told: str) -> None:
    """What is wrong with it is told with the line, without a traceback, and nothing is sent."""
    path = tmp_path / "wrong.py"
    path.write_text(code)
    result = run("ask", "x", "--base-url", "http://127.0.0.1:9", "--tools", str(path))
    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr.startswith(f"Error: --tools {path}: ")
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Its path is told."""
    path = tmp_path / "none.py"
    assert run("ask", "x", "--tools", str(path)).stderr == f"Error: --tools {path}: there is no such Python file.\n"


def test_a_file_may_import_its_neighbour_and_counts_once(tmp_path: Path) -> None:
    """Tools that a file imports are taken too; one that is named twice is loaded once."""
    (tmp_path / "neighbour_of_tools.py").write_text(TOOLS, encoding="utf-8")
    path = tmp_path / "tools.py"
    path.write_text("from neighbour_of_tools import get_weather\nagain = get_weather\n")
    with OpenAIServer("ok") as server:
        assert run("ask", "x", "--base-url", server.url, "--tools", str(path), "--tools", str(path)).exit_code == 0
    assert [each["function"]["name"] for each in server.requests[0]["tools"]] == ["get_weather"]


def test_a_tool_that_fails_is_told_and_ends_nothing(tmp_path: Path) -> None:
    """The model is told the type of the error; the person sees its text as a warning."""
    path = tmp_path / "failing.py"
    path.write_text("import promptstream\n@promptstream.tool\ndef fail():\n    raise OSError('no \\x1b[31mdisk')\n")
    with OpenAIServer(calling(("c", "fail", "{}")), "Sorry.") as server:
        result = run("ask", "x", "--base-url", server.url, "--tools", str(path))
    assert (result.stdout, result.exit_code) == ("Sorry.\n", 0)
    assert result.stderr.splitlines() == [
        "→ fail()",
        "← The tool failed: OSError.",
        "Warning: The tool 'fail' failed: OSError: no disk",
    ]


# What is shown


def test_a_call_is_shown_whole_and_nothing_hides_in_it() -> None:
    """What steers a terminal, or is not seen, stands there as an escape; a name cannot fake a question."""
    arguments = {"pa\nth": "a\x1b[8m b\u202e c\x9b\u200b", "n": [1, {"ü": None}]}
    line = told(ToolCall("c", "f(x)? [y]\r\x1b[2K", arguments))
    assert line == (r'f(x)? [y]\r\u001b[2K(pa\nth="a\u001b[8m b\u202e c\u009b\u200b", n=[1, {"ü": null}])')
    assert told(ToolCall("c", "f", None, '{"cut": \x1b')) == r"f({\"cut\": \u001b)"


@given(st.text())
def test_nothing_is_lost_of_what_is_made_visible(text: str) -> None:
    """JSON that was made visible reads back as the same value, and holds nothing that does not show."""
    shown = visible(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert shown.isprintable()


def test_a_long_line_is_clipped() -> None:
    """A remark in passing has at most 200 characters, on one line."""
    assert clipped("a\nb " + "x" * 300) == "a b " + "x" * 195 + "…"


def test_a_call_that_nobody_is_asked_about_is_told_with_its_result() -> None:
    """Where a person is asked, the question shows the call; one answered without them comes with its result."""
    lines = ToolLines(asks=True)
    calls = [ToolCall("c1", "f", {}, "{}"), ToolCall("c2", "g", {}, "{}")]
    assert [line for call in calls for line in lines.of(Chunk(ChunkType.TOOL_CALL, tool_call=call))] == []
    mistaken = Chunk(ChunkType.TOOL_RESULT, tool_result=ToolResult("c2", "g", "There is no tool\n'g'.", True))
    assert list(lines.of(mistaken)) == ["→ g()", "← g: There is no tool 'g'."]
    lines.begin(calls[:1])
    lines.silence("c1")
    assert list(lines.of(Chunk(ChunkType.TOOL_RESULT, tool_result=ToolResult("c1", "f", "as typed")))) == []


# At a terminal


def environment(store: str, **more: str) -> dict[str, str]:
    """Give the environment of a program that keeps conversations in *store*."""
    return {"PROMPTSTREAM_STORE": store, **more}


@POSIX
def test_a_person_is_asked_for_the_result_of_a_packs_tool(pack: str) -> None:
    """The call is shown, what is typed is the result, an empty line refuses; then the answer goes on."""
    with (
        OpenAIServer(calling(WEATHER, text="I look."), "Mild.", calling(WEATHER), "Pity.") as server,
        terminal(server, "chat", pack) as (child, person),
    ):
        read_until(person, PROMPT)
        os.write(person, b"hi\n")
        seen = read_until(person, 'result for get_weather(city="Oslo"): ')
        assert "Assistant: I look.\r\n" in seen
        assert "→" not in seen
        os.write(person, "12 °C\n".encode())
        assert "Assistant: Mild.\r\n" in read_until(person, PROMPT)
        os.write(person, b"again\n")
        read_until(person, 'result for get_weather(city="Oslo"): ')
        os.write(person, b"\n")
        assert "Assistant: Pity.\r\n\r\n" in read_until(person, PROMPT)
        os.write(person, b"quit\n")
        assert child.wait(PATIENCE) == 0
    assert results(server.requests[1]) == ["12 °C"]
    assert results(server.requests[3])[-1] == "rejected: the person gave no result"


@POSIX
def test_a_person_allows_refuses_and_edits(tools: str) -> None:
    """y runs a call, n refuses it with the reason that follows, e changes its arguments until they are valid."""
    calls = [("call_1", "delete_file", '{"path": "a"}'), ("call_2", "delete_file", '{"path": "b"}')]
    third = ("call_3", "delete_file", '{"path": "c"}')
    with (
        OpenAIServer(calling(*calls, third), "Done.") as server,
        terminal(server, "ask", "x", "--tools", tools) as (child, person),
    ):
        read_until(person, 'run delete_file(path="a")? [y]es / [n]o / [e]dit: ')
        os.write(person, b"perhaps\n")
        assert "Type y, n or e" in read_until(person, "[e]dit: ")
        os.write(person, b"y\n")
        read_until(person, 'path="b")? [y]es / [n]o / [e]dit: ')
        os.write(person, b"n I need it\n")
        read_until(person, 'path="c")? [y]es / [n]o / [e]dit: ')
        os.write(person, b"e\n")
        read_until(person, '{"path": "c"}')
        os.write(person, b"\x15nonsense\n")
        assert "That is no JSON" in read_until(person, "goes back): nonsense")
        os.write(person, b'\x15{"path": 7}\n')
        assert "are not valid" in read_until(person, 'goes back): {"path": 7}')
        os.write(person, b'\x15{"path": "d", "force": true}\n')
        seen = read_until(person, "Done.\r\n")
        assert "← delete_file: deleted" in seen
        assert child.wait(PATIENCE) == 0
    assert sorted(ran(tools).splitlines()) == ["a False", "d True"]
    assert results(server.requests[1]) == ["deleted", "rejected: I need it", "deleted"]
    assert len(server.requests) == 2


@POSIX
def test_editing_without_a_line_editor_shows_the_arguments(tools: str) -> None:
    """Where only the answers are piped on, questions stand on standard error, and an empty line goes back."""
    with (
        OpenAIServer(calling(DELETE), "Done.") as server,
        terminal(server, "ask", "x", "--tools", tools, stdout=subprocess.PIPE) as (child, person),
    ):
        read_until(person, "[e]dit: ")
        os.write(person, b"e\n")
        read_until(person, '{"path": "x"}\r\narguments as JSON (an empty line goes back): ')
        os.write(person, b"\n")
        read_until(person, "[e]dit: ")
        os.write(person, b"yes\n")
        assert child.stdout is not None
        assert child.stdout.read() == b"Done.\n"
        assert child.wait(PATIENCE) == 0
    assert ran(tools) == "x False\n"


@POSIX
def test_keys_that_were_typed_before_a_question_do_not_answer_it(tools: str) -> None:
    """A yes that was typed unseen runs nothing, is told, and waits at the chat's next prompt; nor is it a result."""
    gates = threading.Event(), threading.Event()
    answers = [Answer(["Wait.", gate, *calling(DELETE).pieces], finish="tool_calls") for gate in gates]
    with (
        OpenAIServer(answers[0], "Kept.", answers[1], "Deleted.") as server,
        terminal(server, "chat", "--tools", tools) as (child, person),
    ):
        read_until(person, PROMPT)
        for gate, word, ending in zip(gates, (b"n", b"y"), ("Kept.", "Deleted."), strict=True):
            os.write(person, b"hi\n")
            read_until(person, "Wait.")
            os.write(person, b"yes\ny")
            gate.set()
            seen = read_until(person, "[e]dit: ")
            assert "[typed before this was asked, and no answer to it: yes y]" in seen
            assert ran(tools) == ""
            os.write(person, word + b"\n")
            assert ending in read_until(person, "You: yes")
            os.write(person, b"\x15\x7f" * 2)
            read_until(person, PROMPT)
        os.write(person, b"\x04")
        assert child.wait(PATIENCE) == 0
    assert ran(tools) == "x False\n"
    assert len(server.requests) == 4


@POSIX
@pytest.mark.parametrize("out", [None, subprocess.PIPE])
def test_a_result_is_what_is_typed_once_it_is_asked_for(pack: str, out: int | None) -> None:
    """Also with a line that is read without an editor, for only the answers are piped on."""
    gate = threading.Event()
    answer = Answer([gate, *calling(WEATHER).pieces], finish="tool_calls")
    options = {} if out is None else {"stdout": out}
    with (
        OpenAIServer(answer, "Mild.") as server,
        terminal(server, "run", pack, "report", "hi", **options) as (child, person),
    ):
        assert server.asked.wait(PATIENCE)
        os.write(person, b"-40\n\n")
        gate.set()
        read_until(person, 'result for get_weather(city="Oslo"): ')
        os.write(person, b"12\n")
        assert read_until(person, "Mild.") if out is None else child.stdout.read() == b"Mild.\n"
        assert child.wait(PATIENCE) == 0
    assert results(server.requests[1]) == ["12"]


@POSIX
def test_every_tool_is_asked_about_at_a_terminal_unless_yes_was_said(tools: str) -> None:
    """Also one that does not demand it."""
    with OpenAIServer(calling(WEATHER), "Mild.") as server:
        with terminal(server, "ask", "x", "--tools", tools) as (child, person):
            read_until(person, 'run get_weather(city="Oslo")? ')
            os.write(person, b"y\n")
            seen = read_until(person, "Mild.")
            assert "← 12 °C in Oslo" in seen
            assert child.wait(PATIENCE) == 0
        server.requests.clear()
        with terminal(server, "ask", "x", "--tools", tools, "--yes") as (child, person):
            assert '→ get_weather(city="Oslo")' in read_until(person, "Mild.")
            assert child.wait(PATIENCE) == 0


@POSIX
def test_ctrl_c_at_a_question_loses_nothing(tools: str) -> None:
    """The calls that are not decided stay, and are asked about with the next line, which is answered after them."""
    second = ("call_2", "delete_file", '{"path": "y"}')
    with (
        OpenAIServer(calling(DELETE, second), "Done.", "Yes.") as server,
        terminal(server, "chat", "--tools", tools) as (child, person),
    ):
        read_until(person, PROMPT)
        os.write(person, b"hi\n")
        read_until(person, 'path="x")? [y]es / [n]o / [e]dit: ')
        os.write(person, b"y\n")
        read_until(person, 'path="y")? [y]es / [n]o / [e]dit: ')
        seen = interrupt(child, person, PROMPT)
        assert 'not decided: delete_file(path="y"); you are asked again' in seen
        os.write(person, b"go on\n")
        seen = read_until(person, "[e]dit: ")
        assert 'path="x"' not in seen
        os.write(person, b"y\n")
        assert "Assistant: Done." in (seen := read_until(person, PROMPT))
        assert "Assistant: Yes." in seen
        os.write(person, b"\x04")
        assert child.wait(PATIENCE) == 0
    assert sorted(ran(tools).splitlines()) == ["x False", "y False"]
    assert [message["content"] for message in server.requests[2]["messages"] if message["role"] == "user"] == [
        "hi",
        "go on",
    ]


@POSIX
@pytest.mark.parametrize(("key", "code"), [("Ctrl-C", 130), ("Ctrl-D", 4)])
def test_leaving_the_question_of_an_ask_tells_what_waits(tools: str, store: str, key: str, code: int) -> None:
    """Ctrl-C and Ctrl-D run nothing, keep the call where it is saved, and end the program."""
    with (
        OpenAIServer(calling(DELETE)) as server,
        terminal(server, "ask", "x", "--tools", tools, "--save", "t", environment=environment(store)) as (
            child,
            person,
        ),
    ):
        read_until(person, "[e]dit: ")
        if key == "Ctrl-C":
            seen = interrupt(child, person, "--resume t --tools")
        else:
            os.write(person, b"\x04")
            seen = read_until(person, "--resume t --tools")
        assert "Calls wait for a decision" in seen
        assert child.wait(PATIENCE) == code
    assert ran(tools) == ""


@POSIX
def test_a_program_killed_at_the_question_goes_on_elsewhere(tools: str, store: str) -> None:
    """The call is in the store before anybody is asked; a resumed chat asks at once, and it runs once."""
    with OpenAIServer(calling(DELETE), "Done.") as server:
        arguments = ["chat", "--tools", tools]
        with terminal(server, *arguments, "--save", "t", environment=environment(store)) as (child, person):
            read_until(person, PROMPT)
            os.write(person, b"hi\n")
            read_until(person, "[e]dit: ")
            child.send_signal(signal.SIGKILL)
            child.wait(PATIENCE)
        with terminal(server, *arguments, "--resume", "t", environment=environment(store)) as (child, person):
            assert "You: " not in read_until(person, 'run delete_file(path="x")? [y]es / [n]o / [e]dit: ')
            os.write(person, b"y\n")
            assert "Assistant: Done." in read_until(person, PROMPT)
            os.write(person, b"quit\n")
            assert child.wait(PATIENCE) == 0
    assert ran(tools) == "x False\n"
    assert len(server.requests) == 2


@POSIX
def test_ctrl_c_while_a_tool_runs_stops_the_answer_and_runs_it_once(tmp_path: Path, store: str) -> None:
    """The chat goes on; the model is told that the tool was interrupted."""
    path = tmp_path / "slow.py"
    log = tmp_path / "log"
    path.write_text(
        "import pathlib, promptstream, sys, threading\n@promptstream.tool\ndef wait():\n"
        f"    log = pathlib.Path({str(log)!r})\n    log.write_text('ran ' * (1 + log.exists()))\n"
        "    print('running', file=sys.stderr)\n    threading.Event().wait()\n"
    )
    with (
        OpenAIServer(calling(("c1", "wait", "{}")), "Fine.") as server,
        terminal(server, "chat", "--tools", str(path), "--save", "t", environment=environment(store)) as (
            child,
            person,
        ),
    ):
        read_until(person, PROMPT)
        os.write(person, b"hi\n")
        read_until(person, "[e]dit: ")
        os.write(person, b"y\n")
        read_until(person, "running")
        child.send_signal(signal.SIGINT)
        assert "[stopped]" in read_until(person, PROMPT)
        os.write(person, b"go on\n")
        assert "Fine." in read_until(person, PROMPT)
        os.write(person, b"quit\n")
        assert child.wait(PATIENCE) == 0
    assert log.read_text() == "ran "
    assert results(server.requests[1]) == ["interrupted: the tool was stopped"]


@POSIX
def test_a_pipe_on_standard_input_is_nobody_to_ask(tools: str) -> None:
    """A process whose input is no terminal never reads an answer from it."""
    with (
        OpenAIServer(calling(DELETE)) as server,
        started(server, "ask", "x", "--tools", tools, stdin=subprocess.PIPE) as child,
    ):
        out, errors = child.communicate(b"y\n", timeout=PATIENCE)
    assert (out, child.returncode, ran(tools)) == (b"", 4, "")
    assert b"Calls wait for a decision" in errors
