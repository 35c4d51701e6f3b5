"""What goes with a message: what is piped in, and the files of --attach."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from openai_server import PATIENCE, OpenAIServer
from terminals import POSIX, PROGRAM, started
from test_attachments import PNG
from test_cli import Play, play, run  # noqa: F401 - a fixture

from promptstream import Document, Image, Text
from promptstream.cli import attach, piped
from promptstream.providers.scripted import ScriptedDialect
from promptstream.values.message import Part

PDF = b"%PDF-1.7 and so on"


def parts(dialect: ScriptedDialect, request: int = 0) -> list[Part]:
    """Give the parts of the last message that was sent."""
    return list(dialect.requests[request].messages[-1].parts)


@pytest.fixture
def asked(play: Play) -> ScriptedDialect:  # noqa: F811
    """Answer anything."""
    return play("ok", "ok", "ok")


# What is piped in


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (b"line 1\r\nline 2\n", "Summarise\n\nline 1\nline 2"),
        (b"  indented\n", "Summarise\n\n  indented"),
        (b"", "Summarise"),
        (b" \n\n", "Summarise"),
        ("naïve 漢\n".encode(), "Summarise\n\nnaïve 漢"),
        ("from Windows".encode("utf-16"), "Summarise\n\nfrom Windows"),
        (b"\xef\xbb\xbfmarked", "Summarise\n\nmarked"),
        (b"caf\xe9", "Summarise\n\ncaf\ufffd"),
    ],
)
def test_what_is_piped_in_follows_the_message(asked: ScriptedDialect, given: bytes, sent: str) -> None:
    """One message, the text after an empty line; an empty pipe adds nothing, a byte that is no text does no harm."""
    assert run("ask", "Summarise", "-p", "played", piped=given).exit_code == 0
    assert parts(asked) == [Text(sent)]


def test_run_takes_what_is_piped_in_too(asked: ScriptedDialect, tmp_path: Path) -> None:
    """As ask does."""
    pack = tmp_path / "a.pack.json"
    pack.write_text('{"prompts": {"p": {"system_template": "Be brief."}}}')
    run("run", str(pack), "p", "Summarise", "-p", "played", piped="text")
    run("run", str(pack), "p", "-p", "played", piped="text")
    assert [parts(asked, 0), parts(asked, 1)] == [[Text("Summarise\n\ntext")], [Text("text")]]


def test_a_piped_image_or_pdf_goes_with_the_message(asked: ScriptedDialect) -> None:
    """What it is, is told by its first bytes."""
    run("ask", "What is this?", "-p", "played", piped=PNG)
    run("ask", "And this?", "-p", "played", piped=PDF)
    assert parts(asked, 0) == [Text("What is this?"), Image(data=PNG, media_type="image/png")]
    assert parts(asked, 1)[1] == Document(data=PDF, media_type="application/pdf", name="standard input")


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["ask", "Sum"], b"\x7fELF\0\0\0", "neither text nor an image nor a PDF"),
        (["ask"], b"\x7fELF\0\0\0", "neither text nor an image nor a PDF"),
        (["ask"], PNG, "is of the type image/png: give MESSAGE"),
        (["ask", "-"], PDF, "is of the type application/pdf: give MESSAGE"),
        (["ask", "Sum"], b"x" * 1001, "More than 0 MiB are piped in"),
        (["ask", "-", "--attach", "-"], b"x", "--attach - takes standard input: give MESSAGE, too."),
        (["chat", "--attach", "-"], b"x", "--attach - is not for a chat"),
    ],
)
def test_what_cannot_be_a_message_is_told(
    asked: ScriptedDialect, arguments: list[str], given: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent; exit code 2."""
    monkeypatch.setattr(piped, "LARGEST", 1000)
    result = run(*arguments, "-p", "played", piped=given)
    assert (result.exit_code, asked.requests) == (2, [])
    assert said in result.stderr


# Standard input that is not meant


class Descriptor:
    """Stand in for standard input by a descriptor."""

    encoding = "utf-8"

    def __init__(self, descriptor: int) -> None:
        self.buffer = os.fdopen(descriptor, "rb")

    def fileno(self) -> int:
        return self.buffer.fileno()


def beside(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Tell whether what is at a descriptor would be read beside a message."""
    stream = Descriptor(descriptor)
    monkeypatch.setattr("sys.stdin", stream)
    with stream.buffer:
        return piped._is_piped_beside()


@POSIX
def test_a_list_that_a_loop_goes_through_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read from its beginning or not at all: a shell's loop has begun to read it."""
    file = tmp_path / "list"
    file.write_text("one\ntwo\n")
    assert beside(os.open(file, os.O_RDONLY), monkeypatch)
    begun = os.open(file, os.O_RDONLY)
    os.read(begun, 4)
    assert not beside(begun, monkeypatch)
    assert not beside(os.open(os.devnull, os.O_RDONLY), monkeypatch)


@POSIX
def test_a_pipe_that_never_says_anything_does_not_hang_a_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a while it is an error that says what to do, where nobody watches; a pipe that is closed adds nothing."""
    import click

    monkeypatch.setattr(piped, "TOLD_AFTER", 0.01)
    monkeypatch.setattr(piped, "UNATTENDED", 0.01)
    for reading, writing in (os.pipe(), [each.detach() for each in socket.socketpair()]):
        with pytest.raises(click.UsageError, match="< /dev/null where nothing is piped in"):
            beside(reading, monkeypatch)
        os.close(writing)
        assert "Waiting for what is piped in." in capsys.readouterr().err
    reading, writing = os.pipe()
    os.close(writing)
    assert beside(reading, monkeypatch)


@POSIX
def test_a_loop_over_a_file_asks_about_each_line(tmp_path: Path) -> None:
    """The first call does not take the rest of the list with it."""
    (tmp_path / "list").write_text("one\ntwo\n")
    loop = f'while read line; do {" ".join(PROGRAM)} ask "$line"; done < list'
    with OpenAIServer("ok") as server:
        subprocess.run(["sh", "-c", loop], cwd=tmp_path, env=server.environment(), check=True, timeout=PATIENCE)
        assert [body["messages"][0]["content"] for body in server.requests] == ["one", "two"]


@POSIX
def test_a_slow_pipe_is_waited_for() -> None:
    """What comes late comes with the message."""
    with OpenAIServer("ok") as server, started(server, "ask", "Sum", stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.write(b"late")
        child.stdin.close()
        assert child.wait(PATIENCE) == 0
        assert server.requests[0]["messages"][0]["content"] == "Sum\n\nlate"


# Files


def test_files_go_as_what_they_hold(asked: ScriptedDialect, tmp_path: Path) -> None:
    """Images and PDFs whatever they are called, texts with their names, an address as it is."""
    for name, data in (("photo.txt", PNG), ("paper", PDF), ("notes.md", b"# Notes\r\n"), ("code.xyz", b"x = 1")):
        (tmp_path / name).write_bytes(data)
    address = "https://example.org/a.png"
    files = [*(str(tmp_path / name) for name in ("photo.txt", "paper", "notes.md", "code.xyz")), address]
    result = run("ask", "Look", "-p", "played", *[word for file in files for word in ("-a", file)])
    assert (result.stdout, result.stderr) == ("ok\n", "")
    assert parts(asked) == [
        Text("Look"),
        Image(data=PNG, media_type="image/png"),
        Document(data=PDF, media_type="application/pdf", name="paper"),
        Text("notes.md:\n\n# Notes\n"),
        Text("code.xyz:\n\nx = 1"),
        Image(url=address),
    ]


def test_an_image_reaches_the_wire(tmp_path: Path) -> None:
    """As the provider wants it."""
    (tmp_path / "a.png").write_bytes(PNG)
    with OpenAIServer("A dot.") as server:
        run("ask", "What is it?", "--base-url", server.url, "--attach", str(tmp_path / "a.png"))
    content: Any = server.requests[0]["messages"][0]["content"]
    assert content[0] == {"type": "text", "text": "What is it?"}
    assert content[1]["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def test_standard_input_can_be_attached(asked: ScriptedDialect) -> None:
    """``--attach -`` waits for it; a text has a name as a file's has."""
    run("ask", "Look", "-p", "played", "--attach", "-", piped="some text")
    assert parts(asked) == [Text("Look"), Text("standard input:\n\nsome text")]


def test_a_chat_sends_them_with_its_first_line(asked: ScriptedDialect, tmp_path: Path) -> None:
    """And not with the second."""
    (tmp_path / "a.png").write_bytes(PNG)
    run("chat", "-p", "played", "--attach", str(tmp_path / "a.png"), piped="Look\nAnd now?\n")
    assert [each.type for each in parts(asked, 0)] == ["text", "image"]
    assert parts(asked, 1) == [Text("And now?")]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.zip", b"PK\x03\x04\0\0\xff", "it is application/zip. Images, PDFs and texts can be attached."),
        ("blob", b"\0\1\2", "it is of a kind that is not known."),
        ("latin.txt", b"caf\xe9", "it is a text in another encoding than UTF-8."),
        ("empty.txt", b"", "it is empty."),
        ("big.txt", b"x" * 1001, "it is larger than 0 MiB, the most that is sent."),
    ],
)
def test_what_cannot_be_attached_is_told_before_anything_is_sent(
    asked: ScriptedDialect, tmp_path: Path, name: str, data: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is named, with what is wrong with it; exit code 1."""
    monkeypatch.setattr(attach, "LARGEST", 1000)
    (tmp_path / name).write_bytes(data)
    result = run("ask", "Look", "-p", "played", "--attach", str(tmp_path / name))
    assert (result.exit_code, asked.requests) == (1, [])
    assert f"--attach {tmp_path / name}: " in result.stderr
    assert said in result.stderr


def test_a_file_that_is_not_there_is_told_with_the_nearest(asked: ScriptedDialect, tmp_path: Path) -> None:
    """Or with what keeps it from being read."""
    (tmp_path / "photo.jpg").write_bytes(PNG)
    missing = run("ask", "x", "-p", "played", "-a", str(tmp_path / "phoot.jpg"))
    assert "there is no such file. Did you mean 'photo.jpg'?" in missing.stderr
    folder = run("ask", "x", "-p", "played", "-a", str(tmp_path))
    assert "cannot be read: Is a directory" in folder.stderr
    assert (missing.exit_code, folder.exit_code, asked.requests) == (1, 1, [])


@POSIX
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_not_attached(asked: ScriptedDialect, device: str) -> None:
    """One has no end, another nothing in it."""
    result = run("ask", "x", "-p", "played", "-a", device)
    assert (result.exit_code, asked.requests) == (1, [])
    assert f"--attach {device}: it is a device. Give a file; - is standard input." in result.stderr


@POSIX
def test_what_a_shell_substitutes_is_attached(asked: ScriptedDialect) -> None:
    """Of `--attach <(command)`, which is a pipe, what comes through it."""
    there, here = os.pipe()
    os.write(here, b"text")
    os.close(here)
    try:
        assert run("ask", "x", "-p", "played", "-a", f"/dev/fd/{there}").exit_code == 0
    finally:
        os.close(there)
    assert parts(asked)[1] == Text(f"{there}:\n\ntext")


def test_files_that_are_too_large_together_are_told(
    asked: ScriptedDialect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is too much is named."""
    monkeypatch.setattr(attach, "LARGEST", 1000)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_bytes(b"x" * 600)
    result = run("ask", "x", "-p", "played", "-a", str(tmp_path / "a.txt"), "-a", str(tmp_path / "b.txt"))
    assert "b.txt: with what goes before it, it is larger than 0 MiB, the most that is sent." in result.stderr
    assert asked.requests == []


def test_a_provider_that_reads_no_documents_says_so(tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "a.pdf").write_bytes(PDF)
    result = run("ask", "x", "-p", "ollama", "-m", "toy", "-a", str(tmp_path / "a.pdf"))
    assert result.exit_code == 1
    assert "ollama does not support documents; nothing was sent." in result.stderr


# Parameters


def test_parameters_reach_the_request(asked: ScriptedDialect) -> None:
    """Each as the library takes it."""
    flags = ["--temperature", "0", "--max-tokens", "9", "--top-p", "0.5", "--seed", "3", "--stop", "A", "--stop", "B"]
    run("ask", "x", "-p", "played", *flags, "--reasoning", "low")
    assert asked.requests[0].parameters == {
        "temperature": 0.0,
        "max_tokens": 9,
        "top_p": 0.5,
        "seed": 3,
        "stop": ["A", "B"],
        "reasoning": "low",
    }


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--max-tokens", "0", "max_tokens=0: give a whole number above 0."),
        ("--reasoning", "hihg", "Did you mean 'high'?"),
        ("--temperature", "nan", "temperature=nan: give a number."),
        ("--budget", "a lot", "'a lot' is no amount of USD such as 0.50"),
        ("--budget", "0tokens", "no 20000tokens"),
    ],
)
def test_a_parameter_that_cannot_be_is_wrong_usage(asked: ScriptedDialect, flag: str, value: str, said: str) -> None:
    """The option is named, with what it takes."""
    result = run("ask", "x", "-p", "played", flag, value)
    assert (result.exit_code, asked.requests) == (2, [])
    assert flag in result.stderr
    assert said in " ".join(result.stderr.split())


def test_a_budget_stops_before_the_next_request(tmp_path: Path) -> None:
    """In USD, or in tokens."""
    with OpenAIServer("ok") as server:
        result = run("chat", "--base-url", server.url, "-m", "toy", "--budget", "10tokens", piped="one\ntwo\n")
    assert len(server.requests) == 1  # which took 18
    assert result.exit_code == 1
    assert "budget" in result.stderr.lower()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "openai", "--base-url", "http://127.0.0.1:9/v1", "-m", "my-model", "--budget", "1"],
         "it by: promptstream config set prices.my-model '{input = …, output = …}', in USD per million tokens."),
        (["-p", "openai", "--base-url", "http://127.0.0.1:9/v1", "-m", "it's", "--budget", "1"],
         """promptstream config set 'prices.it'"'"'s' '{input"""),
        (["-p", "replay"], "replay needs the path of a recording: promptstream replay FILE plays one."),
        (["-p", "compatible"], "compatible needs --base-url, the server's address"),
        (["-p", "ollama", "--base-url", "http://127.0.0.1:9"], "name one, such as -p ollama -m llama3.2."),
        (["-p", "openai", "--base-url", "http://example.org/v1"], "leave the key out, if that server needs none."),
    ],
)  # fmt: skip
def test_what_can_be_done_is_told_as_the_command_line_has_it(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    """No advice in Python."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-1234567")
    result = run("ask", "x", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "promptstream." not in result.stderr


def test_a_price_that_is_not_known_is_told_with_what_says_it() -> None:
    """As a warning, after the answer."""
    with OpenAIServer("ok") as server:
        options = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.url}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in options.items():
                patch.setenv(name, value)
            result = run("ask", "x", "-p", "openai", "-m", "my-model", "--stats")
    told = "so the cost is not; say it by: promptstream config set prices.my-model '{input = …, output = …}'\n"
    assert told in result.stderr


# Tools that are none


def test_functions_without_the_decorator_are_named(asked: ScriptedDialect, tmp_path: Path) -> None:
    """A file of plain functions offers nothing, which is an error that says which could be decorated."""
    file = tmp_path / "weather.py"
    file.write_text("from os import getcwd\ndef forecast(city: str): ...\ndef _help(): ...\nclass Place: ...\n")
    result = run("ask", "x", "-p", "played", "--tools", str(file))
    assert (result.exit_code, asked.requests) == (1, [])
    assert "it holds no tool. Decorate what the model may call, of forecast: @promptstream.tool." in result.stderr


def test_who_watches_is_told_what_is_offered(asked: ScriptedDialect, tmp_path: Path) -> None:
    """Of a file with tools and functions, the tools are named."""
    file = tmp_path / "weather.py"
    file.write_text("import promptstream\n@promptstream.tool\ndef forecast(city: str): ...\ndef helper(): ...\n")
    result = run("ask", "x", "-p", "played", "--tools", str(file), "--stats")
    assert "Tools: forecast\n" in result.stderr
