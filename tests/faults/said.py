"""Row 46 of the faults: an error that comes inside a 200, in each spelling that servers of the protocol have for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from dialects import DIALECTS, Dialect
from faults.core import ANY, Fault, Outcome, Scene, Step
from faults.payload import IGNORED
from faults.says import PART, PARTS, part, say, streamed
from faults.shapes import amid, event, with_at
from wires.base import KEY

from promptstream import Retry
from promptstream.errors import (
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    Overloaded,
    ProviderError,
    RateLimited,
    ServerError,
)

WORDS = "Out of luck"
KINDS = {"server": ServerError, "overloaded": Overloaded, "rate": RateLimited, "context": ContextTooLong}
SSE = tuple(name for name in DIALECTS if name != "ollama")
CHAT = ("chat", "completions")
BARE, BESIDE = object(), object()

_OBJECT = {"error": {"message": f"{WORDS}.", "type": "server_error"}}
SPELLINGS: dict[str, tuple[tuple[str, ...], Any, str | None, type[ProviderError]]] = {
    "an object": (tuple(DIALECTS), _OBJECT, None, ServerError),
    "an object beside a delta of text": (tuple(DIALECTS), BESIDE, None, ServerError),
    "a string": (tuple(DIALECTS), {"error": WORDS}, None, ProviderError),
    "a list of words": (tuple(DIALECTS), {"error": [WORDS]}, None, ProviderError),
    "an event named error, with an object": (SSE, _OBJECT, "error", ServerError),
    "an event named error, without the key": (SSE, {"message": WORDS}, "error", ProviderError),
    "an event named error, with a string": (SSE, WORDS, "error", ProviderError),
    "an event named error, with bare words": (SSE, BARE, "error", ProviderError),
    "a list of one error": (("chat", "completions", "responses", "gemini"), [_OBJECT], None, ServerError),
    "vLLM's": (
        CHAT,
        {"object": "error", "message": WORDS, "type": "BadRequestError", "param": None, "code": 400},
        None,
        InvalidRequest,
    ),
    "FastAPI's": (CHAT, {"detail": WORDS}, None, ProviderError),
    "Groq's": (CHAT, {"choices": [], "x_groq": {"error": WORDS}}, None, ProviderError),
    "MiniMax's": (CHAT, {"base_resp": {"status_code": 1002, "status_msg": WORDS}}, None, RateLimited),
    "DashScope's": (CHAT, {"code": "Throttling.RateQuota", "message": WORDS, "request_id": "r"}, None, RateLimited),
    "OpenRouter's, with a finish reason": (
        CHAT,
        {
            "error": {"code": 502, "message": WORDS},
            "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
        },
        None,
        ServerError,
    ),
    "in a choice": (CHAT, {"choices": [{"index": 0, "error": {"code": 502, "message": WORDS}}]}, None, ServerError),
    "Responses' own, flat": (
        ("responses",),
        {"type": "error", "code": "server_error", "message": WORDS, "param": None},
        "error",
        ServerError,
    ),
    "a response that failed": (
        ("responses",),
        {"type": "response.failed", "response": {"error": {"code": "server_error", "message": WORDS}}},
        "response.failed",
        ServerError,
    ),
    "Anthropic's own, without an event's name": (
        ("anthropic",),
        {"type": "error", "error": {"type": "overloaded_error", "message": WORDS}},
        None,
        Overloaded,
    ),
    "Anthropic's, without what stands around it": (
        ("anthropic",),
        {"type": "overloaded_error", "message": WORDS},
        None,
        Overloaded,
    ),
    "a prompt that is blocked": (
        ("gemini",),
        {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": WORDS}},
        None,
        ContentFiltered,
    ),
}
"""By its name: who spells it so, the event's value (or its text) and name, and the error's class."""
WORDLESS = {
    "a finish reason": (CHAT, {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}),
    "an empty string": (("ollama",), {"error": ""}),
    "a response that failed without a reason": (
        ("responses",),
        {"type": "response.failed", "response": {"status": "failed", "error": None}},
    ),
    "a response that was cancelled": (
        ("responses",),
        {"type": "response.cancelled", "response": {"status": "cancelled"}},
    ),
}
UNSEEN = {"error": None, "phase": ANY, "finish": "stop"}
"""Of a dialect whose finish signal is its terminator: what comes after it is not read."""
NOT_ONE = {
    "null": '{"error": null}',
    "an empty object": '{"error": {}}',
    "an empty list": '{"error": []}',
    "false": '{"error": false}',
}
"""What stands under "error" and is none."""


def failing(make: Callable[[Dialect], bytes]) -> Callable[[Dialect], Step]:
    """Make an answer that begins well, then says what *make* gives, and ends."""
    return lambda dialect: say(streamed(dialect, part(dialect), make(dialect)))


def _written(dialect: Dialect, value: Any, name: str | None) -> bytes:
    if value is BARE:
        return event(dialect, f"{WORDS}.", name)
    if value is BESIDE:
        return with_at(dialect, dialect.delta(" more"), "error", json.dumps(_OBJECT["error"]))
    return event(dialect, json.dumps(value), name)


def _others(names: tuple[str, ...]) -> dict[str, str]:
    return {name: "no server of this protocol says it so" for name in DIALECTS if name not in names}


def _spelled() -> Iterator[Fault]:
    for kind, error in KINDS.items():
        yield Fault(
            46,
            f"the protocol's own error: {kind}",
            step=failing(lambda dialect, kind=kind: dialect.failure(kind)),
            outcome=Outcome(error, text=PART, phase="body"),
        )
    for spelling, (names, value, name, error) in SPELLINGS.items():
        yield Fault(
            46,
            f"an error, {spelling}",
            step=failing(lambda dialect, value=value, name=name: _written(dialect, value, name)),
            outcome=Outcome(error, text=PART, phase="body", says=WORDS),
            per=_others(names),
            journaled=value is not BESIDE,
        )
    for spelling, (names, value) in WORDLESS.items():
        yield Fault(
            46,
            f"an error without words, {spelling}",
            step=failing(lambda dialect, value=value: event(dialect, json.dumps(value))),
            outcome=Outcome(ProviderError, text=PART, phase="body"),
            per=_others(names),
        )
    for what, text in NOT_ONE.items():
        yield Fault(
            46,
            f"no error, for it is {what}",
            step=amid(lambda dialect, text=text: event(dialect, text)),
            outcome=IGNORED,
        )
        yield Fault(
            46,
            f"a delta of text with an error that is {what}",
            step=amid(lambda dialect, text=text: with_at(dialect, dialect.delta(" more"), "error", text[10:-1])),
            outcome=attrs.evolve(IGNORED, text=f"{PART} more"),
        )


def _short_and_plain(scene: Scene) -> None:
    assert scene.error is not None
    assert len(str(scene.error)) < 700, f"{len(str(scene.error))} characters"


def _said(dialect: Dialect, words: str) -> bytes:
    return event(dialect, json.dumps({"error": {"message": words}}))


FAULTS = (
    *_spelled(),
    Fault(
        46,
        "an error of 1 MB with escapes for a terminal",
        step=failing(lambda dialect: _said(dialect, f"{WORDS} \x1b[2J\x07\u202e " + "x" * 1_000_000)),
        outcome=Outcome(ProviderError, text=PART, says=WORDS),
        also=_short_and_plain,
    ),
    Fault(
        46,
        "an error that shows the key",
        step=failing(lambda dialect: _said(dialect, f"{WORDS} with {KEY}")),
        outcome=Outcome(ProviderError, text=PART, says="[key]"),
    ),
    Fault(
        46,
        "an error before any text, which may be tried again",
        step=lambda dialect: (
            say(streamed(dialect, dialect.failure("overloaded"))),
            say(streamed(dialect, *dialect.events(*PARTS))),
        ),
        retry=Retry(2, base=0.001),
        outcome=attrs.evolve(IGNORED, requests=2),
    ),
    Fault(
        46,
        "an error after the finish signal",
        step=lambda dialect: say(
            streamed(dialect, dialect.written(*PARTS).body[: dialect.signal_end(*PARTS)], dialect.failure("server"))
        ),
        outcome=Outcome(ServerError, text=PART, phase="body"),
        per={name: {"error": None, "phase": ANY, "finish": "stop"} for name in ("responses", "ollama")},
    ),
)
