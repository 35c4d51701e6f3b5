"""Many questions through one provider object, a few at a time; one that fails does not stop the others."""

import argparse
from concurrent.futures import ThreadPoolExecutor

import promptstream

THREADS = 8
AT_ONCE = 3
"""Requests on their way at the same time, however many threads there are; the others wait their turn."""
COUNTRIES = ("France", "Japan", "Kenya", "Peru", "Norway", "India", "Canada", "Egypt", "Chile", "Iceland")


def whatever_the_environment_says():
    with promptstream.chat() as conv:
        return conv.provider.name


def answered(provider, country):
    """Give one row: the country, what came of its answer, and the error where that is not whole."""
    try:
        response = provider.send(f"What is the capital of {country}? One word.", max_tokens=20, timeout=60)
    except promptstream.StreamError as error:
        return country, error.response.text, error
    return country, response.text, None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="without it: what the keys in the environment say")
    args = parser.parse_args()
    try:
        name = args.provider or whatever_the_environment_says()
        provider = promptstream.providers.get(name, max_in_flight=AT_ONCE)
    except promptstream.PromptStreamError as error:
        raise SystemExit(f"Error: {error}") from None
    failed = 0
    with provider, ThreadPoolExecutor(THREADS) as pool:
        for country, text, error in pool.map(lambda country: answered(provider, country), COUNTRIES):
            failed += error is not None
            print(f"{country}: {text.strip()}{f' [Error: {error}]' if error else ''}", flush=True)
    print(f"\n{len(COUNTRIES) - failed} answered, {failed} failed", flush=True)


if __name__ == "__main__":
    main()
