"""The config file: what it says counts where no flag and no environment does; its keys stay with their owner."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from openai_server import OpenAIServer
from terminals import POSIX, read_until, terminal
from test_cli import PACK, Play, play, run  # noqa: F401 - a fixture

from promptstream.cli import configfile
from promptstream.cli.configured import SETTINGS, load, parsed
from promptstream.cli.place import Place
from promptstream.values.folders import user_folder
from promptstream.values.message import ToolCall

KEY = "sk-not-a-real-key-1"


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the path of a config file that is not there yet."""
    monkeypatch.delenv("PROMPTSTREAM_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PROMPTSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PROMPTSTREAM_STORE", str(tmp_path / "kept.db"))
    return configfile.place()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """A loopback server."""
    with OpenAIServer("Fine.") as server:
        yield server


def written(file: Path, text: str, mode: int = 0o600) -> Path:
    """Put *text* into the config file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


def told(result: Result) -> str:
    """Give what an error says."""
    assert (result.stdout, result.exit_code) == ("", 1), result.output
    assert result.stderr.startswith("Error: ")
    return result.stderr


# Where it is, and who may read it


def test_the_file_is_where_the_platform_keeps_such_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Path
) -> None:
    """The user's config folder, or what PROMPTSTREAM_CONFIG names."""
    assert run("config", "path").stdout == f"{file}\n"
    monkeypatch.setenv("PROMPTSTREAM_CONFIG", str(tmp_path / "mine.toml"))
    assert run("config", "path").stdout == f"{tmp_path / 'mine.toml'}\n"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("APPDATA", str(tmp_path / "Roaming"))
    assert user_folder("config") == tmp_path / "Roaming" / "promptstream"
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_folder("config") == tmp_path / "Library/Application Support/promptstream"


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_nobody_else_can_read_what_is_written(file: Path) -> None:
    """The file has the mode 0600 and its folder 0700, also where it was there before with another one."""
    assert run("config", "set", "model", "toy").exit_code == 0
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    written(file, "stats = true\n", 0o644)
    assert run("config", "set-key", "openai", piped=KEY).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["config.toml"]


def test_a_file_that_is_a_link_stays_one(file: Path, tmp_path: Path) -> None:
    """People keep their settings elsewhere and link to them."""
    real = tmp_path / "dotfiles.toml"
    real.write_text("# mine\n")
    file.parent.mkdir(parents=True)
    file.symlink_to(real)
    assert run("config", "set", "model", "toy").exit_code == 0
    assert file.is_symlink()
    assert real.read_text() == '# mine\nmodel = "toy"\n'


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (f'[keys]\nopenai = "{KEY}"\n', 0o644, "holds keys, and others can read it"),
        ("stats = true\n", 0o666, "can be written to by others (mode 0666)"),
    ],
)
def test_a_file_that_others_can_read_or_write_is_refused(file: Path, text: str, mode: int, said: str) -> None:
    """Keys that others can read, and settings that others can make, are not used; the error says what to do."""
    written(file, text, mode)
    for command in (["ask", "x"], ["providers"], ["models"]):
        error = told(run(*command))
        assert said in error
        assert f"chmod 600 {file}" in error
        assert KEY not in error
    assert run("ask", "--help").exit_code == 0
    assert run("config", "path").exit_code == 0


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_file_without_keys_may_be_read_by_all(file: Path) -> None:
    """Settings are no secret."""
    written(file, 'model = "toy"\n', 0o644)
    assert run("config", "get", "model").stdout == "toy\n"


def test_what_cannot_be_written_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk or the like costs nothing that was there."""
    written(file, 'model = "toy"\n')

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert "cannot be written: No space left on device" in told(run("config", "set", "model", "other"))
    assert file.read_text() == 'model = "toy"\n'
    assert [each.name for each in file.parent.iterdir()] == ["config.toml"]


# What counts


def test_a_flag_goes_over_the_environment_and_that_over_the_file(
    file: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flag > environment > config file > built in, for every sort of setting."""
    written(
        file, f'base_url = "{server.url}"\nmodel = "of-file"\ntemperature = 0.1\nsystem = "Of file."\nstop = ["A"]\n'
    )
    run("ask", "x")
    monkeypatch.setenv("PROMPTSTREAM_MODEL", "of-environment")
    monkeypatch.setenv("PROMPTSTREAM_TEMPERATURE", "0.2")
    monkeypatch.setenv("PROMPTSTREAM_SYSTEM", "Of environment.")
    run("ask", "x")
    run("ask", "x", "-m", "of-flag", "--temperature", "0.3", "--system", "Of flag.", "--max-tokens", "9", "--stop", "B")
    sent = [
        (body["model"], body["temperature"], body["messages"][0]["content"], body["stop"], body.get("max_tokens"))
        for body in server.requests
    ]
    assert sent == [
        ("of-file", 0.1, "Of file.", ["A"], None),
        ("of-environment", 0.2, "Of environment.", ["A"], None),
        ("of-flag", 0.3, "Of flag.", ["B"], 9),
    ]


def test_a_pack_goes_over_what_is_meant_for_all(file: Path, server: OpenAIServer, tmp_path: Path) -> None:
    """Its parameters and its system prompt are its own; what it does not say comes from the config file."""
    written(file, f'base_url = "{server.url}"\nmax_tokens = 7\nseed = 3\nsystem = "Of file."\n')
    pack = tmp_path / "story.pack.json"
    pack.write_text(json.dumps(PACK))
    run("run", str(pack), "teller", "x", "--var", "who=Ann")
    body = server.requests[0]
    assert (body["max_tokens"], body["seed"], body["messages"][0]["content"]) == (50, 3, "Tell it to Ann, 1 times.")


def test_a_kept_conversation_goes_on_where_it_was(file: Path, server: OpenAIServer) -> None:
    """A config file that was changed since takes it to no other server or model."""
    run("ask", "x", "--base-url", server.url, "-m", "tiny", "--save", "kept")
    written(file, 'base_url = "http://127.0.0.1:9/v1"\nmodel = "other"\nsystem = "Other."\n')
    assert run("ask", "y", "--resume", "kept").stdout == "Fine.\n"
    assert [body["model"] for body in server.requests] == ["tiny", "tiny"]


def test_stats_and_timeout_can_be_defaults(file: Path, server: OpenAIServer) -> None:
    """What the file switches on, a flag switches off."""
    written(file, f'base_url = "{server.url}"\nstats = true\ntimeout = 20\n')
    result = run("ask", "x")
    assert result.stderr.startswith("compatible · its own model (named by the config file)\n")
    assert "Streaming completed" in result.stderr
    assert run("ask", "x", "--no-stats").stderr == ""


def test_a_provider_its_address_and_its_model_belong_together() -> None:
    """No model's name and no key goes to a provider or an address that it was not meant for."""
    kept = Place("openai", "https://proxy.example/v1", "gpt-5", "the config file")
    assert kept.under(Place(model="gpt-5-mini")) == Place(
        "openai", "https://proxy.example/v1", "gpt-5-mini", "the config file"
    )
    assert kept.under(Place("openai")) == Place("openai", "https://proxy.example/v1", "gpt-5")
    assert kept.under(Place("anthropic")) == Place("anthropic")
    assert kept.under(Place(None, "http://127.0.0.1:1/v1")) == Place(None, "http://127.0.0.1:1/v1")
    assert Place(None, "http://a/v1", "m").under(Place("openai")) == Place("openai")


def test_a_key_of_the_file_goes_to_its_provider_alone(
    file: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that is named gets it, a server that --base-url names does not; the environment comes first."""
    written(file, f'[keys]\nopenai = "{KEY}"\n')
    seen: list[str | None] = []
    monkeypatch.setattr("promptstream.wire.transport.Transport.send", _noting(seen))
    run("ask", "x", "-p", "openai")
    run("ask", "x", "--base-url", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-environment")
    run("ask", "x", "-p", "openai")
    assert seen == [f"Bearer {KEY}", None, "Bearer sk-of-environment"]


def _noting(seen: list[str | None], *headers: str) -> object:
    from promptstream.errors import ConnectFailed
    from promptstream.values.secret import plain

    def send(self: object, call: object, *args: object, **options: object) -> object:
        given = {name.lower(): value for name, value in call.headers.items()}  # type: ignore[attr-defined]
        key = next((given[name] for name in (*headers, "authorization") if name in given), None)
        seen.append(None if key is None else plain(key))
        raise ConnectFailed("Nobody is there.")

    return send


def test_a_provider_is_chosen_by_the_keys_of_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by those of the environment; a provider that has one there is asked with that."""
    written(file, f'[keys]\ngemini = "{KEY}"\nANTHROPIC_API_KEY = "{KEY}"\n')
    rows = run("providers").stdout
    assert "GEMINI_API_KEY: in the config file" in rows
    assert "Without --provider: anthropic (ANTHROPIC_API_KEY is set)" in rows
    assert KEY not in rows
    seen: list[str | None] = []
    monkeypatch.setattr("promptstream.wire.transport.Transport.send", _noting(seen, "x-api-key", "x-goog-api-key"))
    run("ask", "x")
    run("ask", "x", "-m", "gemini-2.5-flash")
    monkeypatch.setenv("GOOGLE_API_KEY", "sk-other")
    run("ask", "x", "-p", "gemini")
    run("models", "-p", "anthropic")
    assert seen == [KEY, KEY, "sk-other", KEY]


def test_a_key_of_the_file_is_not_for_what_a_tool_starts(file: Path, tmp_path: Path, play: Play) -> None:  # noqa: F811
    """It never stands in the environment, which every program has that is started, and may show to the model."""
    written(file, f'[keys]\nopenai = "{KEY}"\n')
    tools = tmp_path / "tools.py"
    tools.write_text(
        "import promptstream, subprocess, sys\n@promptstream.tool\ndef variables() -> str:\n"
        "    return subprocess.check_output([sys.executable, '-c', 'import os; print(*os.environ)'], text=True)\n"
    )
    played = play([ToolCall("1", "variables", {})], "Seen.")
    assert run("ask", "x", "-p", "played", "--tools", str(tools), "--yes").stdout == "Seen.\n"
    (result,) = played.requests[1].messages[-1].parts
    assert "PATH" in result.content
    assert "OPENAI_API_KEY" not in result.content


def test_prices_of_the_file_count(file: Path, server: OpenAIServer) -> None:
    """The cost is told by them, in USD per million tokens."""
    written(file, f'base_url = "{server.url}"\nmodel = "mine"\n[prices.mine]\ninput = 1000\noutput = 2000.5\n')
    assert "Cost: $0.0250" in run("ask", "x", "--stats").stderr  # 11 tokens in and 7 out


def test_a_file_that_was_named_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A slip in PROMPTSTREAM_CONFIG does not silently drop every setting; config set makes the file."""
    path = tmp_path / "new.toml"
    monkeypatch.setenv("PROMPTSTREAM_CONFIG", str(path))
    assert "is not there" in told(run("ask", "x"))
    assert run("config", "set", "model", "toy").exit_code == 0
    assert path.read_text() == 'model = "toy"\n'


# What is wrong with it


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('modle = "x"', "There is no setting 'modle'. Did you mean 'model'?"),
        ("timeout = 0", "timeout = 0: give a number of seconds above 0."),
        ('timeout = "soon"', "timeout = 'soon': give a number of seconds above 0."),
        ("model = 5", "model = 5: give a text."),
        ("stats = 1", "stats = 1: give true or false."),
        ('max_tokens = "many"', "max_tokens='many': give a whole number above 0."),
        ('reasoning = "hihg"', "Did you mean 'high'?"),
        ("prices = 3", "prices is a table of its own: [prices]."),
        ("[prices.m]\ninput = 1", "A price lacks output"),
        ("[prices.m]\ninput = 1\noutptu = 2", "Did you mean 'output'?"),
        ("[prices.m]\ninput = -1\noutput = 2", "0 or more"),
        ('[keys]\nopenia = "k"', "No provider reads a key called 'openia'. Did you mean 'openai'?"),
        ('[keys]\nlocal = "k"', "local needs no key."),
        ("[keys]\nopenai = 5", "[keys] openai: give a key as a text."),
        ('[keys]\nopenai = "k"\nOPENAI_API_KEY = "l"', "[keys] has OPENAI_API_KEY twice."),
        ('[keys]\nopenai = "sk-secret', "it is no TOML: line 2"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(file: Path, text: str, said: str) -> None:
    """An unknown setting, a value that cannot be, and a slip in TOML are one line with the file's path."""
    written(file, text)
    error = told(run("ask", "x"))
    assert said in error
    assert error.startswith(f"Error: {file}: ")
    assert "sk-secret" not in error


def test_bytes_that_are_no_text_are_told(file: Path) -> None:
    """The place of the first one is named."""
    written(file, "")
    file.write_bytes(b'model = "\xff"')
    assert "is no UTF-8: byte 10" in told(run("ask", "x"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("TIMEOUT", "soon", "PROMPTSTREAM_TIMEOUT: timeout = 'soon'"),
        ("STATS", "perhaps", "PROMPTSTREAM_STATS: stats = 'perhaps': give true or false."),
        ("REASONING", "hihg", "PROMPTSTREAM_REASONING: reasoning='hihg'"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str
) -> None:
    """The variable is told with what it cannot be."""
    monkeypatch.setenv(f"PROMPTSTREAM_{name}", text)
    assert said in told(run("ask", "x"))


# The command


def test_set_keeps_comments_and_order(file: Path) -> None:
    """What a person wrote stays as they wrote it; what comes new stands before the tables."""
    written(file, '# mine\nmodel = "a"  # cheap\n\n[prices.m]  # theirs\ninput = 1\noutput = 2\n')
    assert run("config", "set", "model", "b").output == ""
    assert run("config", "set", "timeout", "60").exit_code == 0
    assert run("config", "set", "prices.m.output", "3.5").exit_code == 0
    text = file.read_text()
    assert '# mine\nmodel = "b"  # cheap\n' in text
    assert "[prices.m]  # theirs\ninput = 1\noutput = 3.5\n" in text
    assert parsed(text).settings == {"model": "b", "timeout": 60}


@pytest.mark.parametrize(
    ("name", "value", "made"),
    [
        ("stats", "yes", True),
        ("plain", "off", False),
        ("temperature", "0.5", 0.5),
        ("max_tokens", "100", 100),
        ("reasoning", "low", "low"),
        ("reasoning", "2048", 2048),
        ("reasoning", "false", False),
        ("stop", '["a", "b"]', ["a", "b"]),
        ("stop", "[END]", "[END]"),
        ("stop", "{", "{"),
        ("seed", "-3", -3),
        ("base_url", "127.0.0.1:11434", "127.0.0.1:11434"),
        ("system", "Be brief.", "Be brief."),
    ],
)
def test_set_reads_a_value_as_its_setting_needs_it(file: Path, name: str, value: str, made: object) -> None:
    """A word of the command line becomes a number, a bool or a text."""
    assert run("config", "set", name, value).output == ""
    assert load().settings == {name: made}


def test_set_takes_a_whole_price(file: Path) -> None:
    """A model's name may hold dots and slashes."""
    assert run("config", "set", "prices.acme/toy-1.5", "{input = 0.25, output = 2, cached = 0.1}").output == ""
    assert float(load().prices["acme/toy-1.5"].cached or 0) == 0.1
    assert run("config", "unset", "prices.acme/toy-1.5").output == ""
    assert load().prices == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "modle", "x"], "Did you mean 'model'?"),
        (["set", "timeout", "never"], "give a number of seconds above 0"),
        (["set", "prices.m.input", "1"], "A price lacks output"),
        (["set", "prices.m", "cheap"], "is no price"),
        (["set", "prices.input", "1"], "Of which model?"),
        (["set", "stop", '["a", "b"'], "is no list of texts in TOML"),
        (["set", "stop", "[1, 2]"], "stop="),
        (["set", "max_tokens", "-5"], "max_tokens=-5: give a whole number above 0."),
        (["set", "timeout", "-1"], "timeout = -1: give a number of seconds above 0."),
        (["set", "prices.m", "{input = -1, output = 2}"], "0 or more"),
        (["set", "provider", "opnai"], "provider = 'opnai': there is no such provider. Did you mean 'openai'?"),
        (["set", "base_url", "ftp://x"], "base_url='ftp://x': give an address such as http://"),
        (["set", "base_url", "opnai"], "base_url='opnai': give an address such as http://"),
        (["unset", "seed"], "does not set 'seed'"),
        (["unset", "keys.openai"], "does not set 'keys.openai'"),
        (["get", "sede"], "Did you mean 'seed'?"),
        (["set-key", "opneai"], "Did you mean 'openai'?"),
        (["set-key", "local"], "local needs no key."),
    ],
)
def test_what_config_cannot_do_is_told_and_changes_nothing(file: Path, arguments: list[str], said: str) -> None:
    """Exit code 1, one line, and no file."""
    assert said in told(run("config", *arguments, piped=KEY))
    assert not file.exists()


def test_a_key_is_never_an_argument(file: Path) -> None:
    """config set refuses it and says how; set-key has no place for one."""
    result = run("config", "set", "keys.openai", KEY)
    assert result.exit_code == 2
    assert "promptstream config set-key openai" in result.stderr
    assert run("config", "set-key", "openai", KEY).exit_code == 2
    assert not file.exists()


@pytest.mark.parametrize("name", ["openai", "OPENAI_API_KEY"])
def test_set_key_reads_standard_input(file: Path, name: str) -> None:
    """It is kept under its variable, once, and never shown."""
    written(file, '[keys]\nopenai = "old"  # work\nANTHROPIC_API_KEY = "b"\n')
    result = run("config", "set-key", name, piped=f"  {KEY}\n")
    assert result.stderr == f"The key is kept as OPENAI_API_KEY in {file}.\n"
    keys = load().keys
    assert KEY not in f"{result.output}{keys}"
    assert {name: str.__str__(key) for name, key in keys.items()} == {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": "b"}
    assert run("config", "unset", "keys.openai").exit_code == 0
    assert [*load().keys] == ["ANTHROPIC_API_KEY"]


@pytest.mark.parametrize("piped", ["", " \n", "two words", "line\nline", "schlüssel", "x" * 4097, "x" * 200_000])
def test_what_is_no_key_is_not_kept(file: Path, piped: str) -> None:
    """An empty pipe or a whole file is a mistake."""
    assert run("config", "set-key", "openai", piped=piped).exit_code == 1
    assert not file.exists()


@POSIX
def test_a_typed_key_is_not_shown(tmp_path: Path) -> None:
    """At a terminal it is asked for, without an echo."""
    path = tmp_path / "typed.toml"
    with OpenAIServer() as server:
        environment = {"PROMPTSTREAM_CONFIG": str(path)}
        with terminal(server, "config", "set-key", "anthropic", environment=environment) as (child, person):
            shown = read_until(person, "ANTHROPIC_API_KEY: ")
            os.write(person, KEY.encode() + b"\n")
            shown += read_until(person, "The key is kept")
            assert child.wait(20) == 0
    assert KEY not in shown
    assert KEY in path.read_text()


def test_show_tells_where_each_setting_comes_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are masked, whoever holds them."""
    written(file, f'model = "a"\nseed = 1\n[prices.m]\ninput = 1\noutput = 2\n[keys]\nopenai = "{KEY}"\n')
    monkeypatch.setenv("PROMPTSTREAM_MODEL", "b")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-environment")
    result = run("config", "show")
    rows = {line.split("  ")[0].rstrip(): line.split(None, 1)[1] for line in result.stdout.splitlines()}
    assert " ".join(rows["model"].split()) == '"b" environment (PROMPTSTREAM_MODEL)'
    assert " ".join(rows["seed"].split()) == "1 config file"
    assert " ".join(rows["stats"].split()) == "false built in"
    assert " ".join(rows["keys.OPENAI_API_KEY"].split()) == '"[key]" config file'
    assert " ".join(rows["keys.ANTHROPIC_API_KEY"].split()) == '"[key]" environment'
    assert "sk-" not in result.output
    data = json.loads(run("config", "show", "--json").stdout)
    assert data["prices.m"] == {"value": {"input": 1.0, "output": 2.0}, "from": "config file", "used": True}
    assert {*SETTINGS} <= {*data}


@pytest.mark.parametrize(
    ("text", "variable", "told"),
    [
        ('provider = "anthropic"\nmodel = "claude-x"', "PROVIDER=openai", {"model": "for anthropic"}),
        (
            'provider = "anthropic"\nmodel = "claude-x"',
            "BASE_URL=http://127.0.0.1:9/v1",
            {"provider": "PROMPTSTREAM_BASE_URL is set", "model": "for anthropic"},
        ),
        (
            'base_url = "http://127.0.0.1:8/v1"\nmodel = "toy"',
            "PROVIDER=openai",
            {"base_url": "PROMPTSTREAM_PROVIDER is set", "model": "PROMPTSTREAM_PROVIDER is set"},
        ),
        ('provider = "openai"\nmodel = "toy"', "PROVIDER=openai", {}),
        ('model = "toy"', "MODEL=other", {}),
        ('provider = "openai"\nmodel = "toy"', "MODEL=other", {}),
    ],
)
def test_what_does_not_count_is_shown_as_such(
    file: Path, monkeypatch: pytest.MonkeyPatch, text: str, variable: str, told: dict[str, str]
) -> None:
    """A model and an address of another provider than the one in force are not used; show and get say so."""
    written(file, text + "\n")
    name, _, value = variable.partition("=")
    monkeypatch.setenv(f"PROMPTSTREAM_{name}", value)
    shown = run("config", "show").stdout
    assert {
        line.split()[0]: line.partition("; not used: ")[2] for line in shown.splitlines() if "not used" in line
    } == told
    data = json.loads(run("config", "show", "--json").stdout)
    assert {name for name, row in data.items() if not row["used"]} == {*told}
    for name, why in told.items():
        result = run("config", "get", name)
        assert (result.stdout, result.exit_code) == ("", 1)
        assert f"is not used: {why}." in result.stderr


def test_a_key_that_does_not_count_is_shown_as_such(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's comes first, under any name that its provider reads."""
    written(file, f'[keys]\ngemini = "{KEY}"\n')
    monkeypatch.setenv("GOOGLE_API_KEY", "sk-other")
    rows = dict(line.split(None, 1) for line in run("config", "show").stdout.splitlines())
    assert rows["keys.GEMINI_API_KEY"].endswith("config file; not used: GOOGLE_API_KEY is set")
    assert rows["keys.GOOGLE_API_KEY"].endswith("environment")


def test_get_prints_what_counts(file: Path) -> None:
    """A text stands alone; what is not set is exit code 1; a key is masked."""
    written(file, f'model = "a"\nstop = ["x", "y"]\n[keys]\nopenai = "{KEY}"\n')
    assert run("config", "get", "model").stdout == "a\n"
    assert run("config", "get", "stop").stdout == '["x", "y"]\n'
    assert run("config", "get", "stats").stdout == "false\n"
    assert run("config", "get", "keys.openai").stdout == "[key]\n"
    assert (run("config", "get", "seed").output, run("config", "get", "seed").exit_code) == ("", 1)


def test_unset_mends_a_file_that_cannot_be_used(file: Path) -> None:
    """One wrong setting does not keep anybody from taking it out."""
    written(file, 'modle = "a"\ntimeot = 3\n')
    assert run("config", "unset", "modle").exit_code == 0
    assert file.read_text() == "timeot = 3\n"


def test_edit_opens_an_editor_on_a_file_that_explains_itself(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file shows every setting as a comment; what is wrong after editing is told."""
    opened: list[str] = []
    monkeypatch.setattr("click.edit", lambda filename: opened.append(filename))
    assert run("config", "edit").exit_code == 0
    text = file.read_text()
    assert all(f"# {name} = " in text for name in SETTINGS)
    assert load().settings == {}
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line or line[2:3] == "[")
    assert {*parsed(uncommented).settings} == {*SETTINGS}
    monkeypatch.setattr("click.edit", lambda filename: Path(filename).write_text("modle = 1\n"))
    assert "Did you mean 'model'?" in told(run("config", "edit"))
    assert opened == [str(file)]
