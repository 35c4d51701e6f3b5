"""A good answer cut at every byte in, what became of each cut out: ``python -m tests.sweep``.

An answer is whole exactly if its finish signal was sent whole: its blank line (its line, in NDJSON) included,
or, where the body ended cleanly, its JSON alone (an unterminated tail counts if it is one whole JSON object, or
exactly the terminator). A cut that passes for whole without it is *accepted*, one that fails although the signal
and its blank line came is *refused*, and one that ends as it should but gives anything else than what was whole
by then is *wrong*. All three must be 0.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from itertools import accumulate, pairwise
from multiprocessing import get_context
from time import monotonic

import attrs
from dialects import DIALECTS, Dialect
from server import LAST_CHUNK, Conn, Gone, Server, head, http_chunk
from wires.script import Answer, Item, Say, Think, Use

from promptstream import errors
from promptstream.client import Provider
from promptstream.stream import Stream
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.message import ToolCall

FRAMINGS = ("close", "chunked", "aborted")
"""A clean end of a close-delimited body, a clean last chunk, and a connection closed in the middle of a chunk."""
KINDS = ("stream", "crlf", "tools", "sentinel", "body", "ignored")
"""A plain answer, the same with CRLF line ends, thoughts and a tool call, a terminator without a finish reason, one
JSON body as it was asked for, and one although a stream was."""
PLAIN = (Say("Once"), Say(" upon"), Say(" a"), Say(" time."))
CALL = Use("call_0123456789", "add", ('{"a":', '1,"b":[2]', "}"))
ARGUMENTS = {"a": 1, "b": [2]}
DONE = b"data: [DONE]\n\n"


@attrs.define(eq=False, slots=False)
class Good:
    """One good answer as its server sends it, and how many events of it each item takes."""

    dialect: Dialect
    kind: str
    events: list[bytes]
    items: list[tuple[int, Item]]
    """Each item, and how many events must be whole for it to be."""
    signal: int
    """How many events must be whole for the answer to be."""

    @property
    def is_json(self) -> bool:
        """True where it is one JSON body."""
        return self.kind in ("body", "ignored")

    @cached_property
    def body(self) -> bytes:
        return b"".join(self.events)

    @cached_property
    def bounds(self) -> list[int]:
        """Where each event begins, and where the last one ends."""
        return [0, *accumulate(map(len, self.events))]

    def ends(self, *, clean: bool) -> list[int]:
        """Give the offset at which each event is whole, in a body that ends cleanly or not."""
        starts = self.bounds
        if clean or self.is_json:
            return [start + len(event.rstrip(b"\r\n")) for start, event in zip(starts, self.events, strict=False)]
        # A CR ends a line by itself (WHATWG HTML 9.2.5), so the last LF of a CRLF is not missed.
        lone = self.dialect.framing == "sse"
        return [end - (lone and event.endswith(b"\r\n")) for end, event in zip(starts[1:], self.events, strict=True)]

    def cuts(self) -> Sequence[int]:
        """Give the cuts that tell something new: inside a lone terminator, around CRLF line ends."""
        whole = range(self.bounds[-2] if self.kind == "sentinel" else 0, len(self.body) + 1)
        if self.kind != "crlf":
            return whole
        return [cut for cut in whole if b"\r" in self.body[max(0, cut - 4) : cut + 4]]

    def near_ends(self) -> set[int]:
        """Give the cuts around each event's end, where everything is decided."""
        near = {end + by for end in self.bounds for by in range(-5, 2)}
        return near & set(self.cuts())


def good(dialect: Dialect, kind: str) -> Good | None:
    """Write the answer of *kind* that *dialect* gives, or None where it has none."""
    if kind in ("body", "ignored"):
        return Good(dialect, kind, [dialect.wire.whole(Answer(PLAIN))], [(1, item) for item in PLAIN], 1)
    if kind == "sentinel":
        events = dialect.events(*(item.text for item in PLAIN), finish=None)
        if DONE not in dialect.events():
            return None
        return Good(dialect, kind, [*events, DONE], list(_counted(dialect, PLAIN)), len(events) + 1)
    items: tuple[Item, ...] = PLAIN
    if kind == "tools":
        if not dialect.wire.has("tools"):
            return None
        thoughts = (Think("Two"), Think(" of them.")) if dialect.wire.has("reasoning") else ()
        items = (*thoughts, Say("Let me"), Say(" add."), CALL)
    written = dialect.wire.stream(Answer(items, "tool_calls" if kind == "tools" else "stop"))
    events = [event for event in written.events if isinstance(event, bytes)]
    if kind == "crlf":
        if b"\r\n" in written.body:
            return None  # its plain answer has them already
        events = [event.replace(b"\n", b"\r\n") for event in events]
    return Good(dialect, kind, events, list(_counted(dialect, items)), written.signal)


def _counted(dialect: Dialect, items: tuple[Item, ...]) -> Iterator[tuple[int, Item]]:
    """Count the events that each item ends with, by writing the answer that breaks off after it."""
    for number, item in enumerate(items, 1):
        yield len(dialect.wire.stream(Answer(items[:number], None)).events), item


class Cutter:
    """Serve one cut after the other: what ``reply`` holds, then an end of the connection where ``closes`` says so."""

    def __init__(self) -> None:
        self.reply = b""
        self.closes = False
        self.server = Server(self._script)

    def _script(self, conn: Conn) -> None:
        self.server.connections[:] = [each for each in self.server.connections if not each.gone.is_set()]
        while True:
            conn.request()
            self.server.requests.clear()
            conn.requests.clear()
            conn.sent.clear()
            conn.send(self.reply)
            if self.closes:
                conn.gone.set()
                raise Gone

    def cut(self, answer: Good, framing: str, at: int) -> None:
        """Answer the next request with *answer*'s bytes up to *at*."""
        kind = "application/json" if answer.is_json else answer.dialect.wire.stream_type
        self.closes = framing != "chunked"
        if framing == "close":
            self.reply = head(content_type=kind, Connection="close") + answer.body[:at]
            return
        pieces = [answer.body[start:end] for start, end in pairwise((*_until(at, answer.bounds), at))]
        chunks = [http_chunk(piece) for piece in pieces if piece]
        if framing == "aborted" and at not in answer.bounds:  # the last chunk is announced whole, as its server would
            size = next(len(event) for end, event in zip(answer.bounds[1:], answer.events, strict=True) if end > at)
            chunks[-1] = b"%x\r\n" % size + pieces[-1]
        last = LAST_CHUNK if framing == "chunked" else b""
        self.reply = head(content_type=kind, Transfer_Encoding="chunked") + b"".join(chunks) + last


def _until(at: int, bounds: list[int]) -> list[int]:
    return [bound for bound in bounds if bound < at]


@attrs.frozen
class Seen:
    """What a loop received, and the error it ended in."""

    chunks: list[Chunk]
    error: errors.PromptStreamError | None

    def joined(self, field: str) -> str:
        return "".join(getattr(chunk, field) for chunk in self.chunks)

    @property
    def calls(self) -> list[ToolCall]:
        """The calls that were given as whole ones, by chunk and in the response."""
        ended = self.error.response if self.error else self.chunks[-1].response
        given = [chunk.tool_call for chunk in self.chunks if chunk.type is ChunkType.TOOL_CALL]
        given += ended.tool_calls if ended else ()
        return [call for call in given if call is not None and call.problem is None]


def seen(stream: Stream) -> Seen:
    """Run a loop to its end."""
    chunks: list[Chunk] = []
    try:
        for chunk in stream:
            chunks.append(chunk)
    except errors.PromptStreamError as error:
        return Seen(chunks, error)
    return Seen(chunks, None)


def ask(answer: Good, provider: Provider) -> Seen:
    """Ask as the answer's kind wants to be asked."""
    if answer.kind != "body":
        return seen(answer.dialect.stream(provider))
    try:
        response = answer.dialect.send(provider, streaming=False)
    except errors.PromptStreamError as error:
        return Seen([], error)
    return Seen([Chunk(ChunkType.TEXT, response.text), Chunk(ChunkType.DONE, response=response)], None)


def verdict(answer: Good, framing: str, at: int, loop: Seen) -> tuple[str, str] | None:
    """Tell what is wrong with how the loop over *answer*, cut at byte *at*, went: a word and the details; or None."""
    whole_events = bisect_right(answer.ends(clean=framing != "aborted"), at)
    finished = whole_events >= answer.signal
    if loop.error is None and not finished:
        return "accepted", f"{loop.chunks[-1]!r:.200}"
    if loop.error is not None and finished:
        return "refused", repr(loop.error)
    came = [item for count, item in answer.items if count <= whole_events]
    text = "".join(item.text for item in came if isinstance(item, Say))
    thoughts = "".join(item.text for item in came if isinstance(item, Think))
    response = loop.error.response if loop.error is not None else loop.chunks[-1].response
    problems = []
    if not loop.joined("text") == text == response.text:
        problems.append(f"text {loop.joined('text')!r}, response {response.text!r}, expected {text!r}")
    if not loop.joined("reasoning") == thoughts == response.reasoning:
        problems.append(f"reasoning {loop.joined('reasoning')!r}, expected {thoughts!r}")
    if response.complete != finished:
        problems.append(f"complete={response.complete}")
    if [chunk.type for chunk in loop.chunks].count(ChunkType.DONE) != finished:
        problems.append("not one ending")
    if loop.error is not None:
        # Of an empty body nothing was cut; it is no answer at all.
        right = errors.ProtocolError if at == 0 and framing != "aborted" else errors.Truncated
        if type(loop.error) is not right or response.finish_reason is not None:
            problems.append(f"{loop.error!r}, finish_reason={response.finish_reason!r}")
    problems += _problems_with_calls(loop, CALL in came, finished and CALL in came)
    return ("wrong", "; ".join(problems)) if problems else None


def _problems_with_calls(loop: Seen, whole: bool, told: bool) -> Iterable[str]:
    """Check that a call is given as a whole one only if all of it came; *told* says that it must be given."""
    calls = loop.calls
    if calls and not whole:
        yield f"a cut call passes for whole: {calls}"
    if any((call.name, call.arguments) != (CALL.name, ARGUMENTS) for call in calls):
        yield f"the call is not what was sent: {calls}"
    if told and len(calls) != 2:  # once as a chunk, once in the response
        yield f"the call was given {len(calls)} times"


@attrs.define
class Row:
    """What became of the cuts of one dialect's answer of one kind, by framing."""

    dialect: str
    kind: str
    cuts: Counter[str] = attrs.field(factory=Counter)
    faults: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    """By framing and word."""
    examples: list[str] = attrs.field(factory=list)


def sweep(name: str, kind: str, stride: int = 1, seed: int = 0) -> Row:
    """Cut the dialect's answer at every *stride*-th byte, and at all that lie around an event's end."""
    row = Row(name, kind)
    answer = good(DIALECTS[name], kind)
    if answer is None:
        return row
    offset = random.Random(f"{seed} {name} {kind}").randrange(stride)
    cuts = sorted({*answer.cuts()[offset::stride], *answer.near_ends()})
    cutter = Cutter()
    with cutter.server, answer.dialect.provider(cutter.server.origin) as provider:
        for framing in FRAMINGS:
            for at in cuts:
                cutter.cut(answer, framing, at)
                found = verdict(answer, framing, at, ask(answer, provider))
                row.cuts[framing] += 1
                if found is not None:
                    row.faults[framing, found[0]] += 1
                    row.examples.append(f"{name}, {kind}, {framing}, cut at {at}: {': '.join(found)}")
    return row


WORDS = ("accepted", "refused", "wrong")
JOBS = [(name, kind) for kind in KINDS for name in DIALECTS if good(DIALECTS[name], kind) is not None]
"""Every answer that is cut: dialect and kind."""


def table(rows: Iterable[Row]) -> str:
    """Render the rows as text, the totals last."""
    rows = list(rows)
    total = Row("all", "", sum((row.cuts for row in rows), Counter()), sum((row.faults for row in rows), Counter()))
    titles = [f"{framing:>9} {'  '.join(WORDS)}" for framing in FRAMINGS]
    lines = [f"{'dialect':12}{'answer':10}" + "   ".join(titles)]
    for row in [*rows, total]:
        cells = [
            f"{row.cuts[framing]:9} " + "  ".join(f"{row.faults[framing, word]:{len(word)}}" for word in WORDS)
            for framing in FRAMINGS
        ]
        lines.append(f"{row.dialect:12}{row.kind:10}" + "   ".join(cells))
    return "\n".join(lines)


def main() -> int:
    """Run the program and give its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__.partition("\n")[0])
    parser.add_argument("--dialect", choices=DIALECTS, action="append", help="only this one; may be repeated")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only answers of this kind; may be repeated")
    parser.add_argument("--stride", type=int, default=1, help="cut at every n-th byte only, and around events' ends")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="where a stride begins")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    given = parser.parse_args()
    jobs = [(n, k) for n, k in JOBS if n in (given.dialect or DIALECTS) and k in (given.kind or KINDS)]
    began = monotonic()
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        rows = list(
            pool.map(sweep, *zip(*jobs, strict=True), *([each] * len(jobs) for each in (given.stride, given.seed)))
        )
    print(table(rows))
    examples = [example for row in rows for example in row.examples]
    print(*examples[:20], sep="\n", end="\n" if examples else "")
    count = {word: sum(row.faults[framing, word] for row in rows for framing in FRAMINGS) for word in WORDS}
    total = sum(sum(row.cuts.values()) for row in rows)
    told = ", ".join(f"{number} {word}" for word, number in count.items())
    print(
        f"{'FAILED' if examples else 'passed'}: {total} cuts in {monotonic() - began:.0f} s, {told} (seed {given.seed})"
    )
    return 1 if examples else 0


if __name__ == "__main__":
    sys.exit(main())
