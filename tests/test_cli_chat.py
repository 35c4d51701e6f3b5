"""A chat at a terminal: its commands, its keys, and what it remembers."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai_server import PATIENCE, Answer, OpenAIServer, calling
from terminals import POSIX, PROMPT, read_until, started, terminal
from test_cli import run

import promptstream
from promptstream import ToolCall
from promptstream.cli import slash
from promptstream.cli.asking import Person
from promptstream.cli.chat import Chat
from promptstream.cli.flags import Flags
from promptstream.cli.talk import Talk
from promptstream.cli.view import View
from promptstream.errors import RateLimited
from promptstream.providers import Scripted
from promptstream.state import SQLiteStore
from promptstream.values.request import ModelInfo
from promptstream.values.usage import Usage

Told = Callable[[], list[str]]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16
PACK = {"prompts": {"teller": {"system_template": "Tell it."}}}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Keep conversations in a file of the test's own, and give its path."""
    path = str(tmp_path / "conversations.db")
    monkeypatch.setenv("PROMPTSTREAM_STORE", path)
    return path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Give a function that gives the lines told since it was called last."""
    return lambda: capsys.readouterr().err.splitlines()


def chatting(*script: Any, tools: Any = (), **flags: Any) -> Chat:
    """Give a chat that is answered by a script."""
    conv = promptstream.chat("Be brief.", provider=Scripted(script, model="toy-1"), tools=tools)
    return Chat(Talk(conv, Flags(**flags)), interactive=True)


def said(chat: Chat) -> list[str]:
    """Give the texts of the history."""
    return [message.text for message in chat.conv.messages]


def saying_yes(monkeypatch: pytest.MonkeyPatch, answer: str = "y") -> None:
    """Let a person answer each question alike."""
    monkeypatch.setattr(Person, "present", classmethod(lambda cls, *, events: cls(editing=False)))
    monkeypatch.setattr(Person, "answer", lambda self, question, prefill="": answer)


# Commands


def test_a_slash_begins_a_command_and_two_are_text(told: Told) -> None:
    """An unknown word sends nothing and names the nearest; //word is sent as /word."""
    chat = chatting("One.")
    chat.say("/retyr now")
    (line,) = told()
    assert line.startswith("There is no command /retyr. Did you mean '/retry'? /help lists them; //… sends ")
    assert chat.conv.provider.requests == []
    chat.say("//retyr now")
    assert said(chat) == ["/retyr now", "One."]


def test_help_lists_every_command_and_key(told: Told) -> None:
    """Or one of them, by its name with or without the slash; what takes no argument gets none."""
    chat = chatting()
    chat.say("/help")
    listed = " ".join(told())
    assert all(each.name in listed for each in slash.COMMANDS)
    assert "Alt-Enter" in listed
    chat.say("/help undo")
    assert [" ".join(line.split()) for line in told()] == ["/undo Take back the last question and its answer."]
    chat.say("/help udno")
    assert told() == ["There is no command /udno. Did you mean '/undo'?"]
    chat.say("/UNDO all")
    assert told() == ["/undo takes nothing after it; nothing was done."]


def test_help_fits_a_narrow_terminal(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is longer than 40 columns."""
    monkeypatch.setenv("COLUMNS", "40")
    chatting().say("/help")
    assert max(map(len, told())) < 40


def test_a_model_is_shown_and_changed(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next question goes to it, and a resumed conversation too; a name that is not listed is doubted."""
    chat = chatting("One.")
    monkeypatch.setattr(chat.conv.provider, "models", lambda: [ModelInfo("toy-1"), ModelInfo("toy-2")])
    chat.say("/model")
    assert told() == ["scripted · toy-1", "It lists: toy-1, toy-2."]
    chat.say("/model toy-2")
    assert told() == ["[from now on: scripted · toy-2]"]
    chat.say("/model tyo-2")
    assert told()[0] == "Warning: scripted does not list a model 'tyo-2'. Did you mean 'toy-2'? /model toy-2 goes back."
    chat.say("hi")
    assert chat.conv.provider.requests[0].model == "tyo-2"
    assert chat.conv.metadata["cli"] == {"model": "tyo-2"}


def test_a_model_of_another_vendor_is_not_taken(told: Told) -> None:
    """Who it belongs to is told, with the way there; the conversation is not sent to somebody else unasked."""
    conv = promptstream.chat(provider="openai", api_key="sk-test")
    chat = Chat(Talk(conv, Flags()), interactive=True)
    chat.say("/model claude-sonnet-4-5")
    (line,) = told()
    assert "is a model of anthropic, and this chat is with openai; nothing was changed" in line
    assert "-p anthropic -m claude-sonnet-4-5" in line
    assert conv.model == conv.provider.model


def test_the_system_prompt_is_shown_changed_and_taken_away(told: Told) -> None:
    """From the next question on, which is told."""
    chat = chatting("One.", "Two.")
    chat.say("/system")
    assert told() == ["Be brief."]
    chat.say("/system Be kind.\nAnd patient.")
    chat.say("hi")
    chat.say("/system -")
    chat.say("hi")
    requests = chat.conv.provider.requests
    assert requests[0].messages[0].text == "Be kind.\nAnd patient."
    assert requests[1].messages[0].role == "user"


def test_the_system_prompt_of_a_pack_is_not_changed(told: Told) -> None:
    """The error says why, and the chat goes on."""
    conv = promptstream.open(PACK, provider=Scripted())
    Chat(Talk(conv, Flags()), interactive=True).say("/system Be kind.")
    assert told() == ["Error: The system prompt is the pack's, and stays; its variables may be changed."]


def test_retry_replaces_the_answer(told: Told) -> None:
    """The last question is asked again, with what was attached to it."""
    chat = chatting("One.", "Two.")
    chat.say("hi")
    chat.say("/retry")
    assert said(chat) == ["hi", "Two."]
    assert "[again: hi]" in told()


def test_retry_of_a_question_that_failed_asks_that_one() -> None:
    """And not the one before it."""
    chat = chatting("One.", [RateLimited("Slow down.")], "Two.")
    chat.say("first")
    chat.say("second")
    assert said(chat) == ["first", "One."]
    chat.say("/retry")
    assert said(chat) == ["first", "One.", "second", "Two."]


def test_an_answer_stays_where_no_other_one_comes(told: Told) -> None:
    """A retry that fails loses nothing, and can be tried again."""
    chat = chatting("One.", [RateLimited("Slow down.")], "Two.")
    chat.say("hi")
    chat.say("/retry")
    assert said(chat) == ["hi", "One."]
    assert told()[-2:] == ["Error: Slow down.", "[the answer before stays]"]
    chat.say("/retry")
    assert said(chat) == ["hi", "Two."]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RateLimited("Slow down.")])
def test_an_answer_stays_where_the_other_one_does_not_come_whole(
    told: Told, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    """A retry that breaks off half-way, or is stopped there, loses nothing of the answer before, and that is told."""
    chat = chatting("One.", ["Tw", "o."], "Three.")
    chat.say("hi")
    taken = View.take
    with monkeypatch.context() as during:

        def take(view: View, chunk: Any) -> None:
            taken(view, chunk)
            raise stop

        during.setattr(View, "take", take)
        chat.say("/retry")
    assert said(chat) == ["hi", "One."]
    assert told()[-1] == "[the answer before stays]"
    chat.say("/retry")
    assert said(chat) == ["hi", "Three."]


def test_what_tools_did_for_a_retry_stays_in_the_history(told: Told) -> None:
    """The model is to know of it, so the answer before makes room though the new one is not whole."""

    def note(text: str) -> str:
        """Note it."""
        return "noted"

    chat = chatting("One.", [ToolCall("c1", "note", {"text": "x"})], [RateLimited("Slow down.")], tools=[note])
    chat.say("hi")
    chat.say("/retry")
    assert [message.role for message in chat.conv.messages] == ["user", "assistant", "tool"]
    assert told()[-1] == "[what the tools gave stays, in the place of the answer before]"


def test_retry_after_tools_ran_goes_on_from_their_results() -> None:
    """What has an effect is not done twice."""
    ran = []

    def note(text: str) -> str:
        """Note it."""
        ran.append(text)
        return "noted"

    chat = chatting([ToolCall("c1", "note", {"text": "x"})], [RateLimited("Slow down.")], "Done.", tools=[note])
    chat.say("hi")
    chat.say("/retry")
    assert ran == ["x"]
    assert said(chat)[-1] == "Done."


def test_undo_takes_back_the_last_question(told: Told) -> None:
    """A question without an answer is the last one; where there is none, that is told."""
    chat = chatting("One.", [RateLimited("Slow down.")])
    chat.say("first")
    chat.say("second")
    told()
    for line, left in [("[taken back: second]", 2), ("[taken back: first]", 0), ("There is nothing to take back.", 0)]:
        chat.say("/undo")
        assert told() == [line]
        assert len(chat.conv.messages) == left
    chat.say("/retry")
    assert told() == ["There is no question to ask again."]


def test_clear_forgets_and_asks_first_where_it_is_kept(told: Told, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    """Kept messages are gone only once a person has said yes."""
    chat = chatting("One.", "Two.")
    chat.say("hi")
    chat.say("/clear")
    assert told()[-1] == "[2 messages forgotten]"
    chat.say("hi")
    chat.say("/save t")
    saying_yes(monkeypatch, "n")
    chat.say("/clear")
    assert told()[-1] == "Nothing was forgotten."
    assert len(chat.conv.messages) == 2
    saying_yes(monkeypatch)
    chat.say("/clear")
    with SQLiteStore(store) as kept:
        assert kept.load("t").messages == ()


def test_save_keeps_it_from_then_on(told: Told, store: str) -> None:
    """Under a free name, once; what was said before and after is there, with a title."""
    chat = chatting("One.", "Two.")
    chat.say("/save")
    chat.say("a question")
    chat.say("/save my trip")
    chat.say("more")
    chat.say("/save other")
    chat.say("/save")
    chat.conv.close()
    assert [line for line in told() if line] == [
        "Not kept so far: /save NAME keeps it, /save FILE.md writes it down.",
        "[kept from now on; promptstream chat --resume 'my trip' goes on with it]",
        "This one is kept as 'my trip' already. /save FILE.md writes it down.",
        "Kept as my trip.",
    ]
    with SQLiteStore(store) as kept:
        found = kept.load("my trip")
        assert kept.load("other") is None
    assert [message.text for message in found.messages] == ["a question", "One.", "more", "Two."]
    assert found.state["metadata"]["title"] == "a question"
    assert chat.flags.kept == "my trip"


@pytest.mark.parametrize(("name", "begins"), [("a.md", "# "), ("a.json", "{\n"), ("a.TXT", "system: ")])
def test_save_writes_it_down(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, name: str, begins: str
) -> None:
    """As Markdown, JSON or text, by the file's name; a file that is there is written over only after a yes."""
    chat, path = chatting("One.", "Two."), tmp_path / name
    chat.say("hi")
    chat.say(f"/save {path}")
    text = path.read_text()
    assert text.startswith(begins)
    assert "One." in text
    assert told()[-1] == f"[2 messages written to {path}]"
    chat.say("more")
    chat.say(f"/save {path}")
    assert told()[-1] == "Nothing was written."
    assert path.read_text() == text
    saying_yes(monkeypatch)
    chat.say(f"/save {path}")
    assert "Two." in path.read_text()


def test_a_file_goes_with_the_next_message_alone(tmp_path: Path, told: Told) -> None:
    """It is read at once, quoted or not; one that is not there is told; /detach forgets."""
    (tmp_path / "my picture.png").write_bytes(PNG)
    (tmp_path / "notes.txt").write_text("Buy milk.")
    chat = chatting("One.", "Two.")
    chat.say(f"/attach {tmp_path}/nots.txt")
    assert told() == [f"Error: /attach {tmp_path}/nots.txt: there is no such file. Did you mean 'notes.txt'?"]
    chat.say(f"/attach {tmp_path}/my picture.png")
    chat.say("/detach")
    chat.say("/attach")
    assert told()[1:] == ["[1 forgotten]", "Nothing is attached; /attach FILE does."]
    chat.say(f"/attach '{tmp_path}/my picture.png' {tmp_path}/notes.txt")
    assert told() == [
        "[goes with your next message: image/png, 24 bytes; notes.txt, 21 characters. /detach forgets it]"
    ]
    chat.say("hi")
    chat.say("more")
    sent = chat.conv.provider.requests[1].messages
    assert [part.type for part in sent[1].parts] == ["text", "image", "text"]
    assert [part.type for part in sent[3].parts] == ["text"]


def test_show_stats_and_tools_tell_what_there_is(told: Told) -> None:
    """All that was said; the figures of the last answer and of all; the tools and who runs them."""

    def note(text: str) -> str:
        """Note it."""
        return text

    chat = chatting(["One.", Usage(3, 4)], tools=[note])
    chat.talk.runnable = frozenset({"note"})
    chat.say("hi")
    told()
    chat.say("/show")
    assert [line for line in told() if line][-2:] == ["User: hi", "Assistant: One."]
    chat.say("/stats")
    assert told()[-1] == "conversation · 2 messages · 3 → 4 tokens · $0.0000"
    chat.say("/tools")
    assert told() == ["note: Note it. [runs here, once you have said yes]"]
    chat.say("/quit now")
    with pytest.raises(slash.Leave):
        chat.say("/exit")


def test_what_is_not_kept_is_not_called_saved(tmp_path: Path, told: Told) -> None:
    """Neither where it is shown nor where it is written down; and a file has no time for it."""
    chat = chatting("One.")
    chat.say("hi")
    told()
    chat.say("/show")
    assert told()[0] == "system: Be brief."
    for name in ("a.md", "a.json"):
        chat.say(f"/save {tmp_path / name}")
    assert "saved" not in (tmp_path / "a.md").read_text()
    assert '"updated": null' in (tmp_path / "a.json").read_text()
    chat.say("/save t")
    told()
    chat.say("/show")
    assert any(line.startswith("saved: 2") for line in told())


@pytest.mark.parametrize("name", ["e\x1b[31m", "a\nb", "a\u202eb", "\x9b1m"])
def test_a_name_that_does_not_show_is_refused(told: Told, name: str) -> None:
    """It would steer every terminal that lists it; nothing is sent or kept."""
    chat = chatting("One.")
    chat.say(f"/save {name}")
    (line,) = told()
    assert line == f"Error: {name!r} cannot name a conversation: it holds characters that do not show."
    result = run("ask", "x", "--save", name, "--base-url", "http://127.0.0.1:9")
    assert (result.stderr, result.exit_code) == (f"{line}\n", 1)


def test_a_pipes_lines_are_text_whatever_they_begin_with() -> None:
    """Each is a turn, as it stands: no command, no second line after a backslash."""
    with OpenAIServer("ok") as server:
        result = run("chat", "--base-url", server.url, piped="/undo\n//x\nend\\\n")
    assert result.exit_code == 0
    assert [message["content"] for message in server.requests[-1]["messages"] if message["role"] == "user"] == [
        "/undo",
        "//x",
        "end\\",
    ]


# Calls of tools that were left


@POSIX
def test_resuming_tells_which_calls_were_interrupted(tmp_path: Path) -> None:
    """A process that died while a tool ran: nobody knows how it ended, and who goes on is told so."""
    path = tmp_path / "dying.py"
    path.write_text(
        "import os, promptstream, signal\n@promptstream.tool\ndef pay(amount: int) -> str:\n"
        '    """Pay."""\n    os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    environment = {"PROMPTSTREAM_STORE": os.environ["PROMPTSTREAM_STORE"]}
    with OpenAIServer(calling(("c1", "pay", '{"amount": 5}')), "Checked.") as server:
        arguments = ["ask", "x", "--tools", str(path), "--yes", "--save", "t"]
        with started(server, *arguments, env=server.environment(**environment)) as child:
            assert child.wait(PATIENCE) == -signal.SIGKILL
        result = run("chat", "--resume", "t", "--base-url", server.url, piped="What became of it?\n")
    assert result.stderr == ("[pay(amount=5): interrupted: the tool was started, and it is not known how it ended]\n")
    assert result.stdout == "Checked.\n"


@POSIX
def test_a_line_that_calls_were_in_the_way_of_is_offered_again(tmp_path: Path, store: str) -> None:
    """Whoever leaves the question finds the line at the prompt, to be sent once more."""
    path = tmp_path / "tools.py"
    path.write_text('import promptstream\n@promptstream.tool\ndef look() -> str:\n    """Look."""\n    return "seen"\n')
    environment = {"PROMPTSTREAM_STORE": store}
    with (
        OpenAIServer(calling(("c1", "look", "{}")), "Seen.", "Yes.") as server,
        terminal(server, "chat", "--tools", str(path), environment=environment) as (child, person),
    ):
        read_until(person, PROMPT)
        os.write(person, b"hi\n")
        read_until(person, "[e]dit: ")
        os.write(person, b"\x04")
        read_until(person, PROMPT)
        os.write(person, b"and then?\n")
        read_until(person, "[e]dit: ")
        os.write(person, b"\x04")
        assert "[not sent: and then?]" in read_until(person, "You: and then?")
        os.write(person, b" now\n")
        read_until(person, "[e]dit: ")
        os.write(person, b"y\n")
        read_until(person, PROMPT)
        os.write(person, b"quit\n")
        assert child.wait(PATIENCE) == 0
    users = [message["content"] for message in server.requests[-1]["messages"] if message["role"] == "user"]
    assert users == ["hi", "and then? now"]


# Keys


@POSIX
def test_keys_make_lines_complete_commands_and_drop_what_was_typed() -> None:
    """Esc Enter, a backslash and a paste make lines; Tab completes; Ctrl-C empties the line, and leaves where it is."""
    with OpenAIServer("One.") as server, terminal(server, "chat") as (child, person):
        read_until(person, PROMPT)
        os.write(person, b"a\x1b\rb\\\rc \\\\\x1b[200~\nd\ne\x1b[201~\r")
        read_until(person, PROMPT)
        os.write(person, b"dropped")
        read_until(person, "dropped")
        os.write(person, b"\x03")
        read_until(person, PROMPT)
        os.write(person, b"\r\r/mod")
        read_until(person, "[NAME]")
        os.write(person, b"\ttoy-2\r")
        assert "[from now on: openai · toy-2]" in read_until(person, PROMPT)
        os.write(person, b"x\r")
        read_until(person, PROMPT)
        os.write(person, b"\x03")
        assert child.wait(PATIENCE) == 130
    assert [request["messages"][-1]["content"] for request in server.requests] == ["a\nb\nc \\\\\nd\ne", "x"]
    assert server.requests[1]["model"] == "toy-2"


@POSIX
def test_what_was_typed_is_remembered_for_the_next_chat(tmp_path: Path) -> None:
    """In a file that its user alone can read; Up brings back the last line, also one of many lines."""
    path = tmp_path / "made" / "history"
    environment = {"PROMPTSTREAM_HISTORY": str(path)}
    with OpenAIServer("One.") as server:
        for keys in (b"first\x1b\rline\r", b"\x1b[A\r"):
            with terminal(server, "chat", environment=environment) as (child, person):
                read_until(person, PROMPT)
                os.write(person, keys)
                read_until(person, PROMPT)
                os.write(person, b"\x04")
                assert child.wait(PATIENCE) == 0
    assert [request["messages"][-1]["content"] for request in server.requests] == ["first\nline"] * 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text().count("+first") == 1


@POSIX
def test_a_terminal_that_can_do_nothing_is_read_by_lines() -> None:
    """Commands are commands there too, and a backslash asks for another line."""
    with (
        OpenAIServer(Answer("No.", status=400), "Yes.") as server,
        terminal(server, "chat", environment={"TERM": "dumb"}) as (child, person),
    ):
        read_until(person, "You: ")
        os.write(person, b"one\\\ntwo\n")
        read_until(person, "You: ")
        os.write(person, b"/retry\n")
        assert "Yes." in read_until(person, "You: ")
        os.write(person, b"/quit\n")
        assert child.wait(PATIENCE) == 0
    assert [request["messages"][-1]["content"] for request in server.requests] == ["one\ntwo"] * 2


def test_a_history_file_is_kept_short_and_may_be_missing(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older half goes; a place that cannot be written is told, and no reason not to chat."""
    from promptstream.cli import prompt

    path = tmp_path / "history"
    monkeypatch.setenv("PROMPTSTREAM_HISTORY", str(path))
    monkeypatch.setattr(prompt, "LARGEST", 200)
    lines = prompt.remembered()
    for number in range(9):
        lines.append_string(f"line {number}")
        lines.append_string(f"line {number}")
    assert path.read_text().count("+line") == 9
    assert list(prompt.remembered().load_history_strings())[:2] == ["line 8", "line 7"]
    assert path.stat().st_size < 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setenv("PROMPTSTREAM_HISTORY", str(path / "below"))
    prompt.remembered().append_string("x")
    (line,) = told()
    assert line.startswith(f"What you type is not remembered: {path}/below: ")
    monkeypatch.setenv("PROMPTSTREAM_HISTORY", "")
    assert prompt.history_file() is None
