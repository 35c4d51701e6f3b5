"""Clients that are slow, gone, wrong or wicked in; an end for them, and nothing at all for the others, out."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
import requests
from openai_server import OpenAIServer
from relays import KEYS, LONG, PATIENCE, Client, Raw, serving, wait_until

import promptstream
from promptstream.state.memory import MemoryStore
from promptstream.web import Relay
from promptstream.web.line import Gone, Line
from promptstream.web.talk import Talk

pytest.importorskip("websockets", reason="websockets is not installed (extra web)")
TOKEN = "T0p-secret-token"


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No client of these is an error of the relay's."""
    yield
    assert [each for each in caplog.records if each.levelno >= logging.ERROR and "promptstream" in each.name] == []


def fine(relay: Relay) -> None:
    """Make sure that others are served as if nothing were."""
    with Client(relay) as client:
        client.do("nonsense")
        assert client.next()["type"] == "error"


# Slow, and gone


def test_a_client_that_reads_nothing_holds_up_its_provider_and_is_cut_off_in_time():
    """What it does not take is not asked for either, so that memory stays small; the others are served meanwhile."""
    store, read = MemoryStore(), []

    def counted(request: Any, call_next: Any) -> Iterator[Any]:
        for chunk in call_next(request):
            read.append(len(chunk.text))
            yield chunk

    script = ["x" * 65_536] * 1000
    with (
        serving(script, store=store, send_timeout=0.2, middleware=[counted]) as relay,
        Raw(relay, receives=4096) as slow,
    ):
        slow.handshake()
        slow.act("send_message", message="Go")
        wait_until(lambda: len(read) > 3)
        fine(relay)
        wait_until(lambda: relay.connections == 0)
        [kept] = store.list()
    assert sum(read) < 32 << 20
    assert store.load(kept.id).messages[-1].finish_reason == "cancelled"


def test_the_clock_of_a_write_is_reset_by_whatever_the_client_takes():
    """Slow is not dead: the whole may take many times as long."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    line, size, came = Line(ours, 0.2), 100_000, 0
    with theirs:
        thread = threading.Thread(target=line.write, args=(bytes(size),))
        thread.start()
        begun, pause = monotonic(), threading.Event()
        while came < size:
            pause.wait(0.02)
            came += len(theirs.recv(3000))
        thread.join()
        assert monotonic() - begun > 0.4
        line.close()


def test_a_write_is_given_up_after_the_send_timeout_and_not_after_two():
    """However much of it the system took at first."""
    ours, theirs = socket.socketpair()
    line, begun = Line(ours, 0.5), monotonic()
    with theirs:
        with pytest.raises(Gone):
            line.write(bytes(10_000_000))
        assert 0.5 <= monotonic() - begun < 0.95
        with pytest.raises(Gone):
            line.write(b"more")
        line.close()


def test_a_cancel_is_heard_from_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch):
    """Sending waits, reading does not."""
    heard, sending = threading.Event(), [0.0]
    monkeypatch.setattr(Talk, "cancel", lambda talk, why="": heard.set())

    def watched(request: Any, call_next: Any) -> Iterator[Any]:
        for chunk in call_next(request):
            sending[0] = monotonic()
            yield chunk

    with serving(["x" * 65_536] * 1000, middleware=[watched]) as relay, Raw(relay, receives=4096) as slow:
        slow.handshake()
        slow.act("send_message", message="Go")
        wait_until(lambda: sending[0] and monotonic() - sending[0] > 0.1)  # it is stuck
        slow.act("cancel")
        assert heard.wait(PATIENCE)


@pytest.mark.parametrize("way", ["reset", "closed"])
def test_a_client_that_vanishes_hangs_up_its_provider(way):
    """At once, also while the provider says nothing."""
    with OpenAIServer(["Once", threading.Event()]) as server:
        provider = promptstream.providers.Compatible(base_url=server.url, model="toy-1")
        with provider, serving(provider=provider) as relay, Raw(relay) as client:
            client.handshake()
            client.act("send_message", message="Hi")
            wait_until(server.asked.is_set)
            client.vanish() if way == "reset" else client.socket.close()
            assert server.hung_up.wait(5)
            wait_until(lambda: relay.connections == 0)
            fine(relay)


def test_a_client_that_answers_no_ping_is_given_up():
    """A connection may be dead without a word."""
    with serving(["Once", LONG], ping_interval=0.05) as relay, Raw(relay) as client:
        client.handshake()
        client.act("send_message", message="Hi")
        wait_until(lambda: relay.connections == 0)
        assert b"Once" in client.rest()


def test_a_client_that_answers_pings_may_be_silent():
    """For as long as it likes."""
    with serving("Hi.", ping_interval=0.02) as relay, Client(relay) as client:
        begun = monotonic()
        wait_until(lambda: monotonic() - begun > 0.2)
        assert client.answer("Hi") == "Hi."


def test_a_flood_of_pings_by_who_does_not_read_is_not_answered_for_ever():
    """What is owed is bounded; then the client is not read any more, and cut off."""
    with serving(send_timeout=0.2) as relay, Raw(relay, receives=4096) as client:
        client.handshake()
        flood = (b"\x89\xfd" + bytes(4) + bytes(125)) * 500
        with pytest.raises(OSError):
            for _ in range(2000):
                client.send(flood)
        fine(relay)


# Wrong frames and requests


@pytest.mark.parametrize(
    ("bytes_sent", "code"),
    [
        (b"\x81\x02{}", 1002),  # not masked
        (b"\xf1\x80" + bytes(4), 1002),  # reserved bits
        (b"\x83\x80" + bytes(4), 1002),  # an opcode that there is not
        (b"\x09\x80" + bytes(4), 1002),  # a ping in pieces
        (b"\x80\x80" + bytes(4), 1002),  # the end of what was not begun
        (b"\x81\x82" + bytes(4) + b"\xff\xfe", 1007),  # not UTF-8
        (b"\x82\x82" + bytes(4) + b"{}", 1003),  # not text
        (b"\x81\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), 1009),  # a terabyte, it says
        (b"\x81\xfe" + (1001).to_bytes(2, "big") + bytes(4), 1009),
        (b"\x88\x80" + bytes(4), 1005),  # a farewell without a code
    ],
)
def test_frames_that_break_the_protocol_end_their_connection_alone(bytes_sent, code):
    """With the code that RFC 6455 has for it."""
    with serving(max_message=1000) as relay, Raw(relay) as client:
        client.handshake()
        client.send(bytes_sent)
        assert (client.closed() or 1005) == code
        fine(relay)


def test_a_message_may_come_in_pieces_with_pings_between_them():
    """However small they are."""
    with serving("Hi.") as relay, Raw(relay) as client:
        client.handshake()
        client.receive()
        text = b'{"action": "send_message", "message": "Hi"}'
        client.frame(text[:1], first=0)
        for each in text[1:-1]:
            client.frame(b"", 0, first=0)
            client.frame(bytes((each,)), 0, first=0)
        client.frame(b"there?", 9)
        client.frame(text[-1:], 0)
        assert client.receive() == (10, b"there?")
        assert json.loads(client.receive()[1])["content"] == "Hi."


def test_pieces_that_are_too_large_together_are_too_large():
    """Each may be within the limit."""
    with serving(max_message=1000) as relay, Raw(relay) as client:
        client.handshake()
        client.frame(b" " * 900, first=0)
        client.frame(b" " * 900, 0)
        assert client.closed() == 1009


@pytest.mark.parametrize(
    ("request_sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),  # TLS
        (b"GET\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"GET / HTTP/0.9\r\n\r\n", b"505"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"414"),
        (b"GET /" + b"a" * 17_000, b"414"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 17_000, b"431"),
        (b"GET / HTTP/1.1\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n", b"4"),
        (b"GET /nope HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n", b"404"),
        (b"POST /chat HTTP/1.1\r\nHost: localhost\r\n\r\n", b"411"),
        (b"POST /chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}", b"400"),
        (b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n", b"413"),
    ],
)
def test_requests_that_make_no_sense_are_refused(request_sent, status):
    """By a status of their own, and nobody else's matter."""
    with serving() as relay, Raw(relay) as client:
        client.send(request_sent)
        client.socket.shutdown(1)
        head, _, body = client.rest().partition(b"\r\n\r\n")
        assert head.split(b" ")[1].startswith(status)
        assert b"\r\nServer: promptstream\r\n" in head or b"websocket" in request_sent
        assert b"application/json" not in head or json.loads(body).keys() == KEYS
        fine(relay)


def test_a_head_without_end_is_cut_off():
    """16 KiB are enough for anybody's headers."""
    with serving() as relay, Raw(relay) as client:
        with pytest.raises(OSError):
            for _ in range(10_000):
                client.send(b"A" * 4096)
        fine(relay)


@pytest.mark.parametrize(
    "begun", [b"GET / HTTP/1.1\r\nX: ", b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"]
)
def test_a_client_that_sends_byte_by_byte_has_only_so_long(begun):
    """The clock is of the whole request, not of each byte."""
    with serving(handshake_timeout=0.2) as relay, Raw(relay) as client:
        client.send(begun)
        client.socket.settimeout(0.03)
        until = monotonic() + PATIENCE
        while monotonic() < until:
            try:
                client.send(b"a")
                if client.socket.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert monotonic() < until
        fine(relay)


@pytest.mark.parametrize(
    "begun", [b"GET / HTTP/1.1\r\nX: ", b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"]
)
def test_a_client_that_stops_halfway_is_told_that_it_is_late(begun):
    """Status 408, as RFC 9110 has it; who said nothing at all is told nothing."""
    with serving(handshake_timeout=0.05) as relay, Raw(relay) as client, Raw(relay) as silent:
        client.send(begun)
        assert client.rest().startswith(b"HTTP/1.1 408 ")
        assert silent.rest() == b""


def test_who_comes_when_it_is_full_is_told_so():
    """Status 503; once another has left, there is room. Whether the relay lives can be asked all the same."""
    with serving("Hi.", max_connections=2) as relay, Client(relay) as one:
        with Client(relay), Raw(relay) as third:
            assert "503" in third.handshake()
            answer = requests.get(relay.url, timeout=PATIENCE)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert "as many clients" in answer.json()["error"]
            assert requests.get(relay.url + "health", timeout=PATIENCE).status_code == 200
            silent = [Raw(relay) for _ in range(16)]
            wait_until(lambda: relay.connections >= 18)
            with Raw(relay) as late:
                assert late.rest().startswith(b"HTTP/1.1 503 ")
            for each in silent:
                each.socket.close()
        wait_until(lambda: relay.connections == 1)
        fine(relay)
        assert one.answer("Hi") == "Hi."


# Who may come in


@pytest.mark.parametrize(
    ("headers", "host", "comes"),
    [
        ((), None, True),  # no browser
        (("Origin: http://{own}",), None, True),
        (("Origin: https://{own}",), None, True),  # TLS ends at a proxy
        (("Origin: https://chat.example",), None, True),
        (("Origin: https://chat.example", "Sec-Fetch-Site: cross-site"), None, True),
        (("Origin: https://evil.example",), None, False),
        (("Origin: https://chat.example.evil.example",), None, False),
        (("Origin: http://chat.example",), None, False),
        (("Origin: http://127.0.0.1:1",), None, False),  # another program's page on this machine
        (("Origin: null",), None, False),
        (("Origin: ",), None, False),
        (("Origin: http://[",), None, False),
        (("Sec-Fetch-Site: cross-site",), None, False),
        (("Sec-Fetch-Site: same-origin",), None, True),
        ((), "localhost:1234", True),  # by a tunnel
        ((), "chat.example", True),
        ((), "192.0.2.7:8000", True),  # an address cannot be pointed elsewhere
        ((), "evil.example", False),
        ((), "evil.example:8000", False),
        ((), "localhost.evil.example", False),
        ((), "user@localhost", True),
        ((), "[", False),
        (("Origin: http://evil.example",), "evil.example", False),  # DNS rebinding
    ],
)
def test_only_ones_own_pages_and_those_that_are_listed_may_come_in(headers, host, comes):
    """Over WebSockets and by POST alike; who is no browser may."""
    with serving("Hi.", origins=["https://chat.example"]) as relay:
        own = f"127.0.0.1:{relay.port}"
        lines = [each.format(own=own) for each in headers]
        with Raw(relay) as client:
            assert ("101" in client.handshake(*lines, host=host)) == comes
        named = dict(each.split(": ", 1) for each in [*lines, f"Host: {host or own}"])
        with Raw(relay) as client:
            head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
            client.send(f'POST /chat HTTP/1.1\r\n{head}Content-Length: 17\r\n\r\n{{"message": "Hi"}}'.encode())
            assert client.rest().startswith(b"HTTP/1.1 200") == comes


def test_a_listed_sites_pages_may_read_what_they_are_answered():
    """By the headers that browsers ask for (CORS); a stranger's may not."""
    with serving("Hi.", origins=["https://chat.example"]) as relay:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        for origin, status in (("https://chat.example", 204), ("https://evil.example", 403)):
            answer = requests.options(relay.url + "chat", headers={"Origin": origin, **asked}, timeout=PATIENCE)
            allowed = answer.headers.get("Access-Control-Allow-Origin")
            assert (answer.status_code, allowed) == (status, origin if status == 204 else None)


@pytest.mark.parametrize(
    ("header", "comes"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer", False),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("Bearer \xff", False),
    ],
)
def test_where_there_is_a_token_it_is_wanted(header, comes):
    """By the header, over WebSockets and by POST alike."""
    with serving("Hi.", token=TOKEN) as relay:
        with Raw(relay) as client:
            head = client.handshake(f"Authorization: {header}")
            assert ("101" in head, "401" in head) == (comes, not comes)
        headers = {"Authorization": header.encode("latin-1")}
        answer = requests.post(relay.url + "chat", data='{"message": "Hi"}', headers=headers, timeout=PATIENCE)
        assert answer.status_code == (200 if comes else 401)
        assert TOKEN not in answer.text


def test_a_browser_gives_the_token_as_its_first_message():
    """It can send no header; before that it learns nothing and can do nothing."""
    with serving("Hi.", token=TOKEN) as relay:
        with Client(relay, greeted=False) as client:
            client.do("authenticate", token=TOKEN)
            assert client.next()["type"] == "conversation"
            assert client.answer("Hi") == "Hi."
        for first in ({"action": "authenticate", "token": "wrong"}, {"action": "send_message", "message": "Hi"}, "{"):
            with Raw(relay) as stranger:
                stranger.handshake()
                stranger.frame(json.dumps(first).encode() if isinstance(first, dict) else first.encode())
                assert json.loads(stranger.receive()[1])["type"] == "error"
                assert stranger.closed() == 1008
        assert requests.post(relay.url + "chat", data='{"message": "Hi"}', timeout=PATIENCE).status_code == 401
        assert requests.get(relay.url, timeout=PATIENCE).status_code == 200


def test_who_never_says_the_token_is_sent_away():
    """In the time that a handshake has."""
    with serving(token=TOKEN, handshake_timeout=0.1) as relay, Raw(relay) as client:
        client.handshake()
        assert client.closed() == 1008


def test_an_id_that_is_guessed_opens_nothing():
    """Neither one that no store could hold."""
    with serving("Hi.") as relay, Client(relay) as client:
        client.answer("Hi")
        for id in ("", "x" * 5000, client.id[:-1], "\0", "../x", client.id.swapcase()):
            client.do("resume", conversation_id=id)
            assert "no such conversation" in client.next()["error"]


# All at once


def test_none_of_them_hurts_a_conversation_that_is_going_on():
    """One client streams while thirty others misbehave."""
    words = [f"{number} " for number in range(200)]
    script: list[Any] = [step for word in words for step in (word, 0.002)]
    with serving(script, max_message=1000, send_timeout=0.3, handshake_timeout=0.2) as relay, Client(relay) as client:
        client.say("Count")
        others = [Raw(relay) for _ in range(30)]
        for number, other in enumerate(others):
            match number % 5:
                case 0:
                    other.send(b"GET / HTTP/1.1\r\n")
                case 1:
                    other.handshake()
                    other.send(b"\xff" * 100)
                case 2:
                    other.vanish()
                case 3:
                    other.handshake()
                    other.frame(b"x", size=1 << 30)
                case 4:
                    other.handshake("Origin: https://evil.example")
        assert "".join(each["content"] for each in client.until("done")) == "".join(words)
        for other in others:
            other.socket.close()
