"""Gemini's generateContent decoded: small answers with every trap the protocol sets (traps 24 to 31 by number)."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from decoding import Outcome, decoded, stream_of
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream.errors import (
    Authentication,
    ContentFiltered,
    LimitExceeded,
    Overloaded,
    ProtocolError,
    ProviderError,
    RateLimited,
    Truncated,
)
from promptstream.providers.gemini.answer import FINISH_REASONS
from promptstream.providers.gemini.dialect import GeminiDialect
from promptstream.values.chunk import ChunkType
from promptstream.values.message import Reasoning, Text, ToolCall
from promptstream.values.response import Response
from promptstream.values.usage import Usage
from promptstream.wire.events import MAX_STRAY, iter_sse

KEY = "gemini-secret-0123456789"
MODEL = "gemini-2.5-flash"
OVERLOADED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


def played(*pieces: bytes, whole: Any = None) -> Outcome:
    """Give the answer that a provider makes of *pieces*, how it failed, and its chunks."""
    return decoded(GeminiDialect(api_key=KEY), pieces, whole)


def sse(*events: Any, end: str = "\r\n") -> bytes:
    """Write *events* as Google does: each a body, or text that stands for itself, with CRLF."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {text}{end}{end}" for text in texts).encode()


def event(*parts: Any, finish: str | None = None, usage: Any = None, **candidate: Any) -> dict:
    """Give one GenerateContentResponse with a single candidate."""
    body: dict[str, Any] = {"candidates": [{"content": {"parts": [*parts], "role": "model"}, "index": 0, **candidate}]}
    if finish is not None:
        body["candidates"][0]["finishReason"] = finish
    if usage is not None:
        body["usageMetadata"] = usage
    return body | {"modelVersion": MODEL, "responseId": "r-1"}


def said(text: str, **more: Any) -> dict:
    """Give a part of text."""
    return {"text": text, **more}


def called(name: Any = None, args: Any = None, signature: str | None = None, **more: Any) -> dict:
    """Give a functionCall part; what is None is left out."""
    function = {key: value for key, value in {"name": name, "args": args, **more}.items() if value is not None}
    return {"functionCall": function} | ({"thoughtSignature": signature} if signature else {})


def parts_of(response: Response) -> list:
    """Give the message's parts as plain values; a call's id is left out where it was made here."""
    rows: list[Any] = []
    for part in response.message.parts:
        kept = (part.metadata or {}).get("gemini")
        if isinstance(part, ToolCall):
            rows.append(("call", part.name, part.arguments, kept))
        else:
            rows.append(("thought" if isinstance(part, Reasoning) else "text", part.text, kept))
    return rows


STOP = event(said(""), finish="STOP", usage={"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9})
OWN = {"model": MODEL}


# Text and endings


def test_text_usage_model_and_id_come_from_the_events():
    """The plainest answer gives text, the reason, tokens, the model that answers and the response's id."""
    first = event(said("Hel"), usage={"promptTokenCount": 7, "totalTokenCount": 7})
    response, error, chunks = played(sse(first, event(said("lo")), STOP))
    assert error is None
    assert (response.text, response.finish_reason, response.raw_finish_reason) == ("Hello", "stop", "STOP")
    assert (response.model, response.request_id, response.usage) == (MODEL, "r-1", Usage(7, 2))
    assert [chunk.text for chunk in chunks if chunk.type is ChunkType.TEXT] == ["Hel", "lo"]


def test_trap_24_line_ends_may_be_crlf_or_lf():
    """Google ends lines by CRLF; proxies may not."""
    events = (event(said("Hel")), event(said("lo")), STOP)
    assert played(sse(*events))[0].text == played(sse(*events, end="\n"))[0].text == "Hello"


def test_trap_24_no_terminator_is_needed_and_what_follows_the_reason_is_read():
    """After a finishReason tokens and even text may come; the answer ends where the bytes end."""
    late = {"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12}}
    response, error, _ = played(sse(event(said("Hel"), finish="STOP"), event(said("lo")), late))
    assert error is None
    assert (response.text, response.finish_reason, response.usage) == ("Hello", "stop", Usage(7, 5))


def test_a_call_after_the_reason_makes_it_tool_calls():
    """The reason says what the answer came to, not what was known when it came."""
    response, error, _ = played(sse(event(said("So:"), finish="STOP"), event(called("f"))))
    assert error is None
    assert (response.finish_reason, response.raw_finish_reason) == ("tool_calls", "STOP")


@pytest.mark.parametrize("cut", ["", "data: ", 'data: {"candidates":[{"content":{"parts":[{"te'])
def test_an_answer_without_a_reason_is_cut(cut):
    """However cleanly the bytes end, without finishReason the answer is Truncated and keeps its text."""
    response, error, _ = played(sse(event(said("Half"))) + cut.encode())
    assert isinstance(error, Truncated)
    assert (response.text, response.finish_reason) == ("Half", None)


def test_a_last_event_without_its_blank_line_counts_if_it_is_whole():
    """A server that forgets the last line end has said all the same."""
    response, error, _ = played(sse(event(said("Hi"))) + f"data: {json.dumps(STOP)}".encode())
    assert error is None
    assert (response.text, response.finish_reason) == ("Hi", "stop")


@pytest.mark.parametrize("word", [*FINISH_REASONS, "LANGUAGE", "OTHER", "TOO_MANY_TOOL_CALLS", "NO_IMAGE", "NOVELTY"])
def test_trap_26_every_reason_is_mapped_and_unknown_ones_are_other(word):
    """The provider's own word is kept beside the common one; a new one is never taken for a good end."""
    response, error, _ = played(sse(event(said("x"), finish=word)))
    assert error is None
    assert (response.finish_reason, response.raw_finish_reason) == (FINISH_REASONS.get(word, "other"), word)


def test_an_unspecified_reason_is_none():
    """The enum's default value is no finish signal."""
    response, error, _ = played(sse(event(said("x"), finish="FINISH_REASON_UNSPECIFIED")))
    assert isinstance(error, Truncated)
    assert response.finish_reason is None


@pytest.mark.parametrize(
    "last",
    [
        {"candidates": [{"finishReason": "SAFETY", "index": 0}]},
        {"candidates": [{"finishReason": "SAFETY", "content": {}}]},
        {"candidates": [{"finishReason": "SAFETY", "content": {"role": "model"}}]},
        {"candidates": [{"finishReason": "SAFETY", "content": {"parts": None}}]},
        {"candidates": [{"finishReason": "SAFETY", "content": None}]},
    ],
)
def test_trap_26_a_last_event_may_lack_content_and_parts(last):
    """What is not there is not needed; the text before it is kept."""
    response, error, _ = played(sse(event(said("Well, ")), {"usageMetadata": {}}, {}, last))
    assert error is None
    assert (response.text, response.finish_reason) == ("Well, ", "content_filter")


def test_trap_31_what_is_wrong_with_a_malformed_call_is_a_warning():
    """MALFORMED_FUNCTION_CALL is no good end, and its finishMessage, which is all there is, is told."""
    message = "Malformed function call: print(x)\x1b[31m " + "y" * 1000
    response, error, _ = played(sse(event(finish="MALFORMED_FUNCTION_CALL", finishMessage=message)))
    assert error is None
    assert (response.finish_reason, response.raw_finish_reason) == ("other", "MALFORMED_FUNCTION_CALL")
    (warning,) = response.warnings
    assert warning.startswith("gemini says: Malformed function call: print(x)\\x1b[31m yyy")
    assert len(warning) < 600


def test_trap_31_stop_with_calls_is_tool_calls_and_its_message_is_no_warning():
    """The wire says STOP, and "Model generated function call(s).", where tools are to be run."""
    last = event(called("f", {"a": 1}), finish="STOP", finishMessage="Model generated function call(s).")
    response, error, _ = played(sse(last))
    assert error is None
    assert (response.finish_reason, response.raw_finish_reason, response.warnings) == ("tool_calls", "STOP", ())


def test_a_length_stop_stays_one_beside_calls():
    """MAX_TOKENS voids the calls that came; the reason says so."""
    assert played(sse(event(called("f"), finish="MAX_TOKENS")))[0].finish_reason == "length"


def test_only_the_first_candidate_is_read():
    """Other candidates are never mixed in."""
    body = event(said("A"), finish="STOP")
    body["candidates"].insert(0, {"content": {"parts": [said("B")]}, "index": 1, "finishReason": "SAFETY"})
    response, error, _ = played(sse(body))
    assert error is None
    assert (response.text, response.finish_reason) == ("A", "stop")


def test_a_stray_candidate_of_another_index_is_passed_over():
    """An event that holds nothing but another candidate's text adds nothing."""
    other = event(said("B"))
    other["candidates"][0]["index"] = 1
    assert played(sse(event(said("A")), other, event(said("C")), STOP))[0].text == "AC"


# Servers that speak it with an accent


@pytest.mark.parametrize("end", [b"data: [DONE]\r\n\r\n", b"data: [DONE]"])
def test_done_ends_an_answer(end):
    """Proxies that speak OpenAI's protocol besides write it; alone it gives no reason, but after calls."""
    response, error, _ = played(sse(event(said("Hi")), STOP) + end)
    assert (error, response.finish_reason, response.warnings) == (None, "stop", ())
    response, error, _ = played(sse(event(said("Hi"))) + end)
    assert (error, response.finish_reason, response.complete) == (None, None, True)
    response, error, _ = played(sse(event(called("f")), event(called("g", willContinue=True))) + end)
    assert (error, response.finish_reason, response.raw_finish_reason) == (None, "tool_calls", None)
    assert [call.problem is None for call in response.tool_calls] == [True, False]
    assert isinstance(played(end)[1], Truncated)


@pytest.mark.parametrize("data", ["Bad gateway", '"Bad gateway"', '{"message": "Bad gateway"}'])
def test_an_event_called_error_is_one_whatever_it_holds(data):
    """Gateways put plain text there."""
    response, error, _ = played(sse(event(said("Hel"))) + f"event: error\ndata: {data}\n\n".encode())
    assert isinstance(error, ProviderError)
    assert "Bad gateway" in str(error)
    assert response.text == "Hel"


def test_an_event_without_data_is_passed_over():
    """It keeps the connection alive."""
    assert played(sse(event(said("Hel")), "", event(said("lo")), STOP))[0].text == "Hello"


def test_null_is_as_good_as_nothing():
    """Servers that write every field of a message write null for most."""
    none = {"text": None, "thought": None, "thoughtSignature": None, "functionCall": None, "inlineData": None}
    function = {"id": None, "name": "f", "args": {"a": 1}, "partialArgs": None, "willContinue": None}
    code = {"executableCode": {"code": "1"}}
    parts = [none, none | said("Hi"), none | code, none | {"thought": True}, none | {"functionCall": function}]
    body = event(*parts, finish="STOP", finishMessage=None) | {"promptFeedback": None, "error": None}
    response, error, _ = played(sse(body))
    assert error is None
    assert parts_of(response) == [
        ("text", "Hi", None),
        ("text", "", {"part": code, **OWN}),
        ("call", "f", {"a": 1}, OWN),
    ]


def test_names_may_be_written_in_snake_case():
    """JSON of protocol buffers is to be read in either case; arguments are left as they are."""
    last = {"function_call": {"name": "f", "args": {"a_b": {"c_d": 1}}}, "thought_signature": "c2ln"}
    rows = [{"content": {"parts": [said("Hi")]}, "index": 0}, {"content": {"parts": [last]}, "finish_reason": "STOP"}]
    usage = {"prompt_token_count": 3, "candidates_token_count": 2}
    more = {"usage_metadata": usage, "model_version": MODEL, "response_id": "r-1"}
    response, error, _ = played(sse(*({"candidates": [row], **more} for row in rows)))
    assert error is None
    assert (response.text, response.finish_reason, response.request_id) == ("Hi", "tool_calls", "r-1")
    assert response.usage == Usage(3, 2)
    assert parts_of(response)[1] == ("call", "f", {"a_b": {"c_d": 1}}, {"thoughtSignature": "c2ln", **OWN})
    refusal = {"prompt_feedback": {"block_reason": "SAFETY", "block_reason_message": "no"}}
    assert "(SAFETY): no" in str(played(sse(refusal))[1])


def test_neither_model_nor_index_are_needed():
    """The answer's id is told without them too."""
    rows = [{"candidates": [{"content": {"parts": [said(text)]}}], "responseId": "r-1"} for text in ("Hel", "lo")]
    rows[1]["candidates"][0]["finishReason"] = "STOP"
    response, error, _ = played(sse(*rows))
    assert (error, response.text, response.request_id) == (None, "Hello", "r-1")


def test_a_pair_of_surrogates_may_be_split_over_events():
    """The counts that come between the halves do not part them."""
    rows = [event(said(text), usage={"promptTokenCount": 7, "candidatesTokenCount": n}) for n, text in enumerate("abc")]
    body = sse(*rows, STOP).replace(b'"a"', b'"\\ud83d"').replace(b'"b"', b'"\\ude00"')
    assert played(body)[0].text == "😀c"


# Tokens


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (
            {"promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 6, "totalTokenCount": 20},
            Usage(10, 10, reasoning=6),
        ),
        ({"promptTokenCount": 10, "thoughtsTokenCount": 6, "totalTokenCount": 16}, Usage(10, 6, reasoning=6)),
        ({"promptTokenCount": 10, "totalTokenCount": 10}, Usage(10, 0)),
        ({"promptTokenCount": 10, "totalTokenCount": 13}, Usage(10, 3)),
        (
            {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 1, "totalTokenCount": 16},
            Usage(15, 1),
        ),
        (
            {"promptTokenCount": 10, "cachedContentTokenCount": 8, "candidatesTokenCount": 1, "totalTokenCount": 11},
            Usage(10, 1, cached=8),
        ),
        ({"trafficType": "ON_DEMAND"}, Usage()),
        ({"promptTokenCount": True, "candidatesTokenCount": -1}, Usage()),
        ([], Usage()),
    ],
)
def test_trap_29_thoughts_are_added_to_the_output_and_what_is_absent_is_zero(counts, usage):
    """Candidates' tokens leave thoughts out and may be missing; tool prompts belong to the input."""
    response, error, _ = played(sse(event(said("x"), finish="STOP", usage=counts)))
    assert error is None
    assert response.usage == usage


def test_trap_29_the_last_counts_win_and_grow_while_the_answer_comes():
    """Every event's counts are totals; ``stream.usage`` shows them as they come."""
    events = (
        event(said("a"), usage={"promptTokenCount": 7, "totalTokenCount": 7}),
        event(said("b"), usage={"promptTokenCount": 7, "candidatesTokenCount": 1}),
    )
    last = event(said("c"), usage={"promptTokenCount": 7, "candidatesTokenCount": 4})
    stream = stream_of(GeminiDialect(api_key=KEY), list(map(sse, (*events, last, STOP))))
    seen = [(chunk.text, stream.usage.output) for chunk in stream if chunk.text]
    assert seen == [("a", None), ("b", 1), ("c", 4)]
    assert stream.usage == Usage(7, 2)


def test_counts_that_came_are_told_with_the_first_text_that_came_with_them():
    """Of events that one read brought, the last one's counts are told before the first one's text."""
    rows = [event(said(text), usage={"promptTokenCount": 7, "candidatesTokenCount": n}) for n, text in enumerate("abc")]
    stream = stream_of(GeminiDialect(api_key=KEY), [sse(*rows), sse(STOP)])
    seen = [(chunk.text, stream.usage.output) for chunk in stream if chunk.text]
    assert seen == [("a", 2), ("b", 2), ("c", 2)]
    assert stream.usage == Usage(7, 2)


COUNT = st.integers(0, 3)
COUNTS = (
    st.builds(lambda prompt, said: {"promptTokenCount": prompt, "candidatesTokenCount": said}, COUNT, COUNT),
    st.dictionaries(
        st.sampled_from(["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "trafficType"]),
        COUNT | st.sampled_from([None, -1, "ON_DEMAND", [{}]]),
    ),
    st.sampled_from([None, [], "odd"]),
)


@given(
    st.lists(st.one_of(COUNTS), min_size=1, max_size=6),
    st.sets(st.integers(1, 6)),
)
def test_counts_end_the_same_however_the_events_were_read(counts, cuts):
    """Usage, warnings and text do not depend on how many events one read brings, whatever they count."""
    rows = [*(event(said("a"), usage=each) for each in counts), event(said(""), finish="STOP")]
    places = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    one, problem, _ = played(*map(sse, rows))
    other, fault, _ = played(*(sse(*rows[begin:end]) for begin, end in pairwise(places)))
    assert problem is fault is None
    assert (one.text, one.usage, one.warnings) == (other.text, other.usage, other.warnings)


def test_a_broken_event_takes_none_of_those_with_it_that_came_in_the_same_read():
    """The text before it is handed out, then the error is told, as when each came alone."""
    broken = b'data: {"candidates": [{\n\n'
    alone = played(sse(event(said("Hel"))), sse(event(said("lo"))), broken, sse(STOP))
    together = played(sse(event(said("Hel")), event(said("lo"))) + broken + sse(STOP))
    assert together[0].text == alone[0].text == "Hello"
    assert type(together[1]) is type(alone[1]) is ProtocolError


def test_counts_that_say_nothing_of_the_answer_take_nothing_back():
    """Between two rounds of code execution an event counts the prompt alone; zero would be wrong there."""
    first = event(said("a"), usage={"promptTokenCount": 46, "candidatesTokenCount": 51, "totalTokenCount": 97})
    between = event(said("b"), usage={"promptTokenCount": 46, "totalTokenCount": 46})
    response, error, _ = played(sse(first, between))
    assert isinstance(error, Truncated)
    assert response.usage == Usage(46, 51)


def test_counts_that_are_not_repeated_stand():
    """The last event may count the prompt alone, or the answer alone; what was known stays known."""
    first = event(said("a"), usage={"promptTokenCount": 7, "candidatesTokenCount": 4})
    for last in ({"promptTokenCount": 7}, {"candidatesTokenCount": 4}, {}, None):
        assert played(sse(first, event(finish="STOP", usage=last)))[0].usage == Usage(7, 4)


def test_counts_before_the_answer_say_nothing_of_it():
    """Its tokens are unknown, not none."""
    response, error, _ = played(sse({"candidates": [], "usageMetadata": {"promptTokenCount": 7}}))
    assert isinstance(error, Truncated)
    assert response.usage == Usage(7)


# Thoughts and signatures


def test_thoughts_are_reasoning_and_marked_as_geminis_own():
    """``thought: true`` parts are reasoning, one part however many events it came in."""
    events = (event(said("First ", thought=True)), event(said("then.", thought=True)), event(said("Hi")), STOP)
    response, error, chunks = played(sse(*events))
    assert error is None
    assert (response.reasoning, response.text) == ("First then.", "Hi")
    assert [chunk.type.value for chunk in chunks] == ["reasoning", "reasoning", "text", "done"]
    assert parts_of(response) == [("thought", "First then.", OWN), ("text", "Hi", None)]


def test_thoughts_after_text_are_geminis_own_too():
    """Each stretch of thoughts is a part that can be sent back, however plain the text between them."""
    rows = [event(said(text, thought=thought)) for text, thought in (("a", True), ("b", False), ("c", True))]
    rows[1] = event(said("b"))
    response, _, _ = played(sse(*rows, event(said("d")), STOP))
    assert parts_of(response) == [
        ("thought", "a", OWN),
        ("text", "b", None),
        ("thought", "c", OWN),
        ("text", "d", None),
    ]


def test_trap_28_a_signature_on_an_empty_text_part_is_kept_there():
    """Generation 3 signs a plain answer by an empty last part; it is a part of its own, not the text's."""
    last = event(said("", thoughtSignature="c2ln"), finish="STOP")
    response, error, chunks = played(sse(event(said("Oi")), last))
    assert error is None
    assert parts_of(response) == [("text", "Oi", None), ("text", "", {"thoughtSignature": "c2ln", **OWN})]
    assert [chunk.type.value for chunk in chunks] == ["text", "done"]


def test_trap_28_a_signed_part_is_never_merged_with_an_unsigned_one():
    """Text and thoughts before and after a signed part are parts of their own."""
    events = (
        event(said("t1", thought=True)),
        event(said("t2", thought=True, thoughtSignature="dDI=")),
        event(said("t3", thought=True)),
        event(said("a")),
        event(said("b", thoughtSignature="Yg==")),
        event(said("c")),
        event(said("d")),
        STOP,
    )
    response, error, _ = played(sse(*events))
    assert error is None
    assert (response.reasoning, response.text) == ("t1t2t3", "abcd")
    assert parts_of(response) == [
        ("thought", "t1", OWN),
        ("thought", "t2", {"thoughtSignature": "dDI=", **OWN}),
        ("thought", "t3", OWN),
        ("text", "a", None),
        ("text", "b", {"thoughtSignature": "Yg==", **OWN}),
        ("text", "cd", None),
    ]


def test_trap_28_a_signature_on_the_first_call_stays_on_it():
    """Of calls made at once the first alone is signed."""
    events = (event(called("add", {"a": 2}, "c2ln", id="8hd")), event(called("mul", {"b": 3}, id="k0s")), STOP)
    response, error, _ = played(sse(*events))
    assert error is None
    assert [call.id for call in response.tool_calls] == ["8hd", "k0s"]
    assert parts_of(response) == [
        ("call", "add", {"a": 2}, {"thoughtSignature": "c2ln", "id": "8hd", **OWN}),
        ("call", "mul", {"b": 3}, {"id": "k0s", **OWN}),
    ]


def test_parts_that_are_nothing_of_ours_are_kept_as_they_came():
    """Code that ran, its result, an image: not text, yet part of what must be echoed, in its place."""
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)", "id": "8x"}, "thoughtSignature": "c2ln"}
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    response, error, _ = played(sse(event(said("A"), code, said("B")), event(image, said("C")), STOP))
    assert error is None
    assert response.text == "ABC"
    assert parts_of(response) == [
        ("text", "A", None),
        ("text", "", {"part": {"executableCode": code["executableCode"]}, "thoughtSignature": "c2ln", **OWN}),
        ("text", "B", None),
        ("text", "", {"part": image, **OWN}),
        ("text", "C", None),
    ]
    assert response.warnings == ("The answer holds data (image/png), kept in its message's parts alone.",)


# Calls


def test_trap_27_calls_without_id_get_ids_of_their_own():
    """The same function twice in one turn is two calls that can be told apart; no id of the wire is claimed."""
    response, error, chunks = played(sse(event(called("f", {"n": 1}), called("f", {"n": 2}), finish="STOP")))
    assert error is None
    first, second = response.tool_calls
    assert first.id != second.id
    assert first.id.startswith("call_")
    assert second.id.startswith("call_")
    assert [call.metadata for call in response.tool_calls] == [{"gemini": OWN}, {"gemini": OWN}]
    assert [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL] == [first, second]


def test_trap_27_an_id_given_twice_names_two_calls():
    """A second call with a known id is a call all the same; its own id is kept for the echo."""
    response, _, _ = played(sse(event(called("f", id="x"), called("f", id="x"), finish="STOP")))
    first, second = response.tool_calls
    assert (first.id, second.id == "x") == ("x", False)
    assert second.metadata == {"gemini": {"id": "x", **OWN}}


@pytest.mark.parametrize("args", [None, {}])
def test_trap_30_missing_args_are_an_empty_object(args):
    """A tool without parameters is called without args."""
    response, _, _ = played(sse(event(called("f", args), finish="STOP")))
    (call,) = response.tool_calls
    assert (call.arguments, call.raw_arguments, call.problem) == ({}, "{}", None)


@pytest.mark.parametrize("args", [[1], "text", 5])
def test_trap_30_args_that_are_no_object_make_a_call_that_cannot_run(args):
    """They are never bent into shape."""
    response, error, _ = played(sse(event(called("f", args), finish="STOP")))
    assert error is None
    (call,) = response.tool_calls
    assert call.arguments is None
    assert call.problem.startswith("the arguments are not")


def test_args_that_are_json_text_are_read():
    """Proxies that carry them over from OpenAI's protocol leave them as text; none at all is an empty object."""
    for args, arguments in (('{"a": 1}', {"a": 1}), ("", {})):
        response, _, _ = played(sse(event(called("f", args), finish="STOP")))
        (call,) = response.tool_calls
        assert (call.arguments, call.raw_arguments, call.problem) == (arguments, args, None)


def test_trap_37_numbers_of_any_size_survive():
    """Whole numbers beyond 64 bits stay exact, in the arguments and in their text."""
    text = json.dumps(event(called("f", {"n": 0, "x": 0.1}), finish="STOP")).replace('"n": 0', f'"n": {10**30}')
    response, _, _ = played(sse(text))
    (call,) = response.tool_calls
    assert call.arguments == {"n": 10**30, "x": 0.1}
    assert call.raw_arguments == f'{{"n": {10**30}, "x": 0.1}}'


def test_a_call_without_a_name_cannot_run():
    """It is handed out with the reason why."""
    response, _, _ = played(sse(event(called(None, {"a": 1}), finish="STOP")))
    assert [call.problem for call in response.tool_calls] == ["the call names no tool"]


def test_more_calls_than_anyone_makes_are_refused():
    """What an answer may make us keep is bounded."""
    _, error, _ = played(sse(event(*[called("f")] * 129, finish="STOP")))
    assert isinstance(error, ProtocolError)


# Arguments in pieces (streamFunctionCallArguments)


def piece(path: str, *, more: bool = True, **value: Any) -> dict:
    """Give a part with one piece of a call's arguments; *more* as the call goes on."""
    return called(partialArgs=[{"jsonPath": path, **value}], willContinue=more or None)


def test_arguments_in_pieces_make_one_whole_call():
    """Each piece is a delta; together they are the text of the arguments, and the call comes once, whole."""
    events = [
        event(called("cook", willContinue=True, signature="c2ln")),
        event(piece("$.steps[0].what", stringValue="cut “it”", willContinue=True)),
        event(piece("$.steps[0].what", stringValue=" and \\ \n")),
        event(piece("$.steps[0].n", numberValue=2.5)),
        event(called(willContinue=True)),
        event(piece("$.steps[1].what", stringValue="boil")),
        event(piece("$['a key'][\"b.c\"]", boolValue=True)),
        event(piece("$.none", nullValue="NULL_VALUE")),
        event(called()),
        STOP,
    ]
    response, error, chunks = played(sse(*events))
    assert error is None
    (call,) = response.tool_calls
    steps = [{"what": "cut “it” and \\ \n", "n": 2.5}, {"what": "boil"}]
    assert call.arguments == {"steps": steps, "a key": {"b.c": True}, "none": None}
    assert call.metadata == {"gemini": {"thoughtSignature": "c2ln", **OWN}}
    deltas = [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL_DELTA]
    assert "".join(delta.raw_arguments for delta in deltas) == call.raw_arguments
    assert {(delta.id, delta.name) for delta in deltas} == {(call.id, "cook")}
    assert response.finish_reason == "tool_calls"


def test_calls_in_pieces_follow_each_other():
    """An empty functionCall, or a piece that does not continue, ends a call; an end too many is nothing."""
    events = [
        event(called("a", willContinue=True), piece("$.x", stringValue="1", more=False), called()),
        event(called("b"), called("c", willContinue=True), called(), called()),
        event(called("d", willContinue=True), piece("$.x", numberValue=1), called("e", {"y": 2})),
        STOP,
    ]
    response, error, _ = played(sse(*events))
    assert error is None
    got = [(call.name, call.arguments, call.problem is None) for call in response.tool_calls]
    assert got == [("a", {"x": "1"}, True), ("b", {}, True), ("c", {}, True), ("d", None, False), ("e", {"y": 2}, True)]


@pytest.mark.parametrize(
    "pieces",
    [
        [("$.a", {"stringValue": "x", "willContinue": True}), ("$.b", {"numberValue": 1})],
        [("$.a.b", {"numberValue": 1}), ("$.c", {"numberValue": 1}), ("$.a.d", {"numberValue": 1})],
        [("$.a", {"numberValue": 1}), ("$.a", {"numberValue": 1})],
        [("$.a", {"numberValue": 1}), ("$.a.b", {"numberValue": 1})],
        [("$.a[1]", {"numberValue": 1})],
        [("$.a[0]", {"numberValue": 1}), ("$.a[2]", {"numberValue": 1})],
        [("$.a[0]", {"numberValue": 1}), ("$.a.b", {"numberValue": 1})],
        [("$.a.b", {"numberValue": 1}), ("$.a[0]", {"numberValue": 1})],
        [("$[0]", {"numberValue": 1})],
        [("a", {"numberValue": 1})],
        [("$..a", {"numberValue": 1})],
        [("$", {"numberValue": 1})],
        [("$" + ".a" * 100, {"numberValue": 1})],
        [("$.a[999999999]", {"numberValue": 1})],
    ],
)
def test_pieces_that_make_no_whole_object_make_a_call_that_cannot_run(pieces):
    """Arguments are never guessed together."""
    rows = [event(piece(path, **value)) for path, value in pieces]
    response, error, _ = played(sse(event(called("f", willContinue=True)), *rows, event(called()), STOP))
    assert error is None
    (call,) = response.tool_calls
    assert call.arguments is None
    assert call.problem


def test_a_call_that_the_answer_ends_within_cannot_run():
    """A finish signal does not make arguments whole that the provider said would go on."""
    events = (event(called("f", willContinue=True)), event(piece("$.a", stringValue="x", willContinue=True)))
    response, error, _ = played(sse(*events, event(finish="MAX_TOKENS")))
    assert error is None
    (call,) = response.tool_calls
    assert (call.arguments, call.raw_arguments) == (None, '{"a":"x')
    assert call.problem == "the arguments are not whole: the answer ended within them"
    response, error, chunks = played(sse(*events))
    assert isinstance(error, Truncated)
    assert not any(chunk.type is ChunkType.TOOL_CALL for chunk in chunks)


# Errors


def stray(value: Any, indent: int | None = 2) -> bytes:
    """Write *value* as Google writes errors inside a stream: JSON without a field's name."""
    return json.dumps(value, indent=indent).replace("\n", "\r\n").encode()


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n", b"\r\n\r\ndata: {}\r\n\r\n"])
@pytest.mark.parametrize("error", [OVERLOADED, [OVERLOADED]])
@pytest.mark.parametrize("indent", [None, 2])
def test_trap_24_an_error_without_data_is_an_error(end, error, indent):
    """Bare JSON in the stream, pretty-printed or not, in an array or not, is the provider's error."""
    response, raised, _ = played(sse(event(said("Hel"))) + stray(error, indent) + end)
    assert isinstance(raised, Overloaded)
    assert (raised.status, raised.code, raised.retryable) == (503, "UNAVAILABLE", True)
    assert "The model is overloaded" in raised.message
    assert response.text == "Hel"


@pytest.mark.parametrize("error", [OVERLOADED, [OVERLOADED]])
def test_trap_24_an_error_as_an_event_is_the_same_error(error):
    """The same object as data, also in the array that errors are wrapped in, raises the same."""
    response, raised, _ = played(sse(event(said("Hel")), error))
    assert isinstance(raised, Overloaded)
    assert response.text == "Hel"


@pytest.mark.parametrize("error", [OVERLOADED, [OVERLOADED]])
def test_trap_24_an_error_in_place_of_a_whole_answer_is_raised(error):
    """A body of 200 that holds an error is no answer."""
    assert isinstance(played(whole=error)[1], Overloaded)


@pytest.mark.parametrize("text", [b"{half", b"[1,2]", b"{}", b'{"error":null}', b"[" * 200, b"{" + b"x" * MAX_STRAY])
def test_stray_text_that_is_no_error_is_passed_over(text):
    """Only a whole error object counts; the answer around it stays what it is."""
    for end in (b"\r\n\r\n", b""):
        response, error, _ = played(sse(event(said("Hi")), STOP) + text + end)
        assert error is None
        assert (response.text, response.finish_reason) == ("Hi", "stop")


def test_stray_text_is_bounded():
    """However much of it comes, 64 KiB are kept."""
    events = iter_sse([b'{"a":"' + b"x" * 1000 + b'"}\n\n'] * 1000)
    assert list(events) == []
    assert 50_000 < sum(map(len, events.stray)) <= MAX_STRAY


def test_trap_24_an_array_of_responses_is_one_answer():
    """Without ``alt=sse`` the same responses come as one JSON array."""
    response, error, _ = played(whole=[event(said("Hel")), event(said("lo"), called("f", {"a": 1})), STOP])
    assert error is None
    assert (response.text, response.finish_reason, response.usage) == ("Hello", "tool_calls", Usage(7, 2))


def test_a_whole_answer_is_decoded_as_the_stream_is():
    """``generateContent`` gives one response with all parts; a cut one is Truncated too."""
    body = event(said("I add.", thought=True), said("Hi"), called("f", {"a": 1}, "c2ln"), finish="STOP")
    response, error, _ = played(whole=body)
    assert error is None
    assert (response.reasoning, response.text, response.finish_reason) == ("I add.", "Hi", "tool_calls")
    assert isinstance(played(whole=event(said("Hi")))[1], Truncated)
    assert isinstance(played(whole=[])[1], Truncated)


def test_a_refused_prompt_is_content_filtered():
    """promptFeedback without candidates raises, with the provider's reason and what it counted."""
    usage = {"promptTokenCount": 7, "totalTokenCount": 7}
    body = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": usage, "modelVersion": MODEL}
    for response, error, _ in (played(sse(body | {"responseId": "r-1"})), played(whole=body | {"responseId": "r-1"})):
        assert isinstance(error, ContentFiltered)
        assert (error.code, error.retryable, error.request_id) == ("PROHIBITED_CONTENT", False, "r-1")
        assert "refused the prompt (PROHIBITED_CONTENT)" in error.message
        assert (response.usage, response.model, response.complete) == (Usage(7, 0), MODEL, False)


def test_an_unspecified_block_reason_refuses_nothing():
    """The enum's default value stands for none."""
    body = {"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}}
    assert played(sse(body, event(said("Hi")), STOP))[0].text == "Hi"


def test_feedback_beside_candidates_refuses_nothing():
    """Ratings of the prompt come with an ordinary answer too."""
    body = event(said("Hi"), finish="STOP") | {"promptFeedback": {"safetyRatings": []}}
    assert played(sse(body))[0].text == "Hi"


def test_trap_25_an_invalid_key_comes_as_400():
    """The reason API_KEY_INVALID tells; the key is not in the text."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    error = {"code": 400, "message": f"API key {KEY} not valid.", "status": "INVALID_ARGUMENT", "details": [info]}
    for body in ({"error": error}, [{"error": error}]):
        raised = GeminiDialect(api_key=KEY).error(400, {"content-type": "application/json"}, json.dumps(body).encode())
        assert isinstance(raised, Authentication)
        assert KEY not in raised.message


def test_trap_25_the_wait_is_in_the_body():
    """There is no Retry-After; RetryInfo says how long, in seconds with a unit."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}
    error = {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED", "details": [info]}
    body = json.dumps([{"error": error}]).encode()
    raised = GeminiDialect(api_key=KEY).error(429, {"content-type": "application/json"}, body)
    assert isinstance(raised, RateLimited)
    assert raised.retry_after == 34.4


@pytest.mark.parametrize(
    "body",
    [
        "[1, 2]",
        "[]",
        "5",
        "null",
        '"text"',
        "not json",
        '{"candidates": 5}',
        '{"candidates": {"0": {}}}',
        '{"candidates": ["x"]}',
        '{"candidates": [{"content": 5}]}',
        '{"candidates": [{"content": {"parts": {}}}]}',
        '{"candidates": [{"content": {"parts": ["x"]}}]}',
        '{"candidates": [{"content": {"parts": [{"text": 5}]}}]}',
        '{"candidates": [{"content": {"parts": [{"functionCall": 5}]}}]}',
        '{"candidates": [{"content": {"parts": []}, "finishReason": 5}]}',
    ],
)
def test_what_is_not_of_this_protocol_is_a_protocol_error(body):
    """Wrong shapes are told as such, with a short excerpt."""
    response, error, _ = played(sse(event(said("Hi")), body))
    assert isinstance(error, ProtocolError)
    assert response.text == "Hi"


def test_json_nested_too_deep_is_refused():
    """In an event that is not plain text, at the limit of the house."""
    deep = "[" * 70 + "]" * 70
    body = json.dumps(event(called("f", {"a": 0}), finish="STOP")).replace('"a": 0', f'"a": {deep}')
    assert isinstance(played(sse(body))[1], LimitExceeded)


# What bytes may not change


WHOLE = sse(
    event(said("Erst ", thought=True, thoughtSignature="dA==")),
    event(said("Grüße 👩‍🚀"), usage={"promptTokenCount": 3}),
    event(said("!", thoughtSignature="Yg==")),
    event(called("f", {"a": [1, {"b": "c"}]}, "c2ln", id="x1"), called("g", willContinue=True)),
    event(piece("$.a", stringValue="v", more=False)),
    STOP,
)


def facts(response: Response) -> tuple:
    """Give what decoding must not depend on how the bytes came."""
    calls = [(call.name, call.raw_arguments) for call in response.tool_calls]
    return response.text, response.reasoning, calls, response.finish_reason, response.usage, parts_of(response)


def test_the_answer_does_not_depend_on_where_the_bytes_are_cut():
    """Whole, byte by byte, and cut at random: the same answer."""
    expected = facts(played(WHOLE)[0])
    assert facts(played(*[WHOLE[at : at + 1] for at in range(len(WHOLE))])[0]) == expected
    for seed in range(20):
        cuts = sorted(random.Random(seed).sample(range(len(WHOLE)), 9))
        assert facts(played(*[WHOLE[a:b] for a, b in zip([0, *cuts], [*cuts, len(WHOLE)], strict=True)])[0]) == expected


def test_a_prefix_is_never_a_whole_answer():
    """Cut anywhere before the finishing event is whole, the answer is Truncated."""
    whole = len(WHOLE.rstrip())
    for at in range(0, whole, 7):
        _, error, _ = played(WHOLE[:at])
        assert isinstance(error, Truncated), at


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn) -> list[Any]:
    """Give the events of an answer with some values at random places replaced by anything."""
    texts = [line[6:] for line in WHOLE.decode().split("\r\n\r\n") if line]
    rows = [json.loads(text) for text in texts]
    for _ in range(draw(st.integers(1, 4))):
        spots: list[tuple[Any, Any]] = []

        def walk(value: Any, spots: list[tuple[Any, Any]] = spots) -> None:
            for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
                spots.append((value, key))
                walk(value[key])

        walk(rows)
        holder, key = draw(st.sampled_from(spots))
        holder[key] = draw(values)
    return rows


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_nothing_but_a_stream_error_escapes(rows):
    """Whatever values stand where, the answer ends whole or with an error of ours, streamed or not."""
    for response, error, _ in (played(sse(*rows)), played(whole=rows)):
        assert response.complete is (error is None)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_bytes_in_disorder_do_no_harm(data):
    """Slices of an answer, repeated, dropped and cut, end whole or with an error of ours."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(WHOLE)), min_size=2, max_size=8)))
    slices = [WHOLE[a:b] for a, b in pairwise(cuts)]
    response, error, _ = played(*data.draw(st.permutations(slices)))
    assert response.complete is (error is None)
    assert all(isinstance(part, (Text, Reasoning, ToolCall)) for part in response.message.parts)
