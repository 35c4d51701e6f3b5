"""A pack file, dict or Pack goes in, a Pack of prompts ready to be rendered comes out, any thread may use it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.errors import PackError, PromptNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from promptstream.packs.finding import Finding
    from promptstream.packs.media import MediaLimits
    from promptstream.packs.overrides import Override
    from promptstream.packs.template import Template
    from promptstream.packs.validators import Validator
    from promptstream.packs.variables import Variable
    from promptstream.values.policy import ToolPolicy
    from promptstream.values.request import ToolSpec

_LISTED = 5


def _policy() -> ToolPolicy:
    from promptstream.values.policy import ToolPolicy  # importing a pack's module alone loads nothing else

    return ToolPolicy()


@attrs.frozen(eq=False)
class PackProvider:
    """Name the provider and the model that a pack asks for; None where it does not say."""

    name: str | None = None
    model: str | None = None


@attrs.frozen(eq=False)
class Prompt:
    """Hold one prompt of a pack. Immutable: any number of threads may render it at once."""

    name: str
    """Its key in the pack."""
    system_template: str = attrs.field(repr=False)
    template: Template = attrs.field(repr=False)
    variables: tuple[Variable, ...] = attrs.field(repr=False, default=())
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    """temperature, max_tokens, top_p, top_k, frequency_penalty and presence_penalty, as far as given."""
    tools: Mapping[str, ToolSpec] = attrs.field(repr=False, factory=dict)
    """Those of the pack's tools that it names, by name."""
    tool_names: tuple[str, ...] = ()
    """The tools as it names them: with wildcards (``mcp__files__*``), and with those that the pack does not declare."""
    policy: ToolPolicy = attrs.field(repr=False, factory=_policy)
    """Its ``tool_policy``; 5 rounds and 10 calls where that leaves them out, ToolPolicy() where it has none."""
    validators: tuple[Validator, ...] = attrs.field(repr=False, default=())
    """The rules for what is said, in order, those that are not enabled too."""
    media: MediaLimits | None = attrs.field(repr=False, default=None)
    """Which attachments it takes; None where it does not say."""
    evals: tuple[Mapping[str, Any], ...] = attrs.field(repr=False, default=())
    """As the pack writes them; to be read only."""
    overrides: Mapping[str, Override] = attrs.field(repr=False, factory=dict)
    """What is different for a model, by its name or how that begins; see :meth:`for_model`."""
    unenforced: tuple[str, ...] = attrs.field(repr=False, default=())
    """The rules of it that nothing is held against, each with the reason; none of them is fatal."""
    raw: Mapping[str, Any] = attrs.field(repr=False, factory=dict)
    """The prompt as the pack writes it; to be read only."""

    def for_model(self, model: str) -> Prompt:
        """Give the prompt as its ``model_overrides`` have it for *model*; itself where none fits.

        The one of that very name counts, with or without a "vendor/" before it, else the longest one that the name
        begins with. Any thread may call it.
        """
        if not self.overrides:
            return self
        from promptstream.packs.overrides import matching

        override = matching(self.overrides, model)
        return self if override is None else override.applied(self)

    def render(self, *layers: Mapping[str, Any]) -> str:
        """Give the system prompt with the declared defaults and then each of *layers* filled in, the last one first.

        A declared variable that need not be given and is not becomes empty text. Any thread may call it.

        Raises:
            MissingVariable: a required variable has no value or an empty one; all of them are named.
            VariableInvalid: a value is not of its declared type or breaks its rules.
        """
        from promptstream.packs.variables import resolve

        values = resolve(self.variables, *layers, needed=self.template.names)
        for each in self.variables:
            values.setdefault(each.name, None)
        return self.template.render(values)


@attrs.frozen(eq=False)
class Pack:
    """Hold a loaded pack. Immutable: load once, open many, from any thread."""

    path: Path | None
    """Where it was read from, absolute; None where it came as a dict."""
    prompts: Mapping[str, Prompt]
    fragments: Mapping[str, str] = attrs.field(repr=False, factory=dict)
    id: str | None = None
    name: str | None = None
    version: str | None = None
    provider: PackProvider = attrs.field(factory=PackProvider)
    """The extension ``"provider": {"name": ..., "model": ...}`` at the root of the pack."""
    tools: Mapping[str, ToolSpec] = attrs.field(repr=False, factory=dict)
    """Every tool it declares, by its key."""
    evals: tuple[Mapping[str, Any], ...] = attrs.field(repr=False, default=())
    """These and the ones below are as the pack writes them; to be read only, and used by nobody here."""
    workflow: Mapping[str, Any] | None = attrs.field(repr=False, default=None)
    agents: Mapping[str, Any] | None = attrs.field(repr=False, default=None)
    skills: tuple[Any, ...] = attrs.field(repr=False, default=())
    compositions: Mapping[str, Any] = attrs.field(repr=False, factory=dict)
    metadata: Mapping[str, Any] = attrs.field(repr=False, factory=dict)
    raw: Mapping[str, Any] = attrs.field(repr=False, factory=dict)
    """The whole pack as it was read; to be read only."""
    findings: tuple[Finding, ...] = attrs.field(repr=False, default=())

    def prompt(self, name: str | None = None) -> Prompt:
        """Give the prompt called *name*; without a name, the only one there is.

        Raises:
            PromptNotFound: there is none of that name, or no name and several to choose from.
        """
        from promptstream.packs.finding import shown, similar

        if name is None and len(self.prompts) == 1:
            return next(iter(self.prompts.values()))
        if isinstance(name, str) and name in self.prompts:
            return self.prompts[name]
        names = ", ".join(map(shown, list(self.prompts)[:20])) + (", …" if len(self.prompts) > 20 else "")
        if name is None:
            raise PromptNotFound(f"{_called(self.path)} has {len(self.prompts)} prompts; name one of them: {names}.")
        hint = similar(str(name), self.prompts)
        raise PromptNotFound(f"{_called(self.path)} has no prompt {shown(name)}.{hint} It has {names}.")

    def check(self, bound: Iterable[str] | None = None) -> list[Finding]:
        """Give everything that is wrong with the pack and does not stop it from being used; empty if nothing is.

        Where *bound* is given, the names of the tools that the program has code for, the tools that are none of them
        follow: they are client-side, which is no fault, and counts for nothing in a strict load.
        """
        from promptstream.packs.finding import Finding, step

        what = "is client-side unless it is bound in code: its call ends the stream and is answered with submit()"
        waiting = () if bound is None else self.client_side(bound)
        return [*self.findings, *(Finding(step("$.tools", name), what) for name in waiting)]

    def _repr_html_(self) -> str:
        from promptstream.values import display

        rows = [(p.name, p.system_template, [v.name for v in p.variables], p.tool_names) for p in self.prompts.values()]
        named = self.name or self.id or (self.path.name if self.path else "A pack without a name")
        version = f"version {self.version}" if self.version else ""
        where = self.path.name if self.path else ""
        counted = f"{len(rows)} prompt{'s' * (len(rows) != 1)}"
        return display.of_pack(named, " · ".join(filter(None, (version, counted, where))), rows, len(self.findings))

    def client_side(self, bound: Iterable[str] = ()) -> tuple[str, ...]:
        """Give the declared tools that are none of *bound*: a call of one ends the stream, and waits for ``submit``.

        Any thread may call it.
        """
        known = {bound} if isinstance(bound, str) else set(bound)
        return tuple(name for name in self.tools if name not in known)


def load(pack: str | os.PathLike[str] | Mapping[str, Any] | Pack, *, strict: bool = False) -> Pack:
    """Load a pack from a path (relative to the working directory), a dict, or a Pack, which is given back.

    Nothing is cached: an edited file counts the next time. With *strict*, every finding is an error.
    Any thread may call it.

    Raises:
        PackError: it cannot be read or used; ``problems`` lists all that is wrong, each with its JSON path.
        TypeError: *pack* is none of these.
    """
    if not isinstance(pack, Pack):
        pack = _load(pack, strict)
    if strict and pack.findings:
        raise _error(pack.path, pack.findings)
    return pack


def _load(given: str | os.PathLike[str] | Mapping[str, Any], strict: bool) -> Pack:
    from promptstream.packs import loading, source
    from promptstream.packs.finding import Findings

    findings, path = Findings(), None
    if isinstance(given, Mapping):
        raw = source.plain(given, findings)
    elif isinstance(given, (str, os.PathLike)):
        raw, path = source.read(given, findings)
    else:
        raise TypeError(f"pack is {type(given).__name__}; give a path, a dict or a Pack.")
    pack = loading.build(raw, path, findings)
    if pack is None:
        raise _error(path, findings.all if strict else findings.fatal)
    return pack


def _called(path: Path | None) -> str:
    return "The pack" if path is None else f"The pack {str(path)!r}"


def _error(path: Path | None, findings: tuple[Finding, ...]) -> PackError:
    problems = [str(each) for each in findings]
    if len(problems) == 1:
        return PackError(f"{_called(path)} cannot be used: {problems[0]}", problems)
    lines = problems[:_LISTED]
    if len(problems) > _LISTED:
        lines.append(f"and {len(problems) - _LISTED} more (see .problems)")
    return PackError(f"{_called(path)} cannot be used, for {len(problems)} reasons:\n  " + "\n  ".join(lines), problems)
