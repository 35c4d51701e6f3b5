"""Python functions and HTTP addresses in, tools that a model may call out. Importing this loads none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptstream.tools.http import http_tool, http_tools

__all__ = ["http_tool", "http_tools"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from promptstream.tools import http

        return getattr(http, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
