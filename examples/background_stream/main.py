"""The answer comes in while the program does something else, and is looked at whenever it likes.

In a notebook each function below is a cell: one starts the stream, others look, the last takes the whole.
Run it with a number of seconds to work meanwhile, such as 0.5; without one it is 2.
"""

import sys
import time

import promptstream

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0


def start(conv):
    # Sends at once. The size is how many chunks may wait: here all of them, so nobody has to read along.
    return conv.stream("Explain in three paragraphs how a tide comes about.").buffered(size=100_000)


def work(stream):
    """Do something else, then look at what has come meanwhile; looking never waits."""
    time.sleep(SECONDS)
    print(f"After {SECONDS:g} s {len(stream.text)} characters are here: {stream.text[:40]!r}", flush=True)


def finish(stream):
    """Wait for the rest, and print it all; an answer that broke off raises here."""
    response = stream.result()
    print(f"\n{response.text}\n", flush=True)
    if response.finish_reason == "length":
        print("[The answer was cut at the token limit]", flush=True)
    print(response.summary(), flush=True)


def read_along(conv):
    """Print a second answer in a loop of one's own: at most ten chunks wait, then the provider does."""
    for chunk in conv.stream("Now in one sentence.").buffered(size=10):
        print(chunk, end="", flush=True)
    print(flush=True)


def main():
    with promptstream.chat("Be clear and brief.", max_tokens=300) as conv:
        try:
            stream = start(conv)
            work(stream)
            finish(stream)
            read_along(conv)
        except promptstream.StreamError as error:
            raise SystemExit(f"\n[Error: {error}]") from None


if __name__ == "__main__":
    main()
