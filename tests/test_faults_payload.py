"""Any value in the place of any other, in every event of every dialect: an answer, or an error of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from decoding import decoded
from dialects import DIALECTS
from faults.shapes import data_of, event
from wires.script import Answer, Say, Think, Use

from promptstream.errors import ProtocolError, ProviderError, Truncated

VALUES = (None, True, -1, 1.5, "", "x", [], [1], [{}], {"a": 1})
TEXTS = ("Once", " upon")


def script(dialect) -> Answer:
    """Give an answer of all that the dialect can say."""
    said: list[Any] = [Say(text) for text in TEXTS]
    if not dialect.completes:
        said.append(Use("call_1", "add", ('{"a":', "1}")))
    if dialect.wire.has("reasoning") and not dialect.completes:
        said.insert(0, Think("Hm."))
    return Answer(said, "stop" if dialect.completes else "tool_calls")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of every value inside a JSON value."""
    if path:
        yield path
    for key, each in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from places(each, (*path, key))


def put(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """Give a copy of a JSON value with *other* at *path*."""
    key, *rest = path
    copy = value.copy()
    copy[key] = put(value[key], tuple(rest), other) if rest else other
    return copy


def spoilt(dialect) -> Iterator[tuple[str, list[bytes]]]:
    """Give a good answer again and again, each time with one value in one event replaced, and which."""
    events = [each for each in dialect.wire.stream(script(dialect)).events if isinstance(each, bytes)]
    for at, each in enumerate(events):
        value, name = data_of(each)
        for path in places(value) if value is not None else ():
            for other in VALUES:
                said = event(dialect, json.dumps(put(value, path, other)), name)
                yield f"event {at}, {path} = {other!r}", [*events[:at], said, *events[at + 1 :]]


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
def test_any_value_in_any_place_ends_in_an_answer_or_an_error_of_ours(dialect):
    """What is handed out is of the right types, can be encoded and written as JSON, and a call is whole or says why."""
    with dialect.provider("http://127.0.0.1:9") as provider:
        ends = set()
        for what, events in spoilt(dialect):
            response, error, _ = decoded(provider.dialect, events)
            ends.add(type(error))
            assert error is None or type(error) in (ProtocolError, Truncated) or isinstance(error, ProviderError), what
            names = (response.model, response.request_id, response.finish_reason, response.raw_finish_reason)
            assert all(isinstance(name, (str, type(None))) for name in names), what
            counts = response.usage.to_dict().values()
            assert all(count is None or (type(count) is int and count >= 0) for count in counts), what
            json.dumps(response.message.to_dict())
            assert set(response.text) <= set("Hm. Once upon x"), what
            for call in response.tool_calls:
                assert call.id, what
                assert (call.problem is None) == (isinstance(call.arguments, dict) and bool(call.name)), what
        assert {type(None), ProtocolError} <= ends


@pytest.mark.parametrize("dialect", [each for each in DIALECTS.values() if not each.completes], ids=str)
def test_one_spoilt_body_is_an_answer_or_an_error_of_ours(dialect):
    """The same for an answer that comes in one body."""
    with dialect.provider("http://127.0.0.1:9") as provider:
        value = json.loads(dialect.wire.whole(script(dialect)))
        for path in places(value):
            for other in VALUES:
                response, error, _ = decoded(provider.dialect, whole=put(value, path, other))
                what = f"{path} = {other!r}"
                assert error is None or type(error) in (ProtocolError, Truncated) or isinstance(error, ProviderError), (
                    what
                )
                json.dumps(response.message.to_dict())
