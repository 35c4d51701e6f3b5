"""The map of the examples: each section of the documents that the library began with, and what shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import anchors, headings, links
from openai_server import ROOT

MAP = ROOT / "examples" / "README.md"
DOCUMENTS = {
    "gopenrouter-streaming": "gopenrouter: Streaming Example",
    "kairos-multi-provider-streaming": "kairos: Example 18: Streaming",
    "promptkit-sdk-v1-streaming-events": "PromptKit SDK v1: Streaming Example, with events",
    "promptkit-sdk-v2-streaming-example": "PromptKit SDK v2: Streaming Example",
    "promptkit-sdk-v2-streaming-tutorial": "PromptKit SDK v2: Tutorial 2",
}
"""The documents by their file's name, and the heading of the map that each is under."""


def rows(heading: str) -> list[list[str]]:
    """Give the rows of the table under a heading of the map, each a list of cells."""
    section = MAP.read_text(encoding="utf-8").partition(f"### {heading}\n")[2].partition("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def mended(text: str) -> str:
    """Give a text whose UTF-8 was taken for Mac Roman as it was meant; any other as it is."""
    try:
        return text.encode("mac_roman").decode("utf-8")
    except UnicodeError:
        return text


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_map_has_every_section_of_a_document(name: str, conformance_data: Path) -> None:
    """In the document's order, none left out, none made up."""
    path = conformance_data.parent / "origins" / f"{name}.md"
    if not path.is_file():
        pytest.skip("the documents are not beside the conformance data")
    sections = [mended(each) for each in headings(path.read_text(encoding="utf-8"))]
    assert [row[0] for row in rows(DOCUMENTS[name])] == sections


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_section_leads_to_something_that_is_there(name: str) -> None:
    """Each row links a program or a page, to the right part of it, and the functions it names are in one of them."""
    for section, where, look in rows(DOCUMENTS[name]):
        there = []
        for path, anchor in links(where):
            there.append((MAP.parent / path).read_text(encoding="utf-8"))
            assert not anchor or anchor in anchors(there[-1]), f"{section}: {path} has no #{anchor}"
        assert there, f"{section} leads nowhere"
        for function in re.findall(r"`([a-z]+_[a-z_]+)`", look):
            assert any(f"def {function}(" in text for text in there), f"{section}: there is no {function}"


def test_what_is_marked_as_played_is_played() -> None:
    """▷ stands beside those that bring a script, and no other."""
    marked = re.findall(r"^\| \[(\w+)\]\(\w+/main\.py\) ▷ \|", MAP.read_text(encoding="utf-8"), re.M)
    assert sorted(set(marked)) == sorted(path.parent.name for path in MAP.parent.glob("*/script.py"))
