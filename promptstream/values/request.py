"""What is asked: the request every dialect encodes, and the call it becomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypedDict

import attrs

from promptstream.values.effort import Effort
from promptstream.values.format import Format
from promptstream.values.message import Message
from promptstream.values.names import nearest


class Parameters(TypedDict, total=False):
    """The parameters of generation, each optional, the same names for every provider."""

    temperature: float
    max_tokens: int
    top_p: float
    top_k: int
    stop: str | list[str] | tuple[str, ...]
    seed: int
    frequency_penalty: float
    presence_penalty: float
    tool_choice: str | dict[str, Any]
    parallel_tools: bool
    response_format: str | dict[str, Any]
    schema: dict[str, Any]
    reasoning: str | int | dict[str, Any] | bool


PARAMETERS = tuple(Parameters.__annotations__)
_NUMBERS = {"temperature", "top_p", "frequency_penalty", "presence_penalty"}
_INTEGERS = {"max_tokens", "top_k", "seed"}
_FORMS = {"response_format", "schema"}


def check_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names and types of *given* and drop the ones that are None.

    Raises:
        TypeError: an unknown name (with the nearest right one) or a value of the wrong type.
        ValueError: a value of the right type that means nothing.
    """
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in PARAMETERS:
            raise TypeError(
                f"{name!r} is not a parameter.{nearest(name, PARAMETERS)} "
                f"Known: {', '.join(PARAMETERS)}; anything else goes into extra={{...}}."
            )
        if value is None:
            continue
        value = _plain_number(value)
        if (wanted := _wanted(name, value)) is not None:
            raise TypeError(f"{name}={value!r:.80}: give {wanted}.")
        checked[name] = value
    Effort.of(checked.get("reasoning"))
    Format.of(checked)
    return checked


def merge_parameters(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Give *base*, checked before, with *given* over it; a form of the answer replaces whichever was asked for.

    Raises:
        TypeError, ValueError: as :func:`check_parameters`.
    """
    checked = check_parameters(given)
    replaced = _FORMS if _FORMS & checked.keys() else ()
    return {name: value for name, value in base.items() if name not in replaced} | checked


def check_models(models: Any) -> tuple[str, ...]:
    """Give the names of *models*, in the order in which they are to be tried.

    Raises:
        TypeError: it is not a list of names.
    """
    if isinstance(models, str) or not isinstance(models, Iterable):
        raise TypeError(f"models={models!r:.80}: give a list of names.")
    names = tuple(models)
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"models={list(names)!r:.80}: each is the name of a model.")
    return names


def _plain_number(value: Any) -> Any:
    """Give a number of another library's, such as numpy's, as Python's own, which JSON knows."""
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def _wanted(name: str, value: Any) -> str | None:
    """Say what kind of value *name* wants, where *value* is not of it."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name in _NUMBERS:
        finite = whole or (isinstance(value, float) and value - value == 0)
        return None if finite else "a number"
    if name in _INTEGERS:
        if name == "max_tokens":
            return None if whole and value > 0 else "a whole number above 0"
        return None if whole else "a whole number"
    if name == "stop":
        texts = value if isinstance(value, (list, tuple)) else [value]
        return None if all(isinstance(text, str) for text in texts) else "a string or a list of strings"
    if name == "schema":
        return None if isinstance(value, dict) else "a JSON Schema as a dict, or, to a conversation, a class"
    if name == "response_format":
        return None if isinstance(value, (str, dict)) else "'text', 'json' or a dict"
    if name == "parallel_tools":
        return None if isinstance(value, bool) else "True or False"
    if name == "tool_choice":
        return None if isinstance(value, (str, dict)) else "'auto', 'required', 'none' or a tool's name"
    if name == "reasoning":
        return None if isinstance(value, (str, int, dict)) else "an effort such as 'low', a number of tokens, or a bool"
    return None


@attrs.frozen
class ToolSpec:
    """Describe a tool to the model: its name, what it does, the JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = attrs.field(factory=lambda: {"type": "object", "properties": {}})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ToolSpec:
        """Build from ``{"name", "description", "parameters"}``, bare or as OpenAI's ``{"type": "function", …}``.

        Raises:
            ValueError: it is neither, or a value is of the wrong type.
        """
        inner = data.get("function", data) if isinstance(data, Mapping) else None
        known = {"name", "description", "parameters", "strict", "type"}
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str) or set(inner) - known:
            raise ValueError(f"{data!r:.80} is no ToolSpec and no dict of name, description and parameters.")
        spec = cls(inner["name"], inner.get("description") or "")
        parameters = inner.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise ValueError(f"the parameters of {spec.name!r} are no JSON Schema.")
        return spec if parameters is None else attrs.evolve(spec, parameters=parameters)


@attrs.frozen(eq=False)
class ChatRequest:
    """Ask for one answer; a dialect turns it into its provider's shape."""

    messages: tuple[Message, ...]
    model: str = ""
    tools: tuple[ToolSpec, ...] = ()
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    """Checked :class:`Parameters`."""
    extra: Mapping[str, Any] = attrs.field(factory=dict)
    """Goes into the request body verbatim, over everything else."""
    streaming: bool = True
    """False asks for one JSON body."""
    models: tuple[str, ...] = ()
    """What the provider may answer with, in order, where ``model`` cannot (capability "model_fallback")."""
    prompt: str | None = None
    """Of a text completion: the text to go on from; ``messages`` is empty then (capability "completion")."""
    round: int = 1
    """Which request of its turn it is; this and the two below are told to middleware, and sent to nobody."""
    conversation_id: str | None = None
    provider: str = ""
    """The name of the provider that is asked (first, where there is a fallback)."""

    @property
    def who(self) -> str:
        """The model as a warning names it."""
        return self.model or "the model"

    @property
    def declared(self) -> frozenset[str]:
        """The names of the tools that it tells of."""
        return frozenset(tool.name for tool in self.tools)


@attrs.frozen(eq=False)
class Call:
    """One HTTP call, ready to be sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    json: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    """What the dialect left out or changed, and why; each ends in ``Response.warnings``."""


@attrs.frozen
class ModelInfo:
    """Describe a model a provider offers; unknowns are None."""

    id: str
    name: str | None = None
    context: int | None = None
    """Tokens that prompt and answer may have together."""
