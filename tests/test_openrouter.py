"""OpenRouter: what is asked of it, and what it answers: models to turn to, cost, and reasoning that is sent back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import responses
from decoding import Outcome, decoded, stream_of
from hypothesis import given, settings
from hypothesis import strategies as st

import promptstream
from promptstream import Document, Message, Reasoning, Text, ToolCall, ToolResult, ToolSpec, Usage, providers
from promptstream.errors import (
    ConfigError,
    InvalidRequest,
    MissingKey,
    Overloaded,
    ProviderError,
    RateLimited,
)
from promptstream.providers.openrouter.answer import assembled
from promptstream.providers.openrouter.dialect import OpenRouterDialect
from promptstream.providers.reading import amount
from promptstream.values.chunk import ChunkType
from promptstream.values.request import ChatRequest
from promptstream.values.response import Response

ROOT = "https://openrouter.ai/api/v1"
KEY = "sk-or-v1-secret-0123456789"
MODEL = "maker/large-1"


def event(delta: dict | None = None, finish: str | None = None, /, **more: Any) -> dict:
    """Give one chunk as OpenRouter writes it: role and content in every delta, the provider beside the model."""
    delta = {"role": "assistant", "content": "", **(delta or {})}
    native = more.pop("native", finish)
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "native_finish_reason": native, "logprobs": None}
    head = {"id": "gen-1", "provider": "Host", "model": MODEL, "object": "chat.completion.chunk", "created": 1}
    return {**head, "choices": [choice], **more}


def sse(*events: Any, done: bool = True) -> bytes:
    """Write events as OpenRouter sends them, comments first."""
    body = b": OPENROUTER PROCESSING\n\n" * 3
    body += b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)
    return body + (b"data: [DONE]\n\n" if done else b"")


def said(text: str) -> dict:
    """Give the chunk of a delta of text."""
    return event({"content": text})


def thought(text: str, **detail: Any) -> dict:
    """Give the chunk of a thought, which stands in it twice."""
    piece = {"type": "reasoning.text", "text": text, "format": "anthropic-claude-v1", "index": 0, **detail}
    return event({"reasoning": text, "reasoning_details": [piece]})


SIGNED = event({"reasoning_details": [{"type": "reasoning.text", "signature": "S1", "index": 0}]})
STOP = event({}, "stop", native="end_turn")
COUNTS = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "cost": 0.000123, "is_byok": False}
ENDING = event({}, "stop", native="end_turn", usage=COUNTS)


def played(*events: Any, done: bool = True, whole: Any = None) -> Outcome:
    """Give the answer that *events* make, how it failed, and its chunks."""
    body = events[0] if events and isinstance(events[0], bytes) else sse(*events, done=done)
    return decoded(OpenRouterDialect(api_key=KEY), [body], whole)


@pytest.fixture
def net() -> Iterator[responses.RequestsMock]:
    """Answer in place of the network; an address that was not foreseen is a failure."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.post(f"{ROOT}/chat/completions", body=sse(said("Hi"), ENDING), content_type="text/event-stream")
        yield mock


@pytest.fixture
def body_of(net: responses.RequestsMock) -> Callable[..., dict]:
    """Send to OpenRouter with the given arguments and give the body that went out."""

    def send(messages: Any = "Hello", /, made: dict | None = None, **options: Any) -> dict:
        with providers.get("openrouter", api_key=KEY, **(made or {})) as provider:
            provider.send(messages, **options)
        return json.loads(net.calls[-1].request.body)

    return send


# What is asked


def test_the_plainest_request_is_exactly_this(net):
    """Address, key and body of a question, to the router that needs no model: usage comes unasked."""
    with providers.get("openrouter", api_key=KEY) as provider:
        response = provider.send("Hello")
    (call,) = net.calls
    assert call.request.headers["Authorization"].encode() == f"Bearer {KEY}".encode()
    assert json.loads(call.request.body) == {
        "model": "openrouter/auto",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }
    assert (response.text, response.model, response.provider) == ("Hi", MODEL, "openrouter")


def test_key_and_address_come_from_the_environment(net, monkeypatch):
    """OPENROUTER_API_KEY and OPENROUTER_BASE_URL are read, and a missing key is told with its variable."""
    with pytest.raises(MissingKey, match="OPENROUTER_API_KEY"):
        providers.get("openrouter")
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    monkeypatch.setenv("OPENROUTER_BASE_URL", "http://127.0.0.1:9/api/v1/")
    net.post("http://127.0.0.1:9/api/v1/chat/completions", body=sse(said("Hi"), STOP), content_type="text/event-stream")
    with providers.get("openrouter") as provider:
        provider.send("Hello")
    assert net.calls[0].request.headers["Authorization"].encode() == f"Bearer {KEY}".encode()


def test_it_can_what_the_protocol_has_and_choose_among_models():
    """The capabilities are told, and so are the two queries that only OpenRouter has."""
    provider = providers.get("openrouter", api_key=KEY)
    wanted = {"streaming", "completion", "tools", "reasoning", "images", "documents", "json_schema", "models"}
    assert provider.capabilities == wanted | {"model_fallback"}
    assert callable(provider.credits)
    assert callable(provider.generation)
    with pytest.raises(AttributeError):
        _ = provider.debits


@pytest.mark.parametrize(
    ("made", "asked", "sent"),
    [
        ({}, {"models": ["a/1", "b/2"]}, ["a/1", "b/2"]),
        ({}, {"model": "x/0", "models": ["a/1", "b/2"]}, ["x/0", "a/1", "b/2"]),
        ({"model": "x/0"}, {"models": ["a/1", "b/2"]}, ["x/0", "a/1", "b/2"]),
        ({"model": "x/0"}, {"model": "y/0", "models": ["a/1"]}, ["y/0", "a/1"]),
        ({}, {"model": "a/1", "models": ("a/1", "b/2", "a/1")}, ["a/1", "b/2"]),
        ({"model": "openrouter/auto"}, {"models": ["a/1"]}, ["openrouter/auto", "a/1"]),
        ({}, {"model": "openrouter/auto", "models": ["a/1"]}, ["openrouter/auto", "a/1"]),
    ],
)
def test_the_models_are_tried_in_the_order_given_a_named_one_first(body_of, made, asked, sent):
    """The default model is nobody's choice and stands in front of no list; one that was named does."""
    body = body_of(made=made, **asked)
    assert (body["model"], body["models"]) == (sent[0], sent)


def test_no_model_is_said_to_answer_before_it_does(net):
    """Beside ``models=`` it is not known which it will be, least of all the default that is not asked."""
    with providers.get("openrouter", api_key=KEY) as provider:
        stream = provider.stream("Hello", models=["a/1", "b/2"])
        assert stream.model is None
        assert stream.result().model == MODEL
        with provider.stream("Hello") as stream:
            assert stream.model == "openrouter/auto"
        with promptstream.chat(provider=provider, models=["a/1"]) as conv, conv.stream("Hello") as stream:
            assert stream.model is None


def test_without_models_none_are_sent(body_of):
    """A single model is a single model."""
    body = body_of(model="x/0")
    assert body["model"] == "x/0"
    assert "models" not in body


def test_a_conversation_takes_models_too(net):
    """``models=`` of a conversation goes out with every turn."""
    with promptstream.chat(provider=providers.get("openrouter", api_key=KEY), models=["a/1", "b/2"]) as conv:
        conv.send("Hello")
        conv.send("And?")
    for call in net.calls:
        assert json.loads(call.request.body)["models"] == ["a/1", "b/2"]


def test_routing_transforms_and_plugins_go_into_every_body(body_of):
    """What the provider was made with is part of each request, as it was given."""
    routing = {"order": ("host-a", "host-b"), "allow_fallbacks": False, "max_price": {"prompt": "1.5"}, "sort": "price"}
    made = {"routing": routing, "transforms": ["middle-out"], "plugins": [{"id": "web", "max_results": 3}]}
    body = body_of(made=made)
    assert body["provider"] == {**routing, "order": ["host-a", "host-b"]}
    assert body["transforms"] == ["middle-out"]
    assert body["plugins"] == [{"id": "web", "max_results": 3}]


def test_extra_of_one_call_goes_over_what_the_provider_was_made_with(body_of):
    """``extra`` is verbatim and has the last word, over routing and models alike."""
    extra = {"provider": {"new_key": 1}, "models": ["c/3"], "temperature": 0}
    body = body_of(made={"routing": {"zdr": True}}, models=["a/1"], extra=extra, temperature=1.0)
    assert body["provider"] == {"new_key": 1}
    assert (body["models"], body["temperature"]) == (["c/3"], 0)


@pytest.mark.parametrize(
    ("routing", "told"),
    [
        ({"ordre": []}, "Did you mean 'order'"),
        ({"quantisations": ["fp8"]}, "Did you mean 'quantizations'"),
        ({"order": "host-a"}, "a list of providers"),
        ({"only": [1]}, "a list of providers"),
        ({"allow_fallbacks": "no"}, "True or False"),
        ({"data_collection": "never"}, "'allow' or 'deny'"),
        ({"sort": "cheapest"}, "'price'"),
        ({"max_price": 3}, "a dict"),
        ({"preferred_max_latency": True}, "a number"),
        ({3: 4}, "no 3"),
        (["order"], "routing="),
    ],
)
def test_routing_that_cannot_be_right_is_told_before_anything_is_sent(routing, told):
    """An unknown key is told with the nearest right one, a wrong value with what is wanted."""
    with pytest.raises(ConfigError, match=told):
        providers.get("openrouter", api_key=KEY, routing=routing)


@pytest.mark.parametrize(
    "option", [{"transforms": "middle-out"}, {"transforms": [1]}, {"plugins": ["web"]}, {"plugins": {"id": "web"}}]
)
def test_options_that_are_no_lists_are_config_errors(option):
    """A string is not taken for a list of letters."""
    with pytest.raises(ConfigError, match=next(iter(option))):
        providers.get("openrouter", api_key=KEY, **option)


def test_an_unknown_option_is_told_with_the_nearest():
    """A slip of the pen names the option that was meant."""
    with pytest.raises(ConfigError, match="Did you mean 'routing'"):
        providers.get("openrouter", api_key=KEY, rooting={})


def test_the_site_is_told_in_headers(net):
    """site_url is HTTP-Referer and site_title is X-Title, by its old name and its new one."""
    with providers.get("openrouter", api_key=KEY, site_url="https://app.example", site_title="App") as provider:
        provider.send("Hello")
    headers = net.calls[0].request.headers
    assert (headers["HTTP-Referer"], headers["X-Title"]) == ("https://app.example", "App")
    assert headers["X-OpenRouter-Title"] == "App"
    with pytest.raises(ConfigError, match="X-Title"):
        providers.get("openrouter", api_key=KEY, site_title="a\nb")


@pytest.mark.parametrize(
    ("reasoning", "sent"),
    [
        ("high", {"effort": "high"}),
        ("xhigh", {"effort": "xhigh"}),
        (2000, {"max_tokens": 2000}),
        (True, {"enabled": True}),
        (False, {"effort": "none"}),
        ("none", {"effort": "none"}),
        ({"effort": "low", "exclude": True}, {"effort": "low", "exclude": True}),
        ({"max_tokens": 100, "summary": "auto"}, {"max_tokens": 100, "summary": "auto"}),
        ({"enabled": False}, {"effort": "none"}),
        ({"exclude": True}, {"exclude": True}),
    ],
)
def test_reasoning_is_an_object_of_effort_or_budget(body_of, reasoning, sent):
    """Levels, budgets and switches have their keys; what else a dict says passes through."""
    assert body_of(reasoning=reasoning)["reasoning"] == sent


def test_all_parameters_are_sent_and_none_is_refused(net):
    """OpenRouter itself drops what a model does not take, so nothing is left out here."""
    given = {"temperature": 0.5, "top_p": 0.5, "top_k": 4, "stop": "x", "seed": 1, "frequency_penalty": 1.0}
    with providers.get("openrouter", api_key=KEY, model="openai/o3") as provider:
        response = provider.send([Message("system", "Brief."), Message("user", "Hello")], max_tokens=100, **given)
    body = json.loads(net.calls[0].request.body)
    assert {name: body[name] for name in given} == given
    assert (body["max_tokens"], body["messages"][0]["role"]) == (100, "system")
    assert response.warnings == ()


def test_a_document_goes_by_its_address_or_as_data(body_of):
    """OpenRouter fetches documents itself, unlike OpenAI's Chat Completions."""
    parts = [Document(url="https://x.example/a.pdf"), Document(data=b"%PDF-1", name="b.pdf")]
    by_address, by_data = body_of([Message("user", parts)])["messages"][0]["content"]
    assert by_address["file"] == {"filename": "document.pdf", "file_data": "https://x.example/a.pdf"}
    assert by_data["file"]["filename"] == "b.pdf"
    assert by_data["file"]["file_data"].startswith("data:application/pdf;base64,")


# What it answers


def test_comments_before_the_first_event_are_no_events():
    """Up to dozens of keep-alive comments come before the answer, and say nothing."""
    response, error, chunks = played(b": OPENROUTER PROCESSING\n\n" * 30 + sse(said("Hi"), STOP, ENDING))
    assert error is None
    assert [chunk.text for chunk in chunks] == ["Hi", ""]
    assert response.complete


def test_every_text_chunk_names_the_model_that_answers():
    """With several models asked, each chunk and the response say which one it is."""
    _, _, chunks = played(said("Hel"), said("lo"), STOP, ENDING)
    assert [(chunk.text, chunk.model) for chunk in chunks] == [("Hel", MODEL), ("lo", MODEL), ("", MODEL)]
    other = {**said("x"), "model": "maker/small-1"}
    response, _, chunks = played(other, {**STOP, "model": "maker/small-1"})
    assert chunks[0].model == response.model == "maker/small-1"


def test_the_finish_that_is_said_twice_ends_the_answer_once():
    """The usage chunk repeats the reason: one DONE, one set of calls, the upstream's own word kept."""
    response, error, chunks = played(said("Hi"), STOP, ENDING)
    assert error is None
    assert [chunk.type for chunk in chunks] == [ChunkType.TEXT, ChunkType.DONE]
    assert (response.finish_reason, response.raw_finish_reason) == ("stop", "end_turn")


def test_the_cost_is_the_wires_own_to_the_last_digit():
    """usage.cost is read as the decimal it is written as; without it the cost is unknown."""
    response, _, _ = played(said("Hi"), STOP, ENDING)
    assert response.cost == Decimal("0.000123")
    assert response.usage == Usage(input=9, output=5)
    assert played(said("Hi"), STOP)[0].cost is None
    free = event({}, "stop", usage={**COUNTS, "cost": 0, "cost_details": {"upstream_inference_cost": 0.5}})
    assert played(said("Hi"), free)[0].cost == 0


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (0.1, "0.1"),
        (1e-7, "1e-7"),
        ("0.25", "0.25"),
        (3, "3"),
        *((odd, None) for odd in (None, True, -1, "x", [], {}, float("nan"), float("inf"), "NaN")),
        pytest.param(10**5000, None, id="an endless number"),
    ],
)
def test_an_amount_is_a_number_or_unknown(value, read):
    """What is no amount of money is unknown, never 0 and never an error."""
    assert amount(value) == (None if read is None else Decimal(read))


def test_usage_counts_what_was_cached_written_and_thought():
    """All parts of OpenRouter's usage are read."""
    usage = {
        **COUNTS,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3, "image_tokens": 0},
    }
    response, _, _ = played(said("Hi"), STOP, {**ENDING, "usage": usage})
    assert response.usage == Usage(input=9, output=5, cached=4, cache_write=2, reasoning=3)


def test_the_id_of_a_generation_is_the_request_id():
    """By it ``generation()`` finds the answer again."""
    assert played(said("Hi"), STOP)[0].request_id == "gen-1"


def test_the_header_tells_the_id_of_a_generation_too(net):
    """X-Generation-Id is there before the first event, and on errors."""
    options = {"content_type": "text/event-stream", "headers": {"X-Generation-Id": "gen-7"}}
    net.replace(responses.POST, f"{ROOT}/chat/completions", body=sse(said("Hi"), STOP), **options)
    with providers.get("openrouter", api_key=KEY) as provider:
        assert provider.send("Hello").request_id == "gen-7"


def test_a_first_chunk_of_debugging_is_no_answer():
    """``debug`` comes with ``choices: []`` in front of the rest."""
    debug = {"id": "gen-1", "model": MODEL, "choices": [], "debug": {"echo_upstream_body": {"model": "x"}}}
    response, error, _ = played(debug, said("Hi"), STOP, ENDING)
    assert error is None
    assert response.text == "Hi"


# Errors


def test_the_documented_error_in_mid_stream_is_raised_with_what_came():
    """Error and finish reason "error" in one chunk: the class a status would give, the text kept."""
    failed = {**event({}, "error"), "error": {"code": 429, "message": "slow down", "metadata": {}}}
    response, error, _ = played(said("Hel"), failed, done=False)
    assert type(error) is RateLimited
    assert (response.text, response.finish_reason, response.complete) == ("Hel", None, False)


def test_an_error_after_the_finish_is_an_error_and_costs_neither_usage_nor_reason():
    """As recorded: reason first, then error and usage in one chunk; the answer is not whole, and all of it is told."""
    failed = event({}, None, error={"code": 400, "message": "Token limit reached"}, usage=COUNTS)
    response, error, chunks = played(said("Hi"), event({}, "length"), failed)
    assert type(error) is InvalidRequest
    assert (response.text, response.finish_reason) == ("Hi", "length")
    assert (response.usage, response.cost) == (Usage(input=9, output=5), Decimal("0.000123"))
    assert not any(chunk.done for chunk in chunks)


def test_a_finish_of_error_alone_is_an_error():
    """finish_reason "error" without an error object still is no end of an answer."""
    assert isinstance(played(said("Hi"), event({}, "error"))[1], ProviderError)


def test_an_upstream_that_fails_as_the_first_event_is_tried_again(net):
    """After a comment the status is 200, so the failure comes as an event: nothing was handed out, so it may be."""
    url, kind = f"{ROOT}/chat/completions", "text/event-stream"
    net.replace(responses.POST, url, body=sse({"error": {"code": 503, "message": "busy"}}), content_type=kind)
    net.post(url, body=sse(said("Hi"), STOP), content_type=kind)
    retry = promptstream.Retry(attempts=2, base=0.001)
    with providers.get("openrouter", api_key=KEY, retry=retry) as provider:
        assert provider.send("Hello").text == "Hi"
    net.replace(responses.POST, url, body=sse({"error": {"code": 503, "message": "busy"}}), content_type=kind)
    with (
        providers.get("openrouter", api_key=KEY, retry=promptstream.Retry(attempts=1)) as provider,
        pytest.raises(Overloaded),
    ):
        provider.send("Hello")


# Reasoning


def details_of(response: Response) -> list[dict]:
    """Give the details that the next request to OpenRouter would hold."""
    return encoded(response.message).get("reasoning_details", [])


def encoded(*messages: Message, name: str = "openrouter", **options: Any) -> dict:
    """Give the first of *messages* as it would be sent."""
    dialect = providers.get(name, api_key=KEY, **options).dialect
    return dialect.encode(ChatRequest(messages, "x/1")).json["messages"][0]


def test_a_thought_that_comes_twice_is_shown_once():
    """``reasoning`` and ``reasoning_details`` carry the same text."""
    response, _, chunks = played(thought("Hm"), thought("m."), SIGNED, said("Hi"), STOP, ENDING)
    assert (response.reasoning, response.text) == ("Hmm.", "Hi")
    kinds = [ChunkType.REASONING, ChunkType.REASONING, ChunkType.TEXT, ChunkType.DONE]
    assert [chunk.type for chunk in chunks] == kinds


def test_details_alone_are_shown_as_well():
    """Where only the details have the thought, or its summary, it is shown from there."""
    summary = event({"reasoning": None, "reasoning_details": [{"type": "reasoning.summary", "summary": "In short."}]})
    bare = event({"reasoning_details": [{"type": "reasoning.text", "text": " Long."}]})
    assert played(summary, bare, said("Hi"), STOP)[0].reasoning == "In short. Long."


def test_the_details_are_put_together_and_kept_on_the_thought():
    """Pieces of one index and kind are one detail, with the signature that came last."""
    response, _, _ = played(thought("Hm"), thought("m."), SIGNED, said("Hi"), STOP)
    whole = {"type": "reasoning.text", "text": "Hmm.", "format": "anthropic-claude-v1", "index": 0, "signature": "S1"}
    assert response.message.parts == (
        Reasoning("Hmm.", {"openrouter": {"reasoning_details": [whole]}}),
        Text("Hi"),
    )
    assert details_of(response) == [whole]


def test_what_is_encrypted_is_kept_piece_by_piece_and_in_order():
    """Encrypted details have no text to show, and each goes back as it came, also after the text."""
    first = {"type": "reasoning.encrypted", "data": "AA", "id": "call_1", "format": "google-gemini-v1", "index": 0}
    second = {**first, "data": "BB"}
    summed = {"type": "reasoning.summary", "summary": "Sum", "index": 0}
    response, _, _ = played(
        event({"reasoning": "Sum", "reasoning_details": [summed]}),
        event({"reasoning": None, "reasoning_details": [first]}),
        said("Hi"),
        event({"reasoning": None, "reasoning_details": [second]}),
        STOP,
    )
    assert response.reasoning == "Sum"
    assert details_of(response) == [summed, first, second]


def test_a_signature_that_comes_after_the_text_belongs_to_its_thought():
    """What was apart on the wire is one detail again when it is sent back."""
    response, _, _ = played(thought("Hm"), said("Hi"), SIGNED, STOP)
    (detail,) = details_of(response)
    assert (detail["text"], detail["signature"]) == ("Hm", "S1")


def test_two_signed_thoughts_are_not_run_together():
    """A thought that begins after a signature is another one."""
    pieces = [{"type": "reasoning.text", "text": text, "index": 0} for text in ("a", "b")]
    assert assembled([{**pieces[0], "signature": "S"}, pieces[1]]) == [{**pieces[0], "signature": "S"}, pieces[1]]


def test_a_thought_that_was_cut_is_not_sent_back():
    """Anthropic's models refuse a thought without a signature, as the token limit leaves it."""
    response, _, _ = played(thought("Hm"), event({}, "length"))
    assert response.reasoning == "Hm"
    assert details_of(response) == []
    open_model, _, _ = played(thought("Hm", format="unknown"), event({}, "length"))
    assert len(details_of(open_model)) == 1


def test_a_thought_that_the_user_stopped_leaves_no_details():
    """A partial answer goes into the next request without the half of a thought."""
    stream = stream_of(OpenRouterDialect(api_key=KEY), [sse(thought("Hm"), thought("m."), SIGNED, said("Hi"), STOP)])
    for _ in stream:
        break
    assert stream.response.reasoning == "Hm"
    assert details_of(stream.response) == []


def test_the_details_go_to_openrouter_and_to_nobody_else():
    """What is opaque goes back only to where it came from."""
    response, _, _ = played(thought("Hm"), SIGNED, said("Hi"), STOP)
    options = {"name": "compatible", "base_url": "http://127.0.0.1:9/v1"}
    assert encoded(response.message, **options) == {"role": "assistant", "content": "Hi"}
    kept = {"openrouter": {"reasoning_details": "rubbish"}, "anthropic": {"signature": "x"}}
    assert encoded(Message("assistant", [Reasoning("Hm", kept), Text("Hi")])) == {"role": "assistant", "content": "Hi"}


def test_a_tool_loop_has_the_shape_that_openrouter_wants():
    """The calls, their details in order, and one message for each result, ids as the upstream gave them."""
    detail = {"type": "reasoning.encrypted", "data": "AA", "id": "functions.add:0", "index": 0}
    calls = [
        {"index": 0, "id": "functions.add:0", "function": {"name": "add", "arguments": '{"a":2,"b":3}'}},
        {"index": 1, "id": "functions.multiply:1", "function": {"name": "multiply", "arguments": '{"a":2,"b":3}'}},
    ]
    response, _, _ = played(
        event({"reasoning": None, "reasoning_details": [detail]}),
        event({"content": None, "tool_calls": calls}),
        event({}, "tool_calls"),
        event({}, "tool_calls", usage=COUNTS),
    )
    results = Message("tool", [ToolResult("functions.add:0", "add", "5"), ToolResult("functions.multiply:1", "m", "6")])
    dialect = providers.get("openrouter", api_key=KEY).dialect
    request = ChatRequest((response.message, results), "x/1", (ToolSpec("add"), ToolSpec("multiply")))
    assert dialect.encode(request).json["messages"] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": f"functions.{name}",
                    "type": "function",
                    "function": {"name": name.partition(":")[0], "arguments": '{"a":2,"b":3}'},
                }
                for name in ("add:0", "multiply:1")
            ],
            "reasoning_details": [detail],
        },
        {"role": "tool", "tool_call_id": "functions.add:0", "content": "5"},
        {"role": "tool", "tool_call_id": "functions.multiply:1", "content": "6"},
    ]


def test_a_conversation_sends_its_reasoning_back(net):
    """The second turn holds the first one's details, beside its text."""
    url, kind = f"{ROOT}/chat/completions", "text/event-stream"
    net.replace(responses.POST, url, body=sse(thought("Hm"), SIGNED, said("Hi"), STOP, ENDING), content_type=kind)
    with promptstream.chat(provider=providers.get("openrouter", api_key=KEY)) as conv:
        conv.send("Hello")
        conv.send("And?")
    answer = json.loads(net.calls[1].request.body)["messages"][1]
    assert (answer["role"], answer["content"]) == ("assistant", "Hi")
    assert [(each["text"], each["signature"]) for each in answer["reasoning_details"]] == [("Hm", "S1")]


def test_an_answer_in_one_body_keeps_its_details_and_its_cost():
    """What a stream gives in pieces a body gives whole."""
    detail = {"type": "reasoning.text", "text": "Hm.", "signature": "S1", "index": 0}
    message = {"role": "assistant", "content": "Hi", "reasoning": "Hm.", "reasoning_details": [detail]}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "native_finish_reason": "end_turn"}
    response, error, _ = played(whole={"id": "gen-1", "model": MODEL, "choices": [choice], "usage": COUNTS})
    assert error is None
    assert (response.text, response.reasoning, response.raw_finish_reason) == ("Hi", "Hm.", "end_turn")
    assert (response.cost, response.request_id) == (Decimal("0.000123"), "gen-1")
    assert details_of(response) == [detail]


odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from(["", "reasoning.text", "reasoning.encrypted", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "summary", "signature", "index", "data", "cost"]), inner)
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(odd, max_size=3), odd, odd)
def test_details_and_usage_of_any_shape_are_read_or_refused(details, usage, native):
    """No shape of OpenRouter's own keys gives anything but an answer, which can be sent back, or an error of ours."""
    piece = event({"reasoning_details": details, "reasoning": native}, usage=usage, native=native)
    response, _, _ = played(
        piece, said("Hi"), {**piece, "model": native}, event({}, "stop", native=native, usage=usage)
    )
    json.dumps(encoded(response.message))
    played(whole={"choices": [{"message": {"content": "x", "reasoning_details": details}}], "usage": usage})


def test_a_call_without_a_name_or_whole_arguments_can_still_be_sent_back():
    """A history is never refused for what a model wrote badly."""
    call = encoded(Message("assistant", ToolCall("", "", None, '{"a":', "not whole")))["tool_calls"][0]
    assert call["function"] == {"name": "unnamed", "arguments": "{}"}
    assert call["id"]
