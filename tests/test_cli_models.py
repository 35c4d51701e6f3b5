"""``promptstream models``: what a provider offers, with its context and price where they are known."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from provider_server import ProviderServer
from test_cli import Play, play, run  # noqa: F401 - a fixture
from wires import WIRES

from promptstream.cli.commands import root
from promptstream.values.request import ModelInfo


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is remembered in a folder of the test's own."""
    monkeypatch.setenv("PROMPTSTREAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    """A loopback Ollama."""
    with ProviderServer(WIRES["ollama"], "Hello.") as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        yield server


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> list[ModelInfo]:
    """Let openai offer what the test puts into this list."""
    listed: list[ModelInfo] = []
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setattr("promptstream.client.Provider.models", lambda self: listed)
    return listed


def test_the_models_of_a_provider_are_listed(ollama: ProviderServer) -> None:
    """One a line, in order; with --json an object a line, null where nothing is known."""
    assert run("models", "-p", "ollama").stdout.splitlines() == ["Model", "alpha", "beta"]
    first = json.loads(run("models", "-p", "ollama", "--json").stdout.splitlines()[0])
    assert first == {"provider": "ollama", "id": "alpha", "name": None, "context": None, "input": None, "output": None}


def test_words_narrow_the_list(offered: list[ModelInfo]) -> None:
    """All of them must be in the model's id or name, in either case."""
    offered += [ModelInfo("acme/big-1", "Acme Big"), ModelInfo("acme/small-1"), ModelInfo("other/big")]
    assert run("models", "ACME", "big").stdout.splitlines()[1:] == ["acme/big-1"]
    result = run("models", "huge", "big")
    assert (result.stdout, result.stderr) == ("", "openai offers no model with huge and big in its name.\n")


def test_a_narrow_terminal_shows_each_model_whole(offered: list[ModelInfo], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name on a line of its own, its figures below."""
    offered += [ModelInfo("acme/a-model-with-quite-a-long-name", context=128_000), ModelInfo("gpt-4o")]
    monkeypatch.setattr("promptstream.cli.models.is_terminal", lambda _: True)
    monkeypatch.setattr("promptstream.cli.models.window", lambda _: (40, 24))
    monkeypatch.setattr(
        "promptstream.cli.models.listed_cost", lambda usage, model, *_: 5 if model == "gpt-4o" else None
    )
    assert run("models").stdout.splitlines() == [
        "acme/a-model-with-quite-a-long-name",
        "  128,000 tokens",
        "gpt-4o",
        "  $5/M in, $5/M out",
    ]


def test_context_and_prices_are_told_where_they_are_known(
    offered: list[ModelInfo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's word for the context; [prices] of the config file, else the price list, in USD per million."""
    config = tmp_path / "config.toml"
    config.write_text("[prices.mine]\ninput = 0.25\noutput = 2\n")
    config.chmod(0o600)
    monkeypatch.setenv("PROMPTSTREAM_CONFIG", str(config))
    offered += [ModelInfo("mine", context=1_048_576), ModelInfo("gpt-4o-mini"), ModelInfo("unheard-of")]
    head, listed, mine, unknown = run("models").stdout.splitlines()
    assert head.split() == ["Model", "Context", "$/M", "in", "$/M", "out"]
    assert listed.split() == ["gpt-4o-mini", "0.15", "0.6"]
    assert mine.split() == ["mine", "1,048,576", "0.25", "2"]
    assert unknown.split() == ["unheard-of"]
    assert json.loads(run("models", "mine", "--json").stdout)["output"] == 2.0


def test_the_table_fits_80_columns(offered: list[ModelInfo], monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal a long name goes on in the next line; into a pipe it stays whole."""
    name = "a-vendor/" + "very-" * 20 + "long-name"
    offered.append(ModelInfo(name, context=128_000))
    assert name in run("models").stdout
    monkeypatch.setattr("promptstream.cli.models.is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("models").stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "128,000" in shown


def test_a_models_name_does_nothing_to_the_terminal(offered: list[ModelInfo]) -> None:
    """It comes from elsewhere."""
    offered.append(ModelInfo("evil\x1b[2J\n[bold]x[/bold]"))
    assert run("models").stdout.splitlines()[1:] == ["evil", "[bold]x[/bold]"]
    assert "\x1b" not in run("models", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "opnai"], "Did you mean 'openai'?"),
        (["-p", "openai"], "keep one by promptstream config set-key, or set OPENAI_API_KEY"),
        (["-p", "played"], "played (named by --provider) cannot list its models; nothing was sent."),
        (["-p", "compatible"], "compatible needs --base-url"),
    ],
)
def test_what_cannot_be_listed_is_told(play: Play, arguments: list[str], said: str) -> None:  # noqa: F811
    """A provider without such a list, an unknown one, or one without a key is one clear line."""
    play("never asked")
    result = run("models", *arguments)
    assert (result.stdout, result.exit_code) == ("", 1)
    assert said in result.stderr


def test_a_server_by_its_address_gets_no_key_that_was_not_meant_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """--base-url alone is asked without one, as everywhere."""
    monkeypatch.setenv("PROMPTSTREAM_API_KEY", "sk-mine")
    with ProviderServer(WIRES["compatible"]) as server:
        assert run("models", "--base-url", f"{server.url}").exit_code == 0
        assert [str(head) for head in server.requests if "sk-mine" in str(head)] == []
        assert len(server.requests) == 1


# Completion


def completed(*words: str) -> list[str]:
    """Give the words that may stand in place of the last of *words*."""
    from click.shell_completion import ShellComplete

    shell = ShellComplete(root, {}, "promptstream", "_PROMPTSTREAM_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


def test_names_of_models_are_completed_once_they_were_listed(ollama: ProviderServer) -> None:
    """Completing asks nobody; each listing is remembered."""
    assert completed("ask", "-m", "") == []
    run("models", "-p", "ollama", "--json")
    asked = len(ollama.requests)
    assert completed("ask", "-m", "a") == ["alpha"]
    assert completed("ask", "-p", "ollama", "-m", "") == ["alpha", "beta"]
    assert completed("ask", "-p", "openai", "-m", "") == []
    assert len(ollama.requests) == asked


def test_what_is_cheap_to_know_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play: Play) -> None:  # noqa: F811
    """Providers, levels, settings, prompts of the pack and their variables, kept conversations."""
    pack = tmp_path / "story.pack.json"
    prompts = {"teller": {"system_template": "Tell it to {{who}}."}, "poet": {"system_template": "Rhyme."}}
    pack.write_text(json.dumps({"prompts": prompts}))
    monkeypatch.setenv("PROMPTSTREAM_STORE", str(tmp_path / "kept.db"))
    assert completed("ask", "-p", "o") == ["openai", "openrouter", "ollama"]
    assert completed("ask", "--reasoning", "m") == ["minimal", "medium", "max"]
    assert completed("config", "get", "ti") == ["timeout"]
    assert completed("config", "set-key", "an") == ["anthropic"]
    assert completed("run", str(pack), "") == ["teller", "poet"]
    assert completed("run", str(pack), "teller", "--var", "") == ["who="]
    assert completed("run", os.devnull, "") == []
    assert completed("ask", "--resume", "") == []
    play("ok")
    run("ask", "x", "-p", "played", "--save", "oslo")
    assert completed("ask", "--resume", "o") == completed("history", "show", "") == ["oslo"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str) -> None:
    """It asks this program for the words."""
    result = run("completion", shell)
    assert result.exit_code == 0
    assert f"_PROMPTSTREAM_COMPLETE={shell}_complete" in result.stdout
