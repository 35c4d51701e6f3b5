"""The contract on real sockets: framings, hang-ups, retries, and what a provider says by its status."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from playing import facts
from provider_server import FRAMINGS, Cut
from server import full, head
from wires import Wire
from wires.base import KEY, REQUEST_ID, dumps
from wires.script import Answer, Beat, Fail, Noise, Refusal, Sign, Think, Use

import promptstream
from promptstream import errors
from promptstream.values.chunk import ChunkType

FAST = promptstream.Retry(base=0.001)
ONCE = promptstream.Retry(1)
SUM = Use("call_1", "add", ('{"a":2,', '"b":3}'))
RICH = Answer([Think("Hm"), Think("m."), Sign("c2ln"), "Žluťoučký ", "🐎 kůň.", SUM], "tool_calls")
CLASSES = {
    "auth": errors.Authentication,
    "missing": errors.NotFound,
    "rate": errors.RateLimited,
    "server": errors.ServerError,
    "overloaded": errors.Overloaded,
    "context": errors.ContextTooLong,
}


def eventually(condition, seconds=5.0):
    """Tell whether *condition* comes true within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


# Framings


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing_carries_the_answer(wire: Wire, serve, framing):
    """Chunked, by length and by the connection's end: the answer and its request are the same."""
    server = serve(RICH, framing=framing)
    with server.provider() as provider:
        response = provider.send("2 and 3?")
    assert (response.text, response.finish_reason) == (RICH.text, "tool_calls")
    assert [call.arguments for call in response.tool_calls] == [{"a": 2, "b": 3}]
    assert response.provider == wire.name


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_event_is_handed_out_when_it_arrives(wire: Wire, serve, framing):
    """No reader waits for more than the event needs."""
    gate = threading.Event()
    server = serve(Answer(["Once", gate, " upon"]), framing=framing)
    with server.provider() as provider:
        for chunk in provider.stream("Hi"):
            if chunk.text == "Once":
                gate.set()
        assert chunk.done


def test_streaming_and_one_body_give_the_same(wire: Wire, serve):
    """The two ways to ask differ in how the answer arrives, not in what it is."""
    server = serve(RICH)
    with server.provider() as provider:
        streamed, whole = provider.send("2 and 3?"), provider.send("2 and 3?", streaming=False)
    assert [request.stream for request in server.asked] == [True, False]
    assert facts(streamed) == facts(whole)
    assert streamed.request_id == whole.request_id


def test_one_body_in_answer_to_a_streaming_request_is_an_answer(wire: Wire, serve):
    """Some servers ignore that a stream was asked for."""
    with serve(Answer(["Once", " upon"], whole=True)).provider() as provider:
        chunks = list(provider.stream("Hi"))
    assert "".join(map(str, chunks)) == "Once upon"
    assert (chunks[-1].done, chunks[-1].finish_reason) == (True, "stop")


def test_a_connection_serves_the_next_request(wire: Wire, serve):
    """After a whole answer it goes back to the pool."""
    server = serve("Hi")
    with server.provider() as provider:
        assert [provider.send("Hi").text for _ in range(3)] == ["Hi"] * 3
        assert [provider.send("Hi", streaming=False).text for _ in range(2)] == ["Hi"] * 2
    assert len(server.connections) == 1


def test_the_models_are_listed(wire: Wire, serve):
    """models() gives the ids as they are asked for."""
    with serve().provider() as provider:
        assert [model.id for model in provider.models()] == ["alpha", "beta"]


# Leaving


def test_leaving_the_loop_hangs_up(wire: Wire, serve):
    """break alone, with the garbage collector off."""
    server = serve(Answer(["Once", threading.Event()]))
    gc.disable()
    try:
        with server.provider() as provider:
            for _ in provider.stream("Hi"):
                break
            assert server.hung_up.wait(5)
    finally:
        gc.enable()


@pytest.mark.parametrize("begun", [False, True], ids=["before the first event", "in the answer"])
def test_cancel_from_another_thread_reaches_a_blocked_read(wire: Wire, serve, begun):
    """It ends in Cancelled, never as a whole answer, and keeps the text."""
    server = serve(Answer([*(["Once"] if begun else []), threading.Event()]))
    with server.provider() as provider:
        stream = provider.stream("Hi")

        def stop():
            server.wait_for_request()
            eventually(lambda: stream.text or not begun)
            stream.cancel("enough")

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises(errors.Cancelled) as caught:
            stream.result()
        thread.join()
    assert caught.value.response.text == ("Once" if begun else "")
    assert caught.value.response.finish_reason == "cancelled"
    assert server.hung_up.wait(5)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_cut_connection_is_truncated_with_its_text(wire: Wire, serve, framing):
    """Cleanly ended or torn, before the finish signal it is never whole, and never sent again."""
    written = wire.stream(RICH)
    for how in ("clean", "close"):
        server = serve(Cut(RICH, written.signal - 1, how), framing=framing)
        with server.provider(retry=FAST) as provider, pytest.raises(errors.Truncated) as caught:
            provider.send("2 and 3?")
        assert caught.value.response.text == RICH.text
        assert len(server.asked) == 1


def test_a_cut_after_the_finish_signal_is_whole(wire: Wire, serve):
    """The connection may break then; it is a warning at most."""
    written = wire.stream(RICH)
    with serve(Cut(RICH, written.signal, "close")).provider() as provider:
        response = provider.send("2 and 3?")
    assert (response.text, response.finish_reason, response.complete) == (RICH.text, "tool_calls", True)


def test_keepalives_feed_no_clock(wire: Wire, serve):
    """Whoever only says that it lives is waited for as long as whoever says nothing."""
    stop = threading.Event()

    def beat(conn, request):
        conn.send(head(content_type=wire.stream_type, Connection="close"))
        conn.send(*[each for each in wire.stream(Answer(["Once"], None)).events if isinstance(each, bytes)])
        beats = wire.stream(Answer([Beat()], None)).body
        while not stop.wait(0.02):
            conn.send(beats)

    with serve(beat).provider(timeout=promptstream.Timeout(idle=0.15)) as provider:
        with pytest.raises(errors.IdleTimeout) as caught:
            provider.send("Hi")
        stop.set()
    assert caught.value.response.text == "Once"


# What the provider says


@pytest.mark.parametrize("kind", CLASSES)
def test_a_status_is_the_same_class_everywhere(wire: Wire, serve, kind):
    """401, 404, 429, 500, 503 and too long a prompt; with status, provider and the provider's own words."""
    refusal = wire.refusal(kind)
    with serve(refusal).provider(retry=ONCE) as provider, pytest.raises(errors.ProviderError) as caught:
        provider.send("Hi")
    error = caught.value
    assert type(error) is CLASSES[kind]
    assert (error.status, error.provider, error.phase) == (refusal.status, wire.name, "headers")
    assert error.retryable == (kind in ("rate", "server", "overloaded"))
    assert error.model == wire.model
    words = refusal.body["error"]
    assert (words if isinstance(words, str) else words["message"]).rstrip(".") in str(error)


@pytest.mark.parametrize("kind", ["rate", "server", "overloaded"])
def test_a_passing_fault_is_tried_again(wire: Wire, serve, kind):
    """And what comes then is the answer alone."""
    server = serve(wire.refusal(kind), "Hello.")
    with server.provider(retry=FAST) as provider:
        response = provider.send("Hi")
    assert (response.text, len(server.asked)) == ("Hello.", 2)


@pytest.mark.parametrize("kind", ["auth", "missing", "context"])
def test_a_lasting_fault_is_not_tried_again(wire: Wire, serve, kind):
    """It would only fail again."""
    server = serve(wire.refusal(kind), "Hello.")
    with server.provider(retry=FAST) as provider, pytest.raises(CLASSES[kind]):
        provider.send("Hi")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 409, 413, 422, 402, 403, 502, 504, 529])
def test_other_statuses_are_the_same_class_everywhere(wire: Wire, serve, status):
    """Also with a body that says nothing."""
    cls = {
        402: errors.QuotaExceeded,
        403: errors.PermissionDenied,
        413: errors.InvalidRequest,
        422: errors.InvalidRequest,
        529: errors.Overloaded,
    }.get(status, errors.ServerError)
    with serve(Refusal(status, {})).provider(retry=ONCE) as provider, pytest.raises(cls) as caught:
        provider.send("Hi")
    assert type(caught.value) is cls
    assert caught.value.retryable == (cls in (errors.ServerError, errors.Overloaded))


@pytest.mark.parametrize("kind", ["rate", "server", "overloaded"])
def test_an_error_as_the_first_event_is_tried_again(wire: Wire, serve, kind):
    """Nothing was handed out yet, whatever signs of life came before."""
    server = serve(Answer([Beat(), Fail(kind)]), "Hello.")
    with server.provider(retry=FAST) as provider:
        response = provider.send("Hi")
    assert (response.text, len(server.asked)) == ("Hello.", 2)


def test_an_error_in_the_middle_is_never_tried_again(wire: Wire, serve):
    """What was handed out cannot be taken back."""
    server = serve(Answer(["Once", Fail("overloaded")]), "Hello.")
    with server.provider(retry=FAST) as provider, pytest.raises(errors.Overloaded) as caught:
        provider.send("Hi")
    assert (caught.value.response.text, len(server.asked)) == ("Once", 1)


def test_a_failed_turn_leaves_the_history_as_it_was(wire: Wire, serve):
    """After an error in the middle the next turn is asked as if it had not been."""
    server = serve(Answer(["Once", Fail("server")]), "Hello.")
    with server.provider() as provider, promptstream.chat(provider=provider) as conv:
        with pytest.raises(errors.ServerError):
            conv.send("Begin")
        assert conv.messages == []
        assert conv.send("Hi").text == "Hello."
    assert [turn.text for turn in server.asked[-1].turns] == ["Hi"]


def test_the_wait_that_the_provider_asks_for_is_waited(wire: Wire, serve):
    """In a header or in the body, as the protocol says it."""
    server = serve(wire.refusal("rate", hint=0.12), "Hello.")
    waits = []
    retry = promptstream.Retry(base=0.0, on_retry=lambda error, delay: waits.append(delay))
    with server.provider(retry=retry) as provider:
        assert provider.send("Hi").text == "Hello."
    assert waits == [pytest.approx(0.12)]


def test_a_wait_that_is_too_long_is_raised_at_once(wire: Wire, serve):
    """With how long it would have been."""
    server = serve(wire.refusal("rate", hint=3600))
    with server.provider(retry=FAST) as provider, pytest.raises(errors.RateLimited) as caught:
        provider.send("Hi")
    assert (caught.value.retry_after, len(server.asked)) == (3600, 1)


def test_the_name_of_the_request_is_kept(wire: Wire, serve):
    """On the answer, and on the error, wherever the protocol says it."""
    server = serve("Hello.", wire.refusal("auth"))
    with server.provider(retry=ONCE) as provider:
        response = provider.send("Hi")
        with pytest.raises(errors.Authentication) as caught:
            provider.send("Hi")
    if not wire.has("request_id"):
        assert (response.request_id, caught.value.request_id) == (None, None), wire.lacks["request_id"]
        return
    assert response.request_id == REQUEST_ID
    assert caught.value.request_id == (REQUEST_ID if wire.id_header else None)


def _quoting(said):
    """Give an error object whose words quote the key."""
    if isinstance(said["error"], str):
        return {"error": f"bad key {KEY}"}
    return said | {"error": said["error"] | {"message": f"bad key {KEY}"}}


def test_the_key_is_in_no_error(wire: Wire, serve):
    """Nor where the provider quotes it: in the text, the repr, the event and the traceback's own words."""
    import traceback

    for answer in (
        Refusal(401, _quoting(wire.said("auth"))),
        Refusal(500, f"oops {KEY}"),
        full("200 OK", dumps(_quoting(wire.said("auth")))),
        full(f"401 {KEY}", b""),
    ):
        with serve(answer).provider(retry=ONCE) as provider, pytest.raises(errors.StreamError) as caught:
            provider.send("Hi")
        error = caught.value
        told = str(error) + repr(error) + str(error.to_event()) + repr(vars(error))
        assert KEY not in told + "".join(traceback.format_exception(error))


# What is no answer


@pytest.mark.parametrize("status", ["200 OK", "502 Bad Gateway"])
def test_a_page_is_not_an_answer(wire: Wire, serve, status):
    """HTML comes from what stands in between; none of it is shown as the provider's words."""
    page = full(status, "<html><body><h1>Bad gateway</h1></body></html>", "text/html; charset=utf-8")
    with serve(page).provider(retry=ONCE) as provider, pytest.raises(errors.StreamError) as caught:
        provider.send("Hi")
    assert isinstance(caught.value, errors.ProtocolError if status.startswith("200") else errors.ServerError)
    assert "<h1>" not in str(caught.value)


@pytest.mark.parametrize("kind", ["stream", "application/json", None])
def test_an_empty_body_is_not_an_answer(wire: Wire, serve, kind):
    """Whatever it calls itself."""
    answer = full("200 OK", b"", wire.stream_type if kind == "stream" else kind)
    for streaming in (True, False):
        with serve(answer).provider(retry=ONCE) as provider, pytest.raises(errors.StreamError):
            provider.send("Hi", streaming=streaming)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b"7", b'"Hello"', b"Hello", b"{", b"[[[[[[", b'{"a":'])
def test_json_that_is_no_answer_is_told(wire: Wire, serve, body):
    """Nothing but an answer counts as one."""
    server = serve(full("200 OK", body), full("200 OK", body, wire.stream_type))
    with server.provider(retry=ONCE) as provider:
        for _ in range(2):
            with pytest.raises(errors.StreamError) as caught:
                provider.send("Hi")
            assert isinstance(caught.value, (errors.ProtocolError, errors.Truncated, errors.LimitExceeded))


def test_only_noise_is_not_an_answer(wire: Wire, serve):
    """A stream of unknown events that ends is cut."""
    server = serve(Answer([Noise("event"), Beat()], None))
    with server.provider(retry=ONCE) as provider, pytest.raises(errors.Truncated):
        provider.send("Hi")


def test_a_redirect_is_not_followed(wire: Wire, serve):
    """It would hand the key and the prompt to somebody else."""
    server = serve(head("307 Temporary Redirect", Location="http://elsewhere.invalid/", Content_Length="0"))
    with server.provider(retry=ONCE) as provider, pytest.raises(errors.ProtocolError, match=r"elsewhere\.invalid"):
        provider.send("Hi")
    assert len(server.asked) == 1


def test_an_error_may_end_the_loop_as_a_chunk(wire: Wire, serve):
    """on_error="chunk" gives one ERROR chunk, with what came."""
    with serve(Answer(["Once", Fail("overloaded")])).provider() as provider:
        chunks = list(provider.stream("Hi", on_error="chunk"))
    assert [chunk.type for chunk in chunks] == [ChunkType.TEXT, ChunkType.ERROR]
    assert isinstance(chunks[-1].error, errors.Overloaded)
