"""Programs that are told to end: what they keep, how they leave the terminal, and what they say of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
from openai_server import PATIENCE, Answer, OpenAIServer, calling
from terminals import POSIX, PROMPT, interrupt, read_until, started, terminal

from promptstream.state import SQLiteStore
from promptstream.values.message import Message

pytestmark = POSIX
STOPS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Give the path of a store of the test's own."""
    return str(tmp_path / "conversations.db")


def kept(store: str, name: str) -> tuple[Message, ...]:
    """Give what a store keeps under a name."""
    with SQLiteStore(store) as opened:
        found = opened.load(name)
    assert found is not None
    return found.messages


def settings(person: int) -> list[object]:
    """Give how a terminal is set."""
    return termios.tcgetattr(person)


@pytest.mark.parametrize(("number", "code"), STOPS)
def test_what_came_is_kept_and_the_terminal_is_as_before(store: str, number: int, code: int) -> None:
    """SIGTERM, and SIGHUP, is the person's stop of an answer: half of it is kept, and keys show again."""
    with (
        OpenAIServer(["The first half ", threading.Event()]) as server,
        terminal(server, "ask", "x", "--save", "t", environment={"PROMPTSTREAM_STORE": store}) as (child, person),
    ):
        before = settings(person)
        read_until(person, "The first half")
        assert settings(person) != before
        child.send_signal(number)
        assert "[stopped]" in (seen := read_until(person, "[stopped]"))
        assert child.wait(PATIENCE) == code
        assert settings(person) == before
        assert "Traceback" not in seen
        assert server.hung_up.wait(PATIENCE)
    assert [(message.text, message.finish_reason) for message in kept(store, "t")] == [
        ("x", None),
        ("The first half ", "cancelled"),
    ]


@pytest.mark.parametrize(("number", "code"), STOPS)
def test_a_chat_ends_at_the_prompt(number: int, code: int) -> None:
    """Without a word, and with the terminal as it was."""
    with OpenAIServer("x") as server, terminal(server, "chat") as (child, person):
        before = settings(person)
        read_until(person, PROMPT)
        assert settings(person) != before
        child.send_signal(number)
        assert child.wait(PATIENCE) == code
        assert settings(person) == before
        assert "Traceback" not in read_until(person, "\n")


def test_a_chat_ends_though_ctrl_c_would_only_stop_the_answer(store: str) -> None:
    """SIGTERM goes further than Ctrl-C; a retry that it stops leaves the answer before where it was."""
    with (
        OpenAIServer("One.", ["The first half ", threading.Event()]) as server,
        terminal(server, "chat", "--save", "t", environment={"PROMPTSTREAM_STORE": store}) as (child, person),
    ):
        read_until(person, PROMPT)
        os.write(person, b"hi\n")
        read_until(person, PROMPT)
        os.write(person, b"/retry\n")
        read_until(person, "The first half")
        child.send_signal(signal.SIGTERM)
        read_until(person, "[the answer before stays]")
        assert child.wait(PATIENCE) == 143
    assert [message.text for message in kept(store, "t")] == ["hi", "One."]


def test_a_chat_ends_at_a_question_and_tells_what_waits(tmp_path: Path, store: str) -> None:
    """The call is not decided, and kept."""
    path = tmp_path / "tools.py"
    path.write_text('import promptstream\n@promptstream.tool\ndef look() -> str:\n    """Look."""\n    return "seen"\n')
    with (
        OpenAIServer(calling(("c1", "look", "{}"))) as server,
        terminal(server, "chat", "--tools", str(path), "--save", "t", environment={"PROMPTSTREAM_STORE": store}) as (
            child,
            person,
        ),
    ):
        read_until(person, PROMPT)
        os.write(person, b"hi\n")
        read_until(person, "[e]dit: ")
        seen = interrupt(child, person, "--resume t", signal.SIGTERM)
        assert "Calls wait for a decision: look()" in seen
        assert child.wait(PATIENCE) == 143
    assert [message.role for message in kept(store, "t")] == ["user", "assistant"]


def test_a_terminal_that_goes_away_loses_nothing(store: str) -> None:
    """Its window is closed while an answer streams: nobody can be told, and what came is kept."""
    with OpenAIServer(["The first half ", threading.Event()]) as server:
        person, program = os.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", OWNING, "ask", "x", "--save", "t"],
            env=server.environment(TERM="xterm", PROMPTSTREAM_STORE=store),
            stdin=program,
            stdout=program,
            stderr=program,
            start_new_session=True,
        ) as child:
            os.close(program)
            read_until(person, "The first half")
            os.close(person)
            assert child.wait(PATIENCE) == 129
    assert [message.text for message in kept(store, "t")] == ["x", "The first half "]


OWNING = """import fcntl, resource, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
runpy.run_module("promptstream", run_name="__main__")
"""
"""Makes the terminal the program's own, and has it leave no core; then runs the command line."""


def test_sigquit_ends_it_as_ever_with_the_terminal_as_before() -> None:
    """It saves nothing, for it is there to end what hangs; but keys show again."""
    with OpenAIServer(["The first half ", threading.Event()]) as server:
        person, program = os.openpty()
        before = settings(person)
        with subprocess.Popen(
            [sys.executable, "-c", OWNING, "ask", "x"],
            env=server.environment(TERM="xterm"),
            stdin=program,
            stdout=program,
            stderr=program,
            start_new_session=True,
        ) as child:
            read_until(person, "The first half")
            assert settings(person) != before
            child.send_signal(signal.SIGQUIT)
            assert child.wait(PATIENCE) == -signal.SIGQUIT
            assert settings(person) == before
        os.close(person)
        os.close(program)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As nohup has it: a program goes on where its terminal goes away."""
    gate = threading.Event()
    with OpenAIServer(["One ", gate, "two."]) as server:
        script = f'trap "" HUP; exec "{sys.executable}" -m promptstream ask x'
        with subprocess.Popen(["bash", "-c", script], env=server.environment(), stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            read_until(child.stdout.fileno(), "One")
            child.send_signal(signal.SIGHUP)
            gate.set()
            assert child.stdout.read() == b"two.\n"
            assert child.wait(PATIENCE) == 0


def test_a_pipe_that_is_ended_says_so_by_its_code() -> None:
    """What came stands there, its line is ended, and nothing is said on standard error."""
    with OpenAIServer(["The first half", threading.Event()]) as server, started(server, "ask", "x") as child:
        assert child.stdout is not None
        read_until(child.stdout.fileno(), "half")
        child.send_signal(signal.SIGTERM)
        out, errors = child.communicate(timeout=PATIENCE)
    assert (out, errors, child.returncode) == (b"\n", b"", 143)


def test_ctrl_c_where_a_key_is_asked_for_gives_130() -> None:
    """Without a word, as anywhere."""
    with (
        OpenAIServer(Answer("x")) as server,
        terminal(server, "config", "set-key", "openai") as (child, person),
    ):
        read_until(person, "OPENAI_API_KEY: ")
        assert "Aborted" not in interrupt(child, person, "\n")
        assert child.wait(PATIENCE) == 130
