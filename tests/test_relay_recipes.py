"""The recipes of docs/relay.md, served by the frameworks they are for; and ``promptstream serve`` as it is used."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from documents import blocks_of, read
from openai_server import OpenAIServer, basic
from relays import PATIENCE, wait_until

import promptstream
from promptstream.cli.serve import make_room

pytest.importorskip("websockets", reason="websockets is not installed (extra web)")


def recipe(name: str, provider: promptstream.Provider) -> Any:
    """Give the app that the page shows under *name*, on *provider*."""
    [block] = [each for each in blocks_of("docs/relay.md", read("docs/relay.md")) if each.title == name]
    names: dict[str, Any] = {"__name__": name.removesuffix(".py")}
    exec(compile(block.text, name, "exec", dont_inherit=True), names)
    names["provider"] = provider
    return names["app"]


@contextmanager
def by_flask(app: Any) -> Iterator[str]:
    """Serve a WSGI app."""
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/chat"
    server.shutdown()
    thread.join(PATIENCE)


@contextmanager
def by_uvicorn(app: Any) -> Iterator[str]:
    """Serve an ASGI app."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/chat"
    server.should_exit = True
    thread.join(PATIENCE)


SERVERS = {"flask_app.py": by_flask, "fastapi_app.py": by_uvicorn}


@pytest.mark.parametrize("name", SERVERS)
def test_a_recipe_streams_and_hangs_up_when_its_reader_leaves(name):
    """Each event is there while the next is not; who leaves costs nothing more."""
    pytest.importorskip(name.partition("_")[0])
    gate = threading.Event()
    with OpenAIServer(["One, ", gate, "two."], ["Once", *["x" * 65_536] * 1000]) as server:
        app = recipe(name, promptstream.providers.Compatible(base_url=server.url, model="toy-1"))
        with SERVERS[name](app) as url:
            with requests.post(url, json={"message": "Count"}, stream=True, timeout=PATIENCE) as answer:
                pieces = answer.iter_content(None)
                came = next(pieces)
                assert b"One, " in came
                gate.set()
                assert b'"done"' in b"".join(pieces)
            answer = requests.post(url, json={"message": "A story"}, stream=True, timeout=PATIENCE)
            next(answer.iter_content(10))
            answer.close()
            assert server.hung_up.wait(PATIENCE)


@contextmanager
def served(*arguments: str, environment: dict[str, str]) -> Iterator[Any]:
    """Run ``promptstream serve`` on a free port; give the process, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "promptstream", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        yield process, str(process.stdout.readline()).strip()
        process.kill()


def test_the_command_serves_a_pack_and_ends_by_ctrl_c(tmp_path: Path):
    """The address alone is on standard output; the exit code is 0, without a traceback."""
    path = tmp_path / "shout.pack.json"
    path.write_text(json.dumps({"prompts": {"shout": {"system_template": "Shout like {{who}}."}}}))
    token = tmp_path / "token"
    token.write_text("s3cret-token\n")
    arguments = (str(path), "--var", "who=Ada", "--token-file", str(token), "--store", str(tmp_path / "kept.db"))
    with OpenAIServer("HI!") as server, served(*arguments, environment=server.environment()) as (process, url):
        body = '{"message": "Hi"}'
        assert requests.post(url + "chat", data=body, timeout=PATIENCE).status_code == 401
        headers = {"Authorization": "Bearer s3cret-token"}
        answer = requests.post(url + "chat", data=body, headers=headers, timeout=PATIENCE)
        assert '"HI!"' in answer.text
        assert server.requests[0]["messages"][0]["content"] == "Shout like Ada."
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in said
    assert "s3cret" not in said


def test_a_second_ctrl_c_ends_the_command_whatever_closing_waits_for(tmp_path: Path):
    """Without a traceback; a shell calls it 130, as the help does."""
    tools = tmp_path / "stuck.py"
    tools.write_text(
        "import threading, promptstream\nfrom promptstream.web import Relay\n"
        "Relay._part = lambda _: threading.Event().wait()\n"
        "@promptstream.tool\ndef look() -> str:\n    'Look.'\n    return ''\n"
    )
    with OpenAIServer() as server, served("--tools", str(tools), environment=server.environment()) as (process, _):
        process.send_signal(signal.SIGINT)
        assert any("Closing." in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest.strip()) == (-signal.SIGINT, "")


@pytest.mark.parametrize(
    ("limits", "raised", "said"),
    [
        ((1024, 1024), [], ""),
        ((256, 1 << 20), [(896, 1 << 20)], ""),
        ((256, -1), [(896, -1)], ""),
        ((256, 700), [(700, 700)], "256 clients need up to 896 open files, and this system allows 700"),
    ],
)
def test_the_command_makes_room_for_its_clients(limits, raised, said, monkeypatch, capsys):
    """It raises the limit of open files as far as it may, and says so where that is not far enough."""
    resource = pytest.importorskip("resource", reason="this system has no such limit")
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: asked.append(limit))
    make_room(256)
    assert asked == raised
    assert capsys.readouterr().err.startswith(said)
    assert said or not capsys.readouterr().err


def test_the_command_refuses_to_listen_for_strangers_without_a_token():
    """And says what to do; no flag takes the token itself."""
    with served("--host", "0.0.0.0", environment=basic({"OPENAI_API_KEY": "sk-test"})) as (process, url):
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, url) == (1, "")
    assert "PROMPTSTREAM_RELAY_TOKEN" in said
