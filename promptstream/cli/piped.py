"""A message and standard input in, what is said with it out: a text, and parts that go with it."""

from __future__ import annotations

import os
import select
import stat
import sys

import attrs
import click

from promptstream.cli.attach import LARGEST, as_text, attachments, lines_of, media, standard_input
from promptstream.cli.flags import Flags
from promptstream.cli.terminal import is_terminal, readable, tell
from promptstream.values.message import Part

TOLD_AFTER = 2.0
"""Seconds until a person is told what is waited for."""
UNATTENDED = 30.0
"""Seconds that are waited where nobody sees it, such as in a script that somebody else's pipe leads to."""


@attrs.frozen
class Said:
    """Hold what is said: a text, and the images, documents and texts that go with it."""

    text: str | None = None
    """None where a kept conversation goes on from where it was left."""
    parts: tuple[Part, ...] = ()


def said(message: str | None, flags: Flags) -> Said:
    """Give the message with what is piped in after it, and with the files of --attach.

    Standard input is the message where that is "-" or left out. Beside a message it is read where something is piped
    or redirected: a file that nobody has begun to read, a pipe or a socket. A terminal, and a device such as
    /dev/null, is never read beside one.

    Raises:
        click.UsageError: there is no message, or what is piped in is none.
        ConfigError: a file cannot be attached.
    """
    taken = "-" in flags.attach
    if taken and message in (None, "-"):
        raise click.UsageError("--attach - takes standard input: give MESSAGE, too.")
    if message is None and (sys.stdin is None or is_terminal(sys.stdin)):
        if flags.resume is None or flags.attach:
            raise click.UsageError("There is no message: give MESSAGE, or pipe one in.")
        return Said()
    parts = tuple(attachments(flags.attach))
    if message in (None, "-"):
        return _only_piped(message, flags, parts)
    text = _checked(message)
    if taken or not _is_piped_beside():
        return Said(text, parts)
    data = _bounded(standard_input())
    found = media(data, "standard input")
    if found is not None:
        return Said(text, (*parts, found))
    more = _text(data).rstrip("\n")
    return Said(f"{text}\n\n{more}" if more.strip() else text, parts)


def _only_piped(message: str | None, flags: Flags, parts: tuple[Part, ...]) -> Said:
    data = _bounded(standard_input())
    found = media(data, "standard input")
    if found is not None:
        raise click.UsageError(
            f"What is piped in is of the type {found.media_type}: give MESSAGE to say what about it."
        )
    text = _text(data)
    if message is None and not text.strip() and flags.resume is not None and not parts:
        return Said()
    return Said(_checked(text), parts)


def _checked(message: str | None) -> str:
    if not message or not message.strip():
        raise click.UsageError("The message is empty.")
    return readable(message).rstrip("\r\n")


def _bounded(data: bytes) -> bytes:
    if len(data) > LARGEST:
        raise click.UsageError(f"More than {LARGEST // (1024 * 1024)} MiB are piped in, which is too much to be sent.")
    return data


def _text(data: bytes) -> str:
    """Give *data* as text; a byte here and there that cannot be read does no harm.

    Raises:
        click.UsageError: it is no text at all.
    """
    text = as_text(data)
    if text is None:
        if b"\0" in data:
            raise click.UsageError("What is piped in is neither text nor an image nor a PDF: it holds zero bytes.")
        encoding = getattr(sys.stdin, "encoding", None) or "utf-8"
        text = lines_of(data.decode(encoding, "replace"))
    return readable(text)


def _is_piped_beside() -> bool:
    """Tell whether standard input has something to say beside a message, once it has begun to.

    Raises:
        click.UsageError: nothing comes, and nobody is there to see that.
    """
    if sys.stdin is None or is_terminal(sys.stdin):
        return False
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # not a file of the system's: a program runs this one within itself
        return True
    if stat.S_ISREG(mode):  # one that has been read from is the list that a shell's loop goes through
        return os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        _wait_for(descriptor)
        return True
    return False


def _wait_for(descriptor: int) -> None:
    if os.name != "posix" or select.select([descriptor], [], [], TOLD_AFTER)[0]:
        return
    tell("Waiting for what is piped in. Where nothing is, add: < /dev/null", dim=True)
    patience = None if is_terminal(sys.stderr) else UNATTENDED
    if not select.select([descriptor], [], [], patience)[0]:
        raise click.UsageError(
            f"Standard input is a pipe, and nothing has come through it in {TOLD_AFTER + UNATTENDED:g} s. "
            "Add < /dev/null where nothing is piped in, or --attach - to wait for it."
        )
