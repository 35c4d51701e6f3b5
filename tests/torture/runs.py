"""A scenario, a fault and a number in, what the run broke of the promises out."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from dialects import TEXT
from torture.faults import Fault, Injector, failing, forget_sockets, open_sockets, sends
from torture.scenarios import Scenario
from torture.stage import Loop, Stage, until, works

from promptstream import errors
from promptstream.buffered import BufferedStream
from promptstream.errors import PromptStreamError, StreamError
from promptstream.values.chunk import ChunkType
from promptstream.values.message import Message
from promptstream.wire import watch

MOST = 500
"""Calls of one scenario; no run comes near."""


@attrs.define
class Row:
    """What became of one scenario under one fault."""

    scenario: str
    fault: str
    runs: int = 0
    """Runs in which the fault struck."""
    calls: Counter[str] = attrs.field(factory=Counter)
    """Which calls it struck."""
    violations: list[str] = attrs.field(factory=list)


def torture(scenario: Scenario, fault: Fault, start: int = 1, stride: int = 1) -> Row:
    """Fail call *start*, then every *stride*-th one after it, until a run is over before the fault strikes."""
    row = Row(scenario.name, fault.name)
    for number in range(start, MOST, stride):
        fired, problems = run(scenario, fault, number)
        if fired:
            row.runs += 1
            row.calls[fired] += 1
        elif not problems:
            return row
        where = f"{scenario.name}, {fault.name}, call {number} ({fired or 'none'})"
        row.violations += [f"{where}: {problem}" for problem in problems]
        if not fired:
            return row
    row.violations.append(f"{scenario.name}, {fault.name}: more than {MOST} calls")
    return row


def run(scenario: Scenario, fault: Fault, number: int) -> tuple[str, list[str]]:
    """Run *scenario* once with call *number* failing; give which call that was, and all that is wrong."""
    before = _belongings()
    forget_sockets()
    with _no_collector(), _unraised() as unraised:
        problems: list[str] = []
        with scenario.stage() as stage:
            scenario.prepare(stage)
            told = list(stage.conversation.messages) if stage.conversation else []
            with failing(fault, number) as injector:
                raised = _acted(scenario, stage, injector, problems)
            problems += _problems_with_loops(stage, raised, injector)
            if not until(lambda: open_sockets() <= 1):
                problems.append(f"{open_sockets()} sockets are open")
            problems += _problems_with_history(stage, told, raised)
            problems += _problems_with_what_follows(stage)
            if not works(watch._watchdog):
                problems.append("the watchdog does not work any more")
            stage.provider.close()
            if open_sockets():
                problems.append(f"{open_sockets()} sockets are open although the provider is closed")
        del stage
        problems += unraised(injector)
    for what, count in before.items():
        if not until(lambda what=what, count=count: _belongings()[what] <= count):
            problems.append(f"{count} {what} before, {_belongings()[what]} after")
    return injector.fired, problems


def _belongings() -> dict[str, int]:
    """Count what a run must not leave behind."""
    return {"descriptors": len(os.listdir("/proc/self/fd")), "threads": threading.active_count()}


@contextmanager
def _no_collector() -> Iterator[None]:
    """Run with the garbage collector off: what is left in a cycle stays, and is seen."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _unraised() -> Iterator[Any]:
    """Note what finalisers and threads could not raise.

    The injected fault itself is no wonder there, nor a socket that nobody could close before it was forgotten,
    where the fault struck Python and not the system.
    """
    found: list[Any] = []
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = threading.excepthook = lambda each: found.append(each.exc_value)

    def problems(injector: Injector) -> list[str]:
        passes = injector.fault.passes and (*injector.fault.passes, ResourceWarning)
        return [f"not raised: {each!r}" for each in found if not isinstance(each, passes)]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            yield problems
    finally:
        sys.unraisablehook, threading.excepthook = hooks


def _injected(injector: Injector) -> tuple[type[BaseException], ...]:
    """Give the classes of exceptions that may come out as they went in."""
    return injector.fault.passes if injector.fired else ()


def _acted(scenario: Scenario, stage: Stage, injector: Injector, problems: list[str]) -> type[BaseException] | None:
    """Act, and give the class of what it raised: the exception itself would hold what it passed through."""
    try:
        scenario.act(stage)
    except BaseException as error:
        if not isinstance(error, (PromptStreamError, *_injected(injector))):
            problems.append(f"{type(error).__name__} escapes: {error!s:.200}")
        if isinstance(error, StreamError) and stage.loops and error.response.text != stage.loops[-1].text:
            problems.append(f"the error carries {error.response.text!r}, yielded was {stage.loops[-1].text!r}")
        return type(error)
    return None


def _problems_with_loops(stage: Stage, raised: type[BaseException] | None, injector: Injector) -> Iterator[str]:
    """Check that the text is a prefix, that a normal end is whole, and that there is one ending."""
    whole = 0
    for number, seen in enumerate(stage.loops, 1):
        if not TEXT.startswith(seen.text):
            yield f"loop {number} yielded {seen.text!r}"
        done = [chunk for chunk in seen.chunks if chunk.type is ChunkType.DONE]
        whole += len(done)
        if done and not (seen.text == TEXT and done[0].response and done[0].response.complete):
            yield f"loop {number} ended normally with {seen.text!r}"
        if done and seen.stopped:
            yield f"loop {number} was cancelled and ended normally"
        ended = seen.endings + (raised is not None and number == len(stage.loops))
        if seen.over and seen.endings != 1:
            yield f"loop {number} ended {seen.endings} times"
        if ended > 1 and not issubclass(raised or object, _injected(injector) or StreamError):
            yield f"loop {number} ended, then {raised} was raised"
    if not until(lambda: whole <= stage.sent_whole):
        yield f"{whole} loops ended normally, {stage.sent_whole} answers were sent whole"
    if stage.loops:
        yield from _problems_with_asking_again(stage.loops[-1], injector)


def _problems_with_asking_again(seen: Loop, injector: Injector) -> Iterator[str]:
    """Check that a stream that is over stays over, sends nothing again, and remembers how it ended."""
    stream = seen.stream
    ahead = isinstance(stream, BufferedStream)
    if ahead:
        stream.close()
    elif stream.response.text != seen.text:
        yield f"the response holds {stream.response.text!r}, yielded was {seen.text!r}"
    sent = len(sends)
    # What was raised in the thread that read ahead, and that nobody has taken yet, comes out here.
    allowed = (PromptStreamError, *_injected(injector)) if ahead else PromptStreamError
    try:
        response = stream.result()
    except allowed:
        pass
    except BaseException as error:
        yield f"result() raised {error!r}"
    else:
        if not (response.complete and response.text == TEXT):
            yield f"result() gave {response!r:.200}"
    if len(sends) != sent:
        yield "it was sent again"


def _problems_with_history(stage: Stage, told: list[Message], raised: type[BaseException] | None) -> Iterator[str]:
    """Check that the history holds whole turns, and last perhaps one that the user stopped."""
    if stage.conversation is None:
        return
    messages = stage.conversation.messages
    if messages[: len(told)] != told:
        yield f"the history before the turn was changed: {messages}"
    new = messages[len(told) :]
    if [message.role for message in new] != ["user", "assistant"] * (len(new) // 2):
        yield f"the history is {[message.role for message in new]}"
        return
    stopped = raised is None or issubclass(raised, (KeyboardInterrupt, errors.Cancelled))
    for number, message in enumerate(new[1::2], 1):
        whole = message.finish_reason == "stop" and message.text == TEXT
        partial = message.finish_reason == "cancelled" and TEXT.startswith(message.text) and message.text
        if not (whole or (partial and stopped and 2 * number == len(new))):
            yield f"the history holds {message.text!r}, {message.finish_reason}, after {raised}"
    whole_loops = sum(chunk.type is ChunkType.DONE for seen in stage.loops for chunk in seen.chunks)
    if whole_loops > len(new) // 2:
        yield f"{whole_loops} turns ended normally, the history holds {len(new) // 2}"


def _problems_with_what_follows(stage: Stage) -> Iterator[str]:
    """Check that the same object serves a good request afterwards."""
    stage.calm = True
    kept = len(stage.conversation.messages) if stage.conversation else 0
    try:
        response = stage.stream().result()
    except BaseException as error:
        yield f"the next request: {type(error).__name__}: {error}"
        return
    if response.text != TEXT:
        yield f"the next request gave {response.text!r}"
    if stage.conversation and len(stage.conversation.messages) != kept + 2:
        yield "the next turn is not in the history"
    if not until(lambda: open_sockets() <= 1):
        yield f"{open_sockets()} sockets are open after the next request"


def tortured_rows(
    scenarios: Iterable[Scenario], faults: Iterable[Fault], start: int = 1, stride: int = 1
) -> Iterator[Row]:
    """Torture every scenario with every fault."""
    for scenario in scenarios:
        for fault in faults:
            yield torture(scenario, fault, start, stride)
        gc.collect()
