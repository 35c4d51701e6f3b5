"""Text that may hold halves of surrogate pairs in, text that can always be encoded out."""

from __future__ import annotations

from typing import Any

_HIGH_FIRST, _HIGH_LAST = "\ud800", "\udbff"


def mend(text: str) -> str:
    """Join surrogate pairs and replace lone halves by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def mended(value: Any) -> Any:
    """Mend every string in a JSON value: escapes can spell halves of surrogate pairs."""
    if isinstance(value, str):
        return mend(value)
    if isinstance(value, list):
        return [mended(each) for each in value]
    if isinstance(value, dict):
        return {mended(key): mended(each) for key, each in value.items()}
    return value


class Joiner:
    """Join surrogate pairs that were split over two deltas (Unicode 16, section 3.9, D92)."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = ""
        """The high half that waits for its other."""

    def feed(self, text: str) -> str:
        """Take a delta and give what can be handed out of it; a trailing high half is held back."""
        if self.held:
            text, self.held = self.held + text, ""
        elif text.isascii():
            return text
        if text and _HIGH_FIRST <= text[-1] <= _HIGH_LAST:
            text, self.held = text[:-1], text[-1]
        return mend(text)

    def flush(self) -> str:
        """Give U+FFFD for a half that never met its other, or ""."""
        held, self.held = self.held, ""
        return "\ufffd" if held else ""
