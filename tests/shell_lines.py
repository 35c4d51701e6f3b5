"""A line of a shell in, each of its commands checked; those of ``promptstream`` that can be run are run."""

from __future__ import annotations

import configparser
import os
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
from click.testing import CliRunner
from documents import ROOT

from promptstream.cli.commands import root
from promptstream.providers.registry import BUILT_IN

RUN = {"ask", "run", "pack check", "pack show", "history show", "history list", "providers", "models", "replay"}
"""Commands that end by themselves and ask nobody."""
OTHERS = {
    "cat",
    "cd",
    "chmod",
    "cp",
    "curl",
    "dask",
    "docker",
    "echo",
    "eval",
    "git",
    "jq",
    "ls",
    "mkdir",
    "ollama",
    "pass",
    "source",
}
OTHERS |= {"sqlite3", "tail", "vllm"}
"""Commands of others, which nobody here can check."""
OURS_BY_MODULE = {"pip", "pytest", "venv", "mkdocs", "promptstream"}
VARIABLES = {name for entry in BUILT_IN.values() for name in (*entry.keys, entry.url_variable) if name}
SOURCES = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "promptstream").rglob("*.py"))
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|…|\$|\.\.\.")
"""What a reader puts something in place of, in an argument."""


class Shell:
    """Go through the lines of a page, in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved: set[str] = set()
        """Conversations that were kept by a line before."""

    def line(self, line: str, place: str) -> str | None:
        """Check a line, and give what it showed; None where nothing of it could be run.

        Raises:
            AssertionError: a command, a flag or a file is not there, or it failed.
        """
        shown: str | None = None
        piped: str | None = ""
        for inner in re.findall(r"\$\((.+?)\)", line):
            self.line(inner, place)
        for operator, words in commands(line):
            words, source, target = redirected(words)
            piped = piped if operator == "|" else ""
            if source:
                piped = self._text("cat", [source])
            output = self._command(words, piped, place)
            if output is not None:
                shown = output
            if target and output is not None:
                (self.folder / target).write_text(output, encoding="utf-8")
                shown = ""
            piped = output
        return shown

    def _command(self, words: list[str], piped: str | None, place: str) -> str | None:
        while words and re.fullmatch(r"\w+=.*", words[0]):
            known(words.pop(0).partition("=")[0], place)
        name, *arguments = words or ["true"]
        name = name.rpartition("/")[2]
        if name == "promptstream":
            return self._promptstream(arguments, piped, place)
        if name in ("cat", "echo") and "-" not in "".join(arguments)[:1]:
            return self._text(name, arguments)
        if name in ("python", "python3"):
            self._python(arguments, place)
        elif name == "export":
            known(arguments[0].partition("=")[0], place)
        elif name == "pip":
            installable(arguments, place)
        else:
            assert name in OTHERS | OURS_BY_MODULE | {"true"}, f"{place}: nobody here knows the command {name!r}"
        return None

    def _text(self, name: str, arguments: list[str]) -> str | None:
        if name == "echo":
            return " ".join(arguments) + "\n"
        paths = [self.folder / each for each in arguments]
        there = all(path.is_file() or path == Path(os.devnull) for path in paths)
        return "".join(path.read_text(encoding="utf-8") for path in paths) if there else None

    def _python(self, arguments: list[str], place: str) -> None:
        if arguments[0] != "-m":
            there = (self.folder / arguments[0]).exists() or (ROOT / arguments[0]).exists()
            assert there, f"{place}: there is no {arguments[0]}"
            return
        module, rest = arguments[1], arguments[2:]
        path = ROOT / module.replace(".", "/")
        assert module in OURS_BY_MODULE or path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), place
        if module == "pip":
            installable(rest, place)

    def _promptstream(self, arguments: list[str], piped: str | None, place: str) -> str | None:
        arguments = [os.path.expandvars(each) for each in arguments]
        name, _, flags = resolved(arguments, place)
        if name not in RUN or piped is None or not self._ready(flags):
            return None
        words = [word for each in arguments for word in self._globbed(each)]
        before = os.getcwd()
        os.chdir(self.folder)
        try:
            result = CliRunner().invoke(root, words, input=piped, prog_name="promptstream")
        finally:
            os.chdir(before)
        assert result.exit_code == 0, f"{place}: {shlex.join(words)} ended with {result.exit_code}: {result.output}"
        self.saved |= {value for flag, value in pairwise(flags) if flag == "--save"}
        return result.output

    def _ready(self, arguments: list[str]) -> bool:
        """Tell whether all that the arguments name is here."""
        for before, word in pairwise(["", *arguments]):
            if before in ("--system", "--var") or " " in word:
                continue
            if PLACEHOLDER.search(word) or (before == "--resume" and word not in self.saved):
                return False
            if re.search(r"\.\w{2,5}$", word) and not self._globbed(word, whole=False) and before != "--record":
                return False
        return True

    def _globbed(self, word: str, whole: bool = True) -> list[str]:
        if " " not in word and ("*" in word or not whole):
            return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.glob(word))
        return [word]


def commands(line: str) -> Iterator[tuple[str, list[str]]]:
    """Give the commands of a line, each with the operator before it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    operator, words = "", []
    for token in lexer:
        if token in ("|", "&&", "||", ";", "&"):
            yield operator, words
            operator, words = token, []
        else:
            words.append(token)
    if words:
        yield operator, words


def redirected(words: list[str]) -> tuple[list[str], str, str]:
    """Part a command from the files that it reads and writes."""
    plain: list[str] = []
    files = {"<": "", ">": ""}
    rest = iter(words)
    for word in rest:
        if word in files:
            files[word] = next(rest)
        else:
            plain.append(word)
    return plain, files["<"], files[">"]


def resolved(arguments: list[str], place: str) -> tuple[str, click.Command, list[str]]:
    """Give the name of a sub-command, the command and its arguments, each flag of which it must have."""
    command: click.Command = root
    names, rest = [], list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"{place}: promptstream {' '.join(names)} has no {rest[0]!r}"
        names.append(rest.pop(0))
        command = command.commands[names[-1]]
    assert rest or not isinstance(command, click.Group), f"{place}: promptstream {' '.join(names)} what?"
    flags = {"--help", "-h"} | {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}
    flags |= {"--version"} if command is root else set()
    for word in rest:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in flags, f"{place}: promptstream {' '.join(names)} has no {word}"
    return " ".join(names), command, rest


def known(name: str, place: str) -> None:
    """Make sure that somebody reads an environment variable."""
    assert name in VARIABLES or f'"{name}"' in SOURCES or name.startswith("MY_"), f"{place}: nobody reads {name}"


def installable(arguments: list[str], place: str) -> None:
    """Make sure that the extras to be installed are there."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    for extras in re.findall(r"\[([\w,]+)\]", " ".join(arguments)):
        for extra in extras.split(","):
            assert extra in config["options.extras_require"], f"{place}: there is no extra {extra}"
