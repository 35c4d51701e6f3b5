"""What the model says where no --provider is named: a line for each request."""

import sys

SECONDS = 0.02 if sys.stderr.isatty() else 0.0


def slowly(text):
    """Give a text word by word, as a model writes it."""
    first, *others = text.split()
    return [first, *(step for word in others for step in (SECONDS, f" {word}"))]


STORY = "There was a robot that kept a garden on a roof. " * 12
SCRIPT = [
    slowly("AI is software that learns from examples."),
    slowly(STORY),
    slowly("A robot found a flower."),
    *(slowly(text) for text in ("Rivers bring salt.", "Nearly all of it.", "Four billion years.", "Longer than us.")),
]
