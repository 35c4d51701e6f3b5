"""Providers by name: which one is chosen, where its key goes, and what is said where there is none."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Any

import pytest

import promptstream
from promptstream import Provider, Retry, Timeout, providers
from promptstream.errors import ConfigError, MissingKey, ProviderNotFound
from promptstream.providers import registry
from promptstream.providers.scripted import ScriptedDialect

KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test's registrations reach another."""
    monkeypatch.setattr(registry, "_registered", {})


@pytest.fixture
def no_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the embedded model, as on a machine without the extra."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "xllamacpp" else real(name, *rest)
    )


@pytest.fixture
def with_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show an embedded model, as on a machine with the extra."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: object() if name == "xllamacpp" else real(name, *rest)
    )


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the look-ups of entry points; there is one, "plugged", which makes a script."""
    groups = []

    class Point:
        name = "plugged"

        def load(self) -> Any:
            return lambda **options: ScriptedDialect([["from the plug"]], **options)

    def entry_points(*, group: str) -> list[Point]:
        groups.append(group)
        return [Point()]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return groups


# Choosing


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5-mini", "GPT-4", "o3", "o4-mini", "o1-preview", "chatgpt-4o-latest"])
def test_an_unmistakable_model_chooses_its_provider(model, with_local):
    """The name of one of OpenAI's models is reason enough, and the reason is told."""
    choice = providers.choose(model)
    assert choice.name == "openai"
    assert model in choice.reason


@pytest.mark.parametrize("model", ["llama-3", "my-gpt-4", "o3mini", "ollama", "gpt-oss", "omni-3", "", None])
def test_any_other_model_leaves_the_choice_to_the_keys(model, monkeypatch, with_local):
    """What is not unmistakable chooses nothing; but who names a model does not get the demo's answer for it."""
    if model:
        with pytest.raises(MissingKey, match=f"whose model {model!r} is"):
            providers.choose(model)
    else:
        assert providers.choose(model).name == "local"
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    choice = providers.choose(model)
    assert (choice.name, choice.reason) == ("openai", "OPENAI_API_KEY is set")


def test_an_empty_key_is_no_key(monkeypatch, with_local):
    """A variable that is set to nothing chooses nothing."""
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert providers.choose().name == "local"


def test_the_embedded_model_is_chosen_where_there_is_no_key(with_local):
    """Without any key the model in this process answers, and the reason says so."""
    choice = providers.choose()
    assert choice.name == "local"
    assert "no key" in choice.reason


def test_without_key_and_embedded_model_all_ways_out_are_told(no_local):
    """MissingKey lists what could be set, named, pointed at or installed."""
    with pytest.raises(MissingKey) as caught:
        providers.choose()
    for way in ("OPENAI_API_KEY", "provider=", "api_key=", "base_url=", "pip install 'promptstream-sdk[local]'"):
        assert way in str(caught.value)
    with pytest.raises(MissingKey):
        promptstream.chat("Be brief.")


# Where the key goes


def test_a_base_url_alone_means_a_compatible_server(monkeypatch):
    """It is that server's conversation, and no vendor's key goes there, whatever the model is called."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with promptstream.chat(base_url="http://127.0.0.1:9/v1", model="gpt-4o") as conv:
        assert (conv.provider.name, conv.provider.model) == ("compatible", "gpt-4o")
        assert conv.provider.dialect.secret == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1",
        "https://api.openai.com.evil.example/v1",
        "https://evil.example/api.openai.com",
        "http://127.0.0.1.evil.example/v1",
        "http://localhost.evil.example/v1",
        "http://127.evil.example/v1",
    ],
)
@pytest.mark.parametrize("model", ["gpt-4o", None])
def test_a_key_from_the_environment_goes_to_its_vendor_only_unless_the_provider_is_named(monkeypatch, url, model):
    """With another base URL in the environment, nothing is chosen for the user; the error says what to name."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ConfigError, match="provider='openai'"):
        providers.choose(model)
    with pytest.raises(ConfigError):
        promptstream.chat(model=model)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/v1", "http://localhost:1/v1", "http://[::1]:1/v1", "https://api.openai.com/v2", ""]
)
def test_the_vendor_itself_and_this_machine_are_trusted(monkeypatch, url):
    """Loopback and the vendor's own host may have the key unasked."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert providers.choose().name == "openai"


def test_a_named_provider_goes_where_its_variable_says(monkeypatch):
    """Naming it is consent."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://proxy.example/v1")
    with promptstream.chat(provider="openai") as conv:
        assert conv.provider.dialect.base_url == "https://proxy.example/v1"


def test_a_base_url_in_the_environment_that_is_none_is_a_config_error(monkeypatch):
    """A mistyped variable is told as what it is."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for url in ("http://[oops", "http://user@evil.example/v1"):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        for make in (providers.choose, lambda: providers.get("openai"), promptstream.chat):
            with pytest.raises(ConfigError):
                make()


# By name


def test_an_unknown_name_is_told_with_the_nearest_one():
    """A slip is told with what was probably meant, and with all names."""
    with pytest.raises(ProviderNotFound, match="Did you mean 'openai'") as caught:
        providers.get("opneai")
    for name in ("compatible", "local", "openai", "scripted"):
        assert name in str(caught.value)
    with pytest.raises(ProviderNotFound) as caught:
        promptstream.chat(provider="zzz")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", [3, object(), b"openai", ["openai"]])
def test_a_provider_that_is_neither_name_nor_provider_is_a_config_error(name):
    """Only a name or a Provider will do."""
    with pytest.raises(ConfigError, match="provider"):
        promptstream.chat(provider=name)


def test_entry_points_are_looked_up_only_on_a_miss_and_once(looked_up):
    """Known names cost no look-up; a name found that way is kept."""
    providers.get("openai", api_key=KEY)
    providers.get("scripted", ["Hi"])
    providers.names()
    assert looked_up == []
    assert providers.get("plugged").send("Hello").text == "from the plug"
    assert providers.get("plugged").name == "scripted"
    assert looked_up == ["promptstream.providers"]
    assert "plugged" in providers.names()
    with pytest.raises(ProviderNotFound):
        providers.get("unheard-of")
    assert looked_up == ["promptstream.providers"] * 2


def test_a_registered_provider_is_one_like_any_other(looked_up):
    """Its factory takes what ``get`` is given, and a name registered again is replaced."""
    seen: list[dict] = []

    def factory(**options: Any) -> ScriptedDialect:
        seen.append(options)
        return ScriptedDialect(["one"])

    providers.register("mine", factory)
    assert providers.get("mine", api_key=KEY, model="m", timeout=3).send("Hello").text == "one"
    assert seen == [{"api_key": KEY, "model": "m"}]
    providers.register("mine", lambda **options: ScriptedDialect(["two"]))
    with promptstream.chat(provider="mine") as conv:
        assert conv.send("Hello").text == "two"
    assert "mine" in providers.names()
    with pytest.raises(ProviderNotFound, match="'mine'"):
        providers.get("mnie")
    assert looked_up == ["promptstream.providers"]


def test_a_registered_name_goes_before_a_built_in_one():
    """Whoever registers "openai" means it."""
    providers.register("openai", lambda **options: ScriptedDialect(["mine"]))
    assert providers.get("openai").send("Hello").text == "mine"


def test_a_type_error_inside_a_factory_is_not_swallowed():
    """A bug of a third party's is not told as a wrong option."""

    def factory(**options: Any) -> ScriptedDialect:
        raise TypeError("unsupported operand")

    providers.register("broken", factory)
    with pytest.raises(TypeError, match="unsupported operand"):
        providers.get("broken")


# Options


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("openai", {"modle": "x"}, "Did you mean 'model'"),
        ("openai", {"apikey": "x"}, "Did you mean 'api_key'"),
        ("openai", {"base_uri": "x"}, "Did you mean 'base_url'"),
        ("openai", {"timout": 1}, "Did you mean 'timeout'"),
        ("openai", {"frobnicate": 1}, "Known: "),
        ("compatible", {"base_url": "http://x", "header": {}}, "Did you mean 'headers'"),
        ("scripted", {"api_key": KEY}, "api_key"),
    ],
)
def test_a_wrong_option_is_a_config_error_that_names_the_nearest(name, options, text):
    """The provider is named, and what it knows; the value is not shown."""
    with pytest.raises(ConfigError, match=text) as caught:
        providers.get(name, **options)
    assert name in str(caught.value)
    assert "__init__" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_compatible_server_needs_its_address():
    """Without base_url the error says what to give."""
    with pytest.raises(ConfigError, match="base_url"):
        providers.get("compatible")
    with pytest.raises(ConfigError, match="base_url"):
        promptstream.chat(provider="compatible")


def test_the_options_of_the_wire_reach_the_provider():
    """timeout and retry are the provider's."""
    retry = Retry(5)
    made = providers.get("openai", api_key=KEY, timeout=3, retry=retry)
    assert (made.timeout, made.retry) == (Timeout(total=3), retry)
    assert providers.get("openai", api_key=KEY).retry.attempts == 3


def test_options_beside_a_provider_object_are_a_config_error():
    """Key and address belong to the object that is given."""
    made = providers.get("openai", api_key=KEY)
    for options in ({"api_key": KEY}, {"base_url": "http://x"}, {"retry": Retry()}):
        with pytest.raises(ConfigError, match=next(iter(options))) as caught:
            promptstream.chat(provider=made, **options)
        assert KEY not in str(caught.value)


def test_the_short_names_make_the_same_providers():
    """``OpenAI()`` is ``get("openai")``, and so on."""
    assert isinstance(providers.OpenAI(api_key=KEY), Provider)
    assert providers.OpenAI(api_key=KEY, model="m").model == "m"
    assert providers.Compatible("http://127.0.0.1:9/v1").name == "compatible"
    assert providers.Scripted(["Hi"]).send("x").text == "Hi"


def test_a_provider_shows_its_name_and_model_and_not_its_key():
    """Its repr is short and safe."""
    made = providers.OpenAI(api_key=KEY, model="gpt-4o")
    assert repr(made) == "<Provider openai gpt-4o>"
    assert repr(providers.Compatible("http://127.0.0.1:9/v1")) == "<Provider compatible>"
    assert KEY not in repr(vars(made)) + repr(vars(made.dialect))


def test_a_provider_has_no_attributes_but_its_own_and_its_dialects_public_ones():
    """What a dialect hands through is named by it; all else is an AttributeError."""
    made = providers.Scripted(["Hi"])
    assert made.requests == []
    with pytest.raises(AttributeError, match="frobnicate"):
        made.frobnicate  # noqa: B018
    with pytest.raises(AttributeError):
        providers.OpenAI(api_key=KEY).requests  # noqa: B018


@pytest.mark.parametrize("timeout", ["3", True])
def test_a_timeout_of_the_wrong_type_is_refused_when_the_provider_is_made(timeout):
    """Not in the middle of the first turn."""
    with pytest.raises(TypeError, match="timeout"):
        providers.get("openai", api_key=KEY, timeout=timeout)


@pytest.mark.parametrize("retry", [3, "3", object()])
def test_a_retry_of_the_wrong_type_is_refused_when_the_provider_is_made(retry):
    """``retry=3`` is told, not an AttributeError after the first failure."""
    with pytest.raises((TypeError, ConfigError), match="retry"):
        providers.get("openai", api_key=KEY, retry=retry)
