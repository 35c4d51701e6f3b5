"""Python files of the user's in, the tools in them out."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isfunction
from pathlib import Path
from types import ModuleType

from promptstream.errors import ConfigError
from promptstream.tools.tool import Tool


def load_tools(files: Iterable[str]) -> list[Tool]:
    """Run each of *files* once, and give every tool that is a name of its module, in that order.

    Raises:
        ConfigError: a file cannot be read or run, or holds no tool.
    """
    tools: list[Tool] = []
    for path in dict.fromkeys(Path(file).expanduser().resolve() for file in files):
        module = _module(path)
        found = [each for each in vars(module).values() if isinstance(each, Tool)]
        if not found:
            raise ConfigError(f"--tools {path}: it holds no tool.{_bare(module)}")
        tools += [each for each in dict.fromkeys(found) if each not in tools]
    return tools


def _bare(module: ModuleType) -> str:
    """Say what to do where none of the functions of *module* is a tool."""
    functions = [
        name
        for name, each in vars(module).items()
        if isfunction(each) and each.__module__ == module.__name__ and not name.startswith("_")
    ]
    if not functions:
        return " Write a function in it, and decorate it: @promptstream.tool."
    named = ", ".join(functions[:5]) + (", …" if len(functions) > 5 else "")
    return f" Decorate what the model may call, of {named}: @promptstream.tool."


def _module(path: Path) -> ModuleType:
    name = f"promptstream_tools_{path.stem}"
    while name in sys.modules:
        name += "_"
    spec = spec_from_file_location(name, path)
    if not path.is_file():
        raise ConfigError(f"--tools {path}: there is no such Python file.")
    if spec is None or spec.loader is None:
        raise ConfigError(f"--tools {path}: the name of a Python file ends in .py.")
    module = module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and type hints look it up
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last: a neighbour must not stand in for a library that is loaded later
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(f"--tools {path}: it cannot be loaded{_line(error, path)}: {_told(error)}") from error
    return module


def _told(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line(error: BaseException, path: Path) -> str:
    """Give the line of the file that the error came from, in words."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""
