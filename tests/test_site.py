"""The site that mkdocs makes of docs: built without a warning or a network, every link alive, every name in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module, util
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from documents import PAGES, ROOT, headings, read

import promptstream
from promptstream import errors

needs_mkdocs = pytest.mark.skipif(
    util.find_spec("mkdocs") is None or util.find_spec("material") is None, reason="needs the extra docs"
)
ROOMS = ("providers", "tools", "middleware", "packs", "state", "truncation", "web")
"""Modules whose ``__all__`` is for users."""


class Page(HTMLParser):
    """What of a page of the site links to something, and what can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.fetched: list[str] = []
        """What a browser fetches by itself."""

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        """Take down a tag."""
        has = {name: value or "" for name, value in given}
        self.anchors.update({has[name] for name in ("id", "name") if name in has})
        if tag == "a" and "href" in has:
            self.targets.append(has["href"])
        elif "src" in has or (tag == "link" and "href" in has):
            self.fetched.append(has.get("src") or has["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, strictly."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "true", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if not line.startswith("INFO ")]
    assert (done.returncode, done.stdout, told) == (0, "", [])
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Give every page of the site, read."""
    found = {}
    for path in site.rglob("*.html"):
        found[path] = Page()
        found[path].feed(path.read_text(encoding="utf-8"))
    return found


@needs_mkdocs
def test_every_page_of_docs_is_a_page_of_the_site(site):
    """And so are the files that they link to, such as the examples."""
    for page in PAGES[1:]:
        assert (site / page.removeprefix("docs/")).with_suffix(".html").is_file(), page
    assert (site / "repository" / "examples" / "hello" / "main.py.html").is_file()
    assert not (site / "site").exists()


@needs_mkdocs
def test_every_link_of_the_site_leads_somewhere(site, pages):
    """Pages, files and headings are there."""
    dead = set()
    for path, page in pages.items():
        for target in page.targets + page.fetched:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            if not there.is_file() or (there in pages and parts.fragment not in {"", *pages[there].anchors}):
                dead.add(f"{path.relative_to(site)}: {target}")
    assert dead == set()


@needs_mkdocs
def test_the_site_fetches_nothing_from_elsewhere(site, pages):
    """No font, script or picture of another host: it is read without a network, and nobody learns who reads it."""
    fetched = {each for page in pages.values() for each in page.fetched if urlsplit(each).netloc}
    assert fetched == set()
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", path.read_text(encoding="utf-8")), path


@needs_mkdocs
def test_the_navigation_has_every_page(pages, site):
    """A page that nobody finds is not there."""
    listed = {(site / "index.html").parent / unquote(each) for each in pages[site / "index.html"].targets}
    linked = {path.resolve() for path in listed if path.suffix == ".html"}
    written = {(site / page.removeprefix("docs/")).with_suffix(".html").resolve() for page in PAGES[1:]}
    assert written <= linked | {(site / "index.html").resolve()}


# The reference, which needs no building


def documented() -> set[str]:
    """Give what the pages of the reference document, by full name."""
    return {
        name
        for page in PAGES
        if page.startswith("docs/api/")
        for name in re.findall(r"^::: ([\w.]+)", read(page), re.M)
    }


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_the_reference_has_every_public_name(room):
    """What a user may import is in it, and nothing else is."""
    if room and util.find_spec(f"promptstream.{room}") is None:
        pytest.skip(f"there is no {room}")
    module = import_module(f"promptstream.{room}" if room else "promptstream")
    rooms = {name for name in module.__all__ if f"{module.__name__}.{name}" in sys.modules and not room}
    there = set(module.__all__) - rooms - {"PromptStreamError", "StreamError", "__version__"}
    assert there <= {name.removeprefix(f"{module.__name__}.") for name in documented()}


def test_the_reference_has_every_error():
    """Each class of the tree, with what it stands for."""
    classes = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
    assert {f"promptstream.errors.{name}" for name in classes} <= documented()
    tree = errors.__doc__.partition("::\n\n")[2].rstrip()
    assert tree in read("docs/api/errors.md")


def test_the_reference_documents_what_is_there():
    """A name that was taken away is taken out."""
    for name in documented():
        place, _, last = name.rpartition(".")
        found = promptstream if place == "promptstream" else import_module(place)
        assert hasattr(found, last), name


HEADINGS = {
    "What You'll Learn": "What you'll learn",
    "Why Streaming?": "Why streaming?",
    "Prerequisites": "Prerequisites",
    "Basic Streaming": "Basic streaming",
    "Understanding Stream Chunks": "Understanding stream chunks",
    "Chunk Types": "Chunk types",
    "Collecting Full Response": "Collecting the full response",
    "Progress Tracking": "Progress tracking",
    "Interactive Streaming Chat": "Interactive streaming chat",
    "Error Handling": "Error handling",
    "Timeout with Context": "Timeout",
    "What You've Learned": "What you've learned",
    "Next Steps": "Next steps",
    "Complete Example": "Complete example",
}
"""The headings of the tutorial on streaming that this library began with, and where the same is told here."""


def test_the_tutorial_on_streaming_goes_step_by_step_as_the_first_one_did():
    """Each step has its counterpart, in the same order."""
    assert headings(read("docs/tutorials/streaming.md"))[1:] == [*HEADINGS.values()]
