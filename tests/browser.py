"""A browser for tests: the system's Chromium, a page in it, and everything on the page that ought not to happen."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[1] / "promptstream" / "web" / "page"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WATCHING = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


def launched() -> Iterator[Any]:
    """Yield a browser; skip the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra test)")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """Open *url*, in a profile of its own where there are options; at the end, nothing has gone wrong on the page.

    That is: no script failed, no dialog came up, nothing against the content policy was tried, and no other site asked.
    Relays differ in their ports, so that what one test leaves in the storage is not seen by the next.
    """
    wrong: list[str] = []
    origin = "/".join(url.split("/")[:3])
    watched: dict[str, Callable[[Any], Any]] = {
        "pageerror": lambda error: wrong.append(f"script: {error}"),
        "dialog": lambda dialog: wrong.append(f"dialog: {dialog.message}") or dialog.dismiss(),
        "request": lambda request: request.url.startswith(origin) or wrong.append(f"request: {request.url}"),
    }
    page = _blank(browser, options)
    for event, listener in watched.items():
        page.on(event, listener)
    page.goto(url)
    yield page
    assert page.evaluate("window.violations") == []
    assert wrong == []
    for event, listener in watched.items():
        page.remove_listener(event, listener)
    if options:
        page.context.close()
    else:
        page.goto("about:blank")


def _blank(browser: Any, options: Any) -> Any:
    """Give a page of a new profile, or, where there are no options, the one page of the first profile."""
    if not options and browser.contexts:
        page = browser.contexts[0].pages[0]
        page.set_viewport_size({"width": 1280, "height": 720})
        page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        return page
    context = browser.new_context(**options)
    context.set_default_timeout(5000)
    context.add_init_script(WATCHING)
    return context.new_page()
