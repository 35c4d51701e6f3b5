"""Bytes or a file's name in, their media type out."""

from __future__ import annotations

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
)
_TEXTS = {".md": "text/markdown", ".markdown": "text/markdown", ".csv": "text/csv", ".txt": "text/plain"}


def media_type(data: bytes | None, name: str | None = None) -> str | None:
    """Tell the media type by what *data* begins with, else by the ending of *name*; None where neither says."""
    if data is not None:
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return "image/webp"
        if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
            return "image/heic"
        for magic, kind in _MAGIC:
            if data.startswith(magic):
                return kind
    if name:
        from mimetypes import guess_type
        from os.path import splitext

        return _TEXTS.get(splitext(name)[1].lower()) or guess_type(name)[0]
    return None


def read_data_url(url: str) -> tuple[bytes, str | None]:
    """Give the bytes and the media type of a ``data:`` address (RFC 2397).

    Raises:
        ValueError: it is not one, or its base64 is broken.
    """
    from base64 import b64decode
    from urllib.parse import unquote_to_bytes

    head, comma, text = url.partition(",")
    if not comma or not head.startswith("data:"):
        raise ValueError(f"{url[:40]!r} is no data: address.")
    kind, *options = head.removeprefix("data:").split(";")
    data = unquote_to_bytes(text)
    if "base64" in options:
        data = b64decode(data, validate=True)
    return data, kind or None
