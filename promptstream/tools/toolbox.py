"""What ``tools=[…]`` holds and what a pack declares in, the tools of a conversation out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any

from promptstream.errors import ConfigError, ToolArguments, ToolNotFound
from promptstream.tools.tool import Tool, tool
from promptstream.values.names import nearest
from promptstream.values.request import ToolSpec

_LISTED = 20


class Toolbox:
    """Hold a conversation's tools: those with code to run, and those that the application answers (client-side).

    Any thread may read it; no two may add to it at once.

    Args:
        tools: functions, Tools, and for client-side ones ToolSpecs or dicts.
        declared: what a pack's prompt declares, by name; None where there is no pack. A tool is bound by its name,
            and the model sees the pack's description and parameters; what nobody binds is client-side.
        wildcards: names that may be bound although the pack does not declare them: ``mcp__files__*``.

    Raises:
        ConfigError: a name is there twice, a schema is none, a tool does not fit the pack's declaration,
            or the extra ``tools`` is not installed.
        ToolNotFound: the pack declares no tool of that name.
        TypeError, ValueError: what is given is no tool.
    """

    def __init__(
        self,
        tools: Iterable[Tool | ToolSpec | Mapping[str, Any] | Callable[..., Any]] = (),
        *,
        declared: Mapping[str, ToolSpec] | None = None,
        wildcards: Iterable[str] = (),
    ) -> None:
        self._declared = declared
        self._wildcards = tuple(wildcards)
        self._specs: dict[str, ToolSpec] = dict(declared or {})
        self._tools: dict[str, Tool] = {}
        self._given: set[str] = set()
        for each in _listed(tools):
            if isinstance(each, Mapping):
                each = ToolSpec.from_dict(each)
            if isinstance(each, ToolSpec):
                self._admit(each.name)
                self._specs.setdefault(each.name, each)
            else:
                self.add(each)
        if self.client_side and find_spec("jsonschema"):
            for name in self.client_side:
                self._checked(name)

    def add(self, fn: Tool | Callable[..., Any]) -> Tool:
        """Add a tool with code, and give it as the model will see it.

        Raises:
            ConfigError, ToolNotFound, TypeError: as the class says; nothing is added.
        """
        if not callable(fn):
            raise TypeError(
                f"{fn!r:.80} cannot be a tool; give a function, a Tool, or a ToolSpec or dict without code."
            )
        made = tool(fn)
        self._admit(made.name)
        try:
            if self._declared is not None and made.name in self._declared:
                made = made.declared(self._declared[made.name])
            made.check()
        except BaseException:
            self._given.discard(made.name)
            raise
        self._tools[made.name] = made
        self._specs[made.name] = made.spec
        return made

    def _admit(self, name: str) -> None:
        """Take note that the application gives a tool called *name*."""
        if name in self._given:
            raise ConfigError(f"Two tools are called {name!r}; give one of them another name, by name=.")
        if self._declared is not None and name not in self._declared and not self._matches(name):
            names = ", ".join(list(self._declared)[:_LISTED]) or "none"
            raise ToolNotFound(
                f"The pack's prompt declares no tool {name!r}.{nearest(name, self._declared)} It declares: {names}. "
                "Rename the tool, or add it to the prompt's tools."
            )
        self._given.add(name)

    def _matches(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._wildcards)

    def find(self, name: str) -> Tool | None:
        """Give the tool to run for *name*, or None where it is client-side or unknown."""
        return self._tools.get(name)

    def knows(self, name: str) -> bool:
        """Tell whether there is a tool of that *name*, whoever runs it."""
        return name in self._specs

    def validate(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Check *arguments* for the tool called *name*; for a client-side one where the extra ``tools`` is there.

        Raises:
            ToolArguments: one is missing, unknown or wrong; the text tells the model which, and why.
            ConfigError: the tool's parameters are no JSON Schema.
        """
        if (found := self._tools.get(name)) is not None:
            found.validate(arguments)
            return
        if find_spec("jsonschema") and (problems := self._checked(name)(arguments)):
            raise ToolArguments(f"The arguments of {name} are not valid. " + "; ".join(problems))

    def _checked(self, name: str) -> Callable[[Any], list[str]]:
        """Give what checks the arguments of a client-side tool."""
        from promptstream.tools.validation import validator

        return validator(self._specs[name].parameters, f"the parameters of tool {name!r}")

    def specs(self, blocklist: Iterable[str] = ()) -> tuple[ToolSpec, ...]:
        """Give what the model is told, in the order of the pack and then of the tools; without those blocked."""
        blocked = set(blocklist)
        return tuple(spec for name, spec in self._specs.items() if name not in blocked)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tools, in the order of :meth:`specs`."""
        return tuple(self._specs)

    @property
    def client_side(self) -> tuple[str, ...]:
        """The names of the tools without code here: a call of theirs is answered by ``submit``."""
        return tuple(name for name in self._specs if name not in self._tools)

    def copy(self) -> Toolbox:
        """Give another one with the same tools; what is added to it stays there."""
        other = Toolbox(wildcards=self._wildcards)
        other._declared = self._declared
        other._specs, other._tools, other._given = dict(self._specs), dict(self._tools), set(self._given)
        return other

    def __len__(self) -> int:
        return len(self._specs)

    def __repr__(self) -> str:
        return f"<Toolbox {', '.join(self._specs)}>".replace(" >", ">")


def _listed(tools: Any) -> Iterable[Any]:
    if isinstance(tools, (Tool, ToolSpec, Mapping, str)) or not isinstance(tools, Iterable):
        raise TypeError(f"tools={tools!r:.80}: give a list of functions, Tools or ToolSpecs.")
    return tools
