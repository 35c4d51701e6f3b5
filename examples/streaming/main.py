"""Three loops over a stream: print it, count it, collect it."""

from pathlib import Path

import promptstream

PACK = Path(__file__).parent / "streaming.pack.json"


def print_it(conv):
    for chunk in conv.stream("Tell me a short story"):
        if chunk.done:
            print("\n[Complete]", flush=True)
            break
        print(chunk.text, end="", flush=True)


def count_it(conv):
    characters = 0
    for chunk in conv.stream("Tell me about AI"):
        if chunk.done:
            print(f"\n[Complete - {characters} characters]", flush=True)
            break
        print(chunk.text, end="", flush=True)
        characters += len(chunk.text)


def collect_it(conv):
    pieces = []
    for text in conv.stream("Write a poem").iter_text():
        print(text, end="", flush=True)
        pieces.append(text)
    full_text = "".join(pieces)
    print(f"\n\nTotal length: {len(full_text)} characters", flush=True)


def main():
    with promptstream.open(PACK, "storyteller") as conv:
        for loop in (print_it, count_it, collect_it):
            try:
                loop(conv)
            except promptstream.StreamError as error:
                print(f"\n[Error: {error}]", flush=True)
                break
            if conv.last.finish_reason == "length":
                print("[The answer was cut at the token limit]", flush=True)
            print(conv.last.summary(), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
