"""The fixture promptstream_replay, in tests of a user's own: recorded once, replayed ever after."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai_server import ROOT
from provider_server import Cut, ProviderServer
from wires import WIRES
from wires.base import KEY
from wires.script import Answer, Use

pytest_plugins = ["pytester"]

LOADED = ["-p", "pytest_promptstream", "-p", "no:cacheprovider", "-W", "error", "-q"]
"""By hand and alone: other plugins take a second to load."""
TALK = """
import promptstream

def test_talk(promptstream_replay):
    provider = promptstream_replay("openai")
    with promptstream.chat("Be brief.", provider=provider) as conv:
        response = conv.send("{question}")
        assert response.text == "{answer}"
        assert response.provider == conv.provider.name == "openai"
"""
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Write a file of tests, if one is given, and run it."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def runs(text: str | None = None, *options: str) -> pytest.RunResult:
        if text is not None:
            pytester.path.joinpath("test_app.py").write_text(text)
        return pytester.runpytest_inprocess(*LOADED, *options)

    return runs


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Make loopback providers that the environment points to: ``asked(answer, …)``."""
    servers: list[ProviderServer] = []

    def serve(*answers: Any, wire: str = "openai") -> ProviderServer:
        server = ProviderServer(WIRES[wire], *answers)
        servers.append(server)
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        return server

    yield serve
    for each in servers:
        each.__exit__(None, None, None)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Take keys away, and point every provider where nobody listens."""

    def leave() -> None:
        for wire in WIRES.values():
            monkeypatch.delenv(wire.key_variable or "X", raising=False)
            monkeypatch.setenv(wire.url_variable or "X", "http://127.0.0.1:9/v1")

    return leave


def recording(pytester: pytest.Pytester, name: str = "test_talk") -> Path:
    """Give where a test's recording is."""
    return pytester.path / "recordings" / "test_app" / f"{name}.ndjson"


def test_a_test_asks_once_and_is_replayed_ever_after_without_key_or_network(run, asked, offline, pytester):
    """The recording stands beside the test, its owner's alone, without a key."""
    server = asked("It is 3.")
    text = TALK.format(question="1 + 2?", answer="It is 3.")
    run(text).assert_outcomes(passed=1)
    path = recording(pytester)
    assert path.is_file()
    assert [each.name for each in path.parent.iterdir()] == ["test_talk.ndjson"]
    assert KEY not in path.read_text()
    offline()
    before = path.read_bytes()
    for mode in ((), ("--promptstream-record=none",)):
        run(None, *mode).assert_outcomes(passed=1)
    assert path.read_bytes() == before
    assert len(server.asked) == 1


def test_a_changed_request_fails_with_what_differs_and_how_to_record_it(run, asked, offline):
    """A diff, and the command."""
    asked("It is 3.")
    run(TALK.format(question="1 + 2?", answer="It is 3.")).assert_outcomes(passed=1)
    offline()
    result = run(TALK.format(question="1 + 3?", answer="It is 3."))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*nothing was recorded for this request. It differs from exchange 1 (line 3), the nearest:",
            "*messages?1? user",
            "*recorded: '1 + 2?'",
            "*asked:    '1 + 3?'",
            "*record it again: pytest --promptstream-record=all test_app.py::test_talk",
        ]
    )


def test_a_missing_recording_is_a_clear_failure_in_ci(run, asked, monkeypatch, pytester):
    """Nothing is asked there; the failure says what to run."""
    server = asked("It is 3.")
    text = TALK.format(question="1 + 2?", answer="It is 3.")
    for mode in ("CI", "none"):
        monkeypatch.setenv("CI", "true" if mode == "CI" else "")
        result = run(text, *([] if mode == "CI" else ["--promptstream-record=none"]))
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["There is no recording of this test*pytest --promptstream-record=once test_app.py::test_talk"]
        )
    assert (server.asked, recording(pytester).exists()) == ([], False)


def test_the_modes_all_and_new(run, asked, pytester):
    """ "all" records anew, "new" adds what is missing and keeps the rest."""
    server = asked("one", "two", "three")
    run(TALK.format(question="A", answer="one")).assert_outcomes(passed=1)
    run(TALK.format(question="A", answer="two"), "--promptstream-record=all").assert_outcomes(passed=1)
    more = TALK.format(question="A", answer="two") + '        assert conv.send("B").text == "three"\n'
    run(more).assert_outcomes(failed=1)
    run(more, "--promptstream-record=new").assert_outcomes(passed=1)
    assert len(server.asked) == 3
    run(more, "--promptstream-record=none").assert_outcomes(passed=1)
    assert recording(pytester).read_text().count('"type":"request"') == 2


def test_a_failing_test_leaves_only_a_recording_of_whole_answers(run, asked, pytester):
    """A wrong assertion is mended offline; an answer that broke off is not what anybody wants to replay."""
    server = asked(WIRES["openai"].refusal("auth"), "It is 3.")
    text = TALK.format(question="1 + 2?", answer="It is 4.")
    run(text).assert_outcomes(failed=1)
    assert not recording(pytester).exists()
    run(text).assert_outcomes(failed=1)
    assert recording(pytester).exists()
    run(TALK.format(question="1 + 2?", answer="It is 3.")).assert_outcomes(passed=1)
    assert len(server.asked) == 2


STOPPED = """
import pytest, promptstream

def test_talk(promptstream_replay):
    with promptstream.chat(provider=promptstream_replay("openai")) as conv:
        conv.send("One")
        {stop}
        conv.send("Two")
"""


@pytest.mark.parametrize(
    "stop", ['pytest.exit("enough")', "raise KeyboardInterrupt", 'pytest.skip("not today")', "import os; os._exit(9)"]
)
def test_a_test_that_is_stopped_keeps_no_half_of_a_recording(run, asked, pytester, stop):
    """It neither passed nor failed: the next run would lack the rest."""
    asked("one", "two")
    text = STOPPED.format(stop=stop)
    if "os." in stop:
        pytester.path.joinpath("test_app.py").write_text(text)
        command = [sys.executable, "-m", "pytest", *LOADED]
        assert subprocess.run(command, cwd=pytester.path, env=_environment(), check=False).returncode == 9
        assert recording(pytester).with_suffix(".ndjson.part").exists()
    elif "KeyboardInterrupt" in stop:
        with pytest.raises(KeyboardInterrupt):
            run(text)
    else:
        run(text)
    assert not recording(pytester).exists()
    run(STOPPED.format(stop="pass")).assert_outcomes(passed=1)
    assert [each.name for each in recording(pytester).parent.iterdir()] == ["test_talk.ndjson"]


def test_a_failing_test_whose_connection_closed_in_mid_answer_is_recorded_anew(run, asked, pytester):
    """A hiccup of the network on the first run is not what every run after it gets."""
    server = asked(Cut(Answer(["It ", "is 3."]), 2), "It is 3.")
    server.framing = "close"
    text = TALK.format(question="1 + 2?", answer="It is 3.")
    run(text).assert_outcomes(failed=1)
    assert not recording(pytester).exists()
    run(text).assert_outcomes(passed=1)
    assert len(server.asked) == 2


TIMED = """
import pytest, promptstream

def test_talk(promptstream_replay):
    with promptstream.chat(provider=promptstream_replay("openai")) as conv:
        with pytest.raises(promptstream.errors.IdleTimeout):
            conv.send("One", timeout=promptstream.Timeout(idle=0.03))
"""


def test_a_test_that_expects_a_timeout_passes_again(run, asked, offline):
    """Recorded and replayed alike."""
    asked(Cut(Answer(["It ", "is 3."]), 2, "hold"))
    run(TIMED).assert_outcomes(passed=1)
    offline()
    run(None).assert_outcomes(passed=1)


def test_a_slip_in_match_or_a_hook_that_fails_fails_the_recording_run_and_keeps_nothing(run, asked, pytester):
    """Not only the run after it."""
    server = asked("It is 3.")
    text = TALK.format(question="1 + 2?", answer="It is 3.")
    for option, told in (
        ('match=["mesages"]', "*Did you mean 'messages'?*"),
        ("redact=lambda text: 1 / 0", "*redact: test_talk.<locals>.<lambda> failed: ZeroDivisionError*"),
        ("redact=lambda text: None", "*redact: test_talk.<locals>.<lambda> gave None*"),
    ):
        result = run(text.replace('("openai")', f'("openai", {option})'))
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([told])
        assert not list(pytester.path.rglob("*.ndjson*"))
    assert server.asked == []


def test_the_mode_new_needs_no_key_as_long_as_all_is_recorded(run, asked, offline):
    """What is not recorded says that a key is missing."""
    asked("one")
    run(TALK.format(question="A", answer="one")).assert_outcomes(passed=1)
    offline()
    run(None, "--promptstream-record=new").assert_outcomes(passed=1)
    result = run(TALK.format(question="B", answer="one"), "--promptstream-record=new")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*nothing was recorded for this request*", "*It cannot be recorded: *OPENAI_API_KEY*"])


SEVERAL = """
import pytest, promptstream

@promptstream.tool
def add(a: int, b: int) -> int:
    "Add."
    return a + b

class TestAll:
    @pytest.mark.parametrize("name", ["openai", "anthropic"])
    @pytest.mark.parametrize("question", ["a/b", "a?b"])
    def test_tools(self, promptstream_replay, name, question):
        with promptstream.chat(provider=promptstream_replay(name), tools=[add]) as conv:
            assert conv.send(question).text == "It is 3."

def test_fallback(promptstream_replay):
    first = promptstream_replay("gemini", retry=promptstream.Retry(attempts=1))
    with promptstream.chat(provider=first, fallback=[promptstream_replay("openai")], tools=[add]) as conv:
        response = conv.send("1 + 2?")
        assert (response.text, response.provider, len(response.warnings)) == ("It is 3.", "openai", 1)

def test_error(promptstream_replay):
    hide = lambda text: text.replace("secret", "…")
    provider = promptstream_replay("gemini", redact=hide, retry=promptstream.Retry(attempts=1))
    with pytest.raises(promptstream.errors.RateLimited, match="gemini"):
        promptstream.chat(provider=provider).send("A secret")

def test_nothing(promptstream_replay):
    promptstream_replay
"""


def test_parameters_tools_several_providers_and_errors_all_replay_under_xdist(run, asked, offline, pytester):
    """Each test has its own file, each provider of it its own answers; processes side by side do not mind."""
    rounds = Answer([Use("call_1", "add", '{"a":1,"b":2}')], "tool_calls"), "It is 3."
    asked(*rounds * 3)
    asked(*rounds * 2, wire="anthropic")
    asked(WIRES["gemini"].refusal("rate"), wire="gemini")
    run(SEVERAL).assert_outcomes(passed=7)
    files = sorted(each.name for each in (pytester.path / "recordings" / "test_app").iterdir())
    assert len(files) == 6
    assert files[-2:] == ["test_error.ndjson", "test_fallback.ndjson"]
    assert "secret" not in (pytester.path / "recordings" / "test_app" / "test_error.ndjson").read_text()
    offline()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *LOADED, "-p", "xdist", "-n", "2"],
        cwd=pytester.path, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "7 passed" in done.stdout, done.stdout + done.stderr


def test_a_run_that_does_not_use_the_fixture_does_not_import_the_package(pytester):
    """Whoever has the package installed pays for an option and no more."""
    pytester.makepyfile("import sys\ndef test_it():\n    assert 'promptstream' not in sys.modules")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *LOADED],
        cwd=pytester.path, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "1 passed" in done.stdout, done.stderr) == (0, True, "")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
