"""Server-sent events: whatever way the bytes are cut, the events are those of WHATWG HTML 9.2.6."""

from __future__ import annotations

import base64
import gc
import itertools
import json
import time
import tracemalloc
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fuzz.events import BOM, TOKENS, cut, one_by_one
from hypothesis import example, given, settings
from hypothesis import strategies as st
from whatwg import interpret

from promptstream.errors import LimitExceeded
from promptstream.wire.events import MAX_EVENT, MAX_LINE, MAX_LINES, Event, iter_sse, tail_data

bodies = st.lists(st.sampled_from(TOKENS), max_size=40).map(b"".join)


def by_the_standard(body: bytes) -> list[Event]:
    """Give the events that the standard's own algorithm makes of *body*."""
    return interpret(body).events


@pytest.fixture(scope="module")
def cases(conformance_data: Path) -> list[dict]:
    """Give the conformance cases, decoded."""
    found = json.loads((conformance_data / "sse_cases.json").read_text())
    for case in found:
        case["body"] = base64.b64decode(case["input_b64"])
        case["events"] = [Event(**each) for each in case["expected"]]
        case["pieces"] = [base64.b64decode(piece) for piece in case.get("chunks_b64", ())]
    return found


def wrong(cases: list[dict], cutting) -> list[str]:
    """Name the cases that come out wrong for one of the ways that *cutting* cuts a body."""
    return [
        f"{case['name']}: {len(pieces)} pieces gave {events}"
        for case in cases
        for pieces in cutting(case)
        if (events := list(iter_sse(pieces))) != case["events"]
    ]


def test_there_are_86_conformance_cases_and_the_reference_agrees_with_all(cases):
    """The reference that the random tests lean on is itself right about every published case."""
    assert len(cases) == 86
    assert [case["name"] for case in cases if by_the_standard(case["body"]) != case["events"]] == []


def test_every_case_is_right_as_a_whole(cases):
    """A body that comes in one piece gives the events of the standard."""
    assert wrong(cases, lambda case: [[case["body"]]]) == []


def test_every_case_is_right_byte_by_byte(cases):
    """A body that comes one byte at a time gives the events of the standard."""
    assert wrong(cases, lambda case: [one_by_one(case["body"])]) == []


def test_every_case_is_right_at_every_cut(cases):
    """A body cut in two, anywhere, gives the events of the standard."""
    assert wrong(cases, lambda case: [cut(case["body"], [at]) for at in range(len(case["body"]) + 1)]) == []


def test_every_case_is_right_in_the_pieces_of_its_source(cases):
    """The cuts that the cases' own authors thought of give the events of the standard."""
    with_pieces = [case for case in cases if case["pieces"]]
    assert len(with_pieces) == 9
    assert all(b"".join(case["pieces"]) == case["body"] for case in with_pieces)
    assert wrong(with_pieces, lambda case: [case["pieces"]]) == []


def test_empty_pieces_change_nothing(cases):
    """Empty pieces, at the start, at the end and between any two bytes, are not an end."""

    def cutting(case: dict) -> list[list[bytes]]:
        pieces = [b"", b"", *itertools.chain.from_iterable((piece, b"") for piece in one_by_one(case["body"])), b""]
        return [pieces, [b"", case["body"], b""]]

    assert wrong(cases, cutting) == []


def test_short_bodies_of_line_ends_and_fields_are_right_without_exception():
    """Every sequence of up to five line ends, colons, fields and byte order marks is read by the standard."""
    tokens = (b"\r", b"\n", b":", b"data:a", b"id:b", b"event:c", BOM)
    for length in range(6):
        for sequence in itertools.product(tokens, repeat=length):
            body = b"".join(sequence)
            expected = by_the_standard(body)
            assert list(iter_sse([body])) == expected, body
            assert list(iter_sse(sequence)) == expected, sequence


@settings(max_examples=600, deadline=None)
@given(bodies, st.lists(st.integers(0, 2000), max_size=12))
@example(b"id: 1\n\ndata: a\n\n", [6])
@example(b"data: a\n\r\ndata: b\r\r\n\n", [8, 9])
@example(b"data: \xe2\x82\n\ndata: b\n\nid\ndata: c\n\n", [])
def test_random_bytes_cut_at_random_are_read_by_the_standard(body, cuts):
    """Whatever comes, cut however, gives exactly the events of the standard, ids and retries included."""
    assert list(iter_sse(cut(body, cuts))) == by_the_standard(body)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TOKENS), st.integers(1, 9)), max_size=30))
def test_repeated_pieces_byte_by_byte_are_read_by_the_standard(runs):
    """Runs of the same piece, one byte at a time, give exactly the events of the standard."""
    body = b"".join(piece * times for piece, times in runs)
    assert list(iter_sse(one_by_one(body))) == by_the_standard(body)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=8))
def test_any_bytes_at_all_are_read_by_the_standard(body, cuts):
    """Bytes that mean nothing are no reason for an exception."""
    assert list(iter_sse(cut(body, cuts))) == by_the_standard(body)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join), st.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_events_larger_than_the_compaction_step_are_read_by_the_standard(odd, end):
    """Comments between the fields of a large open event are dropped, and nothing else is."""
    filler = b": keep-alive" + end
    body = b"data: " + b"a" * 70_000 + end + filler * 6000 + odd + end + b"data: b" + end + odd + end + end
    pieces = cut(body, range(0, len(body), 4096))
    assert list(iter_sse(pieces)) == by_the_standard(body)


# The tail


@settings(max_examples=400, deadline=None)
@given(bodies, st.lists(st.integers(0, 2000), max_size=12))
def test_the_tail_is_what_a_blank_line_would_still_have_made_an_event(body, cuts):
    """Nothing but the unterminated rest is held back: a blank line after it completes the standard's events."""
    stream = iter_sse(cut(body, cuts))
    events = list(stream)
    rest = list(iter_sse([b"\n" + stream.tail + b"\n\n"]))
    whole = by_the_standard(body + (b"\n" if body.endswith(b"\r") else b"") + b"\n\n")
    assert [each[:2] for each in events + rest] == [each[:2] for each in whole]


@pytest.mark.parametrize(
    ("body", "tail"),
    [
        (b"data: 1\n\n", b""),
        (b"data: 1\n\ndata: [DONE]", b"data: [DONE]"),
        (b"data: 1\n\ndata: [DONE]\n", b"data: [DONE]\n"),
        (b"data: 1\r\n\r\ndata: [DONE]\r\n", b"data: [DONE]\n"),
        (b"data: 1\r\rdata: [DONE]\r", b"data: [DONE]\n"),
        (BOM + b"data: 1", b"data: 1"),
        (BOM[:2], BOM[:2]),
        (b'{"error": {}}', b'{"error": {}}'),
        (b"", b""),
    ],
)
def test_the_tail_holds_the_bytes_left_unterminated(body, tail):
    """``tail`` is what came after the last blank line, with LF line ends and without a byte order mark."""
    for pieces in ([body], one_by_one(body)):
        stream = iter_sse(pieces)
        list(stream)
        assert stream.tail == tail


@pytest.mark.parametrize(
    ("tail", "data"),
    [
        (b"data: [DONE]", "[DONE]"),
        (b"data:[DONE]\n", "[DONE]"),
        (b"event: e\nid: 4\ndata: {}", "{}"),
        (b'data: {"a":\ndata: 1}\n', '{"a":\n1}'),
        (b'{"error": {"message": "no"}}', '{"error": {"message": "no"}}'),
        (b'  {"error":\n "no"}\n', '{"error":\n "no"}'),
        (b": ping", ""),
        (b"event: e", ""),
        (b"[1]", ""),
        (b"dat", ""),
        (b"", ""),
    ],
)
def test_a_tail_has_the_data_that_its_lines_name(tail, data):
    """The data of a tail is what its event would have had, or a bare JSON object."""
    assert tail_data(tail) == data


# Delivery


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_is_handed_out_before_more_bytes_are_asked_for(end):
    """The blank line is enough: no byte after it is waited for."""
    asked = []

    def source() -> Iterator[bytes]:
        for number in range(3):
            asked.append(number)
            yield b"data: %d" % number + end + end.removesuffix(b"\n" if end == b"\r\n" else b"")
            if end == b"\r\n":
                asked.append("LF")
                yield b"\n"

    events = iter(iter_sse(source()))
    assert next(events).data == "0"
    assert asked == [0]
    assert next(events).data == "1"
    assert asked == ([0, "LF", 1] if end == b"\r\n" else [0, 1])


def test_a_byte_order_mark_alone_does_not_hold_back_an_event():
    """Only bytes that can still become a byte order mark are waited for."""

    def source() -> Iterator[bytes]:
        yield b"d"
        yield b"ata: x\n\n"
        raise AssertionError("the first event was complete")

    assert next(iter_sse(source())).data == "x"


def test_an_abandoned_iteration_leaves_the_rest_of_its_source_unread():
    """Whoever opened the bytes can go on reading them after the terminator."""
    source = iter([b"data: 1\n\n", b"data: 2\n\n", b"rest"])

    def generated() -> Iterator[bytes]:
        yield from source

    bytes_in = generated()
    events = iter(iter_sse(bytes_in))
    next(events)
    del events
    assert list(bytes_in) == [b"data: 2\n\n", b"rest"]


def test_an_abandoned_iteration_is_freed_without_the_garbage_collector():
    """Nothing of the parser forms a reference cycle, so that leaving a loop frees it at once."""

    def source() -> Iterator[bytes]:
        while True:
            yield b"id: 1\ndata: x\n\n"

    gc.collect()
    gc.disable()
    try:
        bytes_in = source()
        gone = weakref.ref(bytes_in)
        for _ in iter_sse(bytes_in):
            break
        del bytes_in
        assert gone() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_step_in_between_keeps_the_tail():
    """``through`` passes every event on and the stream's tail with it."""
    seen = []

    def step(events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            seen.append(event.data)
            yield event

    stream = iter_sse([b"data: 1\n\ndata: 2\n\ntail"]).through(step)
    assert [event.data for event in stream] == seen == ["1", "2"]
    assert stream.tail == b"tail"


def test_a_failing_source_is_heard_after_the_events_before_it():
    """An error of the byte source arrives as it is, and after everything that came whole before it."""

    def source() -> Iterator[bytes]:
        yield b"data: 1\n\ndata: 2"
        raise OSError("gone")

    events = iter(iter_sse(source()))
    assert next(events).data == "1"
    with pytest.raises(OSError, match="gone"):
        next(events)


# Bounds


def sliced(body: bytes, size: int) -> Iterator[bytes]:
    """Give *body* in pieces of *size*."""
    return (body[at : at + size] for at in range(0, len(body), size))


@pytest.mark.parametrize("size", [1 << 30, 16 << 10, 1000])
def test_a_line_of_1_mib_is_taken_and_a_longer_one_is_refused(size):
    """A line may have 1 MiB; one byte more is LimitExceeded, after the events before it."""
    longest = b"data:" + b"x" * (MAX_LINE - 5)
    (event,) = iter_sse(sliced(longest + b"\n\n", size))
    assert len(event.data) == MAX_LINE - 5
    events = iter(iter_sse(sliced(b"data: 1\n\n" + longest + b"x\n\n", size)))
    if size < MAX_LINE:
        assert next(events).data == "1"
    with pytest.raises(LimitExceeded, match=r"line.*1 MiB"):
        list(events)


def test_a_line_without_end_is_refused_before_it_is_read_whole():
    """An endless line costs 1 MiB and a little, not the memory of the machine."""
    read = 0

    def source() -> Iterator[bytes]:
        nonlocal read
        yield b"data: "
        while True:
            read += 16 << 10
            yield b"x" * (16 << 10)

    with pytest.raises(LimitExceeded):
        list(iter_sse(source()))
    assert read <= 3 * MAX_LINE


@pytest.mark.parametrize("size", [1 << 30, 16 << 10])
def test_an_event_of_4_mib_is_taken_and_a_larger_one_is_refused(size):
    """An event may have 4 MiB over its lines; a byte more is LimitExceeded."""
    line = b"data:" + b"x" * (MAX_LINE // 2 - 5)
    largest = b"\n".join([line] * 8)
    assert len(largest) - 7 == MAX_EVENT
    (event,) = iter_sse(sliced(largest + b"\n\n", size))
    assert len(event.data) == MAX_EVENT - 8 * 5 + 7
    with pytest.raises(LimitExceeded, match=r"event.*4 MiB"):
        list(iter_sse(sliced(largest + b"x\n\n", size)))


@pytest.mark.parametrize("size", [1 << 30, 16 << 10])
def test_an_event_of_10_000_lines_is_taken_and_one_more_is_refused(size):
    """An event may have 10,000 lines; one more is LimitExceeded. Comments are no lines of it."""
    (event,) = iter_sse(sliced(b"data: x\n: comment\n" * MAX_LINES + b"\n", size))
    assert event.data.count("\n") == MAX_LINES - 1
    with pytest.raises(LimitExceeded, match=r"10000 lines"):
        list(iter_sse(sliced(b"data: x\n" * (MAX_LINES + 1) + b"\n", size)))


def test_an_event_of_endless_lines_is_refused_before_its_end():
    """Lines without a blank line cannot pile up: the limit strikes while they come."""
    with pytest.raises(LimitExceeded):
        list(iter_sse(itertools.repeat(b"data: x\n" * 100)))
    with pytest.raises(LimitExceeded):
        list(iter_sse(itertools.repeat(b"data: " + b"x" * 60_000 + b"\n")))


@pytest.mark.parametrize("piece", [b": keep-alive\n" * 50, b":\r\n" * 300, b"unknown: field\n" * 50, b"\n" * 100])
def test_a_flood_without_any_event_takes_constant_memory(piece):
    """Keep-alives, unknown fields and blank lines without end, and without a blank line, pile up nowhere."""
    stream = iter_sse(itertools.chain([b"data: x\n"], itertools.repeat(piece, 4000), [b"\n\n"]))
    tracemalloc.start()
    try:
        events = list(stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [event.data for event in events] == ["x"]
    assert peak < 1 << 20


def seconds(body: Iterable[bytes]) -> float:
    """Give the CPU seconds that parsing takes, of three tries the best; a limit is an end like any other."""
    best = float("inf")
    pieces = list(body)
    for _ in range(3):
        start = time.process_time()
        list(iter_sse(pieces))
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize(
    "make",
    [
        lambda size: sliced(b"data: " + b"x" * size + b"\n\n", 64),
        lambda size: sliced(b"data: 1\n" + b": keep-alive\n" * (size // 12) + b"\n\n", 64),
        lambda size: sliced(b'data: {"a": 1}\n\n' * (size // 16), 64),
        lambda size: sliced(b'id: 1\ndata: {"a": 1}\n\n' * (size // 22), 64),
    ],
    ids=["one line", "comments", "events", "events with ids"],
)
def test_parsing_is_linear_in_the_bytes(make):
    """Eight times the bytes cost some eight times the time, not sixty-four times."""
    small, large = seconds(make(100_000)), seconds(make(800_000))
    assert large < 30 * small


def test_a_retry_of_many_digits_is_no_reason_to_die():
    """A reconnection time too long for an integer is a fault of the server's, not an exception of Python's."""
    body = b"retry: " + b"9" * 10_000 + b"\ndata: x\n\n"
    assert [event.data for event in iter_sse([body])] == ["x"]


def test_no_event_is_logged(caplog):
    """Neither what comes nor that it comes is written to any logger, at whatever level (design, section 4)."""
    with caplog.at_level(1):
        assert len(list(iter_sse([b"data: secret\n\n" * 3, b": a\n\ndata: b\ndata: c\nfoo: d\n\n"]))) == 4
    assert caplog.records == []
