"""The rules of the house: who imports whom, how long and how well documented things are, and what no file may hold."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import promptstream

PACKAGE = Path(promptstream.__file__).parent
ROOT = PACKAGE.parent
LONGEST = 400

LAYERS = {
    "promptstream._version": 0,
    "promptstream.values": 0,
    "promptstream.errors": 1,
    "promptstream.history": 2,
    "promptstream.packs": 2,
    "promptstream.recording": 2,
    "promptstream.wire": 2,
    "promptstream.providers": 3,
    "promptstream.exchange": 4,
    "promptstream.answer": 3,
    "promptstream.partial": 1,
    "promptstream.tools": 3,
    "promptstream.middleware": 3,
    "promptstream.state": 3,
    "promptstream.truncation": 3,
    "promptstream.asking": 4,
    "promptstream.claim": 3,
    "promptstream.runner": 1,
    "promptstream.ledger": 5,
    "promptstream.summary": 5,
    "promptstream.lenses": 6,
    "promptstream.rounds": 6,
    "promptstream.spending": 5,
    "promptstream.settings": 6,
    "promptstream.turn": 4,
    "promptstream.buffered": 5,
    "promptstream.queries": 5,
    "promptstream.stream": 6,
    "promptstream.capabilities": 4,
    "promptstream.fallback": 5,
    "promptstream.client": 7,
    "promptstream.upkeep": 7,
    "promptstream.conversation": 8,
    "promptstream.opening": 9,
    "promptstream": 10,
    "promptstream.pricing": 2,
    "promptstream.painter": 1,
    "promptstream.board": 2,
    "promptstream.bars": 3,
    "promptstream.progress": 4,
    "promptstream.notebook": 11,
    "promptstream.pytest_plugin": 11,
    "promptstream.web": 11,
    "promptstream.batch": 11,
    "promptstream.cli": 12,
    "promptstream.__main__": 13,
}
"""Imports run from the greater to the lesser number, and within one room."""
CORE = {"attrs", "requests", "urllib3", "sseclient"}
LAZY = {"orjson", "click", "rich", "xllamacpp", "jsonschema", "referencing", "redis"}
LAZY |= {"opentelemetry", "genai_prices", "websockets", "IPython", "markdown_it", "prompt_toolkit", "tomlkit", "pytest"}
LAZY |= {"distributed", "matplotlib"}


@attrs.frozen
class Import:
    """One import of one module by another."""

    by: str
    """The importing module."""
    of: str
    """The imported one."""
    lazy: bool
    """True where it stands inside a function."""
    types: bool
    """True where only a type checker sees it."""


def modules() -> dict[str, tuple[Path, ast.Module]]:
    """Give every module of the package by its name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = (path, ast.parse(path.read_text(encoding="utf-8")))
    return found


MODULES = modules()


def imports_in(by: str, node: ast.AST, lazy: bool = False, types: bool = False) -> Iterator[Import]:
    """Give the imports below *node*."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(by, alias.name, lazy, types)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{by} imports relatively"
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                yield Import(by, whole if whole in MODULES else str(child.module), lazy, types)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            positive = not isinstance(child.test, ast.UnaryOp)
            for statement in child.body:
                yield from imports_in(by, ast.Module([statement], []), lazy, types or positive)
            for statement in child.orelse:
                yield from imports_in(by, ast.Module([statement], []), lazy, types)
        else:
            inside = lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports_in(by, child, inside, types)


IMPORTS = [each for name, (_, tree) in MODULES.items() for each in imports_in(name, tree)]
REAL = [each for each in IMPORTS if not each.types]
OURS = [each for each in REAL if each.of.partition(".")[0] == "promptstream"]


def room(module: str) -> str:
    """Give the room a module stands in: the longest name in the table of layers."""
    return max((name for name in LAYERS if f"{module}.".startswith(f"{name}.")), key=len)


# Imports


def test_every_module_stands_in_a_room():
    """A new module at the top is given its place in the table first."""
    assert [name for name in MODULES if room(name) == "promptstream" and name != "promptstream"] == []


def test_imports_run_one_way():
    """values ← errors ← wire ← providers ← exchange, turn ← stream ← client ← conversation ← cli; the rest beside."""
    allowed = {("promptstream.providers", "promptstream.client")}  # to hand out a Provider; see below
    wrong = [
        f"{each.by} imports {each.of}"
        for each in OURS
        if room(each.by) != room(each.of)
        and LAYERS[room(each.of)] >= LAYERS[room(each.by)]
        and (room(each.by), room(each.of)) not in allowed
    ]
    assert wrong == []


def test_rooms_of_one_storey_do_not_see_each_other():
    """packs and wire, exchange and turn know nothing of each other."""
    for each in OURS:
        one, other = room(each.by), room(each.of)
        assert one == other or LAYERS[one] != LAYERS[other], each


def test_only_the_registry_reaches_the_client_and_only_inside_functions():
    """Providers hand out a Provider; nothing else in their room knows that there is one."""
    found = {each.by for each in OURS if room(each.by) == "promptstream.providers" and each.of == "promptstream.client"}
    assert found <= {"promptstream.providers", "promptstream.providers.registry"}
    assert all(each.lazy for each in OURS if each.by in found and each.of == "promptstream.client")


def test_values_import_nothing_of_ours_but_values():
    """They stand at the bottom."""
    assert {room(each.of) for each in OURS if room(each.by) == "promptstream.values"} == {"promptstream.values"}


def test_packs_import_values_and_errors_only():
    """They stand beside the flow."""
    seen = {room(each.of) for each in OURS if room(each.by) == "promptstream.packs"}
    assert seen <= {"promptstream.packs", "promptstream.values", "promptstream.errors"}


def test_only_the_transport_imports_requests_and_urllib3():
    """No dialect, no turn and no command line knows what carries the bytes; types are no exception."""
    seen = {each.by for each in IMPORTS if each.of.partition(".")[0] in ("requests", "urllib3")}
    assert seen == {"promptstream.wire.transport", "promptstream.wire.adapter"}


def test_no_dialect_opens_a_connection_by_any_other_means():
    """Sockets and HTTP of the standard library belong to the wire, but for those who listen: relay and local model."""
    network = {"http.client", "urllib.request", "socket", "ssl", "asyncio"}
    seen = {each.by for each in REAL if each.of in network}
    listening = {name for name in seen if room(name) == "promptstream.web"} | {
        "promptstream.providers.local.llama_server"
    }
    assert all(room(name) == "promptstream.wire" for name in seen - listening), seen


def test_conversation_and_turn_never_import_a_provider_by_name():
    """The conversation knows the registry, the turn not even that."""
    reached = {
        (each.by, each.of)
        for each in IMPORTS
        if each.by in ("promptstream.conversation", "promptstream.turn", "promptstream.stream")
        and each.of.startswith("promptstream.providers")
    }
    assert reached <= {("promptstream.conversation", "promptstream.providers.registry")}


def test_nothing_imports_the_command_line():
    """But the module that is run."""
    seen = {each.by for each in OURS if room(each.of) == "promptstream.cli"}
    assert all(room(name) in ("promptstream.cli", "promptstream.__main__") for name in seen)


def test_nothing_is_imported_that_no_requirement_brings():
    """Core packages anywhere; packages of extras only inside functions, the command line's own apart."""
    known = set(sys.stdlib_module_names) | {"promptstream"}
    foreign = [each for each in REAL if each.of.partition(".")[0] not in known]
    assert {each.of.partition(".")[0] for each in foreign} <= CORE | LAZY
    for each in foreign:
        eager = each.of.partition(".")[0] in LAZY and not each.lazy
        assert not eager or room(each.by) == "promptstream.cli", each


# The door


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run *code* in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)


def test_touching_every_public_name_leaves_the_heavy_packages_unloaded():
    """The door is light: the first request pays for requests, the command line for click and rich."""
    code = (
        "import sys, json, threading, promptstream\n"
        "for name in promptstream.__all__: getattr(promptstream, name)\n"
        "for name in promptstream.providers.__all__: getattr(promptstream.providers, name)\n"
        "promptstream.open\n"
        "assert threading.active_count() == 1\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    loaded = set(json.loads(run(code).stdout))
    heavy = {
        "requests",
        "urllib3",
        "sseclient",
        "click",
        "rich",
        "xllamacpp",
        "orjson",
        "jsonschema",
        "redis",
        "opentelemetry",
        "sqlite3",
        "asyncio",
        "http.client",
        "ssl",
    }
    assert loaded & heavy == set()


def test_opening_a_conversation_sends_nothing_and_loads_no_transport():
    """Everything is checked at open; requests is loaded by the first request."""
    code = (
        "import sys, threading, promptstream\n"
        "conv = promptstream.chat('Be brief.', provider='openai', api_key='sk-0123456789')\n"
        "stream = conv.stream('Hello'); iter(stream); stream.close(); conv.close()\n"
        "assert 'requests' not in sys.modules and 'urllib3' not in sys.modules\n"
        "assert threading.active_count() == 1"
    )
    assert run(code).stderr == ""


def test_a_script_is_played_without_a_transport():
    """A user's own tests pay for no network library."""
    code = (
        "import sys, promptstream\n"
        "assert promptstream.providers.Scripted(['Hi']).send('Hello').text == 'Hi'\n"
        "assert 'requests' not in sys.modules"
    )
    assert run(code).stderr == ""


def test_the_public_names_are_these_and_open_is_not_among_them():
    """``from promptstream import *`` never hides the built-in ``open``."""
    assert promptstream.__all__ == sorted(promptstream.__all__)
    assert len(set(promptstream.__all__)) == len(promptstream.__all__)
    assert "open" not in promptstream.__all__
    assert callable(promptstream.open)
    assert {"chat", "load", "Conversation", "Stream", "Provider", "Response", "errors", "providers"} <= set(
        promptstream.__all__
    )


def test_the_package_says_that_it_is_typed():
    """Type checkers look for this file."""
    assert (PACKAGE / "py.typed").is_file()


# Length and documentation


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_short_and_says_what_it_is_for(name):
    """One noun, under 400 lines, and a first line of documentation."""
    path, tree = MODULES[name]
    documentation = ast.get_docstring(tree) or ""
    length = path.read_text(encoding="utf-8").count("\n")
    assert length < LONGEST
    assert documentation.splitlines(), f"{name} has no docstring"
    assert len(documentation.split("\n\n")[0]) > 15


def public(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Give the public functions, classes, and methods of a module with their names."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            if not is_overload(node):
                yield node.name, node
            for member in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(member, kinds) and not member.name.startswith("_") and not sets_property(member):
                    yield f"{node.name}.{member.name}", member


def is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Tell whether it is one of several signatures of the function that follows, which has the docstring."""
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)


def sets_property(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Tell whether it is a property's setter, which the property's own docstring covers."""
    return any(isinstance(each, ast.Attribute) and each.attr == "setter" for each in node.decorator_list)


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring(name):
    """Functions, classes, methods and properties say what they do."""
    bare = [what for what, node in public(MODULES[name][1]) if not ast.get_docstring(node)]
    assert bare == []


def test_nothing_unfinished_is_left_lying_about():
    """Notes to oneself are not for the shelf."""
    words = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
    assert [name for name, (path, _) in MODULES.items() if words.search(path.read_text(encoding="utf-8"))] == []


def test_nothing_prints_but_the_command_line():
    """A library is quiet."""
    seen = {
        name
        for name, (_, tree) in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert {room(name) for name in seen} <= {"promptstream.cli"}


# The tests themselves


def every_test() -> Iterator[tuple[Path, ast.FunctionDef]]:
    """Give every test function with its file."""
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield path, node


def test_every_test_states_its_promise_in_a_line():
    """A docstring of one sentence or two says what is promised."""
    bare = [f"{path.name}: {node.name}" for path, node in every_test() if not (ast.get_docstring(node) or "").strip()]
    assert bare == []


def test_no_two_tests_of_a_file_have_one_name():
    """The first of them would never run."""
    seen: set[tuple[str, str]] = set()
    for path, node in every_test():
        assert (path.name, node.name) not in seen
        seen.add((path.name, node.name))


# What no file may hold


def files() -> list[Path]:
    """Give the files of the checkout that are tracked or could be; none where this is no checkout."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git checkout")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_package_index_or_a_place_outside_the_checkout():
    """Packages come from wherever pip is configured to look; paths stay inside, the default of the data apart."""
    words = ["gro.ipyp"[::-1], "gro.detsohnohtyp"[::-1], "/krow/"[::-1], "derahs/.."[::-1]]
    wrong = []
    for path in files():
        text = path.read_bytes().decode("utf-8", "replace")
        for word in words[:-1] if path.name == "conftest.py" else words:
            if word in text:
                wrong.append(f"{path.relative_to(ROOT)} holds {word}")
    assert wrong == []


def test_no_file_holds_a_key():
    """What looks like a key of a vendor's is an example at best, and examples are short."""
    keys = re.compile(r"\b(sk-[A-Za-z0-9_-]{32,}|sk-ant-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{30,})")
    assert [path.name for path in files() if keys.search(path.read_bytes().decode("utf-8", "replace"))] == []
