"""What somebody gives as an amount in, a Decimal of USD out; and the other way round."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

_TENTH_OF_A_CENT = Decimal("0.001")


def usd(given: Any, name: str) -> Decimal:
    """Give *given*, which *name* stands for in an error, as an amount of USD: a number, "0.15" or "$0.15".

    Raises:
        TypeError: it is neither a number nor a string.
        ValueError: it is no amount of 0 or more.
    """
    if isinstance(given, bool) or not isinstance(given, (int, float, str, Decimal)):
        raise TypeError(f"{name}={given!r:.60}: give an amount of USD, such as Decimal('0.15').")
    try:
        amount = Decimal(str(given).strip().removeprefix("$"))
    except InvalidOperation:
        raise ValueError(f"{name}={given!r:.60} is not an amount of USD, such as '0.15'.") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{name}={given!r:.60}: give an amount of USD of 0 or more.")
    return amount


def dollars(cost: Decimal | None) -> str:
    """Give USD with four digits, or as many as show that it is not nothing; None is "unknown"."""
    if cost is None:
        return "unknown"
    return f"${cost:.4f}" if not 0 < cost < _TENTH_OF_A_CENT else f"${cost:.{1 - cost.adjusted()}f}"
