"""The arguments of a call in, one HTTP request; what the model may see of its answer out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.errors import StreamError, ToolError
from promptstream.tools.address import Address
from promptstream.tools.context import ToolContext
from promptstream.values.request import Call
from promptstream.values.secret import Secret
from promptstream.values.timing import Timeout

if TYPE_CHECKING:
    from promptstream.wire.reply import Reply
    from promptstream.wire.watch import Watch

MAX_BODY = 1 << 20
_EXCERPT = 500
"""Bytes of an error's body that the model is told."""
_QUERIED = ("GET", "HEAD", "DELETE")
_JSON = ("application/json", "text/json")
_MISSING = object()


@attrs.frozen(eq=False, kw_only=True)
class Endpoint:
    """Make one HTTP call. Any number of threads may at once: each has a connection of its own, closed after it."""

    name: str
    address: Address
    method: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    secret: Secret
    timeout: float
    request: Callable[[dict[str, Any]], Mapping[str, Any]] | None
    result: str | Callable[[Any], Any] | None
    redact: frozenset[str]
    verify: bool | str | None

    def __call__(self, arguments: Mapping[str, Any], context: ToolContext | None = None) -> Any:
        """Send the call and give what is to be seen of the answer.

        Raises:
            ToolError: it was not answered, or not well; the text is meant for the model and shows no key.
            ToolArguments: an argument cannot stand in the address.
            Cancelled, DeadlineExceeded: the turn was stopped meanwhile.
        """
        call = self._call(dict(arguments))
        if context is not None:
            context.check()
        try:
            status, kind, body = self._sent(call, context)
        except StreamError as error:
            if context is not None:
                context.check()
            late = isinstance(error, TimeoutError)
            reason = f"nothing came within {self.timeout:g} s." if late else self.secret.scrub(str(error))
            raise ToolError(f"{self.name} got no answer: {reason}") from None
        return self._read(status, kind, body)

    def _call(self, arguments: dict[str, Any]) -> Call:
        if self.request is not None:
            mapped = self.request(dict(arguments))
            if not isinstance(mapped, Mapping):
                raise TypeError(f"request= of {self.name} gave a {type(mapped).__name__}; it gives a dict.")
            arguments = {**{name: arguments[name] for name in self.address.places if name in arguments}, **mapped}
        url, rest = self.address.fill(arguments, query=self.method in _QUERIED)
        headers = {"Accept": "application/json, text/*;q=0.9, */*;q=0.1", **self.headers}
        return Call(self.method, url, headers, None if self.method in _QUERIED else rest)

    def _sent(self, call: Call, context: ToolContext | None) -> tuple[int, str, bytes]:
        """Give the status, the media type and the body of the answer to *call*."""
        from promptstream.wire.transport import Transport
        from promptstream.wire.watch import Watch

        left = self.timeout if context is None else context.remaining()
        seconds = max(0.001, min(self.timeout, left))
        limits = Timeout(connect=min(10.0, seconds), first=seconds, idle=seconds, total=seconds)
        watch = Watch(limits, None if context is None else context.cancel)
        transport = Transport(verify=self.verify)
        watch.start()
        try:
            watch.check()
            reply = transport.send(call, watch)
            try:
                return reply.status, reply.content_type, self._body(reply, watch)
            finally:
                reply.close()
        finally:
            watch.end()
            transport.close()

    def _body(self, reply: Reply, watch: Watch) -> bytes:
        if 300 <= reply.status < 400:
            return b""
        if not 200 <= reply.status < 300:
            body = reply.error_body()
            watch.check()
            return body
        whole = bytearray()
        for piece in reply.chunks():
            whole += piece
            if len(whole) > MAX_BODY:
                raise ToolError(f"The answer of {self.name} is larger than {MAX_BODY >> 20} MiB.")
        watch.check()  # a body that only the connection's end delimits looks whole where a clock shut it
        return bytes(whole)

    def _read(self, status: int, kind: str, body: bytes) -> Any:
        if 300 <= status < 400:
            raise ToolError(f"HTTP {status}: {self.name} redirects to another address, which is never followed.")
        if not body.strip() and 200 <= status < 300:
            return f"HTTP {status}: no content."
        text = self.secret.scrub(body.decode("utf-8-sig", errors="replace"))
        value = self._parsed(text, kind)
        if self.redact:
            text = "" if value is _MISSING else _json(value := _without(value, self.redact))
        if not 200 <= status < 300:
            raise ToolError(f"HTTP {status}: {_start(text)}".rstrip(": "))
        if value is _MISSING and (self.redact or self.result is not None):
            raise ToolError(f"The answer of {self.name} is not JSON, and cannot be read.")
        if self.result is None or value is _MISSING:
            return text if value is _MISSING else value
        return self._followed(value, self.result) if isinstance(self.result, str) else self.result(value)

    def _parsed(self, text: str, kind: str) -> Any:
        if not (kind in _JSON or kind.endswith("+json") or text.lstrip()[:1] in ("{", "[")):
            return _MISSING
        from promptstream.wire.jsontext import loads_exact

        try:
            return loads_exact(text.strip())
        except StreamError:
            return _MISSING

    def _followed(self, value: Any, path: str) -> Any:
        """Give what *path* leads to in *value*: ``items.0.name``."""
        for step in filter(None, path.replace("[", ".").replace("]", "").split(".")):
            try:
                value = value[int(step)] if isinstance(value, list) else value[step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise ToolError(f"The answer of {self.name} holds no {path!r:.100}.") from None
        return value


def _without(value: Any, names: frozenset[str]) -> Any:
    """Give *value* without the fields of these *names*, wherever they stand."""
    if isinstance(value, dict):
        return {key: _without(each, names) for key, each in value.items() if key not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _start(text: str) -> str:
    """Give the beginning of *text*, 500 bytes at most."""
    return text.strip().encode("utf-8", "replace")[:_EXCERPT].decode(errors="ignore")
