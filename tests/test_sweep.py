"""Cut at any byte, in any framing and any dialect, an answer never passes for whole, and a whole one never fails.

This is the program ``python -m tests.sweep`` in part: it cuts at every byte, and takes about two minutes.
"""

from __future__ import annotations

import random

import pytest
from dialects import DIALECTS
from sweep import FRAMINGS, JOBS, KINDS, Good, Seen, good, sweep, verdict

from promptstream import errors
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.message import Message, Text, ToolCall
from promptstream.values.response import Response

SEED = random.randrange(10**6)
"""Where the strides begin; another place in every run."""
STRIDES = {"stream": 7}


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_is_seen_wherever_it_falls(kind):
    """Around every event's end, and at a sample of all other bytes: 0 cuts accepted, 0 whole answers refused, the
    error is Truncated, and it carries exactly the text, the thoughts and the calls that were whole.
    """
    rows = [sweep(name, kind, STRIDES.get(kind, 29), SEED) for name, each in JOBS if each == kind]
    print(f"python -m tests.sweep --seed {SEED}")
    assert rows
    assert all(row.cuts[framing] > 5 for row in rows for framing in FRAMINGS)
    assert [example for row in rows for example in row.examples][:5] == []


def test_every_dialect_is_cut_in_every_way_it_has():
    """Six dialects; CRLF where their lines end in LF, calls where they have any, a terminator where there is one."""
    by_kind = {kind: [name for name, each in JOBS if each == kind] for kind in KINDS}
    assert by_kind["stream"] == by_kind["body"] == by_kind["ignored"] == list(DIALECTS)
    assert set(DIALECTS) - set(by_kind["crlf"]) == {"gemini"}
    assert set(DIALECTS) - set(by_kind["tools"]) == {"completions"}
    assert by_kind["sentinel"] == ["chat", "completions"]


# The judge is judged: it would be no use if it let everything pass.


def chat(kind: str = "stream") -> Good:
    """Give the answer of Chat Completions."""
    answer = good(DIALECTS["chat"], kind)
    assert answer is not None
    return answer


def loop(text: str, error: errors.StreamError | None = None, *calls: ToolCall) -> Seen:
    """Give what a loop might have seen: *text*, then DONE or *error*."""
    reason = None if error else "stop"
    response = Response(text, "", Message("assistant", [Text(text)]), calls, finish_reason=reason, complete=not error)
    chunks = [Chunk(ChunkType.TEXT, text), *(Chunk(ChunkType.TOOL_CALL, tool_call=call) for call in calls)]
    if error is None:
        return Seen([*chunks, Chunk(ChunkType.DONE, response=response)], None)
    error.response = response
    return Seen(chunks, error)


def word(answer: Good, framing: str, at: int, seen: Seen) -> str | None:
    """Give the verdict's word."""
    found = verdict(answer, framing, at, seen)
    return found[0] if found else None


def test_the_judge_knows_where_the_signal_is_whole():
    """The signal's JSON alone counts in a body that ended cleanly, and its blank line is needed in any other."""
    answer = chat()
    end = answer.bounds[answer.signal]
    whole, cut = loop("Once upon a time."), loop("Once upon a time.", errors.Truncated("cut"))
    for framing, signal in (("close", end - 2), ("chunked", end - 2), ("aborted", end)):
        assert word(answer, framing, signal, whole) is None
        assert word(answer, framing, signal, cut) == "refused"
        assert word(answer, framing, signal - 1, whole) == "accepted"
        assert word(answer, framing, signal - 1, cut) is None


def test_the_judge_compares_the_text():
    """Text that was not whole yet, text that is missing, and an error of another class are wrong."""
    answer = chat()
    second = answer.bounds[answer.items[1][0]]
    assert word(answer, "aborted", second, loop("Once upon", errors.Truncated("cut"))) is None
    assert word(answer, "aborted", second - 1, loop("Once upon", errors.Truncated("cut"))) == "wrong"
    assert word(answer, "aborted", second, loop("Once", errors.Truncated("cut"))) == "wrong"
    assert word(answer, "aborted", second, loop("Once upon", errors.ProtocolError("odd"))) == "wrong"


def test_the_judge_finds_a_cut_call():
    """A call given before all of its arguments came, or with others than were sent, is wrong."""
    answer = chat("tools")
    count, _ = answer.items[-1]
    before, after = answer.bounds[count - 1], answer.bounds[count]
    call = ToolCall("call_0123456789", "add", {"a": 1, "b": [2]}, '{"a":1,"b":[2]}')
    assert word(answer, "aborted", after, loop("Let me add.", errors.Truncated("cut"), call)) is None
    assert word(answer, "aborted", before, loop("Let me add.", errors.Truncated("cut"), call)) == "wrong"
    other = ToolCall("call_0123456789", "add", {"a": 1}, '{"a":1}')
    assert word(answer, "aborted", after, loop("Let me add.", errors.Truncated("cut"), other)) == "wrong"
