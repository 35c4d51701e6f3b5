"""Surrogates: whatever a model sends and however it is cut, the text handed out can be encoded."""

from __future__ import annotations

import json
from typing import Any

import pytest
import responses
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptstream import ChunkType, Response, providers
from promptstream.errors import StreamError
from promptstream.values.surrogates import Joiner, mend

HIGH, LOW = "\ud83d", "\ude00"
code_points = st.one_of(
    st.integers(0, 0x10FFFF).map(chr),
    st.integers(0xD800, 0xDFFF).map(chr),
    st.sampled_from([HIGH, LOW, HIGH + LOW, "a", "é", "😀"]),
)
texts = st.lists(code_points, max_size=20).map("".join)
deltas = st.lists(texts, max_size=12)


def joined(pieces: list[str]) -> str:
    """Pass *pieces* through a joiner and give all that comes out; every piece must be encodable by itself."""
    joiner = Joiner()
    out = [joiner.feed(piece) for piece in pieces]
    out.append(joiner.flush())
    for piece in out:
        piece.encode()
    return "".join(out)


@settings(max_examples=500)
@given(texts)
def test_mended_text_can_be_encoded_and_mending_again_changes_nothing(text):
    """Any string becomes one that UTF-8 takes, and a mended one stays as it is."""
    mended = mend(text)
    mended.encode()
    assert mend(mended) == mended


@given(st.text())
def test_text_that_can_be_encoded_is_left_alone(text):
    """Nothing is changed where nothing is wrong."""
    assert mend(text) == text
    assert joined([text]) == text


@settings(max_examples=500)
@given(deltas)
@example([HIGH, LOW])
@example([HIGH, "", LOW])
@example([HIGH, HIGH, LOW])
@example([LOW, HIGH])
@example(["a" + HIGH, LOW + "b" + HIGH])
@example([HIGH, "a"])
def test_deltas_cut_anywhere_give_what_the_whole_would(pieces):
    """Joined output always encodes and equals the mended whole."""
    assert joined(pieces) == mend("".join(pieces))


@settings(max_examples=200)
@given(texts)
def test_code_points_one_at_a_time_give_what_the_whole_would(text):
    """A stream of single code points gives the mended whole."""
    assert joined(list(text)) == mend(text)


def test_a_pair_becomes_its_character_and_a_lone_half_the_replacement_character():
    """Pairs are joined over deltas; what never meets its other is U+FFFD, once."""
    assert joined([HIGH, LOW]) == "😀"
    assert joined(["a" + HIGH, "b"]) == "a\ufffdb"
    assert joined(["a", LOW]) == "a\ufffd"
    assert joined([HIGH]) == "\ufffd"


def test_only_a_trailing_high_half_is_held_back():
    """Nothing waits for the next delta but a half that may still meet its other."""
    joiner = Joiner()
    assert joiner.feed("a" + LOW) == "a\ufffd"
    assert not joiner.held
    assert joiner.feed("b" + HIGH) == "b"
    assert joiner.held
    assert joiner.feed(LOW) == "😀"
    assert not joiner.held
    assert joiner.flush() == ""


# Over the wire

URL = "http://127.0.0.1:9/v1/chat/completions"


def answered(deltas: list[dict[str, Any]], ending: str | None = "stop") -> Response:
    """Give what a server's deltas come to, each chunk of which must be encodable by itself."""
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    if ending:
        choices.append({"index": 0, "delta": {}, "finish_reason": ending})
    body = "".join(f"data: {json.dumps({'model': 'm', 'choices': [choice]})}\n\n" for choice in choices)
    with responses.RequestsMock() as net, providers.Compatible("http://127.0.0.1:9/v1", model="m") as provider:
        net.post(URL, body=body, content_type="text/event-stream")
        stream = provider.stream("Hello")
        try:
            for chunk in stream:
                (chunk.text + chunk.reasoning).encode()
                assert chunk.text or chunk.reasoning or chunk.type not in (ChunkType.TEXT, ChunkType.REASONING)
                json.dumps(chunk.to_event(), ensure_ascii=False).encode()
        except StreamError as error:
            return error.response
        return stream.response


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=6))
def test_text_and_thoughts_over_the_wire_can_always_be_encoded(pieces):
    """Whatever halves a server sends in whatever deltas, the answer is the mended whole."""
    whole = mend("".join(pieces))
    assert answered([{"content": piece} for piece in pieces]).text == whole
    assert answered([*({"reasoning": piece} for piece in pieces), {"content": "x"}]).reasoning == whole


def test_a_half_at_the_end_of_the_thoughts_stays_before_the_text():
    """What is held back is handed out where it came, not after what followed it."""
    response = answered([{"reasoning": "Hm" + HIGH}, {"content": "Hi"}])
    assert [(part.type, part.text) for part in response.message.parts] == [("reasoning", "Hm\ufffd"), ("text", "Hi")]


def test_a_half_at_the_end_of_the_text_stays_before_the_thoughts():
    """The same, the other way round."""
    response = answered([{"content": "Hi" + HIGH}, {"reasoning": "Hm"}, {"content": LOW + "!"}])
    assert [(part.type, part.text) for part in response.message.parts] == [
        ("text", "Hi\ufffd"),
        ("reasoning", "Hm"),
        ("text", "\ufffd!"),
    ]


def test_a_half_at_the_cut_of_an_answer_is_not_lost():
    """Also an answer without an ending has all its text."""
    assert answered([{"content": "Hi"}, {"content": HIGH}], ending=None).text in ("Hi\ufffd", "Hi")


@pytest.mark.parametrize("fragments", [['{"a": "\ud83d', '\ude00"}'], ['{"a": "\ud83d"}']])
def test_fragments_of_a_call_can_be_encoded(fragments):
    """Halves inside a call's arguments are mended in every delta and in the whole."""
    deltas = [
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": each}}]} for each in fragments
    ]
    (call,) = answered(deltas, "tool_calls").tool_calls
    assert call.raw_arguments == mend("".join(fragments))
