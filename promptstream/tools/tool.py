"""A Python function in, a tool that a model may call out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any, overload

from promptstream.errors import ConfigError, ToolArguments
from promptstream.tools.context import ToolContext
from promptstream.tools.result import encode_result
from promptstream.values.message import ToolCall
from promptstream.values.names import nearest
from promptstream.values.request import ToolSpec

if TYPE_CHECKING:
    from promptstream.tools.signature import Signature

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")


class Tool:
    """Run a Python function for a model. To be read only: any number of threads may run it at once.

    It can be called as the function can, and as a method where it decorates one. Made by :func:`tool`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        spec: ToolSpec,
        *,
        signature: Signature | None = None,
        approval: bool = False,
    ) -> None:
        if not _NAME.fullmatch(spec.name):
            raise TypeError(
                f"{spec.name!r:.80} cannot be a tool's name: 1 to 64 letters, digits, _ and -, no digit or - in front. "
                "Give one by name=."
            )
        update_wrapper(self, function, updated=())
        self.function = function
        self.spec = spec
        self.approval = approval
        """True where each call waits for a human's yes."""
        self._signature = signature
        self._check: Callable[[Any], list[str]] | None = None

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self.spec.name

    @property
    def description(self) -> str:
        """What the model is told of it."""
        return self.spec.description

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON Schema of its arguments."""
        return self.spec.parameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102 - its promise is the function's
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Tool:
        if instance is None or self._signature is None or not self._signature.unbound:
            return self
        return self._with(MethodType(self.function, instance), self.spec)

    def __repr__(self) -> str:
        return f"<Tool {self.name}>"

    def _with(self, function: Callable[..., Any], spec: ToolSpec) -> Tool:
        signature = self._signature
        if signature is not None and function is not self.function:
            signature = signature.bound()
        return Tool(function, spec, signature=signature, approval=self.approval)

    def declared(self, spec: ToolSpec) -> Tool:
        """Give a tool of the same code as a pack declares it: the model sees *spec*, and arguments are checked by it.

        Raises:
            ConfigError: the function cannot be called as the pack says.
        """
        if self._signature is not None:
            _fit(self._signature, spec)
        return self._with(self.function, spec)

    def check(self) -> None:
        """Make sure that the tool can run, so that what is wrong shows before a model calls it.

        Raises:
            ConfigError: its parameters are no JSON Schema, it is a method without its object,
                or the extra ``tools`` is not installed.
        """
        from promptstream.tools.validation import validator

        signature = self._signature
        if signature is not None and signature.unbound:
            raise ConfigError(f"{self.name} is a method without its object; give it as instance.{self.name}.")
        if self._check is None:
            self._check = validator(self.parameters, f"the parameters of tool {self.name!r}")

    def validate(self, arguments: Mapping[str, Any]) -> None:
        """Check *arguments* as :meth:`run` does, without calling the function. Any thread may call it.

        Raises:
            ToolArguments: one is missing, unknown or wrong; the text tells the model which, and why.
            ConfigError: as :meth:`check` says.
        """
        self._structured(arguments)

    def run(self, arguments: Mapping[str, Any], context: ToolContext | None = None) -> str:
        """Check *arguments*, call the function with them, and give its result as the model reads it.

        What the function raises is not caught. Any number of threads may call it at once.

        Raises:
            ToolArguments: an argument is missing, unknown or wrong; the text tells the model which, and why.
            ToolError: the result cannot be encoded.
            ConfigError: as :meth:`check` says.
        """
        values = self._structured(arguments)
        context = context or ToolContext(ToolCall("", self.name, dict(arguments)))
        if self._signature is None:
            return encode_result(self.function(values, context))
        if self._signature.context is not None:
            values[self._signature.context] = context
        return encode_result(self.function(**values))

    def _structured(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Give *arguments* as the function takes them."""
        self.check()
        assert self._check is not None
        values, problems = dict(arguments), self._check(arguments)
        if self._signature is not None and not problems:
            values, problems = self._signature.structure(arguments)
        if problems:
            raise ToolArguments(f"The arguments of {self.name} are not valid. {'; '.join(problems)}")
        return values


def _fit(signature: Signature, spec: ToolSpec) -> None:
    """Make sure that a call by *spec* can be a call of the function."""
    properties = spec.parameters.get("properties")
    if not isinstance(properties, Mapping):
        return  # the pack leaves open what the arguments are
    known = list(signature.fields)
    for name in properties:
        if name not in known:
            raise ConfigError(
                f"The pack gives tool {spec.name!r} an argument {name!r:.80} that the function does not take."
                f"{nearest(str(name), known)} It takes: {', '.join(known) or 'none'}."
            )
    for name, field in signature.fields.items():
        if field.required and name not in properties:
            raise ConfigError(
                f"The function of tool {spec.name!r} needs an argument {name!r} that the pack does not declare. "
                "Give it a default, or add it to the tool's parameters in the pack."
            )


@overload
def tool(fn: Callable[..., Any], /) -> Tool:
    """Make a tool of *fn*."""


@overload
def tool(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    approval: bool | None = None,
) -> Any:
    """Make a tool, or a decorator that does."""


def tool(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    approval: bool | None = None,
) -> Any:
    """Make a tool of a typed function: ``@tool``, ``@tool(approval=True)`` or ``tool(fn, name="look_up")``.

    Its name, description and the JSON Schema of its arguments come from the name, the docstring (Google, NumPy or
    Sphinx style) and the hints; ``Annotated[int, "How many", {"minimum": 1}]`` describes and bounds one argument, and
    one without a hint may be anything. A parameter of type :class:`ToolContext` gets the running turn, and the model
    does not see it. A Tool is given back as it is, but for what is said anew.

    Args:
        fn: a function, method, ``functools.partial`` or object with ``__call__``; left out, a decorator is given.
        name: 1 to 64 letters, digits, ``_`` and ``-``; else the function's.
        description: else the docstring's first paragraph.
        approval: True has each call wait for a human's yes.

    Raises:
        TypeError: *fn* cannot be a tool, and why.
    """
    for what, said in (("name", name), ("description", description)):
        if said is not None and not isinstance(said, str):
            raise TypeError(f"{what}={said!r:.80}: give a string.")
    if fn is None:
        return partial(tool, name=name, description=description, approval=approval)
    if isinstance(fn, MethodType) and isinstance(fn.__func__, Tool):  # a classmethod of one
        fn = fn.__func__.__get__(fn.__self__)
    if isinstance(fn, Tool):
        if name is None and description is None and approval is None:
            return fn
        about = fn.description if description is None else inspect.cleandoc(description)
        spec = ToolSpec(fn.name if name is None else name, about, fn.parameters)
        return Tool(fn.function, spec, signature=fn._signature, approval=fn.approval if approval is None else approval)
    if not callable(fn) or isinstance(fn, type):
        raise TypeError(f"{fn!r:.80} cannot be a tool; give a function.")
    _refuse(fn)
    from promptstream.tools.signature import Signature  # brings datetime, pathlib and the like, for a first tool

    signature = Signature.of(fn)
    spec = ToolSpec(
        _name(fn) if name is None else name,
        signature.description if description is None else inspect.cleandoc(description),
        signature.schema,
    )
    return Tool(fn, spec, signature=signature, approval=bool(approval))


def _refuse(fn: Callable[..., Any]) -> None:
    """Refuse what runs only later, so that a call would give no result."""
    for code in (fn, inspect.unwrap(fn), getattr(fn, "__call__", None)):  # noqa: B004 - its code is looked at
        if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
            raise TypeError(f"{_name(fn)} is async and cannot be a tool; wrap it: asyncio.run({_name(fn)}(…)).")
        if inspect.isgeneratorfunction(code):
            raise TypeError(f"{_name(fn)} is a generator and cannot be a tool; return a list or a string instead.")


def _name(fn: Any) -> str:
    while isinstance(fn, partial):
        fn = fn.func
    return getattr(fn, "__name__", None) or type(fn).__name__
