"""``json=`` in, the variables of a turn and what the user says out."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs
import pytest

import promptstream
from promptstream.errors import ConfigError
from promptstream.packs.template import Fragments
from promptstream.providers import Scripted
from promptstream.settings import as_json


class Unit(Enum):
    """Something that JSON has no value for."""

    C = "c"


@attrs.define
class Place:
    """A class as an application may have."""

    name: str
    since: date = date(2024, 5, 1)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"x": 1, "é": [None, True, 1.5]}, '{"x": 1, "é": [null, true, 1.5]}'),
        ([{"x": Place("Rome")}], '[{"x": {"name": "Rome", "since": "2024-05-01"}}]'),
        ({"d": Decimal("1.50"), "u": UUID(int=1), "e": Unit.C, "s": {1}}, None),
        ("Tea", '"Tea"'),
        (1.5, "1.5"),
        (False, "false"),
    ],
)
def test_json_is_written_as_results_of_tools_are(given: Any, text: str | None) -> None:
    """``{{input}}`` is what is sent, whatever it is made of."""
    text = text or '{"d": "1.50", "u": "00000000-0000-0000-0000-000000000001", "e": "c", "s": [1]}'
    bound, said = as_json(given)
    assert said == text
    assert rendered("{{input}}", bound) == text


def test_a_path_into_the_input_is_followed() -> None:
    """As into any other variable."""
    assert rendered("{{input.x.y[1]}} {{x.y[0]}}", as_json({"x": {"y": [1, 2]}})[0]) == "2 1"


def rendered(text: str, values: dict[str, Any]) -> str:
    """Render a template."""
    template, problems = Fragments({}).parse(text)
    assert template is not None
    assert problems == []
    return template.render(values)


def endless() -> Any:
    """Give a list in a list in a list, and so on."""
    whole: list[object] = []
    for _ in range(100_000):
        whole = [whole]
    return whole


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (object(), "an object of builtins.object cannot be written as JSON"),
        (float("nan"), "NaN is no number in JSON"),
        ({"a": [Place(float("inf"))]}, "Infinity is no number in JSON"),
        ({(1, 2): 3}, "a key is of type tuple"),
        (endless(), "it is nested more than 64 deep"),
    ],
    ids=["object", "nan", "inf", "key", "deep"],
)
def test_what_cannot_be_json_is_refused_in_few_words(given: Any, said: str) -> None:
    """Nothing is sent for it."""
    conv = promptstream.chat(provider=Scripted(["never"]))
    with pytest.raises(ConfigError, match=said) as caught:
        conv.send(json=given)
    assert len(str(caught.value)) < 200
    assert conv.provider.dialect.requests == []
