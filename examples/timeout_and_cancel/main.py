"""Three ways to end a stream early. What had come by then is kept.

Run it with a number of seconds to wait before stopping, such as 0.5; without one it is 2.
"""

import sys
import threading
from pathlib import Path

import promptstream

PACK = Path(__file__).parent / "timeout.pack.json"
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0


def print_chunks(stream):
    for chunk in stream:
        print(chunk, end="", flush=True)
    print("\n[It was finished before that]", flush=True)
    if stream.response.finish_reason == "length":
        print("[The answer was cut at the token limit]", flush=True)


def a_timeout(conv):
    print(f"--- At most {SECONDS:g} seconds", flush=True)
    try:
        print_chunks(conv.stream("Tell me a long story", timeout=SECONDS))
    except TimeoutError as error:
        print(f"\n[{error} {len(error.response.text)} characters had come]", flush=True)


def another_thread(conv):
    print("\n--- Another thread cancels", flush=True)
    token = promptstream.CancelToken()
    stop_button = threading.Timer(SECONDS, token.cancel, ["somebody pressed Stop"])
    stop_button.start()
    try:
        print_chunks(conv.stream("Tell me a long story", cancel=token))
    except promptstream.errors.Cancelled as error:
        print(f"\n[{error} {len(error.response.text)} characters had come]", flush=True)
    finally:
        stop_button.cancel()


def a_break(conv):
    print("\n--- The loop is left after 80 characters", flush=True)
    stream = conv.stream("Tell me a long story")
    for chunk in stream:
        print(chunk, end="", flush=True)
        if len(stream.text) >= 80:
            break
    print(f"\n[Stopped: the history keeps {conv.messages[-1].text!r}]", flush=True)


def main():
    with promptstream.open(PACK, "storyteller") as conv:
        a_timeout(conv)
        another_thread(conv)
        a_break(conv)


if __name__ == "__main__":
    main()
