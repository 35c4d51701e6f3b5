"""The contract of calls that wait: decided or answered from outside, then one request that carries every result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from tooling import BOTH, LAST, ONCE, SIGNATURE, SUM, Bench, exchanges, is_failure, roles, talking
from wires import Wire
from wires.script import Answer, Called, Returned, Sign, Think, Thought, Use, Uses

import promptstream
from promptstream import Denied, ToolSpec, errors
from promptstream.state import MemoryStore, SQLiteStore
from promptstream.values.chunk import ChunkType

ASKED = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
THREE = Answer(
    [
        Think("All three."),
        Sign(SIGNATURE),
        "I'll do all.",
        Uses((SUM, Use("call_2", "multiply", '{"a":2,"b":3}'), Use("call_3", "add", '{"a":10,"b":20}'))),
    ],
    "tool_calls",
)


@pytest.fixture
def bench() -> Bench:
    """Tools, and what they ran with."""
    return Bench()


def waiting(bench: Bench) -> list[Any]:
    """Give two tools whose calls wait for a yes."""
    return [bench.add(approval=True), bench.multiply(approval=True)]


def signatures(asked) -> list[str]:
    """Give what a request echoes of what is opaque."""
    return [each.signature for each in (*asked.of(Thought), *asked.of(Called)) if each.signature]


def results_of(conv) -> list[tuple[str, bool]]:
    """Resume, and give the results that the stream handed out, each whether it is an error."""
    chunks = list(conv.resume())
    return [(chunk.tool_result.content, chunk.tool_result.error) for chunk in chunks if chunk.tool_result is not None]


# The application runs it


def test_a_client_side_call_is_answered_by_submit_in_one_request(wire: Wire, serve, bench):
    """The stream ends whole with the call pending; one further request carries all results, ours and theirs."""
    server = serve(BOTH, LAST)
    tools = [bench.add(), ToolSpec("multiply", "Multiply.", ASKED)]
    with talking(server, tools) as conv:
        response = conv.send("2 and 3?")
        assert (response.complete, response.finish_reason) == (True, "tool_calls")
        assert [(call.id, call.name) for call in response.pending] == [("call_2", "multiply")]
        assert bench.ran == [("add", 2, 3)]
        conv.submit("call_2", {"product": "six"})
        assert len(server.asked) == 1
        response = conv.resume().result()
    assert (response.text, response.pending, response.finish_reason) == ("It is 5.", (), "stop")
    assert len(server.asked) == 2
    assert roles(server.asked[1]) == ["user", "assistant", "tool"]
    (sum_, product) = exchanges(wire, server.asked[1])
    assert sum_ == ("add", {"a": 2, "b": 3}, "5")
    assert "six" in product[2]
    assert signatures(server.asked[1]) == ([SIGNATURE] if wire.has("signature") else [])


def test_two_client_side_calls_are_one_request_once_both_are_answered(wire: Wire, serve):
    """resume() before the last is answered sends nothing and says which is missing."""
    server = serve(BOTH, LAST)
    with talking(server, [ToolSpec("add", "Add.", ASKED), ToolSpec("multiply", "Multiply.", ASKED)]) as conv:
        assert len(conv.send("2 and 3?").pending) == 2
        conv.submit("call_2", "6")
        with pytest.raises(errors.ApprovalPending, match="call_1"):
            conv.resume()
        conv.submit("call_1", "no such number", error=True)
        assert conv.resume().result().text == "It is 5."
    assert len(server.asked) == 2
    assert [result for _, _, result in exchanges(wire, server.asked[1])] == ["no such number", "6"]
    assert is_failure(server.asked[1].of(Returned)[0])


# Somebody decides


@pytest.mark.parametrize("order", [("call_1", "call_2", "call_3"), ("call_3", "call_2", "call_1")])
def test_approved_rejected_and_edited_calls_are_one_request(wire: Wire, serve, bench, order):
    """Each runs once or not at all; the model reads the refusal's reason, and the arguments that really ran."""
    server = serve(THREE, LAST)
    with talking(server, waiting(bench)) as conv:
        assert [call.id for call in conv.send("All?").pending] == ["call_1", "call_2", "call_3"]
        acts: dict[str, Callable[[], None]] = {
            "call_1": lambda: conv.approve("call_1"),
            "call_2": lambda: conv.reject("call_2", "too dear"),
            "call_3": lambda: conv.approve("call_3", arguments={"a": 1, "b": 1}),
        }
        for call_id in order:
            acts[call_id]()
        assert (bench.ran, len(server.asked)) == ([], 1)
        assert results_of(conv) == [("5", False), ("rejected: too dear", True), ("2", False)]
        assert sorted(bench.ran) == [("add", 1, 1), ("add", 2, 3)]
        assert [call.arguments for call in conv.messages[1].tool_calls] == [
            {"a": 2, "b": 3},
            {"a": 2, "b": 3},
            {"a": 1, "b": 1},
        ]
        assert conv.last.text == "It is 5."
        conv.send("Thanks")
    assert len(server.asked) == 3
    for asked in server.asked[1:]:
        assert exchanges(wire, asked) == [
            ("add", {"a": 2, "b": 3}, "5"),
            ("multiply", {"a": 2, "b": 3}, "rejected: too dear"),
            ("add", {"a": 1, "b": 1}, "2"),
        ]
        assert signatures(asked) == ([SIGNATURE] if wire.has("signature") else [])
        assert is_failure(asked.of(Returned)[1])


def test_an_edited_call_keeps_what_vouches_for_it(wire: Wire, serve, bench):
    """Other arguments for the very call that is signed: its id and its signature go back with them."""
    server = serve(Answer([Think("Hm."), Sign(SIGNATURE), SUM], "tool_calls"), LAST)
    with talking(server, waiting(bench)) as conv:
        conv.send("2 and 3?")
        conv.approve("call_1", arguments={"a": 40, "b": 2})
        assert results_of(conv) == [("42", False)]
    assert exchanges(wire, server.asked[1]) == [("add", {"a": 40, "b": 2}, "42")]
    assert signatures(server.asked[1]) == ([SIGNATURE] if wire.has("signature") else [])


def test_nothing_is_sent_while_calls_wait(wire: Wire, serve, bench):
    """send, stream and resume raise ApprovalPending; the history and the pending calls stay as they were."""
    server = serve(BOTH, LAST)
    with talking(server, waiting(bench)) as conv:
        conv.send("2 and 3?")
        before = conv.messages
        for act in (lambda: conv.send("Well?"), lambda: conv.stream("Well?"), conv.resume):
            with pytest.raises(errors.ApprovalPending, match="call_1"):
                act()
        conv.approve("call_1")
        with pytest.raises(errors.ApprovalPending, match="call_2"):
            conv.resume()
        conv.reject("call_2")
        with pytest.raises(errors.ApprovalPending, match="resume"):
            conv.send("Well?")
        with pytest.raises(errors.StateError, match="decided already"):
            conv.approve("call_2")
        assert (conv.messages, bench.ran) == (before, [])
        assert len(server.asked) == 1
        assert conv.resume().result().complete
        with pytest.raises(errors.StateError, match="nothing to resume"):
            conv.resume()
    assert bench.ran == [("add", 2, 3)]
    assert len(server.asked) == 2


def test_taking_the_turn_back_forgets_what_waits(wire: Wire, serve, bench):
    """undo() makes the conversation free again; the next request knows nothing of the calls."""
    server = serve(BOTH, LAST)
    with talking(server, waiting(bench)) as conv:
        conv.send("2 and 3?")
        conv.undo()
        assert conv.pending == ()
        assert conv.send("Hi").text == "It is 5."
    assert roles(server.asked[1]) == ["user"]


def test_approve_decides_inline(wire: Wire, serve, bench):
    """A callable says yes, no or other arguments; the turn goes on without a pause."""
    server = serve(THREE, LAST)

    def approve(call):
        if call.name == "multiply":
            return Denied("too dear")
        return call if call.arguments == {"a": 2, "b": 3} else attrs.evolve(call, arguments={"a": 1, "b": 1})

    with talking(server, bench.tools, approve=approve) as conv:
        response = conv.send("All?")
        assert (response.rounds, response.pending) == (2, ())
        assert [call.arguments["a"] for call in conv.messages[1].tool_calls] == [2, 2, 1]
    assert sorted(bench.ran) == [("add", 1, 1), ("add", 2, 3)]
    assert [(given["a"], result) for _, given, result in exchanges(wire, server.asked[1])] == [
        (2, "5"),
        (2, "rejected: too dear"),
        (1, "2"),
    ]


def test_a_round_may_wait_again_after_it_was_resumed(wire: Wire, serve, bench):
    """The second round's call is pending in its turn; every result has its place in the third request."""
    again = Answer([Use("call_9", "add", '{"a":5,"b":6}')], "tool_calls")
    server = serve(BOTH, again, LAST)
    with talking(server, waiting(bench)) as conv:
        conv.send("2 and 3?")
        conv.approve("call_1")
        conv.approve("call_2")
        response = conv.resume().result()
        assert [call.id for call in response.pending] == ["call_9"]
        conv.approve("call_9")
        assert conv.resume().result().text == "It is 5."
    assert sorted(bench.ran) == [("add", 2, 3), ("add", 5, 6), ("multiply", 2, 3)]
    assert [result for _, _, result in exchanges(wire, server.asked[2])] == ["5", "6", "11"]
    assert roles(server.asked[2]) == ["user", "assistant", "tool", "assistant", "tool"]


# Another process


@pytest.mark.parametrize(
    ("when", "kind"),
    [("before they are decided", "memory"), ("after one is decided", "sqlite"), ("after all are decided", "memory")],
)
def test_pending_calls_survive_a_restart(wire: Wire, serve, bench, tmp_path, kind, when):
    """Whoever opens the conversation again finds them, decides, and runs each once; the request is the same."""
    server = serve(BOTH, LAST)
    memory = MemoryStore()

    def store() -> Any:
        return memory if kind == "memory" else SQLiteStore(tmp_path / "kept.db")

    with talking(server, waiting(bench), store=store(), conversation_id="c1") as conv:
        conv.send("2 and 3?")
        if when != "before they are decided":
            conv.approve("call_1", arguments={"a": 3, "b": 3})
        if when == "after all are decided":
            conv.reject("call_2", "too dear")
    assert bench.ran == []
    with server.provider(retry=ONCE) as provider:
        with promptstream.resume("c1", store=store(), provider=provider, tools=waiting(bench)) as conv:
            if when == "before they are decided":
                assert [call.id for call in conv.pending] == ["call_1", "call_2"]
                conv.approve("call_1", arguments={"a": 3, "b": 3})
            if when != "after all are decided":
                conv.reject("call_2", "too dear")
            assert results_of(conv) == [("6", False), ("rejected: too dear", True)]
            assert conv.last.text == "It is 5."
        with promptstream.resume("c1", store=store(), provider=provider, tools=waiting(bench)) as conv:
            assert conv.pending == ()
            assert [message.role for message in conv.messages] == ["user", "assistant", "tool", "assistant"]
            with pytest.raises(errors.StateError, match="nothing to resume"):
                conv.resume()
    assert bench.ran == [("add", 3, 3)]
    assert len(server.asked) == 2
    assert exchanges(wire, server.asked[1]) == [
        ("add", {"a": 3, "b": 3}, "6"),
        ("multiply", {"a": 2, "b": 3}, "rejected: too dear"),
    ]
    assert server.asked[1].system == "Be terse."
    assert signatures(server.asked[1]) == ([SIGNATURE] if wire.has("signature") else [])


def test_rounds_that_a_failed_turn_left_survive_a_restart(wire: Wire, serve, bench):
    """Another process resumes from the results of the one that failed, and runs nothing again."""
    server, store = serve(BOTH, wire.refusal("server"), LAST), MemoryStore()
    with (
        talking(server, bench.tools, store=store, conversation_id="c1") as conv,
        pytest.raises(errors.ServerError),
    ):
        conv.send("2 and 3?")
    with (
        server.provider(retry=ONCE) as provider,
        promptstream.resume("c1", store=store, provider=provider, tools=bench.tools) as conv,
    ):
        assert conv.resume().result().text == "It is 5."
    assert len(bench.ran) == 2
    assert server.asked[1] == server.asked[2]


# A failure once they are decided


def _refused(conv, wire):
    with pytest.raises(errors.ServerError):
        conv.resume().result()


def _left(conv, wire):
    for chunk in conv.resume():
        if chunk.type is ChunkType.TOOL_RESULT:
            break


@pytest.mark.parametrize("fail", [_refused, _left], ids=["refused", "left at the first result"])
def test_a_resumed_turn_that_fails_is_resumed_again_without_running_again(wire: Wire, serve, bench, fail):
    """The decisions are used up: the results stand, and the further request carries them."""
    server = serve(BOTH, *([wire.refusal("server")] if fail is _refused else []), LAST)
    with talking(server, waiting(bench)) as conv:
        conv.send("2 and 3?")
        conv.approve("call_1")
        conv.approve("call_2")
        fail(conv, wire)
        assert conv.pending == ()
        assert conv.resume().result().text == "It is 5."
    assert sorted(bench.ran) == [("add", 2, 3), ("multiply", 2, 3)]
    assert [result for _, _, result in exchanges(wire, server.asked[-1])] == ["5", "6"]
    assert roles(server.asked[-1]) == ["user", "assistant", "tool"]
