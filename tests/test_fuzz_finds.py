"""What the fuzzer found: bytes in, the outcome that was promised out."""

from __future__ import annotations

import gzip
import json
import time

import pytest
from decoding import decoded
from dialects import DIALECTS, Dialect
from wires.script import Answer, Use

from promptstream.errors import ProtocolError, Truncated
from promptstream.exchange import _parsed
from promptstream.providers.toolcalls import whole_call
from promptstream.wire.causes import causes_of
from promptstream.wire.jsontext import is_cut, loads, loads_exact, loads_quick

NAMES = list(DIALECTS)
CALLING = [name for name in NAMES if "tools" not in DIALECTS[name].wire.lacks]
HALF = b"\\ud83d"
ORIGIN = "http://127.0.0.1:9"


def outcome(dialect: Dialect, body: bytes):
    """Decode *body* as this dialect's answer."""
    return decoded(dialect.provider(ORIGIN).dialect, [body])


@pytest.mark.parametrize("name", NAMES)
def test_half_a_surrogate_pair_in_a_models_name_or_an_id_can_be_encoded(name):
    """Not text alone: whatever a caller may print or log of an answer is characters that UTF-8 has."""
    dialect = DIALECTS[name]
    body = dialect.written().body.replace(dialect.wire.answering.encode(), b"m" + HALF)
    for identity in (b"chatcmpl-1", b"cmpl-1", b"resp_1", b"msg_1", b"req-of-the-contract"):
        body = body.replace(b'"' + identity + b'"', b'"' + HALF + b'"')
    response, error, chunks = outcome(dialect, body)
    assert error is None
    assert response.model == "m\ufffd"
    assert {chunk.model for chunk in chunks} <= {"m\ufffd", None}
    json.dumps([chunk.to_event() for chunk in chunks], ensure_ascii=False).encode()
    (response.request_id or "").encode()


@pytest.mark.parametrize("name", CALLING)
def test_half_a_surrogate_pair_in_a_tools_name_or_id_can_be_encoded(name):
    """A call's name and id go into events, logs and the next request."""
    written = DIALECTS[name].wire.stream(Answer([Use("call_7", "add", ('{"a":', "1}"))], "tool_calls"))
    body = written.body.replace(b'"add"', b'"a' + HALF + b'"').replace(b'"call_7"', b'"c' + HALF + b'"')
    response, _, chunks = outcome(DIALECTS[name], body)
    (call,) = response.tool_calls
    assert (call.name, call.arguments) == ("a\ufffd", {"a": 1})
    json.dumps([chunk.to_event() for chunk in chunks], ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["chat", "completions", "anthropic", "gemini", "ollama"])
def test_half_a_surrogate_pair_in_a_finish_reason_can_be_encoded(name):
    """An unknown finish reason is kept verbatim, as far as that is characters."""
    dialect = DIALECTS[name]
    word = (dialect.wire.finish_word("stop") or "").encode()
    response, error, _ = outcome(dialect, dialect.written().body.replace(b'"' + word + b'"', b'"s' + HALF + b'"'))
    assert (error, response.finish_reason, response.raw_finish_reason) == (None, "other", "s\ufffd")


@pytest.mark.parametrize("number", ["1e999", "-1e400", "1" + "0" * 400 + ".0"])
def test_a_number_beyond_all_floats_is_not_taken_for_infinity(number):
    """JSON has no infinity: handed out, it could not be written again, in no event and no later request."""
    for read in (loads, loads_exact):
        with pytest.raises(ProtocolError, match="not JSON"):
            read(f'{{"a": [{number}]}}')
    call = whole_call("c", "add", f'{{"a": {number}}}')
    assert call.arguments is None
    assert call.problem is not None


@pytest.mark.parametrize(
    "text",
    ['{"a": "' + "x" * 2_000_000, '{"a": [' + '{"b": "\\"]"}, ' * 60_000, '{"a": ' + "[[[]]], " * 60_000],
    ids=["a string", "objects", "lists"],
)
def test_a_large_answer_that_is_cut_is_told_from_one_that_is_malformed_in_no_time(text):
    """Megabytes of one JSON body are looked through at the speed of C, where it was character by character."""
    assert is_cut(text)
    best = 1.0
    for _ in range(3):
        begun = time.process_time()
        with pytest.raises(Truncated):
            _parsed(text.encode())
        best = min(best, time.process_time() - begun)
    assert best < 0.25


@pytest.mark.parametrize("name", NAMES)
def test_an_error_of_control_characters_is_bounded_as_it_is_shown(name):
    """500 characters of what a server says are told, escapes included: packed bytes do not fill a screen."""
    dialect = DIALECTS[name].provider(ORIGIN).dialect
    for body in (gzip.compress(bytes(range(256)) * 40, 0), b'{"error": {"message": "' + b"\\u0001" * 3000 + b'"}}'):
        said = str(dialect.error(404, {}, body))
        assert len(said) < 800
        assert said.isprintable()


@pytest.mark.parametrize("field", ["name", "id"])
def test_half_a_surrogate_pair_in_a_call_that_comes_in_parts_can_be_encoded(field):
    """Gemini's calls whose arguments are streamed are told before they are whole, by the same name and id."""
    call = f'{{"name": "add", "id": "c", "{field}": "x\\ud8ea", "willContinue": true}}'
    event = f'data: {{"candidates": [{{"content": {{"parts": [{{"functionCall": {call}}}]}}}}]}}\n\n'
    _, _, chunks = outcome(DIALECTS["gemini"], event.encode())
    assert getattr(chunks[0].tool_call, field) == "x\ufffd"


@pytest.mark.parametrize("read", [loads, loads_exact, loads_quick])
def test_what_is_no_json_is_not_carried_about_by_its_error(read):
    """The decoder's own exception holds the whole text: megabytes in every log and pickle, searched for the key."""
    text = '{"a": "' + "x" * 1000
    with pytest.raises(ProtocolError) as caught:
        read(text)
    assert not [each for each in causes_of(caught.value) if isinstance(each, ValueError)]
    assert len(str(caught.value)) < 300
