"""click's commands with their options and sub-commands in sections, laid out for 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import cleandoc
from typing import Any

import click

ORDER = ("Message", "Model", "Tools", "Conversation", "Output", "Options")
"""In which sections come; those that are not here come in between, as they are declared."""
_TERM = 26
"""Columns that the names of options take at most before their text begins on a line of its own."""

Records = Sequence[tuple[str, str]]


class Option(click.Option):
    """Be an option that stands in a section of the help."""

    def __init__(self, *args: Any, section: str = ORDER[-1], **options: Any) -> None:
        super().__init__(*args, **options)
        self.section = section


def option(*names: str, section: str = ORDER[-1], **options: Any) -> Callable[[Any], Any]:
    """Give click's decorator for an option of *section*."""
    return click.option(*names, cls=Option, section=section, **options)


def _write(formatter: click.HelpFormatter, sections: Mapping[str, Records]) -> None:
    """Write *sections*, the texts of all of them in one column."""
    widths = [len(term) for records in sections.values() for term, _ in records]
    column = max((width for width in widths if width <= _TERM), default=0)
    for title, records in sections.items():
        with formatter.section(title):
            formatter.write_dl([(term.ljust(column), text) for term, text in records], col_max=_TERM)


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
