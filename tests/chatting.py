"""A person at the relay's page: opens it, writes, reads; and the tools and calls that such tests need."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from browser import opened

import promptstream
from promptstream import ToolCall
from promptstream.providers import Scripted


@contextmanager
def visiting(browser: Any) -> Iterator[Callable[..., Any]]:
    """Give what opens the page of a relay with a script; pages and relays end together."""
    from promptstream.web import Relay

    with ExitStack() as stack:

        def visit(script: Any = (), *, fragment: str = "", browser_options: Any = None, **options: Any) -> Any:
            provider = script if isinstance(script, promptstream.Provider) else Scripted(script)
            relay = stack.enter_context(Relay(provider=provider, port=0, **options))
            page = stack.enter_context(opened(browser, relay.url + fragment, **(browser_options or {})))
            page.provider = provider
            return page

        yield visit


def say(page: Any, text: str) -> None:
    """Write a message and send it, once there is a connection."""
    page.get_by_role("textbox", name="Message", exact=True).fill(text)
    page.locator("#send:enabled").wait_for()
    page.keyboard.press("Enter")


def texts(page: Any, selector: str) -> list[str]:
    """Give the texts of the elements that are there now."""
    return list(page.locator(selector).all_inner_texts())


def call(name: str = "refund", id: str = "c1", **arguments: Any) -> ToolCall:
    """Give a call of a model's."""
    return ToolCall(id, name, arguments, json.dumps(arguments))


def waiting_tool() -> tuple[Any, threading.Event, threading.Event]:
    """Give a tool that waits, the event that says it does, and the one that lets it go."""
    reached, go = threading.Event(), threading.Event()

    @promptstream.tool
    def wait() -> str:
        """Wait."""
        reached.set()
        assert go.wait(5)
        return "over"

    return wait, reached, go


def refunds() -> tuple[Any, list[dict[str, Any]]]:
    """Give a tool that wants an approval, and what it was run with."""
    ran: list[dict[str, Any]] = []

    @promptstream.tool(approval=True)
    def refund(order: int, note: str = "") -> str:
        """Pay back."""
        ran.append({"order": order, "note": note})
        return f"paid {order}"

    return refund, ran
