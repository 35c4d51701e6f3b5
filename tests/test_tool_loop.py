"""What a conversation does with the calls of a model: judged, run, answered, bounded."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

import promptstream
from promptstream import CancelToken, Chunk, ChunkType, Conversation, Denied, ToolCall, ToolContext, ToolSpec
from promptstream.errors import (
    ApprovalPending,
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    StateError,
    ToolArguments,
    ToolError,
    ToolLoopLimit,
    ToolNotFound,
)
from promptstream.providers import Scripted
from promptstream.values.chunk import Finish


def call(name: str, id: str = "1", **arguments: Any) -> Chunk:
    """Give a whole call, as a model makes it."""
    return Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall(id, name, arguments, json.dumps(arguments)))


def talk(*turns: Any, **options: Any) -> tuple[Conversation, Scripted]:
    """Open a conversation with a model that says *turns*."""
    provider = Scripted(turns)
    return promptstream.chat(provider=provider, **options), provider


def kinds(chunks: Iterator[Chunk] | list[Chunk]) -> list[str]:
    """Give the types of chunks."""
    return [str(chunk.type) for chunk in chunks]


def results(conv: Conversation) -> list[tuple[str, str, bool]]:
    """Give the tool results in the history: id, content, error."""
    return [(p.call_id, p.content, p.error) for m in conv.messages if m.role == "tool" for p in m.parts]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


# Rounds


def test_every_round_streams_and_the_text_is_that_of_all_of_them():
    """Text, calls, results, text, one DONE; the history has a message for each."""
    conv, provider = talk(["Let me see. ", call("add", a=1, b=2)], "It is 3.", tools=[add])
    chunks = list(conv.stream("1 + 2?"))
    assert kinds(chunks) == ["text", "tool_call", "tool_result", "text", "done"]
    assert chunks[2].tool_result == promptstream.ToolResult("1", "add", "3")
    assert (conv.last.text, conv.last.rounds, conv.last.finish_reason) == ("Let me see. It is 3.", 2, "stop")
    assert [each.name for each in conv.last.tool_calls] == ["add"]
    assert conv.last.message.text == "It is 3."
    assert [m.role for m in conv.messages] == ["user", "assistant", "tool", "assistant"]
    assert [m.role for m in provider.dialect.requests[1].messages] == ["user", "assistant", "tool"]
    assert [each.round for each in provider.dialect.requests] == [1, 2]


def test_plain_functions_and_decorated_ones_and_dicts_are_tools():
    """``tools=[f]`` needs no decorator; a spec without code is a client-side tool."""
    conv, provider = talk(
        "Hi.", tools=[add, {"name": "look", "description": "Look.", "parameters": {"type": "object"}}]
    )

    @conv.tool
    def subtract(a: int, b: int) -> int:
        """Subtract."""
        return a - b

    assert subtract(3, 1) == 2
    conv.send("Hi")
    assert [spec.name for spec in provider.dialect.requests[0].tools] == ["add", "look", "subtract"]


def test_a_conversation_without_tools_hands_calls_on():
    """Nobody here offered them: they are on the response, and the next request answers them as interrupted."""
    conv, _ = talk([call("add", a=1, b=2)], "Fine.")
    assert conv.send("Hi").tool_calls[0].name == "add"
    assert conv.pending == ()
    assert conv.send("And?").text == "Fine."


def test_a_call_cut_by_the_token_limit_never_runs():
    """The arguments may look whole and not be; the turn ends as the provider said."""
    ran: list[int] = []
    conv, _ = talk([call("note", n=1), Finish(reason="length", raw_reason="length")], tools=[noting(ran)])
    response = conv.send("Hi")
    assert (response.finish_reason, response.pending, ran) == ("length", (), [])


def noting(ran: list[int]) -> Callable[[int], str]:
    """Give a tool that notes its runs."""

    def note(n: int) -> str:
        """Note a number."""
        ran.append(n)
        return f"noted {n}"

    return note


def test_a_demand_for_a_tool_holds_for_the_first_round():
    """Else the turn would never end."""
    conv, provider = talk([call("add", a=1, b=2)], "3", tools=[add], tool_choice="required")
    conv.send("Hi")
    assert [each.parameters["tool_choice"] for each in provider.dialect.requests] == ["required", "auto"]


# Mistakes


@pytest.mark.parametrize(
    ("wrong", "told", "error"),
    [
        (call("ad", a=1, b=2), "There is no tool 'ad'. Did you mean 'add'? There are: add.", ToolNotFound),
        (call("add", a=1), "b", ToolArguments),
        (
            Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall("1", "add", None, '{"a": 1', "cut off")),
            "The arguments of 'add' cannot be used: cut off",
            ToolArguments,
        ),
    ],
)
def test_the_model_is_told_of_a_mistake_once(wrong, told, error):
    """Then the same mistake in a later round ends the turn (faults 55 and 56)."""
    conv, _ = talk([wrong], [call("add", "2", a=1, b=2)], "3", tools=[add])
    assert conv.send("Hi").text == "3"
    assert told in results(conv)[0][1]
    assert results(conv)[0][2] is True
    conv, _ = talk([wrong], [wrong], "never", tools=[add])
    with pytest.raises(error):
        conv.send("Hi")
    assert conv.messages == []  # no tool ran


def test_what_a_tool_raises_is_a_result_that_tells_its_type_alone():
    """Its text may hold what a model must not see; the developer reads it in the warnings (fault 57)."""

    def broken() -> None:
        """Break."""
        raise KeyError("secret path")

    conv, _ = talk([call("broken")], "Sorry.", tools=[broken])
    response = conv.send("Hi")
    assert results(conv) == [("1", "The tool failed: KeyError.", True)]
    assert response.warnings == ("The tool 'broken' failed: KeyError: 'secret path'",)


def test_a_tool_error_is_what_a_tool_wants_to_tell_the_model():
    """Its text is the result."""

    def strict() -> None:
        """Refuse."""
        raise ToolError("Only on weekdays.")

    conv, _ = talk([call("strict")], "Sorry.", tools=[strict])
    assert conv.send("Hi").warnings == ()
    assert results(conv) == [("1", "Only on weekdays.", True)]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("several", [False, True])
def test_what_ends_a_program_passes_through_a_tool(stop, several):
    """Ctrl-C is no result; what the other tools gave is kept, and none is run again."""

    def leave() -> None:
        """Leave."""
        raise stop

    calls = [call("add", "2", a=1, b=2), call("leave", "1")] if several else [call("leave", "1")]
    conv, provider = talk(calls, "On.", tools=[leave, add])
    with pytest.raises(stop):
        conv.send("Hi")
    kept = results(conv)
    assert ("1", "interrupted: the tool was stopped", True) in kept
    assert conv.resume().result().text == "On."
    assert [part.call_id for part in provider.dialect.requests[1].messages[-1].parts] == [p[0] for p in kept]


# Limits


def test_the_rounds_are_bounded_and_what_is_done_stays():
    """ToolLoopLimit comes before anything of the round too many runs; resume() goes on."""
    ran: list[int] = []
    turns = [[call("note", str(n), n=n)] for n in range(4)]
    conv, provider = talk(*turns[:3], "Enough.", tools=[noting(ran)], tool_policy={"max_rounds": 2})
    with pytest.raises(ToolLoopLimit, match="max_rounds"):
        conv.send("Hi")
    assert ran == [0, 1]
    assert [m.role for m in conv.messages] == ["user", "assistant", "tool", "assistant", "tool"]
    assert conv.messages[3].finish_reason == "failed"
    assert conv.resume().result().text == "Enough."
    assert len(provider.dialect.requests) == 4


def test_the_calls_of_a_turn_are_bounded():
    """None of a round that goes over is run."""
    ran: list[int] = []
    calls = [call("note", str(n), n=n) for n in range(3)]
    conv, _ = talk(calls, tools=[noting(ran)], tool_policy=promptstream.ToolPolicy(max_tool_calls_per_turn=2))
    with pytest.raises(ToolLoopLimit, match="max_tool_calls_per_turn"):
        conv.send("Hi")
    assert (ran, conv.messages) == ([], [])


def test_the_same_call_again_and_again_is_broken_off():
    """Twice it runs, the third time the model is told, the fourth ends the turn (fault 58)."""
    ran: list[int] = []
    conv, _ = talk(*[[call("note", str(n), n=7)] for n in range(4)], tools=[noting(ran)])
    with pytest.raises(ToolLoopLimit, match="same arguments"):
        conv.send("Hi")
    assert ran == [7, 7]
    assert "3 times" in results(conv)[2][1]


def test_a_blocked_tool_is_neither_offered_nor_run():
    """For the model there is none."""
    ran: list[int] = []
    conv, provider = talk([call("note", n=1)], "Fine.", tools=[noting(ran), add], tool_policy={"blocklist": ["note"]})
    conv.send("Hi")
    assert [spec.name for spec in provider.dialect.requests[0].tools] == ["add"]
    assert ran == []
    assert results(conv)[0][1].startswith("There is no tool 'note'.")


def test_a_policy_that_means_nothing_is_refused_at_once():
    """With the nearest right name."""
    with pytest.raises(TypeError, match="Did you mean 'max_rounds'"):
        talk(tool_policy={"max_round": 3})
    with pytest.raises(ValueError, match="max_rounds"):
        talk(tool_policy={"max_rounds": 0})


# Threads, cancels and clocks


def test_one_call_runs_in_the_loops_own_thread_and_several_in_threads():
    """No surprise threads; two that wait for each other both come through."""
    where: list[threading.Thread] = []
    meeting = threading.Barrier(2)

    def here() -> str:
        """Tell where."""
        where.append(threading.current_thread())
        return "here"

    def meet() -> str:
        """Wait for the other."""
        meeting.wait(5)
        return "met"

    conv, _ = talk([call("here")], [call("meet", "2"), call("meet", "3")], "Done.", tools=[here, meet])
    assert conv.send("Hi").text == "Done."
    assert where == [threading.current_thread()]
    assert [content for _, content, _ in results(conv)] == ["here", "met", "met"]


def test_at_most_so_many_calls_run_at_the_same_time():
    """The policy bounds the threads."""
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        """Work."""
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1

    conv, _ = talk([call("work", str(n)) for n in range(9)], "Done.", tools=[work],
                   tool_policy={"parallel": 3, "max_identical_calls": 100})  # fmt: skip
    assert conv.send("Hi").text == "Done."
    assert 1 < most <= 3
    assert [id for id, _, _ in results(conv)] == [str(n) for n in range(9)]


def test_a_tool_that_heeds_its_token_ends_a_cancelled_turn_at_once():
    """``context.wait`` wakes within 100 ms of the cancel, and the turn with it."""
    token = CancelToken()
    waiting = threading.Event()

    def slow(context: ToolContext) -> str:
        """Take long."""
        waiting.set()
        context.wait(30)
        context.check()
        return "never"

    best = 9.0
    for _ in range(3):
        token, waiting = CancelToken(), threading.Event()
        conv, _ = talk([call("slow")], tools=[slow])
        cancelled_at: list[float] = []

        def cancel(token: CancelToken = token, waiting: threading.Event = waiting, at: list[float] = cancelled_at):
            waiting.wait(5)
            at.append(time.monotonic())
            token.cancel("enough")

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(Cancelled):
            conv.send("Hi", cancel=token)
        best = min(best, time.monotonic() - cancelled_at[0])
        thread.join()
        assert results(conv) == [("1", "interrupted: the tool was stopped", True)]
    assert best < 0.1


def test_the_total_deadline_covers_tools_and_their_context_knows_it():
    """A tool is told how long it has; once it returns, the turn ends with DeadlineExceeded and keeps its result."""
    left: list[float] = []

    def slow(context: ToolContext) -> str:
        """Take long."""
        left.append(context.remaining())
        context.wait(30)
        return "late"

    conv, _ = talk([call("slow")], "never", tools=[slow])
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        conv.send("Hi", timeout=0.1)
    assert time.monotonic() - began < 5
    assert 0 < left[0] <= 0.1
    assert results(conv) == [("1", "late", False)]
    assert conv.messages[1].finish_reason == "failed"


def test_no_clock_of_the_provider_runs_while_a_tool_does():
    """``first`` and ``idle`` count the provider's time."""

    def slow() -> str:
        """Take longer than the provider may."""
        time.sleep(0.05)
        return "done"

    conv, _ = talk([call("slow")], "Fine.", tools=[slow], timeout=promptstream.Timeout(first=0.02, idle=0.02))
    assert conv.send("Hi").text == "Fine."


def test_no_clock_runs_while_a_person_is_asked():
    """Approval waits are excepted from the total (promise 5)."""

    def approve(call: ToolCall) -> bool:
        time.sleep(0.05)
        return True

    conv, _ = talk([call("add", a=1, b=2)], "3", tools=[add], approve=approve, timeout=0.04)
    assert conv.send("Hi").text == "3"


def test_a_loop_left_in_the_middle_of_the_results_keeps_them_all():
    """They ran; the next turn tells the model what came of them."""
    ran: list[int] = []
    calls = [call("note", str(n), n=n) for n in range(3)]
    conv, provider = talk(calls, "Fine.", tools=[noting(ran)])
    for chunk in conv.stream("Hi"):
        if chunk.type is ChunkType.TOOL_RESULT:
            break
    assert sorted(ran) == [0, 1, 2]
    assert [content for _, content, _ in results(conv)] == ["noted 0", "noted 1", "noted 2"]
    assert conv.send("Go on").text == "Fine."
    assert [m.role for m in provider.dialect.requests[1].messages] == ["user", "assistant", "tool", "user"]


# Asking people, in line


def test_approve_is_asked_about_every_call_and_its_word_holds():
    """True runs, False and Denied are told to the model, a ToolCall with other arguments runs with those."""
    ran: list[int] = []
    asked: list[ToolCall] = []

    def approve(call: ToolCall) -> Any:
        asked.append(call)
        edited = promptstream.ToolCall(call.id, call.name, {"n": 40}, '{"n": 40}')
        return [True, False, Denied("too large"), edited][call.arguments["n"]]

    calls = [call("note", str(n), n=n) for n in range(4)]
    conv, provider = talk(calls, "Fine.", tools=[noting(ran)], approve=approve)
    conv.send("Hi")
    assert [each.id for each in asked] == ["0", "1", "2", "3"]
    assert sorted(ran) == [0, 40]
    assert results(conv) == [
        ("0", "noted 0", False),
        ("1", "rejected", True),
        ("2", "rejected: too large", True),
        ("3", "noted 40", False),
    ]
    assert provider.dialect.requests[1].messages[1].tool_calls[3].arguments == {"n": 40}


@pytest.mark.parametrize(
    "verdict", [None, "yes", 1, ToolCall("other", "note", {"n": 1}, ""), ToolCall("1", "note", None, "")]
)
def test_what_is_no_decision_runs_nothing(verdict):
    """An ``approve=`` that forgets to return must not run a tool."""
    ran: list[int] = []
    conv, _ = talk([call("note", n=1)], "Fine.", tools=[noting(ran)], approve=lambda call: verdict)
    with pytest.raises(ConfigError, match="approve="):
        conv.send("Hi")
    assert (ran, conv.messages) == ([], [])


def test_edited_arguments_are_checked_as_the_models_are():
    """A person's slip runs nothing either."""
    ran: list[int] = []
    edited = ToolCall("1", "note", {"n": "many"}, '{"n": "many"}')
    conv, _ = talk([call("note", n=1)], "Fine.", tools=[noting(ran)], approve=lambda call: edited)
    with pytest.raises(ToolArguments):
        conv.send("Hi")
    assert ran == []


def test_arguments_changed_in_place_count_as_edited():
    """What ran, what is kept and what is sent are one."""
    ran: list[int] = []

    def approve(call: ToolCall) -> bool:
        call.arguments["n"] = 99
        return True

    conv, provider = talk([call("note", n=1)], "Fine.", tools=[noting(ran)], approve=approve)
    conv.send("Hi")
    sent = provider.dialect.requests[1].messages[1].tool_calls[0]
    assert (ran, sent.arguments, sent.raw_arguments) == ([99], {"n": 99}, '{"n": 99}')
    assert conv.last.tool_calls == (sent,)


def test_calls_with_one_id_or_none_are_told_apart():
    """Each is run, kept and answered by itself."""
    ran: list[int] = []
    calls = [call("note", "x", n=1), call("note", "x", n=2), call("note", "", n=3)]
    conv, _ = talk(calls, "Fine.", tools=[noting(ran)])
    conv.send("Hi")
    assert sorted(ran) == [1, 2, 3]
    ids = [each.id for each in conv.messages[1].tool_calls]
    assert (ids[0], len(set(ids))) == ("x", 3)
    assert [(id, content) for id, content, _ in results(conv)] == list(
        zip(ids, ["noted 1", "noted 2", "noted 3"], strict=True)
    )


def test_calls_that_the_request_forbade_are_not_run():
    """``tool_choice="none"``: a model that calls all the same is told that there is no such tool."""
    ran: list[int] = []
    conv, _ = talk([call("note", n=1)], "Fine.", tools=[noting(ran)], tool_choice="none")
    assert conv.send("Hi").text == "Fine."
    assert ran == []


def test_context_variables_do_not_pass_from_one_call_to_another():
    """Each call begins with those of the loop, and leaves them as they were."""
    user: ContextVar[str] = ContextVar("user", default="nobody")

    def who(n: int) -> str:
        """Tell who, and become somebody."""
        seen = user.get()
        user.set(f"user {n}")
        return seen

    user.set("caller")
    for parallel in (1, 2):
        conv, _ = talk(
            [call("who", str(n), n=n) for n in range(4)], "Fine.", tools=[who], tool_policy={"parallel": parallel}
        )
        conv.send("Hi")
        assert [content for _, content, _ in results(conv)] == ["caller"] * 4
    assert user.get() == "caller"


def test_a_client_side_call_is_checked_against_its_declaration():
    """The application is not asked to run what the model got wrong."""
    spec = ToolSpec("look", "Look.", {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    conv, _ = talk([call("look", n="x")], "Sorry.", tools=[spec])
    response = conv.send("Hi")
    assert (response.pending, response.text) == ((), "Sorry.")
    assert "not valid" in results(conv)[0][1]


# Pending


@promptstream.tool(approval=True)
def delete(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


LOOK = ToolSpec("look", "Look out of the window.")


def waiting(*more: Any, **options: Any) -> tuple[Conversation, Scripted]:
    """Open a conversation with two calls that wait for an approval and one that the application runs."""
    calls = [
        call("delete", "a", path="/a"),
        call("delete", "b", path="/b"),
        call("look", "c"),
        call("add", "d", a=1, b=2),
    ]
    conv, provider = talk(calls, *more, tools=[delete, LOOK, add], **options)
    conv.send("Clean up.")
    return conv, provider


def test_calls_that_wait_end_the_stream_and_what_need_not_wait_has_run():
    """DONE comes, whole, with the calls on it."""
    conv, _ = waiting()
    assert [each.id for each in conv.last.pending] == ["a", "b", "c"]
    assert conv.pending == conv.last.pending
    assert (conv.last.complete, conv.last.finish_reason) == (True, "tool_calls")
    assert results(conv) == [("d", "3", False)]


def test_one_request_carries_every_result_in_the_order_of_the_calls():
    """However many were decided, and by whatever means."""
    conv, provider = waiting("Done.")
    conv.submit("c", {"sky": "blue"})
    conv.approve("b", arguments={"path": "/bb"})
    assert not conv.resumable
    conv.reject("a", "still needed")
    assert conv.resumable
    chunks = list(conv.resume())
    assert kinds(chunks) == ["tool_result", "tool_result", "tool_result", "text", "done"]
    assert len(provider.dialect.requests) == 2
    assert results(conv) == [
        ("a", "rejected: still needed", True),
        ("b", "deleted /bb", False),
        ("c", '{"sky":"blue"}', False),
        ("d", "3", False),
    ]
    assert [m.role for m in conv.messages] == ["user", "assistant", "tool", "assistant"]
    assert conv.messages[1].tool_calls[1].arguments == {"path": "/bb"}
    assert conv.pending == ()


def test_a_message_while_calls_wait_says_what_to_do():
    """At the call, before anything is sent; undo() lets go of the turn."""
    conv, provider = waiting("Fine.")
    for ask in (conv.stream, conv.send):
        with pytest.raises(ApprovalPending, match=r"'a' \(delete\).*approve\(id\)"):
            ask("And now?")
    with pytest.raises(ApprovalPending):
        conv.resume()
    for id in "ab":
        conv.reject(id)
    with pytest.raises(ApprovalPending, match="'c'"):
        conv.resume()
    conv.submit("c", "nothing")
    with pytest.raises(ApprovalPending, match="resume"):
        conv.send("And now?")
    conv.undo()
    assert conv.send("Never mind.").text == "Fine."
    assert len(provider.dialect.requests) == 2


def test_a_decision_is_made_once():
    """Twice, about an unknown call, or of the wrong kind: told, and nothing changes."""
    conv, _ = waiting()
    conv.reject("a")
    with pytest.raises(StateError, match="decided already"):
        conv.approve("a")
    with pytest.raises(StateError, match="No call 'x' is pending"):
        conv.reject("x")
    with pytest.raises(StateError, match="submit"):
        conv.approve("c")
    with pytest.raises(ToolArguments):
        conv.approve("b", arguments={"path": 3})
    with pytest.raises(TypeError, match="dict"):
        conv.approve("b", arguments=["/b"])
    assert [each.id for each in conv.pending] == ["b", "c"]


def test_a_resume_that_fails_after_a_tool_ran_keeps_what_ran():
    """The next resume sends the results again and runs nothing."""
    runs: list[str] = []

    @promptstream.tool(approval=True)
    def note(n: int) -> str:
        """Note."""
        runs.append(str(n))
        return "noted"

    conv, provider = talk([call("note", n=1)], [promptstream.errors.ServerError("down")], "Fine.", tools=[note])
    conv.send("Hi")
    conv.approve("1")
    with pytest.raises(promptstream.errors.ServerError):
        conv.resume().result()
    assert conv.pending == ()
    assert conv.resume().result().text == "Fine."
    assert runs == ["1"]
    assert len(provider.dialect.requests) == 3


def test_a_resume_that_was_cancelled_before_it_began_changes_nothing():
    """The approved call is still to be run, once."""
    conv, _ = waiting("Done.")
    for id in "ab":
        conv.approve(id)
    conv.submit("c", "x")
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        conv.resume(cancel=token).result()
    assert conv.resume().result().text == "Done."
    assert [content for _, content, _ in results(conv)] == ["deleted /a", "deleted /b", "x", "3"]


def test_there_is_nothing_to_resume_after_a_whole_answer():
    """Said at the call."""
    conv, _ = talk("Hi.")
    with pytest.raises(StateError, match="nothing to resume"):
        conv.resume()
    conv.send("Hi")
    with pytest.raises(StateError, match="nothing to resume"):
        conv.resume()


def test_a_fork_does_not_run_what_waits_in_the_original():
    """Else a call could be approved twice; in the fork it counts as interrupted."""
    conv, _ = waiting("In the fork.", "In the original.")
    fork = conv.fork()
    assert fork.pending == ()
    assert fork.id != conv.id
    assert fork.send("Never mind.").text == "In the fork."
    assert len(conv.pending) == 3
