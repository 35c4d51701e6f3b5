"""Kept conversations on the command line: saved, resumed, listed, shown, exported and deleted."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from openai_server import PATIENCE, Answer, OpenAIServer, calling
from terminals import POSIX, read_until, terminal
from test_cli import PACK, run

import promptstream
from promptstream import Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.cli import keeping
from promptstream.cli.transcript import as_json, as_lines, as_markdown
from promptstream.providers import Scripted
from promptstream.state import SQLiteStore
from promptstream.state.store import Kept


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Keep conversations in a file of the test's own, and give its path."""
    path = str(tmp_path / "kept" / "conversations.db")
    monkeypatch.setenv("PROMPTSTREAM_STORE", path)
    return path


def kept(store: str, name: str) -> Kept:
    """Give what is kept under *name*."""
    with SQLiteStore(store) as opened:
        found = opened.load(name)
    assert found is not None
    return found


def said(request: dict[str, Any]) -> list[str]:
    """Give the texts of a request's messages."""
    return [message["content"] for message in request["messages"]]


# Saving and resuming


def test_a_saved_conversation_goes_on_with_the_same_server_model_and_system() -> None:
    """--resume needs the name alone."""
    with OpenAIServer("Hello Ann.", "Ann.") as server:
        first = run(
            "ask", "I am Ann.", "--system", "Be brief.", "--base-url", server.url, "-m", "tiny", "--save", "ann"
        )
        second = run("ask", "Who am I?", "--resume", "ann", "--stats")
    assert (first.stdout, first.stderr, first.exit_code) == ("Hello Ann.\n", "", 0)
    assert (second.stdout, second.exit_code) == ("Ann.\n", 0)
    assert said(server.requests[1]) == ["Be brief.", "I am Ann.", "Hello Ann.", "Who am I?"]
    assert server.requests[1]["model"] == "tiny"


def test_a_conversation_on_a_pack_goes_on_with_it_and_its_variables(tmp_path: Path) -> None:
    """The pack, the prompt and --var are taken up again; another --var counts over the kept one."""
    path = tmp_path / "story.pack.json"
    path.write_text(json.dumps({"prompts": {**PACK["prompts"], "other": {"system_template": "Other."}}}))
    with OpenAIServer("one", "two", "three") as server:
        run("run", str(path), "teller", "x", "--var", "who=Ann", "--base-url", server.url, "--save", "t")
        run("chat", "--resume", "t", piped="y\n")
        run("ask", "z", "--resume", "t", "--var", "who=Bob")
    assert [said(request)[0] for request in server.requests] == ["Tell it to Ann, 1 times."] * 2 + [
        "Tell it to Bob, 1 times."
    ]
    assert len(server.requests[2]["messages"]) == 6


def test_the_provider_is_kept_and_another_may_be_named(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """-p openai stays openai's; --base-url goes on elsewhere from then on; no key is ever written."""
    with OpenAIServer("one", "two") as server, OpenAIServer("three", "four") as other:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-mine")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        run("ask", "x", "-p", "openai", "-m", "gpt-4o", "--save", "t")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-other")
        line = run("ask", "x", "--resume", "t", "--stats").stderr.splitlines()[0]
        assert line == "openai · gpt-4o (as before)"
        assert run("ask", "x", "--resume", "t", "--base-url", other.url).stdout == "three\n"
        assert run("ask", "x", "--resume", "t").stdout == "four\n"
    assert kept(store, "t").state["metadata"] == {"title": "x", "cli": {"base_url": other.url}}
    assert all(b"sk-secret" not in path.read_bytes() for path in Path(store).parent.iterdir())
    assert "model" not in other.requests[0]


def test_a_name_is_saved_once_and_resumed_only_if_it_is_there() -> None:
    """Each mistake says what to do, before anything is sent."""
    with OpenAIServer("ok") as server:
        assert run("ask", "x", "--base-url", server.url, "--save", "trip").exit_code == 0
        again = run("ask", "x", "--base-url", server.url, "--save", "trip")
        slip = run("ask", "x", "--base-url", server.url, "--resume", "tripp")
        empty = run("ask", "x", "--base-url", server.url, "--save", "")
    assert again.stderr == (
        "Error: There is a conversation 'trip' already. Go on with it by --resume, or choose another name.\n"
    )
    assert slip.stderr == (
        "Error: There is no conversation 'tripp'. Did you mean 'trip'? See: promptstream history list\n"
    )
    assert "it is empty" in empty.stderr
    assert (again.exit_code, slip.exit_code, empty.exit_code, len(server.requests)) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ask", "x", "--save", "a", "--resume", "a"], "give one of them"),
        (["ask", "x", "--resume", "a", "--system", "Be brief."], "--system is kept"),
    ],
)
def test_flags_that_exclude_each_other_are_wrong_usage(arguments: list[str], told: str) -> None:
    """They are told apart before anything is opened."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr


def test_nothing_is_kept_of_a_first_turn_that_fails_and_no_file_is_made_to_look(store: str) -> None:
    """The name stays free."""
    assert run("ask", "x", "--resume", "t").exit_code == 1
    assert not os.path.exists(store)
    with OpenAIServer(Answer("No.", status=400), "ok") as server:
        assert run("ask", "first", "--base-url", server.url, "--save", "t").exit_code == 1
        assert run("ask", "second", "--base-url", server.url, "--save", "t").exit_code == 0
    assert kept(store, "t").state["metadata"]["title"] == "second"


def test_without_a_message_a_conversation_that_is_answered_has_nothing_to_go_on_with() -> None:
    """--resume alone says so."""
    with OpenAIServer("ok") as server:
        run("ask", "x", "--base-url", server.url, "--save", "t")
        result = run("ask", "--resume", "t", piped="")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: There is nothing to resume")


def test_the_conversation_of_a_program_can_be_gone_on_with(store: str) -> None:
    """What promptstream.chat(store=…) kept is a conversation like any other."""
    with promptstream.chat("Be brief.", provider=Scripted(["Hello."]), store=store, conversation_id="c1") as conv:
        conv.send("Hi")
    with OpenAIServer("Again.") as server:
        assert run("ask", "And?", "--resume", "c1", "--base-url", server.url).stdout == "Again.\n"
    assert said(server.requests[0]) == ["Be brief.", "Hi", "Hello.", "And?"]


def test_a_shared_store_does_not_say_where_a_key_goes(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others could have written into a server's store sends no key to another host."""
    with promptstream.chat(provider=Scripted(["Hello."]), store=store, conversation_id="c1") as conv:
        conv.metadata["cli"] = {"provider": "openai", "base_url": "https://example.invalid/v1"}
        conv.send("Hi")
    monkeypatch.setattr(keeping, "is_remote", lambda where: True)
    result = run("ask", "x", "--resume", "c1")
    assert result.exit_code == 1
    assert "give --provider and --base-url again" in result.stderr


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "home/.local/share/promptstream"),
        ("linux", {"XDG_DATA_HOME": "/xdg"}, "/xdg/promptstream"),
        ("darwin", {}, "home/Library/Application Support/promptstream"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/promptstream"),
    ],
)
def test_conversations_are_kept_where_the_platform_keeps_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], folder: str
) -> None:
    """Each platform's custom; PROMPTSTREAM_STORE over all of them."""
    for name in ("PROMPTSTREAM_STORE", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(sys, "platform", platform)
    assert keeping.place() == str(tmp_path / folder / "conversations.db")
    monkeypatch.setenv("PROMPTSTREAM_STORE", "redis://me:secret@db:6379/1")
    assert keeping.place() == "redis://me:secret@db:6379/1"
    assert "secret" not in keeping.shown_place(keeping.place())


def test_without_a_home_folder_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service account without a home is told what to set."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("PROMPTSTREAM_STORE", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", homeless)
    result = run("history", "list")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: This user has no home folder. Set PROMPTSTREAM_STORE to the path of a file.\n",
    )


# Listing


def test_the_list_has_the_one_saved_last_first() -> None:
    """A table with names, times, numbers of messages and titles; the title is the first thing said, on a line."""
    with OpenAIServer("ok") as server:
        run("ask", "First\n\nquestion " + "x" * 100, "--base-url", server.url, "--save", "one")
        run("ask", "Second \x1b[31mred", "--base-url", server.url, "--save", "two")
        run("ask", "More", "--resume", "one")
    result = run("history", "list")
    head, one, two = result.stdout.splitlines()
    assert head.split() == ["Name", "Saved", "Messages", "Title"]
    assert one.split()[:1] + one.split()[3:] == ["one", "4", "First", "question", "x" * 44 + "…"]
    assert two.split()[3:] == ["2", "Second", "red"]
    assert (result.stderr, result.exit_code) == ("", 0)
    assert len(run("history", "list", "-n", "1").stdout.splitlines()) == 2


def test_the_list_comes_as_json_lines() -> None:
    """One object a line, with the times in UTC."""
    with OpenAIServer("ok") as server:
        run("ask", "Hi \x9b", "--base-url", server.url, "--save", "täg")
    (line,) = run("history", "list", "--json").stdout.splitlines()
    entry = json.loads(line)
    assert (entry["name"], entry["messages"], entry["title"]) == ("täg", 2, "Hi \x9b")
    assert entry["updated"].endswith("+00:00")
    assert "\x9b" not in line


def test_an_empty_list_says_where_it_looked(store: str) -> None:
    """Standard output stays empty, and no file is made."""
    result = run("history", "list")
    assert (result.stdout, result.exit_code) == ("", 0)
    assert result.stderr == f"No conversation is kept in {store}; --save NAME keeps one.\n"
    assert not os.path.exists(store)
    assert run("history", "list", "--json").stdout == ""


@pytest.mark.parametrize("command", ["show", "export", "delete"])
def test_a_name_that_is_not_there_is_an_error_with_the_nearest(command: str) -> None:
    """With and without a store, exit code 1."""
    assert run("history", command, "oslo").stderr == (
        "Error: There is no conversation 'oslo'. See: promptstream history list\n"
    )
    with OpenAIServer("ok") as server:
        run("ask", "x", "--base-url", server.url, "--save", "oslo-1")
    result = run("history", command, "oslo")
    assert (result.stdout, result.exit_code) == ("", 1)
    assert "Did you mean 'oslo-1'?" in result.stderr


def test_a_file_that_is_no_store_is_left_alone(store: str) -> None:
    """It is named, without a traceback."""
    os.makedirs(os.path.dirname(store))
    Path(store).write_text("my diary")
    result = run("history", "list")
    assert result.exit_code == 1
    assert store in result.stderr
    assert Path(store).read_text() == "my diary"


# Showing and exporting

CALL = ToolCall("c1", "get_weather", {"city": "Os\x1blo"}, '{"city": "Oslo"}')
WHOLE = Kept(
    "oslo",
    3,
    (
        Message("user", [Text("How is\nOslo?"), Image(url="https://example.invalid/a.png")]),
        Message("assistant", [Reasoning("Hm."), Text("I look."), CALL]),
        Message("tool", [ToolResult("c1", "get_weather", "12 \x1b[31m°C\n```\nmild")]),
        Message("assistant", [Text("It is")], "cancelled"),
    ),
    {
        "format": 1,
        "origin": {"system": "Be\nbrief."},
        "metadata": {"title": "How is Oslo?", "cli": {"provider": "openai", "model": "m"}},
        "usage": {"input": 3},
        "pending": [{"call": {"type": "tool_call", "id": "c2", "name": "f"}, "client_side": True, "state": "waiting",
                     "result": None}],
    },
    0.0,
    86400.0,
)  # fmt: skip


def test_a_conversation_is_shown_as_lines() -> None:
    """Facts, then roles and texts, calls and results, how an answer ended, what waits; nothing steers a terminal."""
    facts, *parts = "\n".join(as_lines(WHOLE)).split("\n\n")
    assert facts.splitlines()[:3] == ["title: How is Oslo?", "system: Be brief.", "model: openai · m"]
    assert parts == [
        "User: How is\nOslo?\n[image: https://example.invalid/a.png]",
        'Assistant: [reasoning, 3 characters]\nI look.\n  → get_weather(city="Os\\u001blo")',
        "  ← 12 °C\n    ```\n    mild",
        "Assistant: It is\n[cancelled]",
        "waits for a decision: f()",
    ]


def test_markdown_has_a_heading_for_each_message_and_fences_that_hold() -> None:
    """A result with a fence in it stands in a longer one."""
    text = "\n".join(as_markdown(WHOLE))
    assert text.startswith("# How is Oslo?\n\n- system: Be brief.\n- model: openai · m\n- saved: ")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## User",
        "## Assistant",
        "## Tools",
        "## Assistant",
        "## A call waits for a decision",
    ]
    assert "Result of `get_weather`:\n\n````\n12 °C\n```\nmild\n````\n" in text
    assert 'Call of `get_weather`:\n\n```json\n{\n  "city": "Os\\u001blo"\n}\n```' in text
    assert "\x1b" not in text


def test_json_holds_everything_and_can_be_read_back() -> None:
    """Messages as to_dict gives them, usage, metadata and what waits; only escapes for what does not show."""
    text = as_json(WHOLE)
    data = json.loads(text)
    assert tuple(Message.from_dict(each) for each in data["messages"]) == WHOLE.messages
    assert (data["id"], data["created"], data["usage"]) == ("oslo", "1970-01-01T00:00:00+00:00", {"input": 3})
    assert {"metadata", "origin", "pending"} <= set(data)
    assert "°C" in text
    assert "\x1b" not in text


def test_show_and_export_print_what_is_kept(tmp_path: Path) -> None:
    """Lines, JSON lines, and a file; -o names one that cannot be written."""
    with OpenAIServer("Grüße 🤖") as server:
        run("ask", "Hi", "--base-url", server.url, "--save", "t")
    shown = run("history", "show", "t").stdout
    assert shown.endswith("\n\nUser: Hi\n\nAssistant: Grüße 🤖\n")
    lines = run("history", "show", "t", "--json").stdout.splitlines()
    assert [json.loads(line)["role"] for line in lines] == ["user", "assistant"]
    assert json.loads(run("history", "export", "t").stdout)["id"] == "t"
    path = tmp_path / "t.md"
    result = run("history", "export", "t", "--format", "markdown", "-o", str(path))
    assert (result.stdout, result.exit_code) == ("", 0)
    assert path.read_text(encoding="utf-8").endswith("## Assistant\n\nGrüße 🤖\n")
    refused = run("history", "export", "t", "-o", str(tmp_path / "none" / "t.md"))
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "cannot be written: No such file or directory." in refused.stderr


def test_what_waits_is_shown(tmp_path: Path) -> None:
    """A call that nobody has decided yet is the last line."""
    path = tmp_path / "tools.py"
    path.write_text("import promptstream\n@promptstream.tool(approval=True)\ndef wipe(disk: str):\n    '''Wipe.'''\n")
    with OpenAIServer(calling(("c1", "wipe", '{"disk": "a"}'))) as server:
        assert run("ask", "x", "--base-url", server.url, "--tools", str(path), "--save", "t").exit_code == 4
    assert run("history", "show", "t").stdout.endswith('\n\nwaits for a decision: wipe(disk="a")\n')


# Deleting


def test_delete_needs_a_yes(store: str) -> None:
    """Where nobody can be asked, --yes is that."""
    with OpenAIServer("ok") as server:
        run("ask", "x", "--base-url", server.url, "--save", "t")
        refused = run("history", "delete", "t", piped="y\n")
        assert (refused.exit_code, "give --yes" in refused.stderr) == (2, True)
        assert kept(store, "t").revision == 1
        deleted = run("history", "delete", "t", "--yes")
        assert (deleted.stdout, deleted.stderr, deleted.exit_code) == ("", "Deleted t.\n", 0)
        assert run("history", "show", "t").exit_code == 1
        assert run("ask", "x", "--base-url", server.url, "--save", "t").exit_code == 0


@POSIX
@pytest.mark.parametrize(("key", "code", "told"), [(b"n\n", 1, "It was not deleted."), (b"y\n", 0, "Deleted t.")])
def test_delete_asks_at_a_terminal(store: str, key: bytes, code: int, told: str) -> None:
    """y deletes, all else does not."""
    environment = {"PROMPTSTREAM_STORE": store}
    with OpenAIServer("ok") as server:
        run("ask", "x", "--base-url", server.url, "--save", "t")
        with terminal(server, "history", "delete", "t", environment=environment) as (child, person):
            read_until(person, "Delete t with its 2 messages? [y]es / [n]o: ")
            os.write(person, key)
            read_until(person, told)
            assert child.wait(PATIENCE) == code
