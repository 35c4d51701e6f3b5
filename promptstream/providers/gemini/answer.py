"""GenerateContentResponses in, chunks out, with what later ones need to know of earlier ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from promptstream.errors import ContentFiltered, ProtocolError
from promptstream.providers.failures import MAX_TEXT, cleaned, said_error
from promptstream.providers.gemini.arguments import Arguments
from promptstream.providers.gemini.models import rules_for
from promptstream.providers.reading import MAX_COUNT, count, list_in, spent, text_in
from promptstream.providers.toolcalls import MAX_CALLS, unused, whole_call
from promptstream.values.chunk import Chunk, ChunkType, Finish, Opaque
from promptstream.values.message import ToolCall
from promptstream.values.secret import Secret
from promptstream.values.surrogates import mend
from promptstream.values.usage import Usage
from promptstream.wire.jsontext import check_depth, excerpt

FINISH_REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "content_filter",
}
_COUNTS = (
    *("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"),
    *("cachedContentTokenCount", "totalTokenCount"),
)
_RARE = frozenset({"toolUsePromptTokenCount", "thoughtsTokenCount", "cachedContentTokenCount"})
_SNAKE = re.compile(r"_([a-z0-9])")


@attrs.define(eq=False)
class _Open:
    """A call whose arguments still come in pieces."""

    call: ToolCall
    arguments: Arguments = attrs.field(factory=Arguments)
    pieces: list[str] = attrs.field(factory=list)


class GeminiAnswer:
    """What one stream's events add up to, as far as later events depend on earlier ones."""

    def __init__(self, provider: str, secret: Secret, asked: str = "") -> None:
        self.model: str | None = None
        self.plain = True
        """True where plain text can go on what there is: no thought, signed or raw part came last."""
        self._asked = asked
        self._provider = provider
        self._secret = secret
        self._thinking = False
        """True where unsigned thoughts came last, which further ones go on."""
        self._ids: set[str] = set()
        self._open: _Open | None = None
        self._raw: str | None = None
        self._fresh = False
        """True where a call came that no finish has told of."""
        self._named = False
        """True once the response's id was told."""
        self._counts: Any = None
        """The usageMetadata that was read last."""
        self._usage = Usage()
        self._ahead = False
        """True where those of the last response of a read were told before its text."""

    def feed(self, body: Any) -> Iterator[Chunk]:
        """Turn one response, of a stream or alone, into chunks."""
        if isinstance(body, list) and len(body) == 1:
            body = body[0]  # errors are wrapped so where the stream is an array
        if not isinstance(body, dict):
            raise ProtocolError(f"An event is not a JSON object: {excerpt(str(body))}", phase="decode")
        body = _camel(body)
        yield from self._identify(body)
        candidates = list_in(body, "candidates")
        objects = (_object(each, "A candidate") for each in candidates)
        candidate: dict[str, Any] = next((each for each in objects if not each.get("index")), {})
        feedback = {} if candidates else body.get("promptFeedback")
        if (counts := body.get("usageMetadata")) is not None:
            counts = _camel(counts) if isinstance(counts, dict) else counts
            whole = bool(feedback or self._raw is not None or candidate.get("finishReason"))
            if told := self._usage_of(counts, whole=True) if whole else self.news(counts):
                yield told
        if body.get("error"):
            raise said_error(self._provider, self._secret, body)
        if isinstance(feedback, dict):
            self._check_prompt(_camel(feedback))
        yield from self._candidate(candidate)

    def _identify(self, body: dict[str, Any]) -> Iterator[Chunk]:
        model, identity = text_in(body, "modelVersion"), text_in(body, "responseId")
        if model and model != self.model:
            self.model = model
            yield Finish(model=model)
        if identity and not self._named:
            self._named = True
            yield Finish(request_id=identity)

    def _check_prompt(self, feedback: dict[str, Any]) -> None:
        reason, said = feedback.get("blockReason"), feedback.get("blockReasonMessage")
        if not isinstance(reason, str) or not _is_set(reason):
            return
        why = f": {self._clean(said)}" if isinstance(said, str) and said else ""
        raise ContentFiltered(
            f"{self._provider} refused the prompt ({self._clean(reason)[:60]}){why}. It would be refused again.",
            code=reason,
            provider=self._provider,
            phase="body",
        )

    def _candidate(self, candidate: dict[str, Any]) -> Iterator[Chunk]:
        content = candidate.get("content")
        if content is not None:
            for part in list_in(_object(content, "A candidate's content"), "parts"):
                yield from self._part(_object(part, "A part"))
        reason = candidate.get("finishReason")
        if reason is not None and not isinstance(reason, str):
            raise ProtocolError(f"A finishReason is not a string: {excerpt(str(reason))}", phase="decode")
        said = candidate.get("finishMessage")
        if isinstance(said, str) and said and reason != "STOP":  # where it ends well, it says just that
            yield Finish(warnings=(f"{self._provider} says: {self._clean(said)}",))
        if reason and _is_set(reason):
            yield from self._close("the answer ended within them")
            self._raw, self._fresh = reason, True
        if self._raw is not None and self._fresh:
            self._fresh = False
            common = FINISH_REASONS.get(self._raw, "other")
            if common == "stop" and self._ids:
                common = "tool_calls"
            yield Finish(reason=common, raw_reason=self._raw, model=self.model)

    def _part(self, part: dict[str, Any]) -> Iterator[Chunk]:
        signature = part.get("thoughtSignature")
        kept = {"thoughtSignature": signature} if isinstance(signature, str) and signature else {}
        text, function = part.get("text"), part.get("functionCall")
        if function is not None:
            yield from self._function(_object(function, "A functionCall"), kept)
        elif text is None:
            yield from self._raw_part(part, kept)
        elif not isinstance(text, str):
            raise ProtocolError(f"A part's text is not a string: {excerpt(str(text))}", phase="decode")
        elif text or kept:
            yield from self._text(text, kept, bool(part.get("thought")))

    def _text(self, text: str, kept: dict[str, Any], thought: bool) -> Iterator[Chunk]:
        """Give a piece of text or thought; a signed one is a part of its own, to be echoed as such."""
        if thought:
            # Thoughts are marked as Gemini's, for only those are sent back to it.
            if kept or not self._thinking:
                yield self._mark("reasoning", kept)
            self._thinking, self.plain = not kept, False
            if text:
                yield Chunk(ChunkType.REASONING, reasoning=text, model=self.model)
            return
        if kept or not self.plain:
            yield self._mark("text", kept) if kept else Opaque(part="text", new=True)
        self._thinking, self.plain = False, not kept
        if text:
            yield Chunk(ChunkType.TEXT, text, model=self.model)

    def _raw_part(self, part: dict[str, Any], kept: dict[str, Any]) -> Iterator[Chunk]:
        """Keep a part that is nothing of ours (code that ran, an image) as it came, to be echoed."""
        raw = {name: value for name, value in part.items() if value is not None and name != "thoughtSignature"}
        if raw.keys() <= {"thought"}:
            raw = {}
        if not raw and not kept:
            return
        for name in ("inlineData", "fileData"):
            if isinstance(media := raw.get(name), dict):
                kind = self._clean(str(media.get("mimeType") or "unknown type"))
                yield Finish(warnings=(f"The answer holds data ({kind:.80}), kept in its message's parts alone.",))
        yield self._mark("text", {"part": raw, **kept} if raw else kept)
        self._thinking, self.plain = False, False

    def _mark(self, part: str, kept: dict[str, Any]) -> Opaque:
        return Opaque(part=part, new=True, data={"gemini": self._kept(kept)})

    def _kept(self, kept: dict[str, Any]) -> dict[str, Any]:
        """Add whose it is: a signature is good for the models of one generation."""
        if self.model is None:
            return kept
        answered, asked = rules_for(self.model).major, rules_for(self._asked).major
        # Where another generation answers than was asked, what it signed is still the one's that is asked again.
        other = {} if asked in (None, answered) else {"asked": self._asked}
        return {**kept, "model": self.model, **other}

    def _function(self, function: dict[str, Any], kept: dict[str, Any]) -> Iterator[Chunk]:
        name, pieces = function.get("name"), function.get("partialArgs")
        goes_on = bool(function.get("willContinue"))
        if name is not None or self._open is None:
            if not function:
                return  # the end of a call that ended already
            yield from self._close("another call began within them")
            call = self._begin(function, mend(name) if isinstance(name, str) else "", kept)
            if not goes_on and pieces is None:
                yield self._whole(call, _text_of(function.get("args")))
                return
            self._open = _Open(call)
            yield self._delta("")
        if pieces and (text := self._open.arguments.add(pieces)):
            yield self._delta(text)
        if not goes_on:
            yield from self._close(None)

    def _begin(self, function: dict[str, Any], name: str, kept: dict[str, Any]) -> ToolCall:
        if len(self._ids) >= MAX_CALLS:
            raise ProtocolError(f"The answer has more than {MAX_CALLS} tool calls.", phase="decode")
        own = function.get("id")
        kept = {**kept, "id": own} if isinstance(own, str) and own else kept
        identity = unused(mend(kept.get("id", "")), self._ids)
        return ToolCall(identity, name, metadata={"gemini": self._kept(kept)})

    def _whole(self, call: ToolCall, raw: str) -> Chunk:
        self._fresh, self._thinking, self.plain = True, False, True
        whole = attrs.evolve(whole_call(call.id, call.name, raw), metadata=call.metadata)
        return Chunk(ChunkType.TOOL_CALL, tool_call=whole, model=self.model)

    def _close(self, cut: str | None) -> Iterator[Chunk]:
        """Give the call that is open, whole, or with *cut* as the reason why it is not."""
        if self._open is None:
            return
        rest, problem = self._open.arguments.close(), cut or self._open.arguments.problem
        if rest and not problem:
            yield self._delta(rest)
        open_call, self._open = self._open, None
        chunk = self._whole(open_call.call, "".join(open_call.pieces))
        if problem and chunk.tool_call is not None:
            why = f"the arguments are not whole: {problem}"
            chunk.tool_call = attrs.evolve(chunk.tool_call, arguments=None, problem=why)
        yield chunk

    def end(self) -> Iterator[Chunk]:
        """Take a terminator, which is not of this protocol: it gives no reason, but tells that calls are wanted."""
        yield from self._close("the answer ended within them")
        yield Finish(sentinel=True, reason="tool_calls" if self._ids and self._raw is None else None)

    def _delta(self, text: str) -> Chunk:
        assert self._open is not None
        self._open.pieces.append(text)
        call = ToolCall(self._open.call.id, self._open.call.name, None, mend(text))
        return Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=call, model=self.model)

    def look_ahead(self, bodies: Iterable[Any]) -> Finish | None:
        """Give what the last of a list of responses, those of one read, counts where that makes the others' old news.

        Nearly every response counts: the others' are then passed over, at a quarter of what each would cost.
        """
        self._ahead = False
        last = bodies[-1] if isinstance(bodies, list) else None
        counts = last.get("usageMetadata") if isinstance(last, dict) else None
        if not _says_all(counts):
            return None
        told, self._ahead = self._usage_of(counts), True
        return told

    def news(self, counts: Any, data: str = "") -> Finish | None:
        """Give what the counts of a response tell anew, None where not; *data* is its text, if not checked yet."""
        if _says_all(counts):
            return None if self._ahead else self._usage_of(counts)
        check_depth(data)  # also to compare two values goes as deep as they do
        return None if counts == self._counts else self._usage_of(counts)

    def _usage_of(self, counts: Any, whole: bool = False) -> Finish:
        self._counts, self._ahead = counts, False
        told = spent(counts, lambda read, unread: read_usage(read, self._usage, whole, unread))
        self._usage = told.usage_seen or self._usage
        return told

    def _clean(self, text: str) -> str:
        return cleaned(self._secret.scrub(text), MAX_TEXT)


def _says_all(counts: Any) -> bool:
    """Tell whether *counts* tell all by themselves, whatever was told before, and nothing that is no count."""
    if counts.__class__ is not dict:
        return False
    prompt, said = counts.get("promptTokenCount"), counts.get("candidatesTokenCount")
    if not (prompt.__class__ is int and said.__class__ is int and 0 <= prompt <= MAX_COUNT and 0 <= said <= MAX_COUNT):
        return False
    if _RARE.isdisjoint(counts):
        return True
    rare = [counts[name] for name in _RARE if counts.get(name) is not None]
    return all(each.__class__ is int and 0 <= each <= MAX_COUNT for each in rare)


def read_usage(counts: Mapping[str, Any], before: Usage, whole: bool, unread: list[str]) -> Usage:
    """Read usageMetadata; thoughts are not counted among the candidates' tokens, and what is 0 is left out.

    *before* stands where these counts say nothing of the answer yet; *whole* tells that there is no more to come.
    What is no count is put into *unread*.
    """
    given = [counts.get(name) for name in _COUNTS]
    found = [value if value.__class__ is int and 0 <= value <= MAX_COUNT else None for value in given]
    prompt, tools, said, thought, cached, total = found
    if found != given:  # to tell what is no count from what is not there takes time
        return _doubtful(counts, unread)
    if prompt is None and tools is None and said is None and thought is None:
        return before
    prompted = before.input if prompt is None and tools is None else (prompt or 0) + (tools or 0)
    output: int | None = (said or 0) + (thought or 0)
    if said is None and thought is None:
        if total is not None and prompted is not None and total > prompted:
            output = total - prompted
        elif before.output is not None or not whole:
            output = before.output
    return Usage(prompted, output, cached, None, thought)


def _doubtful(counts: Mapping[str, Any], unread: list[str]) -> Usage:
    """Read counts of which some are none: a sum that one of them belongs to is unknown."""
    prompt, tools = count(counts, "promptTokenCount", unread), count(counts, "toolUsePromptTokenCount", unread)
    prompted = None if unread or prompt is None else prompt + (tools or 0)
    known = len(unread)
    said, thought = count(counts, "candidatesTokenCount", unread), count(counts, "thoughtsTokenCount", unread)
    output = None if len(unread) > known or said is None else said + (thought or 0)
    return Usage(prompted, output, count(counts, "cachedContentTokenCount", unread), None, thought)


def _text_of(arguments: Any) -> str:
    """Give arguments as JSON text, which some proxies write them as already."""
    if isinstance(arguments, str):
        return arguments
    return "{}" if arguments is None else json.dumps(arguments, ensure_ascii=False)


def _is_set(reason: str) -> bool:
    """Tell whether an enumeration has another value than its first, which stands for none."""
    return bool(reason) and not reason.endswith("_UNSPECIFIED")


def _camel(value: dict[str, Any]) -> dict[str, Any]:
    """Write an object's own keys in camel case: JSON of protocol buffers is to be read in either (protobuf.dev)."""
    if not any("_" in key for key in value):
        return value
    return {_SNAKE.sub(lambda found: found[1].upper(), key): each for key, each in value.items()}


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"{what} is not an object: {excerpt(str(value))}", phase="decode")
    return _camel(value)
