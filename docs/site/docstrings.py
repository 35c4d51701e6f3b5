"""Docstrings as they are read in an editor in, Markdown out. An extension of Griffe, which makes the API reference."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:func|class|meth|mod|attr|exc|data):`~?([\w.]+)`")


class Docstrings(Extension):
    """Turn references and the double colons before examples into what Markdown knows."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of each object."""
        if obj.docstring is not None:
            text = ROLE.sub(r"`\1`", obj.docstring.value)
            text = re.sub(r"^::\n\n", "", text, flags=re.M)
            obj.docstring.value = re.sub(r"(\S)::\n\n(?= )", r"\1:\n\n", text)
