"""The fuzzer in its reduced form, under fresh dice each time: ``python -m tests.fuzz`` is the same in full."""

from __future__ import annotations

import random
from functools import cache

from fuzz import stack
from fuzz.events import described, smallest, sse_difference
from fuzz.report import gather
from fuzz.seeds import seeds
from fuzz.stack import Case, Report, again, random_case, reduced, violations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptstream.answer import Answer
from promptstream.wire.events import EventStream

known = cache(seeds)
"""Every answer there is, made by the first test that needs them."""


def test_200000_event_streams_and_100000_spoilt_answers_break_no_promise():
    """Events are the standard's; only StreamError escapes; no text, ending or call is other than promised."""
    seed = random.SystemRandom().randrange(10**9)
    found = gather(200_000, 100_000, seed, workers=2)
    assert found.problems == [], f"python -m tests.fuzz --seed {seed}"
    assert (found.streams, found.runs) == (200_000, 100_000)
    # All that can come of an answer did: the dice are not loaded.
    assert {"complete", "Truncated", "ProtocolError", "LimitExceeded", "RateLimited"} <= found.outcomes.keys()
    assert found.outcomes["complete"] > 10_000


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_a_spoilt_answer_breaks_no_promise(dice):
    """The same, by dice whose throws can be made smaller until little is left that still fails."""
    assert violations(random_case(dice, known()))[0] == []


def answers(name: str, *pieces: bytes) -> Case:
    """Give the case of an answer that comes in *pieces*."""
    seed = next(each for each in known() if each.name == name)
    return Case(seed, 200, {"content-type": seed.content_type}, list(pieces), "clean", seed.streaming, "raise")


def test_a_good_answer_breaks_no_promise_in_any_dialect():
    """Each answer as it is, unspoilt, passes every check, and is complete where nothing is wrong with it."""
    for seed in known():
        case = Case(
            seed, seed.status, {"content-type": seed.content_type}, [seed.body], "clean", seed.streaming, "raise"
        )
        broken, outcome, _ = violations(case)
        assert broken == [], seed.name
        assert outcome == "complete" or not seed.whole, seed.name


def test_what_is_cut_and_taken_for_whole_is_found(monkeypatch):
    """A library that lost its eye for the finish signal is caught, and the answer that shows it is made small."""
    whole = answers("chat/text-stop")
    cut = answers("chat/text-stop", b"".join(whole.seed.events[:3]))
    assert violations(cut)[:2] == ([], "Truncated")
    monkeypatch.setattr(Answer, "finished", property(lambda answer: True, lambda answer, value: None), raising=False)
    kind = "complete, and no finish signal was sent whole"
    assert violations(cut)[0] == [kind]
    small = reduced(cut, stack.kind_of(kind))
    assert len(b"".join(small.pieces)) < 80
    assert again(small.described(), known()).pieces == small.pieces


def test_an_exception_that_escapes_is_found(monkeypatch):
    """Anything but a StreamError is told with the place that it comes from."""
    monkeypatch.setattr("promptstream.providers.openai.answer.find_error", lambda body: body["no such key"])
    (said,), _, _ = violations(answers("chat/text-stop", b'data: {"a":1}\n\n'))
    assert said.startswith("KeyError escapes from ")


def test_an_answer_that_takes_too_long_is_found_at_the_third_try(monkeypatch):
    """Three runs of one answer must each be too slow, so that a busy machine is not taken for a slow library."""
    monkeypatch.setattr(stack, "LIMIT", 0.0)
    broken, _, _ = violations(answers("chat/text-stop"))
    assert [each.partition(" took ")[0] for each in broken] == ["it"]


def test_an_event_stream_that_is_read_otherwise_is_found_and_made_small(monkeypatch):
    """A reader that hands out the tail as an event is caught by a few bytes."""
    monkeypatch.setattr(EventStream, "tail", property(lambda stream: b""))
    pieces = smallest([b": ping\n\ndata: 1\n", b"\ndata: [DO", b"NE]"], sse_difference)
    assert len(b"".join(pieces)) == 1
    assert "bytes.fromhex" in described(pieces, sse_difference)


def test_the_same_seed_makes_the_same_answers():
    """What a report names can be made again."""
    first, second = ([random_case(random.Random(7), known()).described()] for _ in range(2))
    assert first == second
    assert Report().outcomes == {}
