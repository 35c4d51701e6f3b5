"""A name in, what a user does out: each scenario is run once for every call in it that can fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from dialects import DIALECTS
from server import FRAMINGS, LAST_CHUNK, error, full, unused_port
from torture.stage import Loop, Stage, answering, dying, good, holding, resolved_elsewhere, saying
from wires.base import dumps

from promptstream import Retry

AT_ONCE = Retry(3, base=0)


def nothing(stage: Stage) -> None:
    """Prepare nothing."""


@attrs.frozen(eq=False)
class Scenario:
    """Set a stage, prepare it without faults, and act on it with one."""

    name: str
    stage: Callable[[], Stage]
    act: Callable[[Stage], None]
    prepare: Callable[[Stage], None] = nothing


def ask(stage: Stage) -> None:
    """Run a loop to its end."""
    stage.loop(stage.stream())


def warm(stage: Stage) -> None:
    """Leave a connection in the pool that served a request."""
    stage.stream().result()


def grow_cold(stage: Stage) -> None:
    """Leave one in the pool that the server has closed meanwhile."""
    warm(stage)
    conn = stage.server.conn
    conn.shut()


def ask_whole(stage: Stage) -> None:
    """Ask for one JSON body."""
    response = stage.dialect.send(stage.provider, streaming=False)
    assert response.complete
    assert response.text == "Once upon a time."


def ask_for_models(stage: Stage) -> None:
    """Ask for something that is no answer."""
    assert [model.id for model in stage.provider.models()] == ["alpha", "beta"]


def ask_in_vain_first(stage: Stage) -> None:
    """Find nobody at the address of the first attempt."""
    with resolved_elsewhere(unused_port()):
        stage.loop(stage.stream())


def ask_for_error_chunks(stage: Stage) -> None:
    """Run a loop whose error comes as a chunk."""
    stage.loop(stage.stream(on_error="chunk"))


def leave(stage: Stage) -> None:
    """Leave the loop in the middle by break."""
    stage.loop(stage.stream(), lambda seen: len(seen.chunks) == 2)


def call_off(stage: Stage) -> None:
    """Cancel in the middle."""

    def cancel(seen: Loop) -> None:
        if len(seen.chunks) == 2:
            seen.stopped = True
            seen.stream.cancel("enough")

    stage.loop(stage.stream(), cancel)


def talk(stage: Stage) -> None:
    """Take two turns of a conversation."""
    for _ in range(2):
        ask(stage)


def read_ahead(stage: Stage) -> None:
    """Let a thread read, and take what it read."""
    with stage.stream() as stream:
        stage.loop(stream.buffered())


def leave_read_ahead(stage: Stage) -> None:
    """Take a part of what a thread reads, then close it."""
    with stage.stream() as stream, stream.buffered(1) as buffered:
        stage.loop(buffered, lambda seen: len(seen.chunks) == 2)


def whole(stage: Stage, conn: Any) -> None:
    """Answer in one JSON body."""
    conn.send(full("200 OK", stage.dialect.whole()))
    stage.sent_whole += 1


def refused(stage: Stage, conn: Any) -> None:
    """Say no, in the provider's words."""
    said = stage.dialect.wire.refusal("context")
    conn.send(full(f"{said.status} No", dumps(said.body)))


def models(stage: Stage, conn: Any) -> None:
    """List the models."""
    conn.send(full("200 OK", dumps(stage.dialect.wire.models()[1])))


def cut(stage: Stage, conn: Any) -> None:
    """End cleanly in the middle of the answer."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = stage.dialect.delta("Once")
    conn.send(head + b"%x\r\n%s\r\n" % (len(piece), piece) + LAST_CHUNK)


BUSY = error("503 Busy", Retry_After="0")


def scenarios(certificates: Any = None) -> dict[str, Scenario]:
    """Give every scenario by its name; those on TLS where there are *certificates*."""
    found = [
        *(Scenario(f"first request, {name}", lambda name=name: Stage(dialect=name), ask) for name in DIALECTS),
        *(
            Scenario(f"answer framed {framing}", lambda framing=framing: Stage(answering(framing)), ask)
            for framing in FRAMINGS[1:]
        ),
        Scenario("reused connection", lambda: Stage(good, good), ask, warm),
        Scenario("connection gone stale", lambda: Stage(good, good), ask, grow_cold),
        Scenario("connection dies as it is reused", lambda: Stage(good, dying), ask, warm),
        Scenario("answer in one body", lambda: Stage(whole), ask_whole),
        Scenario("list of models", lambda: Stage(models, dialect="anthropic"), ask_for_models),
        Scenario("name looked up", lambda: Stage(host="localhost"), ask),
        Scenario("again after a 503", lambda: Stage(saying(BUSY), good, retry=AT_ONCE), ask),
        Scenario("again after nobody was there", lambda: Stage(retry=AT_ONCE), ask_in_vain_first),
        Scenario("error body", lambda: Stage(refused, dialect="gemini"), ask),
        Scenario("answer that is cut", lambda: Stage(cut), ask),
        Scenario("error as a chunk", lambda: Stage(cut), ask_for_error_chunks),
        Scenario("break in the middle", lambda: Stage(holding), leave),
        Scenario("cancel in the middle", lambda: Stage(holding), call_off),
        Scenario("one request at a time", lambda: Stage(saying(BUSY), good, retry=AT_ONCE, max_in_flight=1), ask),
        Scenario("one at a time, break", lambda: Stage(holding, max_in_flight=1), leave),
        Scenario("the watchdog's start", lambda: Stage(fresh_watchdog=True), ask),
        Scenario("conversation, two turns", lambda: Stage(talks=True), talk),
        Scenario("conversation, break", lambda: Stage(good, holding, talks=True), leave, warm),
        Scenario("conversation, cut", lambda: Stage(good, cut, talks=True, dialect="ollama"), ask, warm),
        Scenario("read ahead", lambda: Stage(), read_ahead),
        Scenario("read ahead, closed", lambda: Stage(holding), leave_read_ahead),
        Scenario("read ahead, conversation", lambda: Stage(talks=True, dialect="anthropic"), read_ahead),
    ]
    if certificates is not None:
        found += [
            Scenario("TLS", lambda: Stage(certificates=certificates), ask),
            Scenario("TLS, reused connection", lambda: Stage(certificates=certificates), ask, warm),
            Scenario("TLS, break in the middle", lambda: Stage(holding, certificates=certificates), leave),
            Scenario("TLS, cancel in the middle", lambda: Stage(holding, certificates=certificates), call_off),
        ]
    return {each.name: each for each in found}


def certificates_in(directory: Path) -> Any:
    """Make certificates for loopback, or None where trustme is not installed."""
    try:
        from conftest import Certificates

        return Certificates(directory)
    except ImportError:
        return None
