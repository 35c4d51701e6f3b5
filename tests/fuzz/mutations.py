"""A good answer and dice in, a spoilt one out."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable, Sequence

import attrs
from fuzz.seeds import Seed

_VALUE = re.compile(rb'(?<=[:,\[])\s*("(?:[^"\\\n]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|\{\}|\[\])(?=\s*[,\]}])')
_LARGEST = 200_000
_KEY = re.compile(rb'"(?:[^"\\\n]|\\.)*"(?=\s*:)')
_TOKENS = [
    *(
        b"\r",
        b"\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b" ",
        b'"',
        b"\\",
        b"{",
        b"}",
    ),
    *(b"[", b"]", b":", b",", b"data: ", b"\ndata:", b"event: error\n", b"id: 1\n", b"retry: 1\n", b": ping\n\n"),
    *(b"data: [DONE]\n\n", b"[DONE]", b"data: {}\n\n", b"data: null\n\n", b'data: "x"\n\n', b"data: []\n\n", b"{}\n"),
    *(
        b"null\n",
        b"\\ud83d",
        b"\\u0000",
        b"\xf0\x9f",
        b"<think>",
        b"</think>",
        b"\x1b[2J",
        b"data:\n\n",
        b"data: 1\n\n",
    ),
    *(b'{"error":"no"}\n', b'data: {"error":{"message":"no","code":429}}\n\n', b"event: message_stop\ndata: {}\n\n"),
]
_VALUES = [
    *(b"null", b"true", b"false", b"0", b"-1", b"1", b"1.5", b'""', b"[]", b"{}", b'"x"', b'"0"', b"[null]", b"[[]]"),
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e400", b"1e-400", b"9" * 30, b"-" + b"9" * 400, b"7" * 5000),
    *(b"127", b"128", b"1000000000", b"[0]", b'{"a":1}', b'["a"]', b'[{"text":"t","type":"text"}]', b"[{}]", b"[1,2]"),
    *(
        b'{"error":{}}',
        b'{"message":null}',
        b'{"type":null}',
        b"[" * 65 + b"]" * 65,
        b"[" * 3000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
    ),
    *(
        b'"\\ud83d"',
        b'"\\ude00"',
        b'"\\ud83d\\ude00"',
        b'"\\u0000"',
        b'"\\x"',
        b'"\xff"',
        b'"\x1b[31m"',
        b'"null"',
        b'"stop"',
    ),
    *(
        b'"error"',
        b'"length"',
        b'"text"',
        b'"tool_use"',
        b'"thinking"',
        b'"function_call"',
        b'"message"',
        b'"reasoning"',
    ),
    *(
        b'"' + b"a" * 2000 + b'"',
        b'"{\\"a\\":1}"',
        b'"{\\"a\\":1e999}"',
        b'"[1]"',
        b'"{"',
        b'"[DONE]"',
        b'"2026-01-01T00:00:00Z"',
    ),
]
_KEYS = [
    *(b'"error"', b'"type"', b'"index"', b'"content"', b'"text"', b'"delta"', b'"id"', b'"usage"', b'"model"', b'"x"'),
    *(
        b'"finish_reason"',
        b'"arguments"',
        b'"name"',
        b'"done"',
        b'"message"',
        b'"choices"',
        b'"code"',
        b'""',
        b'"\\ud800"',
    ),
]
_CONTENT_TYPES = [
    *(
        "text/event-stream",
        "text/event-stream; charset=utf-8",
        "application/json",
        "application/x-ndjson",
        "text/plain",
    ),
    *(
        "text/html",
        "",
        "application/json; charset=latin-1",
        "application/problem+json",
        "TEXT/EVENT-STREAM",
        "\xff",
        ";",
    ),
]
_STATUSES = [200, 200, 200, 201, 204, 206, 299, 101, 301, 304, 307, 308, 400, 401, 402, 403, 404, 408, 413, 422, 429]
_STATUSES += [500, 502, 503, 504, 529, 599, 600, 999]
_HEADERS = {
    "retry-after": [
        "0",
        "-1",
        "1e9",
        "nan",
        "Wed, 21 Oct 2099 07:28:00 GMT",
        "Wed, 99 Foo 2015",
        "",
        "9" * 400,
        "\xff",
        "²",
    ],
    "retry-after-ms": ["5", "x", "inf", "-9", "1e400"],
    "x-should-retry": ["true", "false", "?"],
    "location": ["http://other.example/x", "//[::1", "http://u:p@h:99999/", "\x00", "/"],
    "x-request-id": ["", "r\xff", "a" * 3000],
    "request-id": ["r"],
    "content-length": ["5", "-1", "x"],
    "x-ratelimit-reset-requests": ["1s", "6m0s", "x"],
    "anthropic-ratelimit-requests-reset": ["2099-01-01T00:00:00Z", "x"],
    "x-ratelimit-reset": ["99999999999999999999", "x"],
}


@attrs.define(eq=False)
class Draft:
    """An answer that is being spoilt."""

    seed: Seed
    body: bytes
    events: list[bytes] | None
    """The body in events, as long as it is known in them."""
    status: int
    headers: dict[str, str]
    dice: random.Random
    other: Seed
    """Another answer, to take from."""
    ending: str = "clean"
    streaming: bool = True

    def parts(self) -> list[bytes]:
        """Give the events, to be changed."""
        if self.events is None:
            self.events = self.seed.cut(self.body) or [b""]
        return self.events

    def place(self) -> int:
        """Give a place in the body, before its end if it has any byte."""
        return int(self.dice.random() * len(self.bytes()))

    def bytes(self) -> bytes:
        """Give the body whole."""
        if self.events is not None:
            self.body, self.events = b"".join(self.events), None
        return self.body


def _truncate(draft: Draft) -> None:
    draft.body = draft.bytes()[: draft.place()]


def _flip(draft: Draft) -> None:
    body = bytearray(draft.bytes())
    for _ in range(1 + int(draft.dice.random() * 4)):
        if body:
            body[draft.place()] ^= 1 << int(draft.dice.random() * 8)
    draft.body = bytes(body)


def _insert(draft: Draft) -> None:
    at, body = draft.place(), draft.bytes()
    draft.body = body[:at] + draft.dice.choice(_TOKENS) + body[at:]


def _between(draft: Draft) -> None:
    draft.parts().insert(int(draft.dice.random() * (len(draft.parts()) + 1)), draft.dice.choice(_TOKENS))


def _delete(draft: Draft) -> None:
    at, body = draft.place(), draft.bytes()
    draft.body = body[:at] + body[at + 1 + int(draft.dice.random() ** 3 * 200) :]


def _double(draft: Draft) -> None:
    at, body = draft.place(), draft.bytes()
    end = at + 1 + int(draft.dice.random() ** 2 * 300)
    draft.body = body[:end] + body[at:]


def _splice(draft: Draft) -> None:
    at, other = draft.place(), draft.other.body
    draft.body = draft.body[:at] + other[int(draft.dice.random() * len(other)) :]


def _repeat(draft: Draft) -> None:
    events = draft.parts()
    at = int(draft.dice.random() * len(events))
    times = 1 + int(draft.dice.random() ** 6 * 140)
    events[at : at + 1] = events[at : at + 1] * (1 + times)


def _swap(draft: Draft) -> None:
    events = draft.parts()
    if events:
        a, b = (int(draft.dice.random() * len(events)) for _ in range(2))
        events[a], events[b] = events[b], events[a]


def _drop(draft: Draft) -> None:
    events = draft.parts()
    if events:
        del events[int(draft.dice.random() * len(events))]


def _borrow(draft: Draft) -> None:
    if draft.other.events:
        draft.parts().insert(int(draft.dice.random() * (len(draft.parts()) + 1)), draft.dice.choice(draft.other.events))


def _replace(pattern: re.Pattern[bytes], values: Sequence[bytes]) -> Callable[[Draft], None]:
    def replace(draft: Draft) -> None:
        at, body = draft.place(), draft.bytes()
        found = pattern.search(body, at) or pattern.search(body)
        if found is not None:
            draft.body = body[: found.start()] + draft.dice.choice(values) + body[found.end() :]

    return replace


def _double_key(draft: Draft) -> None:
    at, body = draft.place(), draft.bytes()
    found = _KEY.search(body, at)
    if found is not None:
        draft.body = body[: found.start()] + found[0] + b":" + draft.dice.choice(_VALUES) + b"," + body[found.start() :]


def _line_ends(draft: Draft) -> None:
    body = draft.bytes().replace(b"\r\n", b"\n")
    way = draft.dice.choice([b"\r\n", b"\r", b"\n", None])
    if way is not None:
        draft.body = body.replace(b"\n", way)
    else:
        draft.body = b"".join(
            draft.dice.choice([b"\r\n", b"\r", b"\n"]) if each == b"\n" else each for each in re.split(b"(\n)", body)
        )


def _around(draft: Draft) -> None:
    body = draft.bytes()
    draft.body = draft.dice.choice(
        [
            b"\xef\xbb\xbf" + body,
            b"\n\n\r\n" + body,
            b": hello\n\n" * 30 + body,
            body.rstrip(),
            body + b"\0",
            b"",
            body + body,
            b"[" + body + b"]",
            b'"' + body,
            b"<!doctype html><html>" + body,
        ]
    )


def _pack(draft: Draft) -> None:
    packed = gzip.compress(draft.bytes(), 1)
    draft.body = draft.dice.choice([packed, packed[: len(packed) // 2], b"\x1f\x8b" + draft.body])


def _retype(draft: Draft) -> None:
    draft.headers["content-type"] = draft.dice.choice(_CONTENT_TYPES)


def _restate(draft: Draft) -> None:
    draft.status = draft.dice.choice(_STATUSES)
    for name in draft.dice.sample(sorted(_HEADERS), 2):
        draft.headers[name] = draft.dice.choice(_HEADERS[name])


def _break(draft: Draft) -> None:
    draft.ending = draft.dice.choice(["reset", "short", "cut", "corrupt", "late"])


def _ask_otherwise(draft: Draft) -> None:
    draft.streaming = not draft.streaming


def _quote_key(draft: Draft) -> None:
    at, body = draft.place(), draft.bytes()
    found = _VALUE.search(body, at)
    if found is not None:
        draft.body = body[: found.start()] + b'"' + draft.seed.asks.key.encode() + b'"' + body[found.end() :]


_value, _key = _replace(_VALUE, _VALUES), _replace(_KEY, _KEYS)
MUTATIONS: list[Callable[[Draft], None]] = [
    *[_value] * 8,
    *[_key] * 3,
    *(_double_key, _double_key, _truncate, _truncate, _truncate, _flip, _flip, _insert, _insert, _delete, _delete),
    *(_between, _between, _double, _splice, _splice, _repeat, _repeat, _swap, _swap, _drop, _drop, _borrow, _borrow),
    *(_line_ends, _around, _pack, _retype, _retype, _restate, _break, _ask_otherwise, _quote_key),
]


def spoil(seed: Seed, other: Seed, dice: random.Random) -> Draft:
    """Spoil *seed* in a few ways, with what *other* has to give."""
    headers = {"content-type": seed.content_type, **seed.headers}
    draft = Draft(seed, seed.body, list(seed.events), seed.status, headers, dice, other, streaming=seed.streaming)
    for _ in range(1 + int(dice.random() ** 2 * 4)):
        dice.choice(MUTATIONS)(draft)
        if len(draft.bytes()) > _LARGEST:  # repeated over and over
            draft.body = draft.body[:_LARGEST]
    return draft
