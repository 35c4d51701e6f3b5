"""A line that begins with a slash in, what it commands done out."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from promptstream.cli import keeping
from promptstream.cli.asking import clipped
from promptstream.cli.attach import attachments
from promptstream.cli.figures import spent_line
from promptstream.cli.render import tell_figures
from promptstream.cli.sanitise import clean
from promptstream.cli.terminal import tell
from promptstream.errors import ConfigError, StreamError, Unsupported
from promptstream.values.message import Document, Image, Part, Text
from promptstream.values.names import nearest

if TYPE_CHECKING:
    from promptstream.cli.chat import Chat

_LISTED = 12
"""Models that /model tells of; the menu has the others."""
_NARROW = 24
KEYS = (
    ("Enter", "Sends what you typed."),
    ("Alt-Enter", "Begins a new line, as Esc Enter does, and Enter after a backslash. A paste stays whole."),
    ("Tab", "Completes a command, a path or a model. Up and Ctrl-R bring back what you typed, also in earlier chats."),
    ("Ctrl-X Ctrl-E", "Opens $EDITOR on what you type, and sends it then."),
    ("Ctrl-C", "Stops an answer; drops what you typed; leaves at an empty prompt, as Ctrl-D does."),
    ("//…", "Sends a line that begins with one slash."),
)


@attrs.frozen
class Command:
    """Describe what a word after a slash does."""

    name: str
    help: str
    run: Callable[[Chat, str], None]
    argument: str = ""
    """As help shows it; "" where there is none."""


def is_command(text: str) -> bool:
    """Tell whether a person's line is a command: it begins with one slash."""
    return text.startswith("/") and not text.startswith("//")


def goes_on(text: str) -> bool:
    """Tell whether a backslash at the end asks for another line; two stand for themselves."""
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def obey(chat: Chat, line: str) -> None:
    """Do what *line*, which begins with a slash, says; what cannot be done is told, and nothing is sent.

    Raises:
        PromptStreamError: it failed.
        Leave: it says so.
    """
    word, *rest = re.split(r"\s+", line, maxsplit=1)
    argument = rest[0].strip() if rest else ""
    name = _ALIASES.get(word.lower(), word.lower())
    command = next((each for each in COMMANDS if each.name == name), None)
    if command is None:
        known = nearest(name, [*(each.name for each in COMMANDS), *_ALIASES])
        tell(
            f"There is no command {clipped(word)}.{known} /help lists them; //… sends a line that begins with a slash."
        )
    elif argument and not command.argument:
        tell(f"{name} takes nothing after it; nothing was done.")
    else:
        command.run(chat, argument)


class Leave(Exception):
    """Leave the chat."""


def _help(chat: Chat, word: str) -> None:
    if word:
        name = f"/{word.lower().lstrip('/')}"
        command = next((each for each in COMMANDS if each.name == _ALIASES.get(name, name)), None)
        if command is None:
            tell(f"There is no command {clipped(name)}.{nearest(name, [each.name for each in COMMANDS])}")
        else:
            _tell_pairs([(f"{command.name} {command.argument}".strip(), command.help)])
        return
    _tell_pairs([(f"{each.name} {each.argument}".strip(), each.help) for each in COMMANDS])
    tell("")
    _tell_pairs(KEYS)


def _tell_pairs(pairs: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> None:
    formatter = click.HelpFormatter(width=max(shutil.get_terminal_size().columns - 1, 30))
    formatter.write_dl(pairs, col_max=_NARROW if formatter.width > 60 else 16)
    for line in formatter.getvalue().rstrip("\n").split("\n"):
        tell(line)


def _model(chat: Chat, name: str) -> None:
    conv, provider = chat.conv, chat.conv.provider
    if not name:
        tell(f"{provider.name} · {conv.model or 'its own model'}")
        _tell_models(chat)
        return
    if (owner := _elsewhere(chat, name)) is not None:
        tell(
            f"{name} is a model of {owner}, and this chat is with {provider.name}; nothing was changed. "
            f"To go on there: /save NAME, /quit, promptstream chat --resume NAME -p {owner} -m {shlex.quote(name)}"
        )
        return
    before, conv.model = conv.model, name
    conv.metadata["cli"] = {**conv.metadata.get("cli", {}), "model": name}
    known = chat.models()
    if known and name not in known:
        back = f" /model {before} goes back." if before else ""
        tell(f"Warning: {provider.name} does not list a model {name!r}.{nearest(name, known)}{back}")
    tell(f"[from now on: {provider.name} · {name}]", dim=True)


def _elsewhere(chat: Chat, model: str) -> str | None:
    """Give the vendor whose model it unmistakably is, where the chat is with another vendor at its own address."""
    from promptstream.providers.registry import BUILT_IN, owner_of

    here, other = BUILT_IN.get(chat.conv.provider.name), owner_of(model)
    if other is None or here is None or not (here.models and here.keys) or here is BUILT_IN["openrouter"]:
        return None
    return None if other == chat.conv.provider.name or not BUILT_IN[other].keys or chat.flags.base_url else other


def _tell_models(chat: Chat) -> None:
    if known := chat.models():
        more = len(known) - _LISTED
        tell(f"It lists: {', '.join(known[:_LISTED])}{f' and {more} more; Tab completes them' if more > 0 else ''}.")


def models_of(chat: Chat) -> list[str]:
    """Ask the provider for its models' names; none where it cannot tell them."""
    try:
        return [each.id for each in chat.conv.provider.models()]
    except (Unsupported, StreamError):  # its list is a help, no more
        return []


def _system(chat: Chat, text: str) -> None:
    conv = chat.conv
    if not text:
        tell(clean(conv.system) or "There is no system prompt; /system TEXT gives one.")
        return
    conv.system = "" if text == "-" else text
    tell(
        "[no system prompt from now on]" if text == "-" else "[the system prompt counts from your next message on]",
        dim=True,
    )


def _save(chat: Chat, where: str) -> None:
    from promptstream.cli.transcript import TRANSCRIPTS, of_conversation

    conv = chat.conv
    suffix = Path(where).suffix.lower()
    if not where:
        tell(
            f"Kept as {conv.id}."
            if conv.kept
            else "Not kept so far: /save NAME keeps it, /save FILE.md writes it down."
        )
    elif suffix in TRANSCRIPTS:
        path = Path(where).expanduser()
        if path.exists() and not chat.sure(f"{where} is there already. Write over it?"):
            tell("Nothing was written.")
            return
        text = TRANSCRIPTS[suffix](of_conversation(conv))
        try:
            path.write_text(text, encoding="utf-8", errors="replace")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{where} cannot be written: {getattr(error, 'strerror', None) or error}.") from error
        tell(f"[{len(conv.messages)} messages written to {where}]", dim=True)
    elif conv.kept:
        tell(f"This one is kept as {conv.id!r} already. /save FILE.md writes it down.")
    else:
        keeping.check_free(where)
        conv.keep(keeping.place(), where)
        chat.kept_as(where)
        tell(f"[kept from now on; promptstream chat --resume {shlex.quote(where)} goes on with it]", dim=True)


def _attach(chat: Chat, given: str) -> None:
    if given:
        try:
            chat.talk.parts = (*chat.talk.parts, *attachments(_paths(given)))
        except ConfigError as error:
            raise ConfigError(str(error).replace("--attach", "/attach", 1)) from None
    if chat.talk.parts:
        named = "; ".join(map(_named, chat.talk.parts))
        tell(f"[goes with your next message: {named}. /detach forgets it]", dim=True)
    else:
        tell("Nothing is attached; /attach FILE does.")


def _paths(given: str) -> list[str]:
    """Give the files that a line names: it is one, or as a shell would split it (terminals quote what is dropped)."""
    if not os.path.exists(os.path.expanduser(given)):
        try:
            return [_path(each) for each in shlex.split(given)]
        except ValueError:  # a quotation mark that does not close
            pass
    return [_path(given)]


def _path(given: str) -> str:
    return os.path.join(".", given) if given == "-" else given  # standard input is where the person types


def _named(part: Part) -> str:
    if isinstance(part, Text):
        return clipped(clean(f"{part.text.partition(':')[0]}, {len(part.text):,} characters"))
    if not isinstance(part, (Image, Document)):
        return part.type
    name = part.name if isinstance(part, Document) else None
    size = "" if part.data is None else f"{len(part.data):,} bytes"
    return clipped(clean(", ".join(filter(None, (name or part.url, part.media_type, size)))))


def _detach(chat: Chat, _: str) -> None:
    count = len(chat.talk.parts)
    tell(f"[{count} forgotten]" if count else "Nothing is attached.", dim=True)
    chat.talk.parts = ()


def _clear(chat: Chat, _: str) -> None:
    conv, count = chat.conv, len(chat.conv.messages)
    if conv.kept and count and not chat.sure(f"Forget {count} messages, also those kept as {conv.id}?"):
        tell("Nothing was forgotten.")
        return
    conv.clear()
    chat.unanswered = None
    tell(f"[{count} messages forgotten]", dim=True)


def _show(chat: Chat, _: str) -> None:
    from promptstream.cli.transcript import as_lines, of_conversation

    for line in as_lines(of_conversation(chat.conv)):
        tell(line)


def _stats(chat: Chat, _: str) -> None:
    conv = chat.conv
    if conv.last is not None:
        tell_figures(conv.last)
    tell(f"conversation · {len(conv.messages)} messages · {spent_line(conv.usage, conv.cost)}", dim=True)


def _tools(chat: Chat, _: str) -> None:
    for spec in chat.conv.tools:
        runs = spec.name in chat.talk.runnable
        asks = "" if chat.flags.yes else ", once you have said yes"
        what = clipped(clean(spec.description.partition("\n")[0]))
        tell(f"{clean(spec.name)}: {what} [{f'runs here{asks}' if runs else 'you type its result'}]")
    if not chat.conv.tools:
        tell("There are no tools; promptstream chat --tools FILE.py gives some.")


def _leave(chat: Chat, _: str) -> None:
    raise Leave


COMMANDS = (
    Command("/help", "List the commands and keys, or tell of one.", _help, "[COMMAND]"),
    Command("/model", "Show the model, or let another one answer.", _model, "[NAME]"),
    Command("/system", "Show the system prompt, or give another; - for none.", _system, "[TEXT]"),
    Command("/attach", "Send a file with your next message.", _attach, "[FILE]"),
    Command("/detach", "Forget what was attached.", _detach),
    Command("/retry", "Ask again; the new answer replaces the last one.", lambda chat, _: chat.retry()),
    Command("/undo", "Take back the last question and its answer.", lambda chat, _: chat.undo()),
    Command("/clear", "Forget all that was said.", _clear),
    Command("/show", "Show all that was said.", _show),
    Command("/save", "Keep it under a name, or write FILE.md, .json, .txt.", _save, "[NAME|FILE]"),
    Command("/stats", "Tell times, tokens and cost, of the answer and of all.", _stats),
    Command("/tools", "List the tools that the model may call.", _tools),
    Command("/quit", "Leave.", _leave),
)
_ALIASES = {"/history": "/show", "/exit": "/quit", "/?": "/help", "/": "/help"}
