"""Text in, on standard output or standard error as it comes: flushed, encodable, and quiet where nobody reads."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

import click

from promptstream.cli.sanitise import clean


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


def _edited(prompt: str, prefill: str) -> str:
    try:
        import readline  # input() edits lines and remembers them where it is loaded
    except ImportError:
        return input(prompt)
    if not prefill:
        return input(prompt)
    readline.set_startup_hook(lambda: readline.insert_text(prefill))
    try:
        return input(prompt)
    finally:
        readline.set_startup_hook()


def write(text: str) -> None:
    """Write *text* to standard output at once, as it is.

    Raises:
        BrokenPipeError: its reader is gone.
        click.ClickException: it cannot be written to.
    """
    out = sys.stdout
    if not text or out is None:
        return
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        _discard_stdout()
        raise
    except OSError as error:
        _discard_stdout()
        raise click.ClickException(f"Standard output cannot be written to: {error.strerror or error}.") from error


def _discard_stdout() -> None:
    """Let the interpreter's last flush succeed: what is still buffered has nowhere to go."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def tell(text: str, *, dim: bool = False) -> None:
    """Write a line to standard error, without control characters; a reader that is gone is no error."""
    line = clean(text)
    plain = not dim or bool(os.environ.get("NO_COLOR"))
    with suppress(OSError):
        click.echo(line if plain else click.style(line, dim=True), err=True)
