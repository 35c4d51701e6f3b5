"""Errors: each kind that ends a stream early, what had come by then, and an error as the last chunk.

A script plays the model, since a real one fails too seldom to look at.
"""

from script import CALM, FAILURES

import promptstream
from promptstream import errors
from promptstream.providers import Scripted


def told(conv, question, **options):
    """Print an answer, and how it ended."""
    try:
        for chunk in conv.stream(question, **options):
            print(chunk, end="", flush=True)
        print("\n[Complete]", flush=True)
    except errors.DeadlineExceeded:
        print("\n[Timeout - response truncated]", flush=True)
    except errors.Cancelled:
        print("\n[Stream cancelled by user]", flush=True)
    except (errors.RateLimited, errors.Overloaded) as error:
        print(f"\n[Error: {error} Try again in {error.retry_after:g} s]", flush=True)
    except errors.StreamError as error:
        print(f"\n[Error: {error}]", flush=True)
        print(f"[{type(error).__name__}; what had come: {error.response.text!r}]", flush=True)


def each_kind(conv):
    """Raise them in the loop; the history stays as it was before the turn that failed."""
    told(conv, "What is a tide?")
    told(conv, "Tell me a long story.", timeout=0.2)
    token = promptstream.CancelToken()
    token.cancel()
    told(conv, "Never mind.", cancel=token)
    told(conv, "One more?")
    told(conv, "And the end of it?")
    print(f"[the history has {len(conv.messages)} messages]\n", flush=True)


def as_a_chunk(conv):
    """Take the error as a last chunk, where a loop should not raise."""
    for chunk in conv.stream("Once more?", on_error="chunk"):
        if chunk.error is not None:
            print(f"\n[chunk.error: {chunk.error}]\n", flush=True)
        print(chunk, end="", flush=True)


def main():
    with promptstream.chat(provider=Scripted(FAILURES), keep_partial=False) as conv:
        each_kind(conv)
        as_a_chunk(conv)
    busy = Scripted([[errors.Overloaded("The model is overloaded.")]])
    with promptstream.chat(provider=busy, fallback=[Scripted(CALM, model="another")]) as conv:
        told(conv, "Is anybody there?")  # it failed before its first chunk, so the next provider is asked
        print(f"[answered by {conv.last.model}]", flush=True)


if __name__ == "__main__":
    main()
