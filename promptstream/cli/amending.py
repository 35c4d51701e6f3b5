"""A change in, the config file with it, comments and all, out; not one that could not be read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from promptstream.cli import configfile
from promptstream.cli.configured import SETTINGS, checked, key_variable, key_variables, parsed, price_of, read_toml
from promptstream.errors import ConfigError
from promptstream.values.names import nearest

_TEMPLATE_END = """
# What models cost, in USD per million tokens, over what is known of them:
# [prices."my-model"]
# input = 0.25
# output = 2.0

# Keys, for providers that have none in the environment. "promptstream config set-key openai" puts one here.
# [keys]
# OPENAI_API_KEY = "sk-..."
"""
_EXAMPLES = {
    "provider": '"openai"',
    "model": '"gpt-5-mini"',
    "base_url": '"http://127.0.0.1:8000/v1"',
    "timeout": "60",
    "system": '"Be brief."',
    "temperature": "0.7",
    "max_tokens": "1000",
    "top_p": "0.9",
    "seed": "1",
    "stop": '"END"',
    "reasoning": '"low"',
    "stats": "true",
    "stats_line": "true",
    "reasoning_view": '"full"',
    "plain": "true",
}


def template() -> str:
    """Give a config file that shows all that can be set, and sets nothing."""
    lines = [f"# {name} = {_EXAMPLES[name]}  # {each.about}" for name, each in SETTINGS.items()]
    return "\n".join(lines) + "\n" + _TEMPLATE_END


def put(name: str, value: Any) -> Path:
    """Let a setting be *value*, and give the file's path.

    Raises:
        ConfigError: it cannot be that, or the file cannot be read or written.
    """
    made = checked(name, value)

    def change(document: Any) -> None:
        document[name] = made

    return _changed(change)


def put_key(variable: str, key: str) -> Path:
    """Keep a key for an environment variable, in place of any that stands for the same; give the file's path.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    import tomlkit

    same = _spellings(variable)

    def change(document: Any) -> None:
        keys = document.setdefault("keys", tomlkit.table())
        for each in [name for name in keys if name in same and name != variable]:
            del keys[each]
        keys[variable] = key

    return _changed(change)


def put_price(name: str, value: str) -> Path:
    """Set what a model costs: *name* is the model and *value* an inline table, or the name of one amount stands after.

    Raises:
        ConfigError: it is no price, or the file cannot be read or written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        given = tomlkit.parse(f"x = {value}").unwrap()["x"]
    except TOMLKitError:
        raise ConfigError(f"{value!r:.60} is no price: give a number, or {{input = 0.25, output = 2}}.") from None
    whole = isinstance(given, dict)
    model, field = (name, "") if whole else (name.rpartition(".")[0], name.rpartition(".")[2])
    if not model:
        raise ConfigError(f"Of which model? Such as prices.my-model, or prices.my-model.{field}.")

    def change(document: Any) -> None:
        prices = document.setdefault("prices", tomlkit.table(is_super_table=True))
        if whole:
            price_of(model, given)
            prices[model] = tomlkit.table()
            prices[model].update(given)
        else:
            price_of(model, {**prices.get(model, {}), field: given})
            prices[model][field] = given

    return _changed(change)


def remove(name: str) -> Path:
    """Take a setting, ``prices.MODEL`` or ``keys.NAME`` out of the file, and give its path.

    Raises:
        ConfigError: it is not there, or the file cannot be read or written.
    """
    table, _, rest = name.partition(".")
    nested = bool(rest) and table in ("prices", "keys")
    wanted = _spellings(rest) if nested and table == "keys" else {rest if nested else name}

    def change(document: Any) -> None:
        holder = document.get(table, {}) if nested else document
        there = [each for each in holder if each in wanted]
        if not there:
            known = [f"{table}.{each}" if nested else each for each in holder]
            raise ConfigError(f"{configfile.place()} does not set {name!r:.60}.{nearest(name, known)}")
        for each in there:
            del holder[each]
        if nested and not holder:
            del document[table]

    return _changed(change, check=False)  # what else is wrong in it should not keep anybody from mending this


def _spellings(name: str) -> set[str]:
    """Give all the names that a key may stand under in the file."""
    variable = key_variable(name)
    return {variable, *(provider for provider, variables in key_variables().items() if variables[0] == variable)}


def _changed(change: Callable[[Any], None], *, check: bool = True) -> Path:
    """Have *change* made to the file's document, comments and all, and give the file's path.

    Args:
        check: what comes out must be fit to be read.
    """
    text, _ = configfile.read(needed=False)
    try:
        document = read_toml(text)
    except ConfigError as error:
        raise ConfigError(f"{configfile.place()}: {error} See: promptstream config edit") from None
    change(document)
    made = document.as_string()
    if check:
        try:
            parsed(made)
        except ConfigError as error:
            raise ConfigError(f"{configfile.place()}: {error} Nothing was changed.") from None
    return configfile.write(made)
