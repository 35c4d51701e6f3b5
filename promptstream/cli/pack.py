"""Pack files in; what is wrong with them, or tables of what is in them, out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from promptstream.cli.endings import exiting
from promptstream.cli.sanitise import clean
from promptstream.cli.sections import Group
from promptstream.cli.terminal import is_terminal, write
from promptstream.errors import PackError

if TYPE_CHECKING:
    from promptstream.packs.pack import Pack, Prompt
    from promptstream.packs.variables import Variable

_PIPED_WIDTH = 200
_LONGEST = 300
_ANSWERED = "answered with submit() unless bound in code"


@click.group("pack", cls=Group)
def packs() -> None:
    """Check pack files, and show what is in them.

    \b
    Examples:
      promptstream pack check weather.pack.json
      promptstream pack show weather.pack.json
    """


@packs.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--strict", is_flag=True, help="Let every finding count, not only those that make a pack unusable.")
def check(files: tuple[str, ...], strict: bool) -> None:
    """List everything that is wrong with each FILE; - is standard input.

    A line is FILE, a JSON path and what is wrong there. The exit code is 0 where every pack can be used, and 1 where
    one cannot.

    \b
    Example:
      promptstream pack check --strict prompts/*.json
    """
    with exiting():
        found = bad = 0
        for file in files:
            count, unusable = _check(file)
            found += count
            bad += unusable or (strict and count > 0)
        of = f"{len(files)} packs" if len(files) > 1 else "1 pack"
        write(f"{of}: {found or 'no'} finding{'' if found == 1 else 's'}, {bad or 'none'} refused\n")
        if bad:
            raise click.exceptions.Exit(1)


@packs.command()
@click.argument("file", type=click.Path())
def show(file: str) -> None:
    """Show the prompts, their templates, variables and tools of FILE; - is standard input.

    \b
    Example:
      promptstream pack show weather.pack.json | less
    """
    from promptstream.packs.pack import load

    with exiting():
        loaded = load(_given(file))
        _line(*_about(loaded))
        for prompt in loaded.prompts.values():
            _prompt(prompt)
        for name, text in loaded.fragments.items():
            _line("")
            _text(f"fragment {name}", text, indent=2)
        _tools(loaded)
        for key, more in (("evals", loaded.evals), ("skills", loaded.skills), ("compositions", loaded.compositions)):
            if more:
                _line(f"{key}: {len(more)}")
        if loaded.workflow:
            states = loaded.workflow.get("states") or {}
            _line(f"workflow: begins at {loaded.workflow.get('entry')}; states: {', '.join(map(str, states))}")
        if loaded.findings:
            _line(f"findings: {len(loaded.findings)}; see: promptstream pack check {file}")


def _given(file: str) -> str | Mapping[str, Any]:
    """Give what is to be loaded: a path, or the pack that standard input holds.

    Raises:
        PackError: standard input holds none.
    """
    if file != "-":
        return file
    from promptstream.packs.source import LARGEST, parsed

    data = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin is not None else b""
    return parsed(data, "The pack on standard input")


def _check(file: str) -> tuple[int, bool]:
    """Print the findings of one file, and give their number and whether it cannot be used."""
    from promptstream.packs.pack import load

    given: str | Mapping[str, Any] = file
    try:
        given = _given(file)
        loaded = load(given)
    except PackError as error:
        problems = _all_problems(given, error)
        for problem in problems:
            _line(f"{file}: {problem}")
        return len(problems), True
    for finding in loaded.check():
        _line(f"{file}: {finding}")
    waiting = loaded.client_side()
    if waiting:
        noun = "client-side tool" if len(waiting) == 1 else "client-side tools"
        _line(f"{file}: {noun}: {', '.join(waiting)} ({_ANSWERED})")
    return len(loaded.findings), False


def _all_problems(given: str | Mapping[str, Any], error: PackError) -> Sequence[str]:
    """Give what is fatal in *given* and what is not; of one that cannot be read, the reason."""
    from promptstream.packs.pack import load

    if not error.problems:
        return [str(error)]
    try:
        load(given, strict=True)
    except PackError as whole:  # it cannot be otherwise, but that the file was changed just now
        return whole.problems or [str(whole)]
    return error.problems


def _about(loaded: Pack) -> Iterable[str]:
    head = [loaded.name or loaded.id or (str(loaded.path.name) if loaded.path else "pack")]
    if loaded.id and loaded.name:
        head.append(f"({loaded.id})")
    if loaded.version:
        head.append(loaded.version)
    yield " ".join(head)
    about = loaded.raw.get("description")
    if isinstance(about, str) and about:
        yield about
    if loaded.provider.name or loaded.provider.model:
        asks = " ".join(filter(None, (loaded.provider.name, loaded.provider.model)))
        yield f"asks for: {asks}"


def _prompt(prompt: Prompt) -> None:
    about = prompt.raw.get("description")
    _line("", f"prompt {prompt.name}" + (f": {about}" if isinstance(about, str) and about else ""))
    facts: dict[str, str] = {}
    if prompt.parameters:
        facts["parameters"] = _pairs(prompt.parameters)
    if prompt.tool_names:
        facts["tools"] = ", ".join(prompt.tool_names)
    if prompt.raw.get("tool_policy") is not None:
        facts["policy"] = _policy(prompt)
    if prompt.validators:
        facts["validators"] = "; ".join(map(_validator, prompt.validators))
    for model, override in prompt.overrides.items():
        changed = [key for key, _ in override.templates]
        facts[f"for {model}"] = ", ".join([*changed, *filter(None, [_pairs(override.parameters)])]) or "nothing"
    if prompt.media is not None:
        facts["media"] = _media(prompt.media)
    for key, value in facts.items():
        _line(f"  {key}: {value}")
    if prompt.variables:
        _table(("Variable", "Required", "Type", "Default", "Rules", "Description"), map(_row, prompt.variables))
    _text("template", prompt.system_template, indent=4)
    for model, override in prompt.overrides.items():
        for key, template in override.templates:
            _text(f"{key} for {model}", template.text, indent=4)


def _row(variable: Variable) -> Sequence[str]:
    default = "" if variable.default is None else _json(variable.default)
    required = "yes" if variable.required else "no"
    return variable.name, required, variable.type, default, _pairs(variable.validation), variable.description


def _tools(loaded: Pack) -> None:
    if not loaded.tools:
        return
    _line("", f"tools ({_ANSWERED})")
    rows = []
    for tool in loaded.tools.values():
        needed = tool.parameters.get("required")
        needed = needed if isinstance(needed, list) else ()
        properties = tool.parameters.get("properties")
        names = list(properties) if isinstance(properties, dict) else []
        rows.append((tool.name, ", ".join(each if each in needed else f"{each}?" for each in names), tool.description))
    _table(("Tool", "Arguments", "Description"), rows)


def _policy(prompt: Prompt) -> str:
    policy = prompt.policy
    told = [f"{policy.max_rounds} rounds", f"{policy.max_tool_calls_per_turn} calls a turn"]
    if policy.tool_choice:
        told.insert(0, policy.tool_choice)
    if policy.blocklist:
        told.append(f"never {', '.join(policy.blocklist)}")
    return ", ".join(told)


def _validator(validator: Any) -> str:
    told = [validator.type, _pairs(validator.params)]
    if validator.direction != "output":
        told.append(f"of {validator.direction}")
    if validator.fail_on_violation:
        told.append("fails the turn")
    if not validator.enabled:
        told.append("off")
    return " ".join(filter(None, told))


def _media(media: Any) -> str:
    if not media.enabled:
        return "none"
    told = [", ".join(media.supported_types)] if media.supported_types else ["all types"]
    return "; ".join(told + [f"{kind}: {_pairs(rules)}" for kind, rules in media.limits.items()])


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_json(value)}" for key, value in values.items())


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _line(*lines: str) -> None:
    for line in lines:
        write(" ".join(clean(line).splitlines()) + "\n")


def _text(title: str, text: str, *, indent: int) -> None:
    """Print *text* under its *title*, wrapped."""
    from rich.text import Text

    _line(f"{' ' * (indent - 2)}{title}:")
    _wrapped(Text(clean(text)), indent)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    table = Table(*(columns[place] for place in kept), box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(" ".join(clean(row[place]).split())) for place in kept))
    _wrapped(table, 2)


def _wrapped(what: Any, indent: int) -> None:
    from rich.console import Console
    from rich.padding import Padding

    width = None if is_terminal(sys.stdout) else _PIPED_WIDTH
    console = Console(width=width, no_color=bool(os.environ.get("NO_COLOR")) or None)
    with console.capture() as capture:
        console.print(Padding(what, (0, 0, 0, indent)))
    write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
