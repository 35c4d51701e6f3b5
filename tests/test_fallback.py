"""fallback=[…]: who is asked next, when, and what is told of it."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from openai_server import Answer, OpenAIServer

import promptstream
from promptstream import ChunkType, Image, Provider, Timeout
from promptstream.errors import (
    Authentication,
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    MissingKey,
    Overloaded,
    ProviderNotFound,
    StreamError,
    Truncated,
    Unsupported,
)
from promptstream.providers import Compatible, OpenAI, Scripted
from promptstream.providers.scripted import ScriptedDialect
from promptstream.values.chunk import Chunk, Finish
from promptstream.values.usage import Usage


def text_chunks(stream) -> list[tuple[str, str | None]]:
    """Give the text and the model of each TEXT chunk."""
    return [(chunk.text, chunk.model) for chunk in stream if chunk.type is ChunkType.TEXT]


def test_the_second_provider_answers_where_the_first_fails_before_its_first_chunk():
    """The answer is the second one's, with its name and model, and the reason is a warning."""
    first = Scripted([[Overloaded("too busy")]], model="one")
    second = Scripted(["Hello"], model="two")
    with promptstream.chat(provider=first, fallback=[second]) as conv:
        stream = conv.stream("Hi")
        assert text_chunks(stream) == [("Hello", "two")]
        response = stream.response
    assert (response.provider, response.model, response.complete) == ("scripted", "two", True)
    assert response.warnings == ("scripted did not answer, so scripted was asked: too busy",)
    assert second.requests[0].model == "two"
    assert [message.text for message in second.requests[0].messages] == ["Hi"]


def test_nobody_else_is_asked_once_a_chunk_was_handed_out():
    """An answer that had begun is never spliced with another's."""
    second = Scripted(["Hello"])
    with (
        promptstream.chat(provider=Scripted([["Half", Truncated("cut")]]), fallback=[second]) as conv,
        pytest.raises(Truncated) as caught,
    ):
        conv.send("Hi")
    assert caught.value.response.text == "Half"
    assert second.requests == []


def test_a_thought_handed_out_counts_as_a_chunk():
    """A chunk of reasoning was seen, so the next provider is not asked."""
    second = Scripted(["Hello"])
    thought = Chunk(ChunkType.REASONING, reasoning="Hm")
    with (
        promptstream.chat(provider=Scripted([[thought, Overloaded("busy")]]), fallback=[second]) as conv,
        pytest.raises(Overloaded),
    ):
        conv.send("Hi")
    assert second.requests == []


def test_what_the_failed_attempt_told_does_not_stay():
    """Usage, finish reason and id of the one who failed are not the answer's."""
    told = Finish(reason="length", usage_seen=Usage(5, 5), request_id="old")
    first = Scripted([[told, Overloaded("busy")]])
    with promptstream.chat(provider=first, fallback=[Scripted(["Hello"])]) as conv:
        response = conv.send("Hi")
    assert (response.finish_reason, response.usage, response.request_id) == ("stop", Usage(), None)


def test_each_of_several_is_asked_in_turn_and_the_last_one_decides():
    """All reasons are kept; the error is the last one's."""
    routes = [Scripted([[Overloaded(word)]]) for word in ("one", "two", "three")]
    with (
        promptstream.chat(provider=routes[0], fallback=routes[1:]) as conv,
        pytest.raises(Overloaded, match="three") as caught,
    ):
        conv.send("Hi")
    assert [warning.rpartition(": ")[2] for warning in caught.value.response.warnings] == ["one", "two"]
    assert conv.messages == []


def test_the_next_turn_begins_with_the_first_provider_again():
    """A fallback holds for one turn."""
    first = Scripted([[Overloaded("busy")], "I am back"])
    with promptstream.chat(provider=first, fallback=[Scripted(["Hello"])]) as conv:
        conv.send("Hi")
        assert conv.send("Again").text == "I am back"
    assert [message.text for message in first.requests[1].messages] == ["Hi", "Hello", "Again"]


def test_a_provider_that_lacks_what_is_asked_for_is_passed_over():
    """An image goes to the first provider that takes images."""

    class Blind(ScriptedDialect):
        capabilities = frozenset({"streaming"})

    second = Scripted(["I see"])
    with promptstream.chat(provider=Provider(Blind()), fallback=[second]) as conv:
        response = conv.send("Look", attachments=[Image(data=b"\x89PNG\r\n\x1a\n")])
    assert response.text == "I see"
    assert "images" in response.warnings[0]
    with promptstream.chat(provider=Provider(Blind())) as conv, pytest.raises(Unsupported):
        conv.stream("Look", attachments=[Image(data=b"\x89PNG\r\n\x1a\n")])


def test_the_cost_is_that_of_the_one_who_answers():
    """Free does not stay free where a paid provider answers, nor the other way round."""
    with OpenAIServer("Hello") as server:
        paid = Compatible(server.url, model="m")
        with promptstream.chat(provider=Scripted([[Overloaded("busy")]]), fallback=[paid]) as conv:
            assert conv.send("Hi").cost is None
        broken = Compatible("http://127.0.0.1:9/v1", model="m", retry=promptstream.Retry(attempts=1))
        with promptstream.chat(provider=broken, fallback=[Scripted(["Hi"])]) as conv:
            response = conv.send("Hi")
    assert (response.cost, response.text) == (Decimal(0), "Hi")
    assert "compatible did not answer" in response.warnings[0]


def test_a_refused_key_and_a_dead_server_are_passed_over_on_the_wire():
    """401 and a refused connection are both reasons to ask the next."""
    with OpenAIServer(Answer("no such key", status=401)) as denied, OpenAIServer("Hello") as server:
        first = OpenAI(api_key="sk-1", base_url=denied.url)
        dead = Compatible("http://127.0.0.1:9/v1", model="m", retry=promptstream.Retry(attempts=1))
        third = Compatible(server.url, model="third")
        with promptstream.chat(provider=first, model="gpt-4o", fallback=[dead, third]) as conv:
            response = conv.send("Hi")
    assert response.text == "Hello"
    assert response.provider == "compatible"
    assert server.requests[0]["model"] == "third"
    assert [warning.partition(" ")[0] for warning in response.warnings] == ["openai", "compatible"]


def test_a_first_chunk_that_is_late_is_a_reason_to_ask_the_next():
    """The clock of the first event is a bound on one provider, not on the turn."""
    with OpenAIServer([threading.Event(), "never"]) as slow:
        first = Compatible(slow.url, model="m")
        with promptstream.chat(provider=first, timeout=Timeout(first=0.05), fallback=[Scripted(["Hello"])]) as conv:
            response = conv.send("Hi")
    assert response.text == "Hello"
    assert "Timeout.first" in response.warnings[0]


def test_the_total_clock_and_a_cancel_end_the_turn_for_all():
    """Nobody is asked once the time is up or the user has had enough."""
    for stop, error in ((DeadlineExceeded("late"), DeadlineExceeded), (Cancelled("no"), Cancelled)):
        second = Scripted(["Hello"])
        with promptstream.chat(provider=Scripted([[stop]]), fallback=[second]) as conv, pytest.raises(error):
            conv.send("Hi")
        assert second.requests == []


def test_a_cancel_from_another_thread_reaches_the_fallback_too():
    """The token holds for whichever provider is asked."""
    token = promptstream.CancelToken()
    first, second = Scripted([[Overloaded("busy")]]), Scripted([[30.0, "never"]])
    with promptstream.chat(provider=first, fallback=[second]) as conv:
        timer = threading.Timer(0.03, token.cancel)
        timer.start()
        with pytest.raises(Cancelled):
            conv.send("Hi", cancel=token)
        timer.join()


def test_the_attempts_of_one_provider_do_not_use_up_those_of_the_next():
    """Each may be tried as often as retry says; the error counts them all."""
    with OpenAIServer(Answer("busy", status=503)) as one, OpenAIServer(Answer("busy", status=503)) as two:
        retry = promptstream.Retry(attempts=2, base=0.001)
        routes = [Compatible(server.url, model="m", retry=retry) for server in (one, two)]
        with promptstream.chat(provider=routes[0], fallback=routes[1:]) as conv, pytest.raises(StreamError) as caught:
            conv.send("Hi")
        assert (len(one.requests), len(two.requests)) == (2, 2)
    assert caught.value.attempts == 4


def test_names_are_made_when_the_conversation_is_opened_and_closed_with_it(monkeypatch):
    """A fallback that cannot be had is told at once, and what was made is not left behind."""
    with pytest.raises(MissingKey, match="openai"):
        promptstream.chat(provider=Scripted(["x"]), fallback=["openai"])
    with pytest.raises(ProviderNotFound, match="opnai"):
        promptstream.chat(provider=Scripted(["x"]), fallback=["opnai"])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with OpenAIServer("Hello") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with promptstream.chat(provider=Scripted([[Authentication("no")]]), fallback=["openai"]) as conv:
            assert conv.send("Hi").text == "Hello"


@pytest.mark.parametrize("wrong", ["openai", 7, [7], [None]])
def test_what_is_no_list_of_providers_is_refused(wrong):
    """A single name is as wrong as a number: the text says what to give."""
    with pytest.raises(ConfigError, match="fallback"):
        promptstream.chat(provider=Scripted(["x"]), fallback=wrong)


def test_a_fork_keeps_the_fallback():
    """A fork goes on with the same settings."""
    second = Scripted(["one", "two"])
    first = Scripted([[Overloaded("busy")], [Overloaded("busy")]])
    with promptstream.chat(provider=first, fallback=[second]) as conv:
        conv.send("Hi")
        assert conv.fork().send("Again").text == "two"


def test_models_that_the_provider_cannot_choose_among_are_refused_at_once():
    """models=[…] is for who has it; the others are told of fallback=."""
    with pytest.raises(Unsupported, match="fallback="):
        promptstream.chat(provider=Scripted(["x"]), models=["a", "b"])
    with pytest.raises(TypeError, match="models"):
        promptstream.chat(provider=Scripted(["x"]), models="a")
