"""``promptstream serve --workers``: one relay to its clients, whatever dies in between, and nothing left at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import requests
from openai_server import OpenAIServer, calling
from relays import texts, wait_until
from stores import redis_url

from promptstream.cli.workers import supervise
from promptstream.errors import ConfigError

pytest.importorskip("websockets", reason="websockets is not installed (extra web)")
BOOT = 60.0
"""Seconds that whole processes have for what must happen."""
eventually = partial(wait_until, seconds=BOOT)


@attrs.define
class Served:
    """Be a ``promptstream serve --workers`` that runs."""

    process: subprocess.Popen[str]
    url: str

    def post(self, **action: Any) -> requests.Response:
        """Ask for an action over plain HTTP, at whichever worker it comes to."""
        return requests.post(f"{self.url}chat?format=ndjson", json=action, timeout=BOOT)

    def workers(self) -> list[int]:
        """Give their process ids."""
        return children(self.process.pid)

    @contextmanager
    def streaming(self, message: str, **more: Any) -> Iterator[None]:
        """Have a turn run, of which the first text has come, if it begins with one."""
        with requests.post(f"{self.url}chat", json={"message": message, **more}, stream=True, timeout=BOOT) as answer:
            lines = answer.iter_lines(1)
            for line in lines:
                if b'"content", "content"' in line or b'"tool_call", ' in line:
                    break
            yield
            del lines  # by which the connection would have ended


def children(pid: int) -> list[int]:
    """Give the ids of a process's children."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


CONNECTED, LISTENING = "01", "0A"
"""States of a socket in /proc/net/tcp."""


def has(pid: int, state: str, url: str) -> bool:
    """Tell whether a process has a socket at the relay's port in that state."""
    port = int(url.rsplit(":", 1)[1].strip("/"))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    wanted = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == state}
    try:
        return any(_link(f"/proc/{pid}/fd/{each}") in wanted for each in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


@contextmanager
def served(server: OpenAIServer, *arguments: str, folder: Path, port: int = 0) -> Iterator[Served]:
    """Run ``promptstream serve --workers 2``, whose private files are in *folder*."""
    if not Path("/proc/self/task").exists():
        pytest.skip("this system does not show whose child a process is")
    command = [sys.executable, "-m", "promptstream", "serve", "--port", str(port), "--workers", "2", *arguments]
    environment = server.environment(TMPDIR=str(folder))
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            yield Served(process, str(process.stdout and process.stdout.readline()).strip())
        finally:
            process.kill()


def test_workers_are_one_relay_in_a_private_place_and_a_dead_one_is_replaced(tmp_path: Path):
    """A conversation goes on wherever it comes to; what is kept is this user's alone, and gone at the end."""
    with OpenAIServer("Hi.") as server, served(server, folder=tmp_path) as relay:
        id = json.loads(relay.post(message="Hi").text.splitlines()[0])["conversation_id"]
        first = relay.workers()
        assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o700]
        os.kill(first[0], signal.SIGKILL)
        eventually(lambda: len({*relay.workers()} - {*first}) == 1)
        for _ in range(4):
            assert relay.post(message="Hi", conversation_id=id).status_code == 200
        assert len(server.requests[-1]["messages"]) == 9
        last = relay.workers()
        relay.process.send_signal(signal.SIGINT)
        out, said = relay.process.communicate(timeout=BOOT)
    assert (relay.process.returncode, out) == (0, "")
    assert said.splitlines()[1:] == [
        "Stop it by Ctrl-C.",
        "Worker 1 ended (SIGKILL). Another is started in 0.5 s.",
        "Closing.",
    ]
    assert [*tmp_path.iterdir(), *filter(alive, last)] == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_no_worker_is_left_however_the_command_ends(number: int, code: int, tmp_path: Path):
    """Not with a turn that runs, which the provider is hung up on; and nothing of theirs lies around."""
    with OpenAIServer(["One", threading.Event()]) as server, served(server, folder=tmp_path) as relay:
        workers = relay.workers()
        with relay.streaming("Count"):
            relay.process.send_signal(number)
            relay.process.wait(BOOT)
            eventually(lambda: not any(map(alive, workers)))
        assert server.hung_up.wait(BOOT)
        eventually(lambda: not [*tmp_path.iterdir()])
        assert (relay.process.returncode, len(workers)) == (code, 2)


def test_a_second_signal_ends_workers_at_once_whatever_they_wait_for(tmp_path: Path):
    """Also those whose closing never ends."""
    tools = tmp_path / "stuck.py"
    tools.write_text("import threading\nfrom promptstream.web import Relay\nfrom promptstream import tool\n"
                     "Relay._part = lambda _: threading.Event().wait()\n"
                     "@tool\ndef look() -> str:\n    'Look.'\n    return ''\n")  # fmt: skip
    (tmp_path / "private").mkdir()
    with OpenAIServer() as server, served(server, "--tools", str(tools), folder=tmp_path / "private") as relay:
        workers = relay.workers()
        relay.process.send_signal(signal.SIGTERM)
        assert any("Closing." in line for line in relay.process.stderr or ())
        relay.process.send_signal(signal.SIGTERM)
        assert relay.process.wait(BOOT) == -signal.SIGTERM
        eventually(lambda: not any(map(alive, workers)))
        assert [*(tmp_path / "private").iterdir()] == []


def test_what_is_wrong_is_told_once(tmp_path: Path):
    """By one worker, with its exit code, or before there is any."""
    with OpenAIServer() as server:
        with served(server, "--tools", "none.py", folder=tmp_path) as relay:
            _, said = relay.process.communicate(timeout=BOOT)
            assert (relay.process.returncode, said.count("Error:"), said.count("none.py")) == (1, 1, 1)
        with served(server, folder=tmp_path, port=server.server_address[1]) as relay:
            _, said = relay.process.communicate(timeout=BOOT)
            assert (relay.process.returncode, said.count("in use")) == (1, 1)
    assert [*tmp_path.iterdir()] == []


def test_what_cannot_be_shared_is_told(monkeypatch: pytest.MonkeyPatch):
    """Ports, on some systems, and conversations without a store: before anything is started."""
    settings: dict[str, Any] = {
        "workers": 2,
        "max_connections": 8,
        "host": "127.0.0.1",
        "port": 0,
        "share_port": False,
        "store": None,
    }
    with pytest.raises(ConfigError, match="--share-port: give the --store"):
        supervise({**settings, "share_port": True}, print)
    monkeypatch.delattr("socket.SO_REUSEPORT", raising=False)
    with pytest.raises(ConfigError, match="SO_REUSEPORT"):
        supervise(settings, print)


def test_a_relay_killed_in_the_middle_of_a_turn_is_gone_on_without(tmp_path: Path):
    """What it said counts for nothing, another answers its client; a call that it ran is not run again."""
    runs = tmp_path / "runs"
    tools = tmp_path / "slow.py"
    tools.write_text(
        "import threading\nfrom promptstream import tool\n@tool\ndef slow() -> str:\n    'Work.'\n"
        f"    open({str(runs)!r}, 'a').write('x')\n    threading.Event().wait()\n    return ''\n"
    )
    (tmp_path / "private").mkdir()
    arguments = ("--store", redis_url(), "--tools", str(tools), "--yes")
    answers: list[Any] = ["Hi.", ["One", threading.Event()], "Two.", calling(("call-1", "slow", "{}")), "It broke off."]
    with OpenAIServer(*answers) as server, served(server, *arguments, folder=tmp_path / "private") as relay:
        assert [*(tmp_path / "private").iterdir()] == []
        id = json.loads(relay.post(message="Hi").text.splitlines()[0])["conversation_id"]
        with relay.streaming("Count", conversation_id=id):
            assert relay.post(message="Me too", conversation_id=id).status_code == 409
            kill_who_serves(relay)
        assert texts(relay.post(message="Count", conversation_id=id)) == "Two."
        with relay.streaming("Work", conversation_id=id):
            eventually(runs.exists)
            kill_who_serves(relay)
        back = relay.post(action="resume", conversation_id=id).text
        assert "interrupted: " in back
        assert texts(relay.post(message="Go on", conversation_id=id)) == "It broke off."
        told = [each["content"] for each in server.requests[-1]["messages"] if each["role"] == "user"]
    assert (told, runs.read_text()) == (["Hi", "Count", "Work", "Go on"], "x")


def kill_who_serves(relay: Served) -> None:
    """Kill the worker that has a connection, and wait until there is another."""
    before = relay.workers()
    [busy] = [pid for pid in before if has(pid, CONNECTED, relay.url)]
    os.kill(busy, signal.SIGKILL)
    eventually(lambda: len([pid for pid in relay.workers() if pid != busy and has(pid, LISTENING, relay.url)]) == 2)
