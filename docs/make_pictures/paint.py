"""What a terminal shows in, a picture of it in a window out; and any picture made small."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps
from screen import Screen

COLOURS = {
    "black": "#5b6270",
    "red": "#ef6b73",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c98fe6",
    "cyan": "#56c2cf",
    "white": "#c8ccd4",
    "brightblack": "#7f8796",
    "brightred": "#ff8a91",
    "brightgreen": "#b5e890",
    "brightbrown": "#ffd98f",
    "brightblue": "#8cc8ff",
    "brightmagenta": "#e0b0f5",
    "brightcyan": "#86e1ea",
    "brightwhite": "#ffffff",
}
"""By the names that pyte has for them."""
INK, PAPER, BAR, EDGE = "#d7dae0", "#1b1e25", "#2b2f3a", "#b4b8c2"
LIGHTS = ("#ff5f57", "#febc2e", "#28c840")
FONTS = {(False, False): "", (True, False): "-Bold", (False, True): "-Oblique", (True, True): "-BoldOblique"}
"""The ends of the fonts' names, by (bold, italic)."""


@cache
def _font(size: int, bold: bool, italic: bool) -> Any:
    return ImageFont.truetype(f"DejaVuSansMono{FONTS[bold, italic]}.ttf", size)


def window(screen: Screen, title: str, *, size: int = 22, whole: bool = False) -> Image.Image:
    """Draw a screen down to its cursor, or the *whole*, as a window with a title; *size* is that of the letters."""
    font = _font(size, False, False)
    wide = round(font.getlength("M"))
    high = sum(font.getmetrics())
    edge, bar = size // 2 + 4, size * 2
    rows = screen.lines if whole else screen.cursor.y + 1
    extent = (screen.columns * wide + 2 * edge, bar + rows * high + 2 * edge)
    image = Image.new("RGB", extent, PAPER)
    draw = ImageDraw.Draw(image)
    _bar(draw, extent[0], bar, size, title)
    for y in range(rows):
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            ink, paper = _colours(
                cell, cursor=not screen.cursor.hidden and (x, y) == (screen.cursor.x, screen.cursor.y)
            )
            left, top = edge + x * wide, bar + edge + y * high
            if paper != PAPER:
                draw.rectangle((left, top, left + wide - 1, top + high - 1), fill=paper)
            if cell.data.strip():
                draw.text((left, top), cell.data, font=_font(size, cell.bold, cell.italics), fill=ink)
            base = top + font.getmetrics()[0]
            for drawn, height in ((cell.underscore, base + 2), (cell.strikethrough, base - size // 3)):
                if drawn:
                    draw.line((left, height, left + wide - 1, height), fill=ink, width=max(1, size // 16))
    return image


def _bar(draw: ImageDraw.ImageDraw, wide: int, high: int, size: int, title: str) -> None:
    draw.rectangle((0, 0, wide, high - 1), fill=BAR)
    radius = size // 3
    for place, colour in enumerate(LIGHTS):
        x, y = high // 2 + place * 3 * radius, high // 2
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    draw.text((wide / 2, high / 2), title, font=_font(size * 4 // 5, False, False), fill=COLOURS["white"], anchor="mm")


def _colours(cell: Any, *, cursor: bool) -> tuple[str, str]:
    ink, paper = _colour(cell.fg, INK), _colour(cell.bg, PAPER)
    if cell.blink:  # faint: see Screen
        ink = "#" + "".join(f"{(6 * a + 4 * b) // 10:02x}" for a, b in zip(_parts(ink), _parts(paper), strict=True))
    return (paper, ink) if cell.reverse != cursor else (ink, paper)


def _colour(name: str, default: str) -> str:
    return default if name == "default" else COLOURS.get(name) or f"#{name}"


def _parts(colour: str) -> bytes:
    return bytes.fromhex(colour[1:])


def save(image: Image.Image | bytes, path: Path, *, colours: int = 64) -> None:
    """Write a picture, or what a browser took, which gets an edge, as a small PNG of at most so many colours."""
    if isinstance(image, bytes):
        image = ImageOps.expand(Image.open(io.BytesIO(image)).convert("RGB"), 2, EDGE)
    few = image.convert("RGB").quantize(colours, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def save_moving(frames: Sequence[tuple[Image.Image, float]], path: Path, *, colours: int = 24) -> None:
    """Write frames, each with the seconds that it stands, as a GIF that begins again and again."""
    last = frames[-1][0].convert("RGB")
    palette = last.quantize(colours, method=Image.Quantize.MAXCOVERAGE, kmeans=1)
    few = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame, _ in frames]
    times = [max(20, round(seconds * 100) * 10) for _, seconds in frames]
    few[0].save(path, save_all=True, append_images=few[1:], duration=times, loop=0, optimize=False, disposal=1)
