"""A command line in, typed into a real shell on a terminal of its own; what the terminal shows out, cell by cell."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pyte

PATIENCE = 30.0
"""Seconds that anything may take."""
PROMPT = "$ "


class Screen(pyte.Screen):
    """Be what a terminal shows.

    Pyte knows no faint text; it is kept as text that blinks, which nothing here does.
    """

    def __init__(self, columns: int, rows: int, answer: Callable[[bytes], None]) -> None:
        self._answer = answer
        super().__init__(columns, rows)

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        """Take SGR, with 2 (faint) and 22 (neither bold nor faint) besides."""
        alone = not {38, 48} & {*attributes}
        taken = [5 if each == 2 and alone else each for each in attributes]
        super().select_graphic_rendition(*taken, *([25] if 22 in attributes and alone else []))

    def write_process_input(self, data: str) -> None:
        """Answer what the program asks the terminal, such as where the cursor is."""
        self._answer(data.encode())


class Terminal:
    """Hold a shell on a terminal, and the person before it. Not for several threads."""

    def __init__(self, person: int, columns: int, rows: int) -> None:
        self._person = person
        self.screen = Screen(columns, rows, lambda data: _write(person, data))
        self._stream = pyte.ByteStream(self.screen)
        self.watch: Callable[[Screen], None] = lambda screen: None
        """Told of the screen, again and again, while the terminal is waited for."""

    def until(self, seen: str | Callable[[str], object]) -> None:
        """Wait until the screen has a text, or is as a function of all its text says.

        Raises:
            TimeoutError: it does not come.
        """
        end = monotonic() + PATIENCE
        while not (seen in self.text if isinstance(seen, str) else seen(self.text)):
            if monotonic() > end:
                raise TimeoutError(f"{seen!r} did not come; there is:\n{self.text}")
            self.rest(0.02)

    def rest(self, seconds: float) -> None:
        """Let time pass, and take what comes meanwhile."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            if select.select([self._person], [], [], min(left, 0.02))[0]:
                self._stream.feed(os.read(self._person, 65536))
            self.watch(self.screen)

    def type(self, text: str, *, slowly: bool = False) -> None:
        """Type *text*, as fast as it goes or as a person does."""
        for key in text if slowly else [text]:
            _write(self._person, key.encode())
            self.rest(0.04 if slowly else 0.0)

    def run(self, command: str, *, slowly: bool = False) -> None:
        """Type a command, and press Enter."""
        self.type(command, slowly=slowly)
        self.until(lambda text: command.split()[-1] in text)
        self.type("\r")

    def prompted(self) -> None:
        """Wait until the shell asks for the next command."""
        self.until(lambda text: text.rstrip("\n ").endswith(f"\n{PROMPT.rstrip()}"))

    @property
    def text(self) -> str:
        """All that the screen shows, in lines."""
        return "\n".join(line.rstrip() for line in self.screen.display)


@contextmanager
def shell(folder: Path, environment: dict[str, str], *, columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    """Run a shell in *folder* on a terminal of this size, and end it with the block."""
    person, program = os.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    env = environment | {"TERM": "xterm-256color", "PS1": rf"\[\e[1;32m\]{PROMPT}\[\e[0m\]", "INPUTRC": os.devnull}
    # The first terminal that the leader of a new session opens is its own: Ctrl-C reaches what runs there.
    command = ["sh", "-c", 'exec bash --norc --noprofile -i <"$0" >"$0" 2>&1', os.ttyname(program)]
    child = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - a shell
    try:
        terminal = Terminal(person, columns, rows)
        terminal.until(PROMPT.rstrip())
        yield terminal
    finally:
        os.close(program)
        os.close(person)
        child.kill()
        child.wait()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
