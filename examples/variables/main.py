"""Variables: a pack declares them with types and rules, and their values come anew for each turn.

Each system prompt is shown as it is sent. Without --provider a script plays the model. Try APP_SHOP_NAME="Fish & Co".
"""

import argparse
import itertools
import sys
from pathlib import Path

from script import SCRIPT

import promptstream
from promptstream.packs import Clock, Environment
from promptstream.providers import Scripted

PACK = Path(__file__).parent / "variables.pack.json"
visits = itertools.count(1)


def visit():
    """Stand in for a look into a database: whatever gives a dict can give variables, once a turn."""
    return {"visit": next(visits)}


def shown(request, call_next):
    """Print the system prompt of what is sent; see the example middleware."""
    print(f"--- system\n{request.messages[0].text}\n--- answer", flush=True)
    yield from call_next(request)


def tell(stream):
    for chunk in stream:
        print(chunk, end="", flush=True)
    if stream.response.finish_reason == "length":
        print("\n[The answer was cut at the token limit]", end="", flush=True)
    print("\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    options = {"provider": args.provider or Scripted(SCRIPT), "middleware": [shown]}
    # What is called counts over what is just given, and of what is called, the later one.
    sources = [Clock("UTC"), Environment("APP_", names=["SHOP_NAME"]), visit, {"customer": "Ada"}]
    try:
        with promptstream.open(PACK, variables=sources, **options) as conv:
            tell(conv.stream("What is in my cart?"))

            conv.variables["cart"] = [{"title": "Herring", "pieces": 2}, {"title": "Tea", "pieces": 1}]  # from now on
            tell(conv.stream("And now?", variables={"tone": "formal"}))  # for this turn alone

            # The fields of a JSON object are variables of the turn, and its text is what the user says.
            tell(conv.stream(json={"customer": "Grace", "question": "Is the herring fresh?"}))

            for wrong in ({"tone": "rude"}, {"sentences": "many"}, {"customer": ""}):
                try:
                    conv.stream("Hi", variables=wrong)
                except promptstream.errors.PackError as error:  # at the call: nothing was sent
                    print(f"[refused] {error}", flush=True)
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
