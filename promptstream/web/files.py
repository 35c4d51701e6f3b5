"""A path in, the page's file that is served under it out."""

from __future__ import annotations

import hashlib
import mimetypes
from importlib.resources import files

import attrs

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No inline script, nothing from elsewhere: what a model writes can run nothing, even if it became part of the page."""


@attrs.frozen
class File:
    """Be one file as it is served."""

    body: bytes
    type: str
    tag: str
    """Its ETag."""


class Files:
    """Hold the page, read once. Any thread may ask."""

    def __init__(self, title: str) -> None:
        self._files: dict[str, File] = {}
        for each in files("promptstream.web").joinpath("page").iterdir():
            if each.is_file() and not each.name.startswith("."):
                self._files[f"/{each.name}"] = _file(each.name, each.read_bytes(), title)
        if "/index.html" in self._files:
            self._files["/"] = self._files["/index.html"]

    def find(self, path: str) -> File | None:
        """Give the file under *path*, or None."""
        return self._files.get(path)


def _file(name: str, body: bytes, title: str) -> File:
    from html import escape

    ending = name[name.rfind(".") :]
    if ending == ".html":
        body = body.replace(b"{{title}}", escape(title).encode())
    kind = _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return File(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
