"""Every command's help, read as on a terminal of 80 columns, or of 40; and what a shell is told that asks for words."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from openai_server import OpenAIServer
from terminals import POSIX, read_all, terminal
from test_cli import run

from promptstream.cli.commands import root


def walked(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give every command with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from walked(each, *path, name)


COMMANDS = dict(walked(root))


def shown(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> str:
    """Give the help of a command."""
    monkeypatch.setenv("COLUMNS", str(columns))
    result = run(*path, "--help")
    assert (result.stderr, result.exit_code) == ("", 0)
    return result.stdout


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "promptstream")
def test_a_help_text_is_whole_and_fits(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """No line over 80 columns, a summary in a sentence, an example that begins with its own name, a text for all."""
    text = shown(path, monkeypatch)
    command = COMMANDS[path]
    assert max(map(len, text.splitlines())) <= 80
    assert command.get_short_help_str(1000).endswith(".")
    example = text.partition("Example")[2].partition("\n\n")[0]
    assert f"promptstream {' '.join(path)}".strip() in example
    assert [each.opts for each in command.params if isinstance(each, click.Option) and not each.help] == []
    for each in command.params:
        if isinstance(each, click.Argument):
            assert str(each.human_readable_name).upper().rstrip("S.") in (command.help or "").upper(), each


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "promptstream")
def test_a_help_text_fits_a_narrow_window(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """At 40 columns it has the same words, all whole."""
    narrow, wide = shown(path, monkeypatch, 40), shown(path, monkeypatch)
    assert [line for line in narrow.splitlines() if len(line) > 40 and " " in line.strip()] == []
    assert "".join(narrow.split()) == "".join(wide.split())


@POSIX
@pytest.mark.parametrize("arguments", [("ask", "x", "-p", "opnai"), ("config", "set", "model"), ("providers",)])
def test_what_is_told_fits_a_narrow_terminal(arguments: tuple[str, ...]) -> None:
    """Errors, wrong usage and lists break between words, at the window's width."""
    with OpenAIServer() as server, terminal(server, *arguments, columns=40) as (_, person):
        lines = read_all(person).splitlines()
    assert len(lines) > 1
    assert [line for line in lines if len(line) > 40] == []


@pytest.mark.parametrize("asked", ["bash_complete", "zsh_complete", "fish_complete"])
@pytest.mark.parametrize("given", [{}, {"COMP_WORDS": "promptstream"}, {"COMP_CWORD": "1"}])
def test_a_shell_that_asks_wrongly_is_told_nothing(
    asked: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asks for words without saying what stands on the command line gets none."""
    for name, value in {"_PROMPTSTREAM_COMPLETE": asked, **given}.items():
        monkeypatch.setenv(name, value)
    result = run()
    assert (result.output, result.exit_code) == ("", 0)


@pytest.mark.parametrize(("asked", "word"), [("bash_complete", "1"), ("fish_complete", "mod")])
def test_a_shell_that_asks_rightly_is_told_words(asked: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bash and zsh give the number of the word, fish the word."""
    monkeypatch.setenv("_PROMPTSTREAM_COMPLETE", asked)
    monkeypatch.setenv("COMP_WORDS", "promptstream mod")
    monkeypatch.setenv("COMP_CWORD", word)
    assert run().stdout.startswith("plain,models")


def test_options_stand_in_sections_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said, who is asked, tools, what is kept and what is printed, and then the rest."""
    lines = shown(("ask",), monkeypatch).splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Message:", "Model:", "Tools:", "Conversation:", "Output:", "Options:", "Exit codes:"]
    model = lines[lines.index("Model:") : lines.index("Tools:")]
    assert [line.split()[0] for line in model if line.startswith("  -")][:4] == [
        "-p,",
        "-m,",
        "--base-url",
        "--temperature",
    ]


def test_commands_stand_in_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones that answer come first; none is left out."""
    lines = shown((), monkeypatch).splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles[:2] == ["Ask:", "Look:"]
    assert titles[-3:] == ["Set up:", "Options:", "Exit codes:"]
    assert "Commands:" not in titles
    for (name, *_), _ in [(path, each) for path, each in COMMANDS.items() if len(path) == 1]:
        assert any(line.startswith(f"  {name} ") for line in lines), name


@pytest.mark.parametrize("wrong", ["aks", "modles"])
def test_a_slip_in_a_command_is_told(wrong: str) -> None:
    """The name that was typed is in the error, with exit code 2."""
    result = run(wrong)
    assert result.exit_code == 2
    assert wrong in result.stderr
