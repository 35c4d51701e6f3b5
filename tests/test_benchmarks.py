"""The benchmarks run and their report tells what they printed; no figure of theirs is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as everything
from benchmarks import call, page, per_chunk, plots, report, wire
from benchmarks.crowd import crowd
from benchmarks.floor import Raw
from benchmarks.server import Server

PRINTED = """Two rounds.

Chat Completions

| client             | CPU µs/chunk | × floor |
| ------------------ | -----------: | ------: |
| raw socket (floor) |         4.00 |    1.00 |
| promptstream       |         7.00 |    1.75 |

Promised: a chunk, in floors, at most 1.80; here 1.75: met.
"""
RESULT = page.Result("per_chunk", "a chunk", 0, 2.4, PRINTED, "llm: left out <>\n", ("CPU µs/chunk",))


def test_a_short_run_measures_every_row_it_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A run of one round gives a sample for each client, and the same texts to all of them."""
    assert not per_chunk.main(["--rounds", "1", "--chunks", "5", "--clients", "raw", "conversation", "--json"])
    samples = json.loads(capsys.readouterr().out)["samples"]
    assert {name: len(taken["chunk"]) for name, taken in samples.items()} == {"raw": 1, "conversation": 1}
    assert not call.main(["--rounds", "1", "--calls", "1", "--clients", "session", "send"])
    assert "here" in capsys.readouterr().out.splitlines()[-1]


def test_the_crowd_gets_every_event_of_every_stream_with_its_delay() -> None:
    """One loop serves streams at once; each event's delay is told, and nothing fails."""
    with Server() as server:
        few = Raw(server.url(4, 1, stamped=True))
        told = crowd(few, 3, 0.0)
        assert (len(told["delays"]), told["failed"]) == (12, 0)
        assert all(0 <= delay < 60 for delay in told["delays"])
        whole = Raw(server.url(2000, protocol="gemini"), "gemini")
        assert "".join(whole.texts()) == "".join(wire.texts(2000))
        few.close()
        whole.close()


def test_the_report_holds_what_was_printed(tmp_path: Path) -> None:
    """Tables, promises and notes reach all three files, escaped where that is needed."""
    assert RESULT.tables() == [
        page.Table(
            "Chat Completions",
            ["client", "CPU µs/chunk", "× floor"],
            [["raw socket (floor)", "4.00", "1.00"], ["promptstream", "7.00", "1.75"]],
        )
    ]
    everything._save(tmp_path, [RESULT], {"cores": "2"})
    kept = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert kept["benchmarks"]["per_chunk"]["promises"] == [PRINTED.splitlines()[-1]]
    assert PRINTED.strip() in (tmp_path / "report.md").read_text(encoding="utf-8")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "left out &lt;&gt;" in text
    assert '<li class="met">per_chunk: a chunk, in floors, at most 1.80; here 1.75: met.</li>' in text
    assert ("<svg" in text) != (page.NO_PLOTS in text)


def test_a_promise_is_told_and_never_judged_without_a_figure() -> None:
    """Met, not met, or not measured."""
    assert report.promised("CPU", 2.5, 2.5) == "Promised: CPU at most 2.50; here 2.50: met."
    assert report.promised("CPU", 2.5, 2.6) == "Promised: CPU at most 2.50; here 2.60: NOT MET."
    assert report.promised("CPU", 2.5, None) == "Promised: CPU at most 2.50; not measured here."


@pytest.mark.parametrize(
    ("cell", "figure"), [("1,234", 1234.0), ("+0.8", 0.8), ("41%", 41.0), ("1/4", 0.25), ("–", None), ("no", None)]
)
def test_a_cell_is_read_as_it_was_written(cell: str, figure: float | None) -> None:
    """A plot's bar is the figure of its cell; one without a figure has no bar."""
    assert plots.number(cell) == figure


def test_an_unknown_benchmark_is_refused_with_the_names_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing runs before every name is known."""
    with pytest.raises(SystemExit):
        everything.main(["per_chunk", "nonsense"])
    assert "no such benchmark: nonsense; choose from per_chunk" in capsys.readouterr().err
