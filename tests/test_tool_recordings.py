"""Every recorded answer that calls tools, as the first round of a conversation: they run as recorded, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from recordings import Played, Recording, load, names, options_of, play, provider_name, provider_of
from wires import WIRES
from wires.base import Wire
from wires.script import Called, Returned

import promptstream
from promptstream import Provider, ToolSpec
from promptstream.errors import StreamError
from promptstream.state import MemoryStore
from promptstream.tools.tool import Tool
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.message import ToolCall
from promptstream.values.request import Call, ChatRequest
from promptstream.wire.watch import Watch

STOP = Finish(reason="stop", raw_reason="stop")
OWN = {
    "anthropic/sonnet-4.6-tool-search": "server_tool_use",
    "anthropic/vercel-programmatic-tool-calling": "server_tool_use",
    "openai-responses/gpt-5.4-native-tool-search": "tool_search_call",
    "openai-responses/vercel-custom-tool": "custom_tool_call",
}
"""Recordings with items of the server's own, which go back as they came and which our readers do not know."""


class TwoRounds(Played):
    """Play a recording in the first round, and a plain answer in every other; keep what was asked, encoded."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(provider_of(recording, "http://127.0.0.1:9").dialect, recording, [recording.body])
        self.encoded: list[Call] = []

    def play(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Give the chunks of one round."""
        self.encoded.append(self.dialect.encode(request))
        if len(self.encoded) == 1:
            return super().play(request, watch)
        return iter([Chunk(ChunkType.TEXT, "Done."), STOP])


def calling() -> list[str]:
    """Give the names of the recordings in which somebody else's decoder saw calls."""
    found = [load(name) for name in names()]
    calls = [each for each in found if each.observed.get("tool_calls") or each.name in OWN]
    return [each.name for each in calls if not each.is_completion]


def calls_of(recording: Recording) -> tuple[ToolCall, ...]:
    """Give the calls that are to be run; none where the answer ends otherwise than for them."""
    outcome = play(recording, [recording.body])
    whole = outcome.error is None and outcome.response.finish_reason == "tool_calls"
    return outcome.response.tool_calls if whole else ()


@pytest.fixture(params=calling() or ["none"])
def recording(request: pytest.FixtureRequest, conformance_data: object) -> Recording:
    """Each recording with calls in its turn."""
    return load(request.param)


def tools_for(recording: Recording, ran: list[tuple[str, Any]], *, approval: bool = False) -> list[Tool]:
    """Make a tool for each name that is called, which takes anything and notes it."""

    def taking(name: str) -> Tool:
        def take(arguments: Any, context: Any) -> str:
            ran.append((name, dict(arguments)))
            return f"[{context.call.id} is done]"

        return Tool(take, ToolSpec(name, "", {"type": "object"}), approval=approval)

    seen = play(recording, [recording.body]).response.tool_calls
    return [taking(name) for name in dict.fromkeys(call.name for call in seen if call.name)]


def check(recording: Recording, call: Call, calls: tuple[ToolCall, ...]) -> None:
    """Read the second request as its provider would, and find every call answered in it."""
    assert str(call.json).count(" is done]") == len(calls)
    if recording.name in OWN:
        assert f"'type': '{OWN[recording.name]}'" in str(call.json)
        return
    wire = wire_of(recording)
    if wire is not None:
        asked = wire.read(call.json, call.url)
        assert [(each.name, each.arguments) for each in asked.of(Called)] == [(c.name, c.arguments) for c in calls]
        assert len(asked.of(Returned)) == len(calls)


def wire_of(recording: Recording) -> Wire | None:
    """Give who reads a request of this provider; nobody reads DashScope's native protocol."""
    api = options_of(recording).get("api")
    if api == "native":
        return None
    return WIRES["openai-responses" if api == "responses" else provider_name(recording)]


def test_the_recordings_with_calls_are_all_there(conformance_data):
    """So many, of all protocols that know tools, and most of them end to have their calls run."""
    assert len(calling()) == 100
    assert {load(name).protocol for name in calling()} == {
        *("anthropic", "gemini", "ollama", "openai-chat", "openai-responses", "qwen-native")
    }
    assert sum(bool(calls_of(load(name))) for name in calling()) == 98
    assert set(OWN) <= set(calling())


def test_recorded_calls_run_once_with_the_recorded_arguments(recording):
    """The tool gets exactly what was recorded; all results go into one further request; what is cut runs nothing."""
    calls, ran, dialect = calls_of(recording), [], TwoRounds(recording)
    policy = {"max_identical_calls": 99, "parallel": 1}
    tools = tools_for(recording, ran)
    with promptstream.chat(provider=Provider(dialect), tools=tools, tool_policy=policy) as conv:
        stream = conv.stream("Hello")
        if not calls:
            try:
                stream.result()
            except StreamError:
                assert conv.messages == []
            assert (ran, len(dialect.encoded)) == ([], 1)
            return
        chunks = list(stream)
        response = conv.last
    assert ran == [(call.name, call.arguments) for call in calls]
    told = [chunk.tool_call.id for chunk in chunks if chunk.type is ChunkType.TOOL_CALL]
    results = [chunk.tool_result for chunk in chunks if chunk.type is ChunkType.TOOL_RESULT]
    assert [(result.call_id, result.content) for result in results] == [(each, f"[{each} is done]") for each in told]
    assert (response.rounds, response.finish_reason, response.message.text) == (2, "stop", "Done.")
    assert [message.role for message in conv.messages] == ["user", "assistant", "tool", "assistant"]
    assert len(dialect.encoded) == 2
    check(recording, dialect.encoded[1], calls)


def test_recorded_calls_wait_in_a_store_and_run_once(recording):
    """What the answer carried survives the store: the request after an approval elsewhere is as valid."""
    calls, ran, dialect, store = calls_of(recording), [], TwoRounds(recording), MemoryStore()
    if not calls:
        return
    tools = tools_for(recording, ran, approval=True)
    options = {"provider": Provider(dialect), "tools": tools, "store": store, "tool_policy": {"parallel": 1}}
    with promptstream.chat(conversation_id="c", **options) as conv:
        assert len(conv.send("Hello").pending) == len(calls)
    with promptstream.resume("c", **options) as again:
        assert again.messages == conv.messages
        for call in again.pending:
            again.approve(call.id)
        assert again.resume().result().text == "Done."
    assert ran == [(call.name, call.arguments) for call in calls]
    assert len(dialect.encoded) == 2
    check(recording, dialect.encoded[1], calls)
