"""Stream an LLM's answer in a plain ``for`` loop: any provider, no async, no framework.

::

    import promptstream

    with promptstream.open("storyteller.pack.json", "storyteller") as conv:
        for chunk in conv.stream("Tell me a short story"):
            print(chunk, end="", flush=True)
        print(conv.last.summary())
"""

from __future__ import annotations

from promptstream import errors, providers
from promptstream._version import __version__
from promptstream.buffered import BufferedStream
from promptstream.client import Provider
from promptstream.conversation import Conversation
from promptstream.errors import PromptStreamError, StreamError
from promptstream.opening import chat
from promptstream.opening import open as open
from promptstream.packs.pack import Pack, load
from promptstream.stream import Stream
from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.message import Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.request import ModelInfo, ToolSpec
from promptstream.values.response import Response
from promptstream.values.timing import Timeout, Timing
from promptstream.values.usage import Usage
from promptstream.wire.retry import Retry
from promptstream.wire.watch import CancelToken

__all__ = [
    "BufferedStream",
    "CancelToken",
    "Chunk",
    "ChunkType",
    "Conversation",
    "Document",
    "Image",
    "Message",
    "ModelInfo",
    "Pack",
    "PromptStreamError",
    "Provider",
    "Reasoning",
    "Response",
    "Retry",
    "Stream",
    "StreamError",
    "Text",
    "Timeout",
    "Timing",
    "ToolCall",
    "ToolResult",
    "ToolSpec",
    "Usage",
    "__version__",
    "chat",
    "errors",
    "load",
    "providers",
]
