"""A JSON Schema in, what holds values against it and ends soon out. Nothing is ever fetched for a reference.

Python's jsonschema does the work. Schemas and values may be anybody's: regular expressions are judged beforehand,
references followed beforehand, and every check has so many steps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from promptstream.values.keywords import Rules, Undecided, begin, bounded
from promptstream.values.metaschema import check
from promptstream.values.pattern import compile_bounded, worst_steps
from promptstream.values.subschemas import Refused, Subschemas, path_of

LONGEST = 500_000
"""Characters that a schema may have, as JSON."""
MOST_PATTERNS = 100


class Checker:
    """Hold values against a schema. Any number of threads may at once. Made by :func:`checker`."""

    def __init__(self, kind: Any, schema: dict[str, Any], rules: Rules) -> None:
        from referencing import Registry

        self._validator = bounded(kind)(schema, registry=Registry())
        self._rules = rules

    def errors(self, value: Any, most: int = 10) -> list[Any]:
        """Give what is wrong with *value*: errors of jsonschema, *most* at most.

        Raises:
            Undecided: it cannot be told; the text says where and why.
        """
        begin(self._rules)
        try:
            return list(islice(self._validator.iter_errors(value), most))
        except Undecided as error:
            path = "$" if error.long is None else _place_of(error.long, value)
            raise Undecided(f"{path}: {error}") from None
        except RecursionError:
            raise Undecided("$: it is nested too deep to be checked") from None


def checker(schema: Mapping[str, Any]) -> Checker:
    """Give what holds values against *schema*, of the draft that its ``$schema`` names, else Draft 2020-12.

    The last 128 are kept, and given again for the same schema. Any thread may call it.

    Raises:
        ImportError: jsonschema is not installed.
        ValueError: it is no JSON Schema, or not one that is safe to use; what of it, and why.
    """
    try:
        text = json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Refused(f"it cannot be written as JSON: {error}") from None
    except RecursionError:
        raise Refused("it is nested too deep") from None
    if len(text) > LONGEST:
        raise Refused(f"it is longer than {LONGEST} characters")
    return _read(text)


@lru_cache(maxsize=128)
def _read(text: str) -> Checker:
    from jsonschema.validators import Draft202012Validator, validator_for

    try:
        schema = json.loads(text)
        dialect = schema.get("$schema", "")
        if not isinstance(dialect, str):
            raise Refused("$['$schema'] is no text")
        kind = validator_for({"$schema": dialect}, default=Draft202012Validator)
        found = Subschemas(schema)
        for each in [schema, *found.apart]:
            check(kind, each)
    except RecursionError:
        raise Refused("it is nested too deep") from None
    return Checker(kind, schema, Rules(found.targets, _compiled(found)))


def _compiled(found: Subschemas) -> dict[str, tuple[re.Pattern[str], int]]:
    if len(found.patterns) > MOST_PATTERNS:
        raise Refused(f"it has more than {MOST_PATTERNS} patterns")
    compiled = {}
    for text, place in found.patterns.items():
        pattern, reason = compile_bounded(text)
        if pattern is None:
            raise Refused(f"{place.path} has the pattern {text!r:.100}, which {reason}")
        compiled[text] = pattern, worst_steps(text)
    return compiled


def _place_of(text: str, value: Any) -> str:
    """Give the path of *text*, the very string, in *value*, or of what has it as a name."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while waiting:
        steps, each = waiting.pop()
        if each is text:
            return path_of(steps)
        if isinstance(each, dict):
            if any(name is text for name in each):
                return path_of([*steps, text])
            waiting += [((*steps, name), inner) for name, inner in each.items()]
        elif isinstance(each, list):
            waiting += [((*steps, at), inner) for at, inner in enumerate(each)]
    return path_of(())
