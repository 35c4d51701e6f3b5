"""Values in, the HTML that a notebook shows of them out: every text in it is escaped, colours are the reader's own.

Whatever a model, a tool or a user wrote is shown and never followed. Nothing but inline styles is used, and none with
a colour of its own, so that light and dark themes both fit and a front end that strips styles still shows it all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from promptstream.values.markdown import plain, preformatted, render
from promptstream.values.message import Document, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from promptstream.values.money import dollars
from promptstream.values.response import Response

if TYPE_CHECKING:
    from promptstream.values.usage import Usage

MOST_MESSAGES = 50
"""How many messages of a conversation are shown, the last ones."""
CLIPPED = 160
"""Characters of a call or a result that stand in its line; all of it unfolds."""
LONGEST = 20_000
"""Characters shown of one result, of one call's arguments or of one system prompt."""
_QUIET = "opacity: .7; font-size: .9em"
_TURN = "border-left: .2em solid rgba(128, 128, 128, .4); padding-left: .8em; margin: .8em 0"
_CELL = "text-align: {}; padding: .15em .8em; border-bottom: 1px solid rgba(128, 128, 128, .3)"
_NOTES = {
    "length": "The answer was cut at the token limit.",
    "content_filter": "The answer was stopped by a content filter.",
    "refusal": "The model refused.",
    "cancelled": "Stopped: this is what had come.",
}


def framed(*pieces: str) -> str:
    """Give HTML in the box that each display stands in."""
    return f'<div class="promptstream" style="max-width: 60em; line-height: 1.5">{"".join(pieces)}</div>'


def clipped(text: str, length: int = CLIPPED) -> str:
    """Give *text* on one line, at most *length* characters of it."""
    line = " ".join(text[: length * 2].split())
    return line if len(line) <= length and len(text) <= length * 2 else f"{line[:length]}…"


def folded(summary: str, body: str, *, unfolded: bool = False) -> str:
    """Give a line of HTML that unfolds *body*."""
    opened = " open" if unfolded else ""
    return (
        f'<details{opened} style="margin: .3em 0"><summary style="cursor: pointer">{summary}</summary>{body}</details>'
    )


def quiet(text: str) -> str:
    """Give *text* as a small line."""
    return f'<div style="{_QUIET}; margin-top: .4em">{plain(text)}</div>'


def alert(text: str) -> str:
    """Give *text* as a line to be noticed."""
    bar = "border-left: .25em solid currentColor; padding: .1em .6em; margin: .5em 0; white-space: pre-wrap"
    return f'<div role="alert" style="{bar}"><strong>{plain(text)}</strong></div>'


def reasoning(text: str, *, unfolded: bool = False) -> str:
    """Give thoughts, folded away."""
    line = f'<span style="{_QUIET}">Reasoning, {len(text):,} characters</span>'
    body = f'<div style="{_QUIET}; margin-left: 1em">{preformatted(text)}</div>'
    return folded(line, body, unfolded=unfolded)


def call(asked: ToolCall, result: ToolResult | None = None, waiting: str = "") -> str:
    """Give a call in one line, with its result, or what it waits for; it unfolds the whole of both."""
    told = str(asked)
    line = f"🔧 <code>{plain(clipped(told))}</code>"
    body = _block(told)
    if result is not None:
        mark = "✗ " if result.error else ""
        line += f" → {mark}<code>{plain(clipped(result.content))}</code>"
        body += _block(result.content)
    elif asked.problem or waiting:
        line += f' <span style="{_QUIET}">{plain(asked.problem or waiting)}</span>'
    return folded(line, body)


def _block(text: str) -> str:
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"
    style = "white-space: pre-wrap; overflow-wrap: anywhere; margin: .3em 0 .3em 1.5em; font-family: monospace"
    return f'<pre style="{style}">{plain(shown)}</pre>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table whose first column is of words and whose others are of figures."""
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    return f'<table style="border-collapse: collapse; margin: .5em 0">{"".join(lines)}</table>'


def _row(tag: str, cells: Sequence[str]) -> str:
    sides = ["left", *["right"] * (len(cells) - 1)]
    told = (
        f'<{tag} style="{_CELL.format(side)}">{plain(cell)}</{tag}>' for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(told)}</tr>"


def note(response: Response) -> str:
    """Tell what a reader must know of how the answer ended; "" where it is whole and plain."""
    if response.pending:
        return f"Waits for a decision: {', '.join(f'{clipped(str(c))} [{c.id}]' for c in response.pending)}."
    reason = response.finish_reason
    if reason == "tool_calls":
        return f"The model asks for tools, which nobody runs here: {', '.join(c.name for c in response.tool_calls)}."
    if reason == "other":
        return f"The answer ended for another reason: {response.raw_finish_reason or 'not told'}."
    if reason in _NOTES:
        return _NOTES[reason]
    if not response.complete:
        return "The answer is not whole: this is what had come."
    return "" if response.text else "The answer has no text."


def figures(response: Response) -> str:
    """Give the line of figures, with the model that answered."""
    return f"{response.model} | {response.summary()}" if response.model else response.summary()


def closing(response: Response) -> str:
    """Give what stands below an answer: notes, warnings and figures."""
    notes = alert(told) if (told := note(response)) else ""
    return notes + "".join(quiet(f"Warning: {each}") for each in response.warnings) + quiet(figures(response))


def of_response(response: Response, *, over: bool | None = None) -> str:
    """Give an answer: thoughts and calls folded, its text, and how it ended with its figures where it is *over*.

    Where nobody says whether it is, it may still be coming in unless it tells how it ended.
    """
    calls = "".join(call(each) for each in response.tool_calls)
    thoughts = reasoning(response.reasoning) if response.reasoning else ""
    if over is None and not _ended(response):
        below = alert(note(response))
    else:
        below = "" if over is False else closing(response)
    return framed(thoughts, calls, render(response.text), below)


def _ended(response: Response) -> bool:
    marked = response.message.finish_reason in ("cancelled", "failed")
    return response.complete or marked or response.finish_reason is not None or bool(response.pending)


def of_stream(state: str, response: Response, over: bool) -> str:
    """Give a stream as far as it came, and the *state* it is in; figures once it is over."""
    so_far = "" if over else " so far"
    line = quiet(f"{state}: {len(response.text):,} characters{so_far}")
    return framed(line) + of_response(response, over=over)


def of_messages(messages: Iterable[Message]) -> str:
    """Give messages as their parts, each under its role; a call's result stands with the call."""
    told, unanswered = [], list(messages)
    results = {part.call_id: part for each in unanswered for part in each.parts if isinstance(part, ToolResult)}
    for message in unanswered:
        parts = [_part(part, results) for part in message.parts]
        if not any(parts) and message.role == "tool":
            continue
        marked = message.finish_reason in ("cancelled", "failed")
        head = f"{message.role} [{message.finish_reason}]" if marked else message.role
        told.append(f'<div style="{_TURN}"><div style="{_QUIET}">{plain(head)}</div>{"".join(parts)}</div>')
    return "".join(told)


def _part(part: Part, results: dict[str, ToolResult]) -> str:
    if isinstance(part, Text):
        return render(part.text)
    if isinstance(part, Reasoning):
        return reasoning(part.text) if part.text else ""
    if isinstance(part, ToolCall):
        return call(part, results.pop(part.id, None))
    if isinstance(part, ToolResult):
        if part.call_id not in results:  # it stood with its call
            return ""
        mark = "✗ " if part.error else ""
        return folded(f"← {plain(part.name)}: {mark}<code>{plain(clipped(part.content))}</code>", _block(part.content))
    return quiet(_attachment(part))


def _attachment(part: Image | Document) -> str:
    name = getattr(part, "name", None) or part.url or part.media_type or "without a name"
    size = "" if part.data is None else f", {len(part.data):,} bytes"
    return f"📎 {part.type}: {clipped(name)}{size}"


def of_conversation(
    title: str,
    messages: Sequence[Message],
    *,
    last: Response | None,
    usage: Usage,
    cost: Decimal | None,
) -> str:
    """Give a conversation's messages, the last ones where they are many, and what it used and cost."""
    hidden = len(messages) - MOST_MESSAGES
    earlier = quiet(f"{hidden:,} earlier messages are not shown.") if hidden > 0 else ""
    rows = [("Last turn", *_usage(last.usage, last.cost))] if last is not None else []
    rows.append(("Conversation", *_usage(usage, cost)))
    head = ("", "Input", "Cached", "Output", "Reasoning", "Total", "Cost")
    shown = of_messages(messages[-MOST_MESSAGES:])
    return framed(quiet(title), earlier, shown, table(head, rows))


def _usage(usage: Usage, cost: Decimal | None) -> tuple[str, ...]:
    counts = (usage.input, usage.cached, usage.output, usage.reasoning, usage.total)
    told = ("–" if count is None else f"{count:,}" for count in counts)
    return (*told, dollars(cost))


def of_pack(
    title: str, below: str, prompts: Iterable[tuple[str, str, Sequence[str], Sequence[str]]], findings: int
) -> str:
    """Give a pack's name, what is told *below* it, and its prompts, each with its template, variables and tools."""
    told = []
    for name, template, variables, tools in prompts:
        needs = f" – variables: {', '.join(variables)}" if variables else ""
        has = f" – tools: {', '.join(tools)}" if tools else ""
        told.append(folded(f"<strong>{plain(name)}</strong>{plain(needs + has)}", _block(template)))
    doubts = quiet(f"{findings} finding{'s' * (findings > 1)}: see check().") if findings else ""
    return framed(f"<strong>{plain(title)}</strong>", quiet(below), *told, doubts)
