"""The spine under attack: mislabelled bodies, routes over providers, rounds, plain dicts, forms and attachments."""

from __future__ import annotations

import base64
import gc
import json
import pickle
import threading
from decimal import Decimal
from numbers import Integral
from time import monotonic

import attrs
import pytest
from server import LAST_CHUNK, chunked_head, each, finish, good, http_chunk, role, say, text

import promptstream
from promptstream import Document, Image, Message, Provider, Reasoning, Retry, Text, Timeout, ToolCall, ToolResult
from promptstream.errors import (
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    Overloaded,
    ProtocolError,
    StreamError,
    Truncated,
)
from promptstream.history import attached_parts
from promptstream.providers import Compatible, Ollama, Scripted
from promptstream.providers.compatible import CompatibleDialect
from promptstream.providers.scripted import ScriptedDialect
from promptstream.values.chunk import Chunk, Finish
from promptstream.values.effort import Effort
from promptstream.values.format import Format
from promptstream.values.media import media_type
from promptstream.values.usage import Usage
from promptstream.wire.events import iter_sse

ONCE = Retry(1)
NOWHERE = "http://127.0.0.1:9/v1"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}"
PNG = b"\x89PNG\r\n\x1a\n"
BOM = b"\xef\xbb\xbf"
SSE = role() + text("Hel") + text("lo") + finish() + b"data: [DONE]\n\n"
WHOLE = {
    "model": "toy-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
}
OLLAMA = {"model": "m", "message": {"role": "assistant", "content": "Hello"}, "done": True, "done_reason": "stop"}
OLLAMA_LINES = (
    b'{"model":"m","message":{"role":"assistant","content":"Hel"},"done":false}\n'
    b'{"model":"m","message":{"role":"assistant","content":"lo"},"done":false}\n'
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}\n'
)


def answering(kind, *pieces):
    """Make a script that answers 200 with *pieces*, each sent by itself, under the content type *kind*."""

    def script(conn):
        conn.request()
        label = f"Content-Type: {kind}\r\n" if kind else ""
        head = f"HTTP/1.1 200 OK\r\n{label}Content-Length: {sum(map(len, pieces))}\r\n\r\n"
        conn.send(head.encode(), *pieces)
        conn.wait_for_hang_up()

    return script


# What a body is


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "", "text/event-stream"])
@pytest.mark.parametrize(
    "body",
    [SSE, BOM + SSE, b"\n\n" + SSE, b"id: 1\n" + SSE, b"retry: 9\n\n" + SSE, b": hello\n\n" + SSE],
    ids=["plain", "BOM", "blank lines", "id", "retry", "comment"],
)
def test_events_are_events_under_any_label(server, body, kind, streaming):
    """What begins as server-sent events do is read as such, whatever a proxy calls it and whatever was asked."""
    with Compatible(server(answering(kind, body)).url) as provider:
        assert provider.send("Hi", streaming=streaming).text == "Hello"


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "", "application/octet-stream"])
@pytest.mark.parametrize("front", [b"", BOM, b"\n\n \n"], ids=["plain", "BOM", "blank lines"])
@pytest.mark.parametrize("indent", [None, 2])
def test_one_json_value_is_an_answer_under_any_label(server, kind, front, indent, streaming):
    """A server that ignores ``stream`` may print its JSON as it likes and keep the line alive by white space."""
    body = front + json.dumps(WHOLE, indent=indent).encode() + b"\n"
    with Compatible(server(answering(kind, body)).url) as provider:
        assert provider.send("Hi", streaming=streaming).text == "Hello"


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson", "text/plain", "", "text/event-stream"])
@pytest.mark.parametrize(
    "body",
    [
        OLLAMA_LINES,
        BOM + OLLAMA_LINES,
        b"\n" + OLLAMA_LINES,
        OLLAMA_LINES.rstrip(),
        json.dumps(OLLAMA).encode(),
        json.dumps(OLLAMA, indent=2).encode(),
    ],
    ids=["lines", "BOM", "blank line", "no last line end", "one value", "one value over several lines"],
)
def test_lines_of_json_and_one_value_are_told_apart_under_any_label(server, body, kind, streaming):
    """Ollama behind a proxy that says application/json for its lines still streams, and one pretty value is one."""
    with Ollama(base_url=server(answering(kind, body)).origin, model="m") as provider:
        assert provider.send("Hi", streaming=streaming).text == "Hello"


@pytest.mark.parametrize("dialect", ["events", "lines"])
def test_what_is_mislabelled_still_arrives_piece_by_piece(server, dialect):
    """The first text is handed out while the server holds the rest back: nothing waits for the end of the body."""
    first, rest = (role() + text("Hel"), text("lo") + finish()) if dialect == "events" else (b"", b"")
    if dialect == "lines":
        first, _, rest = OLLAMA_LINES.partition(b"\n")
        first += b"\n"

    def script(conn):
        conn.request()
        conn.send(chunked_head().replace(b"text/event-stream", b"application/json") + http_chunk(first))
        conn.wait(conn.server.release)
        conn.send(http_chunk(rest) + LAST_CHUNK)

    made = server(script)
    provider = Compatible(made.url) if dialect == "events" else Ollama(base_url=made.origin, model="m")
    seen = []
    for chunk in provider.stream("Hi", timeout=5):
        seen.append(str(chunk))
        made.release.set()
    assert "".join(seen) == "Hello"
    assert seen[0] == "Hel"


@pytest.mark.parametrize("cut", range(1, 12))
def test_the_beginning_of_a_body_may_come_in_any_pieces(server, cut):
    """A byte order mark and a field's name that are split over reads are recognised all the same."""
    body = BOM + SSE
    with Compatible(server(answering("application/json", body[:cut], body[cut:])).url) as provider:
        assert provider.send("Hi").text == "Hello"


def test_what_is_neither_json_nor_events_is_quoted(server):
    """A proxy's apology under the name of JSON is told as what came."""
    provider = Compatible(server(answering("application/json", b"Upstream is down")).url, retry=ONCE)
    with provider, pytest.raises(ProtocolError, match="Upstream is down"):
        provider.send("Hi")


def test_json_in_place_of_an_event_does_not_disturb_the_events_around_it():
    """Bare JSON among events is kept aside, the standard's events come as they are, at every cut."""
    body = b'data: one\n\n{"error": {"message": "x"}}\n\ndata: two\n\n[1]'
    for cut in range(len(body)):
        stream = iter_sse([body[:cut], body[cut:]])
        assert [event.data for event in stream] == ["one", "two"]
        assert stream.stray == ['{"error": {"message": "x"}}', "[1]"]


# Routes


def test_a_provider_without_a_model_is_not_told_of_as_if_it_had_the_one_before():
    """The name of the model that failed does not stay on the answer, or the error, of another provider."""
    first, last = Scripted([[Overloaded("busy")]], model="one"), Compatible(NOWHERE, retry=ONCE)
    with promptstream.chat(provider=first, fallback=[last]) as conv, pytest.raises(StreamError) as caught:
        conv.send("Hi")
    assert (caught.value.provider, caught.value.model, caught.value.response.model) == ("compatible", None, None)


def test_who_is_set_up_wrongly_is_passed_over_where_another_is_left():
    """A script without turns cannot be asked; the one after it can, and the warning says what to mend."""
    first, last = Scripted([[Overloaded("busy")]]), Scripted(["Hello"])
    with promptstream.chat(provider=first, fallback=[Scripted([]), last]) as conv:
        response = conv.send("Hi")
    assert response.text == "Hello"
    assert "The script has 0 turns" in response.warnings[1]


def test_a_provider_that_needs_a_model_is_told_to_name_one_when_the_conversation_is_opened():
    """Ollama has no default: neither as the provider nor in fallback is that left for the first turn to find."""
    with pytest.raises(ConfigError, match="ollama has no default model"):
        promptstream.chat(provider="ollama")
    with pytest.raises(ConfigError, match="ollama has no default model"):
        promptstream.chat(provider=Scripted(["x"]), fallback=["ollama"])
    with promptstream.chat(provider=Scripted(["x"]), fallback=[Ollama(model="llama3.2")]) as conv:
        assert conv.send("Hi").text == "x"


@pytest.mark.parametrize(("choice", "tools"), [("nope", ["add"]), ("add", ["add", "add"])])
def test_a_choice_of_no_tool_and_two_tools_of_one_name_are_refused_at_the_call(choice, tools):
    """What no provider takes is told before anything is sent."""
    provider = Scripted(["never"])
    with pytest.raises(ConfigError, match=f"{choice}"):
        provider.stream("Hi", tools=[{"name": name} for name in tools], tool_choice=choice)
    assert provider.requests == []


def test_the_error_is_not_that_of_who_could_never_have_answered():
    """Where the only other provider takes no images, the failure of the one that was asked is raised."""

    class Blind(ScriptedDialect):
        capabilities = frozenset({"streaming"})

    first, blind = Scripted([[Overloaded("busy")]]), Provider(Blind(["never"]))
    with promptstream.chat(provider=first, fallback=[blind]) as conv, pytest.raises(Overloaded):
        conv.send("Look", attachments=[PNG])
    assert blind.requests == []


def test_an_answer_that_ends_before_it_began_is_a_reason_to_ask_the_next(server):
    """A gateway that opens a stream and closes it cleanly, without a word or a finish signal, has not answered."""

    def script(conn):
        conn.request()
        conn.send(chunked_head() + http_chunk(role()) + LAST_CHUNK)

    first = Compatible(server(script).url)
    with promptstream.chat(provider=first, fallback=[Scripted(["Hello"])]) as conv:
        response = conv.send("Hi")
    assert (response.text, len(response.warnings)) == ("Hello", 1)


def test_the_same_provider_again_is_asked_with_its_own_model():
    """Only the first turn to it takes the model that the conversation was opened with."""
    provider = Scripted([[Overloaded("busy")], "Hello"], model="small")
    with promptstream.chat(provider=provider, model="big", fallback=[provider]) as conv:
        assert conv.send("Hi").text == "Hello"
    assert [request.model for request in provider.requests] == ["big", "small"]


@pytest.mark.parametrize("silent", [False, True])
def test_leaving_the_loop_hangs_up_on_the_fallback_at_once(server, silent):
    """Promise 3, without the garbage collector, whether the one before refused or was given up on."""

    def hold(conn, request):
        conn.send(chunked_head() + http_chunk(role() + text("Once")))
        conn.wait_for_hang_up()

    def mute(conn, request):
        conn.wait_for_hang_up()

    before, after = server(each(mute if silent else say(BUSY))), server(each(hold))
    first, dead, last = (Compatible(url, retry=ONCE) for url in (before.url, NOWHERE, after.url))
    gc.collect()
    gc.disable()
    try:
        with promptstream.chat(provider=first, fallback=[dead, last], timeout=Timeout(first=0.1)) as conv:
            stream = conv.stream("Hi")
            for chunk in stream:
                assert str(chunk) == "Once"
                break
            left = monotonic()
            assert after.conn.gone.wait(1)
            assert after.conn.hung_up - left < 0.1
            assert before.conn.gone.is_set() or not silent
            assert [message.text for message in conv.messages] == ["Hi", "Once"]
    finally:
        gc.enable()


def test_an_event_that_is_set_ends_the_route(server):
    """A plain threading.Event stops the turn while the first is waited for; the next is not asked."""
    stop = threading.Event()

    def mute(conn, request):
        stop.set()
        conn.wait_for_hang_up()

    second = Scripted(["never"])
    first = Compatible(server(each(mute)).url)
    with first, promptstream.chat(provider=first, fallback=[second]) as conv, pytest.raises(Cancelled):
        conv.send("Hi", cancel=stop)
    assert second.requests == []


def test_an_error_chunk_tells_of_the_last_one_asked(server):
    """on_error="chunk": one chunk, with the provider, model and attempts of the whole route."""
    first, last = (
        Compatible(server(each(say(BUSY))).url, retry=ONCE, model="a"),
        Compatible(NOWHERE, retry=ONCE, model="b"),
    )
    with promptstream.chat(provider=first, fallback=[last]) as conv:
        (chunk,) = conv.stream("Hi", on_error="chunk")
    error = chunk.error
    assert (error.provider, error.model, error.attempts) == ("compatible", "b", 2)
    assert len(error.response.warnings) == 1


# Rounds


class Pausing(CompatibleDialect):
    """Chat Completions where the limit of an answer is a pause."""

    name = "pausing"

    def decode(self, events):
        """Mark the pause."""
        for chunk in super().decode(events):
            pauses = isinstance(chunk, Finish) and chunk.raw_reason == "length"
            yield attrs.evolve(chunk, pause=True) if pauses else chunk


def pause(conn, request):
    """Answer the first round."""
    conn.send(chunked_head() + http_chunk(role() + text("One. ") + finish("length") + b"data: [DONE]\n\n") + LAST_CHUNK)


def hold(conn, request):
    """Begin an answer and hold the rest back."""
    conn.send(chunked_head() + http_chunk(role() + text("Two")))
    conn.wait_for_hang_up()


@pytest.mark.parametrize("way", ["break", "cancel", "deadline"])
def test_a_second_round_that_is_stopped_leaves_a_conversation_that_goes_on(server, way):
    """Promise 7: what the user stopped is kept over both rounds, what ran out of time is not; the next turn works."""
    made = server(each(pause, hold, good))
    with Provider(Pausing(base_url=made.url, model="m")) as provider, promptstream.chat(provider=provider) as conv:
        stream = conv.stream("Hi", timeout=0.15 if way == "deadline" else None)
        error = {"cancel": Cancelled, "deadline": DeadlineExceeded}.get(way)
        if error is None:
            for chunk in stream:
                if str(chunk) == "Two":
                    break
        else:
            with pytest.raises(error) as caught:
                for chunk in stream:
                    if str(chunk) == "Two" and way == "cancel":
                        conv.cancel()
            assert (caught.value.response.text, caught.value.response.rounds) == ("One. Two", 2)
        assert made.conn.gone.wait(1)
        kept = [] if way == "deadline" else ["Hi", "One. Two"]
        assert [message.text for message in conv.messages] == kept
        assert conv.send("Go on").text == "Once upon a time."
        assert [message["content"] for message in made.requests[-1].json["messages"]] == [*kept, "Go on"]


def test_a_retry_in_the_second_round_takes_back_that_round_alone(server):
    """What the first brought stays, and comes once."""
    made = server(each(pause, say(BUSY), good))
    retry = Retry(2, base=0.001)
    with Provider(Pausing(base_url=made.url, model="m"), retry=retry) as provider:
        response = promptstream.chat(provider=provider).send("Hi")
    assert (response.text, response.rounds, len(made.requests)) == ("One. Once upon a time.", 2, 3)


def test_the_content_of_one_round_does_not_make_an_empty_one_whole():
    """Promise 1, in each round: a terminator alone, before any content of it, is no ending."""
    first = Finish(reason="other", pause=True)
    provider = Scripted([["a", first], [Finish(sentinel=True)]])
    with promptstream.chat(provider=provider) as conv, pytest.raises(Truncated) as caught:
        conv.send("Hi")
    assert caught.value.response.text == "a"


def test_a_round_of_unknown_figures_makes_the_sum_unknown():
    """The tokens and the price of one round are not those of the whole turn."""
    first = Finish(reason="other", pause=True, usage_seen=Usage(3, 4), cost=Decimal("0.5"))
    response = promptstream.chat(provider=Scripted([["a", first], ["b", Finish(reason="stop")]])).send("Hi")
    assert response.usage == Usage()
    with promptstream.chat(provider=Provider(Paid([["a", first], ["b", Finish(reason="stop")]]))) as conv:
        assert conv.send("Hi").cost is None
        assert conv.cost is None


class Paid(ScriptedDialect):
    """A script whose price nobody told."""

    free = False


def test_what_a_failed_attempt_cost_is_not_the_price_of_the_next():
    """A price told by an attempt that was taken back goes with it."""
    told = Finish(cost=Decimal(7), usage_seen=Usage(1, 1))
    paid = Provider(Paid(["Hello"]))
    with promptstream.chat(provider=Provider(Paid([[told, Overloaded("busy")]])), fallback=[paid]) as conv:
        assert conv.send("Hi").cost is None


# Forms and efforts


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    "given",
    [
        {"schema": SCHEMA},
        {"response_format": SCHEMA},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}},
        {"response_format": {"type": "json_schema", "name": "answer", "schema": SCHEMA}},
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
    ],
    ids=["schema", "bare", "Chat Completions", "Responses", "llama.cpp"],
)
def test_a_schema_is_found_however_it_is_given(given):
    """Each vendor's way to write it asks for the same answer, and its value is read."""
    form = Format.of(given)
    assert (form.schema, form.name, form.is_json) == (SCHEMA, "answer", True)
    assert Scripted(['{"a": 1}']).send("Hi", **given).parsed == {"a": 1}


def test_a_schema_inside_response_format_needs_the_capability_too():
    """Unsupported comes before any I/O however the schema is given."""

    class Plain(ScriptedDialect):
        capabilities = frozenset({"streaming"})

    for given in ({"schema": SCHEMA}, {"response_format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}):
        with pytest.raises(ConfigError, match="json_schema"):
            Provider(Plain(["x"])).send("Hi", **given)


def test_a_form_that_only_the_provider_knows_is_not_read_as_json():
    """A grammar's answer is text, and no warning says that it is no JSON."""
    response = Scripted(["yes"]).send("Hi", response_format={"type": "grammar", "grammar": 'root ::= "yes"'})
    assert (response.parsed, response.warnings) == (None, ())


class NumpyLike:
    """An integer of another library's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __int__(self) -> int:
        return self.value


Integral.register(NumpyLike)


@pytest.mark.parametrize(
    ("value", "effort"),
    [
        (True, Effort()),
        (False, Effort("none")),
        (0, Effort("none")),
        ("none", Effort("none")),
        (1, Effort(budget=1)),
        (NumpyLike(2048), Effort(budget=2048)),
        ({"max_tokens": NumpyLike(0)}, Effort("none")),
        ({"effort": "low", "exclude": True}, Effort("low", options={"exclude": True})),
        ({"enabled": False}, Effort("none")),
        ({}, Effort()),
    ],
)
def test_every_way_to_ask_for_an_effort_is_read(value, effort):
    """Levels, budgets, bools, dicts and numbers of other libraries."""
    assert Effort.of(value) == effort


@pytest.mark.parametrize("value", ["lots", -1, 0.5, b"low", [], {"effort": "low", "max_tokens": 5}, {"effort": []}])
def test_what_is_no_effort_is_a_value_error(value):
    """The text says what to give."""
    with pytest.raises(ValueError, match="reasoning="):
        Effort.of(value)


# Plain dicts


def block(kind, **fields):
    """Give a content block."""
    return {"type": kind, **fields}


ENCODED = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (
            block("image", source={"type": "base64", "media_type": "image/png", "data": ENCODED}),
            Image(None, PNG, "image/png"),
        ),
        (block("image", source={"type": "url", "url": "https://x/a.png"}), Image("https://x/a.png")),
        (
            block("document", title="a", source={"type": "text", "data": "x", "media_type": "text/plain"}),
            Document(None, b"x", "text/plain", "a"),
        ),
        (block("document", source={"type": "url", "url": "https://x/a.pdf"}), Document("https://x/a.pdf")),
        (
            block("file", file={"filename": "a.png", "file_data": f"data:image/png;base64,{ENCODED}"}),
            Document(None, PNG, "image/png", "a.png"),
        ),
        (block("input_file", file_url="https://x/a.pdf"), Document("https://x/a.pdf")),
        (block("input_image", image_url="https://x/a.png", detail="low"), Image("https://x/a.png", detail="low")),
        (block("input_text", text="x"), Text("x")),
        (block("text", text="x", cache_control={"type": "ephemeral"}), Text("x")),
    ],
)
def test_the_blocks_of_other_vendors_are_read(content, part):
    """Anthropic's sources and OpenAI's files, in a user's message."""
    assert Message.from_dict({"role": "user", "content": [content]}).parts == (part,)


def test_tool_calls_and_results_are_read_as_each_vendor_writes_them():
    """Anthropic has the user say the results; here they are of the role tool."""
    used = block("tool_use", id="c", name="f", input={"a": 1})
    thought = block("thinking", thinking="Hm", signature="s")
    asked = Message.from_dict({"role": "assistant", "content": [thought, block("text", text="x"), used]})
    assert asked.parts == (
        Reasoning("Hm", {"anthropic": {"signature": "s"}}),
        Text("x"),
        ToolCall("c", "f", {"a": 1}, '{"a": 1}'),
    )
    result = block("tool_result", tool_use_id="c", content=[block("text", text="5")], is_error=True)
    told = Message.from_dict({"role": "user", "content": [result]})
    assert told == Message("tool", ToolResult("c", "", "5", True))
    with pytest.raises(ValueError, match="message of their own"):
        Message.from_dict({"role": "user", "content": [result, block("text", text="and")]})
    listed = {"role": "tool", "tool_call_id": "c", "content": [block("text", text="5"), block("text", text="6")]}
    assert Message.from_dict(listed) == Message("tool", ToolResult("c", "", "56"))
    as_object = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]}
    assert Message.from_dict(as_object).tool_calls == (ToolCall("c", "f", {"a": 1}, '{"a": 1}'),)


@pytest.mark.parametrize(
    "data",
    [
        {"role": "user", "content": [block("text", text=5)]},
        {"role": "user", "content": [block("image", source={"type": "file", "file_id": "f"})]},
        {"role": "user", "content": [block("image", source=None)]},
        {"role": "user", "content": [block("file", file={"file_id": "f"})]},
        {"role": "user", "content": [block("image_url", image_url={"url": 5})]},
        {"role": "user", "content": [block("input_audio")]},
        {"role": "assistant", "content": "x", "reasoning_content": 5},
        {"role": "assistant", "tool_calls": 5},
        {"role": "tool", "tool_call_id": 5, "content": "x"},
        {"role": "user", "parts": [block("tool_call", id="c", name="f", arguments=[1])]},
        {"role": "user", "parts": [block("tool_call", id=5, name="f")]},
        {"role": "user", "parts": [block("image", data="%%%")]},
        {"role": "user", 5: "x", "content": "x"},
    ],
)
def test_what_cannot_be_read_is_a_value_error_and_never_fails_later(data):
    """A value of the wrong type is told when the message is made, not as a TypeError in the middle of a turn."""
    with pytest.raises(ValueError):
        Message.from_dict(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Text(None),
        lambda: Reasoning(5),
        lambda: Image(data="text"),
        lambda: Image(url=5),
        lambda: Document(data=[1]),
        lambda: ToolResult("c", "f", {"a": 1}),
    ],
)
def test_a_part_of_the_wrong_type_is_a_type_error(make):
    """What is wrong is told where it is made."""
    with pytest.raises(TypeError, match="give"):
        make()


def test_a_part_is_read_only_and_survives_pickle_and_json():
    """Also with bytes, with what came as bytes-like, and with a provider's metadata."""
    parts = (
        Image(data=bytearray(PNG), media_type="image/png", detail="low", metadata={"x": {"y": [1]}}),
        Document(data=memoryview(b"%PDF-"), name="a.pdf"),
        ToolCall("c", "f", None, '{"a"', "cut", {"x": 1}),
        ToolResult("c", "f", "5", True, {"x": 1}),
    )
    message = Message("user", parts, "cancelled")
    assert pickle.loads(pickle.dumps(message)) == message
    assert Message.from_dict(json.loads(json.dumps(message.to_dict()))) == message
    assert parts[0].data == PNG
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        parts[0].data = b""
    assert hash(Image(url="u")) == hash(Image(url="u"))


# Attachments and media types


def test_an_address_is_told_by_what_it_names():
    """The address of a PDF, and a PDF in a data: address, are documents; what ends in nothing known is an image."""
    pdf = base64.b64encode(b"%PDF-1.7").decode()
    assert attached_parts(
        [
            "https://x.org/paper.PDF?download=1",
            "HTTPS://x.org/picture?id=5",
            f"data:application/pdf;base64,{pdf}",
            f"DATA:;base64,{ENCODED}",
            "data:text/plain,A%20note",
        ]
    ) == [
        Document(url="https://x.org/paper.PDF?download=1"),
        Image(url="HTTPS://x.org/picture?id=5"),
        Document(data=b"%PDF-1.7", media_type="application/pdf"),
        Image(data=PNG, media_type="image/png"),
        Document(data=b"A note", media_type="text/plain"),
    ]
    with pytest.raises(ConfigError, match="not known"):
        attached_parts(["data:,A%20note"])
    with pytest.raises(ConfigError, match="attachment"):
        attached_parts(["http://[broken"])


def test_a_text_that_begins_like_a_picture_is_a_text(tmp_path):
    """Two letters are no bitmap: the file's name decides."""
    (tmp_path / "cars.txt").write_text("BMW sold more cars than last year.")
    (part,) = attached_parts([tmp_path / "cars.txt"])
    assert (type(part), part.media_type) == (Document, "text/plain")
    assert media_type(b"BM\x9a\0\0\0\0\0\0\0\x36\0\0\0") == "image/bmp"
    assert media_type(b"\0\0\0\x1cftypavif") == "image/avif"


def test_a_data_address_may_be_written_over_several_lines():
    """White space in base64 means nothing."""
    lines = f"data:image/PNG;base64,{ENCODED[:4]}\n {ENCODED[4:]}\n"
    assert Image(url=lines) == Image(data=PNG, media_type="image/png")


def test_the_chunks_of_a_route_are_those_of_its_provider():
    """A thought, a call and text pass the route as they came, once each."""
    call = ToolCall("c", "f", {}, "{}")
    steps = [
        Chunk(promptstream.ChunkType.REASONING, reasoning="Hm"),
        "Hi",
        Chunk(promptstream.ChunkType.TOOL_CALL, tool_call=call),
    ]
    with promptstream.chat(provider=Scripted([[Overloaded("busy")]]), fallback=[Scripted([steps])]) as conv:
        kinds = [str(chunk.type) for chunk in conv.stream("Hi")]
    assert kinds == ["reasoning", "text", "tool_call", "done"]
    assert conv.last.message.parts == (Reasoning("Hm"), Text("Hi"), call)
