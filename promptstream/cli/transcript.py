"""What is kept of a conversation in; as lines to read, as Markdown, or as JSON, out."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from promptstream.cli.asking import told
from promptstream.cli.keeping import Setup
from promptstream.cli.sanitise import clean, visible
from promptstream.errors import StoreCorrupt
from promptstream.tools.approval import Held, Pending
from promptstream.values.message import Document, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from promptstream.conversation import Conversation
    from promptstream.state.store import Kept

_ROLES = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tools"}
_STATES = {"waiting": "waits for a decision", "approved": "approved, not run yet", "running": "running, or interrupted"}
_FENCE = re.compile("`{3,}")


def local_time(moment: float) -> str:
    """Give a Unix time as a person here reads it, to the minute."""
    try:
        return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # of a store that another clock, or nobody's, wrote
        return "?"


def utc(moment: float) -> str | None:
    """Give a Unix time in ISO 8601, or None where it is none."""
    try:
        return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return None


def title_of(metadata: Mapping[str, Any]) -> str:
    """Give the title that a conversation's metadata hold, or ""."""
    title = metadata.get("title")
    return title if isinstance(title, str) else ""


def of_conversation(conv: Conversation) -> Kept:
    """Give a running conversation as a store would keep it now; without times where none does."""
    from promptstream.state.store import Kept

    pending = [Held(call, call.id in conv.client_side).to_dict() for call in conv.pending]
    state: dict[str, Any] = {"origin": conv.origin, "metadata": dict(conv.metadata), "pending": pending}
    state |= {"usage": conv.usage.to_dict(), "cost": None if conv.cost is None else str(conv.cost)}
    now = time.time() if conv.kept else math.nan
    return Kept(conv.id, 0, tuple(conv.messages), state, now, now)


def about(kept: Kept) -> dict[str, str]:
    """Give what a conversation is on, and with whom, as far as it is told."""
    origin, metadata = _mapping(kept.state.get("origin")), _mapping(kept.state.get("metadata"))
    setup = Setup.of(metadata)
    facts = {
        "title": title_of(metadata),
        "pack": " ".join(str(each) for each in (origin.get("pack"), origin.get("prompt")) if each),
        "system": str(origin.get("system") or ""),
        "model": " · ".join(each for each in (setup.provider, setup.model, setup.base_url) if each),
        "saved": "" if math.isnan(kept.updated) else local_time(kept.updated),
    }
    return {name: fact for name, fact in facts.items() if fact}


def as_lines(kept: Kept) -> Iterator[str]:
    """Give the lines of a conversation as a person reads it."""
    for name, fact in about(kept).items():
        yield f"{name}: {' '.join(clean(fact).split())}"
    for message in kept.messages:
        yield ""
        yield from _lines(message)
    held = _undecided(kept)
    if held:
        yield ""
    for each in held:
        yield f"{_STATES[each.state]}: {told(each.call)}"


def _lines(message: Message) -> Iterator[str]:
    label = f"{_ROLES[message.role]}: " if message.role != "tool" else ""
    for part in message.parts:
        indent = "  " if isinstance(part, (ToolCall, ToolResult)) else ""
        if indent and label:
            yield label.rstrip()
            label = ""
        first, *rest = clean(_told(part)).split("\n")
        yield f"{indent}{label}{first}"
        yield from (f"{indent}{'  ' if indent else ''}{line}" for line in rest)
        label = ""
    if (ending := _ending(message)) or label:
        yield f"{label}{ending}".rstrip()


def _told(part: Part) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Reasoning):
        return f"[reasoning, {len(part.text)} characters]"
    if isinstance(part, ToolCall):
        return f"→ {told(part)}"
    if isinstance(part, ToolResult):
        return f"← {part.content}"
    return _attached(part)


def _attached(part: Image | Document) -> str:
    name = part.name if isinstance(part, Document) and part.name else ""
    what = part.url if part.data is None else f"{len(part.data)} bytes"
    return f"[{' '.join(filter(None, (part.type, name, part.media_type)))}: {what}]"


def _ending(message: Message) -> str:
    return f"[{message.finish_reason}]" if message.finish_reason in ("cancelled", "failed") else ""


def as_markdown(kept: Kept) -> Iterator[str]:
    """Give a conversation as Markdown: a heading for each message, calls and results in fences."""
    facts = about(kept)
    yield f"# {' '.join(clean(facts.pop('title', kept.id)).split())}"
    yield ""
    yield from (f"- {name}: {' '.join(clean(fact).split())}" for name, fact in facts.items())
    for message in kept.messages:
        yield ""
        yield f"## {_ROLES[message.role]}"
        for part in message.parts:
            yield ""
            yield from _section(part)
        if ending := _ending(message):
            yield ""
            yield ending
    for each in _undecided(kept):
        yield ""
        yield f"## A call {_STATES[each.state]}"
        yield ""
        yield from _section(each.call)


def _section(part: Part) -> Iterator[str]:
    if isinstance(part, Text):
        yield clean(part.text)
    elif isinstance(part, ToolCall):
        arguments = part.raw_arguments if part.arguments is None else _pretty(part.arguments)
        yield from _fenced(f"Call of `{_inline(part.name)}`:", "json", arguments)
    elif isinstance(part, ToolResult):
        result = "Error" if part.error else "Result"
        yield from _fenced(f"{result} of `{_inline(part.name)}`:", "", part.content)
    else:
        yield clean(_told(part))


def _fenced(head: str, language: str, text: str) -> Iterator[str]:
    text = clean(text)
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCE.findall(text))])
    yield from (head, "", f"{fence}{language}", text, fence)


def _inline(name: str) -> str:
    return " ".join(clean(name).replace("`", "'").split())


def as_json(kept: Kept) -> str:
    """Give all that is kept as one JSON object, indented; messages as ``Message.to_dict`` gives them."""
    state = {name: value for name, value in kept.state.items() if name != "format"}
    data = {
        "id": kept.id,
        "created": utc(kept.created),
        "updated": utc(kept.updated),
        "messages": [message.to_dict() for message in kept.messages],
        **state,
    }
    return _pretty(data)


def _whole(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


TRANSCRIPTS: Mapping[str, Callable[[Kept], str]] = {
    ".json": lambda kept: as_json(kept) + "\n",
    ".md": lambda kept: _whole(as_markdown(kept)),
    ".markdown": lambda kept: _whole(as_markdown(kept)),
    ".txt": lambda kept: _whole(as_lines(kept)),
}
"""What writes a conversation down, by the end of the file's name."""


def one_line(data: Mapping[str, Any]) -> str:
    """Give *data* as a line of JSON that a terminal shows and does nothing else with."""
    return visible(json.dumps(data, ensure_ascii=False))


def _pretty(data: Any) -> str:
    return visible(json.dumps(data, ensure_ascii=False, indent=2))


def _undecided(kept: Kept) -> list[Held]:
    """Give the calls of the last round that have no result yet."""
    pending: Iterable[Any] = kept.state.get("pending") or ()
    try:
        return [each for each in Pending.from_list(pending) if each.state in _STATES]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreCorrupt(f"The pending calls of {kept.id!r:.80} cannot be read: {error}") from error


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
