"""Providers of variables: the clock, the environment, what a pack binds, and how sources are gathered each turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from promptstream import packs
from promptstream.errors import ConfigError, VariableInvalid
from promptstream.packs import Bindings, Clock, Environment, gathered
from promptstream.packs.pack import load
from promptstream.packs.variables import Variable

MOMENT = datetime(2026, 3, 9, 23, 4, 5, 678, tzinfo=timezone.utc)


def bound(**binding: Any) -> Variable:
    """Give the variable ``who``, bound and populated by itself."""
    return Variable("who", binding={"auto_populate": True, **binding})


# Gathering


def test_a_later_source_counts_over_an_earlier_one_and_none_hides_nothing() -> None:
    """Mappings and providers alike, in order."""
    sources: list[Any] = [{"a": 1, "b": 1, "c": None}, lambda: {"b": 2, "a": None}, {"d": 4}]
    assert gathered(sources) == {"a": 1, "b": 2, "c": None, "d": 4}


def test_nothing_gives_nothing() -> None:
    """No sources, no values."""
    assert gathered([]) == {}


def test_each_provider_and_each_callable_value_is_called_once_each_time() -> None:
    """What a turn gets is of that turn."""
    calls: list[str] = []

    def provider() -> dict[str, Any]:
        calls.append("provider")
        return {"count": len(calls)}

    def value() -> str:
        calls.append("value")
        return "now"

    sources: list[Any] = [provider, {"now": value}]
    assert gathered(sources) == {"count": 1, "now": "now"}
    assert gathered(sources) == {"count": 3, "now": "now"}
    assert calls == ["provider", "value"] * 2


def test_a_callable_value_that_is_hidden_is_not_called() -> None:
    """Nobody asks for it."""

    def never() -> str:
        raise AssertionError

    assert gathered([{"a": never}, {"a": 1}]) == {"a": 1}


def failing() -> Mapping[str, Any]:
    """Fail, as a provider may."""
    raise OSError("disk on fire")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (failing, "The provider of variables failing failed: OSError: disk on fire"),
        (lambda: 5, "gave 5; it must give a mapping"),
        (lambda: {1: 2}, "gave {1: 2}; it must give a mapping of names"),
        ({"now": failing}, "The callable that gives the variable 'now' failed: OSError: disk on fire"),
        (Callable, "The provider of variables"),
    ],
)
def test_a_provider_that_fails_is_named(source: Any, words: str) -> None:
    """VariableInvalid, with what was raised as its cause."""
    with pytest.raises(VariableInvalid) as caught:
        gathered([source])
    assert words in str(caught.value)
    if "disk" in words:
        assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_provider_is_passed_on(kind: type[BaseException]) -> None:
    """It is no failure of the provider."""

    def stopped() -> Mapping[str, Any]:
        raise kind

    with pytest.raises(kind):
        gathered([stopped])


def test_a_source_that_is_neither_is_a_type_error() -> None:
    """A wrong call is a TypeError, as everywhere in Python."""
    wrong: Any = ["x"]
    with pytest.raises(TypeError, match="give a mapping, or a callable"):
        gathered(wrong)


def test_a_providers_values_render() -> None:
    """What is gathered is a layer like any other."""
    prompt = load({"prompts": {"p": {"system_template": "{{current_date}} {{user.name}}"}}}).prompt()
    sources: list[Any] = [Clock("UTC", now=lambda: MOMENT), {"user": {"name": "Ada"}}]
    assert prompt.render(gathered(sources)) == "2026-03-09 Ada"


# The clock


def test_the_clock_tells_date_and_time_in_its_zone() -> None:
    """In English and in ISO 8601, whatever the locale."""
    assert Clock("UTC", now=lambda: MOMENT)() == {
        "current_date": "2026-03-09",
        "current_time": "2026-03-09T23:04:05+00:00",
        "current_hour": "23",
        "current_weekday": "Monday",
        "current_month": "March",
        "current_year": "2026",
    }
    assert Clock("Asia/Tokyo", now=lambda: MOMENT)()["current_time"] == "2026-03-10T08:04:05+09:00"
    assert Clock(timezone.utc, now=lambda: MOMENT)()["current_hour"] == "23"


def test_the_clock_goes_on() -> None:
    """Each call tells its own moment, by the system's clock where none is given."""
    moments = iter([MOMENT, MOMENT.replace(year=2027)])
    clock = Clock("UTC", now=lambda: next(moments))
    assert [clock()["current_year"], clock()["current_year"]] == ["2026", "2027"]
    before, told, after = datetime.now(timezone.utc), Clock()(), datetime.now(timezone.utc)
    assert before.replace(microsecond=0) <= datetime.fromisoformat(told["current_time"]) <= after


@pytest.mark.parametrize("zone", ["Nowhere/Land", "", "../etc"])
def test_an_unknown_zone_is_told_at_once(zone: str) -> None:
    """Not at the first turn."""
    with pytest.raises(ConfigError, match="no such time zone"):
        Clock(zone)


@pytest.mark.parametrize("given", [{"zone": 5}, {"zone": b"UTC"}, {"now": MOMENT}])
def test_a_zone_that_is_none_and_a_time_that_cannot_be_asked_are_type_errors(given: Any) -> None:
    """At once, with what to give."""
    with pytest.raises(TypeError, match=r"give a (tzinfo|function)"):
        Clock(**given)


def test_what_gives_no_datetime_is_named() -> None:
    """Rather than an attribute that is missing somewhere."""
    wrong: Any = lambda: "noon"  # noqa: E731
    with pytest.raises(VariableInvalid, match="The clock's now= gave 'noon'; it must give a datetime"):
        gathered([Clock("UTC", now=wrong)])


# The environment


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set some variables, secrets among them."""
    for name, value in {
        "APP_USER_NAME": "Ada",
        "APP_LANG": "en",
        "APP_API_KEY": "k",
        "APP_Db_Password": "p",
        "APP_SESSION_TOKEN": "t",
        "APP_": "x",
        "OTHER": "o",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("environment")
def test_the_environment_gives_what_has_the_prefix_and_is_no_secret() -> None:
    """APP_USER_NAME is user_name; keys, tokens and passwords stay where they are."""
    assert Environment()() == {"user_name": "Ada", "lang": "en"}
    assert Environment("OTH")() == {"er": "o"}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("name", ["APP_API_KEY", "API_KEY", "api_key"])
def test_a_secret_is_given_only_where_it_is_listed(name: str) -> None:
    """And then nothing else is."""
    assert Environment(names=[name])() == {"api_key": "k"}
    assert Environment("", names=["OTHER"])() == {"other": "o"}


SECRETS = (
    *("AUTH", "OAUTH2", "SMTP_AUTH", "PWD", "DBPWD", "BEARER", "COOKIE", "DSN", "SENTRY_DSN", "JWT", "PIN", "USER_PIN"),
    *("SALT", "HASHSALT", "SESSION", "SESSION_ID", "CERT", "CLIENT_CERT", "CERTIFICATE", "PRIVATE", "PASS", "DBPASS"),
    *("PASSWD", "PASSPHRASE", "PASSCODE", "CREDENTIALS", "AUTHORIZATION", "SIGNING_KEY", "SID"),
)
HARMLESS = ("AUTHOR", "AUTHORS", "OPINION", "SHOPPING", "CERTAINTY", "PASSENGER", "SALTED", "SIDE", "PINS", "HOMEPAGE")


@pytest.mark.parametrize("name", [*SECRETS, *map(str.lower, SECRETS)])
def test_a_name_that_looks_like_a_secret_is_left_out(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Unless the program lists it."""
    monkeypatch.setenv(f"APQ_{name}", "x")
    assert Environment("APQ_")() == {}
    assert Environment("APQ_", names=[name])() == {name.lower(): "x"}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_name_that_only_begins_or_ends_like_a_secret_is_given(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An author is no authorization."""
    monkeypatch.setenv(f"APQ_{name}", "x")
    assert Environment("APQ_")() == {name.lower(): "x"}


@pytest.mark.parametrize(
    "value", ["postgres://u:p@h/d", "redis://:p@h", "jdbc:postgresql://u:p/w@h", "see amqps://a:b@c", "HTTP://U:P@H"]
)
def test_an_address_with_a_password_is_left_out(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Whatever its name; one without is given."""
    monkeypatch.setenv("APQ_DATABASE_URL", value)
    monkeypatch.setenv("APQ_HOMEPAGE", "https://example.com:8080/a")
    assert Environment("APQ_")() == {"homepage": "https://example.com:8080/a"}
    assert Environment("APQ_", names=["DATABASE_URL"])() == {"database_url": value}


@pytest.mark.usefixtures("environment")
def test_the_environment_is_read_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes counts the next time."""
    provider = Environment(names="LANG")
    monkeypatch.setenv("APP_LANG", "de")
    assert provider() == {"lang": "de"}


def test_the_whole_environment_is_never_given() -> None:
    """An empty prefix needs names."""
    with pytest.raises(ConfigError, match="name the variables"):
        Environment("")


# Bindings


def test_bindings_read_session_context_and_header_each_turn() -> None:
    """By the field, or by the variable's own name; a header's name in any case."""
    session = {"user": "Ada"}
    assert Bindings([bound(kind="session", field="user")], session=session)() == {"who": "Ada"}
    provider = Bindings([bound(kind="session", field="user")], session=session)
    session["user"] = "Bob"
    assert provider() == {"who": "Bob"}
    assert Bindings([bound(kind="context")], context={"who": 5})() == {"who": 5}
    assert Bindings([bound(kind="header", field="x-user")], header={"X-User": "Ada"})() == {"who": "Ada"}
    assert Bindings([bound(kind="session", field="user")])() == {}


def test_only_what_populates_itself_is_read() -> None:
    """auto_populate is false where it is left out."""
    assert Bindings([Variable("a"), Variable("b", binding={"kind": "nonsense"})])() == {}


@pytest.mark.parametrize(("sieve", "found"), [("lowercase", " ada "), ("uppercase", " ADA "), ("trim", "Ada")])
def test_filters_are_applied(sieve: str, found: str) -> None:
    """lowercase, uppercase and trim."""
    assert Bindings([bound(kind="session", filter=sieve)], session={"who": " Ada "})() == {"who": found}


def test_a_filter_on_what_is_no_text_is_an_invalid_variable() -> None:
    """It names the variable and the filter."""
    with pytest.raises(VariableInvalid, match=r"'who' is bound to 5; its filter 'trim'"):
        Bindings([bound(kind="session", filter="trim")], session={"who": 5})()


def test_a_pack_cannot_read_the_environment_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program lists what may be read."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    variable = bound(kind="env", field="OPENAI_API_KEY")
    with pytest.raises(ConfigError, match=r"env=\['OPENAI_API_KEY'\]"):
        Bindings([variable])
    assert Bindings([variable], env=["OPENAI_API_KEY"])() == {"who": "k"}
    monkeypatch.delenv("OPENAI_API_KEY")
    assert Bindings([variable], env="OPENAI_API_KEY")() == {}


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ({}, "is of kind None"),
        ({"kind": "sesion"}, "Did you mean 'session'?"),
        ({"kind": "session", "filter": "lowercse"}, "Did you mean 'lowercase'?"),
    ],
)
def test_a_binding_that_cannot_be_followed_is_told_at_once(binding: Any, words: str) -> None:
    """Not at the first turn."""
    with pytest.raises(ConfigError) as caught:
        Bindings([bound(**binding)])
    assert words in str(caught.value)


def test_the_bindings_of_a_packs_prompt_are_followed() -> None:
    """As the file writes them."""
    binding = {"kind": "session", "field": "user_id", "auto_populate": True, "filter": "trim"}
    variable = {"name": "who", "type": "string", "required": True, "binding": binding}
    prompt = load({"prompts": {"p": {"system_template": "Hi {{who}}", "variables": [variable]}}}).prompt()
    assert prompt.render(Bindings(prompt, session={"user_id": " 7 "})()) == "Hi 7"


def test_the_room_gives_nothing_else() -> None:
    """An unknown name is an AttributeError."""
    name = "Clok"
    with pytest.raises(AttributeError, match="Clok"):
        getattr(packs, name)
