"""The command "config": settings and keys in, the config file changed, or what it says, out."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import click

from promptstream.cli import completion, configfile
from promptstream.cli.amending import put, put_key, put_price, remove, template
from promptstream.cli.choosing import unused
from promptstream.cli.configured import (
    LONGEST_KEY,
    PREFIX,
    SETTINGS,
    Config,
    checked,
    from_environment,
    key_fault,
    key_variable,
    load,
)
from promptstream.cli.endings import exiting
from promptstream.cli.sections import Command, Group, option
from promptstream.cli.terminal import is_terminal, readable, tell, write
from promptstream.errors import ConfigError
from promptstream.values.secret import MASK

_NAME = click.argument("name", shell_complete=completion.of_settings)
_NEGATIVE = re.compile(r"-\.?\d")
_BUILT_IN = {"stats": False, "stats_line": False, "reasoning_view": "fold", "plain": False}


@click.group(cls=Group)
def config() -> None:
    """Show and change the settings and keys of the config file.

    \b
    A setting is, the first that says something:
      a flag, such as --model
      for "run", and "chat" with a pack: the pack
      the environment, such as PROMPTSTREAM_MODEL
      the config file
      what is built in
    A key is in the environment, such as OPENAI_API_KEY, else in the config file;
    never on the command line, which everybody on the machine can read.

    PROMPTSTREAM_CONFIG names another config file; /dev/null is none.

    \b
    Examples:
      promptstream config set provider anthropic
      promptstream config set-key anthropic
      promptstream config show
    """


@config.command("path")
def show_path() -> None:
    """Print where the config file is, or would be.

    \b
    Example:
      promptstream config path
    """
    with exiting():
        write(f"{configfile.place()}\n")


@config.command()
@option("--json", "as_json", section="Output", is_flag=True, help="Print one JSON object instead of the table.")
def show(as_json: bool) -> None:
    """Show the settings that count, where each comes from, and which keys there are, but no key.

    \b
    Example:
      promptstream config show
    """
    with exiting():
        rows = list(_rows(load()))
        if as_json:
            told = {row.name: {"value": row.value, "from": row.source, "used": not row.unused} for row in rows}
            write(json.dumps(told) + "\n")
            return
        values = [_toml(row.value) for row in rows]
        widths = max(len(row.name) for row in rows), min(max(map(len, values)), 40)
        for row, value in zip(rows, values, strict=True):
            source = f"{row.source}; not used: {row.unused}" if row.unused else row.source
            write(f"{row.name:{widths[0]}}  {value:{widths[1]}}  {source}".rstrip() + "\n")
        if not os.path.exists(configfile.place()):
            tell(f"There is no {configfile.place()}; promptstream config set makes it.")


@config.command()
@_NAME
def get(name: str) -> None:
    """Print the setting called NAME as it counts; of a key, only that there is one.

    The exit code is 1 where it is not set.

    \b
    Examples:
      promptstream config get model
      promptstream config get keys.openai
    """
    with exiting():
        table, _, rest = name.partition(".")
        rows = {row.name: row for row in _rows(load())}
        if table == "keys" and rest:
            name = f"keys.{key_variable(rest)}"
        elif name not in rows and table != "prices":
            checked(name, None)
        row = rows.get(name, Row(name, None))
        if row.unused:
            tell(f"The config file says {_toml(row.value)}, which is not used: {row.unused}.")
        if row.value is None or row.unused:
            raise click.exceptions.Exit(1)
        write(f"{row.value if isinstance(row.value, str) else _toml(row.value)}\n")


class _Set(Command):
    """Be a command whose values may be negative numbers, which click takes for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        place = next((at for at, word in enumerate(args) if _NEGATIVE.match(word)), None)
        if place is not None and "--" not in args:
            args = [*args[:place], "--", *args[place:]]
        return super().parse_args(ctx, args)


@config.command("set", cls=_Set)
@_NAME
@click.argument("value")
def set_value(name: str, value: str) -> None:
    """Let the setting called NAME be VALUE.

    \b
    NAME is one of:
      provider, model, base_url, timeout, system,
      temperature, max_tokens, top_p, seed, stop, reasoning,
      stats, stats_line, reasoning_view, plain,
      prices.MODEL.input, prices.MODEL.output (USD per million tokens), …

    \b
    Examples:
      promptstream config set model gpt-5
      promptstream config set stats true
      promptstream config set stop '["END", "STOP"]'
      promptstream config set prices.my-model '{input = 0.25, output = 2}'
    """
    with exiting():
        value, (table, _, rest) = readable(value), name.partition(".")
        if table == "keys":
            raise click.UsageError(
                f"Others can read a key on the command line. Instead: promptstream config set-key {rest or 'NAME'}"
            )
        if table == "prices" and rest:
            put_price(rest, value)
            return
        if name not in SETTINGS:
            checked(name, value)
        put(name, SETTINGS[name].read(value))
        _tell_overruled(name)


@config.command()
@_NAME
def unset(name: str) -> None:
    """Take the setting, the price or the key called NAME out of the config file.

    \b
    Examples:
      promptstream config unset model
      promptstream config unset prices.my-model
      promptstream config unset keys.openai
    """
    with exiting():
        remove(name)


@config.command("set-key")
@click.argument("provider", shell_complete=completion.of_providers)
def set_key(provider: str) -> None:
    """Keep the key of PROVIDER, or of an environment variable such as OPENAI_API_KEY, in the config file.

    It is asked for, and not shown; or read from standard input. It is never an argument, which everybody on the
    machine could read. Nobody else can read the file (mode 0600).

    \b
    Examples:
      promptstream config set-key openai
      pass show openai | promptstream config set-key openai
    """
    with exiting():
        variable = key_variable(provider)
        key = _asked_key(variable)
        path = put_key(variable, key)
        tell(f"The key is kept as {variable} in {path}.")
        if os.environ.get(variable) not in (None, "", key):
            tell(f"Warning: the environment has another {variable}, which comes first.")


def _asked_key(variable: str) -> str:
    """Give the key that is typed or piped in.

    Raises:
        ConfigError: it is none.
    """
    if is_terminal(sys.stdin):
        key = str(click.prompt(variable, hide_input=True, err=True))
    else:
        key = sys.stdin.read(LONGEST_KEY + 1) if sys.stdin is not None else ""
    key = key.strip()
    if not key:
        raise ConfigError("There is no key on standard input.")
    if fault := key_fault(key):
        raise ConfigError(f"That is no key: {fault}. Nothing was changed.")
    return key


@config.command()
def edit() -> None:
    """Open the config file in an editor, VISUAL or EDITOR; a new one begins with all that can be set.

    \b
    Example:
      EDITOR=nano promptstream config edit
    """
    with exiting():
        path = configfile.place()
        if not path.exists():
            path = configfile.write(template())
        click.edit(filename=str(path))
        configfile.make_private(path)
        load()


@attrs.frozen
class Row:
    """Hold a setting, a price or a key, and where it comes from; in place of a key, a mask."""

    name: str
    value: Any
    source: str = ""
    unused: str = ""
    """Why it does not count."""


def _rows(loaded: Config) -> Iterator[Row]:
    """Give each setting, price and key that there is."""
    environment, idle = from_environment(), unused(loaded)
    for name in SETTINGS:
        if name in environment:
            yield Row(name, environment[name], f"environment ({PREFIX}{name.upper()})")
        elif name in loaded.settings:
            yield Row(name, loaded.settings[name], "config file", idle.get(name, ""))
        else:
            yield Row(name, _BUILT_IN.get(name), "built in" if name in _BUILT_IN else "")
    for model, price in loaded.prices.items():
        yield Row(f"prices.{model}", {name: float(each) for name, each in _amounts(price)}, "config file")
    yield from _keys_there(loaded)


def _amounts(price: Any) -> Iterator[tuple[str, Any]]:
    for name in ("input", "output", "cached", "cache_write", "reasoning"):
        if getattr(price, name) is not None:
            yield name, getattr(price, name)


def _keys_there(loaded: Config) -> Iterator[Row]:
    from promptstream.providers.registry import BUILT_IN

    whose = {variable: entry.keys for entry in BUILT_IN.values() for variable in entry.keys}
    for variable in dict.fromkeys([*whose, *loaded.keys]):
        if os.environ.get(variable):
            yield Row(f"keys.{variable}", MASK, "environment")
        elif variable in loaded.keys:
            others = [each for each in whose.get(variable, ()) if os.environ.get(each)]
            yield Row(f"keys.{variable}", MASK, "config file", f"{others[0]} is set" if others else "")


def _toml(value: Any) -> str:
    if value is None:
        return "-"
    import tomlkit

    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + "}"
    return str(tomlkit.item(value).as_string())


def _tell_overruled(name: str) -> None:
    variable = PREFIX + name.upper()
    if os.environ.get(variable):
        tell(f"Warning: {variable} is in the environment, which comes first.")
