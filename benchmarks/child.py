"""A module's name in, a child process to ask out: one JSON line each way, every wait bounded."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

Self = TypeVar("Self", bound="Child")
ROOT = Path(__file__).resolve().parent.parent


class ChildFailed(RuntimeError):
    """A child process died, reported an error, or did not answer in time."""


class Child:
    """Run ``python -m MODULE`` from the repository's root, by *python* or this one; leaving the block ends it."""

    def __init__(
        self, module: str, *arguments: str, environment: Mapping[str, str] | None = None, python: str = sys.executable
    ) -> None:
        self.name = " ".join((module, *arguments))
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        self._pending = b""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def ask(self, timeout: float = 120, **command: Any) -> dict[str, Any]:
        """Send *command* and give the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
        except OSError as error:
            raise ChildFailed(f"{self.name} is gone: {error}") from error
        return self.hear(timeout)

    def hear(self, timeout: float = 60) -> dict[str, Any]:
        """Give the next line the child says.

        Raises:
            ChildFailed: it said an error, ended, or said nothing in *timeout* seconds.
        """
        assert self._process.stdout is not None
        while b"\n" not in self._pending:
            if not select.select([self._process.stdout], [], [], timeout)[0]:
                raise ChildFailed(f"{self.name} did not answer in {timeout} s.")
            data = os.read(self._process.stdout.fileno(), 65536)
            if not data:
                raise ChildFailed(f"{self.name} ended with status {self._process.wait(5)}.")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ChildFailed(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Close the child's input, which tells it to end; kill it where it does not."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        process.stdout.close()


def say(**answer: Any) -> None:
    """Tell the parent *answer*; for use in the child."""
    assert sys.__stdout__ is not None
    sys.__stdout__.write(json.dumps(answer) + "\n")
    sys.__stdout__.flush()
