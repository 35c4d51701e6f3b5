"""What passes layers unseen: signatures, tokens, endings; whatever a layer drops of them, or holds back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from layers import (
    ENDING,
    Call,
    again,
    asking,
    failed,
    first_only,
    hold,
    metadata,
    plain,
    played,
    shown_only,
    swallow,
    text_only,
    window,
)

from promptstream import Chunk, ChunkType, ToolCall, Usage, errors
from promptstream.values.chunk import Finish, Opaque
from promptstream.values.request import ChatRequest

SIGNED = Opaque(part="reasoning", data={"anthropic": {"signature": "abc"}})
MARKED = Opaque(part="tool_call", data={"gemini": {"mark": "xyz"}})
THOUGHT = Chunk(ChunkType.REASONING, reasoning="Hm.")
CALLED = Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall("c1", "add", {"a": 1}))
REDACTED = Opaque(part="reasoning", new=True, data={"anthropic": {"redacted": "..."}})


STEPS = st.sampled_from(
    [
        *("a", "b", THOUGHT, SIGNED, MARKED, REDACTED, CALLED, Opaque(new=True)),
        Finish(usage_seen=Usage(1, 1)),
        Finish(warnings=("w",)),
        Finish(request_id="r"),
    ]
)


def fresh(steps: Sequence[Any]) -> list[Any]:
    """Copy the chunks: each comes once in a stream."""
    return [attrs.evolve(step) if isinstance(step, Chunk) else step for step in steps]


# Signatures


def test_dropped_signatures_are_put_back_where_they_belong():
    """A layer that yields what is visible as it came does not break the next request."""
    script = [REDACTED, Opaque(part="reasoning", new=True), THOUGHT, SIGNED, "So:", CALLED, MARKED]
    whole = metadata(asking(played(script)).result())
    assert [kind for kind, _ in whole] == ["reasoning", "reasoning", "text", "tool_call"]
    for layers in ((plain,), (shown_only,), (shown_only, plain, shown_only)):
        assert metadata(asking(played(script), *layers).result()) == whole


def test_no_signature_is_put_to_what_it_was_not_made_for():
    """Where reasoning was changed or dropped, its signature goes with it, which the provider would refuse."""

    def veiled(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        for chunk in call_next(request):
            if chunk.type is ChunkType.REASONING:
                yield attrs.evolve(chunk, reasoning="...")
            elif isinstance(chunk.type, ChunkType):
                yield chunk

    def part_veiled(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        for chunk in call_next(request):
            if chunk.reasoning != "Secret." and isinstance(chunk.type, ChunkType):
                yield chunk

    script = [Chunk(ChunkType.REASONING, reasoning="Secret."), THOUGHT, SIGNED, "So."]
    assert metadata(asking(played(script), veiled).result()) == [("reasoning", None), ("text", None)]
    assert metadata(asking(played(script), part_veiled).result()) == [("reasoning", None), ("text", None)]
    assert metadata(asking(played(script), text_only).result()) == [("text", None)]


def test_a_layer_that_holds_back_in_order_is_left_alone():
    """Signatures that it hands out later with their chunks come once, and where they were."""

    def late(request: ChatRequest, call_next: Call) -> Iterator[Chunk]:
        yield from list(call_next(request))

    script = [
        REDACTED,
        THOUGHT,
        SIGNED,
        "So:",
        CALLED,
        MARKED,
        Chunk(ChunkType.TOOL_CALL, tool_call=ToolCall("2", "b")),
    ]
    assert metadata(asking(played(script), late).result()) == metadata(asking(played(script)).result())
    assert metadata(asking(played(script), shown_only, late).result()) == metadata(asking(played(script)).result())


@given(st.lists(STEPS, max_size=12), st.lists(st.sampled_from([plain, shown_only, window(1), window(3)]), max_size=3))
def test_whatever_layers_pass_the_answer_on_it_is_the_same(steps, layers):
    """Held back, or without what is invisible: text, parts, metadata, usage, warnings and ending are those without."""
    script = [*fresh(steps), attrs.evolve(ENDING, warnings=("last",))]
    alone = asking(played(script)).result()
    within = asking(played(fresh(script)), *layers).result()
    for name in ("text", "reasoning", "message", "finish_reason", "usage", "warnings", "request_id", "complete"):
        assert getattr(within, name) == getattr(alone, name), name


SILENT = [plain, text_only, shown_only, hold, first_only, swallow, again, window(1)]
"""Layers that neither answer by themselves nor say why an answer ends."""


@given(st.lists(st.sampled_from(SILENT), max_size=4), st.lists(STEPS, max_size=6))
def test_no_layers_make_a_cut_answer_whole(layers, steps):
    """In whatever order they drop, hold, stop, swallow and ask again."""
    cut = [
        *(step for step in steps if not (isinstance(step, Finish) and step.reason)),
        errors.Truncated("It broke off."),
    ]
    stream = asking(played(*([*fresh(cut[:-1]), cut[-1]] for _ in range(32))), *layers)
    assert not failed(stream, errors.Truncated).response.complete
