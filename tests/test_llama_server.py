"""The embedded model's server: against a stand-in for xllamacpp, and with the real model where it is there."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

import promptstream
from promptstream.errors import ConfigError
from promptstream.providers.local import llama_server

ROOT = str(Path(promptstream.__file__).parents[1])
needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX")

STAND_IN = """
import json, os, socket, sys, threading

NEWER = True
BEHAVIOUR = ""


class Threads:
    n_threads = -1


class Model:
    path = ""


class CommonParams:
    port, verbosity, n_parallel, n_ctx, api_keys = 8080, 3, -1, 0, []
    model_alias, n_threads_http, cache_ram_mib = set(), -1, 8192

    def __init__(self):
        self.model, self.cpuparams, self.cpuparams_batch = Model(), Threads(), Threads()
        if NEWER:
            self.hostnames, self.ui = ["0.0.0.0"], True
        else:
            self.hostname, self.webui = "0.0.0.0", True


class Server:
    def __init__(self, params):
        print("chatter on stdout")
        exec(BEHAVIOUR)
        seen = {name: value for name, value in vars(params).items() if isinstance(value, (str, int, list))}
        seen |= {"model": params.model.path, "alias": sorted(params.model_alias), "pid": os.getpid()}
        seen |= {"threads": [params.cpuparams.n_threads, params.cpuparams_batch.n_threads]}
        with open(os.path.join(os.path.dirname(__file__), "starts"), "a") as starts:
            print(json.dumps(seen), file=starts)
        self.socket = socket.create_server(("127.0.0.1", params.port))
        self.listening_address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            self.socket.accept()[0].close()
"""


@pytest.fixture(autouse=True)
def no_server_left():
    """Every test ends the servers it started."""
    yield
    llama_server.stop()


@pytest.fixture
def model(tmp_path):
    """A file that passes for a model."""
    file = tmp_path / "tiny.q4.gguf"
    file.write_bytes(b"GGUF and more")
    return file


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put an xllamacpp of our own in front; the result writes it anew with another *behaviour*."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(behaviour="", newer=True):
        code = STAND_IN.replace('BEHAVIOUR = ""', f"BEHAVIOUR = {behaviour!r}").replace("True", str(newer), 1)
        (folder / "xllamacpp.py").write_text(code, encoding="utf-8")
        return folder

    write()
    return write


def starts(stand_in):
    """Give what each start of the stand-in was told."""
    return [json.loads(line) for line in (stand_in() / "starts").read_text().splitlines()]


def open_port(base_url):
    """Tell whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", urlsplit(base_url).port), timeout=5).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True


def closes(base_url):
    """Tell whether nobody listens there within 5 s."""
    deadline = time.monotonic() + 5
    while open_port(base_url):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def script(code, *arguments, **options):
    """Run *code* in a fresh interpreter that finds what this one finds."""
    head = f"import sys; sys.path[:0] = {[ROOT, *sys.path]!r}\n"
    return subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


START = """
import os, signal, threading
from pathlib import Path
from promptstream.providers.local import llama_server

base_url, key = llama_server.address(Path(sys.argv[1]))
print(base_url, flush=True)
"""


# --- where it is ------------------------------------------------------------------------------------------------


def test_importing_the_module_does_not_load_xllamacpp():
    """Who does not use the embedded model does not pay for it."""
    done = script("import promptstream.providers.local.llama_server\nprint('xllamacpp' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_address_gives_a_loopback_url_with_the_version_path_and_a_key(stand_in, model):
    """What comes back is what an OpenAI-dialect provider takes."""
    base_url, key = llama_server.address(model)
    assert urlsplit(base_url).hostname == "127.0.0.1"
    assert base_url.endswith("/v1")
    assert open_port(base_url)
    assert len(key) >= 32


@pytest.mark.parametrize("newer", [True, False])
def test_the_server_is_started_for_this_machine_alone_and_quiet(stand_in, model, newer):
    """Loopback, a free port, a key, no page; with newer and older xllamacpp."""
    stand_in(newer=newer)
    _, key = llama_server.address(model, threads=3, context=512)
    (seen,) = starts(stand_in)
    assert seen["hostnames" if newer else "hostname"] == (["127.0.0.1"] if newer else "127.0.0.1")
    assert seen["ui" if newer else "webui"] is False
    assert (seen["port"], seen["api_keys"], seen["threads"]) == (0, [key], [3, 3])
    assert seen["n_ctx"] == 512 * seen["n_parallel"]
    assert (seen["model"], seen["alias"]) == (str(model), ["tiny.q4"])


def test_a_second_use_gets_the_same_server(stand_in, model):
    """One server for a model in a process."""
    assert llama_server.address(model) == llama_server.address(model)
    assert len(starts(stand_in)) == 1


def test_other_settings_get_a_server_of_their_own(stand_in, model):
    """A server's threads and context are fixed when it starts."""
    assert llama_server.address(model) != llama_server.address(model, context=128)


def test_callers_at_once_start_exactly_one(stand_in, model):
    """Threads that come together share the server of the first."""
    barrier = threading.Barrier(8)

    def first(_):
        barrier.wait()
        return llama_server.address(model)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(first, range(8)))) == 1
    assert len(starts(stand_in)) == 1


@needs_posix
def test_a_server_that_died_is_replaced(stand_in, model):
    """The next use after a crash works."""
    before, _ = llama_server.address(model)
    os.kill(starts(stand_in)[0]["pid"], signal.SIGKILL)
    assert closes(before)
    after, _ = llama_server.address(model)
    assert open_port(after)


def test_stop_ends_the_server_at_once(stand_in, model):
    """After stop nothing listens any more."""
    base_url, _ = llama_server.address(model)
    llama_server.stop()
    assert not open_port(base_url)


def test_what_xllamacpp_prints_reaches_neither_stdout_nor_stderr(stand_in, model, capfd):
    """A terminal that shows an answer shows nothing else."""
    stand_in("import sys; print('warning', file=sys.stderr)")
    llama_server.address(model)
    assert capfd.readouterr() == ("", "")


# --- why not ----------------------------------------------------------------------------------------------------


def test_without_the_extra_the_error_says_what_to_install(model, monkeypatch):
    """A missing extra is named."""
    monkeypatch.setattr(llama_server, "available", lambda: False)
    with pytest.raises(ConfigError, match=r"pip install 'promptstream-sdk\[local\]'"):
        llama_server.address(model)


def test_without_the_file_the_error_says_how_to_fetch_it(stand_in, tmp_path):
    """A missing model names the command that fetches it."""
    with pytest.raises(ConfigError, match=r"none.gguf is not there.*promptstream local install"):
        llama_server.address(tmp_path / "none.gguf")


def test_a_file_that_is_no_model_is_named(stand_in, model):
    """What does not start as GGUF does is not handed to llama.cpp."""
    model.write_bytes(b"hello")
    with pytest.raises(ConfigError, match=r"tiny.q4.gguf is not a readable GGUF file"):
        llama_server.address(model)


def test_a_library_that_does_not_load_names_the_platform(stand_in, model):
    """A wheel for another machine is told apart from a bad model."""
    (stand_in() / "xllamacpp.py").write_text("raise ImportError('no such symbol: AVX')")
    with pytest.raises(ConfigError, match=r"does not load on \w+ .* with Python 3.*no such symbol: AVX"):
        llama_server.address(model)


def test_a_model_that_does_not_load_gives_its_reason(stand_in, model, capfd):
    """The reason that llama.cpp prints is in the error, and not on the terminal."""
    stand_in("import sys; sys.stderr.write('0.1 E load: error loading model: bad tensor\\n'); raise RuntimeError('no')")
    with pytest.raises(ConfigError, match=r"could not load .*tiny.q4.gguf: bad tensor\. "):
        llama_server.address(model)
    assert capfd.readouterr() == ("", "")


@needs_posix
def test_a_crash_while_loading_is_an_error_and_not_the_end_of_this_process(stand_in, model):
    """An abort in native code costs the server alone."""
    stand_in("os.abort()")
    with pytest.raises(ConfigError, match="it was ended by SIGABRT"):
        llama_server.address(model)


@needs_posix
def test_a_model_that_never_finishes_loading_is_given_up(stand_in, model, monkeypatch):
    """Starting is bounded."""
    monkeypatch.setattr(llama_server, "START_LIMIT", 0.3)
    stand_in("threading.Event().wait()")
    with pytest.raises(ConfigError, match="it took longer than 0 s"):
        llama_server.address(model)


def test_a_frozen_application_is_told_what_to_do_instead(stand_in, model, monkeypatch):
    """Where sys.executable is the application, it is not started a second time."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(ConfigError, match=r"frozen application.*'compatible'"):
        llama_server.address(model)


def test_an_interpreter_that_cannot_be_started_is_an_error_of_ours(stand_in, model, monkeypatch, tmp_path):
    """Whatever the system says, it comes as a ConfigError, and no pipe stays open."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ConfigError, match="could not be started"):
        llama_server.address(model)
    assert not llama_server._pipes


# --- the end ----------------------------------------------------------------------------------------------------


def test_the_server_ends_with_the_process_and_nothing_is_printed(stand_in, model):
    """A normal exit leaves no server and no word, also with every warning on."""
    done = script("import warnings; warnings.simplefilter('error')" + START, model)
    assert (done.returncode, done.stderr) == (0, "")
    assert closes(done.stdout.strip())


@needs_posix
def test_the_server_ends_with_a_process_that_is_killed(stand_in, model):
    """No exit handler is needed for the server to go."""
    done = script(START + "os.kill(os.getpid(), signal.SIGKILL)", model)
    assert done.returncode == -signal.SIGKILL
    assert closes(done.stdout.strip())


@needs_posix
@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)"])
def test_a_forked_child_leaves_the_parents_server_alone(stand_in, model, leave):
    """However a child exits, the parent's server answers on, and the parent can end it."""
    code = f"""
    child = os.fork()
    if not child:
        {leave}
    os.waitpid(child, 0)
    print(llama_server.address(Path(sys.argv[1])) == (base_url, key))
    """
    done = script(START + textwrap.dedent(code), model)
    assert done.stdout.splitlines()[1:] == ["True"], done.stderr
    assert closes(done.stdout.splitlines()[0])


@needs_posix
def test_a_forked_child_starts_a_server_of_its_own(stand_in, model):
    """A child does not depend on how long its parent lives."""
    code = """
    child = os.fork()
    if not child:
        own, _ = llama_server.address(Path(sys.argv[1]))
        print(own, own != base_url, flush=True)
        sys.exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = script(START + textwrap.dedent(code), model)
    own, other = done.stdout.splitlines()[1].split()
    assert (done.returncode, other) == (0, "True"), done.stderr
    assert closes(own)


@needs_posix
def test_a_forked_child_that_outlives_its_parent_does_not_keep_the_server(stand_in, model):
    """The server is the parent's and goes with it."""
    code = """
    if not os.fork():
        for fd in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
        os.read(0, 1)
        os._exit(0)
    """
    childs_stdin, hold = os.pipe()
    try:
        parent = script(START + textwrap.dedent(code), model, stdin=childs_stdin)
        assert closes(parent.stdout.strip()), parent.stderr
    finally:
        os.close(childs_stdin)
        os.close(hold)


@needs_posix
def test_ctrl_c_is_the_callers_and_the_server_lives_on(stand_in, model):
    """A Ctrl-C in the terminal raises KeyboardInterrupt here and does not reach the server."""
    code = """
    try:
        os.killpg(0, signal.SIGINT)
        threading.Event().wait(5)
    except KeyboardInterrupt:
        print("interrupted", llama_server.address(Path(sys.argv[1])) == (base_url, key))
    for server in llama_server._servers.values():
        print("reached", os.getpgid(server.process.pid) == os.getpgid(0))
    """
    done = script(START + textwrap.dedent(code), model, start_new_session=True)
    assert done.stdout.splitlines()[1:] == ["interrupted True", "reached False"], done.stderr


@needs_posix
def test_ctrl_c_while_it_starts_ends_it(stand_in, model):
    """An interrupted start leaves no process and lets the next one try."""
    folder = stand_in("open(os.path.join(os.path.dirname(__file__), 'pid'), 'w').close(); threading.Event().wait()")
    code = """
    import os, signal, time
    from pathlib import Path
    from promptstream.providers.local import llama_server

    def interrupt():
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    import threading
    threading.Thread(target=interrupt).start()
    try:
        llama_server.address(Path(sys.argv[1]))
    except KeyboardInterrupt:
        print("interrupted", llama_server._servers, llama_server._pipes)
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        print("no child")
    """
    done = script(code, model, folder / "pid")
    assert done.stdout.splitlines() == ["interrupted {} set()", "no child"], done.stderr


# --- the real one -----------------------------------------------------------------------------------------------


@pytest.fixture
def real(model_file):
    """The embedded model's file."""
    return model_file


@pytest.mark.model
def test_the_real_model_streams_an_answer_under_its_name(real):
    """llama.cpp's server answers in the OpenAI dialect, with usage and sentinel."""
    base_url, key = llama_server.address(real)
    body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "stream": True}
    body["stream_options"] = {"include_usage": True}
    headers = {"Authorization": f"Bearer {key}"}
    with requests.post(f"{base_url}/chat/completions", json=body, headers=headers, stream=True, timeout=60) as answer:
        lines = [line[6:] for line in answer.iter_lines() if line]
    assert lines[-1] == b"[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    assert {event["model"] for event in events} == {real.stem}
    assert any(event["choices"] and event["choices"][0]["delta"].get("content") for event in events)
    assert events[-1]["usage"]["completion_tokens"] > 0


@pytest.mark.model
def test_the_real_server_refuses_who_has_no_key(real):
    """Other users of the machine cannot use it."""
    base_url, _ = llama_server.address(real)
    body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 1}
    assert requests.post(f"{base_url}/chat/completions", json=body, timeout=10).status_code == 401


@pytest.mark.model
def test_each_answer_has_the_context_that_was_asked_for(real):
    """Slots do not share one context."""
    base_url, key = llama_server.address(real, context=512)
    headers = {"Authorization": f"Bearer {key}"}
    facts = requests.get(base_url.replace("/v1", "/props"), headers=headers, timeout=10).json()
    assert facts["total_slots"] == llama_server.SLOTS
    assert facts["default_generation_settings"]["n_ctx"] == 512


@pytest.mark.model
def test_a_damaged_model_is_refused_with_llama_cpps_own_reason(real, tmp_path):
    """A cut file costs neither this process nor the terminal."""
    cut = tmp_path / "cut.gguf"
    with real.open("rb") as stream:
        cut.write_bytes(stream.read(10_000_000))
    with pytest.raises(ConfigError, match=r"could not load .*cut.gguf.*corrupted or incomplete"):
        llama_server.address(cut)


@pytest.mark.model
def test_exit_with_an_answer_on_its_way_is_clean(real):
    """A daemon thread in the middle of an answer neither delays nor breaks nor sullies the exit."""
    code = """
    import requests

    body = {"messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 2000, "stream": True}
    headers = {"Authorization": "Bearer " + key}
    begun = threading.Event()

    def read():
        for _ in requests.post(base_url + "/chat/completions", json=body, headers=headers, stream=True).iter_lines():
            begun.set()

    threading.Thread(target=read, daemon=True).start()
    begun.wait(30)
    """
    done = script(START + textwrap.dedent(code), real)
    assert (done.returncode, done.stderr) == (0, "")
    assert closes(done.stdout.strip())
