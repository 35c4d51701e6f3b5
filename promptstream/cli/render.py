"""A stream in, its text or its events out on standard output, and what a person should know on standard error."""

from __future__ import annotations

import json

from promptstream.cli.sanitise import Sanitiser
from promptstream.cli.terminal import tell, write
from promptstream.errors import Cancelled, PromptStreamError
from promptstream.stream import Stream
from promptstream.values.response import Response


def show_text(stream: Stream) -> None:
    """Print the text as it comes and end the line, also where the answer breaks off.

    Raises:
        PromptStreamError: the answer is not whole.
        BrokenPipeError: nobody reads; the stream was hung up.
    """
    sanitiser = Sanitiser()
    last = "\n"

    def put(text: str) -> None:
        nonlocal last
        last = text[-1:] or last  # first, for Ctrl-C may strike once it is written
        write(text)

    with stream:
        try:
            for text in stream.iter_text():
                put(sanitiser.feed(text))
        except (PromptStreamError, KeyboardInterrupt):
            put(sanitiser.flush())
            put("" if last == "\n" else "\n")
            raise
        put(sanitiser.flush())
        put("" if last == "\n" else "\n")


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


def tell_ending(response: Response, *, stats: bool) -> None:
    """Tell the warnings of an answer, how it ended where that is not the plain way, and its figures on request."""
    for warning in response.warnings:
        tell(f"Warning: {warning}")
    if response.complete and (note := _note(response)):
        tell(note)
    if stats:
        tell(response.report())
        tell(response.summary())


def _note(response: Response) -> str:
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
