"""Middleware: metrics, a log and context for the model, each a layer around every request.

A layer is a generator function: before, each chunk, errors and clean-up in one place.
Without --provider a script plays the model.
"""

import argparse
import logging
import sys
import time
from collections import Counter

import attrs
from script import SCRIPT

import promptstream
from promptstream import Message, middleware
from promptstream.providers import Scripted

QUESTIONS = ("Who has the record in the long jump?", "And how far was that?")
NOTES = {"record": "Long jump: 8.95 m, Mike Powell, 1991.", "far": "8.95 m are 29 feet and 4 1/4 inches."}


class Metrics:
    """Count what passes. One object may serve many conversations."""

    def __init__(self):
        self.counts = Counter()

    def __call__(self, request, call_next):
        """Be the layer."""
        began = time.monotonic()
        self.counts["requests"] += 1
        try:
            for chunk in call_next(request):
                self.counts["characters"] += len(chunk.text)
                yield chunk
        except promptstream.StreamError:
            self.counts["failed"] += 1
            raise
        finally:  # also where the loop was left by break
            self.counts["milliseconds"] += round((time.monotonic() - began) * 1000)


def informed(request, call_next):
    """Add what we know about the question; the history of the conversation stays as it is."""
    question = request.messages[-1].text
    found = [note for word, note in NOTES.items() if word in question]
    if found:
        *earlier, last = request.messages
        told = Message("system", "Use this: " + " ".join(found))
        request = attrs.evolve(request, messages=(*earlier, told, last))
    yield from call_next(request)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, format="\n[log] %(message)s", level=logging.INFO)
    metrics = Metrics()
    layers = [metrics, middleware.logging(), informed]  # the first is the outermost
    try:
        with promptstream.chat(provider=args.provider or Scripted(SCRIPT), middleware=layers) as conv:
            for question in QUESTIONS:
                print(f"> {question}", flush=True)
                for chunk in conv.stream(question):
                    print(chunk, end="", flush=True)
                if conv.last.finish_reason == "length":
                    print("\n[The answer was cut at the token limit]", end="", flush=True)
                print("\n", flush=True)
            print(f"The history has {len(conv.messages)} messages. Metrics: {dict(metrics.counts)}", flush=True)
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
