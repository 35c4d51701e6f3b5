"""Structured output: an answer as an object of a class, shown while it grows, and checked when it is whole.

Without --provider a script plays the model, and breaks a rule in its second answer.
"""

import argparse
import sys
from typing import Annotated, Literal

import attrs
from script import SCRIPT

import promptstream
from promptstream.providers import Scripted


@attrs.frozen
class Ingredient:
    """One line of a recipe."""

    name: str
    grams: Annotated[float, "Of the whole recipe", {"exclusiveMinimum": 0}]


@attrs.frozen
class Recipe:
    """What the model is to give: names, hints, defaults and bounds become the JSON Schema that it is sent."""

    title: str
    course: Literal["starter", "main", "dessert"]
    ingredients: list[Ingredient]
    minutes: int | None = None


def growing(conv):
    """Show the object so far, one line for each time that something of it became visible."""
    print("> A recipe for pancakes", flush=True)
    before = None
    stream = conv.stream("A recipe for pancakes")
    for _ in stream:
        recipe = stream.partial() or {}
        names = [each.get("name") for each in recipe.get("ingredients", [])]
        if (now := (recipe.get("title"), names)) != before:
            print(f"  {now[0]}: {', '.join(filter(None, names))}", flush=True)
            before = now
    recipe = stream.result().parsed
    print(f"{recipe.title}, a {recipe.course}: {sum(each.grams for each in recipe.ingredients):g} g\n", flush=True)


def checked(conv, attempts=2):
    """Ask again where the answer is none: what was wrong with it is a good hint for the model."""
    question = "A recipe for lemonade"
    for _ in range(attempts):
        print(f"> {question}", flush=True)
        try:
            recipe = conv.send(question).parsed
        except promptstream.errors.AnswerInvalid as error:
            print(f"[invalid] {error}\n[it was] {error.response.text}", flush=True)
            question = f"A recipe for lemonade. Your last answer was not right: {error}"
        else:
            print(recipe, flush=True)
            break


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    try:
        with promptstream.chat(provider=args.provider or Scripted(SCRIPT), schema=Recipe) as conv:
            growing(conv)
            checked(conv)
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
