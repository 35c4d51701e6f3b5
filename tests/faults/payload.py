"""The faults of the payload, rows 43 to 45, 47, 49, 51, 52: what is no JSON, no event of the protocol, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import attrs
from dialects import DIALECTS, Dialect
from faults.core import ANY, Fault, Outcome
from faults.says import PART, PARTS, say, streamed
from faults.shapes import TEXT, amid, delta, event, with_at
from server import full
from wires.script import Answer, Noise, Say

from promptstream.errors import LimitExceeded, ProtocolError, ProviderError, Truncated

REFUSED = Outcome(ProtocolError, text=PART, phase="decode", retryable=False)
TOO_DEEP = Outcome(LimitExceeded, text=PART, phase="decode", retryable=False, says="deeper than 64 levels")
IGNORED = Outcome(text=PART, finish="stop")

NO_JSON = {
    "cut": '{"a":',
    "words": "upstream connect error",
    "single quotes": "{'a': 1}",
    "no colon": '{"a" 1}',
    "a comma too many": '{"a": [1,]}',
    "a comment": '{"a": 1} // one',
    "two values": "1 2",
    "a control character in a string": '{"a": "\x01"}',
    "a cut escape": '{"a": "\\u12"}',
}
NO_NUMBER = {
    "NaN": '{"a": NaN}',
    "Infinity": '{"a": Infinity}',
    "-Infinity": '{"a": -Infinity}',
    "a number beyond all that are finite": '{"a": 1e999}',
    "a whole number of 10,000 digits": f'{{"a": {"9" * 10_000}}}',
}
NO_OBJECT = {
    "a number": "123",
    "true": "true",
    "null": "null",
    "a string": '"text"',
    "a list": "[]",
    "a list of numbers": "[1, 2]",
}
CUT = {"error": Truncated, "phase": "body"}
ONE_BODY = {"cut": tuple(DIALECTS), "a list": ("gemini",)}
"""What is cut rather than malformed, where it is the whole body: for Gemini so is a list of no responses."""
NO_TEXT = {"123": "123", "true": "true", "0": "0", "an object": '{"a": 1}', "a list of numbers": "[1]"}
PLACES = {
    "the list of choices": {"chat": "choices", "completions": "choices", "gemini": "candidates"},
    "a choice": {"chat": "choices.0", "completions": "choices.0", "gemini": "candidates.0"},
    "a delta": {
        "chat": "choices.0.delta",
        "anthropic": "delta",
        "gemini": "candidates.0.content",
        "ollama": "message",
    },
    "the list of parts": {"gemini": "candidates.0.content.parts"},
    "a part": {"gemini": "candidates.0.content.parts.0"},
}
"""What stands around a delta's text."""


def _elsewhere(found: Mapping[str, object], what: str) -> dict[str, str]:
    return {name: f"there is no such thing as {what} here" for name in DIALECTS if name not in found}


def _malformed() -> Iterator[Fault]:
    for name, text in (NO_JSON | NO_NUMBER | NO_OBJECT).items():
        row, kind = 44 if name in NO_NUMBER else 43, "no object" if name in NO_OBJECT else "no JSON"
        step = amid(lambda dialect, text=text: event(dialect, text))
        yield Fault(row, f"an event of {kind}: {name}", step=step, outcome=REFUSED)
    for name, text in NO_TEXT.items():
        step = amid(lambda dialect, text=text: delta(dialect, text))
        yield Fault(43, f"a delta's text is {name}", step=step, outcome=REFUSED)
    for what, paths in PLACES.items():
        for wrong in ("123", '"x"', '{"a": 1}' if "list" in what else "[1]"):
            yield Fault(
                43,
                f"{what} is {wrong}",
                step=amid(lambda dialect, wrong=wrong, paths=paths: delta(dialect, wrong, paths[dialect.name])),
                outcome=REFUSED,
                per=_elsewhere(paths, what),
            )
    for name, text in (NO_JSON | NO_NUMBER | NO_OBJECT).items():
        yield Fault(
            44 if name in NO_NUMBER else 43,
            f"an answer of one body: {name}",
            step=lambda dialect, text=text: say(full("200 OK", text)),
            outcome=attrs.evolve(REFUSED, text=""),
            per=dict.fromkeys(ONE_BODY.get(name, ()), CUT),
            modes=("whole",),
        )


COUNTS = dict.fromkeys(DIALECTS, "usage") | {"gemini": "usageMetadata"}


def beside(dialect: Dialect, key: str, text: str) -> bytes:
    """Give a delta of text whose event has JSON *text* under *key* too."""
    return with_at(dialect, dialect.delta(" more"), key, text)


def _nested(levels: int) -> str:
    """Give an object of *levels* levels, its own included."""
    return '{"novelty": ' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


def _deep() -> Iterator[Fault]:
    for levels in (65, 1_500, 10_000, 40_000):
        closed, open_ended = _nested(levels), '{"a":' * levels
        for name, text in {"": closed, " that never close": open_ended}.items():
            if name and levels == 65:
                continue  # that is no JSON in the first place
            step = amid(lambda dialect, text=text: event(dialect, text))
            yield Fault(44, f"an event of {levels:,} levels{name}", step=step, outcome=TOO_DEEP)
    yield Fault(
        44,
        "an event of 100,000 empty lists",
        step=amid(lambda dialect: event(dialect, f'{{"novelty": [{", ".join(["[]"] * 100_000)}]}}')),
        outcome=attrs.evolve(TOO_DEEP, says="more than 50000 objects and lists"),
    )
    yield Fault(44, "an event of 64 levels", step=amid(lambda dialect: event(dialect, _nested(64))), outcome=IGNORED)
    # What stands beside a delta's text is thrown away unread there, as long as the parser itself bears it.
    unread = {"error": None, "phase": ANY, "retryable": ANY, "says": "", "text": f"{PART} more", "finish": "stop"}
    for levels, nested in ((65, _nested(65)), (2_000, _nested(2_000))):
        yield Fault(
            44,
            f"{levels:,} levels beside a delta's text",
            step=amid(lambda dialect, deep=nested: beside(dialect, "novelty", deep)),
            outcome=TOO_DEEP,
            per=dict.fromkeys(("chat", "responses", "ollama"), unread) if levels == 65 else {},
        )
        yield Fault(
            44,
            f"a usage of {levels:,} levels beside a delta's text",
            step=amid(lambda dialect, deep=nested: beside(dialect, COUNTS[dialect.name], deep)),
            outcome=TOO_DEEP,
            per=dict.fromkeys(("responses", "ollama"), unread) if levels == 65 else {},
        )
    yield Fault(
        44,
        "brackets in a string are no levels",
        step=amid(lambda dialect: event(dialect, json.dumps({"novelty": '"[{' * 1_000}))),
        outcome=IGNORED,
    )
    yield Fault(
        44,
        "an answer of one body of 10,000 levels",
        step=lambda dialect: say(full("200 OK", _nested(10_000))),
        outcome=attrs.evolve(TOO_DEEP, text=""),
        modes=("whole",),
    )
    yield Fault(
        44,
        "numbers beyond 64 bits, above and below, in a field that is not known",
        step=amid(lambda dialect: event(dialect, f'{{"novelty": [{10**30}, {-(10**30)}, 1e300, 1e-999]}}')),
        outcome=IGNORED,
    )


def _doubled(dialect: Dialect, wrong: str) -> bytes:
    """Give a delta whose text is there twice, first *wrong*."""
    key = TEXT[dialect.name].rpartition(".")[2]
    return dialect.delta(" more").replace(f'"{key}":'.encode(), f'"{key}":{wrong},"{key}":'.encode())


EMPTY = {
    "chat": (
        '{"choices": []}',
        '{"choices": null}',
        '{"choices": [null]}',
        '{"choices": [{"index": 0, "delta": null, "finish_reason": null}]}',
        '{"choices": [{"index": 0, "delta": {}, "finish_reason": null}]}',
        '{"choices": [{"index": 0, "delta": {"role": "assistant"}}]}',
        '{"choices": [{"index": 0, "delta": {"role": "assistant", "content": null, "tool_calls": null}}]}',
        '{"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": ""}]}',
        '{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}',
    ),
    "completions": (
        '{"choices": []}',
        '{"choices": null}',
        '{"choices": [null]}',
        '{"choices": [{"index": 0}]}',
        '{"choices": [{"index": 0, "text": null}]}',
        '{"choices": [{"index": 0, "text": "", "finish_reason": null}]}',
        '{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}',
    ),
    "responses": (
        '{"type": "response.output_text.delta", "item_id": "msg_2", "output_index": 0, "content_index": 0}',
        '{"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": null}',
        '{"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": ""}',
        '{"type": "response.in_progress", "response": null}',
        '{"type": "response.in_progress"}',
        '{"type": null}',
    ),
    "anthropic": (
        '{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}}',
        '{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": null}}',
        '{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}}',
        '{"type": "message_delta", "delta": null, "usage": null}',
        '{"type": "message_delta", "delta": {"stop_reason": null}}',
        '{"type": "ping"}',
        '{"type": null}',
    ),
    "gemini": (
        '{"candidates": []}',
        '{"candidates": null}',
        '{"candidates": [null]}',
        '{"candidates": [{}]}',
        '{"candidates": [{"content": null, "finishReason": null}]}',
        '{"candidates": [{"content": {}}]}',
        '{"candidates": [{"content": {"role": "model"}}]}',
        '{"candidates": [{"content": {"parts": []}}]}',
        '{"candidates": [{"content": {"parts": [{}, null, {"text": ""}]}}]}',
        '{"candidates": [{"finishReason": "FINISH_REASON_UNSPECIFIED"}]}',
        '{"usageMetadata": {"promptTokenCount": 1}}',
        '{"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}}',
    ),
    "ollama": (
        '{"message": null, "done": false}',
        '{"message": {}, "done": false}',
        '{"message": {"role": "assistant"}}',
        '{"message": {"role": "assistant", "content": null, "tool_calls": null}, "done": false}',
        '{"message": {"role": "assistant", "content": ""}, "done": null}',
    ),
}
"""Events that say nothing."""


def _noisy(dialect: Dialect) -> bytes:
    """Give a good answer with events, fields and kinds of part that no version of the protocol has yet."""
    said = [Say(PARTS[0]), Noise("event"), Noise("keys"), Noise("block"), Say(PARTS[1])]
    return dialect.wire.stream(Answer(said)).body


UNKNOWN_FIELDS = b"novelty: 1\nnovelty\n: a comment\nid: 7\nretry: 50\nretry: soon\n\n"

AFTER_THE_END = b'data: {"error": {"message": "too late"}}\n\ndata: no JSON\n\n'
TOO_LATE = {"ollama": b'{"error": "too late"}\nno JSON\n'}


def _glued(dialect: Dialect) -> bytes:
    """Give two deltas as one event, for the blank line between them is lost."""
    more = dialect.delta(" more")
    end = b"\n" if dialect.framing == "ndjson" else b"\n\n"
    more = more.replace(b"\r\n", b"\n")
    return more.removesuffix(end) + (b"" if dialect.framing == "ndjson" else b"\n") + more


FAULTS = (
    *_malformed(),
    *_deep(),
    Fault(
        45,
        "a delta's text twice, the last one counts",
        step=amid(lambda dialect: _doubled(dialect, '"wrong"')),
        outcome=attrs.evolve(IGNORED, text=f"{PART} more"),
    ),
    Fault(
        45,
        "a delta's text twice, first of a wrong type",
        step=amid(lambda dialect: _doubled(dialect, "123")),
        outcome=attrs.evolve(IGNORED, text=f"{PART} more"),
    ),
    Fault(
        47,
        "events that say nothing",
        step=amid(lambda dialect: [event(dialect, text) for text in EMPTY[dialect.name]]),
        outcome=IGNORED,
    ),
    Fault(
        47,
        "an event of an empty object",
        step=amid(lambda dialect: event(dialect, "{}")),
        outcome=IGNORED,
    ),
    Fault(
        47,
        "nothing but events that say nothing",
        step=lambda dialect: say(streamed(dialect, *[event(dialect, text) for text in EMPTY[dialect.name]])),
        outcome=Outcome(Truncated, text="", phase="body", retryable=False),
    ),
    Fault(
        49,
        "unknown events, fields and parts",
        step=lambda dialect: say(streamed(dialect, _noisy(dialect))),
        outcome=IGNORED,
    ),
    Fault(
        49,
        "unknown fields of server-sent events",
        step=amid(lambda dialect: UNKNOWN_FIELDS),
        outcome=IGNORED,
        per={"ollama": "a line has no fields"},
    ),
    Fault(
        51,
        "an error and no JSON after the terminator",
        step=lambda dialect: say(streamed(dialect, *dialect.events(*PARTS), TOO_LATE.get(dialect.name, AFTER_THE_END))),
        outcome=IGNORED,
        per={"gemini": {"error": ProviderError, "finish": ANY}},
    ),
    Fault(
        51,
        "text after the terminator",
        step=lambda dialect: say(streamed(dialect, *dialect.events(*PARTS), dialect.delta(" more"))),
        outcome=IGNORED,
        journaled=False,
        per={"gemini": {"text": f"{PART} more"}},
    ),
    Fault(
        52,
        "two events glued together",
        step=amid(_glued),
        journaled=False,
        outcome=REFUSED,
        per={"ollama": {"error": None, "phase": ANY, "retryable": ANY, "text": f"{PART} more more", "finish": "stop"}},
    ),
)
