"""The faults of the ending, rows 23 to 30: answers that break off, and answers that end in an odd way."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from dialects import TEXT, Dialect
from faults.core import ANY, Fault, Outcome, Scene, Step
from faults.says import PART, body, hold, opened, part, signalled, then, top
from server import LAST_CHUNK, Conn, full, http_chunk
from wires.script import Answer, Say, Use

from promptstream import Retry, Timeout
from promptstream.errors import Truncated

AFTER = "After the finish signal"
THRICE = Retry(3, base=0.001)
Body = Callable[[Dialect], bytes]
Framing = Callable[[Dialect, bytes], Step]


# How a body ends, whatever is in it


def ends(conn: Conn) -> None:
    """End the connection cleanly."""
    conn.end()


def resets(conn: Conn) -> None:
    """Tear the connection down, once the client has read what was sent."""
    conn.gone.wait(0.03)  # a reset overtakes what is still in the client's buffer
    conn.reset()


def gzipped(data: bytes, end: bool) -> bytes:
    """Pack *data*, so that all of it can be read, with or without the packing's own end."""
    squeeze = zlib.compressobj(wbits=31)
    return squeeze.compress(data) + squeeze.flush(zlib.Z_FINISH if end else zlib.Z_SYNC_FLUSH)


CLEAN: dict[str, Framing] = {
    "chunked": lambda dialect, data: then(opened(dialect) + (http_chunk(data) if data else b"") + LAST_CHUNK),
    "close": lambda dialect, data: then(top(dialect, Connection="close") + data, ends),
    "its length": lambda dialect, data: then(top(dialect, Content_Length=str(len(data))) + data),
    "gzip": lambda dialect, data: then(
        top(dialect, Content_Encoding="gzip", Connection="close") + gzipped(data, True), ends
    ),
}
"""Framings that end as if all were well."""
BROKEN: dict[str, Framing] = {
    "without the last chunk": lambda dialect, data: then(opened(dialect) + http_chunk(data), ends),
    "inside a chunk": lambda dialect, data: then(opened(dialect) + http_chunk(data + b"....")[:-6], ends),
    "inside a chunk's length": lambda dialect, data: then(opened(dialect) + http_chunk(data) + b"1f", ends),
    "by a chunk that is too long": lambda dialect, data: then(opened(dialect) + http_chunk(data) + b"1\r\nabc", ends),
    "by a chunk of no length": lambda dialect, data: then(opened(dialect) + http_chunk(data) + b"oops\r\n", ends),
    "by a chunk of negative length": lambda dialect, data: then(opened(dialect) + http_chunk(data) + b"-5\r\n", ends),
    "inside the trailers": lambda dialect, data: then(opened(dialect) + http_chunk(data) + b"0\r\nX-T: 1\r\n", ends),
    "before its length": lambda dialect, data: then(top(dialect, Content_Length=str(len(data) + 9)) + data, ends),
    "by a reset": lambda dialect, data: then(opened(dialect) + http_chunk(data), resets),
}
"""Framings that end in the middle, which the transport can tell."""


def cut(row: int, name: str, data: Body, framing: Framing, **more: Any) -> Fault:
    """Make an answer that is cut: Truncated, with what was yielded, and never asked for again."""
    outcome = {"error": Truncated, "text": PART, "phase": "body", "retryable": False, "finish": None}
    kept = {key: more.pop(key) for key in ("per", "also", "secure", "reused") if key in more}
    return Fault(
        row,
        name,
        step=lambda dialect: framing(dialect, data(dialect)),
        retry=THRICE,
        outcome=Outcome(**{**outcome, **more}),
        **kept,
    )


def has_a_cause(scene: Scene) -> None:
    """Check that the error says what happened below."""
    assert scene.error is not None
    assert scene.error.__cause__ is not None, "the error has no cause"


# 23 and 24: cut between two events, and inside one


def in_json(dialect: Dialect) -> bytes:
    """Cut in the middle of the JSON of the third delta."""
    return part(dialect) + dialect.delta(" a")[:-20]


def in_a_name(dialect: Dialect) -> bytes:
    """Cut inside the first field's name, or behind the brace that opens a line."""
    return part(dialect) + dialect.delta(" a")[: 2 if dialect.framing == "sse" else 1]


def in_a_letter(dialect: Dialect) -> bytes:
    """Cut inside a letter of more than one byte."""
    event = dialect.delta("é")
    return part(dialect) + event[: event.index("é".encode()) + 1]


def in_a_comment(dialect: Dialect) -> bytes:
    """Cut inside a sign of life."""
    return part(dialect) + (b": keep-al" if dialect.framing == "sse" else b"  ")


def before_the_signal_ends(dialect: Dialect) -> bytes:
    """Cut one byte before the JSON of the finish signal is whole."""
    return signalled(dialect).rstrip()[:-1]


NO_DELTA = {"completions": "nothing comes before its first delta", "gemini": "nothing comes before its first delta"}
NO_DELTA |= {"ollama": "nothing comes before its first delta"}

CUTS = (
    *(cut(23, f"a clean end by {name} after two deltas", part, framing) for name, framing in CLEAN.items()),
    *(
        cut(
            23,
            f"a clean end by {name} before any delta",
            lambda dialect: dialect.opening(),
            framing,
            text="",
            per=NO_DELTA,
        )
        for name, framing in CLEAN.items()
        if name != "gzip"
    ),
    cut(
        23,
        "a clean end of all deltas before the finish signal",
        lambda dialect: b"".join(dialect.events(finish=None)),
        CLEAN["chunked"],
        text=TEXT,
        secure=True,
    ),
    cut(23, "a clean end on a pooled connection", part, CLEAN["close"], reused=True, secure=True),
    *(
        cut(24, f"an end by {framing} {name}", data, CLEAN[framing], text=text)
        for framing in ("chunked", "close")
        for name, data, text in (
            ("inside JSON", in_json, PART),
            ("inside a name", in_a_name, PART),
            ("inside a letter", in_a_letter, PART),
            ("inside a comment", in_a_comment, PART),
            ("inside the finish signal", before_the_signal_ends, TEXT),
        )
    ),
    *(
        Fault(
            24,
            f"an end by {framing} before a delta's last line end",
            step=lambda dialect, framing=framing: CLEAN[framing](dialect, part(dialect).rstrip(b"\r\n") + end(dialect)),
            outcome=Outcome(Truncated, text=ANY, phase="body", finish=None),
            also=lambda scene: _one_of(scene, "Once", PART),
        )
        for framing in ("chunked", "close")
    ),
)


def end(dialect: Dialect) -> bytes:
    """Give all of an event's end but its last byte."""
    return {"gemini": b"\r\n\r", "ollama": b""}.get(dialect.name, b"\n")


def _one_of(scene: Scene, *texts: str) -> None:
    assert scene.yielded in texts, f"yielded {scene.yielded!r}"


# 25 and 26: cut below the events, before the finish signal and after it


def no_trailer(data: Body) -> Callable[[Dialect], Step]:
    """End a packed body without the packing's own end."""
    return lambda dialect: then(
        top(dialect, Content_Encoding="gzip", Connection="close") + gzipped(data(dialect), False), ends
    )


def after(name: str, step: Callable[[Dialect], Step], warns: str | None, **more: Any) -> Fault:
    """Make an ending in disorder after the finish signal: the answer is whole, and a warning says so."""
    outcome = Outcome(text=TEXT, finish="stop", warns=warns)
    return Fault(26, name, step=step, retry=THRICE, outcome=outcome, **more)


def failed_late(name: str, framing: Framing, data: Body, words: str, warns: str | None) -> Fault:
    """Make a broken end after the finish signal."""
    # In these two the finish signal is the last thing to come: nothing is read after it.
    per = {"responses": {"warns": None}, "ollama": {"warns": None}} if warns else {}
    step = lambda dialect: framing(dialect, data(dialect))  # noqa: E731
    return after(f"an end {name}, {words}", step, warns, secure="reset" in name, per=per)


BREAKS = (
    *(
        cut(
            25,
            f"an end {name}",
            part,
            framing,
            also=has_a_cause,
            secure=name in ("by a reset", "without the last chunk"),
        )
        for name, framing in BROKEN.items()
    ),
    Fault(
        25,
        "an end of gzip without its trailer",
        step=no_trailer(part),
        outcome=Outcome(Truncated, text=PART, phase="body", finish=None),
    ),
    *(failed_late(name, framing, signalled, "after the finish signal", AFTER) for name, framing in BROKEN.items()),
    *(failed_late(name, framing, body, "after all of the answer", "") for name, framing in BROKEN.items()),
    *(
        after(
            f"a clean end by {name} after the finish signal",
            lambda dialect, framing=framing: framing(dialect, signalled(dialect)),
            None,
        )
        for name, framing in CLEAN.items()
    ),
    after("an end of gzip without its trailer, after the finish signal", no_trailer(signalled), ""),
    after(
        "an event cut in two after the finish signal",
        lambda dialect: CLEAN["chunked"](dialect, signalled(dialect) + dialect.delta("x")[:9]),
        "",
    ),
    after(
        "rubbish after the finish signal",
        lambda dialect: CLEAN["chunked"](
            dialect, signalled(dialect) + (b"data: {oops\n\n" if dialect.framing == "sse" else b"{oops\n")
        ),
        "",
    ),
)


# 27: an ending that nothing follows

NO_TERMINATOR = {
    "gemini": "nothing says that nothing follows the finish signal; see: silence in place of the terminator"
}
HELD = (
    Fault(
        27,
        "all of an answer, then the connection is held open",
        step=lambda dialect: then(opened(dialect) + http_chunk(body(dialect)), hold),
        secure=True,
        outcome=Outcome(text=TEXT, finish="stop"),
        per=NO_TERMINATOR,
    ),
    Fault(
        27,
        "all of an answer, then the connection is held open, which was used before",
        step=lambda dialect: then(opened(dialect) + http_chunk(body(dialect)), hold),
        reused=True,
        outcome=Outcome(text=TEXT, finish="stop"),
        per=NO_TERMINATOR,
    ),
    Fault(
        27,
        "all of an answer, until the end of the connection, which is held open",
        step=lambda dialect: then(top(dialect, Connection="close") + body(dialect), hold),
        outcome=Outcome(text=TEXT, finish="stop"),
        per=NO_TERMINATOR,
    ),
    Fault(
        27,
        "silence in place of the terminator",
        step=lambda dialect: then(opened(dialect) + http_chunk(signalled(dialect)), hold),
        timeout=Timeout(connect=5, first=5, idle=0.15),
        limit=0.15,
        outcome=Outcome(text=TEXT, finish="stop", warns=AFTER),
        per={name: {"warns": ""} for name in ("responses", "ollama", "gemini")},
    ),
)


# 28 to 30: endings that the provider chose


def without_the_signal(dialect: Dialect) -> bytes:
    """Give all deltas and the terminator, without what says why it ended."""
    events = dialect.events(finish=None)
    return b"".join(events) + dialect.events()[-1]


def before_content(dialect: Dialect) -> bytes:
    """Give what comes before any content: a role, or the name of the message."""
    return b"" if dialect.name == "completions" else dialect.events()[0]


def called(dialect: Dialect) -> bytes:
    """Give an answer that calls a tool, its arguments cut by the token limit."""
    call = Use("call_1", "add", ('{"a": 1, "b', "oops"))
    return dialect.wire.stream(Answer([Say("Once"), call], "length")).body


def voids_the_call(scene: Scene) -> None:
    """Check that the call whose arguments were cut cannot be run."""
    assert scene.response is not None
    (call,) = scene.response.tool_calls
    assert call.arguments is None, call
    assert call.problem
    assert call.raw_arguments == '{"a": 1, "boops'


SENTINEL = dict.fromkeys(("responses", "gemini", "ollama"), "it has no terminator beside its finish signal")
NO_TOOLS = {"completions": "a text completion has no tools", "ollama": "a call comes whole, its arguments an object"}
NO_TOOLS |= {"gemini": "a call comes whole, its arguments an object"}


def finished(row: int, name: str, finish: str, common: str) -> Fault:
    """Make an answer that ends for another reason than that it is told to the end."""

    def raw(scene: Scene) -> None:
        assert scene.response is not None
        assert scene.response.raw_finish_reason == scene.dialect.wire.finish_word(finish)

    return Fault(
        row,
        name,
        step=lambda dialect: CLEAN["chunked"](dialect, dialect.written(finish=finish).body),
        outcome=Outcome(text=TEXT, finish=common),
        also=raw,
        per={"ollama": "nothing filters here", "anthropic": {"finish": "refusal"}}
        if finish == "content_filter"
        else {},
    )


ENDINGS = (
    Fault(
        28,
        "a terminator without a finish reason",
        step=lambda dialect: CLEAN["chunked"](dialect, without_the_signal(dialect)),
        outcome=Outcome(text=TEXT, finish=None, raw_finish=None),
        per=SENTINEL,
    ),
    Fault(
        28,
        "a terminator without a finish reason, and without any content",
        step=lambda dialect: CLEAN["chunked"](dialect, before_content(dialect) + dialect.events()[-1]),
        outcome=Outcome(Truncated, text="", phase="body"),
        per=SENTINEL,
    ),
    finished(29, "an answer cut by the token limit", "length", "length"),
    finished(29, "an answer stopped by a filter", "content_filter", "content_filter"),
    Fault(
        29,
        "a call whose arguments are cut by the token limit",
        step=lambda dialect: CLEAN["chunked"](dialect, called(dialect)),
        outcome=Outcome(text="Once", finish="length", warns=""),
        also=voids_the_call,
        per=NO_TOOLS,
    ),
    finished(30, "a finish reason that nobody knows", "odd", "other"),
)


# One JSON body


def whole_cut(name: str, answer: Callable[[Dialect], Step], **more: Any) -> Fault:
    """Make an answer in one JSON body that is cut."""
    outcome = {"error": Truncated, "phase": "body", "retryable": False}
    return Fault(25, name, step=answer, modes=("whole",), retry=THRICE, outcome=Outcome(**{**outcome, **more}))


def halved(dialect: Dialect) -> bytes:
    """Give the first half of an answer in one body."""
    return dialect.whole()[:-9]


WHOLE = (
    whole_cut("a body cut before its length", lambda dialect: then(full("200 OK", dialect.whole())[:-9], ends)),
    whole_cut("a body cut by a clean end", lambda dialect: then(full("200 OK", halved(dialect)))),
    Fault(
        26,
        "a whole body, cut behind its end",
        step=lambda dialect: then(full("200 OK", dialect.whole() + b"    ")[:-2], ends),
        modes=("whole",),
        outcome=Outcome(text=TEXT, finish="stop", warns=""),
    ),
)

FAULTS = (*CUTS, *BREAKS, *HELD, *ENDINGS, *WHOLE)
