"""A dialect and a request in, Unsupported out where it lacks what is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from promptstream.errors import Unsupported
from promptstream.providers.base import Dialect
from promptstream.values.format import Format
from promptstream.values.message import Document, Image
from promptstream.values.request import ChatRequest

_INSTEAD = {
    "completion": " Use stream() or send().",
    "model_fallback": " Only OpenRouter chooses among models=[…]; give a conversation fallback=[…] instead.",
}


def check_supported(dialect: Dialect, request: ChatRequest) -> None:
    """Check that the provider can do what *request* asks for.

    Raises:
        Unsupported: it cannot, so the answer would not be what was asked for.
    """
    kinds = {type(part) for message in request.messages for part in message.parts}
    form = Format.of(request.parameters)
    check_capabilities(
        dialect,
        {
            "tools": bool(request.tools),
            "json_schema": form is not None and form.schema is not None,
            "images": Image in kinds,
            "documents": Document in kinds,
            "completion": request.prompt is not None,
            "model_fallback": bool(request.models),
        },
    )


def check_capabilities(dialect: Dialect, wanted: Mapping[str, bool]) -> None:
    """Check that the provider has each capability that is *wanted*.

    Raises:
        Unsupported: it lacks one.
    """
    for capability, needed in wanted.items():
        if needed and capability not in dialect.capabilities:
            hint = _INSTEAD.get(capability, "")
            raise Unsupported(f"{dialect.name} does not support {capability}; nothing was sent.{hint}")
