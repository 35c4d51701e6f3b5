"""Ask one question and print the answer while it arrives."""

from pathlib import Path

import promptstream

PACK = Path(__file__).parent / "hello.pack.json"


def main():
    with promptstream.open(PACK, "chat") as conv:
        print("Assistant: ", end="", flush=True)
        try:
            for chunk in conv.stream("Say hello, and tell me what streaming is."):
                print(chunk, end="", flush=True)
        except promptstream.StreamError as error:
            raise SystemExit(f"\n[Error: {error}]") from None
        print("\n[Done]", flush=True)
        if conv.last.finish_reason == "length":
            print("[The answer was cut at the token limit]", flush=True)


if __name__ == "__main__":
    main()
