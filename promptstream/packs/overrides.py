"""A prompt's ``model_overrides`` go in; what each changes comes out, and the one that a model's name calls for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.packs.finding import Findings, step
from promptstream.packs.template import Fragments, Template

if TYPE_CHECKING:
    from promptstream.packs.pack import Prompt

_TEMPLATES = ("system_template_prefix", "system_template", "system_template_suffix")


@attrs.frozen(eq=False)
class Override:
    """Hold what a prompt says for one model, or for all whose names begin alike."""

    prefix: Template | None = None
    """Goes before the system template, with nothing in between."""
    template: Template | None = None
    """Stands in for the system template."""
    suffix: Template | None = None
    """Goes after the system template, with nothing in between."""
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    """Count over the prompt's."""

    @property
    def templates(self) -> Iterator[tuple[str, Template]]:
        """Give its templates, each with its key in the pack."""
        for key, template in zip(_TEMPLATES, (self.prefix, self.template, self.suffix), strict=True):
            if template is not None:
                yield key, template

    def applied(self, prompt: Prompt) -> Prompt:
        """Give *prompt* as it is for the model; it has no overrides any more."""
        parts = [each for each in (self.prefix, self.template or prompt.template, self.suffix) if each is not None]
        whole = parts[0] if len(parts) == 1 else Template.joined(parts)
        return attrs.evolve(
            prompt,
            system_template=whole.text,
            template=whole,
            parameters={**prompt.parameters, **self.parameters},
            overrides={},
        )


def parse(raw: Any, library: Fragments, path: str, findings: Findings) -> dict[str, Override]:
    """Parse the overrides of a prompt, whose shape has been looked at; a template that is none is a fatal finding."""
    from promptstream.packs.loading import parameters  # which imports this module

    made = {}
    for model, given in raw.items() if isinstance(raw, dict) else ():
        if findings.full(fatal=True) or not isinstance(given, dict):
            continue
        here = step(path, model)
        if not model.strip():
            findings.add(here, "names no model; it has no effect")
        templates: dict[str, Template | None] = {}
        for key in _TEMPLATES:
            text, template = given.get(key), None
            if isinstance(text, str):
                template, problems = library.parse(text)
                for problem in problems:
                    findings.add(step(here, key), problem, fatal=True)
            templates[key] = template
        made[model] = Override(
            prefix=templates["system_template_prefix"],
            template=templates["system_template"],
            suffix=templates["system_template_suffix"],
            parameters=parameters(given.get("parameters")),
        )
    return made


def matching(overrides: Mapping[str, Override], model: str) -> Override | None:
    """Give the override for *model*: of its name, of its name after "vendor/", else the longest that begins either."""
    names = dict.fromkeys((model, model.rpartition("/")[2]))
    for name in names:
        if name.strip() and name in overrides:
            return overrides[name]
    prefixes = [each for each in overrides if each.strip() and any(name.startswith(each) for name in names)]
    return overrides[max(prefixes, key=len)] if prefixes else None
