"""A recording in, what it must decode to out: by tables of our own, not by the code under test.

A recording's ``observed`` is what somebody else's decoder made of it. Where that decoder is wrong, ``CORRECTIONS``
quotes the bytes that prove it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from recordings import Outcome, Recording, events, provider_name

from promptstream.errors import (
    ContentFiltered,
    InvalidRequest,
    Overloaded,
    ProtocolError,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerError,
    StreamError,
    Truncated,
)
from promptstream.values.usage import Usage


class Expected(NamedTuple):
    """What an answer must decode to."""

    text: str
    reasoning: str
    calls: list[tuple[str | None, str, Any, str | None]]
    """Of each call the id and the raw arguments, None where the provider sends none, its name and arguments."""
    finish: str | None
    raw_finish: str | None
    usage: Usage
    cost: float | None
    """In USD, where OpenRouter tells it."""
    model: str | None
    error: type[StreamError] | None


_CHAT_FINISH = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
FINISH: dict[str, dict[str, str]] = {
    "openai-chat": _CHAT_FINISH,
    "openai-completions": _CHAT_FINISH,
    "openai-responses": {
        "completed": "stop",
        "max_output_tokens": "length",
        "content_filter": "content_filter",
    },
    "anthropic": {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "refusal",
        "pause_turn": "other",
    },
    "gemini": {
        "STOP": "stop",
        "MAX_TOKENS": "length",
        "SAFETY": "content_filter",
        "MALFORMED_FUNCTION_CALL": "other",
    },
    "qwen-native": _CHAT_FINISH,
    "ollama": {"stop": "stop", "length": "length", "load": "other"},
}
_CHAT_USAGE = {
    "input": "prompt_tokens",
    "output": "completion_tokens",
    "cached": "prompt_tokens_details.cached_tokens",
    "cache_write": "prompt_tokens_details.cache_write_tokens",
    "reasoning": "completion_tokens_details.reasoning_tokens",
}
USAGE: dict[str, dict[str, str]] = {
    "openai-chat": _CHAT_USAGE,
    "openai-completions": _CHAT_USAGE,
    "openai-responses": {
        "input": "input_tokens",
        "output": "output_tokens",
        "cached": "input_tokens_details.cached_tokens",
        "cache_write": "input_tokens_details.cache_write_tokens",
        "reasoning": "output_tokens_details.reasoning_tokens",
    },
    "anthropic": {
        "input": "input_tokens + cache_creation_input_tokens + cache_read_input_tokens",
        "output": "output_tokens",
        "cached": "cache_read_input_tokens",
        "cache_write": "cache_creation_input_tokens",
        "reasoning": "output_tokens_details.thinking_tokens",
    },
    "gemini": {
        "input": "promptTokenCount + toolUsePromptTokenCount",
        "output": "candidatesTokenCount + thoughtsTokenCount",
        "cached": "cachedContentTokenCount",
        "reasoning": "thoughtsTokenCount",
    },
    "qwen-native": {
        "input": "input_tokens",
        "output": "output_tokens",
        "cached": "prompt_tokens_details.cached_tokens",
        "reasoning": "output_tokens_details.reasoning_tokens",
    },
    "ollama": {"input": "prompt_eval_count", "output": "eval_count"},
}
"""Where each count is found; of a sum, what is absent counts nothing."""
ERRORS: dict[str, type[StreamError]] = {
    "openai-compatible/groq-gpt-oss-error-event": InvalidRequest,
    "openai-compatible/groq-gpt-oss-error-event-after-text": InvalidRequest,
    "openai-responses/prism-failed-rate-limited": RateLimited,
    "openai-responses/prism-failed-unknown": ProviderError,
    "openai-responses/vercel-error": QuotaExceeded,
    "openrouter/minimax-m2-midstream-error": InvalidRequest,
    "synthetic/anthropic-overloaded-first-event": Overloaded,
    "synthetic/anthropic-overloaded-midstream": Overloaded,
    "synthetic/gemini-midstream-error-data": Overloaded,
    "synthetic/gemini-midstream-error-raw-json": Overloaded,
    "synthetic/gemini-prompt-blocked": ContentFiltered,
    "synthetic/ollama-midstream-error": ProviderError,
    "synthetic/openai-chat-midstream-error": ServerError,
    "synthetic/openrouter-midstream-error-documented": RateLimited,
    "synthetic/qwen-midstream-data-inspection": ContentFiltered,
    "synthetic/qwen-native-event-error": ContentFiltered,
}
"""The class that the code or the status in each recorded error stands for."""
TRUNCATED = (
    "synthetic/gemini-truncated-no-finish",
    "synthetic/ollama-truncated",
    "synthetic/openai-chat-truncated-mid-json",
    "synthetic/openai-chat-truncated-no-done",
)


class Correction(NamedTuple):
    """Give the right value of fields that the other decoder got wrong, and the bytes that prove it."""

    proof: tuple[bytes, ...]
    right: dict[str, Any]
    """Values, or functions that make them of the recording."""
    why: str


_PIECED = "arguments that came in pieces were left so"
CORRECTIONS: dict[str, Correction] = {
    "anthropic/sdk-fallback-block": Correction(
        (b'"type":"fallback","from":{"model":"claude-opus-4-7"},"to":{"model":"claude-sonnet-4-5"}',),
        {"model": "claude-sonnet-4-5"},
        "the model that answers is the one fallen back to",
    ),
    "anthropic/vercel-fallback": Correction(
        (b'"type":"fallback","from":{"model":"claude-fable-5"},"to":{"model":"claude-opus-4-8"}',),
        {"model": "claude-opus-4-8"},
        "the model that answers is the one fallen back to",
    ),
    "anthropic/vercel-programmatic-tool-calling": Correction(
        (b'"input":{"player":"player1"}', b'"stop_reason":"tool_use"', b'"id":"msg_01KSVw3xmXbMNJPNMt46BC5W"'),
        {
            "text": "I'll help you simulate this game between two players where one is using a loaded die. "
            "Let me play out the game round by round until one player wins 3 rounds.",
            "calls": [
                ("toolu_019jKkXz4jAdwHweHBw92CVY", "rollDie", {"player": "player1"}, '{"player": "player1"}'),
            ],
            "raw_finish": "tool_use",
            "usage": Usage(input=3369, output=725, cached=0, cache_write=0),
        },
        "sixteen answers follow each other, and were merged; and the call's arguments stand where its block starts",
    ),
    "anthropic/vercel-spliced-message-start": Correction(
        (b'"partial_json":"{\\"value\\":\\"Spark"}', b'"id":"msg_second"'),
        {
            "reasoning": "I will call the tool.",
            "calls": [],
            "finish": None,
            "raw_finish": None,
            "usage": Usage(input=17),
            "error": ProtocolError,
        },
        "a second message begins in the middle of the first, whose thoughts were handed out by then",
    ),
    "gemini/vercel-stream-array-args-missing-terminal": Correction(
        (b'"partialArgs":[{"jsonPath":"$.operations[1].price","numberValue":0.3}]',),
        {"calls": lambda one: pieced_calls(one)},
        _PIECED,
    ),
    "gemini/vercel-stream-function-call-arguments": Correction(
        (b'"partialArgs":[{"jsonPath":"$.location","stringValue":"Boston","willContinue":true}]',),
        {"calls": [(None, "getWeather", {"location": place}, None) for place in ("Boston", "San Francisco")]},
        _PIECED,
    ),
    "gemini/vercel-stream-no-args-tool-call": Correction(
        (b'"functionCall":{"name":"read_theme"}', b'"partialArgs":[{"jsonPath":"$.id","stringValue":"A"'),
        {
            "calls": [
                (None, "read_theme", {}, None),
                *((None, "read_screen", {"id": letter}, None) for letter in "ABC"),
            ]
        },
        _PIECED,
    ),
    "gemini/vercel-vertex-stream-args-nested": Correction(
        (b'"partialArgs":[{"jsonPath":"$.recipe.name",', b'"jsonPath":"$.recipe.steps[0]"'),
        {"calls": lambda one: pieced_calls(one)},
        _PIECED,
    ),
    "ollama/prism-with-tools-3": Correction(
        (b'"content":"\\u003cthink\\u003e\\nOkay, let me', b"\\n\\u003c/think\\u003e\\n\\nThe Detroit"),
        {
            "text": lambda one: one.observed["text"].partition("</think>\n\n")[2],
            "reasoning": lambda one: one.observed["text"].partition("<think>\n")[2].partition("</think>")[0],
        },
        "what stands in the tag is the model's thinking",
    ),
    "openai-responses/vercel-custom-tool": Correction(
        (b'"type":"custom_tool_call","id":"ct_abc123def456","call_id":"call_custom_sql_001","name":"write_sql"',),
        {
            "calls": [
                (
                    "call_custom_sql_001",
                    "write_sql",
                    {"input": "SELECT * FROM users WHERE age > 25"},
                    '{"input": "SELECT * FROM users WHERE age > 25"}',
                )
            ],
            "finish": "tool_calls",
        },
        "a custom tool is called too, with text instead of arguments, and the turn ends to have it run",
    ),
    "openai-responses/vercel-reasoning-encrypted": Correction(
        (
            b'"usage":{"input_tokens":134,"input_tokens_details":{"cached_tokens":0},"output_tokens":28,',
            b'"id":"resp_01830d662ab3856501693c3215903881909b710d150ff65014"',
            b'"call_id":"call_AB6AaRZ1FYZB2RwS6A5vbdqn"',
        ),
        {
            "text": "",
            "calls": [
                (
                    "call_AB6AaRZ1FYZB2RwS6A5vbdqn",
                    "calculator",
                    {"a": 12, "b": 7, "op": "add"},
                    '{"a":12,"b":7,"op":"add"}',
                )
            ],
            "usage": Usage(input=134, output=28, cached=0, reasoning=0),
        },
        "four answers follow each other, and were merged",
    ),
    "synthetic/anthropic-overloaded-midstream": Correction(
        (b'"input_tokens":10,"output_tokens":1}}}',),
        {"usage": Usage(input=10)},
        "the count in message_start is a placeholder, and no other came",
    ),
    "openai-compatible/mistral-small-content-array-thinking": Correction(
        (b'{"type":"text","text":"4."}],"closed":true},{"type":"text","text":"1"}]', b'"delta":{"content":"44"}'),
        {
            "text": "144",
            "reasoning": "The user is asking for the product of 12 multiplied by 12. I know that 12 times 12 is a "
            "basic multiplication fact. Let me calculate it:\n\n12 * 12 = 144\n\nSo, the answer is 144.",
        },
        "content that is a list of parts was skipped",
    ),
    "openai-compatible/xai-grok-4-fast-parallel-tools": Correction(
        (b'"prompt_tokens":432,"completion_tokens":68,"total_tokens":636', b'"reasoning_tokens":136'),
        {"usage": Usage(input=432, output=204, cached=153, reasoning=136)},
        "the total shows that completion_tokens lacks the reasoning here; output counts it",
    ),
}


def expected(recording: Recording) -> Expected:
    """Translate what was observed into our terms, corrections included."""
    observed = recording.observed
    calls = [_call(call) for call in observed.get("tool_calls", ())]
    finish, raw_finish = _finish(recording, bool(calls))
    value = Expected(
        text=observed.get("text", "") + observed.get("refusal", ""),
        reasoning=observed.get("reasoning", ""),
        calls=calls,
        finish=finish,
        raw_finish=raw_finish,
        usage=_usage(recording.protocol, observed.get("usage") or {}),
        cost=(observed.get("usage") or {}).get("cost") if "openrouter" in recording.name else None,
        model=observed["models"][-1] if observed.get("models") else None,
        error=Truncated if recording.name in TRUNCATED else ERRORS.get(recording.name),
    )
    correction = CORRECTIONS.get(recording.name)
    for field, right in correction.right.items() if correction else ():
        value = value._replace(**{field: right(recording) if isinstance(right, FunctionType) else right})
    return value


def _finish(recording: Recording, called: bool) -> tuple[str | None, str | None]:
    """Give the common finish reason and the provider's own."""
    observed = recording.observed
    raw = observed.get("finish")
    if raw is None or (raw in ("error", "failed") and observed["errors"]):
        return ("tool_calls" if called else None), None
    if raw == "incomplete":
        raw = observed["incomplete"]["reason"]
    finish = FINISH[recording.protocol].get(raw, "other")
    if called and finish == "stop":
        finish = "tool_calls"
    elif observed.get("refusal") and finish == "stop":
        finish = "refusal"
    native = observed.get("native_finish") if provider_name(recording) == "openrouter" else None
    return finish, native or raw


def _call(call: Mapping[str, Any]) -> tuple[str | None, str, Any, str | None]:
    arguments = call["arguments"]
    if not isinstance(arguments, str):
        return call["id"], call["name"], arguments, None
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        value = None
    return call["id"], call["name"], value, arguments


def _usage(protocol: str, counts: Mapping[str, Any]) -> Usage:
    found = {field: _sum(counts, paths.split(" + ")) for field, paths in USAGE[protocol].items()}
    if protocol == "gemini" and found["output"] is None and found["input"] is not None:
        found["output"] = counts["totalTokenCount"] - found["input"]  # a count of nothing is left out
    return Usage(**found)


def _sum(counts: Mapping[str, Any], paths: Iterable[str]) -> int | None:
    found = [count for path in paths if (count := _at(counts, path)) is not None]
    return sum(found) if found else None


def _at(counts: Any, path: str) -> Any:
    for key in path.split("."):
        counts = counts.get(key) if isinstance(counts, Mapping) else None
    return counts


def pieced_calls(recording: Recording) -> list[tuple[None, str, Any, None]]:
    """Put together the calls whose arguments Gemini sends value by value, each with the path where it belongs."""
    calls: list[tuple[None, str, Any, None]] = []
    for _, data in events(recording):
        for part in data["candidates"][0]["content"]["parts"]:
            function = part.get("functionCall", {})
            if "name" in function:
                calls.append((None, function["name"], {}, None))
            for piece in function.get("partialArgs", ()):
                steps = [int(n) if n else key for key, n in re.findall(r"\.(\w+)|\[(\d+)\]", piece["jsonPath"])]
                _put(calls[-1][2], steps, piece.get("stringValue", piece.get("numberValue")))
    return calls


def _put(holder: Any, steps: list[str | int], value: Any) -> None:
    first, *others = steps
    if isinstance(holder, list) and first == len(holder):
        holder.append(None)
    before = holder[first] if isinstance(holder, list) else holder.get(first)
    if not others:
        holder[first] = before + value if isinstance(before, str) else value
        return
    if before is None:
        before = holder[first] = [] if isinstance(others[0], int) else {}
    _put(before, others, value)


def found(recording: Recording, outcome: Outcome) -> Expected:
    """Put what was decoded into the terms of :func:`expected`; an id of our own making counts as none."""
    response, error, _ = outcome
    wanted = expected(recording)
    calls: list[tuple[str | None, str, Any, str | None]] = []
    for number, call in enumerate(response.tool_calls):
        own = wanted.calls[number] if number < len(wanted.calls) else ("", "", None, "")
        raw = call.raw_arguments if own[3] is not None else None
        calls.append((call.id if own[0] is not None else None, call.name, call.arguments, raw))
    ids = [call.id for call in response.tool_calls]
    assert all(ids), "a call without an id cannot be answered"
    assert len({*ids}) == len(ids), "two calls have one id"
    return Expected(
        text=response.text,
        reasoning=response.reasoning,
        calls=calls,
        finish=response.finish_reason,
        raw_finish=response.raw_finish_reason,
        usage=response.usage,
        cost=float(response.cost) if response.cost is not None else None,
        model=response.model if wanted.model is not None else None,
        error=type(error) if error else None,
    )


def differences(recording: Recording, outcome: Outcome) -> dict:
    """Give what was decoded otherwise than expected: field by field, the decoded value and the right one."""
    pairs = zip(expected(recording)._fields, found(recording, outcome), expected(recording), strict=True)
    return {
        field: (value, right)
        for field, value, right in pairs
        if value != right and not (field == "error" and value and right and issubclass(value, right))
    }
