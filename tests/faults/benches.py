"""What a server says of tool calls in, the fault of a conversation that runs the tools out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from dialects import TEXT as WHOLE
from dialects import Dialect
from faults.core import Fault, Outcome, Scene, Step
from faults.says import say, streamed
from faults.shapes import NO_TOOLS
from wires.script import Answer, Use, Uses

import promptstream
from promptstream import Conversation, Timeout, ToolContext
from promptstream.stream import Stream

ANSWERED = Outcome(text=WHOLE, requests=2, finish="stop")
"""The turn is whole: a round of tools, and the answer after it."""
SECRET = "the password is s3cret"
Says = Callable[[Dialect], Step]


def calling(*calls: tuple[str, str]) -> Says:
    """Make an answer that calls tools, each by name and the text of its arguments."""
    uses = Uses(tuple(Use(f"call_{at}", name, given) for at, (name, given) in enumerate(calls)))
    return lambda dialect: say(streamed(dialect, dialect.wire.stream(Answer([uses], "tool_calls")).body))


CALLED = calling(("add", '{"a":7}'))
BOTH = calling(("add", '{"a":7}'), ("add", '{"a":8}'))


class Bench:
    """Hold a conversation that a fault is played in, and what its tools ran with."""

    def __init__(self, run: Callable[[Bench, ToolContext], Any] | None = None, **options: Any) -> None:
        self.options = options
        self.timeout: Timeout | None = options.pop("timeout", None)
        self.event: threading.Event | None = None
        """By which the turn is cancelled, if not by its stream."""
        self._by_event = options.pop("by_event", False)
        self.run = run
        self.ran: list[int] = []
        self.begun = threading.Semaphore(0)
        """Is released by each run as it begins."""
        self.conv: Conversation | None = None

    def ask(self, dialect: Dialect, provider: Any) -> Stream:
        """Open the conversation anew, and ask."""
        self.ran, self.begun = [], threading.Semaphore(0)

        def add(context: ToolContext, a: int) -> Any:
            """Add."""
            self.ran.append(a)
            self.begun.release()
            return a + 1 if self.run is None else self.run(self, context)

        self.conv = promptstream.chat(provider=provider, tools=[add], **self.options)
        self.event = threading.Event() if self._by_event else None
        return self.conv.stream("Hi", timeout=self.timeout, cancel=self.event)

    def roles(self) -> list[str]:
        """Give who has spoken."""
        assert self.conv is not None
        return [message.role for message in self.conv.messages]


def played(
    number: int,
    name: str,
    *says: Says,
    bench: Bench | None = None,
    ran: int | tuple[int, ...] = 0,
    kept: int | None = None,
    told: str = "",
    check: Callable[[Scene, Bench], None] | None = None,
    **fault: Any,
) -> Fault:
    """Give the fault of a conversation whose server *says* this, the last again and again.

    The tool ran with so many arguments; the history holds *kept* messages, by default all of a whole turn or none;
    the last request tells the model *told*.
    """
    made = bench or Bench()

    def also(scene: Scene) -> None:
        conv, made.conv = made.conv, None
        assert conv is not None
        assert len(made.ran) in (ran if isinstance(ran, tuple) else (ran,)), f"the tool ran with {made.ran}"
        wanted = (2 * scene.requests if scene.error is None else 0) if kept is None else kept
        assert len(conv.messages) == wanted, f"the history: {[each.role for each in conv.messages]}"
        assert scene.server is not None
        assert told in scene.server.requests[-1].body.decode().replace("\\", ""), "the model was not told"
        assert SECRET not in scene.server.requests[-1].body.decode(), "the model was told too much"
        made.conv = conv
        if check is not None:
            check(scene, made)
        made.conv = None

    return Fault(
        number,
        name,
        step=lambda dialect: tuple(each(dialect) for each in says),
        ask=made.ask,
        also=also,
        per=NO_TOOLS | fault.pop("per", {}),
        **fault,
    )


def goes_on(scene: Scene, bench: Bench) -> None:
    """The tool's round stands, so that nothing runs twice."""
    assert bench.roles() == ["user", "assistant", "tool"], bench.roles()
