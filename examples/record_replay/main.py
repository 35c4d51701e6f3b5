"""Record a conversation with a model, and play it again: without a key, without a network, the same each time.

Run it with the path of a file to keep the recording; without it, it is in a temporary folder.
Without --provider a script plays the model that is recorded.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from script import SCRIPT

import promptstream
from promptstream.middleware import Recorder
from promptstream.providers import Replay, Scripted

QUESTIONS = ("Can I swim in Bergen today?", "And tomorrow?")


def water(city: str) -> str:
    """Tell how warm the sea is at a city."""
    return f"{city}: 11 degrees"


def talk(provider, **options):
    """Be the program that is recorded: it does not know whether a model answers, or a recording."""
    with promptstream.chat("You are a life guard.", provider=provider, tools=[water], **options) as conv:
        for question in QUESTIONS:
            print(f"> {question}", flush=True)
            for chunk in conv.stream(question):
                print(chunk, end="", flush=True)
            if conv.last.finish_reason == "length":
                print("\n[The answer was cut at the token limit]", end="", flush=True)
            print(f"\n[{conv.last.rounds} rounds, {conv.last.usage.total} tokens]", flush=True)
        return [message.text for message in conv.messages]


def another_prompt(path):
    """Ask what was not recorded: nothing is made up, and the error says what differs."""
    with promptstream.chat("You are a pirate.", provider=Replay(path), tools=[water]) as conv:
        try:
            conv.send(QUESTIONS[0])
        except promptstream.errors.ConfigError as error:
            print(str(error).partition(": ")[2], flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", help="the recording; without it: a temporary file")
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = args.file or Path(folder) / "swim.ndjson"
            print("--- Recorded", flush=True)
            recorded = talk(args.provider or Scripted(SCRIPT), middleware=[Recorder(path)])
            print("--- Played", flush=True)
            played = talk(Replay(path))  # speed=1 takes the time that the model took
            print(f"--- {'The same' if played == recorded else 'Not the same'}, word for word", flush=True)
            another_prompt(path)
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
