"""Conversations on the page that the relay serves, in Chromium: answers, stops, decisions, lost connections."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import page_demo
import pytest
from browser import launched, opened
from chatting import call, refunds, say, texts, visiting, waiting_tool

import promptstream
from promptstream.errors import RateLimited
from promptstream.providers import Scripted
from promptstream.state.memory import MemoryStore
from promptstream.values.chunk import Finish
from promptstream.values.usage import Usage

pytest.importorskip("websockets", reason="websockets is not installed (extra web)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests; each has a profile of its own."""
    yield from launched()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """What opens the page of a relay with a script."""
    with visiting(browser) as visit:
        yield visit


@pytest.fixture
def expect() -> Any:
    """What waits until something is so."""
    return pytest.importorskip("playwright.sync_api").expect


# A conversation


def test_an_answer_is_streamed_with_its_thoughts_its_markdown_and_its_figures(visit, expect):
    """The thoughts are folded, the answer is elements, and what it took stands under it."""
    page = visit(page_demo.demo(), tools=[page_demo.refund], title="Shop")
    expect(page.locator("#state-text")).to_have_text("Connected")
    say(page, page_demo.QUESTIONS[0])
    expect(page.locator(".figures")).to_contain_text("245 (31 in, 214 out)")
    assert page.title() == "Shop"
    assert texts(page, ".question") == [page_demo.QUESTIONS[0]]
    assert page.locator(".answer table tbody tr").count() == 3
    assert texts(page, ".answer ol li")[1] == "enumerate counts from one, as editors do."
    assert page.locator("pre").inner_text().startswith('with open("big.log"')
    thoughts = page.locator("details.thoughts")
    assert thoughts.get_attribute("open") is None
    assert re.fullmatch(r"Thought for \d+ ms|Thought for [\d.]+ s", thoughts.locator("summary").inner_text())
    thoughts.locator("summary").click()
    expect(thoughts.locator("em")).to_have_text("chunks")
    assert page.get_by_role("button", name="Send").is_disabled()  # there is nothing to send


def test_figures_that_are_not_known_say_so(visit, expect):
    """No token count and no cost is ever shown as 0."""
    page = visit(["Hi"])
    say(page, "Hello")
    expect(page.locator(".figures dd.unknown").first).to_have_text("unknown")
    figures = dict(zip(texts(page, "dt"), texts(page, "dd"), strict=True))
    assert figures["Tokens"] == "unknown"
    assert re.fullmatch(r"[\d.]+ m?s", figures["First text"])
    assert figures["Model"] == "scripted"


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_stop_ends_the_answer_and_keeps_what_came(how, visit, expect):
    """By the button or by Esc; the conversation goes on after it."""
    page = visit([["One two ", 60.0, "three"], "And on."])
    say(page, "Count")
    expect(page.locator(".answer p").first).to_have_text("One two")
    page.get_by_role("button", name="Stop").click() if how == "button" else page.keyboard.press("Escape")
    expect(page.locator(".note")).to_have_text("You stopped this answer.")
    assert page.locator(".problem").count() == 0
    say(page, "Go on")
    expect(page.locator(".answer").nth(1)).to_contain_text("And on.")
    assert page.provider.requests[1].messages[1].text == "One two "


def test_an_error_is_a_banner_with_a_way_to_try_again(visit, expect):
    """The question is asked once more, not twice."""
    page = visit([[RateLimited("Slow down.")], "Here you are."])
    say(page, "Hello")
    banner = page.get_by_role("alert").filter(has_text="The model has been asked too much; try again in a moment.")
    expect(banner).to_be_visible()
    banner.get_by_role("button", name="Try again").click()
    expect(page.locator(".answer")).to_contain_text("Here you are.")
    assert texts(page, ".question") == ["Hello"]
    assert page.locator(".problem").count() == 0


def test_an_answer_cut_at_the_limit_says_so(visit, expect):
    """``length`` is no error and is not hidden."""
    page = visit([["Once upon", Finish(reason="length", usage_seen=Usage(input=3, output=2))]])
    say(page, "A story")
    expect(page.locator(".note")).to_have_text("The answer was cut at the token limit.")


def test_a_tool_that_failed_says_so_as_it_comes_and_after_a_reload(visit, expect):
    """One that raises, one that there is not, and one that works."""

    @promptstream.tool
    def fail() -> str:
        """Fail."""
        raise RuntimeError("no money")

    @promptstream.tool
    def work() -> str:
        """Work."""
        return "worked"

    calls = [call("fail"), call("nowhere", id="c2"), call("work", id="c3")]
    page = visit([calls, "Well."], tools=[fail, work])
    say(page, "Go")
    expect(page.locator(".figures")).to_be_visible()
    seen = [("fail failed", "failed"), ("nowhere failed", "failed"), ("work done", "done")]
    for _ in range(2):
        marks = [tool.get_attribute("data-mark") for tool in page.locator(".tool").all()]
        assert list(zip(texts(page, ".tool summary"), marks, strict=True)) == seen
        page.reload()
        expect(page.locator(".answer")).to_contain_text("Well.")


def test_a_stop_tells_what_it_waits_for_and_a_refused_action_ends_no_answer(visit, expect):
    """A tool that runs is not stopped by anything, and what else is refused meanwhile is a notice."""
    wait, reached, go = waiting_tool()
    page = visit([["Look. ", call("wait")], "Well."], tools=[wait])
    sockets: list[Any] = []
    page.route_web_socket("**/chat", lambda socket: (socket.connect_to_server(), sockets.append(socket)))
    page.reload()
    say(page, "Go")
    expect(page.locator(".tool .state")).to_have_text("runs")
    assert reached.wait(5)
    sockets[-1].send(json.dumps({"type": "error", "action": "approve", "error": "There is no such call."}))
    expect(page.get_by_role("alert")).to_have_text("There is no such call.")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".busy")).to_have_text("Stops when wait has ended.")
    go.set()
    expect(page.locator(".note")).to_have_text("You stopped this answer.")
    assert page.locator(".problem, .busy").count() == 0


# Decisions


def test_an_approved_call_runs_as_it_stands_to_the_last_digit(visit, expect):
    """What is approved is what is shown, and numbers are not rounded on the way."""
    refund, ran = refunds()
    page = visit([["Let me see.", call(order=9007199254740993)], "All done."], tools=[refund])
    say(page, "Refund")
    card = page.get_by_role("form", name="Allow refund to run?")
    expect(card).to_be_visible()
    assert "9007199254740993" in card.get_by_label("Arguments").input_value()
    assert ran == []
    card.get_by_role("button", name="Approve").click()
    expect(page.locator(".answer")).to_contain_text("All done.")
    assert ran == [{"order": 9007199254740993, "note": ""}]
    assert texts(page, ".tool .state") == ["done"]
    assert page.locator(".answer").count() == 1


def test_arguments_can_be_changed_and_are_judged_before_and_by_the_server(visit, expect):
    """No JSON is not sent; JSON that the tool does not take comes back, with what was typed still there."""
    refund, ran = refunds()
    page = visit([[call(order=7)], "Done."], tools=[refund])
    say(page, "Refund")
    card = page.locator(".decision")
    field = card.get_by_label("Arguments")
    field.fill("{")
    expect(card.get_by_role("alert")).to_contain_text("not JSON")
    card.get_by_role("button", name="Approve").click()
    field.fill('{"order": "all of them"}')
    card.get_by_role("button", name="Approve").click()
    expect(card.get_by_role("alert")).to_contain_text("order")
    assert field.input_value() == '{"order": "all of them"}'
    assert ran == []
    field.fill('{"order": 8, "note": "half"}')
    card.get_by_role("button", name="Approve").click()
    expect(page.locator(".answer")).to_contain_text("Done.")
    assert ran == [{"order": 8, "note": "half"}]
    expect(page.locator(".figures dd").first).to_have_text(
        re.compile(r"^[\d.]+ m?s$")
    )  # of the text after the approval


def test_a_rejection_reaches_the_model_with_its_reason(visit, expect):
    """Nothing runs, and the answer goes on once all calls are decided."""
    refund, ran = refunds()
    page = visit([[call(order=1), call(order=2, id="c2")], "I see."], tools=[refund])
    say(page, "Refund both")
    cards = page.locator(".decision")
    expect(cards).to_have_count(2)
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_attribute(
        "placeholder", "Decide above first"
    )
    cards.nth(1).get_by_label("Reason").fill("it is the same one")
    cards.nth(1).get_by_role("button", name="Reject").click()
    expect(cards).to_have_count(1)
    assert page.get_by_role("button", name="Send").is_disabled()
    cards.get_by_role("button", name="Approve").click()
    expect(page.locator(".answer")).to_contain_text("I see.")
    assert [each["order"] for each in ran] == [1]
    assert "it is the same one" in page.provider.requests[1].messages[-1].parts[1].content
    assert texts(page, ".tool .state") == ["done", "rejected"]


def test_a_turn_that_fails_after_a_decision_goes_on_without_deciding_again(visit, expect):
    """What was approved has run, once; trying again asks for the answer alone."""
    refund, ran = refunds()
    page = visit([[call(order=7)], [RateLimited("Slow down.")], "All done."], tools=[refund])
    say(page, "Refund")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".answer")).to_contain_text("All done.")
    assert ran == [{"order": 7, "note": ""}]
    assert (texts(page, ".question"), page.locator(".problem").count()) == (["Refund"], 0)


def test_the_reader_gives_the_result_of_a_client_side_call(visit, expect):
    """JSON goes as JSON, anything else as text, and a failure as one."""
    spec = promptstream.ToolSpec("where_am_i", "Ask the client where it is.", {"type": "object", "properties": {}})
    page = visit([[call("where_am_i")], [call("where_am_i", id="c2")], "Oslo, then."], tools=[spec])
    say(page, "Where am I?")
    card = page.get_by_role("form", name="Give the result of where_am_i")
    card.get_by_label("Result").fill('{"city": "Oslo", "id": 9007199254740993}')
    expect(card.locator(".kind")).to_have_text("(sent as JSON)")
    card.get_by_role("button", name="Send result").click()
    expect(page.locator(".tool")).to_have_count(1)
    expect(card).to_be_visible()
    card.get_by_label("Result").fill("no signal")
    card.get_by_label("It failed").check()
    card.get_by_role("button", name="Send result").click()
    expect(page.locator(".answer")).to_contain_text("Oslo, then.")
    first, second = (m.parts[0] for m in page.provider.requests[2].messages if m.role == "tool")
    assert json.loads(first.content) == {"city": "Oslo", "id": 9007199254740993}
    assert (second.error, "no signal" in second.content) == (True, True)


# Connection


def test_the_page_comes_back_after_the_server_was_away_and_goes_on(browser, expect):
    """The server ends in mid-answer and starts again on its port: the conversation is there, with what had come."""
    from promptstream.web import Relay

    store, provider = MemoryStore(), Scripted([["Half an ans", 60.0, "wer"], [call(order=3)], "Paid."])
    refund, ran = refunds()
    options: dict[str, Any] = {"provider": provider, "store": store, "tools": [refund]}
    with Relay(port=0, **options) as relay:
        port = relay.port
        with opened(browser, relay.url) as page:
            say(page, "Begin")
            expect(page.locator(".answer p").first).to_have_text("Half an ans")
            relay.close()
            expect(page.locator("#state-text")).to_have_text("Connection lost, trying again")
            with Relay(port=port, **options) as second:
                page.get_by_role("button", name="Try now").click()
                expect(page.locator("#state-text")).to_have_text("Connected")
                expect(page.locator(".answer")).to_contain_text("Half an ans")
                say(page, "Refund 3")
                expect(page.locator(".decision")).to_be_visible()
                second.close()
                expect(page.get_by_role("button", name="Try now")).to_be_visible()
                with Relay(port=port, **options):
                    page.reload()
                    page.locator(".decision").get_by_role("button", name="Approve").click()
                    expect(page.locator(".answer").nth(1)).to_contain_text("Paid.")
    assert ran == [{"order": 3, "note": ""}]
    assert [message.text for message in provider.requests[1].messages if message.role != "system"][:2] == [
        "Begin",
        "Half an ans",
    ]


def test_a_conversation_that_the_server_lost_is_said_to_be_lost(browser, expect):
    """What is on the page stays there, and nobody believes that the model remembers it."""
    from promptstream.web import Relay

    with Relay(provider=Scripted(["Hi"]), port=0) as relay, opened(browser, relay.url) as page:
        say(page, "Hello")
        expect(page.locator(".figures")).to_be_visible()
        relay.close()
        expect(page.get_by_role("button", name="Try now")).to_be_visible()
        with Relay(provider=Scripted(["Who are you?"]), port=relay.port):
            page.get_by_role("button", name="Try now").click()
            expect(page.locator(".problem")).to_contain_text("does not have this conversation any more")
            say(page, "Again")
            expect(page.locator(".answer").nth(1)).to_contain_text("Who are you?")


def test_what_was_seen_and_the_server_lost_stays_and_can_be_asked_again(browser, expect):
    """A server that was killed in mid-answer comes back without the last question: both stay, marked."""
    from promptstream.web import Relay

    store, killed = MemoryStore(), MemoryStore()
    first = Scripted(["One.", ["Half an ans", 60.0]])
    with Relay(provider=first, port=0, store=killed) as relay, opened(browser, relay.url) as page:
        say(page, "First")
        expect(page.locator(".figures")).to_be_visible()
        id = page.evaluate("sessionStorage.getItem('promptstream.conversation')")
        kept = killed.load(id)
        assert kept is not None
        store.save(id, revision=0, kept=0, added=kept.messages, state=kept.state)
        say(page, "Second")
        expect(page.locator(".answer").nth(1)).to_contain_text("Half an ans")
        relay.close()
        expect(page.get_by_role("button", name="Try now")).to_be_visible()
        with Relay(provider=Scripted(["Whole."]), port=relay.port, store=store):
            page.get_by_role("button", name="Try now").click()
            lost = page.locator(".answer").nth(1)
            expect(lost).to_contain_text("The server does not have this any more")
            expect(lost).to_contain_text("Half an ans")
            assert texts(page, ".question") == ["First", "Second"]
            lost.get_by_role("button", name="Ask again").click()
            expect(page.locator(".answer").nth(2)).to_contain_text("Whole.")
            assert texts(page, ".question") == ["First", "Second", "Second"]
            assert page.get_by_role("button", name="Ask again").count() == 0


def test_what_runs_elsewhere_is_shown_to_run_and_then_what_came_of_it(visit, expect):
    """One tab decides; the other's word comes too late; a reload in the middle finds the tool at work."""
    wait, reached, go = waiting_tool()
    tool = promptstream.tool(approval=True)(wait.function)
    page = visit([["Let me see. ", call("wait")], "Well."], tools=[tool])
    say(page, "Go")
    expect(page.locator(".decision")).to_be_visible()
    other = page.context.new_page()
    other.goto(page.url)
    kept = page.evaluate("sessionStorage.getItem('promptstream.conversation')")
    other.evaluate("(id) => sessionStorage.setItem('promptstream.conversation', id)", kept)
    other.reload()
    other.locator(".decision input").fill("why not")
    page.get_by_role("button", name="Approve").click()
    assert reached.wait(5)
    other.get_by_role("button", name="Reject").click()
    page.reload()
    for tab in (page, other):
        expect(tab.locator(".tool .state")).to_have_text("still runs")
        expect(tab.locator("#message")).to_have_attribute("placeholder", "Wait for the answer")
        assert tab.locator(".problem").count() == 0
    go.set()
    for tab in (page, other):
        expect(tab.locator(".answer")).to_contain_text("Well.")
        expect(tab.locator(".tool .state")).to_have_text("done")
        expect(tab.locator(".busy")).to_have_count(0)
        expect(tab.locator("#message")).to_have_attribute("placeholder", "Message")
    assert len(page.provider.requests) == 2
    other.close()


def test_a_token_comes_from_the_fragment_or_is_asked_for_and_is_in_no_address(visit, expect):
    """It is sent inside the connection alone, and the address forgets it."""
    requests: list[str] = []
    page = visit(["Hi"], token="open-sesame", fragment="#token=open-sesame")
    expect(page.locator("#state-text")).to_have_text("Connected")
    assert "open-sesame" not in page.url
    page.evaluate("sessionStorage.clear()")
    page.on("request", lambda request: requests.append(request.url))
    page.reload()
    field = page.get_by_label("This server wants a token")
    field.fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The server did not take this token.")).to_be_visible()
    field.fill("open-sesame")
    page.get_by_role("button", name="Connect").click()
    expect(page.locator("#state-text")).to_have_text("Connected")
    page.evaluate("sessionStorage.clear()")
    page.reload()
    expect(field).to_be_visible()
    page.evaluate("location.hash = 'token=open-sesame'")  # as one who pastes the address into the open tab
    expect(page.locator("#state-text")).to_have_text("Connected")
    assert "open-sesame" not in page.url
    say(page, "Hello")
    expect(page.locator(".answer")).to_contain_text("Hi")
    assert requests
    assert not [url for url in requests if "sesame" in url]


def test_a_message_that_is_too_long_comes_back_into_the_field(visit, expect):
    """Nothing that was typed is lost."""
    page = visit(["Hi"], max_message=2000)
    say(page, "x" * 3000)
    expect(page.get_by_text("The message is too long for this server.")).to_be_visible()
    assert len(page.get_by_role("textbox", name="Message", exact=True).input_value()) == 3000
    expect(page.locator("#state-text")).to_have_text("Connected")
    say(page, "Hello")
    expect(page.locator(".answer")).to_contain_text("Hi")
