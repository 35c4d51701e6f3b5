"""Ask one question and print the answer while it arrives."""

from pathlib import Path

import promptstream

PACK = Path(__file__).parent / "hello.pack.json"


def main():
    with promptstream.open(PACK, "chat") as conv:
        print("Assistant: ", end="", flush=True)
        for chunk in conv.stream("Say hello, and tell me what streaming is."):
            print(chunk, end="", flush=True)
        print("\n[Done]", flush=True)
        if conv.last.finish_reason == "length":
            print("[The answer was cut at the token limit]", flush=True)


if __name__ == "__main__":
    main()
