"""Nothing in, pictures of the command at a terminal out: a real run, with a server of this machine as the model."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic
from typing import ClassVar

from openai_server import basic
from page_demo import ANSWER, THOUGHTS
from paint import save, save_moving, window
from PIL import Image
from provider_server import ProviderServer
from screen import Screen, Terminal, shell
from wires.base import KEY
from wires.chat import CompatibleWire
from wires.script import Answer, Count, Item, Say, Think, Use

TITLE = "promptstream"
EVERY = 0.1
"""Seconds between two frames of a moving picture."""
CONFIG = """\
provider = "compatible"
base_url = "{url}"
model = "demo-1"

[prices."demo-1"]
input = 0.4
output = 1.6
"""
TOOLS = '''\
import promptstream


@promptstream.tool
def find_order(number: int) -> dict:
    """Look an order up."""
    return {"item": "lamp", "paid": 80.0, "state": "arrived broken"}


@promptstream.tool(approval=True)
def refund(order: int, euros: float) -> str:
    """Pay an order back."""
    return f"{euros:.2f} euros for order {order} are on their way"
'''
QUESTION = "How do I read a big file in Python?"


class Pause(Event):
    """Be open a while after it was first looked at."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._since: float | None = None

    def is_set(self) -> bool:
        """Tell whether the time is over."""
        self._since = self._since or monotonic()
        return monotonic() - self._since > self._seconds


class DemoWire(CompatibleWire):
    """A server whose model is called demo-1."""

    answering: ClassVar[str] = "demo-1"


def spoken(text: str, pause: float) -> Iterator[Item]:
    """Give a text as a model gives it: some characters at a time, with seconds between them."""
    for start in range(0, len(text), 6):
        yield Say(text[start : start + 6])
        if pause:
            yield Pause(pause)


def explained(pause: float) -> Answer:
    """Give the answer to QUESTION: thoughts, a table, code, a list."""
    thoughts = [
        each for start in range(0, len(THOUGHTS), 9) for each in (Think(THOUGHTS[start : start + 9]), Pause(0.1))
    ]
    return Answer([Pause(0.3), *thoughts, *spoken(ANSWER, pause)], count=Count(31, 214, None, 38))


@contextmanager
def at_work(*answers: str | Answer, rows: int = 24) -> Iterator[Terminal]:
    """Give a terminal in a folder of its own, whose configured provider says *answers*."""
    with ProviderServer(DemoWire(), *answers) as server, TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.toml").write_text(CONFIG.format(url=server.url))
        (folder / "shop.py").write_text(TOOLS)
        command = folder / "bin" / "promptstream"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m promptstream "$@"\n')
        command.chmod(0o755)
        more = {
            "PATH": f"{command.parent}:/usr/bin:/bin",
            "PROMPTSTREAM_CONFIG": str(folder / "config.toml"),
            "PROMPTSTREAM_API_KEY": KEY,
            "PROMPTSTREAM_HISTORY": "",
            "HOME": name,
            "LANG": "C.UTF-8",
        }
        with shell(folder, basic(more), rows=rows) as terminal:
            yield terminal


def answer(path: Path) -> None:
    """Show an answer: thoughts folded, a table, code in colours, a list, the figures in a line."""
    with at_work(explained(0.0), rows=34) as terminal:
        terminal.run(f'promptstream ask "{QUESTION}" --stats-line')
        terminal.prompted()
        save(window(terminal.screen, TITLE), path)


def approval(path: Path) -> None:
    """Show a chat where tools are called, one of them after a person's word, and the panel of figures."""
    answers = (
        Answer([Use("call_1", "find_order", '{"number": 7}')], "tool_calls", Count(88, 17, None, None)),
        Answer([Use("call_2", "refund", '{"order": 7, "euros": 80.0}')], "tool_calls", Count(131, 24, None, None)),
        Answer(
            [*spoken("Done: **80.00 euros** are on their way back to you.", 0.02)], count=Count(170, 15, None, None)
        ),
    )
    with at_work(*answers, rows=34) as terminal:
        terminal.run("promptstream chat --tools shop.py")
        terminal.until("/help for commands")
        terminal.type("Order 7 arrived broken. Please pay it back.\r")
        terminal.until("run find_order(number=7)? [y]es / [n]o / [e]dit:")
        terminal.type("y\r")
        terminal.until("run refund(order=7, euros=80.0)? [y]es / [n]o / [e]dit:")
        terminal.type("y\r")
        terminal.until(lambda text: "back to you" in text and "\nYou: /help" in text)
        terminal.type("/stats\r")
        terminal.until("─╯")
        terminal.rest(0.3)
        save(window(terminal.screen, TITLE), path)


def streaming(path: Path) -> None:
    """Show an answer as it comes: what is typed, what is waited for, thoughts, text."""
    frames: list[tuple[Image.Image, float]] = []
    seen = ""
    began = monotonic()

    def watch(screen: Screen) -> None:
        nonlocal seen, began
        now = monotonic()
        if now - began < EVERY:
            return
        shown = f"{screen.display}{screen.cursor.y},{screen.cursor.x}"
        if shown == seen:
            return
        if frames:
            frames[-1] = (frames[-1][0], now - began)
        frames.append((window(screen, TITLE, size=18, whole=True), EVERY))
        seen, began = shown, now

    with at_work(explained(0.05), rows=28) as terminal:
        terminal.watch = watch
        terminal.rest(0.5)
        terminal.run(f'promptstream ask "{QUESTION}" --stats-line', slowly=True)
        terminal.prompted()
        terminal.rest(0.3)
    frames[-1] = (frames[-1][0], 4.0)
    save_moving(frames, path)


PICTURES = {"terminal.png": answer, "terminal_approval.png": approval, "terminal_streaming.gif": streaming}
