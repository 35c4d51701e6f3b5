"""The events of a Responses answer in, chunks out: what later events depend on of earlier ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from promptstream.errors import ProtocolError
from promptstream.providers.failures import said_error
from promptstream.providers.openai.answer import find_error
from promptstream.providers.openai.responses_request import CUSTOM, KEY
from promptstream.providers.reading import amount, count, list_in, spent, text_in
from promptstream.providers.toolcalls import MAX_CALLS, unused, whole_call
from promptstream.values.chunk import Chunk, ChunkType, Finish, Opaque
from promptstream.values.message import ToolCall
from promptstream.values.secret import Secret
from promptstream.values.surrogates import mend
from promptstream.values.usage import Usage
from promptstream.wire.jsontext import excerpt

TEXT_DELTA = "response.output_text.delta"
_CALLS = ("function_call", CUSTOM)
_NOWHERE = object()
_STREAMED = {
    "response.output_text": ("message", "content_index", "text"),
    "response.refusal": ("message", "content_index", "refusal"),
    "response.reasoning_summary_text": ("reasoning", "summary_index", "text"),
    "response.reasoning_text": ("reasoning", "content_index", "text"),
    "response.function_call_arguments": ("function_call", "", "arguments"),
    "response.custom_tool_call_input": (CUSTOM, "", "input"),
}
"""Of each event with ``.delta`` and ``.done``: the kind of its item, what tells its place there, and where
``.done`` has the whole text."""
_ARGUMENTS = {
    "function_call": ("arguments", "response.function_call_arguments"),
    CUSTOM: ("input", "response.custom_tool_call_input"),
}
_INPUT = '{"input": "'
_STATUSES = ("completed", "incomplete", "failed", "cancelled")
_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}


@attrs.define(eq=False)
class _Item:
    """What is known of one item of the answer so far."""

    kind: str
    id: str = ""
    call_id: str = ""
    own_id: str = ""
    """Of a call: the id that no other one has."""
    name: str = ""
    phase: str = ""
    pieces: dict[tuple[str, int], list[str]] = attrs.field(factory=dict)
    """What was handed out, by channel and place."""
    closed: bool = False
    begun: Mapping[str, Any] = attrs.field(factory=dict)
    """The item as it was announced: some servers say all of it there."""

    def text(self, channel: str, place: int = 0) -> str:
        """Give what was handed out there."""
        return "".join(self.pieces.get((channel, place), ()))

    def identify(self, item: Mapping[str, Any]) -> None:
        """Take the names that *item* gives."""
        for name in ("id", "call_id", "name", "phase"):
            if value := _name(item, name):
                setattr(self, name, value)


class Items:
    """Turn the events of one answer, or a whole response, into chunks."""

    def __init__(self, provider: str, secret: Secret, *, stateful: bool = False) -> None:
        self.model: str | None = None
        self.over = False
        """True once the terminal event came."""
        self.writing: Any = _NOWHERE
        """The item whose text goes on, its place there, and what was handed out of it."""
        self.place: Any = None
        self.pieces: list[str] = []
        self._provider = provider
        self._secret = secret
        self._stateful = stateful
        self._response: dict[str, str] = {}
        self._items: list[_Item] = []
        self._by_index: dict[int, _Item] = {}
        self._by_id: dict[tuple[str, str], _Item] = {}
        self._ids: set[str] = set()
        self._current: _Item | None = None
        """The item whose part is the answer's last."""
        self._refused = False
        self._called = 0
        self._ended = False

    def feed(self, body: Any, event: str) -> Iterator[Chunk]:
        """Turn one event into chunks; its own type counts, since proxies drop the event's name."""
        if not isinstance(body, dict):
            if event == "error" or find_error(body) is not None:
                raise said_error(self._provider, self._secret, body)
            raise ProtocolError(f"An event is not a JSON object: {excerpt(str(body))}", phase="decode")
        kind = body.get("type")
        if not isinstance(kind, str):
            kind = event
        stem, _, verb = kind.rpartition(".")
        if body.get("error"):
            raise self._said(body)
        if stem in _STREAMED and verb in ("delta", "done"):
            yield from self._streamed(stem, body, whole=verb == "done")
        elif kind == "response.output_item.added":
            yield from self._added(body)
        elif kind == "response.output_item.done":
            yield from self._done(body)
        elif stem == "response" and verb in _STATUSES:
            yield from self.finish(_object(body, "response"), verb)
        elif "error" in (kind, event) or (stem != "response" and find_error(body) is not None):
            raise self._said(body)
        elif kind in ("response.created", "response.queued", "response.in_progress"):
            yield from self._identify(_object(body, "response"))

    def _said(self, body: Mapping[str, Any]) -> Exception:
        flat = {name: value for name, value in body.items() if name != "type"}  # "error", which says nothing
        return said_error(self._provider, self._secret, body if body.get("error") else flat)

    def _identify(self, response: Mapping[str, Any]) -> Iterator[Chunk]:
        model, identity = text_in(response, "model"), text_in(response, "id")
        if identity and self._stateful:
            self._response = {"response_id": identity}
        if model and model != self.model:
            self.model = model
            yield Finish(model=model, request_id=identity)

    def _find(self, index: Any, identity: Any, kind: Any) -> _Item:
        """Give the item of *kind* that an event is about, by its index, else by its id, else a new one.

        The index goes first: some proxies give every event of an item another id.
        """
        item = self._by_index.get(index) if isinstance(index, int) else None
        if item is not None and item.kind == kind:
            return item
        if isinstance(identity, str) and isinstance(kind, str):
            item = self._by_id.get((kind, identity))
        elif not isinstance(index, int) and self._items:
            item = self._items[-1]
        return item if item is not None and item.kind == kind else self._new(kind, index, identity)

    def _new(self, kind: Any, index: Any, identity: Any) -> _Item:
        item = _Item(kind if isinstance(kind, str) else "", identity if isinstance(identity, str) else "")
        self._items.append(item)
        if isinstance(index, int):
            self._by_index[index] = item
        if item.id:
            self._by_id[item.kind, item.id] = item
        if item.kind in _CALLS:
            self._called += 1
            if self._called > MAX_CALLS:
                raise ProtocolError(f"The answer has more than {MAX_CALLS} tool calls.", phase="decode")
        return item

    def _added(self, body: Mapping[str, Any]) -> Iterator[Chunk]:
        given, index = _object(body, "item"), body.get("output_index")
        known = self._by_index.get(index) if isinstance(index, int) else None
        if known is not None and (known.kind, known.id, known.call_id) == tuple(
            _name(given, name) for name in ("type", "id", "call_id")
        ):
            return  # said twice
        item = self._new(given.get("type"), index, given.get("id"))
        item.identify(given)
        item.begun = given
        self.writing = _NOWHERE  # what follows may be about this one, under an id that was seen before
        if item.kind in _CALLS:
            yield self._fragment(item, "")

    def _done(self, body: Mapping[str, Any]) -> Iterator[Chunk]:
        given, index = _object(body, "item"), body.get("output_index")
        item = self._find(index, given.get("id"), given.get("type"))
        another = (item.id, item.call_id) != (_name(given, "id"), _name(given, "call_id"))
        if item.closed and another and item.kind != "reasoning":  # whole, under the number of the one before it
            item = self._new(given.get("type"), index, given.get("id"))
        yield from self._close(item, given)

    def _streamed(self, stem: str, body: Mapping[str, Any], *, whole: bool) -> Iterator[Chunk]:
        kind, place, key = _STREAMED[stem]
        item = self._find(body.get("output_index"), body.get("item_id"), kind)
        at = body.get(place)
        where = (stem, at if isinstance(at, int) else 0)
        yield from self._write(item, *where, body.get(key if whole else "delta"), whole=whole)
        if stem == "response.output_text" and self._current is item and not item.closed and where in item.pieces:
            self.writing, self.place, self.pieces = body.get("item_id") or _NOWHERE, at, item.pieces[where]

    def _write(self, item: _Item, channel: str, place: int, text: Any, *, whole: bool) -> Iterator[Chunk]:
        """Hand out a delta, or of a *whole* text what is still missing: never anything twice."""
        if text is None or text == "":
            return
        if not isinstance(text, str):
            raise ProtocolError(f"The text of an event is not text: {excerpt(str(text))}", phase="decode")
        if item.closed or (item.kind == "reasoning" and any(name != channel for name, _ in item.pieces)):
            return  # some servers give a thought both raw and as its own summary
        if whole and (text := _rest(item.text(channel, place), text)) == "":
            return
        first = (channel, place) not in item.pieces
        gap = "\n\n" if first and item.pieces and item.kind == "reasoning" else ""
        item.pieces.setdefault((channel, place), []).append(text)
        if item.kind == CUSTOM:  # free text becomes the one argument "input"
            text = (_INPUT if first else "") + json.dumps(text)[1:-1]
        if item.kind in _CALLS:
            yield self._fragment(item, text)
            return
        yield from self._open(item)
        if item.kind == "reasoning":
            yield Chunk(ChunkType.REASONING, reasoning=gap + text, model=self.model)
        else:
            self._refused = self._refused or channel == "response.refusal"
            yield Chunk(ChunkType.TEXT, text, model=self.model)

    def _open(self, item: _Item) -> Iterator[Chunk]:
        """Begin a part for *item*, unless it is its part that is in progress."""
        if self._current is item:
            return
        yield from self._leave(item)
        if item.kind == "reasoning":
            yield Opaque(part="reasoning", new=True)
        else:
            yield Opaque(part="text", new=True, data=self._message(item))

    def _leave(self, item: _Item | None) -> Iterator[Chunk]:
        """Let *item* take the place of the current one.

        OpenRouter closes an open model's thought only after the message, where it could no longer be
        kept in its place: it is closed here, with what it is known to hold.
        """
        left, self._current, self.writing = self._current, item, _NOWHERE
        thought = "response.reasoning_text"
        if left is not None and not left.closed and any(channel == thought for channel, _ in left.pieces):
            left.closed = True
            texts = [{"type": "reasoning_text", "text": left.text(*where)} for where in left.pieces]
            known = {"type": "reasoning", "id": left.id, "summary": [], "content": texts}
            yield Opaque(part="reasoning", data={KEY: {"item": known} | self._response})

    def _message(self, item: _Item) -> dict[str, Any]:
        data = {"id": item.id, "phase": item.phase} | self._response
        return {KEY: {name: value for name, value in data.items() if value}} if any(data.values()) else {}

    def _fragment(self, item: _Item, text: str) -> Chunk:
        if item.call_id and not item.own_id:
            item.own_id = unused(item.call_id, self._ids)
        delta = ToolCall(item.own_id, item.name, None, mend(text))
        return Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=delta, model=self.model)

    def _close(self, item: _Item, given: Mapping[str, Any]) -> Iterator[Chunk]:
        """Take an item as it ended: what of it was not streamed, and what must be sent back."""
        if item.closed:
            return
        told = self._message(item)
        item.identify(given)
        if item.kind in _CALLS:
            yield from self._call(item, given)
        elif item.kind == "message":
            for place, part in enumerate(_objects(given, "content")):
                kind = "refusal" if part.get("type") == "refusal" else "output_text"
                text = part.get("refusal" if kind == "refusal" else "text")
                yield from self._write(item, f"response.{kind}", place, text, whole=True)
            if self._current is item and self._message(item) != told:
                yield Opaque(part="text", data=self._message(item))
        elif item.kind == "reasoning":
            yield from self._thought(item, given)
        elif item.kind:
            yield from self._leave(item)
            yield Opaque(part="text", new=True, data={KEY: {"item": given} | self._response})
        item.closed = True
        self.writing = _NOWHERE

    def _thought(self, item: _Item, given: Mapping[str, Any]) -> Iterator[Chunk]:
        for key, channel in (("summary", "response.reasoning_summary_text"), ("content", "response.reasoning_text")):
            for place, part in enumerate(_objects(given, key)):
                yield from self._write(item, channel, place, part.get("text"), whole=True)
        new = self._current is not item
        if new:
            yield from self._leave(item)
        yield Opaque(part="reasoning", new=new, data={KEY: {"item": given} | self._response})

    def _call(self, item: _Item, given: Mapping[str, Any]) -> Iterator[Chunk]:
        key, channel = _ARGUMENTS[item.kind]
        text = given.get(key)
        if text is not None and not isinstance(text, str):
            text = json.dumps(text, ensure_ascii=False)
        yield from self._write(item, channel, 0, text, whole=True)
        text = text or item.text(channel)
        if item.kind == CUSTOM:
            yield self._fragment(item, '"}' if item.pieces else f'{_INPUT}"}}')
            text = f'{_INPUT}{json.dumps(text)[1:-1]}"}}'
        kept = {"id": item.id, "namespace": _name(given, "namespace"), "type": CUSTOM if item.kind == CUSTOM else ""}
        kept = {name: value for name, value in kept.items() if value}
        item.own_id = item.own_id or unused(item.call_id or item.id, self._ids)
        call = whole_call(item.own_id, item.name, text)
        yield from self._leave(None)
        yield Chunk(
            ChunkType.TOOL_CALL,
            tool_call=attrs.evolve(call, metadata={KEY: kept | self._response} if kept or self._response else None),
            model=self.model,
        )

    def finish(self, response: Mapping[str, Any], verb: str | None) -> Iterator[Chunk]:
        """Take the response as it ended; *verb* is how the event called it, where there is one.

        Raises:
            ProviderError: it failed, or was cancelled.
        """
        yield from self._identify(response)
        if usage := response.get("usage"):
            yield spent(usage, read_usage)
            if isinstance(usage, dict) and (cost := amount(usage.get("cost"))) is not None:
                yield Finish(cost=cost)
        status, error = response.get("status"), response.get("error")
        status = status if status in _STATUSES else verb
        if error or status in ("failed", "cancelled"):
            raise self._said({"error": error or {"message": f"the answer was {status}, without an explanation"}})
        self.over = True
        yield from self._unseen(response)
        yield from self._close_all()
        self._ended = status in ("completed", "incomplete")
        if status == "completed":
            reason = "tool_calls" if self._called else "refusal" if self._refused else "stop"
            yield Finish(reason=reason, raw_reason=status, model=self.model)
        elif status == "incomplete":
            details = response.get("incomplete_details")
            raw = details.get("reason") if isinstance(details, dict) else None
            raw = raw if isinstance(raw, str) and raw else status
            yield Finish(reason=_INCOMPLETE.get(raw, "other"), raw_reason=raw, model=self.model)

    def _unseen(self, response: Mapping[str, Any]) -> Iterator[Chunk]:
        """Take from the whole output what was not streamed; each of its items is matched to one that was."""
        output = [(_name(given, "type"), _name(given, "id"), given) for given in _objects(response, "output")]
        known = [self._by_id.get((kind, identity)) for kind, identity, _ in output]
        taken = {id(item) for item in known if item is not None}
        left: dict[str, list[_Item]] = {}
        for item in reversed(self._items):
            if id(item) not in taken:
                left.setdefault(item.kind, []).append(item)
        for match, (kind, identity, given) in zip(known, output, strict=True):
            # Some servers give their items other ids here: then the order tells.
            others = left.get(kind)
            item = match or (others.pop() if others else self._new(kind, None, identity))
            yield from self._close(item, given)

    def _close_all(self) -> Iterator[Chunk]:
        """Close the messages and calls whose end was not told."""
        for item in self._items:
            if item.kind in (*_CALLS, "message"):
                yield from self._close(item, item.begun)

    def end(self) -> Iterator[Chunk]:
        """Close the answer at a terminator, which OpenAI itself does not send."""
        if not self.over:
            yield from self._close_all()
        # Where no reason was given, that tools are wanted is plain all the same.
        yield Finish(sentinel=True, reason="tool_calls" if self._called and not self._ended else None)


def _rest(have: str, whole: str) -> str:
    """Give what of *whole* is still missing; where it does not go on from what is there, nothing."""
    return whole[len(have) :] if whole.startswith(have) else ""


def _name(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return mend(value) if isinstance(value, str) else ""


def _object(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = body.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProtocolError(f"{key!r} is not an object: {excerpt(str(value))}", phase="decode")
    return value


def _objects(body: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = list_in(body, key)
    if not all(isinstance(each, dict) for each in value):
        raise ProtocolError(f"{key!r} is not a list of objects: {excerpt(str(value))}", phase="decode")
    return value


def read_usage(usage: Mapping[str, Any], unread: list[str]) -> Usage:
    """Read the usage object; a count that is no whole number from 0 up is unknown, and put into *unread*."""
    given, made = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    return Usage(
        input=count(usage, "input_tokens", unread),
        output=count(usage, "output_tokens", unread),
        cached=count(given, "cached_tokens", unread),
        cache_write=count(given, "cache_write_tokens", unread),
        reasoning=count(made, "reasoning_tokens", unread),
    )
