"""Every recorded answer over real sockets: the whole transport, in each framing, cut anyhow and hung up on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from observed import differences, expected
from recordings import (
    Outcome,
    Recording,
    ask,
    at_random,
    bytewise,
    events,
    is_finish,
    load,
    names,
    options_of,
    provider_name,
    provider_of,
    run,
)
from server import LAST_CHUNK, Conn, Server, head, http_chunk

from promptstream.client import Provider
from promptstream.errors import StreamError, Truncated

pytestmark = pytest.mark.usefixtures("no_price_list")  # what was observed is what the wire says

FRAMINGS = ("chunked", "content-length", "close")
FINE = 2048
"""Up to this size a body is sent byte by byte; larger ones are cut at random, lest the suite take minutes."""


def message(recording: Recording, pieces: list[bytes], framing: str, cut: bool = False) -> list[bytes]:
    """Frame *pieces* as an answer, each to be sent by itself; *cut* leaves out the message's end."""
    kind = recording.content_type
    if framing == "chunked":
        end = [] if cut else [LAST_CHUNK]
        return [head(content_type=kind, Transfer_Encoding="chunked"), *map(http_chunk, filter(None, pieces)), *end]
    if framing == "content-length":
        length = sum(map(len, pieces)) + (1 if cut else 0)
        return [head(content_type=kind, Content_Length=str(length)), *pieces]
    return [head(content_type=kind, Connection="close"), *pieces]


class Stage:
    """Serve what the test puts on, and hold one provider of each kind, its connections kept."""

    def __init__(self) -> None:
        self.server = Server(self.script)
        self.pieces: list[bytes] = []
        self.hang_up = False
        self.providers: dict[str, Provider] = {}

    def script(self, conn: Conn) -> None:
        while True:
            conn.request()
            conn.send(*self.pieces)
            if self.hang_up:
                return

    def play(self, recording: Recording, pieces: list[bytes], framing: str, cut: bool = False) -> Outcome:
        """Give what a provider makes of the answer."""
        self.pieces = message(recording, pieces, framing, cut)
        self.hang_up = cut or framing == "close"
        kind = f"{provider_name(recording)} {options_of(recording)}"
        if kind not in self.providers:
            self.providers[kind] = provider_of(recording, self.server.origin)
        return run(ask(self.providers[kind], recording))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One server and one provider of each kind, for all recordings."""
    stage = Stage()
    with stage.server:
        yield stage
        for provider in stage.providers.values():
            provider.close()
    assert not stage.server.failures


@pytest.fixture(params=names() or ["none"])
def recording(request: pytest.FixtureRequest, conformance_data: object) -> Recording:
    """Each recorded answer in its turn."""
    return load(request.param)


def test_a_recording_decodes_the_same_in_every_framing(stage, recording):
    """Sent at once or in small pieces, chunked, with its length or until the close: the answer is the observed one."""
    body = recording.body
    fine = bytewise(body) if len(body) <= FINE else at_random(body, recording.name)
    for framing in FRAMINGS:
        for pieces in ([body], fine):
            assert differences(recording, stage.play(recording, pieces, framing)) == {}, (framing, len(pieces))


def test_a_recording_hung_up_on_is_whole_only_after_its_finish_signal(stage, recording):
    """A connection lost before the finish signal is Truncated, however the body was framed; after it, no error."""
    wanted = expected(recording).error
    before, after = len(recording.body) // 2, None
    if not recording.is_json:
        ends = [0, *(end for end, _ in events(recording))]
        signals = [number for number, (_, data) in enumerate(events(recording), 1) if is_finish(recording, data)]
        before = ends[signals[0] - 1 if signals else len(ends) // 2]
        after = ends[signals[0]] if signals and wanted is None else None
    for framing in FRAMINGS:
        if after is not None:
            whole = stage.play(recording, [recording.body[:after]], framing, cut=True)
            assert whole.error is None, framing
            assert whole.response.complete, framing
        cut = stage.play(recording, [recording.body[:before]], framing, cut=True)
        assert isinstance(cut.error, StreamError), framing
        assert type(cut.error) in (Truncated, wanted) or recording.is_json or not before, (framing, cut.error)
        assert not cut.response.complete, framing
