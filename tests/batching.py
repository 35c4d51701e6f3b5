"""What tests of batches share: a loopback provider that answers by the prompt, and calls that go to other processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openai_server import PATIENCE, Answer, OpenAIServer

from promptstream.batch.worker import token_here

KEY = "sk-loopback-key-of-the-tests"
ROWS = [*(f"row {number}" for number in range(12)), "cut this", "refuse this", {"message": "named", "id": 7}]
"""Rows that end in every way: whole, cut, refused."""


class EchoServer(OpenAIServer):
    """Answer "Echo: " and the prompt. "cut…" cuts the answer, "refuse…" refuses, "hold…" waits for the gate in it."""

    def __init__(self) -> None:
        super().__init__("")
        self.gate = threading.Event()
        self.keys: list[str | None] = []
        """What came as Authorization with each request."""
        self.came = threading.Condition(self.lock)

    def answer_to(self, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        self.keys.append(headers["Authorization"])
        self.came.notify_all()
        said = body["messages"][-1]["content"]
        if said.startswith("refuse"):
            return Answer("No.", status=400)
        pieces = ("Echo: ", self.gate, said) if said.startswith("hold") else ("Echo: ", said)
        return Answer(pieces, finish=None if said.startswith("cut") else "stop")

    def prompts(self) -> list[str]:
        """Give the last message of every request, in the order they came."""
        with self.lock:
            return [each["messages"][-1]["content"] for each in self.requests]

    def wait_for(self, requests: int) -> None:
        """Return once so many requests have come."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.requests) >= requests, PATIENCE), len(self.requests)

    def variables(self) -> dict[str, str]:
        """Give the variables by which a process finds this server, and its key."""
        return {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": self.url}


def wait_until(path: Path) -> None:
    """Wait until another process has made *path*."""
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.005)


# Calls that are run elsewhere


def where(value: Any = None) -> tuple[int, Any]:
    """Tell which process this is."""
    return os.getpid(), value


def die(*_: Any) -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    """Do what a tool may do that was a script."""
    raise SystemExit(3)


def fail() -> None:
    """Raise what no row should."""
    raise ValueError("It was wrong.")


def unsendable() -> Any:
    """Give what does not pickle."""
    return lambda: None


def until_cancelled(path: str) -> str:
    """Make the file *path*, and give the reason once the driver has cancelled."""
    token = token_here()
    assert token is not None
    cancelled = threading.Event()
    token.on_cancel(cancelled.set)
    with open(path, "x"):
        pass
    assert cancelled.wait(PATIENCE)
    return token.reason
