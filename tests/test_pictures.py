"""The pictures of the docs: each is shown, is made by ``docs/make_pictures``, and is small."""

from __future__ import annotations

import runpy
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from documents import PAGES, ROOT, links, prose, read

FOLDER = ROOT / "docs" / "pictures"
THERE = sorted(FOLDER.iterdir())
LARGEST = 120 * 1024
ALL = 900 * 1024


@pytest.fixture(scope="module")
def makers() -> dict[str, Callable[[Path], None]]:
    """What makes each picture, by its name."""
    for name in ("pyte", "PIL", "playwright"):
        pytest.importorskip(name, reason=f"{name} is not installed (extra test)")
    made: dict[str, Callable[[Path], None]] = runpy.run_path(str(ROOT / "docs" / "make_pictures"))["PICTURES"]
    return made


def shown() -> set[Path]:
    """Give the pictures that the pages show."""
    targets = {(ROOT / page).parent / path for page in PAGES for path, _ in links(read(page))}
    return {target.resolve() for target in targets if target.suffix in (".png", ".gif")}


def test_every_picture_is_shown_and_every_one_shown_is_there():
    """None is missing, and none is left over."""
    assert {path for path in shown() if path.is_relative_to(FOLDER)} == {*THERE}
    assert [path for path in shown() if not path.is_file()] == []


def test_every_picture_says_in_words_what_it_shows():
    """For those who cannot see it."""
    pictures = [line for page in PAGES for line in prose(read(page)).splitlines() if "pictures/" in line]
    assert pictures
    assert [line for line in pictures if "![](" in line] == []


def test_pictures_are_small():
    """A page with them is loaded at once."""
    sizes = {path.name: path.stat().st_size for path in THERE}
    assert {name for name, size in sizes.items() if size > LARGEST} == set()
    assert sum(sizes.values()) < ALL


def test_every_picture_is_made_by_the_script(makers):
    """None is drawn by hand."""
    assert {path.name for path in THERE} == {*makers}


def test_a_picture_is_made_of_a_real_run(makers, tmp_path):
    """The command runs in a shell on a terminal, and what it shows becomes a picture of the same width."""
    from PIL import ImageFont

    try:
        ImageFont.truetype("DejaVuSansMono.ttf")
    except OSError:
        pytest.skip("the fonts DejaVu are not here")
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    makers["terminal.png"](tmp_path / "terminal.png")
    made, kept = (_size(folder / "terminal.png") for folder in (tmp_path, FOLDER))
    assert made == kept


def _size(path: Path) -> tuple[int, int]:
    """Give a PNG's width and height."""
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return width, height
