"""Servers that speak OpenAI's protocol each in its own way: what they send, and what they are sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import responses
from decoding import Outcome, decoded

from promptstream import Document, Message, Reasoning, Text, ToolCall, ToolResult, Usage, providers
from promptstream.errors import (
    Authentication,
    InvalidRequest,
    ProtocolError,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerError,
    Truncated,
    Unsupported,
)
from promptstream.providers.compatible import CompatibleDialect
from promptstream.providers.openai.chat import OpenAIDialect
from promptstream.values.chunk import ChunkType
from promptstream.values.request import ChatRequest
from promptstream.wire.events import iter_sse

SERVER = "http://127.0.0.1:9/v1"
KEY = "key-0123456789-abcdef"


def event(delta: Any, finish: str | None = None, **more: Any) -> dict:
    """Give one chunk with a single choice."""
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def said(text: str) -> dict:
    """Give the chunk of a delta of text."""
    return event({"content": text})


STOP = event({}, "stop")


def sse(*events: Any, done: bool = True) -> bytes:
    """Write events, each a body or a text that stands for itself."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in events]
    return "".join(f"data: {text}\n\n" for text in [*texts, *(["[DONE]"] if done else [])]).encode()


def played(
    *events: Any, dialect: type[OpenAIDialect] = CompatibleDialect, done: bool = True, whole: Any = None
) -> Outcome:
    """Give the answer that *events* make, how it failed, and its chunks."""
    return decoded(dialect(base_url=SERVER, api_key=KEY), [sse(*events, done=done)], whole)


def encoded(*messages: Message, base_url: str = SERVER) -> list[dict]:
    """Give messages as they would be sent to a compatible server."""
    dialect = providers.get("compatible", base_url=base_url, api_key=KEY).dialect
    return dialect.encode(ChatRequest(messages, "m")).json["messages"]


# Reasoning in tags


@pytest.mark.parametrize(
    ("pieces", "reasoning", "text"),
    [
        (["<think>Hm.</think>Hi"], "Hm.", "Hi"),
        (["<think>", "Hm", ".", "</think>", "\n\n", "Hi", " you"], "Hm.", "Hi you"),
        (list("<think>\nHm.\n</think>\n\nHi"), "Hm.\n", "Hi"),
        (["\n<th", "ink>Hm.</th", "ink>Hi"], "Hm.", "Hi"),
        (["<b>", "Hi</b>"], "", "<b>Hi</b>"),
        (["Tags: ", "<think>x</think>"], "", "Tags: <think>x</think>"),
        (["<think>Hm.</think>Hi ", "<think>x</think>"], "Hm.", "Hi <think>x</think>"),
    ],
)
def test_thoughts_in_tags_at_the_beginning_are_reasoning(pieces, reasoning, text):
    """Old templates leave ``<think>`` in the text; it is told apart however the deltas are cut, and nowhere else."""
    response, error, chunks = played(*map(said, pieces), STOP)
    assert error is None
    assert (response.reasoning.strip(), response.text) == (reasoning.strip(), text)
    assert all(chunk.text or chunk.reasoning for chunk in chunks[:-1])
    assert all(chunk.model == "m" for chunk in chunks)
    whole = {"model": "m", "choices": [{"message": {"content": "".join(pieces)}, "finish_reason": "stop"}]}
    response, _, _ = played(whole=whole)
    assert (response.reasoning.strip(), response.text) == (reasoning.strip(), text)


def test_a_tag_that_never_closes_is_all_reasoning():
    """A thought that the token limit cut is no text."""
    response, error, _ = played(said("<think>Hm"), said(" and"), event({}, "length"))
    assert error is None
    assert (response.reasoning, response.text, response.finish_reason) == ("Hm and", "", "length")


@pytest.mark.parametrize("held", ["<thi", "  \n", "<think"])
def test_what_is_held_back_for_a_tag_is_never_lost(held):
    """At the reason, at the sentinel, at a cut and before an error, the text so far has every character."""
    assert played(said(held), STOP)[0].text == held
    assert played(said(held))[0].text == held
    response, error, _ = played(said(held), done=False)
    assert (type(error), response.text) == (Truncated, held)
    response, error, _ = played(said(held), {"error": {"message": "down", "code": 500}})
    assert (type(error), response.text) == (ServerError, held)
    response, error, _ = played(said(held), "{broken")
    assert (type(error), response.text) == (ProtocolError, held)


@pytest.mark.parametrize("delta", [{"content": [{"type": "text", "text": "x"}]}, {"refusal": "x"}])
def test_what_is_held_back_comes_before_what_follows(delta):
    """A part of another kind does not overtake what might have been a tag."""
    assert played(said("<th"), event(delta), STOP)[0].text == "<thx"


def test_a_server_that_tells_thoughts_apart_has_its_text_left_alone():
    """After a field of reasoning, tags are text."""
    response, _, _ = played(event({"reasoning_content": "Hm."}), said("<think>is a tag"), STOP)
    assert (response.reasoning, response.text) == ("Hm.", "<think>is a tag")


def test_at_openai_itself_tags_are_text():
    """Only servers of unknown templates are suspected of tags."""
    response, _, _ = played(said("<think>Hm.</think>Hi"), STOP, dialect=OpenAIDialect)
    assert (response.reasoning, response.text) == ("", "<think>Hm.</think>Hi")


def test_a_text_completion_may_begin_with_a_tag():
    """What goes on from a prompt is text, whatever it says."""
    response, _, _ = played({"model": "m", "choices": [{"index": 0, "text": "<think>x", "finish_reason": "stop"}]})
    assert response.text == "<think>x"


# Reasoning in other places


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "Hm."},
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm.", "reasoning_content": "Hm."},
        {"reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}, "x", {"type": "reasoning.encrypted"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
        {"content": [{"type": "thinking", "thinking": "Hm."}]},
        {"content": "<think>Hm.</think>"},
    ],
)
def test_a_thought_is_found_wherever_it_stands(delta):
    """Five places, one thought, shown once and never sent back."""
    response, error, _ = played(event(delta), said("Hi"), STOP)
    assert error is None
    assert (response.reasoning, response.text) == ("Hm.", "Hi")
    assert encoded(response.message) == [{"role": "assistant", "content": "Hi"}]


def test_a_thought_of_deepseeks_is_not_sent_back():
    """R1 refuses reasoning_content in a request; a conversation shows it and keeps it to itself."""
    message = Message("assistant", [Reasoning("Hm."), Text("Hi"), ToolCall("c1", "f", {}, "{}")])
    (sent,) = encoded(message)
    assert set(sent) == {"role", "content", "tool_calls"}


# Errors and usage in the servers' own ways


def test_groqs_error_event_says_what_failed():
    """``event: error`` with failed_generation and a status_code of its own, no finish, no ``[DONE]``."""
    said_by = {"message": "Failed to call a function.", "type": "invalid_request_error", "code": "tool_use_failed"}
    error = {"error": {**said_by, "failed_generation": "<function=", "status_code": 400}}
    body = sse(said("Hi"), done=False) + f"event: error\ndata: {json.dumps(error)}\n\n".encode()
    dialect = CompatibleDialect(base_url=SERVER)
    chunks = dialect.decode(iter_sse([body]))
    with pytest.raises(InvalidRequest, match="Failed to call a function"):
        list(chunks)


def test_groqs_note_of_an_error_is_an_error():
    """``x_groq.error`` beside a chunk says why the stream stops."""
    response, error, _ = played(said("Hi"), event({}, x_groq={"id": "r1", "error": "over capacity"}), done=False)
    assert isinstance(error, ProviderError)
    assert "over capacity" in str(error)
    assert response.text == "Hi"


def test_vllms_error_is_an_error():
    """``{"object": "error"}`` has its message at the top."""
    failed = {"object": "error", "message": "too long for me", "type": "BadRequestError", "param": None, "code": 400}
    assert type(played(said("Hi"), failed, done=False)[1]) is InvalidRequest


def test_usage_is_found_in_groqs_place():
    """``x_groq.usage`` counts where there is no other."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert played(said("Hi"), event({}, "stop", x_groq={"usage": usage}))[0].usage == Usage(input=3, output=2)
    both = event({}, "stop", usage=usage, x_groq={"usage": {"prompt_tokens": 9}})
    assert played(said("Hi"), both)[0].usage == Usage(input=3, output=2)


@pytest.mark.parametrize(
    ("usage", "known"),
    [
        ({"prompt_cache_hit_tokens": 2, "prompt_tokens_details": None}, {"cached": 2}),
        ({"cached_tokens": 2}, {"cached": 2}),
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cached_tokens": 2}, {"cached": 0}),
        ({"prompt_tokens_details": {"cache_creation_input_tokens": 2, "cache_type": "ephemeral"}}, {"cache_write": 2}),
        ({"prompt_tokens_details": {"cache_write_tokens": 0}}, {"cache_write": 0}),
        ({"reasoning_tokens": 1, "completion_tokens_details": {}}, {"reasoning": 1}),
    ],
)
def test_parts_of_the_usage_are_found_in_the_servers_own_places(usage, known):
    """DeepSeek's, Moonshot's, Qwen's and SGLang's; OpenAI's place counts where it is taken, also by 0."""
    last = {**STOP, "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, **usage}}
    assert played(said("Hi"), last)[0].usage == Usage(input=3, output=2, **known)


def test_usage_is_found_in_moonshots_place():
    """Kimi puts it into the choice that ends the answer."""
    last = event({}, "stop")
    last["choices"][0]["usage"] = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert played(said("Hi"), last)[0].usage == Usage(input=3, output=2)


def test_usage_that_grows_with_every_chunk_is_the_last_one():
    """vLLM's continuous usage is cumulative, and its chunks of text are text all the same."""
    growing = [{**said("x"), "usage": {"prompt_tokens": 3, "completion_tokens": n}} for n in (1, 2, 3)]
    response, _, chunks = played(*growing, STOP)
    assert ([chunk.text for chunk in chunks], response.usage) == (["x", "x", "x", ""], Usage(input=3, output=3))


def test_usage_without_a_count_has_a_known_part_only():
    """What a server does not count is unknown, never 0."""
    usage = played(said("Hi"), {**STOP, "usage": {"prompt_tokens": 3}})[0].usage
    assert (usage.input, usage.output, usage.total) == (3, None, None)


def test_azures_first_chunk_is_no_answer():
    """``choices: []``, an empty id and model, and what its filters say: the answer's own id and model count."""
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{}]}
    filtered = {"index": 0, "finish_reason": None, "content_filter_results": {}, "content_filter_offsets": {}}
    second = event({"role": "assistant", "content": ""})
    later = {"choices": [filtered], "id": "", "model": ""}
    response, error, _ = played(first, second, said("Hi"), later, STOP)
    assert error is None
    assert (response.text, response.model, response.request_id) == ("Hi", "m", "c1")


def test_a_role_in_every_delta_changes_nothing():
    """Servers that repeat the role, or send it null, mean nothing by it."""
    deltas = [{"role": "assistant", "content": "Hel"}, {"role": None, "content": "lo"}, {"content": "!", "role": ""}]
    response, _, chunks = played(*map(event, deltas), STOP)
    assert response.text == "Hello!"
    assert [chunk.text for chunk in chunks] == ["Hel", "lo", "!", ""]


def test_a_grapheme_may_be_cut_between_deltas():
    """A family of emoji comes in pieces and is whole at the end; no piece is taken for a token or a character."""
    family = "👩‍👩‍👧‍👦"
    response, _, chunks = played(*map(said, family), STOP)
    assert response.text == family
    assert response.timing.chunks == len(family)
    assert "".join(chunk.text for chunk in chunks) == family


@pytest.mark.parametrize(
    ("code", "kind"),
    [(1004, Authentication), (2049, Authentication), (1002, RateLimited), (1008, QuotaExceeded), (1, ProviderError)],
)
def test_minimaxs_error_inside_a_200_is_an_error(code, kind):
    """``base_resp`` has a number for what went wrong, and no choices; 0 stands for nothing."""
    refused = {"id": "x", "choices": None, "base_resp": {"status_code": code, "status_msg": "no way"}}
    for _, error, _ in (played(refused, done=False), played(whole=refused)):
        assert type(error) is kind
        assert f"no way ({code})" in str(error)
    fine = {"base_resp": {"status_code": 0, "status_msg": ""}}
    assert played(said("Hi"), {**STOP, **fine})[0].complete


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ({"detail": "Not authenticated"}, Authentication, "Not authenticated"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, ProviderError, "field required"),
        (
            {"success": False, "errors": [{"code": 7000, "message": "No route"}], "result": None},
            ProviderError,
            "No route",
        ),
        ({"code": 429, "message": "slow down"}, RateLimited, "slow down"),
        ({"code": "InvalidParameter", "message": "bad", "request_id": "r1"}, InvalidRequest, "bad"),
        ({"error_code": 17, "error_msg": "daily limit"}, ProviderError, "daily limit"),
        ([{"error": {"code": 400, "message": "bad"}}], InvalidRequest, "bad"),
    ],
)
def test_an_error_in_another_servers_shape_is_told_and_not_taken_for_a_cut(body, kind, text):
    """FastAPI's, Cloudflare's, DashScope's, Baidu's and Gemini's, in a stream and in one body."""
    for response, error, _ in (played(said("Hi"), body, done=False), played(whole=body)):
        assert type(error) is kind
        assert text in str(error)
        assert not response.complete


@pytest.mark.parametrize(
    "body", [{"message": "queued"}, {"code": 0, "message": "Success"}, {"code": 200, "message": "ok"}]
)
def test_news_without_choices_is_no_error(body):
    """A message alone, or beside a code that means well, is passed over."""
    assert played(body, said("Hi"), STOP)[0].text == "Hi"


def test_an_error_of_a_choice_is_an_error():
    """OpenRouter puts what an upstream provider said into the choice that it ends."""
    failed = event({"content": ""}, "error")
    failed["choices"][0]["error"] = {"code": 502, "message": "upstream is gone"}
    response, error, _ = played(said("Hi"), failed)
    assert (type(error), response.text) == (ServerError, "Hi")
    assert "upstream is gone" in str(error)


def test_an_error_event_need_not_be_json():
    """What an event named error says is what went wrong."""
    chunks = CompatibleDialect(base_url=SERVER).decode(iter_sse([b"event: error\ndata: Internal Server Error\n\n"]))
    with pytest.raises(ServerError, match="Internal Server Error"):
        list(chunks)


def test_a_message_after_its_deltas_is_not_said_again():
    """MiniMax ends with the whole message, Perplexity sends it beside each delta: the text comes once."""
    whole = {"role": "assistant", "content": "Hi you", "tool_calls": []}
    last = {"model": "m", "choices": [{"index": 0, "message": whole, "finish_reason": "stop"}]}
    assert played(said("Hi"), said(" you"), last)[0].text == "Hi you"
    assert played(event({"role": "assistant", "content": ""}), last)[0].text == "Hi you"
    beside = [{**said(text), "citations": ["https://x.example"]} for text in ("Hi", " you")]
    for each, so_far in zip(beside, ("Hi", "Hi you"), strict=True):
        each["choices"][0]["message"] = {"role": "assistant", "content": so_far}
    ended = event({}, "stop")
    ended["choices"][0]["message"] = whole
    assert played(*beside, ended)[0].text == "Hi you"


def test_calls_that_only_the_last_message_has_are_not_lost():
    """Text in deltas, calls in the message at the end: both are read, and calls of deltas are not read twice."""
    call = {"id": "c1", "function": {"name": "f", "arguments": "{}"}}
    last = event({}, "tool_calls")
    last["choices"][0]["message"] = {"content": "Hi", "tool_calls": [call]}
    for events in ([said("Hi"), last], [event({"content": "Hi", "tool_calls": [{"index": 0, **call}]}), last]):
        response, error, _ = played(*events)
        assert error is None
        assert (response.text, [each.arguments for each in response.tool_calls]) == ("Hi", [{}])


def test_a_stream_of_messages_in_place_of_deltas_is_read():
    """Where no delta says anything, each message is the next piece."""
    pieces = [{"choices": [{"index": 0, "delta": None, "message": {"content": text}}]} for text in ("Hi", " you")]
    assert played(*pieces, STOP)[0].text == "Hi you"


# Tool calls


def test_calls_without_ids_get_ids_of_their_own():
    """Two calls are never both "": each result finds its call in the next request."""
    calls = [{"index": index, "function": {"name": "f", "arguments": "{}"}} for index in (0, 1)]
    response, error, chunks = played(event({"tool_calls": calls}), event({}, "tool_calls"))
    assert error is None
    first, second = response.tool_calls
    assert first.id
    assert second.id
    assert first.id != second.id
    assert [chunk.tool_call for chunk in chunks if chunk.type is ChunkType.TOOL_CALL] == [first, second]
    results = Message("tool", [ToolResult(call.id, "f", "5") for call in (first, second)])
    asked, *told = encoded(response.message, results)
    assert [call["id"] for call in asked["tool_calls"]] == [each["tool_call_id"] for each in told]


def test_a_whole_body_without_ids_gets_them_too():
    """As in a stream."""
    calls = [{"function": {"name": "f", "arguments": {}}}, {"function": {"name": "f", "arguments": {}}}]
    response, _, _ = played(whole={"choices": [{"message": {"content": None, "tool_calls": calls}}]})
    assert len({call.id for call in response.tool_calls} - {""}) == 2


def test_whole_calls_in_one_delta_are_as_many_calls():
    """xAI sends every call whole; each is a call of its own, whatever it is numbered."""
    calls = [{"id": f"c{n}", "index": n, "function": {"name": "f", "arguments": f'{{"n":{n}}}'}} for n in (0, 1)]
    response, _, _ = played(event({"content": "", "tool_calls": calls}), event({}, "tool_calls"))
    assert [(call.id, call.arguments) for call in response.tool_calls] == [("c0", {"n": 0}), ("c1", {"n": 1})]


def test_a_reason_of_stop_before_the_calls_does_not_hide_them():
    """Where calls come after the reason, the turn ends to have tools run all the same."""
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    response, error, _ = played(STOP, event({"tool_calls": [call]}))
    assert error is None
    assert (response.finish_reason, response.raw_finish_reason) == ("tool_calls", "stop")
    assert [each.id for each in response.tool_calls] == ["c1"]


def test_ids_of_any_form_go_back_to_the_server_as_it_gave_them():
    """Kimi's ``functions.f:0`` means something to the server that wrote it."""
    call = ToolCall("functions.f:0", "f", {}, "{}")
    asked, told = encoded(Message("assistant", call), Message("tool", ToolResult("functions.f:0", "f", "5")))
    assert (asked["tool_calls"][0]["id"], told["tool_call_id"]) == ("functions.f:0", "functions.f:0")


def test_openai_gets_ids_that_it_takes():
    """At most 40 letters, digits, _ and -: the call and its result are renamed alike, and short ones stay."""
    dialect = providers.get("openai", api_key=KEY, model="gpt-4o").dialect
    for given in ("functions.f:0", "x" * 41, "call_1", "x" * 40):
        history = (Message("assistant", ToolCall(given, "f", {}, "{}")), Message("tool", ToolResult(given, "f", "5")))
        asked, told = dialect.encode(ChatRequest(history, "gpt-4o")).json["messages"]
        sent = asked["tool_calls"][0]["id"]
        assert sent == told["tool_call_id"]
        assert len(sent) <= 40
        assert (sent == given) is (given in ("call_1", "x" * 40))


def test_mistral_gets_ids_of_nine_characters():
    """Mistral's own servers insist on them; other servers are not bothered."""
    call, result = ToolCall("toolu_01ABC", "f", {}, "{}"), ToolResult("toolu_01ABC", "f", "5")
    url = "https://api.mistral.ai/v1"
    asked, told = encoded(Message("assistant", call), Message("tool", result), base_url=url)
    sent = asked["tool_calls"][0]["id"]
    assert sent == told["tool_call_id"]
    assert len(sent) == 9
    assert sent.isalnum()
    (own,) = encoded(Message("assistant", ToolCall("a1B2c3D4e", "f", {}, "{}")), base_url=url)
    assert own["tool_calls"][0]["id"] == "a1B2c3D4e"


# What is sent


def test_mistral_is_sent_no_key_that_it_does_not_know():
    """Its own servers refuse the whole request for one; the usage comes unasked."""
    dialect = providers.get("compatible", base_url="https://api.mistral.ai/v1", api_key=KEY).dialect
    asked = {"seed": 1, "top_k": 2, "max_tokens": 9, "parallel_tools": False}
    call = dialect.encode(ChatRequest((Message("user", "Hi"),), "mistral-small-latest", parameters=asked))
    assert set(call.json) == {"model", "messages", "stream", "max_tokens"}
    assert [warning.split()[0] for warning in call.warnings] == ["seed", "top_k"]


@pytest.fixture
def net() -> Iterator[responses.RequestsMock]:
    """Answer in place of the network; an address that was not foreseen is a failure."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


AZURE = "https://name.openai.azure.com/openai/deployments/gpt"


def test_azure_is_asked_by_its_deployment_its_version_and_its_own_header(net, monkeypatch):
    """A base URL may have a query, which stays at the end; ``api-key`` is the key, and no other goes beside it."""
    monkeypatch.setenv("PROMPTSTREAM_API_KEY", "key-from-the-environment")
    url = f"{AZURE}/chat/completions?api-version=2024-10-21"
    net.post(url, body=sse(said("Hi"), STOP), content_type="text/event-stream")
    base = f"{AZURE}/?api-version=2024-10-21"
    with providers.get("compatible", base_url=base, headers={"api-key": KEY}) as provider:
        assert provider.send("Hello").text == "Hi"
    assert net.calls[0].request.url == url
    headers = net.calls[0].request.headers
    assert headers["api-key"].encode() == KEY.encode()
    assert "Authorization" not in headers


def test_a_key_in_a_header_does_not_show(net):
    """It is scrubbed from what the server says and prints as a mask, as a key given as one."""
    url = f"{AZURE}/chat/completions"
    net.post(url, status=401, json={"error": {"code": "401", "message": f"Access denied with {KEY}."}})
    with providers.get("compatible", base_url=AZURE, headers={"api-key": KEY}) as provider:
        with pytest.raises(ProviderError) as caught:
            provider.send("Hello")
        assert KEY not in repr(provider.dialect._headers)
    assert KEY not in str(caught.value)


def test_a_key_and_a_gateways_header_may_go_side_by_side(net):
    """Both are sent where both are given; neither prints."""
    net.post(f"{SERVER}/chat/completions", body=sse(said("Hi"), STOP), content_type="text/event-stream")
    with providers.get("compatible", base_url=SERVER, api_key=KEY, headers={"x-api-key": "gate-0123456789"}) as made:
        made.send("Hello")
        assert "gate" not in repr(made.dialect._headers)
    headers = net.calls[0].request.headers
    assert headers["Authorization"].encode() == f"Bearer {KEY}".encode()
    assert headers["x-api-key"].encode() == b"gate-0123456789"


def test_models_are_listed_behind_a_query_too(net):
    """The query of the base URL goes with every call."""
    net.get("https://gate.example/v1/models?team=x", json={"data": [{"id": "m"}]})
    with providers.get("compatible", base_url="https://gate.example/v1?team=x") as provider:
        assert [model.id for model in provider.models()] == ["m"]
    assert net.calls[0].request.url == "https://gate.example/v1/models?team=x"


def test_a_document_by_its_address_is_unsupported_with_what_to_do(net):
    """Chat Completions takes a document's bytes only."""
    message = Message("user", [Text("Read:"), Document(url="https://x.example/a.pdf")])
    with (
        providers.get("compatible", base_url=SERVER) as provider,
        pytest.raises(Unsupported, match=r"Document\.from_file"),
    ):
        provider.send([message])
    assert len(net.calls) == 0


def test_a_document_of_text_goes_as_text():
    """Files are PDF in this protocol; what is text is told as text, under its name."""
    document = Document(data="Zürich".encode(), media_type="text/plain", name="note.txt")
    (message,) = encoded(Message("user", [Text("Read:"), document]))
    assert message["content"] == [{"type": "text", "text": "Read:"}, {"type": "text", "text": "note.txt:\nZürich"}]


def test_a_text_completion_at_openai_needs_a_model_that_has_them(net):
    """A chat model is refused before anything is sent, with what to do; another is asked with its old limit."""
    with providers.get("openai", api_key=KEY) as provider:
        for model in (None, "gpt-4o", "o3", "gpt-5.5"):
            with pytest.raises(Unsupported, match=r"model='gpt-3\.5-turbo-instruct'"):
                provider.completion("Once", model=model)
        assert len(net.calls) == 0
        choice = {"index": 0, "text": " upon", "finish_reason": "length"}
        answer = sse({"id": "cmpl-1", "model": "m", "choices": [choice]})
        net.post("https://api.openai.com/v1/completions", body=answer, content_type="text/event-stream")
        for model in ("gpt-3.5-turbo-instruct", "davinci-002", "ft:davinci-002:acme"):
            response = provider.completion("Once", model=model, max_tokens=1)
            assert (response.text, response.finish_reason) == (" upon", "length")
    for call in net.calls:
        body = json.loads(call.request.body)
        assert (body["prompt"], body["max_tokens"], body["stream_options"]) == ("Once", 1, {"include_usage": True})


def test_what_is_said_of_reasoning_and_not_taken_is_told(net):
    """Chat Completions takes an effort; each further option is left out with a warning."""
    net.post(f"{SERVER}/chat/completions", body=sse(said("Hi"), STOP), content_type="text/event-stream")
    with providers.get("compatible", base_url=SERVER) as provider:
        response = provider.send("Hello", reasoning={"effort": "low", "summary": "auto"})
    assert json.loads(net.calls[0].request.body)["reasoning_effort"] == "low"
    assert len(response.warnings) == 1
    assert "summary" in response.warnings[0]
