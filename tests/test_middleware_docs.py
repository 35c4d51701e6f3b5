"""The page on middleware, run as it stands."""

from __future__ import annotations

import pytest
from test_docs import blocks

SHOWN = [
    "Once upon a time.",
    "1 round\n",
    "Then tomorrow is Saturday.\nToday is Friday.\n",
    "Paris.\nParis.\n1 request\n",
    "Otter.\n",
    "ONCE UPON A TIME.True\n",
]
"""What each program shows."""


def test_the_page_has_as_many_programs_as_are_run():
    """The first block is the shape of one, and no program by itself."""
    assert len(blocks("docs/middleware.md")) == len(SHOWN) + 1


@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_every_recipe_shows_what_it_says(number, capsys):
    """Each runs by itself, with a script in place of a provider."""
    shape, *programs = blocks("docs/middleware.md")
    names: dict[str, object] = {}
    if number == 0:
        exec(shape, names)
    exec(programs[number], names)
    assert capsys.readouterr().out == SHOWN[number]
