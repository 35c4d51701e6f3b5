"""click's commands with their options and sub-commands in sections, laid out for 80 columns, or fewer."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from inspect import cleandoc
from typing import Any

import click

from promptstream.cli.fitting import NARROW, WIDEST, broken, fitted

ORDER = ("Message", "Model", "Tools", "Conversation", "Output", "Options")
"""In which sections come; those that are not here come in between, as they are declared."""
_TERM = 26
"""Columns that the names of options take at most before their text begins on a line of its own."""
_SHORT_TERM = 12
"""The same in a narrow window."""
_COMPLETE = "_PROMPTSTREAM_COMPLETE"
_HANGING = 2

Records = Sequence[tuple[str, str]]


class Option(click.Option):
    """Be an option that stands in a section of the help."""

    def __init__(self, *args: Any, section: str = ORDER[-1], **options: Any) -> None:
        super().__init__(*args, **options)
        self.section = section


def option(*names: str, section: str = ORDER[-1], **options: Any) -> Callable[[Any], Any]:
    """Give click's decorator for an option of *section*."""
    return click.option(*names, cls=Option, section=section, **options)


class Formatter(click.HelpFormatter):
    """Lay help out as wide as the window is, up to 80 columns."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.width = min(self.width, max(min(shutil.get_terminal_size().columns, WIDEST) - 2, 20))

    def getvalue(self) -> str:
        """Give all that was written; examples and the like, which click leaves as they are, fit too."""
        lines = super().getvalue().split("\n")
        return "\n".join(each for line in lines for each in broken(line, self.width + 2, _HANGING))


class _Context(click.Context):
    formatter_class = Formatter


def _write(formatter: click.HelpFormatter, sections: Mapping[str, Records]) -> None:
    """Write *sections*, the texts of all of them in one column."""
    most = _TERM if formatter.width > NARROW else _SHORT_TERM
    widths = [len(term) for records in sections.values() for term, _ in records]
    column = max((width for width in widths if width <= most), default=0)
    for title, records in sections.items():
        with formatter.section(title):
            formatter.write_dl([(term.ljust(column), text) for term, text in records], col_max=most)


def _options(command: click.Command, context: click.Context) -> dict[str, Records]:
    sections: dict[str, list[tuple[str, str]]] = {}
    for each in command.get_params(context):
        record = each.get_help_record(context) if isinstance(each, click.Option) else None
        if record is not None:
            sections.setdefault(getattr(each, "section", ORDER[-1]), []).append(record)
    places = {title: place for place, title in enumerate(ORDER[:-1])}
    last = len(places)
    return dict(sorted(sections.items(), key=lambda each: places.get(each[0], last + (each[0] == ORDER[-1]))))


class _Flush(click.Command):
    """Be a command whose epilog begins at the margin, as its sections do."""

    context_class = _Context

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the epilog."""
        if self.epilog:
            formatter.write_paragraph()
            formatter.write_text(cleandoc(self.epilog))


class Command(_Flush):
    """Be a command whose help has its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        _write(formatter, _options(self, ctx))


class Group(_Flush, click.Group):
    """Be a group whose help has its commands in sections, where it says which.

    Args:
        sections: the names of commands by the title they stand under; others come last, under "Commands".
    """

    command_class = Command

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sections = dict(sections or {})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        _write(formatter, _options(self, ctx))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with the first sentence of its help."""
        names = [name for name, each in self.commands.items() if not each.hidden]
        told = {name: self.commands[name].get_short_help_str(limit=1000) for name in names}  # wrapped, not cut
        titled = {name: title for title, those in self._sections.items() for name in those}
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in (*self._sections, "Commands")}
        for name in sorted(names, key=lambda name: [*titled, *names].index(name)):
            sections[titled.get(name, "Commands")].append((name, told[name]))
        _write(formatter, {title: records for title, records in sections.items() if records})


Group.group_class = Group


class Root(Group):
    """Be the group that the program is: its errors fit the window, and a shell that asks wrongly is told nothing."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the program; it is left with its exit code, unless *standalone_mode* is False."""
        if not _can_be_completed():
            sys.exit(0)
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
        except click.ClickException as error:
            told = io.StringIO()
            error.show(told)
            click.echo(fitted(told.getvalue()), err=True, nl=False)
            code = error.exit_code
        except click.Abort:
            click.echo("Aborted!", err=True)
            code = 1
        sys.exit(code)


def _can_be_completed() -> bool:
    """Tell whether a shell that asks for words, if one does, says what stands on its command line."""
    asks = os.environ.get(_COMPLETE, "")
    if not asks.endswith("_complete"):
        return True
    word = os.environ.get("COMP_CWORD")  # its number; fish gives the word itself
    return "COMP_WORDS" in os.environ and word is not None and (word.isdecimal() or asks.startswith("fish"))
