"""What a relay's clients may rely on: events, actions, decisions, resuming, and an end to everything."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import requests
from openai_server import OpenAIServer
from relays import KEYS, LONG, PATIENCE, Client, serving, wait_until

import promptstream
from promptstream import ToolCall, ToolSpec, errors
from promptstream.providers import Scripted
from promptstream.state.memory import MemoryStore
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.web import Relay
from promptstream.web.conversations import Opening
from promptstream.web.talk import Batch, Talk

pytest.importorskip("websockets", reason="websockets is not installed (extra web)")
ROOMS = ToolCall("call-1", "book", {"room": 7})
WEATHER = ToolCall("call-2", "weather", {"city": "Oslo"})
ASKED = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


@promptstream.tool(approval=True)
def book(room: int) -> str:
    """Book a room."""
    return f"room {room} is yours"


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Give the types of events."""
    return [each["type"] for each in events]


# Turns


def test_a_message_is_answered_by_the_librarys_own_events():
    """They are those of iter_events(), to the letter."""
    script: list[Any] = [Chunk(ChunkType.REASONING, reasoning="Hm."), "Hel", "lo\n\u2028", "😀"]
    local = promptstream.chat(provider=Scripted([script]))
    expected = list(local.stream("Hi").iter_events())
    with serving(script) as relay, Client(relay) as client:
        assert client.greeting["messages"] == []
        assert {*client.greeting} == {*KEYS, "conversation_id", "messages"}
        client.say("Hi")
        events = client.until("done")
    for each in (events[-1]["final"], expected[-1]["final"]):
        each.pop("latency_ms")
    assert events == expected


def test_a_conversation_goes_on_over_its_turns():
    """The provider is asked with what was said before."""
    provider = Scripted(["Hi Ada.", "Ada."])
    with serving(provider=provider, system="Be brief.") as relay, Client(relay) as client:
        assert client.answer("I am Ada.") == "Hi Ada."
        assert client.answer("Who am I?") == "Ada."
    asked = provider.requests[-1].messages
    assert [each.text for each in asked][-3:] == ["I am Ada.", "Hi Ada.", "Who am I?"]


def test_each_connection_has_a_conversation_of_its_own_under_an_id_that_cannot_be_guessed():
    """24 characters of randomness; all of them share one provider."""
    with serving("One.", "Two.") as relay, Client(relay) as one, Client(relay) as other:
        assert one.id != other.id
        assert min(len(one.id), len(other.id)) >= 24
        assert one.answer("Hi") == "One."
        assert other.answer("Hi") == "Two."


def test_a_failure_of_the_provider_is_an_event_and_the_conversation_goes_on():
    """It is no refusal of an action."""
    with serving([errors.RateLimited("Slow down.")], "Here.") as relay, Client(relay) as client:
        client.say("Hi")
        event = client.next()
        assert (event["type"], event.keys()) == ("error", KEYS)
        assert client.answer("Again") == "Here."


@pytest.mark.parametrize(
    ("error", "told", "logged"),
    [
        (errors.RateLimited("key-7: 9 a minute", retry_after=12.0), "asked too much; try again in 12 seconds", "key-7"),
        (errors.Overloaded("at 10.0.0.7"), "overloaded; try again in a moment", "10.0.0.7"),
        (errors.ContextTooLong("8192 of 4096: My secret."), "too long for the model", "ContextTooLong"),
        (errors.Authentication("No key sk-…7. Check the key.", status=401), "gave no answer", "model scripted: No key"),
        (errors.ConnectFailed("Nobody listens at 10.0.0.7:80."), "gave no answer", "10.0.0.7:80"),
        (
            errors.InvalidRequest("My secret is bad.", code="bad_role"),
            "gave no answer",
            "InvalidRequest, code bad_role",
        ),
        (errors.IdleTimeout("10.0.0.7 stood still"), "did not answer in time", "stood still"),
        (RuntimeError("My secret."), "Something went wrong in the relay", "RuntimeError"),
        (errors.GuardrailTripped("Not about that."), "Not about that.", ""),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "chunk"])
def test_a_client_is_told_what_it_can_do_and_the_log_the_rest(error, told, logged, on_error, caplog):
    """Neither servers nor keys are strangers' matter; what was said is not the log's."""
    with serving([error], on_error=on_error) as relay, Client(relay) as client:
        client.say("Hi")
        said = client.next()["error"]
    log = "\n".join(each.getMessage() for each in caplog.records if each.name == "promptstream.web")
    assert told in said
    assert logged in log
    assert not any(word in said for word in ("10.0.0.7", "key", "secret"))
    assert "secret" not in log


def test_a_refusal_names_its_action():
    """So that it is not taken for the end of the turn that runs."""
    with serving(["Once", LONG]) as relay, Client(relay) as client:
        client.say("A story")
        client.next()
        client.say("Faster")
        client.do("approve", call_id="x")
        client.do("approve")
        client.do("nope")
        client.socket.send("{")
        refused = [client.next() for _ in range(5)]
        assert [each["action"] for each in refused] == ["send_message", "approve", "approve", "unknown", "unknown"]
        assert {each["type"] for each in refused} == {"error"}
        client.do("cancel")
        assert "action" not in client.until("error")[-1]


def test_a_cancel_stops_the_provider_within_a_tenth_of_a_second_and_keeps_what_came():
    """The turn ends with an error event; the next one knows the partial answer."""
    tries = []
    for _ in range(3):
        provider = Scripted([["Once upon", LONG], "On."])
        with serving(provider=provider) as relay, Client(relay) as client:
            client.say("A story")
            assert client.next()["content"] == "Once upon"
            begun = monotonic()
            client.do("cancel")
            event = client.next()
            tries.append(monotonic() - begun)
            assert event["type"] == "error"
            assert "cancelled" in event["error"]
            assert client.answer("Go on") == "On."
            assert "Once upon" in [each.text for each in provider.requests[-1].messages]
        if tries[-1] < 0.1:
            break
    assert min(tries) < 0.1


def test_a_cancel_hangs_up_on_a_real_provider():
    """The server at the other end sees the client go."""
    with OpenAIServer(["Once", threading.Event()]) as server:
        provider = promptstream.providers.Compatible(base_url=server.url, model="toy-1")
        with provider, serving(provider=provider) as relay, Client(relay) as client:
            client.say("Hi")
            assert client.next()["content"] == "Once"
            client.do("cancel")
            assert client.next()["type"] == "error"
            assert server.hung_up.wait(5)


def test_a_cancel_where_nothing_runs_says_nothing():
    """What was to be stopped has stopped."""
    with serving("Hi.") as relay, Client(relay) as client:
        client.do("cancel")
        assert client.answer("Hi") == "Hi."


def test_a_second_message_while_one_is_answered_is_refused_and_harms_nothing():
    """One turn at a time."""
    gate = threading.Event()
    with OpenAIServer(["One, ", gate, "two."]) as server:
        provider = promptstream.providers.Compatible(base_url=server.url, model="toy-1")
        with provider, serving(provider=provider) as relay, Client(relay) as client:
            client.say("Count")
            assert client.next()["content"] == "One, "
            client.say("Faster")
            refused = client.next()
            assert (refused["type"], "running" in refused["error"]) == ("error", True)
            gate.set()
            assert client.until("done")[-1]["final"]["content"] == "One, two."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ('"hi"', "no JSON object"),
        ("[" * 1000, "not JSON"),
        ('{"action": "sned_message"}', "Did you mean 'send_message'?"),
        ('{"action": ["cancel"]}', "There is no action"),
        ('{"action": "send_message"}', "needs 'message'"),
        ('{"action": "send_message", "message": 7}', "not a string"),
        ('{"action": "send_message", "message": "x", "variables": []}', "not an object"),
        ('{"action": "approve", "call_id": "nope"}', "pending"),
        ('{"action": "tool_result", "call_id": "nope", "result": 1}', "pending"),
        ('{"action": "resume", "conversation_id": "nope"}', "no such conversation"),
        ('{"action": "__init__"}', "There is no action"),
    ],
)
def test_what_cannot_be_done_is_an_error_event_and_changes_nothing(text, said):
    """The connection lives, and so does the conversation."""
    with serving("Still here.") as relay, Client(relay) as client:
        client.socket.send(text)
        event = client.next()
        assert event["type"] == "error"
        assert said in event["error"]
        assert client.answer("Hi") == "Still here."


def test_variables_of_a_message_are_for_its_turn_and_those_of_the_server_are_not_for_clients():
    """A client may not say who it is where the server has said it."""
    provider = Scripted(["Ja.", "Nein."])
    settings: dict[str, Any] = {"system": "Speak {{language}} to {{user}}.", "variables": {"user": "Ada"}}
    with serving(provider=provider, **settings) as relay, Client(relay) as client:
        client.say("Hi", variables={"language": "German", "user": "root"})
        assert "'user' is set by the server" in client.next()["error"]
        client.say("Hi", variables={"language": "German"})
        client.until("done")
        client.say("Hi")
        assert "language" in client.next()["error"]
    assert provider.requests[0].messages[0].text == "Speak German to Ada."


def test_texts_that_came_together_are_said_together_and_none_waits_for_what_has_not_come():
    """Each is a message of its own all the same; what stands between the provider and the loop turns it off."""
    told: list[tuple[str, ...]] = []
    gate = threading.Event()
    with OpenAIServer(["a", "b", "c", gate, "d"]) as server:
        provider = promptstream.providers.Compatible(base_url=server.url, model="toy-1")
        for layers in ([], [lambda request, call_next: call_next(request)]):
            gate.clear()
            stream = promptstream.chat(provider=provider, middleware=layers).stream("Hi")
            batch = Batch(lambda *events: told.append(events), lambda: None)
            stream.when_drained(batch.drained)
            for chunk in stream:
                batch.add(chunk.text, chunk.type is ChunkType.TEXT)
                if chunk.text == "c":
                    opener = threading.Timer(0.02, gate.set)
                    opener.start()
            assert "".join(text for each in told for text in each) == "abcd"
            assert ("c" in [each[-1] for each in told]) or layers
            assert not layers or max(map(len, told)) == 1
            told.clear()
            opener.join()
        provider.close()


# Decisions


def test_a_call_that_waits_is_asked_about_and_approved():
    """After the turn's done, an approval event; then the relay goes on by itself."""
    with serving([ROOMS], "Booked.", tools=[book]) as relay, Client(relay) as client:
        client.say("Room 7, please")
        events = client.until("approval")
        assert kinds(events) == ["tool_call", "done", "approval"]
        assert events[1]["final"]["tool_calls"][0]["id"] == "call-1"
        asked = events[2]
        assert (asked["decision"], asked["tool_call"]["arguments"]) == ("approve", {"room": 7})
        client.do("approve", call_id="call-1", arguments={"room": 9})
        events = client.until("done")
    assert (kinds(events), events[0]["content"]) == (["tool_result", "content", "done"], "room 9 is yours")


def test_a_call_may_be_rejected_and_the_model_is_told_why():
    """It goes on with the refusal as the call's result."""
    provider = Scripted([[ROOMS], "As you like."])
    with serving(provider=provider, tools=[book]) as relay, Client(relay) as client:
        client.say("Room 7, please")
        client.until("approval")
        client.do("reject", call_id="call-1", reason="too dear")
        assert client.until("done")[-1]["final"]["content"] == "As you like."
    result = provider.requests[-1].messages[-1].parts[0]
    assert (result.content, result.error) == ("rejected: too dear", True)


def test_a_tool_of_the_clients_own_is_answered_by_its_result():
    """The event says that a result is wanted; one request carries those of all calls."""
    provider = Scripted([[ROOMS, WEATHER], "Booked; it rains."])
    with serving(provider=provider, tools=[book, ASKED]) as relay, Client(relay) as client:
        client.say("Room 7, and the weather")
        client.until("done")
        assert [client.next()["decision"], client.next()["decision"]] == ["approve", "result"]
        client.do("approve", call_id="call-1")
        client.do("tool_result", call_id="call-2", result={"sky": "rain"})
        assert client.until("done")[-1]["final"]["content"] == "Booked; it rains."
    assert len(provider.requests) == 2
    assert provider.requests[-1].messages[-1].parts[1].content == '{"sky":"rain"}'


def test_a_call_that_is_decided_cannot_be_decided_again():
    """Nothing runs twice."""
    with serving([ROOMS], "Booked.", tools=[book]) as relay, Client(relay) as client:
        client.say("Room 7, please")
        client.until("approval")
        client.do("approve", call_id="call-1")
        client.until("done")
        client.do("approve", call_id="call-1")
        assert "pending" in client.next()["error"]


def test_refusals_speak_of_actions_and_not_of_methods():
    """Who has a WebSocket has no ``approve(id)``."""
    with serving([ROOMS, WEATHER], "Done.", tools=[book, ASKED]) as relay, Client(relay) as client:
        client.say("Room 7, and the weather?")
        client.until("done")
        client.next()
        client.next()
        client.say("Well?")
        assert client.next()["error"] == (
            "These calls wait for a decision: 'call-1' (book), 'call-2' (weather). "
            "Send approve, reject or tool_result for each."
        )
        client.do("approve", call_id="call-2")
        assert "tool_result" in client.next()["error"]


def test_a_call_whose_tool_is_gone_wants_a_result(tmp_path: Path):
    """Nobody could approve it any more."""
    store = str(tmp_path / "kept.db")
    with serving([ROOMS], tools=[book], store=store) as relay, Client(relay) as client:
        client.say("Room 7")
        assert client.until("approval")[-1]["decision"] == "approve"
    with serving("Booked.", store=store) as relay, Client(relay) as back:
        back.do("resume", conversation_id=client.id)
        assert back.until("approval")[-1]["decision"] == "result"
        back.do("tool_result", call_id="call-1", result="yours")
        assert back.until("done")[-1]["final"]["content"] == "Booked."


def test_arguments_that_the_tool_does_not_take_decide_nothing():
    """The call still waits."""
    with serving([ROOMS], "Booked.", tools=[book]) as relay, Client(relay) as client:
        client.say("Room 7, please")
        client.until("approval")
        client.do("approve", call_id="call-1", arguments={"room": "seven"})
        assert client.next()["type"] == "error"
        client.do("approve", call_id="call-1")
        assert client.until("done")[-1]["final"]["content"] == "Booked."


# Coming back


def test_who_comes_back_sees_the_history_and_goes_on():
    """Thoughts, calls and results are in it as a client shows them."""
    script = [[Chunk(ChunkType.REASONING, reasoning="Rooms."), "Well: ", ROOMS], "Booked.", "Welcome back."]
    with serving(*script, tools=[book]) as relay:
        with Client(relay) as client:
            client.say("Room 7, please")
            client.until("approval")
            client.do("approve", call_id="call-1")
            client.until("done")
        with Client(relay) as back:
            back.do("resume", conversation_id=client.id)
            greeting = back.next()
            assert back.answer("Hi again") == "Welcome back."
    call = {"id": "call-1", "name": "book", "arguments": {"room": 7}}
    result = {"role": "tool", "content": "room 7 is yours", "tool_call_id": "call-1", "name": "book", "error": False}
    assert greeting["conversation_id"] == client.id
    assert [{key: value for key, value in each.items() if key != "finish_reason"} for each in greeting["messages"]] == [
        {"role": "user", "content": "Room 7, please"},
        {"role": "assistant", "content": "Well: ", "reasoning": "Rooms.", "tool_calls": [call]},
        result,
        {"role": "assistant", "content": "Booked."},
    ]


def test_who_left_in_the_middle_finds_the_partial_answer():
    """Leaving stops the provider and keeps what had come."""
    with serving(["Once upon", LONG], "a time.") as relay:
        with Client(relay) as client:
            client.say("A story")
            assert client.next()["content"] == "Once upon"
        with Client(relay) as back:
            back.do("resume", conversation_id=client.id)
            messages = back.next()["messages"]
            assert [each["content"] for each in messages] == ["A story", "Once upon"]
            assert messages[-1]["finish_reason"] == "cancelled"
            assert back.answer("Go on") == "a time."


def test_calls_that_waited_are_asked_about_again():
    """Also by another relay on the same store, after a restart."""
    store = MemoryStore()
    with serving([ROOMS], tools=[book], store=store) as relay, Client(relay) as client:
        client.say("Room 7, please")
        client.until("approval")
    with serving("Booked.", tools=[book], store=store) as relay, Client(relay) as back:
        back.do("resume", conversation_id=client.id)
        assert kinds([back.next(), back.next()]) == ["conversation", "approval"]
        back.do("approve", call_id="call-1")
        assert back.until("done")[-1]["final"]["content"] == "Booked."


def test_calls_that_were_all_decided_when_the_client_left_are_gone_on_with():
    """Nobody is asked twice, and nobody waits for ever."""
    store = MemoryStore()
    with serving([ROOMS], tools=[book], store=store) as relay, Client(relay) as client:
        client.say("Room 7, please")
        client.until("approval")
    with promptstream.resume(client.id, provider=Scripted(), tools=[book], store=store) as conv:
        conv.approve("call-1")
    with serving("Booked.", tools=[book], store=store) as relay, Client(relay) as back:
        back.do("resume", conversation_id=client.id)
        assert kinds(back.until("done")) == ["conversation", "tool_result", "content", "done"]


def test_a_file_keeps_conversations_over_a_restart(tmp_path: Path):
    """The id is all that a client has to keep."""
    store = str(tmp_path / "kept.db")
    with serving("Hi Ada.", store=store) as relay, Client(relay) as client:
        client.answer("I am Ada.")
    with serving("Ada.", store=store) as relay, Client(relay) as back:
        back.do("resume", conversation_id=client.id)
        assert [each["content"] for each in back.next()["messages"]] == ["I am Ada.", "Hi Ada."]
        assert back.answer("Who am I?") == "Ada."


def test_two_connections_may_have_one_conversation_in_turns():
    """Each sees what the other's turns have added, and none runs while the other's does."""
    gate = threading.Event()
    with OpenAIServer("One.", ["Two", gate, "."], "Three.") as server:
        provider = promptstream.providers.Compatible(base_url=server.url, model="toy-1")
        with provider, serving(provider=provider) as relay, Client(relay) as one:
            assert one.answer("1") == "One."
            with Client(relay) as other:
                other.do("resume", conversation_id=one.id)
                other.next()
                other.say("2")
                assert other.next()["content"] == "Two"
                one.say("Me too")
                assert "running" in one.next()["error"]
                gate.set()
                other.until("done")
                assert one.answer("3") == "Three."
        said = [each["content"] for each in server.requests[-1]["messages"]]
        assert said == ["1", "One.", "2", "Two.", "3"]


# The relay itself


def test_an_opener_of_ones_own_opens_every_conversation():
    """It is given the id, so that conversations can be kept, and told apart."""
    store, opened = MemoryStore(), []
    provider = Scripted(["Hi.", "Again."])

    def opener(id: str) -> promptstream.Conversation:
        opened.append(id)
        return promptstream.chat("Be brief.", provider=provider, store=store, conversation_id=id)

    with serving(opener=opener, store=store) as relay:
        with Client(relay) as client:
            assert client.answer("Hi") == "Hi."
        with Client(relay) as back:
            back.do("resume", conversation_id=client.id)
            assert len(back.next()["messages"]) == 2
    assert opened[0] == opened[-1] == client.id


def test_an_opener_that_gives_another_conversation_is_found_out():
    """The client is told, and sent away."""
    with (
        serving(opener=lambda id: promptstream.chat(provider=Scripted())) as relay,
        Client(relay, greeted=False) as client,
    ):
        event = client.next()
        assert (event["action"], "another id" in event["error"]) == ("connect", True)
        wait_until(lambda: client.socket.close_code == 1011)


class Failing(MemoryStore):
    """A store on a disk that fails when it is told to."""

    fails = False

    def revision(self, id: str) -> int:
        """Fail, or give it."""
        if self.fails:
            raise errors.StateError("The store '/secret/kept.db' could not be used: disk I/O error.")
        return super().revision(id)


def test_a_store_that_fails_is_told_without_its_path(caplog: pytest.LogCaptureFixture):
    """With code 1011 to who connects, status 503 to who posts, and a line in the log."""
    store = Failing()
    with serving("Hi.", "Again.", store=store) as relay, Client(relay) as client:
        assert client.answer("Hi") == "Hi."
        store.fails = True
        with Client(relay, greeted=False) as other:
            assert other.next()["error"].startswith("The relay cannot keep conversations at the moment")
            wait_until(lambda: other.socket.close_code == 1011)
        answer = requests.post(relay.url + "chat", data='{"message": "Hi"}', timeout=PATIENCE)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        client.say("Again")
        event = client.next()
        assert (event["action"], "secret" in event["error"]) == ("send_message", False)
        store.fails = False
        assert client.answer("Again") == "Again."
    lines = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(lines) == 3
    assert all("StoreFailed: The store '/secret/kept.db'" in line and "\n" not in line for line in lines)


def test_a_packs_prompt_and_its_provider_count(tmp_path: Path):
    """The pack is loaded once; a client is told nothing of its system prompt."""
    pack = {
        "prompts": {"greet": {"system_template": "Greet {{name}}.", "variables": [{"name": "name", "required": True}]}}
    }
    path = tmp_path / "greet.pack.json"
    path.write_text(json.dumps(pack))
    provider = Scripted(["Hello Ada."])
    with serving(provider=provider, pack=str(path), variables={"name": "Ada"}) as relay, Client(relay) as client:
        assert client.answer("Hi") == "Hello Ada."
        assert "Greet" not in json.dumps(client.greeting)
    assert provider.requests[0].messages[0].text == "Greet Ada."


def test_closing_ends_streams_and_says_farewell():
    """Code 1001; the provider is hung up on, and no thread is left."""
    with OpenAIServer(["Once", threading.Event()]) as server:
        provider = promptstream.providers.Compatible(base_url=server.url, model="toy-1")
        with provider, serving(provider=provider) as relay, Client(relay) as client:
            client.say("Hi")
            assert client.next()["content"] == "Once"
            relay.close()
            assert client.next()["type"] == "error"
            wait_until(lambda: client.socket.close_code)
            assert client.socket.close_code == 1001
            assert server.hung_up.wait(5)
            relay.close()


def test_a_tool_may_close_the_relay(monkeypatch: pytest.MonkeyPatch):
    """Whoever calls it from a turn waits for all others; nothing is left."""
    monkeypatch.setattr("promptstream.web.relay._LEAVING", 0.05)
    closed = threading.Event()

    @promptstream.tool
    def stop() -> str:
        """Stop the relay."""
        relay.close()
        closed.set()
        return "stopped"

    with serving([ToolCall("call-1", "stop", {})], "Bye.", tools=[stop]) as relay, Client(relay) as client:
        client.say("Stop")
        assert closed.wait(PATIENCE)
        wait_until(lambda: client.socket.close_code == 1001)


def test_code_in_a_turn_may_close_the_relay(monkeypatch: pytest.MonkeyPatch):
    """Also where it runs in the very thread that the turn does."""
    monkeypatch.setattr("promptstream.web.relay._LEAVING", 0.05)
    said: list[object] = []

    def closing(request: Any, call_next: Any) -> Any:
        said.append(relay.close())
        yield from call_next(request)

    with serving("Bye.", middleware=[closing]) as relay, Client(relay) as client:
        client.say("Stop")
        wait_until(lambda: said == [None])
        wait_until(lambda: client.socket.close_code == 1001)


def test_what_fails_while_it_closes_keeps_nothing_open(monkeypatch: pytest.MonkeyPatch):
    """The store is closed all the same; closing once more does nothing."""
    store = Failing()
    monkeypatch.setattr(Talk, "cancel", lambda *_: 1 / 0)
    provider = Scripted(["Hi."])
    closed: list[object] = []
    monkeypatch.setattr(Opening, "close", lambda _: closed.append(True))
    relay = Relay(provider=provider, store=store, port=0).start()
    with Client(relay):
        with pytest.raises(ZeroDivisionError):
            relay.close()
        assert closed == [True]
        relay.close()
    wait_until(lambda: relay.connections == 0)


def test_a_relay_can_be_closed_before_it_was_started_and_not_started_after():
    """Nothing listens until start."""
    relay = Relay(provider=Scripted(), port=0)
    assert relay.port == 0
    relay.close()
    with pytest.raises(errors.ConfigError, match="closed"):
        relay.start()


def test_relays_that_share_a_port_and_a_store_are_one_to_their_clients(tmp_path: Path):
    """Whichever of them a client comes to, it goes on with its conversation."""
    shared: dict[str, Any] = {"store": str(tmp_path / "kept.db"), "share_port": True}
    with serving("Hi Ada.", **shared) as one, Relay(provider=Scripted(["Ada."]), port=one.port, **shared) as other:
        with Client(one) as client:
            (first, second) = (one, other) if one.connections else (other, one)
            client.answer("I am Ada.")
        while True:
            with Client(one) as back:
                if second.connections:
                    back.do("resume", conversation_id=client.id)
                    assert len(back.next()["messages"]) == 2
                    break
        assert first is not second


def test_serve_forever_ends_when_another_thread_closes():
    """It blocks until then."""
    relay = Relay(provider=Scripted(), port=0)
    thread = threading.Thread(target=relay.serve_forever)
    thread.start()
    wait_until(lambda: relay.port)
    relay.close()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "0.0.0.0"}, "token="),
        ({"port": 70000}, "port=70000"),
        ({"max_connections": 0}, "max_connections=0"),
        ({"send_timeout": 0}, "send_timeout=0"),
        ({"origins": "https://a.example"}, "a list of origins"),
        ({"origins": ["a.example"]}, "is no origin"),
        ({"origins": ["https://*.example"]}, "list each of them"),
        ({"origins": ["https://bücher.example"]}, "xn--"),
        ({"token": " "}, "token="),
        ({"conversation_id": "x"}, "each connection"),
        ({"opener": lambda id: None}, "beside opener="),
        ({"share_port": True}, "give the store"),
        ({"tempreature": 1}, "temperature"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(settings, said):
    """Before anything listens."""
    with pytest.raises((errors.ConfigError, TypeError), match=said):
        Relay(**{"provider": Scripted(), **settings})


def test_a_port_that_is_taken_is_told():
    """The error names the address."""
    with serving() as relay, pytest.raises(errors.ConfigError, match=f"127.0.0.1:{relay.port}"):
        Relay(provider=Scripted(), port=relay.port).start()


def test_a_host_that_there_is_not_is_told(monkeypatch: pytest.MonkeyPatch):
    """In words, and not by a number."""

    def nobody(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    relay = Relay(provider=Scripted(), host="nosuch.invalid", port=0, insecure=True)
    with pytest.raises(errors.ConfigError, match=r"nosuch.invalid:0: there is no such host"):
        relay.start()


def test_a_missing_extra_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch):
    """Importing the module needs nothing."""
    monkeypatch.setitem(__import__("sys").modules, "websockets.server", None)
    with pytest.raises(errors.ConfigError, match=r"promptstream-sdk\[web\]"):
        Relay(provider=Scripted())


def test_neither_what_is_said_nor_a_token_is_logged(caplog: pytest.LogCaptureFixture):
    """At any level; the addresses of connections neither."""
    caplog.set_level(0)
    script = ["My secret answer.", [RuntimeError("My secret failure.")]]
    with serving(*script, token="my-secret-token") as relay:
        headers = {"Authorization": "Bearer my-secret-token"}
        with Client(relay, additional_headers=headers) as client:
            client.answer("My secret question.")
            client.say("My secret again.")
            client.until("error")
        assert "secret" not in repr(relay)
    assert "secret" not in "\n".join(each.getMessage() for each in caplog.records if each.name != "websockets.client")


def test_the_memory_of_a_relay_is_bounded():
    """Those said longest ago are forgotten first, by number and by size."""
    store = MemoryStore(2, 10_000)
    message = promptstream.Message("user", "x" * 100)
    for name in ("a", "b", "a", "c"):
        store.save(name, revision=store.revision(name), kept=0, added=[message], state={})
    assert [each.id for each in store.list()] == ["c", "a"]
    store.save("d", revision=0, kept=0, added=[promptstream.Message("user", "x" * 20_000)], state={})
    assert [each.id for each in store.list()] == ["d"]
    store.delete("d")
    assert store.list() == []
