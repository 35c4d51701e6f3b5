"""A wire's bytes in, what a loop gets of them out, without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from wires import Wire
from wires.script import Answer, Asked

from promptstream.answer import Answer as Fold
from promptstream.capabilities import check_supported
from promptstream.client import Provider
from promptstream.history import read_messages
from promptstream.stream import Stream
from promptstream.turn import Turn
from promptstream.values.chunk import Chunk
from promptstream.values.encoding import encodable
from promptstream.values.message import Message
from promptstream.values.request import Call, ChatRequest, ToolSpec, check_parameters
from promptstream.values.response import Response
from promptstream.values.timing import Timeout
from promptstream.wire.events import iter_ndjson, iter_sse
from promptstream.wire.watch import Watch

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def offline(wire: Wire, **options: Any) -> Provider:
    """Make the provider at an address where nobody is."""
    return wire.provider(f"http://127.0.0.1:9{wire.root}", **options)


def _played(wire: Wire, chunks: Callable[[Any], Iterator[Chunk]], dialect: Any = None) -> Stream:
    dialect = dialect or offline(wire).dialect
    request = ChatRequest((Message("user", "Hi"),), wire.model)
    return Stream(
        Turn(
            Watch(Timeout.of(None)),
            Fold(dialect.name, dialect.model),
            lambda: iter((request,)),
            lambda request, watch: encodable(chunks(dialect)),
            lambda response, outcome: None,
        )
    )


def play(wire: Wire, said: Answer | bytes | Iterable[bytes], dialect: Any = None) -> Stream:
    """Decode an answer, or bytes cut anyhow, as one turn; by *dialect*, or one made for it."""
    if isinstance(said, Answer):
        said = wire.stream(said).body
    pieces = (said,) if isinstance(said, bytes) else said

    def decode(dialect: Any) -> Iterator[Chunk]:
        events = (iter_sse if dialect.framing == "sse" else iter_ndjson)(pieces)
        return dialect.decode(events)  # type: ignore[no-any-return]

    return _played(wire, decode, dialect)


def play_whole(wire: Wire, said: Answer | bytes) -> Stream:
    """Decode an answer in one JSON body as one turn."""
    body = json.loads(wire.whole(said) if isinstance(said, Answer) else said)
    return _played(wire, lambda dialect: dialect.decode_whole(body))


def encode(
    wire: Wire,
    messages: Any,
    *,
    tools: Iterable[ToolSpec] = (),
    extra: Mapping[str, Any] | None = None,
    streaming: bool = True,
    model: str | None = None,
    **parameters: Any,
) -> Call:
    """Encode a request as the provider level does."""
    dialect = offline(wire).dialect
    request = ChatRequest(
        read_messages(messages),
        model or wire.model,
        tuple(tools),
        check_parameters(parameters),
        dict(extra or {}),
        streaming,
    )
    check_supported(dialect, request)
    return dialect.encode(request)


def read(wire: Wire, call: Call) -> Asked:
    """Read an encoded call as its provider would."""
    target = call.url.removeprefix("http://127.0.0.1:9")
    headers = {name.lower(): value[:] for name, value in call.headers.items()}  # a slice of a secret shows it
    return wire.check_call(call.method, target, headers | {"content-type": "application/json"}, _on_wire(call.json))


def _on_wire(body: Any) -> Any:
    return json.loads(json.dumps(body))


def asked(wire: Wire, messages: Any, **options: Any) -> Asked:
    """Encode a request, and read it as the provider would."""
    return read(wire, encode(wire, messages, **options))


def facts(response: Response) -> dict[str, Any]:
    """Give what two ways to the same answer must agree in."""
    return {
        "text": response.text,
        "reasoning": response.reasoning,
        "calls": [(call.id, call.name, call.arguments, call.problem) for call in response.tool_calls],
        "finish": (response.finish_reason, response.raw_finish_reason),
        "usage": response.usage,
        "model": response.model,
        "complete": response.complete,
        "cost": response.cost,
    }
