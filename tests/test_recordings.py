"""Every recorded answer decoded: as it came, cut anyhow, disturbed, and ended too early."""

from __future__ import annotations

import random
from typing import Any

import pytest
from observed import CORRECTIONS, ERRORS, TRUNCATED, differences
from recordings import (
    DISTURBANCES,
    Recording,
    at_random,
    bytewise,
    data_of,
    described,
    events,
    is_finish,
    load,
    names,
    play,
)

from promptstream.errors import ProviderError, Truncated
from promptstream.values.chunk import ChunkType

pytestmark = pytest.mark.usefixtures("no_price_list")  # what was observed is what the wire says


@pytest.fixture(params=names() or ["none"])
def recording(request: pytest.FixtureRequest, conformance_data: object) -> Recording:
    """Each recorded answer in its turn."""
    return load(request.param)


def test_the_recordings_are_all_there(conformance_data):
    """303 recorded answers are read; errors and cuts among them are told by name, and no entry is stale."""
    assert len(names()) == 303
    assert {*CORRECTIONS, *ERRORS, *TRUNCATED} <= {*names()}
    failing = {name for name in names() if load(name).observed.get("errors")}
    assert failing <= {*ERRORS, *TRUNCATED}


def test_every_correction_of_what_was_observed_is_proved_by_the_recording_itself(conformance_data):
    """Corrections are few, and each quotes bytes that stand in the recording."""
    assert len(CORRECTIONS) <= 16
    for name, correction in CORRECTIONS.items():
        assert correction.proof, name
        assert correction.why, name
        for quoted in correction.proof:
            assert quoted in load(name).body, (name, quoted)


def test_a_recording_decodes_to_what_was_observed(recording):
    """Text, reasoning, calls, finish reason, usage, model and error are the recorded ones."""
    assert differences(recording, play(recording, [recording.body])) == {}


def test_a_recorded_error_says_what_the_provider_said(recording):
    """An error inside the stream carries the provider's own words, or the reason why the prompt was refused."""
    said = [_message(error) for error in recording.observed.get("errors", ())]
    words = [*filter(None, said), *(recording.observed.get("prompt_feedback") or {}).values()]
    if words:
        error = play(recording, [recording.body]).error
        assert isinstance(error, ProviderError)
        assert any(word.rstrip(".")[:200] in str(error) for word in words), str(error)


def _message(error: Any) -> str | None:
    return error if isinstance(error, str) else error.get("error", error).get("message")


def test_the_chunks_of_a_recording_add_up_to_its_response(recording):
    """The texts and thoughts of the chunks are the response's; a whole call comes once, after all its fragments."""
    response, _, chunks = play(recording, [recording.body])
    assert described(chunks, ChunkType.TEXT) == response.text
    assert described(chunks, ChunkType.REASONING) == response.reasoning
    whole = [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL]
    assert [call.id for call in whole] == [call.id for call in response.tool_calls]
    done: set[str] = set()
    for chunk in chunks:
        if chunk.type is ChunkType.TOOL_CALL_DELTA:
            assert chunk.tool_call.id not in done
        elif chunk.type is ChunkType.TOOL_CALL:
            done.add(chunk.tool_call.id)
    for call in whole:
        parts = [c.tool_call for c in chunks if c.type is ChunkType.TOOL_CALL_DELTA and c.tool_call.id == call.id]
        assert not parts or "".join(part.raw_arguments for part in parts) in (call.raw_arguments, ""), call


def test_a_recording_decodes_the_same_byte_by_byte(recording):
    """Single bytes, so cuts inside every character, escape and line end, change nothing."""
    assert differences(recording, play(recording, bytewise(recording.body))) == {}


def test_a_recording_decodes_the_same_cut_at_random(recording):
    """Cuts that have nothing to do with the events change nothing."""
    for time in range(3):
        assert differences(recording, play(recording, at_random(recording.body, f"{recording.name} {time}"))) == {}


def test_what_stands_between_and_beside_changes_no_recording(recording):
    """Comments, pings, other line ends, and events and keys that nobody knows leave the answer as it was."""
    if recording.is_json:
        return  # one JSON value: nothing stands between
    for disturbance, change in DISTURBANCES.items():
        outcome = play(recording, at_random(change(recording), recording.name))
        assert differences(recording, outcome) == {}, disturbance


def test_a_recording_cut_at_any_event_is_whole_only_after_its_finish_signal(recording):
    """Until the finish signal came an end is Truncated, with the text so far; after it, nothing is missing."""
    if recording.is_json:
        return  # cut JSON is no JSON: see the sockets
    whole = play(recording, [recording.body])
    finished = False
    for end, data in [(0, None), *events(recording)]:
        finished = finished or is_finish(recording, data)
        cut = play(recording, [recording.body[:end]])
        if isinstance(cut.error, type(whole.error)) and not isinstance(cut.error, (Truncated, type(None))):
            continue  # the recorded error was among the events
        assert cut.response.complete == finished, (end, cut.error)
        assert cut.error is None if finished else type(cut.error) is Truncated, (end, cut.error)
        assert whole.response.text.startswith(cut.response.text)
        assert whole.response.reasoning.startswith(cut.response.reasoning)


def test_a_recording_cut_inside_an_event_is_whole_only_after_its_finish_signal(recording):
    """Cut at random, it is whole only where the finish signal came, at most the blank line after it missing."""
    if recording.is_json:
        return
    whole = play(recording, [recording.body])
    dice = random.Random(recording.name)
    signals = [end for end, data in events(recording) if is_finish(recording, data)]
    for at in sorted(dice.randrange(1, len(recording.body)) for _ in range(24)):
        cut = play(recording, [recording.body[:at]])
        if cut.error is not None and not isinstance(cut.error, Truncated):
            assert type(cut.error) is type(whole.error)
            continue
        last = max([end for end, _ in events(recording) if end <= at], default=0)
        tail = is_finish(recording, data_of(recording, recording.body[last:at]))
        assert cut.error is not None or tail or (signals and signals[0] <= at), at
        assert cut.error is None or not (signals and signals[0] <= at), at
        assert cut.response.complete == (cut.error is None)
        assert whole.response.text.startswith(cut.response.text)


JUNK = (b"\x00", b'"', b"{", b"}", b"[", b"]", b"null", b"1e999", b"\n", b"-1", b"\xff", b"\\ud83d", b"true", b",", b"")


def test_a_recording_with_a_byte_changed_gives_an_answer_or_an_error_of_ours(recording):
    """Damaged at random it has one ending still, and nothing but a StreamError ever escapes."""
    dice = random.Random(recording.name)
    for _ in range(8):
        at, length = dice.randrange(len(recording.body)), dice.choice((0, 1, 1, 7))
        damaged = recording.body[:at] + dice.choice(JUNK) + recording.body[at + length :]
        play(recording, [damaged])
