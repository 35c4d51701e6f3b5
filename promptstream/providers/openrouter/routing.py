"""OpenRouter's ``routing=`` in, the body's ``provider`` object out, once its keys and values are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from promptstream.errors import ConfigError
from promptstream.values.names import nearest


def _names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, str) and each for each in value)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _sort(value: Any) -> bool:
    return value in ("price", "throughput", "latency") or isinstance(value, Mapping)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _limit(value: Any) -> bool:
    return _number(value) or isinstance(value, Mapping)


_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "order": (_names, "a list of providers"),
    "only": (_names, "a list of providers"),
    "ignore": (_names, "a list of providers"),
    "allow_fallbacks": (_flag, "True or False"),
    "require_parameters": (_flag, "True or False"),
    "data_collection": (lambda value: value in ("allow", "deny"), "'allow' or 'deny'"),
    "zdr": (_flag, "True or False"),
    "enforce_distillable_text": (_flag, "True or False"),
    "quantizations": (_names, "a list such as ['fp8']"),
    "sort": (_sort, "'price', 'throughput', 'latency' or a dict of by and partition"),
    "max_price": (lambda value: isinstance(value, Mapping), "a dict such as {'prompt': 1, 'completion': 2}"),
    "preferred_min_throughput": (_limit, "a number or a dict of percentiles"),
    "preferred_max_latency": (_limit, "a number or a dict of percentiles"),
    "experimental": (lambda value: isinstance(value, Mapping), "a dict"),
}


def checked_routing(routing: Mapping[str, Any]) -> dict[str, Any]:
    """Give *routing* once every key is known and every value of its type.

    Raises:
        ConfigError: a key is unknown (with the nearest right one), or a value is of another type.
    """
    if not isinstance(routing, Mapping):
        raise ConfigError(f"routing={routing!r:.80}: give a dict such as {{'order': ['anthropic']}}.")
    for key, value in routing.items():
        if key not in _KEYS:
            raise ConfigError(
                f"routing has no {key!r:.60}.{nearest(str(key), _KEYS)} Known: {', '.join(_KEYS)}; "
                "anything else goes into extra={'provider': {...}}."
            )
        right, wanted = _KEYS[key]
        if not right(value):
            raise ConfigError(f"routing[{key!r}]={value!r:.80}: give {wanted}.")
    return {key: list(value) if isinstance(value, tuple) else value for key, value in routing.items()}
