"""JSON: strict, bounded in depth, the same with the standard library and with orjson."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_server import ROOT

from promptstream.errors import LimitExceeded, ProtocolError
from promptstream.wire import jsontext

try:
    import orjson
except ImportError:
    orjson = None

needs_orjson = pytest.mark.skipif(orjson is None, reason="needs orjson (the extra fast)")
BOTH = ["stdlib", pytest.param("orjson", marks=needs_orjson)]

numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


def loaded(which: str) -> ModuleType:
    """Give the module as it is where PROMPTSTREAM_JSON says *which*, apart from the one in use."""
    spec = importlib.util.find_spec("promptstream.wire.jsontext")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMPTSTREAM_JSON", which)
        spec.loader.exec_module(module)
    return module


MODULES = {"stdlib": loaded("stdlib"), "orjson": loaded("orjson")}


@pytest.fixture(params=BOTH)
def loads(request: pytest.FixtureRequest) -> Iterator:
    """Parse with the standard library, then with orjson."""
    return MODULES[request.param].loads


BEYOND = "20000000000000000000"
"""A whole number that orjson, unlike the standard library, reads as a float: it tells which of them parses."""


@needs_orjson
def test_the_variable_chooses_the_parser():
    """PROMPTSTREAM_JSON=stdlib turns orjson off; otherwise it is used where it is installed."""
    assert type(MODULES["stdlib"].loads(BEYOND)) is int
    assert type(MODULES["orjson"].loads(BEYOND)) is float


def test_without_orjson_the_standard_library_parses(monkeypatch):
    """An environment without the extra works the same."""
    monkeypatch.setitem(sys.modules, "orjson", None)
    module = loaded("")
    assert type(module.loads(BEYOND)) is int
    assert module.loads('{"a": [1, "é"]}') == {"a": [1, "é"]}


@settings(max_examples=200)
@given(values, st.booleans(), st.sampled_from(["", " ", "\n\t", "\r\n"]))
def test_what_json_writes_is_read_back_by_both(value, escaped, space):
    """Any value survives, escaped or not, with white space around it."""
    text = space + json.dumps(value, ensure_ascii=escaped) + space
    for name, module in MODULES.items():
        assert module.loads(text) == value, name
        assert module.loads_exact(text) == value, name


def rounded(value: object) -> object:
    """Give *value* with whole numbers beyond 64 bits as floats, which is how orjson reads them."""
    if isinstance(value, list):
        return [rounded(each) for each in value]
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return float(value) if type(value) is int and not -(2**63) <= value < 2**64 else value


@settings(max_examples=300)
@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsnN \\u\ud83dInfity\n', max_size=30))
def test_any_text_gives_a_value_or_one_of_our_errors_and_both_agree(text):
    """Nothing but ProtocolError and LimitExceeded comes out, and both parsers judge alike."""
    outcomes = []
    for module in MODULES.values():
        try:
            outcomes.append(repr(rounded(module.loads(text))))
        except (ProtocolError, LimitExceeded) as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "{",
            "}",
            '{"a"',
            '{"a": }',
            "[1,]",
            '{"a": 1,}',
            "[1] [2]",
            "{}x",
            "tru",
            "'a'",
            "{a: 1}",
            "\ufeff{}",
        ),
        *("NaN", "Infinity", "-Infinity", '{"a": NaN}', "[Infinity]", "01", "1.", ".5", "+1", "0x1", '"\n"', '"\x00"'),
        *("{a: 1}", "\ufeff{}", "\u00a0{}", "// comment\n{}", '"\\x41"', '"\\ud83', "[DONE]", "<html></html>"),
    ],
)
def test_what_is_not_json_is_a_protocol_error(loads, text):
    """Nothing is guessed at: NaN, trailing commas, comments, cut texts and pages are refused."""
    with pytest.raises(ProtocolError) as caught:
        loads(text)
    assert caught.value.phase == "decode"
    assert not caught.value.retryable


@pytest.mark.parametrize("nest", ["[{}]", '{{"a": {}}}'], ids=["lists", "objects"])
def test_64_levels_are_read_and_one_more_is_refused(loads, nest):
    """JSON may be nested 64 levels deep; one more is LimitExceeded."""

    def nested(levels: int) -> str:
        text = "1"
        for _ in range(levels):
            text = nest.format(text)
        return text

    loads(nested(64))
    for levels in (65, 1000, 20_000):
        with pytest.raises(LimitExceeded, match="64 levels"):
            loads(nested(levels))


def test_brackets_without_end_are_refused_and_not_recursed_into(loads):
    """A flood of opening brackets is LimitExceeded, not a RecursionError, and not the end of the stack."""
    for text in ("[" * 100_000, '{"a":' * 100_000, '[{"a":' * 100_000):
        with pytest.raises(LimitExceeded):
            loads(text)


def test_brackets_in_strings_and_side_by_side_are_no_depth(loads):
    """Only nesting counts: not text, not escaped quotes, not many values in a row."""
    assert loads(json.dumps({"code": '[{"' * 200, "\\": "{" * 100}))["code"] == '[{"' * 200
    assert loads('"' + '\\"[' * 100 + '"') == '"[' * 100
    assert loads("[" + ",".join(["[]"] * 1000) + "]") == [[]] * 1000


def test_a_number_of_thousands_of_digits_is_refused_with_our_error(loads):
    """Python refuses integers of more than 4300 digits; that is a ProtocolError, or a float."""
    text = "9" * 10_000
    with contextlib.suppress(ProtocolError):
        assert isinstance(loads(f'{{"a": {text}}}')["a"], float)
    for module in MODULES.values():
        with pytest.raises(ProtocolError):
            module.loads_exact(text)


@pytest.mark.parametrize("number", [2**63, 2**64 + 1, -(2**70), 10**30])
def test_large_integers_are_exact_where_exactness_is_asked_for(number):
    """``loads_exact`` keeps a whole number of any size, whichever parser is installed."""
    for module in MODULES.values():
        assert module.loads_exact(f'{{"id": {number}}}') == {"id": number}


def test_lone_surrogates_are_read_and_pairs_are_joined(loads):
    """Halves of pairs, which providers do send, are no fault of the JSON."""
    assert loads('{"a": "\\ud83d"}') == {"a": "\ud83d"}
    assert loads('["\\ude00x"]') == ["\ude00x"]
    assert loads('"\\ud83d\\ude00"') == "😀"
    assert loads('"\ud83d"') == "\ud83d"


def test_of_two_equal_keys_the_last_one_counts(loads):
    """Duplicate keys are no error; the last wins."""
    assert loads('{"a": 1, "a": 2}') == {"a": 2}


def test_the_message_quotes_at_most_a_hundred_characters_and_nothing_a_terminal_obeys(loads):
    """An error names what came, short and escaped."""
    with pytest.raises(ProtocolError) as caught:
        loads("\x1b[31m" + "é" * 10_000)
    text = str(caught.value)
    assert len(text) < 700
    assert text.isascii() or "…" in text
    assert "\x1b" not in text
    assert "10005 characters" in text


def test_an_excerpt_is_whole_where_it_is_short():
    """Short text is quoted whole, long text says how long it is."""
    assert jsontext.excerpt("abc") == "'abc'"
    assert jsontext.excerpt("é\n") == "'\\xe9\\n'"
    assert jsontext.excerpt("x" * 101).endswith("(101 characters)")


@needs_orjson
def test_orjson_has_nothing_left_to_import_itself() -> None:
    """It crashes where an import of its own is interrupted by Ctrl-C, or fails."""
    program = """if True:
        import os, sys
        os.environ["PROMPTSTREAM_JSON"] = "stdlib"
        from promptstream.wire import jsontext
        del os.environ["PROMPTSTREAM_JSON"]
        asked = []
        class Watching:
            def find_spec(self, name, path=None, target=None):
                asked.append(name)
        for name in ("dataclasses", "datetime", "enum", "uuid", "zoneinfo"):
            sys.modules.pop(name, None)
        sys.meta_path.insert(0, Watching())
        jsontext._choose()
        print(asked.index("orjson.orjson"), len(asked) - 1)
        """
    child = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert child.stderr == ""
    place, last = map(int, child.stdout.split())
    assert place == last > 0
