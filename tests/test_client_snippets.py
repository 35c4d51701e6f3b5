"""The clients of the documents that this library follows, run against its relay as they stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import launched, opened

import promptstream
from promptstream import ToolCall
from promptstream.errors import RateLimited
from promptstream.providers import Scripted
from promptstream.values.chunk import Finish
from promptstream.values.usage import Usage

pytest.importorskip("websockets", reason="websockets is not installed (extra web)")

ADDRESS = "wss://api.example.com/chat"
SCREEN = """
const screen = {message: "", tools: [], complete: false, stats: null, errors: []};
const setMessage = (change) => { screen.message = change(screen.message); };
const setToolExecuting = (name) => { screen.tools.push(name); };
const setComplete = (value) => { screen.complete = value; };
const setStats = (final) => { screen.stats = final; };
const showError = (text) => { screen.errors.push(text); };
window.seen = screen;
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests."""
    yield from launched()


@pytest.fixture(scope="module")
def snippet(conformance_data: Path) -> str:
    """The document's client: its only block of JavaScript."""
    document = conformance_data.parent / "origins" / "promptkit-sdk-v1-streaming-events.md"
    if not document.is_file():
        pytest.skip("the documents are not beside the conformance data")
    (code,) = re.findall(r"```javascript\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    assert code.count(ADDRESS) == 1
    return str(code)


def displayed(browser: Any, snippet: str, question: str, script: Any, **options: Any) -> Any:
    """Run the client against a relay with a script; give what it displayed once the turn was over."""
    from promptstream.web import Relay

    # A socket can send once it is open; the document leaves to its reader to wait for that.
    before, sends, rest = snippet.partition("ws.send(")
    with (
        Relay(provider=Scripted(script), port=0, **options) as relay,
        opened(browser, relay.url + "health") as page,
    ):
        address = relay.url.replace("http:", "ws:") + "chat"
        page.evaluate(
            f"(userInput) => {{ {SCREEN} {before.replace(ADDRESS, address)} ws.onopen = () => {{ {sends + rest} }}; }}",
            question,
        )
        page.wait_for_function("seen.complete || seen.errors.length")
        return page.evaluate("seen")


@promptstream.tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


def test_the_client_shows_the_text_the_tool_and_the_figures(browser, snippet):
    """Only its address is another: text is appended, the tool is named, and the final figures are those of the turn."""
    end = Finish(reason="stop", usage_seen=Usage(input=20, output=7), model="m-1")
    seen = displayed(
        browser,
        snippet,
        "How is it in Oslo?",
        [["Let me see. ", ToolCall("1", "weather", {"city": "Oslo"})], ["It ", "rains. 🌧", end]],
        tools=[weather],
    )
    assert (seen["message"], seen["tools"], seen["complete"]) == ("Let me see. It rains. 🌧", ["weather"], True)
    assert seen["errors"] == []
    assert (seen["stats"]["content"], seen["stats"]["model"]) == (seen["message"], "m-1")
    assert isinstance(seen["stats"]["latency_ms"], int)
    assert set(seen["stats"]) >= {"content", "cost", "latency_ms", "usage", "finish_reason"}


def test_the_client_shows_an_error_and_what_came_before_it(browser, snippet):
    """An error is a text to show, and nothing claims that the answer is whole."""
    seen = displayed(browser, snippet, "Hello", [["Half ", RateLimited("Too many requests.")]])
    assert (seen["message"], seen["complete"], seen["stats"]) == ("Half ", False, None)
    assert seen["errors"] == ["The model has been asked too much; try again in a moment."]
