"""models=[…]: on every verb, and the model that answers named in every chunk."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from server import DONE, LAST_CHUNK, Conn, chunked_head, event, full, http_chunk

import promptstream
from promptstream.providers import OpenRouter

FIRST, SECOND = "vendor/first", "vendor/second"
PACK = {"prompts": {"p": {"system_template": "Be brief."}}}


def second_answers(conn: Conn) -> None:
    """Answer as a router whose first model is down: by the second one named, in chats and text completions."""
    while True:
        request = conn.request()
        asked = request.json
        chat = request.target.endswith("/chat/completions")
        model = asked["models"][1]
        if not asked["stream"]:
            said = {"message": {"content": "Once upon"}} if chat else {"text": "Once upon"}
            choice = {"index": 0, "finish_reason": "stop", **said}
            conn.send(full("200 OK", json.dumps({"model": model, "choices": [choice]})))
            continue
        rows = [
            {"index": 0, "finish_reason": None, **({"delta": {"content": text}} if chat else {"text": text})}
            for text in ("Once", " upon")
        ]
        end = {"index": 0, "finish_reason": "stop", **({"delta": {}} if chat else {"text": ""})}
        events = b"".join(event(choice, model=model) for choice in (*rows, end))
        conn.send(chunked_head(), http_chunk(events + DONE), LAST_CHUNK)


def opened(provider: promptstream.Provider, models: list[str]) -> promptstream.Stream:
    """Stream from a conversation on a pack."""
    return promptstream.open(PACK, provider=provider, models=models).stream("Hi")


VERBS: dict[str, Callable[[Any, list[str]], promptstream.Stream]] = {
    "open": opened,
    "chat": lambda provider, models: promptstream.chat(provider=provider, models=models).stream("Hi"),
    "a turn": lambda provider, models: promptstream.chat(provider=provider).stream("Hi", models=models),
    "stream": lambda provider, models: provider.stream("Hi", models=models),
    "stream_completion": lambda provider, models: provider.stream_completion("Once", models=models),
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_model_that_answers_is_named_in_every_chunk(server, verb):
    """Both names are sent in their order; the second one answers, and each TEXT chunk and the response say so."""
    with OpenRouter(api_key="sk-or-0123456789", base_url=server(second_answers).url) as provider:
        stream = VERBS[verb](provider, [FIRST, SECOND])
        named = [(chunk.text, chunk.model) for chunk in stream if chunk.text]
    assert named == [("Once", SECOND), (" upon", SECOND)]
    assert (stream.model, stream.response.model, stream.response.text) == (SECOND, SECOND, "Once upon")


@pytest.mark.parametrize("verb", ["send", "completion"])
def test_the_model_that_answers_in_one_body_is_named(server, verb):
    """The same in one JSON body."""
    with OpenRouter(api_key="sk-or-0123456789", base_url=server(second_answers).url) as provider:
        response = getattr(provider, verb)("Once", models=[FIRST, SECOND], streaming=False)
    assert (response.model, response.text) == (SECOND, "Once upon")
