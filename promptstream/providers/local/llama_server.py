"""The embedded model's server: a model file in, the address and key of llama.cpp's own HTTP server on loopback out.

The server is a child process that ends with this one. In this process it could not keep the promises of exit:
llama.cpp's threads outlive the interpreter (a crash with an answer on its way) and do not survive a fork (a hang).
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import attrs

from promptstream.errors import ConfigError
from promptstream.providers.local.weights import is_gguf

SLOTS = 2
"""Answers a server writes at a time; further requests wait."""
START_LIMIT = 300.0
"""Seconds a model may take to load."""

_INSTEAD = "or use another provider"
# The job comes by stdin, for an argument or a variable of a process could be read by others on the machine.
_BOOT = (
    "import sys; sys.path[:] = filter(None, sys.path); import json; job = json.loads(sys.stdin.buffer.readline()); "
    "sys.path[:] = job['path']; from promptstream.providers.local.llama_server import _serve; _serve(job)"
)


class _Process(subprocess.Popen[bytes]):
    def __del__(self) -> None:
        """Keep quiet where Popen warns of a child that still runs: it ends by itself, when its pipe closes."""


@attrs.define(eq=False)
class _Running:
    process: _Process
    pipe: int
    """The write end of the server's stdin. Its end of file is the server's end, however this process ends."""
    base_url: str = ""
    key: str = attrs.field(factory=lambda: secrets.token_urlsafe(32), repr=False)

    def stop(self) -> None:
        _hang_up(self.pipe)
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


_lock = threading.Lock()
_servers: dict[tuple[str, int, int], _Running] = {}
_pipes: set[int] = set()


def available() -> bool:
    """Tell whether the extra ``local`` is installed, without importing it. Any thread may call it."""
    return importlib.util.find_spec("xllamacpp") is not None


def address(model: Path, *, threads: int = 1, context: int = 4096) -> tuple[str, str]:
    """Give base URL and API key of the server of *model*, starting it on first use.

    One server for a model and its settings in a process, for all its threads; a forked child starts its own.
    ``context`` is in tokens, prompt and answer together, for each of the answers written at a time.
    Raises: ConfigError where the extra, the file or the platform does not allow it.
    """
    wanted = (str(model.absolute()), threads, context)
    with _lock:
        server = _servers.get(wanted)
        if server is not None and server.process.poll() is not None:
            _servers.pop(wanted).stop()
            server = None
        if server is None:
            server = _servers[wanted] = _start(*wanted)
        return server.base_url, server.key


def stop() -> None:
    """End the servers of this process at once, and what they are answering; the next use starts anew.

    Any thread may call it. There is no need to at exit.
    """
    with _lock:
        while _servers:
            _servers.popitem()[1].stop()


def _hang_up(pipe: int) -> None:
    if pipe in _pipes:
        _pipes.discard(pipe)
        os.close(pipe)


def _after_fork() -> None:
    """Leave the parent's servers to the parent: a copy of a pipe here would keep them alive after it."""
    global _lock
    _lock = threading.Lock()
    _servers.clear()
    for pipe in tuple(_pipes):
        _hang_up(pipe)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _check(model: Path) -> None:
    if not available():
        raise ConfigError("The embedded model needs the extra 'local': pip install 'promptstream-sdk[local]'.")
    if not model.is_file():
        raise ConfigError(
            f"The model file {model} is not there. Fetch the embedded model by: promptstream local install"
        )
    if not is_gguf(model):
        raise ConfigError(f"{model} is not a readable GGUF file. Fetch or name another.")


def _start(model: str, threads: int, context: int) -> _Running:
    _check(Path(model))
    if getattr(sys, "frozen", False) or not sys.executable:
        raise ConfigError(
            "The embedded model needs a Python interpreter to run its server, and a frozen application has none. "
            "Run llama.cpp's server yourself and use the provider 'compatible' with its address."
        )
    try:
        with tempfile.TemporaryFile() as complaints:
            server = _launch(complaints)
            try:
                server.base_url = f"{_ask(server, model, threads, context, complaints)}/v1"
            except BaseException:
                server.stop()
                raise
    except OSError as error:
        raise ConfigError(
            f"The embedded model's server could not be started ({error}). Repair that, {_INSTEAD}."
        ) from error
    return server


def _ask(server: _Running, model: str, threads: int, context: int, complaints: IO[bytes]) -> str:
    job = {"model": model, "threads": threads, "context": context, "key": server.key, "path": _import_path()}
    said = _tell(server, job)
    if "address" not in said:
        raise _failure(model, server, said, complaints)
    return said["address"]


def _import_path() -> list[str]:
    # The package's own folder comes too, for a child cannot repeat what a script or an import hook did to find it.
    return [entry for entry in sys.path if isinstance(entry, str)] + [str(Path(__file__).parents[3])]


def _launch(complaints: IO[bytes]) -> _Running:
    stdin, pipe = os.pipe()
    _pipes.add(pipe)
    options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    try:
        # A session of its own keeps the terminal's Ctrl-C from it, which is for the caller.
        process = _Process(
            [sys.executable, "-c", _BOOT],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
            **options,
        )
    except OSError:
        _hang_up(pipe)
        raise
    finally:
        os.close(stdin)
    return _Running(process, pipe)


def _tell(server: _Running, job: dict[str, Any]) -> dict[str, str]:
    """Give the server its job and read its one line of answer; nothing where it died or took too long."""
    with suppress(OSError), open(server.pipe, "wb", closefd=False) as pipe:
        pipe.write(json.dumps(job).encode() + b"\n")
    answer = server.process.stdout
    assert answer is not None
    # Windows can only wait without a limit here.
    if os.name == "posix" and not select.select([answer], [], [], START_LIMIT)[0]:
        return {"problem": f"it took longer than {START_LIMIT:.0f} s"}
    with answer, suppress(ValueError):
        return dict(json.loads(answer.readline()))
    return {}


def _failure(model: str, server: _Running, said: dict[str, str], complaints: IO[bytes]) -> ConfigError:
    if said.get("problem") == "import":
        return ConfigError(
            f"xllamacpp does not load on {platform.system()} {platform.machine()} with Python "
            f"{platform.python_version()} ({said['detail']}). Install it anew for this platform, {_INSTEAD}."
        )
    complaints.seek(0)
    heard = complaints.read(1 << 16).decode(errors="replace")
    told = re.search(r"error loading model: (.+)", heard) or re.search(r" E (?:\S+ +)*?\S+: (.+)", heard)
    reason = told[1].strip() if told else said.get("problem") or _how_it_ended(server.process)
    return ConfigError(
        f"llama.cpp could not load {model}: {reason.rstrip('.')}. Fetch or name another file, {_INSTEAD}."
    )


def _how_it_ended(process: _Process) -> str:
    try:
        code = process.wait(1)
    except subprocess.TimeoutExpired:
        return "it gave no reason"
    if code >= 0:
        return f"it ended with exit code {code}"
    with suppress(ValueError):
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it was ended by signal {-code}"


def _serve(job: dict[str, Any]) -> NoReturn:
    """Be the server process: load, tell the address, and live until stdin ends. Leaves without llama.cpp's goodbye."""
    channel = os.dup(1)
    os.dup2(2, 1)
    try:
        server = _load(job)
        said = {"address": server.listening_address}
    except (ImportError, OSError) as error:
        said = {"problem": "import", "detail": str(error)}
    except Exception as error:
        said = {"problem": str(error)}
    with open(os.open(os.devnull, os.O_WRONLY), "wb") as silence:
        os.dup2(silence.fileno(), 1)
        os.dup2(silence.fileno(), 2)
    with open(channel, "wb") as out:
        out.write(json.dumps(said).encode() + b"\n")
    if "address" in said:
        sys.stdin.buffer.read()
    os._exit(0)


def _load(job: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = job["model"]
    params.port = 0
    params.api_keys = [job["key"]]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = job["threads"]
    params.n_parallel = SLOTS
    # llama.cpp divides its context evenly among the slots.
    params.n_ctx = SLOTS * job["context"]
    # Errors alone, for the parent to quote.
    params.verbosity = 1
    optional = {
        "hostname": "127.0.0.1",
        "hostnames": ["127.0.0.1"],
        "model_alias": {Path(job["model"]).stem},
        # Each open connection holds one, and a kept-alive one for 5 s more.
        "n_threads_http": 32,
        # It would keep up to 8 GiB of old prompts.
        "cache_ram_mib": 0,
        "kv_unified": False,
        "offline": True,
        "endpoint_slots": False,
        "ui": False,
        "webui": False,
    }
    for name, value in optional.items():
        if hasattr(params, name):
            setattr(params, name, value)
    return xllamacpp.Server(params)
