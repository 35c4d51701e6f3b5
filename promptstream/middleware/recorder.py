"""Rounds in, a file out that can be played again: what was asked, and each chunk with its time, a line each."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import attrs

from promptstream._version import __version__
from promptstream.errors import ConfigError, StreamError
from promptstream.middleware.misuse import close
from promptstream.middleware.onion import CallNext, Middleware, Watching
from promptstream.recording import FORMAT, MARK
from promptstream.recording.asked import request_to_dict
from promptstream.recording.masking import Masker, check_hooks
from promptstream.recording.reading import Recording, check_head, is_whole
from promptstream.recording.told import Writer, error_to_dict
from promptstream.values.chunk import Chunk, Finish
from promptstream.values.hosts import is_loopback
from promptstream.values.request import ChatRequest
from promptstream.values.usage import Usage

if TYPE_CHECKING:
    from promptstream.wire.watch import Watch


class Priced(Protocol):
    """What prices a round: see :class:`promptstream.pricing.Pricing`."""

    def cost(self, usage: Usage, *models: str | None) -> Decimal | None:
        """Give what it costs in USD, or None."""


class Recorder(Watching):
    """Write all that passes to a file, for :func:`promptstream.providers.Replay` to play; set it innermost.

    Of each round it writes the request (messages, model, tools, parameters), every chunk with its time, what the
    provider told beside them, and how it ended: whole, cut, by which error, or left by the loop. Each line is on the
    disk before its chunk is handed on, so that a crash leaves a file that can be read. Keys are never written, wherever
    they occur: those of the providers that are asked, and those of the environment (…_API_KEY, …_TOKEN and the like),
    of 16 characters and more, or of 8 with letters and digits; ``[key]`` stands in their place. Pictures and documents
    are written by their digest. The file is its owner's alone (mode 0600). Any number of turns in any threads may use
    one of these at once, but each file has one only.

    Args:
        path: the file. It is made, or written over, by the first round; a directory has to be there.
        append: go on with the recording that the file holds.
        redact: a function, or several, that is given each text to be written and gives what to write: names of
            persons out, a date that changes by a constant. What streams comes in pieces. ``Replay`` takes them too.

    Raises:
        ConfigError: the file exists and is no recording, its directory does not exist, or a hook cannot be called.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        append: bool = False,
        redact: Callable[[str], str] | Iterable[Callable[[str], str]] | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self._masker = Masker()
        self.redact(redact)
        self._append = append
        self._begun = False
        self._last = 0
        """The id of the last exchange."""
        self._running = 0
        self._file = -1
        self._lock = threading.RLock()
        self._met: dict[str, tuple[Any, Priced | None]] = {}
        self._introduced: set[str] = set()
        self.problem = ""
        """Why it has stopped writing, or "": a full disk, for instance. The answers go on, with a warning."""
        self._check()

    def __repr__(self) -> str:
        return f"Recorder({self.path!r})"

    def redact(self, hooks: Callable[[str], str] | Iterable[Callable[[str], str]] | None) -> None:
        """Give each text to *hooks*, too, before it is written.

        Raises:
            ConfigError: one cannot be called.
        """
        self._masker.hooks += check_hooks(hooks)

    def meet(self, provider: Any, pricing: Priced | None = None) -> None:
        """Take note of a provider that is about to be asked: its key is not written. A turn calls this by itself."""
        self._masker.learn(provider.secret)
        self._met[provider.name] = provider, pricing

    def __call__(self, request: ChatRequest, call_next: CallNext) -> Iterator[Chunk]:
        """Be the layer.

        Raises, while iterating:
            ConfigError: the file cannot be written, another Recorder writes it, or a hook fails; nothing was sent.
        """
        return self._record(request, call_next)

    def watched(self, watch: Watch) -> Middleware:
        """Give the layer for a turn that *watch* guards: what stops that is how the recording ends."""
        return lambda request, call_next: self._record(request, call_next, watch)

    def _record(self, request: ChatRequest, call_next: CallNext, watch: Watch | None = None) -> Iterator[Chunk]:
        if not request.provider and self._met:  # one that was asked without a conversation
            request = attrs.evolve(request, provider=next(iter(self._met)))
        exchange = self._begin(request, watch)
        try:
            yield from exchange.run(request, call_next)
        finally:
            self._leave()

    # The file

    def _check(self) -> None:
        parent = os.path.dirname(self.path) or "."
        if not os.path.isdir(parent):
            raise ConfigError(f"The recording {self.path} cannot be written: there is no directory {parent}.")
        try:
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                if os.path.isdir(self.path):
                    raise ConfigError(f"The recording {self.path} cannot be written: it is a directory.")
                return
            with open(self.path, "rb") as file:
                first = file.readline(1 << 20)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"The recording {self.path} cannot be written: {error.strerror or error}.") from None
        if first.strip():  # another file is never written over
            check_head(self.path, first)
            if self._append:
                self._last = len(Recording.read(self.path).exchanges)

    def _begin(self, request: ChatRequest, watch: Watch | None) -> _Exchange:
        asked = request_to_dict(request, self._masker)  # a hook that fails does so before the file is begun
        with self._lock:
            fresh = not self._begun
            self._claim()
            try:
                if self._file < 0:
                    self._file = self._open(fresh)
            except OSError as error:
                self._running -= 1
                raise ConfigError(f"The recording {self.path} cannot be written: {error.strerror or error}.") from None
            self._begun = True
            self._last += 1
            number = self._last
            if fresh:  # before another thread writes a line
                self.write(_head())
        provider, pricing = self._met.get(request.provider, (None, None))
        if provider is not None and self._is_new(request.provider):
            dialect = provider.dialect
            told = {"name": provider.name, "model": provider.model, "free": dialect.free, "local": _is_local(dialect)}
            self.write({"type": "provider", **told, "capabilities": sorted(dialect.capabilities)})
        self.write({"type": "request", "id": number, **asked})
        return _Exchange(self, number, Writer(self._masker), self._masker, pricing, watch)

    def _claim(self) -> None:
        """Count a round that begins, unless another Recorder would be in its way, or it in the other's."""
        with _claiming:
            place = os.path.realpath(self.path)
            other = _claimed.get(place)
            if other is not None and other is not self and os.path.isfile(place):
                if other._running:
                    raise ConfigError(
                        f"The recording {self.path} is being written by another Recorder. "
                        "Give one to all conversations, or each a file of its own."
                    )
                if not (self._begun or self._append):
                    raise ConfigError(
                        f"The recording {self.path} was begun by another Recorder that is still there, and would be "
                        "written over. Give one to all conversations, or append=True to this one."
                    )
            _claimed[place] = self
            self._running += 1

    def _is_new(self, name: str) -> bool:
        with self._lock:
            new = name not in self._introduced
            self._introduced.add(name)
        return new

    def _open(self, fresh: bool) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        if fresh and not self._append:
            flags |= os.O_TRUNC
        file = os.open(self.path, flags, 0o600)
        if fresh and stat.S_ISREG(os.fstat(file).st_mode):
            with suppress(OSError, AttributeError):  # of another owner's, or on Windows
                os.fchmod(file, 0o600)
            if self._append:
                _mend(file)
        return file

    def write(self, record: dict[str, Any]) -> None:
        """Write a line, at once and whole; for the exchanges."""
        try:
            line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            line = json.dumps(record, separators=(",", ":")).encode()
        with self._lock:
            if self.problem:
                return
            try:
                view = memoryview(line + b"\n")
                while view:
                    view = view[os.write(self._file, view) :]
            except OSError as error:
                self.problem = error.strerror or str(error)

    def _leave(self) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                file, self._file = self._file, -1
                os.close(file)


_claimed: WeakValueDictionary[str, Recorder] = WeakValueDictionary()
"""Who has written a file last, by its real path."""
_claiming = threading.Lock()


def _head() -> dict[str, Any]:
    from datetime import datetime, timezone

    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {MARK: "recording", "format": FORMAT, "version": __version__, "recorded": now}


def _is_local(dialect: Any) -> bool:
    """Tell whether a provider is on this machine, whose answers have no price that anybody could know."""
    return is_loopback(urlsplit(str(getattr(dialect, "base_url", None) or "")).hostname or "")


def _mend(file: int) -> None:
    """Take off what a crash left of a last line; end one that is whole."""
    os.lseek(file, 0, os.SEEK_SET)
    with open(os.dup(file), "rb") as kept:
        head, end, last = kept.read().rpartition(b"\n")
    if is_whole(last):
        os.write(file, b"\n")
    elif last:
        os.ftruncate(file, len(head + end))


@attrs.define(eq=False)
class _Exchange:
    """Write one round. The clock runs while the provider is waited for, and not while the loop takes its time."""

    recorder: Recorder
    number: int
    writer: Writer
    masker: Masker
    pricing: Priced | None
    watch: Watch | None
    at: float = 0.0
    warned: bool = False
    finished: bool = False
    provider: str = ""
    models: tuple[str | None, ...] = ()
    usage: Usage | None = None
    paid: bool = False

    def run(self, request: ChatRequest, call_next: CallNext) -> Iterator[Chunk]:
        """Yield what *call_next* does, each chunk once it is written."""
        self.provider, self.models = request.provider, (None, request.model)
        since = monotonic()
        chunks = call_next(request)
        try:
            for chunk in chunks:
                self.at += monotonic() - since
                self._take(chunk)
                yield chunk
                if self.recorder.problem and not self.warned:
                    self.warned = True
                    yield Finish(warnings=(f"The recording has stopped: {self.recorder.problem}",))
                since = monotonic()
        except (GeneratorExit, KeyboardInterrupt):
            self._end_by_itself("left")
            raise
        except BaseException as error:
            self.at += monotonic() - since
            self._end("error", error=error_to_dict(error, self.masker))
            raise
        finally:
            if isinstance(chunks, Generator):
                close(chunks)
        self.at += monotonic() - since
        self._end_by_itself("cut")

    def _take(self, chunk: Chunk) -> None:
        if isinstance(chunk, Finish):
            if chunk.restart:
                self.finished, self.usage, self.paid = False, None, False
                if chunk.provider is not None:
                    self.provider, self.models = chunk.provider, (chunk.model, chunk.model)
            self.finished = self.finished or chunk.reason is not None or chunk.sentinel
            self.usage = chunk.usage_seen or self.usage
            self.paid = self.paid or (chunk.cost is not None and not chunk.restart)
        if chunk.model is not None:
            self.models = (chunk.model, *self.models[1:])
        self._write(self.writer.chunk(chunk))

    def _end_by_itself(self, otherwise: str) -> None:
        """End as the turn will, for which no error speaks here: stopped, whole, or *otherwise*."""
        stop = None if self.watch is None else _stop(self.watch)
        if stop is not None:
            self._end("error", error=error_to_dict(stop, self.masker))
        else:
            self._end("whole" if self.finished else otherwise)

    def _end(self, how: str, **told: Any) -> None:
        if self.usage is not None and self.finished and not self.paid and self.pricing is not None:
            cost = self.pricing.cost(self.usage, *self.models)
            if cost is not None:
                told["cost"] = str(cost)
        self._write({"type": "end", "how": how, **told})

    def _write(self, record: dict[str, Any]) -> None:
        kind = record.pop("type")
        self.recorder.write({"type": kind, "id": self.number, "at": round(self.at, 6), **record})


def _stop(watch: Watch) -> StreamError | None:
    """Give the error for what stopped a turn, as the turn will raise it; None where nothing did."""
    try:
        watch.check()
    except StreamError as error:
        error.attempts = max(error.attempts, watch.attempts)
        return error
    return None
