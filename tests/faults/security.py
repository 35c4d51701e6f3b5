"""The faults of security, rows 5 and 70 to 74: a key in clear, that is none, or shows; text that drives a terminal."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any

import attrs
from dialects import Dialect
from faults.core import Fault, Stage
from faults.payload import IGNORED
from faults.says import PART, good
from faults.shapes import amid, delta
from wires.base import KEY

from promptstream.errors import ConfigError

BAD_KEYS = {
    "a line break at its end": f"{KEY}\n",
    "CRLF at its end": f"{KEY}\r\n",
    "a space at its begin": f" {KEY}",
    "a line break in it, and a header after that": f"{KEY}\r\nX-Novelty: 1",
    "a NUL in it": f"{KEY}\0",
    "a tab in it": f"{KEY[:8]}\t{KEY[8:]}",
    "an umlaut in it": f"{KEY}ä",
    "a typographer's dash in it": f"{KEY}–",
    "half of a pair in it": f"{KEY}\ud83d",
    "a byte order mark ahead": f"\ufeff{KEY}",
}
SIGNS = "\x1b[2J\x1b]0;title\x07\x9b1m\u202e\u2066\x00\x7f"
"""What clears a screen, sets its title, writes from right to left."""


def _refused(key: str) -> Callable[[Dialect], None]:
    """Prove that a provider of *key* is not made, by an error that does not show it."""

    def prove(dialect: Dialect) -> None:
        with Stage((good(dialect),), None) as server:
            try:
                dialect.provider(server.origin, api_key=key)
            except ConfigError as error:
                said = f"{error}{error!r}{error.__cause__!r}{error.__context__!r}"
            else:
                raise AssertionError("a provider was made")
            assert KEY[:8] not in said, said
            assert not server.connections, "something was sent"

    return prove


def _in_clear(dialect: Dialect) -> None:
    """Prove that a key does not go to another machine in clear, unless that is said; nothing is asked of a name."""
    far, near = "http://llm.example.test:8000", "http://127.0.0.1:8000"
    try:
        dialect.provider(far)
    except ConfigError as error:
        said = str(error)
    else:
        raise AssertionError("a provider was made")
    assert "allow_plaintext=True" in said
    assert KEY[:8] not in said, said
    for origin, options in ((far, {"allow_plaintext": True}), (far.replace("http:", "https:"), {}), (near, {})):
        dialect.provider(origin, **options).close()


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _shown(thing: Any) -> list[str]:
    """Give all that an object shows of itself, and what it shows once it was pickled or copied."""
    shown = [repr(thing), str(thing), f"{thing}"]
    for again in (lambda: pickle.dumps(thing), lambda: repr(copy.copy(thing)), lambda: repr(vars(thing))):
        try:
            shown.append(str(again()))
        except Exception as error:  # what cannot be pickled says so, and may not show it either
            shown.append(f"{error!r}{error.__context__!r}")
    return shown


def _quiet(dialect: Dialect) -> None:
    """Make a good answer, and look at all that is to be seen of it."""
    root, kept = logging.getLogger(), _Kept()
    level = root.level
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    try:
        with Stage((good(dialect),), None) as server, dialect.provider(server.origin) as provider:
            stream = dialect.stream(provider)
            chunks = list(stream)
            shown = [each for thing in (provider, stream, *chunks, stream.response) for each in _shown(thing)]
            assert KEY in str(server.requests[0].headers), "the key was not sent in the first place"
    finally:
        root.removeHandler(kept)
        root.setLevel(level)
    for each in (*shown, *kept.lines):
        assert KEY not in each, f"the key shows: {each:.200}"


FAULTS = (
    Fault(5, "a key over http:// to another machine", prove=_in_clear),
    *(Fault(70, f"a key with {name}", prove=_refused(key)) for name, key in BAD_KEYS.items()),
    Fault(71, "a key in what is printed, pickled and logged", prove=_quiet),
    Fault(
        72,
        "signs for a terminal in the text are handed out as they are",
        step=amid(lambda dialect: delta(dialect, json.dumps(SIGNS))),
        outcome=attrs.evolve(IGNORED, text=PART + SIGNS),
    ),
)
ELSEWHERE = {
    73: "test_template.py::test_values_are_never_expanded_again",
    74: "test_packs.py::test_a_file_above_four_mebibytes_is_refused",
}
NOT_MADE = {
    "72 a helper that makes text fit for a terminal": "the command line has one, which test_cli_sanitise.py tests; "
    "the library hands text out as it came",
    "74 a pattern of a pack that takes for ever": "it is refused by what it is made of, and matched on texts of "
    "bounded length alone (test_patterns.py); no process of its own is needed to bound the time",
}
