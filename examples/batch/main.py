"""A batch: one prompt over the rows of a file, several at a time, and what became of each.

A row that fails is a result with its error. With --out the results go to a file; stop the program at any point, start
it again, and it does what is missing. Without --provider a script plays the model, one row at a time.
"""

import argparse
import sys
from pathlib import Path

from script import SCRIPT

import promptstream
from promptstream.batch import read_rows
from promptstream.providers import Scripted

HERE = Path(__file__).parent


def opened(args):
    """Check all there is to check; nothing is sent yet."""
    return promptstream.map(
        HERE / "feedback.pack.json",
        "sort",
        read_rows(HERE / "rows.jsonl"),
        provider=args.provider or Scripted(SCRIPT),
        max_in_flight=8 if args.provider else 1,
        timeout=60,  # for each row
        deadline=600,  # for all of them
        budget=100_000,  # tokens
        out=args.out,
    )


def show(result):
    """Print a row's answer, or why there is none."""
    if not result.ok:
        print(f"{result.id}: failed: {result.error}", flush=True)
    elif result.response.finish_reason == "length":
        print(f"{result.id}: {result.text} [cut at the token limit]", flush=True)
    else:
        print(f"{result.id}: {result.text}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    parser.add_argument("--out", help="a JSONL file for the results; started again, it does what is missing")
    args = parser.parse_args()
    try:
        batch = opened(args)
        for result in batch:
            show(result)
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")
    told = batch.summary
    print(f"\n{told.done} answered, {told.failed} failed, {told.skipped} done before; {told.usage.total} tokens")


if __name__ == "__main__":
    main()
