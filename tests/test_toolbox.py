"""What ``tools=[…]`` holds and a pack declares in, tools to offer and to run out."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from promptstream.errors import ConfigError, ToolError, ToolNotFound
from promptstream.tools.tool import tool
from promptstream.tools.toolbox import Toolbox
from promptstream.values.request import ToolSpec


def weather(city: str) -> str:
    """Tell the weather."""
    return f"Sunny in {city}."


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def spec(name: str, *arguments: str) -> ToolSpec:
    """Declare a tool as a pack would."""
    properties = {each: {"type": "string"} for each in arguments}
    return ToolSpec(name, f"{name} of the pack", {"type": "object", "properties": properties})


PACK = {"weather": spec("weather", "city"), "locate": spec("locate")}


def test_functions_tools_specs_and_dicts_are_taken_as_they_are() -> None:
    """Those without code are client-side."""
    box = Toolbox([weather, add, ToolSpec("ask"), {"type": "function", "function": {"name": "show"}}])
    assert [each.name for each in box.specs()] == ["weather", "add", "ask", "show"]
    assert box.names == ("weather", "add", "ask", "show")
    assert box.client_side == ("ask", "show")
    found = box.find("weather")
    assert found is not None
    assert found.run({"city": "Rome"}) == "Sunny in Rome."
    assert box.find("add") is add
    assert box.find("ask") is None
    assert (box.knows("ask"), box.knows("nothing"), len(box), bool(box)) == (True, False, 4, True)
    assert repr(box) == "<Toolbox weather, add, ask, show>"


def test_an_empty_box_is_false() -> None:
    """A turn without tools says nothing of them."""
    assert not Toolbox()
    assert not Toolbox(declared={})
    assert Toolbox().specs() == ()


def test_what_the_policy_blocks_is_not_offered() -> None:
    """The order stays."""
    assert [each.name for each in Toolbox([weather, add, ToolSpec("ask")]).specs(["add"])] == ["weather", "ask"]


def test_a_tool_is_bound_to_the_packs_declaration_of_its_name() -> None:
    """The model sees the pack's; what nobody binds is client-side."""
    box = Toolbox([weather], declared=PACK)
    assert box.specs() == (PACK["weather"], PACK["locate"])
    assert box.client_side == ("locate",)
    found = box.find("weather")
    assert found is not None
    assert found.description == "weather of the pack"


def test_a_tool_that_the_pack_does_not_declare_raises_at_once() -> None:
    """Naming what it declares; a typing error is not found out by a model that never calls."""
    with pytest.raises(ToolNotFound, match=r"no tool 'wether'\. Did you mean 'weather'\? It declares: weather, locate"):
        Toolbox([tool(weather, name="wether")], declared=PACK)
    with pytest.raises(ToolError, match="'ask'"):
        Toolbox([ToolSpec("ask")], declared=PACK)
    with pytest.raises(ToolNotFound, match="It declares: none"):
        Toolbox([weather], declared={})


def test_a_wildcard_lets_other_names_in() -> None:
    """Of servers whose tools the pack cannot list."""
    other = tool(weather, name="mcp__maps__find")
    box = Toolbox([other], declared=PACK, wildcards=["mcp__maps__*"])
    assert box.names == ("weather", "locate", "mcp__maps__find")
    with pytest.raises(ToolNotFound):
        Toolbox([other], declared=PACK, wildcards=["mcp__files__*"])


def test_a_spec_for_a_tool_that_the_pack_declares_leaves_it_client_side() -> None:
    """And the pack's declaration as it is."""
    box = Toolbox([ToolSpec("locate", "mine")], declared=PACK)
    assert box.specs()[1] == PACK["locate"]
    assert "locate" in box.client_side


@pytest.mark.parametrize(
    "tools",
    [
        [weather, weather],
        [weather, ToolSpec("weather")],
        [ToolSpec("a"), {"name": "a"}],
        [add, tool(weather, name="add")],
    ],
)
def test_two_tools_of_one_name_are_refused(tools: list[Any]) -> None:
    """Which one would the model mean?"""
    with pytest.raises(ConfigError, match="Two tools are called"):
        Toolbox(tools)


def test_a_tool_that_does_not_fit_its_declaration_is_refused_and_can_be_given_again() -> None:
    """Nothing of a failed one stays behind."""
    box = Toolbox(declared={"add": spec("add", "a", "c")})
    with pytest.raises(ConfigError, match="'c' that the function does not take"):
        box.add(add)
    assert box.find("add") is None

    def other(a: str, c: str) -> str:
        return a + c

    made = box.add(tool(other, name="add"))
    assert box.find("add") is made
    assert made.run({"a": "1", "c": "2"}) == "12"


def test_a_schema_that_is_none_shows_when_the_tool_is_given() -> None:
    """Before anything is sent."""

    def bad(a: Annotated[int, {"minimum": "one"}]) -> int:
        return a

    with pytest.raises(ConfigError, match="minimum"):
        Toolbox([bad])
    with pytest.raises(ConfigError, match="parameters of tool 'weather'"):
        Toolbox([weather], declared={"weather": ToolSpec("weather", "", {"type": "objekt"})})


@pytest.mark.parametrize("tools", ["weather", weather, add, {"name": "x"}, ToolSpec("x"), 5])
def test_tools_that_are_no_list_are_refused(tools: Any) -> None:
    """Also one tool by itself, and a dict, which would be taken for its keys."""
    with pytest.raises(TypeError, match="give a list"):
        Toolbox(tools)


@pytest.mark.parametrize("each", [5, "weather", None, {"nothing": 1}])
def test_what_is_no_tool_is_refused(each: Any) -> None:
    """With what it should be."""
    with pytest.raises((TypeError, ValueError)):
        Toolbox([each])


def test_a_copy_is_added_to_by_itself() -> None:
    """A fork of a conversation has its own tools."""
    box = Toolbox([weather], declared=None)
    other = box.copy()
    other.add(add)
    assert (box.names, other.names) == (("weather",), ("weather", "add"))
    with pytest.raises(ConfigError, match="Two tools"):
        other.add(tool(add, name="weather"))


BROKEN = {"type": "object", "properties": {"a": {"type": "strin"}}}


@pytest.mark.parametrize(
    "given",
    [{"tools": [ToolSpec("ask", "", BROKEN)]}, {"declared": {"ask": ToolSpec("ask", "", BROKEN)}}],
    ids=["given", "declared"],
)
def test_a_client_side_tool_whose_parameters_are_no_schema_is_refused_at_once(given: dict[str, Any]) -> None:
    """Not in the middle of a turn, when the model calls it."""
    with pytest.raises(
        ConfigError, match=r"parameters of tool 'ask' cannot be used: \$\.properties\.a\.type is no JSON"
    ):
        Toolbox(**given)


def test_what_a_tool_that_is_bound_later_lacks_is_told_at_once_too() -> None:
    """A pattern that may run for ages is refused whoever answers the tool."""
    slow = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    with pytest.raises(ConfigError, match=r"of tool 'ask' cannot be used: \$\.properties\.a has the pattern"):
        Toolbox([ToolSpec("ask", "", slow)])

    def ask(a: Annotated[str, {"pattern": "^(a+)+$"}]) -> str:
        """Ask."""
        return a

    with pytest.raises(ConfigError, match="repeats something that can match the same text in several ways"):
        Toolbox([ask])


def test_client_side_tools_are_taken_unseen_where_jsonschema_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here checks them."""
    monkeypatch.setattr("promptstream.tools.toolbox.find_spec", lambda name: None)
    box = Toolbox([ToolSpec("ask", "", BROKEN)])
    box.validate("ask", {"a": 1})


def test_a_copy_of_a_box_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork costs nothing."""
    box = Toolbox([add], declared={**PACK, "add": add.spec})
    monkeypatch.setattr("promptstream.tools.validation.validator", None)
    assert box.copy().names == box.names
