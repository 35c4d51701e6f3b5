"""An answer's deltas in, what of them lies between ``<think>`` and ``</think>`` told apart out.

Servers that know no field for reasoning leave it in the answer itself, at its very beginning.
"""

from __future__ import annotations

OPENING = "<think>"
CLOSING = "</think>"
MAX_BLANK = 256
"""Characters of white space after which no tag is waited for any more."""


class ThinkTags:
    """Split the content of one answer, cut anywhere, into reasoning and text.

    Only a tag at the very beginning counts (white space may come before it): further on it is text
    that speaks of tags. White space next to the tags is dropped where text or reasoning begins. A
    tag that is never closed makes everything reasoning.
    """

    def __init__(self) -> None:
        self.open = True
        """True while it still has to look at text; once False, text needs no splitting."""
        self._inside = False
        self._closed = False
        self._begun = False
        """True once reasoning, which does not begin with white space, has begun."""
        self._held = ""

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Take the next delta and give what is settled: pairs of whether it is reasoning, and the text."""
        if not self.open:
            return [(False, text)] if text else []
        text, self._held = self._held + text, ""
        if self._inside:
            return self._thought(text)
        start = text.lstrip()
        if self._closed:
            return self._plain(start) if start else []
        if start.startswith(OPENING):
            self._inside = True
            return self._thought(start[len(OPENING) :])
        if OPENING.startswith(start) and len(text) <= MAX_BLANK:
            self._held = text
            return []
        return self._plain(text)

    def flush(self) -> list[tuple[bool, str]]:
        """Give what was held back, at the end of the answer, and look no further."""
        held, self._held, self.open = self._held, "", False
        return [(self._inside, held)] if held else []

    def _thought(self, text: str) -> list[tuple[bool, str]]:
        if not self._begun:
            text = text.lstrip()
        thought, tag, rest = text.partition(CLOSING)
        if not tag:
            keep = _overlap(text)
            thought, self._held = text[: len(text) - keep], text[len(text) - keep :]
        self._begun = self._begun or bool(thought)
        settled = [(True, thought)] if thought else []
        if tag:
            self._inside, self._closed = False, True
            settled += self.feed(rest)
        return settled

    def _plain(self, text: str) -> list[tuple[bool, str]]:
        self.open = False
        return [(False, text)]


def _overlap(text: str) -> int:
    """Tell how many characters at the end of *text* may be the beginning of the closing tag."""
    # The tag holds no second "<", so only the last one can begin it.
    start = text.rfind("<", -len(CLOSING) + 1) if text else -1
    return len(text) - start if start >= 0 and CLOSING.startswith(text[start:]) else 0
