"""What a conversation was opened with: checked once, the same for all its turns and forks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.asking import check_choice
from promptstream.capabilities import check_supported
from promptstream.errors import ConfigError, ToolError
from promptstream.middleware.onion import check_layers
from promptstream.pricing import Prices, read_prices
from promptstream.tools.loop import Loop
from promptstream.truncation import Truncation
from promptstream.turn import check_on_error
from promptstream.values.budget import Budget
from promptstream.values.format import Format, read_json
from promptstream.values.message import Message
from promptstream.values.policy import ToolPolicy
from promptstream.values.request import ChatRequest, check_models, check_parameters, merge_parameters
from promptstream.values.timing import Timeout

if TYPE_CHECKING:
    from promptstream.client import Provider
    from promptstream.middleware.onion import Middleware
    from promptstream.packs.media import MediaLimits
    from promptstream.tools.loop import Approve
    from promptstream.tools.toolbox import Toolbox

Source = Callable[[], Mapping[str, Any]]
Sources = Mapping[str, Any] | Source | Iterable[Mapping[str, Any] | Source]


@attrs.frozen(eq=False, kw_only=True)
class Settings:
    """Hold what every turn of a conversation goes by."""

    render: Callable[..., str]
    """The system prompt of layers of variables, the last one first."""
    base: Mapping[str, Any] = attrs.field(factory=dict)
    """Variables given to open."""
    providers: tuple[Source, ...] = ()
    """What gives further variables, anew for each turn."""
    model: str | None = None
    models: tuple[str, ...] = ()
    fallback: tuple[Provider, ...] = ()
    timeout: Timeout = attrs.field(factory=Timeout)
    on_error: str = "raise"
    extra: Mapping[str, Any] = attrs.field(factory=dict)
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    form: Any = None
    """The class that answers are made into, where a turn does not say otherwise."""
    policy: ToolPolicy = attrs.field(factory=ToolPolicy)
    approve: Approve | None = None
    middleware: tuple[Middleware, ...] = ()
    truncation: Truncation | None = None
    budget: Budget = attrs.field(factory=Budget)
    prices: Prices = attrs.field(factory=dict)
    media: MediaLimits | None = None
    unenforced: tuple[str, ...] = ()
    """Rules of the pack that cannot be enforced; the first turn's warnings say so."""

    def request(
        self,
        provider: Provider,
        toolbox: Toolbox,
        said: Sequence[Message],
        asked: Asked,
        models: Iterable[str] | None,
        extra: Mapping[str, Any] | None,
        *,
        streaming: bool = True,
        conversation_id: str | None = None,
    ) -> ChatRequest:
        """Give what every round of a turn asks, but for the history.

        Raises:
            ConfigError: an attachment or tool_choice= cannot be used; Unsupported: the provider lacks something.
            TypeError: *models* is no list of names.
        """
        names = self.models if models is None else check_models(models)
        tools = toolbox.specs(self.policy.blocklist)
        parameters = dict(asked.parameters)
        if tools and self.policy.tool_choice is not None:
            parameters.setdefault("tool_choice", self.policy.tool_choice)
        check_choice(parameters.get("tool_choice"), tools)
        if self.media is not None:
            self.media.check([part for each in said for part in each.parts])
        request = ChatRequest(
            messages=tuple(said),
            model=provider.asked_model(self.model, names),
            models=names,
            tools=tools,
            parameters=parameters,
            extra={**self.extra, **(extra or {})},
            streaming=streaming,
            conversation_id=conversation_id,
            provider=provider.name,
        )
        if not self.fallback:  # else another provider may do what this one cannot
            check_supported(provider.dialect, request)
        return request

    def check_priced(self, provider: Provider, model: str) -> None:
        """Make sure that what *model* costs can be held to a budget in USD, where there is one.

        Raises:
            ConfigError: its price is not known, and the provider does not tell what an answer cost.
        """
        if self.budget.usd is not None and not getattr(provider.dialect, "tells_cost", False):
            provider.seller.over(self.prices).check(model)

    def media_applied(self, said: tuple[Message, ...]) -> tuple[Message, ...]:
        """Give *said* with what the pack says of images that say nothing themselves."""
        media = self.media
        return said if media is None else tuple(attrs.evolve(each, parts=media.applied(each.parts)) for each in said)

    def loop(self, toolbox: Toolbox, request: ChatRequest) -> Loop:
        """Give what runs the tools of one turn, which *request* offers to the model."""
        silent = request.parameters.get("tool_choice") == "none"
        return Loop(
            toolbox,
            self.policy,
            self.approve,
            offered=() if silent else [spec.name for spec in request.tools],
            conversation_id=request.conversation_id,
        )

    def provided(self) -> dict[str, Any]:
        """Give the variables of open with those of the providers of variables, which are asked now.

        Raises:
            VariableInvalid: a provider of variables fails.
        """
        return gathered(self.base, *self.providers)


@attrs.frozen(eq=False)
class Given:
    """Hold what was given for the turns, checked before a provider is made."""

    variables: Any
    timeout: Any
    on_error: Any = attrs.field(converter=check_on_error)
    extra: Any
    tool_policy: Any
    approve: Any
    middleware: Any = attrs.field(converter=check_layers)
    given_budget: Any
    prices: Any = attrs.field(converter=read_prices)
    truncate: Any
    parameters: Any

    def __attrs_post_init__(self) -> None:
        check_callable("approve", self.approve)
        check_parameters(split_schema(self.parameters)[0])
        _ = self.truncation

    @property
    def budget(self) -> Budget:
        """What may be spent.

        Raises:
            TypeError, ValueError: it is no budget.
        """
        return Budget.of(self.given_budget, prompt=isinstance(self.truncate, str) or callable(self.truncate))

    @property
    def truncation(self) -> Truncation | None:
        """What fits a history into the budget, if there is one.

        Raises:
            ConfigError, TypeError: the strategy is none, or there is no budget for it.
        """
        if isinstance(self.truncate, Truncation):
            return self.truncate
        prompt = self.budget.prompt
        if prompt is not None:
            return Truncation(prompt, self.truncate or "fail")
        if self.truncate is not None:
            raise ConfigError(f"truncate={self.truncate!r:.40} needs budget=, the tokens a prompt may take.")
        return None


def gathered(*sources: Mapping[str, Any] | Source) -> dict[str, Any]:
    """Give the variables of *sources*, the last one first; what can be called is called.

    Raises:
        VariableInvalid: a call fails, or gives no mapping.
    """
    if not any(sources):  # callables are true: there is nothing to ask or to give
        return {}
    from promptstream.packs.providers import gathered as gather

    return gather(sources)


def split_variables(given: Sources | None) -> tuple[dict[str, Any], tuple[Source, ...]]:
    """Give the plain variables of ``variables=``, and the callables that give further ones each turn.

    Raises:
        TypeError: something in it is neither a mapping nor callable.
    """
    each_of = [] if given is None else [given] if isinstance(given, Mapping) or callable(given) else list(given)
    plain: dict[str, Any] = {}
    providers: list[Source] = []
    for each in each_of:
        if isinstance(each, Mapping):
            plain |= each
        elif callable(each):
            providers.append(each)
        else:
            raise TypeError(f"variables={each!r:.80}: give a dict, a callable that gives one, or a list of these.")
    return plain, tuple(providers)


def as_json(value: Any) -> tuple[dict[str, Any], str]:
    """Give the variables that ``json=`` stands for (each field of an object, and ``input``), and its text.

    A template writes ``{{input}}`` as that text, and finds ``{{input.name}}`` in it.

    Raises:
        ConfigError: it cannot be written as JSON.
    """
    from promptstream.tools.unstructure import unstructure

    try:
        plain = unstructure(value, strict=True)
    except ToolError as error:
        raise ConfigError(f"json= cannot be written as JSON: {error}") from None
    text = json.dumps(plain, ensure_ascii=False)
    fields = plain if isinstance(plain, dict) else {}
    return {**fields, "input": plain if isinstance(plain, (dict, list)) else text}, text


@attrs.frozen(eq=False)
class Asked:
    """Hold the parameters of one turn, and how its answer is read."""

    parameters: Mapping[str, Any]
    reader: Callable[[str], Any] | None = None
    demanded: bool = False
    """True where an answer that cannot be read is an error: a schema was asked for."""

    @classmethod
    def of(cls, settings: Settings, given: Mapping[str, Any]) -> Asked:
        """Read *given* over the settings; ``schema=`` may be a class, which the answer is then made into.

        Raises:
            TypeError, ValueError: a parameter is unknown or of the wrong type.
            ConfigError: the schema is none, or the extra ``tools`` is not there to read it.
        """
        given, form = split_schema(given)
        if form is None and given.get("schema") is None and given.get("response_format") is None:
            form = settings.form
        if form is None:
            parameters = merge_parameters(settings.parameters, given)
            schema = parameters.get("schema")
            if schema is None:
                return cls(parameters, Format.reader(parameters))
            return cls(parameters, _validating(schema), True)
        from promptstream.tools.schema import schema_of
        from promptstream.tools.structure import structure

        schema = schema_of(form)
        check = _validating(schema)
        parameters = merge_parameters(settings.parameters, {**given, "schema": schema})
        return cls(parameters, lambda text: structure(check(text), form), True)


def split_schema(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Give *parameters* without a ``schema`` that is a class, and that class or None."""
    form = parameters.get("schema")
    if form is None or isinstance(form, (Mapping, str, bytes, int, float, list, tuple)):
        return dict(parameters), None
    return {name: value for name, value in parameters.items() if name != "schema"}, form


def _validating(schema: Mapping[str, Any]) -> Callable[[str], Any]:
    """Give what reads a text as JSON of *schema*, and raises ValueError with all that is wrong."""
    from promptstream.tools.validation import validator

    check = validator(dict(schema), "schema=")

    def read(text: str) -> Any:
        value = read_json(text)
        if problems := check(value):
            raise ValueError("; ".join(problems))
        return value

    return read


def check_callable(name: str, given: Any) -> Any:
    """Give *given* if it is None or can be called.

    Raises:
        TypeError: it cannot.
    """
    if given is not None and not callable(given):
        raise TypeError(f"{name}={given!r:.80}: give a function.")
    return given


def combined(policy: ToolPolicy, given: ToolPolicy | Mapping[str, Any] | None) -> ToolPolicy:
    """Give a pack's *policy* with what the caller gives over it.

    Raises:
        TypeError, ValueError: it is no policy.
    """
    if given is None or isinstance(given, ToolPolicy):
        return given or policy
    ToolPolicy.of(given)
    return attrs.evolve(policy, **{name: value for name, value in given.items() if value is not None})
