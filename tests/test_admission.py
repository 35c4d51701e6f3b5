"""max_in_flight: so many requests of one provider object at once, the others in line, and no place ever lost."""

from __future__ import annotations

import gc
import threading
from contextlib import suppress
from time import monotonic, sleep

import pytest
from dialects import DIALECTS, TEXT
from server import PATIENCE, each, full, say
from wires.base import dumps

import promptstream
from promptstream import Provider, Retry, Timeout, errors
from promptstream.providers import Scripted
from promptstream.providers.scripted import ScriptedDialect
from promptstream.turn import Turn
from promptstream.values.chunk import Finish
from promptstream.wire.watch import Watch

CHAT = DIALECTS["chat"]
every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)


def free(provider: Provider) -> int:
    """Give how many places of the provider are free."""
    return len(provider._gate._rooms.get().free)


def waiting(provider: Provider) -> int:
    """Give how many stand in line."""
    return len(provider._gate._rooms.get().line)


def until(condition, seconds: float = PATIENCE) -> None:
    """Wait until *condition* holds."""
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it did not come to that"
        sleep(0.001)


class Held:
    """A server that counts who is inside, and holds every answer until it is let go."""

    def __init__(self, server, dialect=CHAT):
        self.inside = self.most = 0
        self.order: list[str] = []
        self._lock = threading.Lock()
        self.dialect = dialect
        self.server = server(each(self.answer))

    def answer(self, conn, request):
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.order.append(request.json["messages"][-1]["content"] if self.dialect is CHAT else "")
        sleep(0.01)
        with self._lock:
            self.inside -= 1
        conn.send(self.dialect.good())


# How many, and in which order


@every_dialect
def test_no_more_than_so_many_are_in_flight(server, dialect):
    """Twelve threads, three at once at the most, and all are answered."""
    held = Held(server, dialect)
    with dialect.provider(held.server.origin, max_in_flight=3) as asked:
        texts = []
        threads = [threading.Thread(target=lambda: texts.append(dialect.send(asked).text)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert texts == [TEXT] * 12
        assert held.most == 3
        assert (free(asked), waiting(asked)) == (3, 0)


def test_fifty_threads_are_served_four_at_a_time_in_the_order_they_came(server):
    """First come, first served, and the server never sees five."""
    held = Held(server)
    with CHAT.provider(held.server.origin, max_in_flight=4) as asked:
        room = asked._gate._rooms.get()
        four = [asked._gate.place(watch) for watch in (Watch(Timeout()) for _ in range(4))]
        for place in four:
            place.__enter__()
        threads = []
        for number in range(50):
            threads.append(threading.Thread(target=asked.send, args=(f"number {number}",)))
            threads[-1].start()
            until(lambda: len(room.line) == number + 1)  # noqa: B023
        four[0].leave()  # one place alone: the order is then to be seen at the server
        threads[-1].join(PATIENCE)
        assert held.order == [f"number {number}" for number in range(50)]
        assert held.most == 1
        for place in four:
            place.leave()
        held.order.clear()
        more = [threading.Thread(target=asked.send, args=("Hi",)) for _ in range(50)]
        for thread in more:
            thread.start()
        for thread in (*threads, *more):
            thread.join(PATIENCE)
    assert held.most == 4
    assert len(held.order) == 50


def test_without_it_there_is_no_gate():
    """None, the default, costs nothing."""
    assert Scripted(["Hi"])._gate is None
    assert Scripted(["Hi"], max_in_flight=None)._gate is None


@pytest.mark.parametrize("given", [True, False, 1.0, 2.5, "4", float("inf"), [1]])
def test_what_is_no_whole_number_is_a_type_error(given):
    """Bools and floats too."""
    with pytest.raises(TypeError, match="max_in_flight"):
        Scripted(["Hi"], max_in_flight=given)


@pytest.mark.parametrize("given", [0, -1])
def test_less_than_one_is_a_value_error(given):
    """Nobody could ever ask."""
    with pytest.raises(ValueError, match="max_in_flight"):
        Scripted(["Hi"], max_in_flight=given)


def test_it_is_an_option_of_every_constructor_and_does_not_show():
    """providers.get passes it on, and repr keeps to name and model."""
    made = promptstream.providers.OpenAI(api_key="sk-0123456789", model="m", max_in_flight=7)
    assert free(made) == 7
    assert repr(made) == "<Provider openai m>"
    assert free(promptstream.providers.get("ollama", model="m", max_in_flight=2)) == 2


# A place is given back


def ends_whole(asked, dialect):
    """Read an answer to its end."""
    assert dialect.send(asked).text == TEXT


def ends_by_break(asked, dialect):
    """Leave the loop."""
    for _ in dialect.stream(asked):
        break


def ends_on_done(asked, dialect):
    """Leave the loop on DONE: the place is free before it is handed out."""
    for chunk in dialect.stream(asked):
        if chunk.done:
            assert free(asked) == 1
            break


def ends_by_drop(asked, dialect):
    """Drop a generator in the middle."""
    chunks = iter(dialect.stream(asked))
    next(chunks)
    assert free(asked) == 0
    del chunks


def ends_by_close(asked, dialect):
    """Close the stream."""
    with dialect.stream(asked) as stream:
        chunks = iter(stream)
        next(chunks)
        assert free(asked) == 0


def ends_by_cancel(asked, dialect):
    """Cancel it from another thread."""
    stream = dialect.stream(asked)
    with pytest.raises(errors.Cancelled):
        for _ in stream:
            assert free(asked) == 0
            threading.Thread(target=stream.cancel).start()
            until(lambda: stream._turn.watch.cancelled)


def ends_by_an_exception(asked, dialect):
    """Raise in the loop's body."""
    with suppress(ZeroDivisionError):
        for _ in dialect.stream(asked):
            raise ZeroDivisionError


def ends_by_buffered_drop(asked, dialect):
    """Drop the bridge's consumer."""
    stream = dialect.stream(asked).buffered()
    next(stream)
    stream.close()
    until(lambda: free(asked) == 1)


@every_dialect
@pytest.mark.parametrize(
    "ending",
    [
        ends_whole,
        ends_by_break,
        ends_on_done,
        ends_by_drop,
        ends_by_close,
        ends_by_cancel,
        ends_by_an_exception,
        ends_by_buffered_drop,
    ],
    ids=lambda ending: ending.__name__,
)
def test_a_place_is_free_at_once_however_the_stream_ends(server, dialect, ending):
    """By reference count alone, with the garbage collector off."""
    one = server(each(say(dialect.good())))
    with dialect.provider(one.origin, max_in_flight=1) as asked:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                ending(asked, dialect)
                assert (free(asked), waiting(asked)) == (1, 0)
        finally:
            gc.enable()
        assert dialect.send(asked).text == TEXT


@every_dialect
def test_a_place_is_free_at_once_after_an_error(server, dialect):
    """A refusal, a cut answer, and a call that cannot be sent."""
    whole = dialect.good()
    cut = whole[: len(whole) - len(dialect.written().body) + dialect.signal_end() - 5]
    one = server(each(say(dialect.refusal("auth")), lambda conn, request: (conn.send(cut), conn.close())))
    with dialect.provider(one.origin, max_in_flight=1) as asked:
        for kind in (errors.Authentication, errors.Truncated):
            with pytest.raises(kind):
                dialect.send(asked)
            assert free(asked) == 1
        with pytest.raises(errors.ConfigError):
            dialect.send(asked, extra={"x": object()})
        assert free(asked) == 1


def test_a_stream_that_was_never_begun_takes_no_place():
    """Neither made, nor asked for its iterator, nor closed."""
    asked = Scripted(["Hi"], max_in_flight=1)
    stream = asked.stream("Hi")
    iter(stream)
    assert free(asked) == 1
    stream.close()
    assert free(asked) == 1


def test_a_middleware_that_holds_on_to_the_source_holds_no_place():
    """The turn gives the place back when it ends, whoever keeps the generator."""
    asked, kept = Scripted([["Once", " upon"], "Hi"], max_in_flight=1), []
    stream = asked.stream("Hi")
    turn: Turn = stream._turn
    inner = turn.exchange

    def middleware(request, watch):
        source = inner(request, watch)
        kept.append(source)

        def chunks():  # which passes no close() on
            yield from [next(source), next(source)]
            yield from ()

        return chunks()

    turn.exchange = middleware
    for _ in stream:
        assert free(asked) == 0
        break
    assert free(asked) == 1
    assert asked.send("Hi").text == "Hi"
    kept.clear()  # its own leaving gives nothing back twice
    assert free(asked) == 1


def test_a_place_is_held_through_the_waits_between_attempts(server):
    """A provider that asks for patience gets fewer callers."""
    told = []
    one = server(each(say(CHAT.refusal("rate", Retry_After="0.02")), say(CHAT.good())))
    retry = Retry(2, on_retry=lambda *each: told.append(free(asked)))
    with CHAT.provider(one.origin, max_in_flight=1, retry=retry) as asked:
        assert CHAT.send(asked).text == TEXT
    assert told == [0]


def test_each_round_enters_anew():
    """Between two requests of one turn the place is free for others."""
    seen = []

    class Pausing(ScriptedDialect):
        def play(self, request, watch):
            seen.append(free(asked))
            yield from super().play(request, watch)

    asked = Provider(
        Pausing([["One", Finish(reason="other", raw_reason="pause_turn", pause=True)], ["Two"]]), max_in_flight=1
    )
    places = asked._gate.place
    taken = []
    asked._gate.place = lambda watch: (taken.append(free(asked)), places(watch))[1]
    with promptstream.chat(provider=asked) as conv:
        assert conv.send("Hi").text == "OneTwo"
    assert (seen, taken) == ([0, 0], [1, 1])
    assert free(asked) == 1


def test_a_fallback_waits_at_its_own_gate():
    """The place of the provider that failed is free while the next one answers."""
    seen = []

    class Watching(ScriptedDialect):
        def play(self, request, watch):
            seen.append((free(first), free(second)))
            yield from super().play(request, watch)

    first = Provider(Watching([[errors.Overloaded("Busy.")]]), max_in_flight=1)
    second = Provider(Watching(["Hello"]), max_in_flight=1)
    with promptstream.chat(provider=first, fallback=[second]) as conv:
        assert conv.send("Hi").text == "Hello"
    assert seen == [(0, 1), (1, 0)]
    assert (free(first), free(second)) == (1, 1)


def test_completions_and_unary_calls_pass_the_gate_too(server):
    """Everything that goes to the provider does."""
    dialect = DIALECTS["completions"]
    listing = full("200 OK", dumps(dialect.wire.models()[1]))
    seen = []

    def answer(conn, request):
        seen.append(free(asked))
        conn.send(listing if request.method == "GET" else dialect.good())

    one = server(each(answer))
    with dialect.provider(one.origin, max_in_flight=1) as asked:
        asked.models()
        asked.completion("Once")
        list(asked.stream_completion("Once"))
        assert seen == [0, 0, 0]
        assert free(asked) == 1
        with asked._gate.place(Watch(Timeout())), asked, pytest.raises(errors.DeadlineExceeded) as caught:
            asked.timeout = Timeout(total=0.05)
            asked.models()
        assert caught.value.phase == "admission"
        assert (free(asked), waiting(asked)) == (1, 0)
