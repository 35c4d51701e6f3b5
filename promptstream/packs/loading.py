"""A pack's dict goes in; its prompts, tools and everything else come out, with the findings made on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from promptstream.errors import VariableInvalid
from promptstream.packs import schema
from promptstream.packs.finding import Findings, shown, similar, step
from promptstream.packs.pack import Pack, PackProvider, Prompt
from promptstream.packs.placeholder import Placeholder
from promptstream.packs.template import Fragments, Template
from promptstream.packs.variables import Variable
from promptstream.values.policy import ToolPolicy
from promptstream.values.request import ToolSpec

if TYPE_CHECKING:
    from promptstream.packs.declared import Declared

_MOST = 50
# What a runtime gives of itself, so that no pack declares it.
_GIVEN = ("input", "workflow_context", "memory_context", "artifacts")


def build(raw: Mapping[str, Any], path: Any, findings: Findings) -> Pack | None:
    """Give the Pack that *raw* means, or None where a finding is fatal."""
    schema.check(raw, findings)
    fragments = raw.get("fragments") if isinstance(raw.get("fragments"), dict) else None
    library = Fragments({name: text if isinstance(text, str) else "" for name, text in (fragments or {}).items()})
    for name, problems in library.problems.items():
        for problem in problems:
            findings.add(step("$.fragments", name), problem, fatal=True)
    bodies = raw.get("prompts") if isinstance(raw.get("prompts"), dict) else None
    loader = _Loader(raw, library, findings)
    prompts = {}
    for name, body in (bodies or {}).items():
        prompt = loader.prompt(name, body) if isinstance(body, dict) else None
        if prompt is not None:
            prompts[name] = prompt
    if findings.fatal:
        return None
    _doubt(prompts, library, findings)
    if loader.declared is not None:
        loader.declared.find_unused(raw, prompts.values())
    provider = raw.get("provider") or {}
    hint = {"name": provider} if isinstance(provider, str) else {key: provider.get(key) for key in ("name", "model")}
    known = {key: raw[key] for key in ("id", "name", "version") if isinstance(raw.get(key), str)}
    objects = ("workflow", "agents", "metadata", "compositions")
    known |= {key: raw[key] for key in objects if isinstance(raw.get(key), dict)}
    known |= {key: tuple(raw[key]) for key in ("evals", "skills") if isinstance(raw.get(key), list)}
    return Pack(
        path,
        prompts,
        library.texts,
        provider=PackProvider(**hint),
        tools={} if loader.declared is None else loader.declared.tools,
        raw=raw,
        findings=findings.all,
        **known,
    )


def parameters(given: Any) -> dict[str, Any]:
    """Give the parameters of generation in *given*, whose shape has been looked at."""
    known = {key: each for key, each in given.items() if key in schema.PARAMETERS} if isinstance(given, dict) else {}
    return {
        key: int(each) if key in schema.WHOLE and isinstance(each, float) and each.is_integer() else each
        for key, each in known.items()
        if each is not None
    }


class _Loader:
    """Make the prompts of one pack."""

    def __init__(self, raw: Mapping[str, Any], library: Fragments, findings: Findings) -> None:
        self._library = library
        self._findings = findings
        self.declared: Declared | None = None
        if raw.get("tools"):
            self.declared = self._declare(raw["tools"])

    def prompt(self, name: str, body: Mapping[str, Any]) -> Prompt | None:
        """Read every part of a prompt, so that all that is wrong is told; None where it is of no use."""
        findings, path = self._findings, step("$.prompts", name)
        text, template = body.get("system_template"), None
        if isinstance(text, str) and not findings.full(fatal=True):
            template, problems = self._library.parse(text)
            for problem in problems:
                findings.add(step(path, "system_template"), problem, fatal=True)
        named, names, policy = self._rules(body, path)
        validators, media, changes = self._validators(body, path), self._media(body, path), self._changes(body, path)
        if template is None or not isinstance(text, str) or findings.fatal:
            return None
        evals = body.get("evals")
        return Prompt(
            name,
            text,
            template,
            self._variables(body, path),
            parameters(body.get("parameters")),
            tools=named,
            tool_names=names,
            policy=policy,
            validators=validators,
            media=media,
            evals=tuple(evals) if isinstance(evals, list) else (),
            overrides=changes,
            raw=body,
        )

    def _rules(self, body: Mapping[str, Any], path: str) -> tuple[dict[str, ToolSpec], tuple[str, ...], ToolPolicy]:
        if not body.get("tools") and body.get("tool_policy") is None:
            return {}, (), ToolPolicy()
        declared = self.declared or self._declare(None)
        named, names = declared.chosen(body, path)
        return named, names, declared.policy(body.get("tool_policy"), step(path, "tool_policy"))

    def _declare(self, raw: Any) -> Declared:
        from promptstream.packs.declared import Declared  # a pack without tools needs none of it

        return Declared(raw, self._findings)

    def _validators(self, body: Mapping[str, Any], path: str) -> Any:
        raw = body.get("validators")
        if not raw or not isinstance(raw, list):
            return ()
        from promptstream.packs.validators import parse_validators

        return parse_validators(raw, step(path, "validators"), self._findings)

    def _media(self, body: Mapping[str, Any], path: str) -> Any:
        raw = body.get("media")
        if not isinstance(raw, dict):
            return None
        from promptstream.packs import media

        return media.parse(raw, step(path, "media"), self._findings)

    def _changes(self, body: Mapping[str, Any], path: str) -> Any:
        if not body.get("model_overrides"):
            return {}
        from promptstream.packs import overrides

        return overrides.parse(body["model_overrides"], self._library, step(path, "model_overrides"), self._findings)

    def _variables(self, body: Mapping[str, Any], path: str) -> tuple[Variable, ...]:
        made: dict[str, Variable] = {}
        for place, each in enumerate(body.get("variables") or ()):
            given = {key: each[key] for key in ("name", "required", "default", "example") if each.get(key) is not None}
            about, binding = each.get("description"), each.get("binding")
            made[each["name"]] = variable = Variable(
                type=schema.TYPE_NAMES[each.get("type") or "string"],
                description=about if isinstance(about, str) else "",
                validation={key: rule for key, rule in (each.get("validation") or {}).items() if rule is not None},
                binding=binding if isinstance(binding, dict) else {},
                **given,
            )
            try:
                variable.check(variable.default)
            except VariableInvalid as error:
                here = step(step(step(path, "variables"), place), "default")
                self._findings.add(here, f"the default cannot be used: {error}")
        return tuple(made.values())


def _doubt(prompts: Mapping[str, Prompt], library: Fragments, findings: Findings) -> None:
    """Find what is probably a slip in a template: it renders, but not as its author meant."""
    everything: set[str] = set(_GIVEN)
    for name, prompt in prompts.items():
        declared = {each.name for each in prompt.variables}
        everything |= declared
        path = step("$.prompts", name)
        _tell(prompt.template, declared | set(_GIVEN), step(path, "system_template"), findings)
        for model, override in prompt.overrides.items():
            for key, template in override.templates:
                here = step(step(step(path, "model_overrides"), model), key)
                _tell(template, declared | set(_GIVEN), here, findings)
    for name, template in library.templates.items():
        _tell(template, everything, step("$.fragments", name), findings)


def _tell(template: Template, declared: set[str], path: str, findings: Findings) -> None:
    for doubt in () if findings.full() else _doubts(template, declared):
        findings.add(path, doubt)


def _doubts(template: Template, declared: set[str]) -> Iterator[str]:
    import re
    from itertools import islice

    yield from template.doubts
    used = dict.fromkeys(str(each.steps[0]) for each in template.parts if isinstance(each, Placeholder))
    for name in islice((each for each in used if each not in declared), _MOST):
        yield f"{{{{{shown(name)[1:-1]}}}}} is not declared in variables.{similar(name, declared)}"
    single = re.finditer(r"(?<!\{)\{([^\W\d]\w*)\}(?!\})", template.text)
    for name in dict.fromkeys(match[1] for match in single if match[1] in declared):
        yield f"{{{name}}} is sent as it is; write {{{{{name}}}}} for the variable"
