"""The command line as a process: pipes, signals, encodings and terminals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest
from openai_server import PATIENCE, Answer, OpenAIServer, basic
from terminals import POSIX, PROGRAM, PROMPT, read_until, started, terminal

pytestmark = POSIX


# Pipes


@pytest.mark.parametrize("arguments", [["ask", "x"], ["ask", "x", "--json"]])
def test_text_comes_through_a_pipe_as_it_arrives(arguments: list[str]) -> None:
    """What the server has sent is read from the pipe while the rest is held back."""
    gate = threading.Event()
    with OpenAIServer(["first half", gate, " second half"]) as server, started(server, *arguments) as child:
        assert child.stdout is not None
        before = read_until(child.stdout.fileno(), "first half")
        assert "second" not in before
        gate.set()
        rest, errors = child.communicate(timeout=PATIENCE)
    assert b" second half" in rest
    assert (errors, child.returncode) == (b"", 0)


@pytest.mark.parametrize("arguments", [["ask", "x"], ["ask", "x", "--json"]])
def test_a_reader_that_leaves_ends_it_quietly(arguments: list[str]) -> None:
    """After `| head` has left, the next chunk hangs up and ends the program with 141 and no complaint."""
    left, never = threading.Event(), threading.Event()
    with OpenAIServer(["something to read", left, "nobody reads this", never]) as server:
        with started(server, *arguments) as child:
            assert child.stdout is not None
            read_until(child.stdout.fileno(), "something")
            child.stdout.close()
            left.set()
            assert child.stderr is not None
            assert child.stderr.read() == b""
            assert child.wait(PATIENCE) == 141
        assert server.hung_up.wait(PATIENCE)


def test_a_shell_pipeline_ends_when_its_reader_does() -> None:
    """`promptstream ask … | head -c 10` gives ten bytes, and both ends of it end."""
    with OpenAIServer([*["0123456789"] * 2000, threading.Event()]) as server:
        script = f'set -o pipefail; "{sys.executable}" -m promptstream ask x | head -c 10'
        child = subprocess.run(
            ["bash", "-c", script], env=server.environment(), capture_output=True, timeout=PATIENCE, check=False
        )
        assert server.hung_up.wait(PATIENCE)
    assert (child.stdout, child.stderr, child.returncode) == (b"0123456789", b"", 141)


def test_help_into_a_reader_that_left_does_not_complain() -> None:
    """A broken pipe without any answer is quiet, too."""
    with OpenAIServer("x") as server, started(server, "--help") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error_without_traceback() -> None:
    """Standard output that cannot be written to is told in a line."""
    with OpenAIServer("some text") as server, open("/dev/full", "wb") as full:
        child = subprocess.run(
            [*PROGRAM, "ask", "x"], env=server.environment(), stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE
        )
        errors = child.stderr.decode()
    assert re.fullmatch(r"Error: Standard output cannot be written to: .+\.\n", errors)
    assert child.returncode == 1


@pytest.mark.parametrize("closed", ["0<&-", "2>&-", "0<&- 2>&-"])
def test_closed_standard_streams_do_no_harm(closed: str) -> None:
    """A program started without standard input or error still asks, and still succeeds."""
    with OpenAIServer("some text") as server:
        script = f'exec "{sys.executable}" -m promptstream ask x --stats {closed}'
        child = subprocess.run(
            ["bash", "-c", script], env=server.environment(), capture_output=True, timeout=PATIENCE, check=False
        )
        assert len(server.requests) == 1
    assert child.returncode == 0
    assert b"Traceback" not in child.stderr
    assert child.stdout == b"some text\n"


@pytest.mark.parametrize("more", ["", "--json"])
def test_an_answer_that_can_go_nowhere_is_not_asked_for(more: str) -> None:
    """Without a standard output nothing is sent, and paid for; that is told, with the code of an error."""
    with OpenAIServer("some text") as server:
        script = f'exec "{sys.executable}" -m promptstream ask x {more} 0<&- 1>&-'
        child = subprocess.run(
            ["bash", "-c", script], env=server.environment(), capture_output=True, timeout=PATIENCE, check=False
        )
        assert server.requests == []
    assert (child.stderr, child.returncode) == (b"Error: Standard output cannot be written to: it is closed.\n", 1)


def test_a_character_the_encoding_lacks_is_replaced() -> None:
    """In a locale without Unicode an answer shows ? for what it cannot show, and a message stays what was typed."""
    with OpenAIServer("naïve 🤖 text") as server:
        environment = server.environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
        with started(server, "ask", "é\udcff", env=environment) as child:
            out, errors = child.communicate(timeout=PATIENCE)
    assert (out, errors, child.returncode) == (b"na?ve ? text\n", b"", 0)
    assert server.requests[0]["messages"][0]["content"] == "é\ufffd"


def test_an_answer_that_is_cut_gives_3() -> None:
    """A connection that closes before the finish signal ends the line and says so."""
    with OpenAIServer(Answer("Once upon", finish=None)) as server, started(server, "ask", "x") as child:
        out, errors = child.communicate(timeout=PATIENCE)
    assert (out, child.returncode) == (b"Once upon\n", 3)
    assert errors.startswith(b"Error: ")
    assert errors.count(b"\n") == 1


def test_a_timeout_ends_an_answer() -> None:
    """--timeout counts from the request to the end of the answer, and what had come is printed."""
    with OpenAIServer(["Once upon", threading.Event()]) as server:
        for seconds in ("0.2", "1", "5"):  # a busy machine may need longer to the first text
            with started(server, "ask", "x", "--timeout", seconds) as child:
                out, errors = child.communicate(timeout=PATIENCE)
            assert errors.decode().startswith(f"Error: The turn took longer than the {seconds} s")
            if out:
                break
        assert server.hung_up.wait(PATIENCE)
    assert (out, child.returncode) == (b"Once upon\n", 3)


# Ctrl-C


@pytest.mark.parametrize("command", ["ask", "chat"])
@pytest.mark.parametrize("came", ["", "some text"])
def test_ctrl_c_ends_it_with_130(command: str, came: str) -> None:
    """While the provider is waited for, Ctrl-C hangs up and ends the program without a traceback."""
    with OpenAIServer([came, threading.Event()]) as server:
        arguments = ["ask", "x"] if command == "ask" else ["chat"]
        with started(server, *arguments, stdin=subprocess.PIPE) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(b"a line\nanother line\n")
            child.stdin.close()
            child.stdin = None
            assert server.asked.wait(PATIENCE)
            read_until(child.stdout.fileno(), came)
            child.send_signal(signal.SIGINT)
            out, errors = child.communicate(timeout=PATIENCE)
        assert server.hung_up.wait(PATIENCE)
    assert (out, errors, child.returncode) == (b"\n" if came else b"", b"", 130)
    assert len(server.requests) == 1


def test_ctrl_c_ends_the_events_with_an_error() -> None:
    """With --json the last line says that the answer was stopped."""
    with OpenAIServer(["some text", threading.Event()]) as server, started(server, "ask", "x", "--json") as child:
        assert child.stdout is not None
        read_until(child.stdout.fileno(), "some text")
        child.send_signal(signal.SIGINT)
        out, errors = child.communicate(timeout=PATIENCE)
    assert b'"type": "error"' in out
    assert b"Ctrl-C" in out
    assert (errors, child.returncode) == (b"", 130)


_INTERRUPTED = """if True:
    import os, signal, sys
    class Interrupting:
        def find_spec(self, name, path=None, target=None):
            if name == {module!r}:
                os.kill(os.getpid(), signal.SIGINT)
    sys.meta_path.insert(0, Interrupting())
    from {entry} import main
    sys.argv = ["promptstream", "providers"]
    sys.exit(main())
    """


def interrupted(entry: str, module: str, **options: Any) -> tuple[int, bytes]:
    """Run a command, press Ctrl-C as it begins to import *module*, and give its exit code and what it told."""
    program = _INTERRUPTED.format(entry=entry, module=module)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=basic({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        **options,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("entry", "module"),
    [
        ("promptstream_command", "promptstream"),
        ("promptstream_command", "promptstream.conversation"),
        ("promptstream_command", "click.shell_completion"),
        ("promptstream.cli", "promptstream.cli.commands"),
    ],
)
def test_ctrl_c_before_a_command_has_begun_is_quiet(entry: str, module: str) -> None:
    """The program is ended by the signal, which a shell tells as 130, and says nothing."""
    assert interrupted(entry, module) == (-signal.SIGINT, b"")


def test_ctrl_c_while_a_command_imports_what_it_needs_ends_it_with_130() -> None:
    """From there on it is handled as during an answer."""
    assert interrupted("promptstream_command", "rich.table") == (130, b"")


def test_ctrl_c_is_ignored_where_the_shell_says_so() -> None:
    """Programs in the background, and under nohup, go on."""
    ignoring = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    code, told = interrupted("promptstream_command", "promptstream.cli", preexec_fn=ignoring)
    assert code in (0, 1)  # one is there to be chosen, or none
    assert b"Traceback" not in told


# A terminal


def test_a_terminal_shows_who_answers_and_strips_what_steers_it() -> None:
    """The choice stands in a dim line of its own; the model's text carries no control sequence."""
    with OpenAIServer("\x1b[31mred\x1b]0;title\x07 text") as server, terminal(server, "ask", "x") as (child, person):
        seen = read_until(person, "red text\r\n")
        assert child.wait(PATIENCE) == 0
    assert "\x1b[2mopenai · gpt-5-mini (OPENAI_API_KEY is set)\x1b[0m" in seen
    assert "\x1b[31m" not in seen
    assert "title" not in seen


def test_a_message_is_not_waited_for_at_a_terminal() -> None:
    """Without MESSAGE a terminal is not read: the usage is told instead."""
    with OpenAIServer("x") as server, terminal(server, "ask") as (child, person):
        assert "There is no message" in read_until(person, "pipe one in.")
        assert child.wait(PATIENCE) == 2


def test_a_chat_at_a_terminal_prompts_and_leaves_on_ctrl_d() -> None:
    """The person sees both labels, and leaves with exit code 0."""
    with OpenAIServer("Hello.", "Yes.") as server, terminal(server, "chat") as (child, person):
        read_until(person, PROMPT)
        os.write(person, b"hi\n")
        assert "Assistant: Hello.\r\n" in read_until(person, PROMPT)
        os.write(person, b"\nreally?\n")
        assert "Assistant: Yes.\r\n\r\n" in read_until(person, PROMPT)
        os.write(person, b"\x04")
        assert child.wait(PATIENCE) == 0
    assert [len(request["messages"]) for request in server.requests] == [1, 3]


def test_ctrl_c_stops_an_answer_and_keeps_the_chat() -> None:
    """What had come of the stopped answer stays in the history of the next turn."""
    answers = (["The first half", threading.Event()], "Fine.")
    with OpenAIServer(*answers) as server, terminal(server, "chat") as (child, person):
        read_until(person, PROMPT)
        os.write(person, b"hi\n")
        read_until(person, "The first half")
        child.send_signal(signal.SIGINT)
        assert "[stopped]" in read_until(person, PROMPT)
        assert server.hung_up.wait(PATIENCE)
        os.write(person, b"go on\n")
        assert "Assistant: Fine." in read_until(person, PROMPT)
        os.write(person, b"quit\n")
        assert child.wait(PATIENCE) == 0
    said = [message["content"] for message in server.requests[1]["messages"]]
    assert said == ["hi", "The first half", "go on"]


def test_ctrl_c_at_the_prompt_leaves_the_chat() -> None:
    """It ends without a traceback, with 130."""
    with OpenAIServer("x") as server, terminal(server, "chat") as (child, person):
        read_until(person, PROMPT)
        # Python misses a signal between its last look and the system call that waits for a key.
        for _ in range(40):
            child.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                child.wait(0.5)
                break
        assert child.returncode in (130, -signal.SIGINT)
        assert "Traceback" not in read_until(person, "\n")


def test_an_error_at_a_terminal_keeps_the_chat() -> None:
    """A turn that fails is told, and the next one is asked as if it had not been."""
    answers = (Answer("No.", status=400), "Yes.")
    with OpenAIServer(*answers) as server, terminal(server, "chat") as (child, person):
        read_until(person, PROMPT)
        os.write(person, b"hi\n")
        assert "Error: openai says: No" in read_until(person, PROMPT)
        os.write(person, b"again\n")
        assert "Assistant: Yes." in read_until(person, PROMPT)
        os.write(person, b"exit\n")
        assert child.wait(PATIENCE) == 0
    assert [message["content"] for message in server.requests[1]["messages"]] == ["again"]


def test_a_chat_into_a_file_keeps_the_labels_out_of_it() -> None:
    """Where only the answers are piped on, the prompt shows on the terminal alone."""
    with OpenAIServer("Hello.") as server, terminal(server, "chat", stdout=subprocess.PIPE) as (child, person):
        read_until(person, PROMPT)
        os.write(person, b"hi\n")
        read_until(person, PROMPT)
        os.write(person, b"quit\n")
        assert child.stdout is not None
        assert child.stdout.read() == b"Hello.\n"
        assert child.wait(PATIENCE) == 0
