"""Files that go with a message, or bytes that are piped in, in; parts of the message out."""

from __future__ import annotations

import codecs
import os
import re
import stat
import sys
from collections.abc import Iterable

from promptstream.errors import ConfigError
from promptstream.history import attached_parts
from promptstream.values.media import media_type
from promptstream.values.message import Document, Image, Part, Text
from promptstream.values.names import nearest

LARGEST = 32 * 1024 * 1024
"""Bytes; no provider takes a larger request."""
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def attachments(files: Iterable[str]) -> list[Part]:
    """Give the parts that *files* are: images and PDFs by what they begin with, texts with their names.

    Args:
        files: paths, addresses of images, or "-" for standard input.

    Raises:
        ConfigError: one cannot be read, is too large, or is nothing that a model reads.
    """
    parts: list[Part] = []
    size = 0
    for file in files:
        if _ADDRESS.match(file):
            parts += attached_parts([file])
            continue
        data = standard_input() if file == "-" else _read(file)
        name = "standard input" if file == "-" else os.path.basename(file)
        if not data:
            raise ConfigError(f"--attach {file}: it is empty.")
        size += len(data)
        if size > LARGEST:
            what = "it" if size == len(data) else "with what goes before it, it"
            raise ConfigError(f"--attach {file}: {what} is larger than {_mebibytes(LARGEST)}, the most that is sent.")
        part: Part | None = media(data, name)
        if part is None:
            text = as_text(data)
            if text is None:
                raise ConfigError(f"--attach {file}: {_unread(data, file)}")
            part = Text(f"{name}:\n\n{text}")
        parts.append(part)
    return parts


def standard_input() -> bytes:
    """Give all of standard input, to its end; of what is larger than can be sent, a little more than that.

    Raises:
        ConfigError: it cannot be read.
    """
    if sys.stdin is None:
        return b""
    try:
        return sys.stdin.buffer.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"Standard input cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _read(file: str) -> bytes:
    path = os.path.expanduser(file)
    try:
        if _is_device(os.stat(path).st_mode):
            raise ConfigError(f"--attach {file}: it is a device. Give a file; - is standard input.")
        with open(path, "rb") as opened:
            return opened.read(LARGEST + 1)
    except FileNotFoundError:
        folder, name = os.path.split(path)
        there = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        raise ConfigError(f"--attach {file}: there is no such file.{nearest(name, there)}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"--attach {file}: it cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _is_device(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def media(data: bytes, name: str) -> Image | Document | None:
    """Give *data* as an image or a PDF; None where it is neither."""
    kind = media_type(data) or ""
    if kind.startswith("image/"):
        return Image(data=data, media_type=kind)
    return Document(data=data, media_type=kind, name=name) if kind == "application/pdf" else None


def as_text(data: bytes) -> str | None:
    """Give *data* as text, its lines ended as Python has it; None where it is no UTF-8, and no other Unicode either."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else lines_of(text)


def lines_of(text: str) -> str:
    """Give *text* with its lines ended as Python has it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unread(data: bytes, file: str) -> str:
    kind = media_type(data, file) or "of a kind that is not known"
    if kind.startswith("text/") and b"\0" not in data:
        return "it is a text in another encoding than UTF-8. Convert it first, by iconv or the like."
    return f"it is {kind}. Images, PDFs and texts can be attached."


def _mebibytes(size: int) -> str:
    return f"{size / (1024 * 1024):.0f} MiB"
