"""A provider's server in, a conversation whose tools note what they ran with out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from provider_server import ProviderServer
from wires.base import Wire
from wires.script import Answer, Asked, Called, Returned, Say, Sign, Think, Use, Uses

import promptstream
from promptstream import Conversation, Retry
from promptstream.tools.tool import Tool

SIGNATURE = "RXNJTkF0dXJl"
SUM = Use("call_1", "add", ('{"a":2,', '"b":3}'))
PRODUCT = Use("call_2", "multiply", ('{"a":', '2,"b":3}'))
ONE = Answer(["I'll add.", SUM], "tool_calls")
BOTH = Answer([Think("Both, then."), Sign(SIGNATURE), "I'll do both.", Uses((SUM, PRODUCT))], "tool_calls")
LAST = Answer(["It ", "is 5."])
ONCE = Retry(1)


class Bench:
    """Make tools that note each run: ``add``, ``multiply``, and ``fail``, which raises."""

    def __init__(self) -> None:
        self.ran: list[tuple[Any, ...]] = []
        """Name and arguments of each run, in the order in which they began."""

    @property
    def tools(self) -> list[Tool]:
        return [self.add(), self.multiply(), self.fail()]

    def add(self, *, approval: bool = False) -> Tool:
        def add(a: int, b: int) -> int:
            """Add two numbers."""
            self.ran.append(("add", a, b))
            return a + b

        return promptstream.tool(add, approval=approval)

    def multiply(self, *, approval: bool = False) -> Tool:
        def multiply(a: int, b: int) -> int:
            """Multiply two numbers."""
            self.ran.append(("multiply", a, b))
            return a * b

        return promptstream.tool(multiply, approval=approval)

    def fail(self) -> Tool:
        def fail(why: str) -> None:
            """Fail."""
            self.ran.append(("fail", why))
            raise ValueError(why)

        return promptstream.tool(fail)


@contextmanager
def talking(server: ProviderServer, tools: Iterable[Any], **options: Any) -> Iterator[Conversation]:
    """Talk to *server* with *tools*; it is asked once for each answer, unless *retry* says otherwise."""
    with (
        server.provider(retry=options.pop("retry", ONCE)) as provider,
        promptstream.chat("Be terse.", provider=provider, tools=tools, **options) as conv,
    ):
        yield conv


def roles(asked: Asked) -> list[str]:
    """Give who speaks in a request, turn by turn."""
    return [turn.role for turn in asked.turns]


def exchanges(wire: Wire, asked: Asked) -> list[tuple[str, dict[str, Any], str]]:
    """Give name, arguments and result of each call in a request, paired by id where the protocol has ids."""
    calls: list[Called] = asked.of(Called)
    returned: list[Returned] = asked.of(Returned)
    assert len(calls) == len(returned)
    by_id = {each.id: each for each in returned if each.id}
    pairs = [(call, by_id[call.id] if call.id in by_id else returned[at]) for at, call in enumerate(calls)]
    assert all(result.name in (None, call.name) for call, result in pairs)
    return [(call.name, call.arguments, result.content) for call, result in pairs]


def said(answer: Answer) -> str:
    """Give the text of an answer."""
    return "".join(each.text for each in answer.items if isinstance(each, Say))


def is_failure(returned: Returned) -> bool:
    """Tell whether a result is marked as a failure, or the protocol has no mark."""
    return returned.error in (True, None)
