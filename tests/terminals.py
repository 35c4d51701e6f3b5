"""The command line as a process: on pipes, or on a terminal with a person's side."""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import pytest
from openai_server import PATIENCE, OpenAIServer

PROGRAM = [sys.executable, "-m", "promptstream"]
PROMPT = "/help for commands"
"""What a chat shows where nothing is typed yet; its label is drawn again with every key."""
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and terminals of POSIX")


@contextmanager
def started(server: OpenAIServer, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command line against *server*, and end it with the test."""
    options = {"env": server.environment(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    options.setdefault("stdin", subprocess.DEVNULL)
    with subprocess.Popen([*PROGRAM, *arguments], **options) as child:
        try:
            yield child
        finally:
            child.kill()


def read_until(source: int, wanted: str) -> str:
    """Read from a descriptor until *wanted* has come, and give all that came."""
    seen, end = b"", monotonic() + PATIENCE
    while wanted.encode() not in seen:
        if not select.select([source], [], [], max(0.0, end - monotonic()))[0]:
            pytest.fail(f"{wanted!r} did not come; there was {seen!r}")
        try:
            piece = os.read(source, 4096)
        except OSError:  # a terminal whose other side is closed
            piece = b""
        if not piece:
            pytest.fail(f"{wanted!r} did not come before the end; there was {seen!r}")
        seen += piece
    return seen.decode()


def read_all(source: int) -> str:
    """Read from a terminal until its other side is closed, and give all that came."""
    seen = b""
    with suppress(OSError):
        while piece := os.read(source, 4096):
            seen += piece
    return seen.decode()


def interrupt(child: subprocess.Popen[bytes], person: int, wanted: str, number: int = signal.SIGINT) -> str:
    """Press Ctrl-C at a question, or send another signal, and give all that comes until *wanted* has."""
    for _ in range(40):  # Python misses a signal between its last look and the system call that waits for a key
        child.send_signal(number)
        if select.select([person], [], [], 0.5)[0]:
            return read_until(person, wanted)
    pytest.fail("the signal did nothing")


@contextmanager
def terminal(
    server: OpenAIServer,
    *arguments: str,
    environment: dict[str, str] | None = None,
    columns: int | None = None,
    **options: Any,
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command line on a terminal, and give it with the descriptor of the person's side."""
    person, program = os.openpty()
    try:
        if columns is not None:
            import fcntl
            import termios

            fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        options = {"stdin": program, "stdout": program, "stderr": program, **options}
        options["env"] = server.environment(**{"TERM": "xterm", "PROMPTSTREAM_HISTORY": "", **(environment or {})})
        with started(server, *arguments, **options) as child:
            os.close(program)
            program = -1
            yield child, person
    finally:
        os.close(person)
        if program >= 0:
            os.close(program)
