"""A request in, a Messages body out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptstream.providers.anthropic.messages import encode_messages
from promptstream.providers.anthropic.models import Rules, rules_for
from promptstream.providers.anthropic.schema import taken_schema
from promptstream.providers.parameters import left_out
from promptstream.values.effort import Effort
from promptstream.values.format import Format
from promptstream.values.request import ChatRequest, ToolSpec

MAX_TOKENS = 32_000
"""The limit of a streamed answer where none is given, or the model's own where that is lower: the protocol
wants one, a small one cuts answers that nobody asked to be short, and a large one costs nothing unless used."""
MAX_TOKENS_WHOLE = 8_192
"""The same of an answer in one body, whose connection lies idle until all of it is generated: the provider
advises against more than ten minutes, and its own SDK has this bound for its slower models."""
MAX_TEMPERATURE = 1
LEAST_BUDGET = 1_024
"""Tokens; the provider takes no smaller budget for thoughts."""
_LARGEST_SHARE = 0.95
"""The part of an answer's limit that thoughts may have at most: the rest is for the answer."""
_LACKING = frozenset({"seed", "frequency_penalty", "presence_penalty"})
_SAMPLING = ("temperature", "top_p", "top_k")
_LIKE = {"minimal": "low", "xhigh": "high", "max": "high"}
"""The effort that stands for one which the model does not know."""


def encode_body(request: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """Give the JSON body for *request*, and a warning for each parameter left out or changed.

    Raises:
        ConfigError: no user speaks, or what the user says is empty.
        Unsupported: a message holds what this protocol cannot carry.
    """
    rules, given = rules_for(request.model), request.parameters
    system, messages, warnings = encode_messages(request.messages, request.declared)
    body: dict[str, Any] = {"model": request.model, "max_tokens": _limit(request, rules), "messages": messages}
    if system:
        body["system"] = system
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    body["stream"] = request.streaming
    warnings += left_out(_LACKING & set(given), request.who)
    warnings += _thinking(body, Effort.of(given.get("reasoning")), request, rules)
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    warnings += _sampling(body, given, request.who, rules, thinks)
    warnings += _stop(body, given.get("stop"), request.who)
    warnings += _tool_choice(body, request, rules, thinks)
    warnings += _format(body, Format.of(given), request.who, rules)
    body.update(request.extra)
    return body, warnings


def _limit(request: ChatRequest, rules: Rules) -> int:
    """Give ``max_tokens``: as given, or the default, which makes room for a budget of thoughts."""
    given: int | None = request.parameters.get("max_tokens")
    if given is not None:
        return given
    limit = min(rules.longest, MAX_TOKENS if request.streaming else MAX_TOKENS_WHOLE)
    effort = Effort.of(request.parameters.get("reasoning"))
    if effort is not None and effort.budget is not None and rules.thinking in ("budget", "either"):
        return max(limit, min(rules.longest, effort.budget + MAX_TOKENS_WHOLE))
    return limit


def _tool(tool: ToolSpec) -> dict[str, Any]:
    about = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **about, "input_schema": {"type": "object", **tool.parameters}}


def _thinking(body: dict[str, Any], effort: Effort | None, request: ChatRequest, rules: Rules) -> list[str]:
    if effort is None:
        return []
    if effort.off:
        if rules.off == "never":
            return left_out(["reasoning"], request.who, "always thinks")
        if rules.off is not None:
            body["thinking"] = {"type": rules.off}
        return []
    if rules.thinking == "no":
        return left_out(["reasoning"], request.who)
    if rules.thinking == "budget" or (rules.thinking == "either" and effort.budget is not None):
        return _budget(body, effort, request.who)
    body["thinking"] = {"type": "adaptive"} | _display(effort, rules)
    if effort.budget is not None:
        return left_out(["reasoning"], request.who, "takes an effort (low, medium, high), not a budget")
    if effort.level is None:
        return []
    level = effort.level if effort.level in rules.levels else _LIKE.get(effort.level, "high")
    body["output_config"] = {"effort": level}
    return [] if level == effort.level else [_changed(f"{level!r}", f"{request.who} does not know {effort.level!r}")]


def _budget(body: dict[str, Any], effort: Effort, who: str) -> list[str]:
    limit = body["max_tokens"]
    if limit <= LEAST_BUDGET:
        return left_out(["reasoning"], who, f"needs max_tokens above {LEAST_BUDGET} to think, not {limit}")
    if _answers_unthought_call(body["messages"]):
        return left_out(["reasoning"], who, "cannot begin to think where it called a tool without thinking")
    most = max(LEAST_BUDGET, int(limit * _LARGEST_SHARE))
    budget = min(max(effort.tokens(limit), LEAST_BUDGET), most)
    body["thinking"] = {"type": "enabled", "budget_tokens": budget} | _display(effort, Rules())
    if effort.budget in (None, budget):
        return []
    return [_changed(f"{budget} tokens", f"it is at least {LEAST_BUDGET} and below max_tokens, here {limit}")]


def _changed(value: str, why: str) -> str:
    return f"reasoning was sent as {value}: {why}."


def _answers_unthought_call(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether results go back to a turn that does not begin with a thought: a budget is refused then."""
    if len(messages) < 2 or not _begins_with(messages[-1], "tool_result"):
        return False
    return not _begins_with(messages[-2], "thinking", "redacted_thinking")


def _begins_with(message: Mapping[str, Any], *kinds: str) -> bool:
    content = message["content"]
    return isinstance(content, list) and content[0]["type"] in kinds


def _display(effort: Effort, rules: Rules) -> dict[str, Any]:
    if "display" in effort.options:
        return {"display": effort.options["display"]}
    if effort.options.get("exclude"):
        return {"display": "omitted"}
    return {} if rules.shows_thoughts else {"display": "summarized"}


def _sampling(body: dict[str, Any], given: Mapping[str, Any], who: str, rules: Rules, thinks: bool) -> list[str]:
    taken = {name: given[name] for name in _SAMPLING if name in given}
    warnings = left_out(rules.refused & set(taken), who)
    taken = {name: value for name, value in taken.items() if name not in rules.refused}
    if thinks:
        clash = {name for name, value in taken.items() if not _goes_with_thinking(name, value)}
        warnings += left_out(clash, who, "does not take it while thinking")
        taken = {name: value for name, value in taken.items() if name not in clash}
    if rules.temperature_or_top_p and "temperature" in taken and taken.pop("top_p", None) is not None:
        warnings += left_out(["top_p"], who, "does not take it together with temperature")
    if (temperature := taken.get("temperature", 0)) > MAX_TEMPERATURE:
        taken["temperature"] = MAX_TEMPERATURE
        warnings.append(f"temperature={temperature} was sent as {MAX_TEMPERATURE}: {who} takes no higher one.")
    body.update(taken)
    return warnings


def _goes_with_thinking(name: str, value: float) -> bool:
    return (name == "temperature" and value == 1) or (name == "top_p" and value >= 0.95)


def _stop(body: dict[str, Any], stop: str | Sequence[str] | None, who: str) -> list[str]:
    texts = [stop] if isinstance(stop, str) else list(stop or ())
    if taken := [text for text in texts if text.strip()]:
        body["stop_sequences"] = taken
    if len(taken) == len(texts):
        return []
    return left_out([f"stop={text!r}" for text in texts if not text.strip()], who, "does not stop at white space")


def _tool_choice(body: dict[str, Any], request: ChatRequest, rules: Rules, thinks: bool) -> list[str]:
    given, who = request.parameters, request.who
    choice = _choice(given.get("tool_choice"))
    warnings: list[str] = []
    if not request.tools and "tools" not in request.extra:
        forced = choice.get("type", "auto") not in ("auto", "none")
        return left_out(["tool_choice"], who, "was given no tools") if forced else []
    if choice.get("type") in ("any", "tool") and (thinks or not rules.forced_tools):
        choice = {"type": "auto"}
        why = "does not call tools by force" + (" while thinking" if rules.forced_tools else "")
        warnings = left_out(["tool_choice"], who, why)
    if given.get("parallel_tools") is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    if choice:
        body["tool_choice"] = choice
    return warnings


def _choice(choice: Any) -> dict[str, Any]:
    """Give ``tool_choice`` as this protocol has it, also from the form that Chat Completions has."""
    if isinstance(choice, Mapping):
        function = choice.get("function")
        return {"type": "tool", "name": function.get("name")} if isinstance(function, Mapping) else dict(choice)
    if choice is None:
        return {}
    if choice in ("auto", "none"):
        return {"type": choice}
    return {"type": "any"} if choice == "required" else {"type": "tool", "name": choice}


def _format(body: dict[str, Any], wanted: Format | None, who: str, rules: Rules) -> list[str]:
    if wanted is None:
        return []
    if wanted.schema is None and wanted.raw is None:
        return left_out(["response_format"], who, "gives JSON only by a schema: give schema=…")
    if not rules.schemas:
        return left_out(["schema"], who)
    lost: list[str] = []
    form = wanted.raw
    if wanted.schema is not None:
        schema, lost = taken_schema(wanted.schema)
        form = {"type": "json_schema", "schema": schema}
    body["output_config"] = {**body.get("output_config", {}), "format": form}
    return [f"schema was sent without {', '.join(lost)}: {who} does not take that."] if lost else []
