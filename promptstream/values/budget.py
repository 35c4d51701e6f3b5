"""What a conversation may spend in; whether another request may be sent out."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from promptstream.values.money import usd


def _usd(given: Any) -> Decimal | None:
    return None if given is None else usd(given, "usd")


def _tokens(given: Any) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise TypeError(f"{given!r:.60} is no whole number of tokens.")
    if (number := operator.index(given)) < 1:
        raise ValueError(f"{number} is no number of tokens above 0.")
    return number


@attrs.frozen
class Budget:
    """Bound what a conversation spends in all its turns; the request that would follow is not sent.

    Raises:
        TypeError, ValueError: an amount cannot be used.
    """

    usd: Decimal | None = attrs.field(default=None, converter=_usd)
    """USD, a number, a string or a Decimal; needs the price of every model that may be asked."""
    tokens: int | None = attrs.field(default=None, converter=_tokens)
    """Tokens of prompts and answers, each prompt counted anew."""
    prompt: int | None = attrs.field(default=None, converter=_tokens)
    """Tokens that the prompt of one request may take, estimated; ``truncate=`` says what becomes of longer ones."""

    @classmethod
    def of(cls, given: Any, *, prompt: bool = False) -> Budget:
        """Give *given* as a Budget: whole numbers are tokens, all others are USD.

        Args:
            prompt: True where tokens are those of one prompt: a history is made to fit.

        Raises:
            TypeError, ValueError: it is none.
        """
        if given is None or isinstance(given, cls):
            return given or cls()
        if isinstance(given, bool) or not isinstance(given, (int, float, str, Decimal)):
            raise TypeError(f"budget={given!r:.60}: give tokens (an int), USD (a Decimal, or '$0.50'), or a Budget.")
        try:
            if not isinstance(given, int):
                return cls(usd=given)
            return cls(prompt=given) if prompt else cls(tokens=given, prompt=given)
        except ValueError as error:
            raise ValueError(f"budget={given!r:.60}: {error}") from None

    def __bool__(self) -> bool:
        """Tell whether it bounds what is spent."""
        return self.usd is not None or self.tokens is not None

    def excess(self, spent: Spent, whose: str = "conversation") -> str | None:
        """Tell what is used up by *spent*, in words; None where another request may be sent."""
        if self.tokens is not None and spent.tokens >= self.tokens:
            return f"The {whose} has used {spent.tokens} tokens of its budget of {self.tokens}"
        if self.usd is None:
            return None
        if spent.usd is None:
            return f"The {whose} has a budget of ${self.usd}, and what it has spent is not known"
        if spent.usd >= self.usd:
            return f"The {whose} has spent ${spent.usd.normalize():f} of its budget of ${self.usd}"
        return None


@attrs.frozen
class Spent:
    """Count what a conversation has spent; what providers do not tell is estimated."""

    tokens: int = 0
    usd: Decimal | None = Decimal(0)
    """None: not known, and no price to estimate it by."""

    def __add__(self, other: Spent) -> Spent:
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Spent(self.tokens + other.tokens, usd)

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-safe dict that :meth:`from_dict` reads back."""
        return {"tokens": self.tokens, "usd": None if self.usd is None else str(self.usd)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spent:
        """Build from what :meth:`to_dict` gave."""
        return cls(int(data["tokens"]), None if data["usd"] is None else Decimal(data["usd"]))
