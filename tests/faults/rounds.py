"""The faults of tools that run, rows 56 to 58: calls that are mistaken, tools that raise, calls without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import attrs
from dialects import DIALECTS, Dialect
from faults.benches import ANSWERED, BOTH, CALLED, SECRET, Bench, Says, calling, goes_on, played
from faults.core import ANY, Fault, Outcome, Scene, Step
from faults.says import good

from promptstream import ToolContext
from promptstream.errors import Cancelled, ToolArguments, ToolError, ToolLoopLimit, ToolNotFound

# Row 56

MISTAKES: dict[str, tuple[str, str, type[ToolError], str]] = {
    "an unknown tool": ("ad", '{"a":1}', ToolNotFound, "Did you mean"),
    "no argument": ("add", "{}", ToolArguments, "'a' is missing"),
    "an argument of another type": ("add", '{"a":"one"}', ToolArguments, "a"),
    "an argument too many": ("add", '{"a":1,"b":2}', ToolArguments, "b"),
    "arguments that are not whole": ("add", '{"a":', ToolArguments, "not whole"),
    "arguments that are no object": ("add", "[1]", ToolArguments, "not a JSON object"),
}


def _mistakes() -> Iterator[Fault]:
    for words, (name, given, error, told) in MISTAKES.items():
        objects = "an object cannot be cut" if words.startswith("arguments") else {}
        per = dict.fromkeys(("gemini", "ollama"), objects) if objects else {}
        says = calling((name, given))
        yield played(56, f"{words}, once", says, good, outcome=ANSWERED, told=told, per=per)
        yield played(
            56, f"{words}, twice", says, says, outcome=Outcome(error, text="", requests=2, attempts=ANY), per=per
        )
        yield played(
            56,
            f"{words}, beside a good call",
            calling(("add", '{"a":7}'), (name, given)),
            good,
            outcome=ANSWERED,
            told=told,
            ran=1,
            per=per,
        )


# Row 57


def _raising(make: Callable[[], BaseException]) -> Bench:
    def run(bench: Bench, context: ToolContext) -> Any:
        raise make()

    return Bench(run)


def _returning(value: Callable[[], Any]) -> Bench:
    return Bench(lambda bench, context: value())


def _endless() -> list[Any]:
    nested: list[Any] = []
    nested.append(nested)
    return nested


ALIKE = {name: "what a tool does is the same in every dialect" for name in DIALECTS if name != "chat"}
RAISING = {
    "a ValueError": (lambda: ValueError(SECRET), "The tool failed: ValueError.", "s3cret"),
    "an error of its own": (
        type("Own", (Exception,), {"__str__": lambda self: SECRET}),
        "The tool failed: Own.",
        "s3cret",
    ),
    "an error that cannot be shown": (
        type("Mute", (Exception,), {"__str__": lambda self: 1 / 0}),
        "The tool failed: Mute.",
        "Mute",
    ),
    "a RecursionError": (lambda: RecursionError("deep"), "The tool failed: RecursionError.", "deep"),
    "a MemoryError": (MemoryError, "The tool failed: MemoryError.", "MemoryError"),
    "a StopIteration": (StopIteration, "The tool failed: StopIteration.", "StopIteration"),
    "a TimeoutError": (lambda: TimeoutError("slow"), "The tool failed: TimeoutError.", "slow"),
    "a ToolError": (lambda: ToolError("No such city."), "No such city.", None),
    "a ToolError that cannot be encoded": (lambda: ToolError("No \ud83d."), "No ", None),
    "a ToolError of 3 MiB": (lambda: ToolError("x" * (3 << 20)), f"[cut: {1 << 20} of {3 << 20} bytes]", None),
}
RETURNED = {
    "a result that is no JSON": (object, "cannot be encoded"),
    "a result within itself": (_endless, "cannot be encoded"),
    "a result of 3 MiB": (lambda: "x" * (3 << 20), f"[cut: {1 << 20} of {3 << 20} bytes]"),
    "half of a surrogate pair": (lambda: "\ud83d", "�"),
}


def _failing() -> Iterator[Fault]:
    for words, (make, told, warns) in RAISING.items():
        for says, ran, several in ((CALLED, 1, ""), (BOTH, 2, ", two at once")):
            outcome = attrs.evolve(ANSWERED, warns=warns)
            name = f"a tool that raises {words}{several}"
            per = {} if words in ("a ValueError", "a ToolError") else ALIKE
            yield played(57, name, says, good, bench=_raising(make), outcome=outcome, told=told, ran=ran, per=per)
    for words, (value, told) in RETURNED.items():
        yield played(
            57, f"{words}", CALLED, good, bench=_returning(value), outcome=ANSWERED, told=told, ran=1, per=ALIKE
        )
    stops = {
        "Cancelled": (lambda: Cancelled("by itself"), Outcome(Cancelled, text="", attempts=ANY)),
        "KeyboardInterrupt": (KeyboardInterrupt, Outcome(KeyboardInterrupt, text="", attempts=ANY)),
    }
    for words, (make, outcome) in stops.items():  # the second one begins, or not, as chance will have it
        for says, ran, several in ((CALLED, 1, ""), (BOTH, (1, 2), ", two at once")):
            yield played(
                57,
                f"a tool that raises {words}{several}",
                says,
                good,
                bench=_raising(make),
                outcome=outcome,
                ran=ran,
                kept=3,
                check=goes_on,
            )


# Row 58


def for_ever(*names: str) -> Says:
    """Make an answer that calls tools with other arguments each time, without end."""

    def says(dialect: Dialect) -> Step:
        numbers = count()
        return lambda conn, request: calling(*((name, f'{{"a":{next(numbers)}}}') for name in names))(dialect)(
            conn, request
        )

    return says


LIMITED = Outcome(ToolLoopLimit, text="", attempts=ANY)


def _last_stands(scene: Scene, bench: Bench) -> None:
    """What ran has its result, and the turn can be resumed."""
    assert bench.roles() == ["user", *["assistant", "tool"] * (scene.requests - 1)], bench.roles()
    assert bench.conv is not None
    bench.conv.resume().close()


def _looping() -> Iterator[Fault]:
    yield played(
        58,
        "calls without end",
        for_ever("add"),
        outcome=attrs.evolve(LIMITED, requests=11, says="max_rounds"),
        ran=10,
        kept=21,
        check=_last_stands,
    )
    yield played(
        58,
        "the same call without end",
        CALLED,
        outcome=attrs.evolve(LIMITED, requests=4, says="max_identical_calls"),
        ran=2,
        kept=7,
        told="It was not run again",
        check=_last_stands,
    )
    yield played(
        58,
        "two calls in turns, without end",
        lambda dialect: _in_turns(dialect),
        outcome=attrs.evolve(LIMITED, requests=7, says="max_identical_calls"),
        ran=4,
        kept=13,
        told="It was not run again",
        check=_last_stands,
    )
    yield played(
        58,
        "the same call, until it is told",
        CALLED,
        CALLED,
        CALLED,
        good,
        outcome=attrs.evolve(ANSWERED, requests=4),
        ran=2,
        told="It was not run again",
    )
    yield played(
        58,
        "51 calls at once",
        calling(*(("add", f'{{"a":{number}}}') for number in range(51))),
        outcome=attrs.evolve(LIMITED, says="max_tool_calls_per_turn"),
    )
    yield played(
        58,
        "50 calls at once",
        calling(*(("add", f'{{"a":{number}}}') for number in range(50))),
        good,
        outcome=ANSWERED,
        ran=50,
    )
    yield played(
        58,
        "calls without end of a tool that nobody offers",
        for_ever("sub"),
        outcome=Outcome(ToolNotFound, text="", requests=2, attempts=ANY),
    )


def _in_turns(dialect: Dialect) -> Step:
    numbers = count()
    return lambda conn, request: calling(("add", f'{{"a":{next(numbers) % 2}}}'))(dialect)(conn, request)


FAULTS = (*_mistakes(), *_failing(), *_looping())
