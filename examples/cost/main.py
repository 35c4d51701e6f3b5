"""Cost: what each answer cost, prices of your own, and budgets that stop before the next request.

Without --provider a script plays the model, and tells the tokens that a real one would.
"""

import argparse
import sys

from script import HELLO, LONG, ROUNDS

import promptstream
from promptstream import Budget, Price
from promptstream.providers import Scripted

PRICES = {"house-*": Price(input="2.50", output="10", cached="0.25")}
"""USD per million tokens, by a model's name or a pattern. Without them a list of prices is asked (extra cost)."""


def dollars(cost):
    return "unknown" if cost is None else f"${cost:.6f}"


def each_answer(conv):
    """Print what each answer costs, and all of them: input, cached input and output have a price each."""
    for question in ("Who wrote the first program?", "When?"):
        print(f"> {question}", flush=True)
        for chunk in conv.stream(question):
            print(chunk, end="", flush=True)
            if chunk.done and chunk.finish_reason == "length":
                print("\n[The answer was cut at the token limit]", end="", flush=True)
        usage = conv.last.usage
        cached = f" ({usage.cached} of them cached)" if usage.cached else ""
        print(f"\n[{dollars(conv.last.cost)}: {usage.input} tokens in{cached}, {usage.output} out]", flush=True)
    print(f"[{dollars(conv.cost)} and {conv.usage.total} tokens together]\n", flush=True)


def until_it_is_spent(conv):
    """Ask on and on; a budget raises before the request that would be too much, and nothing is sent."""
    for number in range(1, 10):
        try:
            conv.send(f"Tell me fact {number}.")
        except promptstream.errors.BudgetExceeded as error:
            print(f"[stopped at fact {number}] {error}\n", flush=True)
            return
        print(f"fact {number}: {dollars(conv.cost)}, {conv.usage.total} tokens so far", flush=True)


def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word}: see elsewhere"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()

    def opened(script, **options):
        if args.provider:  # prices come from the wire, or from the list
            return promptstream.chat(provider=args.provider, max_tokens=200, **options)
        return promptstream.chat(provider=Scripted(script, model="house-small"), prices=PRICES, **options)

    try:
        with opened(HELLO) as conv:
            each_answer(conv)
        with opened(LONG, budget="$0.01") as conv:
            until_it_is_spent(conv)
        with opened(ROUNDS, budget=Budget(usd="0.50", tokens=2000), tools=[look_up]) as conv:
            until_it_is_spent(conv)  # rounds of tools are requests, too
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
