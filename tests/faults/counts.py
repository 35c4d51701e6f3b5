"""Rows 48 and 50 of the faults: a usage that cannot be read, and several answers where one was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
from dialects import DIALECTS, Dialect
from faults.core import Fault, Outcome, Scene, Step
from faults.payload import IGNORED
from faults.says import PARTS, part, say, streamed
from faults.shapes import amid, changed, counted, data_of, delta, event, has, with_at
from wires.script import Count

from promptstream import Usage
from promptstream.errors import Truncated

COUNT = Count(input=21, output=9, cached=None, reasoning=None)
PLACE = {
    "chat": "usage",
    "completions": "usage",
    "responses": "response.usage",
    "anthropic": "usage",
    "gemini": "usageMetadata",
    "ollama": "",
}
"""Where the usage stands in the last event that has one."""
INPUT = {
    "chat": "usage.prompt_tokens",
    "completions": "usage.prompt_tokens",
    "responses": "response.usage.input_tokens",
    "anthropic": "message.usage.input_tokens",
    "gemini": "usageMetadata.promptTokenCount",
    "ollama": "prompt_eval_count",
}
OUTPUT = {
    "chat": "usage.completion_tokens",
    "completions": "usage.completion_tokens",
    "responses": "response.usage.output_tokens",
    "anthropic": "usage.output_tokens",
    "gemini": "usageMetadata.candidatesTokenCount",
    "ollama": "eval_count",
}
NO_COUNT = {
    "negative": "-1",
    "a fraction": "1.5",
    "a whole number written as a fraction": "12.0",
    "a text": '"12"',
    "a bool": "true",
    "a list": "[12]",
    "an object": '{"n": 12}',
    "beyond 53 bits": str(10**30),
}
Rewrite = Callable[[Dialect], Iterable[bytes]]


def told(rewrite: Rewrite) -> Callable[[Dialect], Step]:
    """Make a good answer of the events that *rewrite* gives."""
    return lambda dialect: say(streamed(dialect, *rewrite(dialect)))


def spends(expected: Usage, **others: Usage) -> Callable[[Scene], None]:
    """Make a check of the answer's usage, which is that of *others* in the dialects they are named by."""

    def also(scene: Scene) -> None:
        assert scene.response is not None
        found, wanted = scene.response.usage, others.get(scene.dialect.name, expected)
        assert found == wanted, f"the usage is {found} instead of {wanted}"

    return also


def _one(path: dict[str, str], text: str | None) -> Rewrite:
    """Give a good answer's events with JSON *text* as one count; with None without it."""
    return lambda dialect: changed(dialect, counted(dialect, COUNT), path[dialect.name], text)


def _warned(text: str) -> str:
    """Give how a warning shows the value of the JSON *text*."""
    return f"is {str(json.loads(text))!r}" if text != str(10**30) else "is '1"


def _unread() -> Iterator[Fault]:
    for name, text in NO_COUNT.items():
        for what, path, left in (("input", INPUT, Usage(output=9)), ("output", OUTPUT, Usage(input=21))):
            yield Fault(
                48,
                f"the count of the {what} is {name}",
                step=told(_one(path, text)),
                outcome=attrs.evolve(IGNORED, warns="told a usage that cannot be read: "),
                per={each: {"warns": f"{path[each].rpartition('.')[2]} {_warned(text)}"} for each in DIALECTS},
                also=_warned_once(left),
            )
    for name, text in {"null": "null", "missing": None}.items():
        yield Fault(
            48,
            f"the counts are {name}",
            step=told(
                lambda dialect, text=text: changed(dialect, _one(INPUT, text)(dialect), OUTPUT[dialect.name], text)
            ),
            outcome=IGNORED,
            also=spends(Usage()),
        )


def _warned_once(left: Usage) -> Callable[[Scene], None]:
    def also(scene: Scene) -> None:
        spends(left)(scene)
        assert scene.response is not None
        assert len(scene.response.warnings) == 1, scene.response.warnings

    return also


def _no_object(text: str) -> Rewrite:
    """Give a good answer's events with JSON *text* where each has its usage."""

    def rewrite(dialect: Dialect) -> Iterable[bytes]:
        events = changed(dialect, counted(dialect, COUNT), PLACE[dialect.name], text)
        return changed(dialect, events, "message.usage", text)

    return rewrite


def _changing(dialect: Dialect) -> Iterable[bytes]:
    """Give a good answer whose counts grow, shrink, and end at 7."""
    first = OUTPUT[dialect.name]
    for each in counted(dialect, COUNT):
        if has(each, first):
            yield from (with_at(dialect, each, first, count) for count in ("3", "12", "7"))
        else:
            yield each


def _always_wrong(dialect: Dialect) -> Iterable[bytes]:
    """Give an answer of which every event tells another count that is none."""
    template = next(each for each in counted(dialect, COUNT) if has(each, OUTPUT[dialect.name]))
    usage, _ = data_of(template)
    key, counts = PLACE[dialect.name], usage[PLACE[dialect.name]]
    yield part(dialect)
    for number in range(50):
        wrong = {name: -1 - number for name, count in counts.items() if isinstance(count, int)}
        if dialect.name == "anthropic":
            yield event(dialect, json.dumps({"type": "message_delta", "delta": {}, key: wrong}), "message_delta")
        else:
            yield with_at(dialect, dialect.delta(""), key, json.dumps(wrong))
    yield from dialect.events(*PARTS)[len(dialect.events(*PARTS, finish=None)) :]


SECOND = {
    "chat": '{"index": 1, "delta": {"content": "of another"}, "finish_reason": null}',
    "completions": '{"index": 1, "text": "of another", "finish_reason": null}',
    "gemini": '{"index": 1, "content": {"parts": [{"text": "of another"}]}}',
}
ONE = {"responses": "a response is one", "anthropic": "a message is one", "ollama": "an answer is one"}
LIST = {"chat": "choices", "completions": "choices", "gemini": "candidates"}


def _choice(dialect: Dialect, **fields: Any) -> Any:
    return json.loads(SECOND[dialect.name]) | fields


def _choices(dialect: Dialect, *choices: Any) -> bytes:
    return with_at(dialect, dialect.delta("x"), LIST[dialect.name], json.dumps(choices))


def _ended(dialect: Dialect, index: int) -> Any:
    word = {"finishReason": "MAX_TOKENS"} if dialect.name == "gemini" else {"finish_reason": "length"}
    return _choice(dialect, index=index, **word)


def _renumbered(dialect: Dialect) -> Iterable[bytes]:
    """Give a good answer whose one item has the number 999999999."""
    for each in dialect.events(*PARTS):
        for path in ("index", "output_index"):
            each = with_at(dialect, each, path, "999999999") if has(each, path) else each
        yield each


FAULTS = (
    *_unread(),
    Fault(48, "no usage", step=told(lambda dialect: counted(dialect, None)), outcome=IGNORED, also=spends(Usage())),
    *(
        Fault(
            48,
            f"a usage that is {name}",
            step=told(_no_object(text)),
            outcome=attrs.evolve(IGNORED, warns="told a usage that cannot be read: usage is "),
            per={"ollama": "the counts stand in the line itself"},
            also=_warned_once(Usage()),
        )
        for name, text in {"a text": '"many"', "a number": "12", "a list": "[12]", "true": "true"}.items()
    ),
    *(
        Fault(
            48,
            f"a usage that is {name}",
            step=told(_no_object(text)),
            outcome=IGNORED,
            per={"ollama": "the counts stand in the line itself"},
            also=spends(Usage()),
        )
        for name, text in {"null": "null", "empty": "{}"}.items()
    ),
    Fault(
        48,
        "counts that grow, and shrink again: the last ones count",
        step=told(_changing),
        outcome=IGNORED,
        per={"responses": "the usage comes once, with the end", "ollama": "the counts come once, with the end"},
        also=spends(Usage(21, 7)),
    ),
    Fault(
        48,
        "counts of which every event tells another that is none",
        step=told(_always_wrong),
        outcome=attrs.evolve(IGNORED, warns="told a usage that cannot be read: "),
        per={"responses": "the usage comes once, with the end", "ollama": "the counts come once, with the end"},
        also=lambda scene: _warned_once(scene.response.usage)(scene),
    ),
    Fault(
        50,
        "a second choice beside the first",
        step=amid(lambda d: [_choices(d, _choice(d)), _choices(d, _choice(d, index=7)), _choices(d, _ended(d, 1))]),
        outcome=IGNORED,
        per=ONE,
    ),
    Fault(
        50,
        "two choices in one event",
        step=amid(lambda d: _choices(d, _choice(d), data_of(delta(d, '" more"'))[0][LIST[d.name]][0], _choice(d))),
        outcome=attrs.evolve(IGNORED, text="Once upon more"),
        per=ONE,
        journaled=False,
    ),
    Fault(
        50,
        "a second choice ends, and the first does not",
        step=lambda d: say(streamed(d, part(d), _choices(d, _ended(d, 1)))),
        outcome=Outcome(Truncated, text="Once upon", phase="body"),
        per=ONE,
    ),
    Fault(
        50,
        "items with gaps in their numbers",
        step=lambda d: say(streamed(d, *_renumbered(d))),
        outcome=IGNORED,
        per=dict.fromkeys(("chat", "completions", "gemini", "ollama"), "nothing but choices has a number here"),
    ),
)
