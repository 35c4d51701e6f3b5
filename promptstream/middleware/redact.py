"""Patterns in, a layer out that replaces what they match, on the way to the provider and on the way back."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from promptstream.errors import ConfigError
from promptstream.middleware.holdback import Held, Holdback, Lane, said_before
from promptstream.middleware.onion import CallNext, Middleware
from promptstream.values.chunk import Chunk, ChunkType, Opaque
from promptstream.values.finder import Finder, Pattern, Span, spans
from promptstream.values.message import Message, Part, Text, ToolCall
from promptstream.values.names import nearest
from promptstream.values.personal import KINDS, personal
from promptstream.values.phrases import Phrases, unusable
from promptstream.values.request import ChatRequest

_DIRECTIONS = ("input", "output", "both")


def redact(*patterns: str | re.Pattern[str], replacement: str = "[redacted]", direction: str = "both") -> Middleware:
    """Give a layer that puts *replacement* where one of *patterns* matches.

    A pattern is a compiled regular expression; the name of a ready one: "email", "phone", "card", "iban" or "ssn"; or
    any other string, which stands for itself, in any case and spelling. Matches that overlap are replaced as one.

    On the way out it changes the text of the user's messages, all of them, in what is sent; the history keeps them as
    they are. On the way back it changes text, reasoning and the arguments of tool calls (so that the tools get them
    changed) before anybody sees them, the history included. Never does a part of a match leave: what may become one is
    held back until that is known. A pattern that may go on for ever (``.*``) holds as long as it does; one that refers
    to its own groups holds everything to the end.
    Any number of turns may use the layer at once.

    Raises:
        ConfigError: there is no pattern, or one cannot be used.
    """
    if direction not in _DIRECTIONS:
        raise ConfigError(
            f"direction={direction!r:.60}: give one of {', '.join(_DIRECTIONS)}.{nearest(str(direction), _DIRECTIONS)}"
        )
    if not isinstance(replacement, str):
        raise ConfigError(f"replacement={replacement!r:.60}: give a string.")
    if not patterns:
        raise ConfigError(f"redact: give patterns, such as {', '.join(map(repr, KINDS))}.")
    finders = tuple(_finders(patterns))

    def redacted(request: ChatRequest, call_next: CallNext) -> Iterator[Chunk]:
        sent = request if direction == "output" else _sent(request, finders, replacement)
        if direction == "input":
            return call_next(sent)
        return _redacted(request, call_next(sent), finders, replacement)

    return redacted


def _finders(patterns: tuple[Any, ...]) -> Iterator[Finder]:
    """Give the finders of the patterns; all that stand for themselves are one, however many they are."""
    phrases = []
    for pattern in patterns:
        finder = _finder(pattern)
        if finder is None:
            phrases.append(pattern)
        else:
            yield finder
    if phrases:
        yield Phrases(phrases, words=False)


def _finder(pattern: Any) -> Finder | None:
    """Give the finder of a pattern, or None where it is a phrase."""
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return Pattern(pattern)
    if not isinstance(pattern, str) or not pattern:
        raise ConfigError(f"redact: {pattern!r:.60} is no pattern; give a string or re.compile(...).")
    if pattern in KINDS:
        return personal(pattern)
    if kind := _slip(pattern):
        raise ConfigError(
            f"redact: {pattern!r} is no ready pattern; {kind!r} is one. For the text itself give re.compile(...)."
        )
    if "\\" in pattern:
        raise ConfigError("redact: a string stands for itself; give re.compile(...) for a regular expression.")
    if reason := unusable(pattern):
        raise ConfigError(f"redact: {pattern!r:.60} is no pattern: it {reason}.")
    return None


def _slip(pattern: str) -> str | None:
    """Give the kind that was meant by its name in another case, its plural, or with two letters in each other's place.

    A word that merely looks like one is text, as names are.
    """
    plain = pattern.lower()
    for kind in KINDS:
        swapped = (kind[:at] + kind[at + 1] + kind[at] + kind[at + 2 :] for at in range(len(kind) - 1))
        if plain in (kind, f"{kind}s") or pattern in swapped:
            return kind
    return None


def _merged(finders: tuple[Finder, ...], text: str) -> list[Span]:
    """Give what is to be replaced in a whole text; spans that touch one another's characters are one."""
    merged: list[Span] = []
    found = (span for finder in finders for span in spans(finder, text, within=isinstance(finder, Phrases)))
    for start, end in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _clean(text: str, finders: tuple[Finder, ...], replacement: str) -> str:
    for start, end in reversed(_merged(finders, text)):
        text = text[:start] + replacement + text[end:]
    return text


def _sent(request: ChatRequest, finders: tuple[Finder, ...], replacement: str) -> ChatRequest:
    """Give the request with what the user said changed."""

    def part(given: Part) -> Part:
        return attrs.evolve(given, text=_clean(given.text, finders, replacement)) if isinstance(given, Text) else given

    def message(given: Message) -> Message:
        return attrs.evolve(given, parts=tuple(map(part, given.parts))) if given.role == "user" else given

    prompt = None if request.prompt is None else _clean(request.prompt, finders, replacement)
    return attrs.evolve(request, messages=tuple(map(message, request.messages)), prompt=prompt)


class _Lane(Lane):
    """Follow a text and replace every span in it."""

    def __init__(self, finders: tuple[Finder, ...], replacement: str, before: str) -> None:
        super().__init__(finders, before)
        self._replacement = replacement
        self._origin = len(before)
        self._spans: list[Span] = []
        """Spans of which not all has left, in order; none touches another."""
        self.changed = False

    def _seek(self, number: int, finder: Finder, whole: bool) -> None:
        while True:
            start = self._decided[number]
            span, decided = finder.find(self._text, start - self._base, whole, self._base)
            if span is None:
                self._decided[number] = decided + self._base
                return
            within = isinstance(finder, Phrases)
            self._decided[number] = self._base + span[0] + 1 if within else max(span[1] + self._base, start + 1)
            self._add(span[0] + self._base, span[1] + self._base)

    def _add(self, start: int, end: int) -> None:
        """Keep a span, as far as it is of this round, as one with those it has characters in common with."""
        start = max(start, self._origin)
        after: list[Span] = []
        while self._spans and self._spans[-1][1] > start:
            first, last = self._spans.pop()
            if first < end:
                start, end = min(start, first), max(end, last)
            else:
                after.append((first, last))
        self._spans += (start, end), *reversed(after)

    def bound(self) -> int:
        """Give how much may leave: what is decided, and no part of a span."""
        gone = bisect_right(self._spans, self.left, key=lambda each: each[1])
        del self._spans[:gone]
        place = min([self.total - self._waiting, *self._decided])
        return next((start for start, end in self._spans if start < place < end), place)

    def end(self, place: int) -> int:
        """Give *place*: what leaves may end anywhere."""
        return place

    def render(self, start: int, end: int, text: str) -> str:
        """Give the text from *start* to *end* with the replacement for each span that begins there."""
        pieces: list[str] = []
        place = start
        for first, last in self._spans:
            if first >= end or last <= start:
                continue
            self.changed = True
            if first >= start:
                pieces += text[place - start : first - start], self._replacement
            place = min(last, end)
        return "".join(pieces) + text[place - start :]


def _redacted(
    request: ChatRequest, chunks: Iterator[Chunk], finders: tuple[Finder, ...], replacement: str
) -> Iterator[Chunk]:
    """Yield the chunks with what is found in them replaced."""
    said = said_before(request)
    text = _Lane(finders, replacement, "".join(each.text for each in said))
    thought = _Lane(finders, replacement, "".join(each.reasoning for each in said))
    out = Holdback(text, thought)
    try:
        for chunk in chunks:
            held = out.add(chunk)
            if chunk.type is ChunkType.TOOL_CALL and chunk.tool_call is not None:
                call = _clean_call(chunk.tool_call, finders, replacement)
                fragments = out.fragments(call.id)
                _rewrite(fragments, call.raw_arguments if call is not chunk.tool_call else None, finders, replacement)
                held.chunk = chunk if call is chunk.tool_call else attrs.evolve(chunk, tool_call=call, raw=None)
                held.ready = True
            yield from _unsigned(out.release(), thought)
    except Exception:
        yield from _rest(out, thought, finders, replacement)
        raise
    yield from _rest(out, thought, finders, replacement)


def _rest(out: Holdback, thought: _Lane, finders: tuple[Finder, ...], replacement: str) -> Iterator[Chunk]:
    """Yield what still waits: nothing follows."""
    out.text.look(True)
    thought.look(True)
    groups: dict[str, list[Held]] = {}
    for each in out.fragments():
        groups.setdefault(_call_of(each).id, []).append(each)
    for group in groups.values():
        _rewrite(group, None, finders, replacement)
    yield from _unsigned(out.release(ended=True), thought)


def _unsigned(chunks: Iterator[Chunk], thought: _Lane) -> Iterator[Chunk]:
    """Take from reasoning that was changed what the provider gave with it: its signature no longer fits."""
    for chunk in chunks:
        if thought.changed and isinstance(chunk, Opaque) and chunk.part == "reasoning":
            yield attrs.evolve(chunk, data={})
        elif thought.changed and chunk.type is ChunkType.REASONING:
            yield attrs.evolve(chunk)  # a signature that was dropped comes back where the provider's own chunk does
        else:
            yield chunk


def _call_of(held: Held) -> ToolCall:
    assert held.chunk.tool_call is not None
    return held.chunk.tool_call


def _rewrite(fragments: list[Held], raw: str | None, finders: tuple[Finder, ...], replacement: str) -> None:
    """Let the fragments of a call go; where it was changed, the first carries all of it."""
    said = "".join(_call_of(each).raw_arguments for each in fragments)
    clean = _clean(said, finders, replacement) if raw is None else raw
    for number, each in enumerate(fragments):
        if clean != said:
            call = attrs.evolve(_call_of(each), raw_arguments="" if number else clean)
            each.chunk = attrs.evolve(each.chunk, tool_call=call, raw=None)
        each.ready = True


def _clean_call(call: ToolCall, finders: tuple[Finder, ...], replacement: str) -> ToolCall:
    """Give a call with what is found in its arguments replaced, the very same where nothing is."""

    def value(given: Any) -> Any:
        if isinstance(given, str):
            return _clean(given, finders, replacement)
        if isinstance(given, Mapping):
            return {value(name): value(each) for name, each in given.items()}
        if isinstance(given, list):
            return list(map(value, given))
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            return replacement if _merged(finders, str(given)) else given
        return given

    arguments = None if call.arguments is None else value(call.arguments)
    raw = call.raw_arguments if arguments == call.arguments else json.dumps(arguments, ensure_ascii=False)
    if (clean := _clean(raw, finders, replacement)) != raw:
        raw, arguments = clean, _read(clean)  # what was found spans more than one value
    if raw == call.raw_arguments and arguments == call.arguments:
        return call
    problem = call.problem if arguments is not None or call.problem else "what was redacted left no JSON object"
    return attrs.evolve(call, arguments=arguments, raw_arguments=raw, problem=problem)


def _read(raw: str) -> dict[str, Any] | None:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
