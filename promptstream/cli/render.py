"""A stream in, its text or its events out on standard output, and what a person should know on standard error."""

from __future__ import annotations

import json
import sys

from promptstream.cli.calls import ToolLines
from promptstream.cli.fitting import fitted
from promptstream.cli.spelling import spelled_here
from promptstream.cli.terminal import is_steerable, tell, write
from promptstream.cli.view import View
from promptstream.errors import Cancelled
from promptstream.stream import Stream
from promptstream.values.response import Response

__all__ = ["ToolLines", "show_events", "show_text", "tell_ending", "write_event"]


def show_text(
    stream: Stream, lines: ToolLines, label: str = "", *, plain: bool = False, reasoning_view: str = "fold"
) -> None:
    """Print the text as it comes, after *label*, and end the line, also where the answer breaks off.

    On a terminal it is shown as Markdown, unless *plain*. Thoughts, calls and results of tools, and what is waited for
    are told on standard error.

    Raises:
        PromptStreamError: the answer is not whole.
        BrokenPipeError: nobody reads; the stream was hung up.
    """
    with stream, View(lines, label, plain=plain, reasoning=reasoning_view) as view:
        for chunk in stream:
            view.take(chunk)


def show_events(stream: Stream) -> None:
    """Print each chunk as a line of JSON as it comes; of an answer that failed, all but the error.

    Raises:
        PromptStreamError: the answer is not whole.
        BrokenPipeError: nobody reads; the stream was hung up.
    """
    with stream:
        try:
            for chunk in stream:
                write_event(chunk.to_event())
        except KeyboardInterrupt:
            stream.close()
            write_event(Cancelled("The stream ended early: Ctrl-C was pressed.").to_event())
            raise


def write_event(event: dict[str, object]) -> None:
    """Print one event as a line of JSON; ASCII alone, so that a terminal shows it and does nothing else."""
    write(json.dumps(event).replace("\x7f", "\\u007f") + "\n")


def tell_ending(response: Response, *, stats: bool, line: bool = False) -> None:
    """Tell the warnings of an answer, how it ended where that is not the plain way, and its figures on request.

    Args:
        stats: all of them; at a terminal as a panel.
        line: the most important ones in a line.
    """
    for warning in response.warnings:
        tell(fitted(f"Warning: {spelled_here(warning)}"))
    if response.complete and (note := _note(response)):
        tell(note, notable=True)
    if stats:
        tell_figures(response)
    elif line:
        from promptstream.cli.figures import figures_line

        tell(figures_line(response), dim=True)


def tell_figures(response: Response) -> None:
    """Tell all figures of an answer; at a terminal as a panel."""
    if is_steerable(sys.stderr):
        from promptstream.cli.figures import tell_panel

        tell_panel(response)
    else:
        from promptstream.cli.figures import beside_report

        tell(response.report())
        tell(beside_report(response))
        tell(response.summary())


def _note(response: Response) -> str:
    if response.pending:
        return ""
    reason = response.finish_reason
    if reason == "tool_calls":
        return f"[the model asks for tools, which nobody runs here: {', '.join(c.name for c in response.tool_calls)}]"
    if reason == "other":
        return f"[the answer ended for another reason: {response.raw_finish_reason or 'not told'}]"
    known = {
        "length": "[cut at the token limit]",
        "content_filter": "[stopped by a content filter]",
        "refusal": "[the model refused]",
    }
    return known.get(reason or "", "" if response.text else "[the answer has no text]")
