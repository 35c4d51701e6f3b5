"""A history that is too long in, one that fits a token budget out.

What is left out is left out of one request only; the history itself stays whole.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from promptstream.errors import BudgetExceeded, ConfigError
from promptstream.values.message import Message, Part, ToolCall, ToolResult
from promptstream.values.names import nearest
from promptstream.values.request import ToolSpec
from promptstream.values.tokens import PER_MESSAGE, estimate, message_tokens, part_tokens, text_tokens, tool_tokens

__all__ = ["STRATEGIES", "Strategy", "Summarise", "Summary", "Truncation", "estimate"]

Strategy = Callable[[list[Message], int], Sequence[Message]]
"""A way of one's own: the messages without the system prompt and the tokens they may take in, what to send out."""
Summarise = Callable[[Sequence[Message], str], str]
"""Messages and the summary of all before them ("" for none) in, the summary of both out."""
STRATEGIES = ("sliding", "summarize", "fail")

_INTRODUCTION = "Summary of the conversation so far:\n\n"
_SUMMARY_SHARE = 4
"""A summary takes at most this part of the room: a quarter."""
_KEPT_SHARE = 2
"""Turns kept beside a new summary take at most this part: half. A quarter is left to grow into before the next."""


@attrs.frozen
class Summary:
    """Stand for the first messages of a history."""

    upto: int
    """How many."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-safe dict that :meth:`from_dict` reads back."""
        return {"upto": self.upto, "text": self.text}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Summary:
        """Build from :meth:`to_dict`.

        Raises:
            ValueError: it is none of its dicts.
        """
        upto, text = (data.get("upto"), data.get("text")) if isinstance(data, Mapping) else (None, None)
        if isinstance(upto, bool) or not isinstance(upto, int) or upto < 0 or not isinstance(text, str):
            raise ValueError(f"a summary is a dict of 'upto', a number of messages, and 'text', not {data!r:.80}.")
        return cls(upto, text)


class Truncation:
    """Keep what is sent within a budget of tokens: system prompt, tools and messages, not the answer.

    Made once per conversation; its forks may share it, in any thread.

    Args:
        budget: tokens, above 0.
        strategy: what to do with a history that is too long. "fail" raises; "sliding" leaves out its oldest turns;
            "summarize" has them summarised, the summary sent in their place as a message of the user; a callable
            decides by itself. A turn begins with what the user says and ends before the user's next word.
        count: gives the tokens of a text, as a real tokenizer does; without it they are estimated.

    Raises:
        TypeError: an argument is of the wrong type.
        ConfigError: the budget is not above 0, or the strategy is not known.
    """

    def __init__(
        self,
        budget: int,
        strategy: Literal["sliding", "summarize", "fail"] | Strategy = "fail",
        *,
        count: Callable[[str], int] | None = None,
    ) -> None:
        if isinstance(budget, bool) or not hasattr(budget, "__index__"):
            raise TypeError(f"budget={budget!r:.80}: give a whole number of tokens.")
        if (number := operator.index(budget)) < 1:
            raise ConfigError(f"budget={number}: give a number of tokens above 0.")
        if isinstance(strategy, str) and strategy not in STRATEGIES:
            known = ", ".join(map(repr, STRATEGIES))
            raise ConfigError(
                f"truncate={strategy!r:.60} is not known.{nearest(strategy, STRATEGIES)} Give one of {known}, "
                "or a callable."
            )
        if not isinstance(strategy, str) and not callable(strategy):
            raise TypeError(f"truncate={strategy!r:.60}: give one of {', '.join(STRATEGIES)}, or a callable.")
        if count is not None and not callable(count):
            raise TypeError(f"count={count!r:.60}: give a callable that takes a text and gives its tokens.")
        self.budget = number
        self.strategy: str | Strategy = strategy
        self._given_count = count
        self._known: dict[int, tuple[Message, int]] = {}
        """What was counted for the last request, by the identity of its messages: most are in the next one too."""

    def fit(
        self,
        system: Message | None,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        *,
        summary: Summary | None = None,
        summarise: Summarise | None = None,
    ) -> tuple[list[Message], Summary | None]:
        """Give the messages to send, without the system prompt, and the summary to remember for the next time.

        A history that fits is given as it is. Of a longer one the last thing the user said and everything after it is
        kept whole, no call is parted from its result, messages in the role "system" are kept, and the others begin
        with one of the user. Nothing is changed that was given. Linear in the messages.

        Args:
            summary: what the last ``fit`` of this history gave; one that does not stand for it any more is dropped.
            summarise: makes summaries, for the strategy "summarize". It is given whole turns that the earlier summary
                does not cover, as many as the room has place for, so it may be called several times.

        Raises:
            BudgetExceeded: the running turn does not fit; or, with "fail", the whole does not.
            ConfigError: a strategy of one's own gave what cannot be sent; ``count`` or ``summarise`` gave nonsense.
        """
        plan = self._plan(system, messages, tools)
        if plan.left[plan.start] > plan.room:
            raise self._exceeded("this turn alone needs", plan, plan.start, "Shorten it, or give a larger budget.")
        known = summary if summary is not None and 0 < summary.upto in plan.cuts else None
        if plan.left[0] <= plan.room:
            return list(messages), known
        if self.strategy == "fail":
            advice = "Give truncate='sliding' or 'summarize', or a larger budget."
            raise self._exceeded("the conversation needs", plan, 0, advice)
        if self.strategy == "sliding":
            return plan.shortened(plan.first_within(plan.room)), known
        if self.strategy == "summarize":
            return self._summarised(plan, known, summarise)
        return self._chosen(plan), known

    def _plan(self, system: Message | None, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> _Plan:
        sizes = self._sizes(messages)
        spoken = [0 if each.role == "system" else size for each, size in zip(messages, sizes, strict=True)]
        left = [sum(sizes)]
        for size in spoken:
            left.append(left[-1] - size)
        prompt = message_tokens(system, self._count) if system is not None else 0
        described = sum(tool_tokens(each, self._count) for each in tools)
        return _Plan(messages, _cuts(messages), left, prompt, described, self.budget - prompt - described)

    def _sizes(self, messages: Sequence[Message]) -> list[int]:
        sizes = [self._size(message) for message in messages]
        # Each is kept alive with its size: an identity that was free again could be another's.
        self._known = {id(message): (message, size) for message, size in zip(messages, sizes, strict=True)}
        return sizes

    def _size(self, message: Message) -> int:
        found = self._known.get(id(message))
        return message_tokens(message, self._count) if found is None else found[1]

    def _count(self, text: str) -> int:
        if self._given_count is None:
            return text_tokens(text)
        number = self._given_count(text)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ConfigError(f"count gave {number!r:.60} for a text; give a whole number of tokens.")
        return number

    def _summarised(
        self, plan: _Plan, summary: Summary | None, summarise: Summarise | None
    ) -> tuple[list[Message], Summary | None]:
        covered, text = (summary.upto, summary.text) if summary is not None else (0, "")
        whole = self._told(text, plan.room)
        if summary is not None and whole and plan.left[covered] + message_tokens(whole, self._count) <= plan.room:
            return plan.shortened(covered, whole), summary
        most = plan.room // _SUMMARY_SHARE
        cut = max(covered, plan.first_within(plan.room // _KEPT_SHARE))
        for turns in filter(None, plan.batches(covered, cut, plan.room - most)):
            text = _summary_of(turns, text, summarise)
            text = text[: self._fitting(text, most)]
        return plan.shortened(cut, self._told(text, plan.room - plan.left[cut])), Summary(cut, text)

    def _told(self, text: str, room: int) -> Message | None:
        """Give the message that tells a summary, cut to *room* tokens; None where nothing of it fits.

        In the user's role: what was summarised came from the user and from tools, and is given no greater weight.
        By itself: a part of the user's own message would be taken for the user's words by who checks those.
        """
        length = self._fitting(text, room)
        return Message("user", _INTRODUCTION + text[:length]) if length else None

    def _fitting(self, text: str, room: int) -> int:
        """Give how many characters of a summary can be told in *room* tokens."""
        fits, over = 0, len(text) + 1
        length = len(text)
        while fits + 1 < over:
            if PER_MESSAGE + self._count(_INTRODUCTION + text[:length]) <= room:
                fits = length
            else:
                over = length
            length = (fits + over) // 2
        return fits

    def _chosen(self, plan: _Plan) -> list[Message]:
        assert callable(self.strategy)
        given = self.strategy(list(plan.messages), plan.room)
        fault = _unfit(given, plan)
        if fault is None and (needed := sum(map(self._size, given))) > plan.room:
            fault = f"what it gives takes about {needed:,} tokens, and there is room for {plan.room:,}"
        if fault is not None:
            name = getattr(self.strategy, "__qualname__", type(self.strategy).__name__)
            raise ConfigError(f"The truncation strategy {name} cannot be used: {fault}.")
        return list(given)

    def _exceeded(self, what: str, plan: _Plan, start: int, advice: str) -> BudgetExceeded:
        needed = self.budget - plan.room + plan.left[start]
        sent = plan.shortened(start)
        size, largest = max(
            [(part_tokens(part, self._count), _named(message, part)) for message in sent for part in message.parts],
            default=(0, ""),
            key=lambda each: each[0],
        )
        shares = [f"{plan.prompt:,} for the system prompt"] if plan.prompt else []
        shares += [f"{plan.described:,} for the tools"] if plan.described else []
        messages = f"{plan.left[start]:,} for {len(sent)} message{'s' * (len(sent) != 1)}"
        shares.append(f"{messages}, the largest part {largest} with {size:,}" if largest else messages)
        return BudgetExceeded(
            f"The budget is {self.budget:,} tokens, and {what} about {needed:,}: {'; '.join(shares)}. {advice}"
        )


@attrs.frozen(eq=False)
class _Plan:
    """A history, measured: where it may begin, and what is left of it then."""

    messages: Sequence[Message]
    cuts: list[int]
    """Where a turn begins, oldest first, the running one last; never between a call and its result."""
    left: list[int]
    """For each place: the tokens of what is sent where the history begins there."""
    prompt: int
    described: int
    room: int
    """Tokens that the messages may take."""

    @property
    def start(self) -> int:
        """Where the running turn begins."""
        return self.cuts[-1] if self.cuts else 0

    def first_within(self, room: int) -> int:
        """Give the first place where what is left takes *room* at most, else where the running turn begins."""
        return next((cut for cut in self.cuts if self.left[cut] <= room), self.start)

    def shortened(self, cut: int, told: Message | None = None) -> list[Message]:
        pinned = [message for message in self.messages[:cut] if message.role == "system"]
        return [*pinned, *([told] if told else []), *self.messages[cut:]]

    def batches(self, start: int, end: int, most: int) -> Iterator[list[Message]]:
        """Give the turns between two places, as many at a time as *most* tokens hold, but one at the least."""
        begin = stop = start
        for cut in (*(cut for cut in self.cuts if start < cut < end), end):
            if begin < stop and self.left[begin] - self.left[cut] > most:
                yield self._spoken(begin, stop)
                begin = stop
            stop = cut
        if begin < stop:
            yield self._spoken(begin, stop)

    def _spoken(self, start: int, end: int) -> list[Message]:
        return [message for message in self.messages[start:end] if message.role != "system"]


def _cuts(messages: Sequence[Message]) -> list[int]:
    calls: dict[str, int] = {}
    answered = [-1] * len(messages)
    """For each message: where the last result of one of its calls stands."""
    for number, message in enumerate(messages):
        for part in message.parts:
            if isinstance(part, ToolCall):
                calls[part.id] = number
            elif isinstance(part, ToolResult) and part.call_id in calls:
                answered[calls[part.call_id]] = number
    cuts, held = [], -1
    for number, message in enumerate(messages):
        if held < number and _begins_turn(message):
            cuts.append(number)
        held = max(held, answered[number])
    return cuts


def _begins_turn(message: Message) -> bool:
    return message.role == "user" and not any(isinstance(part, ToolResult) for part in message.parts)


def _summary_of(turns: Sequence[Message], before: str, summarise: Summarise | None) -> str:
    if summarise is None:
        raise ConfigError("truncate='summarize' needs a callable that makes summaries; give summarise=.")
    text = summarise(turns, before)
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"summarise gave {text!r:.60}; give the summary as a text that is not empty.")
    return text.strip()


def _unfit(given: Any, plan: _Plan) -> str | None:
    """Say why what a strategy of one's own gave cannot be sent, or None."""
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        return f"it gives a {type(given).__name__}; give a list of messages"
    for number, message in enumerate(given):
        if not isinstance(message, Message):
            return f"[{number}] of what it gives is a {type(message).__name__}; give Messages"
    running = list(plan.messages[plan.start :])
    if list(given[len(given) - len(running) :]) != running:
        return f"what it gives does not end with the running turn, the last {len(running)} of the messages"
    first = next((message for message in given if message.role != "system"), None)
    if plan.cuts and first is not None and not _begins_turn(first):
        return f"what it gives begins with a message of the role {first.role!r}; begin with one of the user"
    (orphans, unanswered), (before, waiting) = _loose(given), _loose(plan.messages)
    if orphans := orphans - before:
        return f"the result of the call {min(orphans)!r} is without its call"
    if unanswered := unanswered - waiting:
        return f"the call {min(unanswered)!r} is without its result"
    return None


def _loose(messages: Sequence[Message]) -> tuple[set[str], set[str]]:
    """Give the ids of results whose call does not stand before them, and of calls without a result."""
    calls: set[str] = set()
    answered: set[str] = set()
    orphans: set[str] = set()
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCall):
                calls.add(part.id)
            elif isinstance(part, ToolResult):
                (answered if part.call_id in calls else orphans).add(part.call_id)
    return orphans, calls - answered


def _named(message: Message, part: Part) -> str:
    """Say what a part is, for the user to find it."""
    if isinstance(part, ToolResult):
        return f"a result of the tool {part.name!r:.60}"
    if isinstance(part, ToolCall):
        return f"a call of the tool {part.name!r:.60}"
    article = "an" if part.type == "image" else "a"
    return f"{article} {part.type} of the {message.role}"
