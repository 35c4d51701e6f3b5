"""A pack and where to listen in, a relay that serves it until Ctrl-C out."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import click

from promptstream.cli import completion, workers
from promptstream.cli.flags import SYSTEM, Flags, serving
from promptstream.cli.opening import relay_options
from promptstream.cli.sections import Command, option
from promptstream.cli.terminal import tell, write
from promptstream.errors import ConfigError
from promptstream.values.hosts import is_loopback
from promptstream.values.secret import Secret

TOKEN_VARIABLE = "PROMPTSTREAM_RELAY_TOKEN"  # noqa: S105
_SWITCH = 0.05
"""Seconds until a thread that waits for Python's lock asks for it. With hundreds of streams, Python's own 5 ms have the
threads do little but ask."""
_ASKING = 4000
"""Threads that may ask in a second: 2,000 streams that asked every 50 ms would come to nothing else."""
_EACH, _BESIDES = 3, 128
"""Descriptors that a client takes (its own, its provider's, and one for a second of either), and all else."""

_EXIT_CODES = """\b
Exit codes:
  0    it was stopped by Ctrl-C, or by SIGTERM
  1    it cannot be set up, or cannot listen there
  2    wrong usage
  129  stopped by SIGHUP, as where the terminal is closed
  130  stopped by a second Ctrl-C while it was closing; 143 by a second SIGTERM
"""


@click.command(cls=Command, epilog=_EXIT_CODES)
@click.argument("pack", type=click.Path(), required=False)
@click.argument("prompt", required=False, shell_complete=completion.of_prompts)
@SYSTEM
@option(
    "--host",
    section="Relay",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Where to listen. Any but this machine's own needs a token.",
)
@option(
    "--port",
    section="Relay",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    metavar="N",
    help="0 for any that is free.",
)
@option(
    "--origin",
    "origins",
    section="Relay",
    multiple=True,
    metavar="ORIGIN",
    help="A site whose pages may talk to it too, such as https://chat.example.com; may be repeated.",
)
@option(
    "--token-file",
    section="Relay",
    type=click.Path(),
    metavar="FILE",
    help=f"A file with the token that clients have to know; else {TOKEN_VARIABLE}.",
)
@option("--insecure", section="Relay", is_flag=True, help="Listen for other machines without a token.")
@option(
    "--store",
    section="Relay",
    metavar="PLACE",
    envvar="PROMPTSTREAM_RELAY_STORE",
    help="Keep conversations: a file, or redis://…; else in memory.",
)
@option(
    "--max-connections",
    section="Relay",
    default=256,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="How many clients at once, shared out equally among the workers.",
)
@option(
    "--workers",
    section="Relay",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    metavar="N",
    help="How many processes serve the port: one for each core that hundreds of streams need. Without --store they "
    "keep conversations in a private file until the end.",
)
@option(
    "--share-port",
    section="Relay",
    is_flag=True,
    help="Let further processes of this command serve the same port; they need the same --store.",
)
@option(workers.OPTION, "line", section="Relay", hidden=True, type=int, help="Be a worker of --workers.")
@option("--page/--no-page", section="Relay", default=True, help="Serve the web page.")
@option("--open", "opened", section="Relay", is_flag=True, help="Show the page in a browser.")
@serving
def serve(
    pack: str | None,
    prompt: str | None,
    system: str | None,
    token_file: str | None,
    opened: bool,
    line: int | None,
    flags: Flags,
    **settings: Any,
) -> None:
    """Have conversations with browsers and scripts.

    Serves a web page, WebSockets at /chat, and Server-Sent Events or lines of JSON for a POST to /chat, until Ctrl-C.
    PACK is the path of a pack file, PROMPT one of its prompts; without them it is a plain chat. All clients share the
    provider and pay with its key: keep strangers out.

    \b
    Examples:
      promptstream serve weather.pack.json --tools weather.py --open
      curl -N -d '{"message": "Hi"}' http://127.0.0.1:8000/chat
    """
    if pack is not None and system:
        raise click.UsageError("--system is for a relay without a PACK.")
    if line is None and settings["workers"] > 1:
        settings["max_connections"] = -(-settings["max_connections"] // settings["workers"])
        make_room(settings["max_connections"])
        workers.supervise(settings, lambda url: _tell(url, opened))
        return
    from promptstream.web import Relay

    worker = None if line is None else workers.Line(line)
    settings |= {} if worker is None else worker.settings
    del settings["workers"]
    token = _token(token_file)
    if not (is_loopback(settings["host"]) or token is not None or settings["insecure"]):
        raise ConfigError(
            f"--host {settings['host']}: whoever reaches this machine could have conversations at your cost. Set "
            f"{TOKEN_VARIABLE}, or give --token-file; --insecure is for where something else keeps strangers out."
        )
    quiet = worker is not None and worker.quiet
    loaded, options = relay_options(flags, pack=pack, prompt=prompt, system=system, quiet=quiet)
    if worker is None:
        make_room(settings["max_connections"])
    relay = Relay(loaded, prompt, token=token, **settings, **options)
    ask_seldom(settings["max_connections"])
    if worker is not None:
        worker.serve(relay)
        return
    _heed(_stop)
    with relay:
        try:
            _tell(relay.url, opened)
            relay.serve_forever()
        except KeyboardInterrupt:
            tell("Closing.", dim=True)


def _tell(url: str, opened: bool) -> None:
    if sys.stdout is not None:  # a service has none
        write(f"{url}\n")
    tell("Stop it by Ctrl-C.", dim=True)
    if opened:
        click.launch(url)


def _stop(number: int, frame: FrameType | None) -> None:
    """Have the relay close; another such signal ends the program at once, whatever closing waits for."""
    _heed(signal.SIG_DFL)
    raise KeyboardInterrupt


def _heed(by: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError):  # not in the main thread
            signal.signal(number, by)


def ask_seldom(streams: int) -> None:
    """Have the threads of that many *streams* leave Python's lock to each other for longer."""
    sys.setswitchinterval(max(_SWITCH, streams / _ASKING))


def make_room(connections: int, who: str = "clients", flag: str = "--max-connections") -> None:
    """Raise the limit of open files to what *connections* need; say so where the system does not allow it.

    Args:
        who: what they are, and *flag* what says how many, for whoever is told.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _EACH * connections + _BESIDES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with suppress(OSError, ValueError):  # a system may have limits of its own beside
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    if soft < needed:
        tell(
            f"{connections} {who} need up to {needed:,} open files, and this system allows {soft:,}: raise it "
            f"(ulimit -n), or give fewer {flag}.",
            notable=True,
        )


def _token(path: str | None) -> str | None:
    """Give the token: no flag has it, for flags are for everybody on this machine to read.

    Raises:
        ConfigError: the file cannot be read, or there is nothing in it.
    """
    if path is None:
        return Secret.of(os.environ.get(TOKEN_VARIABLE) or None)
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            token = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {path}: it cannot be read ({type(error).__name__}).") from None
    if not token:
        raise ConfigError(f"--token-file {path}: there is nothing in it.")
    return Secret(token)
