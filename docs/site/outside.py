"""A page's links to files outside of docs in, pages of the site that show these files out. A hook of MkDocs.

The pages link to ``../examples/hello/main.py`` and the like, which works where the repository is browsed. For the site
each such file comes below ``repository/``: Markdown as a page, a program as a listing, anything else as it is.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
LISTED = {".py": "python", ".json": "json", ".cfg": "ini", ".js": "javascript", "": "text"}
"""Kinds of files that are shown as a listing, and in which language."""
FOLDER = "repository"


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each file outside of docs that the navigation, a page, or such a file links to."""
    docs = Path(config.docs_dir)
    root = docs.parent
    listed = re.findall(rf"'{FOLDER}/(.+?)'", str(config.nav))
    waiting = [("", "".join(f"[]({path})" for path in listed))]
    waiting += [(f"{docs.name}/{file.src_uri}", file.content_string) for file in files.documentation_pages()]
    seen: set[str] = set()
    while waiting:
        place, text = waiting.pop()
        for target in LINK.findall(text):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
            if path in seen or path.startswith((f"{docs.name}/", "..")) or not (root / path).is_file():
                continue
            seen.add(path)
            content: str | bytes = (root / path).read_bytes()
            if path.endswith(".md"):
                content = content.decode()
                waiting.append((path, content))
            elif (language := LISTED.get(Path(path).suffix)) is not None:
                content = f"# {path}\n\n````{language}\n{content.decode()}````\n"
            files.append(File.generated(config, _place(path), content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links to files outside of docs to their pages, and those of such a file back into docs."""
    docs = Path(config.docs_dir).name
    here = page.file.src_uri
    place = here[len(FOLDER) + 1 :] if here.startswith(f"{FOLDER}/") else f"{docs}/{here}"

    def led(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), link[1]))
        inside = path[len(docs) + 1 :] if path.startswith(f"{docs}/") else _place(path)
        if files.get_file_from_path(inside) is None:
            return link[1]
        return posixpath.relpath(inside, posixpath.dirname(here) or ".")

    return LINK.sub(led, markdown)


def _place(path: str) -> str:
    return f"{FOLDER}/{path}.md" if Path(path).suffix in LISTED else f"{FOLDER}/{path}"
