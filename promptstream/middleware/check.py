"""What a user gives as checks in, checks out: what is forbidden in a text, or must be so of a whole one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import attrs

from promptstream.errors import ConfigError
from promptstream.values.finder import Finder, Span, ending
from promptstream.values.phrases import Phrases, unusable


class Check(Protocol):
    """Say what is forbidden, in part of a text or of a whole one. It keeps no state; any thread may use it."""

    @property
    def type(self) -> str:
        """What kind of check it is."""

    @property
    def name(self) -> str:
        """What errors and validations call it."""

    @property
    def direction(self) -> str:
        """ "input", "output" or "both"."""

    @property
    def fails(self) -> bool:
        """Whether a violation is an error; else it is recorded only."""

    @property
    def message(self) -> str:
        """What the user is told of a violation, or ""."""

    @property
    def active(self) -> bool:
        """Whether it is to be run at all."""

    @property
    def everywhere(self) -> bool:
        """Whether ``find`` is for reasoning and the arguments of tool calls too, not for the answer's text alone."""

    @property
    def behind(self) -> int:
        """How many characters before a place ``find`` must see to judge the place."""

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """Give the first violation from *start* on, or None, and the place before which no other can begin.

        *text* is the part that is not decided yet, with at least ``behind`` characters before *start* (as far as
        there are any) and *offset* more that are not shown; *whole* says that nothing follows.
        """

    def judge(self, text: str, last: str) -> str | None:
        """Say what is wrong with a whole answer, or None; *last* is the text of its last round."""


@attrs.frozen(eq=False)
class _Banned:
    """Forbid phrases."""

    finder: Finder
    type: str = "content_excludes"
    name: str = "banned_words"
    direction: str = "output"
    fails: bool = True
    message: str = ""
    active: bool = True
    everywhere: bool = True
    behind: int = 1

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """See :class:`Check`."""
        return self.finder.find(text, start, whole, offset)

    def ending(self, text: str, start: int) -> int | None:
        """See :func:`promptstream.values.finder.ending`."""
        return ending(self.finder, text, start)

    def judge(self, text: str, last: str) -> str | None:
        """See :class:`Check`."""
        return None


@attrs.frozen(eq=False)
class _Called:
    """Ask a function about the whole text."""

    function: Callable[[str], Any]
    name: str
    type: str = "custom"
    direction: str = "output"
    fails: bool = True
    message: str = ""
    active: bool = True
    everywhere: bool = False
    behind: int = 0

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """See :class:`Check`."""
        return None, len(text)

    def judge(self, text: str, last: str) -> str | None:
        """See :class:`Check`."""
        said = self.function(text)
        return (said if isinstance(said, str) else "is not allowed") if said else None


def checks_of(given: tuple[Any, ...]) -> Iterator[Check]:
    """Give what stands for each of *given*; all banned phrases make one check.

    Raises:
        ConfigError: one is no check, no callable and no phrase.
    """
    phrases = [each for each in given if isinstance(each, str)]
    for each in phrases:
        if reason := unusable(each):
            raise ConfigError(f"guard: the banned phrase {each!r:.60} {reason}.")
    if phrases:
        yield _Banned(Phrases(phrases))
    for each in given:
        if isinstance(each, str):
            continue
        if callable(getattr(each, "find", None)) and callable(getattr(each, "judge", None)):
            yield each
        elif callable(each):
            yield _Called(each, getattr(each, "__name__", type(each).__name__))
        else:
            raise ConfigError(f"guard: {each!r:.80} is no check; give a Check, a callable or a banned phrase.")
