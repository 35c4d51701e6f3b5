"""Guardrails: what a pack forbids, what the program forbids, and what is blacked out.

What a rule may still forbid is held back, so banned words never leave, however the model splits them.
Without --provider a script plays the model, and breaks the rules.
"""

import argparse
import sys
from pathlib import Path

from script import SCRIPT

import promptstream
from promptstream.middleware import guard, redact
from promptstream.providers import Scripted

PACK = Path(__file__).parent / "guardrails.pack.json"


def polite(text):
    """Be a check of our own: give what is wrong with a whole text, or nothing."""
    return "shouts" if text.isupper() else None


LAYERS = [
    guard("the Umbrella Bank", on_violation="replace", replacement="another bank. [cut by a rule]"),
    guard(polite, direction="input"),
    redact("email", "phone"),
]


def ask(conv, question):
    """Print an answer, and how the rules took it."""
    print(f"> {question}", flush=True)
    stream = conv.stream(question)
    try:
        for chunk in stream:
            print(f"{chunk.text}|" if chunk.text else "", end="", flush=True)  # a bar after each chunk
        print(f"\n[{stream.response.finish_reason}]", flush=True)
    except promptstream.errors.GuardrailTripped as error:
        print(f"\n[stopped] {error}", flush=True)
    for each in stream.response.validations:
        if not each["passed"]:
            print(f"[rule] {each['name']} of {each['direction']}: {each['message']}", flush=True)
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    try:
        with promptstream.open(PACK, provider=args.provider or Scripted(SCRIPT), middleware=LAYERS) as conv:
            ask(conv, "Where shall I put my savings?")
            ask(conv, "Who else has branches here?")
            ask(conv, "How do I reach you? Write to ada@example.com.")
            ask(conv, "My card is 4111 1111 1111 1111, is it valid?")
            ask(conv, "ANSWER ME")
            print(f"The history: {[message.text for message in conv.messages]}", flush=True)
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
