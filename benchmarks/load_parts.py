"""A part's name in, that part of the load profile out: streams in threads by one client or another, or a relay.

Imports nothing at the top but Python and this package, as it runs in the peers' environments too.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.child import say
from benchmarks.costs import costs
from benchmarks.load_upstream import noted

PAUSE = 0.5
"""Seconds that the tool takes."""
Streaming = Callable[[Callable[[str], None], Callable[[str], str]], None]
"""Have one whole stream: *heard* is called with each text, *look_up* is the tool."""


class Heard:
    """Note what one stream brings: how late each text was, and what went wrong."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks
        self.delays: list[int] = []
        self.called = 0
        self.error = ""

    def text(self, text: str) -> None:
        """Note a text, which holds the time of its write."""
        now = time.monotonic_ns()
        if text:
            self.delays.append(now - int(text))

    def look_up(self, note: str) -> str:
        """Look something up, which takes a while."""
        if note == noted(self.chunks):
            self.called += 1
        time.sleep(PAUSE)
        return "found"

    @property
    def failed(self) -> bool:
        """True where there was an error, or the tool was not called as it should be."""
        return bool(self.error) or self.called != 1

    def run(self, streaming: Streaming) -> None:
        """Have the stream, and note how it ends."""
        try:
            streaming(self.text, self.look_up)
        except BaseException as error:
            self.error = f"{type(error).__name__}: {error}"[:200]


def in_threads(name: str, url: str, number: int, chunks: int) -> None:
    """Have *number* streams at once, a thread each, whenever the parent says so."""
    streaming = {"promptstream": _promptstream, "langchain": _langchain}[name](url)
    first = Heard(chunks)
    first.run(streaming)  # what is imported at first use counts before
    say(error=first.error) if first.error else say(**costs())
    gc.collect()
    for _ in sys.stdin:
        say(**_round(streaming, number, chunks))


def _round(streaming: Streaming, number: int, chunks: int) -> dict[str, Any]:
    everyone = [Heard(chunks) for _ in range(number)]
    threads = [threading.Thread(target=each.run, args=(streaming,)) for each in everyone]
    spent = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.process_time() - spent
    return {
        **costs(),
        "cpu": spent,
        "delays": [delay for each in everyone for delay in each.delays],
        "failed": sum(each.failed for each in everyone),
        "errors": [each.error or "the call of the tool was not whole" for each in everyone if each.failed][:5],
    }


def _promptstream(url: str) -> Streaming:
    import promptstream
    from promptstream import providers

    provider = providers.get("compatible", base_url=url, model="bench")

    def stream(heard: Callable[[str], None], look_up: Callable[[str], str]) -> None:
        with promptstream.chat(provider=provider, tools=[look_up]) as conv:
            for text in conv.stream("Go").iter_text():
                heard(text)

    return stream


def _langchain(url: str) -> Streaming:
    from langchain_core.messages import HumanMessage, ToolMessage  # type: ignore[import-not-found]
    from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

    model = ChatOpenAI(model="bench", base_url=url, api_key="none", stream_usage=True)

    def stream(heard: Callable[[str], None], look_up: Callable[..., str]) -> None:
        bound = model.bind_tools([look_up])
        messages: list[Any] = [HumanMessage("Go")]
        while True:
            answer: Any = None
            for chunk in bound.stream(messages):
                answer = chunk if answer is None else answer + chunk
                heard(chunk.content)
            if not answer.tool_calls:
                return
            messages.append(answer)
            for call in answer.tool_calls:
                messages.append(ToolMessage(look_up(**call["args"]), tool_call_id=call["id"]))

    return stream


def relay(url: str, connections: int) -> None:
    """Serve a relay on that upstream, with the tool, until the parent closes this process's input."""
    from promptstream.providers import get
    from promptstream.web import Relay

    def look_up(note: str) -> str:
        """Look something up, which takes a while."""
        time.sleep(PAUSE)
        return "found"

    provider = get("compatible", base_url=url, model="bench")
    with Relay(provider=provider, tools=[look_up], port=0, max_connections=connections + 1, page=False) as serving:
        say(port=serving.port)
        for _ in sys.stdin:
            say(**costs())


def main() -> None:
    """Run the part that the arguments name."""
    part, url, number, chunks, switch = sys.argv[1:]
    sys.setswitchinterval(float(switch))
    if part == "relay":
        relay(url, int(number))
    else:
        in_threads(part, url, int(number), int(chunks))


if __name__ == "__main__":
    main()
