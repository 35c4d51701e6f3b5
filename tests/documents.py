"""A Markdown page in, its blocks, headings and links out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
"""Every page whose blocks are run, by its path in the repository."""


@attrs.frozen
class Block:
    """A fenced block."""

    page: str
    line: int
    """Where its text begins, from 1."""
    language: str
    title: str
    """The name of the file that it is, where the fence has ``title="…"``; else empty."""
    text: str
    gap: str
    """What stands between the block before it and this one."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str, text: str) -> list[Block]:
    """Give the fenced blocks of a page, in order; those in a list or a tab without their indentation."""
    found, after = [], 0
    for fence in re.finditer(r"^( *)```(\S*)(.*)\n((?:.*\n)*?)\1```$", text, re.M):
        indent, language, options, body = fence.groups()
        title = re.search(r'title="([^"]+)"', options)
        found.append(
            Block(
                page,
                text.count("\n", 0, fence.start(4)) + 1,
                language,
                title[1] if title else "",
                re.sub(f"^{indent}", "", body, flags=re.M),
                text[after : fence.start()],
            )
        )
        after = fence.end()
    return found


def read(page: str) -> str:
    """Give a page's text."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str = "python") -> list[str]:
    """Give the texts of a page's blocks in one language, in order."""
    return [block.text for block in blocks_of(page, read(page)) if block.language == language]


def prose(text: str) -> str:
    """Give a page without its fenced blocks."""
    return re.sub(r"^( *)```.*\n(?:.*\n)*?\1```$", "", text, flags=re.M)


def headings(text: str) -> list[str]:
    """Give the headings of a page, without their marks."""
    return re.findall(r"^#+ (.+?) *$", prose(text), re.M)


def anchors(text: str) -> set[str]:
    """Give what a link may have behind its #: headings in small letters, without punctuation, and documented names."""
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings(text)]
    documented = re.findall(r"^::: ([\w.]+)", text, re.M)
    return {heading.strip().replace(" ", "-") for heading in plain} | set(documented)


def links(text: str) -> Iterator[tuple[str, str]]:
    """Give the path and the anchor of each link of a page that leads to something here."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if "://" not in target and not target.startswith("mailto:"):
            path, _, anchor = target.partition("#")
            yield path, anchor
