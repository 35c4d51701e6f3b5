"""A stream in a loop: its chunks, its one ending, its lenses, and what is left of it."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from promptstream import CancelToken, Chunk, ChunkType, Provider, Stream, ToolCall, Usage, providers
from promptstream.errors import Cancelled, ConfigError, Overloaded, PromptStreamError, StateError, Truncated
from promptstream.providers.scripted import ScriptedDialect
from promptstream.values.chunk import Finish
from promptstream.values.request import ChatRequest
from promptstream.values.response import Response
from promptstream.wire.watch import Watch


class Played(ScriptedDialect):
    """Play what a generator function gives, and know how often it was asked and whether it was closed."""

    def __init__(self, chunks: Callable[[], Iterator[Chunk]]) -> None:
        super().__init__()
        self.chunks = chunks
        self.asked = 0
        self.closed = 0

    def play(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Yield the function's chunks."""
        self.asked += 1
        try:
            yield from self.chunks()
        finally:
            self.closed += 1


def text(piece: str) -> Chunk:
    """Give a chunk of text."""
    return Chunk(ChunkType.TEXT, piece, model="m-1")


def whole() -> Iterator[Chunk]:
    """Play an answer of three pieces."""
    yield Finish(model="m-1", request_id="req_1")
    yield Chunk(ChunkType.REASONING, reasoning="Hm.")
    for piece in ("One ", "two ", "three."):
        yield text(piece)
    yield Finish(reason="stop", raw_reason="end", usage_seen=Usage(3, 4))


def failing() -> Iterator[Chunk]:
    """Play two pieces and fail."""
    yield text("One ")
    yield text("two ")
    raise Overloaded("Busy.", status=503)


def cut() -> Iterator[Chunk]:
    """Play a piece and stop without a reason."""
    yield text("One ")


def played(chunks: Callable[[], Iterator[Chunk]], **options: Any) -> Stream:
    """Give a stream that plays *chunks*."""
    return Provider(Played(chunks)).stream("Hello", **options)


def dialect_of(stream: Stream) -> Played:
    """Give the dialect that *stream* plays."""
    return stream._turn.exchange.__self__.dialect


# The loop


def test_a_loop_that_ends_normally_received_everything_and_one_done():
    """Every chunk in order, and DONE, once, as the last, with the whole answer."""
    chunks = list(played(whole))
    assert [chunk.type for chunk in chunks] == ["reasoning", "text", "text", "text", "done"]
    assert "".join(map(str, chunks)) == "One two three."
    assert all(chunk.response is None and chunk.error is None for chunk in chunks[:-1])
    done = chunks[-1]
    assert (done.response.text, done.response.complete, done.finish_reason) == ("One two three.", True, "stop")
    assert (done.usage, done.response.request_id, done.model) == (Usage(3, 4), "req_1", "m-1")


def test_internal_chunks_never_reach_the_loop():
    """FINISH and OPAQUE are between the dialect and the fold."""
    assert all(type(chunk) is Chunk for chunk in played(whole))


def test_nothing_is_sent_before_the_first_chunk_is_asked_for():
    """Not by making the stream, not by ``with``, not by ``iter``; then once."""
    stream = played(whole)
    dialect = dialect_of(stream)
    with stream:
        chunks = iter(stream)
        assert (dialect.asked, stream.text) == (0, "")
        next(chunks)
        assert dialect.asked == 1
        list(chunks)
    assert dialect.asked == 1


def test_iterating_twice_goes_on_where_the_first_was():
    """``iter`` gives the one generator of the turn as long as it lives."""
    stream = played(whole)
    first = iter(stream)
    assert iter(stream) is first
    assert next(first).type is ChunkType.REASONING
    assert str(next(iter(stream))) == "One "
    assert [str(chunk) for chunk in stream] == ["two ", "three.", ""]


def test_after_a_whole_answer_there_is_nothing_more_and_nothing_is_sent_again():
    """A second loop is empty; the answer is still there."""
    stream = played(whole)
    list(stream)
    assert list(stream) == list(stream.iter_text()) == list(stream.iter_events()) == []
    assert stream.result().text == "One two three."
    assert dialect_of(stream).asked == 1


def test_breaking_on_done_is_the_same_as_exhausting_the_loop():
    """Everything is settled before DONE is handed out."""
    stream = played(whole)
    for chunk in stream:
        if chunk.done:
            assert dialect_of(stream).closed == 1
            break
    assert stream.response.complete
    assert stream.result() is stream.response


def test_an_error_is_raised_after_the_text_before_it_and_carries_it():
    """Exactly one ending: the exception, with the answer so far and whose it is."""
    stream = played(failing)
    seen = []
    with pytest.raises(Overloaded) as caught:
        seen.extend(map(str, stream))
    assert seen == ["One ", "two "]
    error = caught.value
    assert (error.response.text, error.response.complete) == ("One two ", False)
    assert (error.provider, error.model, error.status) == ("scripted", "scripted", 503)
    assert error.response == stream.response


def test_an_answer_without_a_finish_signal_is_truncated():
    """However cleanly it ended."""
    with pytest.raises(Truncated) as caught:
        list(played(cut))
    assert caught.value.response.text == "One "


def test_iterating_again_after_an_error_raises_the_recorded_ending_anew():
    """Each time a fresh copy: equal, with the partial answer, and nothing is sent again."""
    stream = played(failing)
    raised = []
    for again in (stream, stream, stream.iter_text, stream.result, stream.result):
        try:
            list(again() if callable(again) else again)
        except Overloaded as error:
            raised.append(error)
    assert len({id(error) for error in raised}) == len(raised) == 5
    assert {error.response.text for error in raised} == {"One two "}
    assert dialect_of(stream).asked == 1


def test_an_error_that_is_not_ours_is_raised_as_it_is_and_recorded():
    """A bug of a dialect's or of the user's is not dressed up; a later look still says that the answer is not whole."""

    def broken() -> Iterator[Chunk]:
        yield text("One ")
        raise ZeroDivisionError("oops")

    stream = played(broken)
    with pytest.raises(ZeroDivisionError):
        list(stream)
    with pytest.raises(PromptStreamError, match="ZeroDivisionError: oops"):
        stream.result()


# on_error="chunk"


def test_on_error_chunk_hands_out_exactly_one_error_chunk():
    """In place of the exception, and as the last; the loop ends normally."""
    chunks = list(played(failing, on_error="chunk"))
    assert [chunk.type for chunk in chunks] == ["text", "text", "error"]
    assert isinstance(chunks[-1].error, Overloaded)
    assert chunks[-1].response.text == "One two "


def test_on_error_chunk_again_hands_out_the_error_again():
    """A second loop over a failed stream is told so too."""
    stream = played(failing, on_error="chunk")
    list(stream)
    (chunk,) = list(stream)
    assert chunk.type is ChunkType.ERROR
    assert isinstance(chunk.error, Overloaded)


def test_on_error_governs_the_loop_alone():
    """``result`` and ``iter_text`` always raise where the answer is not whole."""
    with pytest.raises(Overloaded):
        played(failing, on_error="chunk").result()
    seen = []
    with pytest.raises(Overloaded):
        seen.extend(played(failing, on_error="chunk").iter_text())
    assert seen == ["One ", "two "]
    stream = played(failing, on_error="chunk")
    list(stream)
    with pytest.raises(Overloaded):
        list(stream.iter_text())
    with pytest.raises(Overloaded):
        stream.result()


def test_on_error_does_not_hide_errors_that_are_not_ours():
    """Only what the library raises on purpose becomes a chunk."""

    def broken() -> Iterator[Chunk]:
        yield text("One ")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(played(broken, on_error="chunk"))


@pytest.mark.parametrize("value", ["ignore", "", True, None])
def test_on_error_is_one_of_two_words(value):
    """Any other is a ConfigError at the call."""
    with pytest.raises(ConfigError, match="on_error"):
        played(whole, on_error=value)


# Lenses


def test_the_lenses_grow_with_the_loop_and_never_block():
    """Text, reasoning, model, usage and response show what is there so far."""
    stream = played(whole)
    assert (stream.text, stream.reasoning, stream.model, stream.usage) == ("", "", "scripted", Usage())
    assert stream.response == Response(model="scripted", provider="scripted", cost=stream.cost)
    texts = []
    for chunk in stream:
        if not chunk.done:
            assert not stream.response.complete
            assert stream.response.finish_reason is None
        texts.append(stream.text)
        assert stream.reasoning == "Hm."
        assert stream.response.text == stream.text
    assert texts == ["", "One ", "One two ", "One two three.", "One two three."]
    assert (stream.model, stream.usage, stream.response.timing.chunks) == ("m-1", Usage(3, 4), 3)


def test_the_lenses_can_be_read_from_another_thread():
    """A display may look while the loop runs."""
    seen: list[str] = []
    stream = played(whole)
    for _ in stream:
        reader = threading.Thread(target=lambda: seen.append(stream.response.text))
        reader.start()
        reader.join()
    assert seen == ["", "One ", "One two ", "One two three.", "One two three."]


def test_the_parts_of_the_answer_stand_in_the_order_they_came():
    """Thoughts between texts, and calls after them, keep their places."""

    def mixed() -> Iterator[Chunk]:
        yield text("a")
        yield text("b")
        yield Chunk(ChunkType.REASONING, reasoning="c")
        yield Chunk(ChunkType.REASONING, reasoning="d")
        yield text("e")
        yield Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall("c1", "f", {}))
        yield text("g")
        yield Finish(reason="tool_calls")

    response = played(mixed).result()
    assert [(part.type, getattr(part, "text", "")) for part in response.message.parts] == [
        ("text", "ab"),
        ("reasoning", "cd"),
        ("text", "e"),
        ("tool_call", ""),
        ("text", "g"),
    ]
    assert (response.text, response.reasoning, response.message.finish_reason) == ("abeg", "cd", "tool_calls")


def test_the_result_is_the_whole_answer_every_time_and_sends_once():
    """Drained or not, begun or not, the same value."""
    stream = played(whole)
    next(iter_ := iter(stream))
    first = stream.result()
    assert first.text == "One two three."
    assert stream.result() is first
    assert list(iter_) == []
    assert dialect_of(stream).asked == 1


def test_iter_text_yields_the_text_alone():
    """No thoughts, no empty strings of DONE."""
    assert list(played(whole).iter_text()) == ["One ", "two ", "three."]


def test_iter_text_and_iter_events_send_nothing_before_they_are_iterated():
    """They are lenses on the same turn."""
    stream = played(whole)
    stream.iter_text()
    stream.iter_events()
    assert dialect_of(stream).asked == 0
    assert "".join(stream.iter_text()) == "One two three."


def test_iter_events_yields_an_event_for_each_chunk_and_ends_with_done():
    """The events are those of the chunks."""
    events = list(played(whole).iter_events())
    assert [event["type"] for event in events] == ["reasoning", "content", "content", "content", "done"]
    assert events[-1]["final"]["content"] == "One two three."


@pytest.mark.parametrize("on_error", ["raise", "chunk"])
def test_iter_events_ends_with_an_error_event_and_does_not_raise(on_error):
    """Exactly one error event, the last, also where the stream was over before."""
    stream = played(failing, on_error=on_error)
    events = list(stream.iter_events())
    assert [event["type"] for event in events] == ["content", "content", "error"]
    assert events[-1]["error"] == "Busy."
    assert [event["type"] for event in stream.iter_events()] == ["error"]


def test_leaving_a_lens_hangs_up_like_leaving_the_loop():
    """``break`` out of iter_text or iter_events closes the turn at once."""
    for lens in (Stream.iter_text, Stream.iter_events):
        stream = played(whole)
        for _ in lens(stream):
            break
        assert dialect_of(stream).closed == 1
        assert stream.response.finish_reason == "cancelled"


def test_a_stream_shows_its_state():
    """Not started, running, whole, or how it ended."""
    stream = played(whole)
    assert repr(stream) == "<Stream not started, 0 characters>"
    for chunk in stream:
        if str(chunk) == "two ":
            assert repr(stream) == "<Stream running, 8 characters>"
    assert repr(stream) == "<Stream whole, 14 characters>"
    stream = played(failing, on_error="chunk")
    list(stream)
    assert repr(stream) == "<Stream ended by Overloaded, 8 characters>"


# Leaving


def ways_out() -> list[tuple[str, Callable[[Stream], None]]]:
    """Give the ways in which a loop can be left early."""

    def by_break(stream: Stream) -> None:
        for _ in stream:
            break

    def by_return(stream: Stream) -> None:
        for _ in stream:
            return

    def by_exception(stream: Stream) -> None:
        with suppress(KeyError):
            for _ in stream:
                raise KeyError("mine")

    def by_interrupt(stream: Stream) -> None:
        with suppress(KeyboardInterrupt):
            for _ in stream:
                raise KeyboardInterrupt

    def by_close(stream: Stream) -> None:
        with stream:
            next(iter(stream))

    def by_dropping_the_iterator(stream: Stream) -> None:
        chunks = iter(stream)
        next(chunks)
        del chunks

    return [
        ("break", by_break),
        ("return", by_return),
        ("exception", by_exception),
        ("interrupt", by_interrupt),
        ("close", by_close),
        ("drop", by_dropping_the_iterator),
    ]


@pytest.mark.parametrize(("name", "leave"), ways_out(), ids=[name for name, _ in ways_out()])
def test_leaving_a_named_stream_hangs_up_at_once_with_the_collector_off(name, leave):
    """By reference count alone, and the partial answer is kept."""
    gc.disable()
    try:
        stream = played(whole)
        leave(stream)
        assert dialect_of(stream).closed == 1
    finally:
        gc.enable()
    assert stream.response.finish_reason == "cancelled"
    assert not stream.response.complete
    with pytest.raises(Cancelled):
        list(stream)
    with pytest.raises(Cancelled) as caught:
        stream.result()
    assert caught.value.response == stream.response


@pytest.mark.parametrize(("name", "leave"), ways_out()[:4], ids=[name for name, _ in ways_out()[:4]])
def test_leaving_a_stream_without_a_name_hangs_up_at_once_with_the_collector_off(name, leave):
    """``for chunk in provider.stream(…)`` needs no name and no ``with``."""
    dialect = Played(whole)
    provider = Provider(dialect)
    gc.disable()
    try:
        leave(provider.stream("Hello"))
        assert dialect.closed == 1
    finally:
        gc.enable()


def endings() -> list[tuple[str, Callable[[Provider], None]]]:
    """Give the ways in which a turn can end, each by itself."""

    def exhausted(provider: Provider) -> None:
        for _ in provider.stream("Hello"):
            pass

    def resulted(provider: Provider) -> None:
        provider.send("Hello")

    def listed(provider: Provider) -> None:
        stream = provider.stream("Hello")
        list(stream.iter_text())
        list(stream.iter_events())
        stream.result()

    def left(provider: Provider) -> None:
        for _ in provider.stream("Hello"):
            break

    def left_by_name(provider: Provider) -> None:
        stream = provider.stream("Hello")
        for _ in stream:
            break
        with suppress(Cancelled):
            stream.result()

    def cancelled(provider: Provider) -> None:
        token = CancelToken()
        stream = provider.stream("Hello", cancel=token)
        with suppress(Cancelled):
            for _ in stream:
                token.cancel()

    def closed(provider: Provider) -> None:
        with provider.stream("Hello") as stream:
            next(iter(stream))

    def unused(provider: Provider) -> None:
        provider.stream("Hello").close()

    return [
        (each.__name__, each) for each in (exhausted, resulted, listed, left, left_by_name, cancelled, closed, unused)
    ]


def failures() -> list[tuple[str, Callable[[Provider], None]]]:
    """Give the ways in which a failed turn can be met."""

    def raised(provider: Provider) -> None:
        with suppress(PromptStreamError):
            for _ in provider.stream("Hello"):
                pass

    def raised_twice(provider: Provider) -> None:
        stream = provider.stream("Hello")
        for _ in range(3):
            with suppress(PromptStreamError):
                stream.result()

    def as_a_chunk(provider: Provider) -> None:
        for _ in provider.stream("Hello", on_error="chunk"):
            pass

    def as_a_chunk_left(provider: Provider) -> None:
        for chunk in provider.stream("Hello", on_error="chunk"):
            if chunk.error is not None:
                break

    def as_an_event(provider: Provider) -> None:
        list(provider.stream("Hello").iter_events())

    def as_text(provider: Provider) -> None:
        with suppress(PromptStreamError):
            list(provider.stream("Hello").iter_text())

    def as_text_of_a_chunk(provider: Provider) -> None:
        with suppress(PromptStreamError):
            list(provider.stream("Hello", on_error="chunk").iter_text())

    def iterated_again(provider: Provider) -> None:
        stream = provider.stream("Hello", on_error="chunk")
        for _ in range(3):
            list(stream)

    all_of_them = (
        raised,
        raised_twice,
        as_a_chunk,
        as_a_chunk_left,
        as_an_event,
        as_text,
        as_text_of_a_chunk,
        iterated_again,
    )
    return [(each.__name__, each) for each in all_of_them]


def garbage_of(scenario: Callable[[Provider], None], chunks: Callable[[], Iterator[Chunk]]) -> tuple[int, list]:
    """Run a scenario with the collector off; give what only the collector could free, and turns still alive."""
    turns: list[weakref.ref] = []

    class Kept(Provider):
        def turn(self, **options: Any) -> Any:
            made = super().turn(**options)
            turns.append(weakref.ref(made))
            return made

    provider = Kept(Played(chunks))
    scenario(provider)  # what is imported and cached by a first run is no garbage
    turns.clear()
    gc.collect()
    gc.disable()
    try:
        scenario(provider)
        alive = [turn() for turn in turns if turn() is not None]
        assert len(turns) == 1
        return gc.collect(), alive
    finally:
        gc.enable()


@pytest.mark.parametrize(("name", "scenario"), endings(), ids=[name for name, _ in endings()])
def test_a_turn_that_ended_leaves_no_reference_cycle(name, scenario):
    """Whole, left, cancelled or unused: the turn is freed by reference count, and nothing is left to collect."""
    assert garbage_of(scenario, whole) == (0, [])


@pytest.mark.parametrize(("name", "scenario"), failures(), ids=[name for name, _ in failures()])
@pytest.mark.parametrize("chunks", [failing, cut])
def test_a_turn_that_failed_leaves_no_reference_cycle(name, scenario, chunks):
    """An error holds no frame that holds the error: the turn is freed as soon as the error is."""
    assert garbage_of(scenario, chunks) == (0, [])


def test_a_scripted_error_leaves_no_reference_cycle():
    """Also where the exception lies in a script, which is kept."""

    def scenario() -> weakref.ref:
        scripted = providers.Scripted([["One", Overloaded("Busy.")]])
        stream = scripted.stream("Hello")
        with suppress(Overloaded):
            stream.result()
        return weakref.ref(scripted)

    scenario()
    gc.collect()
    gc.disable()
    try:
        assert scenario()() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_an_iterator_that_was_never_advanced_leaves_the_stream_as_it_was():
    """Dropping it costs nothing: the next loop starts from the beginning."""
    stream = played(whole)
    iter(stream)
    assert [str(chunk) for chunk in stream][-2] == "three."


def test_ctrl_c_inside_the_provider_is_the_users_stop():
    """KeyboardInterrupt is raised as it is; the partial answer is kept as cancelled."""

    def interrupted() -> Iterator[Chunk]:
        yield text("One ")
        raise KeyboardInterrupt

    for on_error in ("raise", "chunk"):
        stream = played(interrupted, on_error=on_error)
        with pytest.raises(KeyboardInterrupt):
            list(stream)
        assert (stream.text, stream.response.finish_reason) == ("One ", "cancelled")
        with pytest.raises(Cancelled, match="Ctrl-C"):
            stream.result()


# Closing and cancelling


def test_closing_is_quiet_and_can_be_repeated():
    """Before, in the middle, and after the end."""
    stream = played(whole)
    stream.close()
    stream.close()
    with pytest.raises(Cancelled, match="before anything was sent"):
        list(stream)
    assert dialect_of(stream).asked == 0
    stream = played(whole)
    list(stream)
    stream.close()
    assert stream.result().complete
    with played(whole) as stream:
        next(iter(stream))
    stream.close()
    assert dialect_of(stream).closed == 1


def test_a_closed_stream_never_ends_a_loop_normally():
    """Also where the iterator was taken before it was closed: nothing received is not everything received."""
    stream = played(whole)
    chunks = iter(stream)
    stream.close()
    with pytest.raises(Cancelled):
        list(chunks)


def test_closing_does_not_swallow_an_error_of_the_with_block():
    """What was raised inside ``with`` comes out of it."""
    with pytest.raises(KeyError, match="mine"), played(whole) as stream:
        for _ in stream:
            raise KeyError("mine")


def test_a_cancel_before_the_start_sends_nothing():
    """The first chunk that is asked for is the cancel, with its reason."""
    stream = played(whole)
    stream.cancel("changed my mind")
    with pytest.raises(Cancelled, match="changed my mind"):
        list(stream)
    assert dialect_of(stream).asked == 0


@pytest.mark.parametrize("how", ["stream", "token", "event"])
def test_after_a_cancel_no_further_chunk_comes(how):
    """From inside the loop, by whichever handle: the next step raises Cancelled, with what had come."""
    token, event = CancelToken(), threading.Event()
    stream = played(whole, cancel={"token": token, "event": event}.get(how))
    seen = []
    with pytest.raises(Cancelled) as caught:
        for chunk in stream:
            seen.append(str(chunk))
            if str(chunk) == "One ":
                {"stream": stream.cancel, "token": token.cancel, "event": event.set}[how]()
    assert seen == ["", "One "]
    assert (caught.value.response.text, caught.value.response.finish_reason) == ("One ", "cancelled")
    assert dialect_of(stream).closed == 1


def test_a_cancel_on_the_last_piece_is_never_a_clean_end():
    """Also where everything had come already."""
    stream = played(whole)
    with pytest.raises(Cancelled):
        for chunk in stream:
            if str(chunk) == "three.":
                stream.cancel()


def test_a_cancel_after_the_end_changes_nothing():
    """What is whole stays whole."""
    token = CancelToken()
    stream = played(whole, cancel=token)
    list(stream)
    stream.cancel()
    token.cancel()
    assert stream.result().complete


def test_a_cancel_is_an_error_chunk_where_errors_are_chunks():
    """The user's stop is told in the same way."""
    stream = played(whole, on_error="chunk")
    chunks = []
    for chunk in stream:
        chunks.append(chunk)
        stream.cancel()
    assert [chunk.type for chunk in chunks] == ["reasoning", "error"]
    assert isinstance(chunks[-1].error, Cancelled)


def test_a_token_cancelled_before_is_heard_at_the_start():
    """And the reason given to it is told."""
    token = CancelToken()
    token.cancel("too late")
    stream = played(whole, cancel=token)
    with pytest.raises(Cancelled, match="too late"):
        list(stream)
    assert dialect_of(stream).asked == 0


@pytest.mark.parametrize("cancel", [True, "now", lambda: None])
def test_what_cannot_cancel_is_a_type_error_at_the_call(cancel):
    """A CancelToken or a threading.Event, nothing else."""
    with pytest.raises(TypeError, match="cancel"):
        played(whole, cancel=cancel)


def test_a_result_asked_for_while_another_thread_iterates_is_a_state_error():
    """Two threads cannot drain one stream, and are told so."""
    inside, go_on = threading.Event(), threading.Event()

    def waiting() -> Iterator[Chunk]:
        yield text("One ")
        inside.set()
        go_on.wait(5)
        yield Finish(reason="stop")

    stream = played(waiting)
    thread = threading.Thread(target=lambda: list(stream))
    thread.start()
    inside.wait(5)
    with pytest.raises(StateError, match="thread"):
        stream.result()
    go_on.set()
    thread.join()
    assert stream.result().text == "One "


def test_closing_while_another_thread_iterates_cancels_it():
    """``close`` from outside does not fail: the loop over there ends with Cancelled."""
    inside, go_on = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def waiting() -> Iterator[Chunk]:
        yield text("One ")
        inside.set()
        go_on.wait(5)
        yield text("two")

    stream = played(waiting)

    def loop() -> None:
        try:
            list(stream)
        except Cancelled as error:
            raised.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    inside.wait(5)
    stream.close()
    go_on.set()
    thread.join()
    assert len(raised) == 1
    assert stream.text == "One "


# What is told of a forgotten stream


def warned(scenario: Callable[[], None]) -> list[str]:
    """Give the texts of the warnings that a scenario makes."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        scenario()
        gc.collect()
    return [str(each.message) for each in seen if each.category is ResourceWarning]


def test_a_stream_never_iterated_leaves_a_resource_warning_and_no_other_trace():
    """A forgotten loop is a bug worth telling; nothing was sent."""
    dialect = Played(whole)
    (told,) = warned(lambda: Provider(dialect).stream("Hello"))
    assert "nothing was sent" in told
    assert dialect.asked == 0


@pytest.mark.parametrize(
    "use",
    [
        Stream.close,
        Stream.cancel,
        Stream.result,
        list,
        lambda stream: next(iter(stream)),
        lambda stream: stream.__enter__().__exit__(None, None, None),
        lambda stream: list(stream.iter_text()),
        lambda stream: list(stream.iter_events()),
    ],
)
def test_a_stream_that_was_used_closed_or_cancelled_leaves_no_warning(use):
    """Whoever decided against it needs no reminder."""
    assert warned(lambda: use(played(whole))) == []


# The ending when letting go fails


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_source_that_fails_while_it_is_closed_does_not_hide_the_ending():
    """Whatever a dialect does on its way out, the turn is over and says how."""

    def stubborn() -> Iterator[Chunk]:
        try:
            yield text("One ")
            yield text("two ")
        finally:
            raise RuntimeError("on the way out")

    stream = played(stubborn)
    chunks = iter(stream)
    next(chunks)
    with suppress(RuntimeError):
        chunks.close()
    assert stream.response.finish_reason == "cancelled"
    with pytest.raises(PromptStreamError):
        stream.result()
