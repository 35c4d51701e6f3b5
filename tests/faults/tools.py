"""The faults of tool calls, rows 53 to 55, as far as the provider hands calls out: whole, apart, or with a problem."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dialects import DIALECTS, Dialect
from faults.calls import (
    Expected,
    argument,
    block,
    blocks,
    calls,
    chat,
    fragment,
    function,
    item,
    items,
    lines,
    parts,
    piece,
)
from faults.core import ANY, Fault, Outcome, Scene, Step
from faults.says import say, streamed
from faults.shapes import NO_TOOLS
from wires.script import Answer, Say, Use, Uses

from promptstream.errors import ProtocolError, Truncated

CALLED = Outcome(text="", finish="tool_calls")
REFUSED = Outcome(ProtocolError, text="", phase="decode", retryable=False)
ONE, TWO = ("a", "add", {"a": 1}), ("b", "sub", {"b": 2})
Case = tuple[str, Callable[[Dialect], Step], Expected]
APART: dict[str, list[Case]] = {
    "chat": [
        (
            "interleaved by index",
            chat(
                [fragment("", "add", index=0, id="a"), fragment("", "sub", index=1, id="b")],
                [fragment('{"b"', index=1), fragment('{"a"', index=0)],
                fragment(":1}", index=0),
                fragment(":2}", index=1),
            ),
            [ONE, TWO],
        ),
        (
            "the second index first",
            chat(fragment('{"b":2}', "sub", index=1, id="b"), fragment('{"a":1}', "add", index=0, id="a")),
            [TWO, ONE],
        ),
        (
            "a gap in the indexes",
            chat(fragment('{"a":1}', "add", index=5, id="a"), fragment('{"b":2}', "sub", index=127, id="b")),
            [ONE, TWO],
        ),
        (
            "a new id on an old index",
            chat(fragment('{"a":1}', "add", index=0, id="a"), fragment('{"b":2}', "sub", index=0, id="b")),
            [ONE, TWO],
        ),
        (
            "no index",
            chat(fragment('{"a":', "add", id="a"), fragment("1}"), fragment('{"b":', "sub", id="b"), fragment("2}")),
            [ONE, TWO],
        ),
        (
            "no index, and the id in every piece",
            chat(
                fragment('{"a":', "add", id="a"),
                fragment('{"b":', "sub", id="b"),
                fragment("1}", id="a"),
                fragment("2}", id="b"),
            ),
            [ONE, TWO],
        ),
        (
            "the id, the name and the index in every piece",
            chat(fragment('{"a":', "add", index=0, id="a"), fragment("1}", "add", index=0, id="a")),
            [ONE],
        ),
        (
            "another id in every piece",
            chat(fragment('{"a":', "add", index=0, id="a"), fragment("1}", index=0, id="z")),
            [ONE],
        ),
        (
            "the index a text",
            chat(fragment('{"a":', "add", index="0", id="a"), fragment("1}", index=0)),
            [ONE],
        ),
        ("no id", chat(fragment('{"a":1}', "add", index=0)), [(None, "add", {"a": 1})]),
        (
            "the id null and empty",
            chat(fragment('{"a":', "add", index=0, id=None), fragment("1}", index=0, id="")),
            [(None, "add", {"a": 1})],
        ),
        ("the id after the arguments", chat(fragment('{"a":1}', index=0), fragment("", "add", index=0, id="a")), [ONE]),
        ("the arguments an object", chat(fragment({"a": 1}, "add", index=0, id="a")), [ONE]),
        ("no arguments", chat(fragment(None, "add", index=0, id="a")), [("a", "add", {})]),
        ("finish_reason stop", chat(fragment('{"a":1}', "add", index=0, id="a"), finish="stop"), [ONE]),
    ],
    "responses": [
        (
            "interleaved by index",
            items(
                item(0, "a"),
                item(1, "b", "sub"),
                argument(1, "b", '{"b":'),
                argument(0, "a", '{"a":'),
                argument(1, "b", "2}"),
                argument(0, "a", "1}"),
            ),
            [ONE, TWO],
        ),
        (
            "no index",
            items(
                item(None, "a"), argument(None, "a", '{"a":1}'), item(None, "b", "sub"), argument(None, "b", '{"b":2}')
            ),
            [ONE, TWO],
        ),
        ("a gap in the indexes", items(item(7, "a"), argument(7, "a", '{"a":1}')), [ONE]),
        (
            "a new id on an old index",
            items(item(0, "a"), argument(0, "a", '{"a":1}'), item(0, "b", "sub"), argument(0, "b", '{"b":2}')),
            [ONE, TWO],
        ),
        ("announced twice", items(item(0, "a"), item(0, "a"), argument(0, "a", '{"a":1}')), [ONE]),
        ("whole when it is announced", items(item(0, "a", arguments='{"a":1}')), [ONE]),
        ("no arguments", items(item(0, "a")), [("a", "add", {})]),
    ],
    "anthropic": [
        (
            "interleaved by index",
            blocks(
                block(0, "a"),
                block(1, "b", "sub"),
                piece(1, '{"b":'),
                piece(0, '{"a":'),
                piece(1, "2}"),
                piece(0, "1}"),
            ),
            [ONE, TWO],
        ),
        ("a gap in the indexes", blocks(block(7, "a"), piece(7, '{"a":1}')), [ONE]),
        (
            "a new id on an old index",
            blocks(block(0, "a"), piece(0, '{"a":1}'), block(0, "b", "sub"), piece(0, '{"b":2}')),
            [ONE, TWO],
        ),
        ("no index", blocks(block(None, "a"), piece(None, '{"a":1}')), [ONE]),
        ("an id twice", blocks(block(0, "a"), block(1, "a")), [("a", "add", {}), (None, "add", {})]),
        ("no id", blocks(block(0, "")), [(None, "add", {})]),
        ("whole at its start", blocks(block(0, "a", given={"a": 1})), [ONE]),
        (
            "no end of the block, and the reason end_turn",
            blocks(block(0, "a"), piece(0, '{"a":1}'), reason="end_turn"),
            [ONE],
        ),
    ],
    "gemini": [
        (
            "whole, each in its event",
            parts({"id": "a", "name": "add", "args": {"a": 1}}, {"id": "b", "name": "sub", "args": {"b": 2}}),
            [ONE, TWO],
        ),
        ("no id", parts({"name": "add", "args": {"a": 1}}), [(None, "add", {"a": 1})]),
        (
            "an id twice",
            parts({"id": "a", "name": "add", "args": {"a": 1}}, {"id": "a", "name": "sub", "args": {"b": 2}}),
            [ONE, (None, "sub", {"b": 2})],
        ),
        ("no arguments", parts({"id": "a", "name": "add"}), [("a", "add", {})]),
        ("the arguments a text", parts({"id": "a", "name": "add", "args": '{"a": 1}'}), [ONE]),
    ],
    "ollama": [
        (
            "whole, each in its line",
            lines([function(arguments={"a": 1}, id="a")], [function("sub", {"b": 2}, id="b")]),
            [
                ONE,
                TWO,
            ],
        ),
        (
            "two in a line",
            lines([function(arguments={"a": 1}, id="a"), function("sub", {"b": 2}, id="b")]),
            [ONE, TWO],
        ),
        ("no id", lines([function(arguments={"a": 1})]), [(None, "add", {"a": 1})]),
        (
            "an id twice",
            lines([function(arguments={"a": 1}, id="a"), function("sub", {"b": 2}, id="a")]),
            [ONE, (None, "sub", {"b": 2})],
        ),
        ("no arguments", lines([function(id="a")]), [("a", "add", {})]),
        ("the arguments a text", lines([function(arguments='{"a": 1}', id="a")]), [ONE]),
    ],
}
"""Row 53, by dialect: how the pieces come, and the calls they make."""

NUMBERS = {
    "a thousand million": 10**9,
    "128": 128,
    "below 0": -1,
    "a fraction": 1.5,
    "true": True,
    "a word": "x",
    "a list": [0],
}
LABEL = {"error": None, "phase": ANY, "retryable": ANY, "finish": "tool_calls"}
"""What becomes of a number that is no place in a list, but one of the names of what it numbers."""


def _numbered(number: Any) -> Callable[[Dialect], Step]:
    made = {
        "chat": chat(fragment('{"a":1}', "add", index=number, id="a")),
        "responses": items(item(number, "a"), argument(number, "a", '{"a":1}')),
        "anthropic": blocks(block(number, "a"), piece(number, '{"a":1}')),
    }
    return lambda dialect: made[dialect.name](dialect)


def _many(dialect: Dialect, number: int) -> Step:
    """Give an answer of *number* calls."""
    uses = [Use(f"call_{at}", "add", '{"a":1}') for at in range(number)]
    return say(streamed(dialect, dialect.wire.stream(Answer([Uses(tuple(uses))], "tool_calls")).body))


def _one_by(table: dict[str, Callable[[Dialect], Step]], why: str) -> dict[str, Any]:
    """Give how a fault is made that the dialects in *table* can have, and why the others cannot."""
    return {
        "step": lambda dialect: table[dialect.name](dialect),
        "per": NO_TOOLS | {name: why for name in DIALECTS if name not in table and name not in NO_TOOLS},
    }


def _apart() -> Iterator[Fault]:
    by_name: dict[str, dict[str, tuple[Callable[[Dialect], Step], Expected]]] = {}
    for dialect, cases in APART.items():
        for name, step, expected in cases:
            by_name.setdefault(name, {})[dialect] = step, expected
    for name, made in by_name.items():
        yield Fault(
            53,
            f"calls {name}",
            **_one_by({each: step for each, (step, _) in made.items()}, "calls do not come so in this protocol"),
            outcome=CALLED,
            also=lambda scene, made=made: calls(made[scene.dialect.name][1])(scene),
        )


BROKEN: dict[str, tuple[str, str]] = {
    "cut": ('{"a":', "the arguments are not whole"),
    "words": ("add one", "the arguments are not whole"),
    "single quotes": ("{'a': 1}", "the arguments are not whole"),
    "two objects": ('{"a":1}{"a":2}', "the arguments are not whole"),
    "NaN": ('{"a": NaN}', "the arguments are not whole"),
    "a number of 10,000 digits": (f'{{"a": {"9" * 10_000}}}', "the arguments are not whole"),
    "65 levels": ('{"a":' * 64 + "[]" + "}" * 64, "the arguments are not whole"),
    "10,000 levels": ('{"a":' * 10_000, "the arguments are not whole"),
    "a list": ("[1]", "the arguments are not a JSON object"),
    "a number": ("1", "the arguments are not a JSON object"),
    "a text": ('"x"', "the arguments are not a JSON object"),
    "null": ("null", "the arguments are not a JSON object"),
}
"""Row 55: arguments, and what the call's problem says."""
VALUES = {"a list": [1], "a number": 1, "true": True}
"""The same where the arguments are a value and no text."""


def _texts(text: str, finish: str) -> dict[str, Callable[[Dialect], Step]]:
    """Give an answer whose call has *text* as its arguments, in each dialect."""
    reasons = {
        "tool_calls": ("tool_calls", "tool_use", "STOP", "stop"),
        "length": ("length", "max_tokens", "MAX_TOKENS", "length"),
    }
    of_chat, of_anthropic, of_gemini, of_ollama = reasons[finish]
    return {
        "chat": chat(fragment("", "add", index=0, id="a"), fragment(text, index=0), finish=of_chat),
        "responses": items(
            item(0, "a"), argument(0, "a", text), ended="completed" if finish != "length" else "incomplete"
        ),
        "anthropic": blocks(block(0, "a"), piece(0, text), reason=of_anthropic),
        "gemini": parts({"id": "a", "name": "add", "args": text}, reason=of_gemini),
        "ollama": lines([function(arguments=text, id="a")], reason=of_ollama),
    }


def _values(value: Any) -> dict[str, Callable[[Dialect], Step]]:
    return {
        "chat": chat(fragment(value, "add", index=0, id="a")),
        "anthropic": blocks(block(0, "a", given=value)),
        "gemini": parts({"id": "a", "name": "add", "args": value}),
        "ollama": lines([function(arguments=value, id="a")]),
    }


def _broken() -> Iterator[Fault]:
    for name, (text, problem) in BROKEN.items():
        yield Fault(
            55,
            f"arguments: {name}",
            **_one_by(_texts(text, "tool_calls"), ""),
            outcome=CALLED,
            also=calls([("a", "add", None)], problem=problem, raw=text),
        )
    for name, value in VALUES.items():
        yield Fault(
            55,
            f"arguments that are no text: {name}",
            **_one_by(_values(value), "arguments are a text here, and anything else is not of the protocol"),
            outcome=CALLED,
            also=calls([("a", "add", None)], problem="the arguments are not a JSON object"),
        )
    yield Fault(
        55,
        "arguments cut by the length limit",
        step=lambda dialect: _texts('{"a": "half', "length")[dialect.name](dialect),
        outcome=Outcome(text="", finish="length"),
        per=NO_TOOLS | {"responses": {"finish": "other"}},
        also=calls([("a", "add", None)], problem="the arguments are not whole", raw='{"a": "half'),
    )


FAULTS = (
    *_apart(),
    *(
        Fault(
            54,
            f"the number of a call is {name}",
            step=_numbered(number),
            outcome=REFUSED,
            per=NO_TOOLS
            | dict.fromkeys(("gemini", "ollama"), "calls have no numbers")
            | {"responses": LABEL}
            | ({"anthropic": LABEL} if number in (10**9, 128) and number is not True else {}),
        )
        for name, number in NUMBERS.items()
    ),
    Fault(
        54,
        "128 calls",
        step=lambda dialect: _many(dialect, 128),
        outcome=CALLED,
        per=NO_TOOLS,
        also=calls([(f"call_{at}", "add", {"a": 1}) for at in range(128)]),
    ),
    Fault(
        54,
        "129 calls",
        step=lambda dialect: _many(dialect, 129),
        outcome=Outcome(ProtocolError, text="", phase="decode"),
        per=NO_TOOLS,
    ),
    *_broken(),
    Fault(
        55,
        "a call that names no tool",
        **_one_by(
            {
                "chat": chat(fragment('{"a":1}', index=0, id="a")),
                "responses": items(item(0, "a", name=""), argument(0, "a", '{"a":1}')),
                "anthropic": blocks(block(0, "a", name=""), piece(0, '{"a":1}')),
                "gemini": parts({"id": "a", "name": "", "args": {"a": 1}}),
                "ollama": lines([function(name="", arguments={"a": 1}, id="a")]),
            },
            "",
        ),
        outcome=CALLED,
        also=lambda scene: _nameless(scene),
    ),
    Fault(
        55,
        "an answer cut in a call's arguments",
        step=lambda dialect: say(
            streamed(dialect, dialect.wire.stream(Answer([Say("Once"), Use("a", "add", ('{"a":', "1}"))], None)).body)
        ),
        outcome=Outcome(Truncated, text="Once", phase="body"),
        per=NO_TOOLS,
    ),
)


def _nameless(scene: Scene) -> None:
    assert scene.response is not None
    (call,) = scene.response.tool_calls
    assert call.problem == "the call names no tool", f"problem: {call.problem}"
