"""Nothing in, pictures of the relay's page out: a real relay, a real browser, a script as the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import page_demo
from browser import launched
from chatting import say, visiting
from paint import save

TITLE = "Shop assistant"
DESKTOP = {"width": 900, "height": 880}
PHONE = {"width": 390, "height": 800}
SHARP = 1.5
"""Pixels of the picture for each of the page's."""
THINKING = 0.1
SLOW = 0.06
"""Seconds between two thoughts, and between two pieces of an answer that is watched."""


@contextmanager
def visited(size: dict[str, int], scheme: str = "light", delay: float = 0.01) -> Iterator[Any]:
    """Give the page in a window of this size, in the light or the dark."""
    options = {
        "viewport": size,
        "color_scheme": scheme,
        "device_scale_factor": SHARP,
        "reduced_motion": "reduce",
        "is_mobile": size is PHONE,
        "has_touch": size is PHONE,
    }
    for browser in launched():
        with visiting(browser) as visit:
            yield visit(page_demo.demo(delay, THINKING), tools=[page_demo.refund], title=TITLE, browser_options=options)


def taken(page: Any, path: Path) -> None:
    """Take the picture, once every style has settled."""
    page.evaluate("document.fonts.ready")
    save(page.screenshot(animations="disabled", caret="hide"), path, colours=96)


def answered(size: dict[str, int], scheme: str) -> Callable[[Path], None]:
    """Give what takes a picture of a whole answer."""

    def take(path: Path) -> None:
        with visited(size, scheme) as page:
            say(page, page_demo.QUESTIONS[0])
            page.locator(".figures").wait_for()
            page.locator("details.thoughts").scroll_into_view_if_needed()
            taken(page, path)

    return take


def streaming(path: Path) -> None:
    """Show an answer half written, and the button that stops it."""
    with visited(DESKTOP | {"height": 780}, delay=SLOW) as page:
        say(page, page_demo.QUESTIONS[0])
        page.locator(".answer pre").get_by_text("enumerate").wait_for(timeout=30_000)
        taken(page, path)


def approval(path: Path) -> None:
    """Show a call that waits for a person's word."""
    with visited(DESKTOP | {"height": 700}, "dark") as page:
        page.provider.send(page_demo.QUESTIONS[0])  # the script's first answer is for another picture
        say(page, page_demo.QUESTIONS[1])
        page.get_by_role("button", name="Approve").wait_for()
        taken(page, path)


PICTURES = {
    "page.png": answered(DESKTOP, "light"),
    "page_dark.png": answered(DESKTOP, "dark"),
    "page_phone.png": answered(PHONE, "light"),
    "page_streaming.png": streaming,
    "page_approval.png": approval,
}
