"""Tool calls put together from fragments: whatever way a server numbers and cuts them, never repaired."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream.errors import ProtocolError
from promptstream.providers.toolcalls import MAX_CALLS, ToolCalls, whole_call

arguments = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=8), max_size=3)
given_calls = st.lists(st.tuples(st.sampled_from(["f", "g", "weather"]), arguments), min_size=1, max_size=5)


def cut(data: st.DataObject, text: str) -> list[str]:
    """Cut *text* into fragments, empty ones included."""
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def deltas_of(data: st.DataObject, calls: list[tuple[str, dict]], escaped: bool) -> list[list[tuple]]:
    """Give the deltas of each call, as (number, id, name, fragment): id and name in the first."""
    found = []
    for number, (name, value) in enumerate(calls):
        pieces = cut(data, json.dumps(value, ensure_ascii=escaped))
        found.append(
            [
                (number, f"c{number}" if not at else None, name if not at else None, each)
                for at, each in enumerate(pieces)
            ]
        )
    return found


def taken(collected: ToolCalls) -> list[tuple]:
    """Give id, name and arguments of the calls."""
    return [(call.id, call.name, call.arguments) for call in collected.take()]


def wanted(calls: list[tuple[str, dict]]) -> list[tuple]:
    """Give what should come of *calls*."""
    return [(f"c{number}", name, value) for number, (name, value) in enumerate(calls)]


@settings(max_examples=200, deadline=None)
@given(st.data(), given_calls, st.booleans())
def test_calls_with_an_index_may_be_cut_and_interleaved_in_any_way(data, calls, escaped):
    """Fragments of several calls in any mixture give each call its own arguments."""
    waiting = deltas_of(data, calls, escaped)
    first = [each.pop(0) for each in waiting]  # calls are told in the order of their first delta
    collected = ToolCalls()
    for number, call_id, name, fragment in first:
        collected.add(number, call_id, name, fragment)
    while waiting := [each for each in waiting if each]:
        number, call_id, name, fragment = data.draw(st.sampled_from(waiting)).pop(0)
        collected.add(number, call_id, name, fragment)
    assert taken(collected) == wanted(calls)


@settings(max_examples=200, deadline=None)
@given(
    st.data(), given_calls, st.sampled_from(["no index", "always 0"]), st.sampled_from(["once", "repeated", "empty"])
)
def test_calls_without_a_useful_index_are_told_apart_by_their_ids(data, calls, numbering, naming):
    """No index, or 0 for all: a new id is a new call; ids once, repeated, or empty later."""
    collected = ToolCalls()
    for deltas in deltas_of(data, calls, True):
        for number, call_id, name, fragment in deltas:
            index = None if numbering == "no index" else 0
            if call_id is None and naming != "once":
                call_id, name = (f"c{number}", calls[number][0]) if naming == "repeated" else ("", "")
            collected.add(index, call_id, name, fragment)
    assert taken(collected) == wanted(calls)


def test_each_delta_is_given_back_with_its_fragment_and_what_is_known_of_its_call():
    """A display can show a call while it grows."""
    collected = ToolCalls()
    first = collected.add(0, "c1", "weather", "")
    second = collected.add(0, None, None, '{"city"')
    assert (first.id, first.name, first.raw_arguments, first.arguments) == ("c1", "weather", "", None)
    assert (second.id, second.name, second.raw_arguments, second.arguments) == ("c1", "weather", '{"city"', None)


def test_an_id_that_comes_late_is_that_of_its_call():
    """Fragments before the id belong to it."""
    collected = ToolCalls()
    collected.add(0, None, "f", '{"a"')
    collected.add(0, "c1", None, ": 1}")
    assert taken(collected) == [("c1", "f", {"a": 1})]


def test_a_known_id_on_a_shared_index_continues_its_call():
    """Where every call has index 0, the id alone says whose fragment it is."""
    collected = ToolCalls()
    for call_id, fragment in (("c1", '{"a"'), ("c2", '{"b"'), ("c1", ": 1}"), ("c2", ": 2}")):
        collected.add(0, call_id, "f", fragment)
    assert taken(collected) == [("c1", "f", {"a": 1}), ("c2", "f", {"b": 2})]


def test_an_id_of_its_own_for_each_delta_makes_no_calls():
    """Some versions of vLLM invent an id for every delta: without a name it is the call that its index says."""
    collected = ToolCalls()
    for call_id, name, fragment in (("c1", "f", ""), ("c2", None, '{"a"'), ("c3", "", ": 1}"), ("d1", "g", "{}")):
        delta = collected.add(0, call_id, name, fragment)
        assert delta.id == ("d1" if name == "g" else "c1")
    assert taken(collected) == [("c1", "f", {"a": 1}), ("d1", "g", {})]


@pytest.mark.parametrize("names", [("f", "f"), ("f", "g")])
@pytest.mark.parametrize("pieces", [1, 3])
def test_two_calls_under_one_id_are_two(names, pieces):
    """A new index and a name after whole arguments are a call of its own, with an id of its own."""
    collected = ToolCalls()
    given = []
    for index, name in enumerate(names):
        raw = f'{{"i": {index}}}'
        cuts = [raw[at : at + len(raw) // pieces + 1] for at in range(0, len(raw), len(raw) // pieces + 1)]
        given.append(
            [collected.add(index, "x", name, cuts[0]), *(collected.add(index, "x", None, each) for each in cuts[1:])]
        )
    first, second = collected.take()
    assert [(call.name, call.arguments) for call in (first, second)] == [(names[0], {"i": 0}), (names[1], {"i": 1})]
    assert first.id == "x"
    assert second.id.startswith("call_")
    assert [{delta.id for delta in deltas} for deltas in given] == [{first.id}, {second.id}]


@pytest.mark.parametrize("index", [None, 0])
def test_two_whole_calls_under_one_id_and_no_index_of_use_are_two(index):
    """After one whole object no fragment of it can come: another whole one is another call."""
    collected = ToolCalls()
    for number in range(3):
        collected.add(index, "x", "f", json.dumps({"i": number}))
    calls = collected.take()
    assert [call.arguments for call in calls] == [{"i": 0}, {"i": 1}, {"i": 2}]
    assert len({call.id for call in calls}) == 3


def test_a_new_index_for_each_fragment_makes_no_calls():
    """Where the arguments under an id are not whole yet, what comes under another index goes on with them."""
    collected = ToolCalls()
    for index, fragment in enumerate(('{"a"', ": {}", "}")):
        collected.add(index, "c1", "f", fragment)
    assert taken(collected) == [("c1", "f", {"a": {}})]


def test_calls_of_a_whole_answer_are_never_merged():
    """Each entry is a call, with whatever id, index and arguments it came."""
    collected = ToolCalls()
    for place, raw in enumerate(('{"a": ', "", '{"a": 1}')):
        collected.add(place, "x", "f", raw, own=True)
    calls = collected.take()
    assert [call.arguments for call in calls] == [None, {}, {"a": 1}]
    assert len({call.id for call in calls}) == 3


def test_an_id_that_was_taken_is_not_given_again():
    """A call that begins after the others were taken can be told apart from them too."""
    collected = ToolCalls()
    collected.add(0, "x", "f", "{}")
    [first] = collected.take()
    collected.add(0, "x", "f", "{}")
    [second] = collected.take()
    assert (first.id, second.id == "x") == ("x", False)


def test_names_repeated_on_every_fragment_are_no_quadratic_affair():
    """Whether a call is whole is not looked up over and over."""
    collected = ToolCalls()
    collected.add(0, "c1", "f", '{"a": "')
    for _ in range(50_000):
        collected.add(0, "c1", "f", "{xxxxxxxx}")
    collected.add(0, "c1", "f", '"}')
    (call,) = collected.take()
    assert len(call.arguments["a"]) == 500_000


def test_an_index_may_be_written_as_text():
    """It is a number all the same."""
    collected = ToolCalls()
    for index, call_id, fragment in (("0", "c1", "{"), ("1", "c2", "{"), (0, None, "}"), ("1", "", "}")):
        collected.add(index, call_id, "f", fragment)
    assert taken(collected) == [("c1", "f", {}), ("c2", "f", {})]


def test_the_calls_are_taken_once():
    """A finish reason that is repeated gives no call twice; later deltas begin anew."""
    collected = ToolCalls()
    assert not collected
    collected.add(0, "c1", "f", "{}")
    assert collected
    assert taken(collected) == [("c1", "f", {})]
    assert not collected
    assert taken(collected) == []
    collected.add(0, "c2", "g", "{}")
    assert taken(collected) == [("c2", "g", {})]


@pytest.mark.parametrize("call_id", [None, "", 7, ["c1"]])
@pytest.mark.parametrize("name", [None, "", 7, {}])
def test_ids_and_names_of_the_wrong_type_count_as_none(call_id, name):
    """A number is no id, and nothing dies of it."""
    collected = ToolCalls()
    collected.add(0, call_id, name, "{}")
    (call,) = collected.take()
    assert (call.id, call.name) == ("", "")
    assert call.problem


@pytest.mark.parametrize(
    ("fragment", "raw"), [(None, ""), ({"a": "é"}, '{"a": "é"}'), ([1], "[1]"), (3, "3"), (True, "true"), ({}, "{}")]
)
def test_a_fragment_that_is_no_text_is_written_as_json(fragment, raw):
    """Objects are understood; what is no object afterwards cannot run."""
    collected = ToolCalls()
    collected.add(0, "c1", "f", fragment)
    (call,) = collected.take()
    assert call.raw_arguments == raw
    assert (call.arguments is None) is (call.problem is not None)


@pytest.mark.parametrize("index", [-1, MAX_CALLS, 10**30, 0.0, "128", "x", "²", True, [], {}])
def test_an_index_that_is_none_is_a_protocol_error(index):
    """Whole numbers from 0 to 127, or nothing."""
    with pytest.raises(ProtocolError, match="index"):
        ToolCalls().add(index, "c1", "f", "")


def test_128_calls_are_taken_and_one_more_is_refused():
    """By index, and by id alone."""
    by_index, by_id = ToolCalls(), ToolCalls()
    for number in range(MAX_CALLS):
        by_index.add(number, f"c{number}", "f", "{}")
        by_id.add(None, f"c{number}", "f", "{}")
    for collected in (by_index, by_id):
        with pytest.raises(ProtocolError, match="128"):
            collected.add(0, "new", "f", "{}")
        assert len(collected.take()) == MAX_CALLS


@given(arguments, st.booleans())
def test_whole_arguments_are_parsed_and_the_raw_text_is_kept(value, escaped):
    """Both are on the call, and it can run."""
    raw = json.dumps(value, ensure_ascii=escaped)
    call = whole_call("c1", "f", raw)
    assert (call.arguments, call.raw_arguments, call.problem) == (value, raw, None)


@given(arguments.filter(bool), st.data())
def test_half_arguments_are_never_repaired(value, data):
    """Cut anywhere before its end, the call cannot run and says why."""
    raw = json.dumps(value)
    half = raw[: data.draw(st.integers(1, len(raw) - 1))]
    call = whole_call("c1", "f", half)
    assert (call.arguments, call.raw_arguments) == (None, half)
    assert "not whole" in call.problem


@given(st.text(max_size=30))
def test_any_text_at_all_gives_a_call_that_runs_or_says_why_not(raw):
    """Nothing is raised, and exactly one of arguments and problem is there."""
    call = whole_call("c1", "f", raw)
    assert (call.arguments is None) is (call.problem is not None)
    call.raw_arguments.encode()


@pytest.mark.parametrize("raw", ["", " ", "\n\t", "{}"])
def test_no_text_means_no_arguments(raw):
    """A tool without parameters is often called without any."""
    call = whole_call("c1", "now", raw)
    assert (call.arguments, call.problem) == ({}, None)


@pytest.mark.parametrize("raw", ["[]", "3", '"x"', "null", "true"])
def test_json_that_is_no_object_is_no_arguments(raw):
    """Arguments have names."""
    assert "not a JSON object" in whole_call("c1", "f", raw).problem


@pytest.mark.parametrize("raw", ["[" * 100, '{"a":' * 100, '{"a": NaN}', '{"a": ' + "9" * 5000 + "}"])
def test_arguments_beyond_the_bounds_are_a_problem_and_no_exception(raw):
    """Depth, NaN and endless numbers cost the call, not the answer."""
    call = whole_call("c1", "f", raw)
    assert call.arguments is None
    assert len(call.problem) < 500


def test_numbers_are_exact():
    """Whole numbers of any size survive."""
    value: dict[str, Any] = {"id": 2**64 + 1, "f": 0.1}
    assert whole_call("c1", "f", json.dumps(value)).arguments == value


def test_halves_of_pairs_are_mended_in_the_raw_text():
    """What is stored and shown can be encoded."""
    collected = ToolCalls()
    collected.add(0, "c1", "f", '{"a": "\ud83d')
    collected.add(0, None, None, '\ude00"}')
    (call,) = collected.take()
    assert (call.raw_arguments, call.arguments) == ('{"a": "😀"}', {"a": "😀"})


def test_a_call_in_many_fragments_is_joined_once():
    """A hundred thousand fragments are no quadratic affair."""
    collected = ToolCalls()
    collected.add(0, "c1", "f", '{"a": "')
    for _ in range(100_000):
        collected.add(0, None, None, "xxxxxxxxxx")
    collected.add(0, None, None, '"}')
    (call,) = collected.take()
    assert len(call.arguments["a"]) == 1_000_000
