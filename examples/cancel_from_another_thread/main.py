"""Three ways to stop an answer from outside its loop, and what is kept: a token, a threading.Event, and Ctrl-C.

Run it with a number of seconds to wait before stopping, such as 0.5; without one it is 2. Ctrl-C stops the last.
"""

import sys
import threading

import promptstream

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0


def tell(conv, question, cancel=None):
    try:
        for chunk in conv.stream(question, cancel=cancel):
            print(chunk, end="", flush=True)
        print("\n[It was finished before that]", flush=True)
        if conv.last.finish_reason == "length":
            print("[The answer was cut at the token limit]", flush=True)
    except promptstream.errors.Cancelled as error:
        print(f"\n[{error} {len(error.response.text)} characters had come]", flush=True)


def by_token(conv):
    print("--- Another thread cancels a token, which may say why", flush=True)
    token = promptstream.CancelToken()
    stop_button = threading.Timer(SECONDS, token.cancel, ["somebody pressed Stop"])
    stop_button.start()
    tell(conv, "Tell me a long story.", token)
    stop_button.cancel()


def by_event(conv):
    print("\n--- Another thread sets an event that stops more than this stream", flush=True)
    shutdown = threading.Event()
    timer = threading.Timer(SECONDS, shutdown.set)
    timer.start()
    tell(conv, "Tell me another one.", shutdown)
    timer.cancel()


def by_ctrl_c(conv):
    print("\n--- Press Ctrl-C", flush=True)
    try:
        tell(conv, "And a last one.")
    except KeyboardInterrupt:
        print(f"\n[Ctrl-C: {len(conv.last.text) if conv.last else 0} characters had come]", flush=True)


def main():
    try:
        with promptstream.chat("You are a storyteller.", max_tokens=500) as conv:
            by_token(conv)
            by_event(conv)
            by_ctrl_c(conv)
            print("\n--- What the conversation keeps", flush=True)
            for message in conv.messages:
                mark = f" [{message.finish_reason}]" if message.finish_reason else ""
                print(f"{message.role}: {len(message.text)} characters{mark}", flush=True)
    except promptstream.StreamError as error:
        raise SystemExit(f"\n[Error: {error}]") from None


if __name__ == "__main__":
    main()
