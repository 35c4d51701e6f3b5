"""A pack's dict goes in; its prompts, tools and everything else come out, with the findings made on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptstream.errors import VariableInvalid
from promptstream.packs import doubts, schema
from promptstream.packs.finding import Findings, shown, step
from promptstream.packs.pack import Pack, PackProvider, Prompt
from promptstream.packs.template import Fragments
from promptstream.packs.variables import Variable, type_named
from promptstream.values.policy import ToolPolicy
from promptstream.values.request import ToolSpec

if TYPE_CHECKING:
    from promptstream.packs.declared import Declared

_NOT_RUN = "; it is not run"


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
    doubts.check(prompts, library, findings)
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
        evals, variables = body.get("evals"), self._variables(body, path)
        lapsed = [why for each in variables for why in each.unenforced]
        return Prompt(
            name,
            text,
            template,
            variables,
            parameters(body.get("parameters")),
            tools=named,
            tool_names=names,
            policy=policy,
            validators=validators,
            media=media,
            unenforced=(*lapsed, *self._not_run(validators, body, path)),
            evals=tuple(evals) if isinstance(evals, list) else (),
            overrides=changes,
            raw=body,
        )

    def _rules(self, body: Mapping[str, Any], path: str) -> tuple[dict[str, ToolSpec], tuple[str, ...], ToolPolicy]:
        if not body.get("tools") and body.get("tool_policy") is None:
            return {}, (), ToolPolicy()
        declared = self.declared or self._declare(None)
        named, names = declared.chosen(body, path)
        return named, names, declared.policy(body.get("tool_policy"), step(path, "tool_policy"), names)

    def _declare(self, raw: Any) -> Declared:
        from promptstream.packs.declared import Declared  # a pack without tools needs none of it

        return Declared(raw, self._findings)

    def _validators(self, body: Mapping[str, Any], path: str) -> Any:
        raw = body.get("validators")
        if not raw or not isinstance(raw, list):
            return ()
        from promptstream.packs.validators import parse_validators

        return parse_validators(raw, step(path, "validators"), self._findings)

    def _not_run(self, validators: Sequence[Any], body: Mapping[str, Any], path: str) -> list[str]:
        """Say of each validator that is enabled and cannot be run why that is."""
        lapsed = []
        for place, (each, raw) in enumerate(zip(validators, body.get("validators") or (), strict=True)):
            if each.active or raw.get("enabled") is False:
                continue
            here = step(step(path, "validators"), place)
            found = (one for one in self._findings.all if one.path.startswith(here) and _NOT_RUN in one.message)
            why = next((f": {one.path[len(here) + 1 :]} {one.message.partition(_NOT_RUN)[0]}" for one in found), "")
            lapsed.append(f"the validator {shown(each.name)} is not run{why}")
        return lapsed

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
                type="string" if each.get("type") is None else type_named(each["type"]),
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
