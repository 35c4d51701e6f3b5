"""What telemetry counts and measures: time per token and chunk, tokens, cost, rounds in flight, retries; in threads."""

from __future__ import annotations

import gc
import pickle
import threading
from collections.abc import Iterator
from decimal import Decimal
from time import sleep
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed (extra test)")

from desk import Desk, points, reporting
from layers import GONE, again, asking, failed, played
from openai_server import Answer, OpenAIServer
from relays import Client, serving

import promptstream
from promptstream import Chunk, ChunkType, Price, Retry, Usage, errors
from promptstream.middleware import telemetry
from promptstream.providers import Scripted
from promptstream.values.chunk import Finish

IN_FLIGHT = "promptstream.client.in_flight"
PER_CHUNK = "gen_ai.client.operation.time_per_output_chunk"
PER_TOKEN = "promptstream.client.time_per_output_token"
USED = "gen_ai.client.inference.usage."
COMMON = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "scripted",
    "gen_ai.request.model": "scripted",
    "gen_ai.response.model": "scripted",
}


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A tracer and a meter of the test's own."""
    with reporting() as made:
        yield made


def total(desk: Desk, name: str) -> Any:
    """Give the sum of all points of a metric; None where nothing was recorded."""
    metric = desk.metrics().get(name)
    if metric is None:
        return None
    found = list(metric.data.data_points)
    return sum(point.sum if hasattr(point, "sum") else point.value for point in found)


def thought(text: str) -> Chunk:
    """Give a chunk of reasoning."""
    return Chunk(ChunkType.REASONING, reasoning=text)


def test_tokens_are_counted_by_kind(desk):
    """Cached ones and thoughts too, each under the conventions' name; what is unknown or 0 is not."""
    script = ["Hi", Finish(reason="stop", usage_seen=Usage(100, 20, cached=40, cache_write=0, reasoning=6))]
    for _ in range(2):
        asking(played(script), desk.layer()).result()
    counted = {name.removeprefix(USED): total(desk, name) for name in desk.metrics() if name.startswith(USED)}
    assert counted == {
        "input_tokens": 200,
        "output_tokens": 40,
        "cache_read.input_tokens": 80,
        "reasoning.output_tokens": 12,
    }
    [point] = points(desk, f"{USED}input_tokens")
    assert dict(point.attributes) == COMMON | {"gen_ai.token.modality": "unknown"}
    assert desk.metrics()[f"{USED}input_tokens"].unit == "{token}"


def test_the_time_per_token_is_measured_once_a_round(desk):
    """From the first chunk, which may be a thought, to the end; thoughts that were kept back are not its tokens."""
    for first in (thought("Hm."), "One "):
        script = [first, 0.03, "two.", Finish(reason="stop", usage_seen=Usage(1, 12, reasoning=2))]
        response = asking(played(script), desk.layer()).result()
        assert response.timing.tokens_per_second
    [point] = points(desk, PER_TOKEN)
    assert (point.count, dict(point.attributes)) == (2, COMMON)
    assert 0.03 / 12 <= point.min <= point.max < 1
    assert point.max >= 0.03 / 10
    assert desk.metrics()[PER_TOKEN].unit == "s"


def test_the_time_per_token_needs_tokens_and_time(desk):
    """An answer that came at once, or whose tokens nobody tells, has none."""
    asking(played(["Hi ", "there.", Finish(reason="stop", usage_seen=Usage(1, 12))]), desk.layer()).result()
    asking(played(["Hi ", 0.02, "there.", Finish(reason="stop")]), desk.layer()).result()
    assert PER_TOKEN not in desk.metrics()


def test_each_chunk_is_measured_where_that_is_asked_for(desk):
    """All that are visible but the first, without the time of the loop's body."""
    script = ["One ", 0.02, Finish(usage_seen=Usage(1)), 0.02, "two ", thought("Hm."), "three.", Finish(reason="stop")]
    for _ in asking(played(script), desk.layer(chunks=True)):
        sleep(0.03)
    [point] = points(desk, PER_CHUNK)
    assert (point.count, dict(point.attributes)) == (3, COMMON)
    assert 0.04 <= point.sum < 0.09
    assert point.explicit_bounds[:3] == (0.01, 0.02, 0.04)
    assert desk.metrics()[PER_CHUNK].unit == "s"


def test_chunks_are_not_measured_else(desk):
    """Nor where the answer comes in one body."""
    asking(played(["One ", "two."]), desk.layer()).result()
    whole = promptstream.providers.Scripted([["One ", "two."]])
    promptstream.chat(provider=whole, middleware=[desk.layer(chunks=True)]).send("Hi", streaming=False)
    assert PER_CHUNK not in desk.metrics()


def test_a_chunk_that_cannot_be_recorded_breaks_no_turn(desk, caplog, monkeypatch):
    """A line in the log tells of it."""
    from opentelemetry.sdk.metrics import Histogram

    def fails(*args: Any, **named: Any) -> None:
        raise ValueError("No room.")

    layer = desk.layer(chunks=True)
    monkeypatch.setattr(Histogram, "record", fails)
    assert asking(played(["One ", "two.", Finish(reason="stop")]), layer).result().text == "One two."
    assert set(caplog.messages) == {"Telemetry failed (ValueError); the turn goes on."}


# Cost


def priced(usage: Usage | None, **options: Any) -> promptstream.Conversation:
    """Give a conversation whose one answer takes *usage*."""
    script = ["Hi", *([usage] if usage else [])]
    return promptstream.chat(provider=Scripted([script]), **options)


def test_the_cost_is_counted_in_usd(desk):
    """By the conversation's own prices; on the span and in the metric."""
    prices = {"scripted": Price(input=2, output=10)}
    for _ in range(2):
        priced(Usage(1_000_000, 100_000), prices=prices, middleware=[desk.layer()]).send("Hi")
    assert total(desk, "promptstream.client.cost") == 6.0
    assert desk.metrics()["promptstream.client.cost"].unit == "USD"
    assert [span.attributes["promptstream.cost"] for span in desk.spans.get_finished_spans()] == [3.0, 3.0]


def test_the_wires_own_cost_comes_first(desk):
    """A provider that tells what it takes knows best."""
    script = ["Hi", Finish(reason="stop", usage_seen=Usage(10, 10), cost=Decimal("0.25"))]
    conv = promptstream.chat(
        provider=Scripted([script]), prices={"*": (price := Price(9, 9))}, middleware=[desk.layer()]
    )
    assert conv.send("Hi").cost == Decimal("0.25") != price.cost(Usage(10, 10))
    assert total(desk, "promptstream.client.cost") == 0.25


def test_a_cost_that_is_not_known_is_not_told(desk):
    """Neither is that of a free provider counted: it adds nothing."""
    asking(played(["Hi", Finish(reason="stop", usage_seen=Usage(10, 10))]), desk.layer()).result()
    assert desk.span().attributes["promptstream.cost"] == 0.0
    desk.spans.clear()
    moved = Finish(restart=True, provider="elsewhere", model="m")
    asking(played([moved, "Hi", Finish(reason="stop", usage_seen=Usage(10, 10))]), desk.layer()).result()
    assert "promptstream.cost" not in desk.span().attributes
    assert "promptstream.client.cost" not in desk.metrics()


def test_a_fallbacks_answer_is_priced_as_its_own(desk):
    """And told apart by its provider; the request that was passed over is a retry."""
    with OpenAIServer(Answer("No.", status=500)) as server:
        refusing = promptstream.providers.get(
            "openai", api_key="sk-test", base_url=server.url, model="gpt", retry=Retry(0), prices={"*": Price(1, 1)}
        )
        other = Scripted([["Hi", Usage(1_000_000, 0)]])
        with promptstream.chat(provider=refusing, fallback=[other], middleware=[desk.layer()]) as conv:
            assert conv.send("Hi").cost == 0
    told = desk.span().attributes
    assert (told["promptstream.cost"], told["promptstream.retries"]) == (0.0, 1)
    [point] = points(desk, "promptstream.client.retries")
    assert (point.value, point.attributes["gen_ai.provider.name"]) == (1, "scripted")


# In flight, and again


def test_rounds_in_flight_are_counted_up_and_down(desk):
    """However a round ends; a stream that is never iterated over is none."""
    layer, tally = desk.layer(), []
    for _ in asking(played(), layer):
        tally.append(total(desk, IN_FLIGHT))
    assert tally == [1, 1, 1, 0]  # the last with DONE
    asking(played(), layer).close()
    for _ in asking(played(), layer):
        break
    failed(asking(played(["One ", GONE]), layer), errors.Overloaded)
    failed(asking(played([GONE]), layer), errors.Overloaded)
    loop = iter(asking(played(), layer))
    next(loop)
    assert total(desk, IN_FLIGHT) == 1
    del loop
    gc.collect()
    assert total(desk, IN_FLIGHT) == 0
    [point] = points(desk, IN_FLIGHT)
    assert "gen_ai.response.model" not in point.attributes


def test_a_request_that_is_sent_again_is_a_retry(desk):
    """Each time; one that a layer asks for too."""
    twice = [Finish(restart=True), Finish(restart=True), "Hi", Finish(reason="stop")]
    asking(played(twice), desk.layer()).result()
    asking(played(["One.", Finish(reason="stop")], ["Two.", Finish(reason="stop")]), desk.layer(), again).result()
    assert total(desk, "promptstream.client.retries") == 3
    assert desk.metrics()["promptstream.client.retries"].unit == "{request}"


def test_a_retry_on_the_wire_is_counted(desk):
    """The server refuses once, and answers then."""
    with (
        OpenAIServer(Answer("Slow down.", status=503), "Hi") as server,
        promptstream.chat(
            provider="openai",
            api_key="sk-test",
            base_url=server.url,
            model="gpt",
            retry=Retry(base=0.001),
            middleware=[desk.layer()],
        ) as conv,
    ):
        assert conv.send("Hi").text == "Hi"
    assert total(desk, "promptstream.client.retries") == 1
    assert desk.span().attributes["promptstream.retries"] == 1


# Beside others


def test_threads_share_one_layer(desk):
    """Eight at once: nothing is lost, and nothing stays in flight."""
    layer = desk.layer(chunks=True)

    def talk() -> None:
        for _ in range(5):
            asking(played(["One ", "two.", Finish(reason="stop", usage_seen=Usage(3, 4))]), layer).result()

    threads = [threading.Thread(target=talk) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(desk.spans.get_finished_spans()) == 40
    assert (total(desk, IN_FLIGHT), total(desk, f"{USED}input_tokens")) == (0, 120)
    assert points(desk, PER_CHUNK)[0].count == 40


def test_the_rows_of_a_batch_are_rounds_like_others(desk):
    """Each row has its span, in whichever thread it ran; the metrics are those of all."""
    rows = [f"Row {number}" for number in range(12)]
    provider = Scripted([["Hi", Usage(2, 3)]] * 12)
    batch = promptstream.map(rows=rows, provider=provider, middleware=[desk.layer()], max_in_flight=4)
    assert [result.text for result in batch] == ["Hi"] * 12
    spans = desk.spans.get_finished_spans()
    assert len(spans) == len({span.attributes["gen_ai.conversation.id"] for span in spans}) == 12
    assert (total(desk, IN_FLIGHT), total(desk, f"{USED}output_tokens")) == (0, 36)


def test_a_relays_clients_are_measured(desk):
    """One layer for all its conversations."""
    with serving(["Hi", Usage(2, 3)], ["Hi", Usage(2, 3)], middleware=[desk.layer()]) as relay:
        for _ in range(2):
            with Client(relay) as client:
                client.say("Hi")
                client.until("done")
    assert (total(desk, IN_FLIGHT), total(desk, f"{USED}output_tokens")) == (0, 6)
    assert len(desk.spans.get_finished_spans()) == 2


def test_a_layer_that_reports_globally_travels(desk):
    """So the rows of a batch may be traced where they run; one with providers of its own says why it cannot."""
    arrived = pickle.loads(pickle.dumps(telemetry(content=True, chunks=True)))
    assert (repr(arrived), arrived.content, arrived.chunks) == ("telemetry()", True, True)
    assert asking(played(), arrived).result().text == "One two three."
    with pytest.raises(TypeError, match="set OpenTelemetry's global ones where it is to run"):
        pickle.dumps(desk.layer())
