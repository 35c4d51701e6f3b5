"""The evals, workflow, agents, skills and compositions of a pack go in, findings come out.

They are kept for others to use and run by nobody here, so that nothing that is wrong with them is fatal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from promptstream.packs.finding import Findings, shown, similar, step
from promptstream.packs.shape import FLAG, TEXT, TEXTS, Shape, measure

_NUMBER = Shape("number")
_AT_LEAST_ONE = Shape("whole number", low=1)
_METRIC_NAME = (r"[a-zA-Z_:][a-zA-Z0-9_:]*", "letters, digits, _ and :, not starting with a digit")
_TRIGGERS = ("every_turn", "on_session_complete", "sample_turns", "sample_sessions", "on_conversation_complete",
             "on_workflow_step")  # fmt: skip
_METRIC = Shape(
    "object",
    open=True,
    needed=("name", "type"),
    keys={
        "name": Shape("string", form=_METRIC_NAME),
        "type": Shape("string", choices=("gauge", "counter", "histogram", "boolean")),
        "range": Shape("object", open=True, keys={"min": _NUMBER, "max": _NUMBER}),
    },
)
_EVAL = Shape(
    "object",
    needed=("id", "type", "trigger"),
    keys={
        "id": Shape("string", filled=True),
        "description": TEXT,
        "type": Shape("string", filled=True),
        "trigger": Shape("string", choices=_TRIGGERS),
        "sample_percentage": Shape("number", low=0, high=100),
        "enabled": FLAG,
        "params": Shape("object"),
        "metric": _METRIC,
        "threshold": Shape("object", keys={"operator": TEXT, "value": _NUMBER}),
        "message": TEXT,
        "when": Shape("object"),
        "groups": TEXTS,
    },
)
_ARTIFACT = Shape(
    "object",
    needed=("type",),
    keys={"type": TEXT, "description": TEXT, "mode": Shape("string", choices=("replace", "append"))},
)
_STATE = Shape(
    "object",
    keys={
        "prompt_task": TEXT,
        "description": TEXT,
        "on_event": Shape("object", each=TEXT),
        "persistence": Shape("string", choices=("transient", "persistent")),
        "orchestration": Shape("string", choices=("internal", "external", "hybrid", "composition")),
        "composition": TEXT,
        "skills": TEXT,
        "terminal": FLAG,
        "max_visits": _AT_LEAST_ONE,
        "on_max_visits": TEXT,
        "artifacts": Shape("object", each=_ARTIFACT),
    },
)
_WORKFLOW = Shape(
    "object",
    needed=("version", "entry", "states"),
    keys={
        "version": _AT_LEAST_ONE,
        "entry": TEXT,
        "states": Shape("object", each=_STATE, filled=True),
        "engine": Shape("object", open=True, keys={"budget": Shape("object", each=_AT_LEAST_ONE)}),
    },
)
_MEMBER = Shape(
    "object",
    keys={"description": TEXT, "tags": TEXTS, "input_modes": TEXTS, "output_modes": TEXTS, "state": TEXT},
)
_AGENTS = Shape(
    "object", needed=("entry", "members"), keys={"entry": TEXT, "members": Shape("object", each=_MEMBER, filled=True)}
)
_SKILL_PATH = Shape("object", keys={"path": TEXT, "dir": TEXT, "preload": FLAG})
_SKILL_TEXT = Shape("string", filled=True)
_SKILL_INLINE = Shape(
    "object",
    needed=("name", "description", "instructions"),
    keys={"name": _SKILL_TEXT, "description": _SKILL_TEXT, "instructions": _SKILL_TEXT},
)
_COMPOSITION = Shape(
    "object",
    needed=("version", "steps"),
    keys={
        "version": Shape("whole number", low=1, high=1),
        "description": TEXT,
        "input_schema": TEXT,
        "output_schema": TEXT,
        "output": TEXT,
        "steps": Shape("array", filled=True, each=Shape("object")),
        "engine": Shape("object"),
    },
)
_STEP_NAME = (r"[a-zA-Z_][a-zA-Z0-9_]*", "letters, digits and _, not starting with a digit")
_MODIFIERS = Shape(
    "object",
    open=True,
    keys={"retry": Shape("object", open=True, keys={"max_attempts": _AT_LEAST_ONE}), "eval": TEXTS},
)
_PATH = {"path": TEXT}
_EXISTS = Shape("object", open=True, needed=("path", "exists"), keys={**_PATH, "exists": FLAG})
_COMPARES = Shape(
    "object",
    open=True,
    needed=("path", "op", "value"),
    keys={
        **_PATH,
        "op": Shape(
            "string",
            choices=(
                "equals",
                "not_equals",
                "in",
                "not_in",
                "less_than",
                "less_than_or_equals",
                "greater_than",
                "greater_than_or_equals",
            ),
        ),
    },
)
_STEP = {
    "id": Shape("string", form=_STEP_NAME),
    "kind": TEXT,
    "description": TEXT,
    "depends_on": TEXTS,
    "modifiers": _MODIFIERS,
    "prompt_task": TEXT,
    "tool": TEXT,
    "then": TEXT,
    "else": TEXT,
    "input": Shape("string or an object"),
    "output_schema": TEXT,
    "tools": TEXTS,
    "termination": Shape("object", open=True, keys={"max_steps": _AT_LEAST_ONE, "tool_called": TEXT}, filled=True),
    "args": Shape("object"),
    "predicate": Shape("object"),
    "reduce": Shape("object", open=True, keys={"strategy": TEXT, "into": TEXT}, needed=("strategy", "into")),
    "branches": Shape("array", each=Shape("object")),
}
_STEP_NEEDS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt_task",),
    "agent": ("prompt_task", "termination"),
    "tool": ("tool",),
    "branch": ("predicate", "then"),
    "parallel": ("branches", "reduce"),
}


def check(pack: Mapping[str, Any], findings: Findings) -> None:
    """Add what is wrong with these parts of *pack*, whatever the shape of the rest, to *findings*."""
    prompts = _mapping(pack.get("prompts"))
    _evals(pack.get("evals"), "$.evals", findings)
    for name, prompt in prompts.items():
        if isinstance(prompt, dict):
            _evals(prompt.get("evals"), step(step("$.prompts", name), "evals"), findings)
    states = _mapping(_mapping(pack.get("workflow")).get("states"))
    if isinstance(pack.get("workflow"), dict):
        _workflow(pack["workflow"], pack, findings)
    if isinstance(pack.get("agents"), dict):
        _agents(pack["agents"], prompts, states, findings)
    skills = pack.get("skills")
    for place, skill in enumerate(skills if isinstance(skills, list) else ()):
        _skill(skill, step("$.skills", place), findings)
    for name, each in _mapping(pack.get("compositions")).items():
        _composition(each, pack, step("$.compositions", name), findings)


def escapes(path: str) -> bool:
    """Tell whether *path* may lead out of the folder in which the pack is."""
    parts = path.replace("\\", "/").split("/")
    return parts[0] in ("", "~") or ":" in parts[0] or ".." in parts or "\0" in path


def _evals(evals: Any, path: str, findings: Findings) -> None:
    seen: set[str] = set()
    for place, each in enumerate(evals if isinstance(evals, list) else ()):
        here = step(path, place)
        measure(each, _EVAL, here, findings)
        if not isinstance(each, dict):
            continue
        name = each.get("id")
        if isinstance(name, str):
            if name in seen:
                findings.add(
                    step(here, "id"), f"{shown(name)} is there more than once; give each eval an id of its own"
                )
            seen.add(name)


def _workflow(workflow: Mapping[str, Any], pack: Mapping[str, Any], findings: Findings) -> None:
    measure(workflow, _WORKFLOW, "$.workflow", findings)
    states, prompts = _mapping(workflow.get("states")), _mapping(pack.get("prompts"))
    _named(workflow.get("entry"), states, "state", "$.workflow.entry", findings)
    for name, state in states.items():
        if not isinstance(state, dict):
            continue
        here = step("$.workflow.states", name)
        composed = state.get("orchestration") == "composition"
        if "prompt_task" not in state and not composed:
            findings.add(step(here, "prompt_task"), "is missing")
        if composed and "composition" not in state:
            findings.add(step(here, "composition"), "is missing; the orchestration is 'composition'")
        _named(state.get("prompt_task"), prompts, "prompt", step(here, "prompt_task"), findings)
        compositions = _mapping(pack.get("compositions"))
        _named(state.get("composition"), compositions, "composition", step(here, "composition"), findings)
        _named(state.get("on_max_visits"), states, "state", step(here, "on_max_visits"), findings)
        for event, target in _mapping(state.get("on_event")).items():
            _named(target, states, "state", step(step(here, "on_event"), event), findings)
        if not state.get("on_event") and state.get("terminal") is not True:
            findings.add(step(here, "on_event"), 'is missing; of an end say "terminal": true')
        if state.get("terminal") is True and state.get("on_event"):
            findings.add(step(here, "on_event"), "has no effect in a terminal state")
        skills = state.get("skills")
        if isinstance(skills, str) and escapes(skills):
            findings.add(step(here, "skills"), _outside(skills))


def _agents(agents: Mapping[str, Any], prompts: Any, states: Mapping[str, Any], findings: Findings) -> None:
    measure(agents, _AGENTS, "$.agents", findings)
    members = _mapping(agents.get("members"))
    _named(agents.get("entry"), members, "member", "$.agents.entry", findings)
    for name, member in members.items():
        here = step("$.agents.members", name)
        if name not in prompts:
            findings.add(here, f"there is no prompt {shown(name)}.{similar(name, prompts)}")
        _named(_mapping(member).get("state"), states, "state", step(here, "state"), findings)


def _skill(skill: Any, path: str, findings: Findings) -> None:
    where = skill if isinstance(skill, str) else None
    if isinstance(skill, dict) and ("path" in skill or "dir" in skill):
        measure(skill, _SKILL_PATH, path, findings)
        where = skill.get("path", skill.get("dir"))
    elif isinstance(skill, dict):
        measure(skill, _SKILL_INLINE, path, findings)
    elif not isinstance(skill, str):
        findings.add(path, "must be a path, or an object with a path, or one of name, description and instructions")
    if isinstance(where, str) and escapes(where):
        findings.add(path, _outside(where))


def _outside(path: str) -> str:
    return f"{shown(path)} leads out of the pack's folder; it is never read"


def _composition(composition: Any, pack: Mapping[str, Any], path: str, findings: Findings) -> None:
    measure(composition, _COMPOSITION, path, findings)
    if not isinstance(composition, dict):
        return
    steps = list(_steps(composition.get("steps"), step(path, "steps")))
    ids: set[str] = set()
    for here, each in steps:
        _step(each, here, findings)
        name = each.get("id")
        if isinstance(name, str):
            if name in ids:
                findings.add(step(here, "id"), f"{shown(name)} is there more than once; give each step one of its own")
            ids.add(name)
    prompts, tools = _mapping(pack.get("prompts")), _mapping(pack.get("tools"))
    for here, each in steps:
        _named(each.get("prompt_task"), prompts, "prompt", step(here, "prompt_task"), findings)
        _named(each.get("tool"), tools, "tool", step(here, "tool"), findings)
        for key in ("then", "else"):
            _named(each.get(key), ids, "step", step(here, key), findings)
        before = each.get("depends_on")
        for place, other in enumerate(before if isinstance(before, list) else ()):
            _named(other, ids, "step", step(step(here, "depends_on"), place), findings)
    _named(composition.get("output"), ids, "step", step(path, "output"), findings)


def _step(given: Mapping[str, Any], path: str, findings: Findings) -> None:
    sort = given.get("kind")
    needed = _STEP_NEEDS.get(sort, ()) if isinstance(sort, str) else ()
    measure(given, Shape("object", open=True, keys=_STEP, needed=("id", "kind", *needed)), path, findings)
    if isinstance(sort, str) and sort not in _STEP_NEEDS and "." not in sort:
        known = f"{', '.join(_STEP_NEEDS)}, nor a vendor's (vendor.kind)"
        findings.add(step(path, "kind"), f"{shown(sort)} is none of {known}.{similar(sort, _STEP_NEEDS)}")
    _predicate(given.get("predicate"), step(path, "predicate"), findings)
    ending = given.get("termination")
    if ending and isinstance(ending, dict) and not ending.keys() & {"max_steps", "tool_called"}:
        findings.add(step(path, "termination"), "needs max_steps or tool_called, or the step never ends")
    branches = given.get("branches")
    if isinstance(branches, list) and len(branches) < 2:
        findings.add(step(path, "branches"), "must be two steps or more")


def _predicate(given: Any, path: str, findings: Findings) -> None:
    if not isinstance(given, dict):
        return
    for key in ("all_of", "any_of"):
        several = given.get(key)
        if key in given:
            measure(several, Shape("array", each=Shape("object")), step(path, key), findings)
        for place, each in enumerate(several if isinstance(several, list) else ()):
            _predicate(each, step(step(path, key), place), findings)
    if "not" in given:
        measure(given["not"], Shape("object"), step(path, "not"), findings)
        _predicate(given["not"], step(path, "not"), findings)
    if not given.keys() & {"all_of", "any_of", "not"}:
        measure(given, _EXISTS if "exists" in given else _COMPARES, path, findings)


def _steps(steps: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give each step with its path, those of parallel branches too."""
    for place, each in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(each, dict):
            here = step(path, place)
            yield here, each
            yield from _steps(each.get("branches"), step(here, "branches"))


def _named(name: Any, known: Iterable[str], what: str, path: str, findings: Findings) -> None:
    """Add that *name* names nothing known; one that is no string is another finding."""
    if isinstance(name, str) and name not in known and not findings.full():
        findings.add(path, f"there is no {what} {shown(name)}.{similar(name, known)}")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
