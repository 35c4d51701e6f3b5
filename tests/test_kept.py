"""Conversations in a store: gone on with after a restart, never torn, never mixed, no call run twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

import promptstream
from promptstream import Chunk, ChunkType, Conversation, Message, ToolCall
from promptstream.errors import ApprovalPending, ConfigError, ConversationBusy, StateError, StoreCorrupt
from promptstream.providers import Scripted
from promptstream.state import MemoryStore

ROOT = Path(promptstream.__file__).parent.parent


def call(name: str, id: str = "1", **arguments: Any) -> Chunk:
    """Give a whole call, as a model makes it."""
    return Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall(id, name, arguments, json.dumps(arguments)))


@promptstream.tool(approval=True)
def note(path: str, text: str) -> str:
    """Write a line into a file."""
    with open(path, "a") as file:
        file.write(text + "\n")
    return f"wrote {text}"


def talk(store: Any, *turns: Any, **options: Any) -> Conversation:
    """Open a conversation that is kept in *store*."""
    return promptstream.chat("Be brief.", provider=Scripted(turns), store=store, **options)


def again(store: Any, *turns: Any, id: str = "c", **options: Any) -> Conversation:
    """Open it once more, as after a restart."""
    return promptstream.resume(id, store=store, provider=Scripted(turns), **options)


# Going on


def test_a_conversation_goes_on_in_another_process(tmp_path):
    """History, figures, metadata and system prompt are those it was left with."""
    file = tmp_path / "deep" / "conversations.db"
    with talk(file, "One.", "Two.", conversation_id="c") as conv:
        conv.metadata["title"] = "Numbers"
        conv.send("1")
        conv.send("2")
        left = conv.messages
    with again(file, "Three.") as conv:
        assert (conv.messages, conv.metadata, conv.system) == (left, {"title": "Numbers"}, "Be brief.")
        assert conv.cost == 0
        assert conv.send("3").text == "Three."
        assert [m.text for m in conv.provider.dialect.requests[0].messages] == [
            "Be brief.",
            "1",
            "One.",
            "2",
            "Two.",
            "3",
        ]


def test_open_with_the_id_of_a_kept_conversation_continues_it():
    """As ``resume`` does; an id that is new begins one."""
    store = MemoryStore()
    talk(store, "One.", conversation_id="c").send("1")
    assert len(talk(store, conversation_id="c").messages) == 2
    assert talk(store, conversation_id="d").messages == []
    with pytest.raises(ConfigError, match="keeps a conversation 'c' already"):
        talk(store, conversation_id="c", messages=[{"role": "user", "content": "x"}])


def test_a_conversation_that_is_not_kept_cannot_be_resumed():
    """It is no empty one."""
    with pytest.raises(StateError, match="keeps no conversation 'c'"):
        again(MemoryStore())


def test_a_pack_is_found_again_where_it_was(tmp_path):
    """The path and the prompt are kept; a pack that came as a dict must be given again."""
    pack = {"prompts": {"a": {"system_template": "A."}, "b": {"system_template": "B {{name}}."}}}
    path = tmp_path / "p.pack.json"
    path.write_text(json.dumps(pack))
    store, options = MemoryStore(), {"store": None, "provider": Scripted(["Hi."]), "variables": {"name": "Bo"}}
    promptstream.open(path, "b", **options | {"store": store, "conversation_id": "c"}).send("Hi")
    assert again(store, variables={"name": "Bo"}).system == "B Bo."
    promptstream.open(
        pack, "b", **options | {"store": store, "conversation_id": "d", "provider": Scripted(["Hi."])}
    ).send("Hi")
    with pytest.raises(ConfigError, match="came as a dict"):
        again(store, id="d")
    assert promptstream.resume("d", pack, store=store, provider=Scripted(), variables={"name": "Bo"}).system == "B Bo."


def test_a_stopped_answer_reaches_the_store_with_the_next_turn_or_close():
    """A finaliser does no store I/O (promise 7)."""
    store = MemoryStore()
    conv = talk(store, ["One", "."], ["Two", "."], conversation_id="c")
    for _ in conv.stream("1"):
        break
    assert store.load("c") is None
    conv.close()
    assert store.load("c").messages == (Message("user", "1"), Message("assistant", "One", "cancelled"))


def test_undo_clear_and_fork_are_kept():
    """A fork has an id of its own, also the second one."""
    store = MemoryStore()
    conv = talk(store, "One.", "Two.", conversation_id="c")
    conv.send("1")
    forks = [conv.fork(), conv.fork()]
    assert len({conv.id, *(fork.id for fork in forks)}) == 3
    conv.send("2")
    conv.undo()
    assert len(store.load("c").messages) == 2
    forks[0].close()
    assert len(store.load(forks[0].id).messages) == 2
    conv.clear()
    assert store.load("c").messages == ()


def test_what_is_kept_holds_no_key(tmp_path):
    """Neither the provider's key nor its headers (promise 11)."""
    file = tmp_path / "c.db"
    provider = promptstream.providers.get("compatible", base_url="http://127.0.0.1:9/v1", api_key="sk-very-secret-key")
    with promptstream.chat(provider=provider, store=file, messages=[{"role": "user", "content": "x"}]) as conv:
        conv.metadata["note"] = "mine"
    assert b"very-secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert (
        b"mine" in file.read_bytes() + (tmp_path / "c.db-wal").read_bytes()
        if (tmp_path / "c.db-wal").exists()
        else True
    )


def test_metadata_that_json_cannot_hold_is_told_before_the_next_turn(tmp_path):
    """And nothing is lost by it."""
    conv = talk(tmp_path / "c.db", "One.", "Two.")
    conv.send("1")
    conv.metadata["x"] = object()
    with pytest.raises(StateError, match="metadata"):
        conv.send("2")
    assert len(conv.provider.dialect.requests) == 1
    conv.metadata.clear()
    assert conv.send("2").text == "Two."
    conv.close()


class Full(MemoryStore):
    """Be full for a while."""

    full = False

    def save(self, *args: Any, **options: Any) -> int:
        if self.full:
            raise StateError("The disk is full.")
        return super().save(*args, **options)


@pytest.mark.parametrize("change", ["undo", "clear"])
def test_a_change_that_cannot_be_saved_changes_nothing(change):
    """Memory and store stay one; it can be tried again."""
    store = Full()
    conv = talk(store, "One.", "Two.", conversation_id="c")
    conv.send("1")
    conv.send("2")
    before = conv.messages
    store.full = True
    with pytest.raises(StateError, match="full"):
        getattr(conv, change)()
    assert conv.messages == before
    store.full = False
    getattr(conv, change)()
    assert [m.text for m in store.load("c").messages] == ([] if change == "clear" else ["1", "One."])


def test_a_newer_format_is_refused_and_left_alone():
    """Fault 76."""
    store = MemoryStore()
    talk(store, "One.", conversation_id="c").send("1")
    kept = store.load("c")
    store.save("c", revision=kept.revision, kept=2, added=(), state={**kept.state, "format": 99})
    with pytest.raises(StoreCorrupt, match="newer"):
        again(store)
    assert store.load("c").state["format"] == 99


@pytest.mark.parametrize("broken", ["pending", "usage", "cost", "summary"])
def test_a_state_that_cannot_be_read_is_refused_and_left_alone(broken):
    """By its own error, whatever is wrong in it."""
    store = MemoryStore()
    talk(store, "One.", conversation_id="c").send("1")
    kept = store.load("c")
    store.save("c", revision=kept.revision, kept=2, added=(), state={**kept.state, broken: [7]})
    with pytest.raises(StoreCorrupt):
        again(store)
    assert store.load("c").state[broken] == [7]


# Two at once


def test_of_two_turns_at_once_one_wins_and_the_other_takes_over_its_history():
    """Never a mix: ConversationBusy with the answer on it, and the new history from then on."""
    store = MemoryStore()
    talk(store, "One.", conversation_id="c").send("1")
    first, second = (again(store, ["2", "a"], "x"), again(store, "2b", "3b"))
    stream = iter(first.stream("2a?"))
    next(stream)
    assert second.send("2b?").text == "2b"
    with pytest.raises(ConversationBusy) as caught:
        list(stream)
    assert caught.value.response.text == "2a"
    assert [m.text for m in store.load("c").messages] == ["1", "One.", "2b?", "2b"]
    assert first.send("3?").text == "x"
    assert [m.text for m in store.load("c").messages] == ["1", "One.", "2b?", "2b", "3?", "x"]
    assert first.last.warnings == ()


def test_who_comes_second_runs_no_tool():
    """The call is claimed in the store before it is run."""
    store, runs = MemoryStore(), []

    def act() -> str:
        """Act."""
        runs.append(1)
        return "acted"

    talk(store, "One.", conversation_id="c").send("1")
    first, second = (again(store, [call("act")], "Done.", tools=[act]) for _ in range(2))
    stream = iter(first.stream("Act"))
    next(stream)
    assert second.send("Act").text == "Done."
    with pytest.raises(ConversationBusy):
        list(stream)
    assert runs == [1]


def pend(store: Any, *more: Any, path: Any = "") -> Conversation:
    """Give a conversation with two calls that wait."""
    calls = [call("note", "1", path=str(path), text="a"), call("note", "2", path=str(path), text="b")]
    conv = talk(store, calls, *more, conversation_id="c", tools=[note])
    conv.send("Note.")
    return conv


def test_two_that_approve_and_resume_run_each_call_once(tmp_path):
    """Whoever claims first; the other is told."""
    store, path = MemoryStore(), tmp_path / "notes"
    pend(store, path=path)
    one, two = (again(store, "Done.", tools=[note]) for _ in range(2))
    one.approve("1")
    with pytest.raises(StateError, match="decided already"):
        two.approve("1")
    two.approve("2")
    errors: list[Exception] = []
    barrier = threading.Barrier(2)

    def go_on(conv: Conversation) -> None:
        barrier.wait(5)
        try:
            conv.resume().result()
        except promptstream.PromptStreamError as error:
            errors.append(error)

    threads = [threading.Thread(target=go_on, args=(conv,)) for conv in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_text().split()) == ["a", "b"]
    requests = len(one.provider.dialect.requests) + len(two.provider.dialect.requests)
    # The second may also come when all is done: then it goes on from there, with a request of its own.
    assert (requests, [type(error) for error in errors]) in [(1, [ConversationBusy]), (1, [StateError]), (2, [])]
    told = [part.content for m in store.load("c").messages if m.role == "tool" for part in m.parts]
    assert told == ["wrote a", "wrote b"]


def test_a_round_that_is_decided_is_gone_on_with_once():
    """Also where nothing is left to be run: one further request, whoever asks for it."""
    store = MemoryStore()
    for each in pend(store).pending:
        again(store, tools=[note]).reject(each.id)
    first, second = (again(store, ["Do", "ne."], tools=[note]) for _ in range(2))
    stream = iter(first.resume())
    kinds = [str(next(stream).type) for _ in range(3)]
    assert kinds == ["tool_result", "tool_result", "text"]
    with pytest.raises(ConversationBusy):
        second.resume().result()
    assert [str(chunk) for chunk in stream] == ["ne.", ""]
    with pytest.raises(StateError, match="nothing to resume"):
        second.resume()
    assert second.provider.dialect.requests == []


def test_tools_that_another_runs_right_now_make_the_conversation_busy():
    """They are not taken for lost: the other's results count."""
    store, inside, go = MemoryStore(), threading.Event(), threading.Event()

    def slow() -> str:
        """Take long."""
        inside.set()
        go.wait(5)
        return "done"

    first = talk(store, [call("slow")], "First.", conversation_id="c", tools=[slow])
    thread = threading.Thread(target=lambda: first.send("Go"))
    thread.start()
    inside.wait(5)
    second = again(store, "Second.", tools=[slow])
    for ask in (lambda: second.send("And?"), lambda: second.resume().result()):
        with pytest.raises(ConversationBusy, match="elsewhere"):
            ask()
    go.set()
    thread.join()
    assert second.send("And?").text == "Second."
    assert [m.text for m in second.messages] == ["Go", "", "", "First.", "And?", "Second."]


def test_pending_calls_survive_a_restart(tmp_path):
    """With what was decided about them; one request carries the results."""
    file, path = tmp_path / "c.db", tmp_path / "notes"
    with pend(file, path=path) as conv:
        conv.approve("1", arguments={"path": str(path), "text": "A"})
    with again(file, "Done.", tools=[note]) as conv:
        assert [each.id for each in conv.pending] == ["2"]
        with pytest.raises(ApprovalPending):
            conv.send("And?")
        conv.reject("2", "no")
        assert conv.resume().result().text == "Done."
        assert len(conv.provider.dialect.requests) == 1
    assert path.read_text() == "A\n"


@pytest.mark.parametrize(
    "tools", [[], [promptstream.tool(lambda path: "x", name="note")], [promptstream.ToolSpec("note")]]
)
def test_an_approved_call_that_cannot_be_run_after_a_restart_waits_again(tools):
    """It was approved, its tool is gone or another: the error says so, and another decision can be made."""
    store = MemoryStore()
    pend(store).approve("1")
    conv = again(store, "Done.", tools=tools)
    conv.reject("2")
    assert conv.resumable
    with pytest.raises(promptstream.errors.ToolError):
        conv.resume().result()
    assert [each.id for each in conv.pending] == ["1"]
    conv.submit("1", "by hand")
    assert conv.resume().result().text == "Done."
    assert len(conv.provider.dialect.requests) == 1


def test_a_blocked_tool_is_not_run_on_resume_either():
    """Whoever approved it before."""
    store = MemoryStore()
    pend(store).approve("1")
    conv = again(store, tools=[note], tool_policy={"blocklist": ["note"]})
    conv.reject("2")
    with pytest.raises(promptstream.errors.ToolNotFound):
        conv.resume().result()


def test_whoever_changes_a_conversation_while_its_tools_run_is_told_to_wait():
    """Metadata, undo and clear too: the running turn keeps what it did."""
    store = MemoryStore()
    told: list[type] = []

    def act() -> str:
        """Act, and meddle."""
        other = again(store, tools=[act])
        other.metadata["title"] = "renamed"
        for change in (other.undo, other.clear, other.close):
            try:
                change()
            except ConversationBusy as error:
                told.append(type(error))
        return "acted"

    conv = talk(store, [call("act")], "Done.", "More.", conversation_id="c", tools=[act])
    assert conv.send("Go").text == "Done."
    assert told == [ConversationBusy] * 3
    assert conv.send("On").text == "More."


def test_a_decision_of_another_process_is_seen_by_resume():
    """A conversation that was opened before looks into the store."""
    store = MemoryStore()
    early = talk(store, "Early.", conversation_id="c", tools=[note])
    late = pend(store)
    for each in late.pending:
        late.reject(each.id)
    assert early.resume().result().text == "Early."


def test_a_tool_that_is_not_given_again_is_told_before_it_is_approved(tmp_path):
    """The result can be submitted instead."""
    store = MemoryStore()
    pend(store)
    conv = again(store, "Done.", tools=[promptstream.ToolSpec("note")])
    with pytest.raises(promptstream.errors.ToolNotFound, match="tools="):
        conv.approve("1")
    conv.submit("1", "by hand")
    conv.reject("2")
    assert conv.resume().result().text == "Done."


def test_a_cancelled_turn_is_saved_at_once_and_locks_nobody_out():
    """A cancel is no finaliser: others see what came, and go on."""
    store, token = MemoryStore(), promptstream.CancelToken()
    conv = talk(store, [call("act")], ["One", "Two"], conversation_id="c", tools=[lambda_tool])
    with pytest.raises(promptstream.errors.Cancelled):
        for chunk in conv.stream("Go", cancel=token):
            if chunk.type is ChunkType.TEXT:
                token.cancel()
    assert [m.text for m in store.load("c").messages] == ["Go", "", "", "One"]
    assert again(store, "On.").send("On?").text == "On."


@promptstream.tool(name="act")
def lambda_tool() -> str:
    """Act."""
    return "acted"


def test_undo_waits_for_nobody_and_is_never_reverted_by_a_turn():
    """While a turn runs it is refused; between turns it holds (promise 13)."""
    conv = talk(MemoryStore(), "One.", ["Two", "."], "Three.")
    conv.send("1")
    stream = iter(conv.stream("2"))
    next(stream)
    for change in (conv.undo, conv.clear):
        with pytest.raises(ConversationBusy):
            change()
    list(stream)
    conv.undo()
    conv.send("3")
    assert [m.text for m in conv.messages] == ["1", "One.", "3", "Three."]


def test_a_store_that_fails_before_a_later_round_leaves_a_history_to_resume():
    """The finished rounds stay, the one that was not run is asked for anew (promise 7)."""

    class Third(MemoryStore):
        """Fail at the third save."""

        saves = 0

        def save(self, *args: Any, **options: Any) -> int:
            self.saves += 1
            if self.saves == 3:
                raise StateError("The disk is full.")
            return super().save(*args, **options)

    store = Third()
    conv = talk(store, [call("act")], [call("act", "2")], "Done.", conversation_id="c", tools=[lambda_tool])
    with pytest.raises(StateError, match="full"):
        conv.send("Go")
    assert [m.role for m in conv.messages] == ["user", "assistant", "tool"]
    assert conv.resumable
    assert conv.resume().result().text == "Done."


def test_closing_in_the_middle_of_a_loop_saves_what_came(tmp_path):
    """Also from the loop's own body: nothing is waited for, and nothing lost."""
    conv = talk(tmp_path / "c.db", ["One", "Two"], conversation_id="c")
    with pytest.raises(promptstream.errors.Cancelled):
        for _ in conv.stream("1"):
            conv.close()
    with again(tmp_path / "c.db") as conv:
        assert [m.text for m in conv.messages] == ["1", "One"]


def test_closing_while_another_thread_runs_a_tool_lets_it_save_what_it_did(tmp_path):
    """The turn that still ends does the rest."""
    inside, go = threading.Event(), threading.Event()

    def slow() -> str:
        """Take long."""
        inside.set()
        go.wait(5)
        return "done"

    conv = talk(tmp_path / "c.db", [call("slow")], "Never.", conversation_id="c", tools=[slow])
    ended: list[Exception] = []

    def run() -> None:
        try:
            conv.send("Go")
        except promptstream.PromptStreamError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    inside.wait(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promptstream.claim, "UNWIND", 0.02)
        conv.close()
    go.set()
    thread.join()
    assert [type(error) for error in ended] == [promptstream.errors.Cancelled]
    with again(tmp_path / "c.db", "Well.") as conv:
        assert [part.content for part in conv.messages[2].parts] == ["done"]
        assert conv.resume().result().text == "Well."


def test_a_file_that_is_not_there_is_not_made_by_resume(tmp_path):
    """A slip of the pen leaves no empty store behind."""
    with pytest.raises(StateError, match="no store"):
        promptstream.resume("c", store=tmp_path / "typo.db")
    assert list(tmp_path.iterdir()) == []


# Killed


def child(code: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run *code* in a process of its own, that may kill itself."""
    head = """
        import json, os, signal, sys, promptstream
        from promptstream import Chunk, ChunkType, ToolCall
        from promptstream.providers import Scripted

        def die():
            os.kill(os.getpid(), signal.SIGKILL)

        def call(name, id="1", **arguments):
            return Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall(id, name, arguments, json.dumps(arguments)))

        @promptstream.tool(approval=True)
        def note(path: str, text: str) -> str:
            with open(path, "a") as file:
                file.write(text + "\\n")
            if text == "die":
                die()
            return f"wrote {text}"

        store, path = sys.argv[1:]
    """
    source = textwrap.dedent(head) + textwrap.dedent(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_process_killed_between_approve_and_resume_runs_each_call_once(tmp_path):
    """What was approved is run by whoever goes on."""
    store, path = tmp_path / "c.db", tmp_path / "notes"
    with pend(store, path=path):
        pass
    ended = child(
        """
        conv = promptstream.resume("c", store=store, provider=Scripted(["Done."]), tools=[note])
        conv.approve("1"); conv.approve("2")
        die()
        """,
        store,
        path,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not path.exists()
    with again(store, "Done.", tools=[note]) as conv:
        assert conv.pending == ()
        assert conv.resume().result().text == "Done."
    assert sorted(path.read_text().split()) == ["a", "b"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("policy", ["", ", tool_policy={'parallel': 1}"])
def test_a_process_killed_while_its_tools_run_never_runs_them_again(tmp_path, policy):
    """The model is told that it is not known how they ended."""
    store, path = tmp_path / "c.db", tmp_path / "notes"
    ended = child(
        f"""
        calls = [call("note", "1", path=path, text="die"), call("note", "2", path=path, text="b")]
        conv = promptstream.chat(provider=Scripted([calls]), store=store, conversation_id="c", tools=[note],
                                 approve=lambda call: True{policy})
        conv.send("Go")
        """,
        store,
        path,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    ran = path.read_text()
    with again(store, "Well.", tools=[note]) as conv:
        assert conv.pending == ()
        assert [m.role for m in conv.messages] == ["user", "assistant", "tool"]
        assert all("not known how it ended" in part.content for part in conv.messages[-1].parts)
        assert conv.resume().result().text == "Well."
    assert path.read_text() == ran
