"""A stream read chunk by chunk, without a for loop: get() takes the next, EndOfStream is its end, close() leaves it.

Below a conversation: a provider that is asked whether it streams, and messages with roles.
Without --provider a script plays the model.
"""

import argparse
import queue
import sys

from script import SCRIPT

import promptstream
from promptstream.providers import Scripted

MESSAGES = [
    {"role": "system", "content": "You answer in one sentence."},
    {"role": "user", "content": "Why is the sky blue?"},
]


def read(reader):
    """Read to the end, with a look around whenever nothing comes for a second."""
    while True:
        try:
            chunk = reader.get(timeout=1)
        except queue.Empty:
            continue  # nothing yet: time for something else
        except promptstream.errors.EndOfStream:
            return
        print(chunk.text, end="", flush=True)
        if chunk.done:
            print(f"\n[{chunk.finish_reason}, {chunk.usage.total} tokens]", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    try:
        with promptstream.providers.get(args.provider) if args.provider else Scripted(SCRIPT) as provider:
            if "streaming" not in provider.capabilities:
                sys.exit("Provider does not support streaming")
            with provider.stream(MESSAGES).buffered() as reader:  # the request goes out here
                read(reader)
            print(f"[the whole: {reader.text!r}]", flush=True)
            with provider.stream(MESSAGES).buffered() as reader:
                print(f"{reader.get().text}[closed]", flush=True)  # the end of the block hangs up
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
