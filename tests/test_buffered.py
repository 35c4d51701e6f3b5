"""A stream read in a thread of its own gives the same chunks, and holds the provider back."""

from __future__ import annotations

import contextvars
import os
import queue
import random
import socket
import threading
import time
import warnings
from collections import Counter
from time import monotonic, sleep

import pytest
from counted import HOLD, counted, scripted, settled, shown, soon
from dialects import DIALECTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from provider_server import ProviderServer
from server import PATIENCE, head
from wires.script import Answer, Say

import promptstream
from promptstream import BufferedStream, Chunk, errors
from promptstream.values.chunk import ChunkType

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="/proc of Linux")
dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)


def bridge(*steps, size=10, **options):
    """Buffer one scripted turn."""
    return scripted(list(steps)).stream("Hi", **options).buffered(size)


# The same chunks


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.text(max_size=8), st.just(0.001), st.just(0)), max_size=40),
    st.integers(1, 6),
    st.lists(st.integers(0, 45), max_size=3),
)
def test_the_chunks_and_their_order_are_those_of_the_plain_loop(steps, size, pauses):
    """Whatever the script, the size and the reader's pauses."""
    provider = scripted(steps, steps)
    plain = [shown(chunk) for chunk in provider.stream("Hi")]
    came = []
    for number, chunk in enumerate(provider.stream("Hi").buffered(size)):
        came.append(shown(chunk))
        if number in pauses:
            sleep(0.001)
    assert came == plain


@dialects
@pytest.mark.parametrize("size", [1, 10])
def test_the_chunks_of_every_dialect_are_those_of_the_plain_loop(dialect, size):
    """Text, thoughts, order and ending come over a socket as they do without the thread."""
    chance = random.Random(size)
    pieces = [f"{chance.random()} " for _ in range(50)]
    with ProviderServer(dialect.wire, Answer([Say(piece) for piece in pieces])) as server:
        with dialect.provider(server.url.removesuffix(dialect.wire.root)) as provider:
            plain = [shown(chunk) for chunk in dialect.stream(provider)]
            came = [shown(chunk) for chunk in dialect.stream(provider).buffered(size)]
        assert len(server.connections) == 1  # it went back to the pool before the ending was handed out
    assert came == plain
    assert "".join(text for _, text, *_ in came) == "".join(pieces)


def test_done_comes_last_and_then_the_end_every_time():
    """The loop ends after DONE; StopIteration and EndOfStream from then on."""
    stream = bridge("a", "b")
    assert [chunk.type for chunk in stream] == [ChunkType.TEXT, ChunkType.TEXT, ChunkType.DONE]
    for _ in range(3):
        assert list(stream) == []
        with pytest.raises(errors.EndOfStream):
            stream.get()
        with pytest.raises(EOFError, match="over"):
            stream.get(timeout=0)
    assert iter(stream) is stream


def test_the_classes_are_public():
    """BufferedStream is reached from the door, EndOfStream among the errors; it is an EOFError."""
    assert isinstance(bridge("a"), BufferedStream)
    assert issubclass(errors.EndOfStream, errors.PromptStreamError)
    assert issubclass(errors.EndOfStream, EOFError)


def test_another_loop_goes_on_where_one_was_left():
    """Break does not hang up as long as the object is kept."""
    stream = bridge(*"abcdef", size=2)
    for chunk in stream:
        if chunk.text == "c":
            break
    assert "".join(map(str, stream)) == "def"
    assert stream.result().text == "abcdef"


def test_a_chunk_taken_by_get_is_not_seen_by_the_loop():
    """Both take from one line."""
    stream = bridge(*"abcd")
    assert str(stream.get()) + str(next(stream)) + "".join(map(str, stream)) == "abcd"


def test_it_is_sent_at_once():
    """Nobody has to ask for a chunk first."""
    provider, dialect = counted(["a"])
    stream = provider.stream("Hi").buffered()
    assert soon(lambda: dialect.requests)
    assert stream.get().text == "a"


# Waiting


def test_a_timeout_is_empty_and_the_stream_goes_on():
    """queue.Empty after the time given, as often as asked, and no chunk is lost."""
    gate = threading.Event()
    provider, _ = counted(["a", lambda: gate.wait(PATIENCE), "b"])
    stream = provider.stream("Hi").buffered()
    assert stream.get(timeout=PATIENCE).text == "a"
    for timeout in (0, 0.0, 0.001, 0.02):
        before = monotonic()
        with pytest.raises(queue.Empty):
            stream.get(timeout)
        assert monotonic() - before >= timeout
    gate.set()
    assert [str(chunk) for chunk in stream] == ["b", ""]


def test_no_time_at_all_takes_what_lies_ready():
    """get(0) never waits."""
    stream = bridge("a", "b")
    stream._thread.join(PATIENCE)
    assert [stream.get(0).text, stream.get(timeout=0).text] == ["a", "b"]
    assert stream.get(0).done


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), float("-inf"), float("inf")])
def test_a_timeout_that_is_none_is_refused(timeout):
    """ValueError, as queue.Queue does; the stream goes on, and after its end too."""
    stream = bridge("a")
    for _ in range(2):
        with pytest.raises(ValueError, match="timeout"):
            stream.get(timeout)
        assert [str(chunk) for chunk in stream] in (["a", ""], [])
    assert stream.result().text == "a"


def test_a_timeout_of_another_type_is_refused():
    """TypeError, and the stream goes on."""
    stream = bridge("a")
    with pytest.raises(TypeError):
        stream.get("1")
    assert stream.result().text == "a"


@pytest.mark.parametrize("size", [0, -1, True, False, 1.5, "10", None])
def test_a_size_must_be_a_whole_number_from_1(size):
    """Anything else raises at the call, sends nothing, and leaves the stream as it was."""
    provider, dialect = counted(["a"])
    stream = provider.stream("Hi")
    with pytest.raises(ValueError if size in (0, -1) and not isinstance(size, bool) else TypeError, match="size="):
        stream.buffered(size)
    assert dialect.requests == []
    assert stream.result().text == "a"


# Holding the provider back


@pytest.mark.parametrize("size", [1, 2, 10, 100])
def test_a_stream_that_nobody_reads_settles(size):
    """The thread pulls what fits and one more, which it holds; each chunk taken lets it pull one further."""
    provider, dialect = counted([str(number) for number in range(300)])
    stream = provider.stream("Hi").buffered(size)
    assert soon(lambda: dialect.pulled >= size + 1)
    assert settled(lambda: dialect.pulled) == size + 1 <= size + 2
    for taken in range(1, 4):
        stream.get()
        assert soon(lambda: dialect.pulled == size + 1 + taken)  # noqa: B023
    assert settled(lambda: dialect.pulled) == size + 4
    assert len(list(stream)) == 298


def test_a_large_size_takes_the_whole_answer_in():
    """The thread is over although nobody reads, whatever the size costs nothing before it is used."""
    before = time.process_time()
    stream = bridge(*map(str, range(1000)), size=10**9)
    stream._thread.join(PATIENCE)
    assert time.process_time() - before < 1
    assert not stream._thread.is_alive()
    assert stream.response.complete
    assert len(list(stream)) == 1001


@pytest.mark.parametrize("ahead", [0, 1])
def test_an_answer_of_just_the_size_leaves_no_thread(ahead):
    """What ends a stream needs no room: neither thread nor connection waits for a reader."""
    steps = [str(number) for number in range(3)] + [errors.Truncated("cut")] * ahead
    stream = bridge(*steps, size=3)
    stream._thread.join(PATIENCE)
    assert not stream._thread.is_alive()


@dialects
def test_the_provider_is_held_back_by_tcp(dialect, server):
    """A reader that takes nothing stops the server's send after what the sockets hold, and no memory grows."""
    piece = "x" * 16384

    def script(conn):
        conn.request()
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        conn.send(head(content_type=dialect.wire.stream_type, Connection="close") + dialect.opening())
        conn.flood(dialect.delta(piece), 256 << 20)

    flooding = server(script)
    with dialect.provider(flooding.origin) as provider:
        stream = dialect.stream(provider).buffered(4)
        flooding.wait_for_request()
        assert soon(lambda: len(stream.text) >= 5 * len(piece))
        assert settled(lambda: flooding.conn.flooded) < 16 << 20
        assert len(stream.text) == 5 * len(piece)
        assert str(stream.get()) == piece
        assert soon(lambda: len(stream.text) == 6 * len(piece))
        stream.close()
    assert flooding.conn.gone.wait(PATIENCE)


def switches(thread):
    """Count how often *thread* has gone to sleep so far."""
    with open(f"/proc/self/task/{thread.native_id}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt"))


@needs_proc
def test_neither_side_polls():
    """A thread that waits for room, and a reader that waits for a chunk, sleep without a single wake-up."""
    full, empty = bridge(*"abcdef", size=1), bridge(HOLD, on_error="chunk")
    reader = threading.Thread(target=lambda: list(empty), daemon=True)
    reader.start()
    for thread in (full._thread, reader):
        count = settled(lambda: switches(thread))  # noqa: B023
        sleep(0.05)
        sleep(0.05)
        assert switches(thread) == count
    empty.cancel()
    reader.join(PATIENCE)
    assert not reader.is_alive()


# Several readers


@pytest.mark.parametrize("size", [1, 3, 100])
def test_each_chunk_goes_to_one_of_many_readers_and_all_end(size):
    """Eight threads share one stream: nothing is lost or doubled, one sees DONE, all loops end."""
    stream = bridge(*map(str, range(1, 400)), size=size)
    came = [[] for _ in range(8)]
    readers = [threading.Thread(target=lambda mine=mine: mine.extend(stream), daemon=True) for mine in came]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(PATIENCE)
        assert not reader.is_alive()
    together = Counter(str(chunk) for mine in came for chunk in mine)
    assert together == Counter(map(str, range(1, 400))) + Counter([""])
    for mine in came:
        numbers = [int(str(chunk)) for chunk in mine if not chunk.done]
        assert numbers == sorted(numbers)


def test_an_error_goes_to_one_of_many_readers_and_all_end():
    """Eight threads wait: one of them is told why, the others that it is over."""
    gate = threading.Event()
    provider, _ = counted([lambda: gate.wait(PATIENCE), "a", errors.Truncated("cut")])
    stream = provider.stream("Hi").buffered()
    ends = []

    def read():
        try:
            ends.append(list(stream))
        except errors.Truncated as error:
            ends.append(error)

    readers = [threading.Thread(target=read, daemon=True) for _ in range(8)]
    for reader in readers:
        reader.start()
    gate.set()
    for reader in readers:
        reader.join(PATIENCE)
    assert len(ends) == 8
    assert sum(isinstance(end, errors.Truncated) for end in ends) == 1


# What is there so far


def test_text_and_response_grow_ahead_of_the_loop():
    """They show all that came, also before it was taken, while it runs and after its end."""
    gate = threading.Event()
    provider, _ = counted(["a", "b", lambda: gate.wait(PATIENCE), "c"])
    stream = provider.stream("Hi").buffered()
    assert soon(lambda: stream.text == "ab")
    assert (stream.response.text, stream.response.complete) == ("ab", False)
    assert repr(stream) == "<BufferedStream running, 2 ready, 2 characters>"
    gate.set()
    assert soon(lambda: stream.response.complete)
    assert repr(stream) == "<BufferedStream whole, 3 characters>"
    assert stream.get().text == "a"
    assert stream.result() is stream.result() is stream.response
    assert stream.text == stream.response.text == "abc"


def test_result_waits_for_what_is_left():
    """It takes the chunks that nobody took, and gives the whole answer, again and again."""
    provider, dialect = counted(["a", 0.02, "b"])
    stream = provider.stream("Hi").buffered(1)
    assert stream.get().text == "a"
    assert stream.result().text == stream.result().text == "ab"
    assert list(stream) == []
    assert len(dialect.requests) == 1


@pytest.mark.parametrize("on_error", ["raise", "chunk"])
def test_result_raises_every_time_where_the_answer_is_not_whole(on_error):
    """Also where the loop took the error before, or got it as a chunk; nothing is sent again."""
    provider, dialect = counted(["a", errors.Truncated("cut")])
    stream = provider.stream("Hi", on_error=on_error).buffered()
    for _ in range(3):
        with pytest.raises(errors.Truncated) as caught:
            stream.result()
        assert caught.value.response.text == stream.text == "a"
    assert list(stream) == []
    assert len(dialect.requests) == 1
    assert repr(stream) == "<BufferedStream ended by Truncated, 1 characters>"


# The stream it was made of


def test_a_buffered_stream_is_read_in_one_place():
    """While its thread reads, no loop over the stream begins, and no second thread."""
    stream = scripted(["a", HOLD]).stream("Hi")
    buffered = stream.buffered()
    for attempt in (lambda: iter(stream), stream.result, stream.iter_text, stream.iter_events, stream.buffered):
        with pytest.raises(errors.StateError):
            attempt()
    assert buffered.get().text == stream.text == "a"
    stream.close()
    with pytest.raises(errors.Cancelled, match="closed"):
        buffered.get()


def test_a_loop_that_has_begun_cannot_be_buffered():
    """Two would take its chunks from each other."""
    stream = scripted(["a", "b"]).stream("Hi")
    loop = iter(stream)
    assert next(loop).text == "a"
    with pytest.raises(errors.StateError, match="read already"):
        stream.buffered()
    assert [chunk.text for chunk in loop] == ["b", ""]


def test_the_stream_shows_the_same_once_it_is_over():
    """Its lenses and its result are those of the turn."""
    stream = scripted(["a", "b"]).stream("Hi")
    buffered = stream.buffered()
    assert buffered.result() is stream.result()
    assert list(stream) == []
    again = stream.buffered()
    assert list(again) == []
    assert again.result().text == "ab"
    again.cancel()
    assert again.result().text == "ab"


def test_buffering_a_stream_that_is_over_tells_how_it_ended():
    """Its error is raised at the call, or is the one chunk; nothing is sent."""
    provider, dialect = counted(["a", errors.Truncated("cut")], ["b", errors.Truncated("cut")])
    failed, chunked = provider.stream("Hi"), provider.stream("Hi", on_error="chunk")
    with pytest.raises(errors.Truncated):
        failed.result()
    with pytest.raises(errors.Truncated):
        failed.buffered()
    list(chunked)
    assert [type(chunk.error) for chunk in chunked.buffered()] == [errors.Truncated]
    assert len(dialect.requests) == 2
    closed = provider.stream("Hi")
    closed.close()
    with pytest.raises(errors.Cancelled):
        closed.buffered()


def test_the_stream_may_be_dropped():
    """It need not be named, and nobody is warned that nothing was sent."""
    provider = scripted(*[["a"]] * 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(50):
            assert provider.stream("Hi").buffered().result().text == "a"


def refuse(thread):
    """Have no thread to give, in the place of Thread.start."""
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("read", [lambda stream: stream, lambda stream: stream.buffered()], ids=["plain", "buffered"])
def test_a_thread_that_cannot_be_started_leaves_the_stream_as_it_was(monkeypatch, read):
    """The call raises, nothing is sent, and the stream can be read or buffered, even while that is handled."""
    provider, dialect = counted(["a"])
    stream = provider.stream("Hi")
    try:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            stream.buffered()
    except promptstream.StreamError:
        assert dialect.requests == []
        assert read(stream).result().text == "a"
    assert len(dialect.requests) == 1


def test_the_thread_sees_the_callers_context():
    """Context variables are those at the call of buffered()."""
    variable = contextvars.ContextVar("variable", default="none")
    seen = []
    provider, _ = counted([lambda: seen.append(variable.get()), "a"])
    token = variable.set("mine")
    stream = provider.stream("Hi").buffered()
    variable.reset(token)
    assert stream.result().text == "a"
    assert seen == ["mine"]


# Conversations


def test_the_history_is_written_before_done_is_handed_out():
    """Breaking on DONE equals reading to the end."""
    conv = promptstream.chat(provider=scripted(["a", "b"], ["c"]))
    for chunk in conv.stream("Hi").buffered():
        if chunk.done:
            assert [message.text for message in conv.messages] == ["Hi", "ab"]
            assert conv.last is chunk.response
            break
    assert conv.send("Again").text == "c"


def test_another_turn_is_refused_while_the_thread_runs():
    """ConversationBusy at the call, and where both were made before: never interleaved."""
    conv = promptstream.chat(provider=scripted(["a", HOLD], ["b"]))
    late = conv.stream("Late")
    stream = conv.stream("Hi").buffered()
    assert stream.get().text == "a"
    with pytest.raises(errors.ConversationBusy):
        conv.stream("Two")
    with pytest.raises(errors.ConversationBusy):
        late.buffered().get()
    stream.close()
    assert [message.text for message in conv.messages] == ["Hi", "a"]
    assert conv.send("Three").text == "b"


def close(stream, conv):
    """Close it."""
    stream.close()


def cancel(stream, conv):
    """Cancel it, and do not wait."""
    stream.cancel()


def cancel_by_the_conversation(stream, conv):
    """Cancel what runs."""
    conv.cancel()


def drop(stream, conv):
    """Leave it to the caller's del."""


@pytest.mark.parametrize("way", [close, cancel, cancel_by_the_conversation, drop], ids=lambda way: way.__name__)
def test_the_next_turn_begins_right_after_one_that_was_stopped(way):
    """What came of it is kept, marked cancelled; the thread's end is awaited."""
    conv = promptstream.chat(provider=scripted(*[["a", HOLD], "b"] * 10))
    for number in range(10):
        stream = conv.stream("Hi").buffered()
        assert stream.get().text == "a"
        way(stream, conv)
        del stream
        assert conv.send("Next").text == "b"
        assert [message.text for message in conv.messages[4 * number :]] == ["Hi", "a", "Next", "b"]
        assert conv.messages[4 * number + 1].finish_reason == "cancelled"


def test_a_turn_stopped_before_it_began_leaves_no_trace():
    """Dropped at once, whatever the thread has done by then, it does not keep the next turn from beginning."""
    conv = promptstream.chat(provider=scripted(*[["a", HOLD]] * 40))
    for _ in range(20):
        conv.stream("Hi").buffered()
        with conv.stream("Next").buffered() as stream:
            assert stream.get().text == "a"
    assert [message.text for message in conv.messages if message.role == "user"][-1] == "Next"


def test_a_notebook_goes_on_while_the_answer_comes_in():
    """One cell starts it, the next looks, a later one takes the whole."""
    conv = promptstream.chat(provider=scripted(["Once", " upon", 0.01, " a time."]))
    stream = conv.stream("Tell me.").buffered(size=100_000)
    assert "Once upon a time.".startswith(stream.text)
    assert stream.result().text == conv.last.text == stream.text == "Once upon a time."
    assert isinstance(stream.response, promptstream.Response)
    assert all(isinstance(chunk, Chunk) for chunk in stream)
