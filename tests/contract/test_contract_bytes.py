"""The contract under every cut: bytes may be split anywhere and end anywhere."""

from __future__ import annotations

import json
import random
from contextlib import suppress

import pytest
from playing import facts, play, play_whole
from wires import Wire
from wires.script import Answer, Noise, Sign, Think, Use

from promptstream import errors

SUM = Use("call_1", "add", ('{"a":2', ',"b":3}'))
RICH = Answer([Think("Hm"), Think("m."), Sign("c2ln"), "Žluťoučký ", "🐎👩‍👩‍👧 kůň.", SUM], "tool_calls")
TALK = Answer(["Žluť", "oučký", " 🐎", "."])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_text_survives_every_cut_of_the_bytes(wire: Wire, size):
    """Characters of four bytes, split anywhere, arrive whole."""
    body = wire.stream(RICH).body
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert facts(play(wire, pieces).result()) == facts(play(wire, body).result())
    assert play(wire, pieces).result().text == "Žluťoučký 🐎👩‍👩‍👧 kůň."


def test_a_surrogate_pair_split_over_deltas_is_joined(wire: Wire):
    """Two halves, escaped in two deltas, are one character."""
    response = play(wire, Answer(["a\ud83d", "\ude00b"])).result()
    assert response.text == "a😀b"


def test_half_a_surrogate_pair_becomes_a_replacement_character(wire: Wire):
    """Text can always be encoded, also where the provider sends nonsense."""
    response = play(wire, Answer(["a\ud83d", " b", "\ude00"])).result()
    assert response.text == "a\ufffd b\ufffd"
    response.text.encode()


@pytest.mark.parametrize("answer", [TALK, RICH], ids=["text", "everything"])
def test_a_cut_at_any_boundary_before_the_finish_signal_is_truncated(wire: Wire, answer):
    """However cleanly the bytes end, an answer without its finish signal is never whole; its text is kept."""
    written = wire.stream(answer)
    whole = play(wire, answer).result()
    for count in range(written.signal):
        stream = play(wire, b"".join(written.events[:count]))
        with pytest.raises(errors.Truncated) as caught:
            stream.result()
        response = caught.value.response
        assert not response.complete
        assert whole.text.startswith(response.text)
        assert {call.name for call in response.tool_calls} <= {"add"}
        assert all(call.problem is None for call in response.tool_calls)


@pytest.mark.parametrize("answer", [TALK, RICH], ids=["text", "everything"])
def test_a_cut_anywhere_before_the_finish_signal_is_truncated(wire: Wire, answer):
    """Nor inside an event, a line, a character or an escape."""
    written = wire.stream(answer)
    last = written.events[written.signal - 1]
    whole_json = len(last.rstrip())  # with its closing brace, an unterminated event counts
    end = len(b"".join(written.events[: written.signal - 1])) + whole_json - 1
    body = written.body
    for at in range(0, end, 3):
        with pytest.raises(errors.Truncated):
            play(wire, body[:at]).result()


@pytest.mark.parametrize("answer", [TALK, RICH], ids=["text", "everything"])
def test_a_cut_after_the_finish_signal_is_whole(wire: Wire, answer):
    """What comes after it may be missed: usage, perhaps, but no part of the answer."""
    written = wire.stream(answer)
    whole = play(wire, answer).result()
    for count in range(written.signal, len(written.events) + 1):
        response = play(wire, b"".join(written.events[:count])).result()
        assert response.complete
        assert (response.text, response.finish_reason) == (whole.text, whole.finish_reason)
        assert [call.arguments for call in response.tool_calls] == [call.arguments for call in whole.tool_calls]


def test_the_last_event_may_lack_its_end(wire: Wire):
    """A finish signal that is one whole JSON value counts, though its line end never came."""
    written = wire.stream(TALK)
    body = b"".join(written.events[: written.signal]).rstrip()
    assert play(wire, body).result().text == TALK.text


@pytest.mark.parametrize("ends", [(b"\r\n", b"\n"), (b"\n", b"\r\n")], ids=["LF", "CRLF"])
def test_line_ends_do_not_matter(wire: Wire, ends):
    """LF and CRLF are read alike."""
    body = wire.stream(RICH).body.replace(b"\r\n", b"\n").replace(b"\n", ends[1])
    assert facts(play(wire, body).result()) == facts(play(wire, RICH).result())


def test_a_byte_order_mark_is_no_part_of_the_first_event(wire: Wire):
    """Nothing is lost to it."""
    assert play(wire, b"\xef\xbb\xbf" + wire.stream(TALK).body).result().text == TALK.text


# Nonsense


def _values(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _values(inner, (*path, key))


def _replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


STRANGE = (None, 7, -1.5, "text", [], {}, [None], {"a": 1}, True, [[]], {"error": None})


def _bodies(wire: Wire, answer: Answer):
    """Give every event of an answer as what is before its JSON, the JSON, and what is after it."""
    for event in wire.stream(answer).events:
        at = event.find(b"{")
        if at >= 0:
            end = event.rindex(b"}") + 1
            yield event[:at], json.loads(event[at:end]), event[end:]


def test_strange_values_are_survived_or_told(wire: Wire):
    """Whatever stands in place of any value of any event, only errors of a stream come of it."""
    bodies = list(_bodies(wire, Answer([Think("Hm."), Sign("c2ln"), "Hi", Noise("keys"), SUM], "tool_calls")))
    for number, (_, body, _) in enumerate(bodies):
        for path in _values(body):
            for strange in STRANGE:
                odd = json.dumps(_replaced(body, path, strange)).encode()
                events = [
                    b + (odd if n == number else json.dumps(v).encode()) + a for n, (b, v, a) in enumerate(bodies)
                ]
                try:
                    play(wire, b"".join(events)).result()
                except errors.StreamError:
                    pass
                except Exception as error:
                    raise AssertionError(f"{type(error).__name__}: {error} after {odd!r}") from error


def test_strange_values_in_one_body_are_survived_or_told(wire: Wire):
    """The same of an answer in one JSON body."""
    body = json.loads(wire.whole(Answer([Think("Hm."), Sign("c2ln"), "Hi", SUM], "tool_calls")))
    for path in _values(body):
        for strange in STRANGE:
            odd = _replaced(body, path, strange)
            try:
                play_whole(wire, json.dumps(odd).encode()).result()
            except errors.StreamError:
                pass
            except Exception as error:
                raise AssertionError(f"{type(error).__name__}: {error} after {odd!r}") from error


@pytest.mark.parametrize("depth", [70, 100_000])
def test_json_that_is_nested_too_deeply_is_told(wire: Wire, depth):
    """Neither the parser's stack nor ours is used up."""
    body = wire.stream(TALK).body
    deep = b'{"novelty":' + b"[" * depth + b"]" * depth + b","
    at = body.index(b"{")
    with pytest.raises((errors.LimitExceeded, errors.ProtocolError)):
        play(wire, body[:at] + deep + body[at + 1 :]).result()


def test_events_lost_doubled_and_swapped_are_survived_or_told(wire: Wire):
    """Whatever becomes of the order of events, only errors of a stream come of it."""
    events = wire.stream(RICH).events
    orders = [events[:at] + events[at + 1 :] for at in range(len(events))]
    orders += [events[: at + 1] + events[at:] for at in range(len(events))]
    draw = random.Random(7)
    orders += [draw.sample(events, len(events)) for _ in range(30)]
    for order in orders:
        with suppress(errors.StreamError):
            play(wire, b"".join(order)).result()
