"""Long conversations: a budget of tokens for what is sent, and three ways to keep within it.

What is left out is left out of one request; the history stays whole. Without --provider a script plays the model.
"""

import argparse
import sys

from script import ANSWERS, FORGOTTEN, SUMMARISED

import promptstream
from promptstream.providers import Scripted

BUDGET = 130
QUESTIONS = (
    "My name is Ada, and I count whales for a living.",
    "Which of them is the largest?",
    "And which one dives the deepest?",
    "What was my name?",
)


def first_and_running(messages, room):
    """Be a strategy of our own: send the first turn and the running one. *room* is the tokens they may take."""
    turns = [number for number, message in enumerate(messages) if message.role == "user"]
    return [*messages[: turns[1]], *messages[turns[-1] :]]


def show(conv, sent):
    for question in QUESTIONS:
        print(f"> {question}", flush=True)
        for chunk in conv.stream(question):
            print(chunk, end="", flush=True)
        if conv.last.finish_reason == "length":
            print("\n[The answer was cut at the token limit]", end="", flush=True)
        print(f"\n[{len(sent[-1])} of {len(conv.messages) - 1} messages were sent]", flush=True)
    print("With the last question:", flush=True)
    for message in sent[-1]:
        print(f"  {message.role}: {' '.join(message.text.split())}", flush=True)
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    ways = {"sliding": FORGOTTEN, "summarize": SUMMARISED, first_and_running: ANSWERS}
    for way, script in ways.items():
        print(f"--- truncate={way if isinstance(way, str) else way.__name__}", flush=True)
        sent = []

        def noted(request, call_next, sent=sent):
            sent.append([message for message in request.messages if message.role != "system"])
            return call_next(request)

        options = {"provider": args.provider or Scripted(script), "middleware": [noted], "max_tokens": 100}
        try:
            with promptstream.chat("Be brief.", budget=BUDGET, truncate=way, **options) as conv:
                show(conv, sent)
        except promptstream.PromptStreamError as error:
            sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
