"""Two log lines a round: what they tell, and what they never do."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import Any

import attrs
import pytest
from layers import ENDING, GONE, asking, failed, known, plain, played, text_only
from server import error

from promptstream import Chunk, ChunkType, Message, ToolSpec, Usage, errors, middleware, providers
from promptstream.values.chunk import Finish
from promptstream.values.request import ChatRequest

KEY = "sk-0123456789abcdef"
TIMES = re.compile(r"\d+ ms")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """Give what was logged so far as (level, message), with the times taken out."""
    caplog.set_level(logging.DEBUG)

    def read() -> list[tuple[str, str]]:
        ours = [record for record in caplog.records if not record.name.startswith("urllib3")]
        return [(record.levelname, TIMES.sub("T", record.getMessage())) for record in ours]

    return read


def test_a_round_is_two_lines(lines, caplog):
    """Provider, model, round and what goes out; then reason, counts, times and tokens."""
    request = ChatRequest(
        (Message("system", "Be brief."), Message("user", "Hi")), "m", (ToolSpec("add"),), provider="scripted", round=2
    )
    asking(played(), middleware.logging(), request=request).result()
    assert lines() == [
        ("INFO", "asked scripted m round 2: 2 messages, 1 tools"),
        ("INFO", "scripted m-1 round 2: length, 3 chunks, 14 characters, first text T, total T, tokens 3 in 4 out"),
    ]
    assert {record.name for record in caplog.records} == {"promptstream"}


def test_unknowns_say_so(lines):
    """No text, no reason, no tokens: none of them is told as 0 or left out."""
    silent = [Chunk(ChunkType.REASONING, reasoning="Hm."), Finish(sentinel=True)]
    asking(played(silent), middleware.logging()).result()
    [_, (_, last)] = lines()
    assert last == (
        "scripted scripted round 1: no reason given, 0 chunks, 0 characters, "
        "first text unknown, total T, tokens unknown in unknown out"
    )


def test_a_failure_is_a_warning_with_the_class_alone(lines):
    """What the error says may quote anything; its class and status do not."""
    failed(asking(played(["One ", GONE]), middleware.logging()), errors.Overloaded)
    assert [level for level, _ in lines()] == ["INFO", "WARNING"]
    assert "failed (Overloaded, status 503), 1 chunks, 4 characters" in lines()[1][1]
    assert "Busy" not in lines()[1][1]


def test_leaving_the_loop_is_no_failure(lines):
    """A break is told as what it is."""
    for _ in asking(played(), middleware.logging()):
        break
    [_, (level, last)] = lines()
    assert level == "INFO"
    assert "left early (GeneratorExit), 1 chunks" in last


def test_an_outer_layer_that_left_after_the_finish_signal_is_none_either(lines):
    """Nothing was missed then."""

    def leaves(request, call_next):
        for chunk in call_next(request):
            yield chunk
            if isinstance(chunk, Finish) and chunk.reason:
                return

    asking(played(["Hi", ENDING, Finish(usage_seen=Usage(1, 1))]), leaves, middleware.logging()).result()
    assert "round 1: length, 1 chunks" in lines()[1][1]


def test_no_chunk_is_logged(lines):
    """A long answer is two lines too."""
    asking(played(["word "] * 500), middleware.logging()).result()
    assert len(lines()) == 2


def test_texts_are_logged_when_asked_for(lines):
    """On one line each, whatever they hold."""
    asking(played(["One\n", "two"]), middleware.logging(content=True)).result()
    [(_, first), (_, last)] = lines()
    assert first.endswith(", [('user', 'Hi')]")
    assert last.endswith(r", 'One\ntwo'")
    request = ChatRequest((), "m", prompt="Once")
    asking(played(), middleware.logging(content=True), known, request=request).result()
    assert lines()[2][1].endswith("[('prompt', 'Once')]")


def test_texts_are_not_logged_else(lines):
    """Neither what was asked nor what was answered."""
    asking(played(["Secret"]), middleware.logging()).result()
    assert not any("Secret" in line or "Hi" in line for _, line in lines())


def test_a_key_is_never_logged(server, lines):
    """Not even where the provider quotes it in its refusal."""

    def script(conn: Any) -> None:
        conn.request()
        conn.send(error("401 No", f"The key {KEY} is wrong."))

    with providers.Compatible(server(script).url, api_key=KEY) as provider:
        failed(asking(provider, middleware.logging(content=True)), errors.Authentication)
    assert "failed (Authentication, status 401)" in lines()[1][1]
    assert not any(KEY in line for _, line in lines())


def test_a_server_cannot_forge_a_line(lines):
    """A model's name is one line of printable characters."""
    forged = Chunk(ChunkType.TEXT, "Hi", model="m\nERROR root all is lost\x1b[2J")
    asking(played([forged, Finish(reason="stop")]), middleware.logging()).result()
    assert r"scripted m\nERROR root all is lost\x1b[2J round 1" in lines()[1][1]


def test_another_try_is_told_by_its_own_figures(lines):
    """Inside a layer that asks again, each call is a round of its own."""

    def again(request, call_next):
        list(call_next(request))
        yield from call_next(request)

    scripts = [[text, Finish(reason="stop", usage_seen=Usage(n, n))] for n, text in ((1, "a"), (2, "b"))]
    asking(played(*scripts), again, middleware.logging()).result()
    tokens = [line.rpartition("tokens ")[2] for _, line in lines() if "tokens" in line]
    assert tokens == ["1 in 1 out", "2 in 2 out"]


def test_logger_and_level_are_ours_to_choose(lines, caplog):
    """By name, by object, at any level; an adapter will do."""
    asking(played(), middleware.logging("mine", logging.DEBUG)).result()
    asking(played(), middleware.logging(logging.getLogger("his"))).result()
    asking(played(), middleware.logging(logging.LoggerAdapter(logging.getLogger("hers"), {}))).result()
    assert [(record.name, record.levelname) for record in caplog.records[::2]] == [
        ("mine", "DEBUG"),
        ("his", "INFO"),
        ("hers", "INFO"),
    ]


@pytest.mark.parametrize("options", [{"logger": 5}, {"level": "INFO"}, {"level": True}])
def test_what_is_no_logger_is_refused(options):
    """Before anything is asked."""
    with pytest.raises(errors.ConfigError, match=r"logging\("):
        middleware.logging(**options)


def test_a_logger_that_is_off_costs_nothing(caplog):
    """The chunks do not pass through it then."""
    caplog.set_level(logging.CRITICAL, "quiet")
    layer = middleware.logging("quiet")
    chunks = iter(())
    assert layer(ChatRequest(()), lambda request: chunks) is chunks


def test_nothing_is_taken_from_the_answer():
    """The answer within is the answer without."""
    alone = attrs.asdict(asking(played()).result())
    within = attrs.asdict(asking(played(), text_only, middleware.logging(), plain).result())
    del alone["timing"], within["timing"]
    assert within == alone


def test_the_name_hides_nothing():
    """The standard library's logging is what every module imports, and our function is where it is looked for."""
    code = (
        "import promptstream.middleware.guard, promptstream.middleware.telemetry\n"
        "from promptstream import middleware\n"
        "import logging\n"
        "assert logging.INFO == 20 and 'guard' in dir(middleware)\n"
        "for name in middleware.__all__[3:]: assert type(getattr(middleware, name)).__name__ in ('function', 'type')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'metrics'"):
        _ = middleware.metrics
