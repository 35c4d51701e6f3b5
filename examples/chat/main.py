"""Chat in the terminal: each line is a turn, and the answer shows while it arrives."""

from pathlib import Path

import promptstream

PACK = Path(__file__).parent / "chat.pack.json"


def answer(conv, message):
    print("Assistant: ", end="", flush=True)
    try:
        for chunk in conv.stream(message):
            print(chunk, end="", flush=True)
        print(flush=True)
        if conv.last.finish_reason == "length":
            print("[The answer was cut at the token limit]", flush=True)
    except promptstream.StreamError as error:
        print(f"\n[Error: {error}]", flush=True)
    except KeyboardInterrupt:
        print("\n[Stopped]", flush=True)


def main():
    with promptstream.open(PACK, "chat") as conv:
        print("Streaming chat ready! Type 'quit' to exit; Ctrl-C stops an answer.", flush=True)
        while True:
            try:
                message = input("\nYou: ").strip()
            except (EOFError, KeyboardInterrupt):
                break
            if message == "quit":
                break
            if message:
                answer(conv, message)


if __name__ == "__main__":
    main()
