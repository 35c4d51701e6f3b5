"""Ollama over real sockets: long loads, lines cut anywhere, errors on the way, second turns."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from server import LAST_CHUNK, Conn, Request, Server, each, full, head, http_chunk, say, unused_port

import promptstream
from promptstream import Message, Retry, Timeout, ToolResult, ToolSpec, providers
from promptstream.errors import (
    ConnectFailed,
    FirstTokenTimeout,
    IdleTimeout,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServerError,
    Truncated,
)

LINES = "application/x-ndjson"
LONG = 30.0
WEATHER = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


def line(message: dict[str, Any] | None = None, **more: Any) -> bytes:
    """Render one line of /api/chat."""
    message = {"role": "assistant", "content": "", **(message or {})}
    body = {"model": "toy:latest", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False, **more}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def said(text: str) -> bytes:
    """Render a delta of text."""
    return line({"content": text})


DONE = line(done=True, done_reason="stop", load_duration=1, prompt_eval_count=5, eval_count=4)
ANSWER = (said("Once"), said(" upon"), said(" a time. ☺"), DONE)
TEXT = "Once upon a time. ☺"
HEAD = head(content_type=LINES, Transfer_Encoding="chunked")


def streamed(*lines: bytes) -> bytes:
    """Render a whole streamed reply."""
    return HEAD + b"".join(map(http_chunk, lines)) + LAST_CHUNK


def failure(status: str, text: str) -> bytes:
    """Render an error as Ollama does."""
    return full(status, json.dumps({"error": text}))


def provider(server: Server | str, **options: Any) -> promptstream.Provider:
    """Make a provider that tries once."""
    url = server if isinstance(server, str) else server.origin
    return providers.get("ollama", **{"model": "toy", "base_url": url, "retry": Retry(0), **options})


def texts(stream: promptstream.Stream) -> list[str]:
    """Give the chunks' texts, less the last one's, which has none."""
    return [str(chunk) for chunk in stream if not chunk.done]


# Streams


def test_an_answer_streams_whole_over_a_real_socket(server):
    """Each line is a chunk; the response knows reason, counts and model; the request is what it should be."""
    served = server(each(say(streamed(*ANSWER))))
    with provider(served) as ollama:
        stream = ollama.stream("Tell me a story", max_tokens=9)
        assert texts(stream) == ["Once", " upon", " a time. ☺"]
    response = stream.response
    assert (response.text, response.finish_reason, response.model) == (TEXT, "stop", "toy:latest")
    assert (response.usage.input, response.usage.output) == (5, 4)
    (request,) = served.requests
    assert request.json == {
        "model": "toy",
        "messages": [{"role": "user", "content": "Tell me a story"}],
        "stream": True,
        "options": {"num_predict": 9},
    }


def test_a_line_is_handed_out_as_soon_as_it_is_there(server):
    """The loop has the first delta while the server still holds back the second."""
    held = threading.Event()

    def script(conn: Conn) -> None:
        conn.request()
        conn.send(HEAD, http_chunk(said("One")))
        conn.wait(held)
        conn.send(http_chunk(said(" two")), http_chunk(DONE), LAST_CHUNK)

    with provider(server(script)) as ollama:
        chunks = iter(ollama.stream("Hello"))
        assert str(next(chunks)) == "One"
        held.set()
        assert [str(chunk) for chunk in chunks] == [" two", ""]


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_lines_cut_anywhere_make_the_same_answer(server, size):
    """HTTP chunks that end inside lines and characters change nothing, and neither does a last line left open."""
    body = b"".join(ANSWER).removesuffix(b"\n")
    pieces = [http_chunk(body[at : at + size]) for at in range(0, len(body), size)]
    with provider(server(each(say(HEAD, *pieces, LAST_CHUNK)))) as ollama:
        response = ollama.send("Hello")
    assert (response.text, response.usage.total, response.finish_reason) == (TEXT, 9, "stop")


def test_a_body_that_ends_with_the_connection_is_whole_if_it_is_done(server):
    """Without Content-Length and chunks the end of the connection ends the body: only ``done`` tells."""

    def ending(*lines: bytes) -> Callable[[Conn, Request], None]:
        def step(conn: Conn, request: Request) -> None:
            conn.send(head(content_type=LINES, Connection="close"), *lines)
            conn.end()

        return step

    served = server(each(ending(*ANSWER), ending(*ANSWER[:2])))
    with provider(served) as ollama:
        assert ollama.send("Hello").complete
        with pytest.raises(Truncated) as caught:
            ollama.send("Hello")
    assert caught.value.response.text == "Once upon"


def test_a_lost_connection_keeps_the_text_even_where_a_tag_might_have_begun(server):
    """Truncated, and what was held back in case it begins a tag is not lost."""

    def script(conn: Conn) -> None:
        conn.request()
        conn.send(HEAD, http_chunk(said("<th")))
        conn.end()

    with provider(server(script)) as ollama:
        stream = ollama.stream("Hello")
        with pytest.raises(Truncated) as caught:
            texts(stream)
    assert caught.value.response.text == stream.text == "<th"


def test_an_answer_in_one_body_is_the_same(server):
    """``streaming=False`` gives what streaming gives."""
    whole = json.loads(DONE) | {"message": {"role": "assistant", "content": TEXT}}
    with provider(server(each(say(full("200 OK", json.dumps(whole))), say(streamed(*ANSWER))))) as ollama:
        one, two = ollama.send("Hello", streaming=False), ollama.send("Hello")
    assert (one.text, one.usage, one.finish_reason) == (two.text, two.usage, two.finish_reason)


def test_a_connection_is_used_again_after_done(server):
    """What follows the last line is drained: the second request comes on the same connection."""
    served = server(each(say(streamed(*ANSWER))))
    with provider(served) as ollama:
        ollama.send("Hello")
        ollama.send("Hello")
    assert (len(served.connections), len(served.requests)) == (1, 2)


def test_leaving_the_loop_hangs_up_so_that_the_server_stops_generating(server):
    """Closing the connection is what aborts a generation."""
    served = server(lambda conn: (conn.request(), conn.send(HEAD, http_chunk(said("One"))), conn.wait_for_hang_up()))
    with provider(served) as ollama:
        for _chunk in ollama.stream("Hello"):
            break
        assert served.conn.gone.wait(5)


# The long silence of a first load


def loading(silence: float, *, headers_first: bool) -> Callable[[Conn], None]:
    """Make a script that is silent as while a model loads, before the headers or after them."""

    def script(conn: Conn) -> None:
        conn.request()
        if headers_first:
            conn.send(HEAD)
        threading.Event().wait(silence)
        conn.send((b"" if headers_first else HEAD) + http_chunk(b"".join(ANSWER)) + LAST_CHUNK)

    return script


@pytest.mark.parametrize("headers_first", [False, True], ids=["before the headers", "after the headers"])
def test_loading_a_model_may_take_longer_than_idle(server, headers_first):
    """Trap 33: the silence before the first line counts against ``first`` alone; ``idle`` is between lines."""
    timeout = Timeout(connect=LONG, first=LONG, idle=0.02)
    with provider(server(loading(0.05, headers_first=headers_first)), timeout=timeout) as ollama:

        def answer() -> str:
            try:
                return ollama.send("Hello").text
            except IdleTimeout as error:  # the lines come at once, but so short a clock may run out on a busy machine
                return error.response.text

        assert any(answer() == TEXT for _ in range(3))


def test_a_model_that_never_loads_ends_in_first_token_timeout(server):
    """``first`` bounds the load, and is generous unless told: ten minutes, twice what the server itself waits."""
    served = server(lambda conn: (conn.request(), conn.wait_for_hang_up()))
    with provider(served, timeout=Timeout(first=0.05)) as ollama:
        begun = monotonic()
        with pytest.raises(FirstTokenTimeout):
            ollama.send("Hello")
    assert monotonic() - begun < 5
    assert Timeout().first >= 300


def test_an_answer_that_stands_still_ends_in_idle_timeout(server):
    """Blank lines are no events: they keep no clock from running out."""

    def script(conn: Conn) -> None:
        conn.request()
        conn.send(HEAD, http_chunk(said("One")))
        while not conn.gone.wait(0.01):
            conn.send(http_chunk(b"\n"))

    with (
        provider(server(script), timeout=Timeout(first=LONG, idle=0.05)) as ollama,
        pytest.raises(IdleTimeout) as caught,
    ):
        ollama.send("Hello")
    assert caught.value.response.text == "One"


# Errors


def test_a_server_that_does_not_run_is_said_to_need_starting():
    """Connection refused names the address, asks whether it runs, and says how to start it."""
    port = unused_port()
    with provider(f"http://127.0.0.1:{port}") as ollama:
        for attempt in (lambda: ollama.send("Hello"), ollama.models):
            with pytest.raises(ConnectFailed) as caught:
                attempt()
            assert f"127.0.0.1:{port}" in str(caught.value)
            assert "Is it running" in str(caught.value)
            assert str(caught.value).endswith("ollama serve.")
            assert str(caught.value).count("ollama serve") == 1


def test_a_model_that_is_not_there_is_said_to_need_pulling(server):
    """404 with the model's name gives the command that fetches it, and is not tried again."""
    served = server(each(say(failure("404 Not Found", "model 'toy' not found"))))
    with provider(served, retry=Retry(base=0.001)) as ollama, pytest.raises(NotFound) as caught:
        ollama.send("Hello")
    assert str(caught.value).endswith("To fetch it: ollama pull toy")
    assert (caught.value.status, len(served.requests)) == (404, 1)


def test_a_busy_server_is_asked_again(server):
    """503 with a full queue is Overloaded, and waited out before the first chunk."""
    busy = failure("503 Service Unavailable", "server busy, please try again. maximum pending requests exceeded")
    served = server(each(say(busy), say(streamed(*ANSWER))))
    with provider(served, retry=Retry(base=0.001)) as ollama:
        assert ollama.send("Hello").text == TEXT
    assert len(served.requests) == 2
    with provider(server(each(say(busy)))) as ollama, pytest.raises(Overloaded):
        ollama.send("Hello")


def test_a_model_without_tools_refuses_by_status_or_by_line_alike(server):
    """400 and an error line give the same class."""
    text = "registry.ollama.ai/library/toy:latest does not support tools"
    steps = (
        say(failure("400 Bad Request", text)),
        say(streamed(json.dumps({"error": text}).encode() + b"\n")),
    )
    with provider(server(each(*steps))) as ollama:
        for _ in steps:
            with pytest.raises(InvalidRequest, match="does not support tools"):
                ollama.send("Hello", tools=[WEATHER])


def test_a_runner_that_dies_on_the_way_is_an_error_with_the_text_so_far(server):
    """Trap 33: an error line in a 200 stream raises, and is not sent again once text was handed out."""
    broken = streamed(said("Once"), b'{"error":"an error was encountered while running the model: unexpected EOF"}\n')
    served = server(each(say(broken)))
    with provider(served, retry=Retry(base=0.001)) as ollama, pytest.raises(ServerError) as caught:
        ollama.send("Hello")
    assert (caught.value.response.text, len(served.requests)) == ("Once", 1)


# Further turns


def test_a_conversation_sends_its_history_with_the_thinking(server):
    """The second turn carries the first one's question, thinking and answer."""
    first = streamed(line({"thinking": "Hm."}), said("Hello"), said(" there."), DONE)
    served = server(each(say(first), say(streamed(*ANSWER))))
    with promptstream.chat("Be terse.", provider=provider(served)) as conv:
        assert texts(conv.stream("Hi")) == ["", "Hello", " there."]
        conv.send("Go on", reasoning=True)
    assert served.requests[1].json["messages"] == [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello there.", "thinking": "Hm."},
        {"role": "user", "content": "Go on"},
    ]
    assert served.requests[1].json["think"] is True


@pytest.mark.parametrize("ids", [True, False], ids=["with ids", "without ids"])
def test_calls_over_several_lines_are_answered_in_a_second_request(server, ids):
    """Trap 33: calls and results go back in order; an id only where the server gave one."""
    calls = [
        line(
            {
                "tool_calls": [
                    {**({"id": f"c{at}"} if ids else {}), "function": {"name": "weather", "arguments": said_of}}
                ]
            }
        )
        for at, said_of in enumerate(({"city": "Ulm", "n": 12345678901234567890123}, {"city": "Bonn"}))
    ]
    served = server(each(say(streamed(*calls, DONE)), say(streamed(*ANSWER))))
    with provider(served) as ollama:
        asked = Message("user", "What is the weather in Ulm and Bonn?")
        response = ollama.send([asked], tools=[WEATHER])
        assert response.finish_reason == "tool_calls"
        results = [ToolResult(call.id, call.name, "rain") for call in response.tool_calls]
        history = [asked, response.message, Message("tool", results)]
        reread = [Message.from_dict(json.loads(json.dumps(message.to_dict()))) for message in history]
        assert ollama.send(reread, tools=[WEATHER]).text == TEXT
    echoed = [{"id": "c0"}, {"id": "c1"}] if ids else [{}, {}]
    told = [{"tool_call_id": "c0"}, {"tool_call_id": "c1"}] if ids else [{}, {}]
    assert served.requests[1].json["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    **echoed[0],
                    "function": {"name": "weather", "arguments": {"city": "Ulm", "n": 12345678901234567890123}},
                },
                {**echoed[1], "function": {"name": "weather", "arguments": {"city": "Bonn"}}},
            ],
        },
        {"role": "tool", "content": "rain", "tool_name": "weather", **told[0]},
        {"role": "tool", "content": "rain", "tool_name": "weather", **told[1]},
    ]


def test_exact_numbers_survive_an_answer_in_one_body(server):
    """Trap 37: a whole JSON body is parsed without rounding, too."""
    call = {"function": {"name": "weather", "arguments": {"n": 12345678901234567890123}}}
    whole = json.loads(DONE) | {"message": {"role": "assistant", "content": "", "tool_calls": [call]}}
    with provider(server(each(say(full("200 OK", json.dumps(whole)))))) as ollama:
        response = ollama.send("Hello", streaming=False, tools=[WEATHER])
    assert response.tool_calls[0].arguments == {"n": 12345678901234567890123}


def test_a_completion_streams_from_generate(server):
    """/api/generate over the wire, thinking told apart."""
    lines = [
        json.dumps({"model": "toy", "thinking": "Hm.", "response": "", "done": False}).encode() + b"\n",
        json.dumps({"model": "toy", "response": "time", "done": False}).encode() + b"\n",
        json.dumps({"model": "toy", "response": "", "done": True, "done_reason": "length", "eval_count": 2}).encode(),
    ]
    served = server(each(say(streamed(*lines))))
    with provider(served) as ollama:
        response = ollama.stream_completion("Once upon a").result()
    assert (response.reasoning, response.text, response.finish_reason) == ("Hm.", "time", "length")
    assert served.requests[0].target == "/api/generate"


def test_the_models_are_listed_over_the_wire(server):
    """GET /api/tags, below a path that a gateway puts in front."""
    served = server(each(say(full("200 OK", json.dumps({"models": [{"name": "toy:latest"}]})))))
    with provider(f"{served.origin}/ollama/") as ollama:
        assert [model.id for model in ollama.models()] == ["toy:latest"]
    assert (served.requests[0].method, served.requests[0].target) == ("GET", "/ollama/api/tags")
