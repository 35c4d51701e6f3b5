"""What answers cost: the wire's word first, then prices of one's own, then the list; unknown is never 0."""

from __future__ import annotations

import json
from decimal import Decimal
from time import sleep

import pytest
from openai_server import OpenAIServer

import promptstream
from promptstream import Budget, Price, Usage, cost_of, pricing
from promptstream.errors import BudgetExceeded, ConfigError
from promptstream.providers import Compatible, OpenAI, OpenRouter, Scripted
from promptstream.values.chunk import Chunk, Finish
from promptstream.values.message import ToolCall

DEAR = {
    "scripted": Price(input=1_000_000, output=2_000_000, cached=100_000, cache_write=3_000_000, reasoning=5_000_000)
}
"""A dollar for each prompt token, two for each generated one."""


def told(input: int | None, output: int | None, text: str = "Hello", **fields: object) -> list[Chunk | str]:
    """Give a turn of a script with its usage."""
    cost = fields.pop("cost", None)
    return [text, Finish(reason="stop", model="scripted", usage_seen=Usage(input, output, **fields), cost=cost)]


# A price


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(10, 5), "20"),
        (Usage(0, 0), "0"),
        (Usage(10, 5, cached=4), "16.4"),
        (Usage(10, 5, cache_write=2), "24"),
        (Usage(10, 5, cached=4, cache_write=2, reasoning=3), "29.4"),
    ],
)
def test_cached_and_reasoning_tokens_cost_their_own_price(usage, cost):
    """Each is a part of the prompt or of the answer, and counted once."""
    assert DEAR["scripted"].cost(usage) == Decimal(cost)


def test_parts_without_a_price_of_their_own_cost_what_the_whole_does():
    """Leaving cached out says nothing of a discount."""
    usage = Usage(1_000_000, 1_000_000, cached=500_000, cache_write=100_000, reasoning=900_000)
    assert Price("0.15", 0.6).cost(usage) == Decimal("0.75")


@pytest.mark.parametrize("usage", [Usage(), Usage(10, None), Usage(None, 10)])
def test_unknown_tokens_have_an_unknown_cost(usage):
    """Nothing is taken for 0."""
    assert DEAR["scripted"].cost(usage) is None
    assert cost_of(usage, "gpt-4o-mini", provider="openai") is None


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"input": 1}, ValueError, "lacks output"),
        ({"input": 1, "output": 2, "cache": 3}, TypeError, "Did you mean 'cached'"),
        ({"input": -1, "output": 2}, ValueError, "of 0 or more"),
        ({"input": "much", "output": 2}, ValueError, "'much'"),
        ({"input": True, "output": 2}, TypeError, "give an amount"),
        ({"input": float("nan"), "output": 2}, ValueError, "of 0 or more"),
        (3, TypeError, "give a Price"),
    ],
)
def test_a_price_that_is_none_is_refused_with_its_model(given, error, words):
    """Before anything is sent, wherever prices are given."""
    with pytest.raises(error, match="prices\\['m'\\]") as raised:
        promptstream.chat(provider=Scripted(["Hi"]), prices={"m": given})
    assert words in str(raised.value)
    with pytest.raises(error):
        OpenAI(api_key="k", prices={"m": given})


# The list


@pytest.mark.parametrize(
    ("provider", "model", "cost"),
    [
        ("openai", "gpt-4o-mini", "0.000435"),
        ("openai", "gpt-4o-mini-2024-07-18", "0.000435"),
        ("anthropic", "claude-haiku-4-5-20251001", "0.00332"),
        ("gemini", "models/gemini-2.5-flash", "0.001496"),
        (None, "gpt-4o-mini", "0.000435"),
        ("openai", "nobody-s-model", None),
        ("nobody", "gpt-4o-mini", None),
        ("compatible", "gpt-4o-mini", None),
    ],
)
def test_the_list_knows_models_by_their_provider(provider, model, cost):
    """1,000 prompt tokens, 200 of them from the cache, and 500 generated: the figures of the vendors' pages."""
    usage = Usage(1000, 500, cached=200)
    assert cost_of(usage, model, provider=provider) == (cost and Decimal(cost))


def test_a_compatible_server_is_known_by_its_address():
    """Its model's name alone would be anybody's."""
    usage = Usage(1000, 500)
    there = cost_of(usage, "llama-3.3-70b-versatile", provider="compatible", base_url="https://api.groq.com/openai/v1")
    assert there == Decimal("0.000985")
    assert cost_of(usage, "llama-3.3-70b-versatile", provider="compatible", base_url="http://127.0.0.1:1/v1") is None


def test_counts_that_contradict_each_other_have_no_cost():
    """More cached than there was: no price is made of that."""
    assert cost_of(Usage(10, 5, cached=20), "gpt-4o-mini", provider="openai") is None


def test_without_the_list_the_cost_is_unknown_and_nobody_is_warned(monkeypatch):
    """The extra is optional; prices of one's own work without it."""
    monkeypatch.setattr(pricing, "is_listed_here", lambda: False)
    with OpenAIServer(["Hello"]) as server, OpenAI(api_key="k", base_url=server.url, model="gpt-4o-mini") as provider:
        response = provider.send("Hi")
        assert (response.cost, response.warnings) == (None, ())
        with promptstream.chat(provider=provider, prices={"gpt-*": Price(1, 1)}) as conv:
            assert conv.send("Hi").cost == Decimal("0.000018")


# In a conversation


def test_an_answer_costs_what_its_vendor_asks():
    """In the response, the conversation, the event and the line of figures."""
    with (
        OpenAIServer(["Hello"]) as server,
        OpenAI(api_key="k", base_url=server.url, model="gpt-4o-mini") as provider,
        promptstream.chat(provider=provider) as conv,
    ):
        *_, done = conv.stream("Hi")
        conv.send("And again")
    assert done.response.usage == Usage(11, 7)
    assert done.response.cost == Decimal("0.00000585")
    assert conv.cost == Decimal("0.0000117")
    assert done.to_event()["final"]["cost"] == 0.00000585
    assert "Cost: $0.0000058 |" in done.response.summary()


def test_the_wires_own_cost_comes_first():
    """It knows discounts that no list has."""
    script = [told(10, 5, cost=Decimal("0.007"))]
    with promptstream.chat(provider=Scripted(script), prices=DEAR) as conv:
        assert conv.send("Hi").cost == Decimal("0.007")


def test_prices_of_the_conversation_come_before_those_of_the_provider():
    """The nearer word counts; a name counts before a pattern."""
    with OpenAIServer(["Hello"]) as server:
        provider = OpenAI(api_key="k", base_url=server.url, model="gpt-4o-mini", prices={"gpt-4o-mini": Price(2, 0)})
        assert provider.send("Hi").cost == Decimal("0.000022")
        with promptstream.chat(provider=provider, prices={"gpt-*": Price(9, 9), "gpt-4o-mini": Price(3, 0)}) as conv:
            assert conv.send("Hi").cost == Decimal("0.000033")
        provider.close()


def test_a_model_without_a_price_is_told_once():
    """The cost stays unknown, never 0, and so does the sum."""
    with OpenAIServer(["Hello"]) as server, OpenAI(api_key="k", base_url=server.url, model="house-model") as provider:
        with promptstream.chat(provider=provider) as conv:
            first, second = conv.send("Hi"), conv.send("Hi")
        assert [first.cost, second.cost, conv.cost] == [None, None, None]
        (warning,) = first.warnings
        assert "house-model of openai is not known" in warning
        assert second.warnings == ()
        assert first.summary().startswith("Cost: unknown")


def test_a_server_on_this_machine_sends_no_bill_and_no_warning():
    """A model of one's own has no price to miss."""
    with OpenAIServer(["Hello"]) as server, Compatible(base_url=server.url, model="mine") as provider:
        response = provider.send("Hi")
    assert (response.cost, response.warnings) == (None, ())


def test_every_round_is_priced_by_itself():
    """One of three is told by the wire; the sum has them all."""
    call = ToolCall("call_1", "add", {"a": 1})
    script = [
        [call, Finish(reason="tool_calls", usage_seen=Usage(10, 5))],
        [call, Finish(reason="tool_calls", usage_seen=Usage(20, 5), cost=Decimal(7))],
        told(30, 5),
    ]

    def add(a: int) -> int:
        """Add one."""
        return a + 1

    with promptstream.chat(provider=Scripted(script), tools=[add], prices=DEAR) as conv:
        response = conv.send("Hi")
    assert response.rounds == 3
    assert response.usage == Usage(60, 15)
    assert response.cost == Decimal(20 + 7 + 40)


def test_an_answer_that_broke_off_has_an_unknown_cost():
    """What was told of its tokens by then is not what they were."""
    script = [["Hel", Finish(usage_seen=Usage(10, 1)), promptstream.errors.Truncated("cut")]]
    with (
        promptstream.chat(provider=Scripted(script), prices=DEAR) as conv,
        pytest.raises(promptstream.StreamError) as e,
    ):
        conv.send("Hi")
    assert e.value.response.cost is None


def test_the_provider_that_answers_is_the_one_whose_price_counts():
    """A fallback has its own."""
    with OpenAIServer(["Hello"]) as server:
        first = Scripted([[promptstream.errors.Overloaded("busy")]])
        second = OpenAI(api_key="k", base_url=server.url, model="gpt-4o-mini")
        with promptstream.chat(provider=first, fallback=[second]) as conv:
            assert conv.send("Hi").cost == Decimal("0.00000585")
        second.close()


def test_scripts_and_the_embedded_model_cost_nothing_unless_somebody_says_so():
    """0 is known there."""
    with promptstream.chat(provider=Scripted([told(10, 5), told(10, 5)])) as conv:
        assert conv.send("Hi").cost == 0


def test_a_kept_conversation_keeps_its_cost(tmp_path):
    """What it cost before goes on counting."""
    options = {"store": tmp_path / "kept.db", "conversation_id": "c", "prices": DEAR}
    for expected in (20, 40):
        with promptstream.chat(provider=Scripted([told(10, 5)]), **options) as conv:
            conv.send("Hi")
            assert conv.cost == expected


# Budgets


def test_a_budget_in_usd_stops_before_the_next_turn():
    """What is spent is told, nothing is sent, and the history stays."""
    provider = Scripted([told(10, 5)] * 3)
    with promptstream.chat(provider=provider, prices=DEAR, budget="$30") as conv:
        conv.send("Hi")
        conv.send("Hi")
        with pytest.raises(BudgetExceeded, match=r"spent \$40 of its budget of \$30; no further request was sent"):
            conv.send("Hi")
        assert len(provider.requests) == 2
        assert len(conv.messages) == 4
        assert conv.cost == 40


@pytest.mark.parametrize("budget", [Budget(usd=19), Budget(tokens=15), 1.5, Decimal(20)])
def test_a_budget_stops_before_the_next_round(budget):
    """A turn that goes on and on with tools ends there; its finished rounds stay, and can be gone on from."""
    ran = []

    def add(a: int) -> int:
        """Add one."""
        ran.append(a)
        return a + 1

    call = [ToolCall("call_1", "add", {"a": 1}), Finish(reason="tool_calls", usage_seen=Usage(10, 5))]
    provider = Scripted([call, told(10, 5)])
    with promptstream.chat(provider=provider, tools=[add], prices=DEAR, budget=budget) as conv:
        with pytest.raises(BudgetExceeded) as raised:
            conv.send("Hi")
        assert raised.value.response.usage == Usage(10, 5)
        assert raised.value.response.cost == 20
    assert (ran, len(provider.requests)) == ([1], 1)
    assert conv.cost == 20
    assert [message.role for message in conv.messages] == ["user", "assistant", "tool"]
    assert conv.resumable is True


def test_a_budget_counts_what_was_spent_before(tmp_path):
    """Also in a conversation that goes on in another process, and of turns that had no budget."""
    options = {"store": tmp_path / "kept.db", "conversation_id": "c", "prices": DEAR}
    with promptstream.chat(provider=Scripted([told(10, 5)]), **options) as conv:
        conv.send("Hi")
    with promptstream.chat(provider=Scripted([told(10, 5)]), budget=Budget(usd=30), **options) as conv:
        conv.send("Hi")
    for budget in (Budget(usd=30), Budget(tokens=30)):
        with promptstream.chat(provider=Scripted(["never"]), budget=budget, **options) as conv:
            with pytest.raises(BudgetExceeded):
                conv.send("Hi")
            assert conv.provider.requests == []


def test_what_nobody_tells_is_estimated():
    """A stopped answer has no usage, and counts all the same."""
    with promptstream.chat(provider=Scripted([["word " * 200, 60], "x"]), prices=DEAR, budget=Budget(usd=100)) as conv:
        for _ in conv.stream("Hi"):
            break
        with pytest.raises(BudgetExceeded, match=r"spent \$[45]\d\d of"):
            conv.send("Hi")


def test_a_request_that_brought_nothing_spends_nothing():
    """A server that is away does not use a budget up."""
    script = [[promptstream.errors.ConnectFailed("away")], told(10, 5)]
    with promptstream.chat(provider=Scripted(script), budget=Budget(tokens=10)) as conv:
        with pytest.raises(promptstream.errors.ConnectFailed):
            conv.send("Hi")
        assert conv.send("Hi").text == "Hello"


def test_a_budget_in_usd_needs_every_price():
    """Told when the conversation is opened, with what to do."""
    with OpenAIServer([]) as server, OpenAI(api_key="k", base_url=server.url, model="house-model") as provider:
        with pytest.raises(ConfigError, match=r"prices=\{'house-model': promptstream\.Price"):
            promptstream.chat(provider=provider, budget="$1")
        with pytest.raises(ConfigError, match="house-model of openai"):
            promptstream.chat(provider=Scripted([]), fallback=[provider], budget="$1")
        promptstream.chat(provider=provider, budget="$1", prices={"*": Price(1, 1)}).close()
        with (
            promptstream.chat(provider=provider, budget="$1", prices={"house-model": Price(1, 1)}) as conv,
            pytest.raises(ConfigError, match="another"),
        ):
            conv.model = "another"
    promptstream.chat(provider=OpenRouter(api_key="k", model="a/b"), budget="$1").close()  # it tells what answers cost


@pytest.mark.parametrize(
    ("budget", "error"),
    [(True, TypeError), ("much", ValueError), (-1.0, ValueError), (0, ValueError), ([], TypeError)],
)
def test_a_budget_that_is_none_is_refused(budget, error):
    """Before anything is made."""
    with pytest.raises(error):
        promptstream.chat(provider=Scripted([]), budget=budget)


def test_with_a_way_to_shorten_a_history_a_number_is_the_prompts():
    """Then it bounds each prompt, and not their sum."""
    with promptstream.chat(provider=Scripted([told(60, 5)] * 5), budget=60, truncate="sliding") as conv:
        for _ in range(5):
            conv.send("Hi")
    assert conv.usage.total == 325


def test_an_event_with_a_cost_is_json():
    """A float, as a page reads it."""
    with promptstream.chat(provider=Scripted([told(1, 0)]), prices=DEAR) as conv:
        final = json.loads(json.dumps([*conv.stream("Hi").iter_events()][-1]))["final"]
    assert final["cost"] == 1.0


# What others got wrong


@pytest.mark.parametrize(
    "usage", [Usage(100, 0, cached=1000), Usage(10, 5, reasoning=10**6), Usage(5, 5, cache_write=9)]
)
def test_a_part_that_is_larger_than_its_whole_has_no_cost(usage):
    """Else a cost could be negative, and a budget never end."""
    assert DEAR["scripted"].cost(usage) is None
    assert cost_of(usage, "gpt-4o-mini", provider="openai") is None
    with promptstream.chat(provider=Scripted([["Hi", usage]]), prices=DEAR) as conv:
        response = conv.send("Hi")
    assert response.cost is None
    assert "contradict each other" in response.warnings[0]


def test_a_name_counts_before_a_pattern_also_where_the_answer_names_a_dated_model():
    """As vendors do."""
    prices = {"gpt-*": Price(9, 9), "gpt-4o": Price(1, 1)}
    script = [["Hi", Finish(reason="stop", model="gpt-4o-2024-08-06", usage_seen=Usage(1_000_000, 0))]]
    with promptstream.chat(provider=Scripted(script, model="gpt-4o"), prices=prices) as conv:
        assert conv.send("Hi").cost == 1


def test_a_conversations_pattern_comes_before_its_providers_name():
    """The nearer word counts, whatever its form."""
    provider = Scripted([["Hi", Usage(1_000_000, 0)]], model="m", prices={"m": Price(1, 1)})
    with promptstream.chat(provider=provider, prices={"*": Price(2, 2)}) as conv:
        assert conv.send("Hi").cost == 2


def test_two_providers_of_one_name_have_their_own_prices():
    """Two compatible servers are a common case."""
    first = Scripted([[promptstream.errors.Overloaded("busy")]], model="m", prices={"m": Price(1, 1)})
    second = Scripted([["Hi", Usage(1_000_000, 0)]], model="m", prices={"m": Price(50, 50)})
    with promptstream.chat(provider=first, fallback=[second]) as conv:
        assert conv.send("Hi").cost == 50


def test_a_budget_that_comes_later_knows_what_was_told_before_a_stop(tmp_path):
    """A stopped turn makes the sum unknown, not the spending undone."""
    options = {"store": tmp_path / "kept.db", "conversation_id": "c", "prices": DEAR}
    with promptstream.chat(provider=Scripted([told(100, 0), ["a", "b"]]), **options) as conv:
        conv.send("Hi")
        next(iter(conv.stream("Hi")))
    options["budget"] = "$50"
    with promptstream.chat(provider=Scripted(["never"]), **options) as conv, pytest.raises(BudgetExceeded):
        conv.send("Hi")


def test_a_first_turn_that_failed_is_kept_with_what_it_spent(tmp_path):
    """A program that starts again and again has one budget all the same."""
    options = {"store": tmp_path / "kept.db", "conversation_id": "c", "budget": 15}
    script = [["Hel", Usage(10, 8), promptstream.errors.Truncated("cut")]]
    with promptstream.chat(provider=Scripted(script), **options) as conv, pytest.raises(promptstream.StreamError):
        conv.send("Hi")
    with promptstream.chat(provider=Scripted(["never"]), **options) as conv, pytest.raises(BudgetExceeded):
        conv.send("Hi")


def test_a_fork_has_what_is_left_of_the_budget():
    """Its own usage and cost begin at 0."""
    with promptstream.chat(provider=Scripted([told(10, 5), "x"]), budget=15) as conv:
        conv.send("Hi")
        fork = conv.fork()
        assert fork.usage.total == 0
        with pytest.raises(BudgetExceeded):
            fork.send("Hi")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: promptstream.chat(provider=Scripted([]), prices={5: Price(1, 1)}), "named by a string"),
        (lambda: cost_of(Usage(1, 1), None), "the name of a model"),
        (lambda: cost_of({"input": 1}, "m"), "give a Usage"),
    ],
)
def test_what_is_no_model_or_no_usage_is_told(call, words):
    """In our words."""
    with pytest.raises(TypeError, match=words):
        call()


# Tokens per second


@pytest.mark.parametrize(
    ("script", "least", "most"),
    [
        ([["a ", 0.02, "b", Usage(5, 1002, reasoning=1000)]], 10, 100),  # thoughts that were kept back
        ([["all at once", Usage(5, 500)]], None, None),
        ([["a ", 0.02, "b", Usage(5, 2)]], 10, 100),
        ([["a ", 0.02, "b"]], None, None),
    ],
)
def test_tokens_per_second_are_those_that_were_seen_to_come(script, least, most):
    """None where nothing can be measured."""
    speed = Scripted(script).send("Hi").timing.tokens_per_second
    assert (speed is None) if least is None else least < speed <= most


def test_tools_do_not_count_as_generating():
    """Each round is measured by itself."""

    def wait() -> str:
        """Take a while."""
        sleep(0.05)
        return "done"

    script = [["a ", 0.015, "b", ToolCall("1", "wait", {}), Usage(5, 30)], ["c", 0.015, "d", Usage(5, 30)]]
    with promptstream.chat(provider=Scripted(script), tools=[wait]) as conv:
        timing = conv.send("Hi").timing
    assert timing.tokens_per_second > 60 / (timing.total - 0.05)


def test_the_price_list_is_not_loaded_for_a_server_on_this_machine(monkeypatch: pytest.MonkeyPatch):
    """It has nobody there; loading it takes a third of a second and 16 MB."""
    monkeypatch.setattr(pricing, "listed_cost", lambda *_: pytest.fail("it was asked"))
    assert pricing.Seller("compatible", "http://127.0.0.1:1/v1").cost(Usage(10, 5), "gpt-4o-mini") is None
