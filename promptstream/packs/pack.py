"""A pack file, dict or Pack goes in, a Pack of prompts ready to be rendered comes out, any thread may use it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.errors import PackError, PromptNotFound

if TYPE_CHECKING:
    from pathlib import Path

    from promptstream.packs.finding import Finding, Findings
    from promptstream.packs.template import Fragments, Template
    from promptstream.packs.variables import Variable

_LISTED = 5
_MOST = 50
# What a runtime gives of itself, so that no pack declares it.
_GIVEN = ("input", "workflow_context", "memory_context", "artifacts")


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
    raw: Mapping[str, Any] = attrs.field(repr=False, factory=dict)
    """The prompt as the pack writes it; to be read only."""

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

    def check(self) -> list[Finding]:
        """Give everything that is wrong with the pack and does not stop it from being used; empty if nothing is."""
        return list(self.findings)


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
    from promptstream.packs import schema, source
    from promptstream.packs.finding import Findings
    from promptstream.packs.template import Fragments

    findings, path = Findings(), None
    if isinstance(given, Mapping):
        raw = source.plain(given, findings)
    elif isinstance(given, (str, os.PathLike)):
        raw, path = source.read(given, findings)
    else:
        raise TypeError(f"pack is {type(given).__name__}; give a path, a dict or a Pack.")
    schema.check(raw, findings)
    fragments = raw.get("fragments") if isinstance(raw.get("fragments"), dict) else None
    library = Fragments({name: text if isinstance(text, str) else "" for name, text in (fragments or {}).items()})
    templates = _templates(raw.get("prompts"), library, findings)
    if findings.fatal:
        raise _error(path, findings.all if strict else findings.fatal)
    prompts = {name: _prompt(name, body, templates[name], findings) for name, body in raw["prompts"].items()}
    _doubt(prompts, library, findings)
    provider = raw.get("provider") or {}
    known = {key: raw[key] for key in ("id", "name", "version") if isinstance(raw.get(key), str)}
    hint = {"name": provider} if isinstance(provider, str) else {key: provider.get(key) for key in ("name", "model")}
    return Pack(path, prompts, library.texts, provider=PackProvider(**hint), raw=raw, findings=findings.all, **known)


def _templates(prompts: Any, library: Fragments, findings: Findings) -> dict[str, Template]:
    """Parse every template there is; what is wrong with one is fatal."""
    from promptstream.packs.finding import step

    for name, problems in library.problems.items():
        for problem in problems:
            findings.add(step("$.fragments", name), problem, fatal=True)
    templates = {}
    for name, body in prompts.items() if isinstance(prompts, dict) else ():
        text = body.get("system_template") if isinstance(body, dict) else None
        if isinstance(text, str) and not findings.full(fatal=True):
            template, problems = library.parse(text)
            for problem in problems:
                findings.add(step(step("$.prompts", name), "system_template"), problem, fatal=True)
            if template is not None:
                templates[name] = template
    return templates


def _prompt(name: str, body: Mapping[str, Any], template: Template, findings: Findings) -> Prompt:
    from promptstream.errors import VariableInvalid
    from promptstream.packs.finding import step
    from promptstream.packs.schema import PARAMETERS, TYPE_NAMES, WHOLE
    from promptstream.packs.variables import Variable

    variables: dict[str, Variable] = {}
    for place, each in enumerate(body.get("variables") or ()):
        given = {key: each[key] for key in ("name", "required", "default", "example") if each.get(key) is not None}
        about = each.get("description")
        variables[each["name"]] = variable = Variable(
            type=TYPE_NAMES[each.get("type") or "string"],
            description=about if isinstance(about, str) else "",
            validation={key: rule for key, rule in (each.get("validation") or {}).items() if rule is not None},
            **given,
        )
        try:
            variable.check(variable.default)
        except VariableInvalid as error:
            path = step(step(step(step("$.prompts", name), "variables"), place), "default")
            findings.add(path, f"the default cannot be used: {error}")
    parameters = {key: each for key, each in (body.get("parameters") or {}).items() if key in PARAMETERS}
    return Prompt(
        name,
        body["system_template"],
        template,
        tuple(variables.values()),
        {key: int(each) if key in WHOLE else each for key, each in parameters.items() if each is not None},
        body,
    )


def _doubt(prompts: Mapping[str, Prompt], library: Fragments, findings: Findings) -> None:
    """Find what is probably a slip in a template: it renders, but not as its author meant."""
    from promptstream.packs.finding import step

    everything: set[str] = set(_GIVEN)
    for name, prompt in prompts.items():
        declared = {each.name for each in prompt.variables}
        everything |= declared
        path = step(step("$.prompts", name), "system_template")
        for doubt in () if findings.full() else _doubts(prompt.template, declared | set(_GIVEN)):
            findings.add(path, doubt)
    for name, template in library.templates.items():
        for doubt in () if findings.full() else _doubts(template, everything):
            findings.add(step("$.fragments", name), doubt)


def _doubts(template: Template, declared: set[str]) -> Iterator[str]:
    import re
    from itertools import islice

    from promptstream.packs.finding import shown, similar
    from promptstream.packs.placeholder import Placeholder

    yield from template.doubts
    used = dict.fromkeys(str(each.steps[0]) for each in template.parts if isinstance(each, Placeholder))
    for name in islice((each for each in used if each not in declared), _MOST):
        yield f"{{{{{shown(name)[1:-1]}}}}} is not declared in variables.{similar(name, declared)}"
    single = re.finditer(r"(?<!\{)\{([^\W\d]\w*)\}(?!\})", template.text)
    for name in dict.fromkeys(match[1] for match in single if match[1] in declared):
        yield f"{{{name}}} is sent as it is; write {{{{{name}}}}} for the variable"


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
