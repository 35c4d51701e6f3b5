"""Anthropic Messages decoded: small answers of our own with every trap that the protocol sets."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from decoding import Outcome, decoded
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream.errors import Overloaded, ProtocolError, ProviderError, RateLimited, Truncated
from promptstream.providers.anthropic.answer import read_usage
from promptstream.providers.anthropic.dialect import AnthropicDialect
from promptstream.values.chunk import ChunkType
from promptstream.values.message import Reasoning, Text, ToolCall
from promptstream.values.response import Response
from promptstream.values.usage import Usage
from promptstream.wire.events import iter_sse


def played(*pieces: bytes, whole: Any = None) -> Outcome:
    """Give the answer that a provider makes of *pieces*, how it failed, and its chunks."""
    return decoded(AnthropicDialect(api_key="sk-ant-played"), pieces, whole)


def sse(*events: Any, named: bool = True) -> bytes:
    """Write *events* as server-sent events; without their names as some proxies send them."""
    lines = [f"event: {event['type']}\n" if named and "type" in event else "" for event in events]
    return "".join(f"{line}data: {json.dumps(event)}\n\n" for line, event in zip(lines, events, strict=True)).encode()


def began(**message: Any) -> dict:
    """Give the event that an answer begins with."""
    usage = {"input_tokens": 10, "output_tokens": 1}
    fields = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [], "usage": usage}
    return {"type": "message_start", "message": {**fields, "stop_reason": None, **message}}


def start(index: int, kind: str, **block: Any) -> dict:
    """Give the event that a block begins with."""
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **block}}


def delta(index: int, kind: str, **fields: Any) -> dict:
    """Give the event of one delta."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index: int) -> dict:
    """Give the event that a block ends with."""
    return {"type": "content_block_stop", "index": index}


def text(index: int, *pieces: str, **block: Any) -> list[dict]:
    """Give the events of a block of text."""
    deltas = [delta(index, "text_delta", text=piece) for piece in pieces]
    return [start(index, "text", text="", **block), *deltas, stop(index)]


def thinking(index: int, thoughts: str, *signature: str) -> list[dict]:
    """Give the events of a block of thoughts, signed by the pieces of *signature*."""
    signed = [delta(index, "signature_delta", signature=piece) for piece in signature]
    spoken = [delta(index, "thinking_delta", thinking=thoughts)] if thoughts else []
    return [start(index, "thinking", thinking="", signature=""), *spoken, *signed, stop(index)]


def tool(index: int, *pieces: str, name: str = "add", call_id: str = "toolu_1", **block: Any) -> list[dict]:
    """Give the events of a call, its input cut into *pieces*."""
    deltas = [delta(index, "input_json_delta", partial_json=piece) for piece in pieces]
    return [start(index, "tool_use", **{"id": call_id, "name": name, "input": {}, **block}), *deltas, stop(index)]


def ended(reason: str | None = "end_turn", usage: Any = None, **fields: Any) -> list[dict]:
    """Give the events that an answer ends with."""
    said = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None, **fields}}
    return [said | {"usage": {"output_tokens": 7} if usage is None else usage}, {"type": "message_stop"}]


def answer(*events: dict, **options: Any) -> Response:
    """Give the whole answer that *events* make."""
    response, error, _ = played(sse(*events, **options))
    assert error is None, error
    assert response.complete
    return response


# Text and its ending


def test_an_answer_streams_whole():
    """Each delta of text is one chunk; the ending knows reason, model, id and usage."""
    response, error, chunks = played(sse(began(), *text(0, "Hel", "lo"), *ended()))
    assert error is None
    assert [str(chunk) for chunk in chunks] == ["Hel", "lo", ""]
    assert {chunk.model for chunk in chunks} == {"claude-x"}
    assert (response.text, response.finish_reason, response.raw_finish_reason) == ("Hello", "stop", "end_turn")
    assert (response.model, response.request_id, response.usage) == ("claude-x", "msg_1", Usage(10, 7))


def test_events_are_told_by_their_data_where_a_proxy_drops_their_names():
    """The ``type`` of the data decides, not the ``event:`` line."""
    events = (began(), *thinking(0, "Hm", "sig"), *text(1, "Hi"), *ended())
    assert answer(*events, named=False).message == answer(*events).message


def test_pings_are_ignored_wherever_they_come_and_feed_no_clock():
    """A ping says that the connection lives; it may come first of all."""
    ping = {"type": "ping"}
    one, two = text(0, "a", "b")[:2], text(0, "a", "b")[2:]
    assert answer(ping, began(), ping, *one, ping, *two, ping, *ended()).text == "ab"
    assert AnthropicDialect.keepalives == {"ping"}


def test_text_of_several_blocks_is_one_text_in_parts():
    """Blocks are joined without anything between them, and stay parts of their own."""
    response = answer(began(), *text(0, "one "), *text(1, "two"), *ended())
    assert response.text == "one two"
    assert response.message.parts == (Text("one "), Text("two"))


def test_text_that_stands_in_the_start_of_a_block_counts():
    """Some proxies send a block's first text there."""
    events = [start(0, "text", text="Hel"), delta(0, "text_delta", text="lo"), stop(0)]
    assert answer(began(), *events, *ended()).text == "Hello"


def test_trailing_spaces_in_the_data_are_no_part_of_it():
    """Anthropic pads its events."""
    padded = sse(began(), *text(0, "Hi"), *ended()).replace(b"}\n\n", b"}      \n\n")
    assert played(padded)[0].text == "Hi"


def test_it_is_the_same_however_the_bytes_are_cut():
    """Whole, a byte at a time and at random: the same chunks."""
    body = sse(began(), *thinking(0, "Hm", "sig"), *text(1, "Grüße 👋"), *tool(2, '{"a"', ":1}"), *ended("tool_use"))
    whole = played(body)
    dice = random.Random(7)
    cuts = [[body[i : i + 1] for i in range(len(body))]]
    for _ in range(20):
        at = sorted(dice.randrange(len(body)) for _ in range(9))
        cuts.append([body[a:b] for a, b in zip([0, *at], [*at, len(body)], strict=True)])
    for pieces in cuts:
        assert [str(chunk) for chunk in played(*pieces)[2]] == [str(chunk) for chunk in whole[2]]
        assert played(*pieces)[0].message == whole[0].message


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "refusal"),
        ("pause_turn", "other"),
        ("something_new", "other"),
    ],
)
def test_stop_reasons_have_a_common_name(raw, reason):
    """The common reason stands beside the provider's own; unknown ones are "other"."""
    response = answer(began(), *text(0, "Hi"), *ended(raw))
    assert (response.finish_reason, response.raw_finish_reason) == (reason, raw)


def test_a_call_makes_the_reason_tool_calls_whatever_the_wire_says():
    """Servers that speak this protocol too end such a turn with end_turn."""
    assert answer(began(), *tool(0, "{}"), *ended("end_turn")).finish_reason == "tool_calls"
    assert answer(began(), *tool(0, "{}"), {"type": "message_stop"}).finish_reason == "tool_calls"


# Servers that speak it with an accent


def without_index(*events: dict) -> list[dict]:
    """Leave out the index of *events* where it is 0."""
    return [{k: v for k, v in each.items() if k != "index" or v} for each in events]


def test_an_index_that_is_left_out_is_0():
    """Servers written in Go leave out what is zero; where none is ever written, each block ends before the next."""
    call = tool(1, '{"a"', ":1}")
    response = answer(began(), *without_index(*text(0, "Hel", "lo")), *call, *ended("tool_use"))
    assert (response.text, response.tool_calls[0].arguments) == ("Hello", {"a": 1})
    assert answer(began(), *without_index(*text(0, "Hel", "lo"), *tool(0, '{"a":1}')), *ended()).tool_calls


def test_a_block_that_never_ends_ends_where_the_next_begins():
    """Thoughts keep their signature and text its citations though no content_block_stop comes."""
    citation = {"type": "char_location", "cited_text": "x"}
    cited = [*text(1, "cited")[:-1], delta(1, "citations_delta", citation=citation)]
    events = [*thinking(0, "Hm", "sig")[:-1], *cited, *text(2, "plain")[:-1], *tool(3, '{"a":1}')[:-1]]
    response = answer(began(), *events, *ended("tool_use"))
    assert response.message.parts == (
        Reasoning("Hm", {"anthropic": {"signature": "sig"}}),
        Text("cited", {"anthropic": {"citations": [citation]}}),
        Text("plain"),
        ToolCall("toolu_1", "add", {"a": 1}, '{"a":1}'),
    )


def test_a_signature_in_the_start_of_a_block_gives_way_to_its_delta():
    """It is never both together; alone it counts."""
    both = [start(0, "thinking", thinking="Hm", signature="sig"), delta(0, "signature_delta", signature="sig"), stop(0)]
    for events in (both, [both[0], both[2]]):
        (part,) = answer(began(), *events, *ended()).message.parts
        assert part == Reasoning("Hm", {"anthropic": {"signature": "sig"}})


@pytest.mark.parametrize("ping", ["", "data:", "data: ", "data: ping", "data: {}", 'data: {"type": "ping"}'])
def test_a_ping_is_one_whatever_it_holds(ping):
    """Its name says all; so does that of an event without data."""
    body = sse(began(), *text(0, "Hi")) + f"event: ping\n{ping}\n\n".encode() + sse(*ended()[:1])
    assert played(body + b"event: message_stop\ndata:\n\n")[1] is None


def test_a_broken_ping_is_a_protocol_error():
    """JSON that was cut is never passed over: what else was lost cannot be told."""
    assert isinstance(played(sse(began()) + b'event: ping\ndata: {"type": "pi\n\n')[1], ProtocolError)


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data: [DONE]"])
def test_done_ends_an_answer_as_message_stop_does(end):
    """Proxies that speak OpenAI's protocol besides write it; alone it gives no reason, and no answer either."""
    body = sse(began(), *text(0, "Hi"), *tool(1, "{}")[:-1])
    response, error, _ = played(body + end)
    assert (error, response.finish_reason, len(response.tool_calls)) == (None, "tool_calls", 1)
    response, error, _ = played(sse(began(), *text(0, "Hi"), *ended()[:1]) + end)
    assert (error, response.finish_reason, response.warnings) == (None, "stop", ())
    assert isinstance(played(sse(began()) + end)[1], Truncated)


@pytest.mark.parametrize(
    "data", ["Overloaded", 'Overloaded: "input"', '"Overloaded"', '["Overloaded"]', '{"detail": "Overloaded"}']
)
def test_an_event_called_error_is_one_whatever_it_holds(data):
    """Gateways put plain text there."""
    response, raised, _ = played(sse(began(), *text(0, "Hel")) + f"event: error\ndata: {data}\n\n".encode())
    assert isinstance(raised, ProviderError)
    assert "Overloaded" in str(raised)
    assert response.text == "Hel"


def test_calls_that_share_an_id_are_told_apart():
    """Results are matched by it, and the provider refuses a request that holds it twice."""
    one, two = answer(began(), *tool(0, "{}"), *tool(1, "{}"), *ended("tool_use")).tool_calls
    assert one.id == "toolu_1"
    assert two.id not in ("toolu_1", "")


# Completion


def test_an_answer_is_complete_with_its_stop_reason_though_message_stop_never_comes():
    """The finish signal is enough."""
    assert answer(began(), *text(0, "Hi"), ended()[0]).finish_reason == "stop"


def test_message_stop_after_content_completes_an_answer_without_inventing_a_reason():
    """A terminator alone gives no finish reason."""
    response = answer(began(), *text(0, "Hi"), {"type": "message_stop"})
    assert (response.finish_reason, response.raw_finish_reason) == (None, None)


def test_nothing_after_message_stop_is_read():
    """The terminator ends the answer; a second answer behind it is not mixed in."""
    first = (began(), *text(0, "one"), *ended())
    assert answer(*first, began(id="msg_2"), *text(0, "two"), *ended("max_tokens")).text == "one"


@pytest.mark.parametrize("kept", range(1, 5))
def test_an_answer_cut_before_its_stop_reason_is_truncated(kept):
    """However cleanly the connection closes, what came is kept and the loop does not end normally."""
    events = [began(), *text(0, "Hi"), *ended()][:kept]
    response, error, _ = played(sse(*events))
    assert isinstance(error, Truncated)
    assert response.text == ("Hi" if kept > 2 else "")


def test_a_usage_update_without_stop_reason_completes_nothing():
    """message_delta may come more than once; only one with a stop_reason is a finish signal."""
    assert isinstance(played(sse(began(), *text(0, "Hi"), ended(None)[0]))[1], Truncated)


def test_an_unterminated_last_event_counts_where_it_is_whole():
    """The blank line after message_stop, or after the finish signal, may be missing."""
    body = sse(began(), *text(0, "Hi"), ended()[0])
    assert played(body[:-2])[1] is None
    assert played(body + b'event: message_stop\ndata: {"type":"message_stop"}')[1] is None
    assert isinstance(played(body[:-4])[1], Truncated)


# Trap 18: usage


def test_trap_18_usage_of_message_delta_replaces_that_of_message_start():
    """Counts are totals: later ones go over earlier ones, key by key, and null says nothing."""
    first = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 4}
    later = {"input_tokens": 20, "cache_read_input_tokens": None, "output_tokens": 30}
    response = answer(began(usage=first), *text(0, "Hi"), *ended(usage=later))
    assert response.usage == Usage(input=27, output=30, cached=5, cache_write=2)


def test_trap_18_a_prompt_never_shrinks_to_nothing():
    """Servers that count the prompt at the start alone write 0 at the end; what was read from a cache may be 0."""
    later = {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 7}
    first = {"input_tokens": 10, "cache_read_input_tokens": 5}
    assert answer(began(usage=first), *text(0, "Hi"), *ended(usage=later)).usage == Usage(10, 7, cached=0)


def test_trap_18_usage_may_be_null_or_missing_in_either_place():
    """What nobody counted is unknown; the answer is whole all the same."""
    last = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    for events in ([began(usage=None), last | {"usage": None}], [began(), last], [last]):
        response = answer(*events[:-1], *text(0, "Hi"), events[-1], {"type": "message_stop"})
        assert (response.text, response.usage.output) == ("Hi", None)


def test_trap_18_output_tokens_of_message_start_are_no_count():
    """They are a placeholder: of a cut answer the output is unknown, not 1."""
    response, error, _ = played(sse(began(), *text(0, "Hi")))
    assert isinstance(error, Truncated)
    assert response.usage == Usage(input=10)
    assert answer(began(), *text(0, "Hi"), *ended(usage={})).usage == Usage(input=10)


def test_usage_is_read_with_its_three_inputs_added():
    """input counts every prompt token, reasoning is a part of output, and what is no count is unknown."""
    usage = {
        "input_tokens": 1,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 300,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 40},
    }
    assert read_usage(usage, []) == Usage(input=321, output=50, cached=300, cache_write=20, reasoning=40)
    assert read_usage({"input_tokens": "1", "output_tokens": True, "output_tokens_details": 3}, []) == Usage()
    assert read_usage({"input_tokens": 0, "output_tokens": 0}, []) == Usage(0, 0)


# Trap 19: tool calls


def test_a_call_comes_whole_once_after_its_pieces():
    """The name is known with the first piece; the whole call comes at the end of its block."""
    _, error, chunks = played(sse(began(), *tool(0, "", '{"a":', " 12345678901234567890}"), *ended("tool_use")))
    assert error is None
    calls = [(chunk.type, chunk.tool_call) for chunk in chunks[:-1]]
    assert calls == [
        (ChunkType.TOOL_CALL_DELTA, ToolCall("toolu_1", "add", None, "")),
        (ChunkType.TOOL_CALL_DELTA, ToolCall("toolu_1", "add", None, '{"a":')),
        (ChunkType.TOOL_CALL_DELTA, ToolCall("toolu_1", "add", None, " 12345678901234567890}")),
        (
            ChunkType.TOOL_CALL,
            ToolCall("toolu_1", "add", {"a": 12345678901234567890}, '{"a": 12345678901234567890}'),
        ),
    ]


@pytest.mark.parametrize("pieces", [(), ("",), ("", ""), ("{}",)])
def test_trap_19_input_that_adds_up_to_nothing_means_no_arguments(pieces):
    """The empty string is ``{}``."""
    (call,) = answer(began(), *tool(0, *pieces), *ended("tool_use")).tool_calls
    assert (call.arguments, call.problem) == ({}, None)


def test_trap_19_input_cut_by_max_tokens_is_a_problem_and_never_repaired():
    """The block's end comes all the same; the call says why it cannot run."""
    response = answer(began(), *tool(0, '{"lines": ["a'), *ended("max_tokens"))
    (call,) = response.tool_calls
    assert (response.finish_reason, call.arguments, call.raw_arguments) == ("length", None, '{"lines": ["a')
    assert call.problem.startswith("the arguments are not whole")


def test_a_call_of_a_stream_that_is_cut_is_not_given_as_whole():
    """Without the end of its block nothing says that its arguments are whole."""
    response, error, chunks = played(sse(began(), *tool(0, "{}")[:-1]))
    assert isinstance(error, Truncated)
    assert response.tool_calls == ()
    assert ChunkType.TOOL_CALL not in [chunk.type for chunk in chunks]


def test_input_that_stands_in_the_start_of_a_block_counts_where_no_deltas_come():
    """Calls made by a program in a server's tool come so; deltas go over it."""
    (call,) = answer(began(), *tool(0, input={"a": 1}), *ended("tool_use")).tool_calls
    assert (call.arguments, call.raw_arguments) == ({"a": 1}, '{"a": 1}')
    (call,) = answer(began(), *tool(0, '{"a":2}', input={"a": 1}), *ended("tool_use")).tool_calls
    assert call.arguments == {"a": 2}
    (call,) = answer(began(), *tool(0, input='{"a": 1}'), *ended("tool_use")).tool_calls
    assert (call.arguments, call.raw_arguments) == ({"a": 1}, '{"a": 1}')


def test_trap_37_whole_numbers_of_any_size_stay_exact():
    """Wherever the input stands, with every JSON library."""
    big = {"a": 123456789012345678901234567890}
    (call,) = answer(began(), *tool(0, input=big), *ended("tool_use")).tool_calls
    assert call.arguments == big
    block = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": big}
    (call,) = answer(began(content=[block], stop_reason="tool_use"), {"type": "message_stop"}).tool_calls
    assert call.arguments == big


def test_calls_are_kept_apart_by_the_index_of_their_block():
    """Also where their pieces are interleaved; each keeps its id."""
    one, two = tool(1, '{"a":', "1}"), tool(2, '{"b":', "2}", name="mul", call_id="toolu_2")
    mixed = [each for pair in zip(one, two, strict=True) for each in pair]
    calls = answer(began(), *text(0, "Both."), *mixed, *ended("tool_use")).tool_calls
    assert [(call.id, call.name, call.arguments) for call in calls] == [
        ("toolu_1", "add", {"a": 1}),
        ("toolu_2", "mul", {"b": 2}),
    ]


def test_a_call_without_an_id_is_given_one():
    """Its result must name it."""
    first, second = answer(began(), *tool(0, call_id=""), *tool(1, id=None), *ended("tool_use")).tool_calls
    assert first.id.startswith("call_")
    assert first.id != second.id


def test_a_call_whose_block_never_ends_is_whole_with_the_finish_signal():
    """What is open then is ended, just before the finish."""
    (call,) = answer(began(), *tool(0, '{"a":1}')[:-1], *ended("tool_use")).tool_calls
    assert call.arguments == {"a": 1}


def test_the_caller_of_a_call_is_kept_where_it_is_a_program():
    """It must be echoed; that the model itself calls is the rule."""
    program = {"type": "code_execution_20250825", "tool_id": "srvtoolu_1"}
    first, second = answer(
        began(), *tool(0, caller={"type": "direct"}), *tool(1, caller=program), *ended("tool_use")
    ).tool_calls
    assert (first.metadata, second.metadata) == (None, {"anthropic": {"caller": program}})


# Trap 20: what must be kept


def test_trap_20_thoughts_keep_their_signature():
    """One that comes in pieces is joined; each block is a part of its own."""
    response = answer(began(), *thinking(0, "One.", "si", "g1"), *thinking(1, "Two.", "sig2"), *text(2, "Hi"), *ended())
    assert response.reasoning == "One.Two."
    assert response.message.parts == (
        Reasoning("One.", {"anthropic": {"signature": "sig1"}}),
        Reasoning("Two.", {"anthropic": {"signature": "sig2"}}),
        Text("Hi"),
    )


def test_trap_20_thoughts_without_text_and_redacted_ones_are_kept():
    """With ``display: omitted`` only the signature comes, of redacted ones only their data."""
    redacted = [start(1, "redacted_thinking", data="opaque"), stop(1)]
    response = answer(began(), *thinking(0, "", "sig"), *redacted, *thinking(2, "Two.", "sig2"), *ended())
    assert response.message.parts == (
        Reasoning("", {"anthropic": {"signature": "sig"}}),
        Reasoning("", {"anthropic": {"redacted": "opaque"}}),
        Reasoning("Two.", {"anthropic": {"signature": "sig2"}}),
    )


def test_trap_20_thoughts_that_were_cut_have_no_signature():
    """Half a signature is none: it counts when its block ends."""
    response, error, _ = played(sse(began(), *thinking(0, "Hm", "half")[:-1]))
    assert isinstance(error, Truncated)
    assert response.message.parts == (Reasoning("Hm"),)


def test_thoughts_between_texts_stay_where_they_are():
    """Interleaved thinking keeps its order."""
    response = answer(began(), *text(0, "a"), *thinking(1, "b", "sig"), *text(2, "c"), *ended())
    assert [part.text for part in response.message.parts] == ["a", "b", "c"]


def test_blocks_of_a_servers_tools_are_kept_whole():
    """A use of one gets its input from its deltas, its result comes whole; neither is text."""
    use = [
        start(1, "server_tool_use", id="srvtoolu_1", name="web_search", input={}),
        delta(1, "input_json_delta", partial_json=""),
        delta(1, "input_json_delta", partial_json='{"query": "x"}'),
        stop(1),
    ]
    result = {"tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result", "url": "https://x.example"}]}
    events = [*text(0, "Let me see."), *use, start(2, "web_search_tool_result", **result), stop(2), *text(3, "Found.")]
    response = answer(began(), *events, *ended())
    wanted = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    assert (response.text, response.tool_calls) == ("Let me see.Found.", ())
    assert response.message.parts == (
        Text("Let me see."),
        Text("", {"anthropic": {"block": wanted}}),
        Text("", {"anthropic": {"block": {"type": "web_search_tool_result", **result}}}),
        Text("Found."),
    )


def test_a_block_of_a_servers_tool_that_is_not_whole_is_not_kept():
    """Half an input cannot be sent back."""
    use = [start(0, "server_tool_use", id="s", name="w", input={}), delta(0, "input_json_delta", partial_json='{"q')]
    assert answer(began(), *use, stop(0), *text(1, "x"), *ended("max_tokens")).message.parts == (Text("x"),)


def test_a_compaction_is_kept_with_its_content():
    """Its delta carries what the block's start leaves open."""
    events = [
        start(0, "compaction", content=None, encrypted_content=None),
        delta(0, "compaction_delta", content="Summary.", encrypted_content="opaque"),
        stop(0),
    ]
    first, second = answer(began(), *events, *text(1, "Hi"), *ended()).message.parts
    assert first.metadata["anthropic"]["block"] == {
        "type": "compaction",
        "content": "Summary.",
        "encrypted_content": "opaque",
    }
    assert second == Text("Hi")


def test_citations_are_kept_on_the_text_that_they_belong_to():
    """The text before and after is a part of its own, without them."""
    citation = {"type": "char_location", "cited_text": "x", "document_index": 0}
    cited = [
        start(1, "text", text="", citations=[]),
        delta(1, "citations_delta", citation=citation),
        delta(1, "text_delta", text="cited"),
        delta(1, "citations_delta", citation=citation),
        stop(1),
    ]
    response = answer(began(), *text(0, "before "), *cited, *text(2, " after"), *ended())
    assert response.message.parts == (
        Text("before "),
        Text("cited", {"anthropic": {"citations": [citation, citation]}}),
        Text(" after"),
    )


# Trap 21: errors inside a stream, and what is unknown


def test_trap_21_an_error_inside_a_stream_is_told_by_its_type():
    """The status is 200; the same class is raised as for its status, and the text so far is kept."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}
    response, raised, _ = played(sse(began(), *text(0, "Hel"), error))
    assert isinstance(raised, Overloaded)
    assert (raised.retryable, raised.request_id, response.text) == (True, "req_1", "Hel")


@pytest.mark.parametrize(
    "body",
    [
        b'event: error\ndata: {"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}\n\n',
        b'data: {"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}\n\n',
        b'data: {"error":{"type":"rate_limit_error","message":"slow down"}}\n\n',
        b'event: error\ndata: {"type":"rate_limit_error","message":"slow down"}\n\n',
        b'data: {"type":"rate_limit_error","message":"slow down"}\n\n',
    ],
)
def test_trap_21_errors_come_in_flat_shapes_too(body):
    """Proxies drop the event's name, or the object around the error."""
    raised = played(sse(began()) + body)[1]
    assert isinstance(raised, RateLimited)
    assert "slow down" in str(raised)


def test_trap_21_an_error_that_is_only_text_is_an_error():
    """Whatever it says, the answer is not whole."""
    assert "no more" in str(played(sse(began(), {"type": "error", "error": "no more"}))[1])
    assert isinstance(played(b"event: error\ndata: {}\n\n")[1], ProviderError)


def test_trap_21_unknown_events_blocks_and_deltas_are_ignored():
    """New ones are announced to appear; a block whose deltas are not understood is not sent back."""
    stranger = {"type": "brand_new", "index": 0, "delta": {"type": "text_delta", "text": "no"}}
    odd = [start(0, "brand_new", x=1), delta(0, "brand_new_delta", x=2), stop(0)]
    pieces = [*text(1, "o", "k")[:2], delta(1, "brand_new_delta", text="no"), *text(1, "o", "k")[2:]]
    response = answer(stranger, began(), *odd, stranger, *pieces, stop(7), *ended())
    assert response.message.parts == (Text("ok"),)


def test_an_unknown_block_that_comes_whole_is_kept():
    """Nothing says that it may be left out of what is sent back."""
    (part,) = answer(began(), start(0, "brand_new", x=1), stop(0), *ended()).message.parts
    assert part == Text("", {"anthropic": {"block": {"type": "brand_new", "x": 1}}})


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message_start", "message": None},
        {"type": "message_delta", "delta": 3},
        {"type": "content_block_start", "index": 0, "content_block": None},
        {"type": "content_block_start", "index": "0", "content_block": {"type": "text"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": 1}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": ["text"]}},
        {"type": "content_block_delta", "index": 0, "delta": None},
        {"type": "content_block_delta", "index": True, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ["x"]}},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": -1},
    ],
)
def test_wrong_shapes_are_protocol_errors(event):
    """What is not of this protocol is said to be so, at the event."""
    assert isinstance(played(sse(began(), event))[1], ProtocolError)


@pytest.mark.parametrize("data", ["[]", "3", '"x"', "null", "{", "[DONE", "Bad gateway"])
def test_data_that_is_no_json_object_is_a_protocol_error(data):
    """Also where it is valid JSON."""
    assert isinstance(played(sse(began()) + f"data: {data}\n\n".encode())[1], ProtocolError)


def test_blocks_that_never_end_are_bounded():
    """More than 128 open at once, or more than 128 calls, are refused."""
    many = [start(index, "server_tool_use", id=str(index), name="w", input={}) for index in range(200)]
    assert "128" in str(played(sse(began(), *many))[1])
    calls = [event for index in range(200) for event in tool(index)]
    assert "128" in str(played(sse(began(), *calls))[1])


# Another message inside the answer


def test_a_message_start_that_is_repeated_at_once_is_no_second_message():
    """A proxy's quirk that harms nothing as long as no block has begun."""
    assert answer(began(), began(), *text(0, "Hi"), *ended()).text == "Hi"


def test_a_second_message_inside_the_answer_is_a_protocol_error():
    """Two answers are never merged; what came of the first is kept."""
    events = [began(), *text(0, "one"), began(id="msg_2"), *text(0, "two"), *ended()]
    response, error, _ = played(sse(*events))
    assert isinstance(error, ProtocolError)
    assert response.text == "one"


def test_a_message_may_come_whole_in_its_message_start():
    """Calls of a program that runs in a server's tool come so: content, reason and usage at once."""
    block = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}
    usage = {"input_tokens": 10, "output_tokens": 7}
    response = answer(began(content=[block], stop_reason="tool_use", usage=usage), {"type": "message_stop"})
    assert response.tool_calls == (ToolCall("toolu_1", "add", {"a": 1}, '{"a": 1}'),)
    assert (response.finish_reason, response.usage) == ("tool_calls", Usage(10, 7))


# Trap 22: refusals, pauses, fallbacks


def test_trap_22_a_refusal_ends_normally_and_is_marked():
    """The text so far was handed out; the mark keeps it from being sent again, with what the provider says."""
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    response = answer(began(), *text(0, "Su"), *ended("refusal", stop_details=details))
    assert (response.text, response.finish_reason) == ("Su", "refusal")
    assert response.message.parts == (Text("Su"), Text("", {"anthropic": {"refusal": details}}))


def test_trap_22_a_pause_asks_to_be_asked_again():
    """The provider wants the same content back; the answer so far ends as "other"."""
    stream = iter_sse([sse(began(), *text(0, "Hi"), *ended("pause_turn"))])
    finishes = [
        chunk
        for chunk in AnthropicDialect(api_key="sk-ant-played").decode(stream)
        if getattr(chunk, "raw_reason", None)
    ]
    assert [(each.reason, each.raw_reason, each.pause) for each in finishes] == [("other", "pause_turn", True)]


def test_trap_22_a_fallback_changes_the_model_in_the_middle_of_the_message():
    """Chunks name the model that answers from there on; the block is kept."""
    block = {"from": {"model": "claude-x"}, "to": {"model": "claude-y"}}
    events = [began(), *text(0, "a"), start(1, "fallback", **block), stop(1), *text(2, "b"), *ended()]
    response, error, chunks = played(sse(*events))
    assert error is None
    assert [chunk.model for chunk in chunks] == ["claude-x", "claude-y", "claude-y"]
    assert response.model == "claude-y"
    assert response.message.parts[1] == Text("", {"anthropic": {"block": {"type": "fallback", **block}}})


# One body


def test_a_whole_message_gives_what_its_stream_gives():
    """``decode_whole`` and ``decode`` make the same answer."""
    program = {"type": "code_execution_20250825", "tool_id": "srvtoolu_1"}
    citation = {"type": "char_location", "cited_text": "x"}
    use = {"id": "srvtoolu_1", "name": "code_execution", "input": {"code": "1"}}
    blocks = [
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "opaque"},
        {"type": "text", "text": "Hi"},
        {"type": "text", "text": "cited", "citations": [citation]},
        {"type": "server_tool_use", **use},
        {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}, "caller": program},
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ]
    usage = {"input_tokens": 10, "cache_read_input_tokens": 3, "output_tokens": 7}
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": blocks}
    whole, error, _ = played(whole={**body, "stop_reason": "tool_use", "usage": usage})
    assert error is None
    streamed = answer(
        began(usage={**usage, "output_tokens": 1}),
        *thinking(0, "Hm", "sig"),
        start(1, "redacted_thinking", data="opaque"),
        stop(1),
        *text(2, "Hi"),
        start(3, "text", text="", citations=[]),
        delta(3, "text_delta", text="cited"),
        delta(3, "citations_delta", citation=citation),
        stop(3),
        start(4, "server_tool_use", **{**use, "input": {}}),
        delta(4, "input_json_delta", partial_json='{"code": "1"}'),
        stop(4),
        *tool(5, '{"a": 1}', caller=program),
        *tool(6, "", name="now", call_id="toolu_2"),
        *ended("tool_use", usage=usage),
    )
    assert whole.message == streamed.message
    for name in ("text", "reasoning", "tool_calls", "finish_reason", "raw_finish_reason", "usage", "model", "complete"):
        assert getattr(whole, name) == getattr(streamed, name), name
    assert whole.usage == Usage(input=13, output=7, cached=3)


def test_a_whole_answer_without_content_is_an_answer():
    """A model may say nothing."""
    body = {"id": "msg_1", "type": "message", "model": "claude-x", "content": [], "stop_reason": "end_turn"}
    response, error, chunks = played(whole=body)
    assert (error, response.text, response.finish_reason, len(chunks)) == (None, "", "stop", 1)


def test_a_whole_error_is_raised_as_what_it_says():
    """An error object with status 200 is no answer."""
    said = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert isinstance(played(whole=said)[1], Overloaded)


@pytest.mark.parametrize("body", [3, [], "x", {"choices": []}, {"content": "x"}, {"content": [None]}])
def test_a_whole_body_of_another_protocol_is_a_protocol_error(body):
    """It is said, not read as an empty answer."""
    assert isinstance(played(whole=body)[1], ProtocolError)


# Hostile input

RICH = (
    {"type": "ping"},
    began(),
    *thinking(0, "Hm", "s", "ig"),
    start(1, "redacted_thinking", data="opaque"),
    stop(1),
    *text(2, "a", "b", citations=[]),
    delta(2, "citations_delta", citation={"type": "x"}),
    *tool(3, "", '{"a"', ":1}"),
    start(4, "server_tool_use", id="s", name="w", input={}),
    delta(4, "input_json_delta", partial_json="{}"),
    stop(4),
    start(5, "fallback", to={"model": "claude-y"}),
    stop(5),
    delta(6, "compaction_delta", content="x"),
    *ended("tool_use", usage={"input_tokens": 1, "output_tokens_details": {"thinking_tokens": 1}}),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def mutated(value: Any, replacement: Any, dice: random.Random) -> Any:
    """Replace one place in *value*, anywhere in its depth."""
    if isinstance(value, dict) and value and dice.random() < 0.8:
        key = dice.choice(list(value))
        return {**value, key: mutated(value[key], replacement, dice)}
    if isinstance(value, list) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        return [*value[:at], mutated(value[at], replacement, dice), *value[at + 1 :]]
    return replacement


@settings(deadline=None, max_examples=300)
@given(st.randoms(use_true_random=False), st.lists(JSON, min_size=1, max_size=3))
def test_mutated_events_raise_nothing_but_stream_errors(dice, replacements):
    """Whatever stands where, the answer ends, or a StreamError says what is wrong; the text can be encoded."""
    events = list(RICH)
    for replacement in replacements:
        at = dice.randrange(len(events))
        events[at] = mutated(events[at], replacement, dice)
    if dice.random() < 0.3:
        dice.shuffle(events)
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()
    response, _, _ = played(body)
    assert json.dumps(response.message.to_dict()).encode()


@settings(deadline=None, max_examples=200)
@given(st.randoms(use_true_random=False), JSON)
def test_mutated_bodies_raise_nothing_but_stream_errors(dice, replacement):
    """The same of an answer in one body."""
    blocks = [event["content_block"] for event in RICH if event["type"] == "content_block_start"]
    body = {**began()["message"], "content": blocks, "stop_reason": "tool_use"}
    response, _, _ = played(whole=mutated(body, replacement, dice))
    assert response is not None


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 3000), st.binary(max_size=4))
def test_damaged_bytes_raise_nothing_but_stream_errors(at, damage):
    """Bytes replaced anywhere, or the stream cut there."""
    body = sse(*RICH)
    played(body[:at] + damage + body[at + len(damage) :])
    played(body[:at])
