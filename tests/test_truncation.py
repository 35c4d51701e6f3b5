"""A loop that ends normally received everything; every turn has exactly one ending."""

from __future__ import annotations

import threading
from time import monotonic, sleep

import pytest
from server import (
    DONE,
    LAST_CHUNK,
    PIECES,
    TEXT,
    answer,
    chunked_head,
    each,
    error,
    event,
    failure,
    finish,
    framed,
    full,
    good,
    head,
    http_chunk,
    role,
    say,
    text,
    usage,
    whole,
)

import promptstream
from promptstream import errors
from promptstream.providers.compatible import CompatibleDialect
from promptstream.values.chunk import ChunkType, Finish
from promptstream.wire.events import iter_sse

BODY = b"".join(answer())
FINISH_WHOLE = BODY.index(finish()) + len(finish())
"""From this byte on the finish signal was sent whole, its blank line included."""
FINISH_JSON = FINISH_WHOLE - 2
"""From this byte on the finish signal is one whole JSON object, which counts where the body ends cleanly."""


def provider(server, **options):
    """Make a provider for *server* that tries once."""
    options.setdefault("retry", promptstream.Retry(0))
    options.setdefault("timeout", promptstream.Timeout(first=10, idle=10))
    return promptstream.providers.Compatible(server.url, api_key="sk-0123456789", **options)


def loop(stream):
    """Run a loop to its end and give its chunks and the error it ended in, or None."""
    chunks = []
    try:
        for chunk in stream:
            chunks.append(chunk)
    except promptstream.StreamError as error:
        return chunks, error
    return chunks, None


def spoken(chunks):
    """Join the chunks' text."""
    return "".join(map(str, chunks))


def streamed(*events, last=LAST_CHUNK):
    """Give a step that streams *events*, each in an HTTP chunk, and ends the message."""
    return say(chunked_head() + b"".join(map(http_chunk, events)) + last)


# Every cut


def cut_at_will(conn):
    """Cut the answer where the request says, framed as it says."""
    while True:
        framing, _, cut = conn.request().json["messages"][-1]["content"].partition(" ")
        part = BODY[: int(cut)]
        if framing == "close":
            conn.send(head(Connection="close") + part)
            return
        conn.send(chunked_head() + (http_chunk(part) if part else b""))
        if framing == "aborted":
            return
        conn.send(LAST_CHUNK)


@pytest.mark.parametrize("framing", ["close", "clean", "aborted"])
def test_an_answer_cut_at_any_byte_never_passes_for_whole(server, framing):
    """Cut at every byte, an answer is whole exactly if its finish signal was; the error carries what was yielded."""
    cutter = server(cut_at_will)
    wrong = []
    with provider(cutter) as asked:
        for cut in range(len(BODY) + 1):
            chunks, ended = loop(asked.stream(f"{framing} {cut}"))
            said = spoken(chunks)
            if cut >= FINISH_WHOLE or (cut >= FINISH_JSON and framing != "aborted"):
                right = ended is None and chunks[-1].done and chunks[-1].response.complete and said == TEXT
            elif cut >= FINISH_JSON and ended is None:
                right = said == TEXT
            else:
                kinds = (errors.Truncated, errors.ProtocolError) if cut == 0 else errors.Truncated
                right = isinstance(ended, kinds) and ended.response.text == said and not ended.response.complete
                right = right and TEXT.startswith(said) and ended.response.finish_reason is None
            if not right:
                wrong.append((cut, BODY[max(0, cut - 20) : cut], repr(ended), said))
    assert not wrong, f"{len(wrong)} cuts of {len(BODY)}: {wrong[:5]}"


@pytest.mark.parametrize("size", [1, 3, 4096])
def test_the_dialect_alone_sees_every_cut(size):
    """Fed with bytes cut at any place, in pieces of any size, the decoder gives a finish signal only if it came."""
    dialect = CompatibleDialect(base_url="http://127.0.0.1/v1")
    for cut in range(len(BODY) + 1):
        part = BODY[:cut]
        events = iter_sse([part[at : at + size] for at in range(0, cut, size)])
        chunks = list(dialect.decode(events))
        finished = any(isinstance(chunk, Finish) and chunk.reason for chunk in chunks)
        assert finished == (cut >= FINISH_JSON), cut
        assert TEXT.startswith(spoken(chunks))


@pytest.mark.parametrize("cut", range(1, len(BODY), 97))
def test_a_body_shorter_than_its_length_is_cut(server, cut):
    """A Content-Length that is not reached is an error before the finish signal and a warning after it."""
    short = server(
        each(
            lambda conn, request: (conn.send(full("200 OK", BODY, "text/event-stream")[: cut - len(BODY)]), conn.end())
        )
    )
    chunks, ended = loop(provider(short).stream("Hi"))
    if cut >= FINISH_WHOLE:
        assert ended is None
        assert chunks[-1].done
        done_at = BODY.index(DONE) + len(DONE)
        assert cut >= done_at or "After the finish signal" in chunks[-1].response.warnings[-1]
    else:
        assert isinstance(ended, errors.Truncated)
        assert ended.response.text == spoken(chunks)


def test_a_reset_in_the_middle_is_a_cut(server):
    """A connection torn down in mid-answer is Truncated and carries the text so far."""
    first = text("Once")

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(first))
        conn.wait(conn.server.release)
        conn.reset()

    torn = server(script)
    seen = []
    with pytest.raises(errors.Truncated) as caught:
        for chunk in provider(torn).stream("Hi"):
            seen.append(str(chunk))
            torn.release.set()
    assert seen == ["Once"]
    assert caught.value.response.text == "Once"
    assert not caught.value.response.complete


def test_a_cut_whole_answer_is_not_an_answer(server):
    """One JSON body that was cut, at its length or by a clean end, never passes for an answer."""
    body = whole()

    def script(conn):
        content = conn.request().json["messages"][-1]["content"]
        if content == "close":
            conn.send(head(content_type="application/json", Connection="close") + body[:-9])
        else:
            conn.send(full("200 OK", body)[:-9])

    cutter = server(script)
    for content in ("close", "length"):
        with pytest.raises((errors.Truncated, errors.ProtocolError)) as caught:
            provider(cutter).send(content, streaming=False)
        assert not caught.value.response.complete


# The finish rules


def test_a_terminator_without_a_reason_is_whole(server):
    """[DONE] after content, without a finish reason, is a whole answer whose reason is None, never an invented one."""
    plain = server(each(streamed(role(), text("Hello"), DONE)))
    response = provider(plain).send("Hi")
    assert response.complete
    assert response.finish_reason is None
    assert response.text == "Hello"


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_reason_without_a_terminator_is_whole(server, framing):
    """A finish reason, then the end of the body without [DONE], is a whole answer."""

    def script(conn):
        conn.request()
        conn.send(*framed([role(), text("Hello"), finish("length")], framing))

    response = provider(server(script)).send("Hi")
    assert response.complete
    assert (response.text, response.finish_reason) == ("Hello", "length")
    assert not response.warnings


def test_a_terminator_alone_is_no_answer(server):
    """[DONE] without anything before it is not complete."""
    empty = server(each(streamed(DONE)))
    with pytest.raises(promptstream.StreamError) as caught:
        provider(empty).send("Hi")
    assert not caught.value.response.complete


def test_a_terminator_as_an_unterminated_tail_counts(server):
    """[DONE] without its blank line, which some servers forget, is the terminator all the same."""
    tail = server(each(streamed(role(), text("Hello"), b"data: [DONE]")))
    assert provider(tail).send("Hi").complete


def test_an_unknown_reason_is_other(server):
    """A finish reason nobody knows is kept verbatim and never becomes stop."""
    strange = server(each(streamed(role(), text("Hello"), finish("elsewhere"), DONE)))
    response = provider(strange).send("Hi")
    assert (response.finish_reason, response.raw_finish_reason) == ("other", "elsewhere")


def test_an_answer_is_whole_at_its_terminator_although_the_connection_stays_open(server):
    """[DONE] ends the loop at once; the end of the body is not waited for."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(BODY))
        conn.wait_for_hang_up()

    def took():
        begun = monotonic()
        assert provider(server(script)).send("Hi").complete
        return monotonic() - begun

    assert min(took() for _ in range(3)) < 0.5


AFTER_FINISH = {
    "no last chunk": (b"", False),
    "reset": (b"", True),
    "a malformed chunk": (b"zzz\r\n", False),
    "a chunk longer than its length": (b"3\r\nabcd\r\n", False),
    "a trailer cut": (b"0\r\nX-Some: th", False),
}


@pytest.mark.parametrize("fault", AFTER_FINISH)
@pytest.mark.parametrize("apart", [True, False], ids=["apart", "in one piece"])
def test_a_transport_fault_after_the_finish_signal_is_a_warning(server, fault, apart):
    """Once the finish signal is here the answer is whole, whatever the transport does then: response.warnings tells."""
    rest, reset = AFTER_FINISH[fault]
    opening = chunked_head() + http_chunk(role() + text("Hello") + finish())

    def script(conn):
        conn.request()
        if apart:
            conn.send(opening)
            conn.wait(conn.server.release)
            conn.send(rest)
        else:
            conn.send(opening + rest)
        if reset and apart:
            conn.reset()

    faulty = server(script)
    stream = provider(faulty).stream("Hi")
    chunks = []
    for chunk in stream:
        chunks.append(chunk)
        faulty.release.set()
    assert [str(chunk) for chunk in chunks] == ["Hello", ""]
    assert chunks[-1].response.complete
    assert any("After the finish signal" in warning for warning in chunks[-1].response.warnings)


@pytest.mark.parametrize("rest", [b"zzz\r\n", b"3\r\nabcd\r\n"], ids=["malformed", "too long"])
def test_text_that_came_before_a_broken_chunk_is_handed_out(server, rest):
    """Nothing is lost: events that came whole are yielded even where the next bytes, of the same read, are broken."""
    broken = server(each(say(chunked_head() + http_chunk(role() + text("Hello")) + rest)))
    chunks, ended = loop(provider(broken).stream("Hi"))
    assert isinstance(ended, (errors.Truncated, errors.ProtocolError))
    assert spoken(chunks) == ended.response.text == "Hello"


def test_an_error_of_the_provider_after_the_finish_signal_is_an_error(server):
    """What the provider itself calls an error is one, also after a finish reason."""
    failing = server(each(streamed(role(), text("Hello"), finish(), failure())))
    with pytest.raises(errors.ServerError) as caught:
        provider(failing).send("Hi")
    assert caught.value.response.text == "Hello"


def test_a_finish_signal_of_one_attempt_does_not_finish_the_next(server):
    """An attempt that failed leaves nothing behind: the cut answer of the second one is Truncated."""
    first = streamed(role(), finish(), usage(99, 99), failure())
    second = streamed(role(), text("Hel"))
    with pytest.raises(errors.Truncated) as caught:
        provider(server(each(first, second)), retry=promptstream.Retry(2, base=0.001)).send("Hi")
    assert caught.value.response.text == "Hel"
    assert caught.value.response.finish_reason is None
    assert caught.value.response.usage.total != 198


def test_an_answer_that_only_keeps_alive_is_no_answer(server):
    """A stream of comments that ends cleanly is an error."""
    silent = server(each(streamed(b": OPENROUTER PROCESSING\n\n", b": OPENROUTER PROCESSING\n\n")))
    with pytest.raises((errors.Truncated, errors.ProtocolError)):
        provider(silent).send("Hi")


# Exactly one ending


def test_a_whole_answer_has_one_done_at_its_end(server):
    """DONE comes once, last, and its response is the whole answer."""
    chunks, ended = loop(provider(server(each(good))).stream("Hi"))
    assert ended is None
    assert [chunk.type for chunk in chunks] == [ChunkType.TEXT] * len(PIECES) + [ChunkType.DONE]
    response = chunks[-1].response
    assert (response.text, response.finish_reason, response.usage.total) == (TEXT, "stop", 9)
    assert response.complete


@pytest.mark.parametrize("leave", [True, False], ids=["break on DONE", "exhaust"])
def test_breaking_on_done_equals_exhausting(server, leave):
    """Before DONE is handed out the answer is committed and the connection given back, so break loses nothing."""
    one = server(each(good))
    with promptstream.chat("Be brief.", base_url=one.url, api_key="sk-0123456789") as conv:
        for turn in (1, 2, 3):
            for chunk in conv.stream("Hi"):
                if chunk.done:
                    assert conv.last is chunk.response
                    if leave:
                        break
            assert conv.last.complete
            assert conv.last.text == TEXT
            assert [message.role for message in conv.messages] == ["user", "assistant"] * turn
            assert conv.messages[-1].finish_reason == "stop"
            assert conv.usage.total == 9 * turn
    assert len(one.requests) == 3
    assert len(one.connections) == 1
    sent = one.requests[-1].json["messages"]
    assert [message["content"] for message in sent] == ["Be brief.", "Hi", TEXT, "Hi", TEXT, "Hi"]


def test_the_turn_is_over_when_done_is_handed_out(server):
    """The loop body of DONE may already start the next turn."""
    one = server(each(good))
    with promptstream.chat(base_url=one.url) as conv:
        for chunk in conv.stream("Hi"):
            if chunk.done:
                assert conv.send("Again").complete
        assert len(conv.messages) == 4
    assert len(one.connections) == 1


def test_on_error_chunk_gives_exactly_one_error_chunk(server):
    """With on_error="chunk" the error is the last chunk, once, and carries the partial answer."""
    cutter = server(each(streamed(role(), text("Hello"))))
    stream = provider(cutter).stream("Hi", on_error="chunk")
    chunks = list(stream)
    assert [chunk.type for chunk in chunks] == [ChunkType.TEXT, ChunkType.ERROR]
    assert isinstance(chunks[-1].error, errors.Truncated)
    assert chunks[-1].error.response.text == "Hello"
    assert [chunk.type for chunk in stream] == [ChunkType.ERROR]
    with pytest.raises(errors.Truncated):
        stream.result()
    assert len(cutter.requests) == 1


def test_iterating_again_raises_the_recorded_ending(server):
    """A stream that failed fails again, each time with a fresh error of the same class and text."""
    cutter = server(each(streamed(role(), text("Hello"))))
    stream = provider(cutter).stream("Hi")
    _, first = loop(stream)
    for _ in range(2):
        with pytest.raises(errors.Truncated) as caught:
            list(stream)
        assert caught.value is not first
        assert str(caught.value) == str(first)
        assert caught.value.response.text == "Hello"
    with pytest.raises(errors.Truncated):
        stream.result()
    assert [each["type"] for each in stream.iter_events()] == ["error"]
    assert len(cutter.requests) == 1


def test_a_whole_stream_yields_nothing_more(server):
    """After a whole answer the stream is empty, result() is idempotent, and nothing is ever sent again."""
    one = server(each(good))
    stream = provider(one).stream("Hi")
    assert spoken(stream) == TEXT
    assert list(stream) == []
    assert list(stream.iter_text()) == []
    assert list(stream.iter_events()) == []
    assert stream.result() is stream.result() is stream.response
    assert len(one.requests) == 1


def test_result_finishes_a_loop_that_was_begun(server):
    """result() after some chunks reads on in the same answer; it never sends again."""
    one = server(each(good))
    stream = provider(one).stream("Hi")
    iterator = iter(stream)
    assert str(next(iterator)) == PIECES[0]
    assert iter(stream) is iterator
    assert stream.text == PIECES[0]
    assert stream.result().text == TEXT
    assert len(one.requests) == 1


def test_result_after_break_raises_cancelled(server):
    """A stream whose loop was left is over: result() says so and does not send again."""
    held = server(
        each(lambda conn, request: (conn.send(chunked_head() + http_chunk(text("Hello"))), conn.wait_for_hang_up()))
    )
    stream = provider(held).stream("Hi")
    for _ in stream:
        break
    with pytest.raises(errors.Cancelled) as caught:
        stream.result()
    assert caught.value.response.text == "Hello"
    assert caught.value.response.finish_reason == "cancelled"
    with pytest.raises(errors.Cancelled):
        list(stream)
    assert len(held.requests) == 1


def test_two_threads_never_share_a_stream(server):
    """result() in one thread while another iterates is a StateError; the loop goes on undisturbed."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(text("Hello")))
        conn.wait(conn.server.release)
        conn.send(http_chunk(finish() + DONE) + LAST_CHUNK)

    held = server(script)
    stream = provider(held).stream("Hi")
    first, endings = threading.Event(), []

    def run():
        for chunk in stream:
            first.set()
            endings.append(chunk.done)

    thread = threading.Thread(target=run)
    thread.start()
    assert first.wait(5)
    generator = iter(stream)
    while not generator.gi_running:
        sleep(0.001)
    with pytest.raises(errors.StateError):
        stream.result()
    del generator
    held.release.set()
    thread.join(5)
    assert endings == [False, True]


def test_events_end_in_exactly_one_ending(server):
    """iter_events ends in one done or one error event, and raises nothing."""
    one = server(each(good, streamed(role(), text("Hello")), say(error("401 Unauthorized"))))
    asked = provider(one)
    kinds = [[each["type"] for each in asked.stream("Hi").iter_events()] for _ in range(3)]
    assert kinds == [["content"] * len(PIECES) + ["done"], ["content", "error"], ["error"]]


def test_text_alone_raises_where_the_answer_is_not_whole(server):
    """iter_text raises the error, also with on_error="chunk": text has no way to say it."""
    cutter = server(each(streamed(role(), text("Hello"))))
    for on_error in ("raise", "chunk"):
        pieces = []
        with pytest.raises(errors.Truncated):
            for piece in provider(cutter).stream("Hi", on_error=on_error).iter_text():
                pieces.append(piece)
        assert pieces == ["Hello"]


def test_a_failed_turn_leaves_the_history_as_it_was(server):
    """An error keeps the partial answer on itself and on conv.last, and out of the history."""
    one = server(each(good, streamed(role(), text("Half")), good))
    with promptstream.chat(base_url=one.url) as conv:
        conv.send("One")
        with pytest.raises(errors.Truncated):
            conv.send("Two")
        assert conv.last.text == "Half"
        assert not conv.last.complete
        assert len(conv.messages) == 2
        conv.send("Three")
        assert [message["content"] for message in one.requests[-1].json["messages"]] == ["One", TEXT, "Three"]


def test_a_second_choice_is_never_mixed_in(server):
    """Deltas of another choice are not text of this answer."""
    other = event({"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"})
    two = server(each(streamed(role(), text("Hello"), other)))
    with pytest.raises(errors.Truncated) as caught:
        provider(two).send("Hi")
    assert caught.value.response.text == "Hello"
