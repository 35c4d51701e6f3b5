"""A fault and a dialect in, what became of the stream out.

A module of this package lists its faults in ``FAULTS``. A fault says three things: how the server misbehaves, how
the provider is set up, and the outcome that is promised. Most of them misbehave in the answer to a request::

    Fault(
        32, "stall in mid-stream",
        step=lambda dialect: then(begun(dialect), hold),
        timeout=Timeout(idle=0.2), limit=0.2,
        outcome=Outcome(IdleTimeout, text=PART, phase="body"),
        per={"ollama": {"text": ""}, "gemini": "why it cannot be made in this dialect"},
    )

``play`` plays it in one dialect, ``faults.checks.check`` compares what happened with the outcome and with what holds
under every fault, and ``attempt`` does both, up to three times where only the time was off.
"""

from __future__ import annotations

import atexit
import os
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import attrs
from dialects import Dialect
from faults.journal import Journal, read_journal
from server import Conn, Request, Script, Server

from promptstream import Response, Retry, Timeout
from promptstream.client import Provider
from promptstream.stream import Stream
from promptstream.values.chunk import Chunk
from promptstream.wire import transport as _transport  # noqa: F401 - here, so that its import takes no fault's time

Step = Callable[[Conn, Request], object]
"""Answers one request; the connection then waits for the next."""
ANY: Any = object()
"""In an Outcome: not promised."""
MARGIN = 0.25
"""Seconds that a limit may be overrun by."""
TRIES = 3
PATIENT = Timeout(connect=5, first=5, idle=5)
"""So long that a fault that is not of the clocks never ends by one."""


@attrs.frozen(eq=False)
class Outcome:
    """What a fault must come to. Fields that are ANY are not promised; the invariants hold all the same."""

    error: type[BaseException] | None = None
    """The exact class, or None where the answer is whole."""
    text: str = ANY
    """The exact text that was yielded."""
    phase: str = ANY
    retryable: bool = ANY
    status: int | None = ANY
    code: str | None = ANY
    retry_after: float | None = ANY
    says: str = ""
    """A fragment of the message."""
    requests: int = 1
    """Requests that the server saw."""
    attempts: int = 1
    """Attempts that the error tells."""
    warns: str | None = None
    """A fragment of a warning on the response; None: there is none at all. "" for any or none."""
    finish: str | None = ANY
    raw_finish: str | None = ANY


@attrs.frozen(eq=False)
class Fault:
    """One way to fail, and what is promised for it.

    Exactly one of *step*, *script*, *place* and *prove* says how it is made.
    """

    number: int
    """Its row in the table of faults, 1 to 77."""
    name: str
    """What happens, in words; unique within the row."""
    step: Callable[[Dialect], Step | tuple[Step, ...]] | None = attrs.field(default=None, kw_only=True)
    """Gives what answers a request; of several, one after the other, over all connections, the last again and again."""
    script: Callable[[Dialect], Script] | None = attrs.field(default=None, kw_only=True)
    """Gives what serves a whole connection, from before the request, for faults below HTTP."""
    place: Callable[[Dialect], AbstractContextManager[tuple[str, dict[str, Any]]]] | None = attrs.field(
        default=None, kw_only=True
    )
    """Gives an origin (``http://host:port``) that is no Stage, and further options for the provider."""
    prove: Callable[[Dialect], object] | None = attrs.field(default=None, kw_only=True)
    """Makes and checks the fault all by itself, by AssertionError; for what fits none of the other three."""
    outcome: Outcome = attrs.field(factory=Outcome, kw_only=True)
    per: Mapping[str, str | Mapping[str, Any]] = attrs.field(factory=dict, kw_only=True)
    """By dialect: fields of the outcome that differ there, or in words why the fault cannot be made."""
    timeout: Timeout = attrs.field(default=PATIENT, kw_only=True)
    retry: Retry = attrs.field(factory=lambda: Retry(0), kw_only=True)
    options: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    """What else makes the provider: ``verify``, ``proxies``, ``api_key``, …"""
    limit: float = attrs.field(default=0.0, kw_only=True)
    """Seconds after which it must be over, but for :data:`MARGIN`; 0 is at once."""
    reused: bool = attrs.field(default=False, kw_only=True)
    """True asks twice, the first time without looking at the answer: of a good one before the first *step*, or of
    what *script* gives. So the fault is made on a connection that was used before."""
    raw: bool = attrs.field(default=False, kw_only=True)
    """True where the client speaks TLS, and the script is left to do the handshake or not."""
    secure: bool = attrs.field(default=False, kw_only=True)
    """True where it is made under TLS too."""
    journaled: bool = attrs.field(default=True, kw_only=True)
    """False where what the server sends is so broken that faults.journal cannot tell what it says."""
    slow: bool = attrs.field(default=False, kw_only=True)
    """True where it takes seconds: the tests play it in one dialect alone, the program in all."""
    modes: tuple[str, ...] = attrs.field(default=("stream",), kw_only=True)
    """How the answer is asked for: "stream", "whole" (``send(streaming=False)``, one JSON body), or both."""
    ask: Callable[[Dialect, Provider], Stream] = attrs.field(default=lambda d, p: d.stream(p), kw_only=True)
    """How a stream is asked for."""
    drive: Callable[[Scene], object] | None = attrs.field(default=None, kw_only=True)
    """Reads ``scene.stream`` and adds each chunk to ``scene.chunks``, where a plain loop will not do."""
    also: Callable[[Scene], object] | None = attrs.field(default=None, kw_only=True)
    """Checks more, by AssertionError."""

    def __str__(self) -> str:
        return f"{self.number} {self.name}"

    def lacking(self, dialect: Dialect) -> str | None:
        """Give the reason why the fault is not made in *dialect*, or None."""
        found = self.per.get(dialect.name)
        return found if isinstance(found, str) else None

    def promised(self, dialect: Dialect) -> Outcome:
        """Give the outcome in *dialect*."""
        found = self.per.get(dialect.name, {})
        assert not isinstance(found, str), found
        return attrs.evolve(self.outcome, **found)


class Stage(Server):
    """A Server that knows which connections are in the middle of an answer, and where each answer begins."""

    def __init__(self, steps: tuple[Step, ...], script: Script | None, **options: Any) -> None:
        self.steps = steps
        self.served = 0
        self.busy: set[Conn] = set()
        """Connections whose script still has to do with the client: it was not let go yet."""
        self.marks: list[tuple[Conn, int]] = []
        """For each request: its connection, and how many pieces had been sent on it by then."""
        super().__init__(self._guarded(script) if script else self._play, **options)

    def add(self, request: Request) -> None:
        conn = next(each for each in self.connections if each.requests and each.requests[-1] is request)
        self.marks.append((conn, len(conn.sent)))
        super().add(request)

    def _guarded(self, script: Script) -> Script:
        def guarded(conn: Conn) -> None:
            self.busy.add(conn)
            try:
                script(conn)
            finally:
                self.busy.discard(conn)

        return guarded

    def _play(self, conn: Conn) -> None:
        while True:
            request = conn.request()
            with self._lock:
                step = self.steps[min(self.served, len(self.steps) - 1)]
                self.served += 1
            self.busy.add(conn)
            try:
                step(conn, request)
            finally:
                self.busy.discard(conn)

    def answered(self) -> bytes:
        """Give all that was sent in answer to the last request."""
        if not self.marks:
            return b""
        conn, begun = self.marks[-1]
        return b"".join(piece for _, piece in conn.sent[begun:])


@attrs.define(eq=False)
class Scene:
    """One fault as it is played in one dialect, and what came of it."""

    fault: Fault
    dialect: Dialect
    mode: str = "stream"
    tls: bool = False
    server: Stage | None = None
    provider: Provider | None = None
    name: str = ""
    """The provider's name."""
    stream: Stream | None = None
    chunks: list[Chunk] = attrs.field(factory=list)
    response: Response | None = None
    """The answer, where it is whole."""
    error: BaseException | None = None
    seconds: float = 0.0
    requests: int = 0
    """Requests that the server saw, without the one that warmed the connection up."""
    journal: Journal | None = None
    """What the server sent in answer to the last request; None where no server of ours answers."""
    left: list[str] = attrs.field(factory=list)
    """What was left behind: connections that were not hung up, threads, descriptors."""

    @property
    def yielded(self) -> str:
        """The text that was handed out."""
        if self.mode == "whole":
            return self.response.text if self.response else ""
        return "".join(map(str, self.chunks))

    @property
    def overrun(self) -> float:
        """Seconds over the fault's limit."""
        return self.seconds - self.fault.limit


@cache
def authority() -> tuple[Any, str]:
    """Give an authority of our own, and the path of its certificate."""
    import trustme

    directory = tempfile.TemporaryDirectory()
    atexit.register(directory.cleanup)
    signer, bundle = trustme.CA(), Path(directory.name) / "ca.pem"
    signer.cert_pem.write_to_path(str(bundle))
    return signer, str(bundle)


@cache
def context(*names: str, **options: Any) -> ssl.SSLContext:
    """Give a server's TLS context for *names* (loopback), signed by our authority; *options* as trustme's."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority()[0].issue_cert(*(names or ("127.0.0.1", "localhost")), **options).configure_cert(made)
    return made


def play(fault: Fault, dialect: Dialect, *, mode: str = "stream", tls: bool = False) -> Scene:
    """Play *fault* in *dialect* and give what came of it, without judging."""
    scene = Scene(fault, dialect, mode, tls)
    before = _open_files(), threading.active_count()
    with ExitStack() as stack:
        options = dict(fault.options)
        if tls or fault.raw:
            options.setdefault("verify", authority()[1])
        if fault.place is not None:
            origin, more = stack.enter_context(fault.place(dialect))
            options |= more
        else:
            scene.server = server = stack.enter_context(_staged(fault, dialect, tls))
            origin = server.origin
        provider = stack.enter_context(
            dialect.provider(origin, **{"timeout": fault.timeout, "retry": fault.retry, **options})
        )
        scene.provider, scene.name = provider, provider.name
        if fault.reused:
            assert dialect.send(provider).complete, "the answer before the fault"
        _ask(scene, provider)
        _look_back(scene)
        scene.provider = None  # it is closed; what refers to the scene must not keep it
    _count(scene, *before)
    return scene


def _staged(fault: Fault, dialect: Dialect, tls: bool) -> Stage:
    steps: tuple[Step, ...] = ()
    if fault.step is not None:
        made = fault.step(dialect)
        steps = made if isinstance(made, tuple) else (made,)
    if fault.reused and steps:
        from faults.says import good

        steps = (good(dialect), *steps)
    script = fault.script(dialect) if fault.script else None
    return Stage(steps, script, tls=context() if tls or fault.raw else None, raw=fault.raw)


def _ask(scene: Scene, provider: Provider) -> None:
    """Ask, read to the end, and note how it ended and when."""
    begun = monotonic()
    try:
        if scene.mode == "whole":
            scene.response = scene.dialect.send(provider, streaming=False)
        else:
            scene.stream = scene.fault.ask(scene.dialect, provider)
            if scene.fault.drive is not None:
                scene.fault.drive(scene)
            else:
                for chunk in scene.stream:
                    scene.chunks.append(chunk)
            scene.response = scene.stream.response
    except (Exception, KeyboardInterrupt) as error:
        scene.error = error
    scene.seconds = monotonic() - begun


def _look_back(scene: Scene) -> None:
    """Read the server's journal, and see that it was let go."""
    server = scene.server
    if server is None:
        return
    scene.requests = len(server.requests) - scene.fault.reused
    if not _soon(lambda: not server.busy):
        scene.left.append(f"{len(server.busy)} connections that the server was not let go of")
    if scene.fault.journaled:
        scene.journal = read_journal(scene.dialect, server.answered()) if scene.requests > 0 else Journal()
    if server.failures:
        raise AssertionError(f"the script itself failed: {server.failures}")


def _count(scene: Scene, files: int, threads: int) -> None:
    """Compare threads and descriptors with those before; the watchdog of the process stays."""
    if not _soon(lambda: threading.active_count() - _watchdogs() <= threads):
        scene.left.append(f"threads: {sorted(thread.name for thread in threading.enumerate())}")
    if not _soon(lambda: _open_files() <= files):
        scene.left.append(f"{_open_files() - files} descriptors")


def _watchdogs() -> int:
    return sum(thread.name == "promptstream-watchdog" for thread in threading.enumerate())


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def _soon(condition: Callable[[], bool], seconds: float = 1.0) -> bool:
    end = monotonic() + seconds
    while not condition():
        if monotonic() > end:
            return False
        sleep(0.001)
    return True


def attempt(fault: Fault, dialect: Dialect, *, mode: str = "stream", tls: bool = False) -> tuple[float, list[str]]:
    """Play *fault* in *dialect* and give the seconds it took and what was not as promised; thrice if only too slow."""
    from faults.checks import LATE, check

    if fault.prove is not None:
        return _proved(fault, dialect)
    best, wrong = float("inf"), [LATE]
    for _ in range(TRIES):
        try:
            scene = play(fault, dialect, mode=mode, tls=tls)
        except AssertionError as error:  # of the server's script, or of the answer before the fault
            return 0.0, [str(error) or "an assertion without words"]
        wrong, best = check(scene), min(best, scene.seconds)
        if not wrong or not all(each.startswith(LATE) for each in wrong):
            break
    return best, wrong


def _proved(fault: Fault, dialect: Dialect) -> tuple[float, list[str]]:
    assert fault.prove is not None
    begun = monotonic()
    try:
        fault.prove(dialect)
    except AssertionError as error:
        return monotonic() - begun, [str(error) or "an assertion without words"]
    return monotonic() - begun, []
