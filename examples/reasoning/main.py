"""Thoughts dim, the answer plain, and a second turn that builds on both."""

import argparse
import sys

import promptstream

DIM, PLAIN = ("\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "")
QUESTIONS = (
    "A bat and a ball cost 1.10 together; the bat costs 1.00 more than the ball. What does the ball cost?",
    "And if the bat cost 2.00 more, and both together 2.10?",
)


def show(stream):
    thinking = False
    for chunk in stream:
        if bool(chunk.reasoning) != thinking and (chunk.reasoning or chunk.text):
            thinking = bool(chunk.reasoning)
            print(f"{DIM}[thinks] " if thinking else f"{PLAIN}\n[answers] ", end="", flush=True)
        print(chunk.reasoning or chunk.text, end="", flush=True)
    print(PLAIN)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="without it: what the keys in the environment say")
    parser.add_argument("--model", help="without it: the provider's default")
    parser.add_argument("--effort", default="low", help="none, minimal, low, medium, high, or a number of tokens")
    args = parser.parse_args()
    effort = int(args.effort) if args.effort.isdigit() else args.effort
    provider = promptstream.providers.OpenAI(api="responses") if args.provider == "openai" else args.provider
    try:
        with promptstream.chat(provider=provider, model=args.model, reasoning=effort) as conv:
            for question in QUESTIONS:
                print(f"> {question}")
                show(conv.stream(question))  # what the provider signed of its thoughts goes back with the second one
                spent = conv.last.usage.reasoning
                print(f"[{'unknown' if spent is None else spent} tokens of thought] {conv.last.summary()}\n")
                for warning in conv.last.warnings:
                    print(f"[warning] {warning}")
    except (promptstream.PromptStreamError, ValueError) as error:
        sys.exit(f"{PLAIN}\nError: {error}")


if __name__ == "__main__":
    main()
