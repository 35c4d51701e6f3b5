"""Hints in, JSON Schemas out; JSON values and hints in, Python values out; and back."""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, Union
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstream.errors import ConfigError, ToolError
from promptstream.tools.schema import schema_of
from promptstream.tools.structure import structure
from promptstream.tools.unstructure import unstructure
from promptstream.tools.validation import validator
from promptstream.values.secret import Secret


class Unit(enum.Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Odd(enum.Enum):
    PAIR = (1, 2)


class Name(str, enum.Enum):
    ADA = "ada"


UserId = NewType("UserId", int)


@attrs.frozen
class Place:
    """Where something is.

    And more that the model is not told.

    Attributes:
        city: its name
    """

    city: str
    floor: Annotated[int, "which one", {"minimum": 0}] = 0
    tags: list[str] = attrs.field(factory=list, metadata={"description": "words"})
    _secret: str = "x"
    made: int = attrs.field(init=False, default=1)


@attrs.frozen
class Node:
    value: int
    kids: list[Node] = attrs.field(factory=list)


@attrs.frozen
class Husband:
    wife: Wife | None = None


@attrs.frozen
class Wife:
    husband: Husband | None = None


@dataclasses.dataclass
class Point:
    x: float
    y: float = 1.5
    names: list[str] = dataclasses.field(default_factory=list)


class Movie(TypedDict, total=False):
    title: str
    year: int


class Pair(NamedTuple):
    left: int
    right: str = "r"


def parse_names(text: str | list[str]) -> list[str]:
    """Convert a field."""
    return text.split(",") if isinstance(text, str) else text


@attrs.frozen
class Bounded:
    count: int = attrs.field(validator=[attrs.validators.ge(1), attrs.validators.lt(10)])
    kind: str = attrs.field(default="a", validator=attrs.validators.in_(["a", "b"]))
    code: str = attrs.field(default="x1", validator=attrs.validators.matches_re("[a-z][0-9]"))
    words: list[str] = attrs.field(factory=lambda: ["a"], validator=attrs.validators.min_len(1))
    note: str = attrs.field(default="", validator=attrs.validators.max_len(3))
    names: list[str] = attrs.field(factory=list, converter=parse_names)


@attrs.frozen
class Positive:
    size: int = attrs.field()

    @size.validator
    def _check(self, attribute: Any, value: int) -> None:
        if value <= 0:
            raise ValueError("size must be above 0")


STRING = {"type": "string"}
SCHEMAS: list[tuple[Any, dict[str, Any]]] = [
    (str, STRING),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (None, {"type": "null"}),
    (Any, {}),
    (object, {}),
    (UserId, {"type": "integer"}),
    (list, {"type": "array"}),
    (list[str], {"type": "array", "items": STRING}),
    (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
    (set[str], {"type": "array", "items": STRING, "uniqueItems": True}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    (
        tuple[int, str],
        {"type": "array", "prefixItems": [{"type": "integer"}, STRING], "items": False, "minItems": 2, "maxItems": 2},
    ),
    (dict, {"type": "object"}),
    (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    (
        Mapping[Literal["a", "b"], Any],
        {"type": "object", "propertyNames": {"enum": ["a", "b"]}},
    ),
    (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
    (int | str | None, {"anyOf": [{"type": "integer"}, STRING, {"type": "null"}]}),
    (Union[int, Any], {}),  # noqa: UP007
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    (Literal[1, "b", None], {"enum": [1, "b", None]}),
    (Unit, {"type": "string", "enum": ["celsius", "fahrenheit"]}),
    (Level, {"type": "integer", "enum": [1, 2]}),
    (Odd, {"type": "string", "enum": ["PAIR"]}),
    (Annotated[int, "How many", {"minimum": 1}], {"type": "integer", "description": "How many", "minimum": 1}),
    (datetime, {"type": "string", "format": "date-time"}),
    (date, {"type": "string", "format": "date"}),
    (time, {"type": "string", "format": "time"}),
    (UUID, {"type": "string", "format": "uuid"}),
    (Decimal, {"anyOf": [{"type": "number"}, STRING]}),
    (Path, STRING),
    (bytes, {"type": "string", "contentEncoding": "base64"}),
]


@pytest.mark.parametrize(("hint", "schema"), SCHEMAS, ids=lambda each: str(each)[:40])
def test_each_hint_has_its_schema(hint: Any, schema: dict[str, Any]) -> None:
    """The table is the promise."""
    assert schema_of(hint) == schema


def test_an_attrs_class_lists_every_property_and_allows_no_other() -> None:
    """That is what providers' strict modes want; defaults, descriptions and aliases are in it."""
    assert schema_of(Place) == {
        "title": "Place",
        "description": "Where something is.",
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "its name"},
            "floor": {"type": "integer", "description": "which one", "minimum": 0, "default": 0},
            "tags": {"type": "array", "items": STRING, "description": "words"},
            "secret": {"type": "string", "default": "x"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def test_dataclasses_typed_dicts_and_named_tuples_are_objects_too() -> None:
    """Each with what is required of it."""
    assert schema_of(Point)["required"] == ["x"]
    assert schema_of(Point)["properties"]["y"] == {"type": "number", "default": 1.5}
    assert "description" not in schema_of(Point)
    assert schema_of(Movie) == {
        "title": "Movie",
        "type": "object",
        "properties": {"title": STRING, "year": {"type": "integer"}},
        "additionalProperties": False,
    }
    assert schema_of(Pair)["required"] == ["left"]
    assert schema_of(Pair)["properties"]["right"] == {"type": "string", "default": "r"}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="typing.Required came with Python 3.11")
def test_a_key_of_a_typed_dict_may_say_itself_whether_it_is_required() -> None:
    """Also where hints are strings, which Python itself does not see."""
    from typing import NotRequired, Required

    globals().update(NotRequired=NotRequired, Required=Required)
    made = TypedDict("made", {"a": "Required[int]", "b": "NotRequired[str]", "c": int}, total=True)  # type: ignore[misc]  # noqa: UP013
    assert schema_of(made)["required"] == ["a", "c"]
    assert structure({"a": 1, "c": 2}, made) == {"a": 1, "c": 2}


def test_a_recursive_class_is_written_once_and_its_root_is_an_object() -> None:
    """Strict modes refuse a root that is a reference."""
    schema = schema_of(Node)
    assert schema["type"] == "object"
    assert schema["properties"]["kids"]["items"] == {"$ref": "#/$defs/Node"}
    assert list(schema["$defs"]) == ["Node"]
    check = validator(schema)
    assert check({"value": 1, "kids": [{"value": 2, "kids": []}]}) == []
    assert check({"value": 1, "kids": [{"value": "2"}]}) == ["$.kids[0].value: '2' is not a whole number"]
    assert structure({"value": 1, "kids": [{"value": 2}]}, Node) == Node(1, [Node(2)])
    assert schema_of(list[Node])["items"] == {"$ref": "#/$defs/Node"}


def test_classes_that_hold_each_other_come_to_an_end() -> None:
    """Only the one that is met again is a definition."""
    schema = schema_of(Husband)
    assert list(schema["$defs"]) == ["Husband"]
    assert validator(schema)({"wife": {"husband": {"wife": None}}}) == []
    assert structure({"wife": {"husband": None}}, Husband) == Husband(Wife(None))


def test_two_recursive_classes_of_one_name_have_two_definitions() -> None:
    """The second one is numbered."""

    def made() -> type:
        cls = type("Tree", (), {"__module__": __name__})
        cls.__annotations__ = {"kids": list[cls]}  # type: ignore[valid-type]
        return dataclasses.dataclass(cls)

    assert list(schema_of(tuple[made(), made()])["$defs"]) == ["Tree", "Tree_2"]


def test_validators_of_attrs_become_keywords() -> None:
    """The model is told what the class would refuse."""
    fields = schema_of(Bounded)["properties"]
    assert fields["count"] == {"type": "integer", "minimum": 1, "exclusiveMaximum": 10}
    assert fields["kind"] == {"type": "string", "default": "a", "enum": ["a", "b"]}
    assert fields["code"]["pattern"] == "^(?:[a-z][0-9])$"
    assert fields["words"] == {"type": "array", "items": STRING, "minItems": 1}
    assert fields["note"]["maxLength"] == 3
    assert fields["names"]["anyOf"] == [STRING, {"type": "array", "items": STRING}]


def test_a_field_takes_what_its_converter_takes() -> None:
    """The class itself converts."""
    assert structure({"count": 1, "names": "a,b"}, Bounded).names == ["a", "b"]


class Opaque:
    pass


@attrs.frozen
class Holds:
    thing: Opaque


@pytest.mark.parametrize(
    ("hint", "named"),
    [
        (Opaque, "Opaque has no JSON Schema"),
        (list[Opaque], "Opaque has no"),
        (Holds, "Holds.thing: Opaque"),
        (dict[int, str], "int cannot be a key"),
        (timedelta, "timedelta"),
    ],
)
def test_a_hint_without_a_schema_is_named(hint: Any, named: str) -> None:
    """The author is told which, and where."""
    with pytest.raises(TypeError, match=named):
        schema_of(hint)


def test_a_hint_that_names_nothing_known_is_named() -> None:
    """Not a NameError from deep inside."""

    @attrs.frozen
    class Lost:
        at: Nowhere  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="Nowhere"):
        schema_of(Lost)


VALUES: list[tuple[Any, Any, Any]] = [
    (5, int, 5),
    (5.0, int, 5),
    (5, float, 5.0),
    (True, bool, True),
    (None, int | None, None),
    ("celsius", Unit, Unit.CELSIUS),
    (1, Level, Level.LOW),
    ("PAIR", Odd, Odd.PAIR),
    ("celsius", Literal[Unit.CELSIUS], Unit.CELSIUS),
    ([1, 2], tuple[int, ...], (1, 2)),
    ([1, "a"], tuple[int, str], (1, "a")),
    (["a", "a"], set[str], {"a"}),
    (["a"], frozenset[str], frozenset("a")),
    ({"a": [1]}, dict[str, list[int]], {"a": [1]}),
    ({"celsius": 1}, dict[Unit, int], {Unit.CELSIUS: 1}),
    ("2024-05-01T10:00:00Z", datetime, datetime(2024, 5, 1, 10, tzinfo=timezone.utc)),
    ("2024-05-01", date, date(2024, 5, 1)),
    ("10:30:00", time, time(10, 30)),
    ("1.50", Decimal, Decimal("1.50")),
    (0.1, Decimal, Decimal("0.1")),
    ("aGk=", bytes, b"hi"),
    ("a/b", Path, Path("a/b")),
    ("12345678-1234-5678-1234-567812345678", UUID, UUID(int=0x12345678123456781234567812345678)),
    (1, int | str, 1),
    ("1", int | str, "1"),
    (1, float | int, 1),
    ("2024-05-01", date | str, date(2024, 5, 1)),
    ("soon", date | str, "soon"),
    ({"x": 1}, Point, Point(1.0)),
    ({"title": "T"}, Movie, {"title": "T"}),
    ({"left": 1}, Pair, Pair(1)),
    ({"city": "Rome", "secret": "y"}, Place, Place("Rome", secret="y")),
    ({"x": 1}, Place | Point, Point(1.0)),
    ({"any": [1]}, Any, {"any": [1]}),
]


@pytest.mark.parametrize(("value", "hint", "meant"), VALUES, ids=lambda each: str(each)[:40])
def test_a_json_value_becomes_what_the_hint_says(value: Any, hint: Any, meant: Any) -> None:
    """The type too, not only something equal."""
    made = structure(value, hint)
    assert made == meant
    assert type(made) is type(meant)


WRONG: list[tuple[Any, Any, str]] = [
    ("5", int, "$: '5' is not a whole number"),
    (5.5, int, "$: 5.5 is not a whole number"),
    (True, int, "$: True is not a whole number"),
    (1, bool, "$: 1 is not true or false"),
    (True, float, "$: True is not a number"),
    (5, str, "$: 5 is not a string"),
    ("abc", list[str], "$: 'abc' is not an array"),
    ({"a": 1}, list, "$: {'a': 1} is not an array"),
    ([1, "x"], list[int], "$[1]: 'x' is not a whole number"),
    ([1], tuple[int, int], "$: it has 1 items, not 2"),
    ("kelvin", Unit, "$: 'kelvin' is not one of ['celsius', 'fahrenheit']"),
    (True, Literal[1], "$: True is not one of [1]"),
    (None, str, "$: None is not a string"),
    ("NaN", Decimal, "$: 'NaN' is not a decimal number"),
    ("tomorrow", datetime, "$: 'tomorrow' is not a date and time as in ISO 8601"),
    ("%", bytes, "$: '%' is not Base64"),
    ([[1]], set[Any], "$: its items cannot be those of a set"),
    ({"cty": "x"}, Place, "$: 'cty' is not known. Did you mean 'city'?; $: 'city' is missing"),
    ({"city": "x", "made": 2}, Place, "$: 'made' is not known."),
    ({"size": 0}, Positive, "$: size must be above 0"),
    ({"count": 0}, Bounded, "$: 'count' must be >= 1: 0"),
    ({"value": 1, "kids": [{"value": None}]}, Node, "$.kids[0].value: None is not a whole number"),
    ({"wife": {"husband": 3}}, Husband, "$.wife.husband: 3 is not an object and 3 is not null"),
    ("x", int | bool, "$: 'x' is not a whole number and 'x' is not true or false"),
    ({"a b": "x"}, dict[str, int], "$['a b']: 'x' is not a whole number"),
]


@pytest.mark.parametrize(("value", "hint", "said"), WRONG, ids=lambda each: str(each)[:40])
def test_nothing_is_coerced_and_what_is_wrong_is_said_with_its_path(value: Any, hint: Any, said: str) -> None:
    """A model's slip is told to it, and not mended behind its back."""
    with pytest.raises(ValueError) as caught:
        structure(value, hint)
    assert str(caught.value).startswith(said)


def test_no_more_than_ten_problems_are_told_and_huge_values_are_shortened() -> None:
    """A result goes to the model, which pays by the token."""
    with pytest.raises(ValueError) as caught:
        structure(["x" * 10_000] * 1000, list[int])
    assert len(str(caught.value)) < 2000
    assert len(validator({"items": {"type": "integer"}})(["x" * 10_000] * 1000)) == 11


PLAIN: list[tuple[Any, Any]] = [
    (Place("Rome"), {"city": "Rome", "floor": 0, "tags": [], "secret": "x"}),
    (Point(1.0), {"x": 1.0, "y": 1.5, "names": []}),
    (Pair(1), {"left": 1, "right": "r"}),
    (Unit.CELSIUS, "celsius"),
    (Odd.PAIR, "PAIR"),
    (Name.ADA, "ada"),
    (datetime(2024, 5, 1), "2024-05-01T00:00:00"),
    (timedelta(minutes=1), 60.0),
    (Decimal("1.50"), "1.50"),
    (b"hi", "aGk="),
    ({"b"}, ["b"]),
    ((1, 2), [1, 2]),
    (range(3), [0, 1, 2]),
    (float("nan"), "NaN"),
    (float("-inf"), "-Infinity"),
    ({1: "a", None: 2, Unit.CELSIUS: 3, date(2024, 5, 1): 4}, {"1": "a", "null": 2, "celsius": 3, "2024-05-01": 4}),
    ({"key": Secret("sk-verysecret")}, {"key": "[key]"}),
    (Path("a/b"), "a/b"),
]


@pytest.mark.parametrize(("value", "plain"), PLAIN, ids=lambda each: str(each)[:40])
def test_python_values_become_json_values(value: Any, plain: Any) -> None:
    """A Secret stays one."""
    assert unstructure(value) == plain


@pytest.mark.parametrize(
    "value", [Opaque(), [Opaque()], Opaque, {Opaque(): 1}, [10**5000], len, (x for x in "a")], ids=type
)
def test_what_json_cannot_express_is_named(value: Any) -> None:
    """By its type, not by its content."""
    with pytest.raises(ToolError):
        unstructure(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    """And not followed for ever."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ToolError, match="64 deep"):
        unstructure(loop)


HINTS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    str: st.text(),
    float | None: st.none() | st.floats(allow_nan=False, allow_infinity=False),
    Unit: st.sampled_from(Unit),
    list[Level]: st.lists(st.sampled_from(Level)),
    dict[str, bool]: st.dictionaries(st.text(), st.booleans()),
    datetime: st.datetimes(),
    bytes: st.binary(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    UUID: st.uuids(),
    Pair: st.builds(Pair, st.integers(), st.text()),
    Point: st.builds(Point, st.floats(allow_nan=False, allow_infinity=False)),
    Node: st.recursive(st.builds(Node, st.integers()), lambda kids: st.builds(Node, st.integers(), st.lists(kids))),
    tuple[int, str]: st.tuples(st.integers(), st.text()),
}


@given(st.sampled_from(list(HINTS)).flatmap(lambda hint: st.tuples(st.just(hint), HINTS[hint])))
def test_what_goes_out_comes_in_again_and_is_valid_by_its_schema(pair: tuple[Any, Any]) -> None:
    """schema_of, unstructure and structure agree on what a type is in JSON."""
    hint, value = pair
    plain = unstructure(value)
    assert validator(schema_of(hint))(plain) == []
    assert structure(plain, hint) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "kids", "x", "a"]), inner),
    max_leaves=8,
)


@given(JSON, st.sampled_from([*HINTS, Place, Movie, Bounded, Husband, int | Node | list[str]]))
def test_any_json_value_is_either_structured_or_refused_with_a_reason(value: Any, hint: Any) -> None:
    """Nothing else escapes, and the schema refuses what structure refuses, but for what classes check themselves."""
    try:
        structure(value, hint)
    except ValueError as error:
        assert str(error).startswith("$")  # noqa: PT017
    else:
        assert hint is bytes or validator(schema_of(hint))(value) == []


# The validator


def test_problems_are_told_in_words_with_their_paths() -> None:
    """A model reads them."""
    check = validator(
        {
            "type": "object",
            "properties": {"n": {"type": "integer", "minimum": 1}, "unit": {"enum": ["c", "f"]}},
            "required": ["n", "city"],
            "additionalProperties": False,
        }
    )
    assert sorted(check({"n": 0, "unit": "k", "citty": 1})) == [
        "$.n: 0 breaks minimum (1)",
        "$.unit: 'k' is not one of ['c', 'f']",
        "$: 'citty' is not known.",
        "$: 'city' is missing",
    ]
    assert check({"n": 1, "city": "x"}) == ["$: 'city' is not known."]
    assert check({"n": "1"}) == ["$.n: '1' is not a whole number", "$: 'city' is missing"]
    assert check([]) == ["$: [] is not an object"]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strng"}, r"The schema cannot be used: \$.type is no JSON Schema: 'strng'"),
        ({"properties": {"a": {"minimum": "1"}}}, r"\$.properties.a.minimum"),
        ({"$ref": "https://example.invalid/schema.json"}, "nothing is ever fetched"),
        ({"$ref": "file:///etc/passwd"}, "nothing is ever fetched"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "leads nowhere"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_when_it_is_given(schema: dict[str, Any], said: str) -> None:
    """Not when a model first calls, and nothing is fetched for it."""
    with pytest.raises(ConfigError, match=said):
        validator(schema)


def test_a_schema_of_an_older_draft_is_read_as_such() -> None:
    """Its $schema says which."""
    older = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]}
    assert validator(older)(["x"]) == ["$[0]: 'x' is not a whole number"]


def test_the_extra_is_named_where_jsonschema_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, "jsonschema.validators", None)
    with pytest.raises(ConfigError, match=r"pip install 'promptstream-sdk\[tools\]'"):
        validator({"title": "Of which nothing is kept"})


def test_a_default_that_json_has_no_number_for_is_left_out() -> None:
    """The argument may be left out all the same."""

    @attrs.frozen
    class Limits:
        low: float = float("nan")
        high: float = float("inf")
        most: list[float] = attrs.field(factory=lambda: [float("nan")])

    schema = schema_of(Limits)
    assert "required" not in schema
    assert schema["properties"]["low"] == schema["properties"]["high"] == {"type": "number"}
    assert validator(schema)({}) == []


def test_a_pattern_of_a_class_that_may_run_for_ages_is_refused_in_words() -> None:
    """The model's text is held against it."""

    @attrs.frozen
    class Code:
        code: str = attrs.field(validator=attrs.validators.matches_re("(a+)+"))

    with pytest.raises(ConfigError, match=r"schema= cannot be used: \$\.properties\.code has the pattern .* let no"):
        validator(schema_of(Code), "schema=")


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        ({"properties": {"a": {"pattern": "^a"}}}, {"a": "b"}, "$.a: 'b' breaks pattern ('^a')"),
        ({"pattern": "^a"}, "a" * 10_001, "$: is longer than 10000 characters, which is too long to be checked"),
        ({"patternProperties": {"^a": {}}, "additionalProperties": False}, {"b": 1}, "$: 'b' is not known, and match"),
        ({"properties": {"a": False}}, {"a": 1}, "$: 1 is not allowed"),
        ({"multipleOf": 2}, 3, "$: 3 breaks multipleOf (2)"),
        ({"uniqueItems": True}, [1, 1], "$: [1, 1] breaks uniqueItems (True)"),
        ({"properties": {"a" * 99: {"type": "null"}}}, {"a" * 99: 1}, f"$['{'a' * 80}']: 1 is not null"),
    ],
)
def test_what_is_wrong_is_said_in_words(schema: dict[str, Any], value: Any, told: str) -> None:
    """Short ones, with the path."""
    (said,) = validator(schema)(value)
    assert said.startswith(told)
