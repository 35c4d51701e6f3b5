"""Text in, on standard output or standard error as it comes: flushed, encodable, and quiet where nobody reads."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import TextIO

import click

from promptstream.cli.apart import answer_stream
from promptstream.cli.sanitise import clean

_FIXED = ("", "dumb", "unknown") if os.name == "posix" else ("dumb", "unknown")
"""Kinds of terminal that nothing can be drawn on; Windows names none."""


def prepare() -> None:
    """Let no character that a stream's encoding lacks end the program."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def readable(argument: str) -> str:
    """Give *argument* as text that can be encoded: bytes that the locale could not read are read as UTF-8."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return os.fsencode(argument).decode("utf-8", "replace")
    return argument


def is_terminal(stream: object) -> bool:
    """Tell whether *stream*, which is None where the shell closed it, is a terminal."""
    return isinstance(stream, io.TextIOBase) and not stream.closed and stream.isatty()


def is_steerable(stream: object) -> bool:
    """Tell whether *stream* is a terminal that the cursor can be moved on, and that shows every character."""
    if not is_terminal(stream) or os.environ.get("TERM", "") in _FIXED:
        return False
    return str(getattr(stream, "encoding", "")).lower().replace("-", "") == "utf8"


def window(stream: TextIO) -> tuple[int, int]:
    """Give the columns and rows of a terminal; 80 and 24 where it does not tell."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns, rows = 0, 0
    return columns or 80, rows or 24


def read_line(prompt: str, *, editing: bool, prefill: str = "") -> str:
    """Give the next line of standard input without its end, after *prompt* on standard error.

    Where the line can be edited, *prompt* stands on standard output, and *prefill* is there to be changed.

    Raises:
        EOFError: there is none.
        KeyboardInterrupt: Ctrl-C was pressed instead.
    """
    if editing:
        return _edited(prompt, prefill)
    if prompt and sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(prompt)
            sys.stderr.flush()
    line = sys.stdin.readline() if sys.stdin is not None else ""
    if not line:
        raise EOFError
    return line.rstrip("\r\n")


def load_editor() -> ModuleType | None:
    """Load what has input() edit lines and remember them; None where there is no such thing."""
    try:
        import readline
    except ImportError:
        return None
    return readline


def _edited(prompt: str, prefill: str) -> str:
    readline = load_editor()
    if readline is None or not prefill:
        return input(prompt)
    readline.set_startup_hook(lambda: readline.insert_text(prefill))
    try:
        return input(prompt)
    finally:
        readline.set_startup_hook()


def write(text: str, out: TextIO | None = None) -> None:
    """Write *text* to *out*, or else to standard output, at once, as it is.

    Raises:
        BrokenPipeError: its reader is gone.
        click.ClickException: it cannot be written to.
    """
    if not text:
        return
    if out is None:
        check_output()
    out = answer_stream(out or sys.stdout)
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        _discard(out)
        raise
    except OSError as error:
        _discard(out)
        raise click.ClickException(f"Standard output cannot be written to: {error.strerror or error}.") from error


def check_output() -> None:
    """Make sure that there is a standard output.

    Raises:
        click.ClickException: the shell closed it.
    """
    if sys.stdout is None:
        raise click.ClickException("Standard output cannot be written to: it is closed.")


def _discard(out: TextIO) -> None:
    """Let the interpreter's last flush succeed: what is still buffered has nowhere to go."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)


def styled() -> bool:
    """Tell whether what stands on a terminal may be styled (no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in _FIXED[-2:]


def tell(text: str, *, dim: bool = False, end: str = "\n", notable: bool = False) -> None:
    """Write a line to standard error, without control characters; a reader that is gone is no error.

    Args:
        dim: it is a remark in passing.
        end: what it ends with.
        notable: it says that something is not as it might be taken for.
    """
    line = clean(text)
    with suppress(OSError):
        if (dim or notable) and styled():
            line = click.style(line, dim=dim or None, fg="yellow" if notable else None)
        click.echo(line + end, err=True, nl=False)
