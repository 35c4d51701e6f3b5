"""The common parameters in, a provider's own names out; what all request encoders need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from promptstream.errors import ConfigError, LimitExceeded, ProtocolError
from promptstream.values.media import media_type
from promptstream.values.message import Document, Image, ToolCall
from promptstream.wire.jsontext import loads


def rename(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Give those of *given* that *names* knows, under the provider's names."""
    return {theirs: given[ours] for ours, theirs in names.items() if ours in given}


def left_out(names: Iterable[str], who: str, why: str = "does not take it") -> list[str]:
    """Give a warning for each parameter that is not sent because *who*, a model or provider, lacks it."""
    return [f"{name} was left out: {who} {why}." for name in sorted(names)]


def encoded_data(part: Image | Document) -> tuple[str, str]:
    """Give a part's bytes as base64, and their media type.

    Raises:
        ConfigError: it has no bytes.
    """
    kind = type(part).__name__
    if part.data is None:
        raise ConfigError(f"The {kind} has no bytes; give data=… or use {kind}.from_file(path).")
    name = part.name if isinstance(part, Document) else None
    guess = media_type(part.data, name) or ("image/png" if isinstance(part, Image) else "application/pdf")
    return base64.b64encode(part.data).decode(), part.media_type or guess


def data_url(part: Image | Document) -> str:
    """Give a part's bytes as a ``data:`` URL (RFC 2397).

    Raises:
        ConfigError: it has no bytes.
    """
    data, kind = encoded_data(part)
    return f"data:{kind};base64,{data}"


def portable_id(call_id: str, longest: int = 64) -> str:
    """Give a tool call's id as any provider takes it: as it is where that fits, else one that always stands for it.

    A history that moves from one provider to another holds ids in the first one's style.
    """
    if len(call_id) <= longest and re.fullmatch(r"[a-zA-Z0-9_-]+", call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def arguments_text(call: ToolCall) -> str:
    """Give a call's arguments as JSON text: the provider's own where there is one, so numbers and order stay.

    Arguments that never became a whole object are none: servers read them, and refuse a history with half of one.

    Raises:
        ConfigError: they hold what JSON cannot say.
    """
    raw = call.raw_arguments
    if call.arguments is None:
        try:
            return raw if isinstance(loads(raw), dict) else "{}"
        except (ProtocolError, LimitExceeded):
            return "{}"
    if raw.strip():
        return raw
    try:
        return json.dumps(call.arguments, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"The arguments of a call of {call.name!r:.80} are not JSON: {error}.") from None
