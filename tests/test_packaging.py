"""The package as it is installed: its metadata, its files, its command, and the links of its documents."""

from __future__ import annotations

import configparser
import importlib.util
import re
import subprocess
import sys
from email import message_from_string
from pathlib import Path

import pytest

import promptstream

ROOT = Path(promptstream.__file__).parents[1]
needs_checkout = pytest.mark.skipif(not (ROOT / "setup.cfg").is_file(), reason="needs the checkout, with setup.cfg")
needs_setuptools = pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None, reason="needs setuptools, to build the metadata"
)
pytestmark = needs_checkout
USED = {"cli", "cost", "fast", "local", "notebook", "otel", "redis", "report", "tools", "web"}
EXTRAS = USED | {"all", "bench", "docs", "test"}


@pytest.fixture(scope="module")
def config() -> configparser.ConfigParser:
    """Give setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build metadata and package into a directory, as an installer would."""
    target = tmp_path_factory.mktemp("built")
    for command in (["egg_info", "--egg-base", str(target)], ["build_py", "--build-lib", str(target / "lib")]):
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", *command], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return target


def lines(text: str) -> list[str]:
    """Give the lines of a value that are not empty."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_the_distribution_has_its_name_and_the_version_of_the_package(config):
    """``promptstream-sdk``, because the bare name is taken; the version stands in one place."""
    metadata = config["metadata"]
    assert metadata["name"] == "promptstream-sdk"
    assert metadata["version"] == "attr: promptstream._version.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", promptstream.__version__)
    assert metadata["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / metadata["license_files"]).read_text(encoding="utf-8")


def test_every_python_from_3_10_to_3_14_is_named(config):
    """What is promised is what the classifiers say."""
    assert config["options"]["python_requires"] == ">=3.10"
    named = re.findall(r"Python :: (3\.\d+)", config["metadata"]["classifiers"])
    assert named == ["3.10", "3.11", "3.12", "3.13", "3.14"]


def test_the_core_needs_four_packages(config):
    """Everything else is an extra; urllib3 is one whose bounded decoding is sound."""
    assert lines(config["options"]["install_requires"]) == [
        "requests>=2.32",
        "urllib3>=2.6.3",
        "sseclient-py>=1.8",
        "attrs>=23.2",
    ]


def test_the_extras_are_these_and_all_has_all(config):
    """cli, local, fast for users, all for everything of theirs, test and bench for the checkout."""
    extras = config["options.extras_require"]
    assert set(extras) == EXTRAS
    assert lines(extras["all"]) == [f"promptstream-sdk[{','.join(sorted(USED))}]"]
    packages = [line.partition(">")[0] for line in lines(extras["cli"])]
    assert packages == ["click", "prompt_toolkit", "rich", "tomlkit"]
    assert {line.partition(">")[0] for line in lines(extras["local"])} == {"xllamacpp", "promptstream-sdk[cli]"}
    single = {"fast": "orjson", "tools": "jsonschema", "redis": "redis", "otel": "opentelemetry-api"}
    single |= {"cost": "genai-prices", "web": "websockets", "report": "matplotlib"}
    for name, package in single.items():
        assert [line.partition(">")[0] for line in lines(extras[name])] == [package]
    (own,) = [line for line in lines(extras["test"]) if line.startswith("promptstream-sdk[")]
    assert set(own.partition("[")[2].rstrip("]").split(",")) >= USED


def test_the_command_is_the_one_of_the_command_line(config):
    """``promptstream`` runs ``promptstream_command:main``, which is there before the package is imported."""
    assert lines(config["options.entry_points"]["console_scripts"]) == ["promptstream = promptstream_command:main"]
    from promptstream_command import main

    assert callable(main)


def test_a_warning_fails_the_suite(config):
    """Nothing is deprecated, leaked or forgotten quietly."""
    assert lines(config["tool:pytest"]["filterwarnings"]) == ["error"]


@needs_setuptools
def test_the_built_metadata_says_so(built):
    """What an installer reads is what was meant."""
    info = built / "promptstream_sdk.egg-info"
    metadata = message_from_string((info / "PKG-INFO").read_text(encoding="utf-8"))
    assert metadata["Name"] == "promptstream-sdk"
    assert metadata["Version"] == promptstream.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert set(metadata.get_all("Provides-Extra")) == EXTRAS
    assert lines((info / "entry_points.txt").read_text()) == [
        "[console_scripts]",
        "promptstream = promptstream_command:main",
        "[pytest11]",
        "promptstream = pytest_promptstream",
    ]
    assert (info / "top_level.txt").read_text().split() == [
        *("promptstream", "promptstream_command", "pytest_promptstream"),
    ]
    requires = (info / "requires.txt").read_text()
    assert [line.partition(">")[0] for line in lines(requires.partition("[")[0])] == [
        *("requests", "urllib3", "sseclient-py", "attrs"),
    ]


@needs_setuptools
def test_the_built_package_has_every_module_and_the_typing_marker_and_nothing_else(built):
    """No room is forgotten, no test or example slips in."""
    package = Path(promptstream.__file__).parent
    here = {path.relative_to(package.parent) for path in package.rglob("*.py")} | {Path("promptstream/py.typed")}
    here |= {Path("promptstream_command.py"), Path("pytest_promptstream.py")}
    here |= {path.relative_to(package.parent) for path in (package / "web" / "page").iterdir()}
    there = {path.relative_to(built / "lib") for path in (built / "lib").rglob("*") if path.is_file()}
    assert there == here


def documents() -> list[Path]:
    """Give the documents of the checkout."""
    return sorted(
        path
        for folder in (ROOT, ROOT / "docs", ROOT / "examples", ROOT / "benchmarks")
        for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
    )


def test_the_documents_are_there():
    """A front page, what changed, and how it is built."""
    assert {"README.md", "CHANGELOG.md"} <= {path.name for path in ROOT.glob("*.md")}
    assert (ROOT / "docs" / "architecture.md").is_file()


def test_every_link_of_every_document_leads_somewhere():
    """Relative links point to files and folders of the checkout."""
    broken = []
    for path in documents():
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (path.parent / target.partition("#")[0]).exists():
                broken.append(f"{path.relative_to(ROOT)} → {target}")
    assert broken == []


def test_the_files_that_the_front_page_names_in_its_commands_exist():
    """What is pasted from the README finds its files."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", readme, re.DOTALL))
    named = re.findall(r"\b(?:examples|docs|benchmarks|tests)/[\w./-]+", commands)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_second_command_of_the_front_page_installs_and_tests():
    """Continuous integration takes it from there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = [line for line in readme.splitlines() if "pip install -q -e" in line]
    assert '".[test]"' in command
    assert command.endswith("python -m pytest -n auto")


def test_the_python_of_the_front_page_is_valid():
    """Every block compiles as it stands."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        compile(block, "README.md", "exec")


def test_the_front_page_says_the_name_to_install():
    """The distribution's name, which is not the import's."""
    mentions = re.findall(r"pip install [^\n`]*", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert mentions
    assert not [each for each in mentions if re.search(r"(?<![\w./-])'?promptstream(?!-sdk)", each)]


def test_the_changelog_has_this_version_or_what_is_not_released_yet():
    """Whoever updates can read what changed."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{promptstream.__version__}]" in text or "## [Unreleased]" in text
