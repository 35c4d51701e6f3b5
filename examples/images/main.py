"""Show pictures to a model: files, addresses, or the one beside this program."""

import argparse
import sys
from pathlib import Path

import promptstream

PICTURE = Path(__file__).parent / "picture.png"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="*", default=[PICTURE], help="paths or http(s) addresses")
    parser.add_argument("--provider", help="without it: what the keys in the environment say")
    parser.add_argument("--model", help="without it: the provider's default")
    parser.add_argument("--question", default="What is in this picture? Answer in one sentence.")
    args = parser.parse_args()
    try:
        with promptstream.chat(provider=args.provider, model=args.model) as conv:
            for chunk in conv.stream(args.question, attachments=args.pictures):
                print(chunk, end="", flush=True)
            print(f"\n{conv.last.summary()}")
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
