"""A scene in, what was not as promised out: the fault's own outcome, and what holds under every fault."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator

from faults.core import ANY, MARGIN, Outcome, Scene
from wires.base import KEY

from promptstream.errors import PromptStreamError, StreamError

LATE = "too slow"
EARLY = 0.02
"""Seconds that a clock may seem to run out too early by, for the time that asking takes before it starts."""


def check(scene: Scene) -> list[str]:
    """Give every promise that *scene* breaks, in words; an empty list where it keeps them all."""
    promised = scene.fault.promised(scene.dialect)
    wrong = [*_ending(scene, promised), *_outcome(scene, promised), *_text(scene), *_time(scene), *scene.left]
    if isinstance(scene.error, PromptStreamError):
        wrong += _carried(scene, scene.error)
    if scene.fault.also is not None:
        try:
            scene.fault.also(scene)
        except AssertionError as error:
            wrong.append(str(error) or "an assertion without words")
    return wrong


def _ending(scene: Scene, promised: Outcome) -> Iterator[str]:
    """Exactly one ending, of the promised class; nothing but our own errors escapes."""
    error, done = scene.error, [chunk.done for chunk in scene.chunks]
    if error is None:
        if scene.mode == "stream" and (done.count(True) != 1 or not done[-1]):
            yield f"{done.count(True)} DONE without an exception"
        if scene.response is None or not scene.response.complete:
            yield "a loop that ended normally without a whole answer"
    else:
        if any(done) or any(chunk.error for chunk in scene.chunks):
            yield "two endings"
        foreign = not isinstance(error, (StreamError, PromptStreamError) if scene.requests == 0 else StreamError)
        if foreign and type(error) is not promised.error:
            yield f"{error!r} escapes\n{''.join(traceback.format_exception(error))}"
    if type(error) is not (promised.error or type(None)):
        yield f"{error!r} instead of {promised.error.__name__ if promised.error else 'a whole answer'}"


def _outcome(scene: Scene, promised: Outcome) -> Iterator[str]:
    error, response = scene.error, scene.response
    response = getattr(error, "response", None) if response is None or error is not None else response
    found = {name: getattr(error, name, None) for name in ("phase", "retryable", "status", "code", "retry_after")}
    found |= {"text": scene.yielded, "finish": getattr(response, "finish_reason", None)}
    found |= {"raw_finish": getattr(response, "raw_finish_reason", None)}
    if error is not None:
        found["attempts"] = getattr(error, "attempts", 0)
    if scene.server is not None:
        found["requests"] = scene.requests
    for name, value in found.items():
        expected = getattr(promised, name)
        if expected is not ANY and value != expected:
            yield f"{name} is {value!r:.200} instead of {expected!r:.200} ({error})"
    if promised.says not in str(error):
        yield f"the message does not say {promised.says!r}: {error}"
    warnings = getattr(response, "warnings", ())
    if promised.warns is None and warnings:
        yield f"warnings: {warnings}"
    if promised.warns and not any(promised.warns in warning for warning in warnings):
        yield f"no warning says {promised.warns!r}: {warnings}"


def _text(scene: Scene) -> Iterator[str]:
    """What was yielded is what the error and the stream tell, and a prefix of what was sent; whole means finished."""
    told = {"error.response.text": getattr(getattr(scene.error, "response", None), "text", None)}
    if scene.stream is not None:
        told |= {"stream.text": scene.stream.text, "stream.response.text": scene.stream.response.text}
        if scene.stream.response.complete != (scene.error is None):
            yield "stream.response.complete is wrong"
    for name, text in told.items():
        if text is not None and text != scene.yielded and scene.mode == "stream":
            yield f"{name} is {text!r:.200}, yielded was {scene.yielded!r:.200}"
    journal = scene.journal
    if journal is None or not journal.streamed:
        return
    if not journal.text.startswith(scene.yielded):
        yield f"yielded {scene.yielded!r:.200}, which is no prefix of what was sent: {journal.text!r:.200}"
    if scene.error is None and not journal.finished:
        yield "a whole answer although the finish signal was not sent"
    if scene.error is None and journal.text != scene.yielded:
        yield f"a whole answer of {scene.yielded!r:.200} although {journal.text!r:.200} was sent"


def _carried(scene: Scene, error: PromptStreamError) -> Iterator[str]:
    """An error tells whom it was about, pickles whole, and shows no key."""
    if isinstance(error, StreamError):
        wire = scene.dialect.wire
        if error.provider != scene.name or error.model not in (wire.model, wire.answering):
            yield f"the error names the provider {error.provider!r} and the model {error.model!r}"
        if error.attempts < 1:
            yield "an error of no attempt"
        if error.response.complete:
            yield "an error with a whole answer"
    copy = pickle.loads(pickle.dumps(error))
    if type(copy) is not type(error) or str(copy) != str(error) or copy.__dict__.keys() != error.__dict__.keys():
        yield f"the error does not pickle: {copy!r}"
    if KEY in "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)):
        yield "the key shows"
    if not str(error).isprintable():
        yield f"the message has control characters: {str(error)!r}"


def _time(scene: Scene) -> Iterator[str]:
    if scene.overrun > MARGIN:
        yield f"{LATE}: {scene.seconds:.2f} s, {scene.overrun:.2f} s over its limit"
    if isinstance(scene.error, TimeoutError) and scene.seconds < scene.fault.limit - EARLY:
        yield f"a clock ran out after {scene.seconds:.2f} s instead of {scene.fault.limit:g} s"
