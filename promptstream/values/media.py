"""Bytes or a file's name in, their media type out."""

from __future__ import annotations

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
)
_BRANDS = {
    b"ftypheic": "image/heic",
    b"ftypheix": "image/heic",
    b"ftypmif1": "image/heic",
    b"ftypavif": "image/avif",
}
"""Of ISO base media files: what they begin with, after four bytes."""
_TEXTS = {".md": "text/markdown", ".markdown": "text/markdown", ".csv": "text/csv", ".txt": "text/plain"}


def media_type(data: bytes | None, name: str | None = None) -> str | None:
    """Tell the media type by what *data* begins with, else by the ending of *name*; None where neither says."""
    if data is not None:
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return "image/webp"
        if data[4:12] in _BRANDS:
            return _BRANDS[data[4:12]]
        if data[:2] == b"BM" and data[6:10] == b"\0\0\0\0":  # reserved; many a text begins with these letters
            return "image/bmp"
        for magic, kind in _MAGIC:
            if data.startswith(magic):
                return kind
    if name:
        from mimetypes import guess_type
        from os.path import splitext

        return _TEXTS.get(splitext(name)[1].lower()) or guess_type(name)[0]
    return None


def is_data_url(text: str) -> bool:
    """Tell whether *text* is an address that holds what it names."""
    return text[:5].lower() == "data:"


def read_data_url(url: str) -> tuple[bytes, str | None]:
    """Give the bytes and the media type of a ``data:`` address (RFC 2397).

    Raises:
        ValueError: it is not one, or its base64 is broken.
    """
    from base64 import b64decode
    from urllib.parse import unquote_to_bytes

    head, comma, text = url.partition(",")
    if not comma or not is_data_url(head):
        raise ValueError(f"{url[:40]!r} is no data: address.")
    kind, *options = head[len("data:") :].split(";")
    data = unquote_to_bytes(text)
    if "base64" in options:
        data = b64decode(b"".join(data.split()), validate=True)  # long ones are often written over several lines
    return data, kind.strip().lower() or None
