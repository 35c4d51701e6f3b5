"""Checks in, a layer out that lets nothing pass which they forbid, however it is split over chunks.

What may still become a violation is held back, and everything before it leaves at once. Where it is a violation, the
answer ends before it. Text, reasoning and the arguments of tool calls are looked at; what only the provider reads
(signatures, blocks it wants back as they were) is not.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import attrs

from promptstream.errors import ConfigError, GuardrailTripped
from promptstream.middleware.check import Check, checks_of
from promptstream.middleware.holdback import Held, Holdback, Lane, said_before
from promptstream.middleware.onion import CallNext, Middleware
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.finder import spans
from promptstream.values.message import ToolCall
from promptstream.values.names import nearest
from promptstream.values.request import ChatRequest

DIRECTIONS = ("input", "output", "both")
ACTIONS = ("raise", "replace", "record")
REPLACEMENT = "The answer ends here: a rule forbids what would have followed."


def guard(
    *checks: Any,
    direction: str | None = None,
    on_violation: str | None = None,
    replacement: str | None = None,
    hold: bool = False,
) -> Middleware:
    """Give a layer that runs *checks* over what the user says and what the model answers; set it outermost.

    A check is a :class:`Check`, such as a validator of a pack; a string, which is a banned phrase (whole words, in any
    case and spelling: docs/middleware.md says which); or a callable that is given the whole text and gives what is
    wrong with it, or True, or nothing. *direction* ("input", "output", "both") stands for that of the checks.
    *on_violation* says what follows:

    - "raise": ``GuardrailTripped``, with what came before the violation on ``error.response``;
    - "replace": *replacement* (else the check's message) ends the answer, with the finish reason "content_filter";
    - "record": nothing but an entry in ``response.validations``;
    - None: "raise" where the check says that it fails, else "record". Strings and callables fail.

    Input is checked before anything is sent. What can be told of a whole answer only (a callable, a least length, valid
    JSON) is told at its end, when the text has left; with *hold*, all of a round is held back until then.
    Any number of turns may use the layer at once.

    Raises:
        ConfigError: there is no check, or an argument is none of these.
    """
    if direction is not None and direction not in DIRECTIONS:
        raise ConfigError(_choose("direction", direction, DIRECTIONS))
    if on_violation is not None and on_violation not in ACTIONS:
        raise ConfigError(_choose("on_violation", on_violation, ACTIONS))
    if replacement is not None and not isinstance(replacement, str):
        raise ConfigError(f"replacement={replacement!r:.60}: give a string.")
    if not isinstance(hold, bool):
        raise ConfigError(f"hold={hold!r:.60}: give True or False.")
    if not checks:
        raise ConfigError("guard: give at least one check.")
    rules = tuple(_Rule.of(each, direction, on_violation) for each in checks_of(checks) if each.active)

    def guarded(request: ChatRequest, call_next: CallNext) -> Iterator[Chunk]:
        if not rules or request.round == 0:  # a summary of what was checked, which nobody is shown
            return call_next(request)
        return _Round(rules, request, replacement, hold).run(call_next)

    return guarded


def _choose(name: str, value: object, known: tuple[str, ...]) -> str:
    return f"{name}={value!r:.60}: give one of {', '.join(known)}.{nearest(str(value)[:60], known)}"


@attrs.frozen(eq=False)
class _Rule:
    """Bind a check to what follows from a violation of it."""

    check: Check
    direction: str
    action: str

    @classmethod
    def of(cls, check: Check, direction: str | None, action: str | None) -> _Rule:
        return cls(check, direction or check.direction, action or ("raise" if check.fails else "record"))

    @property
    def enforced(self) -> bool:
        return self.action != "record"

    @property
    def found(self) -> str:
        """What is wrong where it finds a span."""
        return str(getattr(self.check, "reason", "holds what is forbidden"))

    def of_side(self, side: str) -> bool:
        return self.direction in (side, "both")

    def wrong_with(self, text: str) -> str | None:
        """Say what is wrong with a whole text of the user's."""
        if next(spans(self.check, text), None) is not None:
            return self.found
        return self.check.judge(text, text)

    def result(self, side: str, reason: str | None) -> Mapping[str, Any]:
        """Give the entry in ``response.validations``."""
        return {
            "type": self.check.type,
            "name": self.check.name,
            "direction": side,
            "passed": reason is None,
            "message": "" if reason is None else self.check.message or reason,
            "enforced": self.enforced,
        }


class _Round:
    """Guard one request of a turn and what comes back."""

    def __init__(self, rules: tuple[_Rule, ...], request: ChatRequest, replacement: str | None, hold: bool) -> None:
        self.rules, self.request, self.replacement, self.hold = rules, request, replacement, hold
        output = [rule for rule in rules if rule.of_side("output")]
        self.enforced = [rule for rule in output if rule.enforced]
        self.recorded = [rule for rule in output if not rule.enforced]
        said = said_before(request)
        self.before = "".join(message.text for message in said)
        thought = "".join(message.reasoning for message in said)
        self.lanes = _lanes(self.enforced, self.before, thought)
        self.out = Holdback(*self.lanes, all=hold)
        self.seen = _lanes(self.recorded)
        self.pieces: list[str] = []
        """The text of this round."""
        self.wrong: dict[int, tuple[str, str]] = {}
        """Of each rule that was broken: the side and what is wrong."""
        self.tripped: tuple[_Rule, str] | None = None
        """The rule that ends the answer, and where it was broken."""
        self.goes_on = False
        """True where another round follows."""
        _note(self.seen[0], self.before)
        _note(self.seen[1], thought)
        for message in said:
            self._record(
                [message.text, message.reasoning, *(each for call in message.tool_calls for each in _texts(call))]
            )

    def run(self, call_next: CallNext) -> Iterator[Chunk]:
        """Yield what may pass."""
        self._hear()
        if self._stopped():
            yield from self._stop("nothing was sent")
            return
        chunks = call_next(self.request)
        try:
            source = iter(chunks)
            while not self._stopped():
                try:
                    chunk = next(source)
                except StopIteration:
                    break
                except Exception:
                    self._settle()  # what was held and is harmless is not lost
                    yield from self.out.release(ended=True)
                    raise
                self._take(chunk)
                if not self._stopped():
                    yield from self.out.release()
            self._settle()
            if not (self._stopped() or self.goes_on):
                self._judge()
            self.out.all = self.hold and self._stopped()
            yield from self.out.release(ended=True)
        finally:
            if isinstance(chunks, Generator):
                chunks.close()
        if self._stopped():
            yield from self._stop("what came before it was let through" if not self.hold else "all of it was held back")
        elif not self.goes_on:
            yield Finish(validations=self._results())

    def _stopped(self) -> bool:
        return self.tripped is not None

    def _hear(self) -> None:
        """Check what the user says for the first time."""
        asked = self.request.messages
        end = max((place for place, each in enumerate(asked, 1) if each.role == "user"), default=0)
        begin = max((place for place, each in enumerate(asked[:end], 1) if each.role == "assistant"), default=0)
        texts = [each.text for each in asked[begin:end] if each.role == "user"]
        if self.request.prompt is not None:
            texts.append(self.request.prompt)
        for rule in self.rules:
            reasons = (rule.wrong_with(text) for text in texts) if rule.of_side("input") else ()
            reason = next(filter(None, reasons), None)
            if reason is not None:
                self._break(rule, "input", reason, "the message of the user")

    def _take(self, chunk: Chunk) -> None:
        """Look at a chunk and put it into its order."""
        kind = chunk.type
        held = self.out.add(chunk)
        if kind is ChunkType.TEXT:
            self.pieces.append(chunk.text)
            _note(self.seen[0], chunk.text)
        elif kind is ChunkType.REASONING:
            _note(self.seen[1], chunk.reasoning)
        elif kind is ChunkType.TOOL_CALL and chunk.tool_call is not None:
            self.goes_on = True
            self._call(chunk.tool_call, [*self.out.fragments(chunk.tool_call.id), held])
        elif kind is ChunkType.TOOL_CALL_DELTA:
            held.ready = not _everywhere(self.enforced)
        elif isinstance(chunk, Finish) and (chunk.reason is not None or chunk.pause):
            self.goes_on = chunk.reason == "tool_calls" or chunk.pause
        self._found()

    def _found(self) -> None:
        """Trip where a lane holds a violation."""
        for lane, where in zip(self.lanes, ("the text", "the reasoning"), strict=True):
            if lane.found and self.tripped is None:
                number = min(lane.found, key=lambda each: lane.found[each])
                rule = self.enforced[number] if where == "the text" else _everywhere(self.enforced)[number]
                self._break(rule, "output", rule.found, f"{where}, after {lane.found[number][0]} characters,")

    def _call(self, call: ToolCall, held: list[Held]) -> None:
        """Check a whole call, and let it and its fragments go where nothing is wrong with it."""
        texts = [*_texts(call), "".join(each.chunk.tool_call.raw_arguments for each in held if each.chunk.tool_call)]
        if all(call.name != tool.name for tool in self.request.tools):
            texts.append(call.name)
        self._record(texts)
        for rule in _everywhere(self.enforced):
            if any(next(spans(rule.check, text), None) is not None for text in texts):
                self._break(rule, "output", rule.found, "a tool call")
                return
        for each in held:
            each.ready = True

    def _record(self, texts: list[str]) -> None:
        for rule in _everywhere(self.recorded):
            if any(next(spans(rule.check, text), None) is not None for text in texts):
                self._break(rule, "output", rule.found, "")

    def _settle(self) -> None:
        """Decide what was still open: nothing more comes."""
        for lane in (*self.lanes, *self.seen):
            lane.look(True)
        left = self.out.fragments()
        if left:
            groups: dict[str, list[Held]] = {}
            for each in left:
                groups.setdefault(each.chunk.tool_call.id if each.chunk.tool_call else "", []).append(each)
            for group in groups.values():
                raw = "".join(each.chunk.tool_call.raw_arguments for each in group if each.chunk.tool_call)
                self._call(ToolCall("", "", None, raw), group)
        self._found()
        for lane, rules in zip(self.seen, (self.recorded, _everywhere(self.recorded)), strict=True):
            for number in lane.found:
                self._break(rules[number], "output", rules[number].found, "")

    def _judge(self) -> None:
        last = "".join(self.pieces)
        for rule in (*self.recorded, *self.enforced):
            reason = rule.check.judge(self.before + last, last)
            if reason is not None:
                self._break(rule, "output", reason, "the whole answer")

    def _break(self, rule: _Rule, side: str, reason: str, where: str) -> None:
        self.wrong.setdefault(id(rule), (side, reason))
        if rule.enforced and self.tripped is None:
            self.tripped = rule, where

    def _results(self) -> tuple[Mapping[str, Any], ...]:
        """Give what is known of every rule; where the answer was stopped, of those that were broken."""
        return tuple(
            rule.result(*self.wrong.get(id(rule), (rule.direction, None)))
            for rule in self.rules
            if self.tripped is None or id(rule) in self.wrong
        )

    def _stop(self, done: str) -> Iterator[Chunk]:
        """End the answer as the broken rule wants it."""
        assert self.tripped is not None
        rule, where = self.tripped
        check, (_, reason) = rule.check, self.wrong[id(rule)]
        yield Finish(validations=self._results())
        if rule.action == "raise":
            told = f" {check.message}" if check.message else ""
            raise GuardrailTripped(f"The guardrail {check.name!r} tripped: {where} {reason}; {done}.{told}")
        text = self.replacement if self.replacement is not None else check.message or REPLACEMENT
        if text:
            yield Chunk(ChunkType.TEXT, text)
        yield Finish(reason="content_filter", raw_reason=check.name)


def _everywhere(rules: list[_Rule]) -> list[_Rule]:
    return [rule for rule in rules if rule.check.everywhere]


def _lanes(rules: list[_Rule], text: str = "", reasoning: str = "") -> tuple[Lane, Lane]:
    """Give the lanes of text and of reasoning."""
    finders = [rule.check for rule in rules], [rule.check for rule in _everywhere(rules)]
    return Lane(finders[0], text), Lane(finders[1], reasoning)


def _note(lane: Lane, text: str) -> None:
    """Let a lane look at text that is not held back."""
    lane.add(text)
    lane.left = lane.total


def _texts(call: ToolCall) -> list[str]:
    """Give the arguments of a call as they are written, and every text that they spell."""
    found, left = [call.raw_arguments], [call.arguments]
    while left:
        value: Any = left.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, Mapping):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            left += value
    return found
