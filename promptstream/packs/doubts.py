"""Prompts that can be used go in; findings come out on what is probably a slip: it renders, but not as was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from promptstream.packs.finding import Findings, shown, similar, step
from promptstream.packs.pack import Prompt
from promptstream.packs.placeholder import Placeholder
from promptstream.packs.template import Fragments, Inclusion, Template

_MOST = 50
# What a runtime gives of itself, so that no pack declares it.
_GIVEN = ("input", "workflow_context", "memory_context", "artifacts")


def check(prompts: Mapping[str, Prompt], library: Fragments, findings: Findings) -> None:
    """Add to *findings* what is doubtful in the templates, and the variables and fragments that none of them uses."""
    everything: set[str] = set(_GIVEN)
    included: set[str] = set()
    for name, prompt in prompts.items():
        declared = {each.name for each in prompt.variables}
        everything |= declared
        path = step("$.prompts", name)
        templates = list(_templates(prompt, path))
        for here, template in templates:
            _tell(template, declared | set(_GIVEN), here, findings)
            _include(template, included)
        _unused(prompt, [template for _, template in templates], path, findings)
    for name, template in library.templates.items():
        _tell(template, everything, step("$.fragments", name), findings)
        if name not in included:
            findings.add(step("$.fragments", name), f"no prompt uses it; write {{{{fragment:{shown(name)[1:-1]}}}}}")


def _templates(prompt: Prompt, path: str) -> Iterator[tuple[str, Template]]:
    """Give each template of *prompt* with its path."""
    yield step(path, "system_template"), prompt.template
    for model, override in prompt.overrides.items():
        for key, template in override.templates:
            yield step(step(step(path, "model_overrides"), model), key), template


def _include(template: Template, included: set[str]) -> None:
    """Add the names of the fragments that *template* uses, through others too."""
    for part in template.parts:
        if isinstance(part, Inclusion) and part.name not in included:
            included.add(part.name)
            _include(part.template, included)


def _unused(prompt: Prompt, templates: Iterable[Template], path: str, findings: Findings) -> None:
    """Add the variables for which a value must be given that goes nowhere."""
    used: set[str] = set()
    for template in templates:
        used.update(template.names)
        _include(template, used)  # {{name}} is a fragment's only where no value of that name is given
    for place, each in enumerate(prompt.raw.get("variables") or ()):
        binding = each.get("binding")
        given = each.get("default") is not None or (isinstance(binding, dict) and binding.get("auto_populate") is True)
        if each.get("required") is True and not given and each["name"] not in used:
            findings.add(step(step(path, "variables"), place), "is required, and no template uses it")


def _tell(template: Template, declared: set[str], path: str, findings: Findings) -> None:
    for doubt in () if findings.full() else _doubts(template, declared):
        findings.add(path, doubt)


def _doubts(template: Template, declared: set[str]) -> Iterator[str]:
    yield from template.doubts
    used = dict.fromkeys(str(each.steps[0]) for each in template.parts if isinstance(each, Placeholder))
    for name in islice((each for each in used if each not in declared), _MOST):
        yield f"{{{{{shown(name)[1:-1]}}}}} is not declared in variables.{similar(name, declared)}"
    single = re.finditer(r"(?<!\{)\{([^\W\d]\w*)\}(?!\})", template.text)
    for name in dict.fromkeys(match[1] for match in single if match[1] in declared):
        yield f"{{{name}}} is sent as it is; write {{{{{name}}}}} for the variable"
