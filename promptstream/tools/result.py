"""What a tool returned in, the bounded text that the model reads out."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from promptstream.errors import ToolError
from promptstream.values.surrogates import mend

MAX_RESULT = 1 << 20
"""Bytes of one result in UTF-8."""


def encode_result(value: Any, limit: int = MAX_RESULT) -> str:
    """Give *value* as the text that answers a call: a string as it is, all else as compact JSON; None as ``null``.

    What is larger than *limit* bytes is cut between two characters and a note says so; it is no valid JSON then.

    Raises:
        ToolError: it holds something that JSON cannot express, or is nested more than 64 deep.
    """
    if isinstance(value, str) and not isinstance(value, Enum):
        return _cut(mend(str(value)), limit)  # of a Secret, what it shows
    from promptstream.tools.unstructure import Plainer

    plainer = Plainer(limit + 1)
    try:
        plain = plainer.plain(value)
    except ToolError as error:
        raise ToolError(f"The tool's result cannot be encoded: {error}") from None
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _cut(mend(text), limit, more=plainer.cut)


def _cut(text: str, limit: int, *, more: bool = False) -> str:
    """Cut *text* after *limit* bytes; *more* says that it is not all there was."""
    data = text.encode()
    if len(data) <= limit and not more:
        return text
    kept = data[:limit].decode(errors="ignore")
    size = f"more than {limit}" if more else str(len(data))
    return f"{kept}\n[cut: {len(kept.encode())} of {size} bytes]"
