"""A number in, so many processes of this command that serve one port out; none of them outlives the one that began."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

import attrs
import click

from promptstream.cli.terminal import tell
from promptstream.errors import ConfigError, PromptStreamError

if TYPE_CHECKING:
    from promptstream.web.relay import Relay

OPTION = "--worker"
"""What the command is told by that it is a worker, with the descriptor of its line."""
_END, _KILL = 8.0, 10.0
"""Seconds after which a worker that was told to close leaves whatever it still does, and then is killed."""
_PAUSE, _PAUSES, _WELL = 0.5, 30.0, 60.0
"""Seconds until another is started for one that died: at first, at most; and those after which one counts as well."""
_TIDY, _KEPT = 60.0, 1000
"""Seconds between two looks at how much there is in a store of the workers' own, and how much is kept."""


class Line:
    """Be a worker's end of the line to the process that started it.

    Raises:
        click.exceptions.Exit: that process is gone.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._line = Connection(descriptor)
        try:
            told = self._line.recv()
        except (EOFError, OSError):
            raise click.exceptions.Exit(1) from None
        self.settings: dict[str, Any] = told["settings"]
        """What the relay is made with, whatever else the command line says."""
        self.quiet: bool = told["quiet"]
        """True where another has told all there is to tell."""
        self._supervisor, self._folder = told["supervisor"], told["folder"]

    def serve(self, relay: Relay) -> None:
        """Serve until the process that started this one says so, or is gone, or SIGTERM comes."""
        with relay, suppress(KeyboardInterrupt, OSError):
            signal.signal(signal.SIGTERM, _interrupt)
            try:
                self._line.send(relay.url)
                self._line.poll(None)  # nothing comes but its end
            finally:
                end = threading.Timer(_END, self._give_up)
                end.daemon = True
                end.start()
        self._clean()

    def _give_up(self) -> None:
        self._clean()
        os._exit(1)

    def _clean(self) -> None:
        if self._folder and os.getppid() != self._supervisor:  # nobody else does it any more
            shutil.rmtree(self._folder, ignore_errors=True)


@attrs.define(eq=False)
class _Worker:
    """Be one worker, as seen by who started it."""

    number: int
    process: subprocess.Popen[bytes]
    line: Connection[Any, Any]
    began: float
    url: str = ""
    """Where it serves; nothing until it does."""


class Workers:
    """Run *number* processes of this command, and start another for each that dies. A context manager.

    Args:
        number: how many.
        settings: what each makes its relay with, whatever its command line says.
        folder: the private directory that the store is in; "" where it is not.
    """

    def __init__(self, number: int, settings: Mapping[str, Any], folder: str) -> None:
        self._number, self.folder = number, folder
        self._told = {"settings": settings, "folder": folder, "supervisor": os.getpid()}
        self._command, self._arguments = _command()
        self._ready = selectors.DefaultSelector()
        self._living: list[_Worker] = []
        self._failures = [0] * number
        self._due: dict[int, float] = {}
        """When another is started, by the number of the one that died."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> str:
        """Start all of them, and give the address where they serve.

        Raises:
            click.exceptions.Exit: one ended instead, and has said why.
        """
        self._begin(0, first=True)
        self._wait_for_all()  # what is wrong is wrong for all of them, and said by one
        for number in range(1, self._number):
            self._begin(number)
        self._wait_for_all()
        return self._living[0].url

    def attend(self, now_and_then: Callable[[], object]) -> None:
        """Start another worker wherever one dies, for ever; and do something *now_and_then*."""
        tidied = monotonic()
        while True:
            until = min([*self._due.values(), tidied + _TIDY])
            for key, _ in self._ready.select(max(0.0, until - monotonic())):
                if not self._heard(key.data):
                    self._lose(key.data)
            for number, due in [*self._due.items()]:
                if due <= monotonic():
                    del self._due[number]
                    self._begin(number)
            if monotonic() >= tidied + _TIDY:
                now_and_then()
                tidied = monotonic()

    def close(self) -> None:
        """Have all of them close, and wait for their end; who takes too long is killed. Idempotent."""
        self._ready.close()
        for worker in self._living:
            worker.line.close()
        until = monotonic() + _KILL
        while self._living:
            worker = self._living[-1]
            try:
                worker.process.wait(max(0.0, until - monotonic()))
            except subprocess.TimeoutExpired:
                tell(f"Worker {worker.number + 1} does not end and is killed.", notable=True)
                worker.process.kill()
                worker.process.wait()
            self._living.pop()

    def kill(self) -> None:
        """End all of them at once."""
        for worker in self._living:
            worker.process.kill()

    def _begin(self, number: int, *, first: bool = False) -> None:
        ours, theirs = Pipe()
        with theirs:
            command = [*self._command, OPTION, str(theirs.fileno()), *self._arguments]
            try:
                # A session of its own: what a terminal sends is for this process, which says what follows.
                process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), start_new_session=True)  # noqa: S603
            except OSError as error:
                ours.close()
                if first:
                    raise ConfigError(f"--workers: no process can be started: {error.strerror or error}.") from None
                self._again(number, f"No other worker can be started: {error.strerror or error}.")
                return
        worker = _Worker(number, process, ours, monotonic())
        self._living.append(worker)
        self._ready.register(ours, selectors.EVENT_READ, worker)
        with suppress(OSError):  # gone already, as reading will tell
            ours.send({**self._told, "quiet": not first})

    def _wait_for_all(self) -> None:
        while any(not worker.url for worker in self._living):
            for key, _ in self._ready.select():
                if not self._heard(key.data):
                    raise click.exceptions.Exit(max(1, key.data.process.wait()))

    def _heard(self, worker: _Worker) -> bool:
        """Read what *worker* says; tell whether it lives."""
        try:
            worker.url = worker.line.recv()
        except (EOFError, OSError):
            return False
        return True

    def _lose(self, worker: _Worker) -> None:
        self._ready.unregister(worker.line)
        code = worker.process.wait()
        worker.line.close()
        self._living.remove(worker)
        if monotonic() - worker.began > _WELL:
            self._failures[worker.number] = 0
        how = _named(-code) if code < 0 else f"exit code {code}"
        self._again(worker.number, f"Worker {worker.number + 1} ended ({how}).")

    def _again(self, number: int, why: str) -> None:
        pause = min(_PAUSES, _PAUSE * 2 ** min(self._failures[number], 10))
        self._failures[number] += 1
        self._due[number] = monotonic() + pause
        tell(f"{why} Another is started in {pause:g} s.", notable=True)


def supervise(settings: Mapping[str, Any], serving: Callable[[str], object]) -> None:
    """Serve by as many processes as *settings* say, until Ctrl-C; *serving* is told the address once they do.

    Args:
        settings: those of the command that concern the relay; ``max_connections`` are those of one worker.

    Raises:
        ConfigError: the port cannot be had, or not be shared on this system, or not without a store.
        click.exceptions.Exit: a worker cannot start; it has said why.
    """
    from promptstream.web.relay import reserve

    if settings["share_port"] and settings["store"] is None:
        raise ConfigError("--share-port: give the --store that all who serve the port share.")
    told = {"share_port": True, "max_connections": settings["max_connections"]}
    folder = ""
    with ExitStack() as rest:
        held = rest.enter_context(reserve(settings["host"], settings["port"], shared=settings["share_port"]))
        told["port"] = held.getsockname()[1]
        if settings["store"] is None:
            folder = rest.enter_context(TemporaryDirectory(prefix="promptstream-", ignore_cleanup_errors=True))
            told["store"] = f"{folder}/kept.db"
        workers = rest.enter_context(Workers(settings["workers"], told, folder))
        _heed(workers)
        try:
            serving(workers.start())
            workers.attend(lambda: _tidy(f"{folder}/kept.db") if folder else None)
        except KeyboardInterrupt:
            tell("Closing.", dim=True)


def _heed(workers: Workers) -> None:
    """Have the first signal close all, and a second one end them at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        _on_signals(at_once)
        raise KeyboardInterrupt

    def at_once(number: int, frame: FrameType | None) -> None:
        workers.kill()
        shutil.rmtree(workers.folder, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    _on_signals(stop)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _on_signals(act: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError):  # not in the main thread
            signal.signal(number, act)


def _tidy(path: str) -> None:
    """Forget those conversations of a store of our own that were saved longest ago, as a single relay does."""
    from promptstream.state.sqlite import SQLiteStore

    try:
        with SQLiteStore(path) as store:
            for entry in store.list(limit=10 * _KEPT)[_KEPT:]:
                store.delete(entry.id)
    except PromptStreamError as error:
        tell(f"Old conversations could not be forgotten: {error}")


def _command() -> tuple[list[str], list[str]]:
    """Give what this process was started by, up to the name of the command, and the arguments that follow it.

    Raises:
        ConfigError: it was not started by a command line.
    """
    arguments = sys.argv[1:]
    if "serve" not in arguments or not sys.executable:
        raise ConfigError("--workers is for the command line: promptstream serve --workers N.")
    at = arguments.index("serve") + 1
    begun = sys.orig_argv[1 : len(sys.orig_argv) - len(arguments)]
    return [sys.executable, *begun, *arguments[:at]], arguments[at:]


def _named(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
