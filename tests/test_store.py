"""What every store promises, held against all three; and how one is opened."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import OPENERS, race_in_threads, racer, redis_store, redis_url, user

from promptstream.errors import ConfigError, ConversationBusy, StateError, StoreCorrupt
from promptstream.state import Entry, Kept, MemoryStore, RedisStore, SQLiteStore, Store, open_store, record
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.secret import Secret

EVERYTHING = (
    Message("system", "Be brief."),
    Message(
        "user",
        [Text("half \ud83d of a pair, NUL \0, \x1b[31m, é, 𝄞", {"x": {"y": [1, None]}}), Image(data=b"\x00\xff")],
    ),
    Message("user", [Document(url="https://example.com/a.pdf"), Document(data=b"", media_type="text/plain", name="a")]),
    Message(
        "assistant",
        [
            Reasoning("hm", {"anthropic": {"signature": "c2ln"}}),
            ToolCall("1", "f", {"x": math.inf, "y": -math.inf, "n": 10**30, "z": -0.0, "": {}}, '{"x": 1e999}'),
            ToolCall("2", "g", None, '{"cut', "the arguments are not whole", {"gemini": {"thought": "YQ=="}}),
        ],
        "tool_calls",
    ),
    Message("tool", [ToolResult("1", "f", "", error=True), ToolResult("2", "g", "ok", metadata={})]),
    Message("assistant", (), "cancelled"),
)
IDS = [
    "a",
    "A",
    "it's",
    '"',
    "a/b\\c",
    "{a}",
    "}{",
    "a:head",
    "a%7B",
    "%",
    "🦜",
    "é",
    "e\u0301",
    " ",
    "\n",
    "*?[",
    "x" * 1000,
]


@pytest.fixture(params=OPENERS)
def store(request, tmp_path):
    """Each kind of store, fresh."""
    with OPENERS[request.param](tmp_path) as opened:
        yield opened


# What is kept


def test_what_was_saved_comes_back_equal(store):
    """Every part, opaque provider data, bytes, infinities and half characters survive; so does the state."""
    state = {
        "pending": [{"id": "1", "arguments": {"x": math.inf}}],
        "cost": "0.01",
        "metadata": {"π": "\udc80"},
        "n": None,
    }
    assert store.save("id", revision=0, kept=0, added=EVERYTHING, state=state) == 1
    kept = store.load("id")
    assert isinstance(kept, Kept)
    assert (kept.id, kept.revision, kept.messages, kept.state) == ("id", 1, EVERYTHING, state)
    assert math.copysign(1, kept.messages[3].parts[1].arguments["z"]) == -1.0


def test_not_a_number_survives(store):
    """NaN, which equals nothing, is still a number when it comes back."""
    store.save("id", revision=0, kept=0, added=[], state={"x": math.nan})
    assert math.isnan(store.load("id").state["x"])


def test_nothing_is_shared_with_the_caller(store):
    """What is changed after a save or a load is not changed in the store."""
    state: dict[str, Any] = {"list": [1]}
    arguments: dict[str, Any] = {"x": [1]}
    store.save("id", revision=0, kept=0, added=[Message("assistant", ToolCall("1", "f", arguments))], state=state)
    state["list"].append(2)
    arguments["x"].append(2)
    store.load("id").state["list"].append(3)
    store.load("id").messages[0].tool_calls[0].arguments["x"].append(3)
    kept = store.load("id")
    assert (kept.state, kept.messages[0].tool_calls[0].arguments) == ({"list": [1]}, {"x": [1]})


def test_a_key_is_kept_as_its_mask(store):
    """A Secret that strays into the state or a message is not written."""
    key = Secret("sk-0123456789abcdef")
    store.save("id", revision=0, kept=0, added=user(key), state={"key": key, "metadata": {"keys": [key]}})
    kept = store.load("id")
    assert (kept.state, kept.messages[0].text) == ({"key": "[key]", "metadata": {"keys": ["[key]"]}}, "[key]")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"when": object()}, "state['a']['when'] is a object"),
        ([b"x"], "state['a'][0] is a bytes"),
        ({1: 2}, "state['a'] has the key 1; keys are strings"),
        (10**5000, "digits"),
        ({"x": {"y"}}, "state['a']['x'] is a set"),
    ],
    ids=["object", "bytes", "key", "digits", "set"],
)
def test_what_json_does_not_know_is_refused_with_its_place(store, value, said):
    """Nothing is saved that would come back as something else, and the error says where it is."""
    with pytest.raises(StateError) as caught:
        store.save("id", revision=0, kept=0, added=[], state={"a": value})
    assert said in str(caught.value)
    assert store.revision("id") == 0


def test_what_nests_too_deep_is_refused(store):
    """Two hundred levels are enough for anyone, and for the reader's stack."""
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(StateError, match="nested deeper than 200 levels"):
        store.save("id", revision=0, kept=0, added=[], state={"a": deep})


@pytest.mark.parametrize("bad", [{"metadata": 1}, None, [("a", 1)]])
def test_a_state_is_a_mapping_and_so_is_its_metadata(store, bad):
    """Anything else is the caller's mistake."""
    with pytest.raises(TypeError):
        store.save("id", revision=0, kept=0, added=[], state=bad)


def test_a_dict_is_no_message(store):
    """Messages are values; a dict is refused with its place."""
    with pytest.raises(TypeError, match=r"added\[1\]"):
        store.save("id", revision=0, kept=0, added=[*user("a"), {"role": "user", "content": "b"}], state={})


# Revisions


def test_the_revision_counts_the_saves(store):
    """0 where there is nothing, 1 after the first save, one more after each."""
    assert (store.revision("id"), store.load("id")) == (0, None)
    for number in range(5):
        assert store.save("id", revision=number, kept=number, added=user(str(number)), state={}) == number + 1
        assert store.revision("id") == store.load("id").revision == number + 1
    assert [message.text for message in store.load("id").messages] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("stale", [0, 1, 3, 10**30])
def test_a_save_from_another_revision_is_busy_and_changes_nothing(store, stale):
    """Whoever did not see the last save may not write over it."""
    store.save("id", revision=0, kept=0, added=user("a"), state={"n": 1})
    store.save("id", revision=1, kept=1, added=user("b"), state={"n": 2})
    before = store.load("id")
    with pytest.raises(ConversationBusy, match="revision 2 is stored"):
        store.save("id", revision=stale, kept=0, added=user("c"), state={"n": 3})
    assert store.load("id") == before


def test_a_save_to_what_is_gone_is_busy(store):
    """Where there is nothing, only a first save may write."""
    with pytest.raises(ConversationBusy, match="it is not stored"):
        store.save("id", revision=1, kept=0, added=[], state={})
    assert store.list() == []


def test_a_deleted_conversation_that_comes_back_is_not_taken_for_the_old_one(store):
    """Its revisions go on counting, so that who held the old one cannot write into the new."""
    for number in range(3):
        store.save("id", revision=number, kept=number, added=user("old"), state={})
    assert store.delete("id")
    assert store.revision("id") == 0
    revision = store.save("id", revision=0, kept=0, added=user("new"), state={})
    assert revision == 4
    with pytest.raises(ConversationBusy):
        store.save("id", revision=3, kept=1, added=user("mix"), state={})
    assert [message.text for message in store.load("id").messages] == ["new"]


def test_messages_after_kept_are_replaced(store):
    """A save may take back what was said, and says what follows instead."""
    store.save("id", revision=0, kept=0, added=user("a", "b", "c"), state={"n": 1})
    store.save("id", revision=1, kept=1, added=user("x", "y", "z"), state={})
    assert [message.text for message in store.load("id").messages] == ["a", "x", "y", "z"]
    store.save("id", revision=2, kept=2, added=[], state={})
    assert [message.text for message in store.load("id").messages] == ["a", "x"]
    store.save("id", revision=3, kept=0, added=[], state={})
    assert (store.load("id").messages, store.list()[0].messages) == ((), 0)


@pytest.mark.parametrize("kept", [3, 10**30])
def test_no_more_can_be_kept_than_there_is(store, kept):
    """A history with a hole is refused."""
    store.save("id", revision=0, kept=0, added=user("a", "b"), state={})
    with pytest.raises(ValueError, match="2 stored messages"):
        store.save("id", revision=1, kept=kept, added=[], state={})
    with pytest.raises(ValueError, match="0 stored messages"):
        store.save("other", revision=0, kept=1, added=[], state={})
    assert (store.revision("id"), store.revision("other")) == (1, 0)


@pytest.mark.parametrize(
    "numbers", [{"revision": -1, "kept": 0}, {"revision": 0, "kept": -1}, {"revision": True, "kept": 0}]
)
def test_numbers_of_a_save_are_whole_and_not_negative(store, numbers):
    """Anything else is the caller's mistake."""
    with pytest.raises(ValueError, match="whole number"):
        store.save("id", added=[], state={}, **numbers)


# Ids


def test_an_id_is_any_text(store):
    """Quotes, braces, slashes, emoji: each names a conversation of its own."""
    for number, id in enumerate(IDS):
        store.save(id, revision=0, kept=0, added=user(id), state={"number": number})
    for number, id in enumerate(IDS):
        kept = store.load(id)
        assert (kept.id, kept.messages[0].text, kept.state) == (id, id, {"number": number})
    assert sorted(entry.id for entry in store.list()) == sorted(IDS)
    for id in IDS:
        assert store.delete(id)
    assert store.list() == []


@pytest.mark.parametrize(
    ("id", "said"), [("", "empty"), ("a\0b", "NUL"), ("x" * 1001, "1001 characters"), ("\ud800", "surrogate")]
)
def test_an_id_that_cannot_be_kept_is_refused(store, id, said):
    """By every verb alike, with the reason."""
    for use in (store.load, store.revision, store.delete):
        with pytest.raises(ConfigError, match=said):
            use(id)
    with pytest.raises(ConfigError, match=said):
        store.save(id, revision=0, kept=0, added=[], state={})
    with pytest.raises(TypeError):
        store.load(7)


# Listing, deleting, closing


def test_a_listing_tells_the_one_saved_last_first(store):
    """Each line has the count, the times and the metadata, and no more than asked for come."""
    for number in range(4):
        store.save(f"c{number}", revision=0, kept=0, added=user(*"ab"[: number % 3]), state={"metadata": {"n": number}})
    store.save("c1", revision=1, kept=1, added=user("b", "c"), state={"x": 1})
    entries = store.list()
    assert [entry.id for entry in entries] == ["c1", "c3", "c2", "c0"]
    kept = store.load("c1")
    assert entries[0] == Entry("c1", 2, 3, kept.created, kept.updated, {})
    assert kept.created < kept.updated
    assert [entry.metadata for entry in entries[1:]] == [{"n": 3}, {"n": 2}, {"n": 0}]
    assert [entry.id for entry in store.list(limit=2)] == ["c1", "c3"]
    assert store.list(limit=0) == []
    assert len(store.list(limit=10**30)) == 4
    with pytest.raises(ValueError, match="limit"):
        store.list(limit=-1)


def test_deleting_removes_one_conversation_and_tells_whether_there_was_one(store):
    """The others stay."""
    for id in ("a", "b"):
        store.save(id, revision=0, kept=0, added=user(id), state={})
    assert (store.delete("a"), store.delete("a"), store.delete("never")) == (True, False, False)
    assert (store.load("a"), [entry.id for entry in store.list()]) == (None, ["b"])


def test_a_closed_store_says_so(store):
    """Closing twice is quiet; any use after it is an error."""
    store.save("id", revision=0, kept=0, added=[], state={})
    store.close()
    store.close()
    for use in (lambda: store.load("id"), lambda: store.revision("id"), store.list, lambda: store.delete("id")):
        with pytest.raises(StateError, match="closed"):
            use()
    with pytest.raises(StateError, match="closed"):
        store.save("id", revision=1, kept=0, added=[], state={})


# Many at once


def settled(store: Store, id: str, won: dict[str, list[int]]) -> None:
    """Hold what is stored against who won what: one winner for each revision, none lost, no mix."""
    winners = {revision: name for name, revisions in won.items() for revision in revisions}
    total = sum(map(len, won.values()))
    assert sorted(winners) == list(range(1, total + 1))
    kept = store.load(id)
    assert [message.text for message in kept.messages] == [winners[revision] for revision in range(1, total + 1)]
    assert (kept.revision, kept.state) == (total, {"by": winners[total], "n": total})


def test_threads_that_race_have_one_winner_for_each_revision(store):
    """Eight threads on one conversation: each save is whole, none is lost, none is mixed with another's."""
    settled(store, "id", race_in_threads(store, "id", [f"t{number}" for number in range(8)], 5))


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_processes_that_race_have_one_winner_for_each_revision(kind, tmp_path):
    """Three processes of eight threads each, on one conversation."""
    if kind == "sqlite":
        path = tmp_path / "race.db"
        store: Store = SQLiteStore(path)
        where = f"sqlite {path}"
    else:
        store = redis_store("race")
        where = f"redis {redis_url()} race"
    with store:
        racers = [racer(where, "id", [f"{process}-{number}" for number in range(8)], 3) for process in range(3)]
        assert [each.stdout.readline() for each in racers] == ["ready\n"] * 3
        for each in racers:
            each.stdin.write("go\n")
            each.stdin.flush()
        won: dict[str, list[int]] = {}
        for each in racers:
            said, _ = each.communicate(timeout=60)
            won.update(json.loads(said))
        assert len(won) == 24
        settled(store, "id", won)
        store.delete("id")


# All three are one


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["save", "save", "save", "delete", "load"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 4),
        st.integers(0, 4),
        st.lists(st.text(max_size=3), max_size=3),
    ),
    max_size=12,
)


def outcome(store: Store, operation: tuple[Any, ...], revision: int) -> object:
    """Do what an operation says; give what comes of it, times apart."""
    verb, id, slip, kept, texts = operation
    if verb == "delete":
        return store.delete(id)
    if verb == "load":
        found = store.load(id)
        return found and attrs.evolve(found, created=0, updated=0)
    held = revision if slip else revision + 1
    try:
        return store.save(id, revision=held, kept=kept, added=user(*texts), state={"metadata": {"texts": texts}})
    except (ConversationBusy, ValueError) as error:
        return str(error)


@settings(max_examples=40, deadline=None)
@given(OPERATIONS)
def test_the_stores_do_the_same_whatever_is_asked(operations):
    """Any row of saves, deletions and loads has the same outcomes in all three, word for word."""
    with TemporaryDirectory() as directory:
        stores = [opener(Path(directory)) for opener in OPENERS.values()]
        for operation in operations:
            revision = stores[0].revision(operation[1])
            first, *others = [outcome(store, operation, revision) for store in stores]
            assert others == [first, first]
        lists = [
            [(entry.id, entry.revision, entry.messages, entry.metadata) for entry in each.list()] for each in stores
        ]
        assert lists[1:] == lists[:1] * 2
        for store in stores:
            store.close()


def joined(text: str) -> str:
    """Give *text* with two halves of a character that meet joined, which is all that JSON changes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


HALVES = st.text(st.characters(exclude_categories=[]), max_size=10).map(joined)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | HALVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HALVES, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(HALVES, JSON, max_size=4), HALVES, st.binary(max_size=8))
def test_whatever_json_knows_comes_back_equal(values, text, data):
    """The text that all stores keep is ASCII, and nothing of a message or a state is lost on the way."""
    message = Message("assistant", [Text(text, values), ToolCall("1", "f", values, text), Image(data=data)])
    texts = record.message_texts("id", [message])
    assert texts[0].isascii()
    assert record.read_messages("id", "here", texts) == (message,)
    assert record.read_state("id", "here", record.state_texts("id", {"x": values})[0]) == {"x": values}


@given(st.text(max_size=40))
def test_garbled_text_is_corrupt_and_never_anything_else(text):
    """Whatever stands where a message should be, the error names the conversation and the place."""
    for garbled in (text, text.encode(), f'{{"role": "user", "parts": [{text}x]}}', 7, None, b"\xff"):
        with pytest.raises(StoreCorrupt, match="'id' in here cannot be read: message 1"):
            record.read_messages("id", "here", ['{"role":"user","parts":[]}', garbled])


# Opening and documentation


def test_what_the_page_on_state_shows_runs(tmp_path, monkeypatch, capsys):
    """The tour of a store, and a store of one's own, which is one; conversations are shown elsewhere."""
    page = (Path(__file__).parents[1] / "docs" / "state.md").read_text(encoding="utf-8")
    shown = [block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "promptstream.open(" not in block]
    assert len(shown) == 2
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in shown:
        exec(block, names)
    assert capsys.readouterr().out == "note 1 {'of': 'Ada'}\n1 Hello\n"
    theirs, ours = open_store(names["store"])
    assert (theirs, ours) == (names["store"], False)
    operations = [("save", "ada", 1, 1, ["x"]), ("save", "ada", 0, 0, []), ("save", "ada", 1, 9, [])]
    texts = [outcome(theirs, each, theirs.revision("ada")) for each in (*operations, ("delete", "ada", 0, 0, []))]
    assert texts[0] == 2
    assert "changed by another" in str(texts[1])
    assert texts[2:] == ["kept=9: there are 2 messages.", True]


def test_a_store_is_opened_by_where_it_is(tmp_path, monkeypatch):
    """A path, an address of Redis, "memory:", or a store, which stays its owner's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = [open_store(where) for where in ("a.db", tmp_path / "b.db", "memory:", redis_url(), "~/c.db")]
    assert [type(each) for each, _ in found] == [SQLiteStore, SQLiteStore, MemoryStore, RedisStore, SQLiteStore]
    assert all(ours for _, ours in found)
    for each, _ in found:
        assert isinstance(each, Store)
        each.close()
    assert (tmp_path / "home" / "c.db").is_file()
    mine = MemoryStore()
    assert open_store(mine) == (mine, False)


class Half:
    """Lack most of what a store has."""

    def load(self, id: str) -> None:
        """Find nothing."""


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("", "no path"),
        ("a\0b", "no path"),
        (":memory:", "MemoryStore"),
        ("postgres://me:hunter2@host/db", "no store for postgres"),
        ("redis://me:hunter2@host:port:x/db", "Redis"),
        (MemoryStore, "it is a class; call it"),
        (Half(), "has no revision, save, list, delete, close"),
        (7, "is no store"),
    ],
)
def test_what_is_no_store_is_refused_and_no_password_shown(where, said):
    """The error says what is missing, and what to give."""
    with pytest.raises(ConfigError) as caught:
        open_store(where)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_naming_the_room_loads_neither_sqlite_nor_redis():
    """Each store is loaded when it is asked for."""
    code = (
        "import sys, promptstream.state as state; from promptstream.state import Store, open_store, MemoryStore\n"
        "assert {'SQLiteStore', 'RedisStore'} <= set(dir(state))\n"
        "open_store('memory:'); assert not {'sqlite3', 'redis', 'pickle'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
