"""Parameters of open and call together, models of one turn, a ChatRequest's own, and whose a key is."""

from __future__ import annotations

from fractions import Fraction

import pytest
from openai_server import OpenAIServer

import promptstream
from promptstream import Message
from promptstream.errors import ConfigError, Unsupported
from promptstream.providers import OpenRouter, Scripted
from promptstream.values.request import ChatRequest, check_parameters

SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("at_open", "at_call", "sent"),
    [
        ({"response_format": "text"}, {"schema": SCHEMA}, {"schema": SCHEMA}),
        ({"schema": SCHEMA}, {"response_format": "text"}, {"response_format": "text"}),
        (
            {"schema": SCHEMA},
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_object"}},
        ),
        ({"response_format": {"type": "json_object"}}, {"schema": SCHEMA}, {"schema": SCHEMA}),
        ({"schema": SCHEMA}, {"temperature": 1}, {"schema": SCHEMA, "temperature": 1}),
    ],
)
def test_the_form_asked_for_at_the_call_replaces_the_one_at_open(at_open, at_call, sent):
    """Two ways to ask for a form never meet, and nothing fails in the middle of a turn."""
    provider = Scripted(["{}"])
    with promptstream.chat(provider=provider, **at_open) as conv:
        conv.send("Hi", **at_call)
    assert provider.requests[0].parameters == sent


def test_models_may_be_given_for_one_turn():
    """models=[…] works on a conversation's stream and send too, and for that turn alone."""
    with OpenAIServer("Hello") as server:
        provider = OpenRouter(api_key="k", base_url=server.url)
        with provider, promptstream.chat(provider=provider, models=["a/a"]) as conv:
            conv.send("Hi", models=["b/b", "c/c"])
            conv.stream("Hi").result()
        assert [request["models"] for request in server.requests] == [["b/b", "c/c"], ["a/a"]]
    with promptstream.chat(provider=Scripted(["x"])) as conv, pytest.raises(Unsupported):
        conv.stream("Hi", models=["a"])


def test_a_chat_request_is_checked_and_takes_the_providers_model():
    """What it leaves open is the provider's; an unknown parameter of it is told."""
    provider = Scripted(["x"], model="own")
    provider.send(ChatRequest((Message("user", "Hi"),)))
    assert provider.requests[0].model == "own"
    with pytest.raises(TypeError, match="temperature"):
        provider.send(ChatRequest((Message("user", "Hi"),), parameters={"temprature": 1}))


def test_numbers_of_other_libraries_are_sent_as_pythons_own():
    """JSON knows no other."""
    assert check_parameters({"temperature": Fraction(1, 2)}) == {"temperature": 0.5}


def test_a_key_that_nobody_named_goes_to_no_vendor(monkeypatch):
    """A key in the environment does not say whose the one in the argument is."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    with pytest.raises(ConfigError, match="whose key"):
        promptstream.chat(api_key="sk-ant-other")
    with promptstream.chat(api_key="sk-ant-other", model="claude-sonnet-4-5") as conv:
        assert conv.provider.name == "anthropic"
