"""OpenRouter beside its chats: text completions, models, credits, generations, and its recorded answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import responses
from decoding import stream_of

from promptstream import ModelInfo, Usage, providers
from promptstream.client import Provider
from promptstream.errors import ConfigError, NotFound, ProtocolError, ProviderError
from promptstream.providers.openrouter.dialect import OpenRouterDialect
from promptstream.values.account import Credits
from promptstream.values.chunk import ChunkType
from promptstream.values.request import ChatRequest

ROOT = "https://openrouter.ai/api/v1"
KEY = "sk-or-v1-secret-0123456789"
HEAD = {"id": "gen-1", "provider": "Host", "model": "maker/instruct", "object": "text_completion", "created": 1}


def piece(text: str, finish: str | None = None, **more: Any) -> dict:
    """Give one chunk of a text completion."""
    choice = {"index": 0, "text": text, "finish_reason": finish, "native_finish_reason": finish, "logprobs": None}
    return {**HEAD, "choices": [choice | more.pop("choice", {})], **more}


def sse(*events: Any) -> bytes:
    """Write events as OpenRouter sends them."""
    body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)
    return b": OPENROUTER PROCESSING\n\n" + body + b"data: [DONE]\n\n"


@pytest.fixture
def net() -> Iterator[responses.RequestsMock]:
    """Answer in place of the network; an address that was not foreseen is a failure."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Give OpenRouter with a key."""
    with providers.get("openrouter", api_key=KEY) as made:
        yield made


# Text completions


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 2.5e-05}


def test_a_text_completion_is_streamed_from_its_prompt(net, provider):
    """A prompt goes to /completions, and each chunk of its text names the model that answers."""
    body = sse(piece(" upon"), piece(" a time"), piece("", "length", usage=USAGE))
    net.post(f"{ROOT}/completions", body=body, content_type="text/event-stream")
    stream = provider.stream_completion("Once", model="maker/instruct", max_tokens=2, temperature=0.5)
    chunks = list(stream)
    assert [(chunk.text, chunk.model) for chunk in chunks] == [
        (" upon", "maker/instruct"),
        (" a time", "maker/instruct"),
        ("", "maker/instruct"),
    ]
    response = stream.response
    assert (response.text, response.finish_reason, response.cost) == (" upon a time", "length", Decimal("0.000025"))
    assert response.usage == Usage(input=3, output=2)
    assert json.loads(net.calls[0].request.body) == {
        "model": "maker/instruct",
        "prompt": "Once",
        "stream": True,
        "max_tokens": 2,
        "temperature": 0.5,
    }


def test_a_text_completion_may_come_in_one_body(net, provider):
    """``streaming=False`` asks for one JSON body, which gives the same answer."""
    net.post(f"{ROOT}/completions", json=piece(" upon a time", "stop", usage=USAGE))
    response = provider.completion("Once", streaming=False)
    assert (response.text, response.model, response.cost) == (" upon a time", "maker/instruct", Decimal("0.000025"))
    assert json.loads(net.calls[0].request.body)["stream"] is False


def test_a_text_completion_takes_models_routing_and_reasoning(net):
    """What OpenRouter adds to chats it adds to completions; what only chats have is left out with a warning."""
    body = sse(piece("", choice={"reasoning": "Hm."}), piece(" upon", "stop"))
    net.post(f"{ROOT}/completions", body=body, content_type="text/event-stream")
    with providers.get("openrouter", api_key=KEY, routing={"sort": "price"}) as provider:
        options: Any = {"models": ["a/1", "b/2"], "reasoning": "low", "parallel_tools": False}
        response = provider.completion("Once", **options)
    sent = json.loads(net.calls[0].request.body)
    assert (sent["model"], sent["models"], sent["provider"]) == ("a/1", ["a/1", "b/2"], {"sort": "price"})
    assert sent["reasoning"] == {"effort": "low"}
    assert "parallel_tool_calls" not in sent
    assert len(response.warnings) == 1
    assert "parallel_tools" in response.warnings[0]
    assert (response.reasoning, response.text) == ("Hm.", " upon")


# Models, credits, generations


def test_models_are_listed_with_names_and_contexts(net, provider):
    """Rows of another shape are passed over; prices, which are strings, are none of ours."""
    rows = [
        {"id": "a/1", "name": "Maker: A", "context_length": 8192, "pricing": {"prompt": "0.000001"}},
        {"id": "b/2", "name": None, "context_length": "big"},
        {"name": "no id"},
        "x",
    ]
    net.get(f"{ROOT}/models", json={"data": rows})
    assert provider.models() == [ModelInfo("a/1", "Maker: A", 8192), ModelInfo("b/2")]


def test_credits_are_amounts_in_dollars(net, provider):
    """Total, used and what remains, to the last digit."""
    net.get(f"{ROOT}/credits", json={"data": {"total_credits": 10.1, "total_usage": 0.2}})
    told = provider.credits()
    assert told == Credits(Decimal("10.1"), Decimal("0.2"))
    assert told.remaining == Decimal("9.9")
    assert net.calls[0].request.headers["Authorization"].encode() == f"Bearer {KEY}".encode()


@pytest.mark.parametrize("body", ["[]", "{}", '{"data": []}', '{"data": {}}', '{"data": {"total_credits": "x"}}', "3"])
def test_credits_that_are_none_are_a_protocol_error(net, provider, body):
    """Anything else is refused, not read as nothing left."""
    net.get(f"{ROOT}/credits", body=body, content_type="application/json")
    with pytest.raises(ProtocolError, match="credits"):
        provider.credits()


GENERATION = {
    "id": "gen-1",
    "model": "maker/large-1",
    "provider_name": "Host",
    "total_cost": 0.0015,
    "native_tokens_prompt": 10,
    "native_tokens_completion": 25,
    "native_tokens_reasoning": 5,
    "native_tokens_cached": 3,
    "tokens_prompt": 9,
    "finish_reason": "stop",
    "native_finish_reason": "end_turn",
    "latency": 1250,
    "generation_time": 2500,
    "created_at": "2026-01-02T03:04:05Z",
    "streamed": True,
    "cancelled": False,
    "provider_responses": [{"status": 200}],
}


def test_a_generation_is_told_with_its_figures_and_whole(net, provider):
    """Cost in USD, times in seconds, tokens as the model counts them, and the object itself as ``raw``."""
    net.get(f"{ROOT}/generation?id=gen-1", json={"data": GENERATION})
    told = provider.generation("gen-1")
    assert net.calls[0].request.url == f"{ROOT}/generation?id=gen-1"
    assert (told.id, told.model, told.provider) == ("gen-1", "maker/large-1", "Host")
    assert told.cost == Decimal("0.0015")
    assert told.usage == Usage(input=10, output=25, cached=3, reasoning=5)
    assert (told.finish_reason, told.raw_finish_reason) == ("stop", "end_turn")
    assert (told.latency, told.duration, told.created) == (1.25, 2.5, "2026-01-02T03:04:05Z")
    assert (told.streamed, told.cancelled) == (True, False)
    assert told.raw == GENERATION
    assert "provider_responses" not in repr(told)


def test_a_generation_of_which_little_is_known_has_unknowns(net, provider):
    """Odd and missing values are None."""
    odd = {"id": "gen-1", "total_cost": None, "latency": "x", "native_tokens_prompt": -1, "streamed": 1, "model": 3}
    net.get(f"{ROOT}/generation", json={"data": odd})
    told = provider.generation("gen-1")
    assert (told.cost, told.latency, told.streamed, told.model, told.usage) == (None, None, None, None, Usage())


@pytest.mark.parametrize("body", ["[]", '{"data": null}', '{"data": {}}', '{"data": {"id": 3}}'])
def test_a_generation_that_is_none_is_a_protocol_error(net, provider, body):
    """Anything else is refused."""
    net.get(f"{ROOT}/generation", body=body, content_type="application/json")
    with pytest.raises(ProtocolError, match="generation"):
        provider.generation("gen-1")


def test_a_generation_that_is_not_known_yet_is_not_found(net, provider):
    """For a moment after the answer OpenRouter may not know it."""
    net.get(f"{ROOT}/generation", status=404, json={"error": {"code": 404, "message": "Generation gen-1 not found"}})
    with pytest.raises(NotFound, match="gen-1"):
        provider.generation("gen-1")


@pytest.mark.parametrize("wrong", ["", " ", None, 3])
def test_a_generation_without_an_id_is_a_config_error(net, provider, wrong):
    """Nothing is sent for it."""
    with pytest.raises(ConfigError, match="request_id"):
        provider.generation(wrong)
    assert len(net.calls) == 0


def test_an_id_is_quoted_in_the_address():
    """An id cannot say more than an id."""
    call = OpenRouterDialect(api_key=KEY).generation_call("a&b=c d/é")
    assert call.url == f"{ROOT}/generation?id=a%26b%3Dc%20d%2F%C3%A9"
    behind = OpenRouterDialect(api_key=KEY, base_url="https://gate.example/v1?team=x")
    assert behind.generation_call("gen-1").url == "https://gate.example/v1/generation?id=gen-1&team=x"


# Recorded answers


@pytest.fixture(scope="module")
def recorded(conformance_data: Path) -> dict[str, bytes]:
    """Give the recorded chats with OpenRouter by name."""
    files = sorted((conformance_data / "recordings" / "openrouter").glob("*.sse"))
    return {file.stem: file.read_bytes() for file in files if not file.stem.startswith("responses-api")}


def bodies_of(body: bytes) -> list[dict]:
    """Give the events of a recording."""
    return [json.loads(data) for data in re.findall(rb"^data: (\{.*\})", body, re.MULTILINE)]


@pytest.mark.usefixtures("no_price_list")
def test_every_recorded_answer_has_the_cost_reason_and_id_that_the_wire_says(recorded):
    """Cost, native reason and generation id of 39 recordings are those of their events, each said once."""
    assert len(recorded) == 39
    for name, body in recorded.items():
        stream = stream_of(OpenRouterDialect(api_key=KEY), [body])
        events = bodies_of(body)
        try:
            kinds = [chunk.type for chunk in stream]
        except ProviderError:
            assert "error" in name, name
        else:
            assert kinds.count(ChunkType.DONE) == 1, name
        response = stream.response
        costs = [event["usage"]["cost"] for event in events if "cost" in (event.get("usage") or {})]
        assert response.cost == (Decimal(str(costs[-1])) if costs else None), name
        choices = [choice for event in events for choice in event["choices"]]
        reasons = [c.get("native_finish_reason") or c["finish_reason"] for c in choices if c.get("finish_reason")]
        assert response.raw_finish_reason == (reasons[0] if reasons else None), name
        assert response.request_id == events[0]["id"], name


def test_every_recorded_detail_of_reasoning_is_echoed_whole(recorded):
    """Texts, summaries, signatures and encrypted data of all pieces are there again in the next request, in order."""
    seen = set()
    for name, body in recorded.items():
        pieces = [
            detail
            for event in bodies_of(body)
            for choice in event["choices"]
            for detail in choice["delta"].get("reasoning_details") or ()
        ]
        stream = stream_of(OpenRouterDialect(api_key=KEY), [body])
        try:
            list(stream)
        except ProviderError:
            continue
        dialect = providers.get("openrouter", api_key=KEY).dialect
        (message,) = dialect.encode(ChatRequest((stream.response.message,), "x/1")).json["messages"]
        echoed = message.get("reasoning_details", [])
        for key in ("text", "summary", "data", "signature"):
            said = "".join(piece.get(key) or "" for piece in pieces)
            assert "".join(detail.get(key) or "" for detail in echoed) == said, (name, key)
        kinds = [piece["type"] for piece in pieces]
        runs = [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]
        assert [detail["type"] for detail in echoed] == runs, name
        assert "".join(detail.get("text") or detail.get("summary") or "" for detail in echoed) in (
            stream.response.reasoning,
            "",
        ), name
        seen |= set(runs)
    assert seen == {"reasoning.text", "reasoning.summary", "reasoning.encrypted"}
