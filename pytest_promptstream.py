"""What pytest loads with the package: one option and the fixture ``promptstream_replay``.

It stands beside the package, so that a run that does not use the fixture does not import the package either.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from promptstream.pytest_plugin import Recordings

MODES = ("none", "once", "new", "all")
_passed = pytest.StashKey[bool | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says when answers are recorded."""
    parser.getgroup("promptstream", "recorded answers of language models").addoption(
        "--promptstream-record",
        choices=MODES,
        default=None,
        help="when the fixture promptstream_replay asks the provider: none (never), once (where a test has no "
        "recording; the default, but for CI), new (also requests that a recording lacks), all (every test anew)",
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Remember whether a test that uses the fixture has passed or failed: else its recording may be of no use.

    Ctrl-C, ``pytest.exit`` and ``pytest.skip`` are neither, and an expected failure is one.
    """
    outcome = yield
    report = outcome.get_result()
    if "promptstream_replay" in getattr(item, "fixturenames", ()) and (call.when == "call" or report.failed):
        item.stash[_passed] = None if report.skipped and not hasattr(report, "wasxfail") else report.passed


@pytest.fixture
def promptstream_replay(request: pytest.FixtureRequest) -> Generator[Recordings, None, None]:
    """Give providers whose answers are recorded once and replayed ever after: ``promptstream_replay("openai")``.

    A recording is kept beside the test, in ``recordings/<module>/<test>.ndjson``, where the test has passed or all of
    its answers came whole. To replay it takes neither a key nor a network.
    """
    from promptstream.pytest_plugin import Recordings

    recordings = Recordings(request.node, request.config.getoption("--promptstream-record"))
    yield recordings
    recordings.close(passed=request.node.stash.get(_passed, None))
