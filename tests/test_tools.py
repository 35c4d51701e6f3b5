"""Functions in, tools out; arguments in, what the model reads out."""

from __future__ import annotations

import functools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from enum import Enum
from time import monotonic
from typing import Annotated, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstream.errors import Cancelled, ConfigError, DeadlineExceeded, ToolArguments, ToolError
from promptstream.tools.context import ToolContext
from promptstream.tools.docstring import read_docstring
from promptstream.tools.result import encode_result
from promptstream.tools.tool import Tool, tool
from promptstream.values.message import ToolCall
from promptstream.values.request import ToolSpec
from promptstream.values.secret import Secret
from promptstream.wire.watch import CancelToken, Deadline


class Unit(Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


@attrs.frozen
class Stay:
    city: str
    nights: int = 1


@tool
def weather(city: str, unit: Unit = Unit.CELSIUS, *, at: datetime | None = None) -> dict[str, Any]:
    """Tell the weather
    of a city.

    It is made up.

    Args:
        city: where,
            as people say it
        unit (Unit): of the temperature
        other: nobody has this
    """
    return {"city": city, "unit": unit, "at": at}


@tool(approval=True, name="book")
def book_stay(stays: list[Stay], context: ToolContext) -> str:
    """Book."""
    return f"{context.call.id}: {', '.join(each.city for each in stays)}"


class Shop:
    def __init__(self, stock: int) -> None:
        self.stock = stock

    @tool
    def count(self, item: str) -> str:
        """Count an item."""
        return f"{self.stock} {item}"

    def plain(self, item: str) -> str:
        """Count it too."""
        return f"{self.stock} {item}"

    @staticmethod
    @tool
    def static(item: str) -> str:
        return item

    @classmethod
    @tool
    def made(cls, item: str) -> str:
        return f"{cls.__name__} {item}"


class Adder:
    """Not this."""

    def __call__(self, a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b


# What the model is told


def test_a_tool_is_described_by_its_signature_hints_and_docstring() -> None:
    """Name, first paragraph, and a JSON Schema with what the docstring says of each argument."""
    assert (weather.name, weather.description, weather.approval) == ("weather", "Tell the weather of a city.", False)
    assert weather.spec == ToolSpec("weather", "Tell the weather of a city.", weather.parameters)
    assert weather.parameters == {
        "type": "object",
        "properties": {
            "city": {"description": "where, as people say it", "type": "string"},
            "unit": {
                "description": "of the temperature",
                "type": "string",
                "enum": ["celsius", "fahrenheit"],
                "default": "celsius",
            },
            "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def test_a_tool_is_still_the_function() -> None:
    """It is called, named and documented as before."""
    assert weather("Rome", at=None) == {"city": "Rome", "unit": Unit.CELSIUS, "at": None}
    assert weather.__name__ == "weather"
    assert weather.__doc__.startswith("Tell the weather")
    assert repr(weather) == "<Tool weather>"


def test_name_description_and_approval_may_be_said() -> None:
    """By the decorator, and anew for a tool that is one already."""
    assert (book_stay.name, book_stay.approval) == ("book", True)
    other = tool(
        weather,
        name="forecast",
        description="""Tell.
        More.""",
    )
    assert (other.name, other.description, weather.name) == ("forecast", "Tell.\nMore.", "weather")
    assert tool(other, approval=True).approval
    assert tool(weather) is weather


def test_the_context_is_no_argument_of_the_model() -> None:
    """Whatever its parameter is called."""
    assert list(book_stay.parameters["properties"]) == ["stays"]
    context = ToolContext(ToolCall("c7", "book"))
    assert book_stay.run({"stays": [{"city": "Rome"}, {"city": "Bonn"}]}, context) == "c7: Rome, Bonn"


def test_the_context_may_be_imported_for_type_checkers_only() -> None:
    """As linters like it."""
    space: dict[str, Any] = {"__name__": "elsewhere"}
    code = "from __future__ import annotations\ndef run(now: ToolContext | None = None): return 'yes' if now else 'no'"
    exec(code, space)
    made = tool(space["run"])
    assert made.parameters["properties"] == {}
    assert made.run({}) == "yes"


def test_an_argument_without_a_hint_may_be_anything() -> None:
    """The model is told its name alone."""

    @tool
    def echo(what, *, loud: Annotated[bool, "or not"] = False):  # type: ignore[no-untyped-def]
        return what

    assert echo.parameters["properties"] == {
        "what": {},
        "loud": {"type": "boolean", "description": "or not", "default": False},
    }
    assert echo.run({"what": [1, {"a": None}]}) == '[1,{"a":null}]'


def test_a_default_of_none_allows_null() -> None:
    """As the author means it, whatever the Python."""

    @tool
    def find(limit: int = None) -> str:  # type: ignore[assignment]  # noqa: RUF013
        return str(limit)

    assert find.run({"limit": None}) == "None"
    assert find.parameters["properties"]["limit"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


DOCSTRINGS = [
    "Do it.\n\nArgs:\n    a: one\n    b (int, optional): two\n        lines\n\nReturns:\n    c: no",
    "Do it.\n\nParameters\n----------\na : str\n    one\nb : int, optional\n    two\n    lines\n\nReturns\n-------\nc",
    "Do it.\n\n:param a: one\n:param int b: two\n    lines\n:returns: no\n:rtype: c",
    "Do it.\n\nArguments:\n  a: one\n  b: two\n\n    lines\nRaises:\n  c: no",
]


@pytest.mark.parametrize("text", DOCSTRINGS)
def test_docstrings_of_every_style_are_read(text: str) -> None:
    """Google, NumPy, Sphinx."""
    assert read_docstring(text) == ("Do it.", {"a": "one", "b": "two lines"})


def test_several_arguments_may_share_a_description_in_numpys_style() -> None:
    """``a, b : int``."""
    assert read_docstring("X\n\nParameters\n----------\na, b : int\n    both")[1] == {"a": "both", "b": "both"}


@given(st.text(alphabet="Args:\n -abPrmtes(x)*`", max_size=80))
def test_any_docstring_can_be_read(text: str) -> None:
    """However odd."""
    summary, told = read_docstring(text)
    assert "\n" not in summary + "".join(told.values())


# What can be a tool


def test_methods_partials_and_callable_objects_are_tools() -> None:
    """Each with what is left to be given."""
    shop = Shop(3)
    assert shop.count.run({"item": "pens"}) == "3 pens"
    assert shop.count("pens") == "3 pens"
    assert list(shop.count.parameters["properties"]) == ["item"]
    assert tool(shop.plain).run({"item": "pens"}) == "3 pens"
    assert shop.static.run({"item": "x"}) == Shop.static.run({"item": "x"}) == "x"
    assert tool(shop.made).run({"item": "x"}) == tool(Shop.made).run({"item": "x"}) == "Shop x"
    left = tool(functools.partial(Adder(), b=5), name="five")
    assert (left.run({"a": 1}), left.description) == ("6", "Add two numbers.")
    assert tool(Adder()).name == "Adder"
    assert tool(functools.partial(weather.function, "Rome")).run({}) == '{"city":"Rome","unit":"celsius","at":null}'


def test_a_method_without_its_object_is_refused_before_it_runs() -> None:
    """It could only fail."""
    with pytest.raises(ConfigError, match=r"instance\.count"):
        Shop.count.check()


async def later(a: int) -> int:  # noqa: D103
    return a


def many() -> Any:  # noqa: D103
    yield 1


class Opaque:
    pass


def taking(*names: str) -> None: ...  # noqa: D103
def taking_any(**names: str) -> None: ...  # noqa: D103
def positional(a: int, /) -> None: ...  # noqa: D103
def opaque(a: list[Opaque]) -> None: ...  # noqa: D103
def lost(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: D103, F821
def twice(a: ToolContext, b: ToolContext) -> None: ...  # noqa: D103


class Late:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (later, "async"),
        (functools.partial(later, 1), "async"),
        (Late(), "async"),
        (many, "generator"),
        (taking, r"\*names.*any number"),
        (taking_any, "any arguments"),
        (positional, "positional only"),
        (opaque, "opaque.*Opaque has no JSON Schema"),
        (lost, "Nowhere"),
        (twice, "two parameters"),
        (lambda a: a, "name="),
        (Shop, "give a function"),
        (5, "give a function"),
        (dict.update, "cannot be a tool|does not tell"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_at_once_and_told_why(fn: Any, said: str) -> None:
    """At decoration, not when a model calls."""
    with pytest.raises(TypeError, match=said):
        tool(fn)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a.b", "ä", "a" * 65, "a\n"])
def test_a_name_that_providers_refuse_is_refused_here(name: str) -> None:
    """With how to give another."""
    with pytest.raises(TypeError, match="name="):
        tool(weather, name=name) if name else tool(lambda: 1)


# Running


def test_arguments_become_what_the_hints_say() -> None:
    """Members of an Enum, dates, objects of classes."""
    said = weather.run({"city": "Rome", "unit": "fahrenheit", "at": "2024-05-01T10:00:00Z"})
    assert json.loads(said) == {"city": "Rome", "unit": "fahrenheit", "at": "2024-05-01T10:00:00+00:00"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "$: 'city' is missing"),
        ({"city": 5}, "$.city: 5 is not a string"),
        ({"city": "x", "unit": "kelvin"}, "$.unit: 'kelvin' is not one of ['celsius', 'fahrenheit']"),
        ({"city": "x", "untt": "c"}, "$: 'untt' is not known. Did you mean 'unit'?"),
        ({"city": "x", "at": "soon"}, "$.at: 'soon' is not a date and time as in ISO 8601 and 'soon' is not null"),
    ],
)
def test_wrong_arguments_are_told_to_the_model_in_words(arguments: dict[str, Any], said: str) -> None:
    """Which one, and why; the function does not run."""
    for check in (weather.run, weather.validate):
        with pytest.raises(ToolArguments) as caught:
            check(arguments)
        assert str(caught.value) == f"The arguments of weather are not valid. {said}"


def test_what_the_function_raises_is_not_caught() -> None:
    """Who runs it decides what the model is told."""

    @tool
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        fail.run({})


def test_one_tool_runs_in_many_threads_at_once() -> None:
    """Each with its own arguments and result."""
    fresh = tool(functools.partial(weather.function), name="fresh")
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda at: fresh.run({"city": str(at)}), range(200)))
    assert [json.loads(each)["city"] for each in said] == [str(at) for at in range(200)]


# A pack's declaration


def declared(**properties: Any) -> ToolSpec:
    """Declare the tool as a pack would."""
    return ToolSpec("weather", "By the pack.", {"type": "object", "properties": properties, "required": ["city"]})


def test_a_packs_declaration_is_what_the_model_sees_and_arguments_are_checked_by() -> None:
    """The code stays the same."""
    bound = weather.declared(declared(city={"type": "string", "maxLength": 3}, unit={"enum": ["celsius"]}))
    assert (bound.description, bound.parameters["properties"]["unit"]) == ("By the pack.", {"enum": ["celsius"]})
    assert json.loads(bound.run({"city": "Ulm"}))["city"] == "Ulm"
    with pytest.raises(ToolArguments, match="maxLength"):
        bound.run({"city": "Rome"})
    with pytest.raises(ToolArguments, match="celsius"):
        bound.run({"city": "Ulm", "unit": "fahrenheit"})
    with pytest.raises(ToolArguments, match="'days' is not known"):
        bound.run({"city": "Ulm", "days": 3})


def test_a_packs_types_may_differ_from_the_hints_and_the_hints_hold() -> None:
    """The function never gets what it does not expect."""
    bound = weather.declared(declared(city={"type": "integer"}))
    with pytest.raises(ToolArguments, match=r"\$\.city: 5 is not a string"):
        bound.run({"city": 5})


def test_a_declaration_that_the_function_cannot_follow_is_refused_at_once() -> None:
    """An argument too many, or one too few."""
    with pytest.raises(ConfigError, match=r"'citty' that the function does not take\. Did you mean 'city'"):
        weather.declared(declared(citty={"type": "string"}))
    with pytest.raises(ConfigError, match="needs an argument 'city'"):
        weather.declared(declared(unit={"type": "string"}))


def test_a_declaration_that_leaves_its_arguments_open_is_taken() -> None:
    """Schema 1.5 of packs allows tools without parameters."""
    assert "Rome" in weather.declared(ToolSpec("weather", "", {"type": "object"})).run({"city": "Rome"})


def test_a_bad_schema_shows_before_a_call() -> None:
    """When the tool is bound."""
    with pytest.raises(ConfigError, match="parameters of tool 'weather'"):
        weather.declared(ToolSpec("weather", "", {"type": "objekt"})).check()


# Results


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"),
        ("", ""),
        (None, "null"),
        (True, "true"),
        ({"a": [1, 2.5, "ä"]}, '{"a":[1,2.5,"ä"]}'),
        (Stay("Rome"), '{"city":"Rome","nights":1}'),
        (Unit.CELSIUS, '"celsius"'),
        (float("nan"), '"NaN"'),
        ("\ud83d\ude00 \ud83d", "😀 \ufffd"),
        (["\ud83d"], '["\ufffd"]'),
        (Secret("sk-0123456789"), "[key]"),
    ],
)
def test_results_are_written_for_the_model(value: Any, text: str) -> None:
    """A string as it is, all else as compact JSON that can always be encoded."""
    assert encode_result(value) == text


def test_a_result_that_json_cannot_express_names_its_type() -> None:
    """And not its content."""
    with pytest.raises(ToolError, match=r"test_tools\.Opaque cannot be written"):
        encode_result({"a": Opaque()})


def test_a_large_result_is_cut_between_two_characters_and_says_so() -> None:
    """The note tells how much there was, where that is known."""
    assert encode_result("ä" * 10, 7) == "äää\n[cut: 6 of 20 bytes]"
    assert encode_result("a" * 7, 7) == "a" * 7
    assert encode_result(["aaaa"], 6) == '["aaaa\n[cut: 6 of 8 bytes]'
    assert encode_result(list(range(1000)), 10) == "[0,1,2,3,4\n[cut: 10 of more than 10 bytes]"


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_no_result_is_much_longer_than_its_limit(value: Any) -> None:
    """Whatever it is made of, and what fits is whole."""
    whole, cut = encode_result(value), encode_result(value, 20)
    assert len(cut.encode()) <= 20 + 50
    assert (cut == whole) is (len(whole.encode()) <= 20) or "[cut: " in cut


def test_a_huge_result_costs_no_more_than_its_limit() -> None:
    """What shares its parts a million times is not written out."""
    value: Any = ["x" * 100]
    for _ in range(40):
        value = [value, value]
    assert "[cut: " in encode_result(value, 10_000)


# The context


def test_the_context_tells_of_the_turn() -> None:
    """Its time, and whether it is still wanted."""
    call = ToolCall("c1", "weather")
    alone = ToolContext(call)
    assert (alone.cancelled, alone.remaining(), alone.wait(0)) == (False, float("inf"), False)
    alone.check()
    over = ToolContext(call, deadline=Deadline(0.0), conversation_id="conv_1")
    assert over.wait(5)
    with pytest.raises(DeadlineExceeded, match="weather"):
        over.check()
    token = CancelToken()
    stopped = ToolContext(call, cancel=token, deadline=Deadline(60))
    token.cancel("no more")
    assert stopped.cancelled
    assert stopped.wait(5)
    with pytest.raises(Cancelled, match="weather ran: no more"):
        stopped.check()


def test_a_wait_ends_at_once_when_the_turn_is_cancelled() -> None:
    """And takes itself off the token."""
    token = CancelToken()
    context = ToolContext(ToolCall("c1", "x"), cancel=token, deadline=Deadline(60))
    timer = threading.Timer(0.02, token.cancel)
    timer.start()
    began = monotonic()
    assert context.wait(30)
    assert monotonic() - began < 5
    timer.join()
    quiet = CancelToken()
    assert not ToolContext(ToolCall("c1", "x"), cancel=quiet).wait(0.001)
    assert quiet._callbacks == []


def test_a_tool_is_no_more_than_it_says() -> None:
    """``tool`` gives a Tool, and a decorator where it is given nothing."""
    assert isinstance(weather, Tool)
    assert isinstance(tool(name="x")(weather), Tool)


def test_bounds_may_stand_beside_a_default_of_none() -> None:
    """Hints that hold a dict cannot be hashed, and so not be made optional by Python itself."""

    @tool
    def find(limit: Annotated[int, "How many", {"minimum": 1}] = None) -> int | None:  # type: ignore[assignment]  # noqa: RUF013
        return limit

    assert find.parameters["properties"]["limit"] == {
        "description": "How many",
        "anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}],
    }
    assert (find.run({"limit": 2}), find.run({"limit": None}), find.run({})) == ("2", "null", "null")
    with pytest.raises(ToolArguments, match="breaks minimum"):
        find.run({"limit": 0})


@pytest.mark.parametrize("given", [{"name": 3}, {"description": 3}, {"name": b"look"}])
def test_a_name_or_a_description_that_is_no_text_is_refused(given: dict[str, Any]) -> None:
    """In words, with the decorator as well."""

    def noted(text: str) -> str:
        """Note it."""
        return text

    (name,) = given
    made_before = tool(noted)
    for made in (lambda: tool(noted, **given), lambda: tool(**given), lambda: tool(made_before, **given)):
        with pytest.raises(TypeError, match=rf"^{name}=.*: give a string\.$"):
            made()
