"""Stream an LLM's answer in a plain ``for`` loop: any provider, no async, no framework.

::

    import promptstream

    with promptstream.open("storyteller.pack.json", "storyteller") as conv:
        for chunk in conv.stream("Tell me a short story"):
            print(chunk, end="", flush=True)
        print(conv.last.summary())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from promptstream import errors, middleware, packs, providers, state, tools
from promptstream._version import __version__
from promptstream.buffered import BufferedStream
from promptstream.client import Provider
from promptstream.conversation import Conversation
from promptstream.errors import PromptStreamError, StreamError
from promptstream.opening import chat, resume
from promptstream.opening import open as open
from promptstream.packs.pack import Pack, load
from promptstream.pricing import Price, cost_of
from promptstream.stream import Stream
from promptstream.tools.approval import Denied
from promptstream.tools.context import ToolContext
from promptstream.tools.tool import Tool, tool
from promptstream.values.budget import Budget
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.events import events_to_ndjson, events_to_sse
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.policy import ToolPolicy
from promptstream.values.rate_limits import RateLimits
from promptstream.values.request import ModelInfo, ToolSpec
from promptstream.values.response import Response
from promptstream.values.timing import Timeout, Timing
from promptstream.values.usage import Usage
from promptstream.wire.retry import Retry
from promptstream.wire.watch import CancelToken

if TYPE_CHECKING:
    from promptstream import batch as batch
    from promptstream.batch import map as map

__all__ = [
    "Budget",
    "BufferedStream",
    "CancelToken",
    "Chunk",
    "ChunkType",
    "Conversation",
    "Denied",
    "Document",
    "Image",
    "Message",
    "ModelInfo",
    "Pack",
    "Price",
    "PromptStreamError",
    "Provider",
    "RateLimits",
    "Reasoning",
    "Response",
    "Retry",
    "Stream",
    "StreamError",
    "Text",
    "Timeout",
    "Timing",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolPolicy",
    "ToolResult",
    "ToolSpec",
    "Usage",
    "__version__",
    "chat",
    "cost_of",
    "errors",
    "events_to_ndjson",
    "events_to_sse",
    "load",
    "middleware",
    "packs",
    "providers",
    "resume",
    "state",
    "tool",
    "tools",
]


def __getattr__(name: str) -> Any:
    if name not in ("batch", "map"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    batch = import_module("promptstream.batch")  # an edge, which only who uses it pays for
    return batch if name == "batch" else batch.map


def __dir__() -> list[str]:
    return sorted({*globals(), "batch", "map"})
