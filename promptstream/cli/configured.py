"""The config file and the environment in; checked settings, prices and keys out."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from promptstream.cli import configfile
from promptstream.cli.thoughts import REASONING_VIEWS
from promptstream.errors import ConfigError
from promptstream.pricing import Price
from promptstream.providers.registry import BUILT_IN, ENTRY_POINTS, names
from promptstream.values.names import nearest
from promptstream.values.request import PARAMETERS, check_parameters
from promptstream.values.secret import Secret

PREFIX = "PROMPTSTREAM_"
TABLES = ("prices", "keys")
LONGEST_KEY = 4096
"""Characters; no server takes a longer header."""
_LISTED = re.compile(r"\s*\[\s*[\"']")
_HOST_AND_PORT = re.compile(r"[\w.-]+:\d+/?$")
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("give a text")
    return value


def _provider(value: Any) -> str:
    from importlib.metadata import entry_points

    name = _text(value)
    if name not in names() and not entry_points(group=ENTRY_POINTS, name=name):
        raise ValueError(f"there is no such provider.{nearest(name, names())}")
    return name


def _address(value: Any) -> str:
    from promptstream.providers.base import checked_url

    url = _text(value)
    try:
        checked_url(f"http://{url}" if _HOST_AND_PORT.match(url) else url)  # which Ollama is named by
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return url


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError("give a number of seconds above 0")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("give true or false")
    return value


def _view(value: Any) -> str:
    if value not in REASONING_VIEWS:
        raise ValueError(f"give {', '.join(REASONING_VIEWS)}.{nearest(str(value), REASONING_VIEWS)}")
    return str(value)


@attrs.frozen
class Setting:
    """Describe what the config file may say: how it is checked, how a text is read, and what it is for."""

    about: str
    read: Callable[[str], Any] = str
    """Reads the text that the environment or the command line has for it."""
    check: Callable[[Any], Any] | None = None
    """None: a parameter of generation, which the library checks itself."""


def _read_flag(text: str) -> Any:
    word = text.strip().lower()
    return True if word in _YES else False if word in _NO else text


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text  # the check says what is wanted


def _texts(text: str) -> Any:
    """Give the list that *text* is in TOML; else it is a text by itself, such as [END]."""
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        made = read_toml(f"x = {text}").unwrap()
    except ConfigError:
        if _LISTED.match(text):
            raise ConfigError(f'{text!r:.60} is no list of texts in TOML, such as ["a", "b"].') from None
        return text
    return made["x"] if len(made) == 1 else text


def read_effort(text: str) -> Any:
    """Give what ``reasoning=`` takes for a word of the command line: a level, a number of tokens, or yes or no."""
    number = _number(text)
    return _read_flag(text) if isinstance(number, str) or number in (0, 1) else number


SETTINGS: Mapping[str, Setting] = {
    "provider": Setting("whom to ask, such as openai", check=_provider),
    "model": Setting("which model to ask", check=_text),
    "base_url": Setting("where the provider's API is", check=_address),
    "timeout": Setting("seconds that an answer may take", _number, _seconds),
    "system": Setting("the system prompt where there is no pack", check=_text),
    "temperature": Setting("how far answers vary", _number),
    "max_tokens": Setting("tokens that an answer may have", _number),
    "top_p": Setting("the share of likely tokens to choose from", _number),
    "seed": Setting("a whole number, for answers that repeat", _number),
    "stop": Setting("a text, or several, that ends an answer", _texts),
    "reasoning": Setting("how much to think: low, medium, high, …, or tokens", read_effort),
    "stats": Setting("tell times, tokens and cost after each answer", _read_flag, _flag),
    "stats_line": Setting("tell the most important of them in a line", _read_flag, _flag),
    "reasoning_view": Setting("what to show of the model's thoughts: fold, full or hide", check=_view),
    "plain": Setting("print answers as they come, without Markdown", _read_flag, _flag),
}


def checked(name: str, value: Any) -> Any:
    """Give the value of a setting.

    Raises:
        ConfigError: there is no such setting, or it cannot have this value.
    """
    if name not in SETTINGS:
        known = [*SETTINGS, *TABLES]
        raise ConfigError(f"There is no setting {name!r:.60}.{nearest(name, known)} Known: {', '.join(known)}.")
    check = SETTINGS[name].check
    try:
        return check_parameters({name: value})[name] if check is None else check(value)
    except (TypeError, ValueError) as error:
        told = str(error) if str(error).endswith((".", "?")) else f"{error}."
        raise ConfigError(told if told.startswith(name) else f"{name} = {value!r:.60}: {told}") from None


def key_variables() -> dict[str, tuple[str, ...]]:
    """Give, by the names of the providers that take keys, the environment variables that hold them."""
    from importlib.metadata import entry_points

    made = {name: getattr(entry.dialect(), "key_variables", ()) for name, entry in BUILT_IN.items()}
    for point in entry_points(group=ENTRY_POINTS):
        if point.name not in made:
            try:
                made[point.name] = getattr(point.load(), "key_variables", ())
            except Exception:  # noqa: S112 - another package's fault, told once its provider is asked for
                continue
    return {name: tuple(variables) for name, variables in made.items() if variables}


def key_variable(name: str) -> str:
    """Give the environment variable that a key is for, named by itself or by its provider.

    Raises:
        ConfigError: no provider reads such a key.
    """
    for entry in BUILT_IN.values():
        if name in entry.keys:  # without a look into every provider
            return name
    known = key_variables()
    if name in known:
        return known[name][0]
    variables = [variable for each in known.values() for variable in each]
    if name in variables:
        return name
    if name in BUILT_IN:
        raise ConfigError(f"{name} needs no key.")
    raise ConfigError(
        f"No provider reads a key called {name!r:.60}.{nearest(name, [*known, *variables])} Known: {', '.join(known)}."
    )


@attrs.frozen(eq=False)
class Config:
    """Hold what the config file says."""

    settings: Mapping[str, Any] = attrs.field(factory=dict)
    prices: Mapping[str, Price] = attrs.field(factory=dict)
    keys: Mapping[str, Secret] = attrs.field(factory=dict)
    """By the environment variables that they stand in for."""

    @property
    def ambient(self) -> dict[str, Any]:
        """The settings, with what the environment says over them.

        Raises:
            ConfigError: the environment says something that a setting cannot be.
        """
        return {**self.settings, **from_environment()}

    def key_for(self, provider: str) -> Secret | None:
        """Give the key that *provider* is asked with; None where the file has none, or the environment has its own.

        It never stands in the environment, which every program has that a tool starts.
        """
        if not self.keys:
            return None
        built_in = BUILT_IN[provider].keys if provider in BUILT_IN else ()
        variables = built_in or key_variables().get(provider, ())
        if any(map(os.environ.get, variables)):
            return None
        return next((self.keys[each] for each in variables if each in self.keys), None)


def from_environment() -> dict[str, Any]:
    """Give the settings that the environment has, as PROMPTSTREAM_MODEL and so on.

    Raises:
        ConfigError: one of them cannot be what it says.
    """
    found = {}
    for name, setting in SETTINGS.items():
        variable = PREFIX + name.upper()
        if text := os.environ.get(variable):
            try:
                found[name] = checked(name, setting.read(text))
            except ConfigError as error:
                raise ConfigError(f"{variable}: {error}") from None
    return found


def load() -> Config:
    """Read the config file; an empty Config where there is none.

    Raises:
        ConfigError: it cannot be read, or says something that is not known or cannot be.
    """
    text, shared = configfile.read()
    path = configfile.place()
    try:
        config = parsed(text) if text else Config()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error} See: promptstream config edit") from None
    if config.keys and shared:
        raise ConfigError(f"{path} holds keys, and others can read it. Do: chmod 600 {path}")
    return config


def parsed(text: str) -> Config:
    """Give what *text*, in TOML, says.

    Raises:
        ConfigError: it is no TOML, or says something that is not known or cannot be.
    """
    data = read_toml(text).unwrap()
    tables = {name: _table(name, data.pop(name, {})) for name in TABLES}
    return Config(
        {name: checked(name, value) for name, value in data.items()},
        {model: price_of(model, given) for model, given in tables["prices"].items()},
        _keys(tables["keys"]),
    )


def read_toml(text: str) -> Any:
    """Give *text* as a document of tomlkit's, which keeps its comments.

    Raises:
        ConfigError: it is no TOML.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(text)
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise ConfigError(f"it is no TOML: {_without_values(error)}.") from None


def _without_values(error: Exception) -> str:
    """Give what is wrong with a text and where, but nothing of the text: it may be a key."""
    line = getattr(error, "line", None)
    return f"line {line}, column {error.col}" if line is not None else type(error).__name__  # type: ignore[attr-defined]


def _table(name: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ConfigError(f"{name} is a table of its own: [{name}].")
    return given


def price_of(model: str, given: Any) -> Price:
    """Give a model's price.

    Raises:
        ConfigError: it is none.
    """
    try:
        return Price.of(given)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"[prices.{model!r:.60}]: {error}") from None


def _keys(given: Mapping[str, Any]) -> dict[str, Secret]:
    keys: dict[str, Secret] = {}
    for name, key in given.items():
        variable = key_variable(name)
        if not isinstance(key, str) or not key.strip():
            raise ConfigError(f"[keys] {name}: give a key as a text.")
        if variable in keys:
            raise ConfigError(f"[keys] has {variable} twice.")
        if fault := key_fault(key.strip()):
            raise ConfigError(f"[keys] {name}: {fault}.")
        keys[variable] = Secret(key.strip())
    return keys


def key_fault(key: str) -> str:
    """Give why *key* can be none; "" where it can be one."""
    if len(key) > LONGEST_KEY:
        return f"it is longer than {LONGEST_KEY} characters"
    if not key.isascii() or not key.isprintable() or " " in key:
        return "it holds white space, or characters that no key has"
    return ""


def parameters_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give those of *settings* that are parameters of generation."""
    return {name: value for name, value in settings.items() if name in PARAMETERS}
