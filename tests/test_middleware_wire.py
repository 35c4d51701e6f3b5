"""Layers on real sockets: hanging up, what they keep, clocks, cancels, and every dialect."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from time import sleep
from typing import Any

import pytest
from dialects import DIALECTS, Dialect
from layers import GONE, Call, again, asking, first_only, hold, plain, played, shown_only, swallow, text_only, window
from server import LAST_CHUNK, PATIENCE, TEXT, Conn, Request, chunked_head, each, good, http_chunk, role, text

from promptstream import Chunk, ChunkType, Message, Provider, Stream, Timeout, errors, providers
from promptstream.answer import Answer
from promptstream.middleware import finish
from promptstream.providers.scripted import ScriptedDialect
from promptstream.turn import Turn
from promptstream.values.request import ChatRequest

# Leaving, hanging up, and what is kept


@pytest.fixture
def endless(server):
    """A server that streams one delta and then waits for the client to go."""

    def script(conn: Conn) -> None:
        conn.request()
        conn.send(chunked_head() + http_chunk(role() + text("Once")))
        conn.wait_for_hang_up()

    return server(script)


def closing(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Yield on the way out."""
    try:
        yield from call_next(request)
    finally:
        yield Chunk(ChunkType.TEXT, "Bye.")


def deaf(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Catch everything, the closing too, and ask once more."""
    try:
        yield from call_next(request)
    except BaseException:
        yield from call_next(request)


KEPT: list[Any] = []


def keeps(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Keep the inner generator alive, and the way to make another."""
    inner = call_next(request)
    KEPT[:] = [inner, lambda: call_next(request)]
    yield from inner


@pytest.fixture
def kept() -> Iterator[list[Any]]:
    """What :func:`keeps` kept, forgotten after the test."""
    yield KEPT
    KEPT.clear()


@pytest.mark.parametrize("layer", [plain, window(0), closing, deaf, keeps, swallow])
def test_leaving_the_loop_hangs_up_whatever_the_layers_do(endless, layer, kept):
    """The server sees the client go although a layer holds on, yields in finally or asks again."""
    with providers.Compatible(endless.url, api_key="k") as provider:
        stream = asking(provider, plain, layer, plain)
        for chunk in stream:
            assert chunk.text == "Once"
            break
        [conn] = endless.connections
        assert conn.gone.wait(PATIENCE)
        gc.collect()
    assert stream.response.text == "Once"
    assert stream.response.finish_reason == "cancelled"
    assert len(endless.requests) == 1
    warned = [warning for warning in stream.response.warnings if "While the source was closed" in warning]
    assert len(warned) == (layer in (closing, deaf))


def test_what_a_layer_keeps_gives_nothing_and_sends_nothing(server, kept):
    """A kept generator is over when its turn is, a kept call_next asks nobody, no other turn's connection is hit."""
    origin = server(each(good, good)).url
    with providers.Compatible(origin, api_key="k") as provider:
        stream = asking(provider, keeps)
        for _ in stream:
            break
        old, another = KEPT
        other = iter(asking(provider))
        assert next(other).text == "Once"
        assert list(old) == []
        with pytest.raises(errors.StateError, match="keeps asks for more after its turn is over"):
            list(another())
        assert "".join(chunk.text for chunk in other) == " upon a time."


def test_one_connection_at_a_time(server):
    """Who asks again while the first answer is on its way hangs that up."""

    def endless(conn: Conn, request: Request) -> None:
        conn.send(chunked_head() + http_chunk(role() + text("No")))
        conn.wait_for_hang_up()

    def impatient(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        first = call_next(request)
        while next(first).type is not ChunkType.TEXT:
            pass
        yield from call_next(request)
        assert list(first) == []

    two = server(each(endless, good))
    with providers.Compatible(two.url, api_key="k") as provider:
        response = asking(provider, impatient).result()
    assert two.connections[0].gone.wait(PATIENCE)
    assert (response.text, response.finish_reason) == (TEXT, "stop")


def test_a_layer_cleans_up_when_its_loop_is_left():
    """Its finally runs at the break, in the loop's thread."""
    seen: list[str] = []

    def tidy(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        try:
            yield from call_next(request)
        except GeneratorExit:
            seen.append("left")
            raise
        finally:
            seen.append(threading.current_thread().name)

    for _ in asking(played(), plain, tidy):
        break
    assert seen == ["left", threading.current_thread().name]


class Mine(Exception):
    """An error of the user's own."""


def broken(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
    """Fail at the end."""
    yield from call_next(request)
    raise Mine


def left(*layers: Any) -> None:
    """Leave the loop at its first chunk."""
    for _ in asking(played(), *layers):
        break


def drained(*layers: Any, script: Any = None) -> None:
    """Run the loop to its ending, whatever that is."""
    try:
        for _ in asking(played(*script) if script else played(), *layers):
            pass
    except (errors.PromptStreamError, Mine):
        pass


@pytest.mark.parametrize(
    "way",
    [
        lambda: drained(plain, plain),
        lambda: drained(text_only, hold),
        lambda: drained(again, script=[["No"], ["Yes"]]),
        lambda: drained(plain, broken),
        lambda: drained(plain, swallow, script=[["One ", GONE]]),
        lambda: drained(first_only, plain),
        lambda: left(plain),
        lambda: left(plain, closing),
        lambda: left(window(1), plain),
    ],
)
def test_a_turn_within_layers_is_freed_by_reference_count(way):
    """Left, whole, cut, failed or swallowed: nothing of it waits for the garbage collector."""
    kinds = (Stream, Turn, Answer, ScriptedDialect)

    def alive() -> int:
        things = gc.get_objects()
        return sum(isinstance(thing, kinds) or str(type(thing).__module__).endswith(".onion") for thing in things)

    way()
    gc.collect()
    gc.disable()
    try:
        before = alive()
        for _ in range(5):
            way()
        assert alive() <= before
    finally:
        gc.enable()


# Over every dialect, on real sockets


def request_for(dialect: Dialect, provider: Provider) -> ChatRequest:
    """Give what *dialect* is asked."""
    if dialect.completes:
        return ChatRequest((), provider.model, prompt="Once")
    return ChatRequest((Message("user", "Hi"),), provider.model)


def body(dialect: Dialect, events: list[bytes]) -> bytes:
    """Frame a streamed answer of *events*."""
    head = chunked_head(content_type=dialect.wire.stream_type)
    return head + b"".join(http_chunk(event) for event in events) + LAST_CHUNK


dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)


@dialects
@pytest.mark.parametrize("layers", [(plain,), (text_only,), (shown_only, hold)])
def test_layers_keep_what_each_dialect_tells(server, dialect: Dialect, layers):
    """Text, reason, usage, model and id of the answer are the same with and without them."""

    def script(conn: Conn) -> None:
        while True:
            conn.request()
            conn.send(body(dialect, dialect.events()))

    with dialect.provider(server(script).origin) as provider:
        alone = dialect.send(provider)
        within = asking(provider, *layers, request=request_for(dialect, provider)).result()
    names = ("text", "finish_reason", "raw_finish_reason", "usage", "model", "request_id", "warnings", "complete")
    for name in names:
        assert getattr(within, name) == getattr(alone, name), name


@dialects
@pytest.mark.parametrize("layer", [plain, text_only, hold, swallow])
def test_a_cut_answer_is_cut_within_layers_too(server, dialect: Dialect, layer):
    """However cleanly the connection ends without the finish signal, no layer makes it whole."""

    def script(conn: Conn) -> None:
        conn.request()
        conn.send(body(dialect, dialect.events()[:2]))

    with dialect.provider(server(script).origin) as provider, pytest.raises(errors.Truncated):
        asking(provider, layer, request=request_for(dialect, provider)).result()


@pytest.mark.parametrize("layer", [plain, text_only, hold])
def test_a_terminator_without_content_is_no_answer_within_layers_either(server, layer):
    """A sentinel counts after content alone, whoever looks at it on the way."""

    def script(conn: Conn) -> None:
        conn.request()
        conn.send(chunked_head() + http_chunk(b"data: [DONE]\n\n") + LAST_CHUNK)

    with providers.Compatible(server(script).url, api_key="k") as provider, pytest.raises(errors.Truncated):
        asking(provider, layer).result()


# Clocks and cancels


def test_a_layer_may_take_its_time(server):
    """The idle clock runs while the server is waited for, not while a layer works; nor after the provider's end."""

    def slow(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        for chunk in call_next(request):
            sleep(0.04)
            yield chunk
        sleep(0.05)
        yield Chunk(ChunkType.TEXT, " The end.")

    with providers.Compatible(server(each(good)).url, api_key="k") as provider:
        response = asking(provider, slow, timeout=Timeout(idle=0.03)).result()
    assert (response.text, response.warnings) == (f"{TEXT} The end.", ())


def test_a_fault_after_the_finish_signal_reaches_no_layer_and_takes_no_text(server):
    """The connection breaks after the signal while a layer holds the text: all of it comes, with a warning."""
    caught: list[BaseException] = []

    def careful(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        try:
            yield from hold(request, call_next)
        except errors.StreamError as error:
            caught.append(error)
            raise

    chat = DIALECTS["chat"]

    def breaks(conn: Conn, request: Request) -> None:
        conn.send(chunked_head(), *(http_chunk(event) for event in chat.events()[:-1]))
        conn.reset()

    with chat.provider(server(each(breaks)).origin) as provider:
        response = asking(provider, careful).result()
    assert response.text == "Once upon a time."
    assert response.complete
    assert caught == []
    assert [warning[:24] for warning in response.warnings] == ["After the finish signal:"]


def test_a_cancel_ends_a_layer_that_catches_everything(endless):
    """Whatever a layer makes of it, a cancelled stream ends with Cancelled and no further chunk."""

    def stubborn(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        try:
            yield from call_next(request)
        except errors.StreamError:
            yield Chunk(ChunkType.TEXT, "more")
            yield finish("stop")

    with providers.Compatible(endless.url, api_key="k") as provider:
        stream = asking(provider, stubborn)
        seen = []
        with pytest.raises(errors.Cancelled):
            for chunk in stream:
                seen.append(chunk.text)
                stream.cancel()
    assert seen == ["Once"]
    assert not stream.response.complete
