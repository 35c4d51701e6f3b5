"""What a provider may say and what it may be asked, in words that belong to no protocol."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import attrs

from promptstream.values.usage import Usage

# What an answer is made of


@attrs.frozen
class Say:
    """One delta of text."""

    text: str


@attrs.frozen
class Think:
    """One delta of reasoning."""

    text: str


@attrs.frozen
class Sign:
    """The opaque data that vouches for the reasoning, or for the call that follows."""

    value: str


@attrs.frozen
class Refuse:
    """One delta of a refusal's text, in the field that the protocol keeps for it."""

    text: str


@attrs.frozen
class Use:
    """One tool call, its arguments cut into *pieces*."""

    id: str
    name: str
    pieces: tuple[str, ...] = attrs.field(
        default=("{}",), converter=lambda each: (each,) if isinstance(each, str) else each
    )

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


@attrs.frozen
class Uses:
    """Several calls at once, their pieces interleaved where the protocol can do that."""

    calls: tuple[Use, ...]


@attrs.frozen
class Noise:
    """Something that a later version of the protocol may send: an "event", "keys" of a known one, or a "block"."""

    what: str


@attrs.frozen
class Beat:
    """A sign of life that carries nothing."""


@attrs.frozen
class Fail:
    """An error in the middle of it: "overloaded", "rate", "context", "server" or "filtered"; nothing follows."""

    kind: str


@attrs.frozen
class Raw:
    """Bytes of one's own."""

    data: bytes


@attrs.frozen
class Count:
    """What the provider counted; None stands for a count it does not tell."""

    input: int = 21
    output: int = 9
    cached: int | None = 4
    reasoning: int | None = 3


Item = Say | Think | Sign | Refuse | Use | Uses | Noise | Beat | Fail | Raw | threading.Event


def items_of(said: str | Item | Iterable[str | Item]) -> tuple[Item, ...]:
    """Read a script: text is one delta."""
    if isinstance(said, str) or not isinstance(said, Iterable):
        said = (said,)
    return tuple(Say(each) if isinstance(each, str) else each for each in said)


@attrs.frozen(eq=False)
class Answer:
    """One answer: its items, then why it ends and what was counted.

    An Event among the items holds the rest back until it is set.
    """

    items: tuple[Item, ...] = attrs.field(default=("Once", " upon", " a time."), converter=items_of)
    finish: str | None = "stop"
    """stop, length, tool_calls, content_filter, refusal, odd, or None to break off without a finish signal."""
    count: Count | None = Count()
    whole: bool | None = None
    """True answers in one JSON body whatever was asked, False always streams, None does as it was asked."""

    @property
    def text(self) -> str:
        return "".join(each.text for each in self.items if isinstance(each, (Say, Refuse)))

    @property
    def reasoning(self) -> str:
        return "".join(each.text for each in self.items if isinstance(each, Think))

    @property
    def calls(self) -> list[Use]:
        found: list[Use] = []
        for each in self.items:
            found += [each] if isinstance(each, Use) else each.calls if isinstance(each, Uses) else []
        return found

    @property
    def failure(self) -> str | None:
        return next((each.kind for each in self.items if isinstance(each, Fail)), None)


@attrs.frozen
class Written:
    """A stream in one protocol's bytes."""

    events: list[bytes | threading.Event]
    signal: int
    """How many events there are up to and with the finish signal."""

    @property
    def body(self) -> bytes:
        return b"".join(each for each in self.events if isinstance(each, bytes))


@attrs.frozen
class Refusal:
    """An HTTP error."""

    status: int
    body: Any
    headers: dict[str, str] = attrs.field(factory=dict)


# What a request asks


@attrs.frozen
class Said:
    """Text in a message."""

    text: str


@attrs.frozen
class Thought:
    """Reasoning that is echoed, with what vouches for it."""

    text: str
    signature: str | None = None


@attrs.frozen
class Called:
    """A call that is echoed."""

    id: str | None
    name: str
    arguments: dict[str, Any]
    signature: str | None = None


@attrs.frozen
class Returned:
    """The result of a call."""

    id: str | None
    name: str | None
    content: str
    error: bool | None = None
    """None where the protocol has no place for it."""


@attrs.frozen
class Pictured:
    """An image, as base64 or by its URL."""

    data: str | None = None
    media_type: str | None = None
    url: str | None = None


@attrs.define
class Turn:
    """A message as the provider understands it; what one speaker says in a row is one turn."""

    role: str
    """user, assistant or tool."""
    items: list[Any] = attrs.field(factory=list)

    @property
    def text(self) -> str:
        return "".join(each.text for each in self.items if isinstance(each, Said))


@attrs.define
class Asked:
    """A request, read by its protocol's rules."""

    model: str | None
    stream: bool
    system: str | None = None
    turns: list[Turn] = attrs.field(factory=list)
    tools: dict[str, Any] = attrs.field(factory=dict)
    """The schemas of the tools' arguments, by name."""
    parameters: dict[str, Any] = attrs.field(factory=dict)
    """Under the common names; format is "json" or a schema."""

    def add(self, role: str, *items: Any) -> None:
        """Add to the turn in progress where *role* still speaks, else begin one."""
        if not self.turns or self.turns[-1].role != role:
            self.turns.append(Turn(role))
        self.turns[-1].items.extend(items)

    def of(self, kind: type) -> list[Any]:
        """Give every item of a kind, in order."""
        return [item for turn in self.turns for item in turn.items if isinstance(item, kind)]


def expected_usage(count: Count, *, cached: bool, reasoning: bool) -> Usage:
    """Give the Usage that *count* stands for, in a protocol that tells *cached* and *reasoning* or does not."""
    return Usage(
        input=count.input,
        output=count.output,
        cached=count.cached if cached else None,
        reasoning=count.reasoning if reasoning else None,
    )
