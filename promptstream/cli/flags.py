"""What every command with an answer takes from the command line in, its flags as one value out."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import click

from promptstream.cli import completion
from promptstream.cli.configured import Config, checked, load, read_effort
from promptstream.cli.endings import exiting
from promptstream.cli.place import Place
from promptstream.cli.sections import option
from promptstream.cli.terminal import is_terminal, readable
from promptstream.cli.thoughts import REASONING_VIEWS
from promptstream.errors import ConfigError
from promptstream.values.budget import Budget
from promptstream.values.effort import LEVELS

Command = Callable[..., None]


@attrs.frozen(eq=False)
class Flags:
    """Hold the flags that every command with an answer takes."""

    provider: str | None = None
    model: str | None = None
    base_url: str | None = None
    variables: Mapping[str, str] = attrs.field(factory=dict)
    attach: tuple[str, ...] = ()
    """Paths of files, addresses of images, or "-"."""
    timeout: float | None = None
    budget: Budget | None = None
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    """Those of generation that were given as flags."""
    tools: tuple[str, ...] = ()
    """Paths of Python files."""
    yes: bool = False
    save: str | None = None
    resume: str | None = None
    record: str | None = None
    """The path of a file that takes what passes."""
    stats: bool = False
    stats_line: bool = False
    plain: bool = False
    reasoning_view: str = "fold"
    """What is shown of the model's thoughts at a terminal: fold, full or hide."""
    events: bool = False
    config: Config = attrs.field(factory=Config)
    ambient: Mapping[str, Any] = attrs.field(factory=dict)
    """The settings of the environment and the config file, which count where no flag says anything."""

    @property
    def place(self) -> Place:
        """Whom the flags say to ask."""
        source = "--provider" if self.provider or not self.base_url else "--base-url"
        return Place(self.provider, self.base_url, self.model, source)

    @property
    def talkative(self) -> bool:
        """True where a person watches: standard error is a terminal, or figures were asked for."""
        return self.stats or is_terminal(sys.stderr)

    @property
    def kept(self) -> str | None:
        """The name that the conversation is kept under; None where it is not."""
        return self.resume if self.save is None else self.save


def _variables(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    variables = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (equals and name.strip()):
            raise click.BadParameter(f"{each!r} is not name=value.")
        variables[name.strip()] = readable(value)
    return variables


def positive_seconds(context: click.Context, option: click.Parameter, given: float | None) -> float | None:
    """Give an option's seconds; those that are no time to wait are wrong usage."""
    if given is not None and not 0 < given < math.inf:
        raise click.BadParameter(f"{given:g} is not a number of seconds above 0.")
    return given


def _budget(context: click.Context, option: click.Parameter, given: str | None) -> Budget | None:
    if given is None:
        return None
    amount = given.strip().lower()
    number = amount.removesuffix("tokens").strip()
    try:
        return Budget(usd=amount) if number == amount else Budget(tokens=int(number))
    except (TypeError, ValueError):
        raise click.BadParameter(f"{given!r} is no amount of USD such as 0.50, and no 20000tokens.") from None


def _recording(context: click.Context, option: click.Parameter, given: str | None) -> str | None:
    if given == "-":
        raise click.BadParameter("standard output is the answer's; name a file.")
    return given


def text_of(context: click.Context, option: click.Parameter, given: str | None) -> str | None:
    """Give an option's text with what the locale could not read; None where it was not given."""
    return None if given is None else readable(given)


def _parameter(context: click.Context, option: click.Parameter, given: Any) -> Any:
    """Give a parameter of generation as the library takes it; what it refuses is wrong usage."""
    if given is None or given == ():
        return None
    name = str(option.name)
    try:
        return checked(name, read_effort(given) if name == "reasoning" else list(given) if name == "stop" else given)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


PROVIDER = option("-p", "--provider", section="Model", metavar="NAME", shell_complete=completion.of_providers,
                  help="Which provider to ask; else the one that is configured.")  # fmt: skip
BASE_URL = option("--base-url", section="Model", metavar="URL",
                  help="Where the provider's API is; alone, an OpenAI-compatible server.")  # fmt: skip
SYSTEM = option("--system", section="Message", metavar="TEXT", callback=text_of,
                help="What the model should be and do.")  # fmt: skip

_PARAMETERS = (
    option("--temperature", section="Model", type=float, metavar="NUMBER", callback=_parameter,
           help="How far answers vary; 0 hardly."),
    option("--max-tokens", section="Model", type=int, metavar="N", callback=_parameter,
           help="How many tokens an answer may have."),
    option("--top-p", section="Model", type=float, metavar="NUMBER", callback=_parameter,
           help="Choose among the likeliest tokens of this share."),
    option("--seed", section="Model", type=int, metavar="N", callback=_parameter,
           help="Let the same answer come again, where the provider can."),
    option("--stop", section="Model", multiple=True, metavar="TEXT", callback=_parameter,
           help="End the answer before this text; may be repeated."),
    option("--reasoning", section="Model", metavar="EFFORT", callback=_parameter,
           shell_complete=completion.of_words(LEVELS), help=f"How much to think: {', '.join(LEVELS)}, or tokens."),
)  # fmt: skip
_VARIABLE = option(
    "--var",
    "variables",
    section="Message",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_variables,
    shell_complete=completion.of_variables,
    help="A variable of the prompt; may be repeated.",
)
_ANSWER = (
    PROVIDER,
    option("-m", "--model", section="Model", metavar="NAME", shell_complete=completion.of_models,
           help="Which model to ask."),
    BASE_URL,
    *_PARAMETERS,
    option("--timeout", section="Model", type=float, metavar="SECONDS", callback=positive_seconds,
           help="How long an answer may take."),
    option("--budget", section="Model", metavar="USD", callback=_budget,
           help="Spend at most this, such as 0.50, or 20000tokens; no request is sent after that."),
    option("--tools", section="Tools", metavar="FILE.py", multiple=True, type=click.Path(),
           help="A Python file whose @promptstream.tool functions the model may call; may be repeated."),
    option("--yes", section="Tools", is_flag=True, help="Run the tools of --tools without asking."),
)  # fmt: skip
"""Who answers, and how."""
_FLAGS = (
    _VARIABLE,
    option("-a", "--attach", section="Message", metavar="FILE", multiple=True, type=click.Path(allow_dash=True),
           help="An image, PDF or text that goes with the message, or the address of an image; - is standard input. "
           "May be repeated."),
    *_ANSWER,
    option("--save", section="Conversation", metavar="NAME", callback=text_of,
           help="Keep the conversation under this new name."),
    option("--resume", section="Conversation", metavar="NAME", callback=text_of,
           shell_complete=completion.of_kept, help="Go on with the conversation of this name."),
    option("--record", section="Conversation", metavar="FILE", type=click.Path(), callback=_recording,
           help="Write what is asked and answered to FILE, without keys, for promptstream replay. A recording that it "
           "holds is written over."),
    option("--stats/--no-stats", section="Output", default=None,
           help="Tell times, tokens and cost on standard error."),
    option("--stats-line/--no-stats-line", section="Output", default=None,
           help="Tell the most important of them in a line."),
    option("--reasoning-view", section="Output", type=click.Choice(REASONING_VIEWS),
           help="What to show of the model's thoughts: how long they take (fold), all (full) or nothing (hide)."),
    option("--plain/--no-plain", section="Output", default=None,
           help="Print the text as it comes, as into a pipe: no Markdown, no spinner."),
    option("--json", "events", section="Output", is_flag=True,
           help="Print one JSON event a line instead of the text."),
)  # fmt: skip
_OWN = {"parameters", "config", "ambient"}
"""Fields of Flags that no option is called after."""
_AMBIENT = ("timeout", "stats", "stats_line", "reasoning_view", "plain")
"""Those that are as the environment or the config file says; whom to ask is :mod:`promptstream.cli.place`'s matter."""


def answering(command: Command) -> Command:
    """Give *command* the flags of every command with an answer, as ``flags``, and its exit codes.

    What no flag says comes from the environment or the config file.
    """
    return _taking(command, _FLAGS)


def serving(command: Command) -> Command:
    """Give *command* those of the flags that say who answers, and how, as ``flags``, and its exit codes."""
    return _taking(command, (_VARIABLE, *_ANSWER))


def _taking(command: Command, options: Iterable[Callable[[Command], Command]]) -> Command:
    names = [field.name for field in attrs.fields(Flags) if field.name not in _OWN]
    parameters = ("temperature", "max_tokens", "top_p", "seed", "stop", "reasoning")

    @functools.wraps(command)
    def taken(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in names if name in arguments}
        chosen = {name: arguments.pop(name) for name in parameters}
        if given.get("save") is not None and given.get("resume") is not None:
            raise click.UsageError("--save begins a conversation and --resume goes on with one: give one of them.")
        with exiting(events=given.get("events", False)):
            config = load()
            ambient = config.ambient
            given |= {name: ambient.get(name) for name in _AMBIENT if given.get(name) is None}
            flags = Flags(**_told(given), parameters=_told(chosen), config=config, ambient=ambient)
            command(flags=flags, **arguments)

    run_it: Command = taken
    for flag in reversed([*options]):
        run_it = flag(run_it)
    return run_it


def _told(chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in chosen.items() if value is not None}
