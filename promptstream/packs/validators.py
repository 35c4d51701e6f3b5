"""The validators of a prompt go in; checks that a guard can run come out, with findings on those that nobody can."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from promptstream.packs import judges
from promptstream.packs.finding import Findings, kind, shown, similar, step
from promptstream.packs.judges import Judge
from promptstream.values.finder import AnyOf, Finder, Limit, Pattern, Span, ending
from promptstream.values.phrases import Phrases, unusable

DIRECTIONS = ("input", "output", "both")
CHARACTERS_PER_TOKEN = 4
"""How many tokens a text has is estimated so."""
_ALIASES = {
    "banned_words": "content_excludes",
    "content_includes": "contains",
    "content_matches": "regex",
    "regex_match": "regex",
    "length": "max_length",
    "max_sentences": "sentence_count",
    "required_fields": "field_presence",
    "is_valid_json": "json_valid",
    "valid_json": "json_valid",
}
# What a model or a person has to judge.
_JUDGED = (
    *("toxicity", "pii_leakage", "sentiment", "bias", "hallucination", "faithfulness", "relevance", "llm_judge"),
    *("llm_judge_session", "custom", "tone", "factuality", "cosine_similarity"),
)
_KEYS = ("type", "enabled", "fail_on_violation", "message", "params")
_COMMON = ("direction", "message", "min_score", "max_score")
_MOST_PHRASES = 10_000
_LONGEST_PHRASE = 1000


@attrs.frozen(eq=False)
class Validator:
    """Hold one validator of a prompt, ready to be given to ``middleware.guard``. Any thread may use it."""

    type: str
    """What it does, by the name it has here."""
    name: str
    """Its type as the pack writes it."""
    enabled: bool = True
    fail_on_violation: bool = False
    """Whether a violation is an error; else it is recorded."""
    direction: str = "output"
    """"input", "output" or "both"."""
    message: str = ""
    """What the user is told of a violation, where the pack says it."""
    params: Mapping[str, Any] = attrs.field(factory=dict)
    _finder: Finder | None = attrs.field(default=None, repr=False, alias="finder")
    _judge: Judge | None = attrs.field(default=None, repr=False, alias="judge")

    @property
    def fails(self) -> bool:
        """Whether a violation is an error."""
        return self.fail_on_violation

    @property
    def active(self) -> bool:
        """Whether it is enabled and can be run here."""
        return self.enabled and (self._finder is not None or self._judge is not None)

    @property
    def everywhere(self) -> bool:
        """Whether it holds for reasoning and the arguments of tool calls too: where it forbids some text."""
        return self._finder is not None and not isinstance(self._finder, Limit)

    @property
    def behind(self) -> int:
        """How many characters before a place must be there for the place to be judged."""
        return 0 if self._finder is None else self._finder.behind

    def find(self, text: str, start: int, whole: bool, offset: int = 0) -> tuple[Span | None, int]:
        """Give the first span of forbidden text from *start* on, or None, and the place before which none begins."""
        return (None, len(text)) if self._finder is None else self._finder.find(text, start, whole, offset)

    def ending(self, text: str, start: int) -> int | None:
        """See :func:`promptstream.values.finder.ending`."""
        return None if self._finder is None else ending(self._finder, text, start)

    @property
    def reason(self) -> str:
        """What is wrong where ``find`` finds something."""
        return self._finder.reason if isinstance(self._finder, Limit) else judges.FORBIDDEN

    def judge(self, text: str, last: str) -> str | None:
        """Say what is wrong with a whole answer, or None; *last* is the text of its last round."""
        return None if self._judge is None else self._judge(text, last)


MOST = 100
"""Validators of one prompt: each may take milliseconds to be read, and looks at every answer."""


def parse_validators(raw: Any, path: str, findings: Findings) -> tuple[Validator, ...]:
    """Read the ``validators`` of a prompt, which stand at *path*, and add what is wrong with them to *findings*.

    One that nobody can run is fatal where it says ``fail_on_violation``: a guard that is asked for is never left out
    in silence. Without that it is given, and is not ``active``.
    """
    if raw is None:
        return ()
    if not isinstance(raw, list):
        findings.add(path, f"must be an array, not {kind(raw)}", fatal=True)
        return ()
    parsed = []
    if len(raw) > MOST:
        findings.add(path, f"has {len(raw)} validators; {MOST} are enough for any prompt", fatal=True)
    for place, each in enumerate(raw[:MOST]):
        here = step(path, place)
        if findings.full(fatal=True):
            break
        if isinstance(each, dict):
            parsed.append(_Reader(each, here, findings).validator())
        else:
            findings.add(here, f"a validator must be an object, not {kind(each)}", fatal=True)
    return tuple(parsed)


class _Bad(Exception):
    """A parameter cannot be used; what was wrong is among the findings."""


Made = tuple["Finder | None", "Judge | None"]


class _Reader:
    """Read one validator."""

    def __init__(self, raw: Mapping[str, Any], path: str, findings: Findings) -> None:
        self._raw, self._path, self._findings = raw, path, findings
        self._fatal = False
        self._known: set[str] = set(_COMMON)
        self._params: Mapping[str, Any] = {}

    def validator(self) -> Validator:
        """Give the validator, not active where it cannot be run."""
        raw = self._raw
        for key in raw:
            if key not in _KEYS:
                self._findings.add(step(self._path, key), f"is not known here.{similar(key, _KEYS)}")
        enabled, fails = self._flag("enabled", True), self._flag("fail_on_violation", False)
        self._fatal = fails and enabled
        name = raw.get("type")
        made: Made = None, None
        direction, message = "output", ""
        try:
            self._params = self._read_params()
            direction, message = self._direction(), self._message()
            made = self._made(name)
        except _Bad:
            enabled = False
        told = name if isinstance(name, str) else ""
        kept = dict(self._params)
        return Validator(_ALIASES.get(told, told), told, enabled, fails, direction, message, kept, *made)

    def _flag(self, key: str, default: bool) -> bool:
        value = self._raw.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self._findings.add(step(self._path, key), f"must be true or false, not {kind(value)}", fatal=True)
            return default
        return value

    def _bad(self, path: str, message: str, hint: str = "") -> _Bad:
        """Say that it cannot be run: that is fatal where it is one that must not be left out."""
        told = "; set fail_on_violation or enabled to false to go without it" if self._fatal else "; it is not run"
        self._findings.add(path, f"{message}{told}.{hint}" if hint else message + told, fatal=self._fatal)
        return _Bad()

    def _at(self, name: str) -> str:
        return step(step(self._path, "params"), name)

    def _read_params(self) -> Mapping[str, Any]:
        params = self._raw.get("params")
        if params is None:
            return {}
        if not isinstance(params, dict):
            raise self._bad(step(self._path, "params"), f"must be an object, not {kind(params)}")
        return params

    def _direction(self) -> str:
        value = self._params.get("direction")
        if value is None:
            return "output"
        if value not in DIRECTIONS:
            hint = similar(value, DIRECTIONS) if isinstance(value, str) else ""
            raise self._bad(self._at("direction"), f"is {shown(value)}, not one of {', '.join(DIRECTIONS)}", hint)
        return str(value)

    def _message(self) -> str:
        for path, value in (
            (self._at("message"), self._params.get("message")),
            (step(self._path, "message"), self._raw.get("message")),
        ):
            if isinstance(value, str):
                return value
            if value is not None:
                self._findings.add(path, f"must be a string, not {kind(value)}")
        return ""

    def _made(self, name: Any) -> Made:
        here = step(self._path, "type")
        if not isinstance(name, str) or not name:
            raise self._bad(here, "is missing" if name is None else f"must be a string, not {shown(name)}")
        make = _TYPES.get(_ALIASES.get(name, name))
        if make is None and name in _JUDGED:
            raise self._bad(here, f"{name!r} needs a judge; give your own check with middleware.guard(...)")
        if make is None:
            hint = similar(name, (*_TYPES, *_ALIASES, *_JUDGED))
            raise self._bad(here, f"{shown(name)} is no validator that is known here", hint)
        made = make(self)
        for key in self._params:
            if key not in self._known:
                self._findings.add(self._at(key), f"is not known to {name!r}.{similar(key, self._known)}")
        return made

    def _get(self, *names: str) -> tuple[str, Any]:
        """Give the name that is used of *names* with its value, or the first of them with None."""
        self._known.update(names)
        for name in names:
            if self._params.get(name) is not None:
                return name, self._params[name]
        return names[0], None

    def _count(self, *names: str) -> int | None:
        name, value = self._get(*names)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0 or value != int(value):
            raise self._bad(self._at(name), f"must be a whole number of 0 or more, not {shown(value)}")
        return int(value)

    def _needed(self, what: str, *names: str) -> _Bad:
        return self._bad(step(self._path, "params"), f"give {what}: {' or '.join(map(repr, names))}")

    def _texts(self, *names: str) -> list[str]:
        name, value = self._get(*names)
        texts = [value] if isinstance(value, str) else value
        if texts is None:
            raise self._needed("what to look for", *names)
        if not isinstance(texts, list) or not texts or len(texts) > _MOST_PHRASES:
            raise self._bad(self._at(name), f"must be an array of 1 to {_MOST_PHRASES} strings, not {shown(value)}")
        for place, each in enumerate(texts):
            if not isinstance(each, str) or not each.strip() or len(each) > _LONGEST_PHRASE:
                path = step(self._at(name), place)
                raise self._bad(path, f"must be a string of 1 to {_LONGEST_PHRASE} characters, not {shown(each)}")
        return texts

    def _words(self, default: str) -> bool:
        name, value = self._get("match_mode")
        modes = ("word_boundary", "substring")
        if value is not None and value not in modes:
            hint = similar(value, modes) if isinstance(value, str) else ""
            raise self._bad(self._at(name), f"is {shown(value)}, not one of {', '.join(modes)}", hint)
        return (value or default) == "word_boundary"

    def _phrases(self, default: str) -> Phrases:
        names = "patterns", "words", "phrases"
        texts = self._texts(*names)
        for place, each in enumerate(texts):
            if reason := unusable(each):
                raise self._bad(step(self._at(self._get(*names)[0]), place), reason)
        return Phrases(texts, words=self._words(default))

    def content_excludes(self) -> Made:
        return self._phrases("word_boundary"), None

    def contains(self) -> Made:
        return None, judges.includes(self._phrases("substring").missing)

    def regex(self) -> Made:
        from promptstream.values.pattern import LONGEST, compile_bounded
        from promptstream.values.unfinished import shortest

        name, text = self._get("pattern")
        if text is None:
            raise self._needed("a regular expression", "pattern")
        if not isinstance(text, str):
            raise self._bad(self._at(name), f"must be a string, not {kind(text)}")
        pattern, reason = compile_bounded(text)
        if pattern is None:
            raise self._bad(self._at(name), f"the pattern {reason}")
        if self._expected():
            return None, judges.includes(lambda text: not _searched(pattern, text, LONGEST))
        if shortest(pattern) == 0:
            return None, lambda text, last: judges.FORBIDDEN if _searched(pattern, text, LONGEST) else None
        return Pattern(pattern, longest=LONGEST), None

    def _expected(self) -> bool:
        """Tell whether the pattern must match; it must where nothing is said."""
        expected = True
        for given, wanted in (("expect_match", True), ("should_match", True), ("must_not_match", False)):
            name, value = self._get(given)
            if value is not None and not isinstance(value, bool):
                raise self._bad(self._at(name), f"must be true or false, not {kind(value)}")
            if value is not None:
                expected = value is wanted
        return expected

    def length(self) -> Made:
        most = self._count("max", "max_characters", "max_chars", "max_length")
        tokens = self._count("max_tokens")
        limits = [Limit(most)] if most is not None else []
        limits += [_of_tokens(tokens)] if tokens is not None else []
        limit = min(limits, key=lambda each: each.most, default=None)
        low = self._count("min", "min_characters", "min_chars", "min_length")
        if limit is None and low is None:
            raise self._needed("a number of characters", "max", "min")
        if limit is not None and low is not None and low > limit.most:
            raise self._bad(self._at("min"), f"is {low}, more than the most")
        return limit, judges.least(low) if low is not None else None

    def max_tokens(self) -> Made:
        most = self._count("max", "max_tokens")
        if most is None:
            raise self._needed("a number of tokens", "max")
        return _of_tokens(most), None

    def sentence_count(self) -> Made:
        high, low = self._count("max", "max_sentences"), self._count("min", "min_sentences")
        if high is None and low is None:
            raise self._needed("a number of sentences", "max", "min")
        return None, judges.sentences(low, high)

    def field_presence(self) -> Made:
        return None, judges.fields(self._texts("fields", "required_fields"))

    def json_valid(self) -> Made:
        return None, judges.valid_json()

    def json_schema(self) -> Made:
        name, schema = self._get("schema", "json_schema")
        if schema is None:
            raise self._needed("a JSON Schema", "schema")
        if not isinstance(schema, dict):
            raise self._bad(self._at(name), f"must be an object, not {kind(schema)}")
        try:
            return None, judges.matching(schema)
        except ImportError:
            hint = "needs jsonschema: pip install 'promptstream-sdk[tools]'"
            raise self._bad(self._at(name), hint) from None
        except ValueError as error:
            raise self._bad(self._at(name), str(error)) from None

    def pii_detection(self) -> Made:
        from promptstream.values.personal import KINDS, personal

        name, _ = self._get("kinds", "types", "entities")
        chosen = self._texts(name) if self._params.get(name) is not None else list(KINDS)
        for place, each in enumerate(chosen):
            if each not in KINDS:
                path = step(self._at(name), place)
                raise self._bad(path, f"{shown(each)} is not one of {', '.join(KINDS)}", similar(each, KINDS))
        return AnyOf(tuple(map(personal, chosen))), None


def _of_tokens(most: int) -> Limit:
    characters = most * CHARACTERS_PER_TOKEN
    return Limit(characters, f"is longer than {most} tokens, at {characters} characters")


def _searched(pattern: re.Pattern[str], text: str, longest: int) -> bool:
    """Search a text of any length in pieces that the pattern is fit for, each half of the one before it."""
    half = longest // 2
    return any(pattern.search(text[at : at + longest]) for at in range(0, max(1, len(text) - half), half))


_TYPES: Mapping[str, Callable[[_Reader], Made]] = {
    "content_excludes": _Reader.content_excludes,
    "contains": _Reader.contains,
    "regex": _Reader.regex,
    "max_length": _Reader.length,
    "min_length": _Reader.length,
    "max_tokens": _Reader.max_tokens,
    "sentence_count": _Reader.sentence_count,
    "field_presence": _Reader.field_presence,
    "json_valid": _Reader.json_valid,
    "json_schema": _Reader.json_schema,
    "pii_detection": _Reader.pii_detection,
}
