"""A model's text in, what is safe to print on a terminal out; under the name that the command line knows it by."""

from __future__ import annotations

from promptstream.values.sanitise import LONGEST, Sanitiser, clean, visible

__all__ = ["LONGEST", "Sanitiser", "clean", "visible"]
