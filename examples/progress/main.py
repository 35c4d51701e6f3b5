"""Progress: a bar while a long answer comes, figures of your own, and a bar over many prompts.

Bars show where somebody watches: in a terminal on standard error (extra cli), or in a notebook's cell.
Without --provider a script plays the model, slowly enough to look at.
"""

import argparse
import sys

from script import SCRIPT

import promptstream
from promptstream.progress import track
from promptstream.providers import Scripted

QUESTIONS = ("Why is the sea salty?", "Is it all?", "Since when?", "Until when?")


def counted_by_hand(conv):
    """Count while you print, as in any loop."""
    characters = 0
    for chunk in conv.stream("Tell me about AI."):
        print(chunk, end="", flush=True)
        characters += len(chunk.text)
    if conv.last.finish_reason == "length":
        print("\n[The answer was cut at the token limit]", end="", flush=True)
    print(f"\n[Complete - {characters} characters]\n", flush=True)


def a_bar(conv):
    """Wait for a whole answer, and see that something comes."""
    response = conv.send("Write a long story.", progress=True)
    print(f"[Complete - {len(response.text)} characters]\n", flush=True)


def told(conv):
    """Have a function told instead, now and then and at the end: for a window, or a log."""

    def show(progress):
        if progress.done:
            print(f"[told: {progress.characters} characters in {progress.chunks} pieces]\n", flush=True)

    conv.stream("And a short one.").result(progress=show)


def many(conv):
    """Count many prompts; the bar knows how many are left."""
    provider = conv.provider
    for question in track(QUESTIONS, description="Questions"):
        print(f"{question} {provider.send(question).text}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    try:
        with promptstream.chat("Be brief.", provider=args.provider or Scripted(SCRIPT), max_tokens=300) as conv:
            for part in (counted_by_hand, a_bar, told, many):
                part(conv)
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
