"""A spoilt answer in; through the whole stack, from bytes to the turn; which promises it broke out."""

from __future__ import annotations

import json
import pickle
import random
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from fuzz.events import cut, smallest
from fuzz.fake import over_sockets
from fuzz.mutations import Draft, spoil
from fuzz.oracle import may_be_whole
from fuzz.seeds import Seed
from server import LAST_CHUNK, head, http_chunk

from promptstream.errors import StreamError
from promptstream.stream import Stream
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.message import ToolCall
from promptstream.values.response import Response

LIMIT = 0.050
"""CPU seconds that no answer of a few KiB may take."""
OVER_SOCKETS = 40
"""One run in so many goes over real sockets, headers and framing with it."""
THOROUGH = 4
"""One run in so many is pickled and written as JSON, which takes as long as the rest."""


@attrs.frozen(eq=False)
class Case:
    """One answer, with all that it takes to give it again."""

    seed: Seed
    status: int
    headers: dict[str, str]
    pieces: list[bytes]
    ending: str
    streaming: bool
    on_error: str
    framing: str = ""
    """How it is framed over real sockets; "" for a reply in memory."""

    def stream(self) -> Stream:
        """Ask for it."""
        asks = self.seed.asks
        request = asks.streamed if self.streaming else asks.unary
        return asks.provider._stream(request, None, None, self.on_error)

    @contextmanager
    def served(self) -> Iterator[None]:
        """Put it on, to be the next answer."""
        provider = self.seed.asks.provider
        if not self.framing:
            provider._transport.put(self.status, self.headers, self.pieces, self.ending)  # type: ignore[union-attr]
            yield
            return
        fake = provider._transport
        with over_sockets(self.message()) as wire:
            provider._transport = wire
            try:
                yield
            finally:
                provider._transport = fake

    def message(self) -> bytes:
        """Give the HTTP message that the answer is over sockets."""
        sent = {name: value for name, value in self.headers.items() if name != "content-type"}
        kind = self.headers.get("content-type", "")
        status, body = f"{self.status} Whatever", b"".join(self.pieces)
        if self.framing == "chunked":
            end = LAST_CHUNK if self.ending == "clean" else b""
            return (
                head(status, kind, **sent, Transfer_Encoding="chunked")
                + b"".join(map(http_chunk, filter(None, self.pieces)))
                + end
            )
        if self.framing == "length":
            sent.pop("content-length", None)
            return head(status, kind, **sent, Content_Length=str(len(body) + (self.ending != "clean"))) + body
        if self.framing == "spoilt":  # chunks whose sizes are not true
            return head(status, kind, **sent, Transfer_Encoding="chunked") + b"".join(
                http_chunk(each)[1:] for each in self.pieces
            )
        if self.framing == "gzip":
            return head(status, kind, **sent, Content_Encoding="gzip", Connection="close") + body
        return head(status, kind, **sent, Connection="close") + body

    def described(self) -> str:
        """Give all of it in a line that can be read back by :func:`again`."""
        fields = {
            name: getattr(self, name) for name in ("status", "headers", "ending", "streaming", "on_error", "framing")
        }
        return json.dumps({"seed": self.seed.name, **fields, "pieces": [piece.hex() for piece in self.pieces]})


def again(line: str, seeds: list[Seed]) -> Case:
    """Make the case that :meth:`Case.described` gave."""
    fields = json.loads(line)
    fields["pieces"] = [bytes.fromhex(piece) for piece in fields["pieces"]]
    (fields["seed"],) = [seed for seed in seeds if seed.name == fields["seed"]]
    return Case(**fields)


def random_case(dice: random.Random, seeds: list[Seed]) -> Case:
    """Spoil one of the answers at random."""
    seed = dice.choice(seeds)
    other = dice.choice(seeds)
    draft: Draft = spoil(seed, other, dice)
    if dice.random() < 0.02:
        seed = other  # who hears the answer of another protocol
    body = draft.bytes()
    places = [int(dice.random() * len(body)) for _ in range(int(dice.random() ** 3 * 12))]
    framing = ""
    if dice.random() < 1 / OVER_SOCKETS and len(body) < 60_000:
        framing = dice.choice(["chunked", "chunked", "length", "close", "gzip", "spoilt"])
        draft.headers = {name: value for name, value in draft.headers.items() if _is_sendable(value)}
    return Case(
        *(seed, draft.status, draft.headers, cut(body, places), draft.ending, draft.streaming),
        on_error="chunk" if dice.random() < 0.1 else "raise",
        framing=framing,
    )


def _is_sendable(value: str) -> bool:
    return value.isprintable() and all(ord(character) < 256 for character in value)


class Ran:
    """What became of one case: its chunks, its error, its CPU time."""

    def __init__(self, case: Case) -> None:
        self.chunks: list[Chunk] = []
        self.error: BaseException | None = None
        with case.served():
            self.stream = case.stream()
            begun = time.thread_time()
            try:
                for chunk in self.stream:
                    self.chunks.append(chunk)
            except Exception as error:
                self.error = error
            self.seconds = time.thread_time() - begun


def violations(case: Case, thorough: bool = True) -> tuple[list[str], str, float]:
    """Run a case; give which promises were broken, how it ended, and what CPU seconds it took.

    *thorough* looks also at whether what is left of it can be kept: pickled, and written as JSON.
    """
    ran = Ran(case)
    seconds = ran.seconds
    for _ in range(2):
        if seconds > LIMIT:
            seconds = min(seconds, Ran(case).seconds)
    error = ran.error
    if error is not None and not isinstance(error, StreamError):
        return [f"{type(error).__name__} escapes from {_place(error)}: {error!s:.200}"], "", seconds
    found = [f"it took {seconds * 1000:.0f} ms of CPU"] if seconds > LIMIT else []
    try:
        found += _broken(case, ran, thorough)
    except Exception as failure:
        found.append(f"a check fails: {type(failure).__name__} at {_place(failure)}: {failure!s:.200}")
    last = ran.chunks[-1] if ran.chunks else None
    ended = error or (last.error if last is not None else None)
    return found, "complete" if ended is None else type(ended).__name__, seconds


def _place(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(where.filename).name}:{where.lineno}"


def _broken(case: Case, ran: Ran, thorough: bool) -> Iterator[str]:
    chunks, response, error = ran.chunks, ran.stream.response, ran.error
    kinds = [chunk.type for chunk in chunks]
    dones, errors = kinds.count(ChunkType.DONE), kinds.count(ChunkType.ERROR)
    if error is None and errors:
        error = chunks[-1].error
        if not isinstance(error, StreamError):
            yield f"an ERROR chunk carries {error!r:.200}"
            return
    endings = dones + errors + (ran.error is not None)
    if endings != 1 or (ran.error is None and kinds[-1] not in (ChunkType.DONE, ChunkType.ERROR)):
        yield f"{endings} endings: {kinds[-3:]}, {ran.error!r:.200}"
    if response.complete is not (error is None):
        yield f"complete is {response.complete} beside {error!r:.200}"
    yield from _text_broken(chunks, response)
    yield from _calls_broken(chunks, response)
    if error is not None:
        yield from _error_broken(error, response, case.seed.asks.key)
    _encoded([chunk.to_event() for chunk in chunks])
    _encoded([response.text, response.reasoning, response.model, response.raw_finish_reason, response.request_id])
    if thorough:
        yield from _kept_broken(response, error)
    yield from _again_broken(ran, error)
    if response.complete:
        if not 200 <= case.status < 300:
            yield f"complete with the status {case.status}"
        if case.framing in ("", "chunked", "length", "close") and not may_be_whole(
            case.seed.protocol, b"".join(case.pieces)
        ):
            yield "complete, and no finish signal was sent whole"


def _kept_broken(response: Response, error: StreamError | None) -> Iterator[str]:
    # What a provider wants back is kept as it came: halves of surrogate pairs and all.
    if Response.from_dict(json.loads(json.dumps(response.to_dict(), allow_nan=False))) != response:
        yield "the response is another after to_dict and from_dict"
    twin = pickle.loads(pickle.dumps(error or response))
    if error is None:
        if twin != response:
            yield "the response is another after pickle"
    elif type(twin) is not type(error) or str(twin) != str(error) or twin.response != response:
        yield "the error is another after pickle"


def _encoded(value: Any) -> bytes:
    """Give JSON that any JSON reader takes, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _text_broken(chunks: list[Chunk], response: Response) -> Iterator[str]:
    text = "".join([chunk.text for chunk in chunks if chunk.type is ChunkType.TEXT])
    thought = "".join([chunk.reasoning for chunk in chunks if chunk.type is ChunkType.REASONING])
    if text != response.text:
        yield f"the text yielded is {text!r:.200}, the response's {response.text!r:.200}"
    if thought != response.reasoning:
        yield f"the reasoning yielded is {thought!r:.200}, the response's {response.reasoning!r:.200}"


def _calls_broken(chunks: list[Chunk], response: Response) -> Iterator[str]:
    calls = [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL and chunk.tool_call is not None]
    if [attrs.evolve(call, metadata=None) for call in calls] != [
        attrs.evolve(call, metadata=None) for call in response.tool_calls
    ]:
        yield "the calls yielded are not the response's"
    for call in calls:
        if call.arguments is not None and not _is_whole(call):
            yield f"the arguments {call.raw_arguments!r:.200} were taken as {call.arguments!r:.200}"
        if call.arguments is None and call.problem is None:
            yield "a call without arguments has no problem"


def _is_whole(call: ToolCall) -> bool:
    try:
        return isinstance(json.loads(call.raw_arguments or "{}"), dict)
    except ValueError:
        return not call.raw_arguments.strip() and call.arguments == {}


def _error_broken(error: StreamError, response: Response, key: str) -> Iterator[str]:
    said = str(error)
    said.encode()
    if error.response != response:
        yield "the error's response is not the stream's"
    if len(said) > 1500 or not said.isprintable() or not said:
        yield f"the error says, in {len(said)} characters: {said!r:.300}"
    if key and key in f"{said} {error!r} {error.__cause__!r}":
        yield "the error tells the key"
    _encoded(error.to_event())


def _again_broken(ran: Ran, error: StreamError | None) -> Iterator[str]:
    try:
        more = list(ran.stream)
    except StreamError as second:
        if ran.error is None or type(second) is not type(ran.error) or str(second) != str(ran.error):
            yield f"iterated again, it raises {second!r:.200}"
    else:
        if [chunk.type for chunk in more] != ([ChunkType.ERROR] if error is not None and ran.error is None else []):
            yield f"iterated again, it gives {more!r:.200}"


class Report:
    """Count what becomes of many cases."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.worst = 0.0
        self.found: dict[str, Case] = {}
        """The first case of each kind of violation."""

    def run(self, runs: int, seed: int, seeds: list[Seed], most: int = 10) -> None:
        """Run that many random cases; stop after *most* kinds of violation."""
        dice = random.Random(seed)
        for number in range(runs):
            case = random_case(dice, seeds)
            broken, outcome, seconds = violations(case, thorough=number % THOROUGH == 0)
            self.outcomes[outcome] += 1
            self.worst = max(self.worst, seconds)
            for each in broken:
                self.found.setdefault(kind_of(each), case)
            if len(self.found) >= most:
                return


def kind_of(violation: str) -> str:
    """Give what two violations of one kind share."""
    return violation.partition(": ")[0] if "escapes" in violation or "fails" in violation else violation[:24]


def reduced(case: Case, kind: str) -> Case:
    """Make a case smaller that breaks a promise of the given *kind*."""

    def broken(pieces: list[bytes]) -> str:
        return kind if any(kind_of(each) == kind for each in violations(attrs.evolve(case, pieces=pieces))[0]) else ""

    case = attrs.evolve(case, pieces=[b"".join(case.pieces)]) if broken([b"".join(case.pieces)]) else case
    return attrs.evolve(case, pieces=smallest(case.pieces, broken))
