"""``response_format=`` and ``schema=`` in, the form that an answer is asked for out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

_FENCE = re.compile(r"\s*```(?:json|JSON)?[ \t]*\n(.*)\n[ \t]*```\s*", re.DOTALL)


@attrs.frozen
class Format:
    """Ask for JSON: any object, or one of a JSON Schema; ``raw`` is a form that only the provider knows."""

    schema: Mapping[str, Any] | None = None
    name: str = "answer"
    """What the schema is called: letters, digits, underscores and hyphens, at most 64."""
    strict: bool | None = None
    raw: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Format | None:
        """Read checked parameters; None where plain text is asked for.

        Raises:
            ValueError: the form is not "text", "json" or a dict, or both are given and do not agree.
        """
        wanted, schema = parameters.get("response_format"), parameters.get("schema")
        if isinstance(wanted, Mapping):
            if schema is not None:
                raise ValueError("response_format= and schema= are both given; give one of them.")
            return cls._of_dict(wanted)
        if wanted not in (None, "text", "json", "json_object", "json_schema"):
            raise ValueError(
                f"response_format={wanted!r:.80}: give 'text', 'json' or a dict; a JSON Schema as schema=."
            )
        if schema is not None:
            if wanted == "text":
                raise ValueError("response_format='text' and schema= contradict each other; give one of them.")
            return cls(schema, _name(schema.get("title")))
        if wanted == "json_schema":
            raise ValueError("response_format='json_schema' needs the JSON Schema as schema=.")
        return None if wanted in (None, "text") else cls()

    @classmethod
    def _of_dict(cls, wanted: Mapping[str, Any]) -> Format | None:
        kind, inner, raw = wanted.get("type"), wanted.get("json_schema"), wanted
        if kind == "text":
            return None
        if kind == "json_object":  # with a schema in it for llama.cpp and who follows it
            schema = wanted.get("schema")
            return cls(schema if isinstance(schema, Mapping) else None, raw=wanted if len(wanted) > 1 else None)
        if kind == "json_schema" and inner is None and isinstance(wanted.get("schema"), Mapping):
            inner = {key: value for key, value in wanted.items() if key != "type"}  # flat, as Responses has it
            raw = {"type": kind, "json_schema": inner}
        if kind == "json_schema" and isinstance(inner, Mapping) and isinstance(inner.get("schema"), Mapping):
            return cls(inner["schema"], _name(inner.get("name")), inner.get("strict"), raw)
        if kind in ("object", "array") or "properties" in wanted:  # no form of any provider: the schema itself
            return cls(wanted, _name(wanted.get("title")))
        return cls(raw=wanted)

    @classmethod
    def reader(cls, parameters: Mapping[str, Any]) -> Callable[[str], Any] | None:
        """Give what reads the answer that *parameters* ask for; None where that is plain text."""
        form = cls.of(parameters)
        return read_json if form is not None and form.is_json else None

    @property
    def is_json(self) -> bool:
        """True where the answer is to be JSON; of a form that only the provider knows, where it says so."""
        return self.raw is None or self.schema is not None or str(self.raw.get("type")).startswith("json")


def read_json(text: str) -> Any:
    """Read *text* as JSON, also where a model has put it into a Markdown fence.

    Raises:
        ValueError, RecursionError: it is none.
    """
    fenced = _FENCE.fullmatch(text)
    try:
        return json.loads(fenced[1] if fenced else text)
    except json.JSONDecodeError as error:
        begins = f"it begins with {text[:40]!r}" if text else "it is empty"
        raise ValueError(f"No JSON, {error.msg} at line {error.lineno}, column {error.colno}; {begins}") from None


def _name(title: Any) -> str:
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", title, flags=re.ASCII)[:64].strip("_") if isinstance(title, str) else ""
    return name or "answer"
