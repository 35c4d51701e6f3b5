"""The embedded model, through the same code as every other provider."""

from __future__ import annotations

import threading

import pytest

import promptstream
from promptstream import errors
from promptstream.providers.local import llama_server

pytestmark = pytest.mark.model


@pytest.fixture
def conv(model_file):
    """A short-winded conversation with the embedded model."""
    with promptstream.chat("You are a storyteller.", provider="local", max_tokens=24, seed=1) as conversation:
        yield conversation


def test_a_story_streams_from_the_embedded_model(conv):
    """Without a key, text comes in many chunks, costs nothing, and is counted."""
    chunks = list(conv.stream("Tell me a short story"))
    assert sum(1 for chunk in chunks if chunk.text) > 5
    assert conv.last.complete
    assert conv.last.finish_reason == "length"
    assert conv.last.cost == 0
    assert conv.last.usage.output == 24
    assert "/" not in conv.last.model


def test_an_answer_in_one_body_is_whole_too(conv):
    """streaming=False works against the real server."""
    response = conv.send("Say hello.", streaming=False)
    assert response.complete
    assert response.text


def test_leaving_the_loop_stops_the_real_server_and_keeps_the_partial(conv):
    """After a break the next turn is answered, with the partial answer in its history."""
    for _ in conv.stream("Tell me a long story", max_tokens=2000):
        break
    assert conv.messages[-1].finish_reason == "cancelled"
    assert conv.send("And now?").complete


def test_the_same_pack_gives_the_same_through_openai(model_file, tmp_path):
    """A pack on the embedded model, and on an OpenAI-dialect server on loopback, is the same conversation."""
    pack = {"prompts": {"poet": {"system_template": "You are a poet.", "parameters": {"temperature": 0}}}}
    url, key = llama_server.address(model_file)
    answers = []
    for provider in ("local", promptstream.providers.get("openai", base_url=url, api_key=key, model="any")):
        with promptstream.open(pack, "poet", provider=provider, max_tokens=16, seed=1) as conversation:
            answers.append("".join(str(chunk) for chunk in conversation.stream("One line, please.")))
    assert answers[0]
    assert answers[0] == answers[1]


def test_many_threads_share_one_server(model_file):
    """Concurrent first uses start one server, and every stream is answered whole."""
    answers = []

    def ask():
        with promptstream.chat(provider="local", max_tokens=8) as conversation:
            answers.append(conversation.send("Hi"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.complete for answer in answers] == [True] * 4


def test_a_missing_model_file_is_named(monkeypatch, tmp_path):
    """A wrong PROMPTSTREAM_LOCAL_MODEL is told with its path before anything starts."""
    monkeypatch.setenv("PROMPTSTREAM_LOCAL_MODEL", str(tmp_path / "no.gguf"))
    with promptstream.chat(provider="local") as conversation, pytest.raises(errors.ConfigError, match=r"no\.gguf"):
        conversation.send("Hi")
