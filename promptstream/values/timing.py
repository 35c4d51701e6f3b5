"""Seconds: how long a stream may take, and how long it took."""

from __future__ import annotations

from typing import Any

import attrs

LONGEST = 10**8
"""Seconds: three years, well below what a socket and a lock can be told to wait."""


def _positive(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST:
        raise ValueError(f"Timeout.{attribute.name} is {value!r}; give seconds above 0, or None for no limit.")


@attrs.frozen
class Timeout:
    """Bound a turn, in seconds; ``None`` means no limit.

    ``first`` and ``idle`` count data events, not bytes and not keep-alives, and stand still while
    your loop's body runs. A bare number wherever a Timeout is taken means ``total``.
    """

    connect: float | None = attrs.field(default=10, validator=_positive)
    """To an open connection, all addresses and the TLS handshake together."""
    first: float | None = attrs.field(default=600, validator=_positive)
    """From the request to its first data event."""
    idle: float | None = attrs.field(default=120, validator=_positive)
    """Between two data events."""
    total: float | None = attrs.field(default=None, validator=_positive)
    """Everything: connecting, retries and their sleeps, tool rounds, the answer."""

    @classmethod
    def of(cls, value: Timeout | float | None, default: Timeout | None = None) -> Timeout:
        """Read a ``timeout=`` argument: a Timeout, a number (total seconds) or None (*default*)."""
        if value is None:
            return default or cls()
        if isinstance(value, Timeout):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return attrs.evolve(default or cls(), total=value)
        raise TypeError(f"timeout={value!r}: give seconds or a Timeout.")


@attrs.frozen
class Timing:
    """Tell how long an answer took, in seconds, and how much came."""

    first: float | None = None
    """From the first request to the first text; None where no text came."""
    total: float | None = None
    """From the first request to the end."""
    chunks: int = 0
    """TEXT chunks handed out."""
    characters: int = 0
    """Characters of text, as ``len()`` counts them."""
    tokens_per_second: float | None = None
    """Output tokens per second, from the first text or thought on; None where the usage is unknown."""
    first_event: float | None = None
    """From the first request to the first data event, which may show nothing."""
    first_reasoning: float | None = None
    """From the first request to the first thought; None where the provider shows none."""

    def to_dict(self) -> dict[str, float | int | None]:
        """Give the fields as a JSON-safe dict."""
        return attrs.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Timing:
        """Build from what :meth:`to_dict` gave."""
        return cls(**data)
