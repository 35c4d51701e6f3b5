"""The tokens of an answer in, what it cost out: by prices of one's own, else by those of ``genai-prices``."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from importlib.util import find_spec
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import attrs

from promptstream.errors import ConfigError
from promptstream.values.hosts import is_loopback
from promptstream.values.money import usd
from promptstream.values.names import nearest
from promptstream.values.usage import Usage

_MILLION = Decimal(1_000_000)
_LISTED = {"gemini": "google"}
"""Providers that the price list has under another name."""
_BY_ADDRESS = "compatible"
"""The provider whose name does not say who it is: its address does."""
_ANYWHERE = (_BY_ADDRESS, "ollama")
"""Providers that may be one's own machine, which sends no bill."""
_LOOK_AGAIN = 300.0
"""Seconds: the list may have been updated by then."""
_UNLISTED = 1000
_unlisted: dict[tuple[Any, ...], float] = {}
"""What the list did not have, and until when not to ask again: it looks through all its patterns each time (0.1 ms)."""


def _rate(given: Any) -> Decimal:
    return usd(given, "a price")


def _own_rate(given: Any) -> Decimal | None:
    return None if given is None else _rate(given)


@attrs.frozen
class Price:
    """Say what a model's tokens cost, in USD per million; a number, a string or a Decimal each.

    Raises:
        TypeError, ValueError: one is not an amount of 0 or more.
    """

    input: Decimal = attrs.field(converter=_rate)
    output: Decimal = attrs.field(converter=_rate)
    cached: Decimal | None = attrs.field(default=None, converter=_own_rate)
    """Of prompt tokens read from a cache; None: as other prompt tokens."""
    cache_write: Decimal | None = attrs.field(default=None, converter=_own_rate)
    """Of prompt tokens written to a cache; None: as other prompt tokens."""
    reasoning: Decimal | None = attrs.field(default=None, converter=_own_rate)
    """Of reasoning tokens; None: as other generated tokens."""

    @classmethod
    def of(cls, given: Price | Mapping[str, Any]) -> Price:
        """Give *given*, a Price or a dict of its fields, as a Price.

        Raises:
            TypeError, ValueError: it is neither, a field is unknown, or ``input`` or ``output`` is missing.
        """
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise TypeError(f"prices hold {given!r:.60}: give a Price, or a dict of input, output, cached, ….")
        known = [field.name for field in attrs.fields(cls)]
        for name in given:
            if name not in known:
                raise TypeError(f"A price has no {name!r:.40}.{nearest(str(name), known)} It has {', '.join(known)}.")
        if missing := [name for name in ("input", "output") if name not in given]:
            raise ValueError(f"A price lacks {' and '.join(missing)}, in USD per million tokens.")
        return cls(**given)

    def cost(self, usage: Usage) -> Decimal | None:
        """Give what *usage* costs, in USD; None where prompt or generated tokens are not known, or less than a part."""
        if usage.input is None or usage.output is None or _contradicts_itself(usage):
            return None
        parts = (
            (usage.cached or 0, self.input, self.cached),
            (usage.cache_write or 0, self.input, self.cache_write),
            (usage.reasoning or 0, self.output, self.reasoning),
        )
        whole = usage.input * self.input + usage.output * self.output
        return (whole + sum(count * (own - plain) for count, plain, own in parts if own is not None)) / _MILLION


def _contradicts_itself(usage: Usage) -> bool:
    parts = (usage.cached or 0) + (usage.cache_write or 0)
    return parts > (usage.input or 0) or (usage.reasoning or 0) > (usage.output or 0)


Prices = Mapping[str, Price]


def read_prices(given: Mapping[str, Price | Mapping[str, Any]] | None) -> Prices:
    """Give a mapping of models, ``*`` standing for anything, to Prices.

    Raises:
        TypeError, ValueError: it is no mapping, or one of its values is no price.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"prices={given!r:.60}: give a dict of models and their Price.")
    read = {}
    for model, price in given.items():
        if not isinstance(model, str):
            raise TypeError(f"prices={{{model!r:.60}: …}}: a model is named by a string.")
        try:
            read[model] = Price.of(price)
        except (TypeError, ValueError) as error:
            raise type(error)(f"prices[{model!r:.60}]: {error}") from None
    return read


def own_price(prices: Prices, *models: str | None) -> Price | None:
    """Give the price that *prices* has for one of *models*: for the first by name, else by the first pattern."""
    named = [model for model in models if model]
    for model in named:
        if model in prices:
            return prices[model]
    for model in named:
        for pattern, price in prices.items():
            if fnmatchcase(model, pattern):
                return price
    return None


def cost_of(
    usage: Usage,
    model: str,
    *,
    provider: str | None = None,
    base_url: str | None = None,
    prices: Mapping[str, Price | Mapping[str, Any]] | None = None,
) -> Decimal | None:
    """Give what *usage* costs with *model*, in USD; None where the tokens or the price are not known. Any thread.

    The list is the one of the package ``genai-prices`` (the extra ``cost``), as of that package's version; a provider
    may charge something else. Cached and reasoning tokens count by their own prices, where there are such.

    Args:
        provider: whose model it is, as :attr:`Response.provider` says; else whoever has one of this name.
        base_url: where a ``compatible`` server is, which says whose it is.
        prices: prices of one's own, which come first.

    Raises:
        TypeError, ValueError: a price of one's own cannot be used.
    """
    if not isinstance(usage, Usage) or not isinstance(model, str):
        raise TypeError(f"cost_of({usage!r:.40}, {model!r:.40}): give a Usage and the name of a model.")
    own = own_price(read_prices(prices), model)
    if own is not None:
        return own.cost(usage)
    return listed_cost(usage, model, provider, base_url)


@cache
def is_listed_here() -> bool:
    """Tell whether there is a price list at all: the extra ``cost``."""
    return find_spec("genai_prices") is not None


def listed_cost(usage: Usage, model: str, provider: str | None, base_url: str | None) -> Decimal | None:
    """Give what *usage* costs by the price list, or None."""
    if usage.input is None or usage.output is None or _contradicts_itself(usage) or not is_listed_here():
        return None
    whose: dict[str, Any] = {"provider_id": _LISTED.get(provider or "", provider)}
    if provider == _BY_ADDRESS:
        whose = {"provider_api_url": base_url or ""}
    import genai_prices  # a third of a second: the first answer that has a price pays

    asked = (model, *whose.items())
    if monotonic() < _unlisted.get(asked, 0.0):
        return None
    counts = {"input_tokens": usage.input, "output_tokens": usage.output}
    counts |= {"cache_read_tokens": usage.cached or 0, "cache_write_tokens": usage.cache_write or 0}
    counts["output_reasoning_tokens"] = usage.reasoning or 0
    try:
        priced = genai_prices.calc_price(genai_prices.Usage(**counts), model.removeprefix("models/"), **whose)
    except LookupError:  # a model that it does not know
        if len(_unlisted) >= _UNLISTED:
            _unlisted.clear()
        _unlisted[asked] = monotonic() + _LOOK_AGAIN
        return None
    except ValueError:  # counts that contradict each other
        return None
    return Decimal(priced.total_price)


@attrs.frozen(eq=False)
class Seller:
    """Hold what the price of a provider's answers depends on."""

    name: str
    base_url: str | None = None
    prices: tuple[Prices, ...] = ()
    """The user's own, the nearest first; all of them come before the list."""
    free: bool = False
    unknown: set[str] = attrs.field(factory=set)
    """The models of which a warning has said that their price is not known."""

    def over(self, prices: Prices | None) -> Seller:
        """Give the same seller with the *prices* of a conversation before its own."""
        return attrs.evolve(self, prices=(prices, *self.prices)) if prices else self

    def cost(self, usage: Usage, *models: str | None) -> Decimal | None:
        """Give what *usage* costs with the first of *models* that has a price, in USD, or None."""
        own = self._own(*models)
        if own is not None:
            return own.cost(usage)
        if self.free:
            return Decimal(0)
        if self._is_own:
            return None  # nobody sells there, and the list need not be loaded: 16 MB
        costs = (listed_cost(usage, model, self.name, self.base_url) for model in models if model)
        return next((cost for cost in costs if cost is not None), None)

    def untold(self, model: str) -> Decimal | None:
        """Give what an answer of *model* costs of which nothing is told: 0 where it is free, else None."""
        return Decimal(0) if self.free and self._own(model) is None else None

    def _own(self, *models: str | None) -> Price | None:
        found = (own_price(prices, *models) for prices in self.prices)
        return next((price for price in found if price is not None), None)

    def doubt(self, usage: Usage, model: str | None) -> str | None:
        """Give the warning that there is no cost, the first time that a model has none; None where nobody wonders."""
        if usage.input is None or usage.output is None or not model or model in self.unknown or self._is_own:
            return None
        if not (any(self.prices) or is_listed_here()):
            return None
        self.unknown.add(model)
        if _contradicts_itself(usage):
            return f"The token counts of {self.name} contradict each other, so the cost is not known."
        return f"The price of {model} of {self.name} is not known, so the cost is not; prices= can say it."

    @property
    def _is_own(self) -> bool:
        return self.name in _ANYWHERE and is_loopback(urlsplit(self.base_url or "").hostname or "")

    def check(self, model: str) -> None:
        """Make sure that the price of *model* is known.

        Raises:
            ConfigError: it is not, which a budget in USD needs.
        """
        if self.cost(Usage(0, 0), model) is not None:
            return
        how = "" if is_listed_here() else " pip install 'promptstream-sdk[cost]' brings a list of prices."
        raise ConfigError(
            f"A budget in USD needs the price of {model or 'the model'} of {self.name}, which is not known. Give "
            f"prices={{{model or '*'!r}: promptstream.Price(input=…, output=…)}}, in USD per million tokens.{how}"
        )


@attrs.define(eq=False)
class Pricing:
    """Price the rounds of one turn; it is told when another provider answers."""

    seller: Seller

    def cost(self, usage: Usage, *models: str | None) -> Decimal | None:
        """Give what a round costs in USD, or None; see :meth:`Seller.cost`."""
        return self.seller.cost(usage, *models)

    def doubt(self, usage: Usage, model: str | None) -> str | None:
        """Give the warning that there is no cost, once; see :meth:`Seller.doubt`."""
        return self.seller.doubt(usage, model)
