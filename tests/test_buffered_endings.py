"""However a buffered stream ends, by itself or by a cancel, it says so last and once."""

from __future__ import annotations

import dis
import signal
import sys
import threading
import weakref
from contextlib import contextmanager, suppress
from time import monotonic, sleep

import pytest
from counted import HOLD, counted, is_over, read, scripted, soon, texts
from server import PATIENCE
from test_leaks import no_collector

import promptstream
from promptstream import buffered, errors
from promptstream.values.chunk import ChunkType

WITHIN = 0.1
"""Seconds in which a cancel takes effect; the fastest of three tries counts."""
WITHIN_OF_EVENT = 0.15
"""The same for a threading.Event, which is looked at every 50 ms."""
needs_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX signals")


# What ends a turn, by itself


class Broken(Exception):
    """A fault of no class of ours."""


ENDINGS = {
    "cut": ([errors.Truncated("cut")], {}, errors.Truncated),
    "refused": ([errors.Overloaded("busy")], {}, errors.Overloaded),
    "idle": ([HOLD], {"timeout": promptstream.Timeout(idle=0.03)}, errors.IdleTimeout),
    "deadline": ([HOLD], {"timeout": 0.05}, errors.DeadlineExceeded),
    "broken": ([Broken("wires crossed")], {}, Broken),
    "exit": ([SystemExit(3)], {}, SystemExit),
}


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("size", [1, 10])
def test_what_ends_a_turn_comes_last_and_once(kind, size):
    """After the chunks that came; it is the very exception that the plain loop raises, and carries the text."""
    steps, options, expected = ENDINGS[kind]
    provider = scripted(["a", "b", "c", *steps], ["a", "b", "c", *steps])
    plain, raised = read(provider.stream("Hi", **options))
    stream = provider.stream("Hi", **options).buffered(size)
    came, error = read(stream)
    assert texts(came) == texts(plain) == ["a", "b", "c"]
    assert type(error) is type(raised) is expected
    assert str(error) == str(raised)
    if isinstance(error, errors.StreamError):
        assert error.response.text == "abc"
        assert error.response is stream.response
    assert is_over(stream)
    for _ in range(2):
        with pytest.raises(errors.StreamError):
            stream.result()


@pytest.mark.parametrize("kind", ["cut", "refused", "idle", "deadline"])
def test_what_ends_a_turn_is_one_chunk_where_that_is_asked_for(kind):
    """on_error="chunk" holds for the thread's reader too."""
    steps, options, expected = ENDINGS[kind]
    stream = scripted(["a", *steps]).stream("Hi", on_error="chunk", **options).buffered()
    came, error = read(stream)
    assert error is None
    assert [chunk.type for chunk in came] == [ChunkType.TEXT, ChunkType.ERROR]
    assert type(came[-1].error) is expected
    assert is_over(stream)


def test_a_turn_that_ends_before_its_first_chunk():
    """Its error is the first that is taken."""
    stream = scripted([errors.Authentication("no")]).stream("Hi").buffered()
    with pytest.raises(errors.Authentication):
        stream.get()
    assert is_over(stream)


def test_a_deadline_ends_a_turn_whose_reader_is_slow():
    """The thread that waits for room is woken; what lay ready comes first, then the error."""
    provider, dialect = counted(["a", "b", "c", "d", "e", "f"])
    stream = provider.stream("Hi", timeout=0.05).buffered(2)
    stream._thread.join(PATIENCE)
    assert dialect.pulled <= 4  # what fits, the one that the thread held, and the one that found the time over
    came, error = read(stream)
    assert texts(came) == ["a", "b", "c"]
    assert isinstance(error, errors.DeadlineExceeded)
    assert is_over(stream)


def test_the_silence_of_a_slow_reader_is_not_the_providers():
    """The idle clock stands still while the queue is full."""
    stream = scripted(list("abcdef")).stream("Hi", timeout=promptstream.Timeout(idle=0.02)).buffered(1)
    sleep(0.05)
    assert stream.result().text == "abcdef"


def test_a_commit_that_fails_is_raised_in_place_of_the_end():
    """No DONE is handed out."""
    conv = promptstream.chat(provider=scripted(["a"]))

    def fail(*_, **__):
        raise OSError("disk full")

    conv._ledger.commit = fail
    stream = conv.stream("Hi").buffered()
    came, error = read(stream)
    assert texts(came) == ["a"]
    assert str(error) == "disk full"
    assert is_over(stream)
    with pytest.raises(errors.StateError, match="disk full"):
        stream.result()


# Cancelling


def by_token(stream, token, event, origin):
    """Cancel by the token that the stream was given."""
    token.cancel("enough")


def by_event(stream, token, event, origin):
    """Cancel by a plain threading.Event."""
    event.set()


def by_itself(stream, token, event, origin):
    """Cancel by its own method."""
    stream.cancel("enough")


def by_the_stream(stream, token, event, origin):
    """Cancel by the stream it was made of."""
    origin.cancel("enough")


def by_the_conversation(stream, token, event, origin):
    """Cancel by the conversation."""
    origin.conv.cancel("enough")


def by_closing(stream, token, event, origin):
    """Close it."""
    stream.close()


MEANS = [by_token, by_event, by_itself, by_the_stream, by_the_conversation, by_closing]
PLACES = {"waiting for a chunk": ["a", HOLD], "full": [*"abcdef"] * 10, "all ready": ["a"]}
CANCELS = [(place, means) for place in PLACES for means in MEANS]
CANCELS.remove(("all ready", by_the_conversation))  # no turn of it runs any more


def cancelled(place, means, on_error):
    """Cancel a stream at *place* and give its chunks from then on, its error, and the seconds until it came."""
    token, event = promptstream.CancelToken(), threading.Event()
    conv = promptstream.chat(provider=scripted(PLACES[place]))
    origin = conv.stream("Hi", cancel=event if means is by_event else token, on_error=on_error)
    origin.conv = conv
    stream = origin.buffered(3)
    if place == "waiting for a chunk":
        stream.get()
    elif place == "full":
        assert soon(lambda: len(stream.text) == 4)
    else:
        stream._thread.join(PATIENCE)
    result = []
    reader = threading.Thread(target=lambda: result.append((read(stream), monotonic())), daemon=True)
    if place == "waiting for a chunk":
        reader.start()
        sleep(0.01)
    begin = monotonic()
    means(stream, token, event, origin)
    if place != "waiting for a chunk":
        reader.start()
    reader.join(PATIENCE)
    ((came, error), end) = result[0]
    assert is_over(stream)
    for _ in range(2):
        with pytest.raises(errors.Cancelled):
            stream.result()
    return came, error, end - begin


@pytest.mark.parametrize(("place", "means"), CANCELS, ids=lambda what: getattr(what, "__name__", what))
@pytest.mark.parametrize("on_error", ["raise", "chunk"])
def test_a_cancel_hands_out_nothing_more_and_is_no_clean_end(place, means, on_error):
    """Within 100 ms, whoever calls it, wherever the two sides are, whatever lies ready."""
    seconds = []
    for _ in range(3):
        came, error, taken = cancelled(place, means, on_error)
        if on_error == "chunk":
            (last,) = came
            error = last.error
            assert last.type is ChunkType.ERROR
        else:
            assert came == []
        assert isinstance(error, errors.Cancelled)
        assert error.response.text.startswith("a")
        seconds.append(taken)
        if taken <= WITHIN:
            break
    assert min(seconds) <= (WITHIN_OF_EVENT if means is by_event else WITHIN)


def test_a_conversations_cancel_leaves_an_answer_that_is_whole():
    """It stops what runs; the answer that lies ready is read to its end."""
    conv = promptstream.chat(provider=scripted(["a"]))
    stream = conv.stream("Hi").buffered()
    stream._thread.join(PATIENCE)
    conv.cancel()
    assert stream.result().text == "a"


def test_a_cancel_after_the_end_changes_nothing():
    """What was handed out was whole."""
    stream = scripted(["a"]).stream("Hi").buffered()
    assert len(list(stream)) == 2
    stream.cancel()
    stream.close()
    assert stream.result().text == "a"
    assert is_over(stream)


@pytest.mark.parametrize("event", [True, False])
def test_a_token_cancelled_before_sends_nothing(event):
    """The first chunk asked for is Cancelled."""
    token = threading.Event() if event else promptstream.CancelToken()
    token.set() if event else token.cancel("changed my mind")
    provider, dialect = counted(["a"])
    stream = provider.stream("Hi", cancel=token).buffered()
    came, error = read(stream)
    assert (came, type(error), dialect.requests) == ([], errors.Cancelled, [])
    assert is_over(stream)


@contextmanager
def alarm(handler, after=0.03):
    """Run *handler* in the main thread *after* so many seconds."""
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        yield monotonic() + after
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@needs_signals
@pytest.mark.parametrize("means", [by_token, by_itself, by_the_stream, by_closing], ids=lambda means: means.__name__)
def test_a_signal_handler_may_cancel_while_the_main_thread_waits(means):
    """The get() that it interrupts ends in Cancelled, within 100 ms."""
    seconds = []
    for _ in range(3):
        token = promptstream.CancelToken()
        origin = scripted([HOLD]).stream("Hi", cancel=token)
        stream = origin.buffered()
        with alarm(lambda *_: means(stream, token, None, origin)) as due, pytest.raises(errors.Cancelled):  # noqa: B023
            stream.get()
        seconds.append(monotonic() - due)
        assert is_over(stream)
    assert min(seconds) <= WITHIN


@needs_signals
@pytest.mark.parametrize("raised", [KeyboardInterrupt, TimeoutError])
def test_ctrl_c_ends_the_wait_and_the_stream(raised):
    """What a signal handler raises comes out of get() within 100 ms; the stream is cancelled, never whole."""
    seconds = []

    def strike(*_):
        raise raised

    for _ in range(3):
        conv = promptstream.chat(provider=scripted(["a", HOLD], "b"))
        stream = conv.stream("Hi").buffered()
        assert stream.get().text == "a"
        with alarm(strike) as due, pytest.raises(raised):
            stream.get()
        seconds.append(monotonic() - due)
        with pytest.raises(errors.Cancelled, match=r"Ctrl-C|TimeoutError"):
            stream.get()
        assert is_over(stream)
        assert [message.text for message in conv.messages] == ["Hi", "a"]
        assert conv.send("Next").text == "b"
    assert min(seconds) <= WITHIN


@pytest.mark.parametrize("place", PLACES)
def test_closing_is_quiet_and_may_be_repeated(place):
    """It waits for the thread's end; the reader is told with the next chunk it asks for."""
    stream = scripted(PLACES[place]).stream("Hi").buffered(2)
    assert stream.get().text == "a"
    stream.close()
    assert not stream._thread.is_alive()
    stream.close()
    came, error = read(stream)
    assert came == []
    assert isinstance(error, errors.Cancelled)
    stream.close()
    assert is_over(stream)
    assert stream.text.startswith("a")


def test_the_thread_itself_may_close_it():
    """A hook that runs in it does not wait for its own end."""
    box = []
    provider, _ = counted(["a", lambda: (soon(lambda: box), box[0].close()), "b", "c"])
    box.append(provider.stream("Hi").buffered())
    came, error = read(box[0])
    assert texts(came) in (["a"], [])
    assert isinstance(error, errors.Cancelled)
    assert is_over(box[0])


@pytest.mark.parametrize("kind", [*ENDINGS, "whole", "cancelled", "closed", "all ready"])
@pytest.mark.parametrize("on_error", ["raise", "chunk"])
@pytest.mark.parametrize("taken", [True, False], ids=["taken", "untaken"])
def test_nothing_of_it_is_part_of_a_cycle(kind, on_error, taken):
    """Stream, turn, queue and error go by reference count, whether the ending was taken or not."""
    steps, options, _ = ENDINGS.get(kind, (["b"] if kind in ("whole", "all ready") else [HOLD], {}, None))
    provider = scripted(["a", *steps])
    with no_collector():
        stream = provider.stream("Hi", on_error=on_error, **options).buffered()
        thread = stream._thread
        if kind == "all ready":
            thread.join(PATIENCE)
        if kind in ("cancelled", "all ready"):
            stream.cancel()
        elif kind == "closed":
            stream.close()
        thread.join(PATIENCE)
        gone = [weakref.ref(each) for each in (stream, stream._turn)]
        if taken:
            with suppress(BaseException):
                list(stream)
            with suppress(errors.StreamError):
                stream.result()
        del stream
        assert soon(lambda: not any(each() for each in gone))


# Between any two steps


class Struck(Exception):
    """Raised in the middle of something."""


def at_step(number, act):
    """Give a trace function that calls *act* before the *number*th step of the module, and what tells that it did."""
    count = [0]

    def trace(frame, what, arg):
        if frame.f_code.co_filename != buffered.__file__ or frame.f_code.co_name == "__next__":
            return None
        frame.f_trace_opcodes = True
        # Once it returns, a chunk is the caller's: to lose, too. (CPython 3.12 tells a new thread's lines alone.)
        if what in ("opcode", "line") and "RETURN" not in dis.opname[frame.f_code.co_code[frame.f_lasti]]:
            count[0] += 1
            if count[0] == number:
                act()
        return trace

    return trace, lambda: count[0] >= number


def test_the_threads_own_finaliser_may_strike_between_any_two_of_its_steps():
    """A cancel made in the thread itself, before each of its instructions: it ends, and so does the reader's wait."""
    number = struck = 0
    while number < 400:
        number += 1
        box = []
        trace, did = at_step(number, lambda: soon(lambda: box) and box[0].cancel("a finaliser"))  # noqa: B023
        threading.settrace(trace)
        try:
            box.append(scripted(list("abcd")).stream("Hi").buffered(1))
            if number % 2:
                box[0]._thread.join(0.001)
            came, error = read(box[0])
            assert is_over(box[0])
        finally:
            threading.settrace(None)
        struck += did()
        assert isinstance(error, errors.Cancelled) or len(came) == 5
        if not did():
            break
    assert struck > 15


@pytest.mark.parametrize("kind", ["cancel", "exception"])
def test_a_signal_may_strike_between_any_two_steps_of_the_reader(kind):
    """Whatever was being taken: no later read hangs, and none gives a chunk after one that was lost."""
    struck = 0
    for number in range(1, 2000):
        stream = scripted(list("abc")).stream("Hi").buffered(2)

        def strike():
            if kind == "exception":
                raise Struck
            stream.cancel("a signal")  # noqa: B023

        trace, did = at_step(number, strike)
        came = []
        sys.settrace(trace)
        try:
            came += stream
        except (Struck, errors.Cancelled):
            pass
        finally:
            sys.settrace(None)
        while True:
            try:
                came.append(stream.get(timeout=PATIENCE))
            except errors.EndOfStream:
                break
            except errors.Cancelled:
                continue
        assert is_over(stream)
        assert "".join(texts(came)) == "abc"[: len("".join(texts(came)))]
        if did() and not (came and came[-1].done):
            struck += 1
        if not did():
            break
    assert struck > 15
