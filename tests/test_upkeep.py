"""A conversation between its turns: another model, another prompt, a store for what had none, a turn put back."""

from __future__ import annotations

from pathlib import Path

import pytest

import promptstream
from promptstream import Message, ToolCall
from promptstream.errors import ConfigError, ConversationBusy, StateError
from promptstream.providers import Scripted
from promptstream.state import MemoryStore, SQLiteStore

PACK = {"prompts": {"teller": {"system_template": "Tell it to {{who}}."}}}


def tell(city: str) -> str:
    """Tell the weather."""
    return f"mild in {city}"


def test_another_model_is_asked_from_the_next_turn_on() -> None:
    """What is set counts over what it was opened with, and is read back."""
    conv = promptstream.chat(provider=Scripted(["One.", "Two."], model="a"), model="b")
    conv.send("1")
    conv.model = "c"
    conv.send("2")
    assert [request.model for request in conv.provider.requests] == ["b", "c"]
    assert conv.model == "c"


@pytest.mark.parametrize("name", ["", " ", None, 7])
def test_what_is_no_name_of_a_model_is_refused(name: object) -> None:
    """Nothing is changed then."""
    conv = promptstream.chat(provider=Scripted(["One."], model="a"))
    with pytest.raises(ConfigError, match="give the name of a model"):
        conv.model = name  # type: ignore[assignment]
    assert conv.model == "a"


def test_another_system_prompt_counts_from_the_next_turn_and_is_kept() -> None:
    """Resuming takes up the one that was set last, also where no turn came after it."""
    store = MemoryStore()
    conv = promptstream.chat("Be brief.", provider=Scripted(["One.", "Two."]), store=store, conversation_id="c")
    conv.send("1")
    conv.system = "Be kind."
    conv.send("2")
    assert [request.messages[0].text for request in conv.provider.requests] == ["Be brief.", "Be kind."]
    conv.system = "Be {{how}}."
    conv.close()
    assert promptstream.resume("c", store=store, provider=Scripted()).system == "Be {{how}}."


def test_a_system_prompt_that_is_set_is_filled_in_where_variables_were_given() -> None:
    """As the one it was opened with; one that lacks a variable is refused, and changes nothing."""
    conv = promptstream.chat("Be {{how}}.", provider=Scripted(), variables={"how": "brief"})
    conv.system = "Be very {{how}}."
    with pytest.raises(promptstream.errors.MissingVariable):
        conv.system = "Be {{who}}."
    assert conv.system == "Be very brief."


def test_the_system_prompt_of_a_pack_stays() -> None:
    """It is the pack's to say."""
    conv = promptstream.open(PACK, provider=Scripted(), variables={"who": "Ann"})
    with pytest.raises(ConfigError, match="is the pack's"):
        conv.system = "Be brief."
    assert conv.system == "Tell it to Ann."
    assert conv.origin == {"pack": None, "prompt": "teller"}


def test_what_had_no_store_is_kept_whole_from_then_on(tmp_path: Path) -> None:
    """History, figures and pending calls are there; the turns that follow are added."""
    path = tmp_path / "kept.db"
    call = ToolCall("c1", "tell", {"city": "Oslo"})
    tools = [promptstream.tool(tell, approval=True)]
    conv = promptstream.chat("Be brief.", provider=Scripted(["One.", [call], "Mild."]), tools=tools)
    conv.send("1")
    conv.send("2")
    assert not conv.kept
    conv.keep(path, "c")
    assert conv.kept
    assert conv.id == "c"
    with promptstream.resume("c", store=path, provider=Scripted(), tools=tools) as again:
        assert (again.messages, again.pending) == (conv.messages, conv.pending)
    conv.approve("c1")
    conv.resume().result()
    conv.close()
    with SQLiteStore(path) as store:
        assert store.load("c").messages == tuple(conv.messages)


def test_what_never_had_a_turn_is_kept_with_its_first() -> None:
    """Nothing is saved before there is something to save."""
    store = MemoryStore()
    conv = promptstream.chat(provider=Scripted(["One."]))
    conv.keep(store, "c")
    assert store.revision("c") == 0
    conv.send("1")
    assert [message.text for message in store.load("c").messages] == ["1", "One."]


def test_a_conversation_is_kept_once_and_under_a_free_name() -> None:
    """What is refused changes nothing: it is kept nowhere, and goes on."""
    store = MemoryStore()
    first = promptstream.chat(provider=Scripted(["One."]), store=store, conversation_id="c")
    first.send("1")
    conv = promptstream.chat(provider=Scripted(["Two.", "Three."]))
    conv.send("2")
    before = conv.id
    with pytest.raises(StateError, match="kept as 'c' already"):
        conv.keep(store, "c")
    with pytest.raises(ConfigError):
        conv.keep(store, "")
    assert (conv.kept, conv.id) == (False, before)
    assert store.load("c").messages == tuple(first.messages)
    with pytest.raises(StateError, match="kept as 'c' already"):
        first.keep(store, "d")
    conv.send("3")


def test_a_store_that_cannot_be_written_leaves_it_as_it_was(tmp_path: Path) -> None:
    """The error is told, and the conversation is kept nowhere."""
    (tmp_path / "kept.db").write_text("no database")
    conv = promptstream.chat(provider=Scripted(["One."]))
    conv.send("1")
    with pytest.raises(StateError):
        conv.keep(tmp_path / "kept.db", "c")
    assert not conv.kept


def test_a_turn_that_was_taken_back_is_put_back() -> None:
    """The history is what it was, in the store too."""
    store = MemoryStore()
    conv = promptstream.chat(provider=Scripted(["One.", "Two."]), store=store, conversation_id="c")
    conv.send("1")
    conv.send("2")
    before = conv.messages
    conv.restore(conv.undo())
    assert conv.messages == before == list(store.load("c").messages)


def test_nothing_is_changed_while_a_turn_runs() -> None:
    """It is ConversationBusy, and the turn goes on."""
    conv = promptstream.chat("Be brief.", provider=Scripted([["Hel", "lo."]]))
    stream = conv.stream("1")
    chunks = iter(stream)
    next(chunks)
    for change in (
        lambda: setattr(conv, "model", "b"),
        lambda: setattr(conv, "system", "Be kind."),
        lambda: conv.keep(MemoryStore(), "c"),
        lambda: conv.restore([Message("user", "x")]),
    ):
        with pytest.raises(ConversationBusy):
            change()
    assert stream.result().text == "Hello."


def test_the_tools_are_those_that_the_model_is_told_of() -> None:
    """In their order, with those that were added later, without those that are blocked."""
    conv = promptstream.chat(provider=Scripted(), tools=[tell], tool_policy={"blocklist": ["hidden"]})
    conv.tool(promptstream.tool(name="hidden")(lambda: "x"))
    conv.tool(promptstream.tool(name="later")(lambda: "x"))
    assert [spec.name for spec in conv.tools] == ["tell", "later"]
