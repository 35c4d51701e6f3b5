"""Newline-delimited JSON: one event a line, whatever way the bytes are cut."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.events import LINE_TOKENS, cut
from hypothesis import given, settings
from hypothesis import strategies as st
from whatwg import lines_of

from promptstream.errors import LimitExceeded
from promptstream.wire.events import MAX_EVENT, Event, iter_ndjson
from promptstream.wire.jsontext import loads

bodies = st.lists(st.sampled_from(LINE_TOKENS), max_size=40).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(bodies, st.lists(st.integers(0, 500), max_size=12))
def test_lines_cut_at_random_are_the_lines_of_the_whole(body, cuts):
    """Cut anywhere, empty pieces included, the same lines and the same tail come."""
    lines, tail = lines_of(body)
    stream = iter_ndjson(cut(body, cuts))
    assert list(stream) == [Event("message", line) for line in lines]
    assert stream.tail == tail


@settings(max_examples=100, deadline=None)
@given(bodies)
def test_lines_that_come_byte_by_byte_are_the_lines_of_the_whole(body):
    """One byte at a time, the same lines and the same tail come."""
    lines, tail = lines_of(body)
    stream = iter_ndjson([body[at : at + 1] for at in range(len(body))])
    assert [event.data for event in stream] == lines
    assert stream.tail == tail


def test_recorded_bodies_are_read_line_by_line_at_any_cut(conformance_data: Path):
    """Every recorded NDJSON body gives one JSON value a line, whole, byte by byte and in pieces of seven."""
    paths = sorted((conformance_data / "recordings").glob("*/*.ndjson"))
    assert len(paths) == 16
    for path in paths:
        body = path.read_bytes()
        lines, tail = lines_of(body)
        assert [loads(line) for line in lines], path.name
        for size in (len(body), 1, 7):
            stream = iter_ndjson(body[at : at + size] for at in range(0, len(body), size))
            assert ([event.data for event in stream], stream.tail) == (lines, tail), path.name


def test_a_line_is_handed_out_before_more_bytes_are_asked_for():
    """The line end is enough: no byte after it is waited for."""

    def source() -> Iterator[bytes]:
        yield b'{"a": 1}\n{"a"'
        raise AssertionError("the first line was complete")

    assert next(iter_ndjson(source())).data == '{"a": 1}'


def test_the_last_line_without_its_end_is_the_tail():
    """What no line end closed is no event, whole as it may look: the dialect decides."""
    stream = iter_ndjson([b'{"a": 1}\n{"done":', b" true}"])
    assert [event.data for event in stream] == ['{"a": 1}']
    assert stream.tail == b'{"done": true}'


@pytest.mark.parametrize("size", [1 << 30, 16 << 10])
def test_a_line_of_4_mib_is_taken_and_a_longer_one_is_refused(size):
    """A line may have 4 MiB; one byte more is LimitExceeded, after the lines before it."""
    longest = b"x" * MAX_EVENT

    def sliced(body: bytes) -> Iterator[bytes]:
        return (body[at : at + size] for at in range(0, len(body), size))

    (event,) = iter_ndjson(sliced(longest + b"\n"))
    assert len(event.data) == MAX_EVENT
    events = iter(iter_ndjson(sliced(b"{}\n" + longest + b"x\n")))
    assert next(events).data == "{}"
    with pytest.raises(LimitExceeded, match="4 MiB"):
        next(events)


def test_a_line_without_end_is_refused_before_it_is_read_whole():
    """An endless line costs 4 MiB and a little."""
    read = 0

    def source() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 16 << 10
            yield b"x" * (16 << 10)

    with pytest.raises(LimitExceeded):
        list(iter_ndjson(source()))
    assert read <= MAX_EVENT + (32 << 10)


def test_blank_lines_without_end_take_constant_memory():
    """Keep-alives of blank lines pile up nowhere."""
    stream = iter_ndjson(itertools.chain([b'{"a": 1}\n'], itertools.repeat(b"\r\n" * 100, 4000)))
    tracemalloc.start()
    try:
        assert len(list(stream)) == 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
