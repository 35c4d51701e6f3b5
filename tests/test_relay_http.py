"""The same relay over plain HTTP: Server-Sent Events, lines of JSON, the page; and events in one's own server."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from openai_server import OpenAIServer
from relays import KEYS, LONG, PATIENCE, Client, Raw, serving, wait_until

import promptstream
from promptstream import Chunk, ChunkType, ToolCall, errors
from promptstream.providers import Scripted
from promptstream.values.events import event_json
from promptstream.web import Relay
from promptstream.web.hands import Hands

pytest.importorskip("websockets", reason="websockets is not installed (extra web)")


@promptstream.tool(approval=True)
def book(room: int) -> str:
    """Book a room."""
    return f"room {room} is yours"


def post(relay: Relay, body: Any, path: str = "chat", **options: Any) -> requests.Response:
    """Post *body*, as JSON where it is no text, and read the whole answer."""
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return requests.post(relay.url + path, data=data, timeout=PATIENCE, **options)


def events(answer: requests.Response) -> list[dict[str, Any]]:
    """Give the events of an answer by Server-Sent Events."""
    assert answer.status_code == 200, answer.text
    blocks = answer.content.decode().split("\n\n")
    assert blocks.pop() == ""
    assert all(each.startswith("data: ") and "\n" not in each for each in blocks)
    return [json.loads(each.removeprefix("data: ")) for each in blocks]


# Turns


def test_a_post_is_answered_by_server_sent_events():
    """As curl sends it: no type of content, no origin, no token."""
    with serving(["Hel", "lo"]) as relay:
        answer = post(relay, '{"message": "Hi"}', headers={"Content-Type": "application/x-www-form-urlencoded"})
    told = events(answer)
    assert [each["type"] for each in told] == ["conversation", "content", "content", "done"]
    assert all(each.keys() >= KEYS for each in told)
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "headers"), [("chat?format=ndjson", {}), ("chat", {"Accept": "application/x-ndjson"})]
)
def test_or_by_lines_of_json(path, headers):
    """By the address or by the Accept header; text that looks like line ends stays within its line."""
    with serving(["a\n\u2028\x85b"]) as relay:
        answer = post(relay, {"message": "Hi"}, path, headers=headers)
    lines = answer.content.decode().splitlines()
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(each)["type"] for each in lines] == ["conversation", "content", "done"]
    assert json.loads(lines[1])["content"] == "a\n\u2028\x85b"


def test_events_come_one_by_one():
    """Each is there while the next is not."""
    gate = threading.Event()
    with OpenAIServer(["One, ", gate, "two."]) as server:
        provider = promptstream.providers.Compatible(base_url=server.url, model="toy-1")
        with provider, serving(provider=provider) as relay:
            body = json.dumps({"message": "Count"})
            with requests.post(relay.url + "chat", data=body, stream=True, timeout=PATIENCE) as answer:
                pieces: Iterator[bytes] = answer.iter_content(None)
                came = b""
                while b'"One, "' not in came:
                    came += next(pieces)
                gate.set()
                assert b'"two."' in b"".join(pieces)


def test_a_client_of_http_1_0_gets_the_bytes_as_they_are():
    """Without chunks, which it does not know; the end is the end of the connection."""
    with serving("Hi.") as relay, Raw(relay) as client:
        client.send(b'POST /chat HTTP/1.0\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n{"message": "Hi"}')
        head, _, body = client.rest().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body.startswith(b'data: {"type": "conversation"')


def test_a_conversation_goes_on_by_its_id():
    """The first event tells it."""
    provider = Scripted(["Hi Ada.", "Ada."])
    with serving(provider=provider) as relay:
        id = events(post(relay, {"message": "I am Ada."}))[0]["conversation_id"]
        told = events(post(relay, {"message": "Who am I?", "conversation_id": id}))
        assert told[0]["conversation_id"] == id
        history = events(post(relay, {"action": "resume", "conversation_id": id}))[0]["messages"]
    assert [each.text for each in provider.requests[-1].messages][-3:] == ["I am Ada.", "Hi Ada.", "Who am I?"]
    assert [each["content"] for each in history] == ["I am Ada.", "Hi Ada.", "Who am I?", "Ada."]


def test_calls_are_decided_by_post_too():
    """The last decision's answer is the rest of the turn."""
    with serving([ToolCall("call-1", "book", {"room": 7})], "Booked.", tools=[book]) as relay:
        told = events(post(relay, {"message": "Room 7"}))
        assert [each["type"] for each in told] == ["conversation", "tool_call", "done", "approval"]
        id = told[0]["conversation_id"]
        told = events(post(relay, {"action": "approve", "call_id": "call-1", "conversation_id": id}))
    assert [each["type"] for each in told] == ["conversation", "tool_result", "content", "done"]


def test_a_turn_is_cancelled_by_another_post():
    """Who knows the id may."""
    with serving(["Once", LONG]) as relay:
        body = json.dumps({"message": "A story"})
        with requests.post(relay.url + "chat", data=body, stream=True, timeout=PATIENCE) as answer:
            lines = filter(None, answer.iter_lines(1))
            id = json.loads(next(lines)[6:])["conversation_id"]
            assert b"Once" in next(lines)
            assert post(relay, {"action": "cancel", "conversation_id": id}).status_code == 200
            assert b"cancelled" in next(lines)


def test_a_relay_that_closes_says_so():
    """It was not the client who asked for it."""
    with serving(["Once", LONG]) as relay:
        body = json.dumps({"message": "A story"})
        with requests.post(relay.url + "chat", data=body, stream=True, timeout=PATIENCE) as answer:
            lines = filter(None, answer.iter_lines(1))
            next(lines)
            assert b"Once" in next(lines)
            relay.close()
            assert json.loads(next(lines)[6:])["error"].endswith("the relay is closing.")
            assert list(lines) == []


def test_a_relay_that_closes_as_a_turn_begins_says_so_too(monkeypatch: pytest.MonkeyPatch):
    """The turn may have said its first words before the thread that began it goes on."""
    begin, goes_on = Hands.do, threading.Event()

    def held(hands: Hands, task: Any) -> None:
        begin(hands, task)
        assert goes_on.wait(PATIENCE)

    monkeypatch.setattr(Hands, "do", held)
    with serving(["Once", LONG]) as relay:
        body = json.dumps({"message": "A story"})
        with requests.post(relay.url + "chat", data=body, stream=True, timeout=PATIENCE) as answer:
            lines = filter(None, answer.iter_lines(1))
            assert [b"Once" in next(lines) for _ in range(2)] == [False, True]
            closer = threading.Thread(target=relay.close)
            closer.start()
            try:
                assert json.loads(next(lines)[6:])["error"].endswith("the relay is closing.")
            finally:
                goes_on.set()
                closer.join()


def test_a_format_that_there_is_not_is_refused():
    """Rather than to be taken for another."""
    with serving("Hi.") as relay:
        assert post(relay, {"message": "Hi"}, "chat?format=xml").status_code == 400
        assert post(relay, {"message": "Hi"}, "chat?format=sse").headers["Content-Type"].startswith("text/event-stream")


def test_a_reader_that_leaves_hangs_up_the_provider():
    """Also while the provider says nothing."""
    with OpenAIServer(["Once", threading.Event()]) as server:
        provider = promptstream.providers.Compatible(base_url=server.url, model="toy-1")
        with provider, serving(provider=provider) as relay:
            body = json.dumps({"message": "A story"})
            answer = requests.post(relay.url + "chat", data=body, stream=True, timeout=PATIENCE)
            assert b"data" in next(answer.iter_content(None))
            answer.close()
            assert server.hung_up.wait(5)
            wait_until(lambda: relay.connections == 0)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{", 400, "not JSON"),
        ({"action": "nope"}, 400, "no action"),
        ({"message": 7}, 400, "not a string"),
        (b'{"message": "\xff"}', 400, "not UTF-8"),
        ({"message": "x", "conversation_id": "nope"}, 404, "no such conversation"),
        ({"message": "x", "conversation_id": 7}, 404, "no such conversation"),
        ({"action": "approve", "call_id": "x"}, 400, "needs 'conversation_id'"),
        ({"action": "authenticate", "token": "x"}, 400, "for WebSockets"),
        ({"action": "cancel"}, 400, "needs 'conversation_id'"),
        ({"action": "cancel", "conversation_id": "nope"}, 404, "no such conversation"),
        ({"message": "x" * 2000}, 413, "larger than 1,000 bytes"),
        ({"message": "x", "variables": {"user": "root"}}, 400, "set by the server"),
    ],
)
def test_what_cannot_be_done_has_its_status_and_an_error_event(body, status, said):
    """Before anything was sent to the provider."""
    with serving("Hi.", max_message=1000, system="{{user}}", variables={"user": "Ada"}) as relay:
        answer = post(relay, body)
        assert (answer.status_code, said in answer.json()["error"]) == (status, True)
        assert answer.json().keys() >= KEYS
        assert events(post(relay, {"message": "Hi"}))[-1]["final"]["content"] == "Hi."


def test_a_turn_that_runs_already_is_status_409():
    """Over whichever way it runs."""
    with serving("Hi.", ["Once", LONG]) as relay, Client(relay) as client:
        client.answer("Hi")
        client.say("A story")
        client.next()
        assert post(relay, {"message": "Faster", "conversation_id": client.id}).status_code == 409
        client.do("cancel")
        client.until("error")


# The page and the rest


def test_the_page_is_served_with_a_policy_that_runs_nothing_else():
    """Each file by its type, asked for again only where it has changed."""
    with serving(title="Shop & Co") as relay:
        page = requests.get(relay.url, timeout=PATIENCE)
        script = requests.get(relay.url + "app.js", timeout=PATIENCE)
        again = requests.get(relay.url, headers={"If-None-Match": page.headers["ETag"]}, timeout=PATIENCE)
        head = requests.head(relay.url, timeout=PATIENCE)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert (again.status_code, again.content) == (304, b"")
    assert (head.content, head.headers["Content-Length"]) == (b"", str(len(page.content)))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "../relay.py", 404),
        ("GET", "%2e%2e/relay.py", 404),
        ("GET", "nope", 404),
        ("GET", "chat", 426),
        ("POST", "", 405),
        ("DELETE", "chat", 405),
        ("GET", "health", 200),
    ],
)
def test_other_addresses_have_their_status(method, path, status):
    """Nothing but the page's own files can be had."""
    with serving() as relay:
        connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=PATIENCE)
        connection.request(method, "/" + path)
        answer = connection.getresponse()
        assert (answer.status, bool(json.loads(answer.read()))) == (status, True)
        connection.close()


def test_without_a_page_there_is_none():
    """The rest is served all the same."""
    with serving("Hi.", page=False) as relay:
        assert requests.get(relay.url, timeout=PATIENCE).status_code == 404
        assert events(post(relay, {"message": "Hi"}))[-1]["type"] == "done"


# Events in one's own server


def streamed(*steps: Any) -> promptstream.Stream:
    """Give a stream of a script."""
    return promptstream.chat(provider=Scripted([steps])).stream("Hi")


def test_a_stream_is_written_as_server_sent_events_and_as_lines():
    """Each piece is whole, and what iter_events() gives."""
    told = list(streamed("a", "b\n").iter_events())
    sse, lines = promptstream.events_to_sse(streamed("a", "b\n")), promptstream.events_to_ndjson(streamed("a", "b\n"))
    for written, start, end in ((list(sse), "data: ", "\n\n"), (list(lines), "", "\n")):
        assert all(each.startswith(start) and each.endswith(end) and each.count("\n") == len(end) for each in written)
        read = [json.loads(each[len(start) :]) for each in written]
        assert read[:2] == told[:2]
        assert read[2].keys() == told[2].keys()


def test_chunks_and_events_are_taken_as_well():
    """Whatever was done to them in between."""
    chunks = (each for each in streamed("a") if each.type is ChunkType.TEXT)
    assert len(list(promptstream.events_to_sse(chunks))) == 1
    events = (each for each in streamed("a").iter_events() if each["type"] == "done")
    assert json.loads(next(promptstream.events_to_ndjson(events)))["type"] == "done"


def test_an_error_is_the_last_event():
    """Of a stream and of an iterable; the reader meets no exception of this library."""
    failing = [errors.RateLimited("Slow down.")]
    for source in (streamed("a", *failing), (each for each in streamed("a", *failing))):
        told = [json.loads(each) for each in promptstream.events_to_ndjson(source)]
        assert [each["type"] for each in told] == ["content", "error"]
        assert told[-1]["error"] == "Slow down."


@pytest.mark.parametrize("begun", [True, False])
def test_closing_what_is_written_hangs_up(begun):
    """As a framework does whose reader has gone, at whatever moment."""
    stream = streamed("a", LONG)
    written: Any = promptstream.events_to_sse(stream)
    if begun:
        next(written)
    written.close()
    assert list(written) == []
    assert stream.response.finish_reason == "cancelled"


def test_dropping_what_is_written_hangs_up():
    """As a framework does that does not close."""
    with OpenAIServer(["Once", threading.Event()]) as server:
        provider = promptstream.providers.Compatible(base_url=server.url, model="toy-1")
        written = promptstream.events_to_sse(promptstream.chat(provider=provider).stream("Hi"))
        next(written)
        del written
        assert server.hung_up.wait(5)
        provider.close()


@pytest.mark.parametrize("text", ["", "plain", 'quo"te\\', "\x00\x1f\x7f", "\u2028\u2029\x85", "é😀", "\ud800"])
def test_the_quick_way_says_the_same_as_the_slow_one(text):
    """Every text is one line to every reader of lines, and can be encoded."""
    chunk = Chunk(ChunkType.TEXT, text)
    line = event_json(chunk)
    assert json.loads(line) == chunk.to_event()
    assert event_json(chunk.to_event()) == line
    assert line.encode()
    assert len(line.splitlines()) == 1
